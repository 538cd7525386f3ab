//! The numbers of consistent sampling: thresholds and randomness, both of 56 bits, as in the
//! specification "Probability Sampling" of OpenTelemetry. An item is kept if its randomness is at
//! least the threshold, so a threshold is how many of 2^56 are rejected.

/// Hexadecimal digits of 56 bits.
pub const DIGITS: usize = 14;

/// Buckets of the hash of mode hash_seed.
pub const BUCKETS: u32 = 1 << 14;

const ALL: u64 = 1 << 56;

/// The smallest probability that a threshold expresses.
pub const LEAST: f64 = 1.0 / ALL as f64;

/// How many of 2^56 are rejected, up to all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Threshold(u64);

/// What an item's threshold is compared with: less than 2^56.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Randomness(u64);

impl Threshold {
    pub const ALWAYS: Threshold = Threshold(0);
    pub const NEVER: Threshold = Threshold(ALL);

    /// The threshold of a probability, rounded to `precision` hexadecimal digits, not counting
    /// leading digits `0` and `f`; `None` if it is no probability or smaller than [`LEAST`].
    pub fn of(probability: f64, precision: usize) -> Option<Threshold> {
        if !(LEAST..=1.0).contains(&probability) {
            return None;
        }
        if probability == 1.0 {
            return Some(Threshold::ALWAYS);
        }
        let near_zero = exponent(probability) / 4;
        let near_one = exponent(1.0 - probability) / 4;
        let digits = (precision + near_zero.max(near_one)).min(DIGITS);
        let threshold = ALL - (probability * ALL as f64).round() as u64;
        let shift = 4 * (DIGITS - digits);
        let half = if shift == 0 { 0 } else { 1 << (shift - 1) };
        Some(Threshold(((threshold + half) >> shift) << shift))
    }

    /// The threshold that rejects `of` of the [`BUCKETS`].
    pub fn of_buckets(of: u32) -> Threshold {
        Threshold((u64::from(of) << 42).min(ALL))
    }

    /// From 1 to 14 hexadecimal digits; zeros at the end may be left out.
    pub fn parse(text: &str) -> Option<Threshold> {
        if text.is_empty() || text.len() > DIGITS {
            return None;
        }
        Some(Threshold(hexadecimal(text)? << (4 * (DIGITS - text.len()))))
    }

    /// The shortest digits that [`Threshold::parse`] reads; none for [`Threshold::NEVER`].
    pub fn text(self) -> String {
        match self {
            Threshold::ALWAYS => "0".to_owned(),
            Threshold::NEVER => String::new(),
            Threshold(number) => format!("{number:014x}").trim_end_matches('0').to_owned(),
        }
    }

    pub fn keeps(self, randomness: Randomness) -> bool {
        self.0 <= randomness.0
    }

    /// The share that is kept.
    pub fn probability(self) -> f64 {
        (ALL - self.0) as f64 * LEAST
    }
}

impl Randomness {
    /// Kept by every threshold but [`Threshold::NEVER`].
    pub const MOST: Randomness = Randomness(ALL - 1);

    /// The last seven bytes of a trace id; `None` if it is not one.
    pub fn of_trace_id(id: &[u8]) -> Option<Randomness> {
        let id: [u8; 16] = id.try_into().ok()?;
        let number = u128::from_be_bytes(id);
        (number != 0).then_some(Randomness(number as u64 & (ALL - 1)))
    }

    /// The hash of mode hash_seed, FNV-1a over the seed and the bytes, in a form for thresholds.
    ///
    /// The Collector has always kept what has `hash % 2^14 < accepted`. Turned around, with what
    /// is left of the hash in the lower bits, it decides the same as a threshold does.
    pub fn hashed(bytes: &[u8], seed: u32) -> Randomness {
        const COUNT: u64 = BUCKETS as u64;
        let seeded = seed.to_le_bytes();
        let hash = seeded.iter().chain(bytes).fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        });
        let bucket = u64::from(hash) % COUNT;
        let unused = u64::from(hash >> 18);
        let mixed = unused ^ (unused << 10);
        Randomness((COUNT - 1 - bucket) << 42 | mixed << 14 | bucket)
    }

    /// Exactly 14 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Randomness> {
        if text.len() != DIGITS {
            return None;
        }
        hexadecimal(text).map(Randomness)
    }

    pub fn text(self) -> String {
        format!("{:014x}", self.0)
    }
}

fn hexadecimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| digits)
}

/// The power of two by which `fraction`, which lies between 2^-56 and 1, is smaller than 1.
fn exponent(fraction: f64) -> usize {
    let biased = fraction.to_bits() >> 52 & 0x7ff;
    1022_u64.saturating_sub(biased) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn threshold(probability: f64, precision: usize, expected: &str) {
        let found = Threshold::of(probability, precision).map(Threshold::text);
        assert_eq!(found.as_deref(), Some(expected), "{probability} at {precision}");
    }

    /// The Collector's own expectations.
    #[test]
    fn probabilities_become_thresholds_with_a_precision() {
        threshold(1.0, 4, "0");
        threshold(0.5, 4, "8");
        threshold(0.25, 4, "c");
        threshold(0.01, 14, "fd70a3d70a3d71");
        threshold(0.01, 4, "fd70a");
        threshold(0.01, 3, "fd71");
        threshold(0.4, 3, "99a");
        threshold(0.4, 6, "99999a");
        threshold(0.2, 6, "cccccd");
        threshold(1.0 / f64::from(1 << 14), 4, "fffc");
        threshold(1.0 / f64::from(1 << 28), 4, "fffffff");
        threshold(f64::from((1.0 - 8e-7_f32) * 100.0) / 100.0, 10, "00000cccccccd");
        threshold(LEAST, 4, "ffffffffffffff");
        threshold(1.0 - f64::EPSILON / 2.0, 4, "00000000000008");
        for none in [0.0, -1.0, LEAST / 2.0, 1.01, f64::NAN] {
            assert_eq!(Threshold::of(none, 4), None, "{none}");
        }
    }

    #[test]
    fn texts_read_back() {
        for text in ["0", "8", "c", "fd70a", "00000cccccccd", "ffffffffffffff"] {
            assert_eq!(Threshold::parse(text).map(Threshold::text).as_deref(), Some(text));
        }
        assert_eq!(Threshold::parse("80000000000000"), Threshold::parse("8"));
        assert_eq!(Threshold::parse("FD70A"), Threshold::parse("fd70a"));
        assert_eq!(
            Randomness::parse("fd70B000000000").map(|r| r.text()),
            Some("fd70b000000000".into())
        );
        for wrong in ["", "-1", "+1", "g", "abababababababab", "1_0"] {
            assert_eq!(Threshold::parse(wrong), None, "{wrong}");
        }
        for wrong in ["", "abababababababab", "8", "+0000000000001", "g0000000000000"] {
            assert_eq!(Randomness::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_trace_id_gives_its_last_seven_bytes() {
        let mut id = [0xfe; 16];
        id[9..].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Randomness::of_trace_id(&id), Randomness::parse("80000000000000"));
        assert_eq!(Randomness::of_trace_id(&[0; 16]), None);
        assert_eq!(Randomness::of_trace_id(&[1; 15]), None);
        assert_eq!(Randomness::of_trace_id(&[]), None);
    }

    /// The values that the Collector's tests hold its hash to.
    #[test]
    fn hashes_are_the_collectors() {
        for (bytes, bucket) in [(&[][..], 0x3515), (&[0; 16][..], 0x2455)] {
            let Randomness(number) = Randomness::hashed(bytes, 0);
            assert_eq!((number & 0x3fff, number >> 42), (bucket, 0x3fff - bucket));
        }
        assert_ne!(Randomness::hashed(b"1234", 1), Randomness::hashed(b"1234", 2));
    }

    #[test]
    fn who_passes_a_small_probability_passes_a_greater_one() {
        let thresholds: Vec<_> =
            (1..=100).filter_map(|p| Threshold::of(f64::from(p) / 100.0, 4)).collect();
        assert!(thresholds.windows(2).all(|two| two[0] > two[1]));
        assert!(
            !Threshold::NEVER.keeps(Randomness::MOST) && Threshold::ALWAYS.keeps(Randomness(0))
        );
    }
}

//! Durations in Go's notation, which is the Collector's: `1h30m`, `200ms`, `1.5s`, `0`.

use std::time::Duration;

const UNITS: [(&str, f64); 7] =
    [("h", 3_600e9), ("ms", 1e6), ("m", 60e9), ("s", 1e9), ("us", 1e3), ("µs", 1e3), ("ns", 1.0)];

/// Reads a duration. `None` for anything that Go refuses, for negative ones and for those above
/// Go's greatest (about 292 years).
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos = 0.0_f64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let number: f64 = number.parse().ok()?;
        let (unit, scale) = UNITS.iter().find(|(unit, _)| tail.starts_with(unit))?;
        nanos += number * scale;
        rest = tail.strip_prefix(unit)?;
    }
    // The limit keeps the figure exact enough in f64 and convertible to Go's i64 of nanoseconds.
    (nanos <= i64::MAX as f64).then(|| Duration::from_nanos(nanos.round() as u64))
}

/// Writes a duration so that [`parse`] reads the same one: `90s` as `1m30s`, none as `0s`.
pub fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let mut rest = nanos;
    let mut text = String::new();
    let units: [(&str, u128); 6] = [
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];
    for (unit, scale) in units {
        if rest >= scale {
            text.push_str(&format!("{}{unit}", rest / scale));
            rest %= scale;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, millis: Option<u64>) {
        assert_eq!(parse(text), millis.map(Duration::from_millis), "{text:?}");
    }

    #[test]
    fn durations_are_read_as_in_go() {
        check("5s", Some(5_000));
        check("1h30m", Some(5_400_000));
        check("200ms", Some(200));
        check("1.5s", Some(1_500));
        check(".5s", Some(500));
        check("0", Some(0));
        check("0s", Some(0));
        check("+1m", Some(60_000));
        check("2000us", Some(2));
        check("2000µs", Some(2));
        check("1m1ms", Some(60_001));
        for wrong in ["", "5", "s", "5 s", "-5s", "5d", "1.2.3s", "5S", ".s", "9999999h", "1e3s"] {
            check(wrong, None);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(nanos in 0..(1_u64 << 52)) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&format(duration)), Some(duration));
        }

        #[test]
        fn no_text_panics(text in "[0-9.hmsuµn+-]{0,24}") {
            let _ = parse(&text);
        }
    }
}

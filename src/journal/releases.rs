//! Which entries have left by which way out of the pipeline, as ranges.

use super::Id;
use super::record::u32_at;
use std::collections::HashMap;

/// The way of entries that are no longer owed to anybody.
pub const EVERY: u32 = 0;

/// Bytes of one written range.
const RECORD: usize = 20;

/// What a way out is called on disk: its name may be long, and does not change.
pub fn way(name: &str) -> u32 {
    crc32fast::hash(name.as_bytes()).max(EVERY + 1)
}

/// Entries of one segment that have left by one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    pub way: u32,
    pub segment: u32,
    pub first: u32,
    pub last: u32,
}

impl Release {
    fn write(self, out: &mut Vec<u8>) {
        let start = out.len();
        for field in [self.way, self.segment, self.first, self.last] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        let check = crc32fast::hash(out.get(start..).unwrap_or_default());
        out.extend_from_slice(&check.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Release> {
        let (content, check) = bytes.split_last_chunk::<4>()?;
        let field = |k: usize| u32_at(content, 4 * k);
        let (way, segment, first, last) = (field(0), field(1), field(2), field(3));
        let whole = crc32fast::hash(content) == u32::from_le_bytes(*check) && first <= last;
        whole.then_some(Release { way, segment, first, last })
    }
}

/// The bytes of `released`, in which neighbours are one.
pub fn encode(mut released: Vec<Release>) -> Vec<u8> {
    released.sort_unstable();
    let mut out = Vec::with_capacity(released.len() * RECORD);
    let mut before: Option<Release> = None;
    for release in released {
        match &mut before {
            Some(run)
                if (run.way, run.segment) == (release.way, release.segment)
                    && release.first <= run.last.saturating_add(1) =>
            {
                run.last = run.last.max(release.last);
            }
            _ => {
                before.into_iter().for_each(|run| run.write(&mut out));
                before = Some(release);
            }
        }
    }
    before.into_iter().for_each(|run| run.write(&mut out));
    out
}

/// What was released, by segment and way.
#[derive(Debug, Default)]
pub struct Releases {
    ranges: HashMap<(u32, u32), Vec<(u32, u32)>>,
}

impl Releases {
    /// Adds what a file says. A broken record is passed over: what it said is delivered again.
    pub fn read(&mut self, bytes: &[u8]) {
        for release in bytes.chunks_exact(RECORD).filter_map(Release::read) {
            let ranges = self.ranges.entry((release.segment, release.way)).or_default();
            ranges.push((release.first, release.last));
        }
    }

    /// Puts what was read in order; before it, nothing is found.
    pub fn settle(&mut self) {
        for ranges in self.ranges.values_mut() {
            ranges.sort_unstable();
            let mut merged: Vec<(u32, u32)> = vec![];
            for (first, last) in ranges.drain(..) {
                match merged.last_mut() {
                    Some(before) if first <= before.1.saturating_add(1) => {
                        before.1 = before.1.max(last);
                    }
                    _ => merged.push((first, last)),
                }
            }
            *ranges = merged;
        }
    }

    /// Whether entry `id` has left by `way`.
    pub fn has(&self, id: Id, way: u32) -> bool {
        let within = |way| {
            let ranges = self.ranges.get(&(id.segment, way))?;
            let after = ranges.partition_point(|range| range.0 <= id.index);
            let (_, last) = ranges.get(after.checked_sub(1)?)?;
            Some(*last >= id.index)
        };
        [way, EVERY].into_iter().any(|way| within(way) == Some(true))
    }

    /// Forgets what was said of `segment`.
    pub fn forget(&mut self, segment: u32) {
        self.ranges.retain(|(of, _), _| *of != segment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_written_together_and_found_again() {
        let one = |way, segment, index| Release { way, segment, first: index, last: index };
        let released = vec![one(7, 1, 3), one(7, 1, 1), one(8, 1, 2), one(7, 1, 2), one(7, 2, 9)];
        let bytes = encode(released);
        assert_eq!(bytes.len(), 3 * RECORD);
        let mut releases = Releases::default();
        releases.read(&bytes);
        let every = Release { way: EVERY, segment: 3, first: 5, last: u32::MAX };
        releases.read(&encode(vec![every]));
        releases.settle();
        let has = |way, segment, index| releases.has(Id { segment, index }, way);
        assert!(has(7, 1, 1) && has(7, 1, 2) && has(7, 1, 3) && has(8, 1, 2) && has(7, 2, 9));
        assert!(!has(7, 1, 0) && !has(7, 1, 4) && !has(8, 1, 1) && !has(9, 1, 2));
        assert!(has(7, 3, 5) && has(8, 3, 1 << 30) && !has(7, 3, 4));
    }

    #[test]
    fn a_broken_record_releases_nothing() {
        let bytes = encode(vec![Release { way: 7, segment: 1, first: 0, last: 9 }]);
        for bit in 0..bytes.len() * 8 {
            let mut broken = bytes.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            let mut releases = Releases::default();
            releases.read(&broken);
            releases.read(&bytes[..bytes.len() - 1]);
            releases.settle();
            assert!(releases.ranges.is_empty(), "bit {bit}");
        }
    }
}

//! When a file is put aside, under which name, and which of those put aside go.
//!
//! `traces.json` becomes `traces-2026-03-01T05-02-14.173.json`, with the UTC time at which it was
//! put aside, as in the Collector. Only names of that shape are ever deleted.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// The key `rotation`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rotation {
    /// No file grows beyond it but by a single record.
    pub(super) max_bytes: u64,
    /// Older ones go, by the time in their name.
    pub(super) max_age: Option<Duration>,
    /// How many stay; `None` for all.
    pub(super) max_backups: Option<usize>,
}

/// The name under which the file `path` is put aside at `millis` since the epoch.
pub(super) fn backup(path: &Path, millis: u64) -> PathBuf {
    let (stem, extension) = parts(path);
    path.with_file_name(format!("{stem}-{}{extension}", stamp(millis)))
}

/// When `name` was put aside from `path`, in milliseconds since the epoch; `None` if it was not.
pub(super) fn put_aside(path: &Path, name: &str) -> Option<u64> {
    let (stem, extension) = parts(path);
    let rest = name.strip_prefix(&stem)?.strip_prefix('-')?;
    read_stamp(rest.strip_suffix(&extension)?)
}

/// Those of `backups` (a time and a name each) that are to go at `now`, both in milliseconds.
pub(super) fn outdated<T>(rotation: &Rotation, mut backups: Vec<(u64, T)>, now: u64) -> Vec<T> {
    backups.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
    let age = rotation.max_age.map_or(u64::MAX, |age| age.as_millis() as u64);
    let stays = |(place, time): (usize, u64)| {
        place < rotation.max_backups.unwrap_or(usize::MAX) && now.saturating_sub(time) <= age
    };
    let gone = backups.into_iter().enumerate().filter(|(place, (time, _))| !stays((*place, *time)));
    gone.map(|(_, (_, name))| name).collect()
}

/// The name before its extension, and the extension with its dot.
fn parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| {
        part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let extension = path.extension().map(|_| format!(".{}", text(path.extension())));
    (text(path.file_stem()), extension.unwrap_or_default())
}

const DAY: u64 = 24 * 60 * 60 * 1000;

/// `2026-03-01T05-02-14.173`.
fn stamp(millis: u64) -> String {
    let (year, month, day) = date(millis / DAY);
    let rest = millis % DAY;
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, milli) = (rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}-{minute:02}-{second:02}.{milli:03}")
}

fn read_stamp(text: &str) -> Option<u64> {
    let shape = |c: char| if c.is_ascii_digit() { '0' } else { c };
    if text.chars().map(shape).collect::<String>() != "0000-00-00T00-00-00.000" {
        return None;
    }
    let mut numbers = text.split(['-', 'T', '.']).map(|number| number.parse::<u64>().ok());
    let mut next = || numbers.next().flatten();
    let (year, month, day) = (next()?, next()?, next()?);
    let (hour, minute, second, milli) = (next()?, next()?, next()?, next()?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_before_year(year) + days_before_month(year, month) + day - 1;
    Some(days * DAY + ((hour * 60 + minute) * 60 + second) * 1000 + milli)
}

fn is_leap(year: u64) -> bool {
    (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400)
}

/// Days from the epoch to the first of January of `year`.
fn days_before_year(year: u64) -> u64 {
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leaps(year - 1) - leaps(1969)
}

fn days_before_month(year: u64, month: u64) -> u64 {
    const LENGTHS: [u64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = usize::try_from(month.saturating_sub(1)).unwrap_or_default();
    LENGTHS.iter().take(before).sum::<u64>() + u64::from(month > 2 && is_leap(year))
}

/// Year, month and day of a day since the epoch.
fn date(day: u64) -> (u64, u64, u64) {
    // 366 days for each year never overshoots; what is missing is a year every fourteen centuries.
    let mut year = 1970 + day / 366;
    while days_before_year(year + 1) <= day {
        year += 1;
    }
    let rest = day - days_before_year(year);
    let month = (1..=12).rev().find(|month| days_before_month(year, *month) <= rest).unwrap_or(1);
    (year, month, rest - days_before_month(year, month) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_time_and_are_read_back() {
        let cases = [
            ("traces.json", 1_663_131_734_173, "traces-2022-09-14T05-02-14.173.json"),
            ("traces", 0, "traces-1970-01-01T00-00-00.000"),
            ("a.b.jsonl", 951_782_400_000, "a.b-2000-02-29T00-00-00.000.jsonl"),
            ("x.json", 1_709_251_199_999, "x-2024-02-29T23-59-59.999.json"),
            ("x.json", 4_107_542_400_000, "x-2100-03-01T00-00-00.000.json"),
            ("x.json", 1_735_689_599_000, "x-2024-12-31T23-59-59.000.json"),
        ];
        for (name, millis, expected) in cases {
            let path = Path::new("/var/log").join(name);
            let backup = backup(&path, millis);
            assert_eq!(backup, Path::new("/var/log").join(expected));
            assert_eq!(put_aside(&path, expected), Some(millis));
        }
    }

    #[test]
    fn other_names_are_no_backups() {
        let path = Path::new("traces.json");
        for name in [
            "traces.json",
            "traces-old.json",
            "traces-2022-09-14.json",
            "other-2022-09-14T05-02-14.173.json",
            "traces-2022-09-14T05-02-14.173.json.gz",
            "traces-2022-13-14T05-02-14.173.json",
            "traces-2022-00-00T05-02-14.173.json",
            "traces-1969-01-01T05-02-14.173.json",
        ] {
            assert_eq!(put_aside(path, name), None, "{name}");
        }
    }

    #[test]
    fn the_oldest_go_first_by_number_and_by_age() {
        let day = Duration::from_millis(DAY);
        let cases: [(Option<usize>, Option<Duration>, &[u64]); 5] = [
            (None, None, &[]),
            (Some(2), None, &[2, 1]),
            (None, Some(day * 3), &[1]),
            (Some(1), Some(day * 3), &[3, 2, 1]),
            (Some(9), Some(day), &[3, 2, 1]),
        ];
        for (max_backups, max_age, expected) in cases {
            let rotation = Rotation { max_bytes: 1, max_age, max_backups };
            let backups = [3, 1, 4, 2].map(|n| (n * DAY, n)).to_vec();
            let gone = outdated(&rotation, backups, 5 * DAY);
            assert_eq!(gone, expected, "{max_backups:?} {max_age:?}");
        }
    }
}

//! Numbers, sizes and times for people.

use std::time::Duration;

/// `1,234,567`.
pub fn count(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut out = String::from(if n < 0 { "-" } else { "" });
    for (k, digit) in digits.chars().enumerate() {
        if k > 0 && (digits.len() - k).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number per second: `0`, `0.3`, `12.5`, `1,234`.
pub fn rate(n: f64) -> String {
    match n {
        0.0 => "0".to_owned(),
        n if n < 99.95 => format!("{n:.1}"),
        n => count(n.round() as i64),
    }
}

/// `512 B`, `1.5 KiB`, `32.0 MiB`.
pub fn bytes(n: i64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let (mut size, mut unit) = (n as f64 / 1024.0, "KiB");
    for next in UNITS.iter().skip(1) {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, next);
    }
    format!("{size:.1} {unit}")
}

/// `9s`, `4m 9s`, `3h 4m`, `2d 3h`.
pub fn span(time: Duration) -> String {
    let (seconds, minutes) = (time.as_secs() % 60, time.as_secs() / 60 % 60);
    let (hours, days) = (time.as_secs() / 3600 % 24, time.as_secs() / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {seconds}s"),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// The time of day in UTC, from nanoseconds since the Unix epoch: `13:02:11`.
pub fn clock(unix_nanos: u64) -> String {
    let seconds = unix_nanos / 1_000_000_000 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_their_thousands_apart() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (-1_234_567, "-1,234,567")];
        cases.iter().for_each(|(n, text)| assert_eq!(count(*n), *text));
    }

    #[test]
    fn rates_have_a_digit_where_it_matters() {
        for (n, text) in
            [(0.0, "0"), (0.25, "0.2"), (99.94, "99.9"), (99.96, "100"), (1e6, "1,000,000")]
        {
            assert_eq!(rate(n), text);
        }
    }

    #[test]
    fn sizes_have_the_unit_that_fits() {
        for (n, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (32 << 20, "32.0 MiB"),
            (5 << 40, "5.0 TiB"),
            (5 << 50, "5120.0 TiB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }

    #[test]
    fn times_have_two_units_at_most() {
        for (seconds, text) in
            [(9, "9s"), (249, "4m 9s"), (11_049, "3h 4m"), (183_600, "2d 3h"), (3600, "1h 0m")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        assert_eq!(clock(1_000_000_000 * (86_400 * 3 + 46_931)), "13:02:11");
    }
}

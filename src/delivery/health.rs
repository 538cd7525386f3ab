//! What is worth a log line: that a backend went away, that it is back, and what was lost, with
//! counts instead of a line per attempt. Time comes in as an argument.

use crate::limits::LOG_PAUSE;
use crate::moment::Moment;
use std::time::Duration;

/// Whether a backend is reachable.
#[derive(Default)]
pub struct Health {
    /// Since when it is not, and attempts since.
    down: Option<(Moment, u64)>,
    /// The last line that said so.
    said: Option<Moment>,
    /// Whether the present trouble was logged, so that its end is too.
    open: bool,
}

impl Health {
    /// An attempt failed that may be repeated. The line to log, if it is the first one.
    pub fn failed(&mut self, now: Moment, reason: &str) -> Option<String> {
        let (since, attempts) = self.down.get_or_insert((now, 0));
        *attempts += 1;
        if self.open || self.said.is_some_and(|said| now.since(said) < LOG_PAUSE) {
            return None;
        }
        (self.said, self.open) = (Some(now), true);
        let lasted = now.since(*since);
        let more = match *attempts {
            1 => String::new(),
            attempts => format!(" ({attempts} attempts in {})", seconds(lasted)),
        };
        Some(format!("{reason}{more}; trying again until it answers"))
    }

    /// An attempt succeeded. The line to log, if the trouble before was logged.
    pub fn succeeded(&mut self, now: Moment) -> Option<String> {
        let (since, attempts) = self.down.take()?;
        if !std::mem::take(&mut self.open) {
            return None;
        }
        let lasted = seconds(now.since(since));
        Some(format!("the backend answers again, after {attempts} failed attempts in {lasted}"))
    }
}

/// Losses, which are logged at once and then in sums.
#[derive(Default)]
pub struct Losses {
    said: Option<Moment>,
    /// Items since the last line.
    unsaid: usize,
}

impl Losses {
    /// `items` were lost. The line to log, if it is time for one.
    pub fn add(&mut self, now: Moment, items: usize, what: &str, reason: &str) -> Option<String> {
        self.unsaid += items;
        if self.said.is_some_and(|said| now.since(said) < LOG_PAUSE) {
            return None;
        }
        self.said = Some(now);
        let unsaid = std::mem::take(&mut self.unsaid);
        Some(format!("{unsaid} {what}: {reason}"))
    }

    /// The line for what no line has said yet, at the end.
    pub fn rest(&mut self, what: &str) -> Option<String> {
        let unsaid = std::mem::take(&mut self.unsaid);
        (unsaid > 0).then(|| format!("{unsaid} more {what}, for reasons as before"))
    }
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::default().plus(Duration::from_secs(seconds))
    }

    #[test]
    fn an_outage_is_two_lines_however_many_attempts() {
        let mut health = Health::default();
        let first = health.failed(at(0), "cannot connect");
        assert_eq!(first.as_deref(), Some("cannot connect; trying again until it answers"));
        for second in 1..100 {
            assert_eq!(health.failed(at(second), "cannot connect"), None);
        }
        let back = "the backend answers again, after 100 failed attempts in 120 s";
        assert_eq!(health.succeeded(at(120)).as_deref(), Some(back));
        assert_eq!(health.succeeded(at(121)), None);
    }

    #[test]
    fn a_backend_that_flaps_is_a_pair_of_lines_per_pause() {
        let mut health = Health::default();
        let mut lines = 0;
        for second in 0..60 {
            lines += usize::from(health.failed(at(second), "busy").is_some());
            lines += usize::from(health.succeeded(at(second)).is_some());
        }
        assert_eq!(lines, 4);
    }

    #[test]
    fn losses_are_summed_between_lines_and_none_is_left_out() {
        let mut losses = Losses::default();
        let mut add = |second, items| losses.add(at(second), items, "spans refused", "too large");
        assert_eq!(add(0, 2).as_deref(), Some("2 spans refused: too large"));
        assert_eq!(add(1, 3), None);
        assert_eq!(add(40, 4).as_deref(), Some("7 spans refused: too large"));
        assert_eq!(add(41, 5), None);
        let rest = "5 more spans refused, for reasons as before";
        assert_eq!(losses.rest("spans refused").as_deref(), Some(rest));
        assert_eq!(losses.rest("spans refused"), None);
    }
}

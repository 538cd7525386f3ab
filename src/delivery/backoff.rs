//! How long to wait before the next attempt: exponential backoff with jitter, as a pure function
//! of numbers. Time and chance come in as arguments.

use crate::config::Section;
use crate::limits;
use std::time::Duration;

/// `retry_on_failure`.
#[derive(Clone, Debug)]
pub struct Policy {
    pub enabled: bool,
    pub initial: Duration,
    pub max: Duration,
    pub multiplier: f64,
    /// Share of an interval by which a wait differs from it in both directions, 0 to 1.
    pub randomization: f64,
    /// When a request is given up; `None`: never.
    pub max_elapsed: Option<Duration>,
}

impl Policy {
    /// One attempt and no more.
    pub fn never() -> Policy {
        let (initial, max) = (Duration::ZERO, Duration::ZERO);
        let (multiplier, randomization) = (1.0, 0.0);
        Policy { enabled: false, initial, max, multiplier, randomization, max_elapsed: None }
    }

    /// Of a section with [`RETRY_KEYS`](crate::exporters::keys::RETRY_KEYS).
    pub fn of(section: &Section) -> Policy {
        let max_elapsed = section.duration("max_elapsed_time");
        Policy {
            enabled: section.bool("enabled"),
            initial: section.duration("initial_interval"),
            max: section.duration("max_interval"),
            multiplier: section.float("multiplier"),
            randomization: section.float("randomization_factor"),
            max_elapsed: (!max_elapsed.is_zero()).then_some(max_elapsed),
        }
    }
}

/// The waits of one request.
pub struct Backoff<'a> {
    policy: &'a Policy,
    interval: Duration,
}

impl<'a> Backoff<'a> {
    pub fn new(policy: &'a Policy) -> Backoff<'a> {
        Backoff { policy, interval: policy.initial.min(policy.max) }
    }

    /// The wait after a failed attempt, `elapsed` after the first one began; `None`: give up.
    /// `asked` is what the backend asked for, `chance` a number from 0 to 1.
    ///
    /// A wait that would pass the end of `max_elapsed` ends there, with one last attempt: a
    /// backend that asks for an hour then still has its chance, and nobody waits the hour.
    pub fn wait(
        &mut self,
        elapsed: Duration,
        asked: Option<Duration>,
        chance: f64,
    ) -> Option<Duration> {
        let policy = self.policy;
        if !policy.enabled || policy.max_elapsed.is_some_and(|most| elapsed >= most) {
            return None;
        }
        let spread = 1.0 + policy.randomization * (2.0 * chance - 1.0);
        let wait = self.interval.mul_f64(spread.max(0.0));
        // The product may exceed what a duration holds; the ceiling does not.
        let grown = self.interval.as_secs_f64() * policy.multiplier;
        self.interval = match grown < policy.max.as_secs_f64() {
            true => Duration::from_secs_f64(grown),
            false => policy.max,
        };
        let asked = asked.unwrap_or_default().min(limits::RETRY_DELAY_MAX);
        let wait = wait.max(asked);
        Some(policy.max_elapsed.map_or(wait, |most| wait.min(most.saturating_sub(elapsed))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn policy() -> Policy {
        let section = Section::from_yaml(crate::exporters::keys::RETRY_KEYS, "{}");
        Policy::of(&section.expect("defaults are valid"))
    }

    /// The waits with the given chance, each attempt failing at once.
    fn waits(policy: &Policy, chance: f64) -> Vec<f64> {
        let (mut backoff, mut elapsed) = (Backoff::new(policy), Duration::ZERO);
        let mut waits = vec![];
        while let Some(wait) = backoff.wait(elapsed, None, chance) {
            waits.push((wait.as_secs_f64() * 1000.0).round() / 1000.0);
            elapsed += wait;
        }
        waits
    }

    #[test]
    fn waits_grow_by_half_up_to_the_ceiling_and_end_with_the_time() {
        let waits = waits(&policy(), 0.5);
        assert_eq!(waits.get(..6), Some([5.0, 7.5, 11.25, 16.875, 25.313, 30.0].as_slice()));
        let sum: f64 = waits.iter().sum();
        assert!((sum - 300.0).abs() < 0.01, "the last attempt stands at the end: {sum}");
    }

    #[test]
    fn chance_moves_a_wait_by_the_factor_in_both_directions() {
        assert_eq!(waits(&policy(), 0.0).first(), Some(&2.5));
        assert_eq!(waits(&policy(), 1.0).first(), Some(&7.5));
    }

    #[test]
    fn what_the_backend_asks_for_is_the_least_and_never_more_than_the_rest() {
        let policy = policy();
        let cases = [
            (0, Some(20 * SECOND), Some(20 * SECOND)),
            (0, Some(SECOND), Some(5 * SECOND)),
            (290, Some(3600 * SECOND), Some(10 * SECOND)),
            (300, Some(SECOND), None),
        ];
        for (elapsed, asked, expected) in cases {
            let wait = Backoff::new(&policy).wait(elapsed * SECOND, asked, 0.5);
            assert_eq!(wait, expected, "{elapsed} s, asked {asked:?}");
        }
    }

    #[test]
    fn without_an_end_a_hostile_delay_is_still_bounded() {
        let policy = Policy { max_elapsed: None, ..policy() };
        let asked = Some(Duration::from_secs(u64::MAX));
        let wait = Backoff::new(&policy).wait(1_000_000 * SECOND, asked, 0.5);
        assert_eq!(wait, Some(limits::RETRY_DELAY_MAX));
    }

    #[test]
    fn switched_off_there_is_no_second_attempt() {
        assert_eq!(Backoff::new(&Policy::never()).wait(Duration::ZERO, None, 0.5), None);
    }

    #[test]
    fn absurd_numbers_do_not_panic() {
        let max = Duration::from_secs(1 << 33);
        let policy = Policy { initial: max, max, multiplier: 100.0, ..policy() };
        let policy = Policy { max_elapsed: None, randomization: 1.0, ..policy };
        let mut backoff = Backoff::new(&policy);
        for _ in 0..100 {
            assert!(backoff.wait(Duration::MAX, Some(Duration::MAX), 1.0).is_some());
        }
    }
}

//! Attempts at one request until the backend has answered for good or its time is over.

use super::backoff::Backoff;
use super::sender::Sender;
use crate::clock;
use crate::exporters::{Outcome, Payload};
use std::time::Duration;

impl Sender {
    /// How `payload` ended. [`Outcome::Retry`] means that it was given up.
    pub(super) async fn attempts(&self, payload: &Payload) -> Outcome {
        let began = clock::now();
        let mut backoff = Backoff::new(&self.settings.retry);
        loop {
            // Read before the attempt: the last one is the one that began after the stop.
            let last = self.stop.is_cancelled();
            let outcome = tokio::select! {
                biased;
                () = self.abandoned.cancelled() => return given_up("", "the time to drain is over"),
                outcome = self.attempt(payload) => outcome,
            };
            let Outcome::Retry { after, reason } = outcome else {
                self.reached();
                return outcome;
            };
            self.failed(&reason);
            if last {
                return given_up(&reason, "the process ends");
            }
            let elapsed = clock::now().since(began);
            match backoff.wait(elapsed, after, fastrand::f64()) {
                Some(wait) => self.pause(wait).await,
                None if !self.settings.retry.enabled => return given_up(&reason, "no retries"),
                None => {
                    let why = format!("given up after {} s", elapsed.as_secs());
                    return given_up(&reason, &why);
                }
            }
        }
    }

    async fn attempt(&self, payload: &Payload) -> Outcome {
        let timeout = self.settings.timeout;
        match tokio::time::timeout(timeout, self.exporter.send(payload.clone())).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let time = crate::config::duration::format(timeout);
                let reason = format!(
                    "{} did not answer within {time} (key `timeout`)",
                    self.exporter.target()
                );
                Outcome::Retry { after: None, reason }
            }
        }
    }

    /// Waits, but not beyond the stop: then there is one more attempt, now.
    async fn pause(&self, wait: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn given_up(reason: &str, why: &str) -> Outcome {
    let reason = match reason.is_empty() {
        true => why.to_owned(),
        false => format!("{reason}; {why}"),
    };
    Outcome::Retry { after: None, reason }
}

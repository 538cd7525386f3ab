//! What a user says about an exporter's delivery.

use super::backoff::Policy;
use super::dead::DeadLetters;
use crate::config::Section;
use crate::limits;
use std::sync::Arc;
use std::time::Duration;

/// The unit of `queue_size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizer {
    Requests,
    Items,
    Bytes,
}

/// `timeout`, `sending_queue` and `retry_on_failure` of an exporter.
#[derive(Clone)]
pub struct Settings {
    /// Time of one attempt.
    pub timeout: Duration,
    pub retry: Policy,
    /// Whether somebody wants requests to be given up after some time.
    pub elapsed_is_set: bool,
    /// Whether batches are queued at all.
    pub queued: bool,
    /// Whether clients wait for the backend's answer. Always so without a queue.
    pub wait_for_result: bool,
    /// Whether a full queue makes clients wait without end.
    pub block: bool,
    /// Requests sent at once.
    pub consumers: usize,
    pub sizer: Sizer,
    /// What the queue of one signal holds, in the sizer's unit.
    pub size: usize,
    /// Bytes that the queues of all signals hold together, requests under way included.
    pub bytes: usize,
    pub batch: Batching,
    /// Where requests go that a backend refuses for good.
    pub dead_letters: Option<Arc<DeadLetters>>,
}

/// How small requests are joined and large ones split.
#[derive(Clone, Debug)]
pub struct Batching {
    /// How long a small request may wait.
    pub flush: Duration,
    /// Either size makes a request large enough to go at once.
    pub min_items: usize,
    pub min_bytes: usize,
    /// Neither size is exceeded, but by a single item.
    pub max_items: usize,
    pub max_bytes: usize,
}

impl Settings {
    /// Of an exporter's section. Groups of keys that its table does not have are off.
    pub fn of(section: &Section) -> Settings {
        let has = |name: &str| section.settings().any(|(key, _)| key.name == name);
        let object = |name: &str| has(name).then(|| section.section(name));
        let timeout = has("timeout").then(|| section.duration("timeout"));
        let timeout = timeout.filter(|t| !t.is_zero()).unwrap_or(limits::ATTEMPT_TIME_MAX);
        let retry = object("retry_on_failure");
        let elapsed_is_set = retry.is_some_and(|retry| retry.is_set("max_elapsed_time"));
        let retry = retry.map_or_else(Policy::never, Policy::of);
        let settings = Settings { timeout, retry, elapsed_is_set, ..Settings::unqueued() };
        object("sending_queue").map_or(settings.clone(), |queue| settings.with_queue(queue))
    }

    fn unqueued() -> Settings {
        Settings {
            timeout: limits::ATTEMPT_TIME_MAX,
            retry: Policy::never(),
            elapsed_is_set: false,
            queued: false,
            wait_for_result: true,
            block: false,
            consumers: 1,
            sizer: Sizer::Requests,
            size: usize::MAX,
            bytes: limits::QUEUE_BYTES,
            batch: Batching {
                flush: Duration::ZERO,
                min_items: 0,
                min_bytes: 0,
                max_items: usize::MAX,
                max_bytes: limits::EXPORT_BYTES,
            },
            dead_letters: None,
        }
    }

    /// What is on disk has no reason to be given up after the default time, which is for memory.
    fn with_storage(mut self, queue: &Section) -> Settings {
        if !queue.text("storage").is_empty() && !self.elapsed_is_set {
            self.retry.max_elapsed = None;
        }
        self
    }

    fn with_queue(self, queue: &Section) -> Settings {
        let queued = queue.bool("enabled");
        let sizer = match queue.text("sizer") {
            "items" => Sizer::Items,
            "bytes" => Sizer::Bytes,
            _ => Sizer::Requests,
        };
        // 1000 is a number of requests; in another unit it would be a queue of nothing.
        let counts = queue.is_set("queue_size") || sizer == Sizer::Requests;
        Settings {
            queued,
            wait_for_result: !queued || queue.bool("wait_for_result"),
            block: queue.bool("block_on_overflow"),
            consumers: queue.count("num_consumers").max(1),
            sizer,
            size: if queued && counts { queue.count("queue_size") } else { usize::MAX },
            bytes: usize::try_from(queue.bytes("limit_mib")).unwrap_or(usize::MAX),
            batch: Batching::of(queue.section("batch")),
            ..self.with_storage(queue)
        }
    }
}

impl Batching {
    fn of(batch: &Section) -> Batching {
        let (min, max) = (batch.count("min_size"), batch.count("max_size"));
        let max = if max == 0 { usize::MAX } else { max };
        let flush = batch.duration("flush_timeout");
        match batch.text("sizer") {
            "bytes" => {
                let max_bytes = if max == usize::MAX { limits::EXPORT_BYTES } else { max };
                let min = if batch.is_set("min_size") { min } else { max_bytes };
                let (min_items, max_items) = (usize::MAX, usize::MAX);
                Batching { flush, min_items, min_bytes: min.min(max_bytes), max_items, max_bytes }
            }
            _ => {
                let (min_bytes, max_bytes) = (limits::EXPORT_BYTES, limits::EXPORT_BYTES);
                Batching { flush, min_items: min.min(max), min_bytes, max_items: max, max_bytes }
            }
        }
    }
}

//! The keys that exporters share: the Collector's `sending_queue` and `retry_on_failure`.
//!
//! They stand here and not in [`delivery`](crate::delivery), which obeys them, because a
//! component's table must name all its keys and exporters are the lower room.

use crate::config::problem::Problems;
use crate::config::{Key, Section};
use crate::limits;

/// `sending_queue` of an exporter that sends over a network: on.
pub const QUEUE_KEYS: &[Key] = &queue_keys(true);

/// `sending_queue` of an exporter whose backend is this machine: off, as in the Collector.
pub const QUEUE_OFF_KEYS: &[Key] = &queue_keys(false);

const SIZERS: &[&str] = &["requests", "items", "bytes"];
const BATCH_SIZERS: &[&str] = &["items", "bytes"];
const QUEUE_MIB: i64 = (limits::QUEUE_BYTES >> 20) as i64;

const fn queue_keys(enabled: bool) -> [Key; 10] {
    [
        Key::bool("enabled", enabled, "whether to hold requests and answer clients at once"),
        Key::int("num_consumers", 10, 1..=1000, "requests sent at the same time"),
        Key::int("queue_size", 1000, 1..=i64::MAX, "what the queue holds, in units of `sizer`"),
        Key::choice("sizer", SIZERS, "requests", "the unit of `queue_size`"),
        Key::size_mib("limit_mib", QUEUE_MIB, "bytes that the queue holds, whatever `queue_size`"),
        Key::bool("block_on_overflow", false, "wait for room without end instead of 2 s"),
        Key::bool("wait_for_result", false, "answer clients only when the backend has answered"),
        Key::extension_id("storage", "a file_storage: clients are answered when it is on disk"),
        Key::object("batch", BATCH_KEYS, "joining of small requests"),
        Key::ignored("enable_batcher", "requests are always joined; use `batch` to say how"),
    ]
}

/// `sending_queue.batch`. Beside these bounds every request is held to
/// [`limits::EXPORT_BYTES`], unless `max_size` in bytes says otherwise.
pub const BATCH_KEYS: &[Key] = &[
    Key::duration("flush_timeout", "200ms", "how long a small request waits to be joined"),
    Key::int("min_size", 8192, 0..=i64::MAX, "send at this size without waiting"),
    Key::int("max_size", 0, 0..=i64::MAX, "split above this size; 0: 1 MiB alone decides"),
    Key::choice("sizer", BATCH_SIZERS, "items", "the unit of `min_size` and `max_size`"),
    Key::unsupported("partition", "requests carry no client metadata that could part them"),
];

/// `retry_on_failure`.
pub const RETRY_KEYS: &[Key] = &[
    Key::bool("enabled", true, "try again after a failure that may pass"),
    Key::duration("initial_interval", "5s", "wait before the second attempt"),
    Key::duration("max_interval", "30s", "longest wait between two attempts"),
    Key::float("multiplier", 1.5, 1.0..=100.0, "growth of the wait from attempt to attempt"),
    Key::float("randomization_factor", 0.5, 0.0..=1.0, "share of the wait that is random"),
    Key::duration("max_elapsed_time", "300s", "give a request up after this time; 0: never"),
];

/// What the tables cannot say about `sending_queue` and `retry_on_failure` of `section`.
pub fn check_delivery(section: &Section, problems: &mut Problems) {
    let queue = section.section("sending_queue");
    if !queue.text("storage").is_empty() {
        if !queue.bool("enabled") {
            let text = "needs the queue; write enabled: true, or leave storage out";
            queue.error(problems, "storage", text);
        }
        if queue.bool("wait_for_result") {
            let text = "clients are answered when storage has their data; write false, or leave \
                        storage out";
            queue.error(problems, "wait_for_result", text);
        }
    }
    let batch = queue.section("batch");
    let (min, max) = (batch.count("min_size"), batch.count("max_size"));
    if max > 0 && min > max && batch.is_set("min_size") {
        let text = format!("min_size {min} is above max_size {max}; write at most {max}");
        batch.error(problems, "min_size", text);
    }
    let retry = section.section("retry_on_failure");
    let most = retry.duration("max_elapsed_time");
    for name in ["initial_interval", "max_interval"] {
        if !most.is_zero() && retry.bool("enabled") && retry.duration(name) > most {
            let most = crate::config::duration::format(most);
            let text = format!("is above max_elapsed_time {most}, so no second attempt is made");
            retry.error(problems, name, text);
        }
    }
}

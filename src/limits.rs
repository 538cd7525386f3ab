//! Every bound of the daemon in one place: name, unit, default, reason.
//!
//! A bound that a user can set has its default here and its key in the component that obeys it.
//! What a bound refuses is counted under the metric that its comment names.

use crate::otlp::check::Bounds;
use std::time::Duration;

/// Bytes of one request after decompression. OTLP 1.11 recommends 64 MiB. Keys
/// `max_recv_msg_size_mib`, `max_request_body_size`; metric `otelcol_receiver_refused_*`.
pub const REQUEST_BYTES: usize = 64 << 20;

/// Bytes of a response that an exporter reads. OTLP 1.11 recommends 4 MiB.
pub const RESPONSE_BYTES: usize = 4 << 20;

/// Spans, log records or data points of one request. A span with ids, name and times takes about
/// 100 bytes, so 64 MiB of real ones stay below; what exceeds it is empty on purpose, and costs a
/// decoding backend a hundred times its size.
pub const REQUEST_ITEMS: usize = 1 << 19;

/// Messages of any kind in one request: attributes, values, events, links. Same reason.
pub const REQUEST_ELEMENTS: usize = 1 << 22;

/// Arrays and maps inside each other in one attribute value. Decoders behind us stop at 100
/// messages within each other, which 31 maps in an exemplar's attribute exceed; agent payloads
/// use under 10.
pub const VALUE_NESTING: usize = 30;

/// The bounds of a request's content, for the check at the door.
pub const REQUEST: Bounds =
    Bounds { items: REQUEST_ITEMS, elements: REQUEST_ELEMENTS, value_nesting: VALUE_NESTING };

/// Bytes of requests being received at once, all connections together, compressed or not. Four
/// times the largest request, so that one hog cannot take all of it.
pub const INFLIGHT_BYTES: usize = 256 << 20;

/// How long a request waits for room before the client is told to come back. Clients give up
/// after about 10 s, and some never retry, so a short wait loses less than a fast refusal.
pub const ADMISSION_WAIT: Duration = Duration::from_secs(2);

/// What a refused client is told to wait. SDKs drop the data if it is longer than what is left of
/// their 10 s.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Time for a connection to send the headers of a request. Longer than any real network needs.
pub const HEADER_TIME: Duration = Duration::from_secs(10);

/// Time between two pieces of a request's body.
pub const BODY_IDLE_TIME: Duration = Duration::from_secs(10);

/// Bytes of one export request: batches are joined up to it and a larger one is split. Backends
/// built on gRPC refuse 4 MiB and more by default. Key `sending_queue.batch.max_size`.
pub const EXPORT_BYTES: usize = 1 << 20;

/// Bytes that an exporter's queue holds. Key `sending_queue.queue_size`; metric
/// `otelcol_exporter_queue_size`.
pub const QUEUE_BYTES: usize = 32 << 20;

/// Time to deliver what is queued after a termination signal.
pub const DRAIN_TIME: Duration = Duration::from_secs(20);

const _: () = assert!(INFLIGHT_BYTES >= REQUEST_BYTES, "one largest request must be admissible");
const _: () = assert!(REQUEST_BYTES < u32::MAX as usize, "edits address a request by 32 bits");
const _: () = assert!(REQUEST_ELEMENTS >= REQUEST_ITEMS, "every item is an element");

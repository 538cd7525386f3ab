//! Every bound of the daemon in one place: name, unit, default, reason.
//!
//! A bound that a user can set has its default here and its key in the component that obeys it.
//! What a bound refuses is counted under the metric that its comment names.

mod orphans;

use crate::otlp::check::Bounds;
pub use orphans::*;
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

/// Bytes that a batch takes besides its content: its own structures, its place in queues, its
/// client's stream. Small requests count for what they cost.
pub const BATCH_OVERHEAD: usize = 1 << 10;

/// What allocators take beyond the bytes they are asked for, one in so many: that is how far apart
/// their sizes are.
pub const ROUNDED_SHARE: usize = 8;

/// How long a request waits for room before the client is told to come back. Clients give up
/// after about 10 s, and some never retry, so a short wait loses less than a fast refusal.
pub const ADMISSION_WAIT: Duration = Duration::from_secs(2);

/// How long a request waits for room below a memory limit before the client is told to come back.
/// Long enough for a busy backend to take what is before it, short since what waits takes memory.
pub const MEMORY_WAIT: Duration = Duration::from_secs(1);

/// Requests of one connection that wait for room below a memory limit; those of all connections
/// are [`LIMITED_CONNECTIONS`]. Each may have a window of unread bytes.
pub const WAITING_OF_ONE: usize = 8;

/// Bytes of requests that are handed over to a pipeline at once. It takes them in the order of
/// their coming, so they are few, no more than one request to a backend; all others wait in turns,
/// by connection. The least that one counts for makes them 64 at most.
pub const HANDOVER_BYTES: usize = 1 << 20;

/// What a refused client is told to wait. SDKs drop the data if it is longer than what is left of
/// their 10 s.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Time for a connection to send the headers of a request. Longer than any real network needs.
pub const HEADER_TIME: Duration = Duration::from_secs(10);

/// Time for a TLS handshake, from its first byte. A slow one takes a second.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// Bytes of one file of certificates. 1 MiB: all authorities of a system take a quarter.
pub const TLS_FILE_BYTES: usize = 1 << 20;

/// Time between two pieces of a request's body.
pub const BODY_IDLE_TIME: Duration = Duration::from_secs(10);

/// Time for a request's body as a whole. No client waits so long for its answer; a body that
/// still drips then only holds a connection.
pub const BODY_TIME: Duration = Duration::from_secs(60);

/// How long a request waits for its verdict before the client is told to come back. Clients give
/// up after 10 s, and what they give up on they may send twice.
pub const ANSWER_WAIT: Duration = Duration::from_secs(8);

/// Time for the requests under way on a connection that takes no more. Longer than
/// [`ANSWER_WAIT`].
pub const LINGER_TIME: Duration = Duration::from_secs(10);

/// Time for which a connection that is being closed still reads (and forgets) what its client
/// sends, so that the client gets to read its answer.
pub const CLOSE_TIME: Duration = Duration::from_secs(2);

/// Bytes of a request that are inflated and checked on the connection's own task. What is larger
/// would hold up others for milliseconds and goes to a thread of its own.
pub const INLINE_BYTES: usize = 4 << 20;

/// Connections of one listener. An agent keeps one, a gateway's peers a few each; more wait in
/// the kernel's queue until one closes. Metric `spanloom_receiver_connections`.
pub const CONNECTIONS: usize = 1024;

/// Wait after an accept that failed for want of file descriptors or memory.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bytes that are read at once from an HTTP/1 connection. hyper's own default, and enough for
/// usual requests to be used without a copy.
pub const HTTP1_BUFFER: usize = 408 << 10;

/// Bytes of one HTTP/2 DATA frame. Usual requests fit into one and are then used as received,
/// without a copy.
pub const HTTP2_FRAME: u32 = 1 << 20;

/// Bytes that may wait unread in one HTTP/2 stream. Two frames: one read, one on its way.
pub const HTTP2_STREAM_WINDOW: u32 = 2 << 20;

/// Bytes that may wait unread in one HTTP/2 connection. They are taken before any room is asked
/// for, so the product with [`CONNECTIONS`] is what a hostile crowd can make us hold: 4 GiB.
pub const HTTP2_CONNECTION_WINDOW: u32 = 4 << 20;

/// The least window of HTTP/2, stream and connection: what the protocol begins with.
pub const HTTP2_WINDOW_MIN: u32 = 65_535;

/// The part of a memory limit that is kept free for what is not counted, one in so many: the
/// Collector's 20 %. Keys `memory_limiter.spike_limit_mib` and `spike_limit_percentage`.
pub const SPIKE_SHARE: u64 = 5;

/// The part of what a memory limit lets in, one in so many, up to which room is left to what
/// requests that have begun announce: what is turned away half read has been read for nothing.
/// Not more, or announcing would be a cheap way to keep others out.
pub const BEGUN_SHARE: usize = 8;

/// How many times the bytes that have come of a body are counted beforehand, up to what it
/// announces. With windows of 64 KiB a usual body is counted whole with its first piece.
pub const BELIEVED_SHARE: usize = 16;

/// Memory that a machine is taken to have that does not say. Small, for a percentage of it to be
/// safe.
pub const MEMORY_UNKNOWN: u64 = 1 << 30;

/// Connections whose unread bytes fit into the part of a memory limit that is kept free. A
/// gateway has no more busy ones at once; the windows get smaller with the limit, down to
/// [`HTTP2_WINDOW_MIN`].
pub const LIMITED_CONNECTIONS: usize = 200;

/// Streams of one HTTP/2 connection at once. Key `max_concurrent_streams`.
pub const HTTP2_STREAMS: u32 = 200;

/// HTTP/2 frames of control (PING, SETTINGS, PRIORITY, WINDOW_UPDATE and the like) that a
/// connection may send beyond what its requests and time account for; then it is closed with
/// GOAWAY. No client comes near it, and 10,000 cost a few milliseconds. Metric
/// `spanloom_receiver_floods`.
pub const HTTP2_CONTROL_FRAMES: usize = 10_000;

/// Frames of control that one request accounts for: the client's window updates and pings for its
/// answer, a priority, a reset.
pub const HTTP2_CONTROL_PER_REQUEST: usize = 8;

/// Frames of control that a second accounts for. A busy client measures its line with a ping for
/// each round trip, of milliseconds; an idle one pings every few seconds.
pub const HTTP2_CONTROL_RATE: usize = 1000;

/// Bytes of the headers of one request, in HTTP/1 and HTTP/2. OTLP needs under 1 KiB, some tokens
/// are long.
pub const HEADER_BYTES: usize = 16 << 10;

/// Headers of one HTTP/1 request.
pub const HEADERS: usize = 100;

/// Bytes of one export request: batches are joined up to it and a larger one is split. Backends
/// built on gRPC refuse 4 MiB and more by default. Key `sending_queue.batch.max_size`.
pub const EXPORT_BYTES: usize = 1 << 20;

/// Bytes that an exporter's queue holds. Key `sending_queue.queue_size`; metric
/// `otelcol_exporter_queue_size`.
pub const QUEUE_BYTES: usize = 32 << 20;

/// MiB of a pipeline's journal. At 5 MB/s, a busy gateway, it takes a quarter of an hour without a
/// backend; whoever has longer outages has a disk for it. Key `file_storage.limit_mib`; metric
/// `spanloom_journal_bytes`, and what is turned away at it is `spanloom_journal_refused_items`.
pub const JOURNAL_MIB: i64 = 4096;

/// MiB of dead letters of all exporters together, in a `file_storage`. What a backend refuses is a
/// mistake to be found, not a stream to be kept. Key `file_storage.dead_letter_mib`; beyond it,
/// `spanloom_pipeline_dropped_items` counts them under the rule `dead_letters_full`.
pub const DEAD_LETTER_MIB: i64 = 256;

/// How often dead letters are counted again while there is no room for another, since others may
/// have taken some away. To count them reads the directory.
pub const DEAD_LETTER_COUNT: Duration = Duration::from_secs(1);

/// Bytes of requests that wait to be written to a journal: a disk that hangs must not fill memory.
pub const JOURNAL_PENDING_BYTES: usize = 64 << 20;

/// Bytes of the newest entries of a journal that stay in memory for what is behind it. What is
/// older is read back.
pub const JOURNAL_RESIDENT_BYTES: usize = 8 << 20;

/// Time without writing after a journal could not be written. Clients come back after
/// [`RETRY_AFTER`], and what is tried creates a file.
pub const JOURNAL_PAUSE: Duration = Duration::from_millis(500);

/// How often a journal removes what has left, and after how many of these it syncs what it says
/// about it: after a power cut, what left within that time is delivered again.
pub const JOURNAL_TICK: Duration = Duration::from_millis(250);
pub const JOURNAL_SYNC_TICKS: u32 = 4;

/// Bytes of one segment of a journal: what a removal gives back at once. The least keeps a small
/// journal from being all files, the most keeps a search behind damage short.
pub const JOURNAL_SEGMENT_MIN: u64 = 64 << 10;
pub const JOURNAL_SEGMENT_MAX: u64 = 32 << 20;

/// Bytes of one entry: a request, and what processors before the journal may have added.
pub const JOURNAL_RECORD_BYTES: usize = REQUEST_BYTES + ADDED_BYTES;

/// Bytes of damaged records that are kept for a person to look at.
pub const JOURNAL_DAMAGE_BYTES: u64 = 256 << 20;

/// Bytes that are read at once where a whole record is searched behind damage.
pub const JOURNAL_READ_BYTES: usize = 1 << 20;

/// Bytes of one file of releases, 20 for each range: far above what belongs to one segment.
pub const JOURNAL_LEDGER_BYTES: usize = 64 << 20;

/// How long requests wait to be written together, and the bytes at which they do not wait longer.
/// A sync takes 1 to 5 ms on usual disks, so this costs no more than half of one, and nothing once
/// requests come while one is under way.
pub const JOURNAL_WINDOW: Duration = Duration::from_millis(2);
pub const JOURNAL_GROUP_BYTES: usize = 4 << 20;

/// Pause between two looks at a lock that another process holds, and no longer wait than the key
/// `file_storage.timeout`.
pub const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Headers of a request that are known to its pipelines, where a receiver has `include_metadata`.
/// Clients behind a proxy send about twenty. Metric `spanloom_receiver_dropped_metadata`, as for
/// the next.
pub const METADATA_HEADERS: usize = 64;

/// Bytes of their names and values. Twice the longest W3C baggage that everyone must carry.
pub const METADATA_BYTES: usize = 16 << 10;

/// Batches that wait for a pipeline's own task. Their bytes count against [`INFLIGHT_BYTES`].
pub const PIPELINE_BATCHES: usize = 64;

/// Tasks among which a pipeline's traces are divided unless it says otherwise. Each part of a
/// request repeats what stands around its spans, so many shards make small work of it. Key
/// `service.pipelines.<id>.shards`.
pub const PIPELINE_SHARDS: usize = 16;

/// Bytes that the parts of a request for its shards may repeat of what stands around its spans, if
/// the request is not larger itself. Real resources take under 2 KiB. A request of which more would
/// have to be repeated goes to one shard whole. Metric `spanloom_pipeline_unparted_requests`.
pub const PIPELINE_REPEATED_BYTES: usize = 1 << 20;

/// The most shards that may be configured.
pub const PIPELINE_SHARDS_MAX: i64 = 64;

/// How long a processor may hold what clients wait for. With [`ADMISSION_WAIT`] before it, in
/// front of the pipeline's task, and after it, in front of a queue, within [`ANSWER_WAIT`]. Key
/// `batch.timeout`.
pub const BATCH_HOLD: Duration = Duration::from_secs(4);

/// Longest delay that a backend's Retry-After or RetryInfo can ask for. Real ones ask for seconds;
/// a hostile one must not stop delivery for years.
pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(600);

/// Time to connect to a backend: name, TCP, TLS. Shorter than an attempt (key `timeout`, 5 s or
/// 30 s), so that the error says what hung.
pub const CONNECT_TIME: Duration = Duration::from_secs(4);

/// Time of one attempt of an exporter without a key `timeout`.
pub const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(30);

/// Smallest request that a backend's "too large" leads to; below it the backend is at fault.
pub const EXPORT_BYTES_MIN: usize = 4 << 10;

/// Spans of one request that are printed as a tree. A person reads a few dozen.
pub const TREE_SPANS: usize = 500;

/// Time between two log lines of an exporter about the same trouble; the second says how often.
pub const LOG_PAUSE: Duration = Duration::from_secs(30);

/// Time to deliver what is queued after a termination signal.
pub const DRAIN_TIME: Duration = Duration::from_secs(20);

/// Time without spans after which a trace leaves its window, and time after its first span at which
/// it does, in the configuration's notation. SDKs export every 5 s and most calls end within that;
/// whoever calls slower tools sets both. Keys `trace_window.idle` and `.wait`.
pub const WINDOW_IDLE: &str = "2s";
pub const WINDOW_WAIT: &str = "15s";

/// MiB that a window takes. At 1 KiB a span 60,000 spans: 10 s of a busy sidecar. Key
/// `trace_window.limit_mib`; metric `otelcol_processor_groupbytrace_traces_evicted`, as for the
/// next two.
pub const WINDOW_MIB: i64 = 64;

/// Traces and spans that a window holds. The first is the Collector's; with its default memory the
/// bound of bytes comes first. Keys `trace_window.num_traces` and `.limit_spans`.
pub const WINDOW_TRACES: i64 = 1_000_000;
pub const WINDOW_SPANS: i64 = 1_000_000;

/// Traces that are remembered as left, 64 bytes each, in one eighth of the window's memory at
/// most. Key `trace_window.limit_released`; metric `spanloom_trace_window_forgotten_traces`.
pub const WINDOW_RELEASED: i64 = 100_000;

/// Traces leave at multiples of this time, so that they leave together: nobody sees a tenth of a
/// second, and an exporter sees ten batches a second.
pub const WINDOW_TICK: Duration = Duration::from_millis(100);

/// Bytes that leave a window at once. What leaves exists twice for a moment; three quarters of a
/// request to a backend leave room for what processors behind add.
pub const WINDOW_PORTION: usize = 768 << 10;

/// Percent of a window's memory in which spans and tables are held. The rest is for what exists
/// twice while it leaves, and for what an allocator keeps of that when it is freed: measured.
pub const WINDOW_HELD_PERCENT: usize = 70;

/// The part of a window that one trace may take while the window is crowded, one in so many: by
/// default 2.8 MiB, some 4,000 spans without content. One that never ends then leaves before it
/// drives out the others. Metric `otelcol_processor_groupbytrace_traces_released` with the cause
/// `size`, as for the next two.
pub const WINDOW_TRACE_SHARE: usize = 16;

/// A window is crowded when more than one part in so many is taken: in one that is nearly empty a
/// large trace takes room from nobody.
pub const WINDOW_CROWDED_SHARE: usize = 4;

/// Bytes that one trace may take in any case. It leaves as one request, and may double on its way.
pub const WINDOW_TRACE_BYTES: usize = REQUEST_BYTES / 2;

/// The part of a window's memory that traces which left may take at most, one in so many.
pub const WINDOW_LEFT_SHARE: usize = 8;

/// Bytes of the memory that a window fills at once: a part of its limit, one in so many, between
/// these bounds. The more, the less is free beside what is held; the larger, the fewer.
pub const WINDOW_SEGMENTS: usize = 64;
pub const WINDOW_SEGMENT_MIN: usize = 32 << 10;
pub const WINDOW_SEGMENT_MAX: usize = 1 << 20;

/// Time for the answer of a running spanloom to the commands that ask it. On one machine it takes a
/// millisecond; shorter than the 3 s that health checks of containers have by custom.
pub const ASK_TIME: Duration = Duration::from_millis(2_500);

/// Findings that are kept for `spanloom status`: a screen full of them. What is older is counted
/// only.
pub const FINDINGS: usize = 32;

/// Bytes of a service's or span's name in a finding. One line; all findings together stay below
/// 16 KiB.
pub const FINDING_TEXT_BYTES: usize = 128;

/// Connections of the control port at once: a person looks at one or two, a script at a few.
pub const CONTROL_CONNECTIONS: usize = 16;

/// Bytes of a call to the control port. Its requests are empty.
pub const CONTROL_REQUEST_BYTES: usize = 4 << 10;

/// Members of one W3C baggage that are read. 64 is what everyone must propagate, by the
/// specification. Metric `spanloom_baggage_rejected_members`.
pub const BAGGAGE_MEMBERS: usize = 64;

/// Bytes of one W3C baggage that are read. 8192 for the same reason, under the same metric.
pub const BAGGAGE_BYTES: usize = 8192;

/// Baggage keys that can be promoted: one bit of a word each.
pub const BAGGAGE_KEYS: usize = 32;

/// Bytes of a promoted value: identifiers are under 100, and every span of the trace pays for it.
/// Key `baggage.max_value_bytes`; metric `spanloom_baggage_rejected_members`.
pub const BAGGAGE_VALUE_BYTES: i64 = 256;

/// Rules of the user in one `sensitive` processor: one bit of a word each, but for the last. Key
/// `sensitive.rules`.
pub const SENSITIVE_RULES: usize = 63;

/// Traces whose baggage is remembered, and the MiB they take: a trace takes about 300 bytes, so
/// the first bound comes first. Keys `baggage.limit_traces` and `baggage.limit_mib`; metric
/// `spanloom_baggage_forgotten_traces`.
pub const BAGGAGE_TRACES: i64 = 50_000;
pub const BAGGAGE_MIB: i64 = 16;

/// Spans of one trace whose values are remembered, where they are not the root's: 18 bytes each and
/// their values. Metric `spanloom_baggage_rejected_members`, as for the next.
pub const BAGGAGE_SPANS: usize = 10_000;

/// Different values that are promoted within `baggage.ttl`, 18 bytes each: no deployment serves so
/// many users at once, and what makes up a value per request is no identifier. Key
/// `baggage.limit_values`.
pub const BAGGAGE_VALUES: i64 = 500_000;

/// Items that wait within a batch for values that stand further behind in it: 96 bytes each. Far
/// above any trace's.
pub const BAGGAGE_WAITING_ITEMS: usize = 1 << 17;

/// Traces that are known as fragments of others: 200 bytes each. Metric
/// `spanloom_fragments_forgotten`.
pub const FRAGMENTS: usize = 50_000;

/// Fragments of fragments of one trace that are told apart: above any run that was seen torn.
pub const FRAGMENTS_DEPTH: usize = 16;

/// Time that they are, since their last use. As [`TRACE_TTL`].
pub const FRAGMENTS_TTL: Duration = Duration::from_secs(600);

/// How long a trace is remembered that shows no more spans, in the configuration's notation: an
/// agent that waits for a person or a slow tool is silent for minutes. Keys `baggage.ttl` and
/// `orphans.ttl`.
pub const TRACE_TTL: &str = "10m";

/// Bytes of one record of a telemetry file: a line, or a message with its length. As for requests,
/// since the one becomes the other. Key `max_log_size`; metric `spanloom_receiver_bad_records`.
pub const FILE_RECORD_BYTES: usize = REQUEST_BYTES;

/// Bytes that a compressed file may unfold to for `spanloom diagnose`; a person sees the error.
pub const DIAGNOSE_BYTES: usize = 1 << 30;

/// Bytes of records of a file that are read, and handed to the pipelines, as one batch.
pub const FILE_BATCH_BYTES: usize = 1 << 20;

/// Batches of one receiver of files that wait for their verdict at once: enough to keep a batching
/// processor busy, and 16 MiB of the room that receivers share while a backend is away.
pub const FILE_BATCHES: usize = 16;

/// Longest wait of a receiver of files before it offers once more what was not taken.
pub const FILE_RETRY_MAX: Duration = Duration::from_secs(30);

/// Files that one receiver follows at once, each an open file; as many as in the Collector.
pub const FOLLOWED_FILES: usize = 1024;

/// How long a file that was renamed or deleted is still read after its last growth: its writer may
/// not have noticed yet.
pub const FILE_GONE_TIME: Duration = Duration::from_secs(30);

/// Directory entries that one pattern of a receiver of files looks at in one go.
pub const GLOB_ENTRIES: usize = 100_000;

/// Levels of directories below the fixed part of a pattern with `**`.
pub const GLOB_DEPTH: usize = 16;

/// Bad records of one receiver of files that the log names; more are only counted.
pub const BAD_RECORDS_NAMED: usize = 100;

/// Bytes of one configuration source (a file, a variable, a `${file:...}`). 4 MiB: a hand-written
/// file is under 100 KiB, and whoever points `--config` at a log file gets a sentence, not a
/// process out of memory.
pub const CONFIG_BYTES: usize = 4 << 20;

/// YAML nodes of one configuration source after aliases are resolved. 100 000: far above a large
/// gateway, far below what a file of nested aliases ("billion laughs") unfolds to.
pub const CONFIG_NODES: usize = 100_000;

/// Levels of nesting in a configuration. 64: the deepest documented key is nine levels down, and
/// every walk over the tree recurses.
pub const CONFIG_DEPTH: usize = 64;

/// Expansions (`${...}`) that one value may need, nested ones included. 100, as in the Collector:
/// it ends variables that refer to each other.
pub const CONFIG_EXPANSIONS: usize = 100;

/// Bytes of one condition's text. 16 KiB: a hand-written one is under 500 bytes.
pub const CONDITION_BYTES: usize = 16 << 10;

/// Levels of nesting in a condition, and operations in a row: every walk over its tree recurses.
pub const CONDITION_NESTING: usize = 64;

/// Values, names and operators of one condition. With [`CONDITION_NESTING`] it bounds the depth of
/// the tree; a list of alternatives longer than this is several conditions.
pub const CONDITION_PARTS: usize = 1024;

/// Bytes that one regular expression of a configuration may take when compiled, and its cache of
/// states as much again. 1 MiB: `\w{1000}` and its like are refused when the file is read.
pub const PATTERN_BYTES: usize = 1 << 20;

/// Named groups of one pattern that takes attributes out of a text: each may copy the whole of it.
pub const PATTERN_GROUPS: usize = 32;

/// Bytes that one processor may add to one request; beyond it the request is refused as too large.
/// 128 MiB: what is configured on purpose adds a few hundred bytes per item, and a client may send
/// half a million empty ones.
pub const ADDED_BYTES: usize = 128 << 20;

const _: () = assert!(
    ADDED_BYTES + 2 * REQUEST_BYTES < u32::MAX as usize,
    "edits address what they add by 32 bits, and the bound is looked at after each value"
);
const _: () = assert!(INFLIGHT_BYTES >= REQUEST_BYTES, "one largest request must be admissible");
const _: () = assert!(REQUEST_BYTES < u32::MAX as usize, "edits address a request by 32 bits");
const _: () = assert!(REQUEST_ELEMENTS >= REQUEST_ITEMS, "every item is an element");
const _: () = assert!(CONFIG_DEPTH < CONFIG_NODES);
const _: () = assert!(
    BATCH_HOLD.as_secs() + 2 * ADMISSION_WAIT.as_secs() <= ANSWER_WAIT.as_secs(),
    "what is held must still find room before its client is told to come back"
);

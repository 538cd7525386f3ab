//! The bounds of `orphans`: what is remembered of spans, and for how long heads wait.

use std::time::Duration;

/// Traces whose roots are remembered: 200 bytes each. Key `orphans.limit_traces`; metric
/// `spanloom_orphans_forgotten_traces`.
pub const ORPHAN_TRACES: i64 = 50_000;

/// Span ids that are remembered: 18 bytes each when full. At 10,000 spans a second this reaches
/// back 50 s. Key `orphans.limit_spans`.
pub const ORPHAN_SPANS: i64 = 500_000;

/// How long a head waits for evidence of its parent, in the configuration's notation: two intervals
/// of 5 s at which SDKs export, and what comes late. Key `orphans.head_hold`.
pub const ORPHAN_HOLD: &str = "15s";

/// How long a head waits whose trace has no root yet and still grows, in the configuration's
/// notation: most agents are done by then. Key `orphans.hold_max`.
pub const ORPHAN_HOLD_MAX: &str = "60s";

/// MiB of heads, and in mode `rewrite` of fragments, that are held. Beyond it the oldest are judged
/// early. Key `orphans.limit_mib`; metric `spanloom_orphans_hurried`.
pub const ORPHAN_MIB: i64 = 24;

/// Held heads are judged at multiples of this time, so that they leave together.
pub const ORPHAN_TICK: Duration = Duration::from_millis(500);

/// Bytes up to which what is held of several requests, and due together, is one block: above it
/// what a block costs is nothing beside its spans, and below it little is judged early at once.
pub const ORPHAN_BLOCK: usize = 32 << 10;

/// Boundary spans (calls, agents, tools) that are remembered as parents: 300 bytes each with their
/// keys. Key `orphans.limit_boundaries`; metric `spanloom_orphans_boundaries`.
pub const ORPHAN_BOUNDARIES: i64 = 100_000;

/// How long a boundary span is remembered.
pub const ORPHAN_CANDIDATE_TIME: Duration = Duration::from_secs(600);

/// Boundary spans that are looked at for one head, the latest of each trace that it may be of:
/// heads come soon after their parents, and the search must not grow with the traces.
pub const ORPHAN_TRACE_NODES: usize = 256;

/// Latest boundary spans of a trace among which the parent of one is looked for to learn who calls
/// whom: most stand near, and one that is missed is one sample less.
pub const ORPHAN_NEAR: usize = 32;

/// Time from a span's end to its arrival, mostly: twice the interval at which SDKs export. Where
/// what came in that time before a head is forgotten, its run is not looked for by time.
pub const ORPHAN_EXPORT: Duration = Duration::from_secs(10);

/// Runs of one process that a tool without any key may belong to and that are looked at: with more
/// of them, so many steps end together that none of them tells anything.
pub const ORPHAN_RUNS: usize = 16;

/// Answers of models of which the arguments of calls are hashed before any torn tool asks for them,
/// and behind each that does: enough to find the first torn ones, and in a stream that is whole
/// soon nothing.
pub const ORPHAN_ANSWERS: u32 = 10_000;

/// Bytes of a model's messages, or of a tool's arguments, that are read for that; what is longer
/// has no hash.
pub const ORPHAN_ARGUMENTS_BYTES: usize = 16 << 10;

/// Spans of one batch, of those traces that are looked at, in which gaps are counted; the others of
/// a larger batch are left out. Metric `spanloom_orphans_inner_gaps`.
pub const ORPHAN_GAP_SPANS: usize = 4096;

/// Operations (service, kind and name) of which it is learned how they are called.
pub const ORPHAN_OPERATIONS: usize = 8192;

/// A trace without a root that has more spans than this and is longer than this is several.
pub const ORPHAN_MERGED_SPANS: u32 = 10_000;
pub const ORPHAN_MERGED_AGE: Duration = Duration::from_secs(3600);

/// Calls of one service that are compared with one answer, the latest: 100 a second for the seconds
/// that pass between a call's end and an answer's export.
pub const ORPHAN_CALLS: usize = 512;

/// Spans above each other that are followed at most: agents nest under 30, and a ring of spans that
/// are each other's parents must end somewhere.
pub const ORPHAN_DEPTH: usize = 64;

/// Time from the start of a trace within which another root begins with it and not amid it.
pub const ORPHAN_DISTANCE: Duration = Duration::from_millis(300);

/// How far clocks of hosts may be apart: a child may seem to start so much before its parent.
pub const ORPHAN_SKEW: Duration = Duration::from_secs(1);

/// Time between the end of what went before and a span, up to which that is a gap; and for spans of
/// kind CONSUMER, since messages wait longer than calls do.
pub const ORPHAN_GAP_MAX: Duration = Duration::from_secs(600);
pub const ORPHAN_TRANSIT_MAX: Duration = Duration::from_secs(3600);

/// Time without callers after which a service counts as one that is called from outside.
pub const ORPHAN_CALLER_TIME: Duration = Duration::from_secs(86_400);

/// Traces that were rewritten, of which late spans follow, and for how long: 64 bytes each.
pub const ORPHAN_ALIASES: usize = 100_000;
pub const ORPHAN_ALIAS_TIME: Duration = Duration::from_secs(86_400);

/// Parents that are known by name and get a link when they come: 150 bytes each. Metric
/// `spanloom_orphans_links_back`.
pub const ORPHAN_COMING_LINKS: usize = 20_000;

/// Links that a parent gets to the heads below it: as many as SDKs let a span have. Metric
/// `spanloom_orphans_missed_links`.
pub const ORPHAN_LINKS: usize = 128;

/// Heads that have left without a parent that is known and are remembered, in case it comes: 0.5 to
/// 1 KiB each. Metrics `spanloom_orphans_ledger` and, of those that were forgotten for others,
/// `spanloom_orphans_late_results`.
pub const ORPHAN_LEDGER: usize = 10_000;

/// For how long, in the configuration's notation: sessions of agents last a working day, and their
/// span comes when they end. Key `orphans.ledger`.
pub const ORPHAN_LEDGER_TIME: &str = "12h";

/// Time without spans after which a process counts as gone: an agent that waits for its user sends
/// none either.
pub const ORPHAN_SILENCE: Duration = Duration::from_secs(3600);

/// Bytes of a resource with a tenant that is remembered for a bridge; heads with larger ones are
/// not remembered. And how many are known again, so that heads share them.
pub const ORPHAN_GROUP_BYTES: usize = 4096;
pub const ORPHAN_GROUPS: usize = 512;

/// Time without spans after which a trace takes no fragments: backends have stored it for good.
pub const ORPHAN_CLOSED_TIME: Duration = Duration::from_secs(3600);

/// Fragments that go into one trace, and the spans that it has then: above any agent's run, and
/// below what backends show. Metric `spanloom_orphans_refused_rewrites`.
pub const ORPHAN_FRAGMENTS: u32 = 200;
pub const ORPHAN_MENDED_SPANS: usize = 50_000;

/// Service names that are remembered, to name the service of a parent.
pub const ORPHAN_SERVICES: usize = 4096;

/// Time from a trace's root to the last of its spans, after which a parent that never came is
/// called missing, in the configuration's notation. SDKs export every 5 s; this is three times
/// that. Key `orphans.settle`.
pub const ORPHAN_SETTLE: &str = "15s";

/// Clients that may have made one call, by time alone. With more of them nothing is said: the
/// likeliest of so many is likely wrong, and to weigh them all takes longer than all else that a
/// span costs.
pub const ORPHAN_CANDIDATES: usize = 64;

/// Boundary spans that are gone through for a tool that belongs to nothing, the last that came:
/// what comes in a minute at 270 a second.
pub const ORPHAN_SCAN: usize = 16_384;

/// Boundary spans that are gone through for all heads in a second, so that searching by time takes
/// about one part in fifty of a core at most, however many heads there are; a client that is
/// weighed counts as eight. Heads beyond it say so (cause `budget`).
pub const ORPHAN_SCANNED: usize = 1 << 20;

//! Field numbers of the OTLP messages that views and edits name (opentelemetry-proto 1.11).
//!
//! The three export requests share their upper levels number for number, so one set serves all
//! signals: request -> resource group -> scope group -> item (span, log record or metric).

/// Levels that traces, logs and metrics have in common.
pub mod request {
    pub const RESOURCE_GROUPS: u32 = 1;
}
/// `ResourceSpans`, `ResourceLogs`, `ResourceMetrics`.
pub mod resource_group {
    pub const RESOURCE: u32 = 1;
    pub const SCOPE_GROUPS: u32 = 2;
    pub const SCHEMA_URL: u32 = 3;
}
/// `ScopeSpans`, `ScopeLogs`, `ScopeMetrics`.
pub mod scope_group {
    pub const SCOPE: u32 = 1;
    pub const ITEMS: u32 = 2;
    pub const SCHEMA_URL: u32 = 3;
}
/// `Resource`.
pub mod resource {
    pub const ATTRIBUTES: u32 = 1;
    pub const DROPPED_ATTRIBUTES_COUNT: u32 = 2;
}
/// `InstrumentationScope`.
pub mod scope {
    pub const NAME: u32 = 1;
    pub const VERSION: u32 = 2;
    pub const ATTRIBUTES: u32 = 3;
    pub const DROPPED_ATTRIBUTES_COUNT: u32 = 4;
}
/// `Span`.
pub mod span {
    pub const TRACE_ID: u32 = 1;
    pub const SPAN_ID: u32 = 2;
    pub const TRACE_STATE: u32 = 3;
    pub const PARENT_SPAN_ID: u32 = 4;
    pub const NAME: u32 = 5;
    pub const KIND: u32 = 6;
    pub const START_TIME: u32 = 7;
    pub const END_TIME: u32 = 8;
    pub const ATTRIBUTES: u32 = 9;
    pub const DROPPED_ATTRIBUTES_COUNT: u32 = 10;
    pub const EVENTS: u32 = 11;
    pub const DROPPED_EVENTS_COUNT: u32 = 12;
    pub const LINKS: u32 = 13;
    pub const DROPPED_LINKS_COUNT: u32 = 14;
    pub const STATUS: u32 = 15;
    pub const FLAGS: u32 = 16;
}
/// `Span.Event`.
pub mod event {
    pub const TIME: u32 = 1;
    pub const NAME: u32 = 2;
    pub const ATTRIBUTES: u32 = 3;
    pub const DROPPED_ATTRIBUTES_COUNT: u32 = 4;
}
/// `Span.Link`.
pub mod link {
    pub const TRACE_ID: u32 = 1;
    pub const SPAN_ID: u32 = 2;
    pub const TRACE_STATE: u32 = 3;
    pub const ATTRIBUTES: u32 = 4;
    pub const DROPPED_ATTRIBUTES_COUNT: u32 = 5;
    pub const FLAGS: u32 = 6;
}
/// `Status`.
pub mod status {
    pub const MESSAGE: u32 = 2;
    pub const CODE: u32 = 3;
}
/// `LogRecord`.
pub mod log_record {
    pub const TIME: u32 = 1;
    pub const SEVERITY_NUMBER: u32 = 2;
    pub const SEVERITY_TEXT: u32 = 3;
    pub const BODY: u32 = 5;
    pub const ATTRIBUTES: u32 = 6;
    pub const DROPPED_ATTRIBUTES_COUNT: u32 = 7;
    pub const FLAGS: u32 = 8;
    pub const TRACE_ID: u32 = 9;
    pub const SPAN_ID: u32 = 10;
    pub const OBSERVED_TIME: u32 = 11;
    pub const EVENT_NAME: u32 = 12;
}
/// `Metric`: what holds its data points differs by its type.
pub mod metric {
    pub const NAME: u32 = 1;
    /// Gauge, sum, histogram, exponential histogram and summary.
    pub const DATA: [u32; 5] = [5, 7, 9, 10, 11];
    /// In each of them.
    pub const DATA_POINTS: u32 = 1;
    /// The attributes of a data point, by what holds it in the order of [`DATA`].
    pub const POINT_ATTRIBUTES: [u32; 5] = [7, 7, 9, 1, 7];
    /// The exemplars of a data point, in the same order; a summary has none.
    pub const POINT_EXEMPLARS: [Option<u32>; 5] = [Some(5), Some(5), Some(8), Some(11), None];
}
/// `Exemplar`.
pub mod exemplar {
    pub const FILTERED_ATTRIBUTES: u32 = 7;
}
/// `KeyValue`.
pub mod key_value {
    pub const KEY: u32 = 1;
    pub const VALUE: u32 = 2;
}
/// `AnyValue`, a oneof: at most one of these is present.
pub mod any_value {
    pub const STRING: u32 = 1;
    pub const BOOL: u32 = 2;
    pub const INT: u32 = 3;
    pub const DOUBLE: u32 = 4;
    pub const ARRAY: u32 = 5;
    pub const KVLIST: u32 = 6;
    pub const BYTES: u32 = 7;
}
/// `ArrayValue` and `KeyValueList` both hold their members in field 1.
pub mod list {
    pub const VALUES: u32 = 1;
}

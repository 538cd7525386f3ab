//! Every OTLP message as a table: field number, JSON name, kind (opentelemetry-proto 1.11).
//!
//! One table drives the check of the bytes, the JSON mapping in both directions, and the test
//! that holds the numbers against generated types. A field that is not listed is unknown: it is
//! checked for well-formedness only and carried along.

use super::wire::WireType;

/// How a field's value is encoded, in protobuf and in JSON.
#[derive(Clone, Copy)]
pub enum Kind {
    Bool,
    /// int32 and enums: a signed varint; JSON number.
    Enum,
    /// uint32: a varint; JSON number.
    Uint32,
    /// sint32: a zigzag varint; JSON number.
    Sint32,
    /// uint64 as a varint; JSON string.
    Uint64,
    /// int64 as a varint; JSON string.
    Int64,
    /// fixed64: eight bytes, unsigned; JSON string.
    Fixed64,
    /// sfixed64: eight bytes, signed; JSON string.
    Sfixed64,
    /// fixed32: four bytes; JSON number.
    Fixed32,
    Double,
    /// UTF-8 text.
    Text,
    /// Bytes; base64 in JSON.
    Bytes,
    /// A trace or span id: bytes; hexadecimal in JSON.
    Id,
    Message(&'static Message),
}

/// How often a field occurs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Label {
    One,
    Many,
    /// One of several that exclude each other; setting it to its zero value is not the same as
    /// leaving it out.
    Oneof,
    /// Singular with presence (`optional` in the .proto file).
    Optional,
}

/// One field of a message.
pub struct Field {
    pub number: u32,
    /// The lowerCamelCase name.
    pub name: &'static str,
    pub kind: Kind,
    pub label: Label,
    /// How one value is laid out; numbers of a list may be packed instead.
    pub wire: WireType,
    /// A bit of its own among the singular fields of its message, the same one for all members of
    /// a oneof; 0 for a repeated field.
    pub singular: u32,
    /// What it takes to prove a usual value.
    pub step: Step,
}

/// What it takes to prove a value that is laid out as its field says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A look at the field: it is unknown or unusual.
    Look,
    /// Nothing behind the length.
    Bytes,
    Text,
    Attribute,
    Message,
    Fixed64,
    Varint,
}

/// What a one-byte tag means.
#[derive(Clone, Copy)]
pub struct Usual {
    pub step: Step,
    /// As in [`Field::singular`].
    pub singular: u32,
}

/// One message type.
pub struct Message {
    pub name: &'static str,
    /// Ordered by number.
    pub fields: &'static [Field],
    /// Whether a value of this type counts as an item: a span, a log record or a data point.
    pub item: bool,
    /// By number, the field's place in `fields`, counted from 1; 0 for none.
    places: [u8; PLACES],
    /// By tag, for tags of one byte with the field's own wire type.
    usual: [Usual; 128],
}

/// More than the largest field number.
const PLACES: usize = 17;

impl Message {
    /// The field with `number`, if OTLP knows it.
    #[inline]
    pub fn field(&self, number: u32) -> Option<&'static Field> {
        let place = *self.places.get(number as usize)?;
        self.fields.get(usize::from(place).wrapping_sub(1))
    }

    /// What the one-byte tag `tag` means: nearly all fields of nearly all requests.
    #[inline]
    pub fn usual(&self, tag: u8) -> Usual {
        let unknown = Usual { step: Step::Look, singular: 0 };
        self.usual.get(usize::from(tag)).copied().unwrap_or(unknown)
    }

    /// The field with the JSON name `name`.
    pub fn named(&self, name: &[u8]) -> Option<&'static Field> {
        self.fields.iter().find(|f| f.name.as_bytes() == name)
    }
}

const fn field(number: u32, name: &'static str, kind: Kind, label: Label) -> Field {
    let wire = match kind {
        Kind::Text | Kind::Bytes | Kind::Id | Kind::Message(_) => WireType::Len,
        Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => WireType::Fixed64,
        Kind::Fixed32 => WireType::Fixed32,
        _ => WireType::Varint,
    };
    let singular = match label {
        Label::Many => 0,
        Label::Oneof => 1,
        Label::One | Label::Optional => 1 << number,
    };
    let step = match kind {
        Kind::Text => Step::Text,
        Kind::Bytes | Kind::Id => Step::Bytes,
        Kind::Message(_) => Step::Message,
        Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => Step::Fixed64,
        Kind::Fixed32 => Step::Look,
        _ => Step::Varint,
    };
    Field { number, name, kind, label, wire, singular, step }
}
/// The attributes of a message, which are most of what a request consists of.
const fn attributes(number: u32) -> Field {
    let field = field(number, "attributes", Kind::Message(&KEY_VALUE), Label::Many);
    Field { step: Step::Attribute, ..field }
}
const fn one(number: u32, name: &'static str, kind: Kind) -> Field {
    field(number, name, kind, Label::One)
}
const fn many(number: u32, name: &'static str, kind: Kind) -> Field {
    field(number, name, kind, Label::Many)
}
const fn oneof(number: u32, name: &'static str, kind: Kind) -> Field {
    field(number, name, kind, Label::Oneof)
}
const fn optional(number: u32, name: &'static str, kind: Kind) -> Field {
    field(number, name, kind, Label::Optional)
}
#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it, and `get` is not const")]
const fn places(fields: &[Field]) -> [u8; PLACES] {
    let (mut places, mut k) = ([0; PLACES], 0);
    while k < fields.len() {
        places[fields[k].number as usize] = k as u8 + 1;
        k += 1;
    }
    places
}
#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it, and `get` is not const")]
const fn usual(fields: &[Field]) -> [Usual; 128] {
    let (mut usual, mut k) = ([Usual { step: Step::Look, singular: 0 }; 128], 0);
    while k < fields.len() {
        let tag = fields[k].number << 3 | fields[k].wire.code();
        if tag < 128 {
            usual[tag as usize] = Usual { step: fields[k].step, singular: fields[k].singular };
        }
        k += 1;
    }
    usual
}
const fn message(name: &'static str, fields: &'static [Field]) -> Message {
    Message { name, fields, item: false, places: places(fields), usual: usual(fields) }
}
const fn item(name: &'static str, fields: &'static [Field]) -> Message {
    Message { name, fields, item: true, places: places(fields), usual: usual(fields) }
}

use Kind::{Bool, Bytes, Double, Enum, Fixed32, Fixed64, Id, Int64, Sfixed64, Sint32, Text};
use Kind::{Uint32, Uint64};

pub static ANY_VALUE: Message = message(
    "AnyValue",
    &[
        oneof(1, "stringValue", Text),
        oneof(2, "boolValue", Bool),
        oneof(3, "intValue", Int64),
        oneof(4, "doubleValue", Double),
        oneof(5, "arrayValue", Kind::Message(&ARRAY_VALUE)),
        oneof(6, "kvlistValue", Kind::Message(&KEY_VALUE_LIST)),
        oneof(7, "bytesValue", Bytes),
        oneof(8, "stringValueStrindex", Enum),
    ],
);
pub static ARRAY_VALUE: Message =
    message("ArrayValue", &[many(1, "values", Kind::Message(&ANY_VALUE))]);
pub static KEY_VALUE_LIST: Message =
    message("KeyValueList", &[many(1, "values", Kind::Message(&KEY_VALUE))]);
pub static KEY_VALUE: Message = message(
    "KeyValue",
    &[one(1, "key", Text), one(2, "value", Kind::Message(&ANY_VALUE)), one(3, "keyStrindex", Enum)],
);
static SCOPE: Message = message(
    "InstrumentationScope",
    &[
        one(1, "name", Text),
        one(2, "version", Text),
        attributes(3),
        one(4, "droppedAttributesCount", Uint32),
    ],
);
static ENTITY_REF: Message = message(
    "EntityRef",
    &[
        one(1, "schemaUrl", Text),
        one(2, "type", Text),
        many(3, "idKeys", Text),
        many(4, "descriptionKeys", Text),
    ],
);
static RESOURCE: Message = message(
    "Resource",
    &[
        attributes(1),
        one(2, "droppedAttributesCount", Uint32),
        many(3, "entityRefs", Kind::Message(&ENTITY_REF)),
    ],
);

pub static TRACES: Message = message(
    "ExportTraceServiceRequest",
    &[many(1, "resourceSpans", Kind::Message(&RESOURCE_SPANS))],
);
static RESOURCE_SPANS: Message = message(
    "ResourceSpans",
    &[
        one(1, "resource", Kind::Message(&RESOURCE)),
        many(2, "scopeSpans", Kind::Message(&SCOPE_SPANS)),
        one(3, "schemaUrl", Text),
    ],
);
static SCOPE_SPANS: Message = message(
    "ScopeSpans",
    &[
        one(1, "scope", Kind::Message(&SCOPE)),
        many(2, "spans", Kind::Message(&SPAN)),
        one(3, "schemaUrl", Text),
    ],
);
pub static SPAN: Message = item(
    "Span",
    &[
        one(1, "traceId", Id),
        one(2, "spanId", Id),
        one(3, "traceState", Text),
        one(4, "parentSpanId", Id),
        one(5, "name", Text),
        one(6, "kind", Enum),
        one(7, "startTimeUnixNano", Fixed64),
        one(8, "endTimeUnixNano", Fixed64),
        attributes(9),
        one(10, "droppedAttributesCount", Uint32),
        many(11, "events", Kind::Message(&EVENT)),
        one(12, "droppedEventsCount", Uint32),
        many(13, "links", Kind::Message(&LINK)),
        one(14, "droppedLinksCount", Uint32),
        one(15, "status", Kind::Message(&STATUS)),
        one(16, "flags", Fixed32),
    ],
);
static EVENT: Message = message(
    "Event",
    &[
        one(1, "timeUnixNano", Fixed64),
        one(2, "name", Text),
        attributes(3),
        one(4, "droppedAttributesCount", Uint32),
    ],
);
static LINK: Message = message(
    "Link",
    &[
        one(1, "traceId", Id),
        one(2, "spanId", Id),
        one(3, "traceState", Text),
        attributes(4),
        one(5, "droppedAttributesCount", Uint32),
        one(6, "flags", Fixed32),
    ],
);
static STATUS: Message = message("Status", &[one(2, "message", Text), one(3, "code", Enum)]);

pub static LOGS: Message =
    message("ExportLogsServiceRequest", &[many(1, "resourceLogs", Kind::Message(&RESOURCE_LOGS))]);
static RESOURCE_LOGS: Message = message(
    "ResourceLogs",
    &[
        one(1, "resource", Kind::Message(&RESOURCE)),
        many(2, "scopeLogs", Kind::Message(&SCOPE_LOGS)),
        one(3, "schemaUrl", Text),
    ],
);
static SCOPE_LOGS: Message = message(
    "ScopeLogs",
    &[
        one(1, "scope", Kind::Message(&SCOPE)),
        many(2, "logRecords", Kind::Message(&LOG_RECORD)),
        one(3, "schemaUrl", Text),
    ],
);
pub static LOG_RECORD: Message = item(
    "LogRecord",
    &[
        one(1, "timeUnixNano", Fixed64),
        one(2, "severityNumber", Enum),
        one(3, "severityText", Text),
        one(5, "body", Kind::Message(&ANY_VALUE)),
        attributes(6),
        one(7, "droppedAttributesCount", Uint32),
        one(8, "flags", Fixed32),
        one(9, "traceId", Id),
        one(10, "spanId", Id),
        one(11, "observedTimeUnixNano", Fixed64),
        one(12, "eventName", Text),
    ],
);

pub static METRICS: Message = message(
    "ExportMetricsServiceRequest",
    &[many(1, "resourceMetrics", Kind::Message(&RESOURCE_METRICS))],
);
static RESOURCE_METRICS: Message = message(
    "ResourceMetrics",
    &[
        one(1, "resource", Kind::Message(&RESOURCE)),
        many(2, "scopeMetrics", Kind::Message(&SCOPE_METRICS)),
        one(3, "schemaUrl", Text),
    ],
);
static SCOPE_METRICS: Message = message(
    "ScopeMetrics",
    &[
        one(1, "scope", Kind::Message(&SCOPE)),
        many(2, "metrics", Kind::Message(&METRIC)),
        one(3, "schemaUrl", Text),
    ],
);
static METRIC: Message = message(
    "Metric",
    &[
        one(1, "name", Text),
        one(2, "description", Text),
        one(3, "unit", Text),
        oneof(5, "gauge", Kind::Message(&GAUGE)),
        oneof(7, "sum", Kind::Message(&SUM)),
        oneof(9, "histogram", Kind::Message(&HISTOGRAM)),
        oneof(10, "exponentialHistogram", Kind::Message(&EXPONENTIAL_HISTOGRAM)),
        oneof(11, "summary", Kind::Message(&SUMMARY)),
        many(12, "metadata", Kind::Message(&KEY_VALUE)),
    ],
);
static GAUGE: Message =
    message("Gauge", &[many(1, "dataPoints", Kind::Message(&NUMBER_DATA_POINT))]);
static SUM: Message = message(
    "Sum",
    &[
        many(1, "dataPoints", Kind::Message(&NUMBER_DATA_POINT)),
        one(2, "aggregationTemporality", Enum),
        one(3, "isMonotonic", Bool),
    ],
);
static HISTOGRAM: Message = message(
    "Histogram",
    &[
        many(1, "dataPoints", Kind::Message(&HISTOGRAM_DATA_POINT)),
        one(2, "aggregationTemporality", Enum),
    ],
);
static EXPONENTIAL_HISTOGRAM: Message = message(
    "ExponentialHistogram",
    &[
        many(1, "dataPoints", Kind::Message(&EXPONENTIAL_DATA_POINT)),
        one(2, "aggregationTemporality", Enum),
    ],
);
static SUMMARY: Message =
    message("Summary", &[many(1, "dataPoints", Kind::Message(&SUMMARY_DATA_POINT))]);
static NUMBER_DATA_POINT: Message = item(
    "NumberDataPoint",
    &[
        one(2, "startTimeUnixNano", Fixed64),
        one(3, "timeUnixNano", Fixed64),
        oneof(4, "asDouble", Double),
        many(5, "exemplars", Kind::Message(&EXEMPLAR)),
        oneof(6, "asInt", Sfixed64),
        attributes(7),
        one(8, "flags", Uint32),
    ],
);
static HISTOGRAM_DATA_POINT: Message = item(
    "HistogramDataPoint",
    &[
        one(2, "startTimeUnixNano", Fixed64),
        one(3, "timeUnixNano", Fixed64),
        one(4, "count", Fixed64),
        optional(5, "sum", Double),
        many(6, "bucketCounts", Fixed64),
        many(7, "explicitBounds", Double),
        many(8, "exemplars", Kind::Message(&EXEMPLAR)),
        attributes(9),
        one(10, "flags", Uint32),
        optional(11, "min", Double),
        optional(12, "max", Double),
    ],
);
static EXPONENTIAL_DATA_POINT: Message = item(
    "ExponentialHistogramDataPoint",
    &[
        attributes(1),
        one(2, "startTimeUnixNano", Fixed64),
        one(3, "timeUnixNano", Fixed64),
        one(4, "count", Fixed64),
        optional(5, "sum", Double),
        one(6, "scale", Sint32),
        one(7, "zeroCount", Fixed64),
        one(8, "positive", Kind::Message(&BUCKETS)),
        one(9, "negative", Kind::Message(&BUCKETS)),
        one(10, "flags", Uint32),
        many(11, "exemplars", Kind::Message(&EXEMPLAR)),
        optional(12, "min", Double),
        optional(13, "max", Double),
        one(14, "zeroThreshold", Double),
    ],
);
static BUCKETS: Message =
    message("Buckets", &[one(1, "offset", Sint32), many(2, "bucketCounts", Uint64)]);
static SUMMARY_DATA_POINT: Message = item(
    "SummaryDataPoint",
    &[
        one(2, "startTimeUnixNano", Fixed64),
        one(3, "timeUnixNano", Fixed64),
        one(4, "count", Fixed64),
        one(5, "sum", Double),
        many(6, "quantileValues", Kind::Message(&VALUE_AT_QUANTILE)),
        attributes(7),
        one(8, "flags", Uint32),
    ],
);
static VALUE_AT_QUANTILE: Message =
    message("ValueAtQuantile", &[one(1, "quantile", Double), one(2, "value", Double)]);
static EXEMPLAR: Message = message(
    "Exemplar",
    &[
        one(2, "timeUnixNano", Fixed64),
        oneof(3, "asDouble", Double),
        one(4, "spanId", Id),
        one(5, "traceId", Id),
        oneof(6, "asInt", Sfixed64),
        many(7, "filteredAttributes", Kind::Message(&KEY_VALUE)),
    ],
);

//! Borrowed, lazy views of a checked request: request, resource, scope, item, attribute, value.
//!
//! Views are concrete structs over [`Message`], and infallible. They yield text as bytes, since
//! the check has proven UTF-8 once and comparing bytes needs no second proof; [`text`] gives the
//! `str`. Where several fields of an item are wanted, one walk over [`Message::fields`] is cheaper
//! than several getters: each getter walks from the start.

use super::fields::{any_value, event, key_value, list, log_record, request, resource};
use super::fields::{resource_group, scope, scope_group, span, status};
use super::wire::{Field, Message, Value as Wire};

/// `bytes` as text. The check has proven it UTF-8; bytes from elsewhere read as empty.
pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// An export request of any signal.
#[derive(Clone, Copy)]
pub struct Request<'a>(pub Message<'a>);

impl<'a> Request<'a> {
    /// The view of checked bytes.
    pub fn new(bytes: &'a [u8]) -> Request<'a> {
        Request(Message::root(bytes))
    }

    pub fn resource_groups(self) -> impl Iterator<Item = ResourceGroup<'a>> {
        self.0.messages(request::RESOURCE_GROUPS).map(ResourceGroup)
    }
}

/// `ResourceSpans`, `ResourceLogs` or `ResourceMetrics`.
#[derive(Clone, Copy)]
pub struct ResourceGroup<'a>(pub Message<'a>);

impl<'a> ResourceGroup<'a> {
    /// The resource's attributes; none if the group has no resource.
    pub fn attributes(self) -> impl Iterator<Item = Attribute<'a>> {
        let resource = self.resource().into_iter();
        resource.flat_map(|resource| attributes(resource, resource::ATTRIBUTES))
    }

    pub fn resource(self) -> Option<Message<'a>> {
        self.0.field(resource_group::RESOURCE)?.message()
    }

    pub fn scope_groups(self) -> impl Iterator<Item = ScopeGroup<'a>> {
        self.0.messages(resource_group::SCOPE_GROUPS).map(ScopeGroup)
    }
}

/// `ScopeSpans`, `ScopeLogs` or `ScopeMetrics`.
#[derive(Clone, Copy)]
pub struct ScopeGroup<'a>(pub Message<'a>);

impl<'a> ScopeGroup<'a> {
    pub fn scope(self) -> Option<Message<'a>> {
        self.0.field(scope_group::SCOPE)?.message()
    }

    /// The instrumentation scope's name; empty if there is none.
    pub fn name(self) -> &'a [u8] {
        self.scope().and_then(|s| s.field(scope::NAME)).map(Field::bytes).unwrap_or_default()
    }

    pub fn attributes(self) -> impl Iterator<Item = Attribute<'a>> {
        let scope = self.scope().into_iter();
        scope.flat_map(|scope| attributes(scope, scope::ATTRIBUTES))
    }

    /// The items as fields, for edits that remove whole items.
    pub fn item_fields(self) -> impl Iterator<Item = Field<'a>> {
        self.0.fields().filter(|f| f.number == scope_group::ITEMS)
    }

    /// The items as spans.
    pub fn spans(self) -> impl Iterator<Item = Span<'a>> {
        self.0.messages(scope_group::ITEMS).map(Span)
    }

    /// The items as log records.
    pub fn log_records(self) -> impl Iterator<Item = LogRecord<'a>> {
        self.0.messages(scope_group::ITEMS).map(LogRecord)
    }
}

/// The attributes of `message` in its field `number`.
#[inline]
pub fn attributes(message: Message<'_>, number: u32) -> impl Iterator<Item = Attribute<'_>> {
    message.fields().filter(move |f| f.number == number).filter_map(Attribute::of)
}

/// A span.
#[derive(Clone, Copy)]
pub struct Span<'a>(pub Message<'a>);

impl<'a> Span<'a> {
    fn bytes(self, number: u32) -> &'a [u8] {
        self.0.field(number).map(Field::bytes).unwrap_or_default()
    }

    fn number(self, number: u32) -> u64 {
        self.0.field(number).map(Field::number_value).unwrap_or_default()
    }

    /// The trace id: 16 bytes in a valid span.
    pub fn trace_id(self) -> &'a [u8] {
        self.bytes(span::TRACE_ID)
    }

    /// The span id: 8 bytes in a valid span.
    pub fn span_id(self) -> &'a [u8] {
        self.bytes(span::SPAN_ID)
    }

    /// The parent's span id; empty or all zero for a root.
    pub fn parent_span_id(self) -> &'a [u8] {
        self.bytes(span::PARENT_SPAN_ID)
    }

    pub fn trace_state(self) -> &'a [u8] {
        self.bytes(span::TRACE_STATE)
    }

    pub fn name(self) -> &'a [u8] {
        self.bytes(span::NAME)
    }

    /// 0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    pub fn kind(self) -> u64 {
        self.number(span::KIND)
    }

    /// Nanoseconds since the epoch.
    pub fn start_time(self) -> u64 {
        self.number(span::START_TIME)
    }

    /// Nanoseconds since the epoch.
    pub fn end_time(self) -> u64 {
        self.number(span::END_TIME)
    }

    /// Trace flags in the low eight bits; 0x100 says that 0x200 ("parent is remote") is known.
    pub fn flags(self) -> u64 {
        self.number(span::FLAGS)
    }

    pub fn attributes(self) -> impl Iterator<Item = Attribute<'a>> {
        attributes(self.0, span::ATTRIBUTES)
    }

    pub fn events(self) -> impl Iterator<Item = Event<'a>> {
        self.0.messages(span::EVENTS).map(Event)
    }

    /// The links; their fields are named in [`super::fields::link`].
    pub fn links(self) -> impl Iterator<Item = Message<'a>> {
        self.0.messages(span::LINKS)
    }

    /// 0 unset, 1 ok, 2 error.
    pub fn status_code(self) -> u64 {
        let status = self.0.field(span::STATUS).and_then(Field::message);
        status.and_then(|s| s.field(status::CODE)).map(Field::number_value).unwrap_or_default()
    }

    pub fn status_message(self) -> &'a [u8] {
        let status = self.0.field(span::STATUS).and_then(Field::message);
        status.and_then(|s| s.field(status::MESSAGE)).map(Field::bytes).unwrap_or_default()
    }
}

/// A span event.
#[derive(Clone, Copy)]
pub struct Event<'a>(pub Message<'a>);

impl<'a> Event<'a> {
    pub fn name(self) -> &'a [u8] {
        self.0.field(event::NAME).map(Field::bytes).unwrap_or_default()
    }

    /// Nanoseconds since the epoch.
    pub fn time(self) -> u64 {
        self.0.field(event::TIME).map(Field::number_value).unwrap_or_default()
    }

    pub fn attributes(self) -> impl Iterator<Item = Attribute<'a>> {
        attributes(self.0, event::ATTRIBUTES)
    }
}

/// A log record.
#[derive(Clone, Copy)]
pub struct LogRecord<'a>(pub Message<'a>);

impl<'a> LogRecord<'a> {
    /// The trace id; empty if the record stands in no trace.
    pub fn trace_id(self) -> &'a [u8] {
        self.0.field(log_record::TRACE_ID).map(Field::bytes).unwrap_or_default()
    }

    pub fn span_id(self) -> &'a [u8] {
        self.0.field(log_record::SPAN_ID).map(Field::bytes).unwrap_or_default()
    }

    /// The `event_name` field; older senders use an attribute `event.name` instead.
    pub fn event_name(self) -> &'a [u8] {
        self.0.field(log_record::EVENT_NAME).map(Field::bytes).unwrap_or_default()
    }

    pub fn severity_text(self) -> &'a [u8] {
        self.0.field(log_record::SEVERITY_TEXT).map(Field::bytes).unwrap_or_default()
    }

    /// Nanoseconds since the epoch; 0 if the sender did not know it.
    pub fn time(self) -> u64 {
        self.0.field(log_record::TIME).map(Field::number_value).unwrap_or_default()
    }

    pub fn body(self) -> AnyValue<'a> {
        let body = self.0.field(log_record::BODY).and_then(Field::message);
        body.map(AnyValue::of).unwrap_or(AnyValue::Empty)
    }

    pub fn attributes(self) -> impl Iterator<Item = Attribute<'a>> {
        attributes(self.0, log_record::ATTRIBUTES)
    }
}

/// A key and its value, and the field that holds them.
#[derive(Clone, Copy)]
pub struct Attribute<'a> {
    pub key: &'a [u8],
    pub value: AnyValue<'a>,
    /// The field in the message that carries the attribute, for edits.
    pub field: Field<'a>,
}

impl<'a> Attribute<'a> {
    /// The attribute in `field`; `None` if the field holds no message.
    #[inline]
    pub fn of(field: Field<'a>) -> Option<Attribute<'a>> {
        let mut attribute = Attribute { key: &[], value: AnyValue::Empty, field };
        for part in field.message()?.fields() {
            match (part.number, part.message()) {
                (key_value::KEY, _) => attribute.key = part.bytes(),
                (key_value::VALUE, Some(value)) => attribute.value = AnyValue::of(value),
                _ => {}
            }
        }
        Some(attribute)
    }
}

/// The key of the attribute in `field`, without a look at its value. Writers put the key first,
/// so this is much cheaper than [`Attribute::of`] where most attributes are none of ours.
#[inline]
pub fn key<'a>(field: &Field<'a>) -> &'a [u8] {
    key_in(field.bytes())
}

/// The key of the attribute with these bytes.
#[inline]
pub fn key_in(attribute: &[u8]) -> &[u8] {
    match attribute {
        [0x0a, len @ 0..=0x7f, rest @ ..] if usize::from(*len) <= rest.len() => {
            rest.get(..usize::from(*len)).unwrap_or_default()
        }
        _ => slow_key(attribute),
    }
}

/// The text that the attribute with these bytes holds, if they are laid out as nearly all are; of
/// any other this says nothing.
#[inline]
pub fn text_in(attribute: &[u8]) -> Option<&[u8]> {
    let [0x0a, key @ 0..=0x7f, rest @ ..] = attribute else { return None };
    match rest.get(usize::from(*key)..)? {
        [0x12, outer @ 0..=0x7f, 0x0a, len @ 0..=0x7f, text @ ..]
            if usize::from(*len) == text.len() && usize::from(*outer) == text.len() + 2 =>
        {
            Some(text)
        }
        _ => None,
    }
}

fn slow_key(attribute: &[u8]) -> &[u8] {
    Message::root(attribute).field(key_value::KEY).map(Field::bytes).unwrap_or_default()
}

/// An attribute's value.
#[derive(Clone, Copy, Debug)]
pub enum AnyValue<'a> {
    /// Unset, which is legal.
    Empty,
    /// UTF-8 text.
    Text(&'a [u8]),
    Bool(bool),
    Int(i64),
    Double(f64),
    /// Members by [`values`].
    Array(Message<'a>),
    /// Members by [`members`].
    Map(Message<'a>),
    Bytes(&'a [u8]),
}

impl<'a> AnyValue<'a> {
    /// The value that `message` holds; in a checked request there is one member at most.
    #[inline]
    pub fn of(message: Message<'a>) -> AnyValue<'a> {
        for field in message.fields() {
            return match (field.number, field.value) {
                (any_value::STRING, Wire::Len(text)) => AnyValue::Text(text),
                (any_value::BOOL, Wire::Varint(v)) => AnyValue::Bool(v != 0),
                (any_value::INT, Wire::Varint(v)) => AnyValue::Int(v as i64),
                (any_value::DOUBLE, Wire::Fixed64(v)) => AnyValue::Double(f64::from_bits(v)),
                (any_value::BYTES, Wire::Len(bytes)) => AnyValue::Bytes(bytes),
                (any_value::ARRAY, Wire::Len(_)) => match field.message() {
                    Some(array) => AnyValue::Array(array),
                    None => AnyValue::Empty,
                },
                (any_value::KVLIST, Wire::Len(_)) => match field.message() {
                    Some(map) => AnyValue::Map(map),
                    None => AnyValue::Empty,
                },
                _ => continue,
            };
        }
        AnyValue::Empty
    }

    /// The text, if it is one.
    pub fn as_text(self) -> Option<&'a [u8]> {
        match self {
            AnyValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The members, if it is an array.
    pub fn members(self) -> impl Iterator<Item = AnyValue<'a>> {
        let array = if let AnyValue::Array(array) = self { Some(array) } else { None };
        array.into_iter().flat_map(values)
    }
}

/// The members of an array value.
pub fn values(array: Message<'_>) -> impl Iterator<Item = AnyValue<'_>> {
    array.messages(list::VALUES).map(AnyValue::of)
}

/// The members of a map value.
pub fn members(map: Message<'_>) -> impl Iterator<Item = Attribute<'_>> {
    attributes(map, list::VALUES)
}

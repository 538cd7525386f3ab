//! The values of conditions, and how they compare and become text.
//!
//! The rules are the Collector's: values of different types are unequal and have no order, except
//! whole and other numbers; nil equals nil alone; truth values are ordered, false first; lists and
//! maps are equal or not. Text compares by its bytes.

use super::ast::Comparison;
use crate::otlp::view::{self, AnyValue, Attribute};
use crate::otlp::wire::Message;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Write;

/// A value: of a request, by reference, or computed.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    Double(f64),
    /// UTF-8, unless a `Substring` has cut a character.
    Text(Cow<'a, [u8]>),
    Bytes(Cow<'a, [u8]>),
    List(List<'a>),
    /// The message and the number of its field that holds the members.
    Map(Message<'a>, u32),
}

/// A list: of a request, or computed.
#[derive(Clone, Debug)]
pub enum List<'a> {
    Wire(Message<'a>),
    Own(Vec<Value<'a>>),
}

/// What is known of a value before there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Nothing.
    Any,
    Nil,
    Bool,
    Int,
    Double,
    Text,
    Bytes,
    List,
    Map,
}

impl Type {
    /// The word for error sentences.
    pub fn name(self) -> &'static str {
        match self {
            Type::Any => "a value",
            Type::Nil => "nil",
            Type::Bool => "a truth value",
            Type::Int => "a whole number",
            Type::Double => "a floating-point number",
            Type::Text => "a string",
            Type::Bytes => "bytes",
            Type::List => "a list",
            Type::Map => "a map",
        }
    }
}

impl<'a> From<AnyValue<'a>> for Value<'a> {
    #[inline]
    fn from(value: AnyValue<'a>) -> Value<'a> {
        match value {
            AnyValue::Empty => Value::Nil,
            AnyValue::Text(text) => Value::Text(Cow::Borrowed(text)),
            AnyValue::Bool(value) => Value::Bool(value),
            AnyValue::Int(value) => Value::Int(value),
            AnyValue::Double(value) => Value::Double(value),
            AnyValue::Array(list) => Value::List(List::Wire(list)),
            AnyValue::Map(map) => Value::Map(map, crate::otlp::fields::list::VALUES),
            AnyValue::Bytes(bytes) => Value::Bytes(Cow::Borrowed(bytes)),
        }
    }
}

impl<'a> Value<'a> {
    pub(super) fn text(text: impl Into<Vec<u8>>) -> Value<'a> {
        Value::Text(Cow::Owned(text.into()))
    }

    pub fn kind(&self) -> Type {
        match self {
            Value::Nil => Type::Nil,
            Value::Bool(_) => Type::Bool,
            Value::Int(_) => Type::Int,
            Value::Double(_) => Type::Double,
            Value::Text(_) => Type::Text,
            Value::Bytes(_) => Type::Bytes,
            Value::List(_) => Type::List,
            Value::Map(..) => Type::Map,
        }
    }

    /// The text that stands for this value where text is wanted; nil has none.
    pub(super) fn as_text(&self) -> Option<Cow<'_, [u8]>> {
        let mut out = String::new();
        match self {
            Value::Nil => return None,
            Value::Text(text) => return Some(Cow::Borrowed(text)),
            Value::Bool(value) => drop(write!(out, "{value}")),
            Value::Int(value) => drop(write!(out, "{value}")),
            Value::Double(value) => put_double(&mut out, *value),
            Value::Bytes(bytes) => put_hex(&mut out, bytes),
            Value::List(_) | Value::Map(..) => put_json(&mut out, self),
        }
        Some(Cow::Owned(out.into_bytes()))
    }
}

impl<'a> List<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            List::Wire(list) => view::values(*list).count(),
            List::Own(list) => list.len(),
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<Value<'a>> {
        match self {
            List::Wire(list) => view::values(*list).nth(index).map(Value::from),
            List::Own(list) => list.get(index).cloned(),
        }
    }

    /// Whether `wanted` holds for any member.
    pub(super) fn any(&self, wanted: impl Fn(&Value<'a>) -> bool) -> bool {
        match self {
            List::Wire(list) => view::values(*list).any(|value| wanted(&value.into())),
            List::Own(list) => list.iter().any(wanted),
        }
    }

    pub(super) fn values(&self) -> Vec<Value<'a>> {
        match self {
            List::Wire(list) => view::values(*list).map(Value::from).collect(),
            List::Own(list) => list.clone(),
        }
    }
}

/// The members of a map, sorted by key.
fn sorted(map: Message<'_>, number: u32) -> Vec<Attribute<'_>> {
    let mut members: Vec<_> = view::attributes(map, number).collect();
    members.sort_by_key(|member| member.key);
    members
}

/// Whether `a` stands in the relation `how` to `b`.
#[inline]
pub fn compare(a: &Value<'_>, how: Comparison, b: &Value<'_>) -> bool {
    let order = match (a, b) {
        (Value::Text(a), Value::Text(b)) | (Value::Bytes(a), Value::Bytes(b)) => match how {
            Comparison::Equal => return a == b,
            Comparison::Unequal => return a != b,
            _ => Some(a.cmp(b)),
        },
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Double(b)) => (*a as f64).partial_cmp(b),
        (Value::Double(a), Value::Int(b)) => a.partial_cmp(&(*b as f64)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Nil, Value::Nil) => Some(Ordering::Equal),
        (Value::List(_), Value::List(_)) | (Value::Map(..), Value::Map(..)) => match how {
            Comparison::Equal => return same(a, b),
            Comparison::Unequal => return !same(a, b),
            _ => return false,
        },
        _ => None,
    };
    match (how, order) {
        (Comparison::Unequal, order) => order != Some(Ordering::Equal),
        (_, None) => false,
        (Comparison::Equal, Some(order)) => order.is_eq(),
        (Comparison::Less, Some(order)) => order.is_lt(),
        (Comparison::Greater, Some(order)) => order.is_gt(),
        (Comparison::AtMost, Some(order)) => order.is_le(),
        (Comparison::AtLeast, Some(order)) => order.is_ge(),
    }
}

/// Whether two values are equal. The depth is that of values, which the door has bounded.
pub(super) fn same(a: &Value<'_>, b: &Value<'_>) -> bool {
    match (a, b) {
        (Value::List(a), Value::List(b)) => {
            let (a, b) = (a.values(), b.values());
            a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| same(a, b))
        }
        (Value::Map(a, n), Value::Map(b, m)) => {
            let (a, b) = (sorted(*a, *n), sorted(*b, *m));
            let mut pairs = a.iter().zip(&b);
            a.len() == b.len()
                && pairs.all(|(a, b)| a.key == b.key && same(&a.value.into(), &b.value.into()))
        }
        _ => compare(a, Comparison::Equal, b),
    }
}

/// The shortest digits that read as `value`, without an exponent; infinities with a sign.
fn put_double(out: &mut String, value: f64) {
    let _ = match value.is_infinite() {
        true => write!(out, "{}Inf", if value > 0.0 { '+' } else { '-' }),
        false => write!(out, "{value}"),
    };
}

pub(super) fn put_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
}

/// JSON with sorted keys and without blanks, as text functions see lists and maps.
fn put_json(out: &mut String, value: &Value<'_>) {
    match value {
        Value::Nil => out.push_str("null"),
        Value::Bool(_) | Value::Int(_) | Value::Double(_) => {
            out.push_str(view::text(&value.as_text().unwrap_or_default()));
        }
        Value::Text(text) => crate::otlp::text::put_text(out, text),
        Value::Bytes(bytes) => {
            out.push('"');
            put_hex(out, bytes);
            out.push('"');
        }
        Value::List(list) => {
            out.push('[');
            for (k, value) in list.values().iter().enumerate() {
                if k > 0 {
                    out.push(',');
                }
                put_json(out, value);
            }
            out.push(']');
        }
        Value::Map(map, number) => {
            out.push('{');
            for (k, member) in sorted(*map, *number).into_iter().enumerate() {
                if k > 0 {
                    out.push(',');
                }
                crate::otlp::text::put_text(out, member.key);
                out.push(':');
                put_json(out, &member.value.into());
            }
            out.push('}');
        }
    }
}

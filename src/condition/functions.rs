//! The functions (converters) of conditions, with the Collector's names and meaning.
//!
//! Where text is wanted, most take nothing but text, and any other value is a failure; `IsMatch`,
//! `String` and `Concat` take what can be written as text. Lengths and offsets of text are bytes.
//! Absent: functions that read a clock or make something up at random.

use super::eval::Failure;
use super::value::{List, Type, Value, same};
use crate::otlp::view::{self, text};
use std::borrow::Cow;

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Param {
    Any,
    Text,
    Int,
    List,
    /// A string literal that is a regular expression.
    Pattern,
    /// Bytes or hexadecimal text.
    Id,
    /// What has a length.
    Sized,
}

impl Param {
    /// Whether a value of that type may be passed.
    pub(super) fn takes(self, found: Type) -> bool {
        match (self, found) {
            (Param::Any, _) | (_, Type::Any) => true,
            (Param::Text | Param::Pattern, found) => found == Type::Text,
            (Param::Int, found) => found == Type::Int,
            (Param::List, found) => found == Type::List,
            (Param::Id, found) => matches!(found, Type::Bytes | Type::Text),
            (Param::Sized, found) => matches!(found, Type::Text | Type::List | Type::Map),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Param::Any => "a value",
            Param::Text => "a string",
            Param::Int => "a whole number",
            Param::List => "a list",
            Param::Pattern => "a regular expression, as a string",
            Param::Id => "bytes such as 0x0a",
            Param::Sized => "a string, a list or a map",
        }
    }
}

/// The arguments of a call, one for each parameter.
type Arguments<'s, 'a> = &'s [Cow<'s, Value<'a>>];

/// A function.
#[derive(Debug)]
pub(super) struct Function {
    pub name: &'static str,
    pub params: &'static [Param],
    pub result: Type,
    pub eval: for<'s, 'a> fn(Arguments<'s, 'a>) -> Result<Value<'a>, Failure>,
}

/// Names that are compiled to something else than a call.
pub(super) const IS_MATCH: &str = "IsMatch";
pub(super) const IS_ROOT_SPAN: &str = "IsRootSpan";

const fn function(
    name: &'static str,
    params: &'static [Param],
    result: Type,
    eval: for<'s, 'a> fn(Arguments<'s, 'a>) -> Result<Value<'a>, Failure>,
) -> Function {
    Function { name, params, result, eval }
}

/// All functions, in reading order.
pub(super) const LIST: &[Function] = &[
    function(IS_MATCH, &[Param::Any, Param::Pattern], Type::Bool, |_| Ok(Value::Nil)),
    function(IS_ROOT_SPAN, &[], Type::Bool, |_| Ok(Value::Nil)),
    function("HasPrefix", &[Param::Text, Param::Text], Type::Bool, |arguments| {
        let [of, prefix] = two_texts("HasPrefix", arguments)?;
        Ok(Value::Bool(of.starts_with(prefix)))
    }),
    function("HasSuffix", &[Param::Text, Param::Text], Type::Bool, |arguments| {
        let [of, suffix] = two_texts("HasSuffix", arguments)?;
        Ok(Value::Bool(of.ends_with(suffix)))
    }),
    function("Len", &[Param::Sized], Type::Int, len),
    function("ContainsValue", &[Param::List, Param::Any], Type::Bool, contains_value),
    function("IsString", &[Param::Any], Type::Bool, |arguments| is(arguments, Type::Text)),
    function("IsInt", &[Param::Any], Type::Bool, |arguments| is(arguments, Type::Int)),
    function("IsDouble", &[Param::Any], Type::Bool, |arguments| is(arguments, Type::Double)),
    function("IsBool", &[Param::Any], Type::Bool, |arguments| is(arguments, Type::Bool)),
    function("IsMap", &[Param::Any], Type::Bool, |arguments| is(arguments, Type::Map)),
    function("IsList", &[Param::Any], Type::Bool, |arguments| is(arguments, Type::List)),
    function("Int", &[Param::Any], Type::Any, int),
    function("Double", &[Param::Any], Type::Any, double),
    function("String", &[Param::Any], Type::Any, |arguments| {
        let found = argument(arguments, 0).as_text();
        Ok(found.map_or(Value::Nil, |text| Value::text(text.into_owned())))
    }),
    function("Concat", &[Param::List, Param::Text], Type::Text, concat),
    function("Split", &[Param::Text, Param::Text], Type::List, split),
    function("Substring", &[Param::Text, Param::Int, Param::Int], Type::Text, substring),
    function("ToLowerCase", &[Param::Text], Type::Text, |arguments| {
        let of = text_argument("ToLowerCase", arguments, 0)?;
        Ok(Value::text(text(of).to_lowercase()))
    }),
    function("ToUpperCase", &[Param::Text], Type::Text, |arguments| {
        let of = text_argument("ToUpperCase", arguments, 0)?;
        Ok(Value::text(text(of).to_uppercase()))
    }),
    function("TraceID", &[Param::Id], Type::Bytes, |arguments| id("TraceID", arguments, 16)),
    function("SpanID", &[Param::Id], Type::Bytes, |arguments| id("SpanID", arguments, 8)),
];

fn argument<'s, 'a>(arguments: Arguments<'s, 'a>, place: usize) -> &'s Value<'a> {
    arguments.get(place).map_or(&Value::Nil, |value| &**value)
}

/// The failure of a function that was passed a value of the wrong type.
fn wrong(function: &'static str, wanted: Param, found: &Value<'_>) -> Failure {
    Failure::Argument { function, wanted: wanted.name(), found: found.kind().name() }
}

fn text_argument<'s>(
    function: &'static str,
    arguments: Arguments<'s, '_>,
    place: usize,
) -> Result<&'s [u8], Failure> {
    match argument(arguments, place) {
        Value::Text(text) => Ok(text),
        found => Err(wrong(function, Param::Text, found)),
    }
}

fn two_texts<'s>(
    function: &'static str,
    arguments: Arguments<'s, '_>,
) -> Result<[&'s [u8]; 2], Failure> {
    Ok([text_argument(function, arguments, 0)?, text_argument(function, arguments, 1)?])
}

fn is<'a>(arguments: Arguments<'_, 'a>, wanted: Type) -> Result<Value<'a>, Failure> {
    Ok(Value::Bool(argument(arguments, 0).kind() == wanted))
}

fn len<'a>(arguments: Arguments<'_, 'a>) -> Result<Value<'a>, Failure> {
    let len = match argument(arguments, 0) {
        Value::Text(text) => text.len(),
        Value::List(list) => list.len(),
        Value::Map(map, number) => view::attributes(*map, *number).count(),
        found => return Err(wrong("Len", Param::Sized, found)),
    };
    Ok(Value::Int(i64::try_from(len).unwrap_or(i64::MAX)))
}

fn contains_value<'a>(arguments: Arguments<'_, 'a>) -> Result<Value<'a>, Failure> {
    let wanted = argument(arguments, 1);
    match argument(arguments, 0) {
        Value::List(list) => Ok(Value::Bool(list.any(|value| same(value, wanted)))),
        found => Err(wrong("ContainsValue", Param::List, found)),
    }
}

/// A whole number: of a number towards zero, of text that is one; nil for other text.
fn int<'a>(arguments: Arguments<'_, 'a>) -> Result<Value<'a>, Failure> {
    Ok(match argument(arguments, 0) {
        Value::Nil => Value::Nil,
        Value::Int(value) => Value::Int(*value),
        Value::Double(value) => Value::Int(*value as i64),
        Value::Bool(value) => Value::Int(i64::from(*value)),
        Value::Text(of) => text(of).parse().map_or(Value::Nil, Value::Int),
        found => return Err(wrong("Int", Param::Any, found)),
    })
}

fn double<'a>(arguments: Arguments<'_, 'a>) -> Result<Value<'a>, Failure> {
    Ok(match argument(arguments, 0) {
        Value::Nil => Value::Nil,
        Value::Int(value) => Value::Double(*value as f64),
        Value::Double(value) => Value::Double(*value),
        Value::Bool(value) => Value::Double(f64::from(u8::from(*value))),
        Value::Text(of) => text(of).parse().map_or(Value::Nil, Value::Double),
        found => return Err(wrong("Double", Param::Any, found)),
    })
}

/// The members as text with the delimiter between them; nil is written `<nil>`.
fn concat<'a>(arguments: Arguments<'_, 'a>) -> Result<Value<'a>, Failure> {
    let delimiter = text_argument("Concat", arguments, 1)?;
    let list = match argument(arguments, 0) {
        Value::List(list) => list,
        found => return Err(wrong("Concat", Param::List, found)),
    };
    let mut out: Vec<u8> = vec![];
    for (k, value) in list.values().iter().enumerate() {
        if k > 0 {
            out.extend_from_slice(delimiter);
        }
        out.extend_from_slice(&value.as_text().unwrap_or(Cow::Borrowed(b"<nil>")));
    }
    Ok(Value::text(out))
}

/// The pieces between delimiters; an empty delimiter stands between all characters.
fn split<'a>(arguments: Arguments<'_, 'a>) -> Result<Value<'a>, Failure> {
    let [of, delimiter] = two_texts("Split", arguments)?;
    let (of, delimiter) = (text(of), text(delimiter));
    let piece = |piece: &str| Value::text(piece);
    let pieces = match delimiter {
        "" => of.chars().map(|c| piece(c.encode_utf8(&mut [0; 4]))).collect(),
        _ => of.split(delimiter).map(piece).collect(),
    };
    Ok(Value::List(List::Own(pieces)))
}

fn substring<'a>(arguments: Arguments<'_, 'a>) -> Result<Value<'a>, Failure> {
    let of = text_argument("Substring", arguments, 0)?;
    let number = |place| match argument(arguments, place) {
        Value::Int(value) => Ok(usize::try_from(*value).unwrap_or(usize::MAX)),
        found => Err(wrong("Substring", Param::Int, found)),
    };
    let (start, len) = (number(1)?, number(2)?);
    let found = start.checked_add(len).filter(|_| len > 0).and_then(|end| of.get(start..end));
    found.map(Value::text).ok_or(Failure::Range)
}

fn id<'a>(
    function: &'static str,
    arguments: Arguments<'_, 'a>,
    len: usize,
) -> Result<Value<'a>, Failure> {
    let bytes = match argument(arguments, 0) {
        Value::Bytes(bytes) => Some(bytes.to_vec()),
        Value::Text(hex) => super::lexer::from_hex(text(hex)),
        found => return Err(wrong(function, Param::Id, found)),
    };
    let bytes = bytes.filter(|bytes| bytes.len() == len);
    bytes.map(|bytes| Value::Bytes(Cow::Owned(bytes))).ok_or(Failure::Id { function, len })
}

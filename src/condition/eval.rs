//! Asking compiled conditions about an item. No allocation for comparisons of what the item has
//! with what the condition says; no panics; a failure is a value.

use super::ast::{Comparison, Key, Operator};
use super::functions::Function;
use super::gather::Row;
use super::paths::kind_name;
use super::value::{List, Value, compare, put_hex};
use crate::otlp::view;
use regex::bytes::Regex;
use smallvec::SmallVec;
use std::borrow::Cow;

/// Why a condition has no answer for an item. It names types and never values, since values may
/// be what nobody should read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("{function} takes {wanted} and found {found}")]
    Argument { function: &'static str, wanted: &'static str, found: &'static str },
    #[error("Substring reaches outside of the string, or its length is 0")]
    Range,
    #[error("{function} takes {len} bytes")]
    Id { function: &'static str, len: usize },
    #[error("{found} has no member under a string; maps have")]
    NoMap { found: &'static str },
    #[error("{found} has no member under a number; lists have")]
    NoList { found: &'static str },
    #[error("the list has no member at this place")]
    OutOfBounds,
    #[error("{operator:?} takes two numbers and found {left}, {right}")]
    Math { operator: char, left: &'static str, right: &'static str },
    #[error("division by zero")]
    DivisionByZero,
    #[error("the result does not fit 64 bits")]
    Overflow,
    #[error("{found} is neither true nor false")]
    NoTruth { found: &'static str },
}

/// A compiled expression.
#[derive(Clone, Debug)]
pub(super) enum Code {
    Const(Value<'static>),
    Slot(usize),
    /// A value made of a slot's, as text or otherwise.
    Made(Make, usize),
    /// The member of a trace state.
    TraceState(usize, Box<str>),
    Index(Box<Code>, Key),
    List(Vec<Code>),
    Math(Box<Code>, Operator, Box<Code>),
    Call(&'static Function, Vec<Code>),
    Match(Box<Code>, Box<Regex>),
    Compare(Box<Code>, Comparison, Box<Code>),
    Not(Box<Code>),
    And(Vec<Code>),
    Or(Vec<Code>),
}

/// What is made of a slot's value when it is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Make {
    /// An id as hexadecimal text.
    Hex,
    /// Whether an id is empty or zero.
    IsZero,
    KindName,
    Text,
}

impl Code {
    /// Whether the condition holds.
    pub(super) fn truth(&self, row: &Row<'_>) -> Result<bool, Failure> {
        match self {
            Code::Compare(left, how, right) => match (left.place(row), right.place(row)) {
                (Some(left), Some(right)) => Ok(compare(left, *how, right)),
                _ => Ok(compare(&*left.value(row)?, *how, &*right.value(row)?)),
            },
            Code::Match(of, pattern) => {
                let found = of.value(row)?;
                Ok(found.as_text().is_some_and(|text| pattern.is_match(&text)))
            }
            Code::Not(of) => Ok(!of.truth(row)?),
            Code::And(list) => {
                for part in list {
                    if !part.truth(row)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Code::Or(list) => {
                for part in list {
                    if part.truth(row)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            _ => match &*self.value(row)? {
                Value::Bool(value) => Ok(*value),
                found => Err(Failure::NoTruth { found: found.kind().name() }),
            },
        }
    }

    /// The value, if it need not be computed.
    #[inline]
    fn place<'s, 'a>(&'s self, row: &'s Row<'a>) -> Option<&'s Value<'a>> {
        match self {
            Code::Const(value) => Some(value),
            Code::Slot(slot) => Some(row.get(*slot)),
            _ => None,
        }
    }

    pub(super) fn value<'s, 'a>(&'s self, row: &'s Row<'a>) -> Result<Cow<'s, Value<'a>>, Failure> {
        Ok(Cow::Owned(match self {
            Code::Const(value) => return Ok(Cow::Borrowed(value)),
            Code::Slot(slot) => return Ok(Cow::Borrowed(row.get(*slot))),
            Code::Made(make, slot) => made(*make, row.get(*slot)),
            Code::TraceState(slot, key) => trace_state(row.get(*slot), key),
            Code::Index(of, key) => index(&*of.value(row)?, key)?,
            Code::List(list) => {
                let values = list.iter().map(|part| part.value(row).map(Cow::into_owned));
                Value::List(List::Own(values.collect::<Result<_, _>>()?))
            }
            Code::Math(left, operator, right) => {
                math(&*left.value(row)?, *operator, &*right.value(row)?)?
            }
            Code::Call(function, arguments) => {
                let values: SmallVec<[Cow<'s, Value<'a>>; 3]> =
                    arguments.iter().map(|part| part.value(row)).collect::<Result<_, _>>()?;
                (function.eval)(&values)?
            }
            _ => Value::Bool(self.truth(row)?),
        }))
    }
}

fn made<'a>(make: Make, of: &Value<'a>) -> Value<'a> {
    match (make, of) {
        (Make::IsZero, Value::Bytes(id)) => Value::Bool(id.iter().all(|byte| *byte == 0)),
        (Make::Hex, Value::Bytes(id)) => {
            let mut out = String::new();
            if id.iter().any(|byte| *byte != 0) {
                put_hex(&mut out, id);
            }
            Value::text(out)
        }
        (Make::KindName, Value::Int(kind)) => {
            Value::Text(Cow::Borrowed(kind_name(*kind).as_bytes()))
        }
        (Make::Text, of) => of.as_text().map_or(Value::Nil, |text| Value::text(text.into_owned())),
        _ => Value::Nil,
    }
}

/// The value of `key` in a W3C trace state; nil if it is not there.
fn trace_state<'a>(state: &Value<'a>, key: &str) -> Value<'a> {
    let Value::Text(Cow::Borrowed(state)) = state else { return Value::Nil };
    let mut members = view::text(state).split(',').filter_map(|member| member.split_once('='));
    let found = members.find(|(name, _)| name.trim() == key);
    found.map_or(Value::Nil, |(_, value)| Value::Text(Cow::Borrowed(value.trim().as_bytes())))
}

/// The member of a map or list; what a map does not have is nil.
fn index<'a>(of: &Value<'a>, key: &Key) -> Result<Value<'a>, Failure> {
    match (of, key) {
        // What is not there has nothing inside it.
        (Value::Nil, _) => Ok(Value::Nil),
        (Value::Map(map, number), Key::Text(key)) => {
            let mut members = view::attributes(*map, *number);
            let found = members.find(|member| member.key == key.as_bytes());
            Ok(found.map_or(Value::Nil, |member| member.value.into()))
        }
        (Value::List(list), Key::Int(place)) => {
            let place = usize::try_from(*place).ok();
            place.and_then(|place| list.get(place)).ok_or(Failure::OutOfBounds)
        }
        (found, Key::Text(_)) => Err(Failure::NoMap { found: found.kind().name() }),
        (found, Key::Int(_)) => Err(Failure::NoList { found: found.kind().name() }),
    }
}

fn math<'a>(left: &Value<'_>, operator: Operator, right: &Value<'_>) -> Result<Value<'a>, Failure> {
    match (left, right) {
        (Value::Int(_), Value::Int(0)) if operator == Operator::Divide => {
            Err(Failure::DivisionByZero)
        }
        (Value::Int(a), Value::Int(b)) => {
            let result = match operator {
                Operator::Add => a.checked_add(*b),
                Operator::Subtract => a.checked_sub(*b),
                Operator::Multiply => a.checked_mul(*b),
                Operator::Divide => a.checked_div(*b),
            };
            result.map(Value::Int).ok_or(Failure::Overflow)
        }
        (Value::Int(a), Value::Double(b)) => double_math(*a as f64, operator, *b),
        (Value::Double(a), Value::Int(b)) => double_math(*a, operator, *b as f64),
        (Value::Double(a), Value::Double(b)) => double_math(*a, operator, *b),
        _ => Err(Failure::Math {
            operator: operator.sign(),
            left: left.kind().name(),
            right: right.kind().name(),
        }),
    }
}

fn double_math<'a>(a: f64, operator: Operator, b: f64) -> Result<Value<'a>, Failure> {
    match operator {
        Operator::Divide if b == 0.0 => Err(Failure::DivisionByZero),
        Operator::Add => Ok(Value::Double(a + b)),
        Operator::Subtract => Ok(Value::Double(a - b)),
        Operator::Multiply => Ok(Value::Double(a * b)),
        Operator::Divide => Ok(Value::Double(a / b)),
    }
}

//! From a tree to code: names resolved, types checked where they are known, regular expressions
//! compiled once. All mistakes of a condition are found at once.

use super::ast::{Expr, Key, Node};
use super::error::Error;
use super::eval::{Code, Make};
use super::functions::{self, Function, Param};
use super::gather::{Gather, Row};
use super::paths::{self, Access, Context, Level};
use super::value::{List, Type, Value};
use crate::spelling::nearest;
use std::borrow::Cow;

/// The code of the condition `expr`, whose text is `text`; what it reads is added to `gather`.
pub(super) fn compile(
    context: Context,
    text: &str,
    expr: &Expr,
    gather: &mut Gather,
) -> Result<Code, Vec<Error>> {
    let mut compiler = Compiler { context, text, gather, errors: vec![] };
    let code = compiler.truth(expr);
    match compiler.errors.is_empty() {
        true => Ok(code),
        false => {
            compiler.errors.sort_by_key(|error| (error.line, error.column));
            Err(compiler.errors)
        }
    }
}

struct Compiler<'c> {
    context: Context,
    text: &'c str,
    gather: &'c mut Gather,
    errors: Vec<Error>,
}

/// What stands for a part that is wrong.
const NOTHING: (Code, Type) = (Code::Const(Value::Nil), Type::Any);

impl Compiler<'_> {
    fn error(&mut self, at: usize, text: impl Into<String>) -> (Code, Type) {
        self.errors.push(Error::at(self.text, at, text));
        NOTHING
    }

    /// What must be true or false.
    fn truth(&mut self, expr: &Expr) -> Code {
        let before = self.errors.len();
        let (code, found) = self.any(expr);
        if found != Type::Bool && self.errors.len() == before {
            let found = match found {
                Type::Any => "a value of any type",
                found => found.name(),
            };
            let text = format!("this is {found} and no condition; compare it: {expr} == …");
            self.error(expr.at, text);
        }
        code
    }

    fn truths(&mut self, list: &[Expr]) -> Vec<Code> {
        list.iter().map(|part| self.truth(part)).collect()
    }

    fn any(&mut self, expr: &Expr) -> (Code, Type) {
        let literal = |value, kind| (Code::Const(value), kind);
        match &expr.node {
            Node::Text(text) => literal(Value::text(text.as_str()), Type::Text),
            Node::Int(value) => literal(Value::Int(*value), Type::Int),
            Node::Double(value) => literal(Value::Double(*value), Type::Double),
            Node::Bool(value) => literal(Value::Bool(*value), Type::Bool),
            Node::Nil => literal(Value::Nil, Type::Nil),
            Node::Bytes(bytes) => literal(Value::Bytes(Cow::Owned(bytes.clone())), Type::Bytes),
            Node::Enum(name) => match paths::number(self.context, name) {
                Some(number) => literal(Value::Int(number), Type::Int),
                None => self.unknown_enum(expr.at, name),
            },
            Node::List(list) => self.list(list),
            Node::Path(words) => self.path(expr.at, words, None),
            Node::Index(of, key) => self.index(expr.at, of, key),
            Node::Call(name, arguments) => self.call(expr.at, name, arguments),
            Node::Math(left, operator, right) => {
                let (left, right) = (self.number(left), self.number(right));
                let kind = match (left.1, right.1) {
                    (Type::Any, _) | (_, Type::Any) => Type::Any,
                    (Type::Int, Type::Int) => Type::Int,
                    _ => Type::Double,
                };
                (Code::Math(Box::new(left.0), *operator, Box::new(right.0)), kind)
            }
            Node::Compare(left, how, right) => {
                let (left, right) = (self.any(left).0, self.any(right).0);
                (Code::Compare(Box::new(left), *how, Box::new(right)), Type::Bool)
            }
            Node::Not(of) => (Code::Not(Box::new(self.truth(of))), Type::Bool),
            Node::And(list) => (Code::And(self.truths(list)), Type::Bool),
            Node::Or(list) => (Code::Or(self.truths(list)), Type::Bool),
        }
    }

    fn unknown_enum(&mut self, at: usize, name: &str) -> (Code, Type) {
        let (context, numbers) = (self.context.name(), paths::numbers(self.context));
        self.error(at, format!("unknown enum {name:?}: the enums of {context} are {numbers}"))
    }

    /// A list; one of constants is a constant.
    fn list(&mut self, list: &[Expr]) -> (Code, Type) {
        let codes: Vec<Code> = list.iter().map(|part| self.any(part).0).collect();
        let constant = |code: &Code| match code {
            Code::Const(value) => Some(value.clone()),
            _ => None,
        };
        let code = match codes.iter().map(constant).collect() {
            Some(values) => Code::Const(Value::List(List::Own(values))),
            None => Code::List(codes),
        };
        (code, Type::List)
    }

    /// An operand of arithmetic.
    fn number(&mut self, expr: &Expr) -> (Code, Type) {
        let (code, found) = self.any(expr);
        match found {
            Type::Any | Type::Int | Type::Double => (code, found),
            _ => self.error(expr.at, format!("found {} where a number is wanted", found.name())),
        }
    }

    /// A path, and the attribute or member of it that `key` names.
    fn path(&mut self, at: usize, words: &[String], key: Option<&Key>) -> (Code, Type) {
        let (level, access) = match paths::resolve(self.context, words) {
            Ok(found) => found,
            Err(text) => return self.error(at, text),
        };
        match (access, key) {
            (Access::Attributes(_), Some(Key::Text(key))) => {
                (Code::Slot(self.gather.slot(level, access, Some(key))), Type::Any)
            }
            (Access::TraceState, Some(Key::Text(key))) => {
                let slot = self.gather.slot(level, access, None);
                (Code::TraceState(slot, key.as_str().into()), Type::Any)
            }
            (Access::Body, Some(key)) => {
                let slot = Code::Slot(self.gather.slot(level, access, None));
                (Code::Index(Box::new(slot), key.clone()), Type::Any)
            }
            (Access::Attributes(_) | Access::TraceState, Some(Key::Int(_))) => {
                self.error(at, format!("members of {:?} have names, as strings", words.join(".")))
            }
            (_, Some(_)) => {
                let (path, kind) = (words.join("."), access.kind().name());
                self.error(at, format!("{path:?} is {kind} and has no members"))
            }
            (access, None) => {
                let slot = self.gather.slot(level, access, None);
                let code = match access {
                    Access::HexId(..) => Code::Made(Make::Hex, slot),
                    Access::KindName => Code::Made(Make::KindName, slot),
                    Access::BodyText => Code::Made(Make::Text, slot),
                    _ => Code::Slot(slot),
                };
                (code, access.kind())
            }
        }
    }

    fn index(&mut self, at: usize, of: &Expr, key: &Key) -> (Code, Type) {
        if let Node::Path(words) = &of.node {
            return self.path(of.at, words, Some(key));
        }
        let (code, found) = self.any(of);
        let fits = match key {
            _ if found == Type::Any => true,
            Key::Text(_) => found == Type::Map,
            Key::Int(_) => found == Type::List,
        };
        if !fits {
            let text = format!("{} has no members of this kind", found.name());
            return self.error(at, text);
        }
        (Code::Index(Box::new(code), key.clone()), Type::Any)
    }

    fn call(&mut self, at: usize, name: &str, arguments: &[Expr]) -> (Code, Type) {
        let Some(function) = functions::LIST.iter().find(|function| function.name == name) else {
            return self.unknown_function(at, name);
        };
        if arguments.len() != function.params.len() {
            let wanted: Vec<_> = function.params.iter().map(|param| param.name()).collect();
            let (count, wanted) = (arguments.len(), wanted.join(", "));
            let wanted = if wanted.is_empty() { "nothing" } else { &wanted };
            return self.error(at, format!("{name} takes {wanted}; found {count} arguments"));
        }
        if name == functions::IS_ROOT_SPAN {
            return self.is_root_span(at);
        }
        let before = self.errors.len();
        let pairs = function.params.iter().zip(arguments);
        let mut codes: Vec<Code> =
            pairs.map(|(param, argument)| self.argument(function, *param, argument)).collect();
        if self.errors.len() > before {
            return (Code::Const(Value::Nil), function.result);
        }
        if name == functions::IS_MATCH {
            let pattern = arguments.get(1).map(|argument| (argument.at, &argument.node));
            return match (codes.swap_remove(0), pattern) {
                (of, Some((at, Node::Text(pattern)))) => self.is_match(of, at, pattern),
                (_, other) => {
                    let at = other.map_or(at, |(at, _)| at);
                    let text = "the pattern of IsMatch is a string literal, since it is compiled \
                                once";
                    self.error(at, text)
                }
            };
        }
        self.folded(at, function, codes)
    }

    /// A call; one on constants is computed now, so that a mistake in it is seen now.
    fn folded(
        &mut self,
        at: usize,
        function: &'static Function,
        arguments: Vec<Code>,
    ) -> (Code, Type) {
        let constant = arguments.iter().all(|code| matches!(code, Code::Const(_)));
        let code = Code::Call(function, arguments);
        if !constant {
            return (code, function.result);
        }
        let result = code.value(&Row::default()).map(Cow::into_owned);
        match result {
            Ok(value) => (Code::Const(value), function.result),
            Err(failure) => self.error(at, failure.to_string()),
        }
    }

    fn argument(&mut self, function: &Function, param: Param, argument: &Expr) -> Code {
        let before = self.errors.len();
        let (code, found) = self.any(argument);
        if !param.takes(found) && self.errors.len() == before {
            let (name, wanted, found) = (function.name, param.name(), found.name());
            self.error(argument.at, format!("{name} takes {wanted} here and found {found}"));
        }
        code
    }

    fn unknown_function(&mut self, at: usize, name: &str) -> (Code, Type) {
        let names = functions::LIST.iter().map(|function| function.name);
        let mut text = format!("unknown function {name:?}");
        if let Some(near) = nearest(name, names.clone()) {
            text.push_str(&format!("; did you mean {near:?}?"));
        } else if name.starts_with(|c: char| c.is_ascii_lowercase()) {
            text.push_str("; functions of conditions begin with a capital, editors do not");
        } else {
            text.push_str("; there are ");
            text.push_str(&names.collect::<Vec<_>>().join(", "));
        }
        self.error(at, text)
    }

    fn is_root_span(&mut self, at: usize) -> (Code, Type) {
        if !matches!(self.context, Context::Span | Context::SpanEvent) {
            let name = self.context.name();
            return self.error(at, format!("IsRootSpan asks about a span; {name} has none"));
        }
        let access = Access::Id(crate::otlp::fields::span::PARENT_SPAN_ID, 8);
        (Code::Made(Make::IsZero, self.gather.slot(Level::Item, access, None)), Type::Bool)
    }

    fn is_match(&mut self, of: Code, at: usize, pattern: &str) -> (Code, Type) {
        match super::pattern(pattern) {
            Ok(regex) => (Code::Match(Box::new(of), Box::new(regex)), Type::Bool),
            Err(text) => (self.error(at, text).0, Type::Bool),
        }
    }
}

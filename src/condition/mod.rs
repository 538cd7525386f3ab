//! The Collector's condition language: text to typed expressions, asked about spans, span events,
//! scopes, resources and log records.
//!
//! ```text
//! IsMatch(name, "^chat ") and attributes["gen_ai.usage.input_tokens"] > 1000 or
//!   resource.attributes["deployment.environment"] == "test" and not IsRootSpan()
//! ```
//!
//! [`parse`] makes a tree ([`ast`]), which prints as it reads; [`Conditions::compile`] resolves
//! names, checks types and compiles regular expressions once. All conditions of a context share
//! one [`Row`] of values, gathered in one walk over each message ([`gather`]), so five conditions
//! cost little more than one. What follows is the Collector's; the differences:
//!
//! - Ids compare with plain bytes too (`trace_id == 0x…`), not only with `TraceID(0x…)`.
//! - Whole numbers that overflow are a failure, where the Collector goes on with other digits.
//! - Types that cannot be right are refused when the condition is read.
//! - The pattern of `IsMatch` is a literal.
//!
//! Absent: statements and their editors, times and durations as types (use `*_unix_nano`), maps in
//! braces, keys that are expressions, named arguments, metrics below the resource.
//!
//! The room knows nothing of configurations, processors or what becomes of the answer.

pub mod ast;
mod compile;
mod error;
mod eval;
mod functions;
mod gather;
mod lexer;
mod parser;
mod paths;
mod pattern;
mod value;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use eval::Failure;
pub use gather::Row;
pub use parser::parse;
pub use paths::Context;
pub use pattern::pattern;

use crate::otlp::view::{ResourceGroup, ScopeGroup};
use crate::otlp::wire::Message;
use eval::Code;
use gather::Gather;
use paths::Level;

/// The context that the paths of the condition `text` name with their prefixes, the innermost of
/// them; `None` if no path has one.
pub fn infer(text: &str) -> Result<Option<Context>, Error> {
    Ok(paths::infer(&parse(text)?))
}

/// Conditions of one context that are asked about the same items.
///
/// A [`Row`] is filled from the outside in: [`Conditions::resource`], then
/// [`Conditions::scope`], [`Conditions::item`], [`Conditions::event`]; levels that no condition
/// reads cost nothing. Then [`Conditions::holds`] asks.
#[derive(Clone, Debug)]
pub struct Conditions {
    context: Context,
    gather: Gather,
    list: Vec<Code>,
}

impl Conditions {
    /// None yet.
    pub fn new(context: Context) -> Conditions {
        Conditions { context, gather: Gather::default(), list: vec![] }
    }

    /// The conditions `texts`; the errors of all, each with the place of its text in the list.
    pub fn compile(context: Context, texts: &[&str]) -> Result<Conditions, Vec<(usize, Error)>> {
        let mut conditions = Conditions::new(context);
        let mut errors = vec![];
        for (place, text) in texts.iter().enumerate() {
            if let Err(found) = conditions.add(text) {
                errors.extend(found.into_iter().map(|error| (place, error)));
            }
        }
        if errors.is_empty() { Ok(conditions) } else { Err(errors) }
    }

    /// Adds the condition `text` behind the others, unless it has errors.
    pub fn add(&mut self, text: &str) -> Result<(), Vec<Error>> {
        let expr = parse(text).map_err(|error| vec![error])?;
        let code = compile::compile(self.context, text, &expr, &mut self.gather)?;
        self.list.push(code);
        Ok(())
    }

    pub fn context(&self) -> Context {
        self.context
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// A row for one request at a time.
    pub fn row<'a>(&self) -> Row<'a> {
        Row::new(self.gather.slots())
    }

    /// Reads what stands on the resource.
    pub fn resource<'a>(&self, row: &mut Row<'a>, group: ResourceGroup<'a>) {
        self.gather.fill(row, Level::Resource, group.resource(), Some(group.0), 0);
    }

    /// Reads what stands on the scope.
    pub fn scope<'a>(&self, row: &mut Row<'a>, group: ScopeGroup<'a>) {
        self.gather.fill(row, Level::Scope, group.scope(), Some(group.0), 0);
    }

    /// Reads a span or log record.
    pub fn item<'a>(&self, row: &mut Row<'a>, item: Message<'a>) {
        self.gather.fill(row, Level::Item, Some(item), None, 0);
    }

    /// Reads the span event at the place `index` of its span.
    pub fn event<'a>(&self, row: &mut Row<'a>, event: Message<'a>, index: usize) {
        self.gather.fill(row, Level::Event, Some(event), None, index);
    }

    /// Whether the condition at `place` holds for what `row` has read.
    pub fn holds(&self, place: usize, row: &Row<'_>) -> Result<bool, Failure> {
        self.list.get(place).map_or(Ok(false), |code| code.truth(row))
    }
}

//! Configuration: YAML text in, checked and typed values out.
//!
//! The way of a file: [`load`] reads the sources, [`parse`] makes each a tree of located
//! [`node`]s, [`merge`] lays them over each other, [`expand`] fills in `${...}`, [`document`]
//! checks the whole against a [`catalog`] of components. Each component declares its keys in a
//! table ([`key`]); the table is the one source for checking and defaults ([`section`]), for the
//! printed effective configuration ([`print`]) and for the JSON Schema ([`schema`]).
//!
//! Invariants:
//! - Every problem of a file is reported at once, each with source, line, column, path, what was
//!   found and what would be right.
//! - No text makes this room panic, recurse without bound or unfold without bound.
//! - Only [`load`] reads files and the environment; the rest is pure. (A component's own check
//!   may look at the files that its keys name.)
//! - A value that was written in quotes stays text, whatever an expansion puts into it.
//! - Secrets print as `[REDACTED]` everywhere.
//!
//! Deliberately absent: fetching configuration over HTTP, watching files, appending lists while
//! merging, and building anything from the values.

pub mod catalog;
mod check;
pub mod document;
pub mod duration;
pub mod endpoint;
pub mod expand;
pub mod key;
pub mod load;
pub mod merge;
pub mod node;
pub mod parse;
mod pipelines;
pub mod print;
pub mod problem;
mod routes;
pub mod schema;
pub mod secret;
pub mod section;
pub mod service;
mod suggest;
#[cfg(test)]
mod tests;

pub use catalog::{Catalog, Class, Component};
pub use document::{ComponentId, Configured, Document, Pipeline};
pub use endpoint::Endpoint;
pub use key::Key;
pub use load::{World, load};
pub use node::{Node, Place, Value};
pub use problem::{Problem, Problems};
pub use secret::Secret;
pub use section::Section;
pub use service::Telemetry;

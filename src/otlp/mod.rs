//! The bytes: everything that knows protobuf, as pure functions on slices.
//!
//! A request is checked once ([`check`]); after that views ([`view`]) cannot fail and edits
//! ([`edit`]) are values that one function applies. Nothing here allocates per attribute, reads
//! a clock, or knows of sockets. prost is absent on purpose: decoding a request into structs
//! costs four times the scan that the processors need, and drops unknown fields.

pub mod check;
pub mod cut;
pub mod edit;
pub mod fields;
pub mod join;
pub mod json;
pub mod merge;
pub mod partition;
mod plan;
pub mod schema;
pub mod text;
pub mod view;
pub mod wire;
pub mod write;

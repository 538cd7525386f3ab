//! From checked configuration to running pipelines.
//!
//! [`build`] makes the whole graph from a [`Document`](crate::config::Document) before anything
//! of it starts. A batch's way: the receiving connection's task runs the leading stateless
//! processors ([`entry`]); from the first stateful one on, the batch belongs to the pipeline's
//! own task ([`chain`], one for each of its [`shards`]), which alone may change the processors
//! behind it; then
//! every exporter of the pipeline is offered a clone ([`exits`]), which costs no copy. Which
//! processor runs where is laid out in [`stages`].
//!
//! Absent on purpose: locks around processors, a graph library for what is a list, and any
//! knowledge of sockets.

mod book;
pub mod build;
pub mod catalog;
mod chain;
mod entry;
mod exits;
mod keeper;
mod notes;
mod shards;
mod stages;
mod storage;

pub use build::Graph;

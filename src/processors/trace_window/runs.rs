//! Spans of one trace that stand in a row, and requests made of such runs.

use super::headers::{Headers, Id};
use crate::otlp::fields::{request, resource_group};
use crate::otlp::wire::{begin_message, end_message};
use bytes::Bytes;
use smallvec::SmallVec;
use std::time::Duration;

/// Bytes of tags and lengths around a group.
const FRAME: usize = 24;

/// Items in a row with the same surroundings: a range of a block.
#[derive(Clone, Copy)]
pub struct Run {
    pub block: u32,
    pub group: Group,
    pub at: u32,
    pub end: u32,
    pub items: u32,
}

impl Run {
    pub fn len(&self) -> usize {
        self.end.saturating_sub(self.at) as usize
    }

    /// Its bytes in `block`.
    pub fn of<'a>(&self, block: &'a [u8]) -> &'a [u8] {
        block.get(self.at as usize..self.end as usize).unwrap_or_default()
    }
}

/// A run of a request that comes.
pub struct Found {
    /// The id of its trace; 0 if it has none.
    pub id: u128,
    /// The number of what is held of its trace, if it is to be held.
    pub trace: Option<u32>,
    pub run: Run,
}

/// What stands around items: the header of the resource group and that of the scope group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    pub resource: Id,
    pub scope: Id,
}

impl Group {
    pub fn ids(self) -> [Id; 2] {
        [self.resource, self.scope]
    }
}

/// A trace that leaves.
pub struct Gone {
    pub runs: SmallVec<[Run; 1]>,
    pub items: usize,
    /// Bytes that it makes as a request, at most.
    pub size: usize,
    /// How long it was held.
    pub time: Duration,
}

impl Gone {
    /// The block in which all of it stands, if there is one.
    pub fn block(&self) -> Option<u32> {
        let first = self.runs.first()?.block;
        self.runs.iter().all(|run| run.block == first).then_some(first)
    }
}

/// One request of all `runs`: each header once, items in their order under it.
pub fn request(mut runs: Vec<(Group, &[u8])>, headers: &Headers) -> Bytes {
    runs.sort_by_key(|(group, _)| *group);
    let header = |runs: &[(Group, &[u8])], id: fn(&Group) -> Id| {
        runs.first().map_or(&[][..], |(group, _)| headers.get(id(group)))
    };
    let resources = || runs.chunk_by(|a, b| a.0.resource == b.0.resource);
    let size: usize = runs.iter().map(|(_, bytes)| bytes.len()).sum();
    let around: usize = resources().map(|runs| header(runs, |g| g.resource).len() + FRAME).sum();
    let scopes = runs.chunk_by(|a, b| a.0 == b.0);
    let inside: usize = scopes.map(|runs| header(runs, |g| g.scope).len() + FRAME).sum();
    let mut out = Vec::with_capacity(size + around + inside);
    for resource in resources() {
        let group = begin_message(&mut out, request::RESOURCE_GROUPS);
        out.extend_from_slice(header(resource, |group| group.resource));
        for scope in resource.chunk_by(|a, b| a.0 == b.0) {
            let scope_group = begin_message(&mut out, resource_group::SCOPE_GROUPS);
            out.extend_from_slice(header(scope, |group| group.scope));
            scope.iter().for_each(|(_, bytes)| out.extend_from_slice(bytes));
            end_message(&mut out, scope_group);
        }
        end_message(&mut out, group);
    }
    Bytes::from(out)
}

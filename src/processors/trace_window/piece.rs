//! Spans of one trace that came in one request, copied out of it, and requests made of such
//! pieces.

use super::headers::{Headers, Id};
use crate::otlp::fields::{request, resource_group};
use crate::otlp::wire::{begin_message, end_message};
use bytes::Bytes;
use smallvec::SmallVec;

/// Bytes of tags and lengths around a group.
const FRAME: usize = 24;

/// Items with what stands around them. Its headers are in use until it is [let
/// go](Piece::let_go).
pub struct Piece {
    /// The items as fields of their scope group, run by run.
    bytes: Box<[u8]>,
    runs: SmallVec<[Run; 1]>,
    pub items: usize,
}

/// Items in a row with the same surroundings.
#[derive(Clone, Copy)]
struct Run {
    group: Group,
    /// Where its bytes end.
    end: u32,
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

impl Piece {
    /// A piece of `items`, each a field of its scope group with what stands around it.
    pub fn of<'a>(
        items: impl Iterator<Item = (Group, &'a [u8])> + Clone,
        headers: &mut Headers,
    ) -> Piece {
        let mut bytes = Vec::with_capacity(items.clone().map(|(_, item)| item.len()).sum());
        let (mut runs, mut count): (SmallVec<[Run; 1]>, _) = (SmallVec::new(), 0);
        for (group, item) in items {
            bytes.extend_from_slice(item);
            count += 1;
            let end = bytes.len() as u32;
            match runs.last_mut() {
                Some(run) if run.group == group => run.end = end,
                _ => {
                    group.ids().into_iter().for_each(|id| headers.take_again(id));
                    runs.push(Run { group, end });
                }
            }
        }
        Piece { bytes: bytes.into_boxed_slice(), runs, items: count }
    }

    /// Bytes that it takes, headers apart. An allocator rounds up by one eighth at most, and what
    /// comes and goes leaves gaps of about as much: measured.
    pub fn weight(&self) -> usize {
        let runs = if self.runs.spilled() { self.runs.capacity() * size_of::<Run>() } else { 0 };
        size_of::<Piece>() + runs + self.bytes.len() + self.bytes.len() / 4 + 16
    }

    /// Bytes of its items.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn groups(&self) -> impl Iterator<Item = Group> {
        self.runs.iter().map(|run| run.group)
    }

    fn runs(&self) -> impl Iterator<Item = (Group, &[u8])> {
        let starts = std::iter::once(0).chain(self.runs.iter().map(|run| run.end as usize));
        self.runs.iter().zip(starts).map(|(run, start)| {
            (run.group, self.bytes.get(start..run.end as usize).unwrap_or_default())
        })
    }

    /// Ends the use of its headers.
    pub fn let_go(self, headers: &mut Headers) {
        let ids = self.groups().flat_map(Group::ids);
        ids.for_each(|id| headers.put_back(id));
    }
}

/// One request of all `pieces`: each header once, items in their order under it.
pub fn request(pieces: &[Piece], headers: &Headers) -> Bytes {
    let mut runs: Vec<(Group, &[u8])> = pieces.iter().flat_map(Piece::runs).collect();
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

//! Links from a parent back to the head that belongs below it.
//!
//! A span that has left cannot be changed. So a parent gets its link if it stands in the batch in
//! which the head is tagged, if it comes while the head waits for it by a key, or if it is known by
//! name alone and comes later, as agents do that end after their tools. A parent that had left
//! before gets none, and is counted.

use super::ages::Ages;
use super::links::{self, Link, Names};
use super::tags::Finding;
use crate::limits;
use crate::otlp::edit::Edits;
use crate::otlp::wire::Message;
use crate::processors::Setup;
use crate::telemetry::Counter;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::hash::BuildHasher;

/// A span, by trace and its own id.
pub type Id = (u128, u64);

/// A span of the batch at hand.
struct Here {
    start: usize,
    links: usize,
}

pub struct Backs {
    names: Names,
    here: HashMap<Id, Here, RandomState>,
    /// The links of parents that have not come.
    coming: Ages<SmallVec<[Link; 1]>>,
    hasher: RandomState,
    written: Counter,
    gone: Counter,
    full: Counter,
}

impl Backs {
    pub fn new(prefix: &str, hasher: RandomState, setup: &Setup<'_>) -> Backs {
        let missed = |cause| {
            let help = "Parents that got no link to the head below them, by cause.";
            setup.counter("spanloom_orphans_missed_links", help, &[("cause", cause)])
        };
        let written = "Links from parents to the heads below them.";
        Backs {
            names: Names::new(prefix),
            here: HashMap::default(),
            coming: Ages::new(setup.portion(limits::ORPHAN_COMING_LINKS)),
            hasher,
            written: setup.counter("spanloom_orphans_links_back", written, &[]),
            gone: missed("gone"),
            full: missed("full"),
        }
    }

    /// A span that may be a parent comes, and starts here in its batch.
    pub fn comes(&mut self, id: Id, start: usize, edits: &mut Edits) {
        let hash = self.hasher.hash_one(id);
        let mut links = 0;
        if self.coming.get(hash).is_some_and(|links| !links.is_empty()) {
            for link in self.coming.update(hash, std::mem::take) {
                self.write(start, &link, edits);
                links += 1;
            }
        }
        self.here.insert(id, Here { start, links });
    }

    /// Whether a span stands in the batch at hand.
    pub fn is_here(&self, id: Id) -> bool {
        self.here.contains_key(&id)
    }

    /// The batch at hand ends.
    pub fn end(&mut self) {
        self.here.clear();
    }

    /// The span `parent`, which `passed` or may still come, is linked to `head`.
    pub fn link(
        &mut self,
        (parent, passed): (Id, bool),
        head: Id,
        finding: &Finding,
        edits: &mut Edits,
    ) {
        let Some(link) = links::back(head, finding) else { return };
        let found = self.here.get_mut(&parent).map(|here| {
            here.links += 1;
            (here.start, here.links <= limits::ORPHAN_LINKS)
        });
        match found {
            Some((start, true)) => self.write(start, &link, edits),
            Some(_) => self.full.add(1),
            None if passed => self.gone.add(1),
            None => {
                let full = self.coming.update(self.hasher.hash_one(parent), |links| {
                    let full = links.len() >= limits::ORPHAN_LINKS;
                    links.extend((!full).then_some(link));
                    full
                });
                self.full.add(usize::from(full));
            }
        }
    }

    fn write(&self, start: usize, link: &Link, edits: &mut Edits) {
        edits.append(Message { bytes: &[], start }, |out| links::put_one(out, link, &self.names));
        self.written.add(1);
    }
}

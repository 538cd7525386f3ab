//! The walk over one request that several processors share: resources, scopes, items. Each level
//! is asked about before what is inside it.
//!
//! A group that loses all its items here goes too; one that came empty stays. What a visitor
//! changes it says as edits; what it drops the walk says, and counts.

use super::Out;
use crate::batch::{Batch, Signal};
use crate::limits;
use crate::otlp::edit::Edits;
use crate::otlp::fields::{request, resource_group, scope_group};
use crate::otlp::join;
use crate::otlp::view::{Request, ResourceGroup, ScopeGroup};
use crate::otlp::wire::{Field, Message};
use crate::verdict::{Refusal, Verdict};

/// What becomes of a resource group or a scope group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// What is inside is asked about.
    Enter,
    /// It stays with all that is inside.
    Keep,
    /// It goes with all that is inside.
    Drop,
}

/// Who is asked. An error ends the walk and is the answer to the client.
pub trait Visit<'a> {
    /// What becomes of a resource group.
    fn resource(&mut self, _: ResourceGroup<'a>, _: &mut Edits) -> Result<Step, Verdict> {
        Ok(Step::Enter)
    }

    /// What becomes of a scope group.
    fn scope(&mut self, _: ScopeGroup<'a>, _: &mut Edits) -> Result<Step, Verdict> {
        Ok(Step::Enter)
    }

    /// Whether a span, log record or metric stays.
    fn item(&mut self, _: Message<'a>, _: &mut Edits) -> Result<bool, Verdict> {
        Ok(true)
    }
}

/// Hands `batch` on with the edits that `look` makes, or answers with its error.
pub fn edit(
    batch: Batch,
    out: &mut Out,
    look: impl FnOnce(Request<'_>, &mut Edits) -> Result<(), Verdict>,
) {
    let mut edits = Edits::default();
    match look(batch.request(), &mut edits) {
        Ok(()) if edits.is_empty() => out.pass(batch),
        Ok(()) => out.pass(batch.edited(&mut edits)),
        Err(verdict) => batch.settle(&verdict),
    }
}

/// Walks over `request`: the spans, log records or data points that are dropped.
pub fn walk<'a>(
    signal: Signal,
    request: Request<'a>,
    visit: &mut impl Visit<'a>,
    edits: &mut Edits,
) -> Result<usize, Verdict> {
    let mut walk = Walk { signal, visit, edits, dropped: 0 };
    for field in request.0.fields().filter(|field| field.number == request::RESOURCE_GROUPS) {
        if let Some(message) = field.message() {
            walk.resource_group(request.0, &field, ResourceGroup(message))?;
        }
    }
    Ok(walk.dropped)
}

/// Refuses what the processor `id` makes too large by its `edits`.
pub fn bounded(edits: &Edits, id: &str) -> Result<(), Verdict> {
    within(edits.new_bytes(), id)
}

/// Refuses what the processor `id` makes too large by `added` bytes.
pub fn within(added: usize, id: &str) -> Result<(), Verdict> {
    const MIB: usize = limits::ADDED_BYTES >> 20;
    if added <= limits::ADDED_BYTES {
        return Ok(());
    }
    let reason = format!("{id} would add more than {MIB} MiB to the request; send smaller ones");
    Err(Verdict::refused(Refusal::TooLarge, reason))
}

struct Walk<'w, V> {
    signal: Signal,
    visit: &'w mut V,
    edits: &'w mut Edits,
    dropped: usize,
}

/// What is left of a group, and how many items went.
#[derive(Default)]
struct Left {
    stays: bool,
    gone: usize,
}

impl Left {
    /// Empty by what was done here.
    fn is_emptied(&self) -> bool {
        self.gone > 0 && !self.stays
    }
}

impl<'a, V: Visit<'a>> Walk<'_, V> {
    fn resource_group(
        &mut self,
        request: Message<'a>,
        field: &Field<'a>,
        group: ResourceGroup<'a>,
    ) -> Result<(), Verdict> {
        match self.visit.resource(group, self.edits)? {
            Step::Keep => return Ok(()),
            Step::Drop => {
                self.drop(request, field, 0);
                return Ok(());
            }
            Step::Enter => {}
        }
        let mut left = Left::default();
        for field in group.0.fields().filter(|f| f.number == resource_group::SCOPE_GROUPS) {
            if let Some(message) = field.message() {
                self.scope_group(group.0, &field, ScopeGroup(message), &mut left)?;
            }
        }
        if left.is_emptied() {
            self.edits.remove_items(request, field, left.gone);
        }
        Ok(())
    }

    fn scope_group(
        &mut self,
        resource_group: Message<'a>,
        field: &Field<'a>,
        group: ScopeGroup<'a>,
        around: &mut Left,
    ) -> Result<(), Verdict> {
        match self.visit.scope(group, self.edits)? {
            Step::Keep => {
                around.stays |= group.item_fields().next().is_some();
                return Ok(());
            }
            Step::Drop => {
                around.gone += self.drop(resource_group, field, 1);
                return Ok(());
            }
            Step::Enter => {}
        }
        let mut left = Left::default();
        for field in group.0.fields().filter(|field| field.number == scope_group::ITEMS) {
            let Some(item) = field.message() else { continue };
            if self.visit.item(item, self.edits)? {
                left.stays = true;
            } else {
                left.gone += self.drop(group.0, &field, 2);
            }
        }
        around.stays |= left.stays;
        around.gone += left.gone;
        if left.is_emptied() {
            self.edits.remove_items(resource_group, field, left.gone);
        }
        Ok(())
    }

    /// Drops `field` of `message`, which stands `level` levels below the request: its items.
    fn drop(&mut self, message: Message<'a>, field: &Field<'a>, level: usize) -> usize {
        let items = join::items(self.signal.message(), *field, level);
        self.edits.remove_items(message, field, items);
        self.dropped += items;
        items
    }
}

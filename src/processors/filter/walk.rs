//! The walk over one request: each level is asked about before what is inside it.

use super::super::counts::raise;
use super::{Filter, Rules};
use crate::batch::Signal;
use crate::condition::Row;
use crate::otlp::edit::Edits;
use crate::otlp::fields::{request, resource_group, scope_group, span, status};
use crate::otlp::join;
use crate::otlp::view::{Request, ResourceGroup, ScopeGroup};
use crate::otlp::wire::{Field, Message};

/// How much was dropped.
#[derive(Default)]
pub(super) struct Done {
    /// Spans, log records or data points.
    pub items: usize,
    /// Spans that stay without their content.
    pub reduced: usize,
    pub events: usize,
}

/// The conditions on one level with what they have read.
struct Level<'f, 'a> {
    rules: &'f Rules,
    row: Row<'a>,
}

pub(super) struct Walk<'f, 'a> {
    filter: &'f Filter,
    edits: &'f mut Edits,
    resource: Level<'f, 'a>,
    scope: Level<'f, 'a>,
    item: Level<'f, 'a>,
    event: Level<'f, 'a>,
    done: Done,
}

/// Items that stay in a group, and those that go.
#[derive(Default)]
struct Left {
    items: usize,
    removed: usize,
}

impl Left {
    /// Empty by what was done here.
    fn is_emptied(&self) -> bool {
        self.removed > 0 && self.items == 0
    }
}

impl<'f> Level<'f, '_> {
    fn new(rules: &'f Rules) -> Self {
        Level { rules, row: rules.conditions.row() }
    }

    /// Whether any condition holds; the error is the sentence of a refusal.
    fn holds(&self, filter: &Filter) -> Result<bool, String> {
        for place in 0..self.rules.conditions.len() {
            match self.rules.conditions.holds(place, &self.row) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(failure) => filter.failed(self.rules, place, failure)?,
            }
        }
        Ok(false)
    }
}

impl<'f, 'a> Walk<'f, 'a> {
    pub(super) fn new(filter: &'f Filter, edits: &'f mut Edits) -> Self {
        let levels = &filter.levels;
        Walk {
            filter,
            edits,
            resource: Level::new(&levels.resource),
            scope: Level::new(&levels.scope),
            item: Level::new(&levels.item),
            event: Level::new(&levels.event),
            done: Done::default(),
        }
    }

    /// Notes what goes of a request; the error is the sentence of a refusal.
    pub(super) fn request(mut self, signal: Signal, of: Request<'a>) -> Result<Done, String> {
        for field in of.0.fields().filter(|field| field.number == request::RESOURCE_GROUPS) {
            if let Some(message) = field.message() {
                self.resource_group(signal, of.0, &field, ResourceGroup(message))?;
            }
        }
        Ok(self.done)
    }

    fn resource_group(
        &mut self,
        signal: Signal,
        request: Message<'a>,
        field: &Field<'a>,
        group: ResourceGroup<'a>,
    ) -> Result<(), String> {
        for level in [&mut self.resource, &mut self.scope, &mut self.item, &mut self.event] {
            level.rules.conditions.resource(&mut level.row, group);
        }
        if self.resource.holds(self.filter)? {
            if self.keeps(signal) {
                group.scope_groups().for_each(|scope_group| self.reduce_all(scope_group));
                return Ok(());
            }
            let items = join::items(signal.message(), *field, 0);
            self.done.items += items;
            self.edits.remove_items(request, field, items);
            return Ok(());
        }
        if signal == Signal::Metrics {
            return Ok(());
        }
        let mut left = Left::default();
        for field in group.0.fields() {
            if field.number == resource_group::SCOPE_GROUPS
                && let Some(message) = field.message()
            {
                self.scope_group(signal, group, &field, ScopeGroup(message), &mut left)?;
            }
        }
        if left.is_emptied() {
            self.edits.remove_items(request, field, left.removed);
        }
        Ok(())
    }

    fn scope_group(
        &mut self,
        signal: Signal,
        resource_group: ResourceGroup<'a>,
        field: &Field<'a>,
        group: ScopeGroup<'a>,
        left: &mut Left,
    ) -> Result<(), String> {
        for level in [&mut self.scope, &mut self.item, &mut self.event] {
            level.rules.conditions.scope(&mut level.row, group);
        }
        let mut inside = Left::default();
        if self.scope.holds(self.filter)? {
            if self.keeps(signal) {
                self.reduce_all(group);
                left.items += group.item_fields().count();
                return Ok(());
            }
            let items = group.item_fields().count();
            self.done.items += items;
            self.edits.remove_items(resource_group.0, field, items);
            left.removed += items;
            return Ok(());
        }
        if self.item.rules.conditions.is_empty() && self.event.rules.conditions.is_empty() {
            left.items += group.item_fields().count();
            return Ok(());
        }
        for field in group.0.fields().filter(|field| field.number == scope_group::ITEMS) {
            let Some(item) = field.message() else { continue };
            self.item.rules.conditions.item(&mut self.item.row, item);
            if !self.item.holds(self.filter)? {
                inside.items += 1;
                self.events(item)?;
            } else if self.keeps(signal) {
                inside.items += 1;
                self.reduce(item);
            } else {
                inside.removed += 1;
                self.done.items += 1;
                self.edits.remove_item(group.0, &field);
            }
        }
        left.items += inside.items;
        left.removed += inside.removed;
        if inside.is_emptied() {
            self.edits.remove_items(resource_group.0, field, inside.removed);
        }
        Ok(())
    }

    /// Asks about the events of a span that stays.
    fn events(&mut self, item: Message<'a>) -> Result<(), String> {
        if self.event.rules.conditions.is_empty() {
            return Ok(());
        }
        let (mut index, mut gone) = (0, 0);
        for field in item.fields().filter(|field| field.number == span::EVENTS) {
            let Some(event) = field.message() else { continue };
            if index == 0 {
                self.event.rules.conditions.item(&mut self.event.row, item);
            }
            self.event.rules.conditions.event(&mut self.event.row, event, index);
            index += 1;
            if self.event.holds(self.filter)? {
                gone += 1;
                self.edits.remove(item, &field);
            }
        }
        if gone > 0 {
            self.done.events += gone;
            let dropped = item.field(span::DROPPED_EVENTS_COUNT);
            raise(self.edits, item, span::DROPPED_EVENTS_COUNT, dropped, gone);
        }
        Ok(())
    }

    /// Whether spans stay without content where others would be dropped.
    fn keeps(&self, signal: Signal) -> bool {
        signal == Signal::Traces && self.filter.keep_structure
    }

    fn reduce_all(&mut self, group: ScopeGroup<'a>) {
        group.spans().for_each(|span| self.reduce(span.0));
    }

    /// Takes the content out of a span.
    fn reduce(&mut self, item: Message<'a>) {
        const CONTENT: [(u32, u32); 3] = [
            (span::ATTRIBUTES, span::DROPPED_ATTRIBUTES_COUNT),
            (span::EVENTS, span::DROPPED_EVENTS_COUNT),
            (span::LINKS, span::DROPPED_LINKS_COUNT),
        ];
        self.done.reduced += 1;
        for (number, count) in CONTENT {
            let (mut gone, mut before) = (0, None);
            for field in item.fields() {
                if field.number == number {
                    gone += 1;
                    self.edits.remove(item, &field);
                } else if field.number == count {
                    before = Some(field);
                }
            }
            if gone > 0 {
                raise(self.edits, item, count, before, gone);
            }
        }
        let status = item.field(span::STATUS).and_then(Field::message);
        let text = status.and_then(|status| Some((status, status.field(status::MESSAGE)?)));
        if let Some((status, text)) = text {
            self.edits.remove(status, &text);
        }
    }
}

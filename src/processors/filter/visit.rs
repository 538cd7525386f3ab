//! What the conditions say of each level of a request.

use super::super::counts::raise;
use super::super::walk::{Step, Visit};
use super::{Filter, Rules};
use crate::batch::Signal;
use crate::condition::Row;
use crate::otlp::edit::Edits;
use crate::otlp::fields::{span, status};
use crate::otlp::view::{ResourceGroup, ScopeGroup};
use crate::otlp::wire::{Field, Message};
use crate::verdict::Verdict;

/// The conditions on one level with what they have read.
struct Level<'f, 'a> {
    rules: &'f Rules,
    row: Row<'a>,
}

pub(super) struct Walk<'f, 'a> {
    filter: &'f Filter,
    signal: Signal,
    resource: Level<'f, 'a>,
    scope: Level<'f, 'a>,
    item: Level<'f, 'a>,
    event: Level<'f, 'a>,
    /// Spans that stay without their content.
    pub reduced: usize,
    /// Events that are dropped.
    pub events: usize,
}

impl<'f> Level<'f, '_> {
    fn new(rules: &'f Rules) -> Self {
        Level { rules, row: rules.conditions.row() }
    }

    /// Whether any condition holds; the error refuses the request.
    fn holds(&self, filter: &Filter) -> Result<bool, Verdict> {
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

impl<'a> Visit<'a> for Walk<'_, 'a> {
    fn resource(&mut self, group: ResourceGroup<'a>, edits: &mut Edits) -> Result<Step, Verdict> {
        for level in [&mut self.resource, &mut self.scope, &mut self.item, &mut self.event] {
            level.rules.conditions.resource(&mut level.row, group);
        }
        if !self.resource.holds(self.filter)? {
            return Ok(if self.signal == Signal::Metrics { Step::Keep } else { Step::Enter });
        }
        if !self.keeps() {
            return Ok(Step::Drop);
        }
        group.scope_groups().for_each(|scope_group| self.reduce_all(scope_group, edits));
        Ok(Step::Keep)
    }

    fn scope(&mut self, group: ScopeGroup<'a>, edits: &mut Edits) -> Result<Step, Verdict> {
        for level in [&mut self.scope, &mut self.item, &mut self.event] {
            level.rules.conditions.scope(&mut level.row, group);
        }
        if self.scope.holds(self.filter)? {
            if !self.keeps() {
                return Ok(Step::Drop);
            }
            self.reduce_all(group, edits);
            return Ok(Step::Keep);
        }
        let inside = [&self.item, &self.event];
        let has_none = inside.iter().all(|level| level.rules.conditions.is_empty());
        Ok(if has_none { Step::Keep } else { Step::Enter })
    }

    fn item(&mut self, item: Message<'a>, edits: &mut Edits) -> Result<bool, Verdict> {
        self.item.rules.conditions.item(&mut self.item.row, item);
        if !self.item.holds(self.filter)? {
            self.look_at_events(item, edits)?;
            return Ok(true);
        }
        if self.keeps() {
            self.reduce(item, edits);
        }
        Ok(self.keeps())
    }
}

impl<'f, 'a> Walk<'f, 'a> {
    pub(super) fn new(filter: &'f Filter, signal: Signal) -> Self {
        let levels = &filter.levels;
        Walk {
            filter,
            signal,
            resource: Level::new(&levels.resource),
            scope: Level::new(&levels.scope),
            item: Level::new(&levels.item),
            event: Level::new(&levels.event),
            reduced: 0,
            events: 0,
        }
    }

    /// Asks about the events of a span that stays.
    fn look_at_events(&mut self, item: Message<'a>, edits: &mut Edits) -> Result<(), Verdict> {
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
                edits.remove(item, &field);
            }
        }
        if gone > 0 {
            self.events += gone;
            let dropped = item.field(span::DROPPED_EVENTS_COUNT);
            raise(edits, item, span::DROPPED_EVENTS_COUNT, dropped, gone);
        }
        Ok(())
    }

    /// Whether spans stay without content where others would be dropped.
    fn keeps(&self) -> bool {
        self.signal == Signal::Traces && self.filter.keep_structure
    }

    fn reduce_all(&mut self, group: ScopeGroup<'a>, edits: &mut Edits) {
        group.spans().for_each(|span| self.reduce(span.0, edits));
    }

    /// Takes the content out of a span.
    fn reduce(&mut self, item: Message<'a>, edits: &mut Edits) {
        const CONTENT: [(u32, u32); 3] = [
            (span::ATTRIBUTES, span::DROPPED_ATTRIBUTES_COUNT),
            (span::EVENTS, span::DROPPED_EVENTS_COUNT),
            (span::LINKS, span::DROPPED_LINKS_COUNT),
        ];
        self.reduced += 1;
        for (number, count) in CONTENT {
            let (mut gone, mut before) = (0, None);
            for field in item.fields() {
                if field.number == number {
                    gone += 1;
                    edits.remove(item, &field);
                } else if field.number == count {
                    before = Some(field);
                }
            }
            if gone > 0 {
                raise(edits, item, count, before, gone);
            }
        }
        let status = item.field(span::STATUS).and_then(Field::message);
        let text = status.and_then(|status| Some((status, status.field(status::MESSAGE)?)));
        if let Some((status, text)) = text {
            edits.remove(status, &text);
        }
    }
}

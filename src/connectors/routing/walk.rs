//! The walk over one request: for each item, the pipelines that get it.

use super::{Level, Routing};
use crate::condition::Row;
use crate::otlp::fields::scope_group;
use crate::otlp::view::{Request, ResourceGroup};

/// Which items go where.
#[derive(Default)]
pub(super) struct Ways {
    /// The sets of pipelines that occur.
    pub(super) sets: Vec<Vec<usize>>,
    /// For each item, in order, the place of its set.
    pub(super) items: Vec<usize>,
}

pub(super) struct Walk<'r, 'a> {
    routing: &'r Routing,
    resource: Row<'a>,
    item: Row<'a>,
    /// By route, what the resource's conditions said, once they were asked.
    known: Vec<Option<bool>>,
    /// The pipelines of the item at hand.
    targets: Vec<usize>,
    ways: Ways,
}

impl<'r, 'a> Walk<'r, 'a> {
    pub(super) fn new(routing: &'r Routing) -> Self {
        Walk {
            routing,
            resource: routing.resource.row(),
            item: routing.item.row(),
            known: vec![],
            targets: vec![],
            ways: Ways::default(),
        }
    }

    /// The ways of all items; the error is the sentence of a refusal.
    pub(super) fn request(mut self, of: Request<'a>) -> Result<Ways, String> {
        for group in of.resource_groups() {
            self.group(group)?;
        }
        Ok(self.ways)
    }

    fn group(&mut self, group: ResourceGroup<'a>) -> Result<(), String> {
        let routing = self.routing;
        routing.resource.resource(&mut self.resource, group);
        routing.item.resource(&mut self.item, group);
        self.known.clear();
        self.known.resize(routing.routes.len(), None);
        let mut whole = None;
        for scope_group in group.scope_groups() {
            routing.item.scope(&mut self.item, scope_group);
            for item in scope_group.0.messages(scope_group::ITEMS) {
                let set = match whole {
                    Some(set) => set,
                    None => {
                        routing.item.item(&mut self.item, item);
                        self.ask()?
                    }
                };
                // Without questions about items, what holds for one holds for all.
                whole = Some(set).filter(|_| routing.item.is_empty());
                self.ways.items.push(set);
            }
        }
        Ok(())
    }

    /// The place of the set of pipelines that the item at hand goes to.
    fn ask(&mut self) -> Result<usize, String> {
        self.targets.clear();
        let mut moved = false;
        for place in 0..self.routing.routes.len() {
            let Some(route) = self.routing.routes.get(place) else { break };
            if self.takes(place)? {
                self.targets.extend(&route.targets);
                if !route.copies {
                    moved = true;
                    break;
                }
            }
        }
        if !moved {
            self.targets.extend(&self.routing.default);
        }
        self.targets.sort_unstable();
        self.targets.dedup();
        let known = self.ways.sets.iter().position(|set| *set == self.targets);
        Ok(known.unwrap_or_else(|| {
            self.ways.sets.push(self.targets.clone());
            self.ways.sets.len() - 1
        }))
    }

    /// Whether the route at `place` takes the item at hand.
    fn takes(&mut self, place: usize) -> Result<bool, String> {
        let Some(route) = self.routing.routes.get(place) else { return Ok(false) };
        let Some(condition) = route.condition else { return Ok(true) };
        if let Some(Some(known)) = self.known.get(place) {
            return Ok(*known);
        }
        let answer = match route.level {
            Level::Resource => self.routing.resource.holds(condition, &self.resource),
            Level::Item => self.routing.item.holds(condition, &self.item),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => {
                self.routing.failed(route, failure)?;
                false
            }
        };
        if route.level == Level::Resource
            && let Some(known) = self.known.get_mut(place)
        {
            *known = Some(answer);
        }
        Ok(answer)
    }
}

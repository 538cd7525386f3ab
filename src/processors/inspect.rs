//! Inspection: processors that look at one span or log record after the other, in one walk.
//!
//! A walk over all fields costs more than what most processors do with them, and so does writing
//! the request anew. Inspectors that stand in a row share both: each item is read once into an
//! [`Item`], shown to each of them in order, and all their edits are applied together.
//!
//! An inspector sees what came in without what those before it took out, of what they changed the
//! key alone, and not yet what they added. Whoever must see additions too is no inspector.

mod item;

use super::sieve::{Meanings, Sieve};
use super::{Out, Stateless};
use crate::batch::{Batch, Signal};
use crate::moment::Moment;
use crate::otlp::cut::cut;
use crate::otlp::edit::Edits;
use crate::otlp::view::{Request, ResourceGroup, ScopeGroup};
pub use item::{Item, Part};
use item::{LOG_RECORD, SPAN, Shape};
use std::sync::Arc;

/// A processor that looks at items one by one and says what it changes as edits.
pub trait Inspector: Send {
    /// What `attribute` means to it, as a number of its own; 0 if it need not be shown it, and then
    /// others may not be either. It is asked once for many attributes of the same bytes, and of
    /// the same key if they hold numbers, so nothing else may count.
    fn meaning(&self, _attribute: &[u8]) -> u16 {
        0
    }

    /// What is to run at the beginning of its pipeline, where the metadata of requests is known.
    fn door(&self) -> Option<Arc<dyn Stateless>> {
        None
    }

    /// A batch begins.
    fn begin(&mut self, _now: Moment) {}

    /// The items of `group` follow. What it takes out of the resource or changes there it puts
    /// into `hidden`, as [`Item::resource_hidden`] has it.
    fn resource(
        &mut self,
        _group: ResourceGroup<'_>,
        _hidden: &mut Vec<usize>,
        _edits: &mut Edits,
    ) {
    }

    /// The items of `group` follow; metrics are no items, and stand in it.
    fn scope(&mut self, _group: ScopeGroup<'_>, _signal: Signal, _edits: &mut Edits) {}

    /// Looks at the next item.
    fn item(&mut self, item: &mut Item<'_>, now: Moment, edits: &mut Edits);

    /// The batch has no more items.
    fn end(&mut self, now: Moment, edits: &mut Edits);

    /// Looks at the whole request once more, as it came in.
    fn look_back(&mut self, _request: Request<'_>, _now: Moment) {}

    /// Whether it may hold items. Then it is the last of its row, since what follows sees those
    /// items later and in other batches.
    fn may_hold(&self) -> bool {
        false
    }

    /// Where the items of this batch start that it holds, in order.
    fn holds(&mut self) -> Vec<usize> {
        vec![]
    }

    /// Takes over the items that it holds, with the edits of the whole row in them.
    fn hold(&mut self, _items: Batch, _now: Moment) {}

    /// As of [`super::Stateful`], of what is held.
    fn held(&self) -> usize {
        0
    }

    fn wake_at(&self) -> Option<Moment> {
        None
    }

    fn wake(&mut self, _now: Moment, _out: &mut Out) {}

    fn finish(&mut self, _now: Moment, _out: &mut Out) {}
}

/// Inspectors in a row.
pub struct Inspection<'i> {
    pub(super) inspectors: Vec<Box<dyn Inspector + 'i>>,
    sieve: Sieve,
    meanings: Meanings,
    /// Items of the last batch that each inspector left.
    pub(super) left: Vec<usize>,
    edits: Edits,
}

impl<'i> Inspection<'i> {
    pub fn new(inspectors: Vec<Box<dyn Inspector + 'i>>) -> Inspection<'i> {
        let (left, meanings) = (vec![0; inspectors.len()], Meanings::new(inspectors.len()));
        let (sieve, edits) = (Sieve::default(), Edits::default());
        Inspection { inspectors, sieve, meanings, left, edits }
    }

    /// Shows `batch` to all of them and applies what they want.
    pub fn run(&mut self, batch: Batch, now: Moment) -> Batch {
        self.look(&batch, now);
        self.edit(batch)
    }

    /// Shows `batch` to all of them.
    pub(super) fn look(&mut self, batch: &Batch, now: Moment) {
        self.left.fill(0);
        self.inspectors.iter_mut().for_each(|inspector| inspector.begin(now));
        match batch.signal() {
            Signal::Traces => self.walk(batch, now, Some(&SPAN)),
            Signal::Logs => self.walk(batch, now, Some(&LOG_RECORD)),
            Signal::Metrics => {
                self.left.fill(batch.items());
                self.walk(batch, now, None);
            }
        }
        for inspector in &mut self.inspectors {
            inspector.end(now, &mut self.edits);
            inspector.look_back(batch.request(), now);
        }
    }

    /// The batch that was looked at with what they want.
    pub(super) fn edit(&mut self, batch: Batch) -> Batch {
        if !self.edits.is_empty() {
            return batch.edited(&mut self.edits);
        }
        self.edits.clear();
        batch
    }

    /// Of that the items that start at `starts`, which then are no part of it any more.
    pub(super) fn cut(&mut self, batch: &Batch, starts: &[usize]) -> Batch {
        batch.part(cut(&mut self.edits, batch.bytes(), starts), starts.len())
    }

    #[inline]
    fn walk(&mut self, batch: &Batch, now: Moment, shape: Option<&Shape>) {
        let signal = batch.signal();
        let mut item = Item::new(signal, std::mem::take(&mut self.meanings));
        for group in batch.request().resource_groups() {
            item.resource_hidden.clear();
            for inspector in &mut self.inspectors {
                inspector.resource(group, &mut item.resource_hidden, &mut self.edits);
            }
            item.resource_group = group.0;
            for scope_group in group.scope_groups() {
                let edits = &mut self.edits;
                let each = self.inspectors.iter_mut();
                each.for_each(|inspector| inspector.scope(scope_group, signal, edits));
                let Some(shape) = shape else { continue };
                for field in scope_group.item_fields() {
                    let settled = self.edits.len();
                    item.read(scope_group.0, field, shape, &mut self.sieve, &self.inspectors);
                    let row = self.inspectors.iter_mut().zip(&mut self.left);
                    for (place, (inspector, left)) in row.enumerate() {
                        item.place = place;
                        inspector.item(&mut item, now, &mut self.edits);
                        if item.removed {
                            break;
                        }
                        *left += 1;
                    }
                    self.edits.settle(settled);
                }
            }
        }
        self.meanings = item.meanings;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::{text, view};
    use bytes::Bytes;

    /// Takes out every attribute with its key, and items that have an attribute `remove`.
    struct Taker(&'static str);

    impl Inspector for Taker {
        fn meaning(&self, attribute: &[u8]) -> u16 {
            u16::from(
                ["remove", self.0].iter().any(|key| key.as_bytes() == view::key_in(attribute)),
            )
        }

        fn item(&mut self, item: &mut Item<'_>, _: Moment, edits: &mut Edits) {
            let named = |name: &str| {
                let keys = item.attributes.iter().copied();
                keys.filter(|part| item.key(*part) == name.as_bytes()).collect::<Vec<Part>>()
            };
            let (gone, remove) = (named(self.0), named("remove"));
            if !remove.is_empty() {
                return item.remove(edits);
            }
            gone.iter().for_each(|part| edits.remove(item.message, &item.field(*part)));
            item.hide(&gone);
        }

        fn end(&mut self, _: Moment, _: &mut Edits) {}
    }

    /// Writes down the attributes that it is shown.
    struct Witness(Vec<String>);

    impl Inspector for &mut Witness {
        fn meaning(&self, attribute: &[u8]) -> u16 {
            u16::from([&b"a"[..], b"b"].contains(&view::key_in(attribute)))
        }

        fn item(&mut self, item: &mut Item<'_>, _: Moment, _: &mut Edits) {
            let keys = item.attributes.iter().map(|part| view::text(item.key(*part)));
            self.0.push(keys.collect::<Vec<_>>().join(" "));
        }

        fn end(&mut self, _: Moment, _: &mut Edits) {}
    }

    #[test]
    fn those_behind_do_not_see_what_was_taken_out() {
        let request = "span 1/1 a=1 b=2 c=3\nspan 1/2 remove=1 a=1\nspan 1/3 b=1";
        let bytes = Bytes::from(text::parse(request).unwrap());
        let batch = Batch::parse(Signal::Traces, bytes, Moment::default()).unwrap();
        let mut witness = Witness(vec![]);
        let row: Vec<Box<dyn Inspector + '_>> = vec![Box::new(Taker("a")), Box::new(&mut witness)];
        let mut row = Inspection::new(row);
        let batch = row.run(batch, Moment::default());
        assert_eq!(row.left, [2, 2]);
        drop(row);
        assert_eq!(witness.0, ["b", "b"]);
        let printed = text::print(Signal::Traces.message(), batch.bytes());
        assert_eq!(printed, "resource -\nscope -\nspan 1/1 b=2 c=3\nspan 1/3 b=1\n");
    }
}

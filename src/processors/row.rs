//! Inspectors in a row as one processor, the last of which may hold items.

use super::inspect::{Inspection, Inspector};
use super::{Out, Stateful};
use crate::batch::Batch;
use crate::moment::Moment;
use crate::telemetry::Counter;

/// Inspectors in a row as one processor.
pub struct Row {
    inspection: Inspection<'static>,
    /// Of each but the last: what it passed on, and what came in behind it.
    between: Vec<(Counter, Counter)>,
}

impl Row {
    pub fn new(inspectors: Vec<Box<dyn Inspector>>, between: Vec<(Counter, Counter)>) -> Row {
        Row { inspection: Inspection::new(inspectors), between }
    }
}

impl Row {
    /// Passes `batch` but for the items at the starts in `held`, which the last inspector holds.
    /// For those whoever waits is answered: no client waits as long as a processor may hold.
    fn hold(&mut self, held: &[usize], batch: Batch, now: Moment, out: &mut Out) {
        let left = self.inspection.left.last().copied().unwrap_or_default();
        let (mut items, rest) = match left == held.len() {
            true => (self.inspection.edit(batch), None),
            false => (self.inspection.cut(&batch, held), Some(self.inspection.edit(batch))),
        };
        items.receipts.take_custody();
        if let Some(last) = self.inspection.inspectors.last_mut() {
            last.hold(items, now);
        }
        rest.into_iter().for_each(|rest| out.pass(rest));
    }
}

impl Stateful for Row {
    fn process(&mut self, batch: Batch, now: Moment, out: &mut Out) {
        self.inspection.look(&batch, now);
        for ((passed, came), left) in self.between.iter().zip(&self.inspection.left) {
            passed.add(*left);
            came.add(*left);
        }
        let last = self.inspection.inspectors.last_mut();
        let Some(holder) = last.filter(|last| last.may_hold()) else {
            return out.pass(self.inspection.edit(batch));
        };
        let held = holder.holds();
        if held.is_empty() {
            out.pass(self.inspection.edit(batch));
        } else {
            self.hold(&held, batch, now, out);
        }
        self.wake(now, out);
    }

    fn held(&self) -> usize {
        self.inspection.inspectors.last().map_or(0, |last| last.held())
    }

    fn wake_at(&self) -> Option<Moment> {
        self.inspection.inspectors.last()?.wake_at()
    }

    fn wake(&mut self, now: Moment, out: &mut Out) {
        if let Some(last) = self.inspection.inspectors.last_mut() {
            last.wake(now, out);
        }
    }

    fn finish(&mut self, now: Moment, out: &mut Out) {
        if let Some(last) = self.inspection.inspectors.last_mut() {
            last.finish(now, out);
        }
    }
}

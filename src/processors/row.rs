//! Inspectors in a row as one processor, the last of which may hold items.

use super::inspect::{Inspection, Inspector};
use super::{Out, Stateful};
use crate::batch::Batch;
use crate::moment::Moment;
use crate::otlp::partition::partition;
use crate::telemetry::Counter;
use crate::verdict::Verdict;

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

impl Stateful for Row {
    fn process(&mut self, batch: Batch, now: Moment, out: &mut Out) {
        let batch = self.inspection.run(batch, now);
        for ((passed, came), left) in self.between.iter().zip(&self.inspection.left) {
            passed.add(*left);
            came.add(*left);
        }
        match self.inspection.inspectors.last_mut() {
            Some(last) if last.may_hold() => {
                hold(last.as_mut(), batch, now, out);
                last.wake(now, out);
            }
            _ => out.pass(batch),
        }
    }

    fn wake_at(&self) -> Option<Moment> {
        self.inspection.inspectors.last()?.wake_at()
    }

    fn held(&self) -> usize {
        self.inspection.inspectors.last().map_or(0, |last| last.held())
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

/// Passes `batch` but for what `inspector` holds of it. For that whoever waits is answered: no
/// client waits as long as a processor may hold.
fn hold(inspector: &mut dyn Inspector, batch: Batch, now: Moment, out: &mut Out) {
    let numbers = inspector.holds();
    if numbers.is_empty() {
        return out.pass(batch);
    }
    let (mut numbers, mut number) = (numbers.into_iter().peekable(), 0);
    let parts = partition(batch.signal().message(), batch.bytes(), |_| {
        let held = numbers.next_if_eq(&number).is_some();
        number += 1;
        usize::from(held)
    });
    for (held, part) in parts {
        let mut part = batch.part(part.bytes, part.items);
        if held == 0 {
            out.pass(part);
        } else {
            part.receipts.take_custody();
            inspector.hold(part, now);
        }
    }
    batch.settle(&Verdict::Accepted);
}

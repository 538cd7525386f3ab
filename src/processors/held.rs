//! What an inspector holds of a batch: cut out of it once the edits of its whole row are made.

use super::Out;
use super::inspect::Inspector;
use crate::batch::Batch;
use crate::moment::Moment;
use crate::otlp::partition::partition;
use crate::verdict::Verdict;

/// Passes `batch` but for what `inspector` holds of it. For that whoever waits is answered: no
/// client waits as long as a processor may hold.
pub fn hold(inspector: &mut dyn Inspector, batch: Batch, now: Moment, out: &mut Out) {
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

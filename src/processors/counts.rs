//! The `dropped_*_count` fields: what was taken out of an item is added to what it already says.

use crate::otlp::edit::Edits;
use crate::otlp::wire::{Field, Message, put_varint_field};

/// Adds `n` to the number in the field `number` of `message`, which is `found` if it is there.
pub fn raise(
    edits: &mut Edits,
    message: Message<'_>,
    number: u32,
    found: Option<Field<'_>>,
    n: usize,
) {
    let before = found.map_or(0, |field| field.number_value());
    // The counts are uint32.
    let sum = before.saturating_add(n as u64).min(u64::from(u32::MAX));
    let write = |out: &mut Vec<u8>| put_varint_field(out, number, sum);
    match found {
        Some(field) => edits.replace(message, &field, write),
        None => edits.append(message, write),
    }
}

//! What stands around spans (resource, scope, schema URLs, unknown fields), kept once however many
//! held spans it surrounds: spans of one service repeat it in every request.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::sync::Arc;

/// Bytes that a header costs besides its content: table, slot, allocation.
const HEADER_BYTES: usize = 128;

/// The number of a header.
pub type Id = u32;

/// Headers by content, with the number of pieces that stand in each.
#[derive(Default)]
pub struct Headers {
    ids: HashMap<Arc<[u8]>, Id, RandomState>,
    slots: Vec<Slot>,
    free: Vec<Id>,
    bytes: usize,
}

struct Slot {
    content: Arc<[u8]>,
    uses: usize,
}

impl Headers {
    /// Bytes that all of them take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The content of a header; empty for one that nobody uses.
    pub fn get(&self, id: Id) -> &[u8] {
        self.slots.get(id as usize).map_or(&[], |slot| &slot.content)
    }

    /// The number of the header `content`, which is used once more until it is [put
    /// back](Headers::put_back).
    pub fn take(&mut self, content: &[u8]) -> Id {
        if let Some(&id) = self.ids.get(content) {
            self.take_again(id);
            return id;
        }
        let shared: Arc<[u8]> = content.into();
        let slot = Slot { content: shared.clone(), uses: 1 };
        self.bytes += HEADER_BYTES + content.len();
        let id = match self.free.pop() {
            Some(id) => id,
            None => self.slots.len() as Id,
        };
        match self.slots.get_mut(id as usize) {
            Some(place) => *place = slot,
            None => self.slots.push(slot),
        }
        self.ids.insert(shared, id);
        id
    }

    /// One more use of a header in use.
    pub fn take_again(&mut self, id: Id) {
        if let Some(slot) = self.slots.get_mut(id as usize) {
            slot.uses += 1;
        }
    }

    /// Ends one use.
    pub fn put_back(&mut self, id: Id) {
        let Some(slot) = self.slots.get_mut(id as usize) else { return };
        slot.uses = slot.uses.saturating_sub(1);
        if slot.uses == 0 {
            let content = std::mem::take(&mut slot.content);
            self.ids.remove(&*content);
            self.bytes -= HEADER_BYTES + content.len();
            self.free.push(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_kept_once_and_as_long_as_it_is_used() {
        let mut headers = Headers::default();
        let (a, b, again) = (headers.take(b"a"), headers.take(b"b"), headers.take(b"a"));
        assert_eq!((a, headers.get(a), headers.get(b)), (again, &b"a"[..], &b"b"[..]));
        assert_eq!(headers.bytes(), 2 * HEADER_BYTES + 2);
        headers.put_back(a);
        assert_eq!(headers.get(a), b"a");
        headers.put_back(a);
        assert_eq!((headers.get(a), headers.bytes()), (&b""[..], HEADER_BYTES + 1));
        assert_eq!(headers.take(b"c"), a, "its place is used again");
        headers.put_back(a);
        headers.put_back(b);
        assert_eq!((headers.bytes(), headers.ids.len()), (0, 0));
    }
}

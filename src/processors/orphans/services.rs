//! The names of services by their hashes: by them the service of a parent is named.

use crate::limits;
use crate::otlp::view::{self, AnyValue};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

#[derive(Default)]
pub struct Services {
    names: HashMap<u64, String, RandomState>,
}

impl Services {
    /// Remembers the service of this hash, if there is room.
    pub fn learn(&mut self, hash: u64, name: AnyValue<'_>) {
        let full = self.names.len() >= limits::ORPHAN_SERVICES;
        if let AnyValue::Text(name) = name
            && !full
            && !self.names.contains_key(&hash)
        {
            let name = view::text(name);
            let end = name.floor_char_boundary(limits::FINDING_TEXT_BYTES);
            self.names.insert(hash, name.get(..end).unwrap_or_default().to_owned());
        }
    }

    /// Empty if it is not known.
    pub fn name(&self, hash: u64) -> String {
        self.names.get(&hash).cloned().unwrap_or_default()
    }
}

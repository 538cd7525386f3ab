//! A table of what is known for a while: two halves, of which the older is forgotten when the
//! younger is full. Keys are hashes already.

use hashbrown::HashTable;

/// Values by hash.
pub struct Ages<V> {
    young: HashTable<(u64, V)>,
    old: HashTable<(u64, V)>,
    half: usize,
}

impl<V: Default> Ages<V> {
    /// A table of `limit` entries at most.
    pub fn new(limit: usize) -> Ages<V> {
        Ages { young: HashTable::new(), old: HashTable::new(), half: (limit / 2).max(1) }
    }

    pub fn get(&self, key: u64) -> Option<&V> {
        let young = self.young.find(key, |(known, _)| *known == key);
        let found = young.or_else(|| self.old.find(key, |(known, _)| *known == key));
        found.map(|(_, value)| value)
    }

    /// Changes the value of `key`, a new one if there is none.
    pub fn update<R>(&mut self, key: u64, change: impl FnOnce(&mut V) -> R) -> R {
        if let Some((_, value)) = self.young.find_mut(key, |(known, _)| *known == key) {
            return change(value);
        }
        if self.young.len() >= self.half {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        let before = self.old.find_entry(key, |(known, _)| *known == key).ok();
        let mut value = before.map_or_else(V::default, |entry| entry.remove().0.1);
        let result = change(&mut value);
        self.young.insert_unique(key, (key, value), |(known, _)| *known);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_all_is_bounded() {
        let mut ages = Ages::new(10);
        for key in 0..1000u64 {
            ages.update(key, |value| *value = key);
            ages.update(0, |_| ());
            assert!(ages.young.len() + ages.old.len() <= 10);
        }
        assert_eq!(ages.get(0), Some(&0));
        assert_eq!(ages.get(999), Some(&999));
        assert_eq!(ages.get(900), None);
    }
}

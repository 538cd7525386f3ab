//! Room that is written ahead: the next segment, filled with zeros before it is needed. A sync of a
//! file that grows waits for the file system's own journal as well; over zeros it does not.
//!
//! Done in steps by a task of its own. A segment counts for nothing until it is taken: when a crash
//! leaves it, zeros are no damage, and it is removed as one in which all has left.

use super::log::Active;
use super::record::{self, HEADER, Header};
use super::storage::File;
use super::table::{Table, segment_name};
use crate::limits;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shared by who writes entries and who fills.
pub struct Ahead {
    table: Arc<Table>,
    /// Bytes of a segment.
    segment: u64,
    state: Mutex<State>,
    /// Locked while a step lasts, and before `state`.
    filling: Mutex<Option<Filling>>,
}

struct State {
    /// The next number that is free.
    next: u32,
    random: fastrand::Rng,
    ready: Option<Active>,
    /// Bytes of the next to be filled. They double, so that a disk on which little is written is
    /// not filled with zeros.
    size: u64,
    /// How many segments had been removed when the disk refused: nothing is tried before it has
    /// got room back.
    barred: Option<u64>,
}

impl State {
    fn name(&mut self) -> (u32, u64) {
        let number = self.next;
        self.next = number.saturating_add(1);
        (number, self.random.u64(1..))
    }
}

struct Filling {
    number: u32,
    salt: u64,
    file: Box<dyn File>,
    filled: u64,
    size: u64,
}

impl Ahead {
    pub(super) fn new(table: Arc<Table>, next: u32, segment: u64, seed: u64) -> Ahead {
        let (random, size) = (fastrand::Rng::with_seed(seed), segment.min(limits::JOURNAL_AHEAD));
        let state = State { next, random, ready: None, size, barred: None };
        Ahead { table, segment, state: Mutex::new(state), filling: Mutex::default() }
    }

    /// Whether [`Ahead::step`] has something to do. It keeps within the bound of the journal, with
    /// what may be left of the segment that is written now.
    pub fn is_wanted(&self) -> bool {
        let state = self.state();
        state.ready.is_none()
            && state.barred != Some(self.table.removed())
            && self.table.has_room(self.segment + state.size)
    }

    /// Writes and syncs one piece; whether there is more to do. After an error there is not.
    pub fn step(&self) -> io::Result<bool> {
        let mut place = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        let mut filling = match place.take() {
            Some(filling) => filling,
            None if self.is_wanted() => self.start().inspect_err(|_| self.bar())?,
            None => return Ok(false),
        };
        match self.fill(&mut filling) {
            Ok(true) => Ok(self.finish(filling)),
            Ok(false) => {
                *place = Some(filling);
                Ok(true)
            }
            Err(error) => {
                self.bar();
                self.remove(filling.number);
                Err(error)
            }
        }
    }

    fn start(&self) -> io::Result<Filling> {
        let (number, salt) = self.state().name();
        let file = self.table.storage.create(&segment_name(number))?;
        Ok(Filling { number, salt, file, filled: 0, size: self.state().size })
    }

    /// Whether all is there. The zeros first: with its header it is a segment.
    fn fill(&self, filling: &mut Filling) -> io::Result<bool> {
        let left = filling.size.saturating_sub(filling.filled);
        if left > 0 {
            let piece = usize::try_from(left).unwrap_or(usize::MAX).min(limits::JOURNAL_AHEAD_STEP);
            filling.file.write_at(filling.filled, &vec![0; piece])?;
            filling.file.sync()?;
            filling.filled += piece as u64;
            return Ok(false);
        }
        let head = record::header(Header { segment: filling.number, salt: filling.salt });
        filling.file.write_at(0, &head)?;
        filling.file.sync()?;
        // Its name is safe before anything in it is.
        self.table.storage.sync()?;
        Ok(true)
    }

    /// Offers it, unless a segment with a later number was begun meanwhile: they are read in order.
    fn finish(&self, filling: Filling) -> bool {
        let Filling { number, salt, file, size, .. } = filling;
        let mut state = self.state();
        if state.next != number.saturating_add(1) {
            drop(state);
            self.remove(number);
            return true;
        }
        state.size = size.saturating_mul(2).min(self.segment);
        let len = HEADER as u64;
        state.ready = Some(Active { number, salt, file, len, entries: 0, room: size });
        false
    }

    pub(super) fn is_ready(&self) -> bool {
        self.state().ready.is_some()
    }

    /// The segment that was filled, or else number and salt of one that is begun now: at once, or
    /// one could become ready in between and be written after one with a later number, where no
    /// reader looks for it any more.
    pub(super) fn next(&self) -> Result<Active, (u32, u64)> {
        let mut state = self.state();
        state.ready.take().ok_or_else(|| state.name())
    }

    /// Gives back what is being filled, and tries no more before the disk has got room back.
    pub(super) fn give_way(&self) {
        self.bar();
        let filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(filling) = filling {
            self.remove(filling.number);
        }
    }

    /// Removes what nobody will need.
    pub(super) fn end(&self) {
        self.give_way();
        let ready = self.state().ready.take();
        if let Some(ready) = ready {
            self.remove(ready.number);
        }
    }

    fn bar(&self) {
        self.state().barred = Some(self.table.removed());
    }

    /// One that stays is removed after the next start.
    fn remove(&self, number: u32) {
        let _ = self.table.storage.remove(&segment_name(number));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! A pipeline's journal at work: takes batches in, answers their clients when they are on disk,
//! hands them on from there, and lets go of what has left.
//!
//! Three tasks: one writes (what comes while it syncs is its next group), one reads and hands on in
//! the order of arrival, at the pace of what is behind it, and one removes what has left.
//! What stands on disk beyond [`limits::JOURNAL_RESIDENT_BYTES`] is not in memory.

use super::book::Book;
use super::entry::Next;
use super::notes::Notes;
use crate::batch::Batch;
use crate::clock;
use crate::journal::{self, Directory, Entry, Id, Log, Opened, Place, Reader, Resident};
use crate::journal::{Settings, Stored, Table, Ways};
use crate::limits;
use crate::moment::Moment;
use crate::receipt::{Claim, Receipt};
use crate::telemetry::Registry;
use crate::verdict::{Refusal, Verdict};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Shared by the tasks and by those who bring batches.
pub struct Keeper {
    number: usize,
    table: Arc<Table>,
    pending: Mutex<Pending>,
    /// There is something to write, or nothing more will come.
    came: Notify,
    resident: Mutex<Resident<Batch>>,
    /// There is something to read.
    written: Notify,
    /// Nothing is handed on any more.
    stop: CancellationToken,
    /// All has ended that will.
    end: CancellationToken,
    pub(super) book: Arc<Book>,
    notes: Notes,
}

/// What waits to be written.
#[derive(Default)]
struct Pending {
    batches: Vec<Batch>,
    bytes: usize,
    /// When the first of them came.
    since: Moment,
    closed: bool,
    /// Until when nothing is tried, and why.
    failed: Option<(Moment, String)>,
}

/// What the tasks own.
pub struct Hands {
    log: Log,
    reader: Reader,
}

/// Which journal of the graph it is, and of what.
pub struct Of<'a> {
    pub number: usize,
    pub pipeline: &'a str,
    /// The ways out of it.
    pub exporters: &'a [&'a str],
}

impl Keeper {
    /// Opens the journal in `folder`.
    pub fn open(
        of: Of<'_>,
        folder: &Path,
        limit: u64,
        patience: Duration,
        book: Arc<Book>,
        registry: &Registry,
    ) -> Result<(Arc<Keeper>, Hands), String> {
        journal::create(folder)?;
        let directory = Arc::new(Directory::open(folder, patience)?);
        let settings = Settings::new(limit, fastrand::u64(..));
        let Opened { log, reader, table } = journal::open(directory, of.exporters, settings)?;
        let keeper = Arc::new(Keeper {
            number: of.number,
            notes: Notes::new(of.pipeline, registry),
            table,
            pending: Mutex::default(),
            came: Notify::new(),
            resident: Mutex::new(Resident::new(limits::JOURNAL_RESIDENT_BYTES)),
            written: Notify::new(),
            stop: CancellationToken::new(),
            end: CancellationToken::new(),
            book,
        });
        Ok((keeper, Hands { log, reader }))
    }

    /// The number by which its claims are known.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Takes `batch`, whose clients are answered when it is on disk, or told to come back. What is
    /// in custody nobody sends again, so it waits for room.
    pub async fn take(&self, mut batch: Batch) {
        if batch.bytes().len() > limits::JOURNAL_RECORD_BYTES {
            // The reader would take it for damage.
            self.book.dropped("too_large", batch.items());
            let why = "what processors have added makes it larger than an entry of the journal";
            return batch.settle(&Verdict::refused(Refusal::TooLarge, why));
        }
        loop {
            let (back, why) = match self.try_take(batch) {
                Ok(()) => return,
                Err(refused) => *refused,
            };
            if !back.receipts.in_custody() || self.stop.is_cancelled() {
                return self.turn_away(vec![back], why);
            }
            batch = back;
            tokio::select! {
                () = tokio::time::sleep(limits::JOURNAL_TICK) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    fn try_take(&self, batch: Batch) -> Result<(), Box<(Batch, String)>> {
        let size = batch.bytes().len();
        let mut pending = self.pending();
        if let Some(why) = self.refuses(&pending, size) {
            return Err(Box::new((batch, why)));
        }
        if pending.batches.is_empty() {
            pending.since = clock::now();
        }
        pending.bytes += size;
        pending.batches.push(batch);
        if pending.batches.len() == 1 || pending.bytes >= limits::JOURNAL_GROUP_BYTES {
            self.came.notify_one();
        }
        Ok(())
    }

    fn refuses(&self, pending: &Pending, size: usize) -> Option<String> {
        if pending.closed {
            return Some("the daemon is shutting down".to_owned());
        }
        if let Some((until, why)) = &pending.failed
            && clock::now() < *until
        {
            return Some(why.clone());
        }
        if pending.bytes > 0 && pending.bytes + size > limits::JOURNAL_PENDING_BYTES {
            return Some("the disk of the journal is too slow".to_owned());
        }
        let fits = self.table.has_room((pending.bytes + size) as u64);
        (!fits).then(|| "the journal is full: the backend is too slow or away".to_owned())
    }

    fn turn_away(&self, batches: Vec<Batch>, why: String) {
        let items = batches.iter().map(Batch::items).sum();
        self.notes.refused(items, &why);
        self.book.dropped("turned_away", items);
        let verdict = Verdict::busy(why);
        batches.into_iter().for_each(|batch| batch.settle(&verdict));
    }

    /// Takes nothing more and hands nothing more on: what is on disk stays there.
    pub fn close(&self) {
        self.pending().closed = true;
        self.came.notify_one();
        self.stop.cancel();
    }

    /// Ends the task that removes what has left, when all has that will.
    pub fn finish(&self) {
        self.end.cancel();
    }

    /// Writes what comes until the end.
    pub async fn write(self: Arc<Self>, mut log: Log) {
        while let Some(group) = self.group().await {
            let commit = move || {
                let entries: Vec<Entry<'_>> = group.iter().map(entry).collect();
                let places = log.commit(&entries);
                drop(entries);
                (log, group, places)
            };
            let Ok((back, group, places)) = tokio::task::spawn_blocking(commit).await else {
                // It panicked, and its receipts have told the clients.
                return self.pending().closed = true;
            };
            log = back;
            match places {
                Ok(places) => self.committed(group, places),
                Err(error) => self.failed(group, &error),
            }
        }
        let _ = tokio::task::spawn_blocking(move || log.close()).await;
    }

    /// Waits for what is to be written together; `None` at the end.
    async fn group(&self) -> Option<Vec<Batch>> {
        loop {
            {
                let pending = self.pending();
                if pending.closed || !pending.batches.is_empty() {
                    break;
                }
            }
            self.came.notified().await;
        }
        let is_full = || {
            let pending = self.pending();
            pending.closed || pending.bytes >= limits::JOURNAL_GROUP_BYTES
        };
        let full = async {
            while !is_full() {
                self.came.notified().await;
            }
        };
        // What came while the group before was synced has waited already.
        let waited = clock::now().since(self.pending().since);
        if let Some(left) = limits::JOURNAL_WINDOW.checked_sub(waited).filter(|t| !t.is_zero()) {
            let _ = tokio::time::timeout(left, full).await;
        }
        self.recover().await;
        let mut pending = self.pending();
        pending.bytes = 0;
        Some(std::mem::take(&mut pending.batches)).filter(|group| !group.is_empty())
    }

    /// Waits as long as nothing is tried after a failure.
    async fn recover(&self) {
        let until = self.pending().failed.as_ref().map(|(until, _)| *until);
        if let Some(until) = until.filter(|_| !self.stop.is_cancelled()) {
            tokio::select! {
                () = tokio::time::sleep(until.since(clock::now())) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    /// These are safe: their clients are answered, and they go on.
    fn committed(&self, group: Vec<Batch>, places: Vec<Place>) {
        self.notes.committed(group.len());
        self.pending().failed = None;
        let mut resident = self.resident();
        for (mut batch, place) in group.into_iter().zip(places) {
            // All that waited for it: clients, and the journal of a pipeline before this one.
            std::mem::take(&mut batch.receipts).settle(&Verdict::Accepted);
            let weight = batch.weight();
            resident.push(place, batch, weight);
        }
        drop(resident);
        self.written.notify_one();
    }

    fn failed(&self, group: Vec<Batch>, error: &io::Error) {
        let why = format!("the journal cannot be written: {error}");
        self.notes.failed(&why);
        let until = clock::now().plus(limits::JOURNAL_PAUSE);
        let in_custody = |batch: &Batch| batch.receipts.in_custody();
        let (held, others): (Vec<Batch>, Vec<Batch>) = group.into_iter().partition(in_custody);
        let held = {
            let mut pending = self.pending();
            pending.failed = Some((until, why.clone()));
            match pending.closed {
                true => held,
                false => {
                    // Nobody sends these again; they are tried with the next.
                    pending.bytes += held.iter().map(|batch| batch.bytes().len()).sum::<usize>();
                    pending.batches.splice(..0, held);
                    vec![]
                }
            }
        };
        self.turn_away(others.into_iter().chain(held).collect(), why);
        // That these are not owed is written down, and the segment is at its end.
        self.flush();
        self.written.notify_one();
    }

    /// Hands on what is on disk, oldest first, until nothing is to be handed on any more.
    pub async fn feed(self: Arc<Self>, mut reader: Reader, next: Next) {
        while !self.stop.is_cancelled() {
            let resident = self.resident().take(&mut reader);
            let batch = match resident {
                Some((place, mut batch)) => {
                    batch.receipts.claim(self.claim(place.id, self.table.ways()));
                    Some(batch)
                }
                None if reader.is_at_end() => {
                    tokio::select! {
                        () = self.written.notified() => {}
                        () = self.stop.cancelled() => {}
                    }
                    None
                }
                None => {
                    let read = move || {
                        let next = reader.advance();
                        (reader, next)
                    };
                    let Ok((back, read)) = tokio::task::spawn_blocking(read).await else { return };
                    reader = back;
                    self.stored(&reader, read)
                }
            };
            let Some(batch) = batch else { continue };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = next.hand_on(batch, &self.book) => {}
            }
        }
    }

    /// What was read as a batch, if it is one.
    fn stored(self: &Arc<Self>, reader: &Reader, read: io::Result<journal::Next>) -> Option<Batch> {
        let stored = match read {
            Ok(journal::Next::Entry(stored)) => stored,
            Ok(journal::Next::End) => return None,
            Ok(journal::Next::Damage(damage)) => {
                self.notes.damaged(&damage);
                return None;
            }
            Err(error) => {
                self.notes.unreadable(&error);
                return None;
            }
        };
        let Stored { id, signal, items, bytes, owed } = stored;
        let parsed = Batch::parse(signal, bytes.into(), clock::now());
        let is_old = reader.is_old(id);
        if is_old {
            self.book.recovered(items);
        }
        match parsed {
            Ok(mut batch) => {
                batch.receipts.claim(self.claim(id, owed));
                Some(batch)
            }
            Err(error) => {
                // Its checksum is right, so a version with other bounds wrote it.
                self.notes.malformed(items, &error.to_string());
                self.book.dropped("unreadable", items);
                owed.into_iter().for_each(|way| self.table.release(id, way));
                None
            }
        }
    }

    /// What the journal waits for before it lets go of `id`.
    fn claim(self: &Arc<Self>, id: Id, ways: Ways) -> Claim {
        self.table.begin(id);
        let left = Arc::new(AtomicUsize::new(ways.len()));
        let ways = ways.into_iter().map(|way| {
            let (keeper, left) = (self.clone(), left.clone());
            (way, Receipt::new(move |verdict| keeper.left(id, way, &left, &verdict)))
        });
        Claim::new(self.number, ways)
    }

    /// An entry has left by one way, or was given up and stays.
    fn left(&self, id: Id, way: usize, left: &AtomicUsize, verdict: &Verdict) {
        if matches!(verdict, Verdict::Busy(_)) {
            return;
        }
        self.table.release(id, way);
        if left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.table.done(id);
        }
        // At once, and not by a task: until it is written down, a kill makes it a duplicate. It is
        // one write of a few bytes to memory of the kernel.
        self.flush();
    }

    /// Removes what nobody is owed any more, and syncs what is written down about it.
    pub async fn tidy_up(self: Arc<Self>) {
        for ticks in 1u32.. {
            tokio::select! {
                () = self.end.cancelled() => return self.tidy(true).await,
                () = tokio::time::sleep(limits::JOURNAL_TICK) => {}
            }
            self.tidy(ticks.is_multiple_of(limits::JOURNAL_SYNC_TICKS)).await;
        }
    }

    fn flush(&self) {
        if let Err(error) = self.table.flush() {
            self.notes.not_released(&error);
        }
    }

    async fn tidy(&self, sync: bool) {
        self.flush();
        let table = self.table.clone();
        let tidy = move || {
            if sync {
                table.sync()?;
            }
            table.clean()
        };
        let tidied = tokio::task::spawn_blocking(tidy).await;
        if let Ok(Err(error)) = tidied {
            self.notes.not_released(&error);
        }
        self.notes.size(self.table.bytes());
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resident(&self) -> MutexGuard<'_, Resident<Batch>> {
        self.resident.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hands {
    /// The log for who writes, and the reader for who hands on.
    pub fn split(self) -> (Log, Reader) {
        (self.log, self.reader)
    }
}

fn entry(batch: &Batch) -> Entry<'_> {
    Entry { signal: batch.signal(), items: batch.items(), bytes: batch.bytes() }
}

//! The journal on a disk that fails: whatever crashes, and wherever, what was acknowledged comes
//! back until it was released. A seed decides everything; a failing one prints the line that runs
//! it again.
//!
//! A few thousand seeds here; `just crash seeds=100000` runs more.

#[path = "crash/disk.rs"]
mod disk;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use disk::{Disk, Fault};
use fastrand::Rng;
use spanloom::batch::Signal;
use spanloom::journal::{self, Entry, Id, Next, Opened, Place, Resident, Settings, Ways};

const SEEDS: u64 = 3000;
const WAYS: [&str; 2] = ["otlp_grpc", "otlp_http/second"];

/// What the world knows: which entries were acknowledged, and by which ways they have left.
#[derive(Default)]
struct Oracle {
    next: u64,
    acked: BTreeMap<u64, BTreeSet<usize>>,
    sizes: HashMap<u64, usize>,
}

impl Oracle {
    /// The ways by which an acknowledged entry has not left.
    fn owed(&self) -> impl Iterator<Item = (u64, BTreeSet<usize>)> + '_ {
        let all: BTreeSet<usize> = (0..WAYS.len()).collect();
        let owed = move |left: &BTreeSet<usize>| all.difference(left).copied().collect();
        self.acked
            .iter()
            .map(move |(serial, left)| (*serial, owed(left)))
            .filter(|(_, owed): &(u64, BTreeSet<usize>)| !owed.is_empty())
    }

    fn content(&mut self, random: &mut Rng) -> (u64, Vec<u8>) {
        self.next += 1;
        let size = match random.u8(..) {
            0..200 => random.usize(8..600),
            200..252 => random.usize(600..5000),
            _ => random.usize(5000..30_000),
        };
        self.sizes.insert(self.next, size);
        (self.next, content(self.next, size))
    }

    /// The entry that these bytes are, whole.
    fn known(&self, bytes: &[u8]) -> Result<u64, String> {
        let head = bytes.first_chunk::<8>().ok_or("an entry of nothing")?;
        let serial = u64::from_le_bytes(*head);
        let size = *self.sizes.get(&serial).ok_or("an entry that nobody wrote")?;
        match bytes == content(serial, size) {
            true => Ok(serial),
            false => Err(format!("entry {serial} has changed")),
        }
    }
}

fn content(serial: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    Rng::with_seed(serial).fill(&mut bytes);
    bytes[..8].copy_from_slice(&serial.to_le_bytes());
    bytes
}

fn open(disk: &Disk, seed: u64) -> Result<Opened, String> {
    let settings = Settings { limit: 1 << 30, segment: 8 << 10, seed };
    journal::open(Arc::new(disk.clone()), &WAYS, settings)
}

/// An entry on its way, and the ways by which it has not left.
struct Open {
    id: Id,
    serial: u64,
    owed: Ways,
}

struct World<'a> {
    oracle: &'a mut Oracle,
    journal: Opened,
    resident: Resident<u64>,
    open: Vec<Open>,
}

impl World<'_> {
    fn commit(&mut self, random: &mut Rng) {
        let group: Vec<(u64, Vec<u8>)> =
            (0..random.usize(1..6)).map(|_| self.oracle.content(random)).collect();
        let signal = Signal::ALL[random.usize(..3)];
        let entries: Vec<Entry<'_>> =
            group.iter().map(|(_, bytes)| Entry { signal, items: 1, bytes }).collect();
        let Ok(places) = self.journal.log.commit(&entries) else { return };
        for ((serial, bytes), place) in group.iter().zip(places) {
            self.oracle.acked.insert(*serial, BTreeSet::new());
            self.resident.push(place, *serial, bytes.len());
        }
    }

    fn read(&mut self) -> Result<bool, String> {
        if let Some((Place { id, .. }, serial)) = self.resident.take(&mut self.journal.reader) {
            self.begin(id, serial, self.journal.table.ways());
            return Ok(true);
        }
        match self.journal.reader.advance() {
            Ok(Next::Entry(stored)) => {
                let serial = self.oracle.known(&stored.bytes)?;
                self.begin(stored.id, serial, stored.owed);
                Ok(true)
            }
            Ok(Next::Damage(_)) => Ok(true),
            Ok(Next::End) | Err(_) => Ok(false),
        }
    }

    fn begin(&mut self, id: Id, serial: u64, owed: Ways) {
        self.journal.table.begin(id);
        self.open.push(Open { id, serial, owed });
    }

    fn release(&mut self, random: &mut Rng) {
        if self.open.is_empty() {
            return;
        }
        let at = random.usize(..self.open.len());
        let open = &mut self.open[at];
        let way = open.owed.swap_remove(random.usize(..open.owed.len()));
        self.journal.table.release(open.id, way);
        if let Some(left) = self.oracle.acked.get_mut(&open.serial) {
            left.insert(way);
        }
        if open.owed.is_empty() {
            self.journal.table.done(open.id);
            self.open.swap_remove(at);
        }
    }

    fn act(&mut self, random: &mut Rng) -> Result<(), String> {
        match random.u8(..100) {
            0..30 => self.commit(random),
            30..60 => self.read().map(|_| ())?,
            60..85 => self.release(random),
            85..92 => self.journal.table.flush().unwrap_or_default(),
            92..94 => self.journal.table.sync().unwrap_or_default(),
            94..99 => self.journal.table.clean().map(|_| ()).unwrap_or_default(),
            _ => self.journal.log.close(),
        }
        Ok(())
    }
}

/// What a start on a copy of the disk finds is all that is owed.
fn check(disk: &Disk, oracle: &Oracle) -> Result<(), String> {
    let mut journal = open(&disk.copy(), 0)?;
    let mut found: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
    loop {
        match journal.reader.advance().map_err(|error| error.to_string())? {
            Next::Entry(stored) => {
                let serial = oracle.known(&stored.bytes)?;
                found.entry(serial).or_default().extend(stored.owed);
            }
            Next::Damage(_) => {}
            Next::End => break,
        }
    }
    for (serial, owed) in oracle.owed() {
        let there = found.get(&serial);
        if there.is_none_or(|there| !there.is_superset(&owed)) {
            return Err(format!("entry {serial} is owed to {owed:?} and found for {there:?}"));
        }
    }
    Ok(())
}

fn run(seed: u64) -> Result<(), String> {
    let mut random = Rng::with_seed(seed);
    let disk = Disk::new(random.u64(..));
    let mut oracle = Oracle::default();
    for generation in 0..random.usize(2..7) {
        let journal = open(&disk, random.u64(..))?;
        let resident = Resident::new(if random.bool() { 1 << 20 } else { 4000 });
        let mut world = World { oracle: &mut oracle, journal, resident, open: vec![] };
        disk.plan(random.usize(1..120), Fault::PowerCut);
        for _ in 0..random.usize(..3) {
            let fault = if random.bool() { Fault::Io } else { Fault::Full(random.usize(1..20)) };
            disk.plan(random.usize(1..60), fault);
        }
        for _ in 0..2000 {
            world.act(&mut random)?;
            if disk.is_off() {
                break;
            }
        }
        disk.restart();
        check(&disk, &oracle).map_err(|error| format!("crash {generation}: {error}"))?;
    }
    Ok(())
}

/// A variable of this test's command.
fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_crashes_what_was_acknowledged_comes_back() {
    let first = number("SPANLOOM_CRASH_SEED");
    let seeds = number("SPANLOOM_CRASH_SEEDS").unwrap_or(SEEDS);
    let range = first.map_or(0..seeds, |first| first..first + 1);
    let (next, end) = (AtomicU64::new(range.start), range.end);
    let failed: Vec<String> = thread::scope(|scope| {
        let work = || {
            let mut failed = vec![];
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end {
                    return failed;
                }
                if let Err(error) = run(seed) {
                    failed.push(format!("{error}; again: just crash-seed {seed}"));
                }
            }
        };
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
    });
    println!("{} seeds, {} failed", range.end - range.start, failed.len());
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

/// A segment with every byte flipped, cut at every length, and swapped with another: what is not
/// touched is read, and all that is missing is counted.
#[test]
fn damage_costs_what_is_damaged() {
    let disk = Disk::new(1);
    let mut journal = open(&disk, 1).expect("it opens");
    let bytes: Vec<Vec<u8>> = (0..5).map(|k| content(k, 60)).collect();
    let entries = bytes.iter().map(|bytes| Entry { signal: Signal::Logs, items: 2, bytes });
    journal.log.commit(&entries.collect::<Vec<_>>()).expect("a commit");
    journal.log.close();
    let name = "00000001.segment";
    let whole = disk.content(name);
    let mut seen = BTreeSet::new();
    for at in 0..whole.len() {
        let copy = disk.copy();
        let mut broken = whole.clone();
        broken[at] ^= 0x55;
        copy.put(name, broken);
        let (found, missing) = read_all(&copy);
        assert!(found >= 4 && found as u64 + missing >= 5 || at >= whole.len() - 28, "byte {at}");
        seen.insert(found);
        copy.put(name, whole[..at].to_vec());
        let (found, _) = read_all(&copy);
        assert!(found <= at / 88, "cut at {at}: {found} found");
    }
    assert_eq!(seen, BTreeSet::from([4, 5]));
}

/// Entries that are found, and those that are said to be missing.
fn read_all(disk: &Disk) -> (usize, u64) {
    let mut journal = open(disk, 1).expect("damage keeps nothing from starting");
    let (mut found, mut missing) = (0, 0);
    loop {
        match journal.reader.advance().expect("no error of the disk") {
            Next::Entry(_) => found += 1,
            Next::Damage(damage) => missing += damage.missing,
            Next::End => return (found, missing),
        }
    }
}

#[test]
fn another_version_is_a_sentence_and_nothing_is_touched() {
    let disk = Disk::new(1);
    let mut journal = open(&disk, 1).expect("it opens");
    journal.log.commit(&[Entry { signal: Signal::Logs, items: 1, bytes: b"x" }]).expect("a commit");
    let mut bytes = disk.content("00000001.segment");
    bytes[8] = 2;
    let check = crc32fast::hash(&bytes[..24]).to_le_bytes();
    bytes[24..28].copy_from_slice(&check);
    disk.put("00000001.segment", bytes.clone());
    let error = open(&disk, 1).err().expect("it is refused");
    assert!(error.contains("format 2") && error.contains("reads format 1"), "{error}");
    assert_eq!(disk.content("00000001.segment"), bytes);
}

/// What a crash left half written was promised to nobody, and is counted.
#[test]
fn a_torn_end_is_what_was_written_of_it() {
    let disk = Disk::new(1);
    let mut journal = open(&disk, 1).expect("it opens");
    let bytes = content(1, 60);
    let entry = [Entry { signal: Signal::Logs, items: 1, bytes: &bytes }];
    journal.log.commit(&entry).expect("a commit");
    journal.log.commit(&entry).expect("a commit");
    let name = "00000001.segment";
    let whole = disk.content(name);
    disk.put(name, whole[..28 + 88 + 68].to_vec());
    let mut journal = open(&disk, 2).expect("it opens");
    let mut seen = vec![];
    loop {
        match journal.reader.advance().expect("readable") {
            Next::Entry(_) => {}
            Next::Damage(damage) => seen.push((damage.bytes, damage.torn)),
            Next::End => break,
        }
    }
    assert_eq!(seen, [(68, true)]);
}

/// Up to the last byte: nothing else takes the room of entries.
#[test]
fn a_disk_takes_entries_until_it_has_no_room_for_these() {
    let bytes = content(1, 972);
    let entry = [Entry { signal: Signal::Logs, items: 1, bytes: &bytes }];
    for room in (2000..14_000).step_by(37) {
        let disk = Disk::new(room);
        disk.holds(room as usize);
        let mut journal = open(&disk, room).expect("it opens");
        let taken = (0..).take_while(|_| journal.log.commit(&entry).is_ok()).count() as u64;
        // At the end of each segment its header, and what there is behind the last entry.
        assert!(taken * 1000 + 1000 + 28 * 4 + 28 * 4 > room, "{taken} entries in {room}");
    }
}

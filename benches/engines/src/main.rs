//! The journal's own segments beside fjall: appends with a sync for each group, and reading all of
//! it back in order while it is removed. On a file system where nobody else writes, and beside a
//! neighbour that writes, syncs and removes files, as on most machines. Each figure is the middle of
//! the rounds, which are in turns.
//!
//! `spanloom-engines DIR [MIB [ROUNDS]]`: DIR decides which disk is measured.

use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use spanloom::batch::Signal;
use spanloom::journal::{self, Directory, Entry, Next, Opened, Settings};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What one round took.
struct Round {
    /// Of each group.
    commits: Vec<Duration>,
    entries: usize,
    /// Entries a second that are read and removed.
    drain: f64,
}

impl Round {
    fn row(&self) -> [f64; 4] {
        let mut commits = self.commits.clone();
        commits.sort_unstable();
        let total: Duration = commits.iter().sum();
        let at = |percent: usize| commits[(commits.len() - 1) * percent / 100].as_secs_f64() * 1e3;
        [self.entries as f64 / total.as_secs_f64(), at(50), at(99), self.drain]
    }
}

fn segments(folder: &Path, groups: usize, group: usize, content: &[u8]) -> Round {
    let open = || {
        let directory = Directory::open(folder, Duration::ZERO).expect("a directory");
        journal::open(Arc::new(directory), &["x"], Settings::new(64 << 30, 1)).expect("it opens")
    };
    let Opened { mut log, .. } = open();
    let entry = Entry { signal: Signal::Traces, items: 1, bytes: content };
    let entries = vec![entry; group];
    let commits = (0..groups).map(|_| timed(|| drop(log.commit(&entries).expect("synced"))));
    let commits = commits.collect();
    log.close();
    // With it goes the lock of the directory.
    drop(log);
    let Opened { mut reader, table, .. } = open();
    let (start, mut read) = (Instant::now(), 0);
    loop {
        match reader.advance().expect("readable") {
            Next::Entry(stored) => {
                assert_eq!(stored.bytes.len(), content.len());
                table.begin(stored.id);
                table.release(stored.id, 0);
                table.done(stored.id);
                read += 1;
                if read % group == 0 {
                    table.flush().expect("released");
                    table.clean().expect("removed");
                }
            }
            Next::Damage(damage) => panic!("{damage:?}"),
            Next::End => break,
        }
    }
    assert_eq!(read, groups * group);
    Round { commits, entries: read, drain: read as f64 / start.elapsed().as_secs_f64() }
}

fn fjall(folder: &Path, groups: usize, group: usize, content: &[u8]) -> Round {
    let open = || {
        let database = Database::builder(folder).open().expect("it opens");
        let space = database.keyspace("queue", KeyspaceCreateOptions::default).expect("a keyspace");
        (database, space)
    };
    let (database, space) = open();
    let mut key = 0u64;
    let commits = (0..groups).map(|_| {
        timed(|| {
            let mut batch = database.batch();
            for _ in 0..group {
                batch.insert(&space, key.to_be_bytes(), content);
                key += 1;
            }
            batch.commit().expect("committed");
            database.persist(PersistMode::SyncData).expect("synced");
        })
    });
    let commits = commits.collect();
    drop((database, space));
    let (_database, space) = open();
    let (start, mut read, mut from) = (Instant::now(), 0, 0u64);
    // With the place remembered: from the start each time, it walks over what was removed.
    loop {
        let found = space.range(from.to_be_bytes()..).take(group);
        let found: Vec<_> = found.map(|guard| guard.into_inner().expect("readable")).collect();
        let Some((last, _)) = found.last() else { break };
        from = u64::from_be_bytes(last[..8].try_into().expect("a key")) + 1;
        for (key, value) in &found {
            assert_eq!(value.len(), content.len());
            space.remove(key.clone()).expect("removed");
            read += 1;
        }
    }
    assert_eq!(read, groups * group);
    Round { commits, entries: read, drain: read as f64 / start.elapsed().as_secs_f64() }
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Writes files as builds and containers do until it is told to end: many that are removed again,
/// and a larger one that is synced.
fn neighbour(folder: &Path, over: &AtomicBool) {
    let piece: Vec<u8> = (0..1 << 20).map(|_| fastrand::u8(..)).collect();
    while !over.load(Ordering::Relaxed) {
        let small: Vec<_> = (0..40).map(|k| folder.join(k.to_string())).collect();
        small.iter().for_each(|path| fs::write(path, &piece[..200_000]).expect("room"));
        let mut large = fs::File::create(folder.join("large")).expect("a file");
        (0..8).for_each(|_| large.write_all(&piece).expect("room"));
        large.sync_all().expect("synced");
        small.iter().for_each(|path| fs::remove_file(path).expect("removed"));
        thread::sleep(Duration::from_millis(50));
    }
}

type Engine = fn(&Path, usize, usize, &[u8]) -> Round;

const ENGINES: [(&str, Engine); 2] = [("segments", segments), ("fjall", fjall)];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next().expect("a directory on the disk to measure");
    let mib: usize = arguments.next().map_or(64, |n| n.parse().expect("a number of MiB"));
    let rounds: usize = arguments.next().map_or(11, |n| n.parse().expect("a number of rounds"));
    println!("| file system | engine | entry | group | appends/s | p50 ms | p99 ms | drain/s |");
    println!("|---|---|---|---|---|---|---|---|");
    measure("quiet", Path::new(&parent), mib, rounds);
    let (over, folder) = (AtomicBool::new(false), tempfile::tempdir_in(&parent).expect("a folder"));
    thread::scope(|scope| {
        scope.spawn(|| neighbour(folder.path(), &over));
        measure("shared", Path::new(&parent), mib, rounds);
        over.store(true, Ordering::Relaxed);
    });
}

fn measure(disk: &str, parent: &Path, mib: usize, rounds: usize) {
    for (size, group) in [(4 << 10, 1), (4 << 10, 32), (64 << 10, 1), (64 << 10, 32)] {
        // Telemetry does not compress to nothing.
        let content: Vec<u8> = (0..size).map(|_| fastrand::u8(..)).collect();
        let groups = ((mib << 20) / size / group).clamp(20, 300);
        let mut rows = [vec![], vec![]];
        for _ in 0..rounds {
            for ((_, engine), rows) in ENGINES.iter().zip(&mut rows) {
                let folder = tempfile::tempdir_in(parent).expect("a folder");
                rows.push(engine(folder.path(), groups, group, &content).row());
            }
        }
        for ((name, _), rows) in ENGINES.iter().zip(&rows) {
            let middle = |k: usize| {
                let mut column: Vec<f64> = rows.iter().map(|row| row[k]).collect();
                column.sort_unstable_by(f64::total_cmp);
                column[column.len() / 2]
            };
            let [rate, p50, p99, drain] = [0, 1, 2, 3].map(middle);
            println!(
                "| {disk} | {name} | {} KiB | {group} | {rate:.0} | {p50:.2} | {p99:.2} | \
                 {drain:.0} |",
                size >> 10
            );
        }
    }
}

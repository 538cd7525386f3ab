//! Storage on disks that misbehave, through the real binary: power that is cut, a disk that is
//! full, one whose syncs fail. Each is skipped with a reason where it cannot be had.
//!
//! `just powercut` cuts the power 20 times.

mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, fs, thread};

use support::conservation::conserved_at_rest;
use support::storage::{Acked, CLIENTS, STREAMING, WINDOW, arrived, config};
use support::{Answer, Daemon, Sink, client, eventually, request, span};
use tempfile::TempDir;

/// A mounted file system, unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn at(folder: PathBuf, arguments: &[&str]) -> Result<Mounted, String> {
        fs::create_dir_all(&folder).expect("a folder to mount at");
        run(Command::new("mount").args(arguments).arg(&folder))?;
        Ok(Mounted(folder))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A process that was killed may still be letting go of it.
        let _ = eventually(|| run(Command::new("umount").arg(&self.0)).ok());
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {text}")) }
}

fn skipped(reason: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}

/// An ext4 image of 64 MiB.
fn image(path: &Path) -> Result<(), String> {
    let file = fs::File::create(path).expect("an image");
    file.set_len(64 << 20).expect("a sparse file");
    run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(path))
}

/// Whether no thread of a process that was told to stop will answer any more: each has stopped, or
/// will when the disk lets go of it. A busy machine takes a while, and whoever is answered
/// meanwhile is owed what a copy that has begun does not have.
fn is_stopped(process: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    tasks.flatten().all(|task| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        matches!(state, None | Some('T' | 't' | 'D'))
    })
}

const CUTS: u64 = 2;

/// The process is stopped, the disk is copied as it is without what the kernel has not written, and
/// the next process runs on the copy. The backend takes only some of it before.
#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    let cuts = env::var("SPANLOOM_POWER_CUTS").ok().and_then(|n| n.parse().ok()).unwrap_or(CUTS);
    let mut random = fastrand::Rng::with_seed(cuts);
    let scratch = TempDir::new().expect("a scratch folder");
    let path = |name: &str| scratch.path().join(name);
    if let Err(reason) = image(&path("disk")) {
        return skipped(&reason);
    }
    let (mut acknowledged, mut recovered) = (0, 0.0);
    for cut in 0..cuts {
        let sink = Sink::start();
        let taken = random.usize(..40);
        sink.answer_next((0..taken).map(|_| Answer::Ok));
        sink.answer_always(Answer::Http(503, vec![]));
        let acked = Acked::default();
        {
            let disk = path("disk").display().to_string();
            let disk = match Mounted::at(path("mounted"), &["-o", "loop", &disk]) {
                Ok(disk) => disk,
                Err(reason) => return skipped(&reason),
            };
            let processors = if cut % 2 == 0 { WINDOW } else { STREAMING };
            let mut daemon = Daemon::start(&config(&sink, &disk.0, "", processors));
            let address = daemon.http();
            let over = AtomicBool::new(false);
            thread::scope(|scope| {
                (0..CLIENTS).for_each(|_| drop(scope.spawn(|| acked.load(&address, &over))));
                thread::sleep(Duration::from_millis(random.u64(50..1500)));
                daemon.signal("STOP");
                over.store(true, Ordering::Relaxed);
                assert!(eventually(|| is_stopped(daemon.id()).then_some(())).is_some());
                fs::copy(path("disk"), path("copy")).expect("a copy");
                daemon.signal("KILL");
            });
            daemon.wait();
        }
        sink.answer_always(Answer::Ok);
        let refused = sink.received().len();
        {
            let copy = path("copy").display().to_string();
            let disk = Mounted::at(path("mounted"), &["-o", "loop", &copy]).expect("mounted again");
            let daemon = Daemon::start(&config(&sink, &disk.0, "", STREAMING));
            // Of what came before, the backend has what it did not refuse.
            let missing = || {
                let mut requests = sink.received();
                requests.drain(taken.min(refused)..refused);
                acked.missing(&arrived(&requests).0)
            };
            let before = acked.missing(&arrived(&sink.received()[..taken.min(refused)]).0);
            let _ = eventually(|| (missing() == 0).then_some(()));
            let accounts = conserved_at_rest(&daemon);
            recovered += accounts["traces otlp_http"].recovered;
            assert_eq!(missing(), 0, "cut {cut}: acknowledged spans are missing");
            assert!(sink.received().len() > refused || before == 0);
        }
        fs::rename(path("copy"), path("disk")).expect("the copy is the disk now");
        acknowledged += acked.owed().len();
    }
    println!("{cuts} power cuts: {acknowledged} spans acknowledged, {recovered} recovered, 0 lost");
    assert!(acknowledged > 0 && recovered > 0.0, "nothing was at stake");
}

/// Posts one span with a text of this size; the status.
fn post(daemon: &Daemon, size: usize) -> u16 {
    let pad = support::spans::text(&"x".repeat(size));
    let one = support::spans::with(span("s", 1, 1, 0), [("pad", pad)]);
    client::post_protobuf(&daemon.http(), "/v1/traces", &request([one])).status
}

#[test]
fn a_full_disk_tells_clients_to_come_back_drains_and_takes_again() {
    let scratch = TempDir::new().expect("a scratch folder");
    let small = ["-t", "tmpfs", "-o", "size=4m", "none"];
    let disk = match Mounted::at(scratch.path().join("small"), &small) {
        Ok(disk) => disk,
        Err(reason) => return skipped(&reason),
    };
    let sink = Sink::start();
    sink.answer_always(Answer::Http(503, vec![]));
    let retry = ", retry_on_failure: {initial_interval: 100ms, max_interval: 100ms}";
    let yaml = config(&sink, &disk.0, retry, STREAMING);
    let daemon = Daemon::start(&yaml);
    let mut taken = 0;
    while post(&daemon, 100_000) == 200 {
        taken += 1;
        assert!(taken < 100, "the disk has no end");
    }
    daemon.wait_for_log("No space left");
    sink.answer_always(Answer::Ok);
    let again = eventually(|| (post(&daemon, 100_000) == 200).then_some(()));
    assert!(again.is_some(), "it does not take again");
    let accounts = conserved_at_rest(&daemon);
    assert_eq!(accounts["traces otlp_http"].delivered, f64::from(taken + 1), "{accounts:#?}");
    // After a restart nothing is owed.
    drop(daemon);
    let daemon = Daemon::start(&yaml);
    post(&daemon, 10);
    let accounts = conserved_at_rest(&daemon);
    assert_eq!(accounts["traces otlp_http"].recovered, 0.0, "{accounts:#?}");
}

#[test]
fn a_sync_that_fails_acknowledges_nothing_and_the_next_goes_to_a_new_file() {
    if let Err(reason) = run(Command::new("strace").args(["-V"])) {
        return skipped(&reason);
    }
    let folder = TempDir::new().expect("a scratch folder");
    let sink = Sink::start();
    sink.answer_always(Answer::Http(503, vec![]));
    let yaml = config(&sink, folder.path(), "", STREAMING);
    let daemon = Daemon::start(&yaml);
    assert_eq!(post(&daemon, 10), 200);
    let mut tracer = Command::new("strace")
        .args(["-f", "-q", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=1..3"])
        .args(["-p", &daemon.id().to_string()])
        .stderr(Stdio::null())
        .spawn()
        .expect("strace starts");
    let mut statuses = vec![];
    let failed = eventually(|| {
        statuses.push(post(&daemon, 10));
        statuses.contains(&503).then_some(())
    });
    if failed.is_none() {
        let _ = tracer.kill();
        let _ = tracer.wait();
        return skipped("strace cannot attach here");
    }
    daemon.wait_for_log("the journal cannot be written");
    let again = eventually(|| {
        statuses.push(post(&daemon, 10));
        (statuses.last() == Some(&200)).then_some(())
    });
    assert!(again.is_some(), "{statuses:?}");
    let _ = tracer.kill();
    let _ = tracer.wait();
    let taken = 1 + statuses.iter().filter(|status| **status == 200).count();
    drop(daemon);
    sink.answer_always(Answer::Ok);
    let daemon = Daemon::start(&yaml);
    let accounts = conserved_at_rest(&daemon);
    let recovered = accounts["traces otlp_http"].recovered as usize;
    assert_eq!(recovered, taken, "{statuses:?}");
}

/// Writes to files that somebody has removed succeed, and are gone with the process.
#[test]
fn a_journal_that_is_removed_while_it_is_used_acknowledges_nothing_more() {
    let folder = TempDir::new().expect("a scratch folder");
    let journal = folder.path().join("journal/traces");
    let sink = Sink::start();
    sink.answer_always(Answer::Http(503, vec![]));
    let yaml = config(&sink, folder.path(), "", STREAMING);
    for with_another_in_its_place in [false, true] {
        let mut daemon = Daemon::start(&yaml);
        assert_eq!(post(&daemon, 10), 200);
        // The daemon may make a file there meanwhile.
        assert!(eventually(|| fs::remove_dir_all(&journal).ok()).is_some());
        if with_another_in_its_place {
            fs::create_dir(&journal).expect("another");
        }
        assert_eq!(post(&daemon, 10), 503);
        // It tries again, in a new file.
        thread::sleep(Duration::from_millis(600));
        assert_eq!(post(&daemon, 10), 503);
        daemon.wait_for_log("the journal cannot be written");
        assert!(daemon.is_running());
        drop(daemon);
        let daemon = Daemon::start(&yaml);
        assert_eq!(post(&daemon, 10), 200, "a start makes it anew");
        drop(daemon);
    }
    // Where a file stands, or above, there is no place for one.
    let file = folder.path().join("file");
    fs::write(&file, "").expect("a file");
    let mut daemon = Daemon::start(&config(&sink, &file.join("below"), "", STREAMING));
    assert!(!daemon.wait().success());
    daemon.wait_for_log("cannot create");
}

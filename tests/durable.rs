//! What was acknowledged is delivered, whatever becomes of the process: the real binary with
//! storage, killed at random points, stopped, given a full disk, and a backend that refuses.
//!
//! `just kill` runs 200 rounds of the kill loop.

mod support;

use std::collections::HashMap;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use support::conservation::{Account, conserved, conserved_at_rest};
use support::storage::{Acked, CLIENTS, STREAMING, WINDOW, arrived, config};
use support::{Answer, Daemon, Sink, client, eventually, request, span};
use tempfile::TempDir;

#[track_caller]
fn send(daemon: &Daemon, trace: u128, spans: u64) {
    let request = request((1..=spans).map(|id| span("s", trace, id, 0)));
    let reply = client::post_protobuf(&daemon.http(), "/v1/traces", &request);
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[test]
fn what_was_acknowledged_survives_a_kill_in_a_window_and_a_backend_that_is_away() {
    let folder = TempDir::new().expect("a scratch folder");
    let sink = Sink::start();
    for processors in [STREAMING, WINDOW] {
        sink.answer_always(Answer::Http(503, vec![]));
        let yaml = config(&sink, folder.path(), "", processors);
        let daemon = Daemon::start(&yaml);
        let before = sink.spans().len();
        (1..=20).for_each(|trace| send(&daemon, trace, 5));
        let accounts = conserved(&daemon);
        assert_eq!(accounts["traces otlp_http"].accepted, 100.0, "{accounts:#?}");
        drop(daemon);
        sink.answer_always(Answer::Ok);
        let refused = sink.spans().len();
        let daemon = Daemon::start(&yaml);
        let arrived = sink.wait_for_spans(refused + 100);
        assert!(refused >= before && arrived.len() == refused + 100);
        let accounts = conserved_at_rest(&daemon);
        let account = &accounts["traces otlp_http"];
        assert_eq!((account.recovered, account.delivered), (100.0, 100.0), "{accounts:#?}");
    }
}

/// The first batch too, of which what is behind the journal may keep more than of others.
#[test]
fn what_has_arrived_is_not_owed_after_a_kill_and_takes_no_room() {
    for (processors, head_hold) in [(STREAMING, "0s"), (WINDOW, "0s"), (STREAMING, "300ms")] {
        let (folder, sink) = (TempDir::new().expect("a scratch folder"), Sink::start());
        let yaml = config(&sink, folder.path(), "", processors)
            .replace("head_hold: 0s", &format!("head_hold: {head_hold}"));
        for life in 1..=3 {
            let daemon = Daemon::start(&yaml);
            (1..=20).for_each(|trace| send(&daemon, life * 100 + trace, 5));
            let held = conserved(&daemon)["traces otlp_http"].clone();
            assert_eq!(held.dropped, 0.0, "{held:?} with {head_hold}");
            let ended = conserved_at_rest(&daemon)["traces otlp_http"].clone();
            let all = Account { accepted: 100.0, delivered: 100.0, ..Account::default() };
            assert_eq!(ended, all, "with {processors} and {head_hold}");
        }
        let journal = folder.path().join("journal/traces");
        let of_old_lives = || {
            let names = fs::read_dir(&journal).unwrap().map(|e| e.unwrap().file_name());
            let mut names: Vec<_> = names.filter_map(|name| name.into_string().ok()).collect();
            names.retain(|name| name.ends_with(".segment"));
            // A start removes what those before it have left.
            (names.len() <= 2).then_some(names)
        };
        let daemon = Daemon::start(&yaml);
        assert!(eventually(of_old_lives).is_some(), "{:?}", fs::read_dir(&journal));
        drop(daemon);
    }
}

#[test]
fn what_is_stripped_never_rests_on_disk_and_files_are_the_owners() {
    let folder = TempDir::new().expect("a scratch folder");
    let sink = Sink::start();
    sink.answer_always(Answer::Http(503, vec![]));
    let daemon = Daemon::start(&config(&sink, folder.path(), "", STREAMING));
    let prompt = support::spans::text("canary-7391 the secret plan");
    let chat = support::spans::with(span("chat", 1, 1, 0), [("gen_ai.prompt", prompt)]);
    let reply = client::post_protobuf(&daemon.http(), "/v1/traces", &request([chat]));
    assert_eq!(reply.status, 200);
    let mut seen = 0;
    let mut folders = vec![folder.path().join("journal"), folder.path().join("dead")];
    while let Some(here) = folders.pop() {
        assert_eq!(fs::metadata(&here).unwrap().permissions().mode() & 0o777, 0o700, "{here:?}");
        for entry in fs::read_dir(&here).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{entry:?}");
            let bytes = fs::read(entry.path()).unwrap();
            let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
            assert!(!has(b"canary-7391"), "{entry:?}");
            seen += usize::from(has(b"chat"));
        }
    }
    assert_eq!(seen, 1, "the span itself is there");
}

#[test]
fn a_stop_leaves_the_rest_in_the_journal_and_says_so_without_an_error() {
    let folder = TempDir::new().expect("a scratch folder");
    let sink = Sink::start();
    sink.answer_always(Answer::Http(503, vec![]));
    let yaml = config(&sink, folder.path(), "", WINDOW);
    let mut daemon = Daemon::start(&yaml);
    (1..=20).for_each(|trace| send(&daemon, trace, 5));
    assert!(daemon.stop().success());
    daemon.wait_for_log("stay in the journal");
    let errors: Vec<_> =
        daemon.log_lines().into_iter().filter(|line| line.contains("ERROR")).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let refused = sink.spans().len();
    sink.answer_always(Answer::Ok);
    let daemon = Daemon::start(&yaml);
    sink.wait_for_spans(refused + 100);
    conserved_at_rest(&daemon);
}

#[test]
fn what_is_refused_for_good_is_a_dead_letter() {
    let folder = TempDir::new().expect("a scratch folder");
    let sink = Sink::start();
    sink.answer_always(Answer::Http(400, vec![]));
    let daemon = Daemon::start(&config(&sink, folder.path(), "", STREAMING));
    (1..=3).for_each(|trace| send(&daemon, trace, 5));
    let accounts = conserved_at_rest(&daemon);
    assert_eq!(accounts["traces otlp_http"].dead_lettered, 15.0, "{accounts:#?}");
    let dead = folder.path().join("dead");
    let letters: Vec<_> = fs::read_dir(&dead).unwrap().map(|e| e.unwrap().path()).collect();
    let reasons = letters.iter().filter(|path| path.extension().is_some_and(|e| e == "json"));
    for reason in reasons {
        let about = fs::read_to_string(reason).unwrap();
        assert!(about.contains("400") && about.contains("otlp_http"), "{about}");
    }
    // The journal owes nothing: a restart delivers nothing again.
    drop(daemon);
    let before = sink.spans().len();
    sink.answer_always(Answer::Ok);
    let daemon = Daemon::start(&config(&sink, folder.path(), "", STREAMING));
    send(&daemon, 9, 1);
    assert_eq!(sink.wait_for_spans(before + 1).len(), before + 1);
    // They are sent again on request, and then gone.
    let output = support::daemon::run([
        "replay",
        &dead.display().to_string(),
        "--endpoint",
        &sink.endpoint(),
    ]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(sink.wait_for_spans(before + 16).len(), before + 16);
    assert_eq!(fs::read_dir(&dead).unwrap().count(), 0);
}

#[test]
fn a_second_process_and_a_wrong_order_are_sentences() {
    let folder = TempDir::new().expect("a scratch folder");
    let sink = Sink::start();
    let yaml = config(&sink, folder.path(), "", STREAMING);
    let _first = Daemon::start(&yaml);
    _first.http();
    let mut second = Daemon::start(&yaml);
    assert!(!second.wait().success());
    second.wait_for_log("is in use by another process");
    let other = TempDir::new().expect("a scratch folder");
    let late = config(&sink, other.path(), "", "[trace_window, sensitive, baggage, orphans]");
    let mut late = Daemon::start(&late);
    assert!(!late.wait().success());
    late.wait_for_log("would rest in the journal");
}

#[test]
fn a_full_journal_tells_clients_to_come_back_and_takes_again() {
    let folder = TempDir::new().expect("a scratch folder");
    let sink = Sink::start();
    sink.answer_always(Answer::Http(503, vec![]));
    let retry = ", retry_on_failure: {initial_interval: 100ms, max_interval: 100ms}";
    let yaml = config(&sink, folder.path(), retry, STREAMING)
        .replace("directory:", "limit_mib: 1, directory:");
    let daemon = Daemon::start(&yaml);
    let body = || {
        let pad = support::spans::text(&"x".repeat(50_000));
        request([support::spans::with(span("s", 1, 1, 0), [("pad", pad)])])
    };
    let post = || client::post_protobuf(&daemon.http(), "/v1/traces", &body());
    let mut taken = 0;
    let refused = loop {
        let reply = post();
        if reply.status != 200 {
            break reply;
        }
        taken += 1;
        assert!(taken < 100, "there is no bound");
    };
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some() && refused.text().contains("journal is full"));
    conserved(&daemon);
    sink.answer_always(Answer::Ok);
    let again = eventually(|| (post().status == 200).then_some(()));
    assert!(again.is_some(), "it does not take again");
    let accounts = conserved_at_rest(&daemon);
    assert_eq!(accounts["traces otlp_http"].delivered, f64::from(taken + 1), "{accounts:#?}");
}

const ROUNDS: u64 = 10;

/// Milliseconds after which a kill may come: what is twice is what one answer takes at the rate of
/// the load, so its share says something of rounds as long as a daemon lives between two kills at
/// the very least. The short form is about loss.
const SHORT: Range<u64> = 50..2000;
const LONG: Range<u64> = 50..10_000;

/// What an exporter may have under way when the process is killed, in spans: what the backend has
/// and the journal does not know of.
const UNDER_WAY: u64 = 10 * 200;

/// Spans that the backend got again within the life of one process, which no kill accounts for,
/// and how long before a kill it had those that it got again after one, at most.
fn again(sink: &Sink, kills: &[Instant]) -> (usize, Duration) {
    let (mut first, mut within, mut longest) = (HashMap::new(), 0, Duration::ZERO);
    for one in sink.received() {
        for span in one.spans() {
            let Some(before) = first.insert(span.span.span_id, one.at) else { continue };
            match kills.iter().find(|kill| (before..one.at).contains(*kill)) {
                Some(kill) => longest = longest.max(*kill - before),
                None => within += 1,
            }
        }
    }
    (within, longest)
}

#[test]
fn kill_loop() {
    let rounds = env::var("SPANLOOM_KILL_ROUNDS").ok().and_then(|n| n.parse().ok());
    let (rounds, full) = (rounds.unwrap_or(ROUNDS), rounds.is_some());
    let mut random = fastrand::Rng::with_seed(
        env::var("SPANLOOM_KILL_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(rounds),
    );
    let folder = TempDir::new().expect("a scratch folder");
    let sink = Sink::start();
    let yaml = config(&sink, folder.path(), "", WINDOW);
    let acked = Acked::default();
    let (mut recovered, mut slowest, mut kills) = (0.0, Duration::ZERO, vec![]);
    for _ in 0..rounds {
        let started = Instant::now();
        let mut daemon = Daemon::start(&yaml);
        let address = daemon.http();
        slowest = slowest.max(started.elapsed());
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            (0..CLIENTS).for_each(|_| drop(scope.spawn(|| acked.load(&address, &over))));
            let round = if full { LONG } else { SHORT };
            thread::sleep(Duration::from_millis(random.u64(round)));
            recovered += daemon.metric("spanloom_pipeline_recovered_items", "");
            daemon.signal("KILL");
            kills.push(Instant::now());
            over.store(true, Ordering::Relaxed);
        });
        daemon.wait();
    }
    let daemon = Daemon::start(&yaml);
    let owed = acked.owed();
    let _ = eventually(|| (acked.missing(&arrived(&sink.received()).0) == 0).then_some(()));
    let accounts = conserved_at_rest(&daemon);
    recovered += accounts["traces otlp_http"].recovered;
    let (count, all) = arrived(&sink.received());
    let (within, longest) = again(&sink, &kills);
    let (lost, twice) = (acked.missing(&count), all - count.len());
    println!(
        "{rounds} kills: {} spans acknowledged, {lost} lost, {all} delivered, {twice} twice \
         ({:.3} %, {:.1} a kill), {within} of them in one life, and the others there \
         for {longest:?} at most when the kill came; {recovered} recovered from the journal; listening after {slowest:?} at most",
        owed.len(),
        100.0 * twice as f64 / all as f64,
        twice as f64 / rounds as f64,
    );
    assert_eq!(lost, 0, "spans that were acknowledged are missing");
    assert!(owed.len() > 100 && recovered > 0.0, "nothing was held when the kills came");
    assert!(twice as f64 <= recovered, "{twice} came twice, {recovered} are said to");
    assert!(twice as u64 <= rounds * UNDER_WAY, "{twice} spans came twice");
    assert!(!full || twice * 1000 <= all, "{twice} of {all} spans came twice");
}

#[test]
fn a_reload_owes_what_was_owed_before() {
    let folder = TempDir::new().expect("a scratch folder");
    let sink = Sink::start();
    sink.answer_always(Answer::Http(503, vec![]));
    let daemon = Daemon::start(&config(&sink, folder.path(), "", WINDOW));
    (1..=10).for_each(|trace| send(&daemon, trace, 5));
    daemon.signal("HUP");
    daemon.wait_for_log("the new configuration is in use");
    let refused = sink.spans().len();
    sink.answer_always(Answer::Ok);
    sink.wait_for_spans(refused + 50);
    let accounts = conserved_at_rest(&daemon);
    let account = &accounts["traces otlp_http"];
    assert_eq!((account.accepted, account.delivered), (50.0, 50.0), "{accounts:#?}");
}

/// A pipeline with a journal feeds another: the first lets go when the second has it.
#[test]
fn a_journal_behind_a_journal_takes_over_what_is_owed() {
    let folder = TempDir::new().expect("a scratch folder");
    let sink = Sink::start();
    sink.answer_always(Answer::Http(503, vec![]));
    let one = format!(
        "    traces: {{receivers: [otlp], processors: {STREAMING}, exporters: [otlp_http]}}\n"
    );
    let two = format!(
        "    traces: {{receivers: [otlp], processors: {STREAMING}, exporters: [forward, otlp_http]}}\n    \
         traces/b: {{receivers: [forward], exporters: [otlp_http]}}\n"
    );
    let yaml = config(&sink, folder.path(), "", STREAMING);
    assert!(yaml.contains(&one));
    let yaml = yaml.replace(&one, &two) + "connectors:\n  forward: {}\n";
    let daemon = Daemon::start(&yaml);
    (1..=10).for_each(|trace| send(&daemon, trace, 5));
    let handed = || {
        let accounts = conserved(&daemon);
        (accounts["traces forward"].delivered == 50.0).then_some(accounts)
    };
    let accounts = eventually(handed).expect("the second pipeline has it");
    assert_eq!(accounts["traces/b otlp_http"].queued, 50.0, "{accounts:#?}");
    drop(daemon);
    let refused = sink.spans().len();
    sink.answer_always(Answer::Ok);
    let daemon = Daemon::start(&yaml);
    sink.wait_for_spans(refused + 100);
    let accounts = conserved_at_rest(&daemon);
    assert_eq!(accounts["traces/b otlp_http"].delivered, 50.0, "{accounts:#?}");
    assert_eq!(sink.spans().len(), refused + 100);
}

//! The fault matrix: what networks, backends, clocks and machines do, and what becomes of it. One
//! test for each row, numbered as in the list of faults, against the binary; the rows about storage
//! (F1 to F7, F18) stand with the journal, those about TLS files mostly in `tls.rs`.
//!
//! Where a row takes long, the suite has a short form of it; `just faults` runs the long ones too.

#[path = "faults/dns.rs"]
mod dns;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use support::agents::{all_arrive, arrived};
use support::client;
use support::conservation::{accounts, conserved, conserved_at_rest};
use support::tls::{Authority, BOTH, Files, Front};
use support::{Agents, Answer, Daemon, Fault, Proxy, Sink, daemon, eventually, request, span};

/// Keys of an exporter that tries again soon and never gives up.
const PERSISTENT: &str = "compression: none, timeout: 1s, \
    retry_on_failure: {initial_interval: 50ms, max_interval: 200ms, max_elapsed_time: 0s}";

const BRIEF: Duration = Duration::from_millis(2);

/// The keys of an exporter to `endpoint`.
fn persistent(name: &str, endpoint: &str) -> String {
    format!("{name}: {{endpoint: \"{endpoint}\", {PERSISTENT}}}")
}

fn to(endpoint: &str) -> String {
    daemon::config(&persistent("otlp_grpc", endpoint), &["otlp_grpc"])
}

#[track_caller]
fn send(daemon: &Daemon, id: u64) {
    let request = request([span("agent", 7, id, 0)]);
    let reply = client::post_protobuf(&daemon.http(), "/v1/traces", &request);
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[track_caller]
fn arrives(sink: &Sink, id: u64) {
    all_arrive(sink, &BTreeSet::from([id]));
}

/// What an exporter is to make of a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Expected {
    /// It tries again until the fault is over.
    Retried,
    /// The backend has taken it, as far as anyone can say.
    Taken,
    /// It is lost, and counted.
    Lost,
}

fn http1(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len());
    [head.into_bytes(), body.to_vec()].concat()
}

/// SETTINGS, and GOAWAY with ENHANCE_YOUR_CALM.
const GOAWAY: &[u8] =
    &[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11];

/// Faults of a backend; the last is what answers that fit no gRPC are to HTTP.
fn downstream(grpc: bool) -> Vec<(&'static str, Fault, Expected)> {
    use Expected::{Lost, Retried, Taken};
    let mut rows = vec![
        ("connections are reset", Fault::Reset, Retried),
        ("connections are never served", Fault::BlackHole, Retried),
        ("answers are swallowed", Fault::HalfOpen, Retried),
        ("reset in the middle of an answer", Fault::ResetAfter(20), Retried),
        ("closed in the middle of an answer", Fault::CloseAfter(20), Retried),
        ("answers drip", Fault::Drip(Duration::from_millis(200)), Retried),
        ("closed without an answer", Fault::Close, Retried),
        ("slow, but in time", Fault::Delay(Duration::from_millis(50)), Taken),
    ];
    if grpc {
        rows.push(("GOAWAY", Fault::Answer(GOAWAY.to_vec(), 1), Retried));
        rows.push(("garbage", Fault::Answer(b"SSH-2.0-x\r\n".to_vec(), 1), Retried));
        return rows;
    }
    let answer = |status, headers, body: &[u8]| Fault::Answer(http1(status, headers, body), 1);
    let kind = "content-type: application/x-protobuf\r\n";
    let gzip = "content-type: application/x-protobuf\r\ncontent-encoding: gzip\r\n";
    let endless = b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n".to_vec();
    let endless = [endless, vec![0; 1 << 20]].concat();
    rows.extend([
        ("closed behind the headers", Fault::CloseAfterHeaders, Taken),
        ("garbage", Fault::Answer(b"SSH-2.0-x\r\n".to_vec(), 1), Retried),
        ("200 with garbage", answer("200 OK", kind, b"<html>"), Taken),
        ("200 with a compressed answer", answer("200 OK", gzip, &[0x1f, 0x8b, 8, 0]), Taken),
        ("200 with a body of 1 GiB", Fault::Answer(endless, 1024), Lost),
        ("503 for an hour", answer("503 Busy", "retry-after: 3600\r\n", b""), Lost),
        ("500", answer("500 Oh", "", b""), Lost),
        ("429 with garbage", answer("429 Slow", "retry-after: soon\r\n", b""), Retried),
    ]);
    rows
}

/// One exporter meets the fault, another does not and is not to notice.
fn meet(kind: &str, what: &str, fault: Fault, expected: Expected) {
    let (sink, other) = (Sink::start(), Sink::start());
    let proxy = Proxy::start(sink.address(), fault);
    let (faulty, good) = (format!("{kind}/faulty"), "otlp_grpc/good".to_owned());
    let exporters = [persistent(&faulty, &proxy.endpoint()), persistent(&good, &other.endpoint())];
    // An hour is a wait that ends with the time for all attempts, which is then short.
    let hour = what == "503 for an hour";
    let exporters = exporters.join("\n");
    let exporters = match hour {
        true => exporters.replacen("max_elapsed_time: 0s", "max_elapsed_time: 1s", 1),
        false => exporters,
    };
    let daemon = Daemon::start(&daemon::config(&exporters, &[&faulty, &good]));
    send(&daemon, 1);
    arrives(&other, 1);
    let count = |name: &str| {
        let name = format!("otelcol_exporter_{name}_spans");
        daemon.metric(&name, &format!("exporter=\"{faulty}\""))
    };
    match expected {
        Expected::Retried => {
            // Over HTTP/2 the next attempt may go over the same connection.
            daemon.wait_for_log("trying again until it answers");
            assert_eq!((count("sent"), count("send_failed")), (0.0, 0.0), "{what}");
            proxy.set(Fault::None);
            arrives(&sink, 1);
            assert!(eventually(|| (count("sent") == 1.0).then_some(())).is_some(), "{what}");
        }
        Expected::Taken => {
            assert!(eventually(|| (count("sent") == 1.0).then_some(())).is_some(), "{what}");
        }
        Expected::Lost => {
            let lost = eventually(|| (count("send_failed") == 1.0).then_some(()));
            assert!(lost.is_some(), "{what}");
            daemon.wait_for_log("lost");
        }
    }
    assert_eq!(count("sent") + count("send_failed"), 1.0, "{what}: conservation");
    conserved_at_rest(&daemon);
    assert!(daemon.peak_resident_kib() < 200 << 10, "{what}");
}

#[test]
fn f8_whatever_a_backend_does_is_classed_right_and_others_do_not_notice() {
    thread::scope(|scope| {
        for (kind, grpc) in [("otlp_grpc", true), ("otlp_http", false)] {
            scope.spawn(move || {
                for (what, fault, expected) in downstream(grpc) {
                    eprintln!("{kind}: {what}");
                    meet(kind, what, fault, expected);
                }
            });
        }
    });
}

#[test]
fn f9_a_backend_that_stalls_in_the_handshake_is_given_up_and_tried_again() {
    let (ours, files, sink) = (Authority::new("ours"), Files::new(), Sink::start());
    let identity = ours.issue(&["127.0.0.1"]);
    let front = Front::start(&identity, None, BOTH, sink.address().to_owned());
    let proxy = Proxy::start(&format!("127.0.0.1:{}", front.port), Fault::BlackHole);
    let ca = files.put("ca.pem", &ours.pem());
    let endpoint = proxy.endpoint().replace("http://", "https://");
    let exporter =
        format!("otlp_grpc: {{endpoint: \"{endpoint}\", tls: {{ca_file: {ca}}}, {PERSISTENT}}}");
    let daemon = Daemon::start(&daemon::config(&exporter, &["otlp_grpc"]));
    send(&daemon, 1);
    let again = eventually(|| (proxy.accepted() >= 2).then_some(()));
    assert!(again.is_some(), "it waits for a handshake without end");
    proxy.set(Fault::None);
    arrives(&sink, 1);
    conserved_at_rest(&daemon);
}

#[test]
fn f11_a_clock_that_jumps_neither_hurries_nor_holds_anything() {
    let folder = tempfile::TempDir::new().expect("a scratch folder");
    let Some(library) = jumping_clock(folder.path()) else {
        eprintln!("skipped: no C compiler builds the library that moves the clock");
        return;
    };
    let offset = folder.path().join("offset");
    let sink = Sink::start();
    let yaml = to(&sink.endpoint())
        .replace("processors:\n", "processors:\n  trace_window: {idle: 200ms, wait: 1s}\n")
        .replace("[sensitive, baggage, orphans]", "[sensitive, trace_window, orphans]");
    fs::write(&offset, "0").expect("written");
    let daemon = Daemon::start_with(&yaml, |command| {
        command.env("LD_PRELOAD", &library).env("CLOCK_OFFSET", &offset);
    });
    const YEARS: i64 = 10 * 365 * 86_400;
    let mut sent = BTreeSet::new();
    for (id, jump) in [0, 3600, -3600, YEARS, -YEARS, 0].into_iter().enumerate() {
        // While a span is held in the window and another waits for its next attempt.
        let id = id as u64 + 1;
        sink.answer_next([Answer::Grpc(14, vec![]), Answer::Grpc(14, vec![])]);
        send(&daemon, id);
        fs::write(&offset, jump.to_string()).expect("written");
        sent.insert(id);
        all_arrive(&sink, &sent);
    }
    // Attempts that failed, and those that did not: none spins.
    let attempts = sink.received().len();
    assert!(attempts <= 6 * 3, "{attempts} attempts");
    conserved_at_rest(&daemon);
}

/// A library that moves CLOCK_REALTIME by the seconds that a file holds.
fn jumping_clock(folder: &std::path::Path) -> Option<std::path::PathBuf> {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    let text = r#"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, id, time);
    const char *path = getenv("CLOCK_OFFSET");
    if (id == CLOCK_REALTIME && path) {
        char text[32] = {0};
        int file = open(path, O_RDONLY);
        if (file >= 0) {
            if (read(file, text, sizeof text - 1) > 0) time->tv_sec += atoll(text);
            close(file);
        }
    }
    return result;
}
"#;
    fs::write(&source, text).ok()?;
    let mut build = Command::new("cc");
    build.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source);
    build.status().is_ok_and(|status| status.success()).then_some(library)
}

#[test]
fn f12_sigterm_under_load_loses_nothing_that_was_accepted() {
    let sink = Sink::start();
    sink.answer_always(Answer::Late(Duration::from_millis(20)));
    let mut daemon = Daemon::start(&to(&sink.endpoint()));
    let agents = Agents::start(&daemon.http(), 8, BRIEF);
    agents.wait_for_more(300);
    assert!(daemon.stop().success());
    all_arrive(&sink, &agents.end());
}

#[test]
fn f12_a_second_sigterm_ends_it_at_once() {
    let sink = Sink::start();
    sink.answer_always(Answer::Silence);
    let mut daemon = Daemon::start(&to(&sink.endpoint()));
    let agents = Agents::start(&daemon.http(), 4, BRIEF);
    agents.wait_for_more(50);
    daemon.signal("TERM");
    daemon.wait_for_log("stopping");
    daemon.stop();
    daemon.wait_for_log("stopped at once by a second signal");
    agents.end();
}

#[test]
#[ignore = "takes the 20 s that draining may take; just faults"]
fn f12_a_dead_backend_does_not_keep_it_from_ending() {
    let sink = Sink::start();
    sink.answer_always(Answer::Silence);
    let mut daemon = Daemon::start(&to(&sink.endpoint()));
    send(&daemon, 1);
    daemon.signal("TERM");
    thread::sleep(Duration::from_secs(10));
    daemon.wait_for_log("1 spans lost");
    let ended = eventually(|| (!daemon.is_running()).then_some(()));
    assert!(ended.is_some());
}

#[test]
fn f13_reloads_under_load_lose_nothing_and_refuse_nobody() {
    let (sink, other) = (Sink::start(), Sink::start());
    let one = to(&sink.endpoint());
    let exporters =
        [persistent("otlp_grpc", &sink.endpoint()), persistent("otlp_http", &other.endpoint())];
    let two = daemon::config(&exporters.join("\n"), &["otlp_grpc", "otlp_http"]);
    let daemon = Daemon::start(&one);
    let address = daemon.http();
    let agents = Agents::start(&address, 8, BRIEF);
    for (round, yaml) in [&two, &one, &two, &one].into_iter().enumerate() {
        agents.wait_for_more(50);
        // What is wrong with a configuration is said, and changes nothing.
        daemon.rewrite_config("receivers: {otpl: }");
        daemon.signal("HUP");
        let said = |part: &str| daemon.log_lines().iter().filter(|l| l.contains(part)).count();
        let refused = || (said("the new configuration is not used") > round).then_some(());
        assert!(eventually(refused).is_some(), "a wrong one is not named");
        agents.wait_for_more(20);
        daemon.rewrite_config(yaml);
        daemon.signal("HUP");
        let used = || (said("the new configuration is in use") > round).then_some(());
        assert!(eventually(used).is_some(), "reload {round}");
    }
    agents.wait_for_more(50);
    assert_eq!(agents.refused_connections(), 0);
    all_arrive(&sink, &agents.end());
    assert!(!other.spans().is_empty());
    // One that comes and goes has no account of what came without it.
    let exact = || accounts(&daemon).get("traces otlp_grpc")?.is_exact().then_some(());
    assert!(eventually(exact).is_some(), "{:#?}", accounts(&daemon));
}

/// The binary on a listening socket that it is given as its standard input, which is what a file
/// descriptor can be without unsafe code.
fn on_inherited(yaml: &str, socket: &TcpListener) -> Daemon {
    let given = OwnedFd::from(socket.try_clone().expect("a descriptor"));
    Daemon::start_with(yaml, |command| {
        command.stdin(Stdio::from(given));
        command.env("LISTEN_FDS", "1").env("LISTEN_FDS_FIRST_FD", "0");
        command.env("LISTEN_FDNAMES", "http");
    })
}

#[test]
fn f14_processes_in_turn_on_one_inherited_socket_refuse_nobody() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("an address").to_string();
    let sink = Sink::start();
    let yaml = to(&sink.endpoint());
    let agents = Agents::start(&address, 8, BRIEF);
    for _ in 0..3 {
        let mut daemon = on_inherited(&yaml, &socket);
        assert_eq!(daemon.http(), address);
        agents.wait_for_more(100);
        assert!(daemon.stop().success());
    }
    let _last = on_inherited(&yaml, &socket);
    agents.wait_for_more(50);
    assert_eq!(agents.refused_connections(), 0);
    all_arrive(&sink, &agents.end());
}

#[test]
fn f15_overload_within_a_cgroup_of_320_mib_ends_no_process() {
    let Some(cgroup) = Cgroup::of(320 << 20) else {
        eprintln!("skipped: no cgroup that limits memory can be made here");
        return;
    };
    let sink = Sink::start();
    sink.answer_always(Answer::Silence);
    let yaml = to(&sink.endpoint())
        .replace("timeout: 1s", "timeout: 1s, sending_queue: {limit_mib: 1024, queue_size: 100000}")
        .replace("processors:\n", "processors:\n  memory_limiter: {limit_mib: 256}\n")
        .replace("[sensitive, baggage, orphans]", "[memory_limiter, sensitive]");
    let first = format!("echo $$ > {}/cgroup.procs", cgroup.0);
    let mut daemon = Daemon::start_by(&["sh", "-c"], &first, &yaml);
    let address = daemon.http();
    let pad = "x".repeat(1 << 20);
    let refused = thread::scope(|scope| {
        let one = |k: u64| {
            let pads =
                support::spans::with(span("wide", 1, k, 0), [("pad", support::spans::text(&pad))]);
            client::post_protobuf(&address, "/v1/traces", &request([pads])).status == 503
        };
        let posts: Vec<_> = (0..8u64)
            .map(|t| scope.spawn(move || (0..40).filter(|k| one(t * 1000 + k + 1)).count()))
            .collect();
        posts.into_iter().map(|post| post.join().expect("it is answered")).sum::<usize>()
    });
    assert!(refused > 0, "320 MiB fit into 256");
    assert!(daemon.is_running());
    let peak = daemon.peak_resident_kib();
    assert!(peak <= (256 << 10) * 110 / 100, "{peak} KiB at the peak");
    conserved(&daemon);
}

/// A cgroup that limits memory, of version 1 or 2, until dropped.
struct Cgroup(String);

impl Cgroup {
    fn of(bytes: usize) -> Option<Cgroup> {
        let name = format!("spanloom-test-{}", std::process::id());
        for (root, file) in
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
        {
            let path = format!("{root}/{name}");
            if fs::create_dir(&path).is_ok() {
                let cgroup = Cgroup(path);
                if fs::write(format!("{}/{file}", cgroup.0), bytes.to_string()).is_ok() {
                    return Some(cgroup);
                }
            }
        }
        None
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn f16_without_file_descriptors_it_waits_for_some() {
    let sink = Sink::start();
    let daemon = Daemon::start_by(&["sh", "-c"], "ulimit -n 64", &to(&sink.endpoint()));
    let (http, grpc) = (daemon.http(), daemon.grpc());
    // Warm up the exporter's connection, or there will be no descriptor for it.
    send(&daemon, 1);
    arrives(&sink, 1);
    let crowd: Vec<_> = (0..200)
        .filter_map(|k| TcpStream::connect(if k % 2 == 0 { &http } else { &grpc }).ok())
        .collect();
    daemon.wait_for_log("cannot accept a connection");
    drop(crowd);
    send(&daemon, 2);
    arrives(&sink, 2);
    let failed = daemon.metric("spanloom_receiver_accept_errors", "");
    assert!(failed > 0.0, "{failed}");
    conserved_at_rest(&daemon);
}

#[test]
fn f16_idle_connections_by_the_thousand_hold_up_nobody() {
    let sink = Sink::start();
    let daemon = Daemon::start(&to(&sink.endpoint()));
    let http = daemon.http();
    // Fewer than a listener takes; each has said half of a request, and nothing follows.
    let crowd: Vec<_> = (0..900)
        .map(|_| {
            let mut stream = TcpStream::connect(&http).expect("it is accepted");
            stream.write_all(b"POST /v1/traces HTTP/1.1\r\n").expect("it is written");
            stream
        })
        .collect();
    let open = || daemon.metric("spanloom_receiver_connections", "transport=\"http\"");
    let all = eventually(|| (open() >= 900.0).then_some(()));
    assert!(all.is_some(), "{} are open", open());
    send(&daemon, 1);
    arrives(&sink, 1);
    drop(crowd);
    let closed = eventually(|| (open() < 10.0).then_some(()));
    assert!(closed.is_some(), "{} are still open", open());
    conserved_at_rest(&daemon);
}

fn stopped_for(time: Duration) {
    let sink = Sink::start();
    let daemon = Daemon::start(&to(&sink.endpoint()));
    let agents = Agents::start(&daemon.http(), 8, BRIEF);
    agents.wait_for_more(100);
    daemon.signal("STOP");
    thread::sleep(time);
    daemon.signal("CONT");
    agents.wait_for_more(300);
    let failed = daemon.metric("otelcol_exporter_send_failed_spans", "");
    all_arrive(&sink, &agents.end());
    assert_eq!(failed, 0.0, "nothing is given up because time went by");
    conserved_at_rest(&daemon);
}

#[test]
fn f17_a_process_that_was_stopped_goes_on_where_it_was() {
    stopped_for(Duration::from_secs(3));
}

#[test]
#[ignore = "takes 30 s; just faults"]
fn f17_a_process_that_was_stopped_for_long_goes_on_where_it_was() {
    stopped_for(Duration::from_secs(30));
}

#[test]
fn f19_a_configuration_that_is_gone_or_unreadable_leaves_the_running_one() {
    let sink = Sink::start();
    let mut daemon = Daemon::start(&to(&sink.endpoint()));
    send(&daemon, 1);
    daemon.rewrite_config("receivers: {otlp: {protocols: {grpc: {endpoint: 5}}}}");
    daemon.signal("HUP");
    daemon.wait_for_log("the new configuration is not used");
    daemon.remove_config();
    daemon.signal("HUP");
    daemon.wait_for_log("the file cannot be read");
    send(&daemon, 2);
    all_arrive(&sink, &BTreeSet::from([1, 2]));
    assert!(daemon.is_running());
    conserved_at_rest(&daemon);
}

#[test]
fn f19_a_file_that_cannot_be_written_keeps_it_from_starting() {
    let yaml = daemon::config("file: {path: /proc/nothing/spans.json}", &["file"]);
    let output = Daemon::start(&yaml);
    output.wait_for_log("/proc/nothing");
}

/// A backend is away while `agents` send what fits into the queue, and comes back.
fn outage(time: Duration) {
    let sink = Sink::start();
    sink.answer_always(Answer::Http(503, vec![]));
    let daemon = Daemon::start(&to(&sink.endpoint()));
    let agents = Agents::start(&daemon.http(), 8, BRIEF);
    agents.wait_for_more(500);
    thread::sleep(time);
    let waiting = agents.accepted();
    let before = sink.answer_always(Answer::Ok);
    agents.wait_for_more(200);
    all_arrive(&sink, &agents.end());
    // What waited goes out joined, by as many senders as ever, and not one by one.
    let requests = sink.received().len() - before;
    assert!(requests < waiting, "{requests} requests for {waiting} that waited");
    assert_eq!(daemon.metric("otelcol_exporter_send_failed_spans", ""), 0.0);
    conserved_at_rest(&daemon);
    let answered_twice = sink.spans().len() - arrived(&sink).len();
    let refused: usize = sink.received()[..before].iter().map(|one| one.spans().len()).sum();
    assert!(answered_twice <= refused, "{answered_twice} duplicates, {refused} were refused");
}

#[test]
fn f20_a_backend_that_was_away_gets_what_waited_for_it() {
    outage(Duration::ZERO);
}

#[test]
#[ignore = "takes ten minutes; just faults"]
fn f20_a_backend_that_was_away_for_long_gets_what_waited_for_it() {
    outage(Duration::from_secs(600));
}

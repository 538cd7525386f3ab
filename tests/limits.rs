//! `memory_limiter` and `batch` through the real binary: memory under a load that the backend
//! cannot take, what clients are told meanwhile, and that nothing is lost that was accepted.

mod support;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use prost::Message;
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use support::client::{self, TRACES};
use support::spans::{text, with};
use support::{Answer, Daemon, Sink, daemon, eventually, request, span};

const LIMIT_MIB: u64 = 64;

/// A configuration of traces alone, through `processors`, a YAML map in lines.
fn config(sink: &Sink, processors: &str, names: &str, exporter: &str) -> String {
    let processors = processors.trim().replace('\n', "\n  ");
    let exporter = format!(
        "otlp_grpc:\n    endpoint: \"{}\"\n    {}",
        sink.endpoint(),
        exporter.trim().replace('\n', "\n    ")
    );
    daemon::config(&exporter, &["otlp_grpc"])
        .replace(
            "processors:\n  sensitive: {}",
            &format!("processors:\n  {processors}\n  sensitive: {{}}"),
        )
        .replace("[sensitive, baggage, orphans]", names)
}

/// Clients that send as fast as they are answered, each on a connection of its own, until told to
/// end. They remember what was accepted and how the rest was refused.
struct Load {
    runtime: tokio::runtime::Runtime,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    shared: Arc<Shared>,
}

struct Shared {
    padding: Bytes,
    next: AtomicU64,
    ended: AtomicBool,
    offered: AtomicU64,
    accepted: Mutex<BTreeSet<u64>>,
    refused: Mutex<Vec<String>>,
}

impl Load {
    /// `connections` of either protocol, gRPC ones with `streams` requests at once; each request
    /// holds `spans` spans of `size` bytes that do not compress.
    fn start(daemon: &Daemon, connections: usize, streams: usize, spans: u64, size: usize) -> Load {
        let random = |k: u64| {
            let mut state = k.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let next = std::iter::repeat_with(move || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                char::from(33 + (state % 90) as u8)
            });
            next.take(size).collect::<String>()
        };
        let padding = (1..=spans).map(|k| with(span("load", 1, k, 0), [("pad", text(&random(k)))]));
        let shared = Arc::new(Shared {
            padding: request(padding).encode_to_vec().into(),
            next: AtomicU64::new(1 << 32),
            ended: AtomicBool::new(false),
            offered: AtomicU64::new(0),
            accepted: Mutex::default(),
            refused: Mutex::default(),
        });
        let runtime = support::sink::runtime();
        let mut tasks = vec![];
        for (grpc, address, streams) in [(true, daemon.grpc(), streams), (false, daemon.http(), 1)]
        {
            for _ in 0..connections {
                let client = Client::builder(TokioExecutor::new()).http2_only(grpc).build_http();
                for _ in 0..streams {
                    let one = run(shared.clone(), client.clone(), grpc, address.clone());
                    tasks.push(runtime.spawn(one));
                }
            }
        }
        Load { runtime, tasks, shared }
    }

    fn offered(&self) -> u64 {
        self.shared.offered.load(Ordering::Relaxed)
    }

    fn refused(&self) -> usize {
        self.shared.refused.lock().unwrap().len()
    }

    /// Ends the load: the ids of the marks that were accepted, and how the others were refused.
    fn end(self) -> (BTreeSet<u64>, Vec<String>) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for task in self.tasks {
            self.runtime.block_on(task).expect("a client ends in peace");
        }
        let accepted = self.shared.accepted.lock().unwrap().clone();
        let refused = self.shared.refused.lock().unwrap().clone();
        (accepted, refused)
    }
}

async fn run(
    shared: Arc<Shared>,
    client: Client<HttpConnector, Full<Bytes>>,
    grpc: bool,
    address: String,
) {
    while !shared.ended.load(Ordering::Relaxed) {
        let id = shared.next.fetch_add(1, Ordering::Relaxed);
        let mark = request([span("mark", 2, id, 0)]).encode_to_vec();
        let mut body = BytesMut::with_capacity(shared.padding.len() + mark.len());
        body.extend_from_slice(&shared.padding);
        body.extend_from_slice(&mark);
        shared.offered.fetch_add(body.len() as u64, Ordering::Relaxed);
        let (path, kind) = match grpc {
            true => (TRACES, "application/grpc"),
            false => ("/v1/traces", "application/x-protobuf"),
        };
        let body = if grpc { client::framed(false, &body) } else { body.freeze() };
        let request = Request::post(format!("http://{address}{path}"))
            .header("content-type", kind)
            .header("te", "trailers")
            .body(Full::new(body))
            .expect("a request");
        let outcome = send(&client, request, grpc).await;
        match outcome {
            Ok(()) => drop(shared.accepted.lock().unwrap().insert(id)),
            Err(refusal) => {
                shared.refused.lock().unwrap().push(refusal);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

/// `Err` says how the request was refused: status and delay, or what went wrong.
async fn send(
    client: &Client<HttpConnector, Full<Bytes>>,
    request: Request<Full<Bytes>>,
    grpc: bool,
) -> Result<(), String> {
    let response = client.request(request).await.map_err(|error| format!("{error:?}"))?;
    let (parts, body) = response.into_parts();
    let header = |name: &str| {
        parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("none").to_owned()
    };
    let body = body.collect().await.map_err(|error| format!("{error:?}"))?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    if grpc {
        let status = trailers
            .get("grpc-status")
            .map_or(header("grpc-status"), |v| v.to_str().unwrap_or("?").to_owned());
        let info = parts.headers.contains_key("grpc-status-details-bin");
        return match status.as_str() {
            "0" => Ok(()),
            _ => Err(format!("grpc {status} {} {info}", header("grpc-retry-pushback-ms"))),
        };
    }
    match parts.status.as_u16() {
        200 => Ok(()),
        status => Err(format!("http {status} {}", header("retry-after"))),
    }
}

/// The ids of the marks that arrived.
fn marks(sink: &Sink) -> BTreeSet<u64> {
    let seen = sink.spans();
    let marks = seen.iter().filter(|seen| seen.span.name == "mark");
    marks.map(|seen| u64::from_be_bytes(seen.span.span_id[..].try_into().unwrap())).collect()
}

/// A configuration with `memory_limiter` in front, and an exporter that neither gives up nor runs
/// out of places, so that memory is what runs out. It tries two requests at once.
fn limited(sink: &Sink) -> String {
    config(
        sink,
        "memory_limiter: {limit_mib: 64}",
        "[memory_limiter, sensitive]",
        "timeout: 4s
retry_on_failure: {initial_interval: 100ms, max_interval: 100ms, max_elapsed_time: 0s}
sending_queue: {limit_mib: 1024, queue_size: 1000000, num_consumers: 2}",
    )
}

/// The daemon and what it takes of memory when it has seen one request.
fn idle(sink: &Sink, yaml: &str) -> (Daemon, u64) {
    let daemon = Daemon::start(yaml);
    assert_eq!(one_more(&daemon), 200);
    sink.wait_for_spans(1);
    assert!(daemon.metric("otelcol_process_memory_rss", "") > 0.0);
    let idle = daemon.resident_kib();
    (daemon, idle)
}

/// The status of a request as any client sends it.
fn one_more(daemon: &Daemon) -> u16 {
    let request = request([span("one more", 3, 1, 0)]);
    client::post_protobuf(&daemon.http(), "/v1/traces", &request).status
}

#[track_caller]
fn assert_within_limit(daemon: &Daemon, idle: u64) {
    let peak = daemon.peak_resident_kib().saturating_sub(idle);
    let most = LIMIT_MIB * 1024 * 110 / 100;
    assert!(peak <= most, "{peak} KiB above the {idle} KiB of an idle process, at most {most}");
}

/// Ten times is offered of what the backend takes, which is two requests of at most 1 MiB at once.
/// Of small requests it takes more connections than may wait for room.
fn overload(connections: usize, spans: u64, size: usize) {
    let sink = Sink::start();
    let (daemon, idle) = idle(&sink, &limited(&sink));
    sink.answer_always(Answer::Late(Duration::from_millis(1500)));
    let load = Load::start(&daemon, connections, 4, spans, size);
    let enough = eventually(|| {
        let held = daemon.metric("spanloom_held_bytes", "");
        assert!(held <= (LIMIT_MIB << 20) as f64, "{held} bytes are held");
        let taken: usize = sink.received().iter().map(|one| one.message.len()).sum();
        let offered = load.offered() > (LIMIT_MIB << 21).max(10 * taken as u64);
        (offered && load.refused() > 100).then_some(())
    });
    assert!(enough.is_some(), "{} bytes offered, {} refused", load.offered(), load.refused());
    let like_others = load.shared.padding.clone();
    let (accepted, refused) = load.end();
    // What was refused was told when to come back, whoever asked.
    let kinds: BTreeSet<String> = refused.into_iter().collect();
    let expected = ["grpc 14 1000 true", "http 503 1"].map(str::to_owned);
    assert_eq!(kinds, BTreeSet::from(expected));
    assert!(daemon.metric("spanloom_memory_limiter_refused_requests", "") > 0.0);
    // The load is over, the backend as slow as before: the room of the next requests that it takes
    // is enough for one like those of the load. Two were under way, and two may have begun since.
    let before = sink.received().len();
    let headers = [("content-type", "application/x-protobuf")];
    let post = || client::post(&daemon.http(), "/v1/traces", &headers, like_others.clone()).status;
    assert!(eventually(|| (post() == 200).then_some(())).is_some(), "still refused");
    let taken = sink.received().len() - before;
    assert!(taken <= 4, "let in when the backend had taken {taken} requests more");
    assert_eq!(one_more(&daemon), 200, "a small one has room");
    assert_within_limit(&daemon, idle);
    sink.answer_always(Answer::Ok);
    let drained = || (daemon.metric("spanloom_held_bytes", "") == 0.0).then_some(());
    assert!(eventually(drained).is_some(), "what is delivered still counts as held");
    assert_within_limit(&daemon, idle);
    let arrived = marks(&sink);
    let lost: Vec<_> = accepted.difference(&arrived).collect();
    assert!(!accepted.is_empty() && lost.is_empty(), "{} of {}", lost.len(), accepted.len());
}

#[test]
fn ten_times_the_load_stays_within_the_limit_and_nothing_accepted_is_lost() {
    overload(8, 100, 10_000);
}

#[test]
fn so_do_requests_that_are_small() {
    overload(60, 30, 1000);
}

#[test]
fn a_backend_that_stalls_fills_memory_to_the_limit_and_no_further() {
    let sink = Sink::start();
    let (daemon, idle) = idle(&sink, &limited(&sink));
    sink.answer_always(Answer::Silence);
    let load = Load::start(&daemon, 4, 4, 400, 10_000);
    let enough = eventually(|| (load.refused() > 30).then_some(()));
    assert!(enough.is_some(), "{} refused", load.refused());
    let (accepted, _) = load.end();
    sink.answer_always(Answer::Ok);
    assert!(eventually(|| (one_more(&daemon) == 200).then_some(())).is_some(), "still refused");
    let complete = || marks(&sink).is_superset(&accepted).then_some(());
    assert!(eventually(complete).is_some(), "accepted and not delivered");
    assert_within_limit(&daemon, idle);
}

#[test]
fn what_compression_hides_counts_before_it_is_inflated() {
    let sink = Sink::start();
    let (daemon, idle) = idle(&sink, &limited(&sink));
    sink.answer_always(Answer::Silence);
    let pad = "x".repeat(1 << 20);
    let spans = (1..=12).map(|k| with(span("wide", 1, k, 0), [("pad", text(&pad))]));
    let body = request(spans).encode_to_vec();
    let deflated = |mut encoder: flate2::write::GzEncoder<Vec<u8>>| {
        encoder.write_all(&body).expect("into memory");
        Bytes::from(encoder.finish().expect("into memory"))
    };
    let gzip = deflated(flate2::write::GzEncoder::new(vec![], flate2::Compression::fast()));
    assert!(gzip.len() < body.len() / 50, "it hides little: {} bytes", gzip.len());
    let headers = [("content-type", "application/x-protobuf"), ("content-encoding", "gzip")];
    let post = || client::post(&daemon.http(), "/v1/traces", &headers, gzip.clone());
    let statuses: Vec<u16> = thread::scope(|scope| {
        let posts: Vec<_> = (0..12).map(|_| scope.spawn(|| post().status)).collect();
        posts.into_iter().map(|post| post.join().expect("it is answered")).collect()
    });
    let of = |status| statuses.iter().filter(|one| **one == status).count();
    assert_eq!(of(200) + of(503), 12, "{statuses:?}");
    assert!(of(200) >= 1 && of(503) >= 6, "{statuses:?}: few of 12 MiB fit");
    assert_within_limit(&daemon, idle);
}

#[test]
fn a_request_that_can_never_fit_is_refused_for_good() {
    let sink = Sink::start();
    let daemon = Daemon::start(&limited(&sink));
    let body = Bytes::from(vec![0; 50 << 20]);
    let headers = [("content-type", "application/x-protobuf")];
    let reply = client::post(&daemon.http(), "/v1/traces", &headers, body.clone());
    assert_eq!((reply.status, reply.header("retry-after")), (413, None), "{}", reply.text());
    assert!(reply.text().contains("send smaller batches"), "{}", reply.text());
    let reply = client::grpc(&daemon.grpc(), TRACES, &[], client::framed(false, &body));
    assert_eq!(reply.grpc_status(), Some(8), "{reply:?}");
    assert_eq!(reply.header("grpc-retry-pushback-ms"), None);
}

/// A configuration with `batch`, a YAML map in braces, and an exporter without a queue: clients
/// hear what the backend says, and a batch is a request.
fn batching(sink: &Sink, batch: &str) -> String {
    let exporter = "retry_on_failure: {enabled: false}\nsending_queue: {enabled: false}";
    config(sink, &format!("batch: {batch}"), "[batch]", exporter)
}

/// The gRPC statuses of requests with one span each that are sent at once.
fn at_once(daemon: &Daemon, requests: u64) -> Vec<Option<u32>> {
    let export = |id| {
        client::grpc_export(&daemon.grpc(), TRACES, &request([span("s", 1, id, 0)])).grpc_status()
    };
    thread::scope(|scope| {
        let exports: Vec<_> = (1..=requests).map(|id| scope.spawn(move || export(id))).collect();
        exports.into_iter().map(|export| export.join().expect("it is answered")).collect()
    })
}

#[test]
fn many_requests_become_one_and_every_client_hears_what_became_of_it() {
    for (answer, status) in
        [(Answer::Ok, 0), (Answer::Grpc(14, vec![]), 14), (Answer::Grpc(3, vec![]), 13)]
    {
        let sink = Sink::start();
        sink.answer_always(answer.clone());
        let daemon = Daemon::start(&batching(&sink, "{timeout: 4s, send_batch_size: 20}"));
        assert_eq!(at_once(&daemon, 20), [Some(status); 20], "{answer:?}");
        let received = sink.received();
        assert_eq!(received.len(), 1, "twenty requests are one");
        assert_eq!(received[0].spans().len(), 20);
        let name = "otelcol_processor_batch_batch_size_trigger_send";
        assert_eq!(daemon.metric(name, "traces"), 1.0);
        assert_eq!(daemon.metric("otelcol_processor_batch_batch_send_size_sum", "traces"), 20.0);
    }
}

#[test]
fn a_large_request_is_split_and_its_client_hears_the_worst() {
    let sink = Sink::start();
    let yaml = "{send_batch_size: 10, send_batch_max_size: 10}";
    let daemon = Daemon::start(&batching(&sink, yaml));
    sink.answer_next([Answer::Ok, Answer::Grpc(14, vec![]), Answer::Ok]);
    let spans = request((1..=25).map(|id| span("s", 1, id, 0)));
    let reply = client::grpc_export(&daemon.grpc(), TRACES, &spans);
    assert_eq!(reply.grpc_status(), Some(14), "{reply:?}");
    let mut sizes: Vec<_> = sink.received().iter().map(|one| one.spans().len()).collect();
    sizes.sort();
    assert_eq!(sizes, [5, 10, 10]);
}

#[test]
fn a_batch_that_was_held_long_is_not_refused_for_it() {
    let sink = Sink::start();
    // Cut to four seconds: longer than what a queue may let a batch wait.
    let yaml = batching(&sink, "{timeout: 10s}");
    let daemon = Daemon::start(&yaml.replace("sending_queue: {enabled: false}", ""));
    daemon.wait_for_log("batches leave after 4s");
    assert_eq!(at_once(&daemon, 2), [Some(0); 2]);
    sink.wait_for_spans(2);
    let name = "otelcol_processor_batch_timeout_trigger_send";
    assert_eq!(daemon.metric(name, "traces"), 1.0);
}

#[test]
fn what_is_held_at_the_end_is_delivered_and_its_client_answered() {
    let sink = Sink::start();
    let mut daemon = Daemon::start(&batching(&sink, "{timeout: 4s}"));
    let (address, request) = (daemon.grpc(), request([span("s", 1, 1, 0)]));
    let client = thread::spawn(move || client::grpc_export(&address, TRACES, &request));
    let incoming = "otelcol_processor_incoming_items";
    let held = eventually(|| (daemon.metric(incoming, "batch") == 1.0).then_some(()));
    assert!(held.is_some(), "it did not come");
    assert!(daemon.stop().success());
    assert_eq!(client.join().expect("it is answered").grpc_status(), Some(0));
    assert_eq!(sink.spans().len(), 1);
}

#[test]
fn mistakes_in_both_are_reported_at_once_with_their_places() {
    let sink = Sink::start();
    let processors = "memory_limiter: {limit_mib: 10, spike_limit_mib: 20}
memory_limiter/none:
  check_interval: 1s
batch: {send_batch_max_size: 5, metadata_keys: [tenant], timeuot: 1s}";
    let yaml = config(&sink, processors, "[memory_limiter, memory_limiter/none, batch]", "");
    let folder = tempfile::TempDir::new().expect("a scratch folder");
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, yaml).expect("the configuration is written");
    let output = daemon::run(["validate", "--config", &file.to_string_lossy()]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for expected in [
        "config.yaml:7:52: processors::memory_limiter::spike_limit_mib: must be smaller than \
         `limit_mib`, which is 10",
        "config.yaml:8:3: processors::memory_limiter/none: needs a limit: `limit_mib: 512`",
        "processors::batch::send_batch_max_size: must be at least `send_batch_size`",
        "processors::batch::metadata_keys: is not supported here",
        "processors::batch: unknown key \"timeuot\"; did you mean \"timeout\"?",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
}

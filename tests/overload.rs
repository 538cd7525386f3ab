//! Overload: hogs offer ten times of what the backend takes, quiet clients send a little beside
//! them and try again as SDKs do. Memory stays below the limit, the backend has as much to do as
//! ever, and the quiet do not notice.
//!
//! `just overload` runs it for a minute with a release build and prints what it measures
//! (`SPANLOOM_LIMIT_MIB` and `SPANLOOM_SECONDS` say otherwise); the suite has a short form that
//! asserts nothing about speed.

mod support;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use prost::Message;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use support::client::{TRACES, framed};
use support::spans::{text, with};
use support::{Answer, Daemon, Sink, daemon, request, span};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Connections of hogs, the requests that each has under way, and bytes of one.
const HOGS: usize = 10;
const STREAMS: usize = 60;
const HOG_BYTES: usize = 100_000;

/// Clients that send little, and how often.
const QUIET: usize = 9;
const QUIET_BYTES: usize = 5_000;
const QUIET_PAUSE: Duration = Duration::from_millis(100);

/// Waits of a quiet client between its attempts: those of the Python SDK, which gives up after.
const RETRIES: [u64; 4] = [1000, 2000, 3000, 3000];

/// Two requests at once, each of this time and of at most 1 MiB: slow enough for two cores to offer
/// ten times as much.
const BACKEND: Duration = Duration::from_secs(1);

/// Memory that the process may take. Hundreds of requests at once have their own cost beside it, a
/// few MiB, which would count for much in a small one.
const LIMIT_MIB: usize = 256;

fn config(sink: &Sink, limit_mib: usize, queue_mib: usize) -> String {
    let exporter = format!(
        "otlp_grpc: {{endpoint: \"{}\", compression: none, \
         retry_on_failure: {{max_elapsed_time: 0s}}, \
         sending_queue: {{num_consumers: 2, limit_mib: {queue_mib}, queue_size: 1000000}}}}",
        sink.endpoint()
    );
    daemon::config(&exporter, &["otlp_grpc"])
        .replace(
            "processors:\n",
            &format!("processors:\n  memory_limiter: {{limit_mib: {limit_mib}}}\n"),
        )
        .replace("[sensitive, baggage, orphans]", "[memory_limiter, sensitive, baggage, orphans]")
}

#[derive(Default)]
struct Counts {
    ended: AtomicBool,
    offered_bytes: AtomicU64,
    accepted_bytes: AtomicU64,
    quiet: AtomicU64,
    quiet_retries: AtomicU64,
    quiet_lost: AtomicU64,
}

/// A request of about so many bytes that do not compress.
fn message(bytes: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let random = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(33 + (state % 90) as u8)
    });
    let pad: String = random.take(1000).collect();
    let spans = (1..=bytes as u64 / 1000)
        .map(|k| with(span("load", seed.into(), k, 0), [("pad", text(&pad))]));
    framed(false, &request(spans).encode_to_vec())
}

type Http = Client<HttpConnector, Full<Bytes>>;

fn connection() -> Http {
    Client::builder(TokioExecutor::new()).http2_only(true).build_http()
}

/// Whether it was taken.
async fn export(client: &Http, address: &str, body: Bytes) -> bool {
    let request = Request::post(format!("http://{address}{TRACES}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(body))
        .expect("a request");
    let Ok(response) = client.request(request).await else { return false };
    let (parts, body) = response.into_parts();
    if parts.headers.contains_key("grpc-status") {
        return false;
    }
    let trailers = body.collect().await.ok().and_then(|body| body.trailers().cloned());
    trailers.and_then(|map| map.get("grpc-status").cloned()).is_some_and(|status| status == "0")
}

async fn hog(counts: Arc<Counts>, client: Http, address: String, body: Bytes) {
    while !counts.ended.load(Relaxed) {
        counts.offered_bytes.fetch_add(body.len() as u64, Relaxed);
        match export(&client, &address, body.clone()).await {
            true => drop(counts.accepted_bytes.fetch_add(body.len() as u64, Relaxed)),
            // It obeys nobody, but does not use up the machine that all share.
            false => sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn quiet(counts: Arc<Counts>, address: String, body: Bytes) {
    let client = connection();
    while !counts.ended.load(Relaxed) {
        counts.quiet.fetch_add(1, Relaxed);
        let mut waits = RETRIES.into_iter();
        while !export(&client, &address, body.clone()).await {
            counts.quiet_retries.fetch_add(1, Relaxed);
            let Some(wait) = waits.next() else {
                counts.quiet_lost.fetch_add(1, Relaxed);
                break;
            };
            sleep(Duration::from_millis(wait)).await;
        }
        sleep(QUIET_PAUSE).await;
    }
}

struct Load {
    runtime: Runtime,
    counts: Arc<Counts>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(address: &str, hogs: usize, streams: usize, with_quiet: bool) -> Load {
        let (runtime, counts) = (support::sink::runtime(), Arc::<Counts>::default());
        let mut tasks = vec![];
        for seed in 0..hogs {
            let (client, body) = (connection(), message(HOG_BYTES, seed as u64 + 1));
            for _ in 0..streams {
                let one = hog(counts.clone(), client.clone(), address.to_owned(), body.clone());
                tasks.push(runtime.spawn(one));
            }
        }
        for seed in 0..if with_quiet { QUIET } else { 0 } {
            let body = message(QUIET_BYTES, 1000 + seed as u64);
            tasks.push(runtime.spawn(quiet(counts.clone(), address.to_owned(), body)));
        }
        Load { runtime, counts, tasks }
    }

    fn end(self) -> Arc<Counts> {
        self.counts.ended.store(true, Relaxed);
        for task in self.tasks {
            self.runtime.block_on(task).expect("a client ends in peace");
        }
        self.counts
    }
}

/// KiB that count as held when the most is resident.
fn held_at_the_peak(daemon: &Daemon, over: &AtomicBool) -> u64 {
    let mut peak = (0, 0.0);
    while !over.load(Relaxed) {
        let now = (daemon.resident_kib(), daemon.metric("spanloom_held_bytes", ""));
        peak = if now.0 > peak.0 { now } else { peak };
        thread::sleep(Duration::from_millis(50));
    }
    (peak.1 / 1024.0) as u64
}

/// Bytes that the backend takes in a second, over `time`.
fn goodput(sink: &Sink, time: Duration) -> f64 {
    let (before, began) = (sink.taken_bytes(), Instant::now());
    thread::sleep(time);
    (sink.taken_bytes() - before) as f64 / began.elapsed().as_secs_f64()
}

struct Measured {
    capacity: f64,
    goodput: f64,
    offered: f64,
    peak_kib: u64,
    /// What the process takes when it has nothing to do: its program, for the most part.
    idle_kib: u64,
    /// What counted as held when the most was resident, as far as it was looked at.
    held_kib: u64,
    quiet: u64,
    retries: u64,
    lost: u64,
}

fn measure(limit_mib: usize, queue_mib: usize, time: Duration) -> Measured {
    let sink = Sink::start();
    sink.answer_always(Answer::Late(BACKEND));
    sink.forget();
    let mut daemon = Daemon::start(&config(&sink, limit_mib, queue_mib));
    let address = daemon.grpc();
    let idle_kib = daemon.resident_kib();
    // What the backend takes of a client that just keeps it busy.
    let solo = Load::start(&address, 4, 8, false);
    thread::sleep(time / 12);
    let capacity = goodput(&sink, time / 6);
    solo.end();
    let load = Load::start(&address, HOGS, STREAMS, true);
    thread::sleep(time / 12);
    let (offered, began) = (load.counts.offered_bytes.load(Relaxed), Instant::now());
    let over = &AtomicBool::new(false);
    let (goodput, held_kib) = thread::scope(|scope| {
        let looking = scope.spawn(|| held_at_the_peak(&daemon, over));
        let goodput = goodput(&sink, time);
        over.store(true, Relaxed);
        (goodput, looking.join().expect("it looks"))
    });
    let offered = (load.counts.offered_bytes.load(Relaxed) - offered) as f64;
    let offered = offered / began.elapsed().as_secs_f64();
    let counts = load.end();
    let peak_kib = daemon.peak_resident_kib();
    assert!(daemon.is_running());
    let [quiet, retries, lost] =
        [&counts.quiet, &counts.quiet_retries, &counts.quiet_lost].map(|count| count.load(Relaxed));
    Measured { capacity, goodput, offered, peak_kib, idle_kib, held_kib, quiet, retries, lost }
}

fn print(what: &str, limit_mib: usize, of: &Measured) {
    let mb = |bytes: f64| bytes / 1e6;
    println!(
        "{what}: capacity {:.1} MB/s, offered {:.1} MB/s ({:.1}x), goodput {:.1} MB/s ({:.0} %); \
         resident {} MiB at the peak, {} of it counted, idle {}, of {limit_mib} ({:.0} %); quiet: {} requests, {} attempts \
         refused, {} lost ({:.3} % succeed)",
        mb(of.capacity),
        mb(of.offered),
        of.offered / of.capacity,
        mb(of.goodput),
        100.0 * of.goodput / of.capacity,
        of.peak_kib >> 10,
        of.held_kib >> 10,
        of.idle_kib >> 10,
        of.peak_kib as f64 / 10.24 / limit_mib as f64,
        of.quiet,
        of.retries,
        of.lost,
        100.0 - 100.0 * of.lost as f64 / of.quiet as f64,
    );
}

#[test]
fn hogs_neither_fill_memory_nor_keep_out_the_quiet() {
    for (what, queue_mib) in [("a short queue", 8), ("a long queue", 1024)] {
        let measured = measure(LIMIT_MIB, queue_mib, Duration::from_secs(6));
        print(what, LIMIT_MIB, &measured);
        assert!(measured.quiet > 0 && measured.lost == 0, "{} are lost", measured.lost);
        let (most, peak) = ((LIMIT_MIB << 10) as u64 * 110 / 100, measured.peak_kib);
        assert!(peak <= most, "{peak} KiB resident, at most {most}");
    }
}

#[test]
#[ignore = "measures for minutes; just overload"]
fn overload() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
    let limit_mib = number("SPANLOOM_LIMIT_MIB").unwrap_or(LIMIT_MIB);
    let seconds = number("SPANLOOM_SECONDS").unwrap_or(60) as u64;
    for (what, queue_mib) in [("queue of 32 MiB", 32), ("queue of 1 GiB", 1024)] {
        let measured = measure(limit_mib, queue_mib, Duration::from_secs(seconds));
        print(what, limit_mib, &measured);
        assert!(measured.offered >= 10.0 * measured.capacity, "it is no tenfold load");
        assert!(measured.peak_kib <= (limit_mib << 10) as u64 * 110 / 100);
        assert!(measured.goodput >= 0.8 * measured.capacity);
        assert!(measured.lost * 1000 <= measured.quiet);
    }
}

//! `load`: sends agent-shaped spans at a given rate and says what was acknowledged.

mod trace;

use super::client::client;
use super::{FAILED, fail};
use crate::batch::Signal;
use crate::clock;
use crate::exporters::{Exporter, Outcome, Payload};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use trace::{Dialect, Shape};

/// How much of what to send, and where.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Where to send; :4317 speaks gRPC, any other port HTTP, unless --protocol says otherwise
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", default_value = "http://127.0.0.1:4317")]
    endpoint: String,
    /// grpc or http/protobuf
    #[arg(long, env = "OTEL_EXPORTER_OTLP_PROTOCOL")]
    protocol: Option<String>,
    /// Spans per second; 0 sends as fast as acknowledgements come
    #[arg(long, default_value_t = 1000)]
    rate: u64,
    /// Seconds to run
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Spans in each request
    #[arg(long, default_value_t = 100)]
    spans: usize,
    /// Bytes of text in each prompt; every third span has one
    #[arg(long, default_value_t = 318)]
    size: usize,
    /// The instrumentation to imitate
    #[arg(long, value_enum, default_value_t = Dialect::Genai)]
    dialect: Dialect,
    /// Share of traces with a torn-off tool call, 0 to 1
    #[arg(long, default_value_t = 0.0)]
    broken: f64,
    /// Requests under way at once
    #[arg(long, default_value_t = 8)]
    concurrency: usize,
}

/// What one worker saw.
#[derive(Default)]
struct Seen {
    acked: u64,
    failed: u64,
    rejected: u64,
    last_error: Option<String>,
    /// Microseconds of each acknowledged request, from when it was due.
    latencies: Vec<u64>,
}

/// Sends, then prints one summary.
pub fn load(options: &Options) -> ExitCode {
    let grpc = match options.protocol.as_deref() {
        Some("grpc") => true,
        Some(_) => false,
        None => options.endpoint.ends_with(":4317"),
    };
    let kind = if grpc { "otlp_grpc" } else { "otlp_http" };
    let client = match client(kind, &options.endpoint) {
        Ok(client) => client,
        Err(error) => return fail(FAILED, error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(FAILED, format!("cannot start worker threads: {error}")),
    };
    let started = clock::now();
    let seen = runtime.block_on(send(options, client));
    report(options, &seen, clock::now().since(started));
    if seen.failed > 0 { ExitCode::from(FAILED) } else { ExitCode::SUCCESS }
}

async fn send(options: &Options, client: Arc<dyn Exporter>) -> Seen {
    let mut workers = tokio::task::JoinSet::new();
    for n in 0..options.concurrency.max(1) {
        workers.spawn(work(options.clone(), client.clone(), n));
    }
    let mut all = Seen::default();
    while let Some(joined) = workers.join_next().await {
        let Ok(seen) = joined else { continue };
        all.acked += seen.acked;
        all.failed += seen.failed;
        all.rejected += seen.rejected;
        all.last_error = seen.last_error.or(all.last_error);
        all.latencies.extend(seen.latencies);
    }
    all.latencies.sort_unstable();
    all
}

async fn work(options: Options, client: Arc<dyn Exporter>, worker: usize) -> Seen {
    let shape = Shape {
        spans: options.spans.max(1),
        prompt_bytes: options.size,
        dialect: options.dialect,
        broken: options.broken,
    };
    let mut random = fastrand::Rng::with_seed(worker as u64 + 1);
    let mut seen = Seen::default();
    let started = clock::now();
    let end = started.plus(Duration::from_secs(options.seconds));
    // Workers share the rate evenly and start in turn, so that requests are spread out.
    let per_request = shape.spans as f64 * options.concurrency.max(1) as f64;
    let pause = if options.rate == 0 { 0.0 } else { per_request / options.rate as f64 };
    let offset = pause * worker as f64 / options.concurrency.max(1) as f64;
    for n in 0u32.. {
        let due = started.plus(Duration::from_secs_f64(offset + pause * f64::from(n)));
        if due.max(clock::now()) >= end {
            break;
        }
        tokio::time::sleep(due.since(clock::now())).await;
        let now = clock::now();
        // At a rate, from when it was due: who waits for the answer before would not see the wait.
        let sent = if options.rate == 0 { now } else { due };
        let segments = vec![shape.request(&mut random, now.unix_nanos)];
        let payload = Payload { signal: Signal::Traces, segments, items: shape.spans };
        match client.send(payload).await {
            Outcome::Delivered { rejected, .. } => {
                seen.acked += (shape.spans as u64).saturating_sub(rejected);
                seen.rejected += rejected;
                seen.latencies.push(clock::now().since(sent).as_micros() as u64);
            }
            Outcome::Retry { reason, .. }
            | Outcome::TooLarge { reason }
            | Outcome::Refused { reason } => {
                seen.failed += shape.spans as u64;
                seen.last_error = Some(reason);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    seen
}

fn report(options: &Options, seen: &Seen, took: Duration) {
    let quantile = |q: f64| {
        let at = (seen.latencies.len() as f64 * q) as usize;
        let last = seen.latencies.last().copied().unwrap_or_default();
        seen.latencies.get(at).copied().unwrap_or(last) as f64 / 1000.0
    };
    println!("endpoint      {}", options.endpoint);
    println!("acknowledged  {} spans, {:.0}/s", seen.acked, seen.acked as f64 / took.as_secs_f64());
    println!("failed        {} spans, rejected {}", seen.failed, seen.rejected);
    println!("latency       p50 {:.1} ms, p99 {:.1} ms", quantile(0.5), quantile(0.99));
    if let Some(error) = &seen.last_error {
        println!("last error    {error}");
    }
}

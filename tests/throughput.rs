//! What safety costs: the same load through the same processors with the queue in memory and with
//! a journal, in turns, and the middle of the rounds.
//!
//! A measurement and no test: `just durable`. The journal rests below the folder of temporary
//! files, so `TMPDIR` says which disk is measured. Clients, daemon and backend share one machine.
//! A journal may take in more than it hands on for a while; so what counts is what was delivered,
//! by the time until all of it was; and so nothing holds spans here.

mod support;

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use support::storage::{STREAMING, config};
use support::{Answer, Daemon, PATIENCE, Sink, daemon};
use tempfile::TempDir;

/// Seconds of one measurement, and how often each is made; `SPANLOOM_ROUNDS` says otherwise.
const SECONDS: u64 = 5;
const ROUNDS: usize = 5;

/// Connections of the clients.
const CONNECTIONS: u64 = 2;

/// How much is offered.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Load {
    /// So many requests of each connection are under way at any time: it comes as fast as answers.
    Closed(u64),
    /// So many percent of what the journal delivered in the first closed loop, whatever the answers:
    /// latency counts from when a request was due.
    Open(u64),
}

const LOADS: [Load; 5] = [MANY, Load::Closed(4), Load::Closed(1), Load::Open(50), Load::Open(80)];

/// Enough for no queue to wait for its clients. It measures its own concurrency: what an answer
/// takes is the requests under way by the rate. Of fewer, the rate is what an answer takes.
const MANY: Load = Load::Closed(32);

/// Spans a second that were acknowledged and that were delivered, milliseconds to an answer.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    acked: f64,
    delivered: f64,
    p50: f64,
    p99: f64,
}

/// One connection. 100 spans a request, agent-shaped, as `load` makes them.
fn client(address: &str, rate: u64, requests: u64) -> Child {
    let mut command = daemon::command();
    command.args(["load", "--protocol", "grpc", "--endpoint", &format!("http://{address}")]);
    command.args(["--rate", &rate.to_string(), "--concurrency", &requests.to_string()]);
    command.args(["--seconds", &SECONDS.to_string()]);
    command.stdout(Stdio::piped()).spawn().expect("the binary starts")
}

/// The number in `text` behind `word`.
fn number(text: &str, word: &str) -> f64 {
    let rest = text.split_once(word).unwrap_or_else(|| panic!("no {word:?} in {text}")).1;
    let end = rest.trim_start().split(|c: char| !c.is_ascii_digit() && c != '.');
    end.into_iter().next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

fn measure(yaml: &str, load: Load, capacity: f64) -> Seen {
    let daemon = Daemon::start(yaml);
    let address = daemon.grpc();
    let (rate, requests) = match load {
        Load::Closed(requests) => (0, requests),
        // More than would be under way at any latency that is looked for.
        Load::Open(percent) => ((capacity * percent as f64 / 100.0) as u64 / CONNECTIONS, 64),
    };
    let began = Instant::now();
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| client(&address, rate, requests)).collect();
    let mut all = Seen::default();
    let mut spans = 0.0;
    for client in clients {
        let output = client.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        spans += number(&text, "acknowledged");
        all.acked += number(&text, "spans, ");
        all.p50 = all.p50.max(number(&text, "p50"));
        all.p99 = all.p99.max(number(&text, "p99"));
    }
    let arrived = || daemon.metric("spanloom_pipeline_delivered_items", "pipeline=\"traces\"");
    while arrived() < spans {
        thread::sleep(Duration::from_millis(20));
        assert!(began.elapsed() < PATIENCE * 4, "{} of {spans} spans arrive", arrived());
    }
    all.delivered = spans / began.elapsed().as_secs_f64();
    all
}

fn middle(rounds: &[Seen], of: impl Fn(&Seen) -> f64) -> f64 {
    let mut figures: Vec<f64> = rounds.iter().map(of).collect();
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}

#[test]
#[ignore = "measures for minutes; just durable"]
fn durable_against_memory() {
    let rounds = env::var("SPANLOOM_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let sink = Sink::start();
    sink.answer_always(Answer::Ok);
    sink.forget();
    println!("| offered | queue | acked/s | delivered/s | p50 ms | p99 ms | p99 in the rounds |");
    println!("|---|---|---|---|---|---|---|");
    let mut capacity = None;
    for load in LOADS {
        let mut seen = [vec![], vec![]];
        for _ in 0..rounds {
            let folder = TempDir::new().expect("a scratch folder");
            let journal = config(&sink, folder.path(), "", STREAMING)
                .replace("otlp_http", "otlp_grpc")
                .replace(", batch: {flush_timeout: 20ms}", "");
            let memory = journal.replace("storage: file_storage", "");
            assert_ne!(memory, journal);
            for (yaml, seen) in [memory, journal].iter().zip(&mut seen) {
                seen.push(measure(yaml, load, capacity.unwrap_or_default()));
            }
        }
        for (name, seen) in ["memory", "journal"].iter().zip(&seen) {
            let [acked, delivered, p50, p99] =
                [|s: &Seen| s.acked, |s: &Seen| s.delivered, |s: &Seen| s.p50, |s: &Seen| s.p99]
                    .map(|figure| middle(seen, figure));
            let all: Vec<_> = seen.iter().map(|seen| seen.p99).collect();
            println!(
                "| {load:?} | {name} | {acked:.0} | {delivered:.0} | {p50:.1} | {p99:.1} | {all:?} |"
            );
        }
        let [_, journal] = seen.each_ref().map(|seen| middle(seen, |seen| seen.delivered));
        capacity.get_or_insert(journal);
    }
}

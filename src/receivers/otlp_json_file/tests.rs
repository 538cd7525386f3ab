//! The receiver on real files, with a pipeline that does as the test says.

use super::*;
use crate::account::Account;
use crate::batch::Signal;
use crate::config::parse::parse;
use crate::intake::{Consumer, Intake};
use crate::otlp::json::to_json;
use crate::otlp::text;
use crate::telemetry::Registry;
use crate::transport::Encoding;
use crate::transport::compress::deflate;
use crate::transport::record::Form;
use crate::verdict::{Refusal, Verdict};
use bytes::Bytes;
use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Takes batches; its first verdicts are as the test says.
#[derive(Default)]
struct Pipeline {
    verdicts: Mutex<VecDeque<Verdict>>,
    names: Mutex<Vec<String>>,
}

impl Consumer for Pipeline {
    fn consume(&self, batch: Batch) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let verdict = self.verdicts.lock().unwrap().pop_front();
            let verdict = verdict.unwrap_or(Verdict::Accepted);
            if verdict == Verdict::Accepted {
                let printed = text::print(batch.signal().message(), batch.bytes());
                let is_item = |line: &&str| line.starts_with("span ") || line.starts_with("log ");
                let items = printed.lines().filter(is_item);
                let names = items.map(|line| line.split('"').nth(1).unwrap().to_owned());
                self.names.lock().unwrap().extend(names);
            }
            batch.settle(&verdict);
        })
    }
}

/// A folder with files, and a receiver of them that may be running.
struct Fixture {
    folder: TempDir,
    pipeline: Arc<Pipeline>,
    registry: Registry,
    id: String,
    running: Option<(CancellationToken, Running)>,
}

impl Fixture {
    fn new() -> Fixture {
        let folder = TempDir::new().unwrap();
        let id = format!("otlp_json_file/{}", folder.path().display());
        let (pipeline, registry) = (Arc::default(), Registry::default());
        Fixture { folder, pipeline, registry, id, running: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let file = OpenOptions::new().create(true).append(true).open(self.path(name));
        file.unwrap().write_all(bytes.as_ref()).unwrap();
    }

    async fn start(&mut self, keys: &str, signals: &[Signal]) {
        let include = self.path("*").display().to_string();
        let yaml = format!("include: [\"{include}\"]\npoll_interval: 1ms\n{keys}");
        let section = Section::from_yaml(KEYS, &yaml).unwrap_or_else(|e| panic!("{e}"));
        let takes = |signal: &Signal| signals.contains(signal);
        let consumers = Signal::ALL
            .map(|signal| takes(&signal).then(|| self.pipeline.clone() as Arc<dyn Consumer>));
        let stop = CancellationToken::new();
        let setup = Setup {
            id: self.id.clone(),
            registry: self.registry.clone(),
            intake: Intake::new(limits::INFLIGHT_BYTES, Account::default()).leading_to(consumers),
            sockets: Default::default(),
            stop: stop.clone(),
        };
        self.running = Some((stop, start(&section, setup).await.unwrap()));
    }

    async fn stop(&mut self) {
        let (stop, running) = self.running.take().unwrap();
        stop.cancel();
        running.done.await;
    }

    /// Waits until the pipeline has as many items, and a moment for more that should not be.
    async fn names(&self, count: usize) -> Vec<String> {
        for _ in 0..4000 {
            if self.pipeline.names.lock().unwrap().len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.pipeline.names.lock().unwrap().clone()
    }

    fn counted(&self, name: &str) -> u64 {
        let labels = [("receiver", self.id.as_str()), ("transport", "file")];
        self.registry.counter(name, "x", &labels).value()
    }
}

fn request(name: &str) -> Bytes {
    Bytes::from(text::parse(&format!("span 1/a1 \"{name}\"")).unwrap())
}

fn line(name: &str) -> Vec<u8> {
    Form::Lines.record(to_json(Signal::Traces.message(), &request(name)))
}

fn log_line(name: &str) -> Vec<u8> {
    let request = text::parse(&format!("log 1/a1 \"{name}\"")).unwrap();
    Form::Lines.record(to_json(Signal::Logs.message(), &request))
}

const BEGINNING: &str = "start_at: beginning";

#[tokio::test]
async fn every_format_is_read() {
    let json = Bytes::from(to_json(Signal::Traces.message(), &request("x")));
    let zstd = |content: Bytes| deflate(Encoding::Zstd, &[content]).to_vec();
    for content in [
        line("x"),
        Form::Frames.record(request("x").to_vec()),
        Form::Frames.record(zstd(request("x"))),
        Form::Frames.record(zstd(json)),
    ] {
        let mut fixture = Fixture::new();
        fixture.append("f", content.repeat(3));
        fixture.start(BEGINNING, &[Signal::Traces]).await;
        assert_eq!(fixture.names(3).await, ["x"; 3]);
        assert_eq!(fixture.counted("otelcol_receiver_accepted_spans"), 3);
        fixture.stop().await;
    }
}

#[tokio::test]
async fn files_are_followed_from_where_the_user_says() {
    for (start_at, expected) in [("beginning", vec!["1", "2", "3"]), ("end", vec!["2", "3"])] {
        let mut fixture = Fixture::new();
        fixture.append("f", line("1"));
        fixture.start(&format!("start_at: {start_at}"), &[Signal::Traces]).await;
        fixture.names(expected.len() - 2).await;
        fixture.append("f", line("2"));
        fixture.names(expected.len() - 1).await;
        fixture.append("new", line("3"));
        assert_eq!(fixture.names(expected.len()).await, expected, "{start_at}");
        fixture.stop().await;
    }
}

#[tokio::test]
async fn reading_once_ends_with_the_last_line_and_names_what_is_bad() {
    let mut fixture = Fixture::new();
    let whole = line("2");
    fixture.append("f", [&line("1")[..], b"{\"resourceSpans\":[}\nno json\n\n"].concat());
    fixture.append("f", whole.trim_ascii_end());
    fixture.start("start_at: beginning\nfollow: false", &[Signal::Traces]).await;
    assert_eq!(fixture.names(2).await, ["1", "2"]);
    assert_eq!(fixture.counted("spanloom_receiver_bad_records"), 2);
    fixture.append("f", line("3"));
    assert_eq!(fixture.names(2).await, ["1", "2"], "it rests");
    fixture.stop().await;
}

#[tokio::test]
async fn a_last_line_without_end_counts_once_it_is_whole_and_quiet() {
    let mut fixture = Fixture::new();
    let whole = line("1");
    let (half, rest) = whole.trim_ascii_end().split_at(20);
    fixture.append("f", half);
    fixture.start("start_at: beginning\nforce_flush_period: 1ms", &[Signal::Traces]).await;
    assert!(fixture.names(0).await.is_empty());
    fixture.append("f", rest);
    assert_eq!(fixture.names(1).await, ["1"]);
    fixture.append("f", [b"\n", &line("2")[..]].concat());
    assert_eq!(fixture.names(2).await, ["1", "2"]);
    assert_eq!(fixture.counted("spanloom_receiver_bad_records"), 0);
    fixture.stop().await;
}

#[tokio::test]
async fn rotation_loses_nothing() {
    let mut fixture = Fixture::new();
    fixture.append("f", line("0"));
    fixture.start("start_at: beginning\nexclude: [\"**/*.old\"]", &[Signal::Traces]).await;
    let mut expected = fixture.names(1).await;
    for n in 1..=20 {
        // What is written to a file after it was renamed counts too.
        fixture.append("f", line(&format!("{n}a")));
        let old = format!("{n}.old");
        fs::rename(fixture.path("f"), fixture.path(&old)).unwrap();
        fixture.append(&old, line(&format!("{n}b")));
        fixture.append("f", line(&format!("{n}c")));
        expected.extend(["a", "b", "c"].map(|letter| format!("{n}{letter}")));
        // As long as the new file is seen before it is renamed in its turn.
        let mut names = fixture.names(expected.len()).await;
        names.sort();
        let mut expected = expected.clone();
        expected.sort();
        assert_eq!(names, expected, "rotation {n}");
    }
    fixture.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_taken_is_offered_until_it_is() {
    let mut fixture = Fixture::new();
    let refused = Verdict::refused(Refusal::Internal, "no");
    let verdicts = [Verdict::busy("full"), refused, Verdict::busy("full")];
    fixture.pipeline.verdicts.lock().unwrap().extend(verdicts);
    fixture.append("f", [line("1"), line("2")].concat());
    fixture.start(BEGINNING, &[Signal::Traces]).await;
    assert_eq!(fixture.names(2).await, ["1", "2"]);
    assert_eq!(fixture.counted("otelcol_receiver_refused_spans"), 6);
    assert_eq!(fixture.counted("otelcol_receiver_accepted_spans"), 2);
    fixture.stop().await;
}

#[tokio::test]
async fn a_reload_goes_on_where_it_was() {
    let mut fixture = Fixture::new();
    fixture.append("f", line("0"));
    fixture.start("start_at: end", &[Signal::Traces]).await;
    fixture.names(0).await;
    fixture.append("f", line("1"));
    fixture.names(1).await;
    fixture.pipeline.verdicts.lock().unwrap().push_back(Verdict::busy("full"));
    fixture.append("f", line("2"));
    while !fixture.pipeline.verdicts.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    fixture.stop().await;
    fixture.append("f", line("3"));
    fixture.start("start_at: end", &[Signal::Traces]).await;
    assert_eq!(fixture.names(3).await, ["1", "2", "3"]);
    fixture.stop().await;
}

#[tokio::test]
async fn signals_that_no_pipeline_takes_are_counted() {
    let mut fixture = Fixture::new();
    fixture.append("f", [log_line("log"), line("span")].concat());
    fixture.start(BEGINNING, &[Signal::Traces]).await;
    assert_eq!(fixture.names(1).await, ["span"]);
    assert_eq!(fixture.counted("spanloom_receiver_unwanted_log_records"), 1);
    assert_eq!(fixture.counted("spanloom_receiver_bad_records"), 0);
    fixture.stop().await;
}

#[tokio::test]
async fn a_replay_begins_again_and_again() {
    let mut fixture = Fixture::new();
    fixture.append("f", [line("1"), line("2")].concat());
    fixture.start("start_at: beginning\nreplay_file: true", &[Signal::Traces]).await;
    assert_eq!(fixture.names(6).await[..6], ["1", "2", "1", "2", "1", "2"]);
    fixture.stop().await;
}

#[test]
fn relations_between_keys_are_checked() {
    let cases = [
        ("{}", "include: must be set"),
        ("include: []", "include: names no file"),
        ("include: [\"[a\"]", "include: the pattern \"[a\" has a [ without its ]"),
        ("{include: [a], poll_interval: 0s}", "poll_interval: found 0"),
        ("{include: [a], max_log_size: 0}", "max_log_size: write a size from 1 to"),
        ("{include: [a], replay_file: true}", "replay_file: reads from the beginning"),
        ("{include: [a], follow: false}", "follow: reads what is there"),
        (
            "{include: [a], follow: false, start_at: beginning, replay_file: true}",
            "replay_file: reads again and again",
        ),
        ("{include: [a], storage: disk}", "storage: "),
    ];
    for (yaml, expected) in cases {
        let mut problems = Problems::new();
        let section = Section::check(&parse(yaml, "yaml:").unwrap(), KEYS, "", &mut problems);
        check(&section, &mut problems);
        assert!(problems.to_string().contains(expected), "{yaml}: {problems}");
    }
}

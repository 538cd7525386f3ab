//! Passes spans through a window and `orphans` as a daemon would, in the order of their arrival
//! and with the time of that, and reads the tags from what comes out.

use super::random::Random;
use super::span::{Span, encode};
use bytes::Bytes;
use spanloom::batch::{Batch, Signal};
use spanloom::config::Section;
use spanloom::moment::Moment;
use spanloom::otlp::view::{AnyValue, ScopeGroup, text, values};
use spanloom::processors::row::Row;
use spanloom::processors::{Built, LIST, Out, Setup, Stateful};
use spanloom::telemetry::Registry;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What was said of a span.
#[derive(Clone, Debug, Default)]
pub struct Said {
    pub signatures: Vec<String>,
    pub status: String,
    pub evidence: String,
    pub cause: String,
    pub tier: i64,
    pub confidence: f64,
    pub parent: Option<(u128, u64)>,
    pub wait_ms: i64,
    /// Of a bridge: of how many heads it tells.
    pub heads: i64,
}

/// A span that got another trace: the one that it was of, and its id.
type Rewritten = BTreeMap<(u128, u64), u128>;

/// What came out.
#[derive(Default)]
pub struct Passed {
    pub spans: usize,
    pub said: BTreeMap<(u128, u64), Said>,
    pub rewritten: Rewritten,
    /// What was said by bridges of heads that had left.
    pub late: BTreeMap<(u128, u64), Said>,
    /// Time in `orphans`.
    pub took: Duration,
}

pub struct Pipeline {
    window: Option<Box<dyn Stateful>>,
    orphans: Row,
    pub passed: Passed,
    out: Vec<Batch>,
}

impl Pipeline {
    pub fn new(window: bool, yaml: &str) -> Pipeline {
        let registry = Registry::default();
        let build = |name: &str, yaml: &str| {
            let kind = LIST.iter().find(|kind| kind.component.name == name).expect("listed");
            let section = Section::from_yaml(kind.component.keys, yaml).expect("valid");
            (kind.build)(&section, &Setup::new(name, "traces", Signal::Traces, &registry))
        };
        let window = window.then(|| match build("trace_window", "{limit_mib: 512}") {
            Built::Stateful(window) => window,
            _ => unreachable!("a window holds state"),
        });
        let Built::Inspector(orphans) = build("orphans", yaml) else {
            unreachable!("it inspects");
        };
        let orphans = Row::new(vec![orphans], vec![]);
        Pipeline { window, orphans, passed: Passed::default(), out: vec![] }
    }

    pub fn push(&mut self, bytes: Vec<u8>, now: Moment) {
        let batch = Batch::parse(Signal::Traces, Bytes::from(bytes), now).expect("well-formed");
        let mut out = Out::default();
        match &mut self.window {
            Some(window) => window.process(batch, now, &mut out),
            None => out.pass(batch),
        }
        self.judge(out, now);
    }

    pub fn wake(&mut self, now: Moment) {
        let mut out = Out::default();
        if let Some(window) = &mut self.window
            && window.wake_at().is_some_and(|at| at <= now)
        {
            window.wake(now, &mut out);
        }
        self.judge(out, now);
        if self.orphans.wake_at().is_some_and(|at| at <= now) {
            let mut out = Out::default();
            let start = Instant::now();
            self.orphans.wake(now, &mut out);
            self.passed.took += start.elapsed();
            self.out.extend(out.take());
        }
        self.read();
    }

    pub fn finish(&mut self, now: Moment) {
        let mut out = Out::default();
        if let Some(window) = &mut self.window {
            window.finish(now, &mut out);
        }
        self.judge(out, now);
        for seconds in [20, 40, 60, 90] {
            self.wake(now.plus(Duration::from_secs(seconds)));
        }
        let mut out = Out::default();
        self.orphans.finish(now.plus(Duration::from_secs(100)), &mut out);
        self.out.extend(out.take());
        self.read();
    }

    fn judge(&mut self, mut passed: Out, now: Moment) {
        for batch in passed.take() {
            let mut out = Out::default();
            let start = Instant::now();
            self.orphans.process(batch, now, &mut out);
            self.passed.took += start.elapsed();
            self.out.extend(out.take());
        }
    }

    fn read(&mut self) {
        for batch in std::mem::take(&mut self.out) {
            let groups = batch.request().resource_groups();
            for span in groups.flat_map(|group| group.scope_groups()).flat_map(ScopeGroup::spans) {
                let mut said = Said::default();
                let (mut trace, mut id, mut was, mut head) = (None, None, None, None);
                for attribute in span.attributes() {
                    let key = text(attribute.key);
                    let Some(name) = key.strip_prefix("app.agent.orphan.") else { continue };
                    let word = || text(attribute.value.as_text().unwrap_or_default()).to_owned();
                    match (name, attribute.value) {
                        ("signatures", AnyValue::Array(array)) => {
                            let words = values(array).filter_map(AnyValue::as_text);
                            said.signatures = words.map(|word| text(word).to_owned()).collect();
                        }
                        ("status", _) => said.status = word(),
                        ("evidence", _) => said.evidence = word(),
                        ("cause", _) => said.cause = word(),
                        ("tier", AnyValue::Int(n)) => said.tier = n,
                        ("wait_ms", AnyValue::Int(n)) => said.wait_ms = n,
                        ("head.count", AnyValue::Int(n)) => said.heads = n,
                        ("confidence", AnyValue::Double(p)) => said.confidence = p,
                        ("original_trace_id", _) => was = u128::from_str_radix(&word(), 16).ok(),
                        ("head.span_id", _) => head = u64::from_str_radix(&word(), 16).ok(),
                        ("parent.trace_id", _) => trace = u128::from_str_radix(&word(), 16).ok(),
                        ("parent.span_id", _) => id = u64::from_str_radix(&word(), 16).ok(),
                        _ => {}
                    }
                }
                let (is, span) = ids(span);
                if let Some(head) = head {
                    said.parent = trace.zip(id);
                    self.passed.late.insert((is, head), said);
                    continue;
                }
                self.passed.spans += 1;
                if let Some(was) = was {
                    self.passed.rewritten.insert((was, span), is);
                }
                if !said.signatures.is_empty() {
                    said.parent = trace.zip(id);
                    self.passed.said.insert((was.unwrap_or(is), span), said);
                }
            }
        }
    }
}

fn ids(span: spanloom::otlp::view::Span<'_>) -> (u128, u64) {
    let trace = span.trace_id().iter().fold(0, |id, byte| id << 8 | u128::from(*byte));
    let span = span.span_id().iter().fold(0, |id, byte| id << 8 | u64::from(*byte));
    (trace, span)
}

/// A moment so many milliseconds after the start of the corpus.
pub fn moment(ms: f64) -> Moment {
    Moment { monotonic: Duration::from_secs_f64(ms / 1000.0), unix_nanos: 0 }
}

/// Spans arrive with the next export of their service, every 5 s; one of a hundred late.
pub fn run(spans: &[Span], seed: u64, window: bool, yaml: &str) -> Passed {
    let mut random = Random(seed);
    let mut arrivals: Vec<(u64, &Span)> = spans
        .iter()
        .map(|span| {
            let offset = span.service.len() as f64 * 377.0;
            let late = if random.chance(0.01) { 30_000.0 + 90_000.0 * random.unit() } else { 0.0 };
            let at = ((span.end + late + offset) / 5000.0).floor() * 5000.0 + 5000.0 - offset;
            (at as u64, span)
        })
        .collect();
    arrivals.sort_by(|a, b| (a.0, &a.1.service).cmp(&(b.0, &b.1.service)));
    let mut pipeline = Pipeline::new(window, yaml);
    let mut clock = 0;
    for batch in arrivals.chunk_by(|a, b| a.0 == b.0 && a.1.service == b.1.service) {
        let at = batch[0].0;
        while clock + 500 < at {
            clock = (clock + 500).max(at.saturating_sub(100_000));
            pipeline.wake(moment(clock as f64));
        }
        for part in batch.chunks(512) {
            let part: Vec<&Span> = part.iter().map(|(_, span)| *span).collect();
            pipeline.push(encode(&part), moment(at as f64));
        }
        pipeline.wake(moment(at as f64));
    }
    pipeline.finish(moment(clock as f64 + 5000.0));
    pipeline.passed
}

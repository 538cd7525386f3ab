//! The bench that every processor's tests run on: spans in, spans out, in the text notation.

use super::fragments::Fragments;
use super::places::Places;
use super::row::Row;
use super::{Built, LIST, Out, Setup};
use crate::batch::{Batch, Signal};
use crate::config::parse::parse;
use crate::config::{Problems, Section};
use crate::moment::Moment;
use crate::otlp::text;
use crate::telemetry::{Finding, Registry};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// A processor with its time and its metrics.
pub struct Bench {
    processor: Built,
    signal: Signal,
    registry: Registry,
    places: Places,
    now: Moment,
}

impl Bench {
    /// The processor `name` configured by `yaml`, in a pipeline of `signal`.
    #[track_caller]
    pub fn new(signal: Signal, name: &str, yaml: &str) -> Bench {
        Bench::build(signal, name, yaml, (Registry::default(), Places::default()))
    }

    /// The same processor in a pipeline of `signal`, which sees the same as this one.
    #[track_caller]
    pub fn beside(&self, signal: Signal, name: &str, yaml: &str) -> Bench {
        Bench::build(signal, name, yaml, (self.registry.clone(), self.places.clone()))
    }

    #[track_caller]
    fn build(signal: Signal, name: &str, yaml: &str, process: (Registry, Places)) -> Bench {
        let (registry, places) = process;
        let kind = LIST.iter().find(|kind| kind.component.name == name).expect("it is listed");
        let section = section(name, yaml).expect("the test's configuration is valid");
        let setup = Setup::new(name, signal.name(), signal, &registry);
        let setup = Setup { places: places.clone(), ..setup };
        let processor = match (kind.build)(&section, &setup) {
            Built::Inspector(inspector) => {
                Built::Stateful(Box::new(Row::new(vec![inspector], vec![])))
            }
            other => other,
        };
        Bench { processor, signal, registry, places, now: Moment::default() }
    }

    /// What it is told of traces that are fragments of others.
    pub fn fragments(&self) -> Arc<Fragments> {
        let setup = Setup::new("orphans", self.signal.name(), self.signal, &self.registry);
        Fragments::of(&Setup { places: self.places.clone(), ..setup })
    }

    /// Lets time pass.
    pub fn wait(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }

    /// What was held and is due after so many seconds.
    pub fn wake(&mut self, seconds: u64) -> Vec<Bytes> {
        self.wait(seconds);
        let mut out = Out::default();
        if let Built::Stateful(processor) = &mut self.processor
            && processor.wake_at().is_some_and(|at| at <= self.now)
        {
            processor.wake(self.now, &mut out);
        }
        out.take().iter().map(|batch| batch.bytes().clone()).collect()
    }

    /// Items that count as held, and so not as dropped.
    pub fn held(&self) -> usize {
        match &self.processor {
            Built::Stateful(processor) => processor.held(),
            _ => 0,
        }
    }

    /// What is still held.
    pub fn finish(&mut self) -> Vec<Bytes> {
        let mut out = Out::default();
        if let Built::Stateful(processor) = &mut self.processor {
            processor.finish(self.now, &mut out);
        }
        out.take().iter().map(|batch| batch.bytes().clone()).collect()
    }

    /// What becomes of a request; nothing if nothing is left of it.
    #[track_caller]
    pub fn pass(&mut self, bytes: Bytes) -> Bytes {
        let batch = Batch::parse(self.signal, bytes, self.now).expect("the request is well-formed");
        let mut out = Out::default();
        match &mut self.processor {
            Built::Stateless(processor) => processor.process(batch, self.now, &mut out),
            Built::Stateful(processor) => processor.process(batch, self.now, &mut out),
            Built::Inspector(_) => unreachable!("it was put in a row"),
        }
        let passed = out.take();
        assert!(passed.len() <= 1, "no processor here splits a batch");
        let Some(batch) = passed.into_iter().next() else {
            return Bytes::new();
        };
        let bytes = batch.bytes().clone();
        let reparsed = Batch::parse(self.signal, bytes.clone(), self.now);
        let reparsed = reparsed.expect("what passes is well-formed");
        assert_eq!(reparsed.items(), batch.items(), "the count of items is kept");
        bytes
    }

    /// Asserts what becomes of `before`.
    #[track_caller]
    pub fn check(&mut self, before: &str, after: &str) {
        let bytes = self.pass(request(before));
        let print = |bytes: &[u8]| text::print(self.signal.message(), bytes);
        let expected = print(&request(after));
        assert_eq!(print(&bytes), expected, "\nbefore:\n{before}\n");
    }

    /// Asserts that `before` passes as the same bytes in the same place.
    #[track_caller]
    pub fn check_untouched(&mut self, before: &str) {
        let bytes = request(before);
        let passed = self.pass(bytes.clone());
        self.check_same(before, &bytes, &passed);
    }

    #[track_caller]
    fn check_same(&self, before: &str, bytes: &Bytes, passed: &Bytes) {
        let printed = text::print(self.signal.message(), passed);
        assert_eq!(bytes.as_ptr(), passed.as_ptr(), "\n{before}\nbecame\n{printed}\n");
    }

    /// The sum of the series of `metric` whose labels contain `label`.
    pub fn metric(&self, metric: &str, label: &str) -> u64 {
        let text = self.registry.render();
        let series = text.lines().filter(|line| {
            let name = line.split(['{', ' ']).next();
            name == Some(metric) && line.contains(label)
        });
        series.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// What was noted, the newest first.
    pub fn findings(&self) -> Vec<Finding> {
        self.registry.findings.latest()
    }
}

/// The request that `text` notates. A line that ends with a backslash goes on in the next.
#[track_caller]
pub fn request(text: &str) -> Bytes {
    let lines = text.split(" \\\n").map(str::trim_start);
    let text = lines.collect::<Vec<_>>().join(" ");
    let text = text.as_str();
    Bytes::from(text::parse(text).expect("the test's notation is valid"))
}

/// Asserts what one processor, configured by `yaml`, makes of one batch of spans.
#[track_caller]
pub fn check(name: &str, yaml: &str, before: &str, after: &str) {
    Bench::new(Signal::Traces, name, yaml).check(before, after);
}

/// The checked section of processor `name`; all problems as text otherwise.
pub fn section(name: &str, yaml: &str) -> Result<Section, String> {
    let kind = LIST.iter().find(|kind| kind.component.name == name).expect("it is listed");
    let node = parse(yaml, "yaml:").map_err(|problems| problems.to_string())?;
    let mut problems = Problems::new();
    let section = Section::check(&node, kind.component.keys, "", &mut problems);
    (kind.component.check)(&section, &mut problems);
    problems.sort();
    problems.into_result(section).map(|(section, _)| section).map_err(|p| p.to_string())
}

#[test]
fn every_sample_is_a_valid_configuration() {
    for kind in LIST {
        let component = &kind.component;
        if let Err(problems) = section(component.name, component.sample) {
            panic!("the sample of {}: {problems}", component.name);
        }
        for key in component.keys.iter().filter(|key| key.is_supported()) {
            let written = component.sample.contains(&format!("{}:", key.name));
            assert!(written, "the sample of {} lacks {}", component.name, key.name);
        }
    }
}

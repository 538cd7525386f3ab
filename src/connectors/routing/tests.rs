//! Routes as tables: what comes in, and what each pipeline gets.

use super::super::Out;
use super::*;
use crate::batch::Signal;
use crate::config::parse::parse;
use crate::moment::Moment;
use crate::otlp::text;
use crate::receipt::Receipt;
use crate::telemetry::Registry;
use bytes::Bytes;
use std::sync::mpsc::sync_channel;

const PIPELINES: [&str; 4] = ["traces/a", "traces/b", "traces/c", "traces/d"];

const INPUT: &str = "\
resource service.name=\"web\" env=\"prod\"
scope \"s\"
span 1/1 \"one\" kind=server n=1
span 1/2 \"two\" kind=client status=error n=\"x\"
scope \"t\"
span 1/3 \"three\" n=3
resource service.name=\"job\"
scope -
span 2/4 \"four\" status=error n=4
";

struct Bench {
    routing: Routing,
    registry: Registry,
    signal: Signal,
}

#[track_caller]
fn bench(signal: Signal, pipelines: &[&str], yaml: &str) -> Bench {
    let mut problems = Problems::new();
    let node = parse(yaml, "yaml:").unwrap_or_else(|e| panic!("{e}"));
    let section = Section::check(&node, read::KEYS, "", &mut problems);
    (KIND.component.check)(&section, &mut problems);
    assert!(!problems.has_errors(), "{yaml}\n{problems}");
    let registry = Registry::default();
    let setup = Setup { id: "routing", signal, pipelines, registry: &registry };
    Bench { routing: Routing::new(&section, &setup), registry, signal }
}

impl Bench {
    /// What goes where, and how the client is answered once all parts are delivered.
    #[track_caller]
    fn route(&self, input: &str) -> (Vec<(usize, String, Bytes)>, Verdict) {
        let bytes = Bytes::from(text::parse(input).unwrap());
        self.route_bytes(bytes)
    }

    fn route_bytes(&self, bytes: Bytes) -> (Vec<(usize, String, Bytes)>, Verdict) {
        let mut batch = Batch::parse(self.signal, bytes, Moment::default()).unwrap();
        let (answer, answered) = sync_channel(1);
        batch.receipts = Receipt::new(move |verdict| answer.send(verdict).unwrap()).into();
        let mut out = Out::default();
        self.routing.connect(batch, &mut out);
        let mut parts = vec![];
        for (place, batch) in out.take() {
            assert!(answered.try_recv().is_err(), "answered before all parts are settled");
            let printed = text::print(batch.signal().message(), batch.bytes());
            let is_item = |line: &&str| line.starts_with("span ") || line.starts_with("log ");
            let names = printed.lines().filter(is_item).map(|line| line.split('"').nth(1).unwrap());
            let names: Vec<&str> = names.collect();
            assert_eq!(batch.items(), names.len().max(batch.items().min(1)), "{printed}");
            parts.push((place, names.join(" "), batch.bytes().clone()));
            batch.settle(&Verdict::Accepted);
        }
        parts.sort();
        (parts, answered.try_recv().expect("answered once all parts are settled"))
    }

    fn counted(&self, name: &str) -> u64 {
        let labels = [("connector", "routing"), ("otel_signal", self.signal.name())];
        self.registry.counter(name, "x", &labels).value()
    }
}

/// What the four pipelines get of [`INPUT`]; `|` separates several batches.
#[track_caller]
fn check(yaml: &str, expected: [&str; 4]) {
    let bench = bench(Signal::Traces, &PIPELINES, yaml);
    let (parts, verdict) = bench.route(INPUT);
    assert_eq!(verdict, Verdict::Accepted);
    let of = |place| {
        let parts = parts.iter().filter(|(at, ..)| *at == place);
        parts.map(|(_, names, _)| names.as_str()).collect::<Vec<_>>().join("|")
    };
    assert_eq!([of(0), of(1), of(2), of(3)], expected, "{yaml}");
}

#[test]
fn the_first_route_that_holds_moves() {
    let web = "'attributes[\"service.name\"] == \"web\"'";
    let cases: [(&str, [&str; 4]); 9] = [
        ("table: [{condition: W, pipelines: [traces/a]}]", ["one two three", "", "", ""]),
        (
            "{table: [{condition: W, pipelines: [traces/a]}], default_pipelines: [traces/d]}",
            ["one two three", "", "", "four"],
        ),
        (
            "table: [{condition: W, pipelines: [traces/a]}, {condition: W, pipelines: [traces/b]},
              {statement: route(), pipelines: [traces/c]}]",
            ["one two three", "", "four", ""],
        ),
        (
            "table: [{condition: W, pipelines: [traces/a, traces/c]}]",
            ["one two three", "", "one two three", ""],
        ),
        (
            "{table: [{context: span, condition: status.code == 2, pipelines: [traces/a]}],
              default_pipelines: [traces/d]}",
            ["two four", "", "", "one three"],
        ),
        (
            "{table: [{condition: span.status.code == 2, pipelines: [traces/a]},
              {condition: W, pipelines: [traces/b]}], default_pipelines: [traces/d]}",
            ["two four", "one three", "", ""],
        ),
        (
            "{table: [{condition: W, pipelines: [traces/b]},
              {condition: span.status.code == 2, pipelines: [traces/a]}]}",
            ["four", "one two three", "", ""],
        ),
        (
            "{table: [{statement: 'route() where resource.attributes[\"env\"] == nil',
              pipelines: [traces/a]}, {statement: ' route ( )where  span.kind.string == \"Server\"',
              pipelines: [traces/b]}], default_pipelines: [traces/c]}",
            ["four", "one", "two three", ""],
        ),
        ("table: [{condition: name == \"x\", context: span, pipelines: [traces/a]}]", [""; 4]),
    ];
    for (yaml, expected) in cases {
        check(&yaml.replace('W', web), expected);
    }
}

#[test]
fn a_copy_lets_the_later_routes_have_it() {
    let errors = "condition: span.status.code == 2, action: copy, pipelines";
    let cases: [(&str, [&str; 4]); 4] = [
        (
            "{table: [{E: [traces/a]}], default_pipelines: [traces/d]}",
            ["two four", "", "", "one three|two four"],
        ),
        (
            "{table: [{E: [traces/a]}, {E: [traces/b]},
              {statement: route(), pipelines: [traces/c]}]}",
            ["two four", "two four", "one three|two four", ""],
        ),
        ("{table: [{E: [traces/a]}]}", ["two four", "", "", ""]),
        (
            "{table: [{E: [traces/a]}, {statement: route(), pipelines: [traces/a]}]}",
            ["one two three four", "", "", ""],
        ),
    ];
    for (yaml, expected) in cases {
        check(&yaml.replace('E', errors), expected);
    }
}

#[test]
fn what_goes_one_way_is_not_copied() {
    let yaml = "{table: [{statement: route(), pipelines: [traces/a, traces/b]}]}";
    let bench = bench(Signal::Traces, &PIPELINES, yaml);
    let bytes = Bytes::from(text::parse(INPUT).unwrap());
    let (parts, _) = bench.route_bytes(bytes.clone());
    let places: Vec<_> = parts.iter().map(|(at, _, part)| (*at, part.as_ptr())).collect();
    assert_eq!(places, [(0, bytes.as_ptr()), (1, bytes.as_ptr())]);
}

#[test]
fn what_no_route_takes_is_counted() {
    let yaml = "table: [{context: span, condition: name == \"one\", pipelines: [traces/a]}]";
    let bench = bench(Signal::Traces, &PIPELINES, yaml);
    for count in [3, 6] {
        let (parts, verdict) = bench.route(INPUT);
        assert_eq!((parts.len(), verdict), (1, Verdict::Accepted));
        assert_eq!(bench.counted("spanloom_routing_dropped_items"), count);
    }
    let (parts, verdict) = bench.route("span 1/1 \"other\"");
    assert_eq!((parts.len(), verdict), (0, Verdict::Accepted));
    assert_eq!(bench.counted("spanloom_routing_dropped_items"), 7);
}

#[test]
fn error_mode_says_what_becomes_of_a_condition_without_an_answer() {
    let table = "table: [{context: span, condition: 'HasPrefix(attributes[\"n\"], \"x\")', \
                 pipelines: [traces/a]}]";
    for (mode, accepted) in [("propagate", false), ("ignore", true), ("silent", true)] {
        let yaml = format!("error_mode: {mode}\n{table}\ndefault_pipelines: [traces/d]");
        let bench = bench(Signal::Traces, &PIPELINES, &yaml);
        let (parts, verdict) = bench.route(INPUT);
        let names: Vec<_> = parts.iter().map(|(at, names, _)| (*at, names.as_str())).collect();
        if accepted {
            assert_eq!(names, [(0, "two"), (3, "one three four")], "{mode}");
            assert_eq!(bench.counted("spanloom_routing_errors"), 3);
        } else {
            assert_eq!(names, []);
            let reason = "routing: the condition `HasPrefix(attributes[\"n\"], \"x\")` has no \
                          answer: HasPrefix takes a string and found a whole number (error_mode is \
                          propagate)";
            assert_eq!(verdict.reason(), reason);
        }
    }
}

#[test]
fn log_records_and_metrics_are_routed_too() {
    let yaml = "{table: [{context: log, condition: severity_number >= SEVERITY_NUMBER_ERROR,
        pipelines: [logs/a]}], default_pipelines: [logs/b]}";
    let bench = bench(Signal::Logs, &["logs/a", "logs/b"], yaml);
    let (parts, _) = bench.route("log 1/1 info \"one\"\nlog 1/2 error \"two\"");
    let names: Vec<_> = parts.iter().map(|(at, names, _)| (*at, names.as_str())).collect();
    assert_eq!(names, [(0, "two"), (1, "one")]);

    use crate::otlp::wire::{put_bytes_field, put_message_field as put};
    let yaml = "table: [{condition: 'attributes[\"k\"] == nil', pipelines: [metrics/a]}]";
    let bench = self::bench(Signal::Metrics, &["metrics/a"], yaml);
    let mut bytes = vec![];
    let point = |out: &mut Vec<u8>| put_bytes_field(out, 1, &[]);
    put(&mut bytes, 1, |out| put(out, 2, |out| put(out, 2, |out| put(out, 7, point))));
    let (parts, _) = bench.route_bytes(bytes.into());
    assert_eq!(parts.iter().map(|(at, ..)| *at).collect::<Vec<_>>(), [0]);
}

#[test]
fn mistakes_are_found_with_their_place() {
    let cases = [
        ("{}", "table: must be set"),
        ("table: []", "table: has no route"),
        ("table: [{pipelines: [traces/a]}]", "table[0]: has no condition"),
        (
            "table: [{condition: 'true', statement: route(), pipelines: [traces/a]}]",
            "one of the two",
        ),
        ("table: [{condition: 'true'}]", "table[0]::pipelines: must be set"),
        ("table: [{condition: 'true', pipelines: []}]", "pipelines: names no pipeline"),
        (
            "table: [{condition: 'span.nmae == \"x\"', pipelines: [traces/a]}]",
            "yaml::1:21: table[0]::condition: column 1: unknown path \"span.nmae\"",
        ),
        (
            "table: [{statement: 'route() where span.nmae == \"x\"', pipelines: [traces/a]}]",
            "table[0]::statement: column 15: unknown path \"span.nmae\"",
        ),
        (
            "table: [{statement: 'delete_key(attributes, \"x\")', pipelines: [traces/a]}]",
            "write route() where CONDITION; to change data, use a processor",
        ),
        ("table: [{statement: 'route() if true', pipelines: [traces/a]}]", "write route() where"),
        (
            "table: [{context: request, condition: 'true', pipelines: [traces/a]}]",
            "context: there is no metadata of requests here",
        ),
        (
            "table: [{context: datapoint, condition: 'true', pipelines: [metrics/a]}]",
            "context: metrics pass by their resource alone",
        ),
        ("table: [{context: spans, condition: 'true', pipelines: [traces/a]}]", "write one of"),
        (
            "table: [{context: log, condition: 'true', pipelines: [traces/a]}]",
            "context: asks about a log; what goes to traces/a is routed by resource or span",
        ),
        (
            "table: [{condition: 'span.name == \"x\"', pipelines: [metrics/a]}]",
            "asks about a span; what goes to metrics/a is routed by resource",
        ),
        ("{table: [{statement: route(), pipelines: [traces/a]}], match_once: true}", "match_once"),
    ];
    for (yaml, expected) in cases {
        let mut problems = Problems::new();
        let section = Section::check(&parse(yaml, "yaml:").unwrap(), read::KEYS, "", &mut problems);
        (KIND.component.check)(&section, &mut problems);
        assert!(problems.to_string().contains(expected), "{yaml}\n{problems}");
    }
}

//! A status as text: the pipelines, a table for each class of components, what was dropped or
//! changed by which rule, and the latest findings.
//!
//! A pure function of one status, or of two for rates. What has a place in a table is known by
//! name; every other counter of a component that is not zero stands under its rule, so that a
//! component that is added shows what it does without a change here.

use super::json::hex;
use super::number::{bytes, clock, count, rate, span};
use crate::batch::Signal;
use crate::status::{Component, Status};
use crate::telemetry::{Kind, Series};
use std::fmt::Write;
use std::time::Duration;

/// Findings that are shown: the rest of a screen.
const FINDINGS: usize = 8;

/// Columns of the first cell of a row, and of the others.
const NAME: usize = 24;
const CELL: usize = 11;

/// The text for `now`; rates are against `before`.
pub fn view(now: &Status, before: Option<&Status>) -> String {
    let view = View { now, before };
    let mut out = view.head();
    for (title, rows) in [
        ("receiver", view.receivers()),
        ("processor", view.processors()),
        ("exporter", view.exporters()),
    ] {
        table(&mut out, title, rows);
    }
    table(&mut out, "by rule", view.rules());
    view.findings(&mut out);
    out
}

/// The cells of a table: the first row is the head, the first column the name.
type Rows = Vec<Vec<String>>;

struct View<'a> {
    now: &'a Status,
    before: Option<&'a Status>,
}

/// A number now, and what it was.
#[derive(Clone, Copy, Default)]
struct Pair {
    now: i64,
    before: i64,
}

impl View<'_> {
    fn head(&self) -> String {
        let now = self.now;
        let up = Duration::from_nanos(now.time.saturating_sub(now.started));
        let ready = if now.ready { "ready" } else { "not ready" };
        let mut out = format!("spanloom {} · {ready} · up {}\n\n", plain(&now.version), span(up));
        for pipeline in &now.graph.pipelines {
            let mut steps = vec![pipeline.receivers.join(", ")];
            steps.extend(pipeline.processors.iter().cloned());
            steps.push(pipeline.exporters.join(", "));
            let _ = writeln!(out, "{:12} {}", plain(&pipeline.id), plain(&steps.join(" → ")));
        }
        out
    }

    fn receivers(&self) -> Rows {
        let name = |word: &'static str| {
            move |signal: Signal| format!("otelcol_receiver_{word}_{}", signal.items())
        };
        let mut rows = vec![texts(&["accepted", "/s", "refused", "/s"])];
        for component in self.of("receiver") {
            for signal in Signal::ALL {
                let of = |word| self.sum(component, &name(word)(signal), None);
                let (accepted, refused) = (of("accepted"), of("refused"));
                if accepted.now > 0 || refused.now > 0 {
                    let title = format!("{} {}", component.id, signal.name());
                    rows.push(self.row(title, &[accepted, refused]));
                }
            }
        }
        rows
    }

    fn processors(&self) -> Rows {
        let mut rows = vec![texts(&["in", "/s", "out", "/s"])];
        for component in self.of("processor") {
            for signal in Signal::ALL {
                let of = |name| self.sum(component, name, Some(("otel_signal", signal.name())));
                let incoming = of("otelcol_processor_incoming_items");
                if incoming.now > 0 {
                    let title = format!("{} {}", component.id, signal.name());
                    let outgoing = of("otelcol_processor_outgoing_items");
                    rows.push(self.row(title, &[incoming, outgoing]));
                }
            }
        }
        rows
    }

    fn exporters(&self) -> Rows {
        let mut rows = vec![texts(&["sent", "/s", "lost", "/s", "queue", "full"])];
        for component in self.of("exporter") {
            for signal in Signal::ALL {
                let of =
                    |word: &str| self.sum(component, &format!("{word}_{}", signal.items()), None);
                let sent = of("otelcol_exporter_sent");
                let lost = LOST.iter().map(|word| of(word)).fold(Pair::default(), Pair::plus);
                let held = |name| self.sum(component, name, Some(("data_type", signal.name()))).now;
                let (size, capacity) =
                    (held("otelcol_exporter_queue_size"), held("otelcol_exporter_queue_capacity"));
                if sent.now > 0 || lost.now > 0 || size > 0 {
                    let title = format!("{} {}", component.id, signal.name());
                    let mut row = self.row(title, &[sent, lost]);
                    let all = self.sum(component, "spanloom_exporter_queue_bytes", None).now;
                    row.push(bytes(all));
                    row.push(percent(size, capacity));
                    rows.push(row);
                }
            }
        }
        rows
    }

    /// What no table has: counters of rules, causes and reasons.
    fn rules(&self) -> Rows {
        let mut rows = vec![texts(&["count", "/s"])];
        for component in &self.now.graph.components {
            let mut done: Vec<(String, Pair)> = vec![];
            for series in component.series.iter().filter(|series| is_rule(series)) {
                let mut title = format!("{} {}", component.id, short(component, series));
                for (name, value) in &series.labels {
                    // Each pipeline would repeat the same lines.
                    if name != "pipeline" && name != "transport" {
                        let _ = write!(title, " {name}={value}");
                    }
                }
                let pair = Pair { now: series.value, before: self.before(component, series) };
                match done.iter_mut().find(|(known, _)| *known == title) {
                    Some((_, sum)) => *sum = sum.plus(pair),
                    None => done.push((title, pair)),
                }
            }
            rows.extend(done.into_iter().map(|(title, pair)| self.row(title, &[pair])));
        }
        rows
    }

    fn findings(&self, out: &mut String) {
        if self.now.findings.is_empty() {
            return;
        }
        let _ = writeln!(out, "\nfindings");
        for finding in self.now.findings.iter().take(FINDINGS) {
            let place = match finding.service.is_empty() {
                true => finding.span.clone(),
                false => format!("{}: {}", finding.service, finding.span),
            };
            let (time, signature) = (clock(finding.time), plain(&finding.signature));
            let trace = hex(&finding.trace_id);
            let _ = writeln!(out, "{time}  {signature:18} {trace}  {}", plain(&place));
        }
    }

    fn of(&self, class: &str) -> impl Iterator<Item = &Component> {
        self.now.graph.components.iter().filter(move |component| component.class == class)
    }

    /// The sum of all series of `component` with this name and label.
    fn sum(&self, component: &Component, name: &str, label: Option<(&str, &str)>) -> Pair {
        let has = |series: &&Series| {
            series.name == name
                && label.is_none_or(|(k, v)| series.labels.iter().any(|(a, b)| a == k && b == v))
        };
        let pair =
            |series: &Series| Pair { now: series.value, before: self.before(component, series) };
        component.series.iter().filter(has).map(pair).fold(Pair::default(), Pair::plus)
    }

    /// What `series` of `component` was before; 0 if it was not.
    fn before(&self, component: &Component, series: &Series) -> i64 {
        let is = |other: &&Component| other.class == component.class && other.id == component.id;
        let same = |other: &&Series| other.name == series.name && other.labels == series.labels;
        let then = self.before.and_then(|status| status.graph.components.iter().find(is));
        then.and_then(|then| then.series.iter().find(same)).map_or(0, |then| then.value)
    }

    /// A row of counts, each with its rate.
    fn row(&self, title: String, pairs: &[Pair]) -> Vec<String> {
        let mut row = vec![title];
        for pair in pairs {
            row.push(count(pair.now));
            row.push(self.rate(*pair));
        }
        row
    }

    fn rate(&self, pair: Pair) -> String {
        let Some(before) = self.before else { return "-".to_owned() };
        let time = Duration::from_nanos(self.now.time.saturating_sub(before.time)).as_secs_f64();
        let more = pair.now.saturating_sub(pair.before);
        if time > 0.0 { rate(more as f64 / time) } else { "-".to_owned() }
    }
}

impl Pair {
    fn plus(self, other: Pair) -> Pair {
        Pair {
            now: self.now.saturating_add(other.now),
            before: self.before.saturating_add(other.before),
        }
    }
}

/// What an exporter did not deliver: no room, given up, refused by the backend.
const LOST: [&str; 3] = [
    "otelcol_exporter_enqueue_failed",
    "otelcol_exporter_send_failed",
    "spanloom_exporter_rejected",
];

/// What the tables show already, by the beginnings of names.
const SHOWN: [&str; 5] = [
    "otelcol_exporter_sent_",
    "otelcol_processor_incoming_items",
    "otelcol_processor_outgoing_items",
    "otelcol_receiver_accepted_",
    "otelcol_receiver_refused_",
];

fn is_rule(series: &Series) -> bool {
    let shown = SHOWN.iter().chain(&LOST).any(|name| series.name.starts_with(name));
    series.kind == Kind::Counter && series.value > 0 && !shown
}

/// A metric's name without what stands in the names of all of its component.
fn short<'a>(component: &Component, series: &'a Series) -> &'a str {
    const STARTS: [&str; 4] =
        ["otelcol_processor_", "otelcol_receiver_", "otelcol_exporter_", "spanloom_"];
    let rest = STARTS.iter().find_map(|start| series.name.strip_prefix(start));
    let rest = rest.unwrap_or(&series.name);
    let own = rest.strip_prefix(component.kind.as_str()).and_then(|rest| rest.strip_prefix('_'));
    own.unwrap_or(rest)
}

/// How full a queue is; `-` without a bound.
fn percent(size: i64, capacity: i64) -> String {
    match capacity {
        0 => "-".to_owned(),
        _ => format!("{:.0} %", size as f64 * 100.0 / capacity as f64),
    }
}

/// Names that clients chose could rewrite the terminal: a space stands for each odd character.
fn plain(text: &str) -> String {
    let odd =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if odd(c) { ' ' } else { c }).collect()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Appends a table that has more than its head; `title` stands over the names.
fn table(out: &mut String, title: &str, rows: Rows) {
    let mut rows = rows.into_iter();
    let Some(head) = rows.next() else { return };
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        return;
    }
    let names = rows.iter().filter_map(|row| row.first()).map(|name| name.chars().count());
    let width = names.max().unwrap_or(0).max(NAME);
    out.push('\n');
    let mut line = |name: &str, cells: &[String]| {
        let _ = write!(out, "{:width$}", plain(name));
        for cell in cells {
            let _ = write!(out, " {cell:>CELL$}");
        }
        out.push('\n');
    };
    line(title, &head);
    for row in &rows {
        if let Some((name, cells)) = row.split_first() {
            line(name, cells);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Graph, Pipeline};
    use crate::telemetry::Finding;

    const SECOND: u64 = 1_000_000_000;

    fn series(name: &str, labels: &[(&str, &str)], kind: Kind, value: i64) -> Series {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Series { name: name.to_owned(), labels, kind, value }
    }

    fn counter(name: &str, labels: &[(&str, &str)], value: i64) -> Series {
        series(name, labels, Kind::Counter, value)
    }

    fn component(class: &str, id: &str, series: Vec<Series>) -> Component {
        let kind = id.to_owned();
        Component { class: class.to_owned(), id: id.to_owned(), kind, series }
    }

    /// A daemon that has seen `n` times a thousand spans, at second `n`.
    fn status(n: i64) -> Status {
        let traces = ("otel_signal", "traces");
        let receiver = vec![
            counter("otelcol_receiver_accepted_spans", &[("transport", "grpc")], 600 * n),
            counter("otelcol_receiver_accepted_spans", &[("transport", "http")], 400 * n),
            counter("otelcol_receiver_refused_spans", &[("transport", "http")], 0),
        ];
        let processor = vec![
            counter("otelcol_processor_incoming_items", &[traces], 1000 * n),
            counter("otelcol_processor_outgoing_items", &[traces], 900 * n),
            counter("spanloom_x_removed", &[("pipeline", "traces"), ("rule", "marked")], 10 * n),
            counter("spanloom_x_removed", &[("pipeline", "logs"), ("rule", "marked")], 10 * n),
            counter("spanloom_x_removed", &[("pipeline", "logs"), ("rule", "never")], 0),
        ];
        let queue = [("data_type", "traces")];
        let exporter = vec![
            counter("otelcol_exporter_sent_spans", &[], 800 * n),
            counter("otelcol_exporter_send_failed_spans", &[], 3 * n),
            counter("spanloom_exporter_rejected_spans", &[], 2 * n),
            series("otelcol_exporter_queue_size", &queue, Kind::Gauge, 1 << 20),
            series("otelcol_exporter_queue_capacity", &queue, Kind::Gauge, 4 << 20),
            series("spanloom_exporter_queue_bytes", &[], Kind::Gauge, 1 << 20),
        ];
        let texts = |text: &str| vec![text.to_owned()];
        Status {
            version: "1.0.0".to_owned(),
            started: SECOND,
            time: SECOND * (n as u64 + 1),
            ready: true,
            graph: Graph {
                pipelines: vec![Pipeline {
                    id: "traces".to_owned(),
                    signal: "traces".to_owned(),
                    receivers: texts("otlp"),
                    processors: texts("x"),
                    exporters: texts("debug"),
                }],
                components: vec![
                    component("receiver", "otlp", receiver),
                    component("processor", "x", processor),
                    component("exporter", "debug", exporter),
                ],
            },
            findings: vec![Finding {
                time: SECOND * 46_931,
                signature: "tool_call_root".to_owned(),
                service: "tools".to_owned(),
                span: "search\x1b[2J".to_owned(),
                trace_id: vec![0xab; 16],
                ..Finding::default()
            }],
            ..Status::default()
        }
    }

    /// The lines of a view, each with single spaces.
    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let squeeze = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = text.lines().map(squeeze).filter(|l| !l.is_empty()).collect();
        assert_eq!(lines, expected, "{text}");
    }

    #[test]
    fn a_view_shows_graph_rates_losses_queue_rules_and_findings() {
        check(
            &view(&status(10), Some(&status(8))),
            &[
                "spanloom 1.0.0 · ready · up 10s",
                "traces otlp → x → debug",
                "receiver accepted /s refused /s",
                "otlp traces 10,000 1,000 0 0",
                "processor in /s out /s",
                "x traces 10,000 1,000 9,000 900",
                "exporter sent /s lost /s queue full",
                "debug traces 8,000 800 50 5.0 1.0 MiB 25 %",
                "by rule count /s",
                "x removed rule=marked 200 20.0",
                "findings",
                "13:02:11 tool_call_root abababababababababababababababab tools: search [2J",
            ],
        );
    }

    #[test]
    fn without_a_status_before_there_are_no_rates_and_what_is_zero_is_left_out() {
        let mut quiet = status(0);
        quiet.findings.clear();
        quiet.graph.components.truncate(2);
        check(&view(&quiet, None), &["spanloom 1.0.0 · ready · up 0s", "traces otlp → x → debug"]);
        let text = view(&status(1), None);
        assert!(text.contains("1,000           -"), "{text}");
    }
}

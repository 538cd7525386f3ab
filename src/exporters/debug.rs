//! `debug`: prints what comes, each trace as a tree, to the standard output.
//!
//! Deliberately absent: files, sampling, and the Collector's dump of every value: content and
//! secrets are never shown, at no verbosity.

use super::keys::QUEUE_OFF_KEYS;
use super::mask::{shown_text, size};
use super::tree::{Options, pair, render, service};
use super::{Built, Exporter, Kind, Outcome, Payload, Sending, Setup};
use crate::batch::Signal;
use crate::config::catalog::{SIGNALS, no_check};
use crate::config::{Class, Component, Key, Section, World};
use crate::limits;
use crate::otlp::fields::log_record;
use crate::otlp::view::{Request, text};
use bytes::Bytes;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::sync::Arc;
use tokio::sync::Mutex;

pub const KIND: Kind = Kind {
    component: Component {
        class: Class::Exporter,
        name: "debug",
        aliases: &["logging"],
        about: "prints each trace as a tree, without content or secrets",
        sample: "verbosity: normal  # basic: one line per request; detailed: all attributes\n",
        signals: &SIGNALS,
        keys: KEYS,
        check: no_check,
    },
    build,
};

const VERBOSITIES: &[&str] = &["basic", "normal", "detailed"];

const KEYS: &[Key] = &[
    Key::choice("verbosity", VERBOSITIES, "normal", "how much of each request is printed"),
    Key::list_of_text("attributes", &[], "printed beside the usual ones when normal"),
    Key::object("sending_queue", QUEUE_OFF_KEYS, "what waits to be printed"),
    Key::ignored("sampling_initial", "every request is printed"),
    Key::ignored("sampling_thereafter", "every request is printed"),
    Key::ignored("use_internal_logger", "requests are printed, not logged"),
    Key::unsupported("output_paths", "requests are printed to the standard output; redirect it"),
];

fn build(section: &Section, _: &Setup<'_>) -> Built {
    let verbosity = section.text("verbosity");
    let plain = (World::system().env)("NO_COLOR").is_some_and(|value| !value.is_empty());
    let options = Options {
        detailed: verbosity == "detailed",
        colour: std::io::stdout().is_terminal() && !plain,
        notable: section.list("attributes").to_vec(),
        ..Options::default()
    };
    Ok(Arc::new(Debug { basic: verbosity == "basic", options, turn: Mutex::new(()) }))
}

/// The exporter.
struct Debug {
    basic: bool,
    options: Options,
    /// Requests are printed one after the other, in the order in which they came.
    turn: Mutex<()>,
}

impl Debug {
    fn print(&self, payload: &Payload) -> String {
        if self.basic {
            return basic(payload);
        }
        let requests = &payload.segments;
        match payload.signal {
            Signal::Traces => render(requests, &self.options),
            Signal::Logs => lines(requests, log_lines),
            Signal::Metrics => lines(requests, metric_lines),
        }
    }
}

impl Exporter for Debug {
    fn send(&self, payload: Payload) -> Sending<'_> {
        Box::pin(async move {
            let text = self.print(&payload);
            let _turn = self.turn.lock().await;
            // A terminal that is held, or a full pipe, must not hold the threads of the runtime.
            let print = move || {
                let mut out = std::io::stdout().lock();
                out.write_all(text.as_bytes()).and_then(|()| out.flush())
            };
            match tokio::task::spawn_blocking(print).await {
                Ok(Ok(())) => Outcome::Delivered { rejected: 0, message: String::new() },
                Ok(Err(e)) => {
                    Outcome::Refused { reason: format!("cannot print to standard output: {e}") }
                }
                Err(_) => Outcome::Refused { reason: "the runtime has ended".to_owned() },
            }
        })
    }

    fn target(&self) -> &str {
        "standard output"
    }
}

/// `traces: 12 spans, 3402 bytes`.
fn basic(payload: &Payload) -> String {
    let items = payload.signal.items().replace('_', " ");
    let (signal, count) = (payload.signal.name(), payload.items);
    format!("{signal}: {count} {items}, {} bytes\n", payload.size())
}

/// The lines of all requests, up to a limit.
fn lines(requests: &[Bytes], print: fn(Request<'_>, &mut Vec<String>)) -> String {
    let mut lines = vec![];
    requests.iter().for_each(|request| print(Request::new(request), &mut lines));
    let more = lines.len().saturating_sub(limits::TREE_SPANS);
    lines.truncate(limits::TREE_SPANS);
    let mut out = lines.concat();
    if more > 0 {
        let _ = writeln!(out, "… and {more} more");
    }
    out
}

/// `log [planner] INFO gen_ai.choice body [52 bytes]`.
fn log_lines(request: Request<'_>, lines: &mut Vec<String>) {
    for group in request.resource_groups() {
        let service = service(group.resource());
        for record in group.scope_groups().flat_map(|scope| scope.log_records()) {
            let mut line = format!("log [{service}]");
            for word in [record.severity_text(), record.event_name()] {
                if !word.is_empty() {
                    let _ = write!(line, " {}", shown_text(word));
                }
            }
            if let Some(body) = record.0.field(log_record::BODY) {
                let _ = write!(line, " body {}", size(body.bytes().len()));
            }
            for attribute in record.attributes() {
                let key = text(attribute.key);
                if key.starts_with("app.agent.") || matches!(key, "user.id" | "session.id") {
                    let _ = write!(line, " {}", pair(&attribute));
                }
            }
            line.push('\n');
            lines.push(line);
        }
    }
}

/// `metric [planner] gen_ai.client.token.usage`.
fn metric_lines(request: Request<'_>, lines: &mut Vec<String>) {
    for group in request.resource_groups() {
        let service = service(group.resource());
        for metric in group.scope_groups().flat_map(|scope| scope.item_fields()) {
            let name = metric.message().and_then(|m| m.field(1)).map(|f| f.bytes());
            let name = shown_text(name.unwrap_or_default());
            lines.push(format!("metric [{service}] {name}\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::text as notation;

    #[track_caller]
    fn check(signal: Signal, verbosity: &str, input: &str, expected: &str) {
        let segment = Bytes::from(notation::parse(input).expect("the notation"));
        let payload = Payload { signal, segments: vec![segment], items: 2 };
        let options = Options { detailed: verbosity == "detailed", ..Options::default() };
        let debug = Debug { basic: verbosity == "basic", options, turn: Mutex::new(()) };
        assert_eq!(debug.print(&payload), expected);
    }

    const LOGS: &str = "resource service.name=\"planner\"\n\
        log 1/a1 info \"the secret body\" event_name=\"gen_ai.choice\" user.id=\"alice\"\n\
        log 1/a1 \"x\" gen_ai.prompt=\"secret\"";

    #[test]
    fn a_log_record_is_a_line_without_its_body() {
        let expected = "log [planner] gen_ai.choice body [17 bytes] user.id=alice\n\
            log [planner] body [3 bytes]\n";
        check(Signal::Logs, "normal", LOGS, expected);
    }

    #[test]
    fn basic_is_one_line_per_request() {
        let bytes = notation::parse(LOGS).expect("the notation").len();
        let expected = format!("logs: 2 log records, {bytes} bytes\n");
        check(Signal::Logs, "basic", LOGS, &expected);
    }

    #[tokio::test]
    async fn printing_is_delivered() {
        let exporter = super::super::backend::exporter("debug", "verbosity: basic");
        let payload = Payload { signal: Signal::Traces, segments: vec![], items: 0 };
        let expected = Outcome::Delivered { rejected: 0, message: String::new() };
        assert_eq!(exporter.send(payload).await, expected);
    }

    #[test]
    fn the_queue_is_off_by_default() {
        let section = super::super::backend::section("debug", "{}");
        assert!(!section.section("sending_queue").bool("enabled"));
    }
}

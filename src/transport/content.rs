//! From the content of a record of a telemetry file to batches.
//!
//! A JSON record says by its keys which signals it holds; a protobuf one does not. It is taken for
//! the only signal that the reader takes, or for the only one that it can be.

use super::compress::{Encoding, inflate, inflated_size};
use super::record::ZSTD;
use crate::batch::{Batch, Signal};
use crate::limits;
use crate::moment::Moment;
use crate::otlp::json::from_json;
use bytes::Bytes;
use regex::bytes::Regex;
use std::sync::LazyLock;

/// The keys of the three signals, wherever they stand. One that stands in a text does no harm: as
/// a request of its signal the record is empty then.
static KEYS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("\"resource(Spans|Logs|Metrics)\"").ok());

const NO_KEY: &str = "has none of resourceSpans, resourceLogs and resourceMetrics";

/// Bytes that `content` will probably take, for room to be found beforehand.
pub fn size(content: &Bytes) -> usize {
    match content.starts_with(&ZSTD) {
        true => inflated_size(Encoding::Zstd, content, limits::REQUEST_BYTES),
        false => content.len(),
    }
}

/// The batches in a record, none of them empty. The reader takes `wanted` signals; a JSON record
/// may hold others too. The error says what is wrong with the record.
pub fn open(content: &Bytes, wanted: &[Signal], now: Moment) -> Result<Vec<Batch>, String> {
    let content = match content.starts_with(&ZSTD) {
        true => inflate(Encoding::Zstd, content, limits::REQUEST_BYTES)
            .map_err(|error| error.to_string())?,
        false => content.clone(),
    };
    let mut batches = match content.iter().find(|c| !c.is_ascii_whitespace()) {
        Some(b'{') => json(&content, now)?,
        _ => protobuf(&content, wanted, now)?,
    };
    batches.retain(|batch| batch.items() > 0);
    Ok(batches)
}

/// Whether `line` is a whole request.
pub fn is_whole(line: &Bytes) -> bool {
    line.trim_ascii_start().starts_with(b"{") && open(line, &Signal::ALL, Moment::default()).is_ok()
}

/// The signals that the keys of a JSON record name.
fn signals(json: &[u8]) -> Vec<Signal> {
    let mut found = vec![];
    for captured in KEYS.iter().flat_map(|keys| keys.captures_iter(json)) {
        let signal = match captured.get(1).map(|word| word.as_bytes()) {
            Some(b"Spans") => Signal::Traces,
            Some(b"Logs") => Signal::Logs,
            _ => Signal::Metrics,
        };
        if !found.contains(&signal) {
            found.push(signal);
        }
    }
    found
}

fn json(content: &[u8], now: Moment) -> Result<Vec<Batch>, String> {
    let read = |signal: Signal| {
        let bytes = from_json(signal.message(), content, &limits::REQUEST);
        bytes.map_err(|error| error.to_string())
    };
    let signals = signals(content);
    if signals.is_empty() {
        // That it is no JSON at all would be the better answer.
        read(Signal::Traces)?;
        return Err(NO_KEY.to_owned());
    }
    signals.into_iter().map(|signal| parse(signal, Bytes::from(read(signal)?), now)).collect()
}

fn protobuf(content: &Bytes, wanted: &[Signal], now: Moment) -> Result<Vec<Batch>, String> {
    if let [signal] = wanted {
        return Ok(vec![parse(*signal, content.clone(), now)?]);
    }
    let parsed = wanted.iter().map(|signal| parse(*signal, content.clone(), now));
    let (mut fitting, mut wrong) = (vec![], None);
    for parsed in parsed {
        match parsed {
            Ok(batch) => fitting.push(batch),
            Err(error) => wrong = wrong.or(Some(error)),
        }
    }
    if fitting.is_empty() {
        return Err(wrong.unwrap_or_default());
    }
    fitting.retain(|batch| batch.items() > 0);
    match fitting.len() {
        0 | 1 => Ok(fitting),
        _ => {
            let names: Vec<_> = fitting.iter().map(|batch| batch.signal().name()).collect();
            let names = names.join(" or ");
            Err(format!("may be {names}; read protobuf of each signal with a receiver of its own"))
        }
    }
}

fn parse(signal: Signal, bytes: Bytes, now: Moment) -> Result<Batch, String> {
    Batch::parse(signal, bytes, now).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::json::to_json;
    use crate::otlp::text;
    use crate::otlp::wire::{put_bytes_field, put_message_field};
    use crate::transport::compress::deflate;
    use Signal::{Logs, Metrics, Traces};

    fn metric(out: &mut Vec<u8>) {
        put_bytes_field(out, 1, b"the name of it");
        put_message_field(out, 7, |out| put_bytes_field(out, 1, &[]));
    }

    fn request(signal: Signal) -> Bytes {
        if signal == Metrics {
            let mut out = vec![];
            put_message_field(&mut out, 1, |out| {
                put_message_field(out, 2, |out| put_message_field(out, 2, metric));
            });
            return out.into();
        }
        let item = if signal == Traces { "span 1/a1 \"x\"" } else { "log 1/a1 \"x\"" };
        text::parse(item).unwrap().into()
    }

    #[track_caller]
    fn check(content: &[u8], wanted: &[Signal], expected: Result<&[Signal], &str>) {
        let found = open(&Bytes::copy_from_slice(content), wanted, Moment::default());
        let printed = String::from_utf8_lossy(content);
        match (found, expected) {
            (Ok(batches), Ok(expected)) => {
                let found: Vec<Signal> = batches.iter().map(Batch::signal).collect();
                assert_eq!(found, expected, "{printed}");
                for batch in batches {
                    let print = |bytes| text::print(batch.signal().message(), bytes);
                    assert_eq!(print(batch.bytes()), print(&request(batch.signal())), "{printed}");
                }
            }
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{printed}: {error}"),
            (found, _) => panic!("{printed}: {:?}", found.map(|batches| batches.len())),
        }
    }

    #[test]
    fn json_says_what_it_is() {
        for signal in Signal::ALL {
            let json = to_json(signal.message(), &request(signal));
            check(&json, &Signal::ALL, Ok(&[signal]));
            check(&json, &[signal], Ok(&[signal]));
            check(&json, &[Logs], Ok(&[signal]));
            let zstd = deflate(Encoding::Zstd, &[json.into()]);
            check(&zstd, &Signal::ALL, Ok(&[signal]));
        }
        check(b" {\"resourceSpans\":[]}\r", &Signal::ALL, Ok(&[]));
        check(b"{}", &Signal::ALL, Err(NO_KEY));
        check(b"{\"resourceSpans\":[{]}", &Signal::ALL, Err("not valid OTLP/JSON"));
        check(b"{\"resourceSpans\":7}", &[Logs], Err("not valid OTLP/JSON"));
        check(b"{", &Signal::ALL, Err("not valid OTLP/JSON"));
    }

    #[test]
    fn protobuf_is_what_it_can_be() {
        for signal in Signal::ALL {
            check(&request(signal), &[signal], Ok(&[signal]));
            check(&deflate(Encoding::Zstd, &[request(signal)]), &[signal], Ok(&[signal]));
        }
        check(&request(Traces), &[Traces, Logs], Ok(&[Traces]));
        check(&request(Logs), &Signal::ALL, Ok(&[Logs]));
        check(&request(Logs), &[Traces], Err(""));
        check(b"", &Signal::ALL, Ok(&[]));
        check(b"text", &Signal::ALL, Err(""));
        check(&[&ZSTD[..], b"x"].concat(), &Signal::ALL, Err("not valid zstd"));
        let mut both = vec![];
        put_message_field(&mut both, 1, |out| {
            put_message_field(out, 2, |out| put_message_field(out, 2, |_| {}));
        });
        check(&both, &[Traces, Logs], Err("may be traces or logs"));
        let both = Bytes::from(both);
        assert_eq!(open(&both, &[Traces, Metrics], Moment::default()).unwrap().len(), 1);
    }
}

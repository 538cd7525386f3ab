//! Files of traces, whatever their format, to batches.
//!
//! The format is found by the content: OTLP/JSON and Jaeger's JSON, one value in the file or many
//! (a line each, as the `file` exporter writes them), OTLP protobuf, one request or many with their
//! lengths in front; each whole or its records compressed with zstd, or the whole with gzip.

use super::jaeger;
use crate::batch::{Batch, Signal};
use crate::limits;
use crate::moment::Moment;
use crate::otlp::json::from_json;
use crate::transport::compress::{Encoding, Inflate, inflate};
use crate::transport::content::open;
use crate::transport::record::{Form, PREFIX, ZSTD, frame_length};
use bytes::{Buf, Bytes};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::io::Read;

/// What is said of JSON that is of no trace.
const NEITHER: &str =
    "neither a request in OTLP/JSON (`resourceSpans`) nor an answer of Jaeger (`data`)";

/// What is said of everything else.
const UNKNOWN: &str = ": neither OTLP (JSON or protobuf) nor an answer of Jaeger; a spanloom or a \
                       Collector with the exporter `file` writes such files";

/// What gzip begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The batches of traces in the file `name`, or `-` for the standard input. The error is a
/// sentence that names the file and the place in it.
pub fn read(name: &str) -> Result<Vec<Batch>, String> {
    let mut content = vec![];
    let read = match name {
        "-" => std::io::stdin().lock().read_to_end(&mut content).map(|_| ()),
        _ => std::fs::read(name).map(|bytes| content = bytes),
    };
    let shown = if name == "-" { "the standard input" } else { name };
    read.map_err(|error| format!("cannot read {shown}: {error}"))?;
    batches(Bytes::from(content)).map_err(|error| format!("{shown}{error}"))
}

/// The batches in `content`. An error goes on from the name of what holds it.
fn batches(content: Bytes) -> Result<Vec<Batch>, String> {
    let content = unpacked(content)?;
    if content.iter().all(u8::is_ascii_whitespace) {
        return Err(" is empty".to_owned());
    }
    // A request in protobuf begins with a byte that may begin a text too.
    if let Ok(batch) = parse(content.clone())
        && batch.items() > 0
    {
        return Ok(vec![batch]);
    }
    let mut batches = match content.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{' | b'[') => values(&content)?,
        _ => frames(content)?,
    };
    batches.retain(|batch| batch.signal() == Signal::Traces && batch.items() > 0);
    match batches.is_empty() {
        true => Err(" holds no spans".to_owned()),
        false => Ok(batches),
    }
}

/// `content` without a compression of the whole.
fn unpacked(content: Bytes) -> Result<Bytes, String> {
    let encoding = match content.get(..2) {
        Some(start) if start == GZIP => Encoding::Gzip,
        _ if content.starts_with(&ZSTD) => Encoding::Zstd,
        _ => return Ok(content),
    };
    inflate(encoding, &content, limits::DIAGNOSE_BYTES).map_err(|error| match error {
        Inflate::Broken { encoding } => format!(" begins as {encoding}, and is cut off or damaged"),
        Inflate::TooLarge { limit } => {
            format!(" is larger than {} MiB without its compression", limit >> 20)
        }
    })
}

/// The values of JSON that stand one behind the other.
fn values(content: &Bytes) -> Result<Vec<Batch>, String> {
    let mut batches = vec![];
    let mut stream = serde_json::Deserializer::from_slice(content).into_iter::<Keys>();
    let mut from = 0;
    while let Some(found) = stream.next() {
        let at = |error: String| format!(":{}: {error}", line_of(content, from));
        match found {
            Ok(keys) => {
                let value = content.slice(from..stream.byte_offset());
                batches.extend(value_batches(&value, &keys).map_err(at)?);
            }
            // What a process was writing when the file was copied.
            Err(error) if error.is_eof() && !batches.is_empty() => {
                eprintln!("spanloom: the last record ends in the middle and is left out");
                break;
            }
            Err(error) if error.is_eof() => {
                return Err(at("the file ends in the middle of it: copy it whole".to_owned()));
            }
            Err(error) if error.is_data() => return Err(at(NEITHER.to_owned())),
            Err(error) => return Err(at(format!("not valid JSON: {error}"))),
        }
        from = stream.byte_offset();
    }
    Ok(batches)
}

/// The line of the first value from the byte at `from` on.
fn line_of(content: &[u8], from: usize) -> usize {
    let (before, rest) = content.split_at_checked(from).unwrap_or((content, &[]));
    let space = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
    1 + before.iter().chain(space).filter(|byte| **byte == b'\n').count()
}

/// The keys of a value that is an object.
struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Keys, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Keys;
            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("an object: a request in OTLP/JSON or an answer of Jaeger")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = vec![];
                while let Some((key, _)) = map.next_entry::<String, IgnoredAny>()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

fn value_batches(value: &Bytes, keys: &Keys) -> Result<Vec<Batch>, String> {
    let has = |key: &str| keys.0.iter().any(|other| other == key);
    if ["resourceSpans", "resourceLogs", "resourceMetrics"].iter().any(|key| has(key)) {
        return open(value, &Signal::ALL, Moment::default());
    }
    if !has("data") && !has("spans") {
        return Err(NEITHER.to_owned());
    }
    let document = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    let otlp = jaeger::to_otlp(&document)?.to_string();
    let bytes = from_json(Signal::Traces.message(), otlp.as_bytes(), &limits::REQUEST);
    Ok(vec![parse(Bytes::from(bytes.map_err(|error| error.to_string())?))?])
}

/// The messages of a file in which each has its length in front.
fn frames(mut content: Bytes) -> Result<Vec<Batch>, String> {
    let first = content.first().copied().unwrap_or_default();
    if Form::of(first) != Form::Frames {
        return Err(UNKNOWN.to_owned());
    }
    let mut batches = vec![];
    for number in 1.. {
        let Some(prefix) = content.first_chunk::<PREFIX>() else { break };
        let at = |error: &str| format!(", message {number}: {error}");
        let length = frame_length(*prefix).ok_or_else(|| at("longer than any may be"))?;
        if content.len() < PREFIX + length {
            eprintln!("spanloom: the last record ends in the middle and is left out");
            break;
        }
        content.advance(PREFIX);
        let record = content.split_to(length);
        let opened = open(&record, &[Signal::Traces], Moment::default());
        batches.extend(opened.map_err(|error| at(&error))?);
    }
    Ok(batches)
}

fn parse(bytes: Bytes) -> Result<Batch, String> {
    let batch = Batch::parse(Signal::Traces, bytes, Moment::default());
    batch.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::json::to_json;
    use crate::otlp::text;
    use crate::transport::compress::deflate;
    use proptest::prelude::*;

    fn request(text: &str) -> Bytes {
        text::parse(text).unwrap().into()
    }

    fn json(text: &str) -> Vec<u8> {
        to_json(Signal::Traces.message(), &request(text))
    }

    /// Asserts how many spans each batch of `content` has, or what is said of it.
    #[track_caller]
    fn check(content: &[u8], expected: Result<&[usize], &str>) {
        let found = batches(Bytes::copy_from_slice(content));
        let found = found.map(|batches| batches.iter().map(Batch::items).collect::<Vec<_>>());
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (found, _) => panic!("{found:?} for {}", String::from_utf8_lossy(content)),
        }
    }

    const ONE: &str = "span 1/a1 \"x\"";
    const TWO: &str = "span 1/a1 \"x\"\nspan 1/a2 \"y\"";

    #[test]
    fn the_format_is_found_by_the_content() {
        let jaeger = br#"{"data": [{"traceID": "1", "spans": [{"traceID": "1", "spanID": "2",
            "operationName": "x", "startTime": 1, "duration": 1}], "processes": {}}]}"#;
        let log = to_json(Signal::Logs.message(), &request("log 1/a1 \"x\""));
        let frame = |bytes: &[u8]| Form::Frames.record(bytes.to_vec());
        let zstd = |bytes: Bytes| deflate(Encoding::Zstd, &[bytes]);
        let pretty: serde_json::Value = serde_json::from_slice(&json(TWO)).unwrap();
        let pretty = format!("\n{pretty:#}\n");
        let cases: &[(Vec<u8>, &[usize])] = &[
            (request(TWO).to_vec(), &[2]),
            (json(TWO), &[2]),
            (pretty.into_bytes(), &[2]),
            ([json(ONE), b"\n".into(), log, b"\n\n".into(), json(TWO)].concat(), &[1, 2]),
            ([json(ONE), json(TWO)].concat(), &[1, 2]),
            ([json(TWO), b"\n{\"resourceSp".into()].concat(), &[2]),
            ([frame(&request(ONE)), frame(&request(TWO))].concat(), &[1, 2]),
            ([frame(&request(ONE)), vec![0, 0, 0, 9, 1]].concat(), &[1]),
            (frame(&zstd(request(TWO))), &[2]),
            (frame(&zstd(json(TWO).into())), &[2]),
            (zstd(json(TWO).into()).to_vec(), &[2]),
            (deflate(Encoding::Gzip, &[request(TWO)]).to_vec(), &[2]),
            (jaeger.to_vec(), &[1]),
        ];
        for (content, expected) in cases {
            check(content, Ok(expected));
        }
        // A request whose first group is as long as an opening brace is large.
        let long = request(&format!("span 1/a1 {:?}", "x".repeat(89)));
        assert_eq!(&long[..2], b"\n{");
        check(&long, Ok(&[1]));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let lines = |last: &str| [json(ONE), b"\n\n".into(), last.into()].concat();
        check(b"", Err(" is empty"));
        check(b" \n", Err(" is empty"));
        check(b"hello", Err(": neither OTLP (JSON or protobuf) nor an answer of Jaeger"));
        check(b"[1]", Err(":1: neither a request"));
        check(b"{", Err(":1: the file ends in the middle"));
        check(b"{]", Err(":1: not valid JSON"));
        check(b"{\"data\": []}", Err(" holds no spans"));
        check(
            br#"{"data": null, "errors": [{"code": 404, "msg": "trace not found"}]}"#,
            Err(":1: Jaeger has no traces there: trace not found"),
        );
        check(&lines("{}"), Err(":3: neither a request"));
        check(&lines("{\"resourceSpans\": 7}"), Err(":3: not valid OTLP/JSON"));
        check(&lines("{\"data\": 7}"), Err(":3: `data` is no list"));
        check(b"{\"resourceLogs\": []}", Err(" holds no spans"));
        let frames = [Form::Frames.record(request(ONE).to_vec()), vec![0, 0, 0, 1, 7]].concat();
        check(&frames, Err(", message 2: "));
        check(&[7, 0, 0, 0, 0], Err(", message 1: longer than any may be"));
        check(&[&GZIP[..], b"x"].concat(), Err(" begins as gzip, and is cut off or damaged"));
    }

    proptest! {
        #[test]
        fn whatever_stands_in_a_file_is_read_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            cut in any::<proptest::sample::Index>(),
        ) {
            let _ = batches(Bytes::from(bytes.clone()));
            let whole = [json(TWO), Form::Frames.record(request(TWO).to_vec()), bytes].concat();
            let _ = batches(Bytes::from(whole[cut.index(whole.len())..].to_vec()));
        }
    }
}

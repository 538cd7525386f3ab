//! The room of the bytes against prost, on generated requests.

mod edits;
mod forms;
mod protos;
mod source;
mod views;
mod wild;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, KeyValueList};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;
use source::Source;
use spanloom::batch::{Batch, Signal};
use spanloom::limits;
use spanloom::moment::Moment;
use spanloom::otlp::check::{Bounds, check};
use spanloom::otlp::join::{HEADER_SHARE, join, split};
use spanloom::otlp::json::{from_json, to_json};
use spanloom::otlp::merge::merge;
use spanloom::otlp::partition::partition;
use spanloom::otlp::text;
use spanloom::otlp::wire::{Message, put_bytes_field};
use wild::{REPEATS, TAME, UNKNOWN, Wild, mutate, rewrite, unknown};

const BOUNDS: Bounds = Bounds { items: 10_000, elements: 100_000, value_nesting: 32 };

/// Requests per property; `PROPTEST_CASES` overrides it.
const CASES: u32 = 1200;

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(CASES),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Bytes that a failure shows on one line.
#[derive(Clone)]
struct Random(Vec<u8>);

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn random_bytes() -> impl Strategy<Value = Random> {
    vec(any::<u8>(), 0..3000).prop_map(Random)
}

/// A request of some signal, as wild as asked for.
fn request(source: &mut Source<'_>, wild: Wild) -> (Signal, Vec<u8>) {
    let (signal, bytes) = match source.below(4) {
        0 | 1 => (Signal::Traces, source.traces().encode_to_vec()),
        2 => (Signal::Logs, source.logs().encode_to_vec()),
        _ => (Signal::Metrics, source.metrics().encode_to_vec()),
    };
    (signal, rewrite(source, signal.message(), &bytes, wild))
}

/// What `bytes` mean to prost, as its own bytes, which are equal for NaNs too.
fn meaning(signal: Signal, bytes: &[u8]) -> Result<Vec<u8>, prost::DecodeError> {
    Ok(match signal {
        Signal::Traces => ExportTraceServiceRequest::decode(bytes)?.encode_to_vec(),
        Signal::Logs => ExportLogsServiceRequest::decode(bytes)?.encode_to_vec(),
        Signal::Metrics => ExportMetricsServiceRequest::decode(bytes)?.encode_to_vec(),
    })
}

/// Attributes without a value are given an empty one, and what views do not show is removed.
fn settle_traces(request: &mut ExportTraceServiceRequest) {
    for group in &mut request.resource_spans {
        group.resource.iter_mut().for_each(|r| r.entity_refs.clear());
        group.resource.iter_mut().for_each(|r| settle(&mut r.attributes));
        for group in &mut group.scope_spans {
            group.scope.iter_mut().for_each(|s| settle(&mut s.attributes));
            for span in &mut group.spans {
                settle(&mut span.attributes);
                span.events.iter_mut().for_each(|e| settle(&mut e.attributes));
                span.links.iter_mut().for_each(|l| settle(&mut l.attributes));
            }
        }
    }
}

fn settle_logs(request: &mut ExportLogsServiceRequest) {
    for group in &mut request.resource_logs {
        group.resource.iter_mut().for_each(|r| r.entity_refs.clear());
        group.resource.iter_mut().for_each(|r| settle(&mut r.attributes));
        for group in &mut group.scope_logs {
            group.scope.iter_mut().for_each(|s| settle(&mut s.attributes));
            for log in &mut group.log_records {
                settle(&mut log.attributes);
                log.body.iter_mut().for_each(settle_value);
            }
        }
    }
}

fn settle(attributes: &mut [KeyValue]) {
    attributes.iter_mut().for_each(|a| settle_value(a.value.get_or_insert_default()));
}

fn settle_value(value: &mut AnyValue) {
    match &mut value.value {
        Some(Value::ArrayValue(array)) => array.values.iter_mut().for_each(settle_value),
        Some(Value::KvlistValue(list)) => settle(&mut list.values),
        _ => {}
    }
}

/// Every item with what stands around it: the fields of its groups besides their children.
fn items(bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> {
    let header = |message: Message<'_>| {
        let fields = message.fields().filter(|f| f.number != 2);
        fields.flat_map(|f| bytes[f.at..f.end].to_vec()).collect::<Vec<u8>>()
    };
    let mut items = vec![];
    for group in Message::root(bytes).messages(1) {
        for scope_group in group.messages(2) {
            for item in scope_group.messages(2) {
                items.push((header(group), header(scope_group), item.bytes.to_vec()));
            }
        }
    }
    items
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_nobody_edits_stays_the_same_bytes(random in random_bytes()) {
        let (signal, bytes) = request(&mut Source::new(&random.0), UNKNOWN);
        let bytes = Bytes::from(bytes);
        let batch = Batch::parse(signal, bytes.clone(), Moment::default()).unwrap();
        prop_assert_eq!(batch.bytes().as_ptr(), bytes.as_ptr());
        prop_assert_eq!(batch.bytes(), &bytes);
    }

    #[test]
    fn what_prost_writes_is_accepted(random in random_bytes()) {
        let (signal, bytes) = request(&mut Source::new(&random.0), TAME);
        let tally = check(signal.message(), &bytes, &BOUNDS).unwrap();
        let whole = split(signal.message(), &Bytes::from(bytes), usize::MAX);
        prop_assert_eq!(tally.items, whole[0].items);
        prop_assert!(!tally.repeated_singular);
    }

    #[test]
    fn the_check_judges_mutated_bytes_as_prost_does(
        random in random_bytes(),
        more in random_bytes(),
    ) {
        let (signal, mut bytes) = request(&mut Source::new(&random.0), UNKNOWN);
        mutate(&mut Source::new(&more.0), &mut bytes);
        let (ours, theirs) = (check(signal.message(), &bytes, &BOUNDS), meaning(signal, &bytes));
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?} {:?}", ours, theirs);
    }

    #[test]
    fn merging_keeps_the_meaning_and_unknown_fields(random in random_bytes()) {
        let (signal, bytes) = request(&mut Source::new(&random.0), REPEATS);
        let merged = merge(signal.message(), &bytes);
        let tally = check(signal.message(), &merged, &BOUNDS).unwrap();
        prop_assert!(!tally.repeated_singular);
        prop_assert_eq!(meaning(signal, &merged).unwrap(), meaning(signal, &bytes).unwrap());
        if !check(signal.message(), &bytes, &BOUNDS).unwrap().repeated_singular {
            let unknown = |bytes| unknown(signal.message(), bytes);
            prop_assert_eq!(unknown(&merged), unknown(&bytes));
        }
    }

    #[test]
    fn views_see_what_prost_sees(random in random_bytes()) {
        let (signal, bytes) = request(&mut Source::new(&random.0), UNKNOWN);
        match signal {
            Signal::Traces => {
                let mut decoded = ExportTraceServiceRequest::decode(&*bytes).unwrap();
                settle_traces(&mut decoded);
                prop_assert_eq!(views::traces(&bytes).encode_to_vec(), decoded.encode_to_vec());
            }
            Signal::Logs => {
                let mut decoded = ExportLogsServiceRequest::decode(&*bytes).unwrap();
                settle_logs(&mut decoded);
                prop_assert_eq!(views::logs(&bytes).encode_to_vec(), decoded.encode_to_vec());
            }
            Signal::Metrics => {}
        }
    }

    #[test]
    fn the_text_notation_says_all_that_views_see(random in random_bytes()) {
        let (signal, bytes) = request(&mut Source::new(&random.0), UNKNOWN);
        let printed = text::print(signal.message(), &bytes);
        let parsed = text::parse(&printed).map_err(TestCaseError::fail)?;
        if signal != Signal::Metrics {
            check(signal.message(), &parsed, &BOUNDS).unwrap();
        }
        match signal {
            Signal::Traces => prop_assert_eq!(
                views::traces(&parsed).encode_to_vec(),
                views::traces(&bytes).encode_to_vec()
            ),
            Signal::Logs => prop_assert_eq!(
                views::logs(&parsed).encode_to_vec(),
                views::logs(&bytes).encode_to_vec()
            ),
            Signal::Metrics => {}
        }
    }

    #[test]
    fn json_keeps_the_meaning(random in random_bytes()) {
        let (signal, bytes) = request(&mut Source::new(&random.0), UNKNOWN);
        let json = to_json(signal.message(), &bytes);
        serde_json::from_slice::<serde_json::Value>(&json).unwrap();
        let back = from_json(signal.message(), &json, &BOUNDS).unwrap();
        let tally = check(signal.message(), &back, &BOUNDS).unwrap();
        prop_assert!(!tally.repeated_singular);
        prop_assert_eq!(tally.items, check(signal.message(), &bytes, &BOUNDS).unwrap().items);
        prop_assert_eq!(meaning(signal, &back).unwrap(), meaning(signal, &bytes).unwrap());
        let known = meaning(signal, &bytes).unwrap();
        prop_assert_eq!(to_json(signal.message(), &back), to_json(signal.message(), &known));
    }

    #[test]
    fn json_in_its_other_forms_means_the_same(random in random_bytes(), more in random_bytes()) {
        let (signal, bytes) = request(&mut Source::new(&random.0), TAME);
        let mut json = serde_json::from_slice(&to_json(signal.message(), &bytes)).unwrap();
        // serde_json rounds doubles by a bit, so both forms come from it.
        let plain = serde_json::to_vec(&json).unwrap();
        forms::change(&mut Source::new(&more.0), "", &mut json);
        let other = serde_json::to_vec_pretty(&json).unwrap();
        let [plain, other] = [plain, other].map(|json| {
            let bytes = from_json(signal.message(), &json, &BOUNDS).unwrap();
            meaning(signal, &bytes).unwrap()
        });
        prop_assert_eq!(plain, other);
    }

    #[test]
    fn json_is_what_serde_json_takes_for_json(
        random in random_bytes(),
        more in random_bytes(),
    ) {
        let mut json = vec![];
        put_json(&mut Source::new(&random.0), &mut json, 6);
        mutate(&mut Source::new(&more.0), &mut json);
        let json = [b"{\"x\":", &*json, b"}"].concat();
        let ours = from_json(Signal::Traces.message(), &json, &BOUNDS);
        let theirs = serde_json::from_slice::<serde_json::Value>(&json);
        // Under an unknown key a number is not converted, so its size does not matter.
        let range = theirs.as_ref().is_err_and(|e| e.to_string().contains("out of range"));
        prop_assert!(range || ours.is_ok() == theirs.is_ok(), "{:?} {:?}", ours, theirs);
    }

    #[test]
    fn mutated_json_is_refused_or_makes_a_good_request(
        random in random_bytes(),
        more in random_bytes(),
    ) {
        let (signal, bytes) = request(&mut Source::new(&random.0), TAME);
        let mut json = to_json(signal.message(), &bytes);
        mutate(&mut Source::new(&more.0), &mut json);
        if let Ok(bytes) = from_json(signal.message(), &json, &BOUNDS) {
            let tally = check(signal.message(), &bytes, &BOUNDS).unwrap();
            prop_assert!(!tally.repeated_singular);
        }
    }

    #[test]
    fn parts_joined_hold_every_item_once(random in random_bytes(), max in 1usize..3000) {
        let (signal, bytes) = request(&mut Source::new(&random.0), UNKNOWN);
        let parts = split(signal.message(), &Bytes::from(bytes.clone()), max);
        for part in &parts {
            let tally = check(signal.message(), &part.bytes, &BOUNDS).unwrap();
            prop_assert_eq!(tally.items, part.items);
            let items = items(&part.bytes);
            let alone = items.len() <= 1;
            let repeated = items.iter().map(|i| i.0.len() + i.1.len()).max().unwrap_or_default();
            prop_assert!(part.bytes.len() <= max || alone || repeated > max / HEADER_SHARE);
        }
        let joined = join(&parts.iter().map(|p| p.bytes.clone()).collect::<Vec<_>>());
        prop_assert_eq!(items(&joined), items(&bytes));
        prop_assert!(joined.len() <= 2 * bytes.len(), "{} of {}", joined.len(), bytes.len());
    }

    #[test]
    fn a_partition_holds_every_item_in_its_shard(random in random_bytes(), shards in 1usize..5) {
        let (signal, bytes) = request(&mut Source::new(&random.0), UNKNOWN);
        let bytes = Bytes::from(bytes);
        let shard_of = |item: &[u8]| item.len() % shards;
        let parts = partition(signal.message(), &bytes, |item| shard_of(item.bytes));
        let all = items(&bytes);
        let mut unknown_fields = 0;
        for (shard, part) in &parts {
            let expected: Vec<_> =
                all.iter().filter(|i| shard_of(&i.2) == *shard).cloned().collect();
            prop_assert_eq!(items(&part.bytes), expected);
            let tally = check(signal.message(), &part.bytes, &BOUNDS).unwrap();
            prop_assert_eq!(tally.items, part.items);
            unknown_fields += unknown(signal.message(), &part.bytes).len();
        }
        prop_assert_eq!(parts.iter().map(|(_, p)| items(&p.bytes).len()).sum::<usize>(), all.len());
        prop_assert!(unknown_fields >= unknown(signal.message(), &bytes).len());
    }

    #[test]
    fn edits_are_what_they_say_byte_for_byte(
        random in random_bytes(),
        more in random_bytes(),
    ) {
        let (signal, bytes) = request(&mut Source::new(&random.0), UNKNOWN);
        let mut choices = Source::new(&more.0);
        let (mut edits, expected) = edits::edit_anywhere(&mut choices, signal.message(), &bytes);
        let bytes = Bytes::from(bytes);
        let edited = edits.apply(&bytes);
        prop_assert_eq!(edited, expected);
        edits.clear();
        prop_assert_eq!(edits.apply(&bytes).as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn edits_mean_what_the_same_edits_of_structs_mean(
        random in random_bytes(),
        more in random_bytes(),
    ) {
        let mut source = Source::new(&random.0);
        let mut request = source.traces();
        let message = Signal::Traces.message();
        let bytes = Bytes::from(rewrite(&mut source, message, &request.encode_to_vec(), UNKNOWN));
        let mut edits = edits::edit_traces(&mut Source::new(&more.0), &bytes, &mut request);
        let batch = Batch::parse(Signal::Traces, bytes, Moment::default()).unwrap();
        let batch = batch.edited(&mut edits);
        let decoded = ExportTraceServiceRequest::decode(batch.bytes().clone()).unwrap();
        prop_assert_eq!(decoded.encode_to_vec(), request.encode_to_vec());
        let items = check(message, batch.bytes(), &BOUNDS).unwrap().items;
        prop_assert_eq!(batch.items(), items);
    }
}

/// A metric whose exemplar has an attribute of `levels` maps: the deepest place for a value.
fn deep(levels: usize) -> Vec<u8> {
    let mut value = AnyValue::default();
    for _ in 0..levels {
        let member = KeyValue { value: Some(value), ..Default::default() };
        let list = KeyValueList { values: vec![member] };
        value = AnyValue { value: Some(Value::KvlistValue(list)) };
    }
    let attribute = KeyValue { value: Some(value), ..Default::default() }.encode_to_vec();
    // Resource group, scope group, metric, gauge, data point, exemplar, attribute.
    [7, 5, 1, 5, 2, 2, 1].iter().fold(attribute, |body, number| {
        let mut out = vec![];
        put_bytes_field(&mut out, *number, &body);
        out
    })
}

#[test]
fn the_deepest_value_that_passes_is_one_that_prost_takes() {
    let message = Signal::Metrics.message();
    let deepest = deep(limits::VALUE_NESTING);
    check(message, &deepest, &limits::REQUEST).unwrap();
    meaning(Signal::Metrics, &deepest).unwrap();
    let json = to_json(message, &deepest);
    assert_eq!(from_json(message, &json, &limits::REQUEST).unwrap(), deepest);
    let deeper = deep(limits::VALUE_NESTING + 1);
    check(message, &deeper, &limits::REQUEST).unwrap_err();
    meaning(Signal::Metrics, &deeper).unwrap_err();
}

#[test]
fn the_check_refuses_what_is_broken_and_says_how() {
    let message = Signal::Traces.message();
    let group = |body: &[u8]| {
        let mut out = vec![];
        put_bytes_field(&mut out, 1, body);
        out
    };
    for (bytes, what) in [
        (vec![0x8a], "ExportTraceServiceRequest: a tag is cut off or too long at byte 0"),
        (vec![0x02, 0x00], "a field number is out of range at byte 0"),
        (vec![0x80, 0x80, 0x80, 0x80, 0x10], "a field number is out of range at byte 0"),
        (vec![0x0f], "an unknown wire type at byte 0"),
        (vec![0x0a, 0x80], "a length is cut off or too long at byte 0"),
        (vec![0x0a, 0x01], "a length points behind the end at byte 0"),
        (group(&[0x0a, 0x01]), "ResourceSpans: a length points behind the end at byte 2"),
        (group(&[0x98, 0x06, 0x80]), "a number is cut off or too long at byte 2"),
        (group(&[0x99, 0x06, 0x00]), "a value is cut off at byte 2"),
        (vec![0x9b, 0x06, 0x9c, 0x07], "a group is broken or nested too deeply at byte 0"),
        (vec![0x9c, 0x06], "a group ends that never began at byte 0"),
        (vec![0x08, 0x01], "field resourceSpans has the wrong wire type at byte 1"),
        (group(&[0x1a, 0x01, 0xff]), "ResourceSpans: a text is not UTF-8 at byte 4"),
    ] {
        let error = check(message, &bytes, &BOUNDS).unwrap_err().to_string();
        assert!(error.ends_with(what), "{bytes:x?}: {error}");
        assert!(meaning(Signal::Traces, &bytes).is_err(), "{bytes:x?}");
    }
    // A length that overflows when anything is added to it, in what is else a plain attribute.
    let huge = [[0x0a, 0x00, 0x12, 0x0b, 0x0a].as_slice(), &[0xff; 9], &[0x01]].concat();
    let nested = [9, 2, 2, 1].iter().fold(huge, |body, number| {
        let mut out = vec![];
        put_bytes_field(&mut out, *number, &body);
        out
    });
    let error = check(message, &nested, &BOUNDS).unwrap_err().to_string();
    assert!(error.contains("AnyValue: a length points behind the end"), "{error}");
    let few = Bounds { items: 1, elements: 4, value_nesting: 1 };
    let spans = |n| text::parse(&"span 1/1\n".repeat(n)).unwrap();
    check(message, &spans(1), &few).unwrap();
    let error = check(message, &spans(2), &few).unwrap_err();
    assert_eq!(error.to_string(), "too many items: a request may hold 1");
    assert!(error.is_too_large());
    let error = check(message, &text::parse("span 1/1 a=1").unwrap(), &few).unwrap_err();
    assert_eq!(error.to_string(), "too many elements: a request may hold 4");
    let error =
        check(message, &text::parse("span 1/1 a=[[]]").unwrap(), &Bounds { elements: 9, ..few });
    assert_eq!(error.unwrap_err().to_string(), "attribute values are nested deeper than 1 levels");
}

/// Appends a JSON value of any kind.
fn put_json(source: &mut Source<'_>, out: &mut Vec<u8>, depth: usize) {
    const WORDS: [&[u8]; 20] = [
        b"null",
        b"true",
        b"false",
        b"0",
        b"-0",
        b"1.5e+3",
        b"-12E-2",
        b"123456789012345678901234567890",
        b"\"\"",
        b"\"k\"",
        b"\"\\u00e9\\ud83d\\ude00\"",
        b"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        b"\"\xc3\xa9\"",
        b"[]",
        b"{}",
        b" [ ] ",
        b"\n{\t}\r",
        b"[1,2]",
        b"{\"a\":1}",
        b"\"\\ud800\"",
    ];
    match source.below(if depth > 0 { 28 } else { 20 }) {
        word @ 0..20 => out.extend_from_slice(WORDS[word]),
        20..24 => {
            out.push(b'[');
            for k in 0..=source.below(3) {
                out.extend_from_slice(if k == 0 { b"" } else { b" ," });
                put_json(source, out, depth - 1);
            }
            out.push(b']');
        }
        _ => {
            out.push(b'{');
            for k in 0..=source.below(3) {
                out.extend_from_slice(if k == 0 { b"" } else { b", " });
                out.extend_from_slice(b"\"k\" :");
                put_json(source, out, depth - 1);
            }
            out.push(b'}');
        }
    }
}

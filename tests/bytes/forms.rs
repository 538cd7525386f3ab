//! The same JSON in the other forms that OTLP allows.

use crate::source::Source;
use serde_json::{Value, json};

const INTEGERS: [&str; 9] = [
    "intValue",
    "asInt",
    "count",
    "zeroCount",
    "bucketCounts",
    "timeUnixNano",
    "startTimeUnixNano",
    "endTimeUnixNano",
    "observedTimeUnixNano",
];
const DOUBLES: [&str; 3] = ["doubleValue", "asDouble", "sum"];
const IDS: [&str; 3] = ["traceId", "spanId", "parentSpanId"];

/// Changes how `value`, the value of `key`, is written: integers as numbers, doubles as texts,
/// ids in capitals, bytes in the other alphabet, keys in another order with unknown ones between.
pub fn change(source: &mut Source<'_>, key: &str, value: &mut Value) {
    match value {
        Value::Object(members) => {
            let mut list: Vec<(String, Value)> = std::mem::take(members).into_iter().collect();
            list.iter_mut().for_each(|(key, value)| change(source, key, value));
            if source.once_in(4) {
                let unknown = json!({"key": [1, {"traceId": "zz"}], "é": null});
                let name = ["trace_id", "unknown", "", "Name"][source.below(4)];
                list.insert(source.below(list.len() + 1), (name.into(), unknown));
            }
            if source.once_in(2) {
                list.reverse();
            }
            members.extend(list);
        }
        Value::Array(values) => values.iter_mut().for_each(|value| change(source, key, value)),
        Value::String(text) if source.once_in(2) => {
            if INTEGERS.contains(&key) {
                let unsigned = text.parse::<u64>().map(Value::from);
                *value = unsigned.or(text.parse::<i64>().map(Value::from)).unwrap();
            } else if IDS.contains(&key) {
                text.make_ascii_uppercase();
            } else if key == "bytesValue" {
                *text = text.replace('+', "-").replace('/', "_").trim_end_matches('=').into();
            }
        }
        Value::Number(number) if DOUBLES.contains(&key) && source.once_in(2) => {
            *value = Value::String(number.to_string());
        }
        _ => {}
    }
}

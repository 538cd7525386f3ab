//! Jaeger's JSON, as its UI downloads and its API answers, to the bytes of an OTLP request.
//!
//! ```text
//! {"data": [{"traceID": …, "spans": [{"spanID": …, "references": […]}], "processes": {…}}]}
//! ```
//!
//! It goes by way of OTLP/JSON, whose reader checks ids, numbers and nesting. References become
//! what Jaeger's own translator makes of them: the first `CHILD_OF` of the same trace is the
//! parent, without one the first `FOLLOWS_FROM` of the same trace; all others are links.

use serde_json::{Map, Value, json};

/// Microseconds of Jaeger in nanoseconds of OTLP.
const MICRO: u64 = 1000;

/// The request in OTLP/JSON that says what `document` does, or what is wrong with it.
pub fn to_otlp(document: &Value) -> Result<Value, String> {
    let traces = match document.get("data") {
        Some(Value::Array(traces)) => traces.as_slice(),
        Some(Value::Null) => {
            let said = document.pointer("/errors/0/msg").and_then(Value::as_str);
            let said = said.unwrap_or("it does not say why");
            return Err(format!("Jaeger has no traces there: {said}"));
        }
        Some(_) => return Err("`data` is no list of traces".to_owned()),
        None => std::slice::from_ref(document),
    };
    let mut groups = vec![];
    for (k, trace) in traces.iter().enumerate() {
        let at = |error: String| format!("data[{k}]: {error}");
        let spans = trace.get("spans").and_then(Value::as_array);
        let spans = spans.ok_or_else(|| at("a trace of Jaeger has a list `spans`".to_owned()))?;
        for (n, span) in spans.iter().enumerate() {
            let group = group(trace, span).map_err(|error| at(format!("spans[{n}]: {error}")))?;
            groups.push(group);
        }
    }
    Ok(json!({ "resourceSpans": groups }))
}

/// A span with its process around it.
fn group(trace: &Value, span: &Value) -> Result<Value, String> {
    let id = span.get("processID").and_then(Value::as_str).unwrap_or_default();
    let process = trace.get("processes").and_then(|processes| processes.get(id));
    let process = process.or_else(|| span.get("process"));
    let mut resource = attributes(process.and_then(|process| process.get("tags")), &[]);
    if let Some(name) = process.and_then(|process| process.get("serviceName")) {
        resource.push(json!({ "key": "service.name", "value": { "stringValue": name } }));
    }
    let tags = span.get("tags");
    let scope = ["otel.scope.name", "otel.library.name"].iter().find_map(|key| tag(tags, key));
    let mut spans = json!({ "spans": [otlp_span(span)?] });
    if let (Some(name), Some(spans)) = (scope, spans.as_object_mut()) {
        spans.insert("scope".to_owned(), json!({ "name": name }));
    }
    Ok(json!({ "resource": { "attributes": resource }, "scopeSpans": [spans] }))
}

/// Tags that have a field of their own in OTLP.
const OWN: [&str; 7] = [
    "span.kind",
    "otel.status_code",
    "otel.status_description",
    "otel.scope.name",
    "otel.library.name",
    "w3c.tracestate",
    "internal.span.format",
];

fn otlp_span(span: &Value) -> Result<Value, String> {
    let (trace, id) = (hex(span, "traceID", 32)?, hex(span, "spanID", 16)?);
    let start = number(span, "startTime")?.saturating_mul(MICRO);
    let end = start.saturating_add(number(span, "duration")?.saturating_mul(MICRO));
    let (parent, links) = references(span, &trace)?;
    let tags = span.get("tags");
    let kinds = ["unspecified", "internal", "server", "client", "producer", "consumer"];
    let kind = tag(tags, "span.kind").and_then(|kind| kinds.iter().position(|name| *name == kind));
    let failed = tag(tags, "otel.status_code") == Some("ERROR") || has_failed(tags);
    let status = if failed { json!({ "code": 2 }) } else { Value::Null };
    let name = span.get("operationName").and_then(Value::as_str).unwrap_or_default();
    Ok(json!({
        "traceId": trace,
        "spanId": id,
        "parentSpanId": parent,
        "traceState": tag(tags, "w3c.tracestate").unwrap_or_default(),
        "name": name,
        "kind": kind.unwrap_or_default(),
        "startTimeUnixNano": start.to_string(),
        "endTimeUnixNano": end.to_string(),
        "attributes": attributes(tags, &OWN),
        "events": events(span),
        "links": links,
        "status": status,
    }))
}

/// The parent's id, empty for a root, and the links.
fn references(span: &Value, trace: &str) -> Result<(String, Vec<Value>), String> {
    let mut found = vec![];
    let references = span.get("references").and_then(Value::as_array);
    for reference in references.into_iter().flatten() {
        let child = reference.get("refType").and_then(Value::as_str) == Some("CHILD_OF");
        found.push((child, hex(reference, "traceID", 32)?, hex(reference, "spanID", 16)?));
    }
    let place =
        |wanted: bool| found.iter().position(|(child, of, _)| *child == wanted && of == trace);
    let parent = place(true).or_else(|| place(false));
    let parent = match parent.map(|at| found.remove(at)) {
        Some((_, _, id)) => id,
        // Jaeger before 1.8 wrote the parent so.
        None if span.get("parentSpanID").is_some() => hex(span, "parentSpanID", 16)?,
        None => String::new(),
    };
    let link = |(_, trace, id)| json!({ "traceId": trace, "spanId": id });
    Ok((parent, found.into_iter().map(link).collect()))
}

fn events(span: &Value) -> Vec<Value> {
    let logs = span.get("logs").and_then(Value::as_array);
    let event = |log: &Value| {
        let time = log.get("timestamp").and_then(Value::as_u64).unwrap_or_default();
        json!({
            "timeUnixNano": time.saturating_mul(MICRO).to_string(),
            "name": tag(log.get("fields"), "event").unwrap_or_default(),
            "attributes": attributes(log.get("fields"), &["event"]),
        })
    };
    logs.into_iter().flatten().map(event).collect()
}

/// The text of the tag `key`.
fn tag<'a>(tags: Option<&'a Value>, key: &str) -> Option<&'a str> {
    let tags = tags.and_then(Value::as_array)?;
    let tag = tags.iter().find(|tag| tag.get("key").and_then(Value::as_str) == Some(key))?;
    tag.get("value")?.as_str()
}

/// Whether the tag `error` is set, as text or as a truth value.
fn has_failed(tags: Option<&Value>) -> bool {
    let tags = tags.and_then(Value::as_array);
    tags.into_iter().flatten().any(|tag| {
        let value = tag.get("value");
        let is_true = value == Some(&Value::Bool(true)) || value == Some(&json!("true"));
        is_true && tag.get("key").and_then(Value::as_str) == Some("error")
    })
}

/// The tags as attributes, without those in `but`.
fn attributes(tags: Option<&Value>, but: &[&str]) -> Vec<Value> {
    let tags = tags.and_then(Value::as_array);
    let attribute = |tag: &Value| {
        let key = tag.get("key")?.as_str()?;
        let value = value(tag.get("type").and_then(Value::as_str), tag.get("value")?);
        (!but.contains(&key)).then(|| json!({ "key": key, "value": value }))
    };
    tags.into_iter().flatten().filter_map(attribute).collect()
}

/// A value by its type; what is not of the type that it says is text.
fn value(kind: Option<&str>, value: &Value) -> Value {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let (name, inner) = match (kind, value) {
        (Some("bool") | None, Value::Bool(_)) => ("boolValue", value.clone()),
        (Some("int64"), _) if text(value).parse::<i64>().is_ok() => {
            ("intValue", Value::String(text(value)))
        }
        (None, Value::Number(number)) if number.is_i64() => {
            ("intValue", Value::String(text(value)))
        }
        (Some("float64") | None, Value::Number(_)) => ("doubleValue", value.clone()),
        _ => ("stringValue", Value::String(text(value))),
    };
    let mut one = Map::new();
    one.insert(name.to_owned(), inner);
    Value::Object(one)
}

/// The id in `key`, with the zeros in front that Jaeger leaves out.
fn hex(holder: &Value, key: &str, digits: usize) -> Result<String, String> {
    let id = holder.get(key).and_then(Value::as_str).unwrap_or_default();
    let valid = !id.is_empty() && id.len() <= digits && id.bytes().all(|c| c.is_ascii_hexdigit());
    match valid {
        true => Ok(format!("{id:0>digits$}")),
        false => Err(format!("`{key}` is not an id of up to {digits} hexadecimal digits")),
    }
}

fn number(holder: &Value, key: &str) -> Result<u64, String> {
    let value = holder.get(key).and_then(Value::as_u64);
    value.ok_or_else(|| format!("`{key}` is not a number of microseconds"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use crate::otlp::json::from_json;
    use crate::otlp::{schema, text};

    #[track_caller]
    fn check(document: Value, expected: Result<&str, &str>) {
        let found = to_otlp(&document).map(|otlp| {
            let json = otlp.to_string();
            let bytes = from_json(&schema::TRACES, json.as_bytes(), &limits::REQUEST).unwrap();
            text::print(&schema::TRACES, &bytes)
        });
        assert_eq!(found.as_deref(), expected.map_err(str::to_owned).as_ref().map(|t| *t));
    }

    #[test]
    fn a_trace_of_jaeger_is_read() {
        let spans = json!([
            {
                "traceID": "a1", "spanID": "b1", "operationName": "ask", "startTime": 1,
                "duration": 5, "processID": "p1", "references": [],
                "tags": [
                    {"key": "span.kind", "type": "string", "value": "server"},
                    {"key": "n", "type": "int64", "value": 3},
                    {"key": "error", "type": "bool", "value": true},
                ],
                "logs": [{"timestamp": 2, "fields": [
                    {"key": "event", "type": "string", "value": "retry"},
                    {"key": "attempt", "type": "int64", "value": "2"},
                ]}],
            },
            {
                "traceID": "a1", "spanID": "b2", "operationName": "tool", "startTime": 2,
                "duration": 1, "processID": "p2",
                "references": [
                    {"refType": "FOLLOWS_FROM", "traceID": "c1", "spanID": "d1"},
                    {"refType": "CHILD_OF", "traceID": "a1", "spanID": "b1"},
                ],
            },
        ]);
        let processes = json!({
            "p1": {"serviceName": "web", "tags": []}, "p2": {"serviceName": "tools"},
        });
        let trace = json!({"traceID": "a1", "spans": spans, "processes": processes});
        let expected = "\
resource service.name=\"web\"
scope -
span a1/b1 \"ask\" kind=server unix:1000..unix:6000 status=error n=3 error=true
  event \"retry\" @unix:2000 attempt=2
resource service.name=\"tools\"
scope -
span a1/b2 parent=b1 \"tool\" unix:2000..unix:3000
  link c1/d1
";
        check(json!({"data": [trace.clone()], "total": 0}), Ok(expected));
        check(trace, Ok(expected));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        check(json!({"data": 7}), Err("`data` is no list of traces"));
        check(json!({"data": [{}]}), Err("data[0]: a trace of Jaeger has a list `spans`"));
        let id = "`traceID` is not an id of up to 32 hexadecimal digits";
        for span in [json!({}), json!({"traceID": "xyz"}), json!({"traceID": "1".repeat(33)})] {
            let expected = format!("data[0]: spans[0]: {id}");
            check(json!({"data": [{"spans": [span]}]}), Err(&expected));
        }
    }
}

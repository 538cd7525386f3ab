//! A tool's name and a hash of its arguments: what joins a tool to the model that asked for it
//! where no id does.
//!
//! The content is hashed under a key of the process's own and let go. JSON counts for what it says:
//! neither the order of members nor spaces nor whether it stands in a text of its own matter. A
//! call without arguments is like every other one, and has no hash.
//!
//! To read models' answers costs more than all else of a span, and mostly nobody asks. So after so
//! many answers that no torn tool asked for they are let pass unread, until one does.

use crate::limits;
use crate::otlp::view::{self, AnyValue};
use foldhash::fast::RandomState;
use serde_json::Value;
use std::hash::BuildHasher;

/// The names of a call's name and arguments in the messages of models.
const NAMES: [&str; 2] = ["name", "toolName"];
const ARGUMENTS: [&str; 3] = ["arguments", "args", "input"];

/// How far values may nest.
const DEPTH: usize = 32;

/// How many more answers are read before anybody asks.
#[derive(Debug)]
pub struct Appetite(u32);

impl Default for Appetite {
    fn default() -> Appetite {
        Appetite(limits::ORPHAN_ANSWERS)
    }
}

impl Appetite {
    pub fn is_there(&self) -> bool {
        self.0 > 0
    }

    /// Whether the next answer is to be read.
    pub fn eat(&mut self) -> bool {
        let hungry = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        hungry
    }

    /// Somebody asked.
    pub fn wake(&mut self) {
        *self = Appetite::default();
    }
}

/// The hash of a call of the tool `name` with `arguments`; 0 if there are none.
pub fn hash(hasher: &RandomState, name: &[u8], arguments: AnyValue<'_>) -> u64 {
    let value = match arguments {
        AnyValue::Text(text) => parse(text),
        AnyValue::Map(_) => value_of(arguments, DEPTH),
        _ => Value::Null,
    };
    hash_value(hasher, name, &value)
}

/// The hashes of the calls in a model's messages, up to `most`.
pub fn in_messages(hasher: &RandomState, messages: &[u8], most: usize) -> Vec<u64> {
    let mut found = vec![];
    if messages.len() > limits::ORPHAN_ARGUMENTS_BYTES {
        return found;
    }
    let may = ARGUMENTS.iter().any(|key| memchr::memmem::find(messages, key.as_bytes()).is_some());
    if may && let Ok(value) = serde_json::from_slice::<Value>(messages) {
        search(hasher, &value, most, &mut found);
    }
    found
}

fn search(hasher: &RandomState, value: &Value, most: usize, found: &mut Vec<u64>) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| search(hasher, one, most, found)),
        Value::Object(members) => {
            let name = NAMES.iter().find_map(|key| members.get(*key)?.as_str());
            let arguments = ARGUMENTS.iter().find_map(|key| members.get(*key));
            let call = name.zip(arguments);
            let hash = call.map_or(0, |(name, it)| hash_value(hasher, name.as_bytes(), it));
            if hash != 0 && found.len() < most {
                found.push(hash);
            }
            members.values().for_each(|one| search(hasher, one, most, found));
        }
        _ => {}
    }
}

fn hash_value(hasher: &RandomState, name: &[u8], arguments: &Value) -> u64 {
    let parsed;
    let arguments = match arguments {
        Value::String(text) => {
            parsed = parse(text.as_bytes());
            &parsed
        }
        other => other,
    };
    let empty = match arguments {
        Value::Null => true,
        Value::Object(members) => members.is_empty(),
        Value::Array(all) => all.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    if empty || name.is_empty() {
        return 0;
    }
    let mut text = vec![];
    put(&mut text, arguments);
    hasher.hash_one((name, text)).max(1)
}

/// What a text says, or the text itself if it is no JSON.
fn parse(text: &[u8]) -> Value {
    let text = text.get(..text.len().min(limits::ORPHAN_ARGUMENTS_BYTES)).unwrap_or_default();
    serde_json::from_slice(text).unwrap_or_else(|_| Value::String(view::text(text).to_owned()))
}

/// An attribute's value as JSON.
fn value_of(value: AnyValue<'_>, depth: usize) -> Value {
    match value {
        AnyValue::Text(text) => Value::String(view::text(text).to_owned()),
        AnyValue::Bool(it) => Value::Bool(it),
        AnyValue::Int(it) => it.into(),
        AnyValue::Double(it) => it.into(),
        AnyValue::Array(all) if depth > 0 => {
            view::values(all).map(|one| value_of(one, depth - 1)).collect()
        }
        AnyValue::Map(map) if depth > 0 => {
            let member = |one: view::Attribute<'_>| {
                (view::text(one.key).to_owned(), value_of(one.value, depth - 1))
            };
            Value::Object(view::members(map).map(member).collect())
        }
        _ => Value::Null,
    }
}

/// Appends what a value says in one way only.
fn put(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(b'n'),
        Value::Bool(it) => out.push(b'f' + u8::from(*it)),
        Value::Number(it) => {
            out.push(b'#');
            out.extend(it.as_f64().unwrap_or_default().to_bits().to_le_bytes());
        }
        Value::String(text) => put_text(out, text),
        Value::Array(all) => {
            out.push(b'[');
            all.iter().for_each(|one| put(out, one));
            out.push(b']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            out.push(b'{');
            for (key, one) in members {
                put_text(out, key);
                put(out, one);
            }
            out.push(b'}');
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Signal;
    use crate::otlp::text;
    use crate::processors::tests::{Bench, request};

    #[test]
    fn what_says_the_same_is_the_same_call() {
        let hasher = RandomState::default();
        let hash = |name: &str, json: &str| {
            hash(&hasher, name.as_bytes(), AnyValue::Text(json.as_bytes()))
        };
        let one = hash("search", r#"{"query":"tea","limit":5}"#);
        for same in [r#"{ "limit": 5.0, "query": "t\u0065a" }"#, r#"{"limit":5,"query":"tea"}"#] {
            assert_eq!(hash("search", same), one, "{same}");
        }
        for messages in [
            r#"[{"role":"assistant","parts":[{"type":"tool_call","id":"1","name":"search",
                "arguments":{"limit":5,"query":"tea"}}]}]"#,
            r#"[{"toolName":"search","args":"{\"query\":\"tea\",\"limit\":5}"}]"#,
            r#"[{"function":{"name":"search","arguments":"{\"query\":\"tea\",\"limit\":5}"}}]"#,
        ] {
            assert_eq!(in_messages(&hasher, messages.as_bytes(), 8), [one], "{messages}");
        }
        for other in [r#"{"query":"tea"}"#, r#"{"query":"tea","limit":"5"}"#, "tea", "[]x"] {
            assert_ne!(hash("search", other), one, "{other}");
        }
        assert_ne!(hash("find", r#"{"query":"tea","limit":5}"#), one);
        for empty in ["", "{}", "[]", "null", "\"\""] {
            assert_eq!(hash("search", empty), 0, "{empty}");
        }
        assert_eq!(in_messages(&hasher, b"[{\"name\":\"a\",\"arguments\":", 8), [0; 0]);
    }

    /// What is said of a tool, if these models asked for what they did before it ran.
    fn said(models: &[&str], tool: &str) -> String {
        let mut bench = Bench::new(Signal::Traces, "orphans", "{}");
        for (n, model) in (1..).zip(models) {
            bench.check_untouched(&format!(
                "span {n}/a1 \"agent\" 0..90ms\n\
                 span {n}/a2 parent=a1 \"chat\" 1ms..4ms gen_ai.operation.name=\"chat\" {model}"
            ));
        }
        let tool =
            format!("span 9/b1 \"t\" 5ms..9ms gen_ai.operation.name=\"execute_tool\" {tool}");
        assert!(bench.pass(request(&tool)).is_empty(), "it waits");
        let passed = bench.wake(16);
        text::print(Signal::Traces.message(), &passed[0])
    }

    #[test]
    fn a_tool_is_joined_to_the_model_that_asked_for_it_by_its_arguments() {
        let tea =
            r#"gen_ai.output.messages="[{\"name\":\"search\",\"arguments\":{\"q\":\"tea\"}}]""#;
        let jam = tea.replace("tea", "jam");
        let flat = "llm.output_messages.0.message.tool_calls.0.tool_call.function.name=\"search\" \
            llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments=\
            \"{\\\"q\\\":\\\"tea\\\"}\"";
        let with = r#"gen_ai.tool.name="search" gen_ai.tool.call.arguments="{ \"q\": \"tea\" }""#;
        for asked in [tea, flat] {
            let said = said(&[&jam, asked], with);
            for tag in [
                "status=\"resolved\"",
                "evidence=\"tool_arguments\"",
                "tier=2",
                "confidence=0.97",
                "parent.trace_id=\"00000000000000000000000000000002\"",
                "parent.span_id=\"00000000000000a1\"",
            ] {
                assert!(said.contains(tag), "{tag} in {said}");
            }
        }
        let two = said(&[tea, tea], with);
        assert!(two.contains("status=\"ambiguous\"") && two.contains("candidates=2"), "{two}");
        for nobody in [said(&[&jam], with), said(&[tea], "gen_ai.tool.name=\"search\"")] {
            assert!(nobody.contains("status=\"unresolved\""), "{nobody}");
        }
        let other = said(&[&format!("{tea} tenant.id=\"t\"")], with);
        assert!(other.contains("status=\"unresolved\""), "tenants are never joined: {other}");
    }

    #[test]
    fn answers_are_read_while_somebody_asks() {
        let mut appetite = Appetite::default();
        assert!((0..limits::ORPHAN_ANSWERS).all(|_| appetite.eat()));
        assert!(!appetite.eat() && !appetite.eat());
        appetite.wake();
        assert!(appetite.eat());
    }
}

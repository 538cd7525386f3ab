//! The ids of tool calls in messages that are taken out.
//!
//! By them the span of a tool that lost its context is joined to its run, and no dialect has them
//! elsewhere on the model's span. So of messages that go they stay: as `call_ids` on the span, and
//! for the inspectors behind ([`Item::call_ids`](crate::processors::inspect::Item)). Read is what
//! stands where the conventions put such an id, and looks like one; never what a model or a person
//! wrote, such as arguments.

use super::quick::passes_text;
use super::rules::Rules;
use crate::otlp::edit::Edits;
use crate::otlp::view;
use crate::otlp::write::put_texts_attribute;
use crate::processors::inspect::{Item, Part};
use smallvec::SmallVec;

/// Attributes with messages that have ids of calls.
const MESSAGES: [&[u8]; 2] = [b"gen_ai.output.messages", b"ai.response.toolCalls"];

/// Bytes of messages that are read, arrays and objects within each other, and ids that are kept.
const READ_MAX: usize = 64 << 10;
const DEPTH: usize = 16;
const IDS: usize = 16;

/// A list of messages, a message, its parts, and one of those.
const PART_DEPTH: usize = 4;

/// Lengths of an id.
const SHORTEST: usize = 8;
const LONGEST: usize = 64;

/// Lets the ids of calls stay that stand in the attributes `gone`; attributes of this item have the
/// field `number`.
pub fn keep(rules: &Rules, item: &mut Item<'_>, gone: &[Part], number: u32, edits: &mut Edits) {
    for part in gone {
        if !MESSAGES.contains(&item.key(*part)) {
            continue;
        }
        let attribute = view::Attribute::of(item.field(*part));
        let text = attribute.and_then(|attribute| attribute.value.as_text()).unwrap_or_default();
        item.call_ids.extend(ids(text).into_iter().filter(|id| passes_text(rules, id)));
    }
    if !item.call_ids.is_empty() {
        edits.append(item.message, |out| {
            let ids = item.call_ids.iter().map(|id| view::text(id));
            put_texts_attribute(out, number, rules.keys.call_ids.as_bytes(), ids);
        });
    }
}

/// An array or object that is open.
#[derive(Clone, Copy, Default)]
struct Open<'m> {
    is_array: bool,
    /// Whether it stands where a call does.
    may_be_call: bool,
    is_call: bool,
    /// The last key that was read in it; of an array that under which it stands.
    key: &'m [u8],
    id: Option<&'m [u8]>,
}

/// The ids of the calls in `messages`, JSON of `gen_ai.output.messages` or of the Vercel AI SDK.
fn ids(messages: &[u8]) -> SmallVec<[&[u8]; 4]> {
    let text = messages.get(..messages.len().min(READ_MAX)).unwrap_or_default();
    let (mut found, mut open) = (SmallVec::new(), SmallVec::<[Open<'_>; DEPTH]>::new());
    let mut at = 0;
    while let Some(sign) = text.get(at).copied().filter(|_| found.len() < IDS) {
        at += 1;
        match sign {
            b'"' => {
                let Some(word) = string(text.get(at..).unwrap_or_default()) else { break };
                at += word.len() + 1;
                let behind = text.get(at..).unwrap_or_default().trim_ascii_start();
                if let Some(open) = open.last_mut().filter(|open| !open.is_array) {
                    note(open, word, behind.first() == Some(&b':'));
                }
            }
            b'{' | b'[' if open.len() >= DEPTH => break,
            b'[' => {
                let key = open.last().map_or(&[][..], |open| open.key);
                open.push(Open { is_array: true, key, ..Open::default() });
            }
            b'{' => {
                let depth = open.len() + 1;
                let listed = open.last().is_some_and(|open| {
                    open.is_array && (open.key == b"parts" || open.key.is_empty())
                });
                let may_be_call = listed && depth <= PART_DEPTH;
                open.push(Open { may_be_call, ..Open::default() });
            }
            b'}' | b']' => {
                let call = open.pop().filter(|open| open.may_be_call && open.is_call);
                found.extend(call.and_then(|call| call.id).filter(|id| is_id(id)));
            }
            _ => {}
        }
    }
    found
}

/// A key or a value of an object.
fn note<'m>(open: &mut Open<'m>, word: &'m [u8], is_key: bool) {
    if is_key {
        open.key = word;
        return;
    }
    match open.key {
        b"type" => open.is_call |= word == b"tool_call",
        b"id" if open.id.is_none() => open.id = Some(word),
        b"toolCallId" => (open.is_call, open.id) = (true, Some(word)),
        _ => {}
    }
}

/// The string that begins here, without the quote at its end.
fn string(text: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text.get(at) == Some(&b'"') {
            return text.get(..at);
        }
        at += 2;
    }
}

fn is_id(text: &[u8]) -> bool {
    let sign = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (SHORTEST..=LONGEST).contains(&text.len())
        && text.iter().all(sign)
        && text.iter().any(u8::is_ascii_alphabetic)
        && text.iter().any(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::ids;

    #[track_caller]
    fn check(messages: &str, expected: &[&str]) {
        let found = ids(messages.as_bytes());
        let found: Vec<_> = found.iter().map(|id| std::str::from_utf8(id).unwrap()).collect();
        assert_eq!(found, expected, "{messages}");
    }

    #[test]
    fn ids_stand_where_the_conventions_put_them() {
        let arguments = r#"{"id":"call_00000001"}"#;
        let call = r#"{"type":"tool_call","id":"call_Zx81kQp0","name":"f","arguments":"#;
        let call = format!("{call}{arguments}}}");
        let text = r#"{"type":"text","content":"\"id\":\"call_99999999\"","id":"text_00000001"}"#;
        let parts = format!("[{text}, {call}]");
        let message = format!(r#"{{"role":"assistant","parts":{parts},"finish_reason":"stop"}}"#);
        check(&format!("[{message}, {message}]"), &["call_Zx81kQp0"; 2]);
        check(&format!(" {message}"), &["call_Zx81kQp0"]);
        let vercel = r#"{"toolCallType":"function","toolCallId":"toolu_01A9","args":"{\"id\":1}"}"#;
        check(&format!("[{vercel}]"), &["toolu_01A9"]);
    }

    #[test]
    fn nothing_else_is_read() {
        for arguments in [
            r#"{"parts":[{"type":"tool_call","id":"alice_1980"}]}"#,
            r#"[{"type":"tool_call","id":"alice_1980"}]"#,
            r#"{"toolCallId":"alice_1980"}"#,
        ] {
            let part = format!(r#"{{"type":"tool_call","id":"x","arguments":{arguments}}}"#);
            check(&format!(r#"[{{"role":"assistant","parts":[{part}]}}]"#), &[]);
        }
        for id in ["alice@example.com", "Alice Smith 7", "4111111111111111", "call_1", "assistant"]
        {
            let part = format!(r#"{{"type":"tool_call","id":"{id}"}}"#);
            check(&format!(r#"[{{"parts":[{part}]}}]"#), &[]);
        }
        let deep = "[".repeat(100_000);
        for broken in
            [r#"[{"parts":[{"type":"tool_call","id":"call_Zx81kQp0"#, r#""\"#, &deep, "]}"]
        {
            check(broken, &[]);
        }
    }
}

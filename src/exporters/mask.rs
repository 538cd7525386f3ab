//! What of telemetry a terminal may show: never prompts, answers, credentials or long texts.
//!
//! A screen is read by whoever walks past, and its scrollback ends up in tickets, so this holds
//! whether or not a `sensitive` processor stands in front. A value that is not shown leaves its
//! size: `[512 bytes]`. Absent: finding personal data in free text, which is the processor's work.

use crate::otlp::view::{AnyValue, members, text, values};

/// Longest text that is shown, in bytes. Names, ids and models are shorter; prompts are not.
const SHOWN: usize = 80;

/// Words that make a key one of content, wherever they stand between dots and underscores.
const CONTENT: &[&str] = &[
    "input",
    "output",
    "prompt",
    "prompts",
    "completion",
    "completions",
    "content",
    "contents",
    "message",
    "messages",
    "text",
    "transcript",
    "arguments",
    "args",
    "result",
    "results",
    "value",
    "values",
    "response",
    "request_data",
    "instructions",
    "documents",
    "document",
    "query",
    "statement",
    "body",
    "metadata",
    "stacktrace",
    "explanation",
    "reasoning",
    "embedding",
    "embeddings",
    "toolcalls",
    "parameters",
    "definitions",
    "records",
    "headers",
    "header",
];

/// Words that make a key one of credentials or of a person.
const SECRET: &[&str] = &[
    "authorization",
    "auth",
    "password",
    "passwd",
    "pwd",
    "secret",
    "secrets",
    "token",
    "credential",
    "credentials",
    "cookie",
    "apikey",
    "key",
    "jwt",
    "ssn",
    "card",
    "email",
    "phone",
    "address",
    "private",
    "sensitive",
];

/// Keys that the words above would hide and that carry no content.
const KNOWN: &[&str] = &[
    "gen_ai.input.type",
    "gen_ai.output.type",
    "gen_ai.prompt.name",
    "gen_ai.response.id",
    "gen_ai.response.model",
    "gen_ai.response.finish_reasons",
    "http.response.status_code",
    "messaging.message.id",
    "network.peer.address",
    "rpc.response.status_code",
    "server.address",
];

/// What our own processors write is made to be shown.
const OURS: &str = "app.agent.";

/// Whether values under this key are content or secrets by their name alone. Numbers and truth
/// values are shown all the same: token counts are not tokens.
pub fn is_hidden(key: &str) -> bool {
    if KNOWN.contains(&key) || key.starts_with(OURS) {
        return false;
    }
    let lower = key.to_ascii_lowercase();
    let mut words = lower.split(|c: char| !c.is_ascii_alphanumeric());
    let found = |word: &str| CONTENT.contains(&word) || SECRET.contains(&word);
    words.any(found) || found(&lower) || lower.contains("api_key") || lower.contains("toolcall")
}

/// `value` of the attribute `key`, as a terminal may show it.
pub fn shown(key: &str, value: AnyValue<'_>) -> String {
    match value {
        AnyValue::Empty => "null".to_owned(),
        AnyValue::Bool(value) => value.to_string(),
        AnyValue::Int(value) => value.to_string(),
        AnyValue::Double(value) => value.to_string(),
        AnyValue::Bytes(bytes) => size(bytes.len()),
        AnyValue::Text(bytes) if is_hidden(key) => size(bytes.len()),
        AnyValue::Text(bytes) => shown_text(bytes),
        AnyValue::Map(map) => format!("{{{} keys}}", members(map).count()),
        AnyValue::Array(array) => {
            let short = |value| match value {
                AnyValue::Text(bytes) => !is_hidden(key) && is_harmless(bytes),
                AnyValue::Bool(_) | AnyValue::Int(_) | AnyValue::Double(_) => true,
                _ => false,
            };
            let count = values(array).count();
            if count > 8 || !values(array).all(short) {
                return format!("[{count} values]");
            }
            let parts: Vec<String> = values(array).map(|value| shown(key, value)).collect();
            format!("[{}]", parts.join(", "))
        }
    }
}

/// A text without a key, such as a name.
pub fn shown_text(bytes: &[u8]) -> String {
    match is_harmless(bytes) {
        true => printable(text(bytes)),
        false => size(bytes.len()),
    }
}

/// `[512 bytes]`.
pub fn size(bytes: usize) -> String {
    format!("[{bytes} bytes]")
}

/// Control characters could rewrite the terminal; a space stands for each.
pub fn printable(text: &str) -> String {
    let odd =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if odd(c) { ' ' } else { c }).collect()
}

fn is_harmless(bytes: &[u8]) -> bool {
    bytes.len() <= SHOWN && !looks_secret(text(bytes))
}

/// Whether a short text has the form of a credential, a mail address or a card number.
fn looks_secret(text: &str) -> bool {
    const STARTS: [&str; 10] =
        ["sk-", "sk_", "pk_", "ghp_", "gho_", "github_pat_", "xox", "AKIA", "eyJ", "AIza"];
    const INSIDE: [&str; 4] = ["Bearer ", "Basic ", "-----BEGIN", "password="];
    let word = |word: &str| {
        let mail = word.split_once('@').is_some_and(|(_, host)| host.contains('.'));
        mail || (word.len() >= 12 && STARTS.iter().any(|start| word.starts_with(start)))
    };
    let has_user = text.split_once("://").is_some_and(|(_, rest)| rest.contains('@'));
    has_user
        || INSIDE.iter().any(|part| text.contains(part))
        || text.split(|c: char| c.is_whitespace() || "\"',;()<>".contains(c)).any(word)
        || is_card(text)
}

/// Whether 13 to 19 digits in a row, spaces and hyphens between them aside, pass Luhn's check.
fn is_card(text: &str) -> bool {
    let groups = text.split(|c: char| !(c.is_ascii_digit() || c == ' ' || c == '-'));
    groups.into_iter().any(|group| {
        let digits: Vec<u32> = group.chars().filter_map(|c| c.to_digit(10)).collect();
        let doubled = |(k, digit): (usize, &u32)| match k % 2 {
            1 if *digit > 4 => digit * 2 - 9,
            1 => digit * 2,
            _ => *digit,
        };
        let sum: u32 = digits.iter().rev().enumerate().map(doubled).sum();
        (13..=19).contains(&digits.len()) && sum.is_multiple_of(10)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, value: &str, expected: &str) {
        assert_eq!(shown(key, AnyValue::Text(value.as_bytes())), expected, "{key}={value}");
    }

    #[test]
    fn content_and_credentials_leave_their_size_and_names_are_shown() {
        check("gen_ai.request.model", "gpt-4o", "gpt-4o");
        check("gen_ai.response.model", "gpt-4o", "gpt-4o");
        check("user.id", "alice", "alice");
        check("app.agent.orphan.parent.service", "planner", "planner");
        for key in [
            "gen_ai.input.messages",
            "gen_ai.prompt.0.content",
            "gen_ai.completion",
            "gen_ai.tool.call.arguments",
            "gen_ai.tool.call.result",
            "input.value",
            "llm.input_messages.0.message.content",
            "traceloop.entity.output",
            "ai.prompt",
            "ai.toolCall.args",
            "ai.response.toolCalls",
            "gcp.vertex.agent.tool_response",
            "genkit:output",
            "lk.user_transcript",
            "db.query.text",
            "exception.message",
            "http.request.header.authorization",
            "api_key",
            "X-API-Key",
            "session_token",
        ] {
            check(key, "hunter2", "[7 bytes]");
        }
    }

    #[test]
    fn a_value_that_looks_like_a_secret_is_hidden_under_any_key() {
        for value in [
            "sk-abcdefghijklmnop",
            "the key is sk-abcdefghijklmnop",
            "Bearer x",
            "card 4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "mail alice@example.com",
            "postgres://user:pw@host/db",
        ] {
            check("note", value, &format!("[{} bytes]", value.len()));
        }
        check("note", "4111 1111 1111 1112", "4111 1111 1111 1112");
        check("note", "https://example.com/a", "https://example.com/a");
        check("note", &"x".repeat(81), "[81 bytes]");
    }

    #[test]
    fn numbers_are_shown_and_control_characters_are_not() {
        assert_eq!(shown("gen_ai.usage.input_tokens", AnyValue::Int(523)), "523");
        assert_eq!(shown("gen_ai.input.tokens", AnyValue::Int(523)), "523");
        check("note", "a\u{1b}[31mb\n", "a [31mb ");
    }
}

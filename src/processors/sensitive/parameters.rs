//! What a model was called with, in one text of JSON: settings stay, all else goes.
//!
//! Instrumentations put there whatever the call had beside its messages: next to temperature and
//! limits also tools, schemas, instructions and metadata, and whatever comes next. So only what
//! can hold no content stays: numbers, switches, and texts under a few names.

use serde_json::{Map, Value};

/// What stands for what was taken out.
const GONE: &str = "[removed]";

/// Names whose texts are settings.
const SETTINGS: [&str; 18] = [
    "model",
    "model_name",
    "user",
    "base_url",
    "encoding_format",
    "response_format",
    "type",
    "tool_choice",
    "service_tier",
    "reasoning_effort",
    "effort",
    "verbosity",
    "truncation",
    "size",
    "quality",
    "style",
    "voice",
    "prompt_cache_retention",
];

/// `text` without what is no setting; `None` if there is nothing to take.
pub fn settings(text: &[u8]) -> Option<Vec<u8>> {
    let Ok(mut parameters) = serde_json::from_slice::<Map<String, Value>>(text) else {
        let is_nothing = text.trim_ascii().is_empty() || text == GONE.as_bytes();
        return (!is_nothing).then(|| GONE.into());
    };
    let mut taken = false;
    for (name, value) in &mut parameters {
        let stays = is_setting(name, value)
            || matches!(value, Value::Object(inner) if inner.iter().all(|(n, v)| is_setting(n, v)));
        if !stays {
            *value = GONE.into();
            taken = true;
        }
    }
    if !taken { None } else { serde_json::to_vec(&parameters).ok() }
}

fn is_setting(name: &str, value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => SETTINGS.contains(&name) || text == GONE,
        Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let new = settings(text.as_bytes()).unwrap_or_else(|| text.into());
        assert_eq!(String::from_utf8(new).unwrap(), expected);
        assert_eq!(settings(expected.as_bytes()), None, "a second time changes nothing");
    }

    #[test]
    fn numbers_switches_and_settings_stay() {
        let plain = r#"{"model": "gpt-4o", "temperature": 0.5, "stream": true, "user": "u-42",
            "stream_options": {"include_usage": true}, "reasoning": {"effort": "low"}, "n": null}"#;
        check(plain, plain);
        check(
            r#"{"instructions":"CANARY","metadata":{"team":"CANARY"},"model":"m","top_p":1}"#,
            r#"{"instructions":"[removed]","metadata":"[removed]","model":"m","top_p":1}"#,
        );
        check(
            r#"{"stop":"CANARY","tools":[{"name":"CANARY"}]}"#,
            r#"{"stop":"[removed]","tools":"[removed]"}"#,
        );
        check(r#"{"model":"m","tools":[{"na"#, "[removed]");
        check("CANARY", "[removed]");
        check("", "");
    }
}

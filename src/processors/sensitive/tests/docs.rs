//! `docs/sensitive.md` is written from the rules.

use super::super::{detect, names, read};
use std::fmt::Write;

const HEAD: &str = "\
# What `sensitive` takes out

With `sensitive: {}` the processor takes out what the tables below name, wherever it stands: in
attributes of resources, scopes, spans, events, links, log records, points and exemplars, in the
maps, arrays and JSON inside them, and in bodies. Names of spans, events and scopes, status
messages and trace states are looked into for secrets by their form. Below an attribute `sensitive`
or `app.sensitive` that is true (on an event, a log record, a span, a scope or a resource) only ids,
times, kinds, names of models and tools, token counts and costs stay.

What always stays: ids, times, kinds, status codes, links, and every span. Of messages that go
(`gen_ai.output.messages`, `ai.response.toolCalls`) the ids of the calls of tools stay, as
`app.agent.sensitive.call_ids` on the span: `orphans` joins tools by them, wherever it stands.

To keep something, write a rule; rules come first:

```yaml
processors:
  sensitive:
    rules:
      - name: our-errors
        keys: [exception.message]
        texts: [status_message]
        action: keep
```

What it does not see: texts in other encodings than JSON and UTF-8 (base64; of percent signs only
the `%40` of addresses is read), keys of attributes, names of metrics. What is masked here,
`baggage` behind it promotes as it was masked, if a processor such as `trace_window` stands between
them; next to each other they share one pass over the spans, and then it is not promoted at all.

This page is written from the rules: `SPANLOOM_WRITE_DOCS=1 cargo test --lib sensitive`.
";

/// The page.
fn page() -> String {
    let mut page = HEAD.to_owned();
    page += "\n## By name\n\n`*` stands for anything, `#` for a digit and anything behind it.\n\n";
    page += "| what | names |\n|---|---|\n";
    for (about, names) in names::shown() {
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(page, "| {about} | {} |", names.join(", "));
    }
    page += "\nAlso, in any namespace: `*.headers`, `*.headers.*`, `*.explanation`; and what a \
             chat message says\n(`content`, `parts`, `tool_calls`, `arguments`) beside its `role`, \
             in maps and in JSON.\n";
    page += "\n## By form\n\n| detector | finds | by default | leaves |\n|---|---|---|---|\n";
    for key in read::DETECTORS {
        let detector = detect::ALL.iter().find(|detector| detector.name == key.name).unwrap();
        let on = matches!(key.default, crate::config::key::Default::Bool(true));
        let on = if on { "on" } else { "off" };
        let _ = writeln!(page, "| `{}` | {} | {on} | `{}` |", key.name, key.about, detector.mask);
    }
    page
}

#[test]
fn the_page_is_what_the_rules_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/sensitive.md");
    if std::env::var_os("SPANLOOM_WRITE_DOCS").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
        std::fs::write(path, page()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(written, page(), "write it anew: SPANLOOM_WRITE_DOCS=1 cargo test --lib sensitive");
}

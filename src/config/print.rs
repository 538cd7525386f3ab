//! The effective configuration as YAML: what is set with its value, what is not with its default as
//! a comment, secrets masked.
//!
//! A default that stood as a value would say more than was said: components ask what is set (a
//! `max_elapsed_time` that was written ends retries for which a journal knows no end), and refuse
//! some keys beside others. What has no effect here is left out. Secrets are `[REDACTED]`, header
//! names stay. Values that a component reads as a raw node are printed as they are.

use serde_json::Value as Json;

use super::catalog::Class;
use super::document::{ComponentId, Configured, Document, Pipeline};
use super::duration;
use super::key::Kind;
use super::node::{Node, Value};
use super::parse;
use super::section::{Section, Setting};
use super::service::Telemetry;

/// The whole document as YAML text that reads back as the same document, secrets excepted.
pub fn print(document: &Document) -> String {
    let mut whole: Vec<(String, Tree)> = Vec::new();
    for class in Class::ALL {
        let components = document.of(class);
        if !components.is_empty() {
            let pair = |c: &Configured| (c.id.to_string(), section(&c.section));
            let map = components.iter().map(pair).collect();
            whole.push((class.plural().to_owned(), Tree::Map(map)));
        }
    }
    whole.push(("service".to_owned(), service(document)));
    let mut text = String::new();
    write(&Tree::Map(whole), "", &mut text);
    text
}

/// What is printed: scalars are finished YAML already.
enum Tree {
    Scalar(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
    /// Of a key that is not set: a comment.
    Default(Box<Tree>),
}

fn service(document: &Document) -> Tree {
    let mut map = Vec::new();
    if !document.extensions.is_empty() {
        let ids = document.extensions.iter().map(|e| text(e.id.as_str())).collect();
        map.push(("extensions".to_owned(), Tree::List(ids)));
    }
    let pipelines = document.pipelines.iter().map(|p| (p.id.to_string(), pipeline(p))).collect();
    map.push(("pipelines".to_owned(), Tree::Map(pipelines)));
    map.push(("telemetry".to_owned(), telemetry(&document.telemetry)));
    Tree::Map(map)
}

fn pipeline(pipeline: &Pipeline) -> Tree {
    let list = |name: &str, ids: &[ComponentId]| {
        (name.to_owned(), Tree::List(ids.iter().map(|id| text(id.as_str())).collect()))
    };
    let mut map = vec![
        list("receivers", &pipeline.receivers),
        list("processors", &pipeline.processors),
        list("exporters", &pipeline.exporters),
    ];
    // The default is none of the Collector's keys, and not worth a line.
    if pipeline.shards > 0 {
        map.push(("shards".to_owned(), Tree::Scalar(pipeline.shards.to_string())));
    }
    Tree::Map(map)
}

fn telemetry(telemetry: &Telemetry) -> Tree {
    let map = |pairs: &[(&str, &str)]| {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), text(value));
        Tree::Map(pairs.iter().map(pair).collect())
    };
    let metrics = match &telemetry.metrics_address {
        Some(address) => map(&[("address", address)]),
        None => map(&[("level", "none")]),
    };
    let logs = map(&[("level", &telemetry.log_level), ("encoding", &telemetry.log_encoding)]);
    Tree::Map(vec![("logs".to_owned(), logs), ("metrics".to_owned(), metrics)])
}

fn section(section: &Section) -> Tree {
    let pairs = section.settings().filter_map(|(key, value)| {
        let tree = setting(value, &key.kind)?;
        let set = match key.kind {
            Kind::Object(_) => !is_default(&tree),
            _ => section.is_set(key.name),
        };
        let tree = if set { tree } else { Tree::Default(Box::new(tree)) };
        Some((key.name.to_owned(), tree))
    });
    Tree::Map(pairs.collect())
}

/// Whether nothing of an object is set: that it was written makes no difference then.
fn is_default(object: &Tree) -> bool {
    match object {
        Tree::Map(pairs) => pairs.iter().all(|(_, value)| matches!(value, Tree::Default(_))),
        _ => false,
    }
}

/// The value of a key; `None` where it is better not printed.
fn setting(setting: &Setting, kind: &Kind) -> Option<Tree> {
    let hidden = |secret: &super::Secret| match secret.is_empty() {
        true => text(""),
        false => text(&secret.to_string()),
    };
    Some(match setting {
        Setting::Nothing | Setting::Optional(None) | Setting::Node(None) => return None,
        Setting::Bool(value) => Tree::Scalar(value.to_string()),
        Setting::Int(value) => Tree::Scalar(value.to_string()),
        Setting::Float(value) => Tree::Scalar(float(*value)),
        // A choice without a default has no text that would be valid.
        Setting::Text(value) if value.is_empty() && matches!(kind, Kind::Choice(_)) => return None,
        Setting::Text(value) => text(value),
        Setting::Secret(secret) => hidden(secret),
        Setting::Duration(value) => text(&duration::format(*value)),
        Setting::Endpoint(endpoint) => text(endpoint.as_ref().map_or("", |e| e.as_str())),
        Setting::List(items) => Tree::List(items.iter().map(|item| text(item)).collect()),
        Setting::Map(pairs) => {
            Tree::Map(pairs.iter().map(|(name, value)| (name.clone(), text(value))).collect())
        }
        Setting::SecretMap(pairs) => {
            Tree::Map(pairs.iter().map(|(name, value)| (name.clone(), hidden(value))).collect())
        }
        Setting::Section(inner) | Setting::Optional(Some(inner)) => section(inner),
        Setting::Sections(items) => Tree::List(items.iter().map(section).collect()),
        Setting::Named(pairs) => {
            Tree::Map(pairs.iter().map(|(name, inner)| (name.clone(), section(inner))).collect())
        }
        Setting::Node(Some(inner)) => node(inner),
    })
}

fn node(inner: &Node) -> Tree {
    match &inner.value {
        Value::Null => Tree::Scalar("null".to_owned()),
        Value::Bool(value) => Tree::Scalar(value.to_string()),
        Value::Int(value) => Tree::Scalar(value.to_string()),
        Value::Float(value) => Tree::Scalar(float(*value)),
        Value::Text(value) => text(value),
        Value::List(items) => Tree::List(items.iter().map(node).collect()),
        Value::Map(entries) => {
            Tree::Map(entries.iter().map(|e| (e.name.clone(), node(&e.node))).collect())
        }
    }
}

fn float(value: f64) -> String {
    match value {
        value if value.is_nan() => ".nan".to_owned(),
        f64::INFINITY => ".inf".to_owned(),
        f64::NEG_INFINITY => "-.inf".to_owned(),
        value => format!("{value:?}"),
    }
}

/// A text value; dollars are doubled, since reading expands.
fn text(value: &str) -> Tree {
    Tree::Scalar(quote(&value.replace('$', "$$")))
}

/// A text as YAML: plain where every reader takes it as that text, else as a JSON string.
fn quote(text: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_./-:@%+".contains(c);
    let plain = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        && text.chars().all(harmless)
        && !text.ends_with(':')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
        && parse::scalar(text) == Value::Text(text.to_owned());
    if plain { text.to_owned() } else { Json::String(text.to_owned()).to_string() }
}

/// Words that older YAML readers take for booleans.
const WORDS: [&str; 6] = ["yes", "no", "on", "off", "y", "n"];

/// Writes `tree` in lines that begin with `pad`.
fn write(tree: &Tree, pad: &str, out: &mut String) {
    match tree {
        Tree::Scalar(scalar) => out.push_str(&format!("{pad}{scalar}\n")),
        Tree::List(items) if items.is_empty() => out.push_str(&format!("{pad}[]\n")),
        Tree::Map(pairs) if pairs.is_empty() => out.push_str(&format!("{pad}{{}}\n")),
        Tree::List(items) => {
            let deeper = format!("{pad}  ");
            for item in items {
                let mut inner = String::new();
                write(item, &deeper, &mut inner);
                // The dash takes the place of the first line's last two columns of indent.
                out.push_str(&format!("{pad}- {}", inner.get(deeper.len()..).unwrap_or_default()));
            }
        }
        Tree::Map(pairs) => pairs.iter().for_each(|(name, value)| pair(name, value, pad, out)),
        Tree::Default(tree) => write(tree, &comment(pad), out),
    }
}

/// Writes a key with its value.
fn pair(name: &str, value: &Tree, pad: &str, out: &mut String) {
    let key = quote(name);
    match value {
        Tree::Scalar(scalar) => out.push_str(&format!("{pad}{key}: {scalar}\n")),
        Tree::List(items) if items.is_empty() => out.push_str(&format!("{pad}{key}: []\n")),
        Tree::Map(pairs) if pairs.is_empty() => out.push_str(&format!("{pad}{key}: {{}}\n")),
        Tree::Default(value) => pair(name, value, &comment(pad), out),
        nested => {
            out.push_str(&format!("{pad}{key}:\n"));
            write(nested, &format!("{pad}  "), out);
        }
    }
}

/// The beginning of a line that is a comment; what stands in one is one already.
fn comment(pad: &str) -> String {
    match pad.contains('#') {
        true => pad.to_owned(),
        false => format!("{pad}# "),
    }
}

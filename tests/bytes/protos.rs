//! The tables against the .proto files that opentelemetry-proto ships.

use spanloom::otlp::schema::{Field, Kind, LOGS, Label, METRICS, Message, TRACES};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Number to camel-case name, type and label.
type Fields = BTreeMap<u32, (String, String, String)>;

const FILES: [&str; 8] = [
    "collector/trace/v1/trace_service.proto",
    "collector/logs/v1/logs_service.proto",
    "collector/metrics/v1/metrics_service.proto",
    "trace/v1/trace.proto",
    "logs/v1/logs.proto",
    "metrics/v1/metrics.proto",
    "common/v1/common.proto",
    "resource/v1/resource.proto",
];

/// Where cargo has put the sources of the crate.
fn proto_folder() -> PathBuf {
    let rustc = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(rustc.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_string();
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        // Sources for other platforms may not be there.
        .args(["--filter-platform", &host])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&cargo.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|p| p["name"] == "opentelemetry-proto").unwrap();
    let manifest = Path::new(package["manifest_path"].as_str().unwrap());
    manifest.with_file_name("src/proto/opentelemetry-proto/opentelemetry/proto")
}

/// The messages of a .proto file by their last name, and the enums.
fn read(text: &str, messages: &mut BTreeMap<String, Fields>, enums: &mut BTreeSet<String>) {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let code = lines.collect::<Vec<_>>().join(" ");
    let mut blocks: Vec<(String, String)> = vec![];
    for statement in code.split_inclusive(['{', '}', ';']) {
        let words: Vec<&str> =
            statement.trim_end_matches(['{', '}', ';']).split_whitespace().collect();
        if statement.ends_with('{') {
            let [noun, name, ..] = words[..] else { panic!("{statement}") };
            if noun == "message" {
                messages.insert(name.to_string(), Fields::new());
            }
            if noun == "enum" {
                enums.insert(name.to_string());
            }
            blocks.push((noun.to_string(), name.to_string()));
        } else if statement.ends_with('}') {
            blocks.pop();
        } else if let Some(place) = words.iter().position(|w| *w == "=") {
            let noun = blocks.last().map(|(noun, _)| noun.as_str()).unwrap_or_default();
            let owner = blocks.iter().rev().find(|(noun, _)| noun == "message");
            if let (Some((_, owner)), "message" | "oneof") = (owner, noun) {
                let number = words[place + 1].parse().unwrap();
                let kind = words[place - 2].rsplit('.').next().unwrap().to_string();
                let label = match words[0] {
                    _ if noun == "oneof" => "oneof",
                    label @ ("repeated" | "optional") => label,
                    _ => "one",
                };
                let field = (camel(words[place - 1]), kind, label.to_string());
                messages.get_mut(owner).unwrap().insert(number, field);
            }
        }
    }
}

fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |name, part| {
        let (head, tail) = part.split_at(1);
        name + &head.to_uppercase() + tail
    })
}

/// The .proto type that `field` has, as far as its kind tells.
fn type_of(field: &Field, enums: &BTreeSet<String>, found: &str) -> String {
    match field.kind {
        Kind::Bool => "bool",
        Kind::Enum if enums.contains(found) => found,
        Kind::Enum => "int32",
        Kind::Uint32 => "uint32",
        Kind::Sint32 => "sint32",
        Kind::Uint64 => "uint64",
        Kind::Int64 => "int64",
        Kind::Fixed64 => "fixed64",
        Kind::Sfixed64 => "sfixed64",
        Kind::Fixed32 => "fixed32",
        Kind::Double => "double",
        Kind::Text => "string",
        Kind::Bytes | Kind::Id => "bytes",
        Kind::Message(child) => child.name,
    }
    .to_string()
}

#[track_caller]
fn compare(
    message: &'static Message,
    messages: &BTreeMap<String, Fields>,
    enums: &BTreeSet<String>,
    seen: &mut BTreeSet<&'static str>,
) {
    if !seen.insert(message.name) {
        return;
    }
    let expected = &messages[message.name];
    let mut found = Fields::new();
    for field in message.fields {
        let known = expected.get(&field.number).map(|f| f.1.as_str()).unwrap_or_default();
        let label = match field.label {
            Label::One => "one",
            Label::Many => "repeated",
            Label::Oneof => "oneof",
            Label::Optional => "optional",
        };
        let kind = type_of(field, enums, known);
        found.insert(field.number, (field.name.to_string(), kind, label.to_string()));
        // Ids are the bytes that JSON writes in hexadecimal.
        let is_id = ["traceId", "spanId", "parentSpanId"].contains(&field.name);
        assert_eq!(matches!(field.kind, Kind::Id), is_id, "{}", field.name);
        if let Kind::Message(child) = field.kind {
            compare(child, messages, enums, seen);
        }
    }
    assert_eq!(&found, expected, "{}", message.name);
    assert!(message.fields.is_sorted_by_key(|f| f.number), "{}", message.name);
}

#[test]
fn the_tables_say_what_the_proto_files_say() {
    let (mut messages, mut enums) = (BTreeMap::new(), BTreeSet::new());
    for file in FILES {
        let text = std::fs::read_to_string(proto_folder().join(file)).unwrap();
        read(&text, &mut messages, &mut enums);
    }
    let mut seen = BTreeSet::new();
    for message in [&TRACES, &LOGS, &METRICS] {
        compare(message, &messages, &enums, &mut seen);
    }
    assert_eq!(seen.len(), 34, "{seen:?}");
}

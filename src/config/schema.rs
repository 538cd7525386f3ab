//! JSON Schema of the whole file, for editors.
//!
//! Made from the same tables that check the file. It is a little wider than the check where JSON
//! Schema cannot say it (references between parts) and where a `${...}` may stand for a value.

use serde_json::{Map, Value as Json, json};

use super::catalog::{Catalog, Class, Component, SIGNALS};
use super::key::{Default, Key, Kind};
use super::{pipelines, service};

/// A string with a reference, which may become any value.
const REFERENCE: &str = r"\$\{.*\}";
const DURATION: &str = r"^\+?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+)$|\$\{.*\}";

/// The schema (draft 2020-12) of a file that uses the components of `catalog`.
pub fn schema(catalog: &Catalog) -> Json {
    let mut properties = Map::new();
    let mut definitions = Map::new();
    for class in Class::ALL {
        properties.insert(class.plural().to_owned(), shelf(catalog, class, &mut definitions));
    }
    properties.insert("service".to_owned(), service());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "spanloom configuration",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "required": ["service"],
        "$defs": definitions,
    })
}

/// The map of component ids of one class; each type is defined once.
fn shelf(catalog: &Catalog, class: Class, definitions: &mut Map<String, Json>) -> Json {
    let mut patterns = Map::new();
    for component in catalog.of(class) {
        let name = format!("{}.{}", class.noun(), component.name);
        let target = format!("#/$defs/{name}");
        definitions.insert(name, definition(component));
        for id in std::iter::once(&component.name).chain(component.aliases) {
            patterns.insert(format!("^{id}(/\\S+)?$"), json!({"$ref": target}));
        }
    }
    json!({
        "description": format!("{} by id, type or type/name", class.plural()),
        "type": ["object", "null"],
        "patternProperties": patterns,
        "additionalProperties": false,
    })
}

fn definition(component: &Component) -> Json {
    let mut schema = object(component.keys);
    schema.insert("description".to_owned(), json!(component.about));
    Json::Object(schema)
}

fn service() -> Json {
    let mut pipelines = object(pipelines::PIPELINE);
    pipelines.insert("required".to_owned(), json!(["receivers", "exporters"]));
    json!({
        "type": "object",
        "properties": {
            "extensions": {
                "description": "ids of the extensions to start",
                "type": ["array", "null", "string"],
                "items": {"type": "string"},
            },
            "pipelines": {
                "description": "what flows from where to where, by signal or signal/name",
                "type": "object",
                "patternProperties": {
                    format!("^({})(/\\S+)?$", SIGNALS.join("|")): pipelines,
                },
                "additionalProperties": false,
                "minProperties": 1,
            },
            "telemetry": object(service::KEYS),
        },
        "additionalProperties": false,
        "required": ["pipelines"],
    })
}

/// A map with these keys, or null for all defaults, or a reference.
fn object(keys: &'static [Key]) -> Map<String, Json> {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in keys.iter().filter(|key| !matches!(key.kind, Kind::Unsupported(_))) {
        properties.insert(key.name.to_owned(), property(key));
        if key.required {
            required.push(key.name);
        }
    }
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!(["object", "null", "string"]));
    schema.insert("pattern".to_owned(), json!(REFERENCE));
    schema.insert("properties".to_owned(), Json::Object(properties));
    schema.insert("additionalProperties".to_owned(), json!(false));
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema
}

fn property(key: &'static Key) -> Json {
    let mut schema = match kind(&key.kind) {
        Json::Object(schema) => schema,
        _ => Map::new(),
    };
    let about = match key.kind {
        Kind::Ignored(why) => format!("has no effect here: {why}"),
        _ => key.about.to_owned(),
    };
    schema.insert("description".to_owned(), json!(about));
    let default = match &key.default {
        Default::None => None,
        Default::Bool(value) => Some(json!(value)),
        Default::Int(value) => Some(json!(value)),
        Default::Float(value) => Some(json!(value)),
        Default::Text(value) => Some(json!(value)),
        Default::List(value) => Some(json!(value)),
    };
    if let Some(default) = default.filter(|_| !key.required) {
        schema.insert("default".to_owned(), default);
    }
    Json::Object(schema)
}

/// What the key holds. Null is everywhere: it means the default.
fn kind(kind: &Kind) -> Json {
    match kind {
        Kind::Bool => json!({"type": ["boolean", "null", "string"], "pattern": REFERENCE}),
        Kind::Int(min, max) => whole(*min, *max),
        Kind::SizeBytes => whole(0, i64::MAX),
        Kind::SizeMib => whole(0, i64::MAX >> 20),
        Kind::Float(min, max) => {
            let mut schema = Map::new();
            schema.insert("type".to_owned(), json!(["number", "null", "string"]));
            schema.insert("pattern".to_owned(), json!(REFERENCE));
            // An infinite bound is none; JSON has no such number.
            for (name, bound) in [("minimum", min), ("maximum", max)] {
                if bound.is_finite() {
                    schema.insert(name.to_owned(), json!(bound));
                }
            }
            Json::Object(schema)
        }
        Kind::Text | Kind::Secret | Kind::Endpoint | Kind::ExtensionId => {
            json!({"type": ["string", "null"]})
        }
        Kind::Duration => json!({
            "anyOf": [{"type": ["string", "null"], "pattern": DURATION}, {"const": 0}],
        }),
        Kind::Choice(choices) => json!({
            "anyOf": [{"enum": choices}, {"type": ["string", "null"], "pattern": REFERENCE}],
        }),
        Kind::ListOfText | Kind::Pipelines => {
            json!({"type": ["array", "null", "string"], "items": {"type": "string"}})
        }
        Kind::MapOfText | Kind::MapOfSecret => json!({
            "type": ["object", "null", "string"],
            "pattern": REFERENCE,
            "additionalProperties": {"type": "string"},
        }),
        Kind::Object(keys) | Kind::OptionalObject(keys) => Json::Object(object(keys)),
        Kind::ListOfObjects(keys) => json!({
            "type": ["array", "null", "string"],
            "pattern": REFERENCE,
            "items": object(keys),
        }),
        Kind::MapOfObjects(keys) => json!({
            "type": ["object", "null", "string"],
            "pattern": REFERENCE,
            "additionalProperties": object(keys),
        }),
        Kind::Any | Kind::Unsupported(_) => json!({}),
        Kind::Ignored(_) => json!({"deprecated": true}),
    }
}

fn whole(min: i64, max: i64) -> Json {
    json!({
        "type": ["integer", "null", "string"],
        "pattern": REFERENCE,
        "minimum": min,
        "maximum": max,
    })
}

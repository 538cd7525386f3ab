//! A finding as an object: the names of the tags without their prefix, and where it is.

use super::finding::{Finding, Findings, Tag};
use serde_json::{Map, Value, json};

/// One line.
pub fn json(all: &Findings, finding: &Finding) -> Value {
    let mut object = Map::new();
    if let Some(row) = all.rows.get(finding.row) {
        object.insert("trace_id".to_owned(), json!(format!("{:032x}", row.id.0)));
        object.insert("span_id".to_owned(), json!(format!("{:016x}", row.id.1)));
        object.insert("service".to_owned(), json!(row.service));
        object.insert("name".to_owned(), json!(row.name));
    }
    for (name, tag) in &finding.tags {
        let value = match tag {
            Tag::Text(text) => json!(text),
            Tag::Texts(texts) => json!(texts),
            Tag::Int(number) => json!(number),
            Tag::Double(number) => json!(number),
        };
        object.insert(name.replace('.', "_"), value);
    }
    object.insert("boundary".to_owned(), json!(finding.remedy.boundary));
    object.insert("remedy".to_owned(), json!(finding.remedy.text));
    Value::Object(object)
}

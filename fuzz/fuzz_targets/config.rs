//! Any text as a configuration: problems that are sentences with places, or a document that prints
//! as a configuration which means the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spanloom::config::print::print;
use spanloom::config::secret::REDACTED;
use spanloom::config::{Catalog, Document, World};
use spanloom::pipeline::catalog::catalog;
use std::sync::LazyLock;

static CATALOG: LazyLock<Catalog> = LazyLock::new(catalog);

/// Variables that name each other, and no files.
const WORLD: World<'static> = World {
    env: &|name| match name {
        "PORT" => Some("4317".to_owned()),
        "A" => Some("${B}${B}".to_owned()),
        "B" => Some("${env:A}".to_owned()),
        "MAP" => Some("{a: [1, ${PORT}]}".to_owned()),
        _ => None,
    },
    file: &|_| Err("there is no such file".to_owned()),
};

fn load(text: &str, sets: &[String]) -> Result<Document, spanloom::config::Problems> {
    Document::load(&[format!("yaml:{text}")], sets, &WORLD, &CATALOG)
}

fuzz_target!(|text: &str| {
    // What stands behind a line of `--set` goes there.
    let (text, set) = text.split_once("\n--set\n").unwrap_or((text, ""));
    let sets: Vec<String> = (!set.is_empty()).then(|| set.to_owned()).into_iter().collect();
    match load(text, &sets) {
        Ok(document) => {
            let printed = print(&document);
            if !printed.contains(REDACTED) {
                let again = load(&printed, &[]).unwrap_or_else(|e| panic!("{e}\n{printed}"));
                assert!(again == document, "{printed}");
            }
        }
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
});

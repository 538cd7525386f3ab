//! Which pipelines have a journal, and where it rests.

use crate::config::document::ComponentId;
use crate::config::{Configured, Document, Pipeline};
use crate::delivery::DeadLetters;
use crate::extensions::file_storage;
use std::sync::Arc;

/// The storages of a document that exporters name, with their dead letters.
#[derive(Default)]
pub struct Storages {
    known: Vec<(ComponentId, file_storage::Settings, Option<Arc<DeadLetters>>)>,
}

impl Storages {
    /// The dead letters of `exporter`, if it has storage and that keeps any.
    pub fn dead_letters(
        &mut self,
        document: &Document,
        exporter: &Configured,
    ) -> Result<Option<Arc<DeadLetters>>, String> {
        let Some(configured) = storage_of(document, exporter)? else { return Ok(None) };
        if let Some((.., letters)) = self.known.iter().find(|(id, ..)| *id == configured.id) {
            return Ok(letters.clone());
        }
        let settings = file_storage::Settings::of(&configured.section);
        if !settings.create && !settings.directory.is_dir() {
            return Err(format!(
                "the directory {} of {} does not exist; create it, or write \
                 create_directory: true",
                settings.directory.display(),
                configured.id
            ));
        }
        let letters = match settings.dead_letters {
            0 => None,
            limit => Some(DeadLetters::open(&settings.directory.join("dead"), limit)?),
        };
        self.known.push((configured.id.clone(), settings, letters.clone()));
        Ok(letters)
    }

    /// Where the journal of `pipeline` rests, if one of its exporters has storage.
    pub fn journal(
        &self,
        document: &Document,
        pipeline: &Pipeline,
    ) -> Result<Option<&file_storage::Settings>, String> {
        let exporters = document.exporters.iter();
        let of_this = exporters.filter(|exporter| pipeline.exporters.contains(&exporter.id));
        let mut found: Option<&ComponentId> = None;
        for exporter in of_this {
            let Some(storage) = storage_of(document, exporter)? else { continue };
            if found.is_some_and(|before| *before != storage.id) {
                return Err("the exporters of one pipeline share its journal; name one \
                            `storage` in all of them"
                    .to_owned());
            }
            found = Some(&storage.id);
        }
        let known = found.and_then(|id| self.known.iter().find(|(known, ..)| known == id));
        Ok(known.map(|(_, settings, _)| settings))
    }
}

/// The extension that `sending_queue.storage` of an exporter names.
fn storage_of<'a>(
    document: &'a Document,
    exporter: &Configured,
) -> Result<Option<&'a Configured>, String> {
    let queues = exporter.section.settings().any(|(key, _)| key.name == "sending_queue");
    let id = match queues {
        true => exporter.section.section("sending_queue").text("storage"),
        false => "",
    };
    if id.is_empty() {
        return Ok(None);
    }
    let listed = document.extensions.iter().find(|extension| extension.id.as_str() == id);
    match listed.filter(|extension| extension.component.name == "file_storage") {
        Some(storage) => Ok(Some(storage)),
        None => Err(format!("sending_queue::storage: {id} is no file_storage")),
    }
}

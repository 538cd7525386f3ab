//! `file_storage`: where journals and dead letters rest. It serves nobody by itself: an exporter's
//! `sending_queue.storage` names it, and the pipelines of that exporter have their journals below
//! its directory from then on.
//!
//! The keys are the Collector's. Absent are those for a database in a file: what is acknowledged is
//! always synced, and files of a journal are removed whole.

use super::{Kind, Running, Starting};
use crate::config::{Class, Component, Key, Problems, Section};
use crate::limits;
use crate::web::State;
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const KEYS: &[Key] = &[
    Key::text("directory", "", "where the files are, one folder for each pipeline").required(),
    Key::duration("timeout", "1s", "how long to wait for another process to let go of it"),
    Key::bool("create_directory", true, "create it if it is missing"),
    Key::size_mib("limit_mib", limits::JOURNAL_MIB, "bytes on disk of one pipeline's journal"),
    Key::size_mib(
        "dead_letter_mib",
        limits::DEAD_LETTER_MIB,
        "bytes of what backends refused, in all; 0: drop it",
    ),
    Key::ignored("directory_permissions", "directories are for their owner alone, 0700"),
    Key::ignored("fsync", "what is acknowledged is always synced"),
    Key::ignored("compaction", "files of a journal are removed whole, so nothing is compacted"),
    Key::ignored("recreate", "damage is passed over, counted, and kept beside the journal"),
];

const SAMPLE: &str = "\
directory: /var/lib/spanloom
# bytes on disk of one pipeline's journal; at them, clients are told to come back
limit_mib: 4096
# what backends refuse for good is kept up to this, for `spanloom replay`
dead_letter_mib: 256
";

pub const KIND: Kind = Kind {
    component: Component {
        class: Class::Extension,
        name: "file_storage",
        aliases: &[],
        about: "keeps what was acknowledged on disk until it is delivered",
        sample: SAMPLE,
        signals: &[],
        keys: KEYS,
        check,
    },
    start,
};

fn check(section: &Section, problems: &mut Problems) {
    if section.bytes("limit_mib") == 0 {
        section.error(problems, "limit_mib", "must be at least 1: a journal takes disk");
    }
}

fn start(_: &Section, _: State, _: CancellationToken) -> Starting {
    Box::pin(async { Ok(Running { listeners: vec![], done: Box::pin(std::future::ready(())) }) })
}

/// What a `file_storage` says.
#[derive(Clone, Debug)]
pub struct Settings {
    pub directory: PathBuf,
    pub patience: Duration,
    pub create: bool,
    pub limit: u64,
    pub dead_letters: u64,
}

impl Settings {
    pub fn of(section: &Section) -> Settings {
        Settings {
            directory: PathBuf::from(section.text("directory")),
            patience: section.duration("timeout"),
            create: section.bool("create_directory"),
            limit: section.bytes("limit_mib"),
            dead_letters: section.bytes("dead_letter_mib"),
        }
    }

    /// The folder for `id` below the directory, whatever characters it has: no id leads out of it.
    pub fn folder(&self, kind: &str, id: &str) -> PathBuf {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let mut name = String::new();
        for byte in id.bytes() {
            match plain(byte) {
                true => name.push(char::from(byte)),
                false => name.push_str(&format!("%{byte:02X}")),
            }
        }
        self.directory.join(kind).join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_leads_out_of_the_directory() {
        let section = Section::from_yaml(KEYS, "directory: /d").unwrap();
        let settings = Settings::of(&section);
        for (id, name) in [
            ("traces", "/d/journal/traces"),
            ("traces/a", "/d/journal/traces%2Fa"),
            ("traces/../../x", "/d/journal/traces%2F%2E%2E%2F%2E%2E%2Fx"),
            ("traces/%2F", "/d/journal/traces%2F%252F"),
            ("traces/\u{e9}", "/d/journal/traces%2F%C3%A9"),
        ] {
            assert_eq!(settings.folder("journal", id), PathBuf::from(name), "{id}");
        }
    }
}

//! `file`: writes OTLP to a file, as JSON lines or as length-prefixed protobuf. Keys, layout and
//! names of rotated files are the Collector's, and `otlp_json_file` reads all of it back.
//!
//! A request is answered when its record has been written and the operating system has it: it
//! outlives this process, not a power failure. `fsync: true` (ours) waits for the disk as well.
//! There is no buffer in between, hence no `flush_interval`, and no queue: while the disk is full,
//! clients are told to come back.
//!
//! What is ours beside `fsync`: new files are readable by their owner alone; records are whole or
//! not there at all; `append` goes together with `compression` and `rotation`; a file that the
//! process has begun is not emptied by a reload, and none by a configuration that does not start; a
//! file that was moved away is begun anew.
//!
//! Absent: a file for each value of a resource attribute, other encodings, local time in names.

mod output;
mod rotation;
#[cfg(test)]
mod tests;

use super::{Built, Exporter, Kind, Outcome, Payload, Sending, Setup};
use crate::config::catalog::SIGNALS;
use crate::config::problem::Problems;
use crate::config::{Class, Component, Key, Section};
use crate::otlp::join::join;
use crate::otlp::json::to_json;
use crate::transport::Encoding;
use crate::transport::compress::deflate;
use output::{Output, Settings};
use rotation::Rotation;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub const KIND: Kind = Kind {
    component: Component {
        class: Class::Exporter,
        name: "file",
        aliases: &[],
        about: "writes OTLP to a file, as JSON lines or protobuf",
        sample: SAMPLE,
        signals: &SIGNALS,
        keys: KEYS,
        check,
    },
    build,
};

const SAMPLE: &str = "\
path: traces.jsonl
format: json              # one request per line; proto: length-prefixed messages
append: true              # false empties the file before the first record
# compression: zstd       # each message by itself, length-prefixed
# fsync: true             # answer clients when the disk has it, not only the system
# create_directory: true
rotation:                 # traces-2026-03-01T05-02-14.173.jsonl; without it, one file
  max_megabytes: 100
  max_days: 7             # 0: however old
  max_backups: 10         # 0: however many
";

const DAYS: &str = "days after which a file that was put aside is deleted; 0: never";
const FLUSHED: &str = "each request is with the operating system before it is answered; see fsync";

const ROTATION: &[Key] = &[
    Key::int("max_megabytes", 100, 1..=1 << 30, "MiB at which a file is put aside"),
    Key::int("max_days", 0, 0..=36_500, DAYS),
    Key::int("max_backups", 100, 0..=1 << 30, "files that are kept when put aside; 0: all"),
    Key::bool("localtime", false, "local time in names, which is not supported"),
];

const KEYS: &[Key] = &[
    Key::text("path", "", "the file").required(),
    Key::choice("format", &["json", "proto"], "json", "JSON lines, or length-prefixed protobuf"),
    Key::choice("compression", &["none", "zstd"], "none", "of each message, length-prefixed then"),
    Key::bool("append", false, "continue a file that is there; else it is emptied first"),
    Key::optional_object("rotation", ROTATION, "put full files aside; a file there is continued"),
    Key::bool("fsync", false, "answer clients only when the disk has their data"),
    Key::bool("create_directory", false, "create the directory of the file"),
    Key::text("directory_permissions", "0755", "of directories that are created, in octal"),
    Key::ignored("flush_interval", FLUSHED),
    Key::ignored("compression_params", "the fastest level is used"),
    Key::unsupported("encoding", "there are no encoding extensions; choose a `format`"),
    Key::unsupported(
        "group_by",
        "write each group with an exporter of its own behind a routing connector",
    ),
];

fn check(section: &Section, problems: &mut Problems) {
    if section.is_set("path") && section.text("path").is_empty() {
        section.error(problems, "path", "found nothing; name a file such as traces.jsonl");
    }
    let permissions = section.text("directory_permissions");
    if octal(permissions).is_none() {
        let text = format!("found {permissions:?}; write octal digits in quotes, such as \"0750\"");
        section.error(problems, "directory_permissions", text);
    } else if section.is_set("directory_permissions") && !section.bool("create_directory") {
        let text = "has no effect without create_directory: true; write both";
        section.error(problems, "directory_permissions", text);
    }
    if let Some(rotation) = section.optional_section("rotation")
        && rotation.bool("localtime")
    {
        let text = "names carry UTC, in which no hour comes twice; leave localtime out";
        rotation.error(problems, "localtime", text);
    }
}

/// Permission bits.
fn octal(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777)
}

fn build(section: &Section, _: &Setup<'_>) -> Built {
    let output = Output::open(settings(section)).map_err(|text| {
        let (place, key) = (section.place("path"), section.path_of("path"));
        format!("{text} ({place}: {key})")
    })?;
    Ok(Arc::new(FileExporter { target: section.text("path").to_owned(), output }))
}

fn settings(section: &Section) -> Settings {
    let rotation = section.optional_section("rotation").map(|rotation| Rotation {
        max_bytes: (rotation.count("max_megabytes") as u64) << 20,
        max_age: match rotation.count("max_days") as u64 {
            0 => None,
            days => Some(Duration::from_secs(days * 24 * 60 * 60)),
        },
        max_backups: Some(rotation.count("max_backups")).filter(|most| *most > 0),
    });
    let mode = octal(section.text("directory_permissions"));
    Settings {
        path: PathBuf::from(section.text("path")),
        json: section.text("format") == "json",
        zstd: section.text("compression") == "zstd",
        append: section.bool("append"),
        rotation,
        fsync: section.bool("fsync"),
        directories: mode.filter(|_| section.bool("create_directory")),
    }
}

/// The exporter.
struct FileExporter {
    target: String,
    output: Arc<Output>,
}

/// The record of a request.
fn record(settings: &Settings, payload: &Payload) -> Vec<u8> {
    let request = join(&payload.segments);
    let content = match settings.json {
        true => to_json(payload.signal.message(), &request),
        false => request.to_vec(),
    };
    let content = match settings.zstd {
        true => deflate(Encoding::Zstd, &[content.into()]).to_vec(),
        false => content,
    };
    settings.form().record(content)
}

impl Exporter for FileExporter {
    fn send(&self, payload: Payload) -> Sending<'_> {
        let output = self.output.clone();
        Box::pin(async move {
            let write = move || {
                let record = record(&output.settings, &payload);
                output.write(&record).map_err(|e| output::sentence(&output.settings.path, &e))
            };
            match tokio::task::spawn_blocking(write).await {
                Ok(Ok(())) => Outcome::Delivered { rejected: 0, message: String::new() },
                Ok(Err(reason)) => Outcome::Retry { after: None, reason },
                Err(_) => Outcome::Retry { after: None, reason: "writing failed".to_owned() },
            }
        })
    }

    fn target(&self) -> &str {
        &self.target
    }
}

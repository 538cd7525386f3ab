//! `otlp_json_file`: reads files as the `file` exporter writes them, once or as they grow. Keys
//! are the Collector's: those of its file reader as far as they make sense for requests.
//!
//! Beyond the Collector's receiver it reads length-prefixed protobuf and zstd too; which it is, a
//! file tells by itself. `follow: false` (ours) reads what is there and rests.
//!
//! - Nothing is passed over but what is no request, which is counted and named with file and line.
//!   What the pipelines do not take is offered again until they do.
//! - A file is known by what it is, not by its name. One that is rotated is read to its end under
//!   any name, and the new one from its beginning. If files can be rotated twice between two
//!   looks, let `include` match the names that they get.
//! - The last line of a file that has not ended waits; after `force_flush_period` it is taken if
//!   it is a whole request.
//!
//! Absent: positions that outlive the process, so a restart reads from `start_at` again; deleting
//! what was read; attributes that name the file (what is read is what was written).

mod files;
mod glob;
mod hand;
mod tail;
#[cfg(test)]
mod tests;

use super::{Kind, Running, Setup, Starting};
use crate::batch::Batch;
use crate::clock;
use crate::config::{Class, Component, Key, Problems, Section};
use crate::intake::Room;
use crate::limits;
use files::{Files, Settings};
use glob::Glob;
use hand::{Crowd, Hand};
use std::sync::{Arc, Mutex, PoisonError};
use tail::Record;
use tokio_util::task::TaskTracker;
use tracing::{error, info};

/// This receiver's entry in the list.
pub(super) const KIND: Kind = Kind { component: COMPONENT, start };

const COMPONENT: Component = Component {
    class: Class::Receiver,
    name: "otlp_json_file",
    aliases: &["otlpjsonfile"],
    about: "reads files of OTLP, once or as they grow",
    sample: SAMPLE,
    signals: &["traces", "metrics", "logs"],
    keys: KEYS,
    check,
};

const SAMPLE: &str = "\
include: [traces*.jsonl]  # also the names that rotated files get
exclude: []
start_at: beginning       # end: only what is written from now on
# follow: false           # read what is there and rest
# replay_file: true       # read all of it again at every look
poll_interval: 200ms
";

const ONE_FILE: &str = "a file tells by its content whether it is compressed, and how";
const IDENTITY: &str = "files are told apart by device and inode";
const AS_IT_IS: &str = "what is read is what was written, without attributes that name the file";
const BOUNDED: &str = "buffers and open files are bounded as they are";
const LINES: &str = "a line is a request";

const KEYS: &[Key] = &[
    Key::list_of_text("include", &[], "paths and patterns of files: *, ?, **, [a-z], {a,b}")
        .required(),
    Key::list_of_text("exclude", &[], "patterns of files among them that are not read"),
    Key::choice("start_at", &["end", "beginning"], "end", "of files that are there at start"),
    Key::duration("poll_interval", "200ms", "time between two looks"),
    Key::bool("follow", true, "go on reading as files grow; false: read what is there and rest"),
    Key::bool("replay_file", false, "read files from their beginning again at every look"),
    Key::duration("force_flush_period", "500ms", "until a last line counts that has no end"),
    Key::size_bytes("max_log_size", limits::FILE_RECORD_BYTES as i64, "largest record"),
    Key::unsupported("storage", "positions live in memory; see start_at"),
    Key::unsupported("delete_after_read", "delete files that are not needed any more yourself"),
    Key::unsupported("exclude_older_than", "name the files in `include` and `exclude`"),
    Key::unsupported("ordering_criteria", "files are read in the order of their last change"),
    Key::unsupported("multiline", LINES),
    Key::unsupported("header", LINES),
    Key::ignored("encoding", "OTLP/JSON is UTF-8"),
    Key::ignored("compression", ONE_FILE),
    Key::ignored("fingerprint_size", IDENTITY),
    Key::ignored("initial_buffer_size", BOUNDED),
    Key::ignored("max_concurrent_files", BOUNDED),
    Key::ignored("max_batches", BOUNDED),
    Key::ignored("acquire_fs_lock", "files are only read"),
    Key::ignored("include_file_name", AS_IT_IS),
    Key::ignored("include_file_path", AS_IT_IS),
    Key::ignored("include_file_name_resolved", AS_IT_IS),
    Key::ignored("include_file_path_resolved", AS_IT_IS),
    Key::ignored("include_file_owner_name", AS_IT_IS),
    Key::ignored("include_file_owner_group_name", AS_IT_IS),
    Key::ignored("include_file_record_number", AS_IT_IS),
    Key::ignored("preserve_leading_whitespaces", LINES),
    Key::ignored("preserve_trailing_whitespaces", LINES),
];

fn check(section: &Section, problems: &mut Problems) {
    for key in ["include", "exclude"] {
        for pattern in section.list(key) {
            if let Err(text) = Glob::parse(pattern) {
                section.error(problems, key, format!("the pattern {pattern:?} {text}"));
            }
        }
    }
    if section.is_set("include") && section.list("include").is_empty() {
        section.error(problems, "include", "names no file; write paths or patterns");
    }
    if section.duration("poll_interval").is_zero() {
        section.error(problems, "poll_interval", "found 0; write a time such as 200ms");
    }
    let max = limits::FILE_RECORD_BYTES as u64;
    if !(1..=max).contains(&section.bytes("max_log_size")) {
        section.error(problems, "max_log_size", format!("write a size from 1 to {max}"));
    }
    if section.bool("replay_file") && section.text("start_at") == "end" {
        let text = "reads from the beginning; write start_at: beginning as well";
        section.error(problems, "replay_file", text);
    }
    if section.bool("replay_file") && !section.bool("follow") {
        let text = "reads again and again, follow: false reads once; leave one of them out";
        section.error(problems, "replay_file", text);
    }
    if !section.bool("follow") && section.text("start_at") == "end" {
        let text = "reads what is there, start_at: end passes it over; write start_at: beginning";
        section.error(problems, "follow", text);
    }
}

fn settings(section: &Section) -> Settings {
    let globs = |key: &str| section.list(key).iter().flat_map(|text| Glob::parse(text)).collect();
    Settings {
        include: globs("include"),
        exclude: globs("exclude"),
        from_end: section.text("start_at") == "end",
        poll: section.duration("poll_interval"),
        replay: section.bool("replay_file"),
        follow: section.bool("follow"),
        flush: section.duration("force_flush_period"),
        max: usize::try_from(section.bytes("max_log_size")).unwrap_or(limits::FILE_RECORD_BYTES),
    }
}

fn start(section: &Section, setup: Setup) -> Starting {
    let settings = settings(section);
    Box::pin(async move {
        let tasks = TaskTracker::new();
        tasks.spawn(run(settings, setup));
        tasks.close();
        let done = async move { tasks.wait().await };
        Ok(Running { listeners: vec![], done: Box::pin(done) })
    })
}

/// What a receiver had read and not handed over when it was stopped, and where it was.
struct Rest {
    id: String,
    files: Files,
    records: Vec<Record>,
    batches: Vec<Batch>,
}

/// What stopped receivers have left, for those that a reload starts under their ids.
static RESTS: Mutex<Vec<Rest>> = Mutex::new(vec![]);

impl Rest {
    /// What the receiver `id` has left, unless it reads by other settings now.
    fn take(id: &str, settings: Settings) -> Rest {
        let mut rests = RESTS.lock().unwrap_or_else(PoisonError::into_inner);
        let left = rests.iter().position(|rest| rest.id == id).map(|at| rests.swap_remove(at));
        left.filter(|rest| *rest.files.settings() == settings).unwrap_or_else(|| Rest {
            id: id.to_owned(),
            files: Files::new(settings),
            records: vec![],
            batches: vec![],
        })
    }

    fn leave(self) {
        RESTS.lock().unwrap_or_else(PoisonError::into_inner).push(self);
    }
}

/// Pieces of one file that are read in a row while others wait.
const TURN: usize = 64;

/// Reads until it is stopped.
async fn run(settings: Settings, setup: Setup) {
    let (follow, poll, stop) = (settings.follow, settings.poll, &setup.stop);
    let (hand, mut crowd) = (Hand::new(&setup), Crowd::default());
    let Rest { id, mut files, records, batches } = Rest::take(&setup.id, settings);
    hand.offer(batches, Room::default(), &mut crowd).await;
    let mut records = hand.over(records, &mut crowd).await;
    while !stop.is_cancelled() {
        let Some((read, more)) = round(files, &hand, &mut crowd, &mut records).await else {
            error!(receiver = id, "reading has failed; its panic is above");
            return stop.cancelled().await;
        };
        files = read;
        if more {
            continue;
        }
        if !follow {
            crowd.shrink(0).await;
            if !stop.is_cancelled() {
                info!(receiver = id, files = files.len(), "all files are read and taken");
            }
            stop.cancelled().await;
            break;
        }
        files.end_round();
        tokio::select! {
            () = tokio::time::sleep(poll) => {}
            () = stop.cancelled() => {}
        }
    }
    let batches = crowd.finish().await;
    Rest { id, files, records, batches }.leave();
}

/// Reads each file once to its present end, or a good piece of it; whether there may be more.
/// What was read and not handed over is added to `left`. `None` if reading panicked.
async fn round(
    files: Files,
    hand: &Arc<Hand>,
    crowd: &mut Crowd,
    left: &mut Vec<Record>,
) -> Option<(Files, bool)> {
    let (mut files, ()) = blocking(files, |files| files.look(clock::now())).await?;
    let mut more = false;
    for index in 0..files.len() {
        for piece in 1..=TURN {
            if !left.is_empty() || hand.is_stopped() {
                return Some((files, false));
            }
            let read = move |files: &mut Files| files.read(index, clock::now());
            let (found, records) = blocking(files, read).await?;
            files = found;
            if records.is_empty() {
                break;
            }
            left.extend(hand.over(records, crowd).await);
            more |= piece == TURN;
        }
    }
    Some((files, more))
}

/// `work` on `value`, on a thread that may block. `None` if it panicked.
async fn blocking<T: Send + 'static, R: Send + 'static>(
    mut value: T,
    work: impl FnOnce(&mut T) -> R + Send + 'static,
) -> Option<(T, R)> {
    let task = tokio::task::spawn_blocking(move || {
        let result = work(&mut value);
        (value, result)
    });
    task.await.ok()
}

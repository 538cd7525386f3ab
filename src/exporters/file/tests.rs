//! The exporter on real files.

use super::super::backend::section;
use super::*;
use crate::batch::Signal;
use crate::config::Problems;
use crate::otlp::json::from_json;
use crate::otlp::text;
use crate::telemetry::Registry;
use crate::transport::compress::inflate;
use crate::transport::record::{Form, PREFIX, ZSTD, frame_length};
use crate::{clock, limits};
use bytes::Bytes;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

fn try_build(path: &Path, yaml: &str) -> Built {
    let yaml = format!("path: {}\n{yaml}", path.display());
    let registry = Registry::default();
    (KIND.build)(&section("file", &yaml), &Setup { id: "file", registry: &registry })
}

#[track_caller]
fn open(path: &Path, yaml: &str) -> Arc<dyn Exporter> {
    try_build(path, yaml).unwrap_or_else(|error| panic!("{error}"))
}

fn request(name: &str) -> Bytes {
    Bytes::from(text::parse(&format!("span 1/a1 \"{name}\" k=\"v\"")).unwrap())
}

async fn send(exporter: &Arc<dyn Exporter>, name: &str) -> Outcome {
    let segments = vec![request(name)];
    exporter.send(Payload { signal: Signal::Traces, segments, items: 1 }).await
}

async fn deliver(exporter: &Arc<dyn Exporter>, names: impl IntoIterator<Item = &str>) {
    let delivered = Outcome::Delivered { rejected: 0, message: String::new() };
    for name in names {
        assert_eq!(send(exporter, name).await, delivered);
    }
}

/// The requests in a file, in protobuf.
#[track_caller]
fn requests(path: &Path) -> Vec<Bytes> {
    let file = fs::read(path).unwrap();
    let mut rest = &file[..];
    let mut found = vec![];
    while let Some(first) = rest.first() {
        let mut content = match Form::of(*first) {
            Form::Lines => {
                let end = rest.iter().position(|byte| *byte == b'\n').expect("a whole line");
                let (line, next) = rest.split_at(end);
                rest = &next[1..];
                Bytes::copy_from_slice(line)
            }
            Form::Frames => {
                let (prefix, next) = rest.split_at(PREFIX);
                let length = frame_length(prefix.try_into().unwrap()).unwrap();
                let (content, next) = next.split_at(length);
                rest = next;
                Bytes::copy_from_slice(content)
            }
        };
        if content.starts_with(&ZSTD) {
            content = inflate(Encoding::Zstd, &content, limits::REQUEST_BYTES).unwrap();
        }
        if content.starts_with(b"{") {
            let message = Signal::Traces.message();
            content = from_json(message, &content, &limits::REQUEST).unwrap().into();
        }
        found.push(content);
    }
    found
}

/// The names of the spans in a file.
#[track_caller]
fn names(path: &Path) -> Vec<String> {
    let printed = requests(path).into_iter().map(|request| {
        let text = text::print(Signal::Traces.message(), &request);
        text.split('"').nth(1).unwrap().to_owned()
    });
    printed.collect()
}

#[tokio::test]
async fn every_format_reads_back_as_it_was() {
    for (yaml, lines) in [
        ("format: json", true),
        ("format: proto", false),
        ("compression: zstd", false),
        ("{format: proto, compression: zstd, fsync: true}", false),
    ] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("traces");
        let yaml = yaml.trim_matches(['{', '}']).replace(", ", "\n");
        let exporter = open(&path, &yaml);
        deliver(&exporter, ["one", "two"]).await;
        assert_eq!(requests(&path), [request("one"), request("two")], "{yaml}");
        let text = fs::read(&path).unwrap();
        assert_eq!(text.starts_with(b"{\"resourceSpans\""), lines, "{yaml}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{yaml}");
    }
}

#[tokio::test]
async fn a_file_that_is_there_is_emptied_or_continued() {
    let frame = Form::Frames.record(request("old").to_vec());
    let line = Form::Lines.record(to_json(Signal::Traces.message(), &request("old")));
    let cases: [(&str, &[u8], &[&str]); 7] = [
        ("", &line, &["new"]),
        ("append: true", &line, &["old", "new"]),
        ("rotation: {}", &line, &["old", "new"]),
        ("append: true\nformat: proto", &frame, &["old", "new"]),
        ("append: true\nformat: proto", &[&frame[..], &frame[..9]].concat(), &["old", "new"]),
        ("append: true\nformat: proto", &frame[..9], &["new"]),
        ("append: true", b"", &["new"]),
    ];
    for (yaml, before, expected) in cases {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("traces.jsonl");
        fs::write(&path, before).unwrap();
        deliver(&open(&path, yaml), ["new"]).await;
        assert_eq!(names(&path), expected, "{yaml:?} {} bytes", before.len());
    }
}

#[tokio::test]
async fn a_torn_line_does_not_take_the_next_one_with_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("traces.jsonl");
    fs::write(&path, "{\"resourceSp").unwrap();
    deliver(&open(&path, "append: true"), ["new"]).await;
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "{\"resourceSp"));
    assert!(lines[1].contains("new"));
}

#[tokio::test]
async fn what_the_process_has_begun_is_not_emptied_by_a_reload() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("traces.jsonl");
    deliver(&open(&path, ""), ["before"]).await;
    deliver(&open(&path, "fsync: true"), ["after"]).await;
    assert_eq!(names(&path), ["before", "after"]);
}

#[tokio::test]
async fn a_file_is_emptied_with_the_first_record_and_not_before() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("traces.jsonl");
    fs::write(&path, Form::Frames.record(request("old").to_vec())).unwrap();
    drop(open(&path, ""));
    let exporter = open(&path, "");
    assert_eq!(names(&path), ["old"]);
    deliver(&exporter, ["one", "two"]).await;
    assert_eq!(names(&path), ["one", "two"]);
}

#[tokio::test]
async fn exporters_of_one_path_share_it_or_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("traces.jsonl");
    let (first, second) = (open(&path, ""), open(&path, ""));
    deliver(&first, ["one"]).await;
    deliver(&second, ["two"]).await;
    assert_eq!(names(&path), ["one", "two"]);
    let refused = try_build(&path, "format: proto").err().unwrap();
    assert!(refused.contains("is written by another exporter with other keys"), "{refused}");
}

#[tokio::test]
async fn full_files_are_put_aside_and_the_oldest_go() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("traces.jsonl");
    let output = Output::open(Settings {
        path: path.clone(),
        json: true,
        zstd: false,
        append: false,
        rotation: Some(Rotation { max_bytes: 1000, max_age: None, max_backups: Some(2) }),
        fsync: false,
        directories: None,
    });
    let output = output.unwrap();
    let old = rotation::backup(&path, clock::now().unix_nanos / 1_000_000 - 1_000_000);
    fs::write(&old, "").unwrap();
    fs::write(folder.path().join("traces-other.jsonl"), "").unwrap();
    for n in 0..5 {
        let line = to_json(Signal::Traces.message(), &request(&format!("{n}-{}", "x".repeat(500))));
        output.write(&Form::Lines.record(line)).unwrap();
    }
    let mut files: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files.len(), 4, "two put aside, one that is no backup, and the present one");
    assert!(!old.exists() && files.contains(&"traces-other.jsonl".to_owned()));
    let kept = files[..2].iter().flat_map(|name| names(&folder.path().join(name)));
    let kept: Vec<String> = kept.chain(names(&path)).collect();
    let numbers: Vec<&str> = kept.iter().map(|name| &name[..1]).collect();
    assert_eq!(numbers, ["2", "3", "4"], "one record fits, two do not");
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_begun_anew() {
    let folder = TempDir::new().unwrap();
    let (path, moved) = (folder.path().join("traces"), folder.path().join("moved"));
    let exporter = open(&path, "");
    deliver(&exporter, ["one"]).await;
    fs::rename(&path, &moved).unwrap();
    deliver(&exporter, ["two"]).await;
    assert_eq!((names(&moved), names(&path)), (vec!["one".to_owned()], vec!["two".to_owned()]));
}

#[tokio::test]
async fn what_cannot_be_written_is_to_come_again() {
    let exporter = open(Path::new("/dev/full"), "");
    let outcome = send(&exporter, "one").await;
    let Outcome::Retry { after: None, reason } = &outcome else { panic!("{outcome:?}") };
    assert!(reason.starts_with("cannot write /dev/full: No space left"), "{reason}");
    assert!(reason.ends_with("make room on the disk"), "{reason}");
}

#[test]
fn what_keeps_a_file_from_being_written_is_a_sentence_with_place_and_remedy() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("file"), "{}\n").unwrap();
    let cases = [
        ("missing/x", "", "No such file or directory (os error 2); create the directory"),
        ("missing/x", "", "or set create_directory: true (yaml::1:7: path)"),
        (".", "", "Is a directory (os error 21); name a file in it"),
        ("file/x", "", "is a file; choose another path"),
        ("file/x/y", "create_directory: true", "is a file; choose another path"),
        ("file", "append: true\nformat: proto", "it holds the other of JSON lines and length-"),
    ];
    for (path, yaml, expected) in cases {
        let error = try_build(&folder.path().join(path), yaml).err().unwrap();
        assert!(error.starts_with("cannot write ") && error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn directories_are_created_with_their_permissions() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a/b/traces.jsonl");
    let yaml = "create_directory: true\ndirectory_permissions: \"0700\"";
    deliver(&open(&path, yaml), ["one"]).await;
    assert_eq!(names(&path), ["one"]);
    let mode = fs::metadata(path.parent().unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn relations_between_keys_are_checked() {
    let cases = [
        ("path: \"\"", "path: found nothing; name a file"),
        ("path: x\ndirectory_permissions: \"0999\"", "found \"0999\"; write octal digits"),
        ("path: x\ndirectory_permissions: \"0700\"", "has no effect without create_directory"),
        ("path: x\nrotation: {localtime: true}", "rotation::localtime: names carry UTC"),
        ("path: x\nflush_interval: 1s", "flush_interval: "),
    ];
    for (yaml, expected) in cases {
        let mut problems = Problems::new();
        let node = crate::config::parse::parse(yaml, "yaml:").unwrap();
        let section = Section::check(&node, KEYS, "", &mut problems);
        check(&section, &mut problems);
        assert!(problems.to_string().contains(expected), "{problems}");
    }
}

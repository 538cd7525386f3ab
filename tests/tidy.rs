//! The style of the tree, checked: every offence is listed with file, line and rule. The rules are
//! those of ARCHITECTURE.md; `tidy/rules.rs` has them as functions on text.

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/rules_tests.rs"]
mod rules_tests;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// ARCHITECTURE.md is read in one sitting.
const ARCHITECTURE_LINES: usize = 200;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_default()
}

/// All files below `folder`, as paths relative to `base`.
fn walk(folder: &Path, base: &Path, files: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, base, files)?;
        } else if let Ok(name) = path.strip_prefix(base) {
            files.push(name.to_string_lossy().replace('\\', "/"));
        }
    }
    files.sort();
    Ok(())
}

fn sources() -> Vec<(String, String)> {
    let (src, mut names) = (root().join("src"), Vec::new());
    walk(&src, &src, &mut names).expect("src can be read");
    names.retain(|name| name.ends_with(".rs"));
    names.into_iter().map(|name| (name.clone(), read(&format!("src/{name}")))).collect()
}

#[track_caller]
fn none(offences: Vec<String>) {
    assert!(offences.is_empty(), "{} offences:\n{}", offences.len(), offences.join("\n"));
}

#[test]
fn sources_keep_the_rules() {
    let files = sources();
    assert!(!files.is_empty(), "src holds no Rust file");
    let mut offences = rules::unreachable(&files);
    offences.extend(files.iter().flat_map(|(path, text)| rules::source(path, text)));
    none(offences);
}

#[test]
fn dependencies_say_what_they_are_for() {
    none(rules::unexplained(&read("Cargo.toml")));
}

#[test]
fn the_map_is_short_and_shows_every_room() {
    let map = read("ARCHITECTURE.md");
    let mut offences = Vec::new();
    if map.lines().count() >= ARCHITECTURE_LINES {
        offences.push(format!("ARCHITECTURE.md: at most {} lines", ARCHITECTURE_LINES - 1));
    }
    let rooms = rules::LAYERS.iter().map(|(room, _)| room);
    let lost = rooms.filter(|room| !map.contains(&format!("`{room}`")));
    offences.extend(lost.map(|room| format!("ARCHITECTURE.md: the room `{room}` is not shown")));
    none(offences);
}

/// Sample configurations exist where they are mentioned and are mentioned where they exist.
#[test]
fn samples_and_their_mentions_agree() {
    let mut texts = read("README.md") + &read("ARCHITECTURE.md");
    texts.extend(sources().into_iter().map(|(_, text)| text));
    let mut samples = Vec::new();
    walk(&root().join("config"), &root(), &mut samples).unwrap_or_default();
    let silent = samples.iter().filter(|sample| !texts.contains(*sample));
    let mut offences: Vec<String> =
        silent.map(|sample| format!("{sample}:1: mentioned nowhere")).collect();
    for rest in texts.split("config/").skip(1) {
        let name: String =
            rest.chars().take_while(|c| c.is_alphanumeric() || "._-".contains(*c)).collect();
        if name.ends_with(".yaml") && !samples.contains(&format!("config/{name}")) {
            offences.push(format!("config/{name} is mentioned and does not exist"));
        }
    }
    none(offences);
}

#[test]
fn no_tracked_file_names_a_path_of_one_machine() {
    let listed = Command::new("git").arg("ls-files").current_dir(root()).output();
    let Some(listed) = listed.ok().filter(|output| output.status.success()) else {
        return println!("skipped: this is not a git checkout");
    };
    let names = String::from_utf8_lossy(&listed.stdout);
    none(names.lines().flat_map(|name| rules::machine_paths(name, &read(name))).collect());
}

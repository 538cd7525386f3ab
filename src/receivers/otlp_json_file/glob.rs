//! Patterns of paths: `*` and `?` within a name, `**` over directories, `[a-z]`, `[^a]`, `{a,b}`.

use crate::limits;
use regex::Regex;
use std::fs;
use std::path::{Path, PathBuf};

/// A pattern, ready to be asked.
#[derive(Clone, Debug)]
pub(super) struct Glob {
    text: String,
    /// Where to look: the directories before the first special character.
    base: PathBuf,
    /// Levels of names behind it.
    depth: usize,
    whole: Regex,
}

const SPECIAL: [char; 6] = ['*', '?', '[', '{', '\\', ']'];

impl PartialEq for Glob {
    fn eq(&self, other: &Glob) -> bool {
        self.text == other.text
    }
}

impl Glob {
    /// The error says what is wrong with the pattern.
    pub(super) fn parse(text: &str) -> Result<Glob, String> {
        let text = text.strip_prefix("./").unwrap_or(text);
        if text.is_empty() {
            return Err("is empty; write a path or pattern such as traces*.jsonl".to_owned());
        }
        let whole = Regex::new(&format!("^(?s:{})$", translate(text)?))
            .map_err(|_| "is no valid pattern; check the brackets".to_owned())?;
        let names: Vec<&str> = text.split('/').collect();
        let is_fixed = |name: &&&str| !name.contains(SPECIAL);
        let fixed = names.iter().take_while(is_fixed).count().min(names.len() - 1);
        let base = names.get(..fixed).unwrap_or_default().join("/");
        let base = if text.starts_with('/') { format!("{base}/") } else { base };
        let depth = match text.contains("**") {
            true => limits::GLOB_DEPTH,
            false => names.len() - fixed,
        };
        Ok(Glob { text: text.to_owned(), base: PathBuf::from(base), depth, whole })
    }

    pub(super) fn matches(&self, path: &Path) -> bool {
        path.to_str()
            .is_some_and(|text| self.whole.is_match(text.strip_prefix("./").unwrap_or(text)))
    }

    /// Adds the files that match. `false` if there was too much to look at.
    pub(super) fn find(&self, found: &mut Vec<PathBuf>) -> bool {
        let mut left = limits::GLOB_ENTRIES;
        self.walk(&self.base, self.depth, &mut left, found);
        left > 0
    }

    fn walk(&self, folder: &Path, depth: usize, left: &mut usize, found: &mut Vec<PathBuf>) {
        let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        for entry in fs::read_dir(here).into_iter().flatten().flatten() {
            *left = left.saturating_sub(1);
            if *left == 0 {
                return;
            }
            let path = folder.join(entry.file_name());
            let Ok(kind) = fs::metadata(&path) else { continue };
            if kind.is_dir() && depth > 1 {
                self.walk(&path, depth - 1, left, found);
            } else if kind.is_file() && self.matches(&path) {
                found.push(path);
            }
        }
    }
}

/// The pattern as a regular expression.
fn translate(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text.chars().peekable();
    let (mut braces, mut at_name) = (0, true);
    while let Some(c) = rest.next() {
        let begins = std::mem::replace(&mut at_name, c == '/');
        match c {
            '*' if rest.peek() == Some(&'*') => {
                rest.next();
                if begins && rest.peek() == Some(&'/') {
                    rest.next();
                    at_name = true;
                    out.push_str("(?:.*/)?");
                } else {
                    out.push_str(".*");
                }
            }
            '*' => out.push_str("[^/]*"),
            '?' => out.push_str("[^/]"),
            '[' => class(&mut rest, &mut out)?,
            '{' => {
                braces += 1;
                out.push_str("(?:");
            }
            '}' if braces > 0 => {
                braces -= 1;
                out.push(')');
            }
            ',' if braces > 0 => out.push('|'),
            '\\' => literal(rest.next().unwrap_or('\\'), &mut out),
            c => literal(c, &mut out),
        }
    }
    match braces {
        0 => Ok(out),
        _ => Err("has a { without its }".to_owned()),
    }
}

fn class(rest: &mut impl Iterator<Item = char>, out: &mut String) -> Result<(), String> {
    let mut inner = String::new();
    for c in rest {
        match c {
            ']' if !inner.trim_start_matches(['^', '!']).is_empty() => {
                let (not, inner) = match inner.strip_prefix(['^', '!']) {
                    Some(inner) => ("^/", inner),
                    None => ("", inner.as_str()),
                };
                out.push_str(&format!("[{not}{inner}]"));
                return Ok(());
            }
            // What is special in a class of regular expressions and is not in one of patterns.
            '[' | '&' | '~' | '\\' | ']' => inner.extend(['\\', c]),
            c => inner.push(c),
        }
    }
    Err("has a [ without its ]".to_owned())
}

fn literal(c: char, out: &mut String) {
    out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    #[test]
    fn patterns_match_as_in_the_shell() {
        let cases = [
            ("*.json", "a.json", true),
            ("*.json", "./a.json", true),
            ("./*.json", "a.json", true),
            ("*.json", "b/a.json", false),
            ("*.json", "a.jsonl", false),
            ("*.json", ".hidden.json", true),
            ("/var/log/*/x?.log", "/var/log/pod/x1.log", true),
            ("/var/log/*/x?.log", "/var/log/pod/x.log", false),
            ("/var/**/x.log", "/var/x.log", true),
            ("/var/**/x.log", "/var/a/b/x.log", true),
            ("/var/**/x.log", "/var/a/b/xx.log", false),
            ("/var/**", "/var/a/b", true),
            ("a{b,cd*}.json", "acde.json", true),
            ("a{b,cd}.json", "ac.json", false),
            ("a,b", "a,b", true),
            ("[a-c]1", "b1", true),
            ("[a-c]1", "d1", false),
            ("[^a]1", "b1", true),
            ("[!a]1", "a1", false),
            ("[^a]1", "/1", false),
            ("a.b+(c)", "a.b+(c)", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
        ];
        for (pattern, path, expected) in cases {
            let glob = Glob::parse(pattern).unwrap_or_else(|e| panic!("{pattern} {e}"));
            assert_eq!(glob.matches(Path::new(path)), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_said() {
        let wrong = [("", "empty"), ("[a", "without its ]"), ("{a", "}"), ("[z-a]", "brackets")];
        for (pattern, expected) in wrong {
            let error = Glob::parse(pattern).unwrap_err();
            assert!(error.contains(expected), "{pattern}: {error}");
        }
    }

    #[test]
    fn files_are_found_where_the_pattern_can_match() {
        let folder = TempDir::new().unwrap();
        let base = folder.path();
        fs::create_dir_all(base.join("a/b")).unwrap();
        for name in ["x.json", "x.txt", "a/x.json", "a/b/x.json"] {
            fs::write(base.join(name), "").unwrap();
        }
        let cases: [(&str, &[&str]); 5] = [
            ("*.json", &["x.json"]),
            ("*/*.json", &["a/x.json"]),
            ("**/*.json", &["a/b/x.json", "a/x.json", "x.json"]),
            ("a/x.json", &["a/x.json"]),
            ("missing/*", &[]),
        ];
        for (pattern, expected) in cases {
            let mut found = vec![];
            let glob = Glob::parse(&format!("{}/{pattern}", base.display())).unwrap();
            assert!(glob.find(&mut found));
            found.sort();
            let found: Vec<_> = found.iter().map(|p| p.strip_prefix(base).unwrap()).collect();
            assert_eq!(found, expected.iter().map(Path::new).collect::<Vec<_>>(), "{pattern}");
        }
    }
}

//! Reading the sources: the only part of this room that touches files and the environment.

use std::io::Read;

use super::expand;
use super::merge;
use super::node::{Node, Place, Value};
use super::parse;
use super::problem::{Problem, Problems, Severity};
use crate::limits::CONFIG_BYTES;

/// What the configuration may ask the outside for, as functions, so that tests need neither files
/// nor environment variables.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// The value of an environment variable; `None` if it is not set.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The text of a file; the error is a sentence without the path.
    pub file: &'a dyn Fn(&str) -> Result<String, String>,
}

impl World<'static> {
    /// The process's own environment and file system.
    pub fn system() -> World<'static> {
        World { env: &system_env, file: &system_file }
    }
}

/// Reads `--config` values (`FILE`, `file:FILE`, `env:VAR`, `yaml:TEXT`) and `--set` values
/// (`a.b.c=v`), merges them in that order and expands the result. The error holds the problems of
/// all sources.
pub fn load(configs: &[String], sets: &[String], world: &World<'_>) -> Result<Node, Problems> {
    let mut problems = Problems::new();
    let whole = merged(configs, sets, world, &mut problems);
    let whole = expand::expand(whole, world, &mut problems);
    problems.into_result(whole).map(|(whole, _)| whole)
}

/// The sources read and merged, not yet expanded. A source that cannot be read is reported and
/// left out.
pub(super) fn merged(
    configs: &[String],
    sets: &[String],
    world: &World<'_>,
    problems: &mut Problems,
) -> Node {
    let mut whole = Node::new(Value::Null, Place::new("configuration", 1, 1));
    let sources = configs.iter().map(|config| source(config, world));
    let sets = sets.iter().map(|text| merge::set(text));
    for tree in sources.chain(sets) {
        match tree {
            // An empty file takes nothing away, unlike an explicit null further down.
            Ok(tree) if tree.is_null() && !whole.is_null() => {}
            Ok(tree) => whole = merge::merge(whole, tree),
            Err(problem) => problems.push(problem),
        }
    }
    whole
}

/// The tree of one `--config` value.
fn source(config: &str, world: &World<'_>) -> Result<Node, Problem> {
    if let Some(text) = config.strip_prefix("yaml:") {
        return parse::parse(text, "yaml:").map(merge::unfold);
    }
    if let Some(name) = config.strip_prefix("env:") {
        let Some(text) = (world.env)(name) else {
            let right = "set it to the text of a configuration";
            return Err(refuse(config, format!("the environment variable is not set; {right}")));
        };
        return parse::parse(&text, config);
    }
    if config.starts_with("http:") || config.starts_with("https:") {
        let right = "fetch it to a file and name that file";
        return Err(refuse(config, format!("configuration is not read from the web; {right}")));
    }
    let path = config.strip_prefix("file:").unwrap_or(config);
    match (world.file)(path) {
        Ok(text) => parse::parse(&text, path),
        Err(error) => Err(refuse(path, format!("the file cannot be read: {error}"))),
    }
}

fn refuse(source: &str, text: String) -> Problem {
    Problem { severity: Severity::Error, place: None, path: source.to_owned(), text }
}

#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
fn system_env(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

fn system_file(path: &str) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    // One byte more than allowed, so that the limit shows instead of a silent cut.
    let limit = u64::try_from(CONFIG_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > CONFIG_BYTES {
        return Err(format!("it has more than {CONFIG_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(configs: &[&str], sets: &[&str]) -> Result<Node, String> {
        let env = |name: &str| match name {
            "CONF" => Some("a: {b: 1}\nc: ${env:PORT}".to_owned()),
            "PORT" => Some("4317".to_owned()),
            _ => None,
        };
        let file = |path: &str| match path {
            "one.yaml" => Ok("a: {x: 1, list: [1, 2]}\np:\n  q: 1\n".to_owned()),
            "two.yaml" => Ok("a: {y: '${PORT}', list: [3]}\np:\n".to_owned()),
            "bad.yaml" => Ok("a:\n\tb: 1\n".to_owned()),
            "empty.yaml" => Ok("# nothing\n".to_owned()),
            _ => Err("no such file".to_owned()),
        };
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let world = World { env: &env, file: &file };
        load(&owned(configs), &owned(sets), &world).map_err(|problems| problems.to_string())
    }

    #[track_caller]
    fn check(configs: &[&str], sets: &[&str], expected: &str) {
        let found = run(configs, sets).unwrap();
        let expected = parse::parse(expected, "expected").unwrap();
        // What an expansion typed also remembers its text; only the values are compared here.
        assert_eq!(format!("{}", Shape(&found)), format!("{}", Shape(&expected)));
    }

    struct Shape<'a>(&'a Node);

    impl std::fmt::Display for Shape<'_> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            match &self.0.value {
                Value::List(items) => items.iter().try_for_each(|i| write!(f, "[{}]", Shape(i))),
                Value::Map(entries) => {
                    entries.iter().try_for_each(|e| write!(f, "{{{}: {}}}", e.name, Shape(&e.node)))
                }
                scalar => write!(f, "{scalar:?}"),
            }
        }
    }

    #[test]
    fn sources_merge_in_order_and_sets_win() {
        check(&["one.yaml"], &[], "{a: {x: 1, list: [1, 2]}, p: {q: 1}}");
        let both = "{a: {x: 1, list: [3], y: '4317'}, p: }";
        check(&["one.yaml", "file:two.yaml"], &[], both);
        check(&["env:CONF"], &[], "{a: {b: 1}, c: 4317}");
        check(&["yaml:a::b: 2"], &[], "{a: {b: 2}}");
        check(&["env:CONF", "yaml:{a: {c: 2}}"], &["a.b=3"], "{a: {b: 3, c: 2}, c: 4317}");
        check(&["one.yaml"], &["a=${env:PORT}", "p.q=2"], "{a: 4317, p: {q: 2}}");
        check(&["env:CONF", "empty.yaml"], &[], "{a: {b: 1}, c: 4317}");
    }

    #[test]
    fn the_problems_of_all_sources_come_together() {
        let configs = ["gone.yaml", "bad.yaml", "env:NOPE", "https://a/b", "yaml:a: ${env:NO}"];
        assert_eq!(
            run(&configs, &["x"]).unwrap_err(),
            "gone.yaml: the file cannot be read: no such file\n\
             bad.yaml:2:2: is not YAML: tabs disallowed within this context (block indentation); \
             indent with spaces, not with tabs\n\
             env:NOPE: the environment variable is not set; set it to the text of a \
             configuration\n\
             https://a/b: configuration is not read from the web; fetch it to a file and name \
             that file\n\
             --set:1:1: found \"x\" without an equals sign; write a.b.c=value such as \
             exporters.debug.verbosity=detailed\n\
             yaml::1:4: a: the environment variable NO is not set; set it, or write a default: \
             ${env:NO:-value}"
        );
    }

    #[test]
    fn files_that_are_no_configuration_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latin1.yaml");
        std::fs::write(&path, b"a: \xff").unwrap();
        let read = |path: &std::path::Path| system_file(path.to_str().unwrap());
        assert_eq!(read(&path), Err("it is not UTF-8 text".to_owned()));
        std::fs::write(&path, vec![b'#'; CONFIG_BYTES + 1]).unwrap();
        assert_eq!(read(&path), Err("it has more than 4194304 bytes".to_owned()));
        std::fs::write(&path, "a: 1").unwrap();
        assert_eq!(read(&path), Ok("a: 1".to_owned()));
    }
}

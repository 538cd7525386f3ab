//! Reading the sources: the only part of this room that touches files and the environment.

use super::node::Node;
use super::problem::Problems;

/// What the configuration may ask the outside for, as functions, so that tests need neither files
/// nor environment variables.
pub struct World<'a> {
    /// The value of an environment variable; `None` if it is not set.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The text of a file; the error is a sentence without the path.
    pub file: &'a dyn Fn(&str) -> Result<String, String>,
}

/// Reads `--config` values (`FILE`, `file:FILE`, `env:VAR`, `yaml:TEXT`) and `--set` values
/// (`a.b.c=v`), merges them in that order and expands the result.
pub fn load(configs: &[String], sets: &[String], world: &World<'_>) -> Result<Node, Problems> {
    let _ = (configs, sets, world);
    Err(Problems::new())
}

impl World<'static> {
    /// The process's own environment and file system.
    pub fn system() -> World<'static> {
        World {
            env: &system_env,
            file: &system_file,
        }
    }
}

fn system_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn system_file(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| e.to_string())
}

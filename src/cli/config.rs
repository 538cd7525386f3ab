//! The configuration that the arguments name.

use super::args::Config;
use crate::config::{Document, Problems, World};
use crate::pipeline::catalog::catalog;

/// What runs when no configuration is named.
pub const DEFAULT: &str = include_str!("../../config/default.yaml");

/// The checked document of `config`; the embedded default if it names none.
pub fn read(config: &Config) -> Result<Document, Problems> {
    let mut sources = config.config.clone();
    if sources.is_empty() {
        sources.push(format!("yaml:{DEFAULT}"));
    }
    Document::load(&sources, &config.set, &World::system(), &catalog())
}

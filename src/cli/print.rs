//! `validate`, `print-config`, `schema`: what can be said about a configuration without running it.

use super::args::Config;
use super::{USAGE, config, fail};
use crate::config::{print, schema};
use crate::pipeline::catalog::catalog;
use std::process::ExitCode;

/// Prints all problems, one per line.
pub fn validate(options: &Config) -> ExitCode {
    match config::read(options) {
        Ok(document) => {
            for warning in document.warnings.iter() {
                eprintln!("{warning}");
            }
            println!("the configuration is valid");
            ExitCode::SUCCESS
        }
        Err(problems) => {
            eprintln!("{problems}");
            let errors = problems.errors().count();
            fail(USAGE, format!("{errors} error{}", if errors == 1 { "" } else { "s" }))
        }
    }
}

/// Prints the effective configuration as YAML that is read as the same.
pub fn config(options: &Config) -> ExitCode {
    match config::read(options) {
        Ok(document) => {
            print!("{}", print::print(&document));
            ExitCode::SUCCESS
        }
        Err(problems) => fail(USAGE, format!("the configuration is not usable:\n{problems}")),
    }
}

/// Prints the JSON Schema.
pub fn schema() -> ExitCode {
    println!("{:#}", schema::schema(&catalog()));
    ExitCode::SUCCESS
}

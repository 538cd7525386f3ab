//! `diagnose`: what tore the traces in some files, and what mends them.
//!
//! The spans go through the same `orphans` processor as in the daemon, in their own time; the
//! report says what the processor wrote onto them, and adds the remedies.

mod finding;
mod jaeger;
mod json;
mod read;
mod replay;
mod report;
mod tree;

use super::{FAILED, TORN, fail};
use crate::config::World;
use finding::Findings;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// What to look at, and how to say it.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Files of spans: OTLP as JSON, protobuf or written by the `file` exporter, or JSON of Jaeger;
    /// `-` is the standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// `text` for people; `json` is one object for each finding, on a line of its own
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Torn runs that are drawn as trees
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

/// Exit 0 if no trace is torn, 3 if one is.
pub fn diagnose(options: &Options) -> ExitCode {
    match findings(options).and_then(|all| print(&all, options)) {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::from(TORN),
        Err(error) => fail(FAILED, error),
    }
}

fn findings(options: &Options) -> Result<Findings, String> {
    let mut batches = vec![];
    for file in &options.files {
        batches.extend(read::read(file)?);
    }
    Ok(Findings::of(&replay::replay(&batches)?))
}

/// Prints what was found; whether anything was.
fn print(all: &Findings, options: &Options) -> Result<bool, String> {
    let plain = (World::system().env)("NO_COLOR").is_some_and(|value| !value.is_empty());
    let mut out = io::stdout().lock();
    let text = match options.format {
        Format::Json => all.found.iter().fold(String::new(), |mut lines, finding| {
            let _ = writeln!(lines, "{}", json::json(all, finding));
            lines
        }),
        Format::Text => {
            let colour = io::stdout().is_terminal() && !plain;
            report::report(all, &report::Options { colour, limit: options.limit })
        }
    };
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| format!("cannot print: {error}"))?;
    Ok(!all.found.is_empty())
}

//! The command line: one file for each command.

#![expect(clippy::print_stdout, reason = "commands print what they were asked for")]

mod args;
mod ask;
mod client;
mod components;
mod config;
mod demo;
mod diagnose;
mod health;
mod load;
mod manual;
mod print;
mod replay;
mod run;
mod status;

use args::{Args, Command};
use clap::Parser;
use std::process::ExitCode;

/// Exit codes: 0 done, 1 configuration or usage, 2 failed at run time, 3 a trace is torn.
const USAGE: u8 = 1;
const FAILED: u8 = 2;
const TORN: u8 = 3;

/// Reads the arguments and does what they say.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    match args.command {
        None => run::run(args.config, args.workers),
        Some(Command::Validate(config)) => print::validate(&args.config.and(config)),
        Some(Command::PrintConfig(config)) => print::config(&args.config.and(config)),
        Some(Command::Components) => components::components(),
        Some(Command::Schema) => print::schema(),
        Some(Command::Demo(options)) => demo::demo(&options),
        Some(Command::Diagnose(options)) => diagnose::diagnose(&options),
        Some(Command::Load(options)) => load::load(&options),
        Some(Command::Status(options)) => status::status(&options),
        Some(Command::Replay(options)) => replay::replay(&options),
        Some(Command::Health(options)) => health::health(&options),
        Some(Command::Completions(options)) => manual::completions(&options),
        Some(Command::Man) => manual::man(),
    }
}

/// Ends with a sentence on standard error.
fn fail(code: u8, sentence: impl std::fmt::Display) -> ExitCode {
    eprintln!("spanloom: {sentence}");
    ExitCode::from(code)
}

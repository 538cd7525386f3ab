//! `spanloom`: run.

use super::args::Config;
use super::{FAILED, USAGE, config, fail};
use crate::daemon;
use std::process::ExitCode;
use tracing::warn;

/// Runs the daemon until it is told to end.
pub fn run(options: Config) -> ExitCode {
    let document = match config::read(&options) {
        Ok(document) => document,
        Err(problems) => {
            return fail(USAGE, format!("the configuration is not usable:\n{problems}"));
        }
    };
    daemon::start_log(&document.telemetry);
    for warning in document.warnings.iter() {
        warn!("{warning}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(FAILED, format!("cannot start worker threads: {error}")),
    };
    let reload = move || config::read(&options).map_err(|problems| problems.to_string());
    match runtime.block_on(daemon::run(document, reload)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(errors) => fail(FAILED, errors.join("\nspanloom: ")),
    }
}

//! `spanloom`: run.

use super::args::Config;
use super::{FAILED, USAGE, config, fail};
use crate::daemon;
use crate::sockets::Sockets;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use tracing::warn;

/// Runs the daemon until it is told to end.
pub fn run(options: Config, workers: Option<NonZeroUsize>) -> ExitCode {
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
    let sockets = match Sockets::inherited() {
        Ok(sockets) => sockets,
        Err(error) => return fail(FAILED, error),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers.map_or_else(default_workers, NonZeroUsize::get))
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(FAILED, format!("cannot start worker threads: {error}")),
    };
    let reload = move || config::read(&options).map_err(|problems| problems.to_string());
    match runtime.block_on(daemon::run(document, sockets, reload)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(errors) => fail(FAILED, errors.join("\nspanloom: ")),
    }
}

/// Half of the cores: the kernel spends about as much on the sockets as we do on the bytes, and
/// workers that find no core free cost 15 to 25 % more for each span in waking each other.
fn default_workers() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    cores.div_ceil(2)
}

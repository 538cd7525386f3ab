//! `replay`: sends dead letters again, and removes those that are taken.
//!
//! A letter is what [`delivery`](crate::delivery) has written: a request in `.otlp`, and why it was
//! refused in `.json`. They go in the order of their names, which is that of time.

use super::client::client;
use super::{FAILED, USAGE, fail};
use crate::batch::{Batch, Signal};
use crate::clock;
use crate::exporters::{Exporter, Outcome, Payload};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What to send where.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// The folder with the letters: `dead` in the directory of a file_storage
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Where to send; :4317 speaks gRPC, any other port HTTP, unless --protocol says otherwise
    #[arg(long, value_name = "URL")]
    endpoint: String,
    /// grpc or http/protobuf
    #[arg(long)]
    protocol: Option<String>,
    /// Leave letters where they are after they were taken
    #[arg(long)]
    keep: bool,
}

/// Exit 0 if all were taken, 2 if not.
pub fn replay(options: &Options) -> ExitCode {
    let letters = match letters(&options.directory) {
        Ok(letters) => letters,
        Err(error) => return fail(USAGE, format!("{}: {error}", options.directory.display())),
    };
    let grpc = match options.protocol.as_deref() {
        Some(protocol) => protocol == "grpc",
        None => options.endpoint.ends_with(":4317"),
    };
    let kind = if grpc { "otlp_grpc" } else { "otlp_http" };
    let client = match client(kind, &options.endpoint) {
        Ok(client) => client,
        Err(error) => return fail(USAGE, error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(FAILED, format!("cannot start: {error}")),
    };
    let (mut taken, mut items) = (0, 0);
    for letter in &letters {
        let sent = runtime.block_on(send(&*client, letter));
        match sent.and_then(|n| if options.keep { Ok(n) } else { remove(letter).map(|()| n) }) {
            Ok(n) => (taken, items) = (taken + 1, items + n),
            Err(error) => eprintln!("spanloom: {}: {error}", letter.display()),
        }
    }
    println!("{taken} of {} letters were taken: {items} items", letters.len());
    if taken == letters.len() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

fn letters(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|suffix| suffix == "otlp"));
    paths.sort();
    Ok(paths)
}

/// Sends one letter; how many items it had.
async fn send(client: &dyn Exporter, letter: &Path) -> Result<usize, String> {
    let bytes = std::fs::read(letter).map_err(|error| error.to_string())?;
    let stem = letter.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let signal = stem.as_deref().and_then(|stem| stem.rsplit('.').next());
    let signal = Signal::ALL.into_iter().find(|of| Some(of.name()) == signal);
    let signal = signal.ok_or("its name ends in none of .traces, .logs, .metrics")?;
    let batch = Batch::parse(signal, bytes.into(), clock::now()).map_err(|e| e.to_string())?;
    let items = batch.items();
    let payload = Payload { signal, segments: vec![batch.bytes().clone()], items };
    match client.send(payload).await {
        Outcome::Delivered { rejected: 0, .. } => Ok(items),
        Outcome::Delivered { rejected, message } => {
            Err(format!("{rejected} of {items} items are rejected again: {message}"))
        }
        Outcome::Retry { reason, .. }
        | Outcome::TooLarge { reason }
        | Outcome::Refused { reason } => Err(reason),
    }
}

fn remove(letter: &Path) -> Result<(), String> {
    let removed = std::fs::remove_file(letter);
    removed.map_err(|error| format!("was taken and cannot be removed: {error}"))?;
    let _ = std::fs::remove_file(letter.with_extension("json"));
    Ok(())
}

//! `demo`: a broken multi-agent run, before and after, in one terminal.
//!
//! The run is a scenario in the text notation. It is sent as real OTLP through a spanloom that the
//! demo starts, or into one that already runs, and nothing about its result is prepared. It is
//! played twice: `orphans` first tags what is torn, then joins it.

mod stage;

use super::{FAILED, fail};
use crate::exporters::tree;
use crate::otlp::text;
use bytes::Bytes;
use stage::Mode;
use std::process::ExitCode;

const SCENARIO: &str = include_str!("scenario.txt");

/// Columns of each side; two fit a wide terminal.
const COLUMN: usize = 78;

/// Where the demo plays.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Send into a spanloom that runs here (OTLP/HTTP) instead of starting one
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
}

/// Plays the scenario and prints it.
pub fn demo(options: &Options) -> ExitCode {
    let requests = match scenario() {
        Ok(requests) => requests,
        Err(error) => return fail(FAILED, error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(FAILED, format!("cannot start: {error}")),
    };
    if let Some(endpoint) = &options.endpoint {
        return match runtime.block_on(stage::send(endpoint, &requests)) {
            Ok(()) => {
                println!("sent {} requests to {endpoint}; see its backend", requests.len());
                ExitCode::SUCCESS
            }
            Err(error) => fail(FAILED, error),
        };
    }
    let play = |mode| runtime.block_on(stage::play(&requests, mode));
    match play(Mode::Tag).and_then(|tagged| Ok((tagged, play(Mode::Rewrite)?))) {
        Ok((tagged, joined)) => {
            print!("{}", beside(&picture(&requests, COLUMN), &picture(&tagged, COLUMN)));
            let processors = Mode::Rewrite.processors();
            println!(
                "\nWHAT IT RECEIVES WITH orphans: {{mode: rewrite}}, processors: {processors}"
            );
            print!("{}", picture(&joined, 2 * COLUMN));
            ExitCode::SUCCESS
        }
        Err(error) => fail(FAILED, error),
    }
}

/// The scenario's requests in the order of arrival.
fn scenario() -> Result<Vec<Bytes>, String> {
    SCENARIO.split("---\n").map(|block| text::parse(block).map(Bytes::from)).collect()
}

fn picture(requests: &[Bytes], width: usize) -> String {
    let options = tree::Options { content: true, width, ..tree::Options::default() };
    tree::render(requests, &options)
}

/// Two texts in two columns.
fn beside(left: &str, right: &str) -> String {
    let mut out = format!("{:COLUMN$} │ {}\n", "WHAT THE AGENTS SENT", "WHAT THE BACKEND RECEIVED");
    let (mut left, mut right) = (left.lines(), right.lines());
    loop {
        let row = (left.next(), right.next());
        if row == (None, None) {
            return out;
        }
        let (l, r) = (row.0.unwrap_or_default(), row.1.unwrap_or_default());
        let pad = COLUMN.saturating_sub(l.chars().count());
        out.push_str(&format!("{l}{:pad$} │ {r}\n", ""));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scenario_is_valid_and_holds_what_must_not_leave() {
        let requests = scenario().expect("the scenario parses");
        assert_eq!(requests.len(), 6);
        let all: Vec<u8> = requests.concat();
        assert!(String::from_utf8_lossy(&all).contains("4111 1111 1111 1111"));
    }
}

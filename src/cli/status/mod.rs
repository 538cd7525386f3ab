//! `status`: what a running spanloom says of itself, as a view that is drawn anew each second, or
//! once.

mod json;
mod number;
mod view;

use super::ask::ask;
use super::{FAILED, USAGE, fail};
use crate::config::Endpoint;
use crate::status::{ADDRESS, METHOD, Status, message};
use crate::transport::grpc::{self, PREFIX, Prefix};
use bytes::Bytes;
use http::Request;
use http::header::{CONTENT_TYPE, TE};
use http_body_util::Full;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

/// Whom to ask, and how to show it.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Where the status extension listens
    #[arg(long, value_name = "HOST:PORT", default_value = ADDRESS)]
    endpoint: String,
    /// Print once instead of drawing anew each second; so it is without a terminal
    #[arg(long)]
    once: bool,
    /// json prints once, for programs
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

/// Time from one drawing to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// To the upper left corner, and everything gone below.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Asks and prints until interrupted, or once.
pub fn status(options: &Options) -> ExitCode {
    let endpoint = match Endpoint::parse(&options.endpoint) {
        Ok(endpoint) if matches!(endpoint.scheme, None | Some("http")) => endpoint,
        Ok(_) => return fail(USAGE, format!("{}: write host:port", options.endpoint)),
        Err(right) => return fail(USAGE, format!("{}: {right}", options.endpoint)),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(FAILED, format!("cannot start: {error}")),
    };
    let once = options.once || options.format == Format::Json || !io::stdout().is_terminal();
    match runtime.block_on(show(&endpoint.authority(0), options.format, once)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => fail(FAILED, sentence),
    }
}

async fn show(address: &str, format: Format, once: bool) -> Result<(), String> {
    let mut before: Option<Status> = None;
    loop {
        let status = get(address).await?;
        let text = match format {
            Format::Json => format!("{:#}\n", json::json(&status)),
            Format::Text => {
                // Another process counts from zero.
                let same = |other: &&Status| other.started == status.started;
                view::view(&status, before.as_ref().filter(same))
            }
        };
        if once {
            return print(&text);
        }
        print(&format!("{CLEAR}{text}"))?;
        before = Some(status);
        tokio::time::sleep(PAUSE).await;
    }
}

fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| format!("cannot print: {error}"))
}

/// One call.
async fn get(address: &str) -> Result<Status, String> {
    let empty = Prefix { compressed: false, len: 0 }.bytes();
    let request = Request::post(format!("http://{address}{METHOD}"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .body(Full::new(Bytes::copy_from_slice(&empty)))
        .map_err(|error| format!("{address} is no address: {error}"))?;
    let answer = ask(true, request).await.map_err(|error| {
        format!(
            "{address} does not answer: {error}; is spanloom running, with the extension status \
             turned on? Write `extensions: {{status: {{}}}}` and `service: {{extensions: \
             [status]}}` in its configuration, and start it again"
        )
    })?;
    let status = grpc::Status::read(&answer.trailers);
    let Some(status) = status.or_else(|| grpc::Status::read(&answer.headers)) else {
        return Err(format!(
            "{address} answers {} without a gRPC status; is this the port of the extension status?",
            answer.status
        ));
    };
    let message = answer.body.get(PREFIX..).filter(|_| status.code == 0);
    let message = message.ok_or_else(|| {
        format!("{address} answers gRPC status {}: {}", status.code, status.message)
    })?;
    Ok(message::decode(message))
}

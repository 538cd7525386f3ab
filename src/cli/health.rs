//! `health`: asks the `health_check` extension of a running spanloom, for images that hold nothing
//! else that could.

use super::ask::ask;
use super::{FAILED, USAGE, fail};
use crate::config::Endpoint;
use http::Request;
use std::process::ExitCode;

/// Whom to ask.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Where the health_check extension listens, with its path if it is not /
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:13133/")]
    endpoint: String,
}

/// Exit 0 if the daemon takes telemetry, 2 if it does not or does not answer.
pub fn health(options: &Options) -> ExitCode {
    let endpoint = match Endpoint::parse(&options.endpoint) {
        Ok(endpoint) if matches!(endpoint.scheme, None | Some("http")) => endpoint,
        Ok(_) => return fail(USAGE, format!("{}: write an http:// URL", options.endpoint)),
        Err(right) => return fail(USAGE, format!("{}: {right}", options.endpoint)),
    };
    let path = if endpoint.path.is_empty() { "/" } else { endpoint.path.as_str() };
    let address = endpoint.authority(13133);
    let request = match Request::get(format!("http://{address}{path}")).body(Default::default()) {
        Ok(request) => request,
        Err(error) => return fail(USAGE, format!("{}: {error}", options.endpoint)),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(FAILED, format!("cannot start: {error}")),
    };
    match runtime.block_on(ask(false, request)) {
        Ok(answer) if answer.status.is_success() => {
            print!("{}", String::from_utf8_lossy(&answer.body));
            ExitCode::SUCCESS
        }
        Ok(answer) => {
            let body = String::from_utf8_lossy(&answer.body);
            fail(FAILED, format!("{address} answers {}: {}", answer.status, body.trim()))
        }
        Err(error) => fail(
            FAILED,
            format!(
                "{address} does not answer: {error}; is spanloom running, with the extension \
                 health_check in its configuration?"
            ),
        ),
    }
}

//! `health_check`: says over HTTP whether the daemon takes telemetry.
//!
//! 200 while the pipelines run, 503 before and while draining, as load balancers and probes
//! expect. `/livez` and `/readyz` answer beside the configured path.

use super::{Kind, Running, Starting};
use crate::config::catalog::no_check;
use crate::config::{Class, Component, Key, Section};
use crate::web::{Page, State, serve};
use http::StatusCode;
use tokio_util::sync::CancellationToken;

pub const KIND: Kind = Kind {
    component: Component {
        class: Class::Extension,
        name: "health_check",
        aliases: &["healthcheck"],
        about: "answers health probes over HTTP",
        sample: "endpoint: localhost:13133\n",
        signals: &[],
        keys: KEYS,
        check: no_check,
    },
    start,
};

const KEYS: &[Key] = &[
    Key::endpoint("endpoint", "localhost:13133", "where to listen"),
    Key::text("path", "/", "the path that answers"),
    Key::unsupported("tls", "put the probe on loopback or behind a proxy"),
    Key::ignored("check_collector_pipeline", "it never worked in the Collector either"),
    Key::ignored("response_body", "the body is a JSON status"),
];

fn start(section: &Section, state: State, stop: CancellationToken) -> Starting {
    let address = section.endpoint("endpoint").map(|e| e.authority(13133)).unwrap_or_default();
    let path = section.text("path").to_owned();
    Box::pin(async move {
        let answer = move |asked: &str| {
            let live = asked == "/livez";
            if asked != path && asked != "/readyz" && !live {
                return None;
            }
            let ready = state.is_ready();
            let status =
                if ready || live { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let text = if ready { "available" } else { "not available" };
            Some(Page::json(status, format!("{{\"status\":\"{text}\"}}\n")))
        };
        let (address, done) = serve(&address, answer, stop).await?;
        Ok(Running { listeners: vec![("health_check", address)], done })
    })
}

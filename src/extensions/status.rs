//! `status`: says over gRPC what runs, what it counts and what was found, for `spanloom status` and
//! for programs that know `proto/spanloom/status/v1/status.proto`.
//!
//! It answers whoever asks, and names services and spans; so it listens on loopback alone. In a
//! container, `spanloom status` is run inside.

use super::{Kind, Running, Starting};
use crate::clock;
use crate::config::{Class, Component, Endpoint, Key, Problems, Section};
use crate::status::{ADDRESS, METHOD, Status, message};
use crate::web::{State, serve_call};
use std::net::IpAddr;
use tokio_util::sync::CancellationToken;

pub const KIND: Kind = Kind {
    component: Component {
        class: Class::Extension,
        name: "status",
        aliases: &[],
        about: "answers `spanloom status` on a loopback port",
        sample: "endpoint: 127.0.0.1:55680\n",
        signals: &[],
        keys: KEYS,
        check,
    },
    start,
};

const KEYS: &[Key] = &[Key::endpoint("endpoint", ADDRESS, "where to listen, on loopback")];

fn check(section: &Section, problems: &mut Problems) {
    if section.endpoint("endpoint").is_some_and(|endpoint| !is_loopback(endpoint)) {
        let text = "answers whoever asks, so it listens on loopback alone: write 127.0.0.1 or \
                    [::1] as its host, and run `spanloom status` on the same machine";
        section.error(problems, "endpoint", text);
    }
}

fn is_loopback(endpoint: &Endpoint) -> bool {
    let address = endpoint.host.parse::<IpAddr>();
    endpoint.scheme.is_none()
        && (endpoint.host == "localhost" || address.is_ok_and(|address| address.is_loopback()))
}

fn start(section: &Section, state: State, stop: CancellationToken) -> Starting {
    let address = section.endpoint("endpoint").map(|e| e.authority(0)).unwrap_or_default();
    let started = clock::now().unix_nanos;
    Box::pin(async move {
        let answer = move || {
            message::encode(&Status {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started,
                time: clock::now().unix_nanos,
                ready: state.is_ready(),
                ..Status::of(state.graph(), &state.registry)
            })
        };
        let (address, done) = serve_call(&address, METHOD, answer, stop).await?;
        Ok(Running { listeners: vec![("status", address)], done })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_will_do() {
        for (endpoint, fine) in [
            ("127.0.0.1:0", true),
            ("127.0.0.2:55680", true),
            ("localhost:1", true),
            ("'[::1]:55680'", true),
            ("0.0.0.0:55680", false),
            (":55680", false),
            ("10.0.0.1:55680", false),
            ("example.com:55680", false),
            ("unix:///run/status", false),
        ] {
            let section = Section::from_yaml(KEYS, &format!("endpoint: {endpoint}")).unwrap();
            let mut problems = Problems::new();
            check(&section, &mut problems);
            assert_eq!(!problems.has_errors(), fine, "{endpoint}: {problems}");
        }
    }
}

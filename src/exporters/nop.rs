//! `nop`: takes everything and sends nothing, to try out what stands before it.

use super::{Built, Exporter, Kind, Outcome, Payload, Sending, Setup};
use crate::config::catalog::{SIGNALS, no_check};
use crate::config::{Class, Component, Section};
use std::future::ready;
use std::sync::Arc;

pub const KIND: Kind = Kind {
    component: Component {
        class: Class::Exporter,
        name: "nop",
        aliases: &[],
        about: "takes everything and sends nothing",
        sample: "{}  # no keys\n",
        signals: &SIGNALS,
        keys: &[],
        check: no_check,
    },
    build,
};

fn build(_: &Section, _: &Setup<'_>) -> Built {
    Ok(Arc::new(Nop))
}

/// The exporter.
struct Nop;

impl Exporter for Nop {
    fn send(&self, _: Payload) -> Sending<'_> {
        Box::pin(ready(Outcome::Delivered { rejected: 0, message: String::new() }))
    }

    fn target(&self) -> &str {
        "nowhere"
    }
}

//! `nop`: receives nothing, for a pipeline that needs a receiver and shall have none.

use super::{Kind, Running, Setup, Starting};
use crate::config::catalog::{SIGNALS, no_check};
use crate::config::{Class, Component, Section};

/// This receiver's entry in the list.
pub(super) const KIND: Kind = Kind {
    component: Component {
        class: Class::Receiver,
        name: "nop",
        aliases: &[],
        about: "receives nothing",
        sample: "{}  # no keys\n",
        signals: &SIGNALS,
        keys: &[],
        check: no_check,
    },
    start,
};

fn start(_: &Section, _: Setup) -> Starting {
    let running = Running { listeners: vec![], done: Box::pin(std::future::ready(())) };
    Box::pin(std::future::ready(Ok(running)))
}

//! `forward`: joins pipelines. What ends in it goes to every pipeline that begins with it.

use super::{Connector, Kind, Out, Setup};
use crate::batch::Batch;
use crate::config::catalog::{SIGNALS, no_check};
use crate::config::{Class, Component};
use std::sync::Arc;

/// The entry in the catalogue.
pub const KIND: Kind = Kind {
    component: Component {
        class: Class::Connector,
        name: "forward",
        aliases: &[],
        about: "hands everything to all pipelines that begin with it",
        sample: "{}  # no keys\n",
        signals: &SIGNALS,
        keys: &[],
        check: no_check,
    },
    build: |_, setup: &Setup<'_>| Arc::new(Forward { pipelines: setup.pipelines.len() }),
};

/// The connector.
struct Forward {
    pipelines: usize,
}

impl Connector for Forward {
    fn connect(&self, batch: Batch, out: &mut Out) {
        out.pass_to_all(0..self.pipelines, batch);
    }
}

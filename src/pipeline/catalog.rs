//! Everything that is built in, as one catalogue for the configuration.

use crate::config::{Catalog, Component};
use crate::{connectors, exporters, extensions, processors, receivers};

/// The catalogue of all components.
pub fn catalog() -> Catalog {
    let receivers = receivers::LIST.iter().map(|kind| &kind.component);
    let processors = processors::LIST.iter().map(|kind| &kind.component);
    let exporters = exporters::LIST.iter().map(|kind| &kind.component);
    let connectors = connectors::LIST.iter().map(|kind| &kind.component);
    let extensions = extensions::LIST.iter().map(|kind| &kind.component);
    Catalog::new(receivers.chain(processors).chain(exporters).chain(connectors).chain(extensions))
}

/// The kind in `list` that `component` belongs to; a document holds no others.
pub(super) fn kind_of<K>(
    list: &'static [K],
    component: &Component,
    of: impl Fn(&K) -> &Component,
) -> Option<&'static K> {
    list.iter().find(|kind| of(kind).name == component.name)
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::print::print;
    use crate::config::{Class, Document, World};

    const BASE: &str = "
receivers: {otlp/base: {protocols: {http: }}}
exporters: {debug/base: }
service: {pipelines: {traces: {receivers: [otlp/base], exporters: [debug/base]}}}
";

    fn load(texts: &[&str]) -> Document {
        let sources: Vec<_> = texts.iter().map(|text| format!("yaml:{text}")).collect();
        let document = Document::load(&sources, &[], &World::system(), &catalog());
        document.unwrap_or_else(|problems| panic!("{problems}\n{}", texts.join("\n")))
    }

    /// What `texts` print is accepted, means the same, and has the same keys set.
    #[track_caller]
    fn reads_back(texts: &[&str]) {
        let document = load(texts);
        let printed = print(&document);
        let again = load(&[&printed]);
        assert_eq!(print(&again), printed);
        assert!(again == document || printed.contains("[REDACTED]"), "{printed}");
    }

    fn all() -> impl Iterator<Item = &'static Component> {
        let catalog = catalog();
        Class::ALL.into_iter().flat_map(move |class| catalog.of(class).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_printed_of_any_component_is_read_again() {
        for component in all() {
            let (plural, name) = (component.class.plural(), component.name);
            let indented: Vec<_> =
                component.sample.lines().map(|line| format!("    {line}\n")).collect();
            let own = format!("{plural}:\n  {name}:\n{}", indented.concat());
            let used = match component.class {
                Class::Extension => format!("service: {{extensions: [{name}]}}"),
                // To all pipelines that a sample names.
                Class::Connector => {
                    let next = ["test", "errors", "rest"].map(|next| {
                        format!("traces/{next}: {{receivers: [{name}], exporters: [debug/base]}}")
                    });
                    let next = next.join(", ");
                    format!("service: {{pipelines: {{traces: {{exporters: [{name}]}}, {next}}}}}")
                }
                _ => String::new(),
            };
            reads_back(&[BASE, &own, &used]);
        }
    }

    #[test]
    fn what_is_printed_sets_no_key_that_was_not_set() {
        let storage = "
extensions: {file_storage: {directory: /tmp}}
exporters:
  otlp_http: {endpoint: 'http://a', sending_queue: {storage: file_storage}}
  file: {path: a}
service: {extensions: [file_storage]}
";
        reads_back(&[BASE, storage]);
        let of = |document: &Document, name: &str| {
            let all = document.exporters.iter();
            all.filter(|e| e.id.as_str() == name).map(|e| e.section.clone()).next().unwrap()
        };
        let again = load(&[&print(&load(&[BASE, storage]))]);
        let http = of(&again, "otlp_http");
        assert!(!http.section("retry_on_failure").is_set("max_elapsed_time"));
        assert!(http.section("sending_queue").is_set("storage"));
        assert!(!of(&again, "file").is_set("directory_permissions"));
    }

    #[test]
    fn printed_samples_are_read_again() {
        for text in [
            include_str!("../../config/default.yaml"),
            include_str!("../../config/gateway.yaml"),
            include_str!("../../config/routing.yaml"),
            include_str!("../../config/sidecar.yaml"),
            include_str!("../../config/split.yaml"),
        ] {
            reads_back(&[text]);
        }
    }
}

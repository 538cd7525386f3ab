//! `service::telemetry`: how spanloom speaks about itself.

use super::key::Key;
use super::node::Node;
use super::problem::Problems;
use super::section::Section;

/// Own logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// `debug`, `info`, `warn` or `error`.
    pub log_level: String,
    /// `console` or `json`.
    pub log_encoding: String,
    /// Where the Prometheus page is served, `host:port` with the default `localhost:8888`;
    /// `None` means off.
    pub metrics_address: Option<String>,
}

const ON_STDERR: &str = "own logs go to stderr, one line each";
const PLAIN_NAMES: &str = "own metrics have the Collector's plain names";

const LOGS: &[Key] = &[
    Key::choice("level", &["debug", "info", "warn", "error"], "info", "the least level written"),
    Key::choice("encoding", &["console", "json"], "console", "how a line is written"),
    Key::ignored("development", ON_STDERR),
    Key::ignored("sampling", "own logs are not sampled"),
    Key::ignored("output_paths", ON_STDERR),
    Key::ignored("error_output_paths", ON_STDERR),
    Key::ignored("initial_fields", ON_STDERR),
    Key::ignored("disable_caller", ON_STDERR),
    Key::ignored("disable_stacktrace", ON_STDERR),
    Key::ignored("disable_zap_resource", ON_STDERR),
    Key::ignored("processors", ON_STDERR),
];

const PROMETHEUS: &[Key] = &[
    Key::text("host", "localhost", "the interface to listen on"),
    Key::int("port", 8888, 0..=65_535, "the port to listen on; 0 takes a free one"),
    Key::ignored("without_scope_info", PLAIN_NAMES),
    Key::ignored("without_type_suffix", PLAIN_NAMES),
    Key::ignored("without_units", PLAIN_NAMES),
    Key::ignored("translation_strategy", PLAIN_NAMES),
    Key::ignored("with_resource_constant_labels", PLAIN_NAMES),
];

const PULL_EXPORTER: &[Key] =
    &[Key::optional_object("prometheus", PROMETHEUS, "a page that Prometheus reads")];

const PULL: &[Key] = &[Key::object("exporter", PULL_EXPORTER, "how metrics are read")];

const READER: &[Key] = &[
    Key::optional_object("pull", PULL, "metrics that others come to read"),
    Key::unsupported("periodic", "own metrics are not pushed; use pull and let Prometheus read"),
];

const METRICS: &[Key] = &[
    Key::choice(
        "level",
        &["none", "basic", "normal", "detailed"],
        "normal",
        "none turns own metrics off",
    ),
    Key::endpoint("address", "", "the older form of readers: host:port of the Prometheus page"),
    Key::list_of_objects("readers", READER, "at most one Prometheus page; [] turns it off"),
    Key::ignored("views", "own metrics are as they are"),
];

/// The keys of `service::telemetry`.
pub const KEYS: &[Key] = &[
    Key::object("logs", LOGS, "own logs"),
    Key::object("metrics", METRICS, "own metrics"),
    Key::ignored("traces", "spanloom does not trace itself"),
    Key::ignored("resource", "own metrics carry no resource"),
];

const PATH: &str = "service::telemetry";

impl Telemetry {
    /// Checks `service::telemetry`.
    pub fn check(node: &Node, problems: &mut Problems) -> Telemetry {
        let section = Section::check(node, KEYS, PATH, problems);
        let logs = section.section("logs");
        Telemetry {
            log_level: logs.text("level").to_owned(),
            log_encoding: logs.text("encoding").to_owned(),
            metrics_address: metrics_address(section.section("metrics"), problems),
        }
    }
}

fn metrics_address(metrics: &Section, problems: &mut Problems) -> Option<String> {
    if metrics.text("level") == "none" {
        return None;
    }
    if metrics.is_set("readers") {
        let readers = metrics.sections("readers");
        if readers.len() > 1 {
            let found = readers.len();
            metrics.error(problems, "readers", format!("found {found} readers; write one"));
        }
        return readers.first().and_then(|reader| reader_address(reader, problems));
    }
    if !metrics.is_set("address") {
        return Some("localhost:8888".to_owned());
    }
    let address = metrics.endpoint("address")?;
    if address.scheme.is_some() {
        let text = format!("found {:?}; write host:port such as localhost:8888", address.as_str());
        metrics.error(problems, "address", text);
    }
    Some(listen(&address.host, i64::from(address.port_or(8888))))
}

fn reader_address(reader: &Section, problems: &mut Problems) -> Option<String> {
    let exporter = reader.optional_section("pull").map(|pull| pull.section("exporter"));
    let page = exporter.and_then(|exporter| exporter.optional_section("prometheus"));
    let Some(page) = page else {
        // A push reader is reported already.
        if !reader.is_set("periodic") {
            reader.error(problems, "", "names no exporter; write pull: {exporter: {prometheus: }}");
        }
        return None;
    };
    Some(listen(page.text("host"), page.int("port")))
}

/// `host:port` for a listener: no host means all interfaces, IPv6 gets its brackets.
fn listen(host: &str, port: i64) -> String {
    match host {
        "" => format!("0.0.0.0:{port}"),
        host if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{port}"),
        host => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn run(yaml: &str) -> (Telemetry, String) {
        let mut problems = Problems::new();
        let telemetry = Telemetry::check(&parse::parse(yaml, "t").unwrap(), &mut problems);
        (telemetry, problems.to_string())
    }

    #[track_caller]
    fn address(yaml: &str, expected: Option<&str>) {
        let (telemetry, problems) = run(yaml);
        assert_eq!(problems, "", "{yaml}");
        assert_eq!(telemetry.metrics_address.as_deref(), expected, "{yaml}");
    }

    #[test]
    fn metrics_have_an_address_in_both_forms() {
        address("", Some("localhost:8888"));
        address("metrics: {level: detailed}", Some("localhost:8888"));
        address("metrics: {level: none}", None);
        address("metrics: {address: '0.0.0.0:9'}", Some("0.0.0.0:9"));
        address("metrics: {address: ':9'}", Some("0.0.0.0:9"));
        address("metrics: {address: ''}", None);
        address("metrics: {readers: []}", None);
        let reader = |inner: &str| {
            format!("metrics: {{readers: [{{pull: {{exporter: {{prometheus: {inner}}}}}}}]}}")
        };
        address(&reader(""), Some("localhost:8888"));
        address(&reader("{host: '::', port: 9}"), Some("[::]:9"));
        address(&reader("{host: 0.0.0.0, port: 9}"), Some("0.0.0.0:9"));
    }

    #[test]
    fn logs_have_level_and_encoding() {
        let (telemetry, problems) = run("logs: {level: WARN, encoding: json}");
        assert_eq!((problems.as_str(), telemetry.log_level.as_str()), ("", "warn"));
        assert_eq!(telemetry.log_encoding, "json");
        assert_eq!(run("").0.log_level, "info");
    }

    #[test]
    fn what_has_no_effect_or_cannot_be_is_said() {
        let fails = |yaml: &str, expected: &str| assert_eq!(run(yaml).1, expected, "{yaml}");
        fails(
            "logs: {output_paths: [stderr]}",
            "t:1:8: warning: service::telemetry::logs::output_paths: has no effect here: own \
             logs go to stderr, one line each",
        );
        fails(
            "metrics: {readers: [{periodic: {interval: 5}}]}",
            "t:1:22: service::telemetry::metrics::readers[0]::periodic: is not supported here: \
             own metrics are not pushed; use pull and let Prometheus read",
        );
        fails(
            "metrics: {readers: [{pull: }]}",
            "t:1:21: service::telemetry::metrics::readers[0]: names no exporter; write pull: \
             {exporter: {prometheus: }}",
        );
        fails(
            "metrics: {address: 'http://a:1'}",
            "t:1:20: service::telemetry::metrics::address: found \"http://a:1\"; write \
             host:port such as localhost:8888",
        );
        fails(
            "logs: {level: loud}",
            "t:1:15: service::telemetry::logs::level: found \"loud\"; write one of debug, info, \
             warn, error",
        );
    }
}

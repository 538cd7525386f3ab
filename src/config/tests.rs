//! The room as its users see it: tables of keys, whole documents, what is printed, the schema.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value as Json;

use super::catalog::no_check;
use super::*;

const RETRY: &[Key] = &[
    Key::bool("enabled", true, "try again"),
    Key::duration("initial_interval", "5s", "the first wait"),
    Key::duration("max_interval", "30s", "the longest wait"),
    Key::float("multiplier", 1.5, 1.0..=10.0, "from wait to wait"),
];

const TLS: &[Key] = &[Key::bool("insecure", false, "no TLS")];

const RULE: &[Key] = &[
    Key::text("name", "", "of the rule").required(),
    Key::list_of_text("keys", &[], "attributes"),
];

const KEYS: &[Key] = &[
    Key::endpoint("endpoint", "", "where to send").required(),
    Key::duration("timeout", "5s", "per attempt"),
    Key::choice("compression", &["gzip", "zstd", "none"], "gzip", "of the body"),
    Key::map_of_secret("headers", "sent along"),
    Key::secret("token", "for the backend"),
    Key::int("consumers", 10, 1..=1000, "tasks that send"),
    Key::int("offset", 0, i64::MIN..=i64::MAX, "any"),
    Key::float("ratio", 0.5, 0.0..=1.0, "a share"),
    Key::text("user_agent", "spanloom", "sent along"),
    Key::size_bytes("buffer", 65_536, "read at once"),
    Key::size_mib("limit_mib", 64, "held at most"),
    Key::list_of_text("names", &["a", "b"], "some names"),
    Key::map_of_text("labels", "some labels"),
    Key::object("retry_on_failure", RETRY, "after a failure"),
    Key::optional_object("tls", TLS, "the transport"),
    Key::list_of_objects("rules", RULE, "in order"),
    Key::map_of_objects("tenants", RETRY, "by name"),
    Key::extension_id("storage", "where the queue rests"),
    Key::any("condition", "anything"),
    Key::unsupported("balancer_name", "all addresses are used in turn"),
    Key::ignored("wait_for_ready", "sending always waits"),
];

const ENDPOINT: &str = "endpoint: a:1\n";

/// The problems of a section, one per line.
#[track_caller]
fn check(yaml: &str, expected: &str) {
    let mut problems = Problems::new();
    let node = parse::parse(yaml, "a.yaml").unwrap();
    Section::check(&node, KEYS, "exporters::x", &mut problems);
    assert_eq!(problems.to_string(), expected, "{yaml}");
}

#[track_caller]
fn section(yaml: &str) -> Section {
    Section::from_yaml(KEYS, &format!("{ENDPOINT}{yaml}")).unwrap()
}

#[test]
fn absent_keys_have_their_defaults() {
    for yaml in ["", "timeout:\nretry_on_failure:\nheaders: ~"] {
        let x = section(yaml);
        assert_eq!(x.duration("timeout"), Duration::from_secs(5));
        assert_eq!((x.int("consumers"), x.count("consumers"), x.float("ratio")), (10, 10, 0.5));
        assert_eq!((x.bytes("buffer"), x.bytes("limit_mib")), (65_536, 64 << 20));
        assert_eq!((x.text("compression"), x.text("user_agent")), ("gzip", "spanloom"));
        assert_eq!(x.list("names"), ["a", "b"]);
        assert!(x.secret("token").is_empty() && x.secret_map("headers").is_empty());
        assert!(x.map("labels").is_empty() && x.sections("rules").is_empty());
        assert!(x.optional_section("tls").is_none() && x.node("condition").is_none());
        assert!(x.section("retry_on_failure").bool("enabled"));
        assert!(!x.is_set("timeout") && x.is_set("endpoint"));
        assert_eq!(x, section(""));
    }
}

#[test]
fn written_keys_have_their_values() {
    let x = section(
        "timeout: 1m30s\ncompression: ZSTD\nheaders: {k: v}\ntoken: t\nconsumers: 3\nratio: 1\n\
         buffer: 4096\nlimit_mib: 2\nnames: [x]\nlabels: {k: v}\ntls:\nuser_agent: '5'\n\
         retry_on_failure: {enabled: false}\nrules: [{name: n, keys: 'a, b,'}]\n\
         tenants: {t: {multiplier: 2}}\ncondition: [1, {a: b}]\n",
    );
    assert_eq!(x.duration("timeout"), Duration::from_secs(90));
    assert_eq!((x.text("compression"), x.text("user_agent")), ("zstd", "5"));
    assert_eq!(x.secret_map("headers"), [("k".to_owned(), Secret::new("v"))]);
    assert_eq!(x.secret("token").expose(), "t");
    assert_eq!((x.int("consumers"), x.float("ratio")), (3, 1.0));
    assert_eq!((x.bytes("buffer"), x.bytes("limit_mib")), (4096, 2 << 20));
    assert_eq!(x.list("names"), ["x"]);
    assert_eq!(x.map("labels"), [("k".to_owned(), "v".to_owned())]);
    assert!(x.optional_section("tls").is_some_and(|tls| !tls.bool("insecure")));
    assert!(!x.section("retry_on_failure").bool("enabled"));
    assert_eq!(x.sections("rules")[0].list("keys"), ["a", "b"]);
    let (name, tenant) = &x.named_sections("tenants")[0];
    assert_eq!((name.as_str(), tenant.float("multiplier")), ("t", 2.0));
    assert!(x.node("condition").is_some());
    assert_eq!(x.place("timeout").to_string(), "yaml::2:10");
    assert_eq!(x.section("retry_on_failure").path(), "retry_on_failure");
    assert!(x != section("timeout: 2s") && x == x.clone());
    assert!(!format!("{x:?}").contains("Secret(\"t\")"));
}

#[test]
fn unknown_keys_are_named_with_a_suggestion() {
    check(
        "endpoint: a:1\ntimeuot: 5s\n",
        "a.yaml:2:1: exporters::x: unknown key \"timeuot\"; did you mean \"timeout\"?",
    );
    check(
        "endpoint: a:1\ntls: {verify: true}\n",
        "a.yaml:2:7: exporters::x::tls: unknown key \"verify\"; valid keys are insecure",
    );
    check(
        "endpoint: a:1\nbalancer_name: x\nwait_for_ready: true\n",
        "a.yaml:2:1: exporters::x::balancer_name: is not supported here: all addresses are used \
         in turn\n\
         a.yaml:3:1: warning: exporters::x::wait_for_ready: has no effect here: sending always \
         waits",
    );
}

/// The problem of one line under a good endpoint: its column and the rest of its sentence.
#[track_caller]
fn one(line: &str, expected: &str) {
    check(&format!("{ENDPOINT}{line}"), &format!("a.yaml:2:{expected}"));
}

#[test]
fn wrong_values_say_what_was_found_and_what_is_right() {
    let duration = "write a duration such as 5s, 200ms or 1h30m";
    one("timeout: fast", &format!("10: exporters::x::timeout: found \"fast\"; {duration}"));
    one("timeout: -5s", &format!("10: exporters::x::timeout: found \"-5s\"; {duration}"));
    one("timeout: [5s]", &format!("10: exporters::x::timeout: found a list; {duration}"));
    one(
        "timeout: 5",
        "10: exporters::x::timeout: found 5; write a duration with its unit such as 5s",
    );
    one(
        "consumers: 0",
        "12: exporters::x::consumers: found 0; write a whole number from 1 to 1000",
    );
    one("consumers: 1.5", {
        "12: exporters::x::consumers: found 1.5; write a whole number from 1 to 1000"
    });
    one("consumers: '5'", {
        "12: exporters::x::consumers: found \"5\"; write a whole number from 1 to 1000"
    });
    one("offset: x", "9: exporters::x::offset: found \"x\"; write a whole number");
    one("buffer: -1", {
        "9: exporters::x::buffer: found -1; write a whole number of bytes of at least 0"
    });
    one("ratio: 2", "8: exporters::x::ratio: found 2; write a number from 0 to 1");
    one("ratio: .nan", "8: exporters::x::ratio: found NaN; write a number from 0 to 1");
    one("compression: gz", {
        "14: exporters::x::compression: found \"gz\"; write one of gzip, zstd, none"
    });
}

#[test]
fn wrong_texts_and_collections_say_so_too() {
    one(
        "user_agent: 5",
        "13: exporters::x::user_agent: found 5; put quotes around it to make it a text",
    );
    one("user_agent: {}", "13: exporters::x::user_agent: found a map; write a text");
    one("names: [a, [b]]", "12: exporters::x::names[1]: found a list; write a text");
    one("labels: [a]", "9: exporters::x::labels: found a list; write a map of names to texts");
    one(
        "labels: {a: 1}",
        "13: exporters::x::labels::a: found 1; put quotes around it to make it a text",
    );
    one("tls: true", "6: exporters::x::tls: found true; write a map of keys to values");
    one("tls: {insecure: yes}", {
        "17: exporters::x::tls::insecure: found \"yes\"; write true or false"
    });
    one("rules: {}", "8: exporters::x::rules: found a map; write a list of maps");
    one("rules: [{keys: [a]}]", "9: exporters::x::rules[0]::name: must be set: of the rule");
    one("tenants: {a: 5}", {
        "14: exporters::x::tenants::a: found 5; write a map of keys to values"
    });
}

#[test]
fn required_keys_are_missed_and_endpoints_checked() {
    check("timeout: 5s", "a.yaml:1:1: exporters::x::endpoint: must be set: where to send");
    check("endpoint:", "a.yaml:1:1: exporters::x::endpoint: must be set: where to send");
    check(
        "endpoint: localhost",
        "a.yaml:1:11: exporters::x::endpoint: found \"localhost\"; write host:port such as \
         localhost:4317",
    );
    check(
        "endpoint: ftp://a",
        "a.yaml:1:11: exporters::x::endpoint: found \"ftp://a\"; use http://, https://, dns:/// \
         or unix://, or host:port alone",
    );
    check("[a]", {
        "a.yaml:1:1: exporters::x: found a list; write a map of keys to values\n\
         a.yaml:1:1: exporters::x::endpoint: must be set: where to send"
    });
}

#[test]
fn a_wrong_secret_is_not_shown() {
    check(
        "endpoint: http://user:password@a",
        "a.yaml:1:11: exporters::x::endpoint: found [REDACTED]; write the URL without user \
         and password; send those as headers",
    );
    check(
        "{endpoint: a:1, token: 12345, headers: {authorization: 67890}}",
        "a.yaml:1:56: exporters::x::headers::authorization: this value is not a text; put it in \
         quotes\n\
         a.yaml:1:24: exporters::x::token: this value is not a text; put it in quotes",
    );
}

fn intervals(section: &Section, problems: &mut Problems) {
    let retry = section.section("retry_on_failure");
    if retry.duration("max_interval") < retry.duration("initial_interval") {
        retry.error(problems, "max_interval", "must be at least initial_interval");
    }
}

fn protocols(section: &Section, problems: &mut Problems) {
    let protocols = section.section("protocols");
    if ["grpc", "http"].iter().all(|name| protocols.optional_section(name).is_none()) {
        section.error(problems, "protocols", "must specify at least one protocol");
    }
}

const GRPC: &[Key] = &[Key::endpoint("endpoint", "localhost:4317", "where to listen")];
const HTTP: &[Key] = &[Key::endpoint("endpoint", "localhost:4318", "where to listen")];
const PROTOCOLS: &[Key] = &[
    Key::optional_object("grpc", GRPC, "OTLP over gRPC"),
    Key::optional_object("http", HTTP, "OTLP over HTTP"),
];

const ALL: &[&str] = &["traces", "metrics", "logs"];

const fn component(class: Class, name: &'static str, keys: &'static [Key]) -> Component {
    let (aliases, signals, check) = (&[], ALL, no_check as fn(&Section, &mut Problems));
    Component { class, name, aliases, about: "a test's", sample: "", signals, keys, check }
}

static COMPONENTS: [Component; 8] = [
    Component {
        check: protocols,
        ..component(
            Class::Receiver,
            "otlp",
            &[Key::object("protocols", PROTOCOLS, "what to listen for")],
        )
    },
    component(Class::Processor, "sensitive", &[Key::bool("events", true, "remove events")]),
    Component {
        signals: &["traces"],
        ..component(Class::Processor, "orphans", &[Key::duration("head_hold", "2s", "a wait")])
    },
    Component {
        aliases: &["otlp"],
        check: intervals,
        ..component(Class::Exporter, "otlp_grpc", KEYS)
    },
    component(Class::Exporter, "debug", &[]),
    component(Class::Connector, "forward", &[]),
    component(Class::Extension, "health_check", GRPC),
    component(Class::Extension, "file_storage", &[]),
];

fn catalog() -> Catalog {
    Catalog::new(&COMPONENTS)
}

const GOOD: &str = "
receivers:
  otlp:
    protocols:
      grpc:
processors:
  sensitive: {}
  orphans:
exporters:
  otlp:
    endpoint: https://backend.example
    headers: {authorization: '${env:TOKEN}'}
  debug:
extensions:
  health_check:
service:
  extensions: [health_check]
  pipelines:
    traces: {receivers: [otlp], processors: [sensitive, orphans], exporters: [otlp, debug]}
    logs/agents: {receivers: [otlp], exporters: [debug]}
";

fn load_document(yaml: &str) -> Result<Document, Problems> {
    let env = |name: &str| (name == "TOKEN").then(|| "Bearer hunter2".to_owned());
    let file = |_: &str| Ok(yaml.to_owned());
    let world = World { env: &env, file: &file };
    Document::load(&["sidecar.yaml".to_owned()], &[], &world, &catalog())
}

#[track_caller]
fn problems(yaml: &str, expected: &str) {
    let found = match load_document(yaml) {
        Ok(document) => document.warnings,
        Err(problems) => problems,
    };
    assert_eq!(found.to_string(), expected, "{yaml}");
}

#[test]
fn a_good_document_has_its_components_and_pipelines() {
    let document = load_document(GOOD).unwrap();
    assert_eq!(document.warnings.to_string(), "");
    let ids =
        |class: Class| -> Vec<&str> { document.of(class).iter().map(|c| c.id.as_str()).collect() };
    assert_eq!(ids(Class::Processor), ["sensitive", "orphans"]);
    assert_eq!(ids(Class::Exporter), ["otlp", "debug"]);
    assert_eq!(ids(Class::Extension), ["health_check"]);
    let exporter = &document.exporters[0];
    assert_eq!(exporter.component.name, "otlp_grpc");
    let (_, token) = &exporter.section.secret_map("headers")[0];
    assert_eq!(token.expose(), "Bearer hunter2");
    let protocols = document.receivers[0].section.section("protocols");
    assert!(protocols.optional_section("grpc").is_some());
    assert!(protocols.optional_section("http").is_none());
    let [traces, logs] = &document.pipelines[..] else { panic!("two pipelines") };
    assert_eq!((traces.signal, logs.signal, logs.id.name()), ("traces", "logs", "agents"));
    assert_eq!(
        traces.processors,
        document.processors.iter().map(|c| c.id.clone()).collect::<Vec<_>>()
    );
    assert_eq!(document.telemetry.metrics_address.as_deref(), Some("localhost:8888"));
}

#[test]
fn five_mistakes_in_one_file_are_told_at_once() {
    problems(
        "\
receivers:
  otpl:
    protocols:
processors:
  sensitive:
    evnets: true
exporters:
  otlp:
    endpoint: ${env:BACKEND}
    timeout: 5
service:
  pipelines:
    traces:
      receivers: [otlp]
      processors: [sensitive, batch]
      exporters: [otlp]
",
        "\
sidecar.yaml:2:3: receivers: unknown type: \"otpl\" for id: \"otpl\"; did you mean \"otlp\"?
sidecar.yaml:6:5: processors::sensitive: unknown key \"evnets\"; did you mean \"events\"?
sidecar.yaml:9:15: exporters::otlp::endpoint: the environment variable BACKEND is not set; \
set it, or write a default: ${env:BACKEND:-value}
sidecar.yaml:10:14: exporters::otlp::timeout: found 5; write a duration with its unit such as 5s
sidecar.yaml:14:19: service::pipelines::traces: references receiver \"otlp\" which is not \
configured; did you mean \"otpl\"?
sidecar.yaml:15:31: service::pipelines::traces: references processor \"batch\" which is not \
configured; configured processors are sensitive",
    );
}

/// [`GOOD`] with one text replaced by another.
#[track_caller]
fn changed(from: &str, to: &str, expected: &str) {
    assert!(GOOD.contains(from), "{from}");
    problems(&GOOD.replacen(from, to, 1), expected);
}

#[test]
fn pipelines_are_checked() {
    changed(
        "logs/agents: {receivers: [otlp]",
        "logs/agents: {receivers: []",
        "sidecar.yaml:20:19: service::pipelines::logs/agents: must have at least one receiver",
    );
    changed(
        "exporters: [debug]}",
        "}",
        "sidecar.yaml:20:5: service::pipelines::logs/agents: must have at least one exporter",
    );
    changed(
        "logs/agents: {",
        "logs/agents: {processors: [orphans], ",
        "sidecar.yaml:20:32: service::pipelines::logs/agents: processor \"orphans\" does not \
         take logs; it takes traces",
    );
    changed(
        "[sensitive, orphans]",
        "[sensitive, orphans, sensitive]",
        "sidecar.yaml:19:66: service::pipelines::traces: references processor \"sensitive\" more \
         than once",
    );
    changed(
        "logs/agents",
        "log",
        "sidecar.yaml:20:5: service::pipelines: unknown signal \"log\" in the id \"log\"; did you \
         mean \"logs\"?",
    );
    changed(
        "logs/agents: {",
        "logs/agents: {shards: 65, ",
        "sidecar.yaml:20:27: service::pipelines::logs/agents::shards: found 65; write a whole \
         number from 0 to 64",
    );
    changed(
        "logs/agents: {",
        "metrics: {shards: 2, ",
        "sidecar.yaml:20:23: service::pipelines::metrics::shards: divides traces, and metrics are \
         of none; leave it out",
    );
    changed(
        "[sensitive, orphans]",
        "[sensitive]",
        "sidecar.yaml:8:3: warning: processors::orphans: is not used by any pipeline, so it is off",
    );
    changed(
        "  extensions: [health_check]\n",
        "",
        "sidecar.yaml:15:3: warning: extensions::health_check: is not listed in \
         service::extensions, so it is off",
    );
    changed(
        "extensions: [health_check]",
        "extensions: [health_check, file_storage]",
        "sidecar.yaml:17:30: service: references extension \"file_storage\" which is not \
         configured; configured extensions are health_check",
    );
}

#[test]
fn the_whole_file_is_checked() {
    problems(
        "",
        "sidecar.yaml:1:1: service::pipelines: has no pipeline; write pipelines: {traces: \
         {receivers: [...], exporters: [...]}}",
    );
    problems("service: {pipelines: {}}", {
        "sidecar.yaml:1:22: service::pipelines: found a map; write a map with at least one of \
         traces, metrics, logs"
    });
    changed(
        "processors:",
        "procesors:",
        "sidecar.yaml:6:1: unknown key \"procesors\"; did you mean \"processors\"?\n\
         sidecar.yaml:19:46: service::pipelines::traces: references processor \"sensitive\" which \
         is not configured; there are no configured processors\n\
         sidecar.yaml:19:57: service::pipelines::traces: references processor \"orphans\" which \
         is not configured; there are no configured processors",
    );
    changed(
        "      grpc:\n",
        "",
        "sidecar.yaml:3:3: receivers::otlp::protocols: must specify at least one protocol",
    );
    changed(
        "    endpoint: https",
        "    retry_on_failure: {max_interval: 1s}\n    endpoint: https",
        "sidecar.yaml:11:38: exporters::otlp::retry_on_failure::max_interval: must be at least \
         initial_interval",
    );
    changed(
        "  debug:\n",
        "  debug:\n  'debug/':\n",
        "sidecar.yaml:14:3: exporters: found the id \"debug/\"; write type or type/name such as \
         otlp/backup",
    );
    changed(
        "  debug:\n",
        "  debug:\n  kafka:\n",
        "sidecar.yaml:14:3: exporters: unknown type: \"kafka\" for id: \"kafka\"; valid types are \
         otlp_grpc, otlp, debug",
    );
}

#[test]
fn connectors_join_two_pipelines() {
    let ends = "exporters: [debug]}\nconnectors: {forward: }\n";
    let joined = "exporters: [forward]}\n    logs/2: {receivers: [forward], exporters: [debug]}\n\
                  connectors: {forward: }\n";
    changed("exporters: [debug]}\n", joined, "");
    changed(
        "exporters: [debug]}\n",
        ends,
        "sidecar.yaml:21:14: warning: connectors::forward: is not used by any pipeline, so it is \
         off",
    );
    changed(
        "exporters: [debug]}\n",
        &ends.replacen("debug", "forward", 1),
        "sidecar.yaml:21:14: connectors::forward: ends a pipeline but begins none; list it as a \
         receiver too",
    );
}

#[test]
fn a_key_may_name_an_extension_that_is_on() {
    changed("    headers:", "    storage: health_check\n    headers:", "");
    changed(
        "    headers:",
        "    storage: file_storage\n    headers:",
        "sidecar.yaml:12:14: exporters::otlp::storage: references extension \"file_storage\" \
         which is not listed in service::extensions; listed extensions are health_check",
    );
}

#[test]
fn a_catalog_with_wrong_tables_is_told_apart() {
    assert_eq!(catalog().verify(), Vec::<String>::new());
    const WRONG: &[Key] = &[
        Key::duration("wait", "5", "no unit"),
        Key::int("share", 11, 1..=10, "beyond its range"),
        Key::choice("mode", &["a", "b"], "c", "not among them"),
        Key::bool("mode", true, "stands twice"),
    ];
    static BAD: [Component; 2] = [
        component(Class::Exporter, "one", &[Key::object("inner", WRONG, "a map")]),
        Component {
            sample: "tiemout: 5s",
            aliases: &["one"],
            ..component(Class::Exporter, "two", &[Key::duration("timeout", "5s", "a wait")])
        },
    ];
    assert_eq!(
        Catalog::new(&BAD).verify(),
        [
            "exporter one: inner::wait: found \"5\"; write a duration such as 5s, 200ms or 1h30m",
            "exporter one: inner::share: found 11; write a whole number from 1 to 10",
            "exporter one: inner::mode: found \"c\"; write one of a, b",
            "exporter one: inner::mode stands twice",
            "exporter two: the name \"one\" stands twice",
            "exporter two: sample: yaml::1:1: unknown key \"tiemout\"; did you mean \"timeout\"?",
        ]
    );
}

#[test]
fn syntax_errors_stop_before_the_check() {
    problems("receivers: {\n", "sidecar.yaml:1:12: is not YAML: unclosed bracket '{'");
}

#[test]
fn what_is_printed_reads_back_and_hides_secrets() {
    let rich = GOOD.replacen(
        "    headers:",
        "    user_agent: 'a $b: \"ü\"'\n    labels: {on: 'yes', n: '5', d: '$$x'}\n    tls:\n    \
         rules: [{name: '', keys: [a, '- b']}, {name: x}]\n    tenants: {t: }\n    \
         ratio: 0.25\n    condition: [1, {a: [null, true, 1.0]}]\n    headers:",
        1,
    );
    let document = load_document(&rich).unwrap();
    let printed = print::print(&document);
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(printed.contains("authorization: \"[REDACTED]\""), "{printed}");
    assert!(printed.contains("    # timeout: 5s\n    # compression: gzip\n"), "{printed}");
    let again = load_document(&printed).unwrap();
    assert_eq!(print::print(&again), printed);
    let unsecret = printed.replace("\"[REDACTED]\"", "Bearer hunter2");
    assert_eq!(load_document(&unsecret).unwrap(), document);
}

#[test]
fn a_document_prints_in_the_order_of_the_file() {
    let yaml = "
receivers: {otlp: {protocols: {http: }}}
exporters: {debug: }
service:
  pipelines: {traces: {receivers: [otlp], exporters: [debug]}}
  telemetry: {metrics: {level: none}}
";
    let printed = print::print(&load_document(yaml).unwrap());
    assert_eq!(
        printed,
        "\
receivers:
  otlp:
    protocols:
      http:
        # endpoint: localhost:4318
exporters:
  debug: {}
service:
  pipelines:
    traces:
      receivers:
        - otlp
      processors: []
      exporters:
        - debug
  telemetry:
    logs:
      level: info
      encoding: console
    metrics:
      level: none
"
    );
}

#[test]
fn equal_documents_are_equal_however_they_are_written() {
    let document = load_document(GOOD).unwrap();
    let moved = GOOD.replace("sensitive: {}", "sensitive:\n    # the default\n    events: true");
    assert_eq!(load_document(&moved).unwrap(), document);
    let other = GOOD.replace("sensitive: {}", "sensitive: {events: false}");
    assert_ne!(load_document(&other).unwrap(), document);
}

/// The JSON Schema type of a value.
fn type_of(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(n) if n.is_i64() => "integer",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

/// Whether the type of `value` is among those of `schema`.
fn type_fits(value: &Json, schema: &Json) -> bool {
    let kind = type_of(value);
    let same = |t: &Json| t == kind || (kind == "integer" && t == "number");
    match &schema["type"] {
        Json::Null => true,
        Json::Array(types) => types.iter().any(same),
        one => same(one),
    }
}

/// Whether `value` fits `schema`, as far as this schema's words go.
fn fits(value: &Json, schema: &Json, root: &Json) -> bool {
    if let Some(name) = schema["$ref"].as_str() {
        return fits(value, root.pointer(name.trim_start_matches('#')).unwrap(), root);
    }
    if let Some(options) = schema["anyOf"].as_array() {
        return options.iter().any(|option| fits(value, option, root));
    }
    let kind = type_of(value);
    let reference = value.as_str().is_some_and(|text| text.contains("${"));
    let pattern = schema["pattern"].as_str().filter(|_| kind == "string");
    let pattern_fits = match pattern {
        Some(r"\$\{.*\}") => reference,
        Some(_) => reference || duration::parse(value.as_str().unwrap()).is_some(),
        None => true,
    };
    let listed = |word: &str| schema[word].as_array().is_none_or(|all| all.contains(value));
    let same = schema["const"].is_null() || schema["const"] == *value;
    let low = schema["minimum"].as_f64().is_none_or(|m| value.as_f64().is_none_or(|v| v >= m));
    let high = schema["maximum"].as_f64().is_none_or(|m| value.as_f64().is_none_or(|v| v <= m));
    let items = schema["items"].is_null()
        || value.as_array().is_none_or(|all| all.iter().all(|v| fits(v, &schema["items"], root)));
    let required = schema["required"].as_array().is_none_or(|names| {
        kind != "object" || names.iter().all(|name| !value[name.as_str().unwrap()].is_null())
    });
    let members = value.as_object().is_none_or(|all| {
        all.iter().all(|(name, v)| match member(name, schema) {
            Some(inner) => fits(v, inner, root),
            None => match &schema["additionalProperties"] {
                Json::Bool(allowed) => *allowed,
                Json::Null => true,
                inner => fits(v, inner, root),
            },
        })
    });
    type_fits(value, schema)
        && pattern_fits
        && listed("enum")
        && same
        && low
        && high
        && items
        && required
        && members
}

fn member<'a>(name: &str, schema: &'a Json) -> Option<&'a Json> {
    if let Some(inner) = schema["properties"].get(name) {
        return Some(inner);
    }
    let kind = name.split('/').next().unwrap();
    let patterns = schema["patternProperties"].as_object()?;
    let inside = |pattern: &str| {
        let words = pattern.trim_start_matches('^').trim_end_matches(r"(/\S+)?$");
        words.trim_matches(['(', ')']).split('|').any(|word| word == kind)
    };
    patterns.iter().find(|(pattern, _)| inside(pattern)).map(|(_, inner)| inner)
}

#[track_caller]
fn schema_says(yaml: &str, expected: bool) {
    let schema = schema::schema(&catalog());
    let value: Json = serde_yaml::from_str(yaml).unwrap();
    assert_eq!(fits(&value, &schema, &schema), expected, "{yaml}");
}

#[test]
fn the_schema_takes_what_is_good_and_refuses_what_is_not() {
    schema_says(GOOD, true);
    let references =
        GOOD.replacen("headers:", "timeout: ${env:T}\n    consumers: ${N}\n    headers:", 1);
    schema_says(&references, true);
    let legacy = GOOD.replacen("headers:", "wait_for_ready: true\n    timeout: 0\n    headers:", 1);
    schema_says(&legacy, true);
    for (from, to) in [
        ("sensitive: {}", "sensitive: {evnets: true}"),
        ("  debug:", "  debgu:"),
        ("processors:", "procesors:"),
        ("headers:", "timeout: 5\n    headers:"),
        ("headers:", "timeout: fast\n    headers:"),
        ("headers:", "consumers: 0\n    headers:"),
        ("headers:", "ratio: 1.5\n    headers:"),
        ("headers:", "compression: gz\n    headers:"),
        ("headers:", "balancer_name: x\n    headers:"),
        ("endpoint: https://backend.example", "timeout: 5s"),
        ("logs/agents", "profiles"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        schema_says(&GOOD.replacen(from, to, 1), false);
    }
}

#[test]
fn the_schema_describes_keys_with_their_defaults() {
    let schema = schema::schema(&catalog());
    let timeout = &schema["$defs"]["exporter.otlp_grpc"]["properties"]["timeout"];
    assert_eq!(
        (&timeout["description"], &timeout["default"]),
        (&"per attempt".into(), &"5s".into())
    );
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}

proptest! {
    /// Whatever is in the file, the answer is a document or problems.
    #[test]
    fn no_file_panics(text in "\\PC{0,120}") {
        let _ = load_document(&text);
    }

    /// The same with words that reach further into the check.
    #[test]
    fn no_changed_file_panics(at in 0..GOOD.len(), cut in 0..40_usize, put in WORDS) {
        let end = GOOD.len().min(at + cut);
        let text = format!("{}{put}{}", &GOOD[..at], &GOOD[end..]);
        if let Ok(document) = load_document(&text) {
            let printed = print::print(&document);
            prop_assert!(load_document(&printed).is_ok(), "{}", printed);
        }
    }
}

const WORDS: &str =
    "([\\[\\]{}:,'\"&*|$\n -]|traces|otlp|sensitive|debug|endpoint|\\$\\{TOKEN\\}|null|5|ü){0,6}";

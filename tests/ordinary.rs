//! The ordinary processors through the real binary: real configuration, what the backend receives,
//! what the metrics and `validate` say. What each does in detail stands in its unit tests.

mod support;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Gauge, Metric, NumberDataPoint};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::trace::v1::Span;
use support::client::{self, TRACES};
use support::spans::{find, number, pair, text, with};
use support::{Daemon, Seen, Sink, daemon, request, span};

/// A configuration in which `processors`, a YAML text, are the only ones, in the order of `names`
/// in the pipelines of traces and of the `others`.
fn config(sink: &Sink, names: &str, others: &str, processors: &str) -> String {
    let processors = processors.trim().replace('\n', "\n  ");
    daemon::to_sink(sink)
        .replace(
            "  sensitive: {}\n  baggage: {}\n  orphans: {head_hold: 0s}",
            &format!("  {processors}"),
        )
        .replace("[sensitive, baggage, orphans]", &format!("[{names}]"))
        .replace("[sensitive, baggage]", &format!("[{others}]"))
        .replace("metrics: {rec", &format!("metrics: {{processors: [{others}], rec"))
}

/// What arrives of `spans`, of which the last one stays.
#[track_caller]
fn arrived(processor: &str, yaml: &str, spans: Vec<Span>) -> (Vec<Seen>, Daemon) {
    let sink = Sink::start();
    let yaml = config(&sink, processor, "", &format!("{processor}: {yaml}"));
    let daemon = Daemon::start(&yaml);
    let last = spans.last().map(|span| span.span_id.clone());
    let reply = client::grpc_export(&daemon.grpc(), TRACES, &request(spans));
    assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
    let seen = sink.wait_for_spans(1);
    assert_eq!(seen.last().map(|seen| seen.span.span_id.clone()), last);
    (seen, daemon)
}

/// A row: the processor, its configuration, the span that is sent, and what must hold for it.
type Row = (&'static str, &'static str, fn(Span) -> Span, fn(&Seen) -> bool);

#[test]
fn each_processor_does_what_its_configuration_says() {
    let rows: [Row; 6] = [
        (
            "attributes",
            "{actions: [{key: email, action: hash}, {key: secret, action: delete}, \
             {key: n, action: convert, converted_type: string}, \
             {key: path, action: extract, pattern: \"^/users/(?P<user>[0-9]+)\"}]}",
            |span| {
                let values = [("email", text("abc")), ("secret", text("x")), ("n", number(5))];
                with(with(span, values), [("path", text("/users/7/x"))])
            },
            |seen| {
                seen.text("email").is_some_and(|hash| hash.starts_with("ba7816bf8f01cfea"))
                    && seen.value("secret").is_none()
                    && seen.text("n") == Some("5")
                    && seen.text("user") == Some("7")
            },
        ),
        (
            "attributes",
            "{actions: [{key: a, action: insert, value: 1}], \
             include: {match_type: regexp, span_names: [\"^chat\"]}, \
             exclude: {match_type: strict, services: [agent]}}",
            |span| span,
            |seen| seen.span.attributes.is_empty(),
        ),
        (
            "resource",
            "{attributes: [{key: env, action: upsert, value: prod}, \
             {key: name, action: insert, from_attribute: service.name}]}",
            |span| span,
            |seen| {
                let is = |key, value: &str| find(&seen.resource, key) == Some(&text(value));
                is("env", "prod") && is("name", "agent") && is("service.name", "agent")
            },
        ),
        (
            "span",
            "{name: {from_attributes: [method, route], separator: \" \", to_attributes: {rules: \
             [\"/users/(?P<user>[0-9]+)\"]}}, status: {code: Error, description: no}}",
            |span| with(span, [("method", text("GET")), ("route", text("/users/7"))]),
            |seen| {
                let status = seen.span.status.clone().unwrap_or_default();
                seen.span.name == "GET /users/{user}"
                    && seen.text("user") == Some("7")
                    && (status.code, &*status.message) == (2, "no")
            },
        ),
        (
            "probabilistic_sampler",
            "{mode: equalizing, sampling_percentage: 25}",
            |span| Span { trace_state: "a=b".into(), ..span },
            |seen| seen.span.trace_state == "ot=th:c,a=b",
        ),
        (
            "probabilistic_sampler",
            "{sampling_percentage: 0}",
            |span| with(span, [("sampling.priority", number(1))]),
            |seen| seen.span.trace_state.contains("th:0"),
        ),
    ];
    for (processor, yaml, make, holds) in rows {
        let (seen, _) = arrived(processor, yaml, vec![make(span("chat", u128::MAX, 1, 0))]);
        assert!(seen.len() == 1 && holds(&seen[0]), "{processor}: {yaml}\n{seen:?}");
    }
}

#[test]
fn two_replicas_keep_the_same_spans_and_say_so() {
    let spread = |k: u128| k.wrapping_mul(0x9e37_79b9_7f4a_7c15_9e37_79b9_7f4a_7c15);
    let spans = || {
        let last = span("last", u128::MAX, 1000, 0);
        (1..200).map(|k| span("s", spread(k), k as u64, 0)).chain([last]).collect::<Vec<_>>()
    };
    for mode in ["equalizing", "proportional"] {
        let yaml = format!("{{mode: {mode}, sampling_percentage: 50}}");
        let replicas = [(), ()].map(|()| arrived("probabilistic_sampler", &yaml, spans()));
        let ids =
            replicas.each_ref().map(|(seen, _)| seen.iter().map(Seen::id).collect::<Vec<_>>());
        assert_eq!(ids[0], ids[1], "{mode}");
        assert!((50..150).contains(&ids[0].len()), "{mode}: {}", ids[0].len());
        let (_, daemon) = &replicas[0];
        let name = "otelcol_processor_probabilistic_sampler_count_traces_sampled";
        let counted = ["true", "false"].map(|s| daemon.metric(name, &format!("sampled=\"{s}\"")));
        assert_eq!(counted, [ids[0].len() as f64, 200.0 - ids[0].len() as f64], "{mode}");
    }
}

#[test]
fn logs_and_metrics_pass_through_the_same_processors() {
    let sink = Sink::start();
    let processors = "
attributes: {actions: [{key: secret, action: delete}, {key: seen, action: insert, value: MARK}]}
resource: {attributes: [{key: env, action: upsert, value: prod-env}]}
";
    let daemon = Daemon::start(&config(&sink, "", "attributes, resource", processors));
    let attributes = vec![pair("secret", text("CANARY"))];
    let record = LogRecord {
        body: Some(AnyValue { value: Some(text("a record")) }),
        attributes: attributes.clone(),
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    let logs = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }],
    };
    assert_eq!(client::post_protobuf(&daemon.http(), "/v1/logs", &logs).status, 200);
    let point = NumberDataPoint { attributes, ..NumberDataPoint::default() };
    let metric = Metric {
        name: "a.metric".into(),
        data: Some(Data::Gauge(Gauge { data_points: vec![point] })),
        ..Metric::default()
    };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }];
    let metrics = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }],
    };
    assert_eq!(client::post_protobuf(&daemon.http(), "/v1/metrics", &metrics).status, 200);
    sink.wait_for_requests(2);
    for expected in ["a record", "a.metric", "MARK", "prod-env"] {
        assert!(sink.has_seen(expected), "{expected}");
    }
    assert!(!sink.has_seen("CANARY") && !sink.has_seen("secret"));
}

#[test]
fn all_mistakes_are_reported_at_once_with_line_and_column() {
    let sink = Sink::start();
    let processors = "
attributes: {actions: [{key: a, action: insert}, {pattern: \"(\", action: delete}]}
resource: {attributes: []}
span: {name: {to_attributes: {rules: [\"(a)\"]}}, include: {match_type: strict, log_bodies: [x]}}
probabilistic_sampler: {sampling_percentage: -5, sampling_precison: 4}
";
    let names = "attributes, resource, span, probabilistic_sampler";
    let yaml = config(&sink, names, "span", processors);
    let output = daemon::run(["validate", "--config", &format!("yaml:{yaml}")]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for expected in [
        ":7:26: processors::attributes::actions[0]: insert needs what to set: one of value, \
         from_attribute, default_value",
        "processors::attributes::actions[1]::pattern: bad regular expression: unclosed group",
        "processors::resource::attributes: has no entry; write at least one action",
        "processors::span::name::to_attributes::rules[0]: one of its groups has no name",
        "processors::span::include::log_bodies: is a property of logs; this processor has traces",
        "processors::probabilistic_sampler::sampling_percentage: found -5; write a number of at \
         least 0",
        "unknown key \"sampling_precison\"; did you mean \"sampling_precision\"?",
        "service::pipelines::logs: processor \"span\" does not take logs; it takes traces",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
}

#[test]
fn a_property_that_the_signal_does_not_have_is_named_in_the_log() {
    let sink = Sink::start();
    let processors = "
attributes:
  actions: [{key: a, action: delete}]
  include: {match_type: strict, span_names: [chat]}
";
    let daemon = Daemon::start(&config(&sink, "", "attributes", processors));
    let line =
        daemon.wait_for_log("include::span_names matches nothing: logs have no such property");
    assert!(line.contains("WARN") || line.contains("warn"), "{line}");
}

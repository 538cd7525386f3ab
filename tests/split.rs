//! `config/split.yaml`: whole to a private backend, without content to a public one.

mod support;

use support::client::{self, TRACES};
use support::spans::{and_event, text, with};
use support::{Daemon, Sink, event, request, span};

#[test]
fn content_reaches_the_private_backend_alone_and_both_see_the_same_trace() {
    let (private, public) = (Sink::start(), Sink::start());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/split.yaml");
    let sample = std::fs::read_to_string(path).expect("the sample is there");
    let here = format!(
        "exporters: {{otlp_grpc/private: {{endpoint: \"{}\"}}, otlp_grpc/public: {{endpoint: \"{}\"}}}}
service:
  telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: 0}}}}}}}}]}}}}
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: \"127.0.0.1:0\"}}, http: {{endpoint: \"127.0.0.1:0\"}}}}}}}}
extensions: {{health_check: {{endpoint: \"127.0.0.1:0\"}}}}",
        private.endpoint(),
        public.endpoint()
    );
    let daemon = Daemon::start_with(&sample, |command| {
        command.arg("--config").arg(format!("yaml:{here}"));
    });
    let chat = with(span("chat", 1, 3, 1), [("gen_ai.input.messages", text("CANARY"))]);
    let chat = and_event(chat, event("exception", [("exception.message", text("CANARY"))]));
    let reply =
        client::grpc_export(&daemon.grpc(), TRACES, &request([span("POST /ask", 1, 1, 0), chat]));
    assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
    let ids = |sink: &Sink| {
        let seen = sink.wait_for_spans(2);
        let ids = seen.iter().map(|seen| (seen.span.trace_id.clone(), seen.id()));
        let mut ids: Vec<_> = ids.collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&private), ids(&public));
    assert!(private.has_seen("CANARY"));
    assert!(!public.has_seen("CANARY"));
}

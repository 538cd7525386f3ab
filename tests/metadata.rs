//! Headers of requests as a source of `baggage`, through the real binary.

mod support;

use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use support::client::{self, TRACES};
use support::{Daemon, Sink, daemon, request, span};

fn config(sink: &Sink) -> String {
    let baggage = "{sources: [attributes, baggage, metadata], metadata: {x-user-id: user.id}}";
    daemon::to_sink(sink)
        .replace(" grpc: {endpoint", " grpc: {include_metadata: true, endpoint")
        .replace(" http: {endpoint", " http: {include_metadata: true, endpoint")
        .replace("  baggage: {}", &format!("  baggage: {baggage}\n  trace_window: {{idle: 500ms}}"))
        .replace("[sensitive, baggage, orphans]", "[sensitive, trace_window, baggage, orphans]")
}

#[track_caller]
fn send(daemon: &Daemon, by_grpc: bool, headers: &[(&str, &str)], spans: Vec<Span>) {
    let bytes = request(spans).encode_to_vec();
    if by_grpc {
        let body = client::framed(false, &bytes);
        let reply = client::grpc(&daemon.grpc(), TRACES, headers, body);
        assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
    } else {
        let headers: Vec<_> =
            headers.iter().copied().chain([("content-type", "application/x-protobuf")]).collect();
        let reply = client::post(&daemon.http(), "/v1/traces", &headers, bytes);
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

#[test]
fn what_one_client_says_stands_on_its_spans_and_on_no_others() {
    let sink = Sink::start();
    let daemon = Daemon::start(&config(&sink));
    // Many clients at once, whose spans are held and leave together; two even in one trace.
    for client in 0..40u64 {
        let user = format!("user-{client}");
        let secret = [("authorization", "Bearer canary"), ("cookie", "session=canary")];
        let headers = [[("x-user-id", user.as_str())].as_slice(), &secret].concat();
        let baggage = format!("user.id={user},session.id=s-{client}");
        let headers = if client % 2 == 0 { headers } else { vec![("baggage", baggage.as_str())] };
        let spans = vec![
            span(&user, 1 + u128::from(client / 2), 10 + client, 1),
            span(&user, 100 + u128::from(client), 1, 0),
        ];
        send(&daemon, client % 4 < 2, &headers, spans);
    }
    send(&daemon, true, &[], vec![span("nobody", 1000, 1, 0)]);
    let arrived = sink.wait_for_spans(81);
    for seen in &arrived {
        let expected = (seen.span.name != "nobody").then_some(seen.span.name.as_str());
        assert_eq!(seen.text("user.id"), expected, "{}", seen.id());
    }
    let sessions = arrived.iter().filter(|seen| seen.text("session.id").is_some()).count();
    assert_eq!(sessions, 40, "those whose client sent baggage");
    assert!(sink.received().len() < 20, "they leave together");
    assert!(!sink.has_seen("canary"), "credentials do not pass");
    let dropped = || daemon.metric("spanloom_receiver_dropped_metadata", "");
    assert_eq!(dropped(), 0.0);
    let many: Vec<(String, String)> = (0..90).map(|n| (format!("x-{n}"), "v".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    send(&daemon, false, &many, vec![span("many", 1001, 1, 0)]);
    assert!(dropped() >= 26.0, "{} were dropped", dropped());
}

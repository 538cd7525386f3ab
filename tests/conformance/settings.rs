//! How exporters are configured. The specification means SDKs, which are told by variables; a
//! daemon is told by its file, as the Collector is. What the rows want is there under the
//! Collector's keys.

use super::bench::same;
use super::exporter::{AT_ONCE, KINDS, Way, exporting, send};
use super::support::{Daemon, Sink, daemon};
use super::table::{Row, apart, client, ensure};

pub const ROWS: &[Row] = &[
    client("C81", "-", "OTEL_EXPORTER_OTLP_* variables", |_| {
        // They are meant for the SDKs of the machine, whose endpoint is often this daemon: one
        // that read them would send to itself. Whoever wants them writes ${env:...}.
        let (sink, other) = (Sink::start(), Sink::start());
        let set = |endpoint: &str, yaml: &str| {
            Daemon::start_with(yaml, |command| {
                command
                    .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
                    .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint)
                    .env("OTEL_EXPORTER_OTLP_HEADERS", "x-who=variable");
            })
        };
        let named = set(&other.endpoint(), &daemon::to_sink(&sink));
        send(&named, 1);
        let arrived = sink.wait_for_requests(1);
        same(arrived[0].headers.get("x-who"), None)?;
        same(other.received().len(), 0)?;
        let yaml =
            daemon::to_sink(&sink).replace(&sink.endpoint(), "${env:OTEL_EXPORTER_OTLP_ENDPOINT}");
        let asked = set(&other.endpoint(), &yaml);
        send(&asked, 1);
        other.wait_for_spans(1);
        apart("the file decides, as in the Collector; ${env:OTEL_EXPORTER_OTLP_ENDPOINT} is read")
    }),
    client(
        "C82",
        "-",
        "the base endpoint gets v1/<signal>, a signal's own is used as it is",
        |_| {
            for (keys, expected) in [
                ("endpoint: \"URL\"", "/v1/traces"),
                ("endpoint: \"URL/base/\"", "/base/v1/traces"),
                ("endpoint: \"URL/base\", traces_endpoint: \"URL/own\"", "/own"),
                ("traces_endpoint: \"URL\"", "/"),
            ] {
                let sink = Sink::start();
                let keys = keys.replace("URL", &sink.endpoint());
                let yaml = daemon::config(&format!("otlp_http: {{{keys}}}"), &["otlp_http"]);
                let only_traces = |line: &&str| {
                    !line.trim_start().starts_with("logs:")
                        && !line.trim_start().starts_with("metrics: {rec")
                };
                let yaml: Vec<_> = yaml.lines().filter(only_traces).collect();
                let daemon = Daemon::start(&yaml.join("\n"));
                send(&daemon, 1);
                let arrived = sink.wait_for_requests(1);
                same(arrived[0].path.as_str(), expected)?;
            }
            Ok(())
        },
    ),
    client("C83", "-", "defaults of SDKs", |_| {
        apart("an exporter's endpoint is written down, as in the Collector, and so are its times")
    }),
    client("C84", "-", "headers are k=v pairs without metadata", |_| {
        for kind in KINDS {
            let more = format!("headers: {{x-key: \"a=b;c, d\"}}, {AT_ONCE}");
            let way = Way::start(kind, &more);
            same(way.send(), 200)?;
            let received = way.sink.received();
            let value = received[0].headers.get("x-key").and_then(|v| v.to_str().ok());
            same(value, Some("a=b;c, d"))?;
        }
        Ok(())
    }),
    client("C85", "-", "the scheme decides on TLS", |_| {
        let sink = Sink::start();
        // Without TLS although nothing says `insecure`.
        let daemon = exporting("otlp_grpc", &sink.endpoint(), AT_ONCE);
        same(send(&daemon, 1), 200)?;
        // With TLS although `insecure` says otherwise: the sink does not speak it.
        let https = sink.endpoint().replace("http://", "https://");
        let more = "tls: {insecure: true}, sending_queue: {enabled: false}, \
                    retry_on_failure: {enabled: false}";
        let daemon = exporting("otlp_grpc", &https, more);
        ensure(send(&daemon, 1) != 200, || "https:// was spoken in plain text".to_owned())?;
        same(sink.received().len(), 1)
    }),
    client("C86", "-", "compression is gzip or none", |_| {
        for kind in KINDS {
            for (value, expected) in [("gzip", Some("gzip")), ("none", None)] {
                let way = Way::start(kind, &format!("compression: {value}, {AT_ONCE}"));
                same(way.send(), 200)?;
                let header = if kind == "otlp_grpc" { "grpc-encoding" } else { "content-encoding" };
                let received = way.sink.received();
                let found = received[0].headers.get(header).and_then(|v| v.to_str().ok());
                same(found.filter(|name| *name != "identity"), expected)?;
            }
        }
        Ok(())
    }),
    client("C87", "SHOULD", "a User-Agent as OTel-OTLP-Exporter-Rust/x", |_| {
        for kind in KINDS {
            let way = Way::start(kind, AT_ONCE);
            same(way.send(), 200)?;
            let received = way.sink.received();
            let agent = received[0].headers.get("user-agent").and_then(|v| v.to_str().ok());
            let agent = agent.unwrap_or_default();
            ensure(agent.contains("OTel-OTLP-Exporter-Rust/"), || agent.to_owned())?;
        }
        Ok(())
    }),
];

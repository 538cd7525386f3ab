//! TLS, tenants, and what an operator sees. Each row starts a spanloom of its own, since it needs
//! more of one than two addresses.

use std::io::{Read, Write};

use super::wire::{PROTOBUF, connect, one_span, rest, send, spans};
use super::{Row, apart, row};
use crate::support::tls::{self, Authority, BOTH, Files};
use crate::support::{Answer, Daemon, Sink, client, daemon};
use opentelemetry_proto::tonic::trace::v1::Span;

pub const ROWS: &[Row] = &[
    row("B50", "a ClientHello that stalls; one that comes byte by byte", |_| {
        let (daemon, _files, ours) = encrypted();
        let mut stalled = connect(&daemon.http())?;
        stalled.write_all(&[22, 3, 1, 1, 0, 1]).map_err(|e| e.to_string())?;
        if !rest(&mut stalled)?.is_empty() {
            return Err("half a ClientHello was answered".to_owned());
        }
        let config = tls::client(&ours, None, BOTH);
        let name = "localhost".try_into().map_err(|_| "a name")?;
        let hello = rustls::ClientConnection::new(config.into(), name);
        let mut hello = hello.map_err(|e| e.to_string())?;
        let (mut bytes, mut stream) = (vec![], connect(&daemon.http())?);
        hello.write_tls(&mut bytes).map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        for byte in bytes.chunks(1) {
            stream.write_all(byte).map_err(|e| e.to_string())?;
        }
        while hello.is_handshaking() {
            hello.read_tls(&mut stream).map_err(|e| e.to_string())?;
            hello.process_new_packets().map_err(|e| e.to_string())?;
            hello.write_tls(&mut stream).map_err(|e| e.to_string())?;
        }
        Ok(())
    }),
    row("B51", "TLS 1.0 and 1.1", |_| {
        let (daemon, _files, _) = encrypted();
        for minor in [1, 2] {
            let hello = [&[3, minor], &[7; 32][..], &[0, 0, 2, 0xc0, 0x13, 1, 0, 0, 0]].concat();
            let head = [22, 3, 1, 0, hello.len() as u8 + 4, 1, 0, 0, hello.len() as u8];
            let (mut answer, mut stream) = ([0; 7], connect(&daemon.http())?);
            stream.write_all(&[&head, &hello[..]].concat()).map_err(|e| e.to_string())?;
            stream.read_exact(&mut answer).map_err(|e| e.to_string())?;
            // A fatal alert.
            if (answer[0], answer[5]) != (21, 2) {
                return Err(format!("TLS 1.{}: {answer:?}", minor - 1));
            }
        }
        Ok(())
    }),
    apart("B51", "renegotiation", "the TLS library has none, of either side"),
    apart("B52", "the token of one tenant for another", "there are no tenants"),
    row("B52", "a listener that is to ask for tokens", |_| {
        // What cannot be enforced is an error, and never silently left out.
        let auth = "grpc: {endpoint: \"127.0.0.1:0\", auth: {authenticator: bearer}}";
        let yaml = format!("yaml:{{receivers: {{otlp: {{protocols: {{{auth}}}}}}}}}");
        let said = daemon::run(["validate", "--config", &yaml]);
        let text = String::from_utf8_lossy(&said.stderr).into_owned()
            + &String::from_utf8_lossy(&said.stdout);
        match !said.status.success() && text.contains("authenticators are not supported") {
            true => Ok(()),
            false => Err(text),
        }
    }),
    row("B53", "names, agents and tenants by the hundred thousand", |_| {
        let sink = Sink::start();
        let daemon = Daemon::start(&daemon::to_sink(&sink));
        let address = daemon.http();
        let send = |names: std::ops::Range<u32>| {
            let named = |k| Span { name: format!("name {k}"), ..Span::default() };
            let (who, body) = (format!("agent/{}", names.start), spans(names.map(named).collect()));
            let headers = [PROTOBUF, ("user-agent", &who), ("x-tenant", &who), (&who[..5], &who)];
            match send(false, "POST", &address, "/v1/traces", &headers, body)?.status {
                200 => Ok(()),
                status => Err(status.to_string()),
            }
        };
        let series = || client::get(&daemon.metrics(), "/metrics").text().lines().count();
        send(0..10_000)?;
        let before = series();
        for k in 1..10 {
            send(k * 10_000..(k + 1) * 10_000)?;
        }
        for k in 1_000_000..1_000_300 {
            send(k..k + 1)?;
        }
        let after = series();
        if after == before { Ok(()) } else { Err(format!("{before} series, then {after}")) }
    }),
    row("B54", "a secret that the backend repeats", |_| {
        const CANARY: &str = "Bearer canary-1f7e";
        let sink = Sink::start();
        let exporter = format!(
            "otlp_grpc: {{endpoint: \"{}\", headers: {{authorization: \"{CANARY}\"}}, \
             sending_queue: {{enabled: false}}}}",
            sink.endpoint()
        );
        let yaml = daemon::config(&exporter, &["otlp_grpc"]);
        let yaml = yaml.replace("telemetry:\n", "telemetry:\n    logs: {level: debug}\n");
        let daemon = Daemon::start(&yaml);
        let repeated = ("grpc-message", format!("no such token: {CANARY}"));
        sink.answer_next([Answer::Grpc(16, vec![repeated])]);
        let reply = send(false, "POST", &daemon.http(), "/v1/traces", &[PROTOBUF], one_span())?;
        daemon.wait_for_log("no such token");
        let printed = daemon::run(["print-config", "--config", &format!("yaml:{yaml}")]);
        let sent = sink
            .received()
            .iter()
            .any(|one| one.headers.get("authorization").is_some_and(|value| value == CANARY));
        let seen = [
            ("the answer", String::from_utf8_lossy(&reply.body).into_owned()),
            ("the log", daemon.log_lines().join("\n")),
            ("the metrics", client::get(&daemon.metrics(), "/metrics").text()),
            ("the configuration", String::from_utf8_lossy(&printed.stdout).into_owned()),
            ("its errors", String::from_utf8_lossy(&printed.stderr).into_owned()),
        ];
        for (place, text) in seen {
            if text.contains("canary-1f7e") {
                return Err(format!("{place} shows it: {text}"));
            }
        }
        if sent { Ok(()) } else { Err("the backend was not sent it".to_owned()) }
    }),
    apart(
        "B55",
        "paths in the names of what is stored",
        "no client names what is stored, and ids are escaped: a unit test of file_storage",
    ),
];

/// A spanloom whose HTTP port speaks TLS, with a second for a hello.
fn encrypted() -> (Daemon, Files, Authority) {
    let (ours, files, sink) = (Authority::new("ours"), Files::new(), Sink::start());
    let server = files.identity("server", &ours.issue(&["localhost"]));
    let plain = "http: {endpoint: \"127.0.0.1:0\"";
    let keys = format!("{plain}, tls: {{{server}}}, read_header_timeout: 1s");
    let daemon = Daemon::start(&daemon::to_sink(&sink).replace(plain, &keys));
    daemon.http();
    (daemon, files, ours)
}

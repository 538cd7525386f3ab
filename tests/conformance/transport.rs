//! Transport, size and compression, as receivers have them.

use bytes::Bytes;

use super::bench::{Bench, grpc, grpc_status, gzip, same};
use super::support::{Daemon, Sink, daemon};
use super::table::{Row, apart, both, ensure, server};
use super::wire::{self, EXPORT, GZIP, JSON, PROTOBUF, framed, of_size, one_span};

const LIMIT: usize = 64 << 20;

pub const ROWS: &[Row] = &[
    server("C1", "MUST", "none and gzip on every transport", |b| {
        let (plain, packed) = (one_span(), gzip(&one_span()));
        b.posted("/v1/traces", &[PROTOBUF], plain.clone(), 200)?;
        b.posted("/v1/traces", &[PROTOBUF, GZIP], packed.clone(), 200)?;
        b.posted("/v1/traces", &[JSON, GZIP], gzip(b"{}"), 200)?;
        b.call(&[], framed(false, &plain), 0)?;
        b.call(&[("grpc-encoding", "gzip")], framed(true, &packed), 0)?;
        // A client that may compress need not.
        Ok(b.call(&[("grpc-encoding", "gzip")], framed(false, &plain), 0).map(drop)?)
    }),
    server("C2", "MUST", "gRPC: the message size is limited, also decompressed", |b| {
        let bomb = framed(true, &gzip(&vec![0; 100 << 20]));
        ensure(code(b, &[("grpc-encoding", "gzip")], bomb)? != 0, || "a bomb passes".to_owned())
    }),
    server("C3", "RECOMMENDED", "that limit is 64 MiB", |b| {
        Ok(b.call(&[], framed(false, &of_size(LIMIT)), 0).map(drop)?)
    }),
    server("C4", "SHOULD", "that limit can be configured", |b| {
        b.sink()?;
        let small = small();
        let reply = grpc(&small.0.grpc(), EXPORT, &[], framed(false, &of_size((1 << 20) + 1)))?;
        same(grpc_status(&reply), Some(8))?;
        let reply = grpc(&small.0.grpc(), EXPORT, &[], framed(false, &of_size(1 << 20)))?;
        same(grpc_status(&reply), Some(0))
    }),
    server("C5", "MUST", "gRPC over it: RESOURCE_EXHAUSTED without RetryInfo", |b| {
        let over = of_size(LIMIT + 1);
        let encoded = [("grpc-encoding", "gzip")];
        for reply in [
            b.call(&[], framed(false, &over), 8)?,
            b.call(&encoded, framed(true, &gzip(&over)), 8)?,
        ] {
            let delay = ["grpc-status-details-bin", "grpc-retry-pushback-ms"];
            let found = delay.into_iter().find_map(|name| reply.header(name));
            ensure(found.is_none(), || format!("clients are told to come back: {found:?}"))?;
        }
        Ok(b.call(&encoded, framed(true, &gzip(&of_size(LIMIT))), 0).map(drop)?)
    }),
    server("C6", "MUST", "HTTP: the same limit, 413 over it", |b| {
        let (most, over) = (of_size(LIMIT), of_size(LIMIT + 1));
        b.posted("/v1/traces", &[PROTOBUF], most.clone(), 200)?;
        b.posted("/v1/traces", &[PROTOBUF, GZIP], gzip(&most), 200)?;
        b.posted("/v1/traces", &[PROTOBUF], over.clone(), 413)?;
        b.posted("/v1/traces", &[PROTOBUF, GZIP], gzip(&over), 413)?;
        if b.is_ours() {
            let small = small();
            let headers = [PROTOBUF];
            let body = of_size((1 << 20) + 1);
            let reply = wire::send(false, "POST", &small.0.http(), "/v1/traces", &headers, body)?;
            same(reply.status, 413)?;
        }
        Ok(())
    }),
    server("C7", "MUST", "responses are limited, 4 MiB", |b| {
        // What answers repeat is what came: the longest of it.
        let long = format!("/{}", "x".repeat(12 << 10));
        let reply = b.post(&long, &[JSON], "{}")?;
        ensure(reply.body.len() < 64 << 10, || format!("{} bytes", reply.body.len()))?;
        let name = format!(r#"{{"{}": 1"#, "k".repeat(8 << 20));
        let reply = b.post("/v1/traces", &[JSON], name)?;
        ensure(reply.body.len() < 4 << 20, || format!("{} bytes", reply.body.len()))
    }),
    server("C8", "SHOULD", "a partial-success text is shortened to fit", |b| match b.is_ours() {
        true => apart("there is no partial success: a request is taken or not"),
        false => apart("cannot be provoked from outside"),
    }),
    server("C9", "MUST", "a response that is too big becomes an error", |b| match b.is_ours() {
        true => apart("answers cannot grow: success is empty, texts are cut"),
        false => apart("cannot be provoked from outside"),
    }),
    both("C12", "-", "default ports 4317 and 4318", |b| {
        b.sink()?;
        let printed = daemon::run(["print-config"]);
        let text = String::from_utf8_lossy(&printed.stdout).into_owned();
        let both = text.contains(":4317") && text.contains(":4318");
        ensure(both, || format!("the default configuration:\n{text}"))
    }),
    both("C13", "-", "/v1/traces, /v1/metrics, /v1/logs; may be configured", |b| {
        for path in ["/v1/traces", "/v1/metrics", "/v1/logs"] {
            b.posted(path, &[JSON], "{}", 200)?;
        }
        let reply = b.post("/v1development/profiles", &[JSON], "{}")?;
        ensure([200, 404].contains(&reply.status), || format!("profiles: {}", reply.status))?;
        if b.is_ours() {
            let small = small();
            let reply = wire::send(false, "POST", &small.0.http(), "/in/logs", &[JSON], "{}")?;
            same(reply.status, 200)?;
        }
        Ok(())
    }),
    both("C14", "-", "HTTP requests are POST", |b| {
        for method in ["GET", "PUT", "DELETE"] {
            let reply = wire::send(false, method, &b.http, "/v1/traces", &[PROTOBUF], "")?;
            ensure(reply.status == 405, || format!("{method}: {}", reply.status))?;
        }
        Ok(())
    }),
    both("C15", "MAY", "HTTP/1.1 or HTTP/2", |b| {
        for http2 in [false, true] {
            let reply = wire::send(http2, "POST", &b.http, "/v1/traces", &[JSON], "{}")?;
            ensure(reply.status == 200, || format!("HTTP/2 {http2}: {}", reply.status))?;
        }
        Ok(())
    }),
    server("C16", "SHOULD", "protobuf and JSON on one port, by Content-Type", |b| {
        b.posted("/v1/traces", &[PROTOBUF], one_span(), 200)?;
        b.json("{}", 200)
    }),
    server("C17", "MAY", "gRPC and HTTP on one port", |b| {
        match grpc(&b.http, EXPORT, &[], framed(false, &one_span())) {
            Ok(reply) if grpc_status(&reply) == Some(0) => Ok(()),
            _ if !b.is_ours() => apart("it does not, and need not"),
            _ => Err("gRPC on the HTTP port is not taken".to_owned().into()),
        }
    }),
];

/// A spanloom with limits of 1 MiB, and logs on another path.
fn small() -> (Daemon, Sink) {
    let sink = Sink::start();
    let plain = "endpoint: \"127.0.0.1:0\"";
    let yaml = daemon::to_sink(&sink)
        .replace(
            &format!("grpc: {{{plain}}}"),
            &format!("grpc: {{{plain}, max_recv_msg_size_mib: 1}}"),
        )
        .replace(
            &format!("http: {{{plain}}}"),
            &format!("http: {{{plain}, max_request_body_size: 1048576, logs_url_path: /in/logs}}"),
        );
    (Daemon::start(&yaml), sink)
}

fn code(b: &Bench, headers: &[(&str, &str)], body: Bytes) -> Result<u32, String> {
    let reply = grpc(&b.grpc, EXPORT, headers, body)?;
    grpc_status(&reply).ok_or_else(|| format!("no grpc-status, HTTP {}", reply.status))
}

//! HTTP: routing and media types, framing, slow and idle connections.

use super::wire::{JSON, PROTOBUF, check_http, connect, one_span, post, raw, raw_at, rest, send};
use super::{Checked, Row, Target, row};
use std::io::Write;
use std::net::TcpStream;

pub const ROWS: &[Row] = &[
    row("B1", "GET /v1/traces", |t| {
        let reply = send(false, "GET", &t.http, "/v1/traces", &[PROTOBUF], "")?;
        check_http(&reply, false, 405)?;
        let allow = reply.header("allow");
        if allow == Some("POST") { Ok(()) } else { Err(format!("Allow is {allow:?}")) }
    }),
    row("B2", "an unknown path", |t| post(t, "/v1/nothing", &[JSON], "{}", 404)),
    row("B3", "no Content-Type", |t| post(t, "/v1/traces", &[], one_span(), 415)),
    row("B4", "a Content-Type with a parameter", |t| {
        let headers = [("content-type", "Application/JSON ; charset=utf-8")];
        let reply = send(false, "POST", &t.http, "/v1/traces", &headers, "{}")?;
        check_http(&reply, true, 200)
    }),
    row("B5", "multipart", |t| {
        let kind = ("content-type", "multipart/form-data; boundary=x");
        post(t, "/v1/traces", &[kind], "--x--", 415)
    }),
    row("B6", "a body longer than its Content-Length", |t| {
        let head = head("Content-Length: 2\r\n");
        raw(t, format!("{head}{{}}garbage\r\n\r\n").as_bytes(), &[200, 400])
    }),
    row("B7", "Content-Length and chunked", smuggling),
    row("B8", "an impossible Content-Length", |t| {
        for length in ["-5", "99999999999999999999", "+5", "5, 6", "0x5", "5\r\nContent-Length: 6"]
        {
            let head = head(&format!("Content-Length: {length}\r\n"));
            raw(t, format!("{head}{{}}   ").as_bytes(), &[400])?;
        }
        Ok(())
    }),
    row("B9", "a chunk extension of 1 MiB", |t| {
        let head = head("Transfer-Encoding: chunked\r\n");
        let extension = "x".repeat(1 << 20);
        raw(t, format!("{head}2;{extension}\r\n{{}}\r\n0\r\n\r\n").as_bytes(), &[400])
    }),
    row("B10", "101 headers; a header of 64 KiB", |t| {
        let many: String = (0..101).map(|k| format!("x-{k}: y\r\n")).collect();
        raw(t, format!("{}{{}}", head(&many)).as_bytes(), &[431])?;
        let large = format!("x-large: {}\r\n", "y".repeat(64 << 10));
        raw(t, format!("{}{{}}", head(&large)).as_bytes(), &[431])
    }),
    row("B11", "HTTP/0.9; HTTP/1.0 without Host; absolute-form URI", |t| {
        raw(t, b"GET /v1/traces\r\n\r\n", &[400])?;
        let body = "Content-Type: application/json\r\nContent-Length: 2\r\n";
        raw(t, format!("POST /v1/traces HTTP/1.0\r\n{body}\r\n{{}}").as_bytes(), &[200])?;
        let host = "Host: x\r\nConnection: close\r\n";
        let line = "POST http://x/v1/traces HTTP/1.1\r\n";
        raw(t, format!("{line}{host}{body}\r\n{{}}").as_bytes(), &[200])
    }),
    row("B12", "Expect: 100-continue, then nothing", |t| {
        let head = head("Content-Length: 2\r\nExpect: 100-continue\r\n");
        raw(t, head.as_bytes(), &[100, 408])
    }),
    row("B13", "headers that never end", |t| {
        raw(t, b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nX", &[])?;
        // Fewer bytes than say which HTTP it is.
        raw(t, b"P", &[])?;
        raw_at(&t.http, b"PRI * HTTP/2.0\r\n", &[])
    }),
    row("B14", "a client that never reads", |t| {
        let mut stream = connect(&t.http)?;
        let request = format!("{}{{}}", head("Content-Length: 2\r\n"));
        // Until the pipe is full of answers, and then until it is cut.
        while stream.write_all(request.repeat(100).as_bytes()).is_ok() {}
        match stream.write_all(b"x").map_err(|e| e.kind()) {
            Err(std::io::ErrorKind::WouldBlock) => Err("not cut".to_owned()),
            _ => Ok(()),
        }
    }),
    row("B15", "connections that are closed or reset at once", |t| {
        let runtime = super::wire::runtime();
        let _entered = runtime.enter();
        for k in 0..4000 {
            let port = if k % 2 == 0 { &t.http } else { &t.grpc };
            let stream = TcpStream::connect(port).map_err(|e| e.to_string())?;
            if k % 4 < 2 {
                reset(stream).map_err(|e| e.to_string())?;
            }
        }
        Ok(())
    }),
    row("B48", "HTTP/1 on the gRPC port", |t| {
        let reply = send(false, "POST", &t.grpc, "/v1/traces", &[PROTOBUF], one_span())?;
        check_http(&reply, false, 415)?;
        let body = String::from_utf8_lossy(&reply.body);
        if !body.contains(&t.http) {
            return Err(format!("no word of {}: {body:?}", t.http));
        }
        // TLS, and something else altogether.
        for bytes in [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3][..], b"SSH-2.0-x\r\n", &[0; 64]] {
            let mut stream = connect(&t.grpc)?;
            stream.write_all(bytes).map_err(|e| e.to_string())?;
            let _ = stream.shutdown(std::net::Shutdown::Write);
            rest(&mut stream)?;
        }
        Ok(())
    }),
];

/// The head of a JSON request that closes its connection only when something is wrong.
fn head(more: &str) -> String {
    format!("POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{more}\r\n")
}

/// One of the two lengths counts, and nothing behind the body is read as a request: this is what
/// RFC 9112, 6.3, allows besides refusing.
fn smuggling(target: &Target) -> Checked {
    let hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    let chunked = format!("2\r\n{{}}\r\n0\r\n\r\n{hidden}");
    for lengths in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    ] {
        raw(target, format!("{}{chunked}", head(lengths)).as_bytes(), &[400])?;
    }
    let odd = head("Transfer-Encoding: chunked, identity\r\n");
    raw(target, format!("{odd}{chunked}").as_bytes(), &[400])
}

/// Closes with a reset, as a client does that dies with data unread. Within a runtime.
fn reset(stream: TcpStream) -> std::io::Result<()> {
    stream.set_nonblocking(true)?;
    let stream = tokio::net::TcpStream::from_std(stream)?;
    stream.set_zero_linger()
}

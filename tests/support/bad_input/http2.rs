//! HTTP/2: floods and bombs by hand, cancelled calls, too many at once.

use super::wire::{EXPORT, connect, framed, good, of_size, one_span, rest, runtime, send};
use super::{Checked, Row, Target, row};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use tokio::task::JoinSet;

pub const ROWS: &[Row] = &[
    row("B44", "calls that are cancelled at every stage", |t| {
        let stages = [
            hello(),
            [hello(), frame(HEADERS, 4, 1, &head())].concat(),
            [hello(), frame(HEADERS, 4, 1, &head()), frame(DATA, 0, 1, &[0; 3])].concat(),
            [hello(), frame(HEADERS, 4, 1, &head()), frame(DATA, 0, 1, &message()[..20])].concat(),
            [hello(), frame(HEADERS, 4, 1, &head()), frame(DATA, 1, 1, &message())].concat(),
        ];
        for bytes in stages {
            for cancel in [vec![], frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])] {
                let mut stream = connect(&t.grpc)?;
                stream.write_all(&bytes).map_err(|e| e.to_string())?;
                let _ = stream.write_all(&cancel);
            }
        }
        Ok(())
    }),
    row("B44", "rapid reset", |t| {
        let mut stream = connect(&t.grpc)?;
        let mut bytes = hello();
        for stream in (1..20_000).step_by(2) {
            bytes.extend(frame(HEADERS, 4, stream, &head()));
            bytes.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        }
        let _ = stream.write_all(&bytes);
        expect_goaway(&mut stream)
    }),
    row("B45", "a flood of CONTINUATION", |t| {
        let mut stream = connect(&t.grpc)?;
        let field = literal("x-flood", &"y".repeat(1000));
        let mut bytes = [hello(), frame(HEADERS, 0, 1, &head())].concat();
        for _ in 0..2000 {
            bytes.extend(frame(CONTINUATION, 0, 1, &field));
        }
        let _ = stream.write_all(&bytes);
        expect_goaway(&mut stream)
    }),
    row("B46", "floods of PING, SETTINGS, PRIORITY, WINDOW_UPDATE", |t| {
        let floods = [
            frame(PING, 0, 0, &[7; 8]),
            frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]),
            frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1]),
            frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        ];
        for flood in floods {
            let mut stream = connect(&t.grpc)?;
            stream.write_all(&hello()).map_err(|e| e.to_string())?;
            // It may be cut off before its end.
            let _ = stream.write_all(&flood.repeat(100_000));
            let code = goaway(&mut stream)?;
            if code != Some(ENHANCE_YOUR_CALM) {
                return Err(format!("frames of type {}: GOAWAY {code:?}", flood[3]));
            }
            rest(&mut stream)?;
            good(t)?;
        }
        Ok(())
    }),
    row("B46", "floods whose answers nobody reads", |t| {
        let ping = frame(PING, 0, 0, &[7; 8]);
        let empty = [frame(HEADERS, 4, 1, &head()), frame(DATA, 0, 1, &[]).repeat(100)].concat();
        for flood in [ping, empty] {
            let mut stream = connect(&t.grpc)?;
            let impatient = Some(Duration::from_secs(1));
            stream.set_write_timeout(impatient).map_err(|e| e.to_string())?;
            let _ = stream.write_all(&hello());
            let _ = stream.write_all(&flood.repeat(100_000));
            good(t)?;
        }
        Ok(())
    }),
    row("B46", "pings by the hundred between requests are no flood", |t| {
        let mut stream = connect(&t.grpc)?;
        let mut bytes = hello();
        for call in 0..20 {
            bytes.extend(frame(PING, 0, 0, &[7; 8]).repeat(300));
            bytes.extend(frame(HEADERS, 4, 2 * call + 1, &head()));
            bytes.extend(frame(DATA, 1, 2 * call + 1, &message()));
        }
        stream.write_all(&bytes).map_err(|e| e.to_string())?;
        // The answer to the last call: headers, and trailers behind its message.
        let last = |kind, id| kind == GOAWAY || (kind == HEADERS && id == 39);
        match frames(&mut stream, last)? {
            Some((HEADERS, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }),
    row("B47", "an HPACK bomb", |t| {
        let mut bomb = head();
        bomb.extend([0x40, 1, b'x', 0x7f]);
        bomb.extend([0xa1, 0x1e]);
        bomb.extend([b'y'; 4000]);
        bomb.extend([0xbe; 12_000]);
        let mut stream = connect(&t.grpc)?;
        let bytes = [hello(), frame(HEADERS, 5, 1, &bomb)].concat();
        stream.write_all(&bytes).map_err(|e| e.to_string())?;
        expect_refusal(&mut stream)
    }),
    row("B47", "churn of the HPACK table's size", |t| {
        let mut churn = vec![];
        for _ in 0..8000 {
            churn.extend([0x20, 0x3f, 0xe1, 0x1f]);
        }
        churn.extend(head());
        let mut stream = connect(&t.grpc)?;
        let bytes = [hello(), frame(HEADERS, 5, 1, &churn[..16_000])].concat();
        stream.write_all(&bytes).map_err(|e| e.to_string())?;
        expect_refusal(&mut stream)
    }),
    row("B47", "headers of 20 KiB", |t| {
        let large = "y".repeat(20 << 10);
        let headers = [("content-type", "application/grpc"), ("x-large", large.as_str())];
        let reply = send(true, "POST", &t.grpc, EXPORT, &headers, message())?;
        if reply.status == 431 { Ok(()) } else { Err(format!("{}", reply.status)) }
    }),
    row("B49", "requests of 64 MiB, far more than memory", too_many),
];

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame's type and payload.
type Frame = (u8, Vec<u8>);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
    let head = [&len[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [head, payload.to_vec()].concat()
}

fn hello() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &[])].concat()
}

fn message() -> Vec<u8> {
    framed(false, &one_span()).to_vec()
}

/// A header field as HPACK spells it out; values of 127 bytes and more take two bytes of length.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0, u8::try_from(name.len()).expect("a short name")];
    out.extend(name.bytes());
    match value.len() {
        short @ 0..127 => out.push(short as u8),
        long => out.extend([127, ((long - 127) & 127) as u8 | 128, ((long - 127) >> 7) as u8]),
    }
    out.extend(value.bytes());
    out
}

/// The headers of a call.
fn head() -> Vec<u8> {
    let path = literal(":path", EXPORT);
    let kind = literal("content-type", "application/grpc");
    [vec![0x83, 0x86], path, literal(":authority", "x"), kind].concat()
}

/// Reads frames until the server closes or `last`, given type and stream, says so: the type and
/// the payload of that one.
fn frames(stream: &mut TcpStream, last: fn(u8, u32) -> bool) -> Result<Option<Frame>, String> {
    loop {
        let mut head = [0; 9];
        if let Err(error) = stream.read_exact(&mut head) {
            let waiting = matches!(error.kind(), std::io::ErrorKind::WouldBlock);
            return if waiting { Err("no answer".to_owned()) } else { Ok(None) };
        }
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        if stream.read_exact(&mut payload).is_err() {
            return Ok(None);
        }
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if last(head[3], id) {
            return Ok(Some((head[3], payload)));
        }
    }
}

/// The code of the GOAWAY that the server says.
fn goaway(stream: &mut TcpStream) -> Result<Option<u32>, String> {
    let Some((_, payload)) = frames(stream, |kind, _| kind == GOAWAY)? else { return Ok(None) };
    Ok(payload.get(4..8).and_then(|code| code.try_into().ok()).map(u32::from_be_bytes))
}

/// The connection ends, if it is not reset with GOAWAY.
fn expect_goaway(stream: &mut TcpStream) -> Checked {
    frames(stream, |kind, _| kind == GOAWAY)?;
    rest(stream).map(drop)
}

/// The stream 1, or the whole connection, is refused.
fn expect_refusal(stream: &mut TcpStream) -> Checked {
    let refusal = |kind, id| kind == GOAWAY || (id == 1 && matches!(kind, HEADERS | RST_STREAM));
    frames(stream, refusal).map(drop)
}

/// All are answered, with success or with "come back"; the memory that they take is bounded.
fn too_many(target: &Target) -> Checked {
    let body = framed(false, &of_size(64 << 20));
    let codes = runtime().block_on(async {
        let stream = tokio::net::TcpStream::connect(&target.grpc).await;
        let stream = TokioIo::new(stream.map_err(|e| e.to_string())?);
        let made = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await;
        let (sender, connection) = made.map_err(|e| e.to_string())?;
        let mut calls = JoinSet::new();
        for _ in 0..40 {
            let (mut sender, body) = (sender.clone(), body.clone());
            calls.spawn(async move { export(&mut sender, body).await });
        }
        drop(sender);
        let (codes, _) = tokio::join!(calls.join_all(), connection);
        codes.into_iter().collect::<Result<Vec<_>, String>>()
    })?;
    // All of these mean "taken" or "come back": OTLP clients retry DEADLINE_EXCEEDED (4) too.
    let odd: Vec<_> =
        codes.iter().filter(|code| !["0", "4", "14"].contains(&code.as_str())).collect();
    if odd.is_empty() { Ok(()) } else { Err(format!("codes {odd:?}")) }
}

type Sender = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

async fn export(sender: &mut Sender, body: Bytes) -> Result<String, String> {
    let request = Request::post(format!("http://x{EXPORT}"))
        .header("content-type", "application/grpc")
        .body(Full::new(body))
        .map_err(|e| e.to_string())?;
    sender.ready().await.map_err(|e| e.to_string())?;
    let response = sender.send_request(request).await.map_err(|e| format!("{e:?}"))?;
    let (parts, body) = response.into_parts();
    let trailers = match parts.headers.get("grpc-status") {
        Some(_) => parts.headers,
        None => {
            let body = body.collect().await.map_err(|e| format!("{e:?}"))?;
            body.trailers().cloned().unwrap_or_default()
        }
    };
    let status = trailers.get("grpc-status").and_then(|s| s.to_str().ok());
    Ok(status.unwrap_or("none").to_owned())
}

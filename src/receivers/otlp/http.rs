//! OTLP/HTTP: one path for each signal, protobuf or JSON.

use super::body::Reader;
use super::port::{Outcome, Port, Received, too_large, unknown_encoding, unwanted};
use crate::batch::Signal;
use crate::limits;
use crate::otlp::json::from_json;
use crate::transport::{Encoding, Media};
use crate::turns::Client;
use crate::verdict::{Refusal, Verdict};
use ::http::Method;
use ::http::header::{CONTENT_ENCODING, HeaderMap};
use ::http::request::Parts;
use bytes::Bytes;
use hyper::body::{Body, Incoming};

/// Reads and takes one request.
pub(super) async fn receive(
    port: &Port,
    head: &Parts,
    media: Media,
    body: &mut Incoming,
    client: Client,
) -> Outcome {
    let (signal, encoding) = match accept(port, head, media) {
        Ok(accepted) => accepted,
        Err(verdict) => return verdict.into(),
    };
    let limit = port.settings.request_bytes;
    let announced = body.size_hint().exact();
    let announced = announced.map(|size| usize::try_from(size).unwrap_or(usize::MAX));
    if announced.is_some_and(|size| size > limit) {
        return too_large(limit).into();
    }
    let mut reader = Reader::new(&port.settings, &port.intake, signal, client);
    // Before the body is read: room for what is announced.
    if let Some(announced) = announced.filter(|announced| *announced > 0)
        && let Err(verdict) = reader.begin(announced).await
    {
        return verdict.into();
    }
    let whole = |_: &[u8], received| match received > limit {
        true => Err(too_large(limit)),
        false => Ok(announced),
    };
    match reader.read(body, whole).await {
        Ok(body) => {
            let metadata = port.metadata(head);
            port.take(&mut reader, Received { signal, media, encoding, body, metadata }).await
        }
        Err(verdict) => verdict.into(),
    }
}

/// What the headers say.
fn accept(port: &Port, head: &Parts, media: Media) -> Result<(Signal, Encoding), Verdict> {
    let paths = Signal::ALL.into_iter().zip(&port.settings.paths);
    let mut found = paths.filter(|(_, path)| *path == head.uri.path());
    let Some((signal, _)) = found.next() else {
        let text = format!("nothing is at {:?}; send to {}", head.uri.path(), paths_of(port));
        return Err(Verdict::refused(Refusal::NotFound, text));
    };
    if head.method != Method::POST {
        let text = "telemetry is sent by POST";
        return Err(Verdict::refused(Refusal::Method, text));
    }
    if !matches!(media, Media::Protobuf | Media::Json) {
        let text = match media {
            Media::Grpc | Media::GrpcOther => "gRPC needs HTTP/2",
            _ => "Content-Type must be application/x-protobuf or application/json",
        };
        return Err(Verdict::refused(Refusal::Media, text));
    }
    let encoding = encoding(&head.headers)?;
    if !port.intake.takes(signal) {
        return Err(unwanted(signal));
    }
    Ok((signal, encoding))
}

fn paths_of(port: &Port) -> String {
    port.settings.paths.join(", ")
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Verdict> {
    let values = headers.get_all(CONTENT_ENCODING);
    let values: Vec<&str> = values.iter().map(|v| v.to_str().unwrap_or("?")).collect();
    let value = values.join(", ");
    Encoding::parse(&value).ok_or_else(|| unknown_encoding(&value))
}

/// The protobuf of a JSON request.
pub(super) fn protobuf_of_json(signal: Signal, json: &[u8]) -> Result<Bytes, Verdict> {
    from_json(signal.message(), json, &limits::REQUEST).map(Bytes::from).map_err(|error| {
        let kind = match error.is_too_large() {
            true => Refusal::TooLarge,
            false => Refusal::Malformed,
        };
        Verdict::refused(kind, error.to_string())
    })
}

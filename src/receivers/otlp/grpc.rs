//! OTLP/gRPC: three unary methods.

use super::body::Reader;
use super::port::{Outcome, Port, Received, too_large, unknown_encoding, unwanted};
use crate::batch::Signal;
use crate::transport::grpc::{ENCODING, PREFIX, Prefix};
use crate::transport::{Encoding, Media};
use crate::turns::Client;
use crate::verdict::{Refusal, Verdict};
use ::http::Method;
use ::http::request::Parts;
use bytes::Bytes;
use hyper::body::Incoming;

/// The path of the method that takes `signal`.
const fn path(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    }
}

/// Reads and takes one call.
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
    let mut reader = Reader::new(&port.settings, &port.intake, signal, client);
    let (message, compressed) = match message(&mut reader, body).await {
        Ok(message) => message,
        Err(verdict) => return verdict.into(),
    };
    let encoding = if compressed { encoding } else { Encoding::Identity };
    if compressed && encoding == Encoding::Identity {
        return framing("the message is compressed, but grpc-encoding names no encoding").into();
    }
    let metadata = port.metadata(head);
    let received = Received { signal, media: Media::Protobuf, encoding, body: message, metadata };
    port.take(&mut reader, received).await
}

/// What the headers say.
fn accept(port: &Port, head: &Parts, media: Media) -> Result<(Signal, Encoding), Verdict> {
    let found = Signal::ALL.into_iter().find(|signal| path(*signal) == head.uri.path());
    let Some(signal) = found else {
        let text = format!("there is no method {:?}", head.uri.path());
        return Err(Verdict::refused(Refusal::NotFound, text));
    };
    if media != Media::Grpc {
        let text = "only application/grpc and application/grpc+proto are taken";
        return Err(Verdict::refused(Refusal::Media, text));
    }
    if head.method != Method::POST {
        return Err(Verdict::refused(Refusal::Method, "gRPC calls are sent by POST"));
    }
    let encoding = head.headers.get(ENCODING).map_or("", |v| v.to_str().unwrap_or("?"));
    let encoding = Encoding::parse(encoding).ok_or_else(|| unknown_encoding(encoding))?;
    if !port.intake.takes(signal) {
        return Err(unwanted(signal));
    }
    Ok((signal, encoding))
}

/// The one message of the call, and whether it is compressed.
async fn message(reader: &mut Reader<'_>, body: &mut Incoming) -> Result<(Bytes, bool), Verdict> {
    let limit = reader.settings.request_bytes;
    let whole = |beginning: &[u8], _| {
        if beginning.len() < PREFIX {
            return Ok(None);
        }
        let prefix = Prefix::parse(beginning);
        let prefix = prefix.ok_or_else(|| framing("a message begins with neither 0 nor 1"))?;
        match prefix.len > limit {
            true => Err(too_large(limit)),
            false => Ok(Some(PREFIX + prefix.len)),
        }
    };
    let mut bytes = reader.read(body, whole).await?;
    let Some(prefix) = Prefix::parse(&bytes) else {
        return Err(framing("the call holds no message"));
    };
    if bytes.len() != PREFIX + prefix.len {
        return Err(framing("the call does not hold one message of the length that it announces"));
    }
    Ok((bytes.split_off(PREFIX), prefix.compressed))
}

fn framing(text: &str) -> Verdict {
    Verdict::refused(Refusal::Framing, text)
}

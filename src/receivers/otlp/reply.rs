//! The answers: one piece of data at most, and trailers if gRPC asks for them.

use super::keys::Protocol;
use crate::transport::grpc::{self, Status};
use crate::transport::http::error_body;
use crate::transport::{Encoding, Media};
use crate::verdict::{Refusal, Refused, Verdict};
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The body of an answer.
#[derive(Debug, Default)]
pub(super) struct Reply {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = self.data.take().map(Frame::data);
        let frame = data.or_else(|| self.trailers.take().map(Frame::trailers));
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        // hyper writes a known size as Content-Length, which gRPC does not use.
        match &self.data {
            Some(data) if self.trailers.is_none() => SizeHint::with_exact(data.len() as u64),
            _ => SizeHint::default(),
        }
    }
}

/// The answer to a request of `media`, spoken in `protocol`.
pub(super) fn answer(protocol: Protocol, media: Media, verdict: &Verdict) -> Response<Reply> {
    match protocol {
        Protocol::Grpc => grpc(verdict),
        Protocol::Http => http(media, verdict),
    }
}

fn status(verdict: &Verdict) -> Status {
    let message = verdict.reason().to_owned();
    Status { code: verdict.grpc(), message, retry_delay: verdict.retry_after() }
}

/// An empty response message and trailers, or an error as headers only: some clients look for
/// the code of an error nowhere else.
fn grpc(verdict: &Verdict) -> Response<Reply> {
    let mut response = Response::new(Reply::default());
    let kind = HeaderValue::from_static(Media::Grpc.name());
    response.headers_mut().insert(CONTENT_TYPE, kind);
    if matches!(verdict, Verdict::Accepted) {
        let empty = grpc::Prefix { compressed: false, len: 0 }.bytes();
        let mut trailers = HeaderMap::new();
        trailers.insert(grpc::STATUS, HeaderValue::from_static("0"));
        let reply = response.body_mut();
        reply.data = Some(Bytes::copy_from_slice(&empty));
        reply.trailers = Some(trailers);
        return response;
    }
    status(verdict).write(response.headers_mut());
    if is(verdict, Refusal::Media) {
        let accepted = HeaderValue::from_static(Encoding::ACCEPTED);
        response.headers_mut().insert(grpc::ACCEPT_ENCODING, accepted);
    }
    response
}

/// The response message in the encoding of the request, or an error with a status in it.
fn http(media: Media, verdict: &Verdict) -> Response<Reply> {
    let body = match (verdict, media) {
        (Verdict::Accepted, Media::Json) => Bytes::from_static(b"{}"),
        (Verdict::Accepted, _) => Bytes::new(),
        _ => Bytes::from(error_body(media, &status(verdict))),
    };
    let mut response = Response::new(Reply { data: Some(body), trailers: None });
    *response.status_mut() = StatusCode::from_u16(verdict.http()).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media.name()));
    if let Some(delay) = verdict.retry_after() {
        // Whole seconds, not zero: not every client reads a fraction.
        headers.insert(RETRY_AFTER, HeaderValue::from(delay.as_secs().max(1)));
    }
    if is(verdict, Refusal::Method) {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    if is(verdict, Refusal::Media) {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(Encoding::ACCEPTED));
    }
    response
}

fn is(verdict: &Verdict, kind: Refusal) -> bool {
    matches!(verdict, Verdict::Refused(Refused { kind: found, .. }) if *found == kind)
}

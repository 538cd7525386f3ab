//! One request to a running spanloom, and its answer whole.

use crate::limits;
use bytes::Bytes;
use http::header::HeaderMap;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use std::error::Error;

/// An answer.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: HeaderMap,
}

/// Sends `request` and waits for the answer at most [`limits::ASK_TIME`]. HTTP/2 is spoken without
/// asking first. The error is the end of a sentence: `connection refused`.
pub async fn ask(http2: bool, request: Request<Full<Bytes>>) -> Result<Answer, String> {
    let work = async {
        let client = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
        let response = client.request(request).await.map_err(|error| innermost(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, limits::RESPONSE_BYTES).collect().await;
        let body = body.map_err(|error| innermost(&*error))?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let (status, headers) = (head.status, head.headers);
        Ok(Answer { status, headers, body: body.to_bytes(), trailers })
    };
    match tokio::time::timeout(limits::ASK_TIME, work).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {:?}", limits::ASK_TIME)),
    }
}

/// The error that the others wrap.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(inner) = error.source() {
        error = inner;
    }
    error.to_string()
}

//! A small HTTP server for pages that are made on demand.

use super::listen::{Serving, accept, bind};
use crate::limits;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// An answer: status, content type, body.
pub struct Page {
    status: StatusCode,
    content_type: &'static str,
    body: String,
}

impl Page {
    pub fn json(status: StatusCode, body: String) -> Page {
        Page { status, content_type: "application/json", body }
    }

    /// A page in the Prometheus text format.
    pub fn metrics(body: String) -> Page {
        let content_type = "text/plain; version=0.0.4; charset=utf-8";
        Page { status: StatusCode::OK, content_type, body }
    }
}

/// Serves `answer` (path in, page out; `None` is 404) on `address` until `stop`. Errors are
/// sentences that name the address.
pub async fn serve(
    address: &str,
    answer: impl Fn(&str) -> Option<Page> + Send + Sync + 'static,
    stop: CancellationToken,
) -> Result<(SocketAddr, Serving), String> {
    let (listener, bound) = bind(address).await?;
    let answer = Arc::new(answer);
    let serving = accept(listener, limits::CONNECTIONS, stop, move |io, _| {
        let answer = answer.clone();
        async move {
            let service = service_fn(move |request| {
                let response = respond(&*answer, &request);
                async move { Ok::<_, Infallible>(response) }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(limits::HEADER_TIME);
            // Errors are the client's, who is gone.
            let _ = http.serve_connection(TokioIo::new(io), service).await;
        }
    });
    Ok((bound, Box::pin(serving)))
}

fn respond(
    answer: &dyn Fn(&str) -> Option<Page>,
    request: &Request<Incoming>,
) -> Response<Full<Bytes>> {
    let page = if request.method() == Method::GET || request.method() == Method::HEAD {
        answer(request.uri().path())
    } else {
        let body = "{\"message\":\"only GET is answered here\"}\n".to_owned();
        Some(Page::json(StatusCode::METHOD_NOT_ALLOWED, body))
    };
    let page = page.unwrap_or_else(|| {
        let body = "{\"message\":\"there is no such page\"}\n".to_owned();
        Page::json(StatusCode::NOT_FOUND, body)
    });
    let mut response = Response::new(Full::new(Bytes::from(page.body)));
    *response.status_mut() = page.status;
    let value = http::HeaderValue::from_static(page.content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}

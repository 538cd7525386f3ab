//! A small HTTP server for pages that are made on demand.

use crate::limits;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

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

/// The future of a server that runs until it is told to stop.
type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves `answer` (path in, page out; `None` is 404) on `address` until `stop`. Errors are
/// sentences that name the address.
pub async fn serve(
    address: &str,
    answer: impl Fn(&str) -> Option<Page> + Send + Sync + 'static,
    stop: CancellationToken,
) -> Result<(SocketAddr, Serving), String> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|e| cannot_listen(address, &e))?;
    let bound = listener.local_addr().map_err(|e| cannot_listen(address, &e))?;
    let answer = Arc::new(answer);
    let serving = Box::pin(async move {
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let Ok((io, _)) = accepted else {
                tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                continue;
            };
            let (answer, stop) = (answer.clone(), stop.clone());
            tasks.spawn(async move {
                let service = service_fn(move |request| {
                    let response = respond(&*answer, &request);
                    async move { Ok::<_, Infallible>(response) }
                });
                let mut http = hyper::server::conn::http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(limits::HEADER_TIME);
                tokio::select! {
                    _ = http.serve_connection(TokioIo::new(io), service) => {}
                    () = stop.cancelled() => {}
                }
            });
        }
    });
    Ok((bound, serving))
}

fn cannot_listen(address: &str, error: &std::io::Error) -> String {
    let hint = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "; another process listens there: end it or name another port"
        }
        _ => "",
    };
    format!("cannot listen on {address}: {error}{hint}")
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

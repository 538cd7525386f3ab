//! A small gRPC server for calls without arguments, answered from state.

use super::listen::{Serving, accept, bind};
use crate::limits;
use crate::transport::Media;
use crate::transport::grpc::{self, PREFIX, Prefix, Status};
use crate::verdict::code;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::{Future, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Serves the unary method at `path` on `address` until `stop`: `answer` makes the response
/// message anew for each call. Errors are sentences that name the address.
pub async fn serve_call(
    address: &str,
    path: &'static str,
    answer: impl Fn() -> Vec<u8> + Send + Sync + 'static,
    stop: CancellationToken,
) -> Result<(SocketAddr, Serving), String> {
    let (listener, bound) = bind(address).await?;
    let answer = Arc::new(answer);
    let serving = accept(listener, limits::CONTROL_CONNECTIONS, stop, move |io, tasks| {
        let answer = answer.clone();
        async move {
            let service = service_fn(move |request| {
                let answer = answer.clone();
                async move { Ok::<_, Infallible>(respond(path, &*answer, request).await) }
            });
            let mut http = http2::Builder::new(Tasks(tasks));
            http.timer(TokioTimer::new())
                .max_concurrent_streams(CALLS)
                .max_header_list_size(limits::HEADER_BYTES as u32)
                .keep_alive_interval(Some(limits::HEADER_TIME));
            // Errors are the client's, who is gone.
            let _ = http.serve_connection(TokioIo::new(io), service).await;
        }
    });
    Ok((bound, Box::pin(serving)))
}

/// Calls of one connection at once.
const CALLS: u32 = 4;

/// Spawns the tasks of HTTP/2 streams so that the server's end waits for them.
#[derive(Clone)]
struct Tasks(TaskTracker);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

async fn respond(
    path: &str,
    answer: &(dyn Fn() -> Vec<u8> + Sync),
    request: Request<Incoming>,
) -> Reply {
    let (head, body) = request.into_parts();
    let media = head.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    if media.map(Media::parse) != Some(Media::Grpc) || head.method != Method::POST {
        let mut response = Response::new(Full::new("this port takes gRPC\n".into()).boxed_unsync());
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response;
    }
    if head.uri.path() != path {
        let text = format!("there is no method {:?}; there is {path:?}", head.uri.path());
        return failed(code::UNIMPLEMENTED, text);
    }
    let body = Limited::new(body, PREFIX + limits::CONTROL_REQUEST_BYTES);
    let body = match timeout(limits::HEADER_TIME, body.collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => return failed(code::RESOURCE_EXHAUSTED, error.to_string()),
        Err(_) => return failed(code::DEADLINE_EXCEEDED, "the call does not end".to_owned()),
    };
    // What the message holds is of a later version, and of no effect here.
    if Prefix::parse(&body).is_none_or(|prefix| PREFIX + prefix.len != body.len()) {
        return failed(code::INTERNAL, "the call does not hold one message".to_owned());
    }
    let message = answer();
    let mut data = Prefix { compressed: false, len: message.len() }.bytes().to_vec();
    data.extend(message);
    let mut trailers = HeaderMap::new();
    trailers.insert(grpc::STATUS, HeaderValue::from_static("0"));
    reply(Full::new(Bytes::from(data)).with_trailers(ready(Some(Ok(trailers)))).boxed_unsync())
}

fn failed(code: u32, message: String) -> Reply {
    let mut response = reply(Full::default().boxed_unsync());
    Status { code, message, retry_delay: None }.write(response.headers_mut());
    response
}

fn reply(body: UnsyncBoxBody<Bytes, Infallible>) -> Reply {
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static(Media::Grpc.name());
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

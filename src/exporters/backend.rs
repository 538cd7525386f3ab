//! A backend for tests: it answers as its script says, over HTTP/1 and HTTP/2, and remembers what
//! it was sent.

use crate::config::Section;
use crate::exporters::{Exporter, LIST, Setup};
use crate::telemetry::Registry;
use crate::transport::compress::inflate;
use crate::transport::grpc::{ENCODING, PREFIX, Prefix, Status};
use crate::transport::{Encoding, Media};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::net::TcpListener;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    /// The export request, taken out of its framing and compression.
    pub message: Bytes,
}

/// An answer.
#[derive(Clone, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// How often the body is repeated.
    pub times: usize,
    pub trailers: Option<HeaderMap>,
}

impl Reply {
    pub fn http(status: u16) -> Reply {
        Reply { status, times: 1, ..Reply::default() }.with("content-type", Media::Protobuf.name())
    }

    /// A gRPC answer with `message` and a status in trailers.
    pub fn grpc(status: &Status, message: &[u8]) -> Reply {
        let mut trailers = HeaderMap::new();
        status.write(&mut trailers);
        let prefix = Prefix { compressed: false, len: message.len() }.bytes();
        let body = Bytes::from([&prefix, message].concat());
        let reply = Reply { status: 200, body, times: 1, ..Reply::default() };
        Reply { trailers: Some(trailers), ..reply }.with("content-type", "application/grpc")
    }

    /// A gRPC answer that is headers alone.
    pub fn trailers_only(status: &Status) -> Reply {
        let mut reply = Reply { status: 200, ..Reply::default() };
        status.write(&mut reply.headers);
        reply.with("content-type", "application/grpc")
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Reply {
        let value = HeaderValue::try_from(value).expect("a header value");
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }

    pub fn body(self, body: impl Into<Bytes>) -> Reply {
        Reply { body: body.into(), ..self }
    }
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.times > 0 {
            self.times -= 1;
            return Poll::Ready(Some(Ok(Frame::data(self.body.clone()))));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

type Script = Arc<dyn Fn(usize, &Received) -> Reply + Send + Sync>;

/// A backend that listens until it is dropped.
pub struct Backend {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    _listening: AbortOnDropHandle<()>,
}

impl Backend {
    /// Answers the n-th request (from 0) with `script(n, request)`.
    pub async fn start(
        script: impl Fn(usize, &Received) -> Reply + Send + Sync + 'static,
    ) -> Backend {
        Backend::start_at("127.0.0.1:0".parse().expect("an address"), script).await
    }

    pub async fn start_at(
        address: SocketAddr,
        script: impl Fn(usize, &Received) -> Reply + Send + Sync + 'static,
    ) -> Backend {
        // A backend that was dropped may take a moment to let go of its port.
        let listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let address = listener.local_addr().expect("an address");
        let received = Arc::new(Mutex::new(vec![]));
        let (script, log): (Script, _) = (Arc::new(script), received.clone());
        let tasks = TaskTracker::new();
        let listening = AbortOnDropHandle::new(tasks.clone().spawn(async move {
            let mut connections = vec![];
            while let Ok((socket, _)) = listener.accept().await {
                let (script, log) = (script.clone(), log.clone());
                connections.push(AbortOnDropHandle::new(tasks.spawn(async move {
                    let answer =
                        service_fn(move |request| answer(request, script.clone(), log.clone()));
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(socket), answer).await;
                })));
            }
        }));
        Backend { address, received, _listening: listening }
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().expect("no panic").clone()
    }

    /// Waits until `count` requests were received.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        while self.received().len() < count {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        self.received()
    }
}

async fn answer(
    request: http::Request<hyper::body::Incoming>,
    script: Script,
    log: Arc<Mutex<Vec<Received>>>,
) -> Result<http::Response<Reply>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let header = |name| head.headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    let is_grpc = header(CONTENT_TYPE) == Some("application/grpc");
    let name = header(if is_grpc { ENCODING } else { CONTENT_ENCODING }).unwrap_or_default();
    let encoding = Encoding::parse(name).expect("a known encoding");
    let message = if is_grpc {
        let prefix = Prefix::parse(&body).expect("a prefix");
        assert_eq!(prefix.len, body.len() - PREFIX, "one message, whole");
        assert_eq!(prefix.compressed, encoding != Encoding::Identity);
        body.slice(PREFIX..)
    } else {
        body
    };
    let message = inflate(encoding, &message, 64 << 20).expect("a body in its encoding");
    let (path, headers) = (head.uri.path().to_owned(), head.headers);
    let received = Received { path, headers, message };
    let mut log = log.lock().expect("no panic");
    let reply = script(log.len(), &received);
    log.push(received);
    drop(log);
    let mut response = http::Response::new(reply.clone());
    *response.status_mut() = reply.status.try_into().expect("a status");
    *response.headers_mut() = reply.headers;
    Ok(response)
}

/// The section of the exporter `name`, from YAML.
pub fn section(name: &str, yaml: &str) -> Section {
    let kind = LIST.iter().find(|kind| kind.component.name == name).expect("an exporter");
    Section::from_yaml(kind.component.keys, yaml).unwrap_or_else(|e| panic!("{e}"))
}

/// The exporter `name` with this configuration.
pub fn exporter(name: &str, yaml: &str) -> Arc<dyn Exporter> {
    let kind = LIST.iter().find(|kind| kind.component.name == name).expect("an exporter");
    let setup = Setup { id: name, registry: &Registry::default() };
    (kind.build)(&section(name, yaml), &setup).unwrap_or_else(|e| panic!("{e}"))
}

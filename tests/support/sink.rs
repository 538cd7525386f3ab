//! A backend for tests: accepts OTLP by gRPC and HTTP on one free port, in any signal, compression
//! and encoding that exporters use, remembers every request as it came, and answers as it is told.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tokio::net::TcpListener;
use tokio::runtime::{Builder as RuntimeBuilder, Runtime};

use super::{Seen, eventually};

/// How the sink answers one request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Taken: HTTP 200, grpc-status 0, an empty response message.
    Ok,
    /// Taken, with these bytes as the response message (partial success).
    Message(Vec<u8>),
    /// An HTTP status with headers, for both protocols.
    Http(u16, Vec<(&'static str, String)>),
    /// A gRPC status in headers alone (Trailers-Only), with further headers.
    Grpc(u32, Vec<(&'static str, String)>),
    /// No answer at all; the connection stays open.
    Silence,
    /// Taken, and answered after this time.
    Late(Duration),
}

/// One request as it came, its body without framing and compression.
#[derive(Debug, Clone)]
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    pub message: Bytes,
    /// Bytes of the body on the wire, framed and compressed as they were.
    pub wire_bytes: usize,
    pub at: Instant,
}

#[derive(Default)]
struct State {
    received: Vec<Received>,
    /// Whether requests that are answered with success are counted only.
    forgetful: bool,
    taken_bytes: u64,
    answers: VecDeque<Answer>,
    always: Option<Answer>,
}

pub struct Sink {
    address: String,
    state: Arc<Mutex<State>>,
    // Dropping the runtime ends the server and its connections.
    runtime: Option<Runtime>,
}

pub fn runtime() -> Runtime {
    RuntimeBuilder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

impl Sink {
    #[track_caller]
    pub fn start() -> Sink {
        Sink::start_at("127.0.0.1:0")
    }

    /// Starts at a known address: a backend that comes back.
    #[track_caller]
    pub fn start_at(address: &str) -> Sink {
        let runtime = runtime();
        let listener = runtime.block_on(TcpListener::bind(address)).expect("the address is free");
        let address = listener.local_addr().expect("a bound address").to_string();
        let state = Arc::new(Mutex::new(State::default()));
        runtime.spawn(accept(listener, state.clone()));
        Sink { address, state, runtime: Some(runtime) }
    }

    /// For exporters and clients: `http://127.0.0.1:41234`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Answers the next requests so, in this order, and then as before.
    pub fn answer_next(&self, answers: impl IntoIterator<Item = Answer>) {
        self.lock().answers.extend(answers);
    }

    /// Answers all requests so from now on; how many came before.
    pub fn answer_always(&self, answer: Answer) -> usize {
        let mut state = self.lock();
        state.always = Some(answer);
        state.received.len()
    }

    /// Counts from now on what it takes, and keeps none of it: for loads that would fill memory.
    pub fn forget(&self) {
        self.lock().forgetful = true;
    }

    /// Bytes of the messages that were answered since it forgets.
    pub fn taken_bytes(&self) -> u64 {
        self.lock().taken_bytes
    }

    /// All requests, refused ones included.
    pub fn received(&self) -> Vec<Received> {
        self.lock().received.clone()
    }

    /// All spans of all requests, in the order of their arrival.
    pub fn spans(&self) -> Vec<Seen> {
        let requests = self.received();
        requests.iter().filter(|one| one.is("trace")).flat_map(|one| one.spans()).collect()
    }

    /// All log requests, decoded.
    #[track_caller]
    pub fn logs(&self) -> Vec<ExportLogsServiceRequest> {
        let requests = self.received();
        let logs = requests.iter().filter(|one| one.is("logs"));
        logs.map(|one| Message::decode(one.message.clone()).expect("a logs request")).collect()
    }

    /// Waits until `enough` spans have arrived and returns all of them.
    #[track_caller]
    pub fn wait_for_spans(&self, enough: usize) -> Vec<Seen> {
        let arrived = eventually(|| Some(self.spans()).filter(|all| all.len() >= enough));
        let Some(arrived) = arrived else {
            panic!("{} of {enough} spans arrived", self.spans().len());
        };
        arrived
    }

    /// Waits until `enough` requests have arrived and returns all of them.
    #[track_caller]
    pub fn wait_for_requests(&self, enough: usize) -> Vec<Received> {
        let arrived = eventually(|| Some(self.received()).filter(|all| all.len() >= enough));
        let Some(arrived) = arrived else {
            panic!("{} of {enough} requests arrived", self.received().len());
        };
        arrived
    }

    /// Whether `text` stands anywhere in what arrived.
    pub fn has_seen(&self, text: &str) -> bool {
        let holds = |one: &Received| one.message.windows(text.len()).any(|w| w == text.as_bytes());
        self.received().iter().any(holds)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Received {
    /// Whether the signal (trace, logs, metrics) is the one of the path.
    pub fn is(&self, signal: &str) -> bool {
        let path = &self.path;
        path.contains(&format!(".{signal}."))
            || path.ends_with(&format!("/v1/{signal}"))
            || (signal == "trace" && path.ends_with("/v1/traces"))
    }

    #[track_caller]
    pub fn traces(&self) -> ExportTraceServiceRequest {
        Message::decode(self.message.clone()).expect("a trace request")
    }

    #[track_caller]
    pub fn spans(&self) -> Vec<Seen> {
        Seen::all(self.traces())
    }
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| serve(request, state.clone()));
            let _ = Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

async fn serve(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Response<Body>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let wire = body.collect().await?.to_bytes();
    let is_grpc = header(&parts.headers, "content-type").starts_with("application/grpc");
    let message =
        if is_grpc { unframed(&parts.headers, &wire) } else { plain(&parts.headers, &wire) };
    let path = parts.uri.path().to_string();
    let is_json = header(&parts.headers, "content-type").starts_with("application/json");
    let one = Received {
        path,
        headers: parts.headers,
        message,
        wire_bytes: wire.len(),
        at: Instant::now(),
    };
    let answer = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.forgetful {
            state.taken_bytes += one.message.len() as u64;
        } else {
            state.received.push(if is_json { from_json(one) } else { one });
        }
        let always = state.always.clone();
        state.answers.pop_front().or(always).unwrap_or(Answer::Ok)
    };
    match answer {
        Answer::Ok => Ok(success(is_grpc, is_json, Vec::new())),
        Answer::Message(bytes) => Ok(success(is_grpc, is_json, bytes)),
        Answer::Http(status, headers) => Ok(empty(status, &headers)),
        Answer::Grpc(code, mut headers) => {
            headers.push(("grpc-status", code.to_string()));
            headers.push(("content-type", "application/grpc".into()));
            Ok(empty(200, &headers))
        }
        Answer::Silence => std::future::pending().await,
        Answer::Late(time) => {
            tokio::time::sleep(time).await;
            Ok(success(is_grpc, is_json, Vec::new()))
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The message of a unary gRPC body.
fn unframed(headers: &HeaderMap, wire: &Bytes) -> Bytes {
    let message = wire.slice(wire.len().min(5)..);
    match wire.first() {
        Some(1) => inflate(header(headers, "grpc-encoding"), &message),
        _ => message,
    }
}

fn plain(headers: &HeaderMap, wire: &Bytes) -> Bytes {
    inflate(header(headers, "content-encoding"), wire)
}

fn inflate(encoding: &str, bytes: &Bytes) -> Bytes {
    let mut out = Vec::new();
    let read = match encoding {
        "gzip" => flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut out),
        "deflate" => flate2::read::ZlibDecoder::new(&bytes[..]).read_to_end(&mut out),
        "zstd" => return zstd::decode_all(&bytes[..]).expect("zstd").into(),
        _ => return bytes.clone(),
    };
    read.expect("a compressed body");
    out.into()
}

/// The same request with its JSON turned into protobuf, so that tests look at one encoding.
fn from_json(one: Received) -> Received {
    if !one.is("trace") {
        return one;
    }
    let request: ExportTraceServiceRequest =
        serde_json::from_slice(&one.message).expect("OTLP/JSON");
    Received { message: request.encode_to_vec().into(), ..one }
}

fn success(is_grpc: bool, is_json: bool, message: Vec<u8>) -> Response<Body> {
    let content_type = match (is_grpc, is_json) {
        (true, _) => "application/grpc",
        (_, true) => "application/json",
        _ => "application/x-protobuf",
    };
    let body = if is_grpc {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", 0.into());
        let framed = super::client::framed(false, &message);
        Full::new(framed).with_trailers(async { Some(Ok(trailers)) }).boxed()
    } else if is_json {
        Full::new(Bytes::from("{}")).boxed()
    } else {
        Full::new(message.into()).boxed()
    };
    Response::builder().header("content-type", content_type).body(body).expect("a response")
}

fn empty(status: u16, headers: &[(&'static str, String)]) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    response.body(Full::new(Bytes::new()).boxed()).expect("a response")
}

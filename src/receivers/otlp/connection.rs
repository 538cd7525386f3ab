//! One connection: which HTTP it speaks, and how long it may stay.

use super::counts::Connections;
use super::handshakes::Peer;
use super::keys::Settings;
use super::opening::{Opened, open};
use super::port::Port;
use super::reply::Reply;
use super::socket::Socket;
use super::watch::{Phase, Silence, Watch};
use crate::limits;
use crate::sockets::unpace;
use crate::turns::Client;
use ::http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Steps of a connection's timer.
const TICK: Duration = Duration::from_secs(1);

/// Serves `stream`, which comes from `peer`, until its client or its time is done. After `stop` it
/// finishes the requests under way.
pub(super) async fn serve(
    (stream, peer): (TcpStream, SocketAddr),
    port: Arc<Port>,
    counts: Arc<Connections>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    // Answers are one small write each.
    let _ = stream.set_nodelay(true);
    unpace(&stream, peer.ip());
    let peer = Peer { handshakes: &counts.handshakes, address: peer };
    let opened = tokio::select! {
        opened = open(stream, &port, &peer) => opened,
        () = stop.cancelled() => return,
    };
    let Some(Opened { stream, http2, fault }) = opened else { return };
    let watch = Arc::<Watch>::default();
    let socket = TokioIo::new(Socket::new(stream, watch.clone(), http2));
    let client = Client::next();
    let requests = Requests { port: port.clone(), watch: watch.clone(), fault, client };
    let limit = Limit::new(watch.clone(), stop, !http2);
    match http2 {
        true => serve_http2(socket, requests, limit, tasks, &port).await,
        false => serve_http1(socket, requests, limit, &port).await,
    }
    if watch.is_flooded() {
        counts.flooded.add(1);
    }
}

/// What a request is told that might hide another one.
const TWO_LENGTHS: &str =
    "Content-Length and Transfer-Encoding in one request contradict each other; send one of them";

/// Hands requests to the port.
struct Requests {
    port: Arc<Port>,
    watch: Arc<Watch>,
    /// What is wrong with all of them.
    fault: Option<&'static str>,
    client: Client,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Reply>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Reply>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (port, serving) = (self.port.clone(), self.watch.serve());
        let two_lengths = self.watch.take_two_lengths().then_some(TWO_LENGTHS);
        let (fault, client) = (self.fault.or(two_lengths), self.client);
        Box::pin(async move {
            let response = port.answer(request, fault, client).await;
            drop(serving);
            Ok(response)
        })
    }
}

/// What a connection's timer says.
enum Next {
    /// It ended.
    Ended,
    /// It takes no more requests.
    Finish,
    /// It is cut.
    Cut,
}

/// How long a connection may stay.
struct Limit {
    watch: Arc<Watch>,
    stop: CancellationToken,
    /// Whether bytes that are no request yet are the head of one. Of HTTP/1 only: HTTP/2 has
    /// frames of other kinds, and pings to tell who is alive.
    heads: bool,
    silence: Silence,
    age: Duration,
    /// Time left for the requests under way, once no more are taken.
    finishing: Option<Duration>,
}

impl Limit {
    fn new(watch: Arc<Watch>, stop: CancellationToken, heads: bool) -> Limit {
        let (silence, age) = (Silence::default(), Duration::ZERO);
        Limit { watch, stop, heads, silence, age, finishing: None }
    }

    /// Waits until `connection` ends or something is to be done about it.
    async fn next(&mut self, connection: impl Future<Output = ()>, settings: &Settings) -> Next {
        let step = TICK.min(settings.header_time / 4).max(Duration::from_millis(1));
        let mut ticks = interval(step);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        let mut connection = pin!(connection);
        loop {
            tokio::select! {
                () = &mut connection => return Next::Ended,
                () = self.stop.cancelled(), if self.finishing.is_none() => {
                    self.finishing = Some(limits::LINGER_TIME);
                    return Next::Finish;
                }
                _ = ticks.tick() => match self.tick(step, settings) {
                    None => {}
                    Some(next) => return next,
                },
            }
        }
    }

    fn tick(&mut self, step: Duration, settings: &Settings) -> Option<Next> {
        self.age += step;
        let (phase, time) = self.silence.after(step, &self.watch);
        if let Some(left) = &mut self.finishing {
            *left = left.saturating_sub(step);
            return left.is_zero().then_some(Next::Cut);
        }
        self.watch.forgive(step);
        if self.watch.is_flooded() {
            self.finishing = Some(limits::CLOSE_TIME);
            return None;
        }
        if self.heads && phase == Phase::Head && time >= settings.header_time {
            return Some(Next::Cut);
        }
        let idle = phase == Phase::Idle || (!self.heads && phase == Phase::Head);
        if idle && settings.idle.is_some_and(|idle| time >= idle) {
            self.finishing = Some(limits::CLOSE_TIME);
            return Some(Next::Finish);
        }
        if let Some((_, grace)) = settings.age.filter(|(age, _)| self.age >= *age) {
            self.finishing = Some(grace);
            return Some(Next::Finish);
        }
        None
    }
}

async fn serve_http1(socket: TokioIo<Socket>, requests: Requests, mut limit: Limit, port: &Port) {
    let settings = &port.settings;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .keep_alive(settings.keep_alive)
        .max_headers(limits::HEADERS)
        .max_header_size(limits::HEADER_BYTES)
        .max_buf_size(limits::HTTP1_BUFFER.min(port.window as usize));
    let mut connection = builder.serve_connection(socket, requests);
    loop {
        let ended = poll_fn(|context| connection.poll_without_shutdown(context));
        let ended = async {
            // Errors are the client's: it has been answered, or it is gone.
            let _ = ended.await;
        };
        match limit.next(ended, settings).await {
            Next::Ended => break,
            Next::Finish => Pin::new(&mut connection).graceful_shutdown(),
            Next::Cut => return,
        }
    }
    if limit.finishing.is_none() {
        let stream = connection.into_parts().io.into_inner().stream;
        let _ = timeout(limits::CLOSE_TIME, linger(stream)).await;
    }
}

/// Closes in a way that lets the client read its answer: a socket that is closed with bytes
/// unread resets the connection, and the answer with it.
pub(super) async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    stream.shutdown().await?;
    let mut unread = vec![0; 64 << 10];
    while stream.read(&mut unread).await? != 0 {}
    Ok(())
}

/// Spawns the tasks of HTTP/2 streams so that the receiver's end waits for them.
#[derive(Clone)]
struct Tasks(TaskTracker);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

async fn serve_http2(
    socket: TokioIo<Socket>,
    requests: Requests,
    mut limit: Limit,
    tasks: TaskTracker,
    port: &Port,
) {
    let settings = &port.settings;
    let mut builder = http2::Builder::new(Tasks(tasks));
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(limits::HTTP2_STREAM_WINDOW.min(port.window))
        .initial_connection_window_size(port.window)
        .max_frame_size(limits::HTTP2_FRAME)
        .max_concurrent_streams(settings.streams)
        .max_header_list_size(limits::HEADER_BYTES as u32)
        .keep_alive_interval(settings.ping)
        .keep_alive_timeout(settings.ping_timeout);
    let mut connection = pin!(builder.serve_connection(socket, requests));
    loop {
        let ended = async {
            // Errors are the client's: it has been answered, or it is gone.
            let _ = connection.as_mut().await;
        };
        match limit.next(ended, settings).await {
            Next::Ended | Next::Cut => return,
            Next::Finish => connection.as_mut().graceful_shutdown(),
        }
    }
}

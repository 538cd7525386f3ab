//! How a connection begins: who speaks TLS and who does not, and which HTTP.
//!
//! What the client says first is looked at before anything is read, so that it gets an answer that
//! it understands, whichever of the two ports it knocks at and however.

use super::connection::linger;
use super::handshakes::Peer;
use super::port::Port;
use super::stream::Stream;
use crate::limits;
use crate::receivers::otlp::keys::Protocol;
use crate::transport::tls::{Failure, Reason, of_client};
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// What every HTTP/2 client sends first.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first byte of TLS: a record of a handshake.
const HANDSHAKE: u8 = 22;

/// What a client is told that should have come by TLS.
const NEEDS_TLS: &str = "this port speaks TLS alone; send to it with https:// in the endpoint";

/// A connection whose client has said how it begins.
pub(super) struct Opened {
    pub(super) stream: Stream,
    pub(super) http2: bool,
    /// What is wrong with every request that comes.
    pub(super) fault: Option<&'static str>,
}

enum First {
    Http1,
    Http2,
    Tls,
}

/// Waits for the client's first words and does the handshake if there is one to do. `None` if
/// nothing comes of it; that is counted and logged.
pub(super) async fn open(stream: TcpStream, port: &Port, peer: &Peer<'_>) -> Option<Opened> {
    let first = timeout(port.settings.header_time, first(&stream)).await.ok()??;
    match (&port.tls, first) {
        (None, First::Tls) => {
            let text = "it speaks TLS to a listener without; give it an http:// endpoint, or set \
                        `tls` here";
            peer.failed(&Failure::new(Reason::NoTls, text));
            // It understands as much of HTTP/1 as to know that this is no TLS.
            Some(Opened { stream: Stream::Plain(stream), http2: false, fault: None })
        }
        (None, first) => {
            let http2 = matches!(first, First::Http2);
            Some(Opened { stream: Stream::Plain(stream), http2, fault: None })
        }
        (Some(_), First::Tls) => handshake(stream, port, peer).await,
        (Some(_), first) => {
            let text = "it does not speak TLS; give it an https:// endpoint";
            peer.failed(&Failure::new(Reason::PlainText, text));
            let http2 = matches!(first, First::Http2);
            Some(Opened { stream: Stream::Plain(stream), http2, fault: Some(NEEDS_TLS) })
        }
    }
}

/// What the client's first bytes are. `None` if it closes instead.
async fn first(stream: &TcpStream) -> Option<First> {
    let mut first = [0; PREFACE.len()];
    loop {
        let seen = stream.peek(&mut first).await.ok()?;
        match first.get(..seen) {
            None | Some([]) => return None,
            Some([HANDSHAKE, ..]) => return Some(First::Tls),
            Some(bytes) if bytes == PREFACE => return Some(First::Http2),
            Some(bytes) if !PREFACE.starts_with(bytes) => return Some(First::Http1),
            // The beginning of the preface, which does not go away by looking at it.
            Some(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn handshake(stream: TcpStream, port: &Port, peer: &Peer<'_>) -> Option<Opened> {
    let acceptor = TlsAcceptor::from(port.tls.as_ref()?.current());
    let most = limits::HANDSHAKE_TIME.min(port.settings.header_time);
    let Ok(done) = timeout(most, acceptor.accept(stream).into_fallible()).await else {
        let text = format!("it did not finish the handshake in {} s", most.as_secs_f64());
        peer.failed(&Failure::new(Reason::Slow, text));
        return None;
    };
    let stream = match done {
        Ok(stream) => stream,
        Err((error, stream)) => {
            peer.failed(&failure(&error));
            // For it to read the alert that says why.
            let _ = timeout(limits::CLOSE_TIME, linger(stream)).await;
            return None;
        }
    };
    let http2 = match stream.get_ref().1.alpn_protocol() {
        Some(name) => name == b"h2",
        // It does not negotiate, and so speaks what one speaks at this port.
        None => port.settings.protocol == Protocol::Grpc,
    };
    Some(Opened { stream: Stream::Tls(Box::new(stream)), http2, fault: None })
}

fn failure(error: &io::Error) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => of_client(error),
        None => Failure::new(Reason::Closed, format!("it closed the connection: {error}")),
    }
}

//! Opens connections to backends, in plain text or with TLS as it is configured at that moment.

use super::client::tls_error;
use crate::limits;
use crate::sockets::unpace;
use crate::transport::cork::Cork;
use crate::transport::tls::ClientTls;
use bytes::Bytes;
use http::Uri;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_rustls::{
    DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, MaybeHttpsStream,
    ResolveServerName,
};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::TcpStream;
use tower_service::Service;

/// Opens the connections of one exporter.
#[derive(Clone)]
pub struct Connector {
    http: HttpConnector,
    tls: Option<Arc<ClientTls>>,
    names: Arc<dyn ResolveServerName + Send + Sync>,
    refusal: Arc<Refusal>,
}

/// Why the other side ended a connection after the handshake: in TLS 1.3 a server looks at a
/// client's certificate when the client already sends. Whoever waits for an answer then learns from
/// hyper that the connection was closed, and no more.
#[derive(Default)]
pub struct Refusal(Mutex<Option<rustls::Error>>);

impl Refusal {
    /// What was said since the last answer.
    pub fn last(&self) -> Option<rustls::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// There was an answer.
    pub fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn hear(&self, error: &io::Error) {
        if let Some(error) = tls_error(error) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    }
}

type Inner = MaybeHttpsStream<TokioIo<TcpStream>>;

/// A connection that remembers why it was refused.
pub struct Stream {
    inner: Inner,
    /// The head of a request waits for its body.
    cork: Cork,
    refusal: Arc<Refusal>,
    /// What was read after a write failed.
    unread: Bytes,
    /// Why a write failed, until the other side has been heard.
    lost: Option<io::Error>,
}

impl Stream {
    fn new(inner: Inner, refusal: Arc<Refusal>) -> Stream {
        Stream { inner, cork: Cork::default(), refusal, unread: Bytes::new(), lost: None }
    }

    /// Writes; if that fails, hears first what the other side said before it closed the
    /// connection, which a closed connection always ends soon.
    fn write<T>(
        &mut self,
        context: &mut Context<'_>,
        bytes: usize,
        write: impl FnOnce(Pin<&mut Inner>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.lost.is_none() {
            let inner = Pin::new(&mut self.inner);
            match self.cork.poll(context, bytes, |context| write(inner, context)) {
                Poll::Ready(Err(error)) => self.lost = Some(error),
                polled => return polled,
            }
        }
        if self.unread.is_empty() && matches!(self.inner, MaybeHttpsStream::Https(_)) {
            let mut space = [0; 4 << 10];
            let mut heard = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut self.inner).poll_read(context, heard.unfilled())) {
                Ok(()) => self.unread = Bytes::copy_from_slice(heard.filled()),
                Err(error) => self.refusal.hear(&error),
            }
        }
        Poll::Ready(Err(self.lost.take().unwrap_or(ErrorKind::BrokenPipe.into())))
    }
}

impl Connector {
    /// Without `tls` all is plain text. `probe` is the pause after which the other side is asked
    /// for a sign of life.
    pub fn new(tls: Option<ClientTls>, probe: Duration, refusal: Arc<Refusal>) -> Connector {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(probe));
        // Unanswered bytes end a dead connection, which a timeout of one request does not.
        #[cfg(target_os = "linux")]
        http.set_tcp_user_timeout(Some(probe));
        http.set_connect_timeout(Some(limits::CONNECT_TIME));
        let name = tls.as_ref().and_then(|tls| tls.server_name.clone());
        let names: Arc<dyn ResolveServerName + Send + Sync> = match name {
            Some(name) => Arc::new(FixedServerNameResolver::new(name)),
            None => Arc::new(DefaultServerNameResolver::default()),
        };
        Connector { http, tls: tls.map(Arc::new), names, refusal }
    }
}

type Opening<T> = Pin<Box<dyn Future<Output = Result<T, Box<dyn Error + Send + Sync>>> + Send>>;

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Opening<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.http.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let refusal = self.refusal.clone();
        match &self.tls {
            Some(tls) => {
                let (http, names) = (self.http.clone(), self.names.clone());
                let opening = HttpsConnector::new(http, tls.config(), false, names).call(uri);
                Box::pin(async { Ok(Stream::new(opening.await?, refusal)) })
            }
            None => {
                let opening = self.http.call(uri);
                Box::pin(async {
                    let opened = opening.await?;
                    if let Ok(peer) = opened.inner().peer_addr() {
                        unpace(opened.inner(), peer.ip());
                    }
                    Ok(Stream::new(MaybeHttpsStream::Http(opened), refusal))
                })
            }
        }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.inner.connected()
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let now = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread.split_to(now));
            return Poll::Ready(Ok(()));
        }
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        if let Poll::Ready(Err(error)) = &polled {
            self.refusal.hear(error);
        }
        polled
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(context, bytes.len(), |inner, context| inner.poll_write(context, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was written does not wait again.
        self.write(context, usize::MAX, |inner, context| inner.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        self.write(context, bytes, |inner, context| inner.poll_write_vectored(context, slices))
    }
}

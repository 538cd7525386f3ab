//! Opens connections to backends, in plain text or with TLS as it is configured at that moment.

use crate::limits;
use crate::transport::tls::ClientTls;
use http::Uri;
use hyper_rustls::{
    DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, MaybeHttpsStream,
    ResolveServerName,
};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tower_service::Service;

/// Opens the connections of one exporter.
#[derive(Clone)]
pub struct Connector {
    http: HttpConnector,
    tls: Option<Arc<ClientTls>>,
    names: Arc<dyn ResolveServerName + Send + Sync>,
}

impl Connector {
    /// Without `tls` all is plain text. `probe` is the pause after which the other side is asked
    /// for a sign of life.
    pub fn new(tls: Option<ClientTls>, probe: Duration) -> Connector {
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
        Connector { http, tls: tls.map(Arc::new), names }
    }
}

type Opening<T> = Pin<Box<dyn Future<Output = Result<T, Box<dyn Error + Send + Sync>>> + Send>>;

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Opening<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.http.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        match &self.tls {
            Some(tls) => {
                let (http, names) = (self.http.clone(), self.names.clone());
                HttpsConnector::new(http, tls.config(), false, names).call(uri)
            }
            None => {
                let opening = self.http.call(uri);
                Box::pin(async { Ok(MaybeHttpsStream::Http(opening.await?)) })
            }
        }
    }
}

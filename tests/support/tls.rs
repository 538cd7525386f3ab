//! TLS for tests: authorities and what they issue, clients that say why they gave up, and a front
//! that speaks TLS before a sink.

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream as BlockingStream;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned,
    SupportedProtocolVersion, version,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::PATIENCE;
use super::client::Reply;
use super::sink::runtime;

pub const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS12, &version::TLS13];
pub const ONLY_12: &[&SupportedProtocolVersion] = &[&version::TLS12];

/// Somebody who signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its private key, both in PEM.
#[derive(Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(vec![]).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these names and addresses.
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.issue_until(names, 4000)
    }

    /// One that is valid until the beginning of a year.
    pub fn issue_until(&self, names: &[&str], year: i32) -> Identity {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate").pem();
        Identity { certificate, key: key.serialize_pem() }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        Arc::new(roots)
    }
}

impl Identity {
    fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("PEM");
        (vec![chain], PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("PEM"))
    }
}

/// A folder for PEM files.
pub struct Files(TempDir);

impl Files {
    pub fn new() -> Files {
        Files(TempDir::new().expect("a scratch folder"))
    }

    /// Writes a file at once, as rotation does, and returns its path.
    pub fn put(&self, name: &str, text: &str) -> String {
        let (path, new) = (self.0.path().join(name), self.0.path().join("new"));
        fs::write(&new, text).expect("it is written");
        fs::rename(&new, &path).expect("it takes its place");
        path.to_str().expect("a path").to_owned()
    }

    /// `cert_file` and `key_file` of `identity`, in YAML.
    pub fn identity(&self, name: &str, identity: &Identity) -> String {
        let certificate = self.put(&format!("{name}.pem"), &identity.certificate);
        let key = self.put(&format!("{name}.key"), &identity.key);
        format!("cert_file: {certificate}, key_file: {key}")
    }
}

/// A client that believes `trusted` and shows `identity`.
pub fn client(
    trusted: &Authority,
    identity: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(versions).expect("versions");
    let builder = builder.with_root_certificates(trusted.roots());
    match identity.map(Identity::parts) {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("an identity"),
        None => builder.with_no_client_auth(),
    }
}

/// One POST on a connection of its own, by HTTP/2 or HTTP/1.1. The error is what the client sees.
pub fn post(
    (address, name): (&str, &str),
    mut config: ClientConfig,
    http2: bool,
    (path, kind): (&str, &str),
    body: impl Into<Bytes>,
) -> Result<Reply, String> {
    config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    let request = Request::post(format!("https://{name}{path}"))
        .header("content-type", kind)
        .header("te", "trailers")
        .header("host", name);
    let request = request.body(Full::new(body.into())).expect("a request");
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let work = async {
        let stream = TcpStream::connect(address).await.map_err(|e| chain(&e))?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        let stream = TokioIo::new(stream.map_err(|e| chain(&e))?);
        // Why a connection ended is for who drives it to know, not for who waits for an answer.
        let (answer, connection) = if http2 {
            let made = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await;
            let (mut sender, connection) = made.map_err(|e| chain(&e))?;
            let connection = tokio::spawn(connection);
            (sender.send_request(request).await, connection)
        } else {
            let made = hyper::client::conn::http1::handshake(stream).await;
            let (mut sender, connection) = made.map_err(|e| chain(&e))?;
            let connection = tokio::spawn(connection);
            (sender.send_request(request).await, connection)
        };
        match answer {
            Ok(answer) => read(answer).await,
            Err(error) => {
                let ended = connection.await.expect("no panic");
                Err(chain(&ended.err().unwrap_or(error)))
            }
        }
    };
    let bounded = async { tokio::time::timeout(PATIENCE, work).await };
    runtime().block_on(bounded).unwrap_or_else(|_| Err("no answer".to_owned()))
}

async fn read(response: hyper::Response<hyper::body::Incoming>) -> Result<Reply, String> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|e| chain(&e))?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let (status, headers) = (parts.status.as_u16(), parts.headers);
    Ok(Reply { status, headers, body: body.to_bytes(), trailers })
}

/// An error and all that caused it.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

/// A connection of HTTP/1.1 that stays open.
pub struct Held(StreamOwned<ClientConnection, BlockingStream>);

impl Held {
    pub fn open(address: &str, config: ClientConfig) -> Result<Held, String> {
        let stream = BlockingStream::connect(address).map_err(|e| e.to_string())?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|e| e.to_string())?;
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name);
        Ok(Held(StreamOwned::new(connection.map_err(|e| e.to_string())?, stream)))
    }

    /// Sends an empty request and returns the status line of its answer.
    pub fn post(&mut self) -> Result<String, String> {
        let head = "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json";
        let request = format!("{head}\r\ncontent-length: 2\r\n\r\n{{}}");
        self.0.write_all(request.as_bytes()).map_err(|e| e.to_string())?;
        let mut answer = vec![];
        while !answer.ends_with(b"\r\n\r\n{}") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).map_err(|e| e.to_string())?;
            answer.push(byte[0]);
        }
        let text = String::from_utf8_lossy(&answer).into_owned();
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }
}

/// Speaks TLS and passes on what it hears to a sink.
pub struct Front {
    pub port: u16,
    // Dropping the runtime ends it.
    _runtime: Runtime,
}

impl Front {
    /// `clients` is the authority of the certificates that clients must show.
    pub fn start(
        identity: &Identity,
        clients: Option<&Authority>,
        versions: &[&'static SupportedProtocolVersion],
        sink: String,
    ) -> Front {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_protocol_versions(versions).expect("versions");
        let builder = match clients {
            Some(clients) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(clients.roots(), provider);
                builder.with_client_cert_verifier(verifier.build().expect("an authority"))
            }
            None => builder.with_no_client_auth(),
        };
        let (certificates, key) = identity.parts();
        let mut config = builder.with_single_cert(certificates, key).expect("an identity");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let (acceptor, runtime) = (TlsAcceptor::from(Arc::new(config)), runtime());
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, sink) = (acceptor.clone(), sink.clone());
                tokio::spawn(async move {
                    let mut first = [0];
                    let _ = stream.peek(&mut first).await;
                    let mut stream = match acceptor.accept(stream).into_fallible().await {
                        Ok(stream) => stream,
                        // For a client in plain text to read the alert.
                        Err((_, mut stream)) if first != [22] => {
                            let _ = stream.shutdown().await;
                            let _ = stream.read_to_end(&mut vec![]).await;
                            return;
                        }
                        // A client that is refused is cut off, as most servers do it.
                        Err(_) => return,
                    };
                    let Ok(mut sink) = TcpStream::connect(sink).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut sink).await;
                });
            }
        });
        Front { port, _runtime: runtime }
    }
}

//! The `otlp` receiver: OTLP/gRPC and OTLP/HTTP, with protobuf and JSON, as the Collector has it.
//!
//! Each protocol has a port of its own. HTTP/1 and HTTP/2 are both spoken on both; gRPC is served
//! on either port, OTLP/HTTP on its own only, and who knocks at the wrong one is told where to go.
//!
//! The way of a request: a [`connection`] bounds its time, the [`port`] decides whether its
//! headers are worth reading on, [`body`] reads it, and it leaves as a batch with a receipt. gRPC
//! is framed here and not by a library, for its answers to be exactly those of OTLP: a message
//! that is too large, say, is RESOURCE_EXHAUSTED and nothing that clients try again.
//!
//! Deliberately absent: authentication, CORS, partial success (a request is taken or not).

mod body;
mod connection;
mod counts;
mod frames;
mod grpc;
mod handshakes;
mod head;
mod http;
mod keys;
mod listen;
mod opening;
mod port;
mod reply;
mod socket;
mod stream;
mod watch;

#[cfg(test)]
mod tests;

use super::{Kind, Listener, Running, Setup, Starting};
use crate::config::{Class, Component, Section};
use crate::limits;
use crate::transport::tls::ServerTls;
use counts::{Connections, Counts};
use keys::{Protocol, Settings};
use port::Port;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// This receiver's entry in the list.
pub(super) const KIND: Kind = Kind { component: COMPONENT, start };

const COMPONENT: Component = Component {
    class: Class::Receiver,
    name: "otlp",
    aliases: &[],
    about: "takes OTLP over gRPC and HTTP, in protobuf and JSON",
    sample: SAMPLE,
    signals: &["traces", "metrics", "logs"],
    keys: keys::KEYS,
    check: keys::check,
};

const SAMPLE: &str = "\
protocols:
  grpc:
    endpoint: localhost:4317  # 0.0.0.0:4317 to be reached from other machines
  http:
    endpoint: localhost:4318
    # tls: {cert_file: server.pem, key_file: server.key}  # changed files are picked up
";

fn start(section: &Section, setup: Setup) -> Starting {
    let ports = keys::ports(section);
    Box::pin(run(ports, setup))
}

async fn run(ports: Vec<Settings>, setup: Setup) -> Result<Running, String> {
    let (mut bound, mut listeners) = (vec![], vec![]);
    for settings in ports {
        let tls = settings.tls.as_ref();
        let alpn = settings.protocol.alpn();
        let tls = tls.map(|section| ServerTls::of_listener(section, alpn)).transpose()?;
        let socket = listen::bind(&settings, &setup.id, &setup.sockets).await?;
        let address = socket.local_addr().map_err(|error| error.to_string())?;
        let (protocol, encrypted) = (settings.protocol.name(), tls.is_some());
        if !encrypted && !address.ip().is_loopback() {
            warn!(
                receiver = setup.id, protocol, %address,
                "without TLS, whoever is on the way reads and changes telemetry: set `tls` with \
                 cert_file and key_file, or listen on a loopback address"
            );
        }
        listeners.push(Listener { protocol, address, encrypted });
        bound.push((settings, tls, socket));
    }
    let http = listeners.iter().find(|listener| listener.protocol == Protocol::Http.name());
    let elsewhere = http.map(|listener| listener.address.to_string());
    let tasks = TaskTracker::new();
    for (settings, tls, socket) in bound {
        serve((settings, tls), socket, elsewhere.clone(), &setup, &tasks);
    }
    tasks.close();
    let done = async move { tasks.wait().await };
    Ok(Running { listeners, done: Box::pin(done) })
}

fn serve(
    (settings, tls): (Settings, Option<ServerTls>),
    listener: TcpListener,
    elsewhere: Option<String>,
    setup: &Setup,
    tasks: &TaskTracker,
) {
    let (registry, id) = (&setup.registry, &setup.id);
    let connections = Connections::new(registry, id, settings.protocol);
    let port = Arc::new(Port {
        settings,
        tls,
        intake: setup.intake.clone(),
        window: setup.intake.window(limits::HTTP2_CONNECTION_WINDOW),
        grpc: Counts::new(registry, id, Protocol::Grpc),
        http: Counts::new(registry, id, Protocol::Http),
        elsewhere,
    });
    let stop = setup.stop.clone();
    tasks.spawn(listen::accept(listener, port, connections, stop, tasks.clone()));
}

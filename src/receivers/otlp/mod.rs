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
//! Deliberately absent: TLS, authentication, CORS, partial success (a request is taken or not).

mod body;
mod connection;
mod counts;
mod grpc;
mod head;
mod http;
mod keys;
mod listen;
mod port;
mod reply;
mod watch;

#[cfg(test)]
mod tests;

use super::{Kind, Running, Setup, Starting};
use crate::config::{Class, Component, Section};
use crate::limits;
use counts::{Connections, Counts};
use keys::{Protocol, Settings};
use port::Port;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

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
";

fn start(section: &Section, setup: Setup) -> Starting {
    let ports = keys::ports(section);
    Box::pin(run(ports, setup))
}

async fn run(ports: Vec<Settings>, setup: Setup) -> Result<Running, String> {
    let mut bound = vec![];
    for settings in ports {
        let listener = listen::bind(&settings).await?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        bound.push((settings, listener, address));
    }
    let listeners = bound.iter().map(|(settings, _, address)| (settings.protocol.name(), *address));
    let listeners: Vec<(&'static str, SocketAddr)> = listeners.collect();
    let http = listeners.iter().find(|(name, _)| *name == Protocol::Http.name());
    let elsewhere = http.map(|(_, address)| address.to_string());
    let tasks = TaskTracker::new();
    for (settings, listener, _) in bound {
        serve(settings, listener, elsewhere.clone(), &setup, &tasks);
    }
    tasks.close();
    let done = async move { tasks.wait().await };
    Ok(Running { listeners, done: Box::pin(done) })
}

fn serve(
    settings: Settings,
    listener: TcpListener,
    elsewhere: Option<String>,
    setup: &Setup,
    tasks: &TaskTracker,
) {
    let (registry, id) = (&setup.registry, &setup.id);
    let connections = Connections::new(registry, id, settings.protocol);
    let port = Arc::new(Port {
        settings,
        intake: setup.intake.clone(),
        window: setup.intake.window(limits::HTTP2_CONNECTION_WINDOW),
        grpc: Counts::new(registry, id, Protocol::Grpc),
        http: Counts::new(registry, id, Protocol::Http),
        elsewhere,
    });
    let stop = setup.stop.clone();
    tasks.spawn(listen::accept(listener, port, connections, stop, tasks.clone()));
}

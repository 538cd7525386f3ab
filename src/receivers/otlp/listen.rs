//! The listening sockets: binding them, and accepting whatever happens.

use super::connection;
use super::counts::Connections;
use super::keys::Settings;
use super::port::Port;
use crate::config::Endpoint;
use crate::limits;
use crate::sockets::Sockets;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::{TcpListener, lookup_host};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Binds the endpoint of `settings` for the receiver `id`, or takes it up where a socket is kept
/// for it. The error is a sentence.
pub(super) async fn bind(
    settings: &Settings,
    id: &str,
    sockets: &Sockets,
) -> Result<TcpListener, String> {
    let endpoint = &settings.endpoint;
    let failed = |error: io::Error| {
        let name = settings.protocol.name();
        let help = match error.kind() {
            ErrorKind::AddrInUse => "; another process listens there",
            ErrorKind::PermissionDenied => "; ports below 1024 need a privilege",
            ErrorKind::AddrNotAvailable => "; no interface has this address",
            _ => "",
        };
        format!("cannot listen on {endpoint} for {name}: {error}{help}")
    };
    let mut error = io::Error::from(ErrorKind::AddrNotAvailable);
    let addresses = addresses(endpoint).await.map_err(failed)?;
    let name = format!("{id} {}", settings.protocol.name());
    if let Some(kept) = sockets.take(&name, &addresses).map_err(failed)? {
        return listener(kept).map_err(failed);
    }
    for address in addresses {
        match TcpListener::bind(address).await {
            Ok(bound) => return keep(bound, &name, address, sockets).map_err(failed),
            // Another address would hide this: two daemons, say, on the two loopback addresses.
            Err(e) if matches!(e.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied) => {
                return Err(failed(e));
            }
            Err(e) => error = e,
        }
    }
    Err(failed(error))
}

/// Keeps a socket for the next configuration, and listens on it.
fn keep(
    bound: TcpListener,
    name: &str,
    address: SocketAddr,
    sockets: &Sockets,
) -> io::Result<TcpListener> {
    let socket = bound.into_std()?;
    sockets.keep(name, address, socket.try_clone()?);
    listener(socket)
}

fn listener(socket: std::net::TcpListener) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// The addresses that an endpoint may mean, the first choice first.
async fn addresses(endpoint: &Endpoint) -> io::Result<Vec<SocketAddr>> {
    let port = endpoint.port_or(0);
    let at = |address: IpAddr| SocketAddr::new(address, port);
    Ok(match endpoint.host.as_str() {
        // One address, whatever the machine's host table says: an agent is told 127.0.0.1.
        "localhost" => vec![at(Ipv4Addr::LOCALHOST.into()), at(Ipv6Addr::LOCALHOST.into())],
        "" => vec![at(Ipv6Addr::UNSPECIFIED.into()), at(Ipv4Addr::UNSPECIFIED.into())],
        host => lookup_host((host, port)).await?.collect(),
    })
}

/// Accepts connections until `stop`. Errors of accepting never end it: the machine may be out of
/// file descriptors now and have them again in a moment.
pub(super) async fn accept(
    listener: TcpListener,
    port: Arc<Port>,
    counts: Connections,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let slots = Arc::new(Semaphore::new(limits::CONNECTIONS));
    let counts = Arc::new(counts);
    loop {
        let accepted = async {
            let slot = slots.clone().acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = stop.cancelled() => return,
        };
        let stream = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                counts.failed.add(1);
                if !is_the_clients(&error) {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(limits::ACCEPT_PAUSE).await;
                }
                continue;
            }
        };
        let open = Open::new(counts.clone());
        let serving = {
            let (port, counts) = (port.clone(), counts.clone());
            connection::serve(stream, port, counts, stop.clone(), tasks.clone())
        };
        tasks.spawn(async move {
            serving.await;
            drop((open, slot));
        });
    }
}

/// Whether a failed accept is about one connection, which is gone, and not about the machine.
fn is_the_clients(error: &io::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// Counts a connection as open until dropped, also if its task dies.
struct Open(Arc<Connections>);

impl Open {
    fn new(counts: Arc<Connections>) -> Open {
        counts.open.add(1);
        Open(counts)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.add(-1);
    }
}

//! What all of the daemon's own servers share: a socket, and connections up to a bound.

use crate::limits;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The future of a server that runs until it is told to stop.
pub type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Binds `address`. Errors are sentences that name it.
pub async fn bind(address: &str) -> Result<(TcpListener, SocketAddr), String> {
    let listener = TcpListener::bind(address).await.map_err(|e| cannot_listen(address, &e))?;
    let bound = listener.local_addr().map_err(|e| cannot_listen(address, &e))?;
    Ok((listener, bound))
}

/// Serves connections with `connection`, at most `most` at once, until `stop`, which cuts them.
/// What a connection spawns on the tracker is waited for.
pub async fn accept<C>(
    listener: TcpListener,
    most: usize,
    stop: CancellationToken,
    connection: impl Fn(TcpStream, TaskTracker) -> C + Send,
) where
    C: Future<Output = ()> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(most));
    let tasks = TaskTracker::new();
    loop {
        let accepted = async {
            let slot = slots.clone().acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = stop.cancelled() => break,
        };
        let Ok((io, _)) = accepted else {
            tokio::time::sleep(limits::ACCEPT_PAUSE).await;
            continue;
        };
        let (serving, stop) = (connection(io, tasks.clone()), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = serving => {}
                () = stop.cancelled() => {}
            }
            drop(slot);
        });
    }
    tasks.close();
    tasks.wait().await;
}

fn cannot_listen(address: &str, error: &std::io::Error) -> String {
    let hint = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "; another process listens there: end it or name another port"
        }
        _ => "",
    };
    format!("cannot listen on {address}: {error}{hint}")
}

//! A TCP proxy that does to connections what networks and broken peers do. Which fault it plays can
//! be changed at any time; connections that began under another one are cut then, so that what a
//! test sees afterwards is the new one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::sleep;

/// What becomes of a connection.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing: both directions pass.
    None,
    /// Reset as soon as it is accepted.
    Reset,
    /// Accepted; nothing is ever read or answered.
    BlackHole,
    /// Requests pass, answers are swallowed, and the connection stays: the peer is half gone.
    HalfOpen,
    /// Each piece comes so much later, in both directions.
    Delay(Duration),
    /// Answers drip, one byte each time.
    Drip(Duration),
    /// Reset in the middle of the answer, behind so many of its bytes.
    ResetAfter(usize),
    /// Closed in the middle of the answer, behind so many of its bytes.
    CloseAfter(usize),
    /// Closed where the head of an HTTP/1 answer ends.
    CloseAfterHeaders,
    /// The request is read, and the connection closed without an answer.
    Close,
    /// The request is read and answered with these bytes, so many times, and closed.
    Answer(Vec<u8>, usize),
}

pub struct Proxy {
    address: String,
    fault: watch::Sender<Fault>,
    accepted: Arc<AtomicUsize>,
    // Dropping the runtime ends it.
    runtime: Option<Runtime>,
}

impl Proxy {
    /// A proxy in front of `upstream`, `127.0.0.1:41234`.
    pub fn start(upstream: &str, fault: Fault) -> Proxy {
        let runtime = super::sink::runtime();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("a bound address").to_string();
        let (sender, receiver) = watch::channel(fault);
        let accepted = Arc::new(AtomicUsize::new(0));
        let (count, upstream) = (accepted.clone(), upstream.to_owned());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, upstream.clone(), receiver.clone()));
            }
        });
        Proxy { address, fault: sender, accepted, runtime: Some(runtime) }
    }

    /// For exporters and clients: `http://127.0.0.1:41234`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Connections that were accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(mut client: TcpStream, upstream: String, mut fault: watch::Receiver<Fault>) {
    let now = fault.borrow_and_update().clone();
    let _ = client.set_nodelay(true);
    tokio::select! {
        () = play(&mut client, &upstream, now) => {}
        _ = fault.changed() => {
            let _ = client.set_zero_linger();
        }
    }
}

async fn play(client: &mut TcpStream, upstream: &str, fault: Fault) {
    match fault {
        Fault::Reset => {
            let _ = client.set_zero_linger();
        }
        Fault::BlackHole => std::future::pending().await,
        Fault::Close => {
            let _ = client.read(&mut [0; 16 << 10]).await;
        }
        Fault::Answer(bytes, times) => {
            let _ = client.read(&mut [0; 64 << 10]).await;
            for _ in 0..times {
                if client.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            // What is unread would reset the connection, and the answer with it.
            let _ = client.shutdown().await;
            while client.read(&mut [0; 64 << 10]).await.is_ok_and(|n| n > 0) {}
        }
        fault => {
            let Ok(mut server) = TcpStream::connect(upstream).await else { return };
            let _ = server.set_nodelay(true);
            let reset = relay(client, &mut server, fault).await;
            if reset {
                let _ = client.set_zero_linger();
            }
        }
    }
}

/// Passes bytes in both directions until either side ends. Whether the client is to be reset.
async fn relay(client: &mut TcpStream, server: &mut TcpStream, fault: Fault) -> bool {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let delay = match fault {
        Fault::Delay(time) => time,
        _ => Duration::ZERO,
    };
    let there = async {
        let mut piece = vec![0; 64 << 10];
        while let Ok(n @ 1..) = from_client.read(&mut piece).await {
            sleep(delay).await;
            if to_server.write_all(&piece[..n]).await.is_err() {
                break;
            }
        }
        let _ = to_server.shutdown().await;
        if matches!(fault, Fault::HalfOpen) {
            std::future::pending::<()>().await;
        }
    };
    let back = async {
        let (mut piece, mut passed) = (vec![0; 64 << 10], Vec::new());
        while let Ok(n @ 1..) = from_server.read(&mut piece).await {
            let new = &piece[..n];
            match &fault {
                Fault::HalfOpen => continue,
                Fault::Drip(time) => {
                    for byte in new {
                        sleep(*time).await;
                        if to_client.write_all(&[*byte]).await.is_err() {
                            return false;
                        }
                    }
                    continue;
                }
                Fault::ResetAfter(most) | Fault::CloseAfter(most) if passed.len() + n >= *most => {
                    let _ = to_client.write_all(&new[..*most - passed.len()]).await;
                    // For the bytes to arrive before the reset does.
                    sleep(Duration::from_millis(20)).await;
                    return matches!(fault, Fault::ResetAfter(_));
                }
                Fault::CloseAfterHeaders => {
                    passed.extend_from_slice(new);
                    let end = passed.windows(4).position(|four| four == b"\r\n\r\n");
                    if let Some(end) = end {
                        let _ = to_client.write_all(&passed[..end + 4]).await;
                        return false;
                    }
                    continue;
                }
                _ => sleep(delay).await,
            }
            passed.extend_from_slice(new);
            if to_client.write_all(new).await.is_err() {
                break;
            }
        }
        false
    };
    tokio::select! {
        () = there => false,
        reset = back => reset,
    }
}

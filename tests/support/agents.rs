//! Clients that never tire: each sends one span at a time on a connection that it keeps, sends it
//! again until it is taken, as SDKs do, and remembers which were.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use prost::Message;

use super::{PATIENCE, Sink, request, span};

#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    next: AtomicU64,
    accepted: Mutex<BTreeSet<u64>>,
    /// Connections that nobody took.
    refused: AtomicU64,
    /// Connections that ended before an answer.
    broken: AtomicU64,
}

pub struct Agents {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Agents {
    /// `count` clients of the HTTP port at `address`, each with a pause between two requests.
    pub fn start(address: &str, count: usize, pause: Duration) -> Agents {
        let shared = Arc::new(Shared { next: AtomicU64::new(1), ..Shared::default() });
        let threads = (0..count)
            .map(|_| {
                let (shared, address) = (shared.clone(), address.to_owned());
                thread::spawn(move || run(&shared, &address, pause))
            })
            .collect();
        Agents { shared, threads }
    }

    pub fn accepted(&self) -> usize {
        self.shared.accepted.lock().unwrap().len()
    }

    pub fn refused_connections(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    pub fn broken_connections(&self) -> u64 {
        self.shared.broken.load(Ordering::Relaxed)
    }

    /// Waits until so many more were accepted than now.
    #[track_caller]
    pub fn wait_for_more(&self, more: usize) {
        let enough = self.accepted() + more;
        let reached = super::eventually(|| (self.accepted() >= enough).then_some(()));
        assert!(reached.is_some(), "{} of {enough} were accepted", self.accepted());
    }

    /// Ends them all: the ids of the spans that were accepted.
    pub fn end(self) -> BTreeSet<u64> {
        self.shared.ended.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a client ends in peace");
        }
        self.shared.accepted.lock().unwrap().clone()
    }
}

/// The ids of the spans that `sink` has taken, all of them.
pub fn arrived(sink: &Sink) -> BTreeSet<u64> {
    let spans = sink.spans().into_iter();
    spans.map(|seen| u64::from_be_bytes(seen.span.span_id[..].try_into().unwrap())).collect()
}

/// Waits until all of `accepted` have arrived.
#[track_caller]
pub fn all_arrive(sink: &Sink, accepted: &BTreeSet<u64>) {
    let _ = super::eventually(|| arrived(sink).is_superset(accepted).then_some(()));
    // What counts is what is there: of all that a long outage refused, one look takes seconds.
    let lost: Vec<_> = accepted.difference(&arrived(sink)).copied().collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), accepted.len());
}

fn run(shared: &Shared, address: &str, pause: Duration) {
    let mut connection = None;
    let mut id = shared.next.fetch_add(1, Ordering::Relaxed);
    while !shared.ended.load(Ordering::Relaxed) {
        let Some(stream) = connection.take().or_else(|| connect(shared, address)) else {
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        match send(stream, id) {
            Ok((200, kept)) => {
                connection = kept;
                shared.accepted.lock().unwrap().insert(id);
                id = shared.next.fetch_add(1, Ordering::Relaxed);
                thread::sleep(pause);
            }
            Ok((_, kept)) => {
                connection = kept;
                thread::sleep(Duration::from_millis(50));
            }
            Err(_) => {
                shared.broken.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

fn connect(shared: &Shared, address: &str) -> Option<TcpStream> {
    match TcpStream::connect(address) {
        Ok(stream) => {
            let _ = stream.set_nodelay(true);
            stream.set_read_timeout(Some(PATIENCE)).ok()?;
            Some(stream)
        }
        Err(error) => {
            if error.kind() == ErrorKind::ConnectionRefused {
                shared.refused.fetch_add(1, Ordering::Relaxed);
            }
            None
        }
    }
}

/// Sends one span: the status, and the connection if it may be used again.
fn send(mut stream: TcpStream, id: u64) -> std::io::Result<(u16, Option<TcpStream>)> {
    let body = request([span("agent", 7, id, 0)]).encode_to_vec();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat())?;
    let (mut answer, mut piece) = (vec![], [0; 4096]);
    loop {
        let read = stream.read(&mut piece)?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&piece[..read]);
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let length = value("content-length:").and_then(|n| n.trim().parse().ok()).unwrap_or(0);
        if answer.len() < end + 4 + length {
            continue;
        }
        let status = text.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
        let closes = value("connection:").is_some_and(|value| value.trim() == "close");
        return Ok((status, (!closes).then_some(stream)));
    }
}

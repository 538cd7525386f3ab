//! The binary with storage, clients that remember what they were told is safe, and what of it the
//! backend has.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use prost::Message;

use super::{Received, Sink, daemon, request, span};

/// A configuration with storage in `folder` and one exporter; `queue` and `window` are YAML.
pub fn config(sink: &Sink, folder: &Path, exporter: &str, processors: &str) -> String {
    let exporters = format!(
        "otlp_http: {{endpoint: \"{}\", compression: none, \
         sending_queue: {{storage: file_storage, batch: {{flush_timeout: 20ms}}}}{exporter}}}",
        sink.endpoint()
    );
    let storage = format!("  file_storage: {{directory: \"{}\"}}\n", folder.display());
    daemon::config(&exporters, &["otlp_http"])
        .replace("extensions:\n", &format!("extensions:\n{storage}"))
        .replace("extensions: [health_check]", "extensions: [health_check, file_storage]")
        .replace("  baggage: {}", "  trace_window: {idle: 300ms, wait: 5s}\n  baggage: {}")
        .replace("[sensitive, baggage, orphans]", processors)
}

pub const STREAMING: &str = "[sensitive, baggage, orphans]";
pub const WINDOW: &str = "[sensitive, trace_window, baggage, orphans]";

/// A connection that is kept.
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: &str) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(super::PATIENCE))?;
        Ok(Client { reader: BufReader::new(stream) })
    }

    /// The status of the answer.
    pub fn post(&mut self, body: &[u8]) -> io::Result<u16> {
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: \
             application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.reader.get_mut().write_all(&[head.as_bytes(), body].concat())?;
        let (mut status, mut length, mut line) = (0, 0, String::new());
        loop {
            line.clear();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let lower = line.trim().to_ascii_lowercase();
            if let Some(rest) = lower.strip_prefix("http/1.1 ") {
                status = rest.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0);
            } else if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            } else if lower.is_empty() {
                break;
            }
        }
        self.reader.read_exact(&mut vec![0; length])?;
        Ok(status)
    }
}

pub const CLIENTS: u64 = 4;
/// Spans of a request: half a trace, so that the window holds each for the other half.
pub const HALF: u64 = 10;

/// What clients were told is safe: the serial numbers of requests.
#[derive(Default)]
pub struct Acked {
    serials: Mutex<Vec<u64>>,
    next: AtomicU64,
}

impl Acked {
    fn serials(&self) -> std::sync::MutexGuard<'_, Vec<u64>> {
        self.serials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The spans that clients were told are safe.
    pub fn owed(&self) -> HashSet<u64> {
        let serials = self.serials();
        serials.iter().flat_map(|serial| (0..HALF).map(move |k| serial * HALF + k + 1)).collect()
    }

    /// Those of them that the backend does not have.
    pub fn missing(&self, count: &HashMap<u64, usize>) -> usize {
        self.owed().iter().filter(|id| !count.contains_key(id)).count()
    }

    /// Sends until the process is gone.
    pub fn load(&self, address: &str, over: &AtomicBool) {
        let Ok(mut client) = Client::connect(address) else { return };
        let mut pair = 0;
        while !over.load(Ordering::Relaxed) {
            let serial = self.next.fetch_add(1, Ordering::Relaxed);
            // A trace in two requests, its second half first.
            pair = if pair == 0 { serial + 1 } else { pair };
            let spans = (0..HALF).map(|k| span("s", pair.into(), serial * HALF + k + 1, 0));
            match client.post(&request(spans).encode_to_vec()) {
                Ok(200) => self.serials().push(serial),
                Ok(_) => {}
                Err(_) => return,
            }
            pair = if pair == serial + 1 { pair } else { 0 };
            thread::sleep(Duration::from_millis(4));
        }
    }
}

/// What the backend got with these requests: how often each span, and how many in all.
pub fn arrived(requests: &[Received]) -> (HashMap<u64, usize>, usize) {
    let mut count = HashMap::new();
    for seen in requests.iter().flat_map(Received::spans) {
        let id = u64::from_be_bytes(seen.span.span_id[..8].try_into().expect("eight bytes"));
        *count.entry(id).or_insert(0) += 1;
    }
    let all = count.values().sum();
    (count, all)
}

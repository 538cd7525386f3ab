//! The demo's stage: a spanloom with real sockets, and a backend behind it that remembers.

use super::super::client::client;
use crate::account::Account;
use crate::batch::{Batch, Signal};
use crate::config::{Document, Section, World};
use crate::exporters::{Outcome, Payload};
use crate::intake::{Consumer, Intake};
use crate::pipeline::{Graph, catalog::catalog};
use crate::sockets::Sockets;
use crate::telemetry::Registry;
use crate::verdict::Verdict;
use crate::{limits, receivers};
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// The pipeline of the demo, with a backend in place of the terminal.
const CONFIG: &str = "
receivers:
  otlp:
    protocols:
      http: {endpoint: \"127.0.0.1:0\"}
processors:
  sensitive: {}
  trace_window: {}
  baggage: {}
  orphans: {mode: MODE}
exporters:
  otlp_grpc: {endpoint: \"http://SINK\", compression: none}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    traces:
      receivers: [otlp]
      processors: PROCESSORS
      exporters: [otlp_grpc]
";

/// What `orphans` does with what it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Tag,
    Rewrite,
}

impl Mode {
    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Tag => "tag",
            Mode::Rewrite => "rewrite",
        }
    }

    /// What stands in the pipeline. `orphans` comes early: baggage is inherited by what is joined.
    pub fn processors(self) -> &'static str {
        match self {
            Mode::Tag => "[orphans, sensitive, baggage]",
            Mode::Rewrite => "[trace_window, orphans, sensitive, baggage]",
        }
    }
}

/// Sends `requests` through a spanloom of its own and returns what its backend received.
pub async fn play(requests: &[Bytes], mode: Mode) -> Result<Vec<Bytes>, String> {
    let backend = Backend::default();
    let stop = CancellationToken::new();
    let receiver = backend.start(stop.clone()).await?;
    let address = receiver.listeners.first().ok_or("the demo's backend has no listener")?.address;
    let yaml = CONFIG.replace("SINK", &address.to_string());
    let yaml = yaml.replace("MODE", mode.name()).replace("PROCESSORS", mode.processors());
    let yaml = format!("yaml:{yaml}");
    let document = Document::load(&[yaml], &[], &World::system(), &catalog());
    let document = document.map_err(|problems| problems.to_string())?;
    let graph = Graph::start(&document, &Registry::default(), &Sockets::default()).await;
    let graph = graph.map_err(|errors| errors.join("; "))?;
    let entrance = graph.listeners().next().ok_or("the demo's spanloom has no listener")?.address;
    send(&format!("http://{entrance}"), requests).await?;
    graph.drain().await;
    stop.cancel();
    receiver.done.await;
    Ok(backend.take())
}

/// Sends `requests` over OTLP/HTTP to `endpoint`, one after the other.
pub async fn send(endpoint: &str, requests: &[Bytes]) -> Result<(), String> {
    let client = client("otlp_http", endpoint)?;
    for request in requests {
        let segments = vec![request.clone()];
        let payload = Payload { signal: Signal::Traces, segments, items: 1 };
        match client.send(payload).await {
            Outcome::Delivered { .. } => {}
            Outcome::Retry { reason, .. }
            | Outcome::TooLarge { reason }
            | Outcome::Refused { reason } => return Err(reason),
        }
    }
    Ok(())
}

/// A backend that keeps every request.
#[derive(Clone, Default)]
struct Backend {
    requests: Arc<Mutex<Vec<Bytes>>>,
}

impl Backend {
    async fn start(&self, stop: CancellationToken) -> Result<receivers::Running, String> {
        let kind = receivers::LIST.iter().find(|kind| kind.component.name == "otlp");
        let kind = kind.ok_or("there is no otlp receiver")?;
        let yaml = "{protocols: {grpc: {endpoint: \"127.0.0.1:0\"}}}";
        let section = Section::from_yaml(kind.component.keys, yaml).map_err(|e| e.to_string())?;
        let consumer: Arc<dyn Consumer> = Arc::new(self.clone());
        let intake = Intake::new(limits::INFLIGHT_BYTES, Account::default());
        let intake = intake.leading_to([Some(consumer), None, None]);
        let (id, registry) = ("backend".to_owned(), Registry::default());
        (kind.start)(
            &section,
            receivers::Setup { id, registry, intake, sockets: Sockets::default(), stop },
        )
        .await
    }

    fn take(&self) -> Vec<Bytes> {
        std::mem::take(&mut *self.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Consumer for Backend {
    fn consume(&self, batch: Batch) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.push(batch.bytes().clone());
        drop(requests);
        batch.settle(&Verdict::Accepted);
        Box::pin(std::future::ready(()))
    }
}

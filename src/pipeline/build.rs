//! Builds the graph of a document, runs it, and takes it down in order.

use super::catalog::kind_of;
use super::chain::{Chain, Link};
use super::entry::{Entry, Fork, Leading, Next};
use super::exits::Exits;
use crate::account::{Account, Limit};
use crate::batch::Signal;
use crate::config::{Configured, Document, Pipeline, document::ComponentId};
use crate::delivery::{Delivery, Settings};
use crate::intake::{Consumer, Intake};
use crate::processors::Built;
use crate::telemetry::Registry;
use crate::{exporters, limits, machine, processors, receivers};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// A running graph.
pub struct Graph {
    receivers: Vec<receivers::Running>,
    stop_receiving: CancellationToken,
    entries: Vec<Arc<Entry>>,
    tasks: Vec<JoinHandle<()>>,
    deliveries: Vec<Arc<Delivery>>,
    stop_waiting: CancellationToken,
    /// What the graph holds.
    account: Account,
    /// Bytes of memory that the process may use.
    memory: u64,
}

/// An open listener: what speaks there, and its address.
pub type Listener = (&'static str, SocketAddr);

impl Graph {
    /// Builds and starts everything that the pipelines of `document` use: exporters first,
    /// receivers last, so that nothing arrives before it can be handled. All errors at once, each
    /// a sentence that begins with the component's id; nothing keeps running then.
    pub async fn start(document: &Document, registry: &Registry) -> Result<Graph, Vec<String>> {
        let mut errors = vec![];
        let mut graph = Graph {
            receivers: vec![],
            stop_receiving: CancellationToken::new(),
            entries: vec![],
            tasks: vec![],
            deliveries: vec![],
            stop_waiting: CancellationToken::new(),
            account: Account::default(),
            memory: machine::memory().unwrap_or(limits::MEMORY_UNKNOWN),
        };
        watch_memory(registry, graph.account.clone());
        let exits = graph.start_exporters(document, registry, &mut errors);
        for pipeline in &document.pipelines {
            let ids = pipeline.exporters.iter();
            let found = ids.filter_map(|id| exits.iter().find(|(of, _)| of == id));
            let exits = Exits(found.map(|(_, delivery)| delivery.clone()).collect());
            let entry = graph.start_pipeline(document, pipeline, exits, registry);
            graph.entries.push(entry);
        }
        if errors.is_empty() {
            graph.start_receivers(document, registry, &mut errors).await;
        }
        if errors.is_empty() {
            return Ok(graph);
        }
        graph.drain().await;
        Err(errors)
    }

    /// The open listeners of all receivers.
    pub fn listeners(&self) -> impl Iterator<Item = Listener> {
        self.receivers.iter().flat_map(|receiver| receiver.listeners.iter().copied())
    }

    /// Whether a pipeline's task has ended, which before draining means that it panicked.
    pub fn has_failed(&self) -> bool {
        self.tasks.iter().any(JoinHandle::is_finished)
    }

    /// Takes everything down in the order of flow: no new requests, then what is held, then what
    /// is queued. Every step is bounded by the deliveries' own drain time.
    pub async fn drain(self) {
        self.stop_receiving.cancel();
        for receiver in self.receivers {
            receiver.done.await;
        }
        self.entries.iter().for_each(|entry| entry.close());
        for task in self.tasks {
            let _ = task.await;
        }
        self.stop_waiting.cancel();
        let mut draining = JoinSet::new();
        for delivery in self.deliveries {
            draining.spawn(async move { delivery.drain().await });
        }
        draining.join_all().await;
    }

    fn start_exporters(
        &mut self,
        document: &Document,
        registry: &Registry,
        errors: &mut Vec<String>,
    ) -> Vec<(ComponentId, Arc<Delivery>)> {
        let mut started = vec![];
        for configured in used(&document.exporters, document, |pipeline| &pipeline.exporters) {
            let kind = kind_of(exporters::LIST, configured.component, |kind| &kind.component);
            let Some(kind) = kind else { continue };
            let id = configured.id.as_str();
            let setup = exporters::Setup { id, registry };
            match (kind.build)(&configured.section, &setup) {
                Ok(exporter) => {
                    let settings = Settings::of(&configured.section);
                    let stop = self.stop_waiting.clone();
                    let delivery = Delivery::start(id, exporter, settings, registry, stop);
                    let delivery = Arc::new(delivery);
                    self.deliveries.push(delivery.clone());
                    started.push((configured.id.clone(), delivery));
                }
                Err(error) => errors.push(format!("exporters::{id}: {error}")),
            }
        }
        started
    }

    /// The pipeline's entry; its task runs if any processor holds state.
    fn start_pipeline(
        &mut self,
        document: &Document,
        pipeline: &Pipeline,
        exits: Exits,
        registry: &Registry,
    ) -> Arc<Entry> {
        let mut leading = vec![];
        let mut chain = Chain::default();
        let mut on_memory = vec![];
        for configured in pipeline.processors.iter().filter_map(|id| processor(document, id)) {
            let kind = kind_of(processors::LIST, configured.component, |kind| &kind.component);
            let (Some(kind), Some(signal)) = (kind, signal(pipeline)) else { continue };
            let (id, pipeline) = (configured.id.as_str(), pipeline.id.as_str());
            let (account, memory) = (self.account.clone(), self.memory);
            let setup = processors::Setup::new(id, pipeline, signal, registry);
            let setup = processors::Setup { account, memory, ..setup };
            let labels = [("processor", id), ("otel_signal", signal.name())];
            let incoming = "otelcol_processor_incoming_items";
            let outgoing = "otelcol_processor_outgoing_items";
            let incoming = registry.counter(incoming, "items that came in", &labels);
            let outgoing = registry.counter(outgoing, "items that were passed on", &labels);
            let built = (kind.build)(&configured.section, &setup);
            if let Built::Stateless(processor) = &built {
                on_memory.extend(processor.limit());
            }
            match built {
                Built::Stateful(processor) => chain.push(Link { incoming, outgoing, processor }),
                Built::Stateless(processor) => {
                    let link = Leading { incoming, outgoing, processor };
                    if chain.is_empty() { leading.push(link) } else { chain.push(link.into()) }
                }
            }
        }
        let limit = on_memory.into_iter().reduce(Limit::stricter);
        if chain.is_empty() {
            return Arc::new(Entry { leading, limit, next: Next::Exits(exits) });
        }
        let (sender, input) = mpsc::channel(limits::PIPELINE_BATCHES);
        self.tasks.push(spawn(chain.run(input, exits)));
        Arc::new(Entry { leading, limit, next: Next::Chain(Mutex::new(Some(sender))) })
    }

    async fn start_receivers(
        &mut self,
        document: &Document,
        registry: &Registry,
        errors: &mut Vec<String>,
    ) {
        let intake = Intake::new(limits::INFLIGHT_BYTES, self.account.clone());
        for configured in used(&document.receivers, document, |pipeline| &pipeline.receivers) {
            let kind = kind_of(receivers::LIST, configured.component, |kind| &kind.component);
            let Some(kind) = kind else { continue };
            let consumers = Signal::ALL.map(|signal| self.consumer(document, configured, signal));
            let setup = receivers::Setup {
                id: configured.id.as_str().to_owned(),
                registry: registry.clone(),
                intake: intake.leading_to(consumers),
                stop: self.stop_receiving.clone(),
            };
            match (kind.start)(&configured.section, setup).await {
                Ok(running) => self.receivers.push(running),
                Err(error) => errors.push(format!("receivers::{}: {error}", configured.id)),
            }
        }
    }

    /// What takes `of` from the receiver `configured`.
    fn consumer(
        &self,
        document: &Document,
        configured: &Configured,
        of: Signal,
    ) -> Option<Arc<dyn Consumer>> {
        let pipelines = document.pipelines.iter().zip(&self.entries);
        let fed = pipelines.filter(|(pipeline, _)| {
            signal(pipeline) == Some(of) && pipeline.receivers.contains(&configured.id)
        });
        let mut entries: Vec<Arc<Entry>> = fed.map(|(_, entry)| entry.clone()).collect();
        match entries.len() {
            0 => None,
            1 => entries.pop().map(|entry| entry as Arc<dyn Consumer>),
            _ => Some(Arc::new(Fork(entries))),
        }
    }
}

/// Shows what is held, and what the kernel says that the process takes.
fn watch_memory(registry: &Registry, account: Account) {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let help = "bytes of telemetry that are held, from socket to socket";
    registry.watch("spanloom_held_bytes", help, move || number(account.held() as u64));
    let help = "bytes of the process that are in memory";
    let resident = move || number(machine::resident().unwrap_or(0));
    registry.watch("otelcol_process_memory_rss", help, resident);
}

/// The components of `all` that some pipeline refers to.
fn used<'a>(
    all: &'a [Configured],
    document: &'a Document,
    ids: impl Fn(&Pipeline) -> &Vec<ComponentId> + 'a,
) -> impl Iterator<Item = &'a Configured> {
    all.iter().filter(move |configured| {
        document.pipelines.iter().any(|pipeline| ids(pipeline).contains(&configured.id))
    })
}

fn processor<'a>(document: &'a Document, id: &ComponentId) -> Option<&'a Configured> {
    document.processors.iter().find(|configured| configured.id == *id)
}

fn signal(pipeline: &Pipeline) -> Option<Signal> {
    Signal::ALL.into_iter().find(|signal| signal.name() == pipeline.signal)
}

#[allow(clippy::disallowed_methods, reason = "a pipeline owns its tasks and waits for them")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(task)
}

//! Builds the graph of a document, runs it, and takes it down in order.

use super::book::Book;
use super::catalog::kind_of;
use super::chain::Chain;
use super::entry::{Entry, Fork, Next};
use super::exits::{Exit, Exits, Junction};
use super::keeper::{Hands, Keeper, Of};
use super::shards::{self, Shards, spawn};
use super::stages::{Stage, Stages};
use super::storage::Storages;
use crate::account::Account;
use crate::batch::Signal;
use crate::config::{Configured, Document, Pipeline, document::ComponentId};
use crate::delivery::{Delivery, Settings};
use crate::intake::{Consumer, Intake};
use crate::processors::Built;
use crate::processors::places::Places;
use crate::sockets::Sockets;
use crate::telemetry::Registry;
use crate::{connectors, exporters, limits, machine, processors, receivers};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// A running graph.
pub struct Graph {
    receivers: Vec<receivers::Running>,
    stop_receiving: CancellationToken,
    /// Each stands behind those that it feeds.
    pipelines: Vec<Running>,
    deliveries: Vec<Arc<Delivery>>,
    /// Each with the task that ends last.
    keepers: Vec<(Arc<Keeper>, JoinHandle<()>)>,
    storages: Storages,
    stop_waiting: CancellationToken,
    /// What the graph holds.
    account: Account,
    /// Bytes of memory that the process may use.
    memory: u64,
    /// What processors have together.
    places: Places,
}

/// A running pipeline.
struct Running {
    id: ComponentId,
    /// Pipelines between it and the exporters, itself included.
    height: usize,
    entry: Arc<Entry>,
    /// Those of its journal, and one for each shard, if any processor holds state.
    tasks: Vec<JoinHandle<()>>,
}

impl Graph {
    /// Builds and starts everything that the pipelines of `document` use: exporters first,
    /// receivers last, so that nothing arrives before it can be handled. All errors at once, each
    /// a sentence that begins with the component's id; nothing keeps running then.
    pub async fn start(
        document: &Document,
        registry: &Registry,
        sockets: &Sockets,
    ) -> Result<Graph, Vec<String>> {
        let mut errors = vec![];
        let mut graph = Graph {
            receivers: vec![],
            stop_receiving: CancellationToken::new(),
            pipelines: vec![],
            deliveries: vec![],
            keepers: vec![],
            storages: Storages::default(),
            stop_waiting: CancellationToken::new(),
            account: Account::default(),
            memory: machine::memory().unwrap_or(limits::MEMORY_UNKNOWN),
            places: Places::default(),
        };
        watch_memory(registry, graph.account.clone());
        let deliveries = graph.start_exporters(document, registry, &mut errors);
        graph.start_pipelines(document, &deliveries, registry, &mut errors);
        if !errors.is_empty() {
            // Receivers are started to hear what is wrong with them too, and end at once.
            graph.stop_receiving.cancel();
        }
        graph.start_receivers(document, registry, sockets, &mut errors).await;
        if errors.is_empty() {
            return Ok(graph);
        }
        graph.drain().await;
        Err(errors)
    }

    /// The open listeners of all receivers.
    pub fn listeners(&self) -> impl Iterator<Item = receivers::Listener> {
        self.receivers.iter().flat_map(|receiver| receiver.listeners.iter().copied())
    }

    /// Whether a task of a pipeline has ended, which before draining means that it panicked.
    pub fn has_failed(&self) -> bool {
        let tasks = self.pipelines.iter().flat_map(|stage| &stage.tasks);
        let of_journals = self.keepers.iter().map(|(_, task)| task);
        tasks.chain(of_journals).any(JoinHandle::is_finished)
    }

    /// Takes everything down in the order of flow: no new requests, then what is held, pipelines
    /// before those that they feed, then what is queued. Every step is bounded by the deliveries'
    /// own drain time.
    pub async fn drain(mut self) {
        self.stop_receiving.cancel();
        for receiver in self.receivers {
            receiver.done.await;
        }
        let ended = async {
            let highest = self.pipelines.iter().map(|stage| stage.height).max().unwrap_or_default();
            for height in (0..=highest).rev() {
                let stages = || self.pipelines.iter().filter(|stage| stage.height == height);
                stages().for_each(|stage| stage.entry.close());
                for stage in self.pipelines.iter_mut().filter(|stage| stage.height == height) {
                    for task in stage.tasks.drain(..) {
                        let _ = task.await;
                    }
                }
            }
        };
        // What pipelines still hold waits for room in the queues, but not for ever.
        let patience = async {
            tokio::time::sleep(limits::DRAIN_TIME).await;
            self.stop_waiting.cancel();
            std::future::pending().await
        };
        tokio::select! {
            () = ended => {}
            () = patience => {}
        }
        self.stop_waiting.cancel();
        let mut draining = JoinSet::new();
        for delivery in self.deliveries {
            draining.spawn(async move { delivery.drain().await });
        }
        draining.join_all().await;
        for (keeper, task) in self.keepers {
            keeper.finish();
            let _ = task.await;
        }
        self.pipelines.iter().for_each(|stage| stage.entry.book.close());
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
            let letters = self.storages.dead_letters(document, configured);
            let built = (kind.build)(&configured.section, &setup);
            match letters.and_then(|letters| Ok((letters, built?))) {
                Ok((dead_letters, exporter)) => {
                    let settings = Settings::of(&configured.section);
                    let settings = Settings { dead_letters, ..settings };
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

    /// Starts the pipelines, each once those are running that it feeds: the configuration has no
    /// pipeline that feeds itself.
    fn start_pipelines(
        &mut self,
        document: &Document,
        deliveries: &[(ComponentId, Arc<Delivery>)],
        registry: &Registry,
        errors: &mut Vec<String>,
    ) {
        let mut junctions = vec![];
        let mut waiting: Vec<&Pipeline> = document.pipelines.iter().collect();
        while !waiting.is_empty() {
            let left = waiting.len();
            waiting.retain(|pipeline| {
                let Some(height) = self.height(document, pipeline) else { return true };
                let ids = pipeline.exporters.iter();
                let exits = ids.filter_map(|id| {
                    let delivery = deliveries.iter().find(|(of, _)| of == id);
                    let delivery = delivery.map(|(_, delivery)| Exit::Delivery(delivery.clone()));
                    delivery.or_else(|| {
                        let signal = signal(pipeline)?;
                        let junction =
                            self.junction(document, id, signal, registry, &mut junctions);
                        junction.map(Exit::Junction)
                    })
                });
                let exits = exits.collect();
                match self.start_pipeline(document, pipeline, exits, registry) {
                    Ok((entry, tasks)) => {
                        let id = pipeline.id.clone();
                        self.pipelines.push(Running { id, height, entry, tasks });
                    }
                    Err(e) => errors.push(format!("service::pipelines::{}: {e}", pipeline.id)),
                }
                false
            });
            if waiting.len() == left {
                return;
            }
        }
    }

    /// How high `pipeline` stands; `None` while one that it feeds is not running.
    fn height(&self, document: &Document, pipeline: &Pipeline) -> Option<usize> {
        let mut height = 1;
        for fed in fed(document, &pipeline.exporters, pipeline.signal) {
            height = height.max(self.running(&fed.id)?.height + 1);
        }
        Some(height)
    }

    fn running(&self, id: &ComponentId) -> Option<&Running> {
        self.pipelines.iter().find(|running| running.id == *id)
    }

    /// The connector `id` for `signal`, one for all pipelines that end in it.
    fn junction(
        &self,
        document: &Document,
        id: &ComponentId,
        signal: Signal,
        registry: &Registry,
        built: &mut Vec<(ComponentId, Signal, Arc<Junction>)>,
    ) -> Option<Arc<Junction>> {
        let known = built.iter().find(|(of, for_signal, _)| of == id && *for_signal == signal);
        if let Some((.., junction)) = known {
            return Some(junction.clone());
        }
        let configured = document.connectors.iter().find(|configured| configured.id == *id)?;
        let kind = kind_of(connectors::LIST, configured.component, |kind| &kind.component)?;
        let fed: Vec<&Running> = fed(document, std::slice::from_ref(id), signal.name())
            .filter_map(|pipeline| self.running(&pipeline.id))
            .collect();
        let pipelines: Vec<&str> = fed.iter().map(|stage| stage.id.as_str()).collect();
        let setup = connectors::Setup { id: id.as_str(), signal, pipelines: &pipelines, registry };
        let connector = (kind.build)(&configured.section, &setup);
        let pipelines = fed.iter().map(|stage| stage.entry.clone()).collect();
        let junction = Arc::new(Junction { connector, pipelines });
        built.push((id.clone(), signal, junction.clone()));
        Some(junction)
    }

    /// The pipeline's entry, and its tasks.
    fn start_pipeline(
        &mut self,
        document: &Document,
        pipeline: &Pipeline,
        exits: Vec<Exit>,
        registry: &Registry,
    ) -> Result<(Arc<Entry>, Vec<JoinHandle<()>>), String> {
        let exporters: Vec<&str> = pipeline.exporters.iter().map(ComponentId::as_str).collect();
        let signal = signal(pipeline).ok_or("it has no signal")?;
        let book = Book::new(pipeline.id.as_str(), &exporters, registry);
        let shards = self.stages(document, pipeline, signal, registry);
        let kept = self.open_journal(document, pipeline, &exporters, &book, registry)?;
        if kept.is_some()
            && let Some(late) = shards.first().and_then(Stages::takes_out_late)
        {
            return Err(format!(
                "{late} stands behind a processor that holds state, so what it takes out would \
                 rest in the journal; list it before"
            ));
        }
        let limit = shards.first().and_then(Stages::limit);
        let doors = shards.first().map(Stages::doors).unwrap_or_default();
        let journal = kept.as_ref().map(|(keeper, _)| keeper.number());
        let arrange = |stages: Stages| stages.arrange(journal.is_some(), &book);
        let (leading, chains): (Vec<_>, Vec<_>) = shards.into_iter().map(arrange).unzip();
        // Those that lead hold no state and are the same in all shards.
        let leading = leading.into_iter().next().unwrap_or_default();
        let exits = Exits { exits, book: book.clone(), journal };
        let (mut next, mut tasks) = match chains.iter().all(Chain::is_empty) {
            true => (Next::Exits(exits), vec![]),
            false => {
                let name = "spanloom_pipeline_unparted_requests";
                let help = "requests that went to one shard whole, for what parts would repeat";
                let unparted = registry.counter(name, help, &[("pipeline", pipeline.id.as_str())]);
                let (shards, tasks) = Shards::start(signal, chains, &exits, unparted);
                (Next::Shards(shards), tasks)
            }
        };
        if let Some((keeper, hands)) = kept {
            let (log, reader) = hands.split();
            tasks.push(spawn(keeper.clone().write(log)));
            tasks.push(spawn(keeper.clone().feed(reader, next)));
            self.keepers.push((keeper.clone(), spawn(keeper.clone().tidy_up())));
            next = Next::Journal(keeper);
        }
        Ok((Arc::new(Entry { doors, leading, limit, next, book }), tasks))
    }

    /// The journal of `pipeline`, if one of its exporters has storage.
    fn open_journal(
        &self,
        document: &Document,
        pipeline: &Pipeline,
        exporters: &[&str],
        book: &Arc<Book>,
        registry: &Registry,
    ) -> Result<Option<(Arc<Keeper>, Hands)>, String> {
        let Some(settings) = self.storages.journal(document, pipeline)? else { return Ok(None) };
        let of = Of { number: self.keepers.len(), pipeline: pipeline.id.as_str(), exporters };
        let folder = settings.folder("journal", of.pipeline);
        let (limit, patience) = (settings.limit, settings.patience);
        Keeper::open(of, &folder, limit, patience, book.clone(), registry).map(Some)
    }

    /// The processors of `pipeline`, for each of its shards.
    fn stages(
        &self,
        document: &Document,
        pipeline: &Pipeline,
        signal: Signal,
        registry: &Registry,
    ) -> Vec<Stages> {
        let workers = Handle::current().metrics().num_workers();
        let shards = shards::count(document, pipeline, workers);
        let mut all: Vec<Stages> = (0..shards).map(|_| Stages::default()).collect();
        let (origin, mut before) = (origin(document, pipeline), String::new());
        for configured in pipeline.processors.iter().filter_map(|id| processor(document, id)) {
            let kind = kind_of(processors::LIST, configured.component, |kind| &kind.component);
            let Some(kind) = kind else { continue };
            let (id, name) = (configured.id.as_str(), kind.component.name);
            let setup = processors::Setup::new(id, pipeline.id.as_str(), signal, registry);
            let setup = processors::Setup {
                account: self.account.clone(),
                memory: self.memory,
                shards,
                places: self.places.clone(),
                origin: &origin,
                before: &before,
                ..setup
            };
            let labels = [("processor", id), ("otel_signal", signal.name())];
            let incoming = "otelcol_processor_incoming_items";
            let outgoing = "otelcol_processor_outgoing_items";
            let incoming = registry.counter(incoming, "items that came in", &labels);
            let outgoing = registry.counter(outgoing, "items that were passed on", &labels);
            let mut built = vec![(kind.build)(&configured.section, &setup)];
            while built.len() < shards {
                built.push(match built.first() {
                    Some(Built::Stateless(shared)) => Built::Stateless(shared.clone()),
                    _ => (kind.build)(&configured.section, &setup),
                });
            }
            for (stages, processor) in all.iter_mut().zip(built) {
                let (incoming, outgoing) = (incoming.clone(), outgoing.clone());
                stages.push(Stage { id: id.to_owned(), name, incoming, outgoing, processor });
            }
            if !HOLDING.contains(&name) {
                before = before + id + "\n";
            }
        }
        all
    }

    async fn start_receivers(
        &mut self,
        document: &Document,
        registry: &Registry,
        sockets: &Sockets,
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
                sockets: sockets.clone(),
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
        let fed = document.pipelines.iter().filter(|pipeline| {
            signal(pipeline) == Some(of) && pipeline.receivers.contains(&configured.id)
        });
        let entries = fed.filter_map(|pipeline| self.running(&pipeline.id));
        let mut entries: Vec<Arc<Entry>> = entries.map(|stage| stage.entry.clone()).collect();
        match entries.len() {
            0 => None,
            1 => entries.pop().map(|entry| entry as Arc<dyn Consumer>),
            _ => Some(Arc::new(Fork(entries))),
        }
    }
}

/// Processors that neither change nor drop anything: it is the same behind them.
const HOLDING: &[&str] = &["trace_window", "batch", "memory_limiter"];

/// Where the telemetry of `pipeline` comes from: its receivers, or itself if one is a connector,
/// in front of which anything may have happened.
fn origin(document: &Document, pipeline: &Pipeline) -> String {
    let is_connector = |id: &ComponentId| document.connectors.iter().any(|c| c.id == *id);
    if pipeline.receivers.iter().any(is_connector) {
        return format!("pipeline {}", pipeline.id);
    }
    let mut receivers: Vec<&str> = pipeline.receivers.iter().map(ComponentId::as_str).collect();
    receivers.sort_unstable();
    receivers.join(" ")
}

/// The pipelines of `signal` that begin with one of the connectors `ids`.
fn fed<'a>(
    document: &'a Document,
    ids: &'a [ComponentId],
    signal: &'a str,
) -> impl Iterator<Item = &'a Pipeline> {
    document.pipelines.iter().filter(move |pipeline| {
        let begins = |id: &ComponentId| {
            document.connectors.iter().any(|connector| connector.id == *id)
                && pipeline.receivers.contains(id)
        };
        pipeline.signal == signal && ids.iter().any(begins)
    })
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

//! Starts everything, handles events, and takes everything down.

use super::events::{Event, Events};
use crate::config::Document;
use crate::extensions;
use crate::limits;
use crate::pipeline::Graph;
use crate::sockets::Sockets;
use crate::status;
use crate::web::{self, State};
use std::future::Future;
use std::pin::Pin;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// What ends with the daemon: pages and extensions.
type Side = Vec<Pin<Box<dyn Future<Output = ()> + Send>>>;

/// Runs `document` until a signal ends it; `reload` reads the configuration anew. `sockets` are
/// those to listen on beside one's own. Errors are the sentences that kept it from starting, or
/// from going on.
pub async fn run(
    mut document: Document,
    sockets: Sockets,
    reload: impl Fn() -> Result<Document, String>,
) -> Result<(), Vec<String>> {
    let mut events = Events::new().map_err(|e| vec![format!("cannot handle signals: {e}")])?;
    let state = State::default();
    let stop = CancellationToken::new();
    let side = start_side(&document, &state, &stop).await;
    let (side, mut graph) = match (side, Graph::start(&document, &state.registry, &sockets).await) {
        (Ok(side), Ok(graph)) => (side, graph),
        (side, graph) => {
            return Err([side.err(), graph.err()].into_iter().flatten().flatten().collect());
        }
    };
    taken(&sockets);
    announce(&graph);
    state.set_graph(status::Graph::of(&document));
    state.set_ready(true);
    let mut serving = JoinSet::new();
    for task in side {
        serving.spawn(task);
    }
    let outcome = loop {
        match events.next().await {
            Event::Stop(signal) => {
                info!(signal, "stopping: no new requests; delivering what is queued");
                break Ok(());
            }
            Event::Tick if graph.has_failed() => {
                break Err(vec!["a pipeline failed; its panic is above".to_owned()]);
            }
            Event::Tick => {}
            Event::Reload => match reload() {
                Ok(new) => {
                    graph = replace(graph, &mut document, new, &state, &sockets).await?;
                }
                Err(problems) => error!("the new configuration is not used:\n{problems}"),
            },
        }
    };
    state.set_ready(false);
    tokio::select! {
        () = graph.drain() => info!("stopped"),
        () = tokio::time::sleep(limits::DRAIN_TIME) => warn!("stopped before all was delivered"),
        () = events.stop() => warn!("stopped at once by a second signal"),
    }
    stop.cancel();
    serving.join_all().await;
    outcome
}

/// Puts the graph of `new` in the place of the running one; if it cannot start, the old
/// configuration is started again. Sockets that both listen on stay open, and clients that connect
/// meanwhile wait.
/// Extensions and the daemon's own telemetry stay as they were started.
async fn replace(
    running: Graph,
    document: &mut Document,
    new: Document,
    state: &State,
    sockets: &Sockets,
) -> Result<Graph, Vec<String>> {
    running.drain().await;
    sockets.release();
    match Graph::start(&new, &state.registry, sockets).await {
        Ok(graph) => {
            taken(sockets);
            *document = new;
            state.set_graph(status::Graph::of(document));
            info!("the new configuration is in use");
            announce(&graph);
            Ok(graph)
        }
        Err(errors) => {
            error!(
                "the new configuration does not start, the old one goes on: {}",
                errors.join("; ")
            );
            sockets.release();
            let graph = Graph::start(document, &state.registry, sockets).await;
            taken(sockets);
            graph
        }
    }
}

/// Closes what nobody listens on any more, and says what was inherited for nobody.
fn taken(sockets: &Sockets) {
    for unused in sockets.close_unused() {
        warn!(
            "no receiver listens on the inherited socket {unused}: name it `grpc` or `http`, or \
             give a receiver its address"
        );
    }
}

/// Starts the metrics page and the extensions.
async fn start_side(
    document: &Document,
    state: &State,
    stop: &CancellationToken,
) -> Result<Side, Vec<String>> {
    let mut side: Side = vec![];
    let mut errors = vec![];
    if let Some(address) = &document.telemetry.metrics_address {
        match web::serve(address, web::metrics(state.registry.clone()), stop.clone()).await {
            Ok((address, done)) => {
                info!(protocol = "metrics", %address, "listening");
                side.push(done);
            }
            Err(error) => errors.push(format!("service::telemetry::metrics: {error}")),
        }
    }
    for configured in &document.extensions {
        let kind = extensions::LIST.iter().find(|k| k.component.name == configured.component.name);
        let Some(kind) = kind else { continue };
        match (kind.start)(&configured.section, state.clone(), stop.clone()).await {
            Ok(running) => {
                for (protocol, address) in running.listeners {
                    info!(protocol, %address, "listening");
                }
                side.push(running.done);
            }
            Err(error) => errors.push(format!("extensions::{}: {error}", configured.id)),
        }
    }
    if errors.is_empty() { Ok(side) } else { Err(errors) }
}

/// Says where to send telemetry, in the words of the variable that agents set.
fn announce(graph: &Graph) {
    for listener in graph.listeners() {
        info!(protocol = listener.protocol, address = %listener.address, "listening");
    }
    let speaks = |protocol| graph.listeners().find(|listener| listener.protocol == protocol);
    if let Some(listener) = speaks("otlp/http").or(speaks("otlp/grpc")) {
        let scheme = if listener.encrypted { "https" } else { "http" };
        let endpoint = format!("{scheme}://{}", listener.address);
        info!("ready: set OTEL_EXPORTER_OTLP_ENDPOINT={endpoint} in the agent's environment");
    }
}

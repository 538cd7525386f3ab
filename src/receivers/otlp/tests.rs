//! The receiver against real sockets, with pipelines that do as the test says.

use super::*;
use crate::batch::{Batch, Signal};
use crate::intake::{Consumer, Intake};
use crate::limits;
use crate::telemetry::Registry;
use crate::verdict::{Refusal, Verdict};
use bad_input::Target;
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

#[path = "../../../tests/support/bad_input/mod.rs"]
mod bad_input;

/// A pipeline that gives every batch the same verdict and remembers it.
struct Pipeline {
    verdict: Verdict,
    taken: Mutex<Vec<(Signal, Bytes)>>,
}

impl Pipeline {
    fn taken(&self) -> MutexGuard<'_, Vec<(Signal, Bytes)>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Consumer for Pipeline {
    fn consume(&self, batch: Batch) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            if batch.bytes().len() < 1 << 20 {
                self.taken().push((batch.signal(), batch.bytes().clone()));
            }
            batch.settle(&self.verdict);
        })
    }
}

/// A receiver that runs, with one pipeline for all signals.
struct Fixture {
    runtime: Runtime,
    target: Target,
    pipeline: Arc<Pipeline>,
    registry: Registry,
    stop: CancellationToken,
    done: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

fn receiver(verdict: Verdict) -> Fixture {
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
    let pipeline = Arc::new(Pipeline { verdict, taken: Mutex::default() });
    let consumer = || Some(pipeline.clone() as Arc<dyn Consumer>);
    let consumers = [consumer(), consumer(), consumer()];
    let (registry, stop) = (Registry::default(), CancellationToken::new());
    let setup = Setup {
        id: "otlp".to_owned(),
        registry: registry.clone(),
        intake: Intake::new(limits::INFLIGHT_BYTES).leading_to(consumers),
        stop: stop.clone(),
    };
    let http = bad_input::CONFIG;
    let yaml = format!("protocols: {{grpc: {{endpoint: \"127.0.0.1:0\"}}, http: {http}}}");
    let section = Section::from_yaml(keys::KEYS, &yaml).unwrap();
    let running = runtime.block_on(start(&section, setup)).unwrap();
    let address = |protocol: Protocol| {
        let mut listeners = running.listeners.iter();
        listeners.find(|(name, _)| *name == protocol.name()).unwrap().1.to_string()
    };
    let target = Target { grpc: address(Protocol::Grpc), http: address(Protocol::Http) };
    Fixture { runtime, target, pipeline, registry, stop, done: Some(running.done) }
}

#[test]
fn bad_input_has_its_answer() {
    let fixture = receiver(Verdict::Accepted);
    bad_input::check(&fixture.target);
}

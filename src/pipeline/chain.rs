//! The part of a pipeline that holds state: processors in a row, owned by one task.

use super::exits::Exits;
use crate::batch::Batch;
use crate::clock;
use crate::limits;
use crate::moment::Moment;
use crate::processors::{Out, Stateful, Stateless};
use crate::telemetry::Counter;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// One processor and what goes through it.
pub struct Link<P: ?Sized> {
    pub incoming: Counter,
    pub outgoing: Counter,
    pub processor: Box<P>,
}

/// The processors from the first stateful one on.
#[derive(Default)]
pub struct Chain {
    links: Vec<Link<dyn Stateful>>,
}

impl Chain {
    pub fn push(&mut self, link: Link<dyn Stateful>) {
        self.links.push(link);
    }

    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Runs `batch` through the processors from the one at `first` on; `done` gets what leaves
    /// the last.
    fn process(&mut self, first: usize, batch: Batch, now: Moment, done: &mut Vec<Batch>) {
        let Some(link) = self.links.get_mut(first) else {
            done.push(batch);
            return;
        };
        let mut out = Out::default();
        link.incoming.add(batch.items());
        link.processor.process(batch, now, &mut out);
        self.pass_on(first, out, now, done);
    }

    fn pass_on(&mut self, from: usize, mut out: Out, now: Moment, done: &mut Vec<Batch>) {
        for batch in out.take() {
            if let Some(link) = self.links.get(from) {
                link.outgoing.add(batch.items());
            }
            self.process(from + 1, batch, now, done);
        }
    }

    fn wake_at(&self) -> Option<Moment> {
        self.links.iter().filter_map(|link| link.processor.wake_at()).min()
    }

    fn wake(&mut self, now: Moment, done: &mut Vec<Batch>) {
        for k in 0..self.links.len() {
            let Some(link) = self.links.get_mut(k) else { return };
            if link.processor.wake_at().is_some_and(|at| at <= now) {
                let mut out = Out::default();
                link.processor.wake(now, &mut out);
                self.pass_on(k, out, now, done);
            }
        }
    }

    /// In order, so that what one hands over still passes those behind it.
    fn finish(&mut self, now: Moment, done: &mut Vec<Batch>) {
        for k in 0..self.links.len() {
            let Some(link) = self.links.get_mut(k) else { return };
            let mut out = Out::default();
            link.processor.finish(now, &mut out);
            self.pass_on(k, out, now, done);
        }
    }

    /// Owns the chain until `input` ends, then hands over everything that is held.
    pub async fn run(mut self, mut input: mpsc::Receiver<Batch>, exits: Exits) {
        let mut arrived = Vec::with_capacity(limits::PIPELINE_BATCHES);
        let mut done = Vec::new();
        loop {
            tokio::select! {
                n = input.recv_many(&mut arrived, limits::PIPELINE_BATCHES) => if n == 0 { break },
                () = sleep_until(self.wake_at()) => {}
            }
            let now = clock::now();
            for batch in arrived.drain(..) {
                self.process(0, batch, now, &mut done);
            }
            self.wake(now, &mut done);
            for batch in done.drain(..) {
                exits.offer(batch).await;
            }
        }
        self.finish(clock::now(), &mut done);
        for batch in done.drain(..) {
            exits.offer(batch).await;
        }
    }
}

async fn sleep_until(at: Option<Moment>) {
    match at {
        // A millisecond more, so that the clock has passed the moment when the timer fires.
        Some(at) => {
            tokio::time::sleep(at.since(clock::now()) + Duration::from_millis(1)).await;
        }
        None => std::future::pending().await,
    }
}

/// A stateless processor that stands behind a stateful one.
pub struct Follower(pub Arc<dyn Stateless>);

impl Stateful for Follower {
    fn process(&mut self, batch: Batch, now: Moment, out: &mut Out) {
        self.0.process(batch, now, out);
    }
}

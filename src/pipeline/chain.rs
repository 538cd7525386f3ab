//! The part of a pipeline that holds state: processors in a row, owned by one task.

use super::book::Book;
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
    /// The ids of its processors.
    pub id: String,
    pub incoming: Counter,
    pub outgoing: Counter,
    pub processor: Box<P>,
}

/// The processors from the first stateful one on.
pub struct Chain {
    links: Vec<Link<dyn Stateful>>,
    /// Who hears of what is dropped.
    book: Arc<Book>,
}

impl Chain {
    pub fn new(book: Arc<Book>) -> Chain {
        Chain { links: vec![], book }
    }

    pub fn push(&mut self, link: Link<dyn Stateful>) {
        self.links.push(link);
    }

    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Runs `batch` through the processors from the one at `first` on; `done` gets what leaves
    /// the last.
    pub fn process(&mut self, first: usize, batch: Batch, now: Moment, done: &mut Vec<Batch>) {
        let Some(link) = self.links.get_mut(first) else {
            done.push(batch);
            return;
        };
        let mut out = Out::default();
        let items = batch.items();
        link.incoming.add(items);
        let before = items + link.processor.held();
        link.processor.process(batch, now, &mut out);
        self.pass_on(first, before, out, now, done);
    }

    /// Hands on what came `out` of a processor that had `before` items to hand on or hold.
    fn pass_on(
        &mut self,
        from: usize,
        before: usize,
        mut out: Out,
        now: Moment,
        done: &mut Vec<Batch>,
    ) {
        let batches = out.take();
        if let Some(link) = self.links.get(from) {
            let left: usize = batches.iter().map(Batch::items).sum();
            let there = left + link.processor.held();
            self.book.dropped(&link.id, before.saturating_sub(there));
            self.book.made(&link.id, there.saturating_sub(before));
        }
        for batch in batches {
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
                let before = link.processor.held();
                link.processor.wake(now, &mut out);
                self.pass_on(k, before, out, now, done);
            }
        }
    }

    /// In order, so that what one hands over still passes those behind it.
    pub fn finish(&mut self, now: Moment, done: &mut Vec<Batch>) {
        for k in 0..self.links.len() {
            let Some(link) = self.links.get_mut(k) else { return };
            let mut out = Out::default();
            let before = link.processor.held();
            link.processor.finish(now, &mut out);
            self.pass_on(k, before, out, now, done);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Signal;
    use crate::otlp::text;
    use crate::telemetry::Registry;
    use bytes::Bytes;

    /// Holds what comes for ten seconds.
    #[derive(Default)]
    struct Holder {
        held: Vec<Batch>,
        until: Option<Moment>,
    }

    impl Stateful for Holder {
        fn process(&mut self, batch: Batch, now: Moment, _: &mut Out) {
            self.held.push(batch);
            self.until.get_or_insert(now.plus(Duration::from_secs(10)));
        }

        fn wake_at(&self) -> Option<Moment> {
            self.until
        }

        fn wake(&mut self, now: Moment, out: &mut Out) {
            self.finish(now, out);
        }

        fn finish(&mut self, _: Moment, out: &mut Out) {
            self.until = None;
            self.held.drain(..).for_each(|batch| out.pass(batch));
        }
    }

    /// Passes everything on.
    struct Pass;

    impl Stateless for Pass {
        fn process(&self, batch: Batch, _: Moment, out: &mut Out) {
            out.pass(batch);
        }
    }

    /// A holder with a follower behind it, and the follower's count of items.
    fn chain() -> (Chain, Counter) {
        let registry = Registry::default();
        let counter = |name: &str| registry.counter(name, "items", &[]);
        let link = |name: &str, processor: Box<dyn Stateful>| Link {
            id: name.to_owned(),
            incoming: counter(&format!("{name}_in")),
            outgoing: counter(&format!("{name}_out")),
            processor,
        };
        let mut chain = Chain::new(Book::new("traces", &[], &registry));
        chain.push(link("holder", Box::<Holder>::default()));
        chain.push(link("follower", Box::new(Follower(Arc::new(Pass)))));
        (chain, counter("follower_out"))
    }

    fn batch() -> Batch {
        let bytes = text::parse("span 1/1\nspan 1/2").unwrap();
        Batch::parse(Signal::Traces, Bytes::from(bytes), Moment::default()).unwrap()
    }

    #[test]
    fn what_is_held_passes_those_behind_when_its_time_has_come() {
        let ((mut chain, passed), mut done) = (chain(), vec![]);
        let start = Moment::default();
        chain.process(0, batch(), start, &mut done);
        let due = chain.wake_at().expect("the holder wants to be called");
        chain.wake(start, &mut done);
        assert_eq!((done.len(), passed.value()), (0, 0), "woken too early");
        chain.wake(due, &mut done);
        assert_eq!((done.len(), passed.value()), (1, 2));
        assert_eq!(chain.wake_at(), None);
    }

    #[test]
    fn what_is_held_at_the_end_passes_those_behind_too() {
        let ((mut chain, passed), mut done) = (chain(), vec![]);
        chain.process(0, batch(), Moment::default(), &mut done);
        chain.process(0, batch(), Moment::default(), &mut done);
        chain.finish(Moment::default(), &mut done);
        assert_eq!((done.len(), passed.value()), (2, 4));
    }
}

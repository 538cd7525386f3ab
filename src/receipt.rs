//! Who is answered when a batch is safe.
//!
//! A receiver opens one [`Receipt`] for each request and waits for its verdict. The receipt
//! travels in the batch; cloning a batch clones it, joining batches joins their receipts. The
//! client is answered once every clone is settled, with the worst verdict among them. A receipt
//! that is dropped unsettled counts as "come back later": nobody is told "accepted" because some
//! code forgot about a batch or a task died.

use crate::verdict::Verdict;
use smallvec::SmallVec;
use std::sync::{Arc, Mutex, PoisonError};

type Answer = Box<dyn FnOnce(Verdict) + Send>;

/// A claim to an answer.
#[derive(Clone)]
pub struct Receipt {
    /// `None` once settled.
    shared: Option<Arc<Shared>>,
}

struct Shared {
    state: Mutex<State>,
}

struct State {
    worst: Verdict,
    answer: Option<Answer>,
}

impl Receipt {
    /// A receipt whose final verdict is handed to `answer`, exactly once.
    pub fn new(answer: impl FnOnce(Verdict) + Send + 'static) -> Receipt {
        let state = State { worst: Verdict::Accepted, answer: Some(Box::new(answer)) };
        Receipt { shared: Some(Arc::new(Shared { state: Mutex::new(state) })) }
    }

    /// Says how this clone's share of the batch ended.
    pub fn settle(mut self, verdict: &Verdict) {
        if let Some(shared) = self.shared.take() {
            shared.record(verdict);
        }
    }
}

impl Shared {
    fn record(&self, verdict: &Verdict) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if verdict.rank() > state.worst.rank() {
            state.worst = verdict.clone();
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.record(&Verdict::busy("the batch was given up before it was safe"));
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = state.answer.take() {
            answer(std::mem::replace(&mut state.worst, Verdict::Accepted));
        }
    }
}

/// The receipts of all requests that a batch holds parts of. Nearly always one.
#[derive(Clone, Default)]
pub struct Receipts {
    open: SmallVec<[Receipt; 1]>,
    custody: bool,
}

impl Receipts {
    /// No one waits, as for telemetry of our own.
    pub fn none() -> Receipts {
        Receipts::default()
    }

    pub fn settle(self, verdict: &Verdict) {
        for receipt in self.open {
            receipt.settle(verdict);
        }
    }

    /// Bounded memory takes the batch over to hold it for a while: whoever waits is answered now,
    /// since no client waits as long as a processor may hold.
    pub fn take_custody(&mut self) {
        let held = Receipts { open: SmallVec::new(), custody: true };
        std::mem::replace(self, held).settle(&Verdict::Accepted);
    }

    /// Whether clients were answered for what this process alone has: nobody sends it again.
    pub fn in_custody(&self) -> bool {
        self.custody
    }

    /// Takes over the receipts of a batch that was joined to this one.
    pub fn join(&mut self, other: Receipts) {
        self.open.extend(other.open);
        self.custody |= other.custody;
    }
}

impl From<Receipt> for Receipts {
    fn from(receipt: Receipt) -> Receipts {
        Receipts { open: SmallVec::from_iter([receipt]), custody: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn the_answer_waits_for_every_clone_and_is_the_worst() {
        let cases: [(&[Verdict], Verdict); 3] = [
            (&[Verdict::Accepted, Verdict::Accepted], Verdict::Accepted),
            (&[Verdict::Accepted, Verdict::busy("full")], Verdict::busy("full")),
            (&[Verdict::malformed("x"), Verdict::Accepted], Verdict::malformed("x")),
        ];
        for (verdicts, expected) in cases {
            let (answer, answered) = channel();
            let first = Receipts::from(Receipt::new(move |v| answer.send(v).unwrap_or_default()));
            let mut open: Vec<_> = verdicts.iter().map(|_| first.clone()).collect();
            first.settle(&Verdict::Accepted);
            for verdict in verdicts {
                assert!(answered.try_recv().is_err(), "answered too early");
                open.pop().unwrap_or_default().settle(verdict);
            }
            assert_eq!(answered.try_recv(), Ok(expected));
        }
    }

    #[test]
    fn custody_answers_and_stays_with_what_is_joined() {
        let (answer, answered) = channel();
        let mut held = Receipts::from(Receipt::new(move |v| answer.send(v).unwrap_or_default()));
        held.take_custody();
        assert_eq!(answered.try_recv(), Ok(Verdict::Accepted));
        let mut joined = Receipts::none();
        joined.join(held.clone());
        assert!(held.in_custody() && joined.in_custody() && !Receipts::none().in_custody());
    }

    #[test]
    fn a_forgotten_receipt_is_never_an_acceptance() {
        let (answer, answered) = channel();
        drop(Receipt::new(move |v| answer.send(v).unwrap_or_default()));
        assert!(matches!(answered.try_recv(), Ok(Verdict::Busy(_))));
    }
}

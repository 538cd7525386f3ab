//! Who is answered when a batch is safe.
//!
//! A receiver opens one [`Receipt`] for each request and waits for its verdict. The receipt
//! travels in the batch; cloning a batch clones it, joining batches joins their receipts. The
//! client is answered once every clone is settled, with the worst verdict among them. A receipt
//! that is dropped unsettled counts as "come back later": nobody is told "accepted" because some
//! code forgot about a batch or a task died.
//!
//! There are two moments: **safe**, at which the client is answered, and **done**, when nobody owes
//! the data to anybody. In memory the first is the second. A journal answers the client when it
//! has synced the entry, and gives the batch a [`Claim`] in the place of the receipt: that is
//! settled when the entry is done, by each way out of the pipeline on its own, and no custody
//! settles it. An entry whose claim ends as "come back later" stays in the journal.

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

/// What a journal waits for before it lets go of an entry.
#[derive(Clone)]
pub struct Claim {
    /// The number of the journal.
    journal: usize,
    /// For each way out of its pipeline by which the entry is owed, what hears of its end.
    ways: SmallVec<[(usize, Receipt); 1]>,
}

impl Claim {
    pub fn new(journal: usize, ways: impl IntoIterator<Item = (usize, Receipt)>) -> Claim {
        Claim { journal, ways: ways.into_iter().collect() }
    }

    fn settle(self, verdict: &Verdict) {
        self.ways.into_iter().for_each(|(_, receipt)| receipt.settle(verdict));
    }

    /// Lets go of all ways but one; whether that is left.
    fn leave_by(&mut self, way: usize) -> bool {
        let ways = std::mem::take(&mut self.ways);
        for (of, receipt) in ways {
            match of == way {
                true => self.ways.push((of, receipt)),
                // Not done by this clone, and not given up either: others stand for it.
                false => receipt.settle(&Verdict::Accepted),
            }
        }
        !self.ways.is_empty()
    }
}

/// The receipts of all requests that a batch holds parts of. Nearly always one.
#[derive(Clone, Default)]
pub struct Receipts {
    open: SmallVec<[Receipt; 1]>,
    claims: Vec<Claim>,
    custody: bool,
}

impl Receipts {
    /// No one waits, as for telemetry of our own.
    pub fn none() -> Receipts {
        Receipts::default()
    }

    /// No one waits any more: clients were answered.
    pub fn custody() -> Receipts {
        Receipts { custody: true, ..Receipts::default() }
    }

    pub fn settle(self, verdict: &Verdict) {
        for receipt in self.open {
            receipt.settle(verdict);
        }
        for claim in self.claims {
            claim.settle(verdict);
        }
    }

    /// Answers the clients. What a journal claims goes on.
    pub fn answer(&mut self, verdict: &Verdict) {
        let open = std::mem::take(&mut self.open);
        open.into_iter().for_each(|receipt| receipt.settle(verdict));
    }

    /// Bounded memory takes the batch over to hold it for a while: whoever waits is answered now,
    /// since no client waits as long as a processor may hold.
    pub fn take_custody(&mut self) {
        self.answer(&Verdict::Accepted);
        self.custody = true;
    }

    /// Whether clients were answered for it: nobody sends it again.
    pub fn in_custody(&self) -> bool {
        self.custody || self.in_journal()
    }

    /// Whether a journal has it until it is done.
    pub fn in_journal(&self) -> bool {
        !self.claims.is_empty()
    }

    /// A journal has it from now on.
    pub fn claim(&mut self, claim: Claim) {
        self.claims.push(claim);
    }

    /// This clone leaves a pipeline by `way` alone. Whether it is owed that way to anybody: not if
    /// all of it has left so before a restart.
    pub fn leave_by(&mut self, journal: usize, way: usize) -> bool {
        let (mut of_journal, mut owed) = (false, false);
        self.claims.retain_mut(|claim| {
            let own = claim.journal == journal;
            let stays = !own || claim.leave_by(way);
            of_journal |= own;
            owed |= own && stays;
            stays
        });
        owed || !of_journal
    }

    /// Takes over the receipts of a batch that was joined to this one.
    pub fn join(&mut self, other: Receipts) {
        self.open.extend(other.open);
        self.claims.extend(other.claims);
        self.custody |= other.custody;
    }
}

impl From<Receipt> for Receipts {
    fn from(receipt: Receipt) -> Receipts {
        Receipts { open: SmallVec::from_iter([receipt]), ..Receipts::default() }
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

    /// A claim on two ways, and what is heard of each.
    fn claim() -> (Claim, std::sync::mpsc::Receiver<(usize, Verdict)>) {
        let (say, said) = channel();
        let ways = (0..2).map(|way| {
            let say = say.clone();
            (way, Receipt::new(move |verdict| say.send((way, verdict)).unwrap_or_default()))
        });
        (Claim::new(7, ways.collect::<Vec<_>>()), said)
    }

    #[test]
    fn a_claim_outlives_custody_and_ends_by_each_way_on_its_own() {
        let (answer, answered) = channel();
        let mut held = Receipts::from(Receipt::new(move |v| answer.send(v).unwrap_or_default()));
        let (claim, said) = claim();
        held.claim(claim);
        held.take_custody();
        assert_eq!(answered.try_recv(), Ok(Verdict::Accepted));
        let mut first = held.clone();
        let mut second = held;
        assert!(first.leave_by(7, 0) && second.leave_by(7, 1) && second.leave_by(9, 5));
        assert!(said.try_recv().is_err(), "nothing is done yet");
        second.settle(&Verdict::Accepted);
        assert_eq!(said.try_recv(), Ok((1, Verdict::Accepted)));
        drop(first);
        assert!(matches!(said.try_recv(), Ok((0, Verdict::Busy(_)))), "given up, so not done");
    }

    #[test]
    fn what_left_before_a_restart_does_not_leave_again() {
        let (claim, said) = claim();
        let mut batch = Receipts::none();
        batch.claim(claim);
        assert!(batch.leave_by(7, 1));
        assert!(!batch.leave_by(7, 0), "it was narrowed to the other way");
        batch.settle(&Verdict::Accepted);
        assert_eq!(said.try_iter().count(), 2);
    }

    #[test]
    fn a_forgotten_receipt_is_never_an_acceptance() {
        let (answer, answered) = channel();
        drop(Receipt::new(move |v| answer.send(v).unwrap_or_default()));
        assert!(matches!(answered.try_recv(), Ok(Verdict::Busy(_))));
    }
}

//! Room that is granted in turns: a bound on what is under way, and a fair order among those who
//! wait for it.
//!
//! A queue in the order of arrival belongs to whoever asks most: a client with two hundred requests
//! at once leaves a second place to everybody else. Here each client has a lane of its own, and
//! lanes are served by deficit round robin: every round gives each lane the right to the same cost,
//! so that a client gets its share of what is freed, however much others ask for, and what it does
//! not ask for is theirs. A client is a connection: what an agent or a gateway's peer has.
//!
//! Nobody overtakes: while anyone waits, whoever comes waits behind.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Who asks. The default is everybody who is no connection: one lane for all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Client(u64);

impl Client {
    /// One that differs from all others.
    pub fn next() -> Client {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Client(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Of the room; at most all of it.
    pub units: usize,
    /// What a turn of this counts for.
    pub cost: usize,
}

/// How many may wait; the others are told at once.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    pub of_one: usize,
    pub of_all: usize,
}

impl Most {
    pub const ANY: Most = Most { of_one: usize::MAX, of_all: usize::MAX };
}

/// Room in turns. Cloning shares it.
#[derive(Clone)]
pub struct Turns {
    shared: Arc<Shared>,
}

struct Shared {
    capacity: usize,
    /// The cost that a lane may cause in one round.
    quantum: usize,
    most: Most,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    free: usize,
    lanes: HashMap<Client, Lane>,
    /// The clients with a lane, the next one first.
    round: VecDeque<Client>,
    waiting: usize,
    tickets: u64,
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Waiting>,
    deficit: usize,
}

struct Waiting {
    ticket: u64,
    ask: Ask,
    grant: oneshot::Sender<Permit>,
}

/// Room that is held until dropped.
pub struct Permit {
    shared: Arc<Shared>,
    units: usize,
}

impl Turns {
    pub fn new(capacity: usize, quantum: usize, most: Most) -> Turns {
        let state = Mutex::new(State { free: capacity, ..State::default() });
        Turns { shared: Arc::new(Shared { capacity, quantum: quantum.max(1), most, state }) }
    }

    /// Whether anybody waits or no room is free.
    pub fn is_taken(&self) -> bool {
        let state = self.shared.state();
        state.waiting > 0 || state.free == 0
    }

    /// Waits for `client`'s turn. `None` if as many wait already as may. Whoever gives up waiting
    /// leaves nothing behind.
    pub async fn acquire(&self, client: Client, ask: Ask) -> Option<Permit> {
        let ask = Ask { units: ask.units.min(self.shared.capacity), ..ask };
        let (place, granted) = {
            let mut state = self.shared.state();
            if state.waiting == 0 && ask.units <= state.free {
                state.free -= ask.units;
                return Some(Permit { shared: self.shared.clone(), units: ask.units });
            }
            let (grant, granted) = oneshot::channel();
            let ticket = state.enter(client, ask, grant, self.shared.most)?;
            (Place { shared: &self.shared, client, ticket }, granted)
        };
        let permit = granted.await.ok();
        drop(place);
        permit
    }
}

/// A place in a lane, given up when dropped.
struct Place<'a> {
    shared: &'a Arc<Shared>,
    client: Client,
    ticket: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shared.state().leave(self.client, self.ticket);
        // The one behind may ask for less.
        self.shared.serve();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.state().free += self.units;
        self.shared.serve();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants what is free to those whose turn it is.
    fn serve(self: &Arc<Shared>) {
        let mut grants = vec![];
        let mut state = self.state();
        while let Some(waiting) = state.next(self.quantum) {
            let units = waiting.ask.units;
            state.free -= units;
            grants.push((waiting.grant, Permit { shared: self.clone(), units }));
        }
        drop(state);
        for (grant, permit) in grants {
            // Whoever has gone gives it back: the permit that is returned is dropped.
            let _ = grant.send(permit);
        }
    }
}

impl State {
    /// Puts `client` in its lane; `None` if as many wait as may.
    fn enter(
        &mut self,
        client: Client,
        ask: Ask,
        grant: oneshot::Sender<Permit>,
        most: Most,
    ) -> Option<u64> {
        let in_lane = self.lanes.get(&client).map_or(0, |lane| lane.waiting.len());
        if in_lane >= most.of_one || self.waiting >= most.of_all {
            return None;
        }
        self.tickets += 1;
        self.waiting += 1;
        if in_lane == 0 {
            self.round.push_back(client);
        }
        let lane = self.lanes.entry(client).or_default();
        lane.waiting.push_back(Waiting { ticket: self.tickets, ask, grant });
        Some(self.tickets)
    }

    fn leave(&mut self, client: Client, ticket: u64) {
        let Some(lane) = self.lanes.get_mut(&client) else { return };
        let before = lane.waiting.len();
        lane.waiting.retain(|waiting| waiting.ticket != ticket);
        self.waiting -= before - lane.waiting.len();
        if lane.waiting.is_empty() {
            self.close(client);
        }
    }

    /// A lane without anyone is none, and saves no right for later.
    fn close(&mut self, client: Client) {
        self.lanes.remove(&client);
        self.round.retain(|other| *other != client);
    }

    /// Takes out the one whose turn it is, if there is room for it.
    fn next(&mut self, quantum: usize) -> Option<Waiting> {
        loop {
            let client = *self.round.front()?;
            let lane = self.lanes.get_mut(&client)?;
            let ask = lane.waiting.front()?.ask;
            if lane.deficit < ask.cost {
                lane.deficit += quantum;
                self.round.rotate_left(1);
                continue;
            }
            if ask.units > self.free {
                return None;
            }
            lane.deficit -= ask.cost;
            let waiting = lane.waiting.pop_front();
            self.waiting -= 1;
            if lane.waiting.is_empty() {
                self.close(client);
            }
            return waiting;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    type Acquire<'a> = Pin<Box<dyn Future<Output = Option<Permit>> + 'a>>;

    fn poll(future: &mut Acquire<'_>) -> Option<Option<Permit>> {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    fn ask(turns: &Turns, client: u64, units: usize) -> Acquire<'_> {
        let ask = Ask { units, cost: units };
        let mut future: Acquire<'_> = Box::pin(turns.acquire(Client(client), ask));
        assert!(poll(&mut future).is_none(), "there is room");
        future
    }

    fn all_of(turns: &Turns, units: usize) -> Permit {
        let mut future: Acquire<'_> =
            Box::pin(turns.acquire(Client(0), Ask { units, cost: units }));
        poll(&mut future).flatten().expect("there is room")
    }

    /// The clients in the order in which they are served, one unit being free at a time.
    fn order(turns: &Turns, asked: Vec<(u64, Acquire<'_>)>, held: Permit) -> String {
        let (mut asked, mut held, mut order) = (asked, Some(held), String::new());
        while held.take().is_some() {
            for (client, future) in &mut asked {
                if let Some(Some(permit)) = poll(future) {
                    order.push_str(&client.to_string());
                    held = Some(permit);
                    *future = Box::pin(std::future::pending());
                }
            }
        }
        assert!(!turns.is_taken());
        order
    }

    #[test]
    fn a_client_that_asks_much_has_one_turn_in_each_round() {
        let turns = Turns::new(1, 1, Most::ANY);
        let held = all_of(&turns, 1);
        let asked = [1, 1, 1, 1, 1, 2, 3, 2];
        let asked = asked.into_iter().map(|client| (client, ask(&turns, client, 1))).collect();
        assert_eq!(order(&turns, asked, held), "12312111");
    }

    #[test]
    fn turns_are_counted_by_what_they_cost() {
        let turns = Turns::new(4, 1, Most::ANY);
        let held = all_of(&turns, 4);
        let asked = [(1, 4), (1, 4), (2, 1), (2, 1), (2, 1), (2, 1), (2, 1)];
        let asked: Vec<_> = asked.into_iter().map(|(c, n)| (c, ask(&turns, c, n))).collect();
        let (mut asked, mut served) = (asked, vec![]);
        drop(held);
        loop {
            let before = served.len();
            for (client, future) in &mut asked {
                if let Some(Some(permit)) = poll(future) {
                    served.push(*client);
                    *future = Box::pin(std::future::pending());
                    drop(permit);
                }
            }
            if served.len() == before {
                break;
            }
        }
        // Four small ones of the second weigh as much as one of the first.
        let first: Vec<_> = served.iter().take(5).collect();
        assert_eq!(first.iter().filter(|client| ***client == 2).count(), 4, "{served:?}");
        assert_eq!(served.len(), 7);
    }

    #[test]
    fn whoever_gives_up_leaves_its_place_and_its_grant_to_others() {
        let turns = Turns::new(1, 1, Most::ANY);
        let held = all_of(&turns, 1);
        let (gone, granted, last) = (ask(&turns, 1, 1), ask(&turns, 2, 1), ask(&turns, 3, 1));
        drop(gone);
        drop(held);
        // It is granted and does not look.
        drop(granted);
        let mut last = last;
        assert!(poll(&mut last).flatten().is_some());
        drop(last);
        assert!(!turns.is_taken());
        assert!(turns.shared.state().lanes.is_empty() && turns.shared.state().round.is_empty());
    }

    #[test]
    fn nobody_overtakes_one_that_asks_for_more_than_is_free() {
        let turns = Turns::new(3, 1, Most::ANY);
        let (first, second) = (all_of(&turns, 2), all_of(&turns, 1));
        let mut large = ask(&turns, 1, 3);
        drop(second);
        let mut small = ask(&turns, 2, 1);
        drop(first);
        let held = poll(&mut large).flatten().expect("its turn");
        assert!(poll(&mut small).is_none());
        drop(held);
        assert!(poll(&mut small).flatten().is_some());
    }

    #[test]
    fn more_than_may_wait_are_told_at_once() {
        let turns = Turns::new(1, 1, Most { of_one: 2, of_all: 3 });
        let held = all_of(&turns, 1);
        let _waiting = [ask(&turns, 1, 1), ask(&turns, 1, 1)];
        let told = |client| {
            let ask = Ask { units: 1, cost: 1 };
            let mut future: Acquire<'_> = Box::pin(turns.acquire(Client(client), ask));
            matches!(poll(&mut future), Some(None))
        };
        assert!(told(1), "a third of one client");
        let _third = ask(&turns, 2, 1);
        assert!(told(3), "a fourth of all");
        drop(held);
    }

    #[test]
    fn what_is_larger_than_all_gets_all() {
        let turns = Turns::new(2, 1, Most::ANY);
        let all = all_of(&turns, 5);
        assert!(turns.is_taken());
        drop(all);
        assert!(!turns.is_taken());
    }
}

//! How calls between two services look in time: how far their clocks are apart, and how long the
//! way there and back takes. Learned from calls whose answer names them as its parent.
//!
//! A call takes as long as its answer and the way, whatever the clocks say, and how far the answer
//! lies off the call's middle is the same for all calls while the clocks are. So of two calls that
//! hold an answer, what is learned here says which one fits.

use super::ages::Ages;
use super::facts::Facts;
use super::learning::Probe;
use super::node::Node;
use crate::limits;
use foldhash::fast::RandomState;
use std::f64::consts::TAU;
use std::hash::BuildHasher;

/// Samples from which on what was learned counts fully, and of how many the means are.
const ENOUGH: f64 = 8.0;
const MEMORY: f64 = 200.0;

/// Guesses from which on they tell how good they are, how good they must be, and how many are
/// remembered.
const GUESSES: f64 = 20.0;
const GOOD: f64 = 0.97;
const GUESSES_MAX: f64 = 500.0;

/// What is said of a caller where guesses are bad: no more than that it is suspected.
const DOUBTFUL: f64 = 0.85;

/// The share of calls that are unlike all that was learned.
const UNLIKE: f64 = 0.02;

/// Milliseconds by which clocks may be apart of which nothing is known: most agree, some do not.
const OFFSETS: [f64; 2] = [5.0, 150.0];

/// The median of ways of which nothing is known, in milliseconds, and its logarithm's deviation.
const WAY: (f64, f64) = (5.0, 1.5);

/// An answer seen from a call, in milliseconds: how much longer the call took, and how far the
/// answer's middle lies behind its own.
#[derive(Clone, Copy, Debug)]
pub struct Fit {
    pub way: f64,
    pub offset: f64,
}

impl Fit {
    pub fn of(call: &Node, start: u64, end: u64) -> Fit {
        let ms = |from: u64, to: u64| (to as f64 - from as f64) / 1e6;
        let (there, back) = (ms(call.start, start), ms(end, call.end));
        Fit { way: there + back, offset: (there - back) / 2.0 }
    }
}

/// What was learned of a pair of services.
#[derive(Clone, Copy, Default)]
pub struct Pair {
    count: f64,
    offset: Mean,
    /// Of the logarithm.
    way: Mean,
    /// Guesses that were right, and that were wrong.
    right: f64,
    wrong: f64,
}

/// A mean of the latest, and the mean of the squares of what is off it.
#[derive(Clone, Copy, Default)]
struct Mean {
    is: f64,
    square: f64,
}

impl Mean {
    fn add(&mut self, value: f64, share: f64) {
        let off = value - self.is;
        self.is += share * off;
        self.square += share * ((1.0 - share) * off * off - self.square);
    }
}

impl Pair {
    fn add(&mut self, fit: Fit) {
        self.count = (self.count + 1.0).min(MEMORY);
        let share = 1.0 / self.count;
        self.offset.add(fit.offset, share);
        self.way.add(logarithm(fit.way), share);
    }

    /// Whether anything was learned.
    pub fn is_known(&self) -> bool {
        self.count >= ENOUGH
    }

    /// Milliseconds by which the callee's clock is ahead, and how sure that is.
    pub fn offset(&self) -> (f64, f64) {
        if self.is_known() {
            (self.offset.is, self.offset.square.sqrt().max(1.0))
        } else {
            (0.0, OFFSETS[1])
        }
    }

    /// Counts a guess.
    fn probed(&mut self, probe: Probe) {
        match probe {
            Probe::Right => self.right += 1.0,
            Probe::Wrong => self.wrong += 1.0,
            Probe::Abstained => {}
        }
        if self.right + self.wrong > GUESSES_MAX {
            (self.right, self.wrong) = (self.right / 2.0, self.wrong / 2.0);
        }
    }

    /// How much a guess may be trusted at most, by how good those were whose answer was known.
    pub fn trust(&self) -> f64 {
        let all = self.right + self.wrong;
        let share = self.right / all.max(1.0);
        let bad = all >= GUESSES && share < GOOD;
        if bad { share.min(DOUBTFUL) } else { 1.0 }
    }

    /// How likely a fit is, per square millisecond.
    pub fn density(&self, fit: Fit) -> f64 {
        let any = OFFSETS.map(|sd| normal(fit.offset, sd)).iter().sum::<f64>() / 2.0
            * ways(fit.way, WAY.0.ln(), WAY.1);
        // The fewer samples, the less is known of how far they scatter.
        let scatter = 1.0 + 4.0 / self.count.max(1.0);
        let offset = (self.offset.square.sqrt() + 0.5) * scatter;
        let way = (self.way.square.sqrt() + 0.1) * scatter;
        let learned = normal(fit.offset - self.offset.is, offset) * ways(fit.way, self.way.is, way);
        let known = (self.count / ENOUGH).min(1.0) * (1.0 - UNLIKE);
        known * learned + (1.0 - known) * any
    }
}

/// Ways of no time, as coarse clocks have them, count as half a millisecond.
fn logarithm(way: f64) -> f64 {
    way.max(0.5).ln()
}

fn normal(off: f64, sd: f64) -> f64 {
    (-0.5 * (off / sd).powi(2)).exp() / (sd * TAU.sqrt())
}

/// The density of a way whose logarithm has this mean and deviation.
fn ways(way: f64, mean: f64, sd: f64) -> f64 {
    if way < -1.0 { 0.0 } else { normal(logarithm(way) - mean, sd) / way.max(0.5) }
}

/// What was learned, by pairs of services.
pub struct Delays {
    pairs: Ages<Pair>,
    hasher: RandomState,
}

impl Delays {
    pub fn new(hasher: RandomState) -> Delays {
        Delays { pairs: Ages::new(limits::ORPHAN_OPERATIONS), hasher }
    }

    /// Learns from a call and its answer.
    pub fn learn(&mut self, call: &Node, answer: &Facts) {
        let fit = Fit::of(call, answer.start, answer.end);
        let key = self.hasher.hash_one((call.service, answer.service));
        self.pairs.update(key, |pair| pair.add(fit));
    }

    /// Notes how a guess of this call ended.
    pub fn probed(&mut self, call: &Node, answer: &Facts, probe: Probe) {
        let key = self.hasher.hash_one((call.service, answer.service));
        self.pairs.update(key, |pair| pair.probed(probe));
    }

    /// What is known of calls from one service to another.
    pub fn of(&self, caller: u64, callee: u64) -> Pair {
        let key = self.hasher.hash_one((caller, callee));
        self.pairs.get(key).copied().unwrap_or_default()
    }
}

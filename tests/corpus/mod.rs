//! The corpus of torn agent traces: a generator of intact ones, breakers that know the truth, and
//! what the daemon's own processors make of them.

pub mod baselines;
pub mod breakers;
pub mod decoys;
pub mod dialects;
pub mod generator;
pub mod pipeline;
pub mod random;
pub mod score;
pub mod shapes;
pub mod show;
pub mod span;

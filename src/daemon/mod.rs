//! The running daemon: one closed set of events, one loop that handles them.

mod events;
mod log;
mod run;

pub use log::start as start_log;
pub use run::run;

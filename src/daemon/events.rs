//! Everything that can happen to a running daemon.

use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What happened.
pub enum Event {
    /// Asked to end: Ctrl-C or SIGTERM, by name.
    Stop(&'static str),
    /// Asked to read the configuration again.
    Reload,
    /// Time to look whether all tasks are alive.
    Tick,
}

/// Waits for events.
pub struct Events {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    tick: tokio::time::Interval,
}

/// How often tasks are looked at. A dead pipeline refuses clients meanwhile, so nothing is lost.
const TICK: Duration = Duration::from_secs(1);

impl Events {
    pub fn new() -> std::io::Result<Events> {
        Ok(Events {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            tick: tokio::time::interval(TICK),
        })
    }

    pub async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.interrupt.recv() => Event::Stop("interrupt"),
            _ = self.terminate.recv() => Event::Stop("SIGTERM"),
            _ = self.hangup.recv() => Event::Reload,
            _ = self.tick.tick() => Event::Tick,
        }
    }

    /// Waits for a request to end, past all other events.
    pub async fn stop(&mut self) {
        while !matches!(self.next().await, Event::Stop(_)) {}
    }
}

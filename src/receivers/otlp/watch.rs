//! A connection's silence and its noise: whether it waits for a request, sends the head of one, or
//! is served, and whether it sends what is no request in floods.
//!
//! hyper bounds the time for a head by the same timer as the silence between two requests, so
//! one cannot be short without cutting off clients that export once a minute. Hence this.

use crate::limits;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// What a connection does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing since the last request.
    #[default]
    Idle,
    /// Bytes came since the last request, and no request yet.
    Head,
    /// A request is under way.
    Busy,
}

/// Shared by a connection's socket, its service and its timer.
#[derive(Default)]
pub(super) struct Watch {
    active: AtomicUsize,
    begun: AtomicUsize,
    heard: AtomicBool,
    /// The head that came last names its body's length in two ways.
    two_lengths: AtomicBool,
    /// HTTP/2 frames of control beyond those that requests and time account for.
    control: AtomicUsize,
    flooded: AtomicBool,
}

/// A request under way, until dropped.
pub(super) struct Serving(Arc<Watch>);

impl Watch {
    pub(super) fn serve(self: &Arc<Watch>) -> Serving {
        self.active.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        Serving(self.clone())
    }

    /// Whether the request that begins now names its body's length in two ways.
    pub(super) fn take_two_lengths(&self) -> bool {
        self.two_lengths.swap(false, Ordering::Relaxed)
    }

    pub(super) fn set_two_lengths(&self, two_lengths: bool) {
        self.two_lengths.store(two_lengths, Ordering::Relaxed);
    }

    /// Bytes came.
    pub(super) fn hear(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    /// Whether no request is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.active.load(Ordering::Relaxed) == 0
    }

    /// An HTTP/2 frame of control came.
    pub(super) fn control(&self) {
        if self.control.fetch_add(1, Ordering::Relaxed) >= limits::HTTP2_CONTROL_FRAMES {
            self.flooded.store(true, Ordering::Relaxed);
        }
    }

    /// The head of an HTTP/2 request came, which accounts for some frames of control.
    pub(super) fn headers(&self) {
        self.account_for(limits::HTTP2_CONTROL_PER_REQUEST);
    }

    /// Time went by, which accounts for some as well.
    pub(super) fn forgive(&self, time: Duration) {
        let frames = time.as_secs_f64() * limits::HTTP2_CONTROL_RATE as f64;
        self.account_for(frames.ceil() as usize);
    }

    fn account_for(&self, frames: usize) {
        let fewer = |control: usize| Some(control.saturating_sub(frames));
        let _ = self.control.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
    }

    /// Whether there were too many frames of control.
    pub(super) fn is_flooded(&self) -> bool {
        self.flooded.load(Ordering::Relaxed)
    }

    /// The phase, and the number of requests so far.
    fn look(&self) -> (Phase, usize) {
        let phase = match self.active.load(Ordering::Relaxed) {
            0 if self.heard.load(Ordering::Relaxed) => Phase::Head,
            0 => Phase::Idle,
            _ => Phase::Busy,
        };
        (phase, self.begun.load(Ordering::Relaxed))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.heard.store(false, Ordering::Relaxed);
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long a connection has been in its phase, in steps of a timer.
#[derive(Default)]
pub(super) struct Silence {
    last: (Phase, usize),
    time: Duration,
}

impl Silence {
    /// To be called every `step`: the phase and the time in it.
    pub(super) fn after(&mut self, step: Duration, watch: &Watch) -> (Phase, Duration) {
        let now = watch.look();
        self.time = if now == self.last { self.time + step } else { Duration::ZERO };
        self.last = now;
        (now.0, self.time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_lasts_until_something_happens() {
        let (watch, step) = (Arc::<Watch>::default(), Duration::from_secs(1));
        let mut silence = Silence::default();
        let mut next = || {
            let (phase, time) = silence.after(step, &watch);
            (phase, time.as_secs())
        };
        assert_eq!([next(), next()], [(Phase::Idle, 1), (Phase::Idle, 2)]);
        watch.hear();
        assert_eq!([next(), next()], [(Phase::Head, 0), (Phase::Head, 1)]);
        let serving = watch.serve();
        assert_eq!([next(), next()], [(Phase::Busy, 0), (Phase::Busy, 1)]);
        drop(serving);
        assert_eq!([next(), next()], [(Phase::Idle, 0), (Phase::Idle, 1)]);
        // A request that comes and goes between two looks is seen all the same.
        drop(watch.serve());
        assert_eq!(next(), (Phase::Idle, 0));
    }
}

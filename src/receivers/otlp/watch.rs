//! A connection's silence: whether it waits for a request, sends the head of one, or is served.
//!
//! hyper bounds the time for a head by the same timer as the silence between two requests, so
//! one cannot be short without cutting off clients that export once a minute. Hence this.

use super::head::Head;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;

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

/// A socket that tells its watch when bytes arrive.
pub(super) struct Socket {
    pub(super) stream: TokioIo<TcpStream>,
    pub(super) watch: Arc<Watch>,
    /// Of HTTP/1: the head that is on its way.
    pub(super) head: Option<Head>,
}

/// Bytes that are read at once while a head is looked at; they are copied once more.
const HEAD_PIECE: usize = 4 << 10;

impl Socket {
    /// Reads while no request is under way, and looks at what comes.
    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut space = [0; HEAD_PIECE];
        let room = space.get_mut(..buffer.remaining().min(HEAD_PIECE)).unwrap_or_default();
        let mut piece = ReadBuf::new(room);
        let polled = Pin::new(&mut self.stream).poll_read(context, piece.unfilled());
        if let (Poll::Ready(Ok(())), Some(head)) = (&polled, &mut self.head) {
            if let Some(two_lengths) = head.hear(piece.filled()) {
                self.watch.two_lengths.store(two_lengths, Ordering::Relaxed);
            }
            buffer.put_slice(piece.filled());
        }
        polled
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let idle = self.watch.active.load(Ordering::Relaxed) == 0;
        let polled = match self.head {
            Some(_) if idle => self.poll_head(context, buffer),
            _ => Pin::new(&mut self.stream).poll_read(context, buffer),
        };
        if polled.is_ready() {
            self.watch.heard.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl Write for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
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
        watch.heard.store(true, Ordering::Relaxed);
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

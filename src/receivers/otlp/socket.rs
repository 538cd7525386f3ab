//! A connection's socket, which looks at what passes and tells the connection's watch.

use super::frames::{Frames, LAST_WORDS};
use super::head::Head;
use super::stream::Stream;
use super::watch::Watch;
use crate::transport::cork::Cork;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A socket with somebody who looks on.
pub(super) struct Socket {
    pub(super) stream: Stream,
    watch: Arc<Watch>,
    look: Look,
    /// Of HTTP/2, where the answers of several requests come from as many tasks.
    cork: Option<Cork>,
}

/// What is looked for in the bytes that come.
enum Look {
    /// HTTP/1: the head that is on its way.
    Head(Head),
    /// HTTP/2: the frames.
    Frames(Frames),
    /// HTTP/2 that flooded us: what is still to be read in place of the flood.
    Last(&'static [u8]),
}

impl Socket {
    pub(super) fn new(stream: Stream, watch: Arc<Watch>, http2: bool) -> Socket {
        let look = match http2 {
            true => Look::Frames(Frames::default()),
            false => Look::Head(Head::default()),
        };
        let cork = http2.then(Cork::default);
        Socket { stream, watch, look, cork }
    }

    /// Does `write`, which is of `bytes`, when it is time to.
    fn write<T>(
        &mut self,
        context: &mut Context<'_>,
        bytes: usize,
        write: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let stream = Pin::new(&mut self.stream);
        match &mut self.cork {
            Some(cork) => cork.poll(context, bytes, |context| write(stream, context)),
            None => write(stream, context),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Socket { stream, watch, look, .. } = &mut *self;
        if let Look::Last(words) = look {
            let (now, later) = words.split_at(words.len().min(buffer.remaining()));
            buffer.put_slice(now);
            *words = later;
            return Poll::Ready(Ok(()));
        }
        let (idle, before) = (watch.is_idle(), buffer.filled().len());
        ready!(Pin::new(stream).poll_read(context, buffer))?;
        let new = buffer.filled().get(before..).unwrap_or_default();
        match look {
            Look::Head(head) if idle => {
                if let Some(two_lengths) = head.hear(new) {
                    watch.set_two_lengths(two_lengths);
                }
            }
            Look::Frames(frames) => {
                if let Some(end) = frames.hear(new, watch) {
                    buffer.set_filled(before + end);
                    *look = Look::Last(&LAST_WORDS);
                }
            }
            Look::Head(_) | Look::Last(_) => {}
        }
        self.watch.hear();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(context, bytes.len(), |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// After a flood, what is left of it is read and forgotten: a socket that is closed with
    /// bytes unread resets the connection, and the client would not get to read why.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        while matches!(self.look, Look::Last(_)) {
            let mut space = [0; 4 << 10];
            let mut unread = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut unread))?;
            if unread.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        self.write(context, bytes, |stream, context| stream.poll_write_vectored(context, slices))
    }
}

//! Reading a request's body: in bounds of size, time and memory, with as few copies as possible.
//!
//! A body that arrives in one piece is used as it is. One of several pieces is copied once, into
//! a buffer of the size that was announced. Room for bytes is asked for as they arrive, in steps
//! that double: a client that announces much and sends nothing holds next to nothing.
//!
//! With a limit on memory every body is copied as it comes, into a buffer that counts before it is
//! there: a piece is a slice of its connection's buffer and would keep all of that.

use super::keys::Settings;
use crate::batch::Signal;
use crate::intake::{Intake, Room};
use crate::limits;
use crate::turns::Client;
use crate::verdict::{Refusal, Verdict};
use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use std::error::Error;
use std::pin::pin;
use tokio::time::{sleep, timeout};

/// The first room that is asked for.
const STEP: usize = 64 << 10;

/// What a reader needs to know.
pub(super) struct Reader<'a> {
    pub(super) settings: &'a Settings,
    pub(super) intake: &'a Intake,
    pub(super) signal: Signal,
    /// Whose request it is.
    pub(super) client: Client,
    pub(super) room: Room,
    granted: usize,
    begun: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        settings: &'a Settings,
        intake: &'a Intake,
        signal: Signal,
        client: Client,
    ) -> Reader<'a> {
        let (room, granted, begun) = (Room::default(), 0, false);
        Reader { settings, intake, signal, client, room, granted, begun }
    }

    /// Waits for room for a request that announces `bytes`, once.
    pub(super) async fn begin(&mut self, bytes: usize) -> Result<(), Verdict> {
        if !self.begun {
            self.intake.begin(self.client, self.signal, &mut self.room, bytes).await?;
            self.begun = true;
        }
        Ok(())
    }

    /// Sees to it that there is room for `bytes` in all.
    pub(super) async fn room_for(&mut self, bytes: usize) -> Result<(), Verdict> {
        self.intake.count(self.signal, &mut self.room, bytes)?;
        if bytes > self.granted {
            let more = bytes.max(self.granted * 2).max(STEP) - self.granted;
            self.intake.admit(self.client, &mut self.room, more).await?;
            self.granted += more;
        }
        Ok(())
    }

    /// Reads `body` to its end. `whole` is asked with each piece how long the body is going to be,
    /// given its beginning and the number of bytes so far; it may know, and it may refuse.
    pub(super) async fn read<B, F>(&mut self, body: &mut B, whole: F) -> Result<Bytes, Verdict>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Error,
        F: Fn(&[u8], usize) -> Result<Option<usize>, Verdict>,
    {
        let limited = self.intake.is_limited(self.signal);
        let mut pieces = Pieces { copied: limited, ..Pieces::default() };
        let mut whole_time = pin!(sleep(self.settings.body_time));
        while !body.is_end_stream() {
            let frame = tokio::select! {
                // What is there needs no timer.
                biased;
                frame = timeout(self.settings.body_idle, body.frame()) => frame,
                () = &mut whole_time => return Err(slow("the request's body")),
            };
            let Some(frame) = frame.map_err(|_| slow("the next part of the body"))? else { break };
            let Ok(piece) = frame.map_err(broken)?.into_data() else { continue };
            let received = pieces.len() + piece.len();
            let beginning = if pieces.len() == 0 { &piece[..] } else { pieces.bytes() };
            let announced = whole(beginning, received)?;
            if announced.is_some_and(|announced| received > announced) {
                return Err(too_long());
            }
            if pieces.len() == 0 {
                self.begin(announced.unwrap_or(received)).await?;
            }
            let space = space(limited, received, announced);
            self.room_for(if limited { space } else { received }).await?;
            pieces.push(piece, space);
        }
        Ok(pieces.finish())
    }
}

/// Bytes of the buffer for a body of which `received` have come. All that is announced, so that it
/// is copied once. With a limit on memory the buffer counts: it is what is announced as well, so
/// that few bodies are refused half read, but not more than a share of it is believed, or
/// announcing would be a cheap way to keep others out.
fn space(limited: bool, received: usize, announced: Option<usize>) -> usize {
    let most = match limited {
        true => received.saturating_mul(limits::BELIEVED_SHARE),
        false => limits::INFLIGHT_BYTES,
    };
    announced.unwrap_or(received.saturating_mul(2)).min(most).max(received)
}

fn too_long() -> Verdict {
    Verdict::refused(Refusal::Framing, "the body goes on behind its announced end")
}

fn slow(what: &str) -> Verdict {
    Verdict::refused(Refusal::Slow, format!("{what} did not arrive in time"))
}

fn broken(error: impl Error) -> Verdict {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    Verdict::refused(Refusal::Framing, format!("the body could not be read: {error}{cause}"))
}

/// The body so far: one piece as received, or several joined.
#[derive(Default)]
struct Pieces {
    /// Whether even a single piece is copied.
    copied: bool,
    first: Bytes,
    joined: Vec<u8>,
}

impl Pieces {
    fn len(&self) -> usize {
        self.bytes().len()
    }

    fn bytes(&self) -> &[u8] {
        if self.joined.is_empty() { &self.first } else { &self.joined }
    }

    /// Takes the next piece, into a buffer of `space` bytes if it is copied. gRPC clients end a
    /// body with an empty one, which is no reason to copy.
    fn push(&mut self, piece: Bytes, space: usize) {
        if piece.is_empty() {
            return;
        }
        if self.len() == 0 && !self.copied {
            self.first = piece;
            return;
        }
        let first = std::mem::take(&mut self.first);
        let length = self.joined.len() + first.len() + piece.len();
        if self.joined.capacity() < length {
            self.joined.reserve_exact(space.max(length) - self.joined.len());
        }
        self.joined.extend_from_slice(&first);
        self.joined.extend_from_slice(&piece);
    }

    fn finish(mut self) -> Bytes {
        if self.joined.is_empty() {
            return self.first;
        }
        self.joined.shrink_to_fit();
        Bytes::from(self.joined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Account;
    use crate::config::Endpoint;
    use crate::receivers::otlp::keys::Protocol;
    use http_body::Frame;
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// A body whose pieces are all there.
    struct There(VecDeque<Bytes>);

    impl Body for There {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
        }
    }

    fn read(pieces: &[Bytes], announced: Option<usize>) -> Result<Bytes, Verdict> {
        let settings = Settings::new(Protocol::Http, Endpoint::parse("localhost:0").unwrap());
        let intake = Intake::new(1 << 20, Account::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut body = There(pieces.iter().cloned().collect());
            let mut reader = Reader::new(&settings, &intake, Signal::Traces, Client::default());
            reader.read(&mut body, |_, _| Ok(announced)).await
        })
    }

    #[test]
    fn a_body_in_one_piece_is_not_copied() {
        let piece = Bytes::from(vec![7; 1000]);
        for pieces in [vec![piece.clone()], vec![piece.clone(), Bytes::new()]] {
            let body = read(&pieces, Some(1000)).unwrap();
            assert_eq!(body.as_ptr(), piece.as_ptr());
        }
    }

    #[test]
    fn with_a_limit_the_buffer_is_what_is_announced_and_believed() {
        for (received, announced, limited, unlimited) in [
            (100, Some(700), 700, 700),
            (100, Some(10_000), 1600, 10_000),
            (100, Some(100), 100, 100),
            (100, None, 200, 200),
            (0, Some(10_000), 0, 10_000),
        ] {
            assert_eq!(space(true, received, announced), limited, "{received} {announced:?}");
            assert_eq!(space(false, received, announced), unlimited, "{received} {announced:?}");
        }
    }

    #[test]
    fn several_pieces_are_joined_and_empty_ones_do_not_matter() {
        let pieces = [&b""[..], b"one ", b"", b"two ", b"three", b""].map(Bytes::from_static);
        for announced in [None, Some(13), Some(1000)] {
            assert_eq!(read(&pieces, announced).unwrap(), "one two three");
        }
        assert_eq!(read(&[], None).unwrap(), "");
    }

    #[test]
    fn a_body_behind_its_announced_end_is_refused() {
        let pieces = [Bytes::from_static(b"abc"), Bytes::from_static(b"d")];
        assert_eq!(read(&pieces, Some(3)), Err(too_long()));
        assert_eq!(read(&pieces, Some(2)), Err(too_long()));
    }
}

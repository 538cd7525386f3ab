//! Reading a request's body: in bounds of size, time and memory, with as few copies as possible.
//!
//! A body that arrives in one piece is used as it is. One of several pieces is copied once, into
//! a buffer of the size that was announced. Room for bytes is asked for as they arrive, in steps
//! that double: a client that announces much and sends nothing holds next to nothing.

use super::keys::Settings;
use crate::intake::{Intake, Room};
use crate::limits;
use crate::verdict::{Refusal, Verdict};
use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use std::error::Error;
use std::future::Future;
use tokio::time::timeout;

/// The first room that is asked for.
const STEP: usize = 64 << 10;

/// What a reader needs to know.
pub(super) struct Reader<'a> {
    pub(super) settings: &'a Settings,
    pub(super) intake: &'a Intake,
    pub(super) room: Room,
    granted: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(settings: &'a Settings, intake: &'a Intake) -> Reader<'a> {
        Reader { settings, intake, room: Room::default(), granted: 0 }
    }

    /// Sees to it that there is room for `bytes` in all.
    pub(super) async fn room_for(&mut self, bytes: usize) -> Result<(), Verdict> {
        if bytes > self.granted {
            let more = bytes.max(self.granted * 2).max(STEP) - self.granted;
            self.intake.admit(&mut self.room, more).await?;
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
        let most = self.settings.body_time;
        let reading = self.read_pieces(body, whole);
        timeout(most, reading).await.unwrap_or_else(|_| Err(slow("the request's body")))
    }

    async fn read_pieces<B, F>(&mut self, body: &mut B, whole: F) -> Result<Bytes, Verdict>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Error,
        F: Fn(&[u8], usize) -> Result<Option<usize>, Verdict>,
    {
        let mut pieces = Pieces::default();
        while !body.is_end_stream() {
            let frame = idle(self.settings, body.frame()).await?;
            let Some(frame) = frame else { break };
            let Ok(piece) = frame.map_err(broken)?.into_data() else { continue };
            let received = pieces.len() + piece.len();
            let beginning = if pieces.len() == 0 { &piece[..] } else { pieces.bytes() };
            let announced = whole(beginning, received)?;
            if announced.is_some_and(|announced| received > announced) {
                return Err(too_long());
            }
            self.room_for(received).await?;
            pieces.push(piece, announced.unwrap_or(0));
        }
        Ok(pieces.finish())
    }
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

async fn idle<T>(settings: &Settings, next: impl Future<Output = T>) -> Result<T, Verdict> {
    timeout(settings.body_idle, next).await.map_err(|_| slow("the next part of the body"))
}

/// The body so far: one piece as received, or several joined.
#[derive(Default)]
struct Pieces {
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

    fn push(&mut self, piece: Bytes, announced: usize) {
        if self.len() == 0 {
            self.first = piece;
            return;
        }
        if self.joined.is_empty() {
            let size = announced.min(limits::INFLIGHT_BYTES);
            self.joined.reserve_exact(size.max(self.first.len() + piece.len()));
            self.joined.extend_from_slice(&self.first);
            self.first = Bytes::new();
        }
        self.joined.extend_from_slice(&piece);
    }

    fn finish(self) -> Bytes {
        if self.joined.is_empty() { self.first } else { Bytes::from(self.joined) }
    }
}

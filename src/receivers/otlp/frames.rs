//! The frames that a client of HTTP/2 sends, counted as they pass, to notice a flood.
//!
//! A frame of control (PING, SETTINGS, PRIORITY, WINDOW_UPDATE and what nobody knows) costs a few
//! bytes to send, and work and perhaps an answer here. h2 bounds resets, continuations and small
//! pieces of data, and answers these for as long as they come. A client has a few of them in
//! every request's wake and a ping every few seconds, so more than that is a flood.

use super::opening::PREFACE as PREFACE_BYTES;
use super::watch::Watch;

/// Bytes of what every HTTP/2 client sends first.
const PREFACE: usize = PREFACE_BYTES.len();

/// Bytes of a frame's head: length (3), type, flags, stream (4).
const HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// What is handed to h2 in place of a flood, for it to say GOAWAY with ENHANCE_YOUR_CALM, which
/// no call of its or hyper's does: a header block of more parts than it takes.
pub(super) const LAST_WORDS: [u8; PARTS * HEAD] = last_words();

/// h2 takes five parts where the largest frame is larger than all headers may be.
const PARTS: usize = 16;

const fn last_words() -> [u8; PARTS * HEAD] {
    let mut out = [0; PARTS * HEAD];
    let (parts, _) = out.as_chunks_mut::<HEAD>();
    let (mut rest, mut kind) = (parts, HEADERS);
    while let [part, others @ ..] = rest {
        // Empty, without flags, on stream 1.
        *part = [0, 0, 0, kind, 0, 0, 0, 0, 1];
        (rest, kind) = (others, CONTINUATION);
    }
    out
}

/// Where one frame ends and the next begins.
pub(super) struct Frames {
    /// The head of the present frame, and how much of it has come.
    head: [u8; HEAD],
    heard: usize,
    /// Bytes of the present frame behind its head that are still to come.
    left: usize,
}

impl Default for Frames {
    fn default() -> Frames {
        Frames { head: [0; HEAD], heard: 0, left: PREFACE }
    }
}

impl Frames {
    /// Takes the next bytes of the connection and counts the frames in them. `Some` at a flood:
    /// the number of these bytes up to the end of a frame.
    pub(super) fn hear(&mut self, bytes: &[u8], watch: &Watch) -> Option<usize> {
        let mut rest = bytes;
        loop {
            let passed = self.left.min(rest.len());
            rest = rest.get(passed..).unwrap_or_default();
            self.left -= passed;
            if self.left > 0 {
                return None;
            }
            if self.heard == HEAD {
                self.heard = 0;
                if watch.is_flooded() {
                    return Some(bytes.len() - rest.len());
                }
            }
            for (to, from) in self.head.iter_mut().skip(self.heard).zip(rest) {
                *to = *from;
            }
            let more = (HEAD - self.heard).min(rest.len());
            rest = rest.get(more..).unwrap_or_default();
            self.heard += more;
            if self.heard < HEAD {
                return None;
            }
            let [a, b, c, kind, ..] = self.head;
            self.left = u32::from_be_bytes([0, a, b, c]) as usize;
            match kind {
                DATA | CONTINUATION => {}
                HEADERS => watch.headers(),
                _ => watch.control(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use std::time::Duration;

    const PING: u8 = 6;
    const ORIGIN: u8 = 12;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&len[1..], &[kind, 0, 0, 0, 0, 1], payload].concat()
    }

    /// Where a connection that begins with `bytes`, cut into pieces of `step`, is a flood.
    fn flood_at(bytes: &[u8], step: usize) -> Option<usize> {
        let (mut frames, watch) = (Frames::default(), Watch::default());
        let mut pieces = bytes.chunks(step).enumerate();
        pieces.find_map(|(k, piece)| Some(k * step + frames.hear(piece, &watch)?))
    }

    #[test]
    fn a_flood_is_noticed_behind_the_frame_that_is_too_much() {
        for (kind, payload) in [(PING, &[7; 8][..]), (ORIGIN, &[]), (ORIGIN, &[0; 300])] {
            let frame = frame(kind, payload);
            let bytes = frame.repeat(limits::HTTP2_CONTROL_FRAMES + 10);
            let bytes = [PREFACE_BYTES, &bytes].concat();
            let expected = PREFACE + (limits::HTTP2_CONTROL_FRAMES + 1) * frame.len();
            for step in [1, 7, 1000, bytes.len()] {
                assert_eq!(flood_at(&bytes, step), Some(expected), "{kind} by {step}");
            }
        }
    }

    #[test]
    fn requests_with_a_few_frames_of_control_each_are_no_flood() {
        let request = [frame(HEADERS, b"head"), frame(DATA, &[6; 5000]), frame(DATA, &[])];
        let request = [request.concat(), frame(PING, &[7; 8]).repeat(8)].concat();
        let bytes = [PREFACE_BYTES, &request.repeat(20_000)].concat();
        assert_eq!(flood_at(&bytes, 8192), None);
    }

    #[test]
    fn what_is_sent_over_days_is_no_flood() {
        let (mut frames, watch) = (Frames::default(), Watch::default());
        assert_eq!(frames.hear(PREFACE_BYTES, &watch), None);
        for _second in 0..86_400 {
            let pings = frame(PING, &[7; 8]).repeat(limits::HTTP2_CONTROL_RATE);
            assert_eq!(frames.hear(&pings, &watch), None);
            watch.forgive(Duration::from_secs(1));
        }
    }
}

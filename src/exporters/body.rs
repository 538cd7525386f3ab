//! The body of a request: the batches as they are, one frame each, without a copy.

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Segments below this size are copied together: a frame of its own costs more than the copy.
const SMALL: usize = 4 << 10;

/// Size at which copied segments become a frame: that of an HTTP/2 frame by default.
const FRAME: usize = 16 << 10;

/// Known bytes in a few frames.
#[derive(Default)]
pub struct Body {
    frames: VecDeque<Bytes>,
    left: usize,
}

impl Body {
    /// `prefix` and `segments`, end to end.
    pub fn new(prefix: &[u8], segments: Vec<Bytes>) -> Body {
        let mut body = Body::default();
        let mut small = BytesMut::from(prefix);
        for segment in segments {
            if segment.len() < SMALL {
                small.extend_from_slice(&segment);
            }
            if segment.len() >= SMALL || small.len() >= FRAME {
                body.push(small.split().freeze());
            }
            if segment.len() >= SMALL {
                body.push(segment);
            }
        }
        body.push(small.freeze());
        body
    }

    fn push(&mut self, frame: Bytes) {
        if !frame.is_empty() {
            self.left += frame.len();
            self.frames.push_back(frame);
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = self.frames.pop_front();
        self.left -= frame.as_ref().map_or(0, Bytes::len);
        Poll::Ready(frame.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body as _;

    #[test]
    fn large_segments_are_shared_and_small_ones_joined_in_order() {
        let large = Bytes::from(vec![7; SMALL]);
        let small = Bytes::from_static(b"small");
        let segments = vec![small.clone(), large.clone(), small.clone(), small, large.clone()];
        let body = Body::new(b"12345", segments.clone());
        let whole = [&b"12345"[..], &segments.concat()].concat();
        assert_eq!(body.size_hint().exact(), Some(whole.len() as u64));
        assert_eq!(Vec::from(body.frames.clone()).concat(), whole);
        assert_eq!(body.frames.len(), 4);
        assert_eq!(body.frames.get(1).map(|f| f.as_ptr()), Some(large.as_ptr()), "not copied");
    }

    #[test]
    fn many_tiny_segments_are_few_frames() {
        let body = Body::new(&[], vec![Bytes::from_static(&[1; 100]); 1000]);
        assert_eq!(body.size_hint().exact(), Some(100_000));
        assert!(body.frames.len() <= 100_000 / FRAME + 1, "{}", body.frames.len());
    }
}

//! The body of a request: the batches as they are, end to end, without a copy.
//!
//! It is one piece of many segments. An HTTP/2 connection cuts frames as large as the other side
//! takes out of it, and writes each with one call.

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Segments below this size are copied together: one more in a write costs more than the copy.
const SMALL: usize = 4 << 10;

/// Size at which copied segments become one: that of an HTTP/2 frame by default.
const JOINED: usize = 16 << 10;

/// Known bytes.
#[derive(Default)]
pub struct Body {
    /// Until they are asked for.
    segments: Segments,
}

impl Body {
    /// `prefix` and `segments`, end to end.
    pub fn new(prefix: &[u8], segments: Vec<Bytes>) -> Body {
        let mut body = Segments::default();
        let mut small = BytesMut::from(prefix);
        for segment in segments {
            if segment.len() < SMALL {
                small.extend_from_slice(&segment);
            }
            if segment.len() >= SMALL || small.len() >= JOINED {
                body.push(small.split().freeze());
            }
            if segment.len() >= SMALL {
                body.push(segment);
            }
        }
        body.push(small.freeze());
        Body { segments: body }
    }
}

impl http_body::Body for Body {
    type Data = Segments;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Segments>, Infallible>>> {
        let segments = std::mem::take(&mut self.segments);
        Poll::Ready(segments.has_remaining().then(|| Ok(Frame::data(segments))))
    }

    fn is_end_stream(&self) -> bool {
        !self.segments.has_remaining()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.segments.left as u64)
    }
}

/// Bytes in several places, in order. None of them is empty.
#[derive(Default)]
pub struct Segments {
    segments: VecDeque<Bytes>,
    left: usize,
}

impl Segments {
    fn push(&mut self, segment: Bytes) {
        if !segment.is_empty() {
            self.left += segment.len();
            self.segments.push_back(segment);
        }
    }
}

impl Buf for Segments {
    fn remaining(&self) -> usize {
        self.left
    }

    fn chunk(&self) -> &[u8] {
        self.segments.front().map(|segment| &segment[..]).unwrap_or_default()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pairs = slices.iter_mut().zip(&self.segments);
        pairs.map(|(slice, segment)| *slice = IoSlice::new(segment)).count()
    }

    fn advance(&mut self, mut bytes: usize) {
        self.left -= bytes;
        while let Some(segment) = self.segments.front_mut() {
            if bytes < segment.len() {
                return segment.advance(bytes);
            }
            bytes -= segment.len();
            self.segments.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body as _;

    /// The places of `segments`.
    fn places(segments: &Segments) -> Vec<(*const u8, usize)> {
        let mut slices = [IoSlice::new(&[]); 64];
        let count = segments.chunks_vectored(&mut slices);
        slices[..count].iter().map(|slice| (slice.as_ptr(), slice.len())).collect()
    }

    #[test]
    fn large_segments_are_shared_and_small_ones_joined_in_order() {
        let large = Bytes::from(vec![7; SMALL]);
        let small = Bytes::from_static(b"small");
        let segments = vec![small.clone(), large.clone(), small.clone(), small, large.clone()];
        let body = Body::new(b"12345", segments.clone());
        let whole = [&b"12345"[..], &segments.concat()].concat();
        assert_eq!(body.size_hint().exact(), Some(whole.len() as u64));
        let mut segments = body.segments;
        let places = places(&segments);
        assert_eq!(places.iter().map(|place| place.1).collect::<Vec<_>>(), [10, SMALL, 10, SMALL]);
        assert_eq!(places.get(1).map(|place| place.0), Some(large.as_ptr()), "not copied");
        assert_eq!(segments.copy_to_bytes(whole.len()), whole);
    }

    #[test]
    fn many_tiny_segments_are_few() {
        let body = Body::new(&[], vec![Bytes::from_static(&[1; 100]); 1000]);
        assert_eq!(body.size_hint().exact(), Some(100_000));
        let places = places(&body.segments).len();
        assert!(places <= 100_000 / JOINED + 1, "{places}");
    }

    #[test]
    fn all_is_written_whatever_goes_into_one_write() {
        let segments = [1u8, 2, 3].map(|byte| Bytes::from(vec![byte; SMALL]));
        let whole = segments.concat();
        for step in [100, 1000, SMALL, SMALL + 1, 2 * SMALL, whole.len()] {
            let mut left = Body::new(&[], segments.to_vec()).segments;
            let mut written = vec![];
            while left.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 2];
                let count = left.chunks_vectored(&mut slices);
                let there: Vec<&[u8]> = slices[..count].iter().map(|slice| &slice[..]).collect();
                let there = there.concat();
                assert!(there.starts_with(left.chunk()) && left.chunk() != b"");
                let now = step.min(there.len());
                written.extend_from_slice(&there[..now]);
                left.advance(now);
            }
            assert!(written == whole && left.chunk().is_empty(), "{step}");
        }
    }
}

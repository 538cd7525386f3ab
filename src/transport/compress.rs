//! Compression of whole messages: bounded inflating, fast deflating.
//!
//! A compressed body is a promise about memory that its sender makes and we pay for, so inflating
//! stops at a limit and believes no size that the body announces further than that limit. gzip of
//! one member, which is what everyone sends, goes through libdeflater in one call; anything else
//! goes through a streaming decoder.

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::{CompressionLvl, Compressor, Decompressor};
use std::cell::RefCell;
use std::io::{self, Read};

/// The content encodings that are understood, in `Content-Encoding` and in `grpc-encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    Identity,
    Gzip,
    Zstd,
    /// The zlib format, as HTTP defines `deflate`; a raw deflate stream is read too.
    Deflate,
}

/// Why a body could not be inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Inflate {
    /// More than `limit` bytes come out.
    #[error("the request is larger than {limit} bytes after decompression")]
    TooLarge { limit: usize },
    /// The bytes are not in the format that the header names.
    #[error("the body is not valid {encoding}")]
    Broken { encoding: &'static str },
}

impl Encoding {
    /// For `grpc-accept-encoding` and `Accept-Encoding`.
    pub const ACCEPTED: &'static str = "identity, gzip, zstd, deflate";

    /// Reads a header's value. Empty means identity; several codings in a row, and names that are
    /// not known, are `None`.
    pub fn parse(name: &str) -> Option<Encoding> {
        let known = [
            ("", Encoding::Identity),
            ("identity", Encoding::Identity),
            ("none", Encoding::Identity),
            ("gzip", Encoding::Gzip),
            ("x-gzip", Encoding::Gzip),
            ("zstd", Encoding::Zstd),
            ("deflate", Encoding::Deflate),
            ("zlib", Encoding::Deflate),
        ];
        let name = name.trim();
        known.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|found| found.1)
    }

    /// The name in headers.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Identity => "identity",
            Encoding::Gzip => "gzip",
            Encoding::Zstd => "zstd",
            Encoding::Deflate => "deflate",
        }
    }
}

/// Bytes beyond the limit that a streaming decoder may have produced when it is stopped.
const PIECE: usize = 64 << 10;

/// Bytes of output per byte of input that deflate can reach.
const DEFLATE_RATIO: usize = 1032;

/// How hard gzip and zlib try. The fastest level that compresses at all: 0 only wraps.
const LEVEL: i32 = 1;

/// The largest zstd window that is kept, 8 MiB, as RFC 9659 has it for HTTP. Frames that name
/// their size need no window.
const ZSTD_WINDOW_LOG: u32 = 23;

// A (de)compressor of these libraries is tens to hundreds of KiB, more than most requests.
thread_local! {
    static INFLATER: RefCell<Decompressor> = RefCell::new(Decompressor::new());
    static DEFLATER: RefCell<Compressor> =
        RefCell::new(Compressor::new(CompressionLvl::new(LEVEL).unwrap_or_default()));
}

/// Bytes that `body` will probably take inflated, at most `limit`: what it announces where its
/// format announces anything, else a usual ratio. For room to be found beforehand.
pub fn inflated_size(encoding: Encoding, body: &[u8], limit: usize) -> usize {
    let guess = body.len().saturating_mul(8);
    let size = match encoding {
        Encoding::Identity => body.len(),
        Encoding::Gzip => gzip_size(body).unwrap_or(guess),
        Encoding::Zstd => zstd_size(body).unwrap_or(guess),
        Encoding::Deflate => guess,
    };
    size.min(limit)
}

/// The inflated `body`, of at most `limit` bytes. Allocates `limit` + 64 KiB at most, whatever
/// the body announces. An empty body is broken in every encoding but identity.
pub fn inflate(encoding: Encoding, body: &[u8], limit: usize) -> Result<Bytes, Inflate> {
    match encoding {
        Encoding::Identity if body.len() > limit => Err(Inflate::TooLarge { limit }),
        Encoding::Identity => Ok(Bytes::copy_from_slice(body)),
        Encoding::Gzip => match gzip_whole(body, limit) {
            Some(bytes) => Ok(bytes),
            None => drain(MultiGzDecoder::new(body), encoding, limit),
        },
        Encoding::Zstd => zstd(body, limit),
        Encoding::Deflate => match drain(Whole::new(body, true), encoding, limit) {
            Err(Inflate::Broken { .. }) => drain(Whole::new(body, false), encoding, limit),
            answer => answer,
        },
    }
}

/// The size that a gzip trailer announces, if it is one that deflate can reach.
fn gzip_size(body: &[u8]) -> Option<usize> {
    let size = u32::from_le_bytes(*body.last_chunk()?) as usize;
    (size <= body.len().saturating_mul(DEFLATE_RATIO)).then_some(size)
}

/// One gzip member in one call. `None` if it is more than one, lies about its size, is too large
/// or broken: the streaming decoder finds out which.
fn gzip_whole(body: &[u8], limit: usize) -> Option<Bytes> {
    let size = gzip_size(body).filter(|size| *size <= limit)?;
    // libdeflater stops at the end of the first member and ignores what follows. A member ends with
    // its size, so one that ends before the body does has it twice.
    let ends: &[u8; 4] = body.last_chunk()?;
    if memchr::memmem::find(body, ends)? + ends.len() < body.len() {
        return None;
    }
    let mut out = vec![0; size];
    let inflate =
        |inflater: &RefCell<Decompressor>| inflater.borrow_mut().gzip_decompress(body, &mut out);
    let written = INFLATER.with(inflate).ok()?;
    (written == size).then(|| Bytes::from(out))
}

fn zstd_size(body: &[u8]) -> Option<usize> {
    let size = zstd::zstd_safe::get_frame_content_size(body).ok().flatten()?;
    usize::try_from(size).ok()
}

fn zstd(body: &[u8], limit: usize) -> Result<Bytes, Inflate> {
    if let Some(size) = zstd_size(body) {
        if size > limit {
            return Err(Inflate::TooLarge { limit });
        }
        // Fails if several frames follow each other; the streaming decoder reads those.
        if let Ok(out) = zstd::bulk::decompress(body, size) {
            return Ok(Bytes::from(out));
        }
    }
    let broken = Inflate::Broken { encoding: Encoding::Zstd.name() };
    if body.is_empty() {
        return Err(broken);
    }
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(|_| broken)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(|_| broken)?;
    drain(decoder, Encoding::Zstd, limit)
}

/// A zlib or raw deflate stream that must be all of `rest`. flate2's own readers take one that is
/// cut off for one that ended.
struct Whole<'a> {
    rest: &'a [u8],
    inflater: Decompress,
    ended: bool,
}

impl<'a> Whole<'a> {
    fn new(rest: &'a [u8], zlib: bool) -> Whole<'a> {
        Whole { rest, inflater: Decompress::new(zlib), ended: false }
    }
}

impl Read for Whole<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.ended {
            return if self.rest.is_empty() {
                Ok(0)
            } else {
                Err(io::ErrorKind::InvalidData.into())
            };
        }
        let (read, written) = (self.inflater.total_in(), self.inflater.total_out());
        let status = self.inflater.decompress(self.rest, out, FlushDecompress::None)?;
        let read = (self.inflater.total_in() - read) as usize;
        let written = (self.inflater.total_out() - written) as usize;
        self.rest = self.rest.get(read..).unwrap_or_default();
        self.ended = status == Status::StreamEnd;
        match (written, self.ended) {
            (0, true) => self.read(out),
            (0, false) => Err(io::ErrorKind::UnexpectedEof.into()),
            (written, _) => Ok(written),
        }
    }
}

/// Reads `decoder` to its end, or to just behind `limit`.
fn drain(mut decoder: impl Read, encoding: Encoding, limit: usize) -> Result<Bytes, Inflate> {
    let mut out: Vec<u8> = vec![];
    let mut filled = 0;
    loop {
        if filled > limit {
            return Err(Inflate::TooLarge { limit });
        }
        if filled == out.len() {
            let more = filled.clamp(PIECE, limit + PIECE - filled);
            out.reserve_exact(more);
            out.resize(filled + more, 0);
        }
        match decoder.read(out.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(_) => return Err(Inflate::Broken { encoding: encoding.name() }),
        }
    }
    out.truncate(filled);
    out.shrink_to_fit();
    Ok(Bytes::from(out))
}

/// The `segments`, joined end to end and compressed at the fastest level. Identity joins only;
/// a single segment is then shared, not copied.
pub fn deflate(encoding: Encoding, segments: &[Bytes]) -> Bytes {
    let joined = match segments {
        [one] => one.clone(),
        _ => Bytes::from(segments.concat()),
    };
    let with_deflater = |zlib: bool| {
        DEFLATER.with_borrow_mut(|deflater| {
            let bound = match zlib {
                true => deflater.zlib_compress_bound(joined.len()),
                false => deflater.gzip_compress_bound(joined.len()),
            };
            let mut out = vec![0; bound];
            let written = match zlib {
                true => deflater.zlib_compress(&joined, &mut out),
                false => deflater.gzip_compress(&joined, &mut out),
            };
            // Cannot fail: the bound is the library's own.
            out.truncate(written.unwrap_or(0));
            Bytes::from(out)
        })
    };
    match encoding {
        Encoding::Identity => joined,
        Encoding::Gzip => with_deflater(false),
        Encoding::Deflate => with_deflater(true),
        // Fails only for want of memory, which ends the process elsewhere.
        Encoding::Zstd => zstd::bulk::compress(&joined, 1).map(Bytes::from).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::slice::from_ref;

    const ALL: [Encoding; 4] =
        [Encoding::Identity, Encoding::Gzip, Encoding::Zstd, Encoding::Deflate];

    fn text(len: usize) -> Bytes {
        (0..len).map(|k| b"agent tool call span "[k % 21] ^ (k / 999) as u8).collect()
    }

    #[track_caller]
    fn check(encoding: Encoding, body: &[u8], limit: usize, expected: Result<&[u8], Inflate>) {
        assert_eq!(inflate(encoding, body, limit).as_deref(), expected.as_deref());
    }

    fn broken(encoding: Encoding) -> Result<&'static [u8], Inflate> {
        Err(Inflate::Broken { encoding: encoding.name() })
    }

    fn streamed_zstd(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(vec![], 1).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_is_deflated_comes_back_up_to_the_limit_and_not_beyond() {
        for encoding in ALL {
            for len in [1, 100, 70_000, 1 << 20] {
                let segments = [text(len), text(3)];
                let whole = segments.concat();
                let body = deflate(encoding, &segments);
                check(encoding, &body, whole.len(), Ok(&whole));
                let limit = whole.len() - 1;
                check(encoding, &body, limit, Err(Inflate::TooLarge { limit }));
                assert!(inflated_size(encoding, &body, limit) <= limit);
            }
        }
    }

    #[test]
    fn names_are_read_in_any_case_and_lists_are_not() {
        let cases = [
            ("gzip", Some(Encoding::Gzip)),
            (" GZip ", Some(Encoding::Gzip)),
            ("x-gzip", Some(Encoding::Gzip)),
            ("", Some(Encoding::Identity)),
            ("identity", Some(Encoding::Identity)),
            ("zstd", Some(Encoding::Zstd)),
            ("deflate", Some(Encoding::Deflate)),
            ("gzip, gzip", None),
            ("br", None),
            ("snappy", None),
        ];
        for (name, expected) in cases {
            assert_eq!(Encoding::parse(name), expected, "{name}");
        }
        for encoding in ALL {
            assert_eq!(Encoding::parse(encoding.name()), Some(encoding));
        }
    }

    #[test]
    fn bodies_that_are_not_what_they_claim_are_broken() {
        for encoding in [Encoding::Gzip, Encoding::Zstd, Encoding::Deflate] {
            let whole = deflate(encoding, &[text(1000)]);
            let cut = &whole[..whole.len() - 1];
            let cases: [&[u8]; 5] = [b"", b"plain text", &[0x1f, 0x8b], &[0; 32], cut];
            for body in cases {
                check(encoding, body, 1 << 20, broken(encoding));
            }
        }
        let member = deflate(Encoding::Gzip, &[text(9)]);
        // Also where it ends as the member does, with its sum and its size.
        for end in [b"".as_slice(), &member[member.len() - 8..]] {
            let garbage = [&member, b"garbage".as_slice(), end].concat();
            check(Encoding::Gzip, &garbage, 1 << 20, broken(Encoding::Gzip));
        }
    }

    #[test]
    fn several_members_are_one_body_and_count_together() {
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            for (a, b) in [(text(50), text(50)), (text(10), text(5000)), (text(5000), text(10))] {
                let body = [deflate(encoding, from_ref(&a)), deflate(encoding, from_ref(&b))];
                let (body, whole) = (body.concat(), [a, b].concat());
                check(encoding, &body, whole.len(), Ok(&whole));
                let limit = whole.len() - 1;
                check(encoding, &body, limit, Err(Inflate::TooLarge { limit }));
            }
        }
    }

    #[test]
    fn a_gzip_trailer_that_lies_is_found_out() {
        for lie in [0u32, 1, 99, 101, 1 << 16, u32::MAX] {
            let mut body = deflate(Encoding::Gzip, &[text(100)]).to_vec();
            let at = body.len() - 4;
            body[at..].copy_from_slice(&lie.to_le_bytes());
            check(Encoding::Gzip, &body, 1 << 20, broken(Encoding::Gzip));
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let limit = 1 << 20;
        let zeros = Bytes::from(vec![0; 50 << 20]);
        let bodies = [
            (Encoding::Gzip, deflate(Encoding::Gzip, from_ref(&zeros))),
            (Encoding::Deflate, deflate(Encoding::Deflate, from_ref(&zeros))),
            (Encoding::Zstd, deflate(Encoding::Zstd, from_ref(&zeros))),
            (Encoding::Zstd, Bytes::from(streamed_zstd(&zeros))),
        ];
        for (encoding, body) in bodies {
            assert!(body.len() < zeros.len() / 100);
            check(encoding, &body, limit, Err(Inflate::TooLarge { limit }));
        }
        // A reader without end shows that it is left after the limit and one piece.
        struct Endless(usize);
        impl Read for Endless {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                self.0 += out.len();
                Ok(out.len())
            }
        }
        let mut endless = Endless(0);
        assert!(drain(&mut endless, Encoding::Gzip, limit).is_err());
        assert!(endless.0 <= limit + PIECE, "{}", endless.0);
    }

    #[test]
    fn raw_deflate_and_zstd_without_a_size_are_read() {
        let mut raw = flate2::write::DeflateEncoder::new(vec![], flate2::Compression::fast());
        raw.write_all(&text(1000)).unwrap();
        check(Encoding::Deflate, &raw.finish().unwrap(), 1000, Ok(&text(1000)));
        check(Encoding::Zstd, &streamed_zstd(&text(100_000)), 100_000, Ok(&text(100_000)));
    }
}

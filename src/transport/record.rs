//! The records of telemetry files, as the Collector's `file` exporter lays them out.
//!
//! A file is of one form. Lines: each is a request in OTLP/JSON. Frames: four bytes of length,
//! big-endian, then a request in protobuf, or in either format and compressed with zstd, each
//! request by itself. The first byte tells which: no frame is long enough for its length to begin
//! with a byte that text begins with.

use crate::limits;
use std::io::{self, Read, Seek, SeekFrom};

/// How the records of a file are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Lines,
    Frames,
}

/// Bytes of a frame's length.
pub const PREFIX: usize = 4;

/// What zstd begins with.
pub const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Bytes that are looked at in one step.
const PIECE: u64 = 64 << 10;

const _: () = assert!(limits::REQUEST_BYTES <= 0x0800_0000, "a length may begin like white space");

impl Form {
    /// The form of a file that begins with the byte `first`.
    pub fn of(first: u8) -> Form {
        if first < 8 { Form::Frames } else { Form::Lines }
    }

    /// `content` as a record.
    pub fn record(self, mut content: Vec<u8>) -> Vec<u8> {
        match self {
            Form::Lines => {
                content.push(b'\n');
                content
            }
            Form::Frames => {
                let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
                [&length.to_be_bytes(), &content[..]].concat()
            }
        }
    }

    /// The end of the last whole record among the first `len` bytes of `file`. A frame that is
    /// longer than any may be ends the search: what follows cannot be told apart.
    pub fn whole(self, file: &mut (impl Read + Seek), len: u64) -> io::Result<u64> {
        match self {
            Form::Lines => last_line(file, len),
            Form::Frames => last_frame(file, len),
        }
    }
}

/// The length that a frame says, if a frame may be so long.
pub fn frame_length(prefix: [u8; PREFIX]) -> Option<usize> {
    let length = usize::try_from(u32::from_be_bytes(prefix)).ok()?;
    (length <= limits::REQUEST_BYTES).then_some(length)
}

fn last_line(file: &mut (impl Read + Seek), len: u64) -> io::Result<u64> {
    let mut end = len;
    while end > 0 {
        let start = end.saturating_sub(PIECE);
        file.seek(SeekFrom::Start(start))?;
        let mut piece = vec![];
        file.by_ref().take(end - start).read_to_end(&mut piece)?;
        if let Some(at) = piece.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

fn last_frame(file: &mut (impl Read + Seek), len: u64) -> io::Result<u64> {
    let mut at = 0;
    while at + PREFIX as u64 <= len {
        file.seek(SeekFrom::Start(at))?;
        let mut prefix = [0; PREFIX];
        file.read_exact(&mut prefix)?;
        let Some(length) = frame_length(prefix) else { break };
        let end = at + (PREFIX + length) as u64;
        if end > len {
            break;
        }
        at = end;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn the_end_of_the_last_whole_record_is_found() {
        let line = |n: usize| Form::Lines.record(vec![b'x'; n]);
        let frame = |n: usize| Form::Frames.record(vec![7; n]);
        let long = 200 << 10;
        let cases = [
            (Form::Lines, vec![line(3), line(0)], b"torn".to_vec()),
            (Form::Lines, vec![], b"torn".to_vec()),
            (Form::Lines, vec![line(long)], vec![b'y'; long]),
            (Form::Lines, vec![line(1)], vec![]),
            (Form::Frames, vec![frame(3), frame(0), frame(long)], frame(9)[..12].to_vec()),
            (Form::Frames, vec![frame(3)], vec![0, 0]),
            (Form::Frames, vec![frame(3)], vec![0x7f, 0, 0, 0, 0]),
            (Form::Frames, vec![], vec![]),
        ];
        for (form, whole, torn) in cases {
            let whole = whole.concat();
            let file = [&whole[..], &torn[..]].concat();
            let found = form.whole(&mut Cursor::new(&file), file.len() as u64).unwrap();
            assert_eq!(found, whole.len() as u64, "{form:?}, {} bytes", file.len());
        }
    }

    #[test]
    fn the_first_byte_tells_the_form() {
        for first in *b"{ \t\r\n[x" {
            assert_eq!(Form::of(first), Form::Lines);
        }
        let longest = u32::try_from(limits::REQUEST_BYTES).unwrap();
        for length in [0, 1, 300, 70_000, longest] {
            assert_eq!(Form::of(length.to_be_bytes()[0]), Form::Frames);
            assert_eq!(frame_length(length.to_be_bytes()), Some(length as usize));
        }
        assert_eq!(frame_length((longest + 1).to_be_bytes()), None);
    }
}

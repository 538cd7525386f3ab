//! The bytes of a segment: its header and its records, written and read. Pure functions.

use crate::batch::Signal;
use crate::limits;

/// The format that this program writes, and the only one that it reads.
pub const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"spanloom";

/// Bytes of a segment's header, and of what stands before a record's content.
pub const HEADER: usize = 28;
pub const FRAME: usize = 28;

/// The kind of the record that ends a segment.
const END: u8 = 255;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The segment's own number, which its name says too.
    pub segment: u32,
    /// What each of its records begins with. It is random, so that nobody can write telemetry
    /// that looks like a record to who looks for the next one behind damage.
    pub salt: u64,
}

/// Why a header is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHeader {
    Damaged,
    /// Of another version of the format; the header has the same form in all of them.
    Version(u32),
}

/// A record without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: Kind,
    /// Its place among the entries of the segment.
    pub index: u32,
    /// Spans, log records or data points in it.
    pub items: u32,
    /// Bytes of its content.
    pub len: usize,
    check: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Entry(Signal),
    /// Nothing follows; `index` says how many entries came before.
    End,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Kind::Entry(Signal::Traces) => 1,
            Kind::Entry(Signal::Logs) => 2,
            Kind::Entry(Signal::Metrics) => 3,
            Kind::End => END,
        }
    }

    fn of(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::Entry(Signal::Traces),
            2 => Kind::Entry(Signal::Logs),
            3 => Kind::Entry(Signal::Metrics),
            END => Kind::End,
            _ => return None,
        })
    }
}

/// The bytes of `header`.
pub fn header(header: Header) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    let fields = [
        &MAGIC[..],
        &VERSION.to_le_bytes(),
        &header.segment.to_le_bytes(),
        &header.salt.to_le_bytes(),
    ];
    let content = fields.concat();
    let check = crc32fast::hash(&content).to_le_bytes();
    for (to, from) in out.iter_mut().zip(content.iter().chain(&check)) {
        *to = *from;
    }
    out
}

/// Reads a header.
pub fn read_header(bytes: &[u8]) -> Result<Header, BadHeader> {
    let parts = bytes.first_chunk::<HEADER>().and_then(|bytes| bytes.split_last_chunk::<4>());
    let (content, check) = parts.ok_or(BadHeader::Damaged)?;
    if !content.starts_with(MAGIC) {
        return Err(BadHeader::Damaged);
    }
    if crc32fast::hash(content) != u32::from_le_bytes(*check) {
        return Err(BadHeader::Damaged);
    }
    let version = u32_at(content, 8);
    if version != VERSION {
        return Err(BadHeader::Version(version));
    }
    Ok(Header { segment: u32_at(content, 12), salt: u64_at(content, 16) })
}

/// Appends a record to `out`.
pub fn write(out: &mut Vec<u8>, salt: u64, kind: Kind, index: u32, items: u32, content: &[u8]) {
    let len = content.len() as u32;
    let check = checksum(len, index, items, kind, content);
    out.reserve(FRAME + content.len());
    out.extend_from_slice(&salt.to_le_bytes());
    for field in [len, check, index, items, u32::from(kind.byte())] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out.extend_from_slice(content);
}

/// Reads what stands before a record's content; `None` if it is not that.
pub fn read_frame(bytes: &[u8], salt: u64) -> Option<Frame> {
    let bytes = bytes.first_chunk::<FRAME>()?;
    let kind = u8::try_from(u32_at(bytes, 24)).ok().and_then(Kind::of)?;
    let len = u32_at(bytes, 8) as usize;
    let fits = u64_at(bytes, 0) == salt && len <= limits::JOURNAL_RECORD_BYTES;
    let (check, index, items) = (u32_at(bytes, 12), u32_at(bytes, 16), u32_at(bytes, 20));
    fits.then_some(Frame { kind, index, items, len, check })
}

impl Frame {
    /// Whether `content` is what was written behind it.
    pub fn holds(&self, content: &[u8]) -> bool {
        let len = content.len() as u32;
        self.len == content.len()
            && checksum(len, self.index, self.items, self.kind, content) == self.check
    }
}

fn checksum(len: u32, index: u32, items: u32, kind: Kind, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for field in [len, index, items, u32::from(kind.byte())] {
        hasher.update(&field.to_le_bytes());
    }
    hasher.update(content);
    hasher.finalize()
}

/// Four bytes at `at`; zero where there are none.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    four.map_or(0, |four| u32::from_le_bytes(*four))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let eight = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>());
    eight.map_or(0, |eight| u64::from_le_bytes(*eight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let head = Header { segment: 7, salt: 0x0123_4567_89ab_cdef };
        assert_eq!(read_header(&header(head)), Ok(head));
        for kind in Signal::ALL.map(Kind::Entry).into_iter().chain([Kind::End]) {
            let mut bytes = vec![];
            write(&mut bytes, head.salt, kind, 3, 5, b"content");
            let frame = read_frame(&bytes, head.salt).expect("a frame");
            assert_eq!((frame.kind, frame.index, frame.items, frame.len), (kind, 3, 5, 7));
            assert!(frame.holds(&bytes[FRAME..]));
        }
    }

    #[test]
    fn no_flipped_bit_goes_unseen() {
        let head = header(Header { segment: 7, salt: 42 });
        let mut record = vec![];
        write(&mut record, 42, Kind::Entry(Signal::Logs), 3, 5, b"content");
        for bit in 0..head.len() * 8 {
            let mut bytes = head;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read_header(&bytes).is_err(), "bit {bit} of the header");
        }
        for bit in 0..record.len() * 8 {
            let mut bytes = record.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let frame = read_frame(&bytes, 42);
            let whole = frame.is_some_and(|frame| frame.holds(&bytes[FRAME..]));
            assert!(!whole, "bit {bit} of the record");
        }
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let mut bytes = header(Header { segment: 7, salt: 42 });
        bytes[8] = 9;
        assert_eq!(read_header(&bytes), Err(BadHeader::Damaged));
        let check = crc32fast::hash(&bytes[..HEADER - 4]).to_le_bytes();
        bytes[HEADER - 4..].copy_from_slice(&check);
        assert_eq!(read_header(&bytes), Err(BadHeader::Version(9)));
        assert_eq!(read_header(&bytes[..20]), Err(BadHeader::Damaged));
        assert_eq!(read_header(b""), Err(BadHeader::Damaged));
    }
}

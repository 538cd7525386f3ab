//! The head of an HTTP/1 request, looked at as it comes, for the one fault that hyper hides.
//!
//! A request with both Content-Length and Transfer-Encoding is how one request is smuggled behind
//! another past a proxy. hyper drops the length, reads the chunks and closes, as RFC 9112 6.3
//! allows; the service never learns of it and would answer that all is well. A head that comes
//! while another request is served is not looked at: hyper's way covers it.

use crate::limits;

/// What came of a head so far.
#[derive(Default)]
pub(super) struct Head {
    text: Vec<u8>,
}

impl Head {
    /// Takes the next bytes of the connection. `Some` when the head is whole: whether it names
    /// its body's length in two ways.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Option<bool> {
        let room = (2 * limits::HEADER_BYTES).saturating_sub(self.text.len());
        self.text.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        let end = self.text.windows(4).position(|end| end == b"\r\n\r\n")?;
        let text = std::mem::take(&mut self.text);
        let has = |name: &[u8]| {
            let lines = text.get(..end).unwrap_or_default().split(|byte| *byte == b'\n');
            lines.skip(1).any(|line| {
                let found = line.split_at_checked(name.len());
                found.is_some_and(|(start, rest)| {
                    start.eq_ignore_ascii_case(name) && rest.trim_ascii_start().starts_with(b":")
                })
            })
        };
        Some(has(b"content-length") && has(b"transfer-encoding"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_given_in_two_ways_is_found_however_the_head_is_cut() {
        let cases = [
            ("POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\nab", true),
            ("POST / HTTP/1.1\r\ntransfer-encoding:chunked\r\nCONTENT-LENGTH : 4\r\n\r\n", true),
            ("POST / HTTP/1.1\r\nContent-Length: 4\r\nX-Transfer-Encoding: a\r\n\r\n", false),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nContent-Length: 4", false),
        ];
        for (text, expected) in cases {
            for step in [1, 7, text.len()] {
                let mut head = Head::default();
                let mut heard = text.as_bytes().chunks(step).filter_map(|part| head.hear(part));
                assert_eq!(heard.next(), Some(expected), "{text:?} by {step}");
            }
        }
    }
}

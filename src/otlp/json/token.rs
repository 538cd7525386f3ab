//! The tokens of JSON (RFC 8259), strictly: no comments, no trailing commas, no NaN literal.

use super::UNKNOWN_NESTING_MAX;
use std::borrow::Cow;

/// What is wrong, and at which byte.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub what: &'static str,
    pub at: usize,
}

/// A text being read.
pub struct Tokens<'a> {
    text: &'a [u8],
    /// The next byte.
    pub at: usize,
}

impl<'a> Tokens<'a> {
    /// The tokens of `text`, which must be UTF-8 without a byte order mark.
    pub fn new(text: &'a [u8]) -> Result<Tokens<'a>, Fault> {
        if text.starts_with(b"\xef\xbb\xbf") {
            return Err(Fault { what: "a byte order mark is not allowed", at: 0 });
        }
        match std::str::from_utf8(text) {
            Ok(_) => Ok(Tokens { text, at: 0 }),
            Err(error) => Err(Fault { what: "the text is not UTF-8", at: error.valid_up_to() }),
        }
    }

    pub fn fault<T>(&self, what: &'static str) -> Result<T, Fault> {
        Err(Fault { what, at: self.at })
    }

    /// The next byte that is no white space; it is not taken.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Takes the next byte if it is `byte`.
    #[inline]
    pub fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Takes `word` if it stands next.
    pub fn take_word(&mut self, word: &[u8]) -> bool {
        self.peek();
        let found = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word));
        self.at += if found { word.len() } else { 0 };
        found
    }

    /// Behind a member: whether another follows, given what closes the list. A comma must be
    /// followed by a member, which whoever reads it finds out.
    #[inline]
    pub fn more(&mut self, close: u8) -> Result<bool, Fault> {
        if self.take(b',') {
            return Ok(true);
        }
        if self.take(close) {
            return Ok(false);
        }
        self.fault("a comma or the end of the list is expected")
    }

    /// A key and the colon behind it.
    #[inline]
    pub fn key(&mut self) -> Result<Cow<'a, [u8]>, Fault> {
        if self.peek() != Some(b'"') {
            return self.fault("a key in quotes is expected");
        }
        let key = self.string()?;
        if !self.take(b':') {
            return self.fault("a colon is expected");
        }
        Ok(key)
    }

    /// A string, copied only if it holds escapes. The opening quote stands next.
    #[inline]
    pub fn string(&mut self) -> Result<Cow<'a, [u8]>, Fault> {
        let run = self.run(self.at + 1);
        let end = self.at + 1 + run.len();
        if self.text.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(Cow::Borrowed(run));
        }
        let mut out = vec![];
        self.string_into(&mut out)?;
        Ok(Cow::Owned(out))
    }

    /// Appends a string. The opening quote stands next.
    pub fn string_into(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.at += 1;
        loop {
            let run = self.run(self.at);
            out.extend_from_slice(run);
            self.at += run.len();
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape(out)?,
                Some(_) => return self.fault("a control character in a string must be escaped"),
                None => return self.fault("a string does not end"),
            }
        }
    }

    /// The characters from `at` that stand for themselves.
    #[inline]
    fn run(&self, at: usize) -> &'a [u8] {
        let rest = self.text.get(at..).unwrap_or_default();
        let len = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
        rest.get(..len.unwrap_or(rest.len())).unwrap_or_default()
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let byte = match self.text.get(self.at + 1) {
            Some(byte @ (b'"' | b'\\' | b'/')) => *byte,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => return self.unicode_escape(out),
            _ => return self.fault("an unknown escape in a string"),
        };
        self.at += 2;
        out.push(byte);
        Ok(())
    }

    fn unicode_escape(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let Some(first) = self.code_unit(self.at) else {
            return self.fault("an escape \\u needs four hexadecimal digits");
        };
        let (code, len) = match first {
            0xd800..0xdc00 => match self.code_unit(self.at + 6) {
                Some(second @ 0xdc00..0xe000) => {
                    (0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00), 12)
                }
                _ => return self.fault("a surrogate stands alone"),
            },
            _ => (first, 6),
        };
        let Some(c) = char::from_u32(code) else {
            return self.fault("a surrogate stands alone");
        };
        self.at += len;
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    /// The number in an escape such as `\u00e9` at `at`.
    fn code_unit(&self, at: usize) -> Option<u32> {
        let digits = self.text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)?))
    }

    /// A number's text, if one stands next.
    #[inline]
    pub fn number(&mut self) -> Result<&'a [u8], Fault> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
        let number = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        if !is_number(number) {
            return self.fault("a JSON value is expected");
        }
        self.at += number.len();
        Ok(number)
    }

    /// Passes a value of any kind, `depth` levels deep.
    pub fn skip(&mut self, depth: usize) -> Result<(), Fault> {
        if depth > UNKNOWN_NESTING_MAX {
            return self.fault("arrays and objects are nested too deeply");
        }
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => {
                self.at += 1;
                let mut more = !self.take(b'}');
                while more {
                    self.key()?;
                    self.skip(depth + 1)?;
                    more = self.more(b'}')?;
                }
                Ok(())
            }
            Some(b'[') => {
                self.at += 1;
                let mut more = !self.take(b']');
                while more {
                    self.skip(depth + 1)?;
                    more = self.more(b']')?;
                }
                Ok(())
            }
            Some(b't') if self.take_word(b"true") => Ok(()),
            Some(b'f') if self.take_word(b"false") => Ok(()),
            Some(b'n') if self.take_word(b"null") => Ok(()),
            _ => self.number().map(drop),
        }
    }

    /// The line and the column of byte `at`, both from 1.
    pub fn place(text: &[u8], at: usize) -> (usize, usize) {
        let before = text.get(..at).unwrap_or(text);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        (line, column)
    }
}

/// Whether `text` is a number by JSON's grammar.
pub fn is_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let (whole, rest) = digits(text);
    if whole.is_empty() || (whole.len() > 1 && whole.starts_with(b"0")) {
        return false;
    }
    let rest = match rest.strip_prefix(b".").map(digits) {
        Some(([], _)) => return false,
        Some((_, rest)) => rest,
        None => rest,
    };
    match rest.split_first() {
        None => true,
        Some((b'e' | b'E', exponent)) => {
            let sign = |exponent: &[u8]| exponent.starts_with(b"+") || exponent.starts_with(b"-");
            let exponent = exponent.get(usize::from(sign(exponent))..).unwrap_or_default();
            matches!(digits(exponent), ([_, ..], []))
        }
        Some(_) => false,
    }
}

/// The digits that `text` starts with, and the rest.
pub fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let len = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(len)
}

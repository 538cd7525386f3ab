//! The words of a condition: text to tokens, each with the byte at which it begins.

use super::ast::{Comparison, Operator};
use super::error::Error;

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Text(String),
    Int(i64),
    Double(f64),
    Bytes(Vec<u8>),
    /// A name or a keyword.
    Word(String),
    Compare(Comparison),
    Math(Operator),
    /// One of `( ) [ ] , .`.
    Mark(char),
    End,
}

impl Token {
    /// What stands here, for an error sentence.
    pub(super) fn describe(&self) -> String {
        match self {
            Token::Text(_) => "a string".into(),
            Token::Int(value) => format!("the number {value}"),
            Token::Double(value) => format!("the number {value:?}"),
            Token::Bytes(_) => "bytes".into(),
            Token::Word(word) => format!("{word:?}"),
            Token::Compare(comparison) => format!("{:?}", comparison.sign()),
            Token::Math(operator) => format!("{:?}", operator.sign().to_string()),
            Token::Mark(mark) => format!("{:?}", mark.to_string()),
            Token::End => "the end".into(),
        }
    }

    /// Whether an operand ends here, so that a sign that follows is an operator.
    fn ends_operand(&self) -> bool {
        match self {
            Token::Word(word) => !["and", "or", "not"].contains(&word.as_str()),
            Token::Mark(mark) => [')', ']'].contains(mark),
            Token::Compare(_) | Token::Math(_) => false,
            _ => true,
        }
    }
}

/// The tokens of `text`; the last is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, usize)>, Error> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens: Vec<(Token, usize)> = vec![];
    loop {
        lexer.take_while(char::is_whitespace);
        let at = lexer.at;
        let after_operand = tokens.last().is_some_and(|(token, _)| token.ends_operand());
        let token = lexer.token(after_operand)?;
        let done = token == Token::End;
        tokens.push((token, at));
        if done {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn take(&mut self, prefix: &str) -> bool {
        let found = self.rest().starts_with(prefix);
        self.at += if found { prefix.len() } else { 0 };
        found
    }

    fn error<T>(&self, at: usize, text: impl Into<String>) -> Result<T, Error> {
        Err(Error::at(self.text, at, text))
    }

    fn token(&mut self, after_operand: bool) -> Result<Token, Error> {
        let mut ahead = self.rest().chars();
        let Some(first) = ahead.next() else { return Ok(Token::End) };
        let second = ahead.next().unwrap_or(' ');
        match first {
            '"' => self.text_literal(),
            '0'..='9' => self.number(),
            '.' if second.is_ascii_digit() && !after_operand => self.number(),
            '+' | '-' if !after_operand && (second.is_ascii_digit() || second == '.') => {
                self.number()
            }
            'a'..='z' | 'A'..='Z' | '_' => {
                let word = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
                Ok(Token::Word(word.into()))
            }
            _ => self.sign(first),
        }
    }

    fn sign(&mut self, first: char) -> Result<Token, Error> {
        let at = self.at;
        for (sign, comparison) in [
            ("==", Comparison::Equal),
            ("!=", Comparison::Unequal),
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ] {
            if self.take(sign) {
                return Ok(Token::Compare(comparison));
            }
        }
        self.at += first.len_utf8();
        match first {
            '+' => Ok(Token::Math(Operator::Add)),
            '-' => Ok(Token::Math(Operator::Subtract)),
            '*' => Ok(Token::Math(Operator::Multiply)),
            '/' => Ok(Token::Math(Operator::Divide)),
            '(' | ')' | '[' | ']' | ',' | '.' => Ok(Token::Mark(first)),
            '=' => self.error(at, "\"=\" is not a comparison; write \"==\""),
            '&' => self.error(at, "\"&\" is not an operator; write \"and\""),
            '|' => self.error(at, "\"|\" is not an operator; write \"or\""),
            '!' => self.error(at, "\"!\" is not an operator; write \"not\" or \"!=\""),
            '\'' => self.error(at, "a string stands in double quotes"),
            '{' => self.error(at, "maps in braces are not supported; compare single keys"),
            _ => self.error(at, format!("{first:?} has no meaning here")),
        }
    }

    fn number(&mut self) -> Result<Token, Error> {
        let start = self.at;
        if self.take("0x") || self.take("0X") {
            return self.bytes_literal(start);
        }
        let _ = self.take("-") || self.take("+");
        self.take_while(|c| c.is_ascii_digit());
        let mut whole = true;
        if self.rest().starts_with('.') {
            whole = false;
            self.at += 1;
            self.take_while(|c| c.is_ascii_digit());
        }
        if self.rest().starts_with(['e', 'E']) {
            whole = false;
            self.at += 1;
            let _ = self.take("-") || self.take("+");
            self.take_while(|c| c.is_ascii_digit());
        }
        let number = self.text.get(start..self.at).unwrap_or_default();
        if self.rest().starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            return self.error(start, format!("{number:?} is followed by a letter"));
        }
        if whole {
            return match number.parse() {
                Ok(value) => Ok(Token::Int(value)),
                Err(_) => self.error(start, format!("{number} does not fit 64 bits")),
            };
        }
        match number.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Token::Double(value)),
            _ => self.error(start, format!("{number:?} is not a number")),
        }
    }

    fn bytes_literal(&mut self, start: usize) -> Result<Token, Error> {
        let digits = self.take_while(|c| c.is_ascii_alphanumeric());
        match from_hex(digits) {
            Some(bytes) => Ok(Token::Bytes(bytes)),
            None => self.error(start, "bytes are 0x and pairs of hexadecimal digits: 0x0aff"),
        }
    }

    fn text_literal(&mut self) -> Result<Token, Error> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            text.push_str(self.take_while(|c| c != '"' && c != '\\'));
            if self.take("\"") {
                return Ok(Token::Text(text));
            }
            if self.rest().is_empty() {
                return self.error(start, "the string that begins here has no closing quote");
            }
            text.push(self.escape()?);
        }
    }

    /// The character of an escape, which begins here with its backslash.
    fn escape(&mut self) -> Result<char, Error> {
        let start = self.at;
        let Some(letter) = self.rest().chars().nth(1) else {
            return self.error(start, "the string ends with a backslash");
        };
        self.at += 1 + letter.len_utf8();
        let digits = match letter {
            '"' | '\\' | '\'' => return Ok(letter),
            'n' => return Ok('\n'),
            'r' => return Ok('\r'),
            't' => return Ok('\t'),
            'a' => return Ok('\u{7}'),
            'b' => return Ok('\u{8}'),
            'f' => return Ok('\u{c}'),
            'v' => return Ok('\u{b}'),
            'u' => 4,
            'U' => 8,
            _ => {
                let text = format!(
                    "\\{letter} is not an escape; a backslash in a string, as in a regular \
                     expression, is written \\\\"
                );
                return self.error(start, text);
            }
        };
        let hex = self.rest().get(..digits).unwrap_or_default();
        let c = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32);
        match c.filter(|_| hex.bytes().all(|c| c.is_ascii_hexdigit())) {
            Some(c) => {
                self.at += digits;
                Ok(c)
            }
            None => self.error(start, format!("\\{letter} takes {digits} hexadecimal digits")),
        }
    }
}

/// The bytes that pairs of hexadecimal digits stand for; none at all is no bytes literal.
pub(super) fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| {
        let [high, low] = pair else { return None };
        let digit = |c: &u8| char::from(*c).to_digit(16);
        Some((digit(high)? << 4 | digit(low)?) as u8)
    });
    pairs.collect::<Option<Vec<u8>>>().filter(|bytes| !bytes.is_empty())
}

//! Tokens to a tree. Precedence, tightest first: `* /`, `+ -`, comparisons, `not`, `and`, `or`.
//!
//! Depth is bounded twice, since every walk over the tree recurses: by
//! [`limits::CONDITION_NESTING`] for what stands inside something else, and by
//! [`limits::CONDITION_PARTS`] for sums and lists without end.

use super::ast::{Comparison, Expr, Key, Node, Operator};
use super::error::Error;
use super::lexer::{Token, tokens};
use crate::limits;

/// The tree of `text`.
pub fn parse(text: &str) -> Result<Expr, Error> {
    if text.len() > limits::CONDITION_BYTES {
        let most = limits::CONDITION_BYTES;
        let sentence = format!("the condition has {} bytes, at most {most} are taken", text.len());
        return Err(Error::at(text, 0, sentence));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser { text, tokens, next: 0, depth: 0, parts: 0 };
    if parser.peek() == &Token::End {
        return parser.error("the condition is empty");
    }
    let expr = parser.or()?;
    match parser.peek() {
        Token::End => Ok(expr),
        Token::Word(word) if word == "where" => {
            parser.error("\"where\" belongs to statements; here stands only the condition")
        }
        other => {
            let found = other.describe();
            parser.error(format!("found {found} where the condition could have ended"))
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(Token, usize)>,
    next: usize,
    depth: usize,
    parts: usize,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |(token, _)| token)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.text.len(), |(_, at)| *at)
    }

    fn error<T>(&self, text: impl Into<String>) -> Result<T, Error> {
        Err(Error::at(self.text, self.at(), text))
    }

    fn take(&mut self, token: &Token) -> bool {
        let found = self.peek() == token;
        self.next += usize::from(found);
        found
    }

    fn take_word(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(word) if word == wanted);
        self.next += usize::from(found);
        found
    }

    fn want(&mut self, mark: char, why: &str) -> Result<(), Error> {
        match self.take(&Token::Mark(mark)) {
            true => Ok(()),
            false => {
                let found = self.peek().describe();
                self.error(format!("found {found} where {mark:?} was expected {why}"))
            }
        }
    }

    /// A node of the tree, counted.
    fn expr(&mut self, node: Node, at: usize) -> Result<Expr, Error> {
        self.parts += 1;
        match self.parts > limits::CONDITION_PARTS {
            true => self.error(format!(
                "the condition has more than {} parts; write several, of which one must hold",
                limits::CONDITION_PARTS
            )),
            false => Ok(Expr { node, at }),
        }
    }

    /// What `inner` reads, one level deeper.
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.depth += 1;
        if self.depth > limits::CONDITION_NESTING {
            let most = limits::CONDITION_NESTING;
            return self.error(format!("the condition is nested more than {most} levels deep"));
        }
        let found = inner(self);
        self.depth -= 1;
        found
    }

    fn or(&mut self) -> Result<Expr, Error> {
        self.list("or", Self::and, Node::Or)
    }

    fn and(&mut self) -> Result<Expr, Error> {
        self.list("and", Self::not, Node::And)
    }

    /// One or more of what `part` reads, with `word` between them.
    fn list(
        &mut self,
        word: &str,
        part: impl Fn(&mut Self) -> Result<Expr, Error>,
        node: impl FnOnce(Vec<Expr>) -> Node,
    ) -> Result<Expr, Error> {
        let first = part(self)?;
        let at = first.at;
        let mut list = vec![first];
        while self.take_word(word) {
            list.push(part(self)?);
        }
        match list.len() {
            1 => list.pop().map_or_else(|| self.error("the condition is empty"), Ok),
            _ => self.expr(node(list), at),
        }
    }

    fn not(&mut self) -> Result<Expr, Error> {
        let at = self.at();
        match self.take_word("not") {
            true => {
                let of = self.compare()?;
                self.expr(Node::Not(Box::new(of)), at)
            }
            false => self.compare(),
        }
    }

    fn compare(&mut self) -> Result<Expr, Error> {
        let left = self.sum()?;
        let Some((comparison, at)) = self.comparison() else { return Ok(left) };
        let right = self.sum()?;
        if self.comparison().is_some() {
            self.next -= 1;
            return self.error("a comparison has two sides; join several with \"and\"");
        }
        self.expr(Node::Compare(Box::new(left), comparison, Box::new(right)), at)
    }

    fn comparison(&mut self) -> Option<(Comparison, usize)> {
        let at = self.at();
        let Token::Compare(comparison) = *self.peek() else { return None };
        self.next += 1;
        Some((comparison, at))
    }

    fn sum(&mut self) -> Result<Expr, Error> {
        self.math(Self::product, false)
    }

    fn product(&mut self) -> Result<Expr, Error> {
        self.math(Self::indexed, true)
    }

    fn math(
        &mut self,
        part: impl Fn(&mut Self) -> Result<Expr, Error>,
        first: bool,
    ) -> Result<Expr, Error> {
        let mut left = part(self)?;
        let mut chain = 0;
        loop {
            let at = self.at();
            let operator = match self.peek() {
                Token::Math(operator) if operator.is_first() == first => *operator,
                _ => return Ok(left),
            };
            chain += 1;
            if chain > limits::CONDITION_NESTING {
                let most = limits::CONDITION_NESTING;
                return self.error(format!("more than {most} operations in a row"));
            }
            self.next += 1;
            let right = part(self)?;
            left = self.operation(left, operator, right, at)?;
        }
    }

    fn operation(
        &mut self,
        left: Expr,
        operator: Operator,
        right: Expr,
        at: usize,
    ) -> Result<Expr, Error> {
        self.expr(Node::Math(Box::new(left), operator, Box::new(right)), at)
    }

    /// Something, and what stands in brackets behind it.
    fn indexed(&mut self) -> Result<Expr, Error> {
        let mut of = self.nested(Self::whole)?;
        let mut keys = 0;
        while self.peek() == &Token::Mark('[') {
            let at = self.at();
            self.next += 1;
            let key = match self.peek().clone() {
                Token::Text(key) => Key::Text(key),
                Token::Int(key) => Key::Int(key),
                Token::Mark(']') => return self.error("a key is missing between the brackets"),
                other => {
                    let found = other.describe();
                    let text = format!("found {found}; a key is a string or a whole number");
                    return self.error(text);
                }
            };
            self.next += 1;
            self.want(']', "behind the key")?;
            keys += 1;
            if keys > limits::CONDITION_NESTING {
                return self.error(format!("more than {} keys", limits::CONDITION_NESTING));
            }
            of = self.expr(Node::Index(Box::new(of), key), at)?;
        }
        Ok(of)
    }

    fn whole(&mut self) -> Result<Expr, Error> {
        let at = self.at();
        let token = self.peek().clone();
        if token != Token::End {
            self.next += 1;
        }
        let node = match token {
            Token::Text(text) => Node::Text(text),
            Token::Int(value) => Node::Int(value),
            Token::Double(value) => Node::Double(value),
            Token::Bytes(bytes) => Node::Bytes(bytes),
            Token::Mark('(') => {
                let inner = self.or()?;
                self.want(')', "to close the parenthesis")?;
                return Ok(inner);
            }
            Token::Mark('[') => Node::List(self.items(']', "in the list")?),
            Token::Word(word) => return self.named(word, at),
            other => {
                self.next = self.next.saturating_sub(usize::from(other != Token::End));
                let found = other.describe();
                return self.error(format!("found {found} where a value was expected"));
            }
        };
        self.expr(node, at)
    }

    /// What begins with a word.
    fn named(&mut self, word: String, at: usize) -> Result<Expr, Error> {
        let node = match word.as_str() {
            "true" => Node::Bool(true),
            "false" => Node::Bool(false),
            "nil" => Node::Nil,
            "and" | "or" | "not" => {
                self.next -= 1;
                return self.error(format!("found {word:?} where a value was expected"));
            }
            _ if self.take(&Token::Mark('(')) => {
                let list = self.items(')', "behind the arguments")?;
                Node::Call(word, list)
            }
            _ if word.bytes().all(|c| !c.is_ascii_lowercase()) => Node::Enum(word),
            _ => self.path(word)?,
        };
        self.expr(node, at)
    }

    fn path(&mut self, first: String) -> Result<Node, Error> {
        let mut words = vec![first];
        while self.take(&Token::Mark('.')) {
            match self.peek().clone() {
                Token::Word(word) => words.push(word),
                other => {
                    let found = other.describe();
                    return self.error(format!("found {found} where a name was expected"));
                }
            }
            self.next += 1;
        }
        Ok(Node::Path(words))
    }

    /// Expressions with commas between them, up to and with `end`.
    fn items(&mut self, end: char, why: &str) -> Result<Vec<Expr>, Error> {
        let mut list = vec![];
        while !self.take(&Token::Mark(end)) {
            if !list.is_empty() && !self.take(&Token::Mark(',')) {
                let found = self.peek().describe();
                return self
                    .error(format!("found {found} where ',' or {end:?} was expected {why}"));
            }
            list.push(self.or()?);
        }
        Ok(list)
    }
}

//! A condition as it was written: the tree that the parser makes and the printer takes apart.
//!
//! Names are not resolved here, so one tree serves every context. Printing and parsing again gives
//! the same tree; parentheses are written only where the tree needs them.

use crate::otlp::text::put_text;
use std::fmt;

/// A part of a condition. Two are equal if they say the same, wherever they stand.
#[derive(Clone, Debug)]
pub struct Expr {
    pub node: Node,
    /// The byte of the text at which it begins, or its operator stands.
    pub at: usize,
}

impl PartialEq for Expr {
    fn eq(&self, other: &Expr) -> bool {
        self.node == other.node
    }
}

impl Expr {
    /// Calls `seen` with the words of every path in it.
    pub(super) fn each_path(&self, seen: &mut impl FnMut(&[String])) {
        match &self.node {
            Node::Path(words) => seen(words),
            Node::List(list) | Node::Call(_, list) | Node::And(list) | Node::Or(list) => {
                list.iter().for_each(|part| part.each_path(seen));
            }
            Node::Index(of, _) | Node::Not(of) => of.each_path(seen),
            Node::Math(left, _, right) | Node::Compare(left, _, right) => {
                left.each_path(seen);
                right.each_path(seen);
            }
            _ => {}
        }
    }
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    Text(String),
    Int(i64),
    Double(f64),
    Bool(bool),
    Nil,
    /// `0x0a`.
    Bytes(Vec<u8>),
    /// `SPAN_KIND_CLIENT`.
    Enum(String),
    List(Vec<Expr>),
    /// `span.status.code` as its words.
    Path(Vec<String>),
    /// `…["key"]` or `…[0]`.
    Index(Box<Expr>, Key),
    /// `Name(arguments)`.
    Call(String, Vec<Expr>),
    Math(Box<Expr>, Operator, Box<Expr>),
    Compare(Box<Expr>, Comparison, Box<Expr>),
    Not(Box<Expr>),
    /// Two or more, of which all must hold.
    And(Vec<Expr>),
    /// Two or more, of which one must hold.
    Or(Vec<Expr>),
}

/// What stands in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    Text(String),
    Int(i64),
}

/// Arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Operator {
    pub fn sign(self) -> char {
        match self {
            Operator::Add => '+',
            Operator::Subtract => '-',
            Operator::Multiply => '*',
            Operator::Divide => '/',
        }
    }

    /// Whether it is done before addition and subtraction.
    pub(super) fn is_first(self) -> bool {
        matches!(self, Operator::Multiply | Operator::Divide)
    }
}

/// Comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    Unequal,
    Less,
    Greater,
    AtMost,
    AtLeast,
}

impl Comparison {
    pub fn sign(self) -> &'static str {
        match self {
            Comparison::Equal => "==",
            Comparison::Unequal => "!=",
            Comparison::Less => "<",
            Comparison::Greater => ">",
            Comparison::AtMost => "<=",
            Comparison::AtLeast => ">=",
        }
    }
}

/// How tightly the parts of an expression hang together, loosest first.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Bond {
    Or,
    And,
    Not,
    Compare,
    Sum,
    Product,
    Whole,
}

impl Node {
    fn bond(&self) -> Bond {
        match self {
            Node::Or(_) => Bond::Or,
            Node::And(_) => Bond::And,
            Node::Not(_) => Bond::Not,
            Node::Compare(..) => Bond::Compare,
            Node::Math(_, operator, _) if operator.is_first() => Bond::Product,
            Node::Math(..) => Bond::Sum,
            _ => Bond::Whole,
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Node::Text(text) => quoted(f, text),
            Node::Int(value) => write!(f, "{value}"),
            Node::Double(value) => write!(f, "{value:?}"),
            Node::Bool(value) => write!(f, "{value}"),
            Node::Nil => f.write_str("nil"),
            Node::Bytes(bytes) => {
                f.write_str("0x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Node::Enum(name) => f.write_str(name),
            Node::List(list) => {
                f.write_str("[")?;
                joined(f, list, ", ", Bond::Or)?;
                f.write_str("]")
            }
            Node::Path(words) => f.write_str(&words.join(".")),
            Node::Index(of, key) => {
                bonded(f, of, Bond::Whole)?;
                f.write_str("[")?;
                match key {
                    Key::Text(key) => quoted(f, key)?,
                    Key::Int(key) => write!(f, "{key}")?,
                }
                f.write_str("]")
            }
            Node::Call(name, arguments) => {
                write!(f, "{name}(")?;
                joined(f, arguments, ", ", Bond::Or)?;
                f.write_str(")")
            }
            Node::Math(left, operator, right) => {
                let (here, inner) = match operator.is_first() {
                    true => (Bond::Product, Bond::Whole),
                    false => (Bond::Sum, Bond::Product),
                };
                bonded(f, left, here)?;
                write!(f, " {} ", operator.sign())?;
                bonded(f, right, inner)
            }
            Node::Compare(left, comparison, right) => {
                bonded(f, left, Bond::Sum)?;
                write!(f, " {} ", comparison.sign())?;
                bonded(f, right, Bond::Sum)
            }
            Node::Not(of) => {
                f.write_str("not ")?;
                bonded(f, of, Bond::Compare)
            }
            Node::And(list) => joined(f, list, " and ", Bond::Not),
            Node::Or(list) => joined(f, list, " or ", Bond::And),
        }
    }
}

/// Writes `part`, in parentheses if it hangs together more loosely than `least`.
fn bonded(f: &mut fmt::Formatter<'_>, part: &Expr, least: Bond) -> fmt::Result {
    match part.node.bond() < least {
        true => write!(f, "({part})"),
        false => write!(f, "{part}"),
    }
}

fn joined(f: &mut fmt::Formatter<'_>, list: &[Expr], by: &str, least: Bond) -> fmt::Result {
    for (index, part) in list.iter().enumerate() {
        if index > 0 {
            f.write_str(by)?;
        }
        bonded(f, part, least)?;
    }
    Ok(())
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let mut out = String::new();
    put_text(&mut out, text.as_bytes());
    f.write_str(&out)
}

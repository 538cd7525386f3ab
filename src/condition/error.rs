//! What is wrong with a condition's text, and where in it.

use std::fmt;

/// A mistake in a condition. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    /// The line, for conditions of several lines.
    pub line: usize,
    pub column: usize,
    /// The sentence.
    pub text: String,
}

impl Error {
    /// A mistake at the byte `at` of `condition`.
    pub(super) fn at(condition: &str, at: usize, text: impl Into<String>) -> Error {
        let before = condition.get(..at).unwrap_or(condition);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Error {
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
            text: text.into(),
        }
    }
}

impl fmt::Display for Error {
    /// `column 14: unknown path "nmae" …`, or `line 2, column 5: …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 1 {
            write!(f, "line {}, ", self.line)?;
        }
        write!(f, "column {}: {}", self.column, self.text)
    }
}

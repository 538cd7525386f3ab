//! OTLP/JSON to the bytes of a request and back, driven by the tables of [`super::schema`].
//!
//! [`from_json`] goes from text to protobuf in one pass and builds no tree, so a hostile body
//! costs about its own size. The mapping is proto3's with OTLP's exceptions: ids are hexadecimal
//! and enums integers. Where that leaves a choice, the strict one is taken, because what two
//! parsers read differently is where redaction fails: a known key that occurs twice, two members
//! of a oneof, and a name in place of an enum's number are errors. Unknown keys are ignored, and
//! snake_case ones are unknown.
//!
//! Deliberately absent: unknown fields in JSON (they have no name), and a `serde` model.

mod number;
mod read;
mod token;
mod write;

pub use read::from_json;
pub use write::to_json;

/// Deepest nesting of arrays and objects under an unknown key. They are skipped, so real depth
/// is no loss; the bound keeps the skipper off the end of the stack.
pub const UNKNOWN_NESTING_MAX: usize = 64;

/// Why a JSON request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The text is not JSON, or not what OTLP says stands there.
    #[error("not valid OTLP/JSON at line {line}, column {column}{path}: {what}")]
    Text {
        what: &'static str,
        /// From 1.
        line: usize,
        /// In bytes, from 1.
        column: usize,
        /// Empty at the top, else such as ` in resourceSpans[0].scopeSpans[2]`.
        path: String,
    },
    /// More than a bound allows.
    #[error("too many {what}: a request may hold {limit}")]
    TooMany { what: &'static str, limit: usize },
    /// Values nested deeper than the bound.
    #[error("attribute values are nested deeper than {limit} levels")]
    TooDeep { limit: usize },
}

impl Malformed {
    /// Whether the request is refused for its size rather than for being wrong.
    pub fn is_too_large(&self) -> bool {
        matches!(self, Malformed::TooMany { .. })
    }
}

#[cfg(test)]
mod tests;

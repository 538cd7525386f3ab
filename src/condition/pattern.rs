//! Regular expressions from a configuration, bounded when compiled.

use crate::limits;
use regex::bytes::{Regex, RegexBuilder};

/// The regular expression `text`; the error is the end of a sentence: `bad regular expression: …`.
/// Matching takes time linear in what is searched, whatever the pattern.
pub fn pattern(text: &str) -> Result<Regex, String> {
    let regex = RegexBuilder::new(text)
        .size_limit(limits::PATTERN_BYTES)
        .dfa_size_limit(limits::PATTERN_BYTES)
        .build();
    regex.map_err(|error| match error {
        regex::Error::CompiledTooBig(most) => {
            format!("the regular expression takes more than {most} bytes compiled")
        }
        error => {
            let error = error.to_string();
            // The last line says what is wrong; those before it draw the place.
            let what = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("bad regular expression: {what}")
        }
    })
}

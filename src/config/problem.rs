//! What is wrong with a configuration, as sentences for an operator.

use std::fmt;

use super::node::Place;

/// Whether a problem stops the configuration from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is not used.
    Error,
    /// The configuration is used; something in it has no effect.
    Warning,
}

/// One thing that is wrong: where, at which path, what was found and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// Where in the sources; `None` where there is no text to point at.
    pub place: Option<Place>,
    /// The path in the Collector's notation, `processors::batch::timeout`; empty at the root.
    pub path: String,
    /// The sentence.
    pub text: String,
}

impl fmt::Display for Problem {
    /// `sidecar.yaml:14:7: processors::batch: unknown key "timeuot"; did you mean "timeout"?`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.text)
    }
}

/// All problems of a configuration. `Display` prints one per line.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// No problems yet.
    pub fn new() -> Problems {
        Problems::default()
    }

    /// Adds an error at `place` (if there is one) about the value at `path`.
    pub fn error(
        &mut self,
        place: impl Into<Option<Place>>,
        path: impl Into<String>,
        text: impl Into<String>,
    ) {
        self.add(Severity::Error, place.into(), path.into(), text.into());
    }

    /// Adds a warning at `place` (if there is one) about the value at `path`.
    pub fn warning(
        &mut self,
        place: impl Into<Option<Place>>,
        path: impl Into<String>,
        text: impl Into<String>,
    ) {
        self.add(Severity::Warning, place.into(), path.into(), text.into());
    }

    /// Adds a problem as it is.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// All problems, in the order of [`Problems::sort`] or else in that of finding.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// The problems that stop the configuration from being used.
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter().filter(|p| p.severity == Severity::Error)
    }

    /// The problems that do not.
    pub fn warnings(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter().filter(|p| p.severity == Severity::Warning)
    }

    /// Whether any problem is an error.
    pub fn has_errors(&self) -> bool {
        self.errors().next().is_some()
    }

    /// Whether there is neither an error nor a warning.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Orders the problems as a reader of the sources meets them.
    pub fn sort(&mut self) {
        self.0.sort_by(|a, b| a.place.cmp(&b.place));
    }

    /// `value` with the warnings if nothing is an error, else all problems.
    pub fn into_result<T>(self, value: T) -> Result<(T, Problems), Problems> {
        if self.has_errors() { Err(self) } else { Ok((value, self)) }
    }

    fn add(&mut self, severity: Severity, place: Option<Place>, path: String, text: String) {
        self.0.push(Problem { severity, place, path, text });
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Problems {
        Problems(vec![problem])
    }
}

impl Extend<Problem> for Problems {
    fn extend<I: IntoIterator<Item = Problem>>(&mut self, problems: I) {
        self.0.extend(problems);
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_read_as_sentences_in_the_order_of_the_file() {
        let mut problems = Problems::new();
        problems.warning(Place::new("a.yaml", 9, 2), "exporters::debug", "is not used");
        problems.error(Place::new("a.yaml", 2, 7), "receivers", "unknown key \"x\"");
        problems.error(None, "", "no configuration given");
        problems.sort();
        assert_eq!(
            problems.to_string(),
            "no configuration given\n\
             a.yaml:2:7: receivers: unknown key \"x\"\n\
             a.yaml:9:2: warning: exporters::debug: is not used"
        );
        assert_eq!((problems.errors().count(), problems.warnings().count()), (2, 1));
    }
}

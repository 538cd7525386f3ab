//! The latest findings: what processors noted about single traces, for whoever looks at the daemon
//! now. The counters say how many there were.
//!
//! A finding names a place (service, span, trace) and holds no value of an attribute. What stands
//! in it was chosen by clients, so texts are cut and their number is bounded. Time comes in.

use crate::limits;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Something that a processor found in a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    /// The id of the processor.
    pub processor: String,
    /// What was found, such as `tool_call_root`.
    pub signature: String,
    /// The `service.name` of the span's resource.
    pub service: String,
    /// The span's name.
    pub span: String,
    /// 16 bytes.
    pub trace_id: Vec<u8>,
}

/// The latest [`limits::FINDINGS`] findings. Cloning shares them.
#[derive(Clone, Default)]
pub struct Findings(Arc<Mutex<VecDeque<Finding>>>);

impl Findings {
    /// Notes a finding in place of the oldest one.
    pub fn note(&self, mut finding: Finding) {
        for text in [&mut finding.service, &mut finding.span] {
            text.truncate(text.floor_char_boundary(limits::FINDING_TEXT_BYTES));
        }
        let mut findings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        findings.truncate(limits::FINDINGS - 1);
        findings.push_front(finding);
    }

    /// All that are kept, the newest first.
    pub fn latest(&self) -> Vec<Finding> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stand_first_and_the_oldest_go() {
        let findings = Findings::default();
        for time in 0..limits::FINDINGS as u64 + 3 {
            findings.note(Finding { time, ..Finding::default() });
        }
        let times: Vec<u64> = findings.latest().iter().map(|finding| finding.time).collect();
        let newest = limits::FINDINGS as u64 + 2;
        assert_eq!(times, (3..=newest).rev().collect::<Vec<_>>());
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let findings = Findings::default();
        let span = "ä".repeat(limits::FINDING_TEXT_BYTES);
        findings.note(Finding { span, ..Finding::default() });
        let kept = findings.latest().remove(0).span;
        assert!(kept.len() <= limits::FINDING_TEXT_BYTES && kept.chars().all(|c| c == 'ä'));
    }
}

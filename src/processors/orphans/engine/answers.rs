//! Mode `link`: parents are linked to their heads too, while they can still be had.

use super::super::Mode;
use super::super::facts::Facts;
use super::super::judge::Verdict;
use super::super::tags::Finding;
use super::Orphans;
use crate::moment::Moment;
use crate::otlp::edit::Edits;

impl Orphans {
    /// Links the parent of a head to it, if it can still be had.
    pub(super) fn link_back(&mut self, head: &Facts, finding: &Finding, edits: &mut Edits) {
        let linked = finding.parent.as_ref().filter(|_| self.mode == Mode::Link);
        if let Some(parent) = linked {
            let passed = self.seen.contains(parent.trace, parent.span);
            let parent = ((parent.trace, parent.span), passed);
            self.backs.link(parent, (head.trace, head.span), finding, edits);
        }
    }

    /// Decides on heads that are held and that spans of this batch have called, while those can
    /// still be linked to them.
    pub(super) fn answer(&mut self, now: Moment, edits: &mut Edits) {
        for key in std::mem::take(&mut self.awaited) {
            for waiting in self.hold.naming(key) {
                let Some(head) = self.hold.head(waiting).cloned() else { continue };
                let Verdict::Tag(finding) = self.judge(now).first(&head) else { continue };
                let Some(parent) = &finding.parent else { continue };
                let (trace, span) = (parent.trace, parent.span);
                if self.backs.is_here((trace, span)) || !self.seen.contains(trace, span) {
                    self.link_back(&head, &finding, edits);
                    self.hold.decide(waiting, *finding);
                }
            }
        }
        self.backs.end();
    }
}

//! Heads that have waited leave.

use super::super::Mode;
use super::super::hold::{Block, Head};
use super::super::judge::Verdict;
use super::super::{learning, rewrite};
use super::Orphans;
use crate::moment::Moment;
use crate::processors::Out;

/// What a block may still wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    Nothing,
    /// Nothing, for want of memory.
    Room,
    /// Fragments that are held, and that its own go into.
    Others,
    /// Those, and evidence.
    All,
}

impl Orphans {
    /// Judges the heads of a block. Yields what of it is to wait longer: for evidence, or for the
    /// fragments into which its own go.
    pub(super) fn release(
        &mut self,
        mut block: Block,
        waits: Waits,
        now: Moment,
        out: &mut Out,
    ) -> Option<Block> {
        let waited = |came| now.monotonic.saturating_sub(came);
        let most = self.hold_max;
        let long = |came| waited(came) >= most;
        let last = |came| waits != Waits::All || long(came);
        let alone = matches!(waits, Waits::Nothing | Waits::Room) || long(block.came);
        let whole = self.mode == Mode::Rewrite;
        let mut longer = None;
        if !block.judge(&mut self.judge(now), last, whole) {
            if whole || block.heads().all(Head::waits) {
                return Some(block);
            }
            (block, longer) = block.part();
        }
        let mut moves = vec![];
        if whole {
            if !alone && rewrite::awaits(&block, &self.hold) {
                return Some(block);
            }
            let known = (&mut self.index, &mut self.seen);
            moves = self.rewrites.decide(&block, known, now);
            self.rewrites.close(&block);
        }
        let mut edits = std::mem::take(&mut self.edits);
        let heads = std::mem::take(&mut block.heads);
        for (head, item) in heads.into_iter().zip(block.spans()) {
            let mended = rewrite::mend(item, &moves, &self.tags, &mut edits);
            let Some(Head { facts: head, came, verdict, decided }) = head else { continue };
            match (verdict, head.parent) {
                (Some(Verdict::Tag(mut finding)), _) => {
                    finding.wait_ms = i64::try_from(waited(came).as_millis()).ok();
                    if waits == Waits::Room {
                        finding.give_up();
                    }
                    if decided.is_none() {
                        self.link_back(&head, &finding, &mut edits);
                    }
                    self.leaves(item.0.start, &head, &finding, came);
                    self.tag(item.0.start, (&head, *finding), mended, now, &mut edits);
                }
                (_, Some(parent)) if self.seen.contains(head.trace, parent) => {
                    let span = (&head, parent);
                    learning::learn(&mut self.index, &self.meters, span, true, now);
                }
                (_, Some(_)) => self.meters.open.add(1),
                _ => {}
            }
        }
        self.found(block.batch.request(), now);
        self.remember(block.batch.request(), now);
        let tagged = !edits.is_empty();
        out.pass(if tagged { block.batch.edited(&mut edits) } else { block.batch });
        self.edits = edits;
        longer
    }
}

//! Heads that have waited leave.

use super::super::Mode;
use super::super::facts::Facts;
use super::super::hold::Block;
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
    /// Judges the heads of a block. Yields the block again if it is to wait longer: for evidence,
    /// or for the fragments into which its own go.
    pub(super) fn release(
        &mut self,
        mut block: Block,
        waits: Waits,
        now: Moment,
        out: &mut Out,
    ) -> Option<Block> {
        let waited = now.monotonic.saturating_sub(block.came);
        let last = waits != Waits::All || waited >= self.hold_max;
        let alone = matches!(waits, Waits::Nothing | Waits::Room) || waited >= self.hold_max;
        if !block.judge(&mut self.judge(now), last) {
            return Some(block);
        }
        let mut moves = vec![];
        if self.mode == Mode::Rewrite {
            if !alone && rewrite::awaits(&block, &self.hold) {
                return Some(block);
            }
            let known = (&mut self.index, &mut self.seen);
            moves = self.rewrites.decide(&block, known, now);
            self.rewrites.close(&block);
        }
        let mut edits = std::mem::take(&mut self.edits);
        let verdicts = std::mem::take(&mut block.verdicts);
        let heads = verdicts.into_iter().zip(&block.heads);
        for (((verdict, head), item), number) in heads.zip(block.spans()).zip(0..) {
            let mended = rewrite::mend(item, &moves, &self.tags, &mut edits);
            match (verdict, head) {
                (Some(Verdict::Tag(mut finding)), Some(head)) => {
                    finding.wait_ms = i64::try_from(waited.as_millis()).ok();
                    if waits == Waits::Room {
                        finding.give_up();
                    }
                    if block.decided(number).is_none() {
                        self.link_back(head, &finding, &mut edits);
                    }
                    self.leaves(item.0.start, head, &finding, block.came);
                    self.tag(item.0.start, (head, *finding), mended, now, &mut edits);
                }
                (_, Some(head @ Facts { parent: Some(parent), .. })) => {
                    if self.seen.contains(head.trace, *parent) {
                        let span = (head, *parent);
                        learning::learn(&mut self.index, &self.meters, span, true, now);
                    } else {
                        self.meters.open.add(1);
                    }
                }
                _ => {}
            }
        }
        self.found(block.batch.request(), now);
        self.remember(block.batch.request(), now);
        let tagged = !edits.is_empty();
        out.pass(if tagged { block.batch.edited(&mut edits) } else { block.batch });
        self.edits = edits;
        None
    }
}

//! How many bytes of telemetry this process holds, and how many it may.
//!
//! Every byte is charged when it is read from a socket and given back when nobody holds it any
//! longer: the charge travels in the batch, through processors, queues and attempts. That count
//! is what memory is limited by, and not the resident set: allocators keep freed pages for a
//! while, so that a resident set stays high when the memory is long free for use, and whoever
//! refuses by it refuses for too long. The count is exact at every moment, needs no sampling, and
//! comes down the moment a batch is delivered.
//!
//! Not counted: what surrounds the telemetry (connections, tables of processors, copies that an
//! edit or a compressor makes for a moment). [`Limit`] keeps a share free for it.

use crate::limits;
use crate::verdict::{Refusal, Verdict};
use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Memory that telemetry of `bytes` takes: allocators round up by an eighth at most, and what
/// comes and goes leaves gaps.
pub fn footprint(bytes: usize) -> usize {
    bytes.saturating_add(bytes / limits::ROUNDED_SHARE).saturating_add(limits::BATCH_OVERHEAD)
}

/// The bytes that are held. Cloning shares the count.
#[derive(Clone, Default)]
pub struct Account {
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    held: AtomicUsize,
    /// Bytes that requests which have begun announce beyond those of them that are held.
    expected: AtomicUsize,
    /// Wakes the one who waits for either to become less.
    freed: Notify,
}

impl Account {
    /// Bytes held now.
    pub fn held(&self) -> usize {
        self.counts.held.load(Relaxed)
    }

    /// Waits until something was given back. One caller at a time.
    pub fn freed(&self) -> Notified<'_> {
        self.counts.freed.notified()
    }

    /// Counts `bytes` until the charge is dropped.
    pub fn charge(&self, bytes: usize) -> Charge {
        self.counts.held.fetch_add(bytes, Relaxed);
        Charge { account: self.clone(), bytes, expected: 0 }
    }
}

/// Bytes counted in an account until dropped.
pub struct Charge {
    account: Account,
    bytes: usize,
    expected: usize,
}

impl Charge {
    /// The account in which it counts.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Counts `bytes` from now on, and expects no more.
    pub fn resize(&mut self, bytes: usize) {
        if move_to(&self.account.counts.held, &mut self.bytes, bytes) {
            self.account.counts.freed.notify_one();
        }
        self.expect(0);
    }

    /// Expects `bytes` beyond those that count.
    fn expect(&mut self, bytes: usize) {
        if move_to(&self.account.counts.expected, &mut self.expected, bytes) {
            self.account.counts.freed.notify_one();
        }
    }

    /// Counts at least `bytes`, unless the account would hold more than `most`. Whether it does.
    fn grow(&mut self, bytes: usize, most: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let fits = |held: usize| held.checked_add(more).filter(|held| *held <= most);
        let held = &self.account.counts.held;
        if more > 0 && held.fetch_update(Relaxed, Relaxed, fits).is_err() {
            return false;
        }
        self.bytes += more;
        self.expect(self.expected.saturating_sub(more));
        true
    }
}

/// Lets `own`, a part of `count`, be `to`. Whether that is less than before.
fn move_to(count: &AtomicUsize, own: &mut usize, to: usize) -> bool {
    let order = to.cmp(own);
    match order {
        Ordering::Greater => count.fetch_add(to - *own, Relaxed),
        Ordering::Less => count.fetch_sub(*own - to, Relaxed),
        Ordering::Equal => return false,
    };
    *own = to;
    order == Ordering::Less
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.resize(0);
    }
}

/// How much an account may hold. Cloning shares it.
#[derive(Clone)]
pub struct Limit {
    account: Account,
    /// Bytes up to which more is let in.
    soft: usize,
    /// Bytes above which even what was let in is turned away.
    hard: usize,
    /// Called for each request that is turned away unread.
    refused: Arc<dyn Fn() + Send + Sync>,
}

impl Limit {
    /// A limit of `hard` bytes, of which `spike` stay free for what is not counted. `refused` is
    /// called for each request that is turned away before its content is known.
    pub fn new(
        account: Account,
        hard: usize,
        spike: usize,
        refused: impl Fn() + Send + Sync + 'static,
    ) -> Limit {
        Limit { account, soft: hard.saturating_sub(spike), hard, refused: Arc::new(refused) }
    }

    /// The stricter of two limits.
    pub fn stricter(self, other: Limit) -> Limit {
        if other.soft < self.soft { other } else { self }
    }

    /// The account that it limits.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Bytes that stay free for what is not counted.
    pub fn spike(&self) -> usize {
        self.hard - self.soft
    }

    /// Whether a request of which `bytes` are announced may begin. What others that have begun
    /// announce beyond what is held of them is left to them, up to a share of the limit, so that
    /// they are seldom turned away half read. It is no more than they announce: when the last of
    /// them is read, all that a backend takes is room for the next.
    pub fn has_room(&self, bytes: usize) -> bool {
        let expected = self.account.counts.expected.load(Relaxed);
        let left = expected.min(self.soft / limits::BEGUN_SHARE);
        self.account.held().saturating_add(Limit::need(bytes)) <= self.soft - left
    }

    /// As [`Limit::has_room`], and if so counts what is announced as expected by `charge`.
    pub fn begin(&self, charge: &mut Charge, bytes: usize) -> bool {
        let fits = self.has_room(bytes);
        if fits {
            charge.expect(Limit::need(bytes).saturating_sub(charge.bytes));
        }
        fits
    }

    /// What the client of a request is told of which `bytes` are announced, and for which there is
    /// no room.
    pub fn refusal(&self, bytes: usize) -> Verdict {
        let need = Limit::need(bytes);
        (self.refused)();
        if need <= self.soft {
            return self.busy();
        }
        let text = format!(
            "memory_limiter: with the copies that are made of it the request takes {} MiB, and \
             {} MiB are let in; send smaller batches",
            mib(need),
            mib(self.soft)
        );
        Verdict::refused(Refusal::TooLarge, text)
    }

    /// Whether a request of `bytes` could ever begin.
    pub fn is_possible(&self, bytes: usize) -> bool {
        Limit::need(bytes) <= self.soft
    }

    /// Lets `charge` count at least a request of `bytes`, if it fits.
    pub fn grow(&self, charge: &mut Charge, bytes: usize) -> Result<(), Verdict> {
        match charge.grow(Limit::need(bytes), self.soft) {
            true => Ok(()),
            false => Err(self.refusal(bytes)),
        }
    }

    /// What a request of `bytes` takes on its way to its pipeline. One that is larger than a
    /// request to a backend is going to be split, and so copied.
    fn need(bytes: usize) -> usize {
        match bytes > limits::EXPORT_BYTES {
            true => footprint(bytes).saturating_mul(2),
            false => footprint(bytes),
        }
    }

    /// Whether more is held than even what was let in may take.
    pub fn is_exceeded(&self) -> bool {
        self.account.held() > self.hard
    }

    /// What a client is told that is to come back.
    pub fn busy(&self) -> Verdict {
        let (held, soft) = (mib(self.account.held()), mib(self.soft));
        Verdict::busy(format!("memory_limiter: {held} MiB of {soft} MiB are in use"))
    }
}

/// Whole MiB, for people.
fn mib(bytes: usize) -> usize {
    bytes.div_ceil(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn limit(hard: usize, spike: usize) -> (Limit, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let refused = move || {
            counted.fetch_add(1, Relaxed);
        };
        (Limit::new(Account::default(), hard, spike, refused), calls)
    }

    #[test]
    fn what_is_charged_counts_until_it_is_dropped() {
        let account = Account::default();
        let mut first = account.charge(10);
        let second = account.charge(5);
        assert_eq!(account.held(), 15);
        first.resize(3);
        assert_eq!(account.held(), 8);
        first.resize(30);
        assert_eq!(account.held(), 35);
        drop((first, second));
        assert_eq!(account.held(), 0);
    }

    /// The bytes of telemetry that take `kib` KiB.
    fn of(kib: usize) -> usize {
        let bytes = (kib * 1024).saturating_sub(limits::BATCH_OVERHEAD) / 9 * 8;
        assert!(footprint(bytes).abs_diff(kib * 1024) < 16 || kib == 0);
        bytes
    }

    #[test]
    fn more_is_let_in_up_to_the_soft_limit_and_a_refusal_leaves_no_trace() {
        let (limit, refused) = limit(100 * MIB, 20 * MIB);
        let mut charge = limit.account().charge(0);
        // What is larger than 1 MiB counts twice, since it is going to be copied.
        for (kib, fits, held) in
            [(1024, true, 1), (1, true, 1), (20 << 10, true, 40), (40 << 10, true, 80)]
        {
            assert_eq!(limit.grow(&mut charge, of(kib)).is_ok(), fits, "{kib}");
            assert_eq!(limit.account().held().div_ceil(MIB), held, "{kib}");
        }
        assert!(limit.grow(&mut charge, of(41 << 10)).is_err());
        assert_eq!((limit.account().held().div_ceil(MIB), refused.load(Relaxed)), (80, 1));
        assert!(!limit.has_room(0));
        assert!(!limit.is_exceeded());
        let more = limit.account().charge(20 * MIB + MIB / 2);
        assert!(limit.is_exceeded());
        drop((charge, more));
        assert!(limit.has_room(of(39 << 10)));
    }

    /// The largest request that may begin, in KiB that it takes, of those up to 1 MiB.
    fn free(limit: &Limit) -> Option<usize> {
        (0..=1024).step_by(128).take_while(|kib| limit.has_room(of(*kib))).last()
    }

    #[test]
    fn room_is_left_to_what_has_begun_and_no_more_than_it_announces() {
        let (limit, _) = limit(100 * MIB, 20 * MIB);
        let _others = limit.account().charge(80 * MIB - 1537 * 1024);
        let mut charge = limit.account().charge(0);
        assert!(limit.begin(&mut charge, of(1024)));
        for came in [0, 256, 512] {
            assert!(limit.grow(&mut charge, of(came)).is_ok());
            assert_eq!(free(&limit), Some(512), "whether it came or comes changes nothing: {came}");
        }
        charge.resize(footprint(of(512)));
        assert_eq!(free(&limit), Some(1024), "it was only half of what it announced");
    }

    #[test]
    fn however_much_is_announced_an_eighth_is_left_to_it() {
        let (limit, _) = limit(100 * MIB, 20 * MIB);
        let mut charges = [(); 4].map(|()| limit.account().charge(0));
        assert!(charges.iter_mut().all(|charge| limit.begin(charge, 8 * MIB)));
        let others = limit.account().charge(70 * MIB - 513 * 1024);
        assert_eq!(free(&limit), Some(512));
        drop((others, charges));
        assert_eq!(limit.account().counts.expected.load(Relaxed), 0);
    }

    #[test]
    fn what_never_fits_is_refused_for_good() {
        let (limit, _) = limit(100 * MIB, 20 * MIB);
        assert!(!limit.is_possible(40 * MIB) && limit.is_possible(35 * MIB));
        let Verdict::Refused(refused) = limit.refusal(40 * MIB) else { panic!("not refused") };
        assert_eq!(refused.kind, Refusal::TooLarge);
        assert!(refused.reason.contains("send smaller batches"), "{}", refused.reason);
    }

    #[test]
    fn the_stricter_limit_lets_in_less() {
        let account = Account::default();
        let of = |hard, spike| Limit::new(account.clone(), hard, spike, || ());
        let limit = of(100, 10).stricter(of(120, 50)).stricter(of(100, 20));
        assert_eq!((limit.soft, limit.spike()), (70, 50));
    }
}

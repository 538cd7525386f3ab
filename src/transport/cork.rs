//! Holds back small writes for a moment, so that those that come together go out in one.
//!
//! A write to a socket costs as much as the work on a small request: a system call, a packet, and
//! the waking of whoever reads. When several requests of a connection are answered at once, the
//! runtime runs the connection's task after each answer, and each would be a write. So a small
//! write first waits until all tasks that are ready have had their turn; on an idle runtime that
//! is at once. A large one does not wait.

use std::task::{Context, Poll};

/// Bytes from which on a write does not wait: an exporter's data, in frames of 16 KiB at least.
const LARGE: usize = 4 << 10;

/// What holds back the writes of one connection.
#[derive(Default)]
pub struct Cork {
    /// Whether a write has waited and is not done yet.
    waited: bool,
}

impl Cork {
    /// Does `write`, which is of `bytes`, when it is time to. Until then the task is woken, behind
    /// all that are ready.
    pub fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        bytes: usize,
        write: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if bytes < LARGE && !self.waited {
            self.waited = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let written = write(context);
        self.waited &= written.is_pending();
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Task>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What becomes of attempts to write, of these sizes: `w` waits and is woken, `b` is kept by a
    /// busy socket, `d` is done. The socket is busy at the attempts whose number is in `busy`.
    fn attempts(sizes: &[usize], busy: &[usize]) -> String {
        let (mut cork, task) = (Cork::default(), Arc::<Task>::default());
        let waker = Waker::from(task.clone());
        let attempt = |(number, bytes): (usize, &usize)| {
            let woken = task.0.load(Ordering::Relaxed);
            let mut tried = false;
            let written = cork.poll(&mut Context::from_waker(&waker), *bytes, |_| {
                tried = true;
                if busy.contains(&number) { Poll::Pending } else { Poll::Ready(()) }
            });
            assert_eq!(tried, task.0.load(Ordering::Relaxed) == woken, "woken or tried");
            match written {
                Poll::Pending if !tried => 'w',
                Poll::Pending => 'b',
                Poll::Ready(()) => 'd',
            }
        };
        sizes.iter().enumerate().map(attempt).collect()
    }

    #[test]
    fn a_small_write_waits_once_and_a_large_one_never() {
        assert_eq!(attempts(&[36, 72, 36, 36], &[]), "wdwd");
        assert_eq!(attempts(&[36, LARGE, 36, 36], &[]), "wdwd");
        assert_eq!(attempts(&[LARGE, LARGE, LARGE - 1, LARGE - 1], &[]), "ddwd");
    }

    #[test]
    fn what_has_waited_does_not_wait_again_when_the_socket_was_busy() {
        assert_eq!(attempts(&[36, 36, 72, 36], &[1]), "wbdw");
        assert_eq!(attempts(&[LARGE, 36, 36], &[0]), "bwd");
    }
}

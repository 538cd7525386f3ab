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

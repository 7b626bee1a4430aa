//! What a session has written itself, it sees: no staleness goes back beyond that.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// When a session last committed something.
#[derive(Debug, Default)]
pub(crate) struct OwnWrites {
    /// A statement that writes was begun; it is over when the next one begins.
    begun: AtomicBool,
    /// Milliseconds since the epoch; not before the last commit.
    over_at: AtomicI64,
}

impl OwnWrites {
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    /// How old an answer may be now of which `wanted` is allowed, both in milliseconds.
    pub fn staleness(&self, now: i64, wanted: i64) -> i64 {
        if self.begun.swap(false, Ordering::Relaxed) {
            self.over_at.store(now, Ordering::Relaxed);
        }
        wanted.min(now.saturating_sub(self.over_at.load(Ordering::Relaxed)))
    }
}

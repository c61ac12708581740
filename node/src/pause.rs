//! CLIENT PAUSE: no client's commands are carried out for a while.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use shared::time::MonoMillis;

/// Whether commands are held back, and which. What peers write is merged all the same.
#[derive(Default)]
pub(crate) struct Pause {
    /// By the monotonic clock; 0 if there is none.
    until_ms: AtomicU64,
    /// Or only those that write.
    holds_all: AtomicBool,
    /// How many clients wait for its end.
    held: AtomicUsize,
}

impl Pause {
    /// Holds commands back until then. A pause that is under way is not shortened, nor lets more through than before.
    pub(crate) fn begin(&self, until: MonoMillis, holds_all: bool, now: MonoMillis) {
        let held_all = self.is_on(now) && self.holds_all.load(Ordering::Acquire);
        self.holds_all.store(holds_all || held_all, Ordering::Release);
        self.until_ms.fetch_max(until.0, Ordering::AcqRel);
    }

    /// Commands are carried out again.
    pub(crate) fn end(&self) {
        self.until_ms.store(0, Ordering::Release);
    }

    /// A client begins to wait for the end.
    pub(crate) fn hold(&self) {
        self.held.fetch_add(1, Ordering::Relaxed);
    }

    /// A client waits no longer.
    pub(crate) fn release(&self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many clients wait.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether any commands are held back.
    pub(crate) fn is_on(&self, now: MonoMillis) -> bool {
        let until_ms = self.until_ms.load(Ordering::Relaxed);
        until_ms > 0 && now.0 < until_ms
    }

    /// Whether all are, and not only those that write. Asked while there is a pause.
    pub(crate) fn holds_all(&self) -> bool {
        self.holds_all.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_in_time_and_is_not_shortened() {
        let (pause, at) = (Pause::default(), MonoMillis);
        assert!(!pause.is_on(at(0)));
        pause.begin(at(100), true, at(0));
        pause.begin(at(50), false, at(10));
        assert!(pause.is_on(at(99)) && pause.holds_all() && !pause.is_on(at(100)));
        pause.begin(at(300), false, at(200));
        assert!(pause.is_on(at(200)) && !pause.holds_all());
        pause.end();
        assert!(!pause.is_on(at(200)));
    }
}

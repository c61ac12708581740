//! The order in which the node's locks are taken.
//!
//! Problem: an EXEC with a write and INFO in it holds its shards and the log, and asks for the group. Whoever holds the
//! group's lock and waits for the log, or holds the log's and waits for a shard, could wait for it for ever.
//!
//! Rule: who holds one of these waits for none that stands before it.
//!
//! ```text
//! conversations, reissue      what is settled with peers, and how far re-issuing is: never both
//! applying                    one remote batch at a time
//! shards                      several only at once, in their order
//! log
//! membership                  the group
//! readiness, conversation_status, peers, random ...       plain data: nothing is waited for under them
//! ```
//!
//! The three that commands share with everything else are checked, in debug builds: every test of a whole node, and every
//! run of the simulator, so finds a wrong order, though nobody else holds anything at that moment.

use std::ops::{Deref, DerefMut};

use parking_lot::{Mutex, MutexGuard};

/// A lock that only the leaves are taken under.
#[derive(Debug)]
pub(crate) struct Inner<T>(Mutex<T>);

/// See [`Inner`].
pub(crate) struct InnerGuard<'a, T> {
    guard: MutexGuard<'a, T>,
    _held: Held,
}

impl<T> Inner<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> InnerGuard<'_, T> {
        before(Level::Membership);
        InnerGuard { guard: self.0.lock(), _held: Held::new(Level::Membership) }
    }
}

impl<T> Deref for InnerGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for InnerGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// What is checked, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Shards,
    Log,
    Membership,
}

/// This thread holds a lock of that level.
pub(crate) struct Held {
    #[cfg(debug_assertions)]
    level: Level,
}

#[cfg(debug_assertions)]
mod checked {
    use std::cell::RefCell;

    use super::{Held, Level};

    thread_local! {
        static HELD: RefCell<Vec<Level>> = const { RefCell::new(Vec::new()) };
    }

    /// A lock of this level is about to be taken.
    pub(crate) fn before(level: Level) {
        HELD.with_borrow(|held| {
            let is_last = held.iter().all(|held| *held < level);
            assert!(is_last, "a lock of {level:?} is taken under {held:?}: see lock_order");
        });
    }

    impl Held {
        pub(crate) fn new(level: Level) -> Self {
            HELD.with_borrow_mut(|held| held.push(level));
            Self { level }
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            HELD.with_borrow_mut(|held| {
                let last = held.iter().rposition(|held| *held == self.level);
                last.map(|last| held.swap_remove(last));
            });
        }
    }
}

#[cfg(debug_assertions)]
pub(crate) use checked::before;

/// A lock of this level is about to be taken.
#[cfg(not(debug_assertions))]
pub(crate) const fn before(_: Level) {}

#[cfg(not(debug_assertions))]
impl Held {
    pub(crate) const fn new(_: Level) -> Self {
        Self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "a lock of Log is taken under [Membership]")]
    fn who_holds_the_group_does_not_wait_for_the_log() {
        let group = Inner::new(());
        let _guard = group.lock();
        before(Level::Log);
    }

    #[test]
    fn what_was_given_back_is_held_no_more() {
        let group = Inner::new(());
        drop(group.lock());
        before(Level::Shards);
        let _log = Held::new(Level::Log);
        drop(group.lock());
    }
}

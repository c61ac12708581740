//! Keyspace notifications of a transaction: noted while it holds its locks, sent by who ends it.

use shared::change::{Change, Op};

use super::Transaction;
use crate::notifications::{Class, Notices, creates, ends_expired};
use crate::store::key::Key;

/// What a change will do to its key besides what its command tells.
pub(super) struct Foreseen {
    ends_expired: bool,
    creates: bool,
}

impl<'a> Transaction<'a> {
    /// Tells an event of a key to who listens to such, when the transaction has ended.
    pub(crate) fn notify(&mut self, class: Class, event: &'static str, key: &Key<'_>) {
        self.notices.note(class, event, key);
    }

    /// As [`Transaction::notify`], of something that was taken from a key: if nothing is left the key is told as deleted, too.
    pub(crate) fn notify_taken(&mut self, class: Class, event: &'static str, key: &Key<'_>) {
        self.notify(class, event, key);
        if self.notices.wanted.has(Class::Generic) && !self.exists(key) {
            self.notify(Class::Generic, "del", key);
        }
    }

    /// As [`Transaction::exists`], and tells who listens to such that it was looked for in vain.
    pub(crate) fn look_for(&mut self, key: &Key<'_>) -> bool {
        let exists = self.exists(key);
        if !exists {
            self.notices.note_miss(key);
        }
        exists
    }

    /// Tells who listens to such which of these keys are not there.
    pub(crate) fn tell_missing(&mut self, db: u8, keys: &[&[u8]]) {
        if self.notices.wanted.has(Class::Miss) {
            keys.iter().for_each(|key| {
                self.look_for(&Key::new(db, key));
            });
        }
    }

    /// What was noted.
    pub(crate) fn take_notices(&mut self) -> Notices {
        std::mem::take(&mut self.notices)
    }

    pub(super) fn foresee(&self, change: &Change<'_>) -> Option<Foreseen> {
        let is_of_key = creates(&change.op) || ends_expired(&change.op);
        if !self.notices.wanted.is_any() || !is_of_key {
            return None;
        }
        let key = Key::new(change.db, &change.key);
        let is_replaced = self.replaced.as_ref() == Some(&key);
        Some(Foreseen {
            ends_expired: ends_expired(&change.op) && self.has_expired(&key),
            creates: creates(&change.op) && !is_replaced && !self.exists(&key),
        })
    }

    pub(super) fn note_foreseen(&mut self, foreseen: &Foreseen, change: &Change<'_>) {
        let key = Key::new(change.db, &change.key);
        let survives = || {
            matches!(change.op, Op::Mark { .. })
                && self.locked.of(&key).find(&key).is_some_and(|entry| entry.kind().is_some())
        };
        if foreseen.ends_expired && !survives() {
            self.notify(Class::Expired, "expired", &key);
        }
        if foreseen.creates {
            self.notify(Class::New, "new", &key);
        }
    }
}

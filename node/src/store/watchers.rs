//! Who watches which of a shard's keys, for WATCH.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::key::Key;

/// Set when a watched key changes. Bounded by the clients' WATCHes.
pub(crate) type Watcher = Arc<AtomicBool>;

/// The watchers of a shard's keys. Empty nearly always.
#[derive(Default)]
pub(super) struct Watchers {
    keys: HashMap<(u8, Box<[u8]>), Vec<Watching>>,
}

/// A watcher of a key.
struct Watching {
    watcher: Watcher,
    /// Whether the key had expired when the watch began: then it does not change when it goes.
    had_expired: bool,
}

impl Watchers {
    pub(super) fn add(&mut self, key: &Key<'_>, watcher: Watcher, had_expired: bool) {
        let watchers = self.keys.entry((key.db, key.bytes.into())).or_default();
        watchers.push(Watching { watcher, had_expired });
    }

    pub(super) fn remove(&mut self, key: &Key<'_>, watcher: &Watcher) {
        let id = (key.db, Box::from(key.bytes));
        if let Some(watchers) = self.keys.get_mut(&id) {
            watchers.retain(|other| !Arc::ptr_eq(&other.watcher, watcher));
            if watchers.is_empty() {
                self.keys.remove(&id);
            }
        }
    }

    /// The key has changed.
    pub(super) fn tell(&self, key: &Key<'_>) {
        if self.keys.is_empty() {
            return;
        }
        if let Some(watchers) = self.keys.get(&(key.db, Box::from(key.bytes))) {
            watchers.iter().for_each(Watching::tell);
        }
    }

    /// All keys of the database go, of which those that `exists` finds were there.
    pub(super) fn tell_flushed(&self, db: u8, exists: impl Fn(&Key<'_>) -> bool) {
        for ((watched, bytes), watchers) in &self.keys {
            if *watched == db && exists(&Key::new(db, bytes)) {
                watchers.iter().filter(|watching| !watching.had_expired).for_each(Watching::tell);
            }
        }
    }
}

impl Watching {
    fn tell(&self) {
        self.watcher.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_changes_the_keys_that_were_there() {
        let (there, absent, expired) =
            (Key::new(0, b"there"), Key::new(0, b"absent"), Key::new(0, b"expired"));
        let mut watchers = Watchers::default();
        let watch = |watchers: &mut Watchers, key: &Key<'_>, had_expired| {
            let watcher = Watcher::default();
            watchers.add(key, Arc::clone(&watcher), had_expired);
            watcher
        };
        let told = [
            watch(&mut watchers, &there, false),
            watch(&mut watchers, &absent, false),
            watch(&mut watchers, &expired, true),
            watch(&mut watchers, &Key { db: 1, ..there }, false),
        ];
        watchers.tell_flushed(0, |key| *key != absent);
        assert_eq!(told.map(|watcher| watcher.load(Ordering::Relaxed)), [true, false, false, false]);
    }
}

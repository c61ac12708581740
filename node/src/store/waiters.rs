//! Who waits for elements at which of a shard's keys, and which of these keys have changed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::key::Key;

/// A key, by its database and name.
type KeyName = (u8, Box<[u8]>);

/// Keys that have changed while somebody waits at them. Bounded by the keys that are waited at: each is in it once.
#[derive(Default)]
pub(crate) struct ReadyKeys {
    keys: Mutex<VecDeque<KeyName>>,
    /// How many are in it or being served.
    left: AtomicUsize,
}

impl ReadyKeys {
    /// Whether there is nobody to serve, and nobody is being served.
    pub(crate) fn is_empty(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }

    /// The key that has been ready for longest. It is to be told when it is [done](ReadyKeys::done).
    pub(crate) fn next(&self) -> Option<KeyName> {
        self.keys.lock().pop_front()
    }

    /// The clients of a key have been served.
    pub(crate) fn done(&self) {
        self.left.fetch_sub(1, Ordering::AcqRel);
    }

    fn add(&self, key: KeyName) {
        self.left.fetch_add(1, Ordering::AcqRel);
        self.keys.lock().push_back(key);
    }
}

/// Those who wait at a shard's keys, by client id. Empty nearly always.
pub(super) struct Waiters {
    keys: HashMap<KeyName, Queue>,
    ready: Arc<ReadyKeys>,
}

/// Those who wait at a key, the longest first.
#[derive(Default)]
struct Queue {
    clients: VecDeque<u64>,
    is_ready: bool,
}

impl Waiters {
    pub(super) fn new(ready: Arc<ReadyKeys>) -> Self {
        Self { keys: HashMap::new(), ready }
    }

    /// The client waits behind all others at the key. A key that it names again counts once.
    pub(super) fn add(&mut self, key: &Key<'_>, client: u64) {
        let clients = &mut self.keys.entry((key.db, key.bytes.into())).or_default().clients;
        if clients.back() != Some(&client) {
            clients.push_back(client);
        }
    }

    pub(super) fn remove(&mut self, key: &Key<'_>, client: u64) {
        let name = (key.db, Box::from(key.bytes));
        let Some(queue) = self.keys.get_mut(&name) else { return };
        if let Some(place) = queue.clients.iter().position(|other| *other == client) {
            queue.clients.remove(place);
        }
        if queue.clients.is_empty() {
            self.keys.remove(&name);
        }
    }

    /// The client that waits behind so many others at the key.
    pub(super) fn nth(&self, key: &Key<'_>, place: usize) -> Option<u64> {
        self.keys.get(&(key.db, Box::from(key.bytes)))?.clients.get(place).copied()
    }

    /// The key has changed.
    pub(super) fn tell(&mut self, key: &Key<'_>) {
        if self.keys.is_empty() {
            return;
        }
        let name = (key.db, Box::from(key.bytes));
        if let Some(queue) = self.keys.get_mut(&name)
            && !std::mem::replace(&mut queue.is_ready, true)
        {
            self.ready.add(name);
        }
    }

    /// What changes from now on is told anew.
    pub(super) fn begin_serving(&mut self, key: &Key<'_>) {
        if let Some(queue) = self.keys.get_mut(&(key.db, Box::from(key.bytes))) {
            queue.is_ready = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_ready_once_until_it_is_served_and_clients_keep_their_order() {
        let ready = Arc::new(ReadyKeys::default());
        let mut waiters = Waiters::new(Arc::clone(&ready));
        let (key, other) = (Key::new(0, b"key"), Key::new(1, b"key"));
        waiters.tell(&key);
        assert!(ready.is_empty(), "nobody waits");
        for client in [7, 7, 3] {
            waiters.add(&key, client);
        }
        waiters.tell(&other);
        waiters.tell(&key);
        waiters.tell(&key);
        assert_eq!(
            (0..3).map(|place| waiters.nth(&key, place)).collect::<Vec<_>>(),
            [Some(7), Some(3), None]
        );
        assert_eq!((ready.next(), ready.next()), (Some((0, Box::from(*b"key"))), None));
        assert!(!ready.is_empty(), "it is being served");
        waiters.begin_serving(&key);
        waiters.remove(&key, 7);
        waiters.tell(&key);
        ready.done();
        assert!(ready.next().is_some(), "it has changed again");
        ready.done();
        waiters.remove(&key, 3);
        waiters.tell(&key);
        assert!(ready.is_empty());
    }
}

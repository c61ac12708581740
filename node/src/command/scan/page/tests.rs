use std::collections::{HashMap, HashSet};

use shared::change::{Change, Op};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::version::Version;

use super::*;
use crate::random::Random;
use crate::store::rich::Source;
use crate::store::shard::{Writer, merge_change};
use crate::store::{ShardSet, Store};

const NOW: WallMillis = WallMillis(1_000);

/// A store that is written to, each write newer than the one before.
struct Keyspace {
    store: Store,
    written: u64,
}

impl Keyspace {
    fn new() -> Self {
        Self { store: Store::new(), written: 0 }
    }

    fn write(&mut self, key: &str, op: Op<'_>) {
        self.written += 1;
        let origin = Origin(1);
        let at = Version::new(Timestamp(self.written), origin);
        let writer = Writer {
            at,
            index: self.store.origins.intern(origin).unwrap(),
            source: Source::Local,
            usage: None,
        };
        let mut locked = self.store.lock(ShardSet::ALL);
        merge_change(&mut locked, Change::new(0, key.as_bytes(), op), writer, &self.store.origins).unwrap();
    }

    fn set(&mut self, key: &str) {
        self.write(key, Op::Set(b"value"[..].into()));
    }

    /// The page's keys, and where the next one begins.
    fn page(&self, from: Cursor, count: usize) -> (Vec<String>, Cursor) {
        let locked = self.store.lock(ShardSet::ALL);
        let page = Page::read(locked.iter(), 0, from, count, NOW);
        let key = |entry: &&Entry| String::from_utf8(entry.key().to_vec()).unwrap();
        (page.entries.iter().map(key).collect(), page.next)
    }

    /// Scans all, with `between` called between pages. Returns how often each key came, and the number of pages.
    fn scan(&mut self, count: usize, mut between: impl FnMut(&mut Self)) -> (HashMap<String, usize>, usize) {
        let mut seen = HashMap::new();
        let mut from = Cursor::default();
        for pages in 1.. {
            let (keys, next) = self.page(from, count);
            keys.into_iter().for_each(|key| *seen.entry(key).or_default() += 1);
            if next == Cursor::default() {
                return (seen, pages);
            }
            assert!(next > from);
            from = next;
            between(self);
        }
        unreachable!("a scan ends");
    }
}

#[test]
fn staying_keys_come_exactly_once_while_others_come_and_go() {
    for count in [1, 3, 10, 1_000] {
        let mut keyspace = Keyspace::new();
        (0..2_000).for_each(|number| keyspace.set(&format!("stays:{number}")));
        let mut random = Random::new(count as u64);
        let (seen, _) = keyspace.scan(count, |keyspace| {
            for _ in 0..20 {
                let key = format!("passes:{}", random.below(5_000));
                if random.below(2) == 0 { keyspace.set(&key) } else { keyspace.write(&key, Op::Reset) }
            }
        });
        for number in 0..2_000 {
            assert_eq!(seen.get(&format!("stays:{number}")), Some(&1), "stays:{number} at COUNT {count}");
        }
        assert!(seen.values().all(|times| *times == 1));
    }
}

#[test]
fn a_slot_of_many_keys_is_split_between_pages() {
    let mut keyspace = Keyspace::new();
    let slot = |key: &String| slot_of(key_hash(key.as_bytes()));
    let of_one_slot = (0..).map(|number| format!("key:{number}")).filter(|key| slot(key) == 77).take(40);
    let keys: HashSet<String> = of_one_slot.collect();
    keys.iter().for_each(|key| keyspace.set(key));
    let (first, next) = keyspace.page(Cursor::default(), 7);
    assert_eq!(first.len(), 7);
    assert_eq!(next.slot(), 77);
    let (seen, pages) = keyspace.scan(7, |_| ());
    assert_eq!(seen.keys().cloned().collect::<HashSet<_>>(), keys);
    assert_eq!(pages, 6);
}

#[test]
fn empty_slots_and_dead_keys_cost_no_pages() {
    let mut keyspace = Keyspace::new();
    assert_eq!(keyspace.page(Cursor::default(), 1), (vec![], Cursor::default()));
    keyspace.set("alone");
    assert_eq!(keyspace.page(Cursor::default(), 10), (vec!["alone".to_owned()], Cursor::default()));
    for number in 0..500 {
        keyspace.set(&format!("dead:{number}"));
        keyspace.write(&format!("dead:{number}"), Op::Reset);
    }
    assert_eq!(keyspace.page(Cursor::default(), 10), (vec!["alone".to_owned()], Cursor::default()));
}

#[test]
fn many_dead_keys_are_spread_over_pages() {
    let mut keyspace = Keyspace::new();
    keyspace.set("alone");
    for number in 0..10_000 {
        keyspace.write(&format!("dead:{number}"), Op::Reset);
    }
    let others: Vec<String> = (0..2_000).map(|number| format!("live:{number}")).collect();
    others.iter().for_each(|key| keyspace.set(key));
    let (seen, _) = keyspace.scan(10, |_| ());
    assert_eq!(seen.len(), 2_001);
    others.iter().for_each(|key| keyspace.write(key, Op::Reset));
    let (seen, pages) = keyspace.scan(10, |_| ());
    assert_eq!(seen.len(), 1);
    assert!(pages <= 13, "{pages} pages");
}

#[test]
fn expired_keys_are_left_out() {
    let mut keyspace = Keyspace::new();
    keyspace.set("expired");
    keyspace.write("expired", Op::Expire(Some(WallMillis(NOW.0 - 1))));
    keyspace.set("expires");
    keyspace.write("expires", Op::Expire(Some(NOW)));
    assert_eq!(keyspace.page(Cursor::default(), 10).0, ["expires"]);
}

#[test]
fn cursors_cover_every_slot_and_end_at_zero() {
    assert_eq!(Cursor::last_of(SLOTS - 1).next(), Cursor::default());
    for slot in [0, 1, 77, SLOTS - 2] {
        assert_eq!(Cursor::last_of(slot).slot(), slot);
        assert_eq!(Cursor::last_of(slot).next().slot(), slot + 1);
    }
    assert_eq!(Cursor::from_client(u64::MAX), None);
    assert_eq!(Cursor::from_client(1 << 48), None);
}

#[test]
fn random_keys_are_live_and_spread() {
    let mut keyspace = Keyspace::new();
    for number in 0..1_000 {
        keyspace.write(&format!("dead:{number}"), Op::Reset);
    }
    (0..50).for_each(|number| keyspace.set(&format!("live:{number}")));
    let locked = keyspace.store.lock(ShardSet::ALL);
    let shards: Vec<&Shard> = locked.iter().collect();
    let draw = |seed| Random::new(seed).entry(&shards, 0, NOW).unwrap().key().to_vec();
    let drawn: HashSet<Vec<u8>> = (0..2_000).map(draw).collect();
    assert!(drawn.iter().all(|key| key.starts_with(b"live:")));
    assert_eq!(drawn.len(), 50);
    assert!(Random::new(1).entry(&shards, 1, NOW).is_none());
}

#[test]
fn the_last_live_key_among_many_dead_is_found() {
    let mut keyspace = Keyspace::new();
    for number in 0..20_000 {
        keyspace.set(&format!("expired:{number}"));
        keyspace.write(&format!("expired:{number}"), Op::Expire(Some(WallMillis(1))));
    }
    keyspace.set("live");
    let locked = keyspace.store.lock(ShardSet::ALL);
    let shards: Vec<&Shard> = locked.iter().collect();
    assert_eq!(Random::new(3).entry(&shards, 0, NOW).unwrap().key(), b"live");
}

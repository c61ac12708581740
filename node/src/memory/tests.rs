//! Keys are removed in the right order, from the right shards, until there is room.

use shared::id::Origin;

use super::policy::Policy;
use super::victims::Judge;
use super::*;
use crate::node::Node;
use crate::node::tests::memory_node;
use crate::store::key::{Key, ShardId};
use crate::transaction::{Clocks, NewTtl, Transaction};

const START_MS: u64 = 1_700_000_000_000;

/// What is done at so many seconds after the start.
fn write(node: &Node, seconds: u64, act: impl for<'a> FnOnce(&mut Transaction<'a>)) {
    let clocks = Clocks { wall: WallMillis(START_MS + seconds * 1_000), mono_us: 0 };
    let mut transaction = Transaction::begin(node, ShardSet::ALL, clocks, true).expect("it takes writes");
    act(&mut transaction);
    transaction.commit();
}

fn set(node: &Node, seconds: u64, key: &'static [u8], ttl: NewTtl) {
    write(node, seconds, |transaction| {
        transaction.set(&Key::new(0, key), &b"value"[..], ttl).expect("it is small");
    });
}

fn judge(node: &Node, seconds: u64, policy: Policy) -> Judge {
    node.settings.memory.set_policy(policy);
    let usage = node.settings.memory.usage(WallMillis(START_MS + seconds * 1_000));
    let order = policy.order().expect("it removes keys");
    Judge { policy, order, samples: 64, usage, since: (START_MS / 1_000) as u32 }
}

fn next(node: &Node, within: ShardSet, judge: &Judge) -> Option<Vec<u8>> {
    // Shards are drawn, and one key is in each: so often all are seen.
    let mut victims = node.memory.victims.lock();
    let seen = (0..300).filter_map(|_| victims.next(node, within, judge));
    let keys: Vec<Vec<u8>> = seen.map(|(_, key)| key.into_vec()).collect();
    keys.last().cloned()
}

const KEYS: [&[u8]; 3] = [b"a", b"b", b"c"];

fn of_all(node: &Node, judge: &Judge) -> Option<Vec<u8>> {
    next(node, ShardSet::ALL, judge)
}

/// The policies under which keys do not go at random.
const ORDERED: [Policy; 5] =
    [Policy::AllkeysLru, Policy::AllkeysLfu, Policy::VolatileLru, Policy::VolatileLfu, Policy::VolatileTtl];

/// Keys of one shard, all of which are looked at at once.
fn keys_of_one_shard() -> Vec<&'static [u8]> {
    let keys = (0..).map(|number| format!("key{number}").into_bytes().leak() as &[u8]);
    keys.filter(|key| Key::new(0, key).shard() == ShardId(7)).take(3).collect()
}

#[test]
fn the_best_of_the_keys_that_are_looked_at_goes_first() {
    for policy in ORDERED {
        let node = memory_node(Origin(1));
        let keys = keys_of_one_shard();
        let expiry = |seconds: u64| NewTtl::At(WallMillis(START_MS + seconds * 1_000));
        node.settings.memory.set_policy(policy);
        for (key, (seconds, expires)) in keys.iter().zip([(1, 300), (2, 100), (3, 200)]) {
            set(&node, seconds, key, expiry(expires));
        }
        // The first was written first, and is used since.
        for key in [keys[0], keys[2]] {
            write(&node, 9, |transaction| transaction.touch(&Key::new(0, key)));
        }
        let judge = judge(&node, 10, policy);
        let first = node.memory.victims.lock().next(&node, ShardSet::ALL, &judge);
        assert_eq!(first.map(|(_, key)| key.into_vec()), Some(keys[1].to_vec()), "{policy:?}");
    }
}

#[test]
fn only_keys_that_expire_go_under_a_volatile_policy() {
    let node = memory_node(Origin(1));
    let at = |seconds: u64| NewTtl::At(WallMillis(START_MS + seconds * 1_000));
    set(&node, 1, b"a", NewTtl::Clear);
    for policy in [Policy::VolatileLru, Policy::VolatileLfu, Policy::VolatileRandom, Policy::VolatileTtl] {
        assert_eq!(of_all(&node, &judge(&node, 2, policy)), None, "{policy:?}");
    }
    set(&node, 1, b"b", at(200));
    for policy in [Policy::VolatileLru, Policy::VolatileLfu, Policy::VolatileRandom, Policy::VolatileTtl] {
        assert_eq!(of_all(&node, &judge(&node, 2, policy)), Some(b"b".to_vec()), "{policy:?}");
    }
}

#[test]
fn keys_of_other_shards_stay() {
    let node = memory_node(Origin(1));
    KEYS.iter().for_each(|key| set(&node, 1, key, NewTtl::Clear));
    let judge = judge(&node, 2, Policy::AllkeysRandom);
    for key in KEYS {
        let shard = ShardSet::of(Key::new(0, key).shard());
        assert_eq!(next(&node, shard, &judge), Some(key.to_vec()));
    }
    let others = KEYS.iter().fold(ShardSet::EMPTY, |set, key| set.with(Key::new(0, key).shard()));
    let empty = ShardId::all().find(|shard| !others.contains(*shard)).expect("there are 64");
    assert_eq!(next(&node, ShardSet::of(empty), &judge), None);
}

#[test]
fn a_member_removes_from_its_own_shards_first_and_from_any_beyond_the_slack() {
    let (account, memory) = (Account::default(), Memory::new(1));
    let one = ShardSet::of(ShardId(0));
    memory.agree(Some(6_400), one);
    assert_eq!(memory.scope(&account), Scope::Nowhere);
    account.tell(ShardId(1), 0, 6_500);
    assert_eq!(memory.scope(&account), Scope::Elsewhere);
    account.tell(ShardId(0), 0, 101);
    assert_eq!(memory.scope(&account), Scope::Within(one));
    account.tell(ShardId(1), 6_500, 6_700);
    assert_eq!(memory.scope(&account), Scope::Within(ShardSet::ALL));
    memory.agree(None, one);
    assert_eq!(memory.scope(&account), Scope::Nowhere);
}

#[test]
fn what_dead_things_take_as_a_rule_is_kept_free_for_them() {
    let memory = Memory::new(1);
    memory.agree(Some(1_000_000), ShardSet::ALL);
    memory.note_dead(64_000);
    assert_eq!(memory.target(), Some(999_000), "it may be for a moment only");
    (0..1_000).for_each(|_| memory.note_dead(64_000));
    assert_eq!(memory.target(), Some(936_000));
    (0..10_000).for_each(|_| memory.note_dead(2_000_000));
    assert_eq!(memory.target(), Some(500_000), "half of it is for the living");
    (0..10_000).for_each(|_| memory.note_dead(0));
    assert_eq!(memory.target(), memory.limit());
}

/// Of a key with a TTL, too, which ends in the future: what it would hide is not older than the removal.
#[test]
fn a_write_that_was_not_seen_survives_though_it_is_older_than_the_removal() {
    let (evictor, other) = (memory_node(Origin(1)), memory_node(Origin(2)));
    set(&evictor, 1, b"a", NewTtl::At(WallMillis(START_MS + 100_000)));
    set(&other, 2, b"a", NewTtl::Clear);
    write(&evictor, 3, |transaction| {
        assert_eq!(transaction.evict(&Key::new(0, b"a")).ok(), Some(true));
        assert!(!transaction.exists(&Key::new(0, b"a")));
        assert_eq!(transaction.evict(&Key::new(0, b"a")).ok(), Some(false));
    });
    for (from, to) in [(&other, &evictor), (&evictor, &other)] {
        from.log.seal(0);
        for sealed in from.log.recent(Default::default(), usize::MAX).expect("all is in memory") {
            if sealed.header.origin == from.log.origin() {
                to.apply(&sealed.bytes, None, WallMillis(START_MS + 4_000)).expect("it is whole");
            }
        }
    }
    for node in [&evictor, &other] {
        write(node, 5, |transaction| {
            let key = Key::new(0, b"a");
            assert!(transaction.exists(&key));
            assert_eq!(transaction.expiry(&key), None);
        });
    }
}

#[test]
fn what_is_left_of_a_removed_key_takes_little() {
    let node = memory_node(Origin(1));
    let key = Key::new(0, b"a-key-of-some-length");
    set(&node, 1, b"a-key-of-some-length", NewTtl::Clear);
    write(&node, 2, |transaction| {
        transaction.evict(&key).expect("it is small");
    });
    let left = node.store.lock_shard(key.shard()).find(&key).map(|entry| entry.memory());
    assert_eq!(left, Some(56), "a tombstone in one allocation, and its place in the table");
}

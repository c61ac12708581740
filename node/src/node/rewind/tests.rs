use proptest::prelude::*;
use shared::batch::BatchHeader;
use shared::time::WallMillis;

use super::*;
use crate::error::CommandError;
use crate::log::WriteRefused;
use crate::log::disk::simulated::{Crash, SimulatedDisk};
use crate::log::durability_tests::{Life, start};
use crate::log::segment::LogPosition;
use crate::node::tests::memory_node;
use crate::store::ShardSet;
use crate::store::key::{Key, ShardId};
use crate::transaction::{NewTtl, Transaction};

const NOW: u64 = 1_000_000_000;
const YEAR: u64 = 365 * 86_400_000;

fn clocks(at_ms: u64) -> Clocks {
    Clocks { wall: WallMillis(at_ms), mono_us: 0 }
}

/// Puts the clock back, as far as the disk goes. Says whether it came to an end.
fn make_whole(life: &mut Life, at_ms: u64) -> bool {
    for _ in 0..100 {
        life.node.maintain(clocks(at_ms));
        if !life.node.is_rewinding() {
            return true;
        }
        let _ = life.writer.turn(&life.node.log, false);
        life.finish_snapshot();
    }
    false
}

/// Writes in the present and in the future, and goes as far as the disk does in putting the clock back.
fn poisoned(disk: &SimulatedDisk) -> Option<bool> {
    let mut life = start(disk, Origin(1)).ok()?;
    life.write(1, 1, WallMillis(NOW))?;
    life.write(2, 2, WallMillis(NOW))?;
    life.write(2, 20, WallMillis(NOW + YEAR))?;
    life.write(3, 30, WallMillis(NOW + YEAR))?;
    if life.writer.turn(&life.node.log, true).is_err() || !life.save() {
        return None;
    }
    life.write(4, 40, WallMillis(NOW + YEAR))?;
    if life.writer.turn(&life.node.log, true).is_err() {
        return None;
    }
    life.node.begin_rewind(false, clocks(NOW)).ok()?;
    Some(make_whole(&mut life, NOW))
}

fn values(life: &Life) -> [Option<u64>; 4] {
    [1, 2, 3, 4].map(|key| life.value(key))
}

#[track_caller]
fn check_whole(life: &Life, at_ms: u64, story: &str) {
    assert_eq!(values(life), [Some(1), Some(20), Some(30), Some(40)], "{story}");
    let status = life.node.log.status();
    let latest = Timestamp::of_wall(WallMillis(at_ms + 60_000));
    assert!(newest_of(&status.frontier) < latest && status.clock < latest, "{story}: {status:?}");
    for id in ShardId::all() {
        life.node.store.lock_shard(id).check(&life.node.store.origins);
    }
}

#[test]
fn wherever_it_crashes_the_node_is_made_whole_or_can_be() {
    let dry = SimulatedDisk::new(1);
    assert_eq!(poisoned(&dry), Some(true));
    let (mut resumed, mut untouched) = (0, 0);
    for crash_at in 0..=dry.operations() {
        let disk = SimulatedDisk::new(crash_at);
        disk.crash_at(crash_at);
        if poisoned(&disk).is_none() && !disk.has_crashed() {
            panic!("crash at {crash_at}: it failed, and not for the crash");
        }
        disk.restart(Crash::Power);
        let story = format!("crash at {crash_at}");
        let mut life = start(&disk, Origin(2)).unwrap();
        if life.value(4).is_none() {
            continue;
        }
        let at_ms = NOW + 10_000;
        if life.node.is_rewinding() {
            resumed += 1;
            assert!(matches!(
                Transaction::begin(&life.node, ShardSet::ALL, clocks(at_ms), true).err(),
                Some(WriteRefused::Rewinding)
            ));
        } else if life.write(5, 5, WallMillis(at_ms)).is_none() {
            untouched += 1;
            life.node.begin_rewind(false, clocks(at_ms)).unwrap();
        }
        assert!(make_whole(&mut life, at_ms), "{story}");
        check_whole(&life, at_ms, &story);
        // What is written now wins, and a restart finds all as it is.
        life.write(2, 21, WallMillis(at_ms)).unwrap_or_else(|| panic!("{story}: writes are refused"));
        assert_eq!(life.value(2), Some(21), "{story}");
        life.write(2, 20, WallMillis(at_ms)).unwrap();
        life.writer.turn(&life.node.log, true).unwrap();
        drop(life);
        disk.restart(Crash::Power);
        let life = start(&disk, Origin(3)).unwrap();
        assert!(!life.node.is_rewinding(), "{story}");
        assert!(life.found.ceiling < Timestamp::of_wall(WallMillis(NOW + 120_000)), "{story}");
        check_whole(&life, at_ms, &format!("{story}, started again"));
    }
    assert!(resumed > 5 && untouched > 1, "both happen: {resumed}, {untouched}");
}

#[test]
fn it_is_refused_when_nothing_lies_in_the_future_or_others_are_there_too() {
    let node = memory_node(Origin(1));
    let refused = node.begin_rewind(false, clocks(NOW));
    assert!(matches!(refused, Err(RewindRefused::NothingAhead { .. })), "{refused:?}");
    let other = memory_node(Origin(2));
    let batch = written(&other, NOW + YEAR, |transaction| {
        transaction.set(&Key::new(0, b"k"), &b"v"[..], NewTtl::Clear).unwrap();
    });
    node.apply(&batch.unwrap(), None, WallMillis(NOW + YEAR)).unwrap();
    let refused = node.begin_rewind(false, clocks(NOW));
    assert!(matches!(refused, Err(RewindRefused::OthersAhead { .. })), "{refused:?}");
    assert!(!node.is_rewinding());
    assert!(!node.begin_rewind(true, clocks(NOW)).unwrap().is_under_way);
    assert!(node.begin_rewind(false, clocks(NOW)).unwrap().is_under_way);
}

const KEYS: [&[u8]; 3] = [b"k", b"q", b"z"];

#[derive(Clone, Debug)]
enum Write {
    Set(u8),
    Delete,
    Append(u8),
    Increment(i8),
    FlushDb,
    SetWithTtl(u8, u64),
    Expire(u64),
    Persist,
    Reap,
}

fn write_strategy() -> impl Strategy<Value = Write> {
    prop_oneof![
        4 => any::<u8>().prop_map(Write::Set),
        3 => Just(Write::Delete),
        3 => any::<u8>().prop_map(Write::Append),
        6 => any::<i8>().prop_map(Write::Increment),
        1 => Just(Write::FlushDb),
    ]
}

fn expiring_strategy() -> impl Strategy<Value = Write> {
    prop_oneof![
        3 => write_strategy(),
        1 => (any::<u8>(), 0..60_u64).prop_map(|(value, ms)| Write::SetWithTtl(value, ms)),
        1 => (0..60_u64).prop_map(Write::Expire),
        1 => Just(Write::Persist),
        1 => Just(Write::Reap),
    ]
}

fn written(node: &Node, at_ms: u64, write: impl FnOnce(&mut Transaction<'_>)) -> Option<Vec<u8>> {
    let mut transaction = Transaction::begin(node, ShardSet::ALL, clocks(at_ms), true).unwrap();
    write(&mut transaction);
    transaction.commit();
    node.log.seal(0);
    let batches = node.log.recent(LogPosition::default(), usize::MAX).unwrap();
    let own = batches.iter().rev().find(|batch| batch.header.origin == node.log.origin());
    own.map(|batch| batch.bytes.to_vec())
}

fn carry_out(transaction: &mut Transaction<'_>, key: usize, write: &Write) {
    let key = Key::new(0, KEYS[key]);
    match write {
        Write::Set(value) => transaction.set(&key, value.to_string().into_bytes(), NewTtl::Clear),
        Write::Delete => transaction.delete(&key).map(drop),
        Write::Append(digit) => {
            let mut value = transaction.string(&key).unwrap().unwrap_or_default().into_owned();
            value.push(b'0' + digit % 10);
            value.truncate(8);
            transaction.write_string(&key, value)
        }
        // Of what was appended to, not all is a number.
        Write::Increment(by) => match transaction.increment(&key, i64::from(*by)) {
            Ok(_) | Err(CommandError::NotInteger) => Ok(()),
            Err(error) => Err(error),
        },
        Write::FlushDb => transaction.flush_db(0),
        Write::SetWithTtl(value, ms) => {
            let expiry = NewTtl::At(WallMillis(transaction.now().0 + ms));
            transaction.set(&key, value.to_string().into_bytes(), expiry)
        }
        Write::Expire(ms) if transaction.exists(&key) => {
            transaction.expire(&key, Some(WallMillis(transaction.now().0 + ms)))
        }
        Write::Persist if transaction.expiry(&key).is_some() => transaction.expire(&key, None),
        Write::Reap => transaction.reap(&key),
        Write::Expire(_) | Write::Persist => Ok(()),
    }
    .unwrap();
}

fn visible(node: &Node) -> Vec<Option<Vec<u8>>> {
    let transaction = Transaction::begin(node, ShardSet::ALL, clocks(NOW + 200), false).unwrap();
    KEYS.iter().map(|key| transaction.string(&Key::new(0, key)).unwrap().map(|value| value.into())).collect()
}

fn digests(node: &Node) -> Vec<u64> {
    let digest = |key: &&[u8]| {
        let key = Key::new(0, key);
        node.store.lock_shard(key.shard()).deep_digest(key.slot(), &node.store.origins)
    };
    KEYS.iter().map(digest).collect()
}

fn hand_over(from: &Node, to: &Node) {
    for batch in from.log.recent(LogPosition::default(), usize::MAX).unwrap() {
        let BatchHeader { upto, .. } = batch.header;
        if upto < Timestamp::of_wall(WallMillis(NOW + YEAR / 2)) {
            to.apply(&batch.bytes, None, WallMillis(NOW)).unwrap();
        }
    }
}

type Steps = Vec<(bool, usize, Write)>;

fn steps(write: impl Strategy<Value = Write>) -> impl Strategy<Value = Steps> {
    prop::collection::vec((any::<bool>(), 0..KEYS.len(), write), 0..8)
}

/// A node, and a peer that has but the present of it and of another: the node writes on in the far future.
fn played(before: &Steps, after: &Steps) -> (Node, Node) {
    let (node, other, peer) = (memory_node(Origin(1)), memory_node(Origin(2)), memory_node(Origin(3)));
    for (place, (is_elsewhere, key, write)) in before.iter().enumerate() {
        let writer = if *is_elsewhere { &other } else { &node };
        written(writer, NOW + 10 * place as u64, |transaction| carry_out(transaction, *key, write));
        hand_over(&other, &node);
    }
    for (place, (_, key, write)) in after.iter().enumerate() {
        let at_ms = NOW + YEAR + 10 * place as u64;
        written(&node, at_ms, |transaction| carry_out(transaction, *key, write));
    }
    // The clock must be poisoned for the order to be taken.
    node.log.standing(WallMillis(NOW + YEAR));
    hand_over(&other, &peer);
    hand_over(&node, &peer);
    (node, peer)
}

fn put_right(node: &Node, peer: &Node) {
    node.begin_rewind(false, clocks(NOW + 100)).unwrap();
    for _ in 0..5 {
        node.maintain(clocks(NOW + 100));
    }
    assert!(!node.is_rewinding());
    for id in ShardId::all() {
        node.store.lock_shard(id).check(&node.store.origins);
    }
    hand_over(node, peer);
}

/// What is written now wins, at both.
fn check_the_present_wins(node: &Node, peer: &Node) {
    for key in 0..KEYS.len() {
        written(node, NOW + 101, |transaction| carry_out(transaction, key, &Write::Set(key as u8)));
    }
    hand_over(node, peer);
    let expected: Vec<_> = (0..KEYS.len()).map(|key| Some(key.to_string().into_bytes())).collect();
    assert_eq!((visible(node), visible(peer)), (expected.clone(), expected));
    assert_eq!(digests(peer), digests(node));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    /// What was seen is seen, here and at a peer that has but the present and what was issued anew.
    #[test]
    fn nothing_of_the_future_is_lost_and_nothing_wins_because_of_it(
        before in steps(write_strategy()),
        after in steps(write_strategy()),
    ) {
        let (node, peer) = played(&before, &after);
        let seen = visible(&node);
        put_right(&node, &peer);
        prop_assert_eq!(visible(&node), seen.clone());
        prop_assert_eq!(visible(&peer), seen);
        prop_assert_eq!(digests(&peer), digests(&node));
        check_the_present_wins(&node, &peer);
    }

    /// What had expired in the future has not in the present; but nodes agree on it.
    #[test]
    fn keys_that_expire_are_the_same_everywhere(
        before in steps(expiring_strategy()),
        after in steps(expiring_strategy()),
    ) {
        let (node, peer) = played(&before, &after);
        put_right(&node, &peer);
        prop_assert_eq!(visible(&peer), visible(&node));
        prop_assert_eq!(digests(&peer), digests(&node));
        check_the_present_wins(&node, &peer);
    }
}

#[test]
fn a_poisoned_node_that_is_alone_raises_no_floor_into_the_future() {
    let node = memory_node(Origin(1));
    node.log.standing(WallMillis(NOW + YEAR));
    for second in 0..200 {
        node.maintain(Clocks { wall: WallMillis(NOW + YEAR), mono_us: second * 1_000_000 });
    }
    node.begin_rewind(false, clocks(NOW)).unwrap();
    for tick in 0..5 {
        node.maintain(Clocks { wall: WallMillis(NOW), mono_us: 200_000_000 + tick });
    }
    let frontier = node.log.frontier();
    assert!(frontier.floor() <= Timestamp::of_wall(WallMillis(NOW)), "{frontier}");
}

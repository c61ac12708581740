//! Snapshots, gaps and adoptions: what a start makes of them, wherever the run before it was cut off.

use proptest::prelude::*;
use shared::batch::{BatchBuilder, BatchHeader};
use shared::change::{Change, Op};
use shared::time::{MonoMillis, WallMillis};
use shared::version::Frontier;

use super::*;
use crate::log::disk::simulated::{Crash, SimulatedDisk};
use crate::log::durability_tests::{Life, check_bears_out, start, start_on_threads};
use crate::snapshots::{Ticket, Turn, Why};
use crate::store::ShardSet;
use crate::store::key::Key;
use crate::transaction::{Clocks, Transaction};

const WALL: WallMillis = WallMillis(1_000);
const OWN: Origin = Origin(1);
const NEXT: Origin = Origin(2);
const PEER: Origin = Origin(77);
const OTHER: Origin = Origin(78);

/// The peer's writes between two moments: at the later one, the key of that name is set to it.
fn batch(origin: Origin, after: u64, upto: u64) -> Vec<u8> {
    let key = (upto / 10).to_string().into_bytes();
    let value = upto.to_string().into_bytes();
    let mut builder = BatchBuilder::new(origin, Timestamp(after));
    builder.append(Timestamp(upto), &[Change::new(0, key, Op::Set(value.into()))]);
    builder.seal(<[u8]>::to_vec).1
}

fn held(life: &Life, origin: Origin) -> u64 {
    life.node.log.held(origin).0
}

impl Life {
    fn apply(&self, origin: Origin, after: u64, upto: u64) -> bool {
        self.node.apply(&batch(origin, after, upto), None, WALL).is_ok()
    }

    /// As a reconcile merges: into the store, and no further.
    fn merge(&self, bytes: &[u8]) {
        Node::replay(&self.node.store, bytes, Timestamp::ZERO);
    }

    /// As a reconcile takes a batch that lies beyond what is held.
    fn take_unheld(&self, origin: Origin, after: u64, upto: u64) {
        let bytes = batch(origin, after, upto);
        self.node.log.append_unheld(BatchHeader::peek(&bytes).unwrap(), bytes.as_slice().into());
        self.merge(&bytes);
    }

    fn sync(&mut self) -> bool {
        self.writer.turn(&self.node.log, true).is_ok()
    }

    fn transact(&self, act: impl FnOnce(&mut Transaction<'_>)) {
        let clocks = Clocks { wall: WALL, mono_us: 0 };
        let mut transaction = Transaction::begin(&self.node, ShardSet::ALL, clocks, true).unwrap();
        act(&mut transaction);
        transaction.commit();
    }

    /// Turns until the adoption is durable. False if the disk has crashed meanwhile.
    fn finish_adoption(&mut self, ticket: &Ticket) -> bool {
        self.finish_snapshot() && ticket.outcome() == Some(Ok(()))
    }
}

fn restart(disk: &SimulatedDisk, origin: Origin) -> Life {
    disk.restart(Crash::Power);
    start(disk, origin).unwrap()
}

#[test]
fn what_is_held_comes_back_from_snapshot_and_log() {
    let disk = SimulatedDisk::new(1);
    let mut life = start(&disk, OWN).unwrap();
    life.transact(|transaction| transaction.flush_db(1).unwrap());
    for value in 0..60 {
        life.write(value % 20, value, WALL);
    }
    life.transact(|transaction| {
        transaction.delete(&Key::new(0, b"3")).unwrap();
        transaction.expire(&Key::new(0, b"4"), Some(WallMillis(5_000_000))).unwrap();
    });
    assert!(life.save());
    life.write(5, 500, WALL);
    life.transact(|transaction| transaction.flush_db(2).unwrap());
    life.node.log.seal(0);
    assert!(life.sync());
    let expected = (life.node.store.canonical(), life.node.log.status().frontier);
    let life = restart(&disk, NEXT);
    assert_eq!((life.node.store.canonical(), life.node.log.status().frontier), expected);
    assert_eq!(life.found.log.batches, 63, "all of the log is read, for followers");
    check_bears_out(&life, "after a restart");
}

#[test]
fn a_gap_is_passed_over() {
    let disk = SimulatedDisk::new(1);
    let mut life = start(&disk, OWN).unwrap();
    assert!(life.apply(PEER, 0, 10));
    life.take_unheld(PEER, 20, 30);
    assert!(life.sync());
    let mut life = restart(&disk, NEXT);
    assert_eq!((life.found.passed_over, held(&life, PEER)), (1, 10));
    assert_eq!((life.value(1), life.value(3)), (Some(10), None));
    assert!(!life.apply(PEER, 20, 30), "it is a gap still");
    assert!(life.apply(PEER, 10, 20) && life.apply(PEER, 20, 30) && life.sync());
    let mut life = restart(&disk, OWN);
    assert_eq!((life.found.passed_over, held(&life, PEER), life.value(3)), (1, 30, Some(30)));
    check_bears_out(&life, "the gap is filled");
    assert!(life.save() && life.apply(PEER, 30, 40) && life.sync());
    let life = restart(&disk, NEXT);
    assert_eq!((life.found.passed_over, held(&life, PEER)), (0, 40));
    check_bears_out(&life, "the gap lies before the snapshot");
}

/// A power cut between the rename and the log's sync would leave a store that holds an own write which no log has.
#[test]
fn the_log_is_durable_before_a_snapshot_is_in_place() {
    let disk = SimulatedDisk::new(1);
    let mut life = start(&disk, OWN).unwrap();
    life.write(1, 1, WALL);
    assert!(life.sync());
    life.node.request_snapshot();
    assert!(matches!(life.snapshots.turn(&life.node, MonoMillis(0)), Turn::Began));
    life.write(1, 2, WALL);
    let awaited = loop {
        match life.snapshots.turn(&life.node, MonoMillis(0)) {
            Turn::Stepped => {}
            Turn::AwaitsLog(position) => break position,
            turn => panic!("{turn:?}"),
        }
    };
    assert_eq!(awaited, life.node.log.end());
    assert!(matches!(life.snapshots.turn(&life.node, MonoMillis(0)), Turn::AwaitsLog(_)));
    assert!(disk.list().unwrap().iter().all(|name| !name.starts_with("snapshot-") || name.ends_with(".tmp")));
    life.writer.turn(&life.node.log, false).unwrap();
    assert_eq!(life.node.log.durable(), awaited, "it was asked for");
    assert!(matches!(life.snapshots.turn(&life.node, MonoMillis(0)), Turn::Saved(_)));
    let life = restart(&disk, NEXT);
    assert_eq!(life.value(1), Some(2));
    check_bears_out(&life, "after a restart");
}

/// A tombstone that is dropped while a snapshot is written may be in neither it nor what is replayed on it.
#[test]
fn nothing_dead_is_dropped_while_a_snapshot_is_written() {
    let disk = SimulatedDisk::new(1);
    let mut life = start(&disk, OWN).unwrap();
    assert!(life.node.may_drop_dead());
    life.node.request_snapshot();
    life.snapshots.turn(&life.node, MonoMillis(0));
    let mut steps = 0;
    while matches!(life.snapshots.turn(&life.node, MonoMillis(0)), Turn::Stepped) {
        steps += 1;
        assert_eq!(life.node.may_drop_dead(), steps == crate::store::key::SHARDS);
    }
    assert!(life.node.may_drop_dead());
}

#[test]
fn segments_go_when_a_snapshot_is_in_place_and_followers_are_told() {
    let disk = SimulatedDisk::new(1);
    let mut life = start(&disk, OWN).unwrap();
    life.node.settings.set_log_retention(3_000);
    assert!(life.apply(PEER, 0, 10));
    for value in 0..200 {
        life.write(value % 5, value, WALL);
        life.writer.turn(&life.node.log, false).unwrap();
    }
    assert_eq!(life.node.log.find(PEER, Timestamp::ZERO), Ok(Some(LogPosition(0))));
    assert!(life.save());
    let segments = disk.list().unwrap().iter().filter(|name| name.starts_with("log-")).count();
    assert!((2..=4).contains(&segments), "about 3000 bytes are kept: {segments} segments");
    assert_eq!(life.node.log.find(PEER, Timestamp(9)), Err(Timestamp(10)));
    assert!(life.node.log.origins().contains(&PEER), "its followers are told");
    check_bears_out(&life, "before a restart");
    let mut life = restart(&disk, NEXT);
    assert_eq!(life.node.log.find(PEER, Timestamp(9)), Err(Timestamp(10)));
    assert!(life.node.log.find(OWN, Timestamp::ZERO).is_err());
    assert!(life.apply(PEER, 10, 20));
    assert!(life.node.log.find(PEER, Timestamp(10)).unwrap().is_some());
    assert!(life.sync());
    check_bears_out(&life, "after a restart");
}

#[test]
fn a_log_that_ends_before_its_snapshot_starts_anew_there() {
    let disk = SimulatedDisk::new(1);
    let mut life = start(&disk, OWN).unwrap();
    life.write(1, 1, WALL);
    assert!(life.apply(PEER, 0, 30) && life.save());
    let replay = life.node.log.end();
    life.write(1, 2, WALL);
    assert!(life.sync());
    disk.remove("log-0000000000000000.seg").unwrap();
    disk.sync_directory().unwrap();
    let mut life = restart(&disk, NEXT);
    assert!(life.found.log_restarted);
    assert_eq!((life.node.log.end(), life.value(1), held(&life, PEER)), (replay, Some(1), 30));
    assert_eq!(life.node.log.find(PEER, Timestamp(29)), Err(Timestamp(30)));
    assert!(life.apply(PEER, 30, 40) && life.sync());
    let life = restart(&disk, OWN);
    assert_eq!((life.found.log_restarted, held(&life, PEER)), (false, 40));
    check_bears_out(&life, "after a second restart");
}

#[test]
fn a_log_without_its_snapshot_is_refused() {
    let disk = SimulatedDisk::new(1);
    let mut life = start(&disk, OWN).unwrap();
    for value in 0..100 {
        life.write(1, value, WALL);
        life.writer.turn(&life.node.log, false).unwrap();
    }
    assert!(life.save());
    let snapshot = disk.list().unwrap().into_iter().find(|name| name.starts_with("snapshot-")).unwrap();
    disk.remove(&snapshot).unwrap();
    disk.restart(Crash::Process);
    let error = start(&disk, NEXT).err().unwrap();
    assert!(error.contains("there is no snapshot"), "{error}");
}

/// A node that holds the peer's writes up to 10 takes in what another has up to 50, while batches beyond that come, and
/// while it writes itself. Returns the newest own write that was acknowledged.
fn reconcile(disk: &SimulatedDisk) -> Option<u64> {
    let mut life = start(disk, OWN).ok()?;
    life.write(100, 1, WALL)?;
    let (done, other) = (life.apply(PEER, 0, 10), life.apply(OTHER, 0, 20));
    if !(done && other && life.sync() && life.save()) {
        return None;
    }
    let mut acknowledged = Some(1);
    life.merge(&batch(PEER, 40, 50));
    life.take_unheld(PEER, 50, 60);
    life.node.snapshots.hold();
    let ticket = life.node.request_jump(&[(PEER, Timestamp(60))].into_iter().collect(), WALL).ok()?;
    life.snapshots.turn(&life.node, MonoMillis(0));
    life.snapshots.turn(&life.node, MonoMillis(0));
    life.take_unheld(PEER, 60, 70);
    life.write(100, 2, WALL)?;
    let sealed = life.node.log.end();
    if !life.finish_adoption(&ticket) {
        return acknowledged;
    }
    if life.node.log.durable() >= sealed {
        acknowledged = Some(2);
    }
    life.node.log.jump(&[(PEER, Timestamp(70))].into_iter().collect());
    life.node.snapshots.permit();
    assert_eq!(life.node.log.find(PEER, Timestamp(69)), Err(Timestamp(70)));
    assert_eq!(life.node.log.find(OTHER, Timestamp::ZERO).map(|found| found.is_some()), Ok(true));
    assert!(life.node.log.find(OWN, Timestamp::ZERO).is_ok(), "only those that jumped start later");
    if life.apply(PEER, 70, 80) && life.sync() {
        check_bears_out(&life, "after the jump");
        life.save();
    }
    acknowledged
}

#[test]
fn an_adoption_leaves_the_old_frontier_or_the_new_one_with_matching_data() {
    let (mut old, mut new) = (0, 0);
    for seed in 0..20 {
        let dry = SimulatedDisk::new(seed);
        assert_eq!(reconcile(&dry), Some(2));
        for crash_at in 0..dry.operations() {
            let disk = SimulatedDisk::new(seed);
            disk.crash_at(crash_at);
            let acknowledged = reconcile(&disk);
            let life = restart(&disk, NEXT);
            let story = format!("seed {seed}, crash at operation {crash_at}");
            let upto = held(&life, PEER);
            let expected = |name: u64| (name * 10 <= upto && upto >= 50).then_some(name * 10);
            assert!([0, 10, 60, 70, 80].contains(&upto), "{story}: {upto}");
            assert_eq!(
                [5, 6, 7, 8].map(|name| life.value(name)),
                [5, 6, 7, 8].map(expected),
                "{story}: at {upto}"
            );
            assert!(life.value(100) >= acknowledged, "{story}: {:?}", life.value(100));
            *(if upto < 50 { &mut old } else { &mut new }) += 1;
            check_bears_out(&life, &story);
        }
    }
    assert!(old > 50 && new > 50, "both happen: {old}, {new}");
}

/// A node that joins a group replaces its frontier, and writes anew what it has besides.
fn join(disk: &SimulatedDisk) -> Option<u64> {
    let mut life = start(disk, OWN).ok()?;
    life.write(100, 1, WALL)?;
    if !life.sync() {
        return None;
    }
    let mut acknowledged = Some(1);
    life.merge(&batch(PEER, 40, 50));
    let joined: Frontier = [(PEER, Timestamp(50))].into_iter().collect();
    life.node.snapshots.hold();
    let ticket = life.node.request_restart(joined.clone(), WALL).ok()?;
    for _ in 0..30 {
        life.snapshots.turn(&life.node, MonoMillis(0));
    }
    life.write(100, 2, WALL)?;
    if !life.sync() {
        return acknowledged;
    }
    acknowledged = Some(2);
    if !life.finish_adoption(&ticket) {
        return acknowledged;
    }
    life.node.restart(joined, NEXT).unwrap();
    life.node.snapshots.permit();
    assert_eq!(life.node.log.origin(), NEXT);
    assert_eq!(life.node.log.find(OWN, Timestamp::ZERO), Ok(None), "what was written before is not served");
    assert!(!life.node.log.origins().contains(&OWN));
    life.write(100, 2, WALL)?;
    if life.sync() {
        check_bears_out(&life, "after the restart");
    }
    acknowledged
}

#[test]
fn joining_loses_no_write_and_streams_none_of_those_before() {
    let (mut old, mut new) = (0, 0);
    for seed in 0..20 {
        let dry = SimulatedDisk::new(seed);
        assert_eq!(join(&dry), Some(2));
        for crash_at in 0..dry.operations() {
            let disk = SimulatedDisk::new(seed);
            disk.crash_at(crash_at);
            let acknowledged = join(&disk);
            let life = restart(&disk, Origin(3));
            let story = format!("seed {seed}, crash at operation {crash_at}");
            assert!(life.value(100) >= acknowledged, "{story}: {:?}", life.value(100));
            if held(&life, PEER) == 0 {
                assert_eq!(life.value(5), None, "{story}");
                old += 1;
            } else {
                assert_eq!(
                    (held(&life, PEER), held(&life, OWN), life.value(5)),
                    (50, 0, Some(50)),
                    "{story}"
                );
                assert_eq!(life.node.log.find(OWN, Timestamp::ZERO), Ok(None), "{story}");
                new += 1;
            }
        }
    }
    assert!(old > 50 && new > 50, "both happen: {old}, {new}");
}

#[test]
fn a_held_node_writes_no_snapshot_but_an_adoptions() {
    let disk = SimulatedDisk::new(1);
    let mut life = start(&disk, OWN).unwrap();
    let now = MonoMillis(0);
    life.write(1, 1, WALL);
    let asked = life.node.request_snapshot();
    assert!(matches!(life.snapshots.turn(&life.node, now), Turn::Began));
    life.node.snapshots.hold();
    assert!(matches!(life.snapshots.turn(&life.node, now), Turn::Yielded));
    assert!(matches!(life.snapshots.turn(&life.node, now), Turn::Idle));
    let adoption = life.node.request_jump(&[(PEER, Timestamp(60))].into_iter().collect(), WALL).unwrap();
    assert!(life.finish_adoption(&adoption));
    assert!(matches!(life.snapshots.turn(&life.node, now), Turn::Idle));
    assert_eq!(asked.outcome(), None);
    life.node.log.jump(&[(PEER, Timestamp(60))].into_iter().collect());
    life.node.snapshots.permit();
    assert!(life.finish_snapshot());
    assert_eq!(asked.outcome(), Some(Ok(())));
    assert!(life.node.may_drop_dead());
}

#[test]
fn the_logs_growth_starts_snapshots_and_a_failure_is_told() {
    let disk = SimulatedDisk::new(1);
    let mut life = start(&disk, OWN).unwrap();
    life.node.settings.set_snapshot_after(1_000);
    assert!(matches!(life.snapshots.turn(&life.node, MonoMillis(0)), Turn::Idle));
    for value in 0..30 {
        life.write(1, value, WALL);
    }
    disk.fail(disk.operations()..disk.operations() + 1, crate::log::disk::simulated::Failure::Full);
    assert!(matches!(life.snapshots.turn(&life.node, MonoMillis(0)), Turn::Failed(Why::Grown, _)));
    assert!(life.node.snapshots.status().last_failed);
    assert!(matches!(life.snapshots.turn(&life.node, MonoMillis(1)), Turn::Idle), "not at once again");
    assert!(matches!(life.snapshots.turn(&life.node, MonoMillis(60_000)), Turn::Began));
    assert!(life.finish_snapshot());
    assert_eq!(life.node.snapshots.status().saved, 1);
    assert!(matches!(life.snapshots.turn(&life.node, MonoMillis(60_000)), Turn::Idle));
}

#[test]
fn a_raised_floor_comes_back() {
    let disk = SimulatedDisk::new(1);
    let mut life = start(&disk, OWN).unwrap();
    life.node.settings.set_log_retention(1 << 20);
    assert!(life.apply(PEER, 0, 10) && life.apply(OTHER, 0, 30));
    life.node.log.raise_floor(Timestamp(20));
    // Who is a little behind with the floor asks for what has ended, and hears that nothing is missing.
    assert_eq!((held(&life, PEER), life.node.log.find(PEER, Timestamp(19))), (20, Ok(None)));
    assert!(life.save() && life.apply(OTHER, 30, 40) && life.sync());
    let life = restart(&disk, NEXT);
    assert_eq!((held(&life, PEER), held(&life, OTHER)), (20, 40));
    assert_eq!(life.node.log.status().frontier.len(), 1, "the ended origin is not listed");
    assert_eq!(life.node.log.find(PEER, Timestamp(19)), Ok(None));
    assert!(life.node.log.find(OTHER, Timestamp(20)).unwrap().is_some());
}

/// What a client does to one of a few keys, or to all of a database.
#[derive(Clone, Debug)]
enum Act {
    Set(u64),
    Delete(u64),
    Increment(u64),
    Expire(u64),
    FlushDb(u8),
    /// A peer's write of a key, beyond the last one.
    Peer,
    Save,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..40_u64).prop_map(Act::Set),
        3 => (0..40_u64).prop_map(Act::Delete),
        4 => (40..60_u64).prop_map(Act::Increment),
        2 => (0..60_u64).prop_map(Act::Expire),
        1 => (0..2_u8).prop_map(Act::FlushDb),
        6 => Just(Act::Peer),
        1 => Just(Act::Save),
    ]
}

fn do_all(life: &mut Life, acts: &[Act]) {
    let mut peer = 0;
    for (number, act) in acts.iter().enumerate() {
        // A transaction may outlive what a closure borrows; there are few.
        let name = |key: &u64| -> &'static [u8] { key.to_string().into_bytes().leak() };
        match act {
            Act::Set(key) => drop(life.write(*key, number as u64, WALL)),
            Act::Delete(key) => life.transact(|t| drop(t.delete(&Key::new(0, name(key))))),
            Act::Increment(key) => life.transact(|t| drop(t.increment(&Key::new(0, name(key)), 1))),
            Act::Expire(key) => {
                life.transact(|t| drop(t.expire(&Key::new(0, name(key)), Some(WallMillis(7_000_000)))));
            }
            Act::FlushDb(db) => life.transact(|t| t.flush_db(*db).unwrap()),
            Act::Peer => {
                assert!(life.apply(PEER, peer, peer + 7));
                peer += 7;
            }
            Act::Save => assert!(life.save()),
        }
    }
    life.node.log.seal(0);
    assert!(life.sync());
}

proptest! {
    /// Whoever merges what: each shard gets the same changes in the same order.
    #[test]
    fn threads_come_to_what_one_comes_to(acts in prop::collection::vec(act(), 1..120), threads in 2_usize..70) {
        let disk = SimulatedDisk::new(1);
        let mut life = start(&disk, OWN).unwrap();
        do_all(&mut life, &acts);
        let expected = (life.node.store.canonical(), life.node.log.status().frontier);
        disk.restart(Crash::Power);
        for threads in [1, threads] {
            let life = start_on_threads(&disk.copy(2), NEXT, threads).unwrap();
            prop_assert_eq!((life.node.store.canonical(), life.node.log.status().frontier), expected.clone());
            for id in crate::store::key::ShardId::all() {
                life.node.store.lock_shard(id).check(&life.node.store.origins);
            }
        }
    }
}

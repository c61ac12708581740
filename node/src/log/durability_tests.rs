//! A node on a simulated disk that loses whatever was not synced: no acknowledged write may be missing.
//!
//! Drives the production store, log, writer thread's turns, ceiling and recovery. Taking out any of their syncs
//! makes these tests fail.

use std::sync::Arc;

use shared::clock::{HybridClock, Timestamp};
use shared::id::Origin;
use shared::time::WallMillis;
use shared::version::Frontier;

use super::ceiling::Ceiling;
use super::disk::simulated::{Crash, Random, SimulatedDisk};
use super::index::{LogIndex, STRIDE_BYTES};
use super::recovery::recover;
use super::segment::LogPosition;
use super::writer::Writer;
use super::{Retention, Start};
use crate::node::Node;
use crate::node::tests::test_settings;
use crate::store::key::Key;
use crate::store::{ShardSet, Store};
use crate::transaction::{Clocks, NewTtl, Transaction};

/// Small, so that a run rolls over several segments.
const SEGMENT_BYTES: u64 = 2_000;

struct Life {
    node: Node,
    writer: Writer<SimulatedDisk>,
}

/// Starts a node on what the disk holds, as production does.
fn start(disk: &SimulatedDisk, origin: Origin) -> Result<Life, String> {
    let (clock_start, mut ceiling) = Ceiling::open(disk).map_err(|error| error.to_string())?;
    let store = Store::new();
    let mut frontier = Frontier::new();
    let mut index = LogIndex::new(STRIDE_BYTES);
    let (segments, recovery) = recover(Arc::new(disk.clone()), SEGMENT_BYTES, &mut |position, bytes| {
        let header = Node::replay(&store, bytes, Timestamp::ZERO).expect("what was logged can be merged");
        index.note(position, &header);
        frontier.advance(header.origin, header.upto);
        Ok(())
    })
    .map_err(|error| error.to_string())?;
    for (_, at) in frontier.iter() {
        assert!(at <= clock_start, "a timestamp in the log lies above the durable ceiling");
    }
    let start = Start {
        origin,
        clock: HybridClock::new(clock_start, ceiling.current()),
        raise_ceiling: Some(Box::new(move |to| {
            ceiling.raise(to).map_err(|error| std::io::Error::other(error.to_string()))
        })),
        frontier,
        end: recovery.end,
        index,
        retention: Retention::Disk,
        max_drift_ms: 5_000,
    };
    let node = Node::new(store, start, test_settings()).expect("few origins");
    Ok(Life { node, writer: Writer::new(segments) })
}

/// A write that was made: the value of its key then, and where the log must be durable for it to be acknowledged.
struct Written {
    key: u64,
    value: u64,
    sealed: LogPosition,
}

impl Life {
    /// Writes a key, as a client of `--fsync always` does. None if the node refuses, because its disk has crashed.
    fn write(&self, key: u64, value: u64, wall: WallMillis) -> Option<Written> {
        let name = key.to_string().into_bytes();
        let key_ref = Key::new(0, &name);
        let clocks = Clocks { wall, mono_us: 0 };
        let mut transaction =
            Transaction::begin(&self.node, ShardSet::of(key_ref.shard()), clocks, true).ok()?;
        transaction.set(&key_ref, value.to_string().into_bytes(), NewTtl::Clear).expect("a small value");
        transaction.commit();
        Some(Written { key, value, sealed: self.node.log.seal(0) })
    }

    fn value(&self, key: u64) -> Option<u64> {
        let name = key.to_string().into_bytes();
        let key = Key::new(0, &name);
        let clocks = Clocks { wall: WallMillis(0), mono_us: 0 };
        let transaction = Transaction::begin(&self.node, ShardSet::of(key.shard()), clocks, false)
            .expect("reads are served");
        let value = transaction.string(&key).expect("a string")?;
        Some(std::str::from_utf8(&value).expect("digits").parse().expect("a number"))
    }
}

/// Writes, group-commits and crashes at disk operation `crash_at`. Returns how many operations there were, and
/// what was acknowledged: per key the newest value, which later unacknowledged ones may have replaced.
fn run(
    disk: &SimulatedDisk,
    seed: u64,
    crash_at: Option<u64>,
    acknowledged: &mut Vec<Written>,
    newest: &mut [u64],
) {
    let mut random = Random(seed);
    if let Some(operation) = crash_at {
        disk.crash_at(operation);
    }
    let Ok(mut life) = start(disk, Origin(1 + random.below(1 << 40) as u64)) else { return };
    let mut pending = Vec::new();
    for round in 0..40_u64 {
        for _ in 0..=random.below(4) {
            let key = random.below(newest.len()) as u64;
            let value = newest[key as usize] + 1;
            let wall = WallMillis(1_000_000 + seed % 7 * 10_000 + round * 300);
            let Some(written) = life.write(key, value, wall) else { break };
            newest[key as usize] = value;
            pending.push(written);
        }
        if life.writer.turn(&life.node.log, true).is_err() {
            return;
        }
        let durable = life.node.log.durable();
        let (done, waiting) = pending.into_iter().partition(|written: &Written| written.sealed <= durable);
        acknowledged.extend::<Vec<Written>>(done);
        pending = waiting;
    }
}

#[track_caller]
fn check(disk: &SimulatedDisk, acknowledged: &[Written], newest: &[u64], story: &str) {
    let life = start(disk, Origin(7)).unwrap_or_else(|error| panic!("{story}: {error}"));
    for key in 0..newest.len() as u64 {
        let promised =
            acknowledged.iter().filter(|written| written.key == key).map(|written| written.value).max();
        let found = life.value(key);
        assert!(found >= promised, "{story}: key {key} is {found:?}, acknowledged was {promised:?}");
        assert!(found <= Some(newest[key as usize]), "{story}: key {key} is {found:?}, which nobody wrote");
    }
}

#[test]
fn no_acknowledged_write_is_lost_wherever_power_fails() {
    let seeds = if std::env::var_os("TANDEM_LONG").is_some() { 200 } else { 6 };
    for seed in 0..seeds {
        let dry = SimulatedDisk::new(seed);
        run(&dry, seed, None, &mut Vec::new(), &mut [0; 5]);
        for crash_at in 0..dry.operations() {
            let disk = SimulatedDisk::new(seed);
            let (mut acknowledged, mut newest) = (Vec::new(), [0; 5]);
            run(&disk, seed, Some(crash_at), &mut acknowledged, &mut newest);
            disk.restart(Crash::Power);
            check(&disk, &acknowledged, &newest, &format!("seed {seed}, crash at operation {crash_at}"));
            // And once more, on what the first crash has left.
            run(&disk, seed + 1_000, None, &mut acknowledged, &mut newest);
            disk.restart(Crash::Power);
            check(&disk, &acknowledged, &newest, &format!("seed {seed}, second crash after {crash_at}"));
        }
    }
}

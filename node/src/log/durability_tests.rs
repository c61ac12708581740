//! A node on a simulated disk that loses whatever was not synced: no acknowledged write may be missing.
//!
//! Drives the production store, log, snapshots, ceiling and start, and the writer's turns. Taking out any of their
//! syncs makes these tests fail.

use std::num::NonZeroUsize;
use std::sync::Arc;

use shared::id::{NodeId, Origin};
use shared::time::{MonoMillis, WallMillis};

use super::disk::simulated::{Crash, Random, SimulatedDisk};
use super::segment::LogPosition;
use super::writer::Writer;
use crate::node::Node;
use crate::node::tests::test_settings;
use crate::open::{Found, Opened, Opening, open};
use crate::snapshots::{Snapshots, Turn};
use crate::store::ShardSet;
use crate::store::key::Key;
use crate::transaction::{Clocks, NewTtl, Transaction};

/// Small, so that a run rolls over several segments.
const SEGMENT_BYTES: u64 = 2_000;

/// A node with all that works on its disk, as production starts it.
pub(crate) struct Life {
    pub(crate) node: Node,
    pub(crate) writer: Writer<SimulatedDisk>,
    pub(crate) snapshots: Snapshots<SimulatedDisk>,
    pub(crate) found: Found,
}

pub(crate) fn start(disk: &SimulatedDisk, origin: Origin) -> Result<Life, String> {
    start_on_threads(disk, origin, 1)
}

pub(crate) fn start_on_threads(disk: &SimulatedDisk, origin: Origin, threads: usize) -> Result<Life, String> {
    let mut drawn = origin.0 << 32;
    let opening = Opening {
        name: "a".to_owned(),
        node_id: NodeId(1),
        origin,
        settings: test_settings(),
        max_drift_ms: 5_000,
        member_timeout_ms: 86_400_000,
        random: Box::new(move || {
            drawn += 1;
            drawn
        }),
        now: Box::new(|| MonoMillis(0)),
        segment_bytes_max: SEGMENT_BYTES,
        threads: NonZeroUsize::new(threads).expect("there is a thread"),
        progress: Arc::default(),
    };
    let Opened { node, writer, snapshots, found, .. } =
        open(Arc::new(disk.clone()), opening).map_err(|error| error.to_string())?;
    for (_, at) in node.log.status().frontier.iter() {
        assert!(at <= found.ceiling, "a timestamp in the log lies above the durable ceiling");
    }
    Ok(Life { node, writer, snapshots, found })
}

/// A write that was made: the value of its key then, and where the log must be durable for it to be acknowledged.
pub(crate) struct Written {
    pub(crate) key: u64,
    pub(crate) value: u64,
    pub(crate) sealed: LogPosition,
}

impl Life {
    /// Writes a key, as a client of `--fsync always` does. None if the node refuses, because its disk has crashed.
    pub(crate) fn write(&self, key: u64, value: u64, wall: WallMillis) -> Option<Written> {
        let name = key.to_string().into_bytes();
        let key_ref = Key::new(0, &name);
        let clocks = Clocks { wall, mono_us: 0 };
        let mut transaction =
            Transaction::begin(&self.node, ShardSet::of(key_ref.shard()), clocks, true).ok()?;
        transaction.set(&key_ref, value.to_string().into_bytes(), NewTtl::Clear).expect("a small value");
        transaction.commit();
        Some(Written { key, value, sealed: self.node.log.seal(0) })
    }

    pub(crate) fn value(&self, key: u64) -> Option<u64> {
        let name = key.to_string().into_bytes();
        let key = Key::new(0, &name);
        let clocks = Clocks { wall: WallMillis(0), mono_us: 0 };
        let transaction = Transaction::begin(&self.node, ShardSet::of(key.shard()), clocks, false)
            .expect("reads are served");
        let value = transaction.string(&key).expect("a string")?;
        Some(std::str::from_utf8(&value).expect("digits").parse().expect("a number"))
    }

    /// Writes a snapshot from beginning to end, with the log's writer taking its turns. Returns whether it is in place.
    pub(crate) fn save(&mut self) -> bool {
        self.node.request_snapshot();
        self.finish_snapshot()
    }

    pub(crate) fn finish_snapshot(&mut self) -> bool {
        loop {
            match self.snapshots.turn(&self.node, MonoMillis(0)) {
                Turn::Saved(_) => return self.writer.turn(&self.node.log, false).is_ok(),
                Turn::Idle | Turn::Failed(..) => return false,
                Turn::AwaitsLog(_) if self.writer.turn(&self.node.log, false).is_err() => return false,
                _ => {}
            }
        }
    }
}

/// Writes, group-commits, saves and crashes at disk operation `crash_at`. Notes what was acknowledged: per key the
/// newest value, which later unacknowledged ones may have replaced. Returns how many snapshots were put in place.
fn run(
    disk: &SimulatedDisk,
    seed: u64,
    crash_at: Option<u64>,
    acknowledged: &mut Vec<Written>,
    newest: &mut [u64],
) -> usize {
    let mut random = Random(seed);
    if let Some(operation) = crash_at {
        disk.crash_at(operation);
    }
    let Ok(mut life) = start(disk, Origin(1 + random.below(1 << 40) as u64)) else { return 0 };
    life.node.settings.set_log_retention(random.below(4_000) as u64);
    let (mut pending, mut saved) = (Vec::new(), 0);
    for round in 0..40_u64 {
        if random.below(8) == 0 {
            life.node.request_snapshot();
        }
        for _ in 0..=random.below(4) {
            let key = random.below(newest.len()) as u64;
            let value = newest[key as usize] + 1;
            let wall = WallMillis(1_000_000 + seed % 7 * 10_000 + round * 300);
            let Some(written) = life.write(key, value, wall) else { break };
            newest[key as usize] = value;
            pending.push(written);
            for _ in 0..random.below(60) {
                saved +=
                    usize::from(matches!(life.snapshots.turn(&life.node, MonoMillis(0)), Turn::Saved(_)));
            }
        }
        if life.writer.turn(&life.node.log, random.below(3) > 0).is_err() {
            return saved;
        }
        let durable = life.node.log.durable();
        let (done, waiting) = pending.into_iter().partition(|written: &Written| written.sealed <= durable);
        acknowledged.extend::<Vec<Written>>(done);
        pending = waiting;
    }
    saved
}

/// Returns whether segments had been removed.
#[track_caller]
fn check(disk: &SimulatedDisk, acknowledged: &[Written], newest: &[u64], story: &str) -> bool {
    let life = start(disk, Origin(7)).unwrap_or_else(|error| panic!("{story}: {error}"));
    for key in 0..newest.len() as u64 {
        let promised =
            acknowledged.iter().filter(|written| written.key == key).map(|written| written.value).max();
        let found = life.value(key);
        assert!(found >= promised, "{story}: key {key} is {found:?}, acknowledged was {promised:?}");
        assert!(found <= Some(newest[key as usize]), "{story}: key {key} is {found:?}, which nobody wrote");
    }
    check_bears_out(&life, story);
    let state = life.node.store.canonical();
    disk.restart(Crash::Power);
    let again = start(disk, Origin(8)).unwrap_or_else(|error| panic!("{story}: {error}"));
    assert_eq!(again.node.store.canonical(), state, "{story}: what was read once is read again");
    life.found.log.start > LogPosition(0)
}

/// All that is in the store is covered by the frontier, or else nobody would ever send it to others; and all that the
/// log serves is there to be read.
#[track_caller]
pub(crate) fn check_bears_out(life: &Life, story: &str) {
    let frontier = life.node.log.status().frontier;
    for (key, held) in &life.node.store.canonical().keys {
        assert!(frontier.covers(held.reset), "{story}: {key:?} is at {:?}, held is {frontier}", held.reset);
    }
    for (origin, upto) in frontier.iter() {
        let mut after = life.node.log.log_start().get(origin);
        let Some(mut next) = life.node.log.find(origin, after).expect("it is where the log starts") else {
            assert!(after >= upto, "{story}: the log of {origin} ends at {after}, held is {upto}");
            continue;
        };
        while next < life.node.log.end() {
            let take = &mut |_: LogPosition, bytes: &[u8]| {
                let header = shared::batch::BatchHeader::peek(bytes).expect("it was read at the start");
                if header.origin == origin && header.after <= after {
                    after = after.max(header.upto);
                }
            };
            next = life.writer.reader().read(next, 1 << 20, take).expect("it is there");
        }
        assert!(after >= upto, "{story}: of {origin} the log serves up to {after}, held is {upto}");
    }
}

#[test]
fn no_acknowledged_write_is_lost_wherever_power_fails() {
    let seeds = if std::env::var_os("TANDEM_LONG").is_some() { 200 } else { 6 };
    let (mut saved, mut shortened) = (0, 0);
    for seed in 0..seeds {
        let dry = SimulatedDisk::new(seed);
        saved += run(&dry, seed, None, &mut Vec::new(), &mut [0; 5]);
        for crash_at in 0..dry.operations() {
            let disk = SimulatedDisk::new(seed);
            let (mut acknowledged, mut newest) = (Vec::new(), [0; 5]);
            run(&disk, seed, Some(crash_at), &mut acknowledged, &mut newest);
            disk.restart(Crash::Power);
            let story = format!("seed {seed}, crash at operation {crash_at}");
            shortened += usize::from(check(&disk, &acknowledged, &newest, &story));
            // And once more, on what the first crash has left.
            run(&disk, seed + 1_000, None, &mut acknowledged, &mut newest);
            disk.restart(Crash::Power);
            check(&disk, &acknowledged, &newest, &format!("seed {seed}, second crash after {crash_at}"));
        }
    }
    assert!(saved > 5 && shortened > 50, "{saved} snapshots, {shortened} shortened logs");
}

//! A log that is appended to, synced, rolled, shortened and closed at random survives a crash at every operation.
//!
//! Each run is a number of lives on one disk. A life recovers the log, compares it with what the lives before had
//! appended, goes on with random steps, and ends in a crash, which falls on each operation in turn. What was
//! reported durable must be there; what is there must have been appended, in this order, with nothing between.
//!
//! Without any one of the syncs in `segment` and `recovery` this fails.

use super::super::disk::simulated::{Crash, Failure, Random, SimulatedDisk};
use super::super::segment::LogError;
use super::*;

const SEGMENT_BYTES: u64 = 400;

/// A batch and the position of its record.
type Placed = (LogPosition, Arc<[u8]>);

/// What was done to a log, and what of it must have survived.
struct Model {
    disk: Arc<SimulatedDisk>,
    random: Random,
    next_batch: u32,
    /// What was appended.
    appended: Vec<Placed>,
    /// What was tried to append at the end since something was last appended or synced, and may be there after a crash.
    refused: Vec<Vec<Placed>>,
    /// Up to where the log was reported durable.
    synced: LogPosition,
    /// Up to where segments may have been removed.
    removed: LogPosition,
}

impl Model {
    fn new(seed: u64) -> Self {
        Self {
            disk: Arc::new(SimulatedDisk::new(seed)),
            random: Random(seed ^ 0x5eed),
            next_batch: 0,
            appended: Vec::new(),
            refused: Vec::new(),
            synced: LogPosition::default(),
            removed: LogPosition::default(),
        }
    }

    /// One life: recovers, then takes steps until they are done or the disk has crashed.
    fn live(&mut self, steps: usize) {
        let Some(mut log) = self.recover() else { return };
        for _ in 0..steps {
            self.step(&mut log);
            self.note_synced(&log);
            if self.disk.has_crashed() {
                return;
            }
        }
    }

    fn recover(&mut self) -> Option<SegmentLog<SimulatedDisk>> {
        let mut found: Vec<Placed> = Vec::new();
        let on_batch = &mut |position: LogPosition, batch: &[u8]| {
            found.push((position, batch.into()));
            Ok(())
        };
        let (log, recovery) = match recover(Arc::clone(&self.disk), SEGMENT_BYTES, on_batch) {
            Ok(recovered) => recovered,
            Err(error) => {
                assert!(self.disk.has_crashed(), "refused after a crash: {error}");
                return None;
            }
        };
        assert_eq!((log.start(), log.end(), log.synced()), (recovery.start, recovery.end, recovery.end));
        assert_eq!(recovery.batches, found.len() as u64);
        self.check(recovery.start, &found);
        assert!(recovery.end >= self.synced, "lost what was durable: {} {}", recovery.end, self.synced);
        self.appended = found;
        self.refused.clear();
        self.note_synced(&log);
        self.check_reader(&log);
        Some(log)
    }

    /// What was found is a part of what was appended, without holes, perhaps with a beginning of what was refused.
    fn check(&self, start: LogPosition, found: &[Placed]) {
        assert!(start <= self.removed, "more was removed than was asked for: {start}");
        let skipped = self.appended.partition_point(|(position, _)| *position < start);
        let appended = &self.appended[skipped..];
        let common = found.len().min(appended.len());
        assert_eq!(found[..common], appended[..common]);
        if let Some((lost, _)) = appended.get(common) {
            assert!(*lost >= self.synced, "lost the durable batch at {lost}, {} was durable", self.synced);
        }
        let beyond = &found[common..];
        let is_refused = self.refused.iter().any(|refused| refused.starts_with(beyond));
        assert!(beyond.is_empty() || is_refused, "invented {beyond:?}, not of {:?}", self.refused);
    }

    fn check_reader(&mut self, log: &SegmentLog<SimulatedDisk>) {
        let mut found = Vec::new();
        let mut next = log.start();
        while next < log.end() {
            let bytes_max = self.random.below(500);
            let each = &mut |position: LogPosition, batch: &[u8]| found.push((position, batch.into()));
            next = log.reader().read(next, bytes_max, each).unwrap();
        }
        let left = self.appended.partition_point(|(position, _)| *position < log.start());
        assert_eq!(found, self.appended[left..]);
    }

    fn note_synced(&mut self, log: &SegmentLog<SimulatedDisk>) {
        assert!(log.synced() >= self.synced && log.synced() <= log.end());
        self.synced = log.synced();
    }

    fn step(&mut self, log: &mut SegmentLog<SimulatedDisk>) {
        match self.random.below(20) {
            0..=10 => self.append(log),
            11..=14 => self.sync(log),
            15 => {
                let _ = log.close();
            }
            16 => {
                self.removed =
                    LogPosition(self.random.below(log.end().0 as usize + 1) as u64).max(self.removed);
                let _ = log.remove_before(self.removed);
            }
            17 if self.random.below(3) == 0 => {
                let failure = if self.random.below(2) == 0 { Failure::Full } else { Failure::Broken };
                let from = self.disk.operations() + self.random.below(5) as u64;
                self.disk.fail(from..from + 1 + self.random.below(4) as u64, failure);
            }
            _ => self.check_reader(log),
        }
    }

    fn append(&mut self, log: &mut SegmentLog<SimulatedDisk>) {
        let batches: Vec<Arc<[u8]>> = (0..1 + self.random.below(4)).map(|_| self.batch()).collect();
        let mut position = log.end();
        let mut placed = Vec::new();
        for batch in &batches {
            placed.push((position, Arc::clone(batch)));
            position = position.after_record(batch.len());
        }
        match log.append(&batches) {
            Ok(end) => {
                assert_eq!(end, position);
                self.appended.append(&mut placed);
                self.refused.clear();
            }
            Err(error) => {
                assert!(matches!(error, LogError::Disk(_)), "{error}");
                self.refused.push(placed);
            }
        }
    }

    fn sync(&mut self, log: &mut SegmentLog<SimulatedDisk>) {
        if log.sync().is_ok() {
            assert_eq!(log.synced(), log.end());
        }
    }

    /// A batch like no other. Many are of the same length, so that leftovers of one fit in the place of another.
    fn batch(&mut self) -> Arc<[u8]> {
        self.next_batch += 1;
        let length = [8, 8, 8, 8, 30, 200][self.random.below(6)];
        let mut batch = vec![0; length];
        batch[..4].copy_from_slice(&self.next_batch.to_le_bytes());
        batch.into()
    }

    fn end_life(&mut self) {
        let crash = if self.random.below(3) == 0 { Crash::Process } else { Crash::Power };
        self.disk.restart(crash);
    }
}

/// How many operations the first life of a seed takes if nothing stops it.
fn operations(seed: u64, steps: usize) -> u64 {
    let mut model = Model::new(seed);
    model.live(steps);
    model.disk.operations()
}

#[test]
fn everything_durable_survives_a_crash_at_every_operation() {
    const STEPS: usize = 25;
    for seed in 0..250 {
        for operation in 0..operations(seed, STEPS) {
            let mut model = Model::new(seed);
            model.disk.crash_at(operation);
            model.live(STEPS);
            for _ in 0..4 {
                model.end_life();
                // Often within recovery itself.
                let soon = model.random.below(if operation % 2 == 0 { 6 } else { 40 }) as u64;
                model.disk.crash_at(model.disk.operations() + soon);
                model.live(STEPS);
            }
            model.end_life();
            model.live(1);
        }
    }
}

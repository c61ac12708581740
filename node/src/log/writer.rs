//! Moves sealed batches to disk.
//!
//! One thread appends what was sealed since its last turn, and syncs as `--fsync` says: under `always` once per
//! turn, for all that wait (group commit); under `everysec` once a second. While the disk fails, writes are refused
//! with `-MISCONF` and remote batches wait; the thread tries again, and when it succeeds all goes on by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use slog::{Logger, error, info};

use super::disk::Disk;
use super::segment::{LogError, LogPosition, SegmentLog};
use super::{Log, Sealed};
use crate::settings::Fsync;

/// How long the thread rests between turns when nobody waits for the disk: small batches are written together.
const REST: Duration = Duration::from_millis(1);

/// How often a failing disk is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// How often `everysec` syncs.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// A turn takes about this many bytes at most.
const TURN_BYTES: usize = 8 << 20;

/// Writes a log's sealed batches to its segments.
pub(crate) struct Writer<D: Disk> {
    segments: SegmentLog<D>,
}

impl<D: Disk> Writer<D> {
    pub(crate) const fn new(segments: SegmentLog<D>) -> Self {
        Self { segments }
    }

    /// Appends what is sealed and not yet written, and syncs if asked to. Returns whether more is left.
    pub(crate) fn turn(&mut self, log: &Log, sync: bool) -> Result<bool, LogError> {
        let (batches, more) = log.unwritten(TURN_BYTES);
        if let Some(last) = batches.last() {
            let expected = last.end();
            let bytes: Vec<Arc<[u8]>> = batches.into_iter().map(|sealed| sealed.bytes).collect();
            let end = self.segments.append(&bytes)?;
            assert_eq!(end, expected, "the log's positions in memory are those on disk");
            // Before the sync, which may fail: what was appended must not be appended again.
            log.wrote(end, self.segments.synced());
        }
        if sync && self.segments.synced() < self.segments.end() {
            self.segments.sync()?;
        }
        log.wrote(self.segments.end(), self.segments.synced());
        Ok(more)
    }

    /// Whether something was written that is not durable.
    fn is_unsynced(&self) -> bool {
        self.segments.synced() < self.segments.end()
    }

    /// Runs until the log is stopped and all of it is on disk. `progressed` is called when more became durable.
    pub(crate) fn run(
        mut self,
        log: &Log,
        fsync: impl Fn() -> Fsync,
        progressed: impl Fn(),
        logger: &Logger,
    ) {
        let mut last_sync = Instant::now();
        let mut failing = false;
        loop {
            let policy = fsync();
            let wait = if self.is_unsynced() && policy != Fsync::No { Some(SYNC_INTERVAL) } else { None };
            let stopping = log.wait_for_work(wait);
            let due = policy == Fsync::Everysec && last_sync.elapsed() >= SYNC_INTERVAL;
            let sync = stopping || policy == Fsync::Always || due;
            match self.turn(log, sync) {
                Ok(more) => {
                    if std::mem::take(&mut failing) {
                        info!(logger, "log can be written again; writes are taken");
                    }
                    if sync {
                        last_sync = Instant::now();
                        progressed();
                    }
                    if stopping && !more {
                        break;
                    }
                    if policy != Fsync::Always && !stopping {
                        std::thread::sleep(REST);
                    }
                }
                Err(problem) => {
                    if !std::mem::replace(&mut failing, true) {
                        error!(logger, "log cannot be written; writes are refused until it can"; "error" => %problem);
                    }
                    log.failed(&problem);
                    progressed();
                    if stopping {
                        error!(logger, "stopped with writes that are not on disk");
                        return;
                    }
                    std::thread::sleep(RETRY);
                }
            }
        }
        if let Err(problem) = self.segments.close() {
            error!(logger, "log could not be closed cleanly"; "error" => %problem);
        }
    }
}

impl Log {
    /// The sealed batches that are not written yet, up to about `bytes_max`, and whether there are more.
    fn unwritten(&self, bytes_max: usize) -> (Vec<Sealed>, bool) {
        let end = self.end.lock();
        let start = end.recent.partition_point(|sealed| sealed.position < end.written);
        let mut bytes = 0;
        let taken: Vec<Sealed> = end
            .recent
            .range(start..)
            .take_while(|sealed| {
                let room = bytes < bytes_max;
                bytes += sealed.bytes.len();
                room
            })
            .cloned()
            .collect();
        let more = start + taken.len() < end.recent.len();
        (taken, more)
    }

    fn wrote(&self, written: LogPosition, durable: LogPosition) {
        let mut end = self.end.lock();
        end.written = written;
        end.durable = durable;
        end.fault = None;
        end.trim();
        self.room.notify_all();
    }

    fn failed(&self, problem: &LogError) {
        let mut end = self.end.lock();
        end.fault = Some(problem.to_string());
        self.room.notify_all();
    }

    /// Waits until something is sealed, the time is up or the log is stopped. Returns whether it is stopped.
    fn wait_for_work(&self, wait: Option<Duration>) -> bool {
        let mut end = self.end.lock();
        while end.written >= end.end && !end.stopping {
            match wait {
                None => self.work.wait(&mut end),
                Some(wait) => {
                    if self.work.wait_for(&mut end, wait).timed_out() {
                        break;
                    }
                }
            }
        }
        end.stopping
    }

    /// Seals what is open and lets the writer finish: nothing is written after this.
    pub(crate) fn stop(&self, now_us: u64) {
        self.seal(now_us);
        self.end.lock().stopping = true;
        self.work.notify_all();
        self.room.notify_all();
    }
}

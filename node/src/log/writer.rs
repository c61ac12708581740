//! Moves sealed batches to disk.
//!
//! One thread appends what was sealed since its last turn, and syncs as `--fsync` says: under `always` once per
//! turn, for all that wait (group commit); under `everysec` once a second. While the disk fails, writes are refused
//! with `-MISCONF` and remote batches wait; the thread tries again, and when it succeeds all goes on by itself.
//!
//! The segments are the writer's alone: what others need of them (old ones removed, all of it durable now) they ask
//! for by [`Log::ask_removal`] and [`Log::ask_sync`], and it is done in the writer's next turn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use slog::{Logger, error, info, warn};

use super::disk::Disk;
use super::segment::{LogError, LogPosition, LogReader, SegmentLog};
use super::{End, Log, Sealed};
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
    /// Why segments were not removed, until it is told.
    removal_failed: Option<LogError>,
}

/// What others have asked of the writer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    /// The log is to be durable up to here.
    sync_to: LogPosition,
    /// Segments that end here or before are not needed any more.
    remove_before: Option<LogPosition>,
}

impl<D: Disk> Writer<D> {
    pub(crate) const fn new(segments: SegmentLog<D>) -> Self {
        Self { segments, removal_failed: None }
    }

    /// Reads the log, while it grows.
    pub(crate) fn reader(&self) -> LogReader<D> {
        self.segments.reader()
    }

    /// Appends what is sealed and not yet written, syncs if told to or asked for it, and removes the segments that it
    /// was asked to. Returns whether more is left to write.
    pub(crate) fn turn(&mut self, log: &Log, sync: bool) -> Result<bool, LogError> {
        let sync = sync || log.is_sync_asked();
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
        if let Some(position) = log.take_removal() {
            self.remove_before(log, position);
        }
        Ok(more)
    }

    /// Removes segments. One that cannot be removed is no reason to refuse writes: the next request tries it again.
    fn remove_before(&mut self, log: &Log, position: LogPosition) {
        // Followers are told before it is gone.
        log.dropped_before(self.segments.start_without(position));
        self.removal_failed = self.segments.remove_before(position).err();
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
                    if let Some(problem) = self.removal_failed.take() {
                        warn!(logger, "old segments of the log cannot be removed"; "error" => %problem);
                    }
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
        if let Err(problem) = self.close() {
            error!(logger, "log could not be closed cleanly"; "error" => %problem);
        }
    }

    /// Ends the log's files in order, when all is written.
    pub(crate) fn close(&mut self) -> Result<(), LogError> {
        self.segments.close()
    }
}

impl Log {
    /// The sealed batches that are not written yet, up to about `bytes_max`, and whether there are more.
    fn unwritten(&self, bytes_max: usize) -> (Vec<Sealed>, bool) {
        let end = self.lock();
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
        let mut end = self.lock();
        end.written = written;
        end.durable = durable;
        end.fault = None;
        end.trim();
        drop(end);
        self.room.notify_all();
    }

    /// Seals what is open and asks the writer to make all of the log durable. Returns where it ends: it is done when
    /// [`Log::durable`] has reached that.
    pub(crate) fn ask_sync(&self) -> LogPosition {
        let mut end = self.lock();
        end.seal_open();
        end.asked.sync_to = end.end;
        let until = end.end;
        drop(end);
        self.work.notify_one();
        self.sealed.notify(usize::MAX);
        until
    }

    /// Waits until the log is durable up to a position, or the time is up. Returns whether it is.
    pub(crate) fn wait_durable(&self, position: LogPosition, time: Duration) -> bool {
        let mut end = self.lock();
        if end.durable < position {
            self.room.wait_for(&mut end, time);
        }
        end.durable >= position
    }

    /// Asks the writer to remove what of the log lies before a position and is no longer needed.
    pub(crate) fn ask_removal(&self, before: LogPosition) {
        let mut end = self.lock();
        end.asked.remove_before = end.asked.remove_before.max(Some(before));
        drop(end);
        self.work.notify_one();
    }

    fn is_sync_asked(&self) -> bool {
        self.lock().is_sync_asked()
    }

    fn take_removal(&self) -> Option<LogPosition> {
        self.lock().asked.remove_before.take()
    }

    fn dropped_before(&self, start: LogPosition) {
        self.lock().index.drop_before(start);
    }

    /// Writes are refused from here on, until a turn succeeds.
    pub(crate) fn failed(&self, problem: &LogError) {
        let mut end = self.lock();
        end.fault = Some(problem.to_string());
        self.room.notify_all();
    }

    /// Waits until something is sealed, the time is up or the log is stopped. Returns whether it is stopped.
    fn wait_for_work(&self, wait: Option<Duration>) -> bool {
        let mut end = self.lock();
        while end.written >= end.end && !end.stopping && !end.is_asked() {
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
        self.lock().stopping = true;
        self.work.notify_all();
        self.room.notify_all();
    }
}

impl End {
    fn is_sync_asked(&self) -> bool {
        self.durable < self.asked.sync_to
    }

    fn is_asked(&self) -> bool {
        self.is_sync_asked() || self.asked.remove_before.is_some()
    }
}

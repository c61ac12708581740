//! The log: the batches of all origins in the order in which they arrived here.
//!
//! [`Log`] is its end in memory: the clock, the frontier, the open batch of this node's own writes and the newest
//! sealed batches. Followers read from it; a thread ([`writer`]) moves sealed batches to disk. A log without a
//! directory is nothing but its end, bounded by `--log-memory`.
//!
//! - [`disk`]: the file operations that durability depends on, and a simulation of them.
//! - [`segment`], [`recovery`]: the log on disk, and how it is read back after a crash.
//! - [`index`]: where a follower starts.
//! - [`ceiling`]: the clock's durable bound.
//! - [`identity`]: the node's id, name and group.
//! - [`writer`]: sealed batches to disk, group commit, and what happens when the disk is full.
//! - [`left`]: how much log is left for a member that is behind.
//! - [`release`]: what a log without a disk lets go of because nobody is behind.
//! - [`adopt`]: how the log jumps to what a reconcile has brought.
//! - [`snapshot`], [`snapshotting`]: all that a node holds in one file, and how it is written while the node runs.

pub(crate) mod disk;

pub(crate) mod segment;

pub(crate) mod recovery;

pub(crate) mod index;

pub(crate) mod ceiling;

pub(crate) mod identity;

pub(crate) mod writer;

mod left;

pub(crate) mod release;

pub(crate) mod adopt;

pub(crate) mod snapshot;

pub(crate) mod snapshotting;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use event_listener::{Event, EventListener};
use parking_lot::{Condvar, Mutex, MutexGuard};
use shared::batch::{BatchBuilder, BatchHeader};
use shared::change::Change;
use shared::clock::{BeyondCeiling, HybridClock, Timestamp};
use shared::id::Origin;
use shared::time::WallMillis;
use shared::version::{Frontier, Version};

use self::disk::Disk;
use self::index::LogIndex;
use self::release::Released;
use self::segment::{LogError, LogPosition, LogReader};
use self::writer::Asked;
use crate::lock_order::{Held, Level, before};

/// The open batch is sealed at this size at the latest. A larger transaction makes a larger batch.
const BATCH_BYTES: usize = 64 << 10;

/// Seals follow each other at this distance at the least, in microseconds, unless a batch is full: a batch costs
/// each process on its way some microseconds of CPU, however small it is.
pub(crate) const SEAL_INTERVAL_US: u64 = 200;

/// Sealed batches that are on disk stay in memory up to this many bytes, for followers that are nearly up to date.
const RECENT_BYTES_MAX: usize = 16 << 20;

/// Writers wait while more sealed bytes than this are not yet on disk.
const UNWRITTEN_BYTES_MAX: usize = 64 << 20;

/// The clock is judged poisoned when it runs ahead of the wall clock by this many times `max-clock-drift`: drift
/// adds up along a chain of nodes.
const POISON_FACTOR: u64 = 10;

/// Where sealed batches go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retention {
    /// To disk, by the writer thread.
    Disk,
    /// Nowhere: those that somebody may yet need are kept in memory, up to this many bytes.
    Memory { bytes_max: usize },
}

/// What becomes of the clock's durable ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MoveCeiling {
    /// To this, if it is lower.
    Raise(Timestamp),
    /// To this, if it is higher: see [`Ceiling::lower`](ceiling::Ceiling::lower).
    Lower(Timestamp),
}

/// Makes another ceiling durable.
pub(crate) type KeepCeiling = Box<dyn FnMut(MoveCeiling) -> std::io::Result<()> + Send>;

/// Why a write gets no timestamp. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteRefused {
    #[error(
        "MISCONF the log cannot be written: {0}. Writes are refused until it can; reads are served. See this node's log and its disk"
    )]
    Disk(String),
    #[error(
        "CLOCK this node's hybrid clock is {ahead_ms} ms ahead of its wall clock, more than ten times max-clock-drift: writes are refused, lest they win over everybody's. Put the wall clock right; if it is, and was ahead before, have this node write its data once more: tandem-agent reissue"
    )]
    Clock { ahead_ms: u64 },
    /// It is a peer's.
    #[error(
        "CLOCK it is {ahead_ms} ms ahead of this node's wall clock, more than ten times max-clock-drift: put the peer's wall clock right; if it is, and was ahead before, run tandem-agent reissue there"
    )]
    PeerClock { ahead_ms: u64 },
    #[error(
        "CLOCK this node's clock was ahead, and it is being put back, as an operator wants: writes are taken as soon as that is done, which takes about as long as a snapshot. Reads are served"
    )]
    Rewinding,
    #[error(
        "LOADING this node was started again and has met no member of its group yet: writes are taken as soon as it has, or after max-clock-drift. Reads are served"
    )]
    NotMet,
}

/// A sealed batch and where it stands in the log.
#[derive(Clone)]
pub(crate) struct Sealed {
    pub(crate) position: LogPosition,
    pub(crate) header: BatchHeader,
    pub(crate) bytes: Arc<[u8]>,
}

impl Sealed {
    /// Where the next batch stands.
    pub(crate) fn end(&self) -> LogPosition {
        self.position.after_record(self.bytes.len())
    }
}

/// How the log stands, for people and tools: all of one moment.
#[derive(Clone, Debug)]
pub(crate) struct LogStatus {
    pub(crate) origin: Origin,
    pub(crate) frontier: Frontier,
    /// The newest timestamp, which stays behind the wall clock while nobody writes.
    pub(crate) clock: Timestamp,
    /// Where the log ends, and what of it survives the loss of power.
    pub(crate) end: LogPosition,
    pub(crate) durable: LogPosition,
    /// Why it cannot be written at the moment, if so.
    pub(crate) fault: Option<String>,
    /// What the batches take that are in memory, the open one included.
    pub(crate) memory_bytes: usize,
}

/// The log's end. See the module's documentation.
pub(crate) struct Log {
    end: Mutex<End>,
    /// The clock's newest timestamp, to read without the lock.
    clock: AtomicU64,
    /// How often the log was moved to another frontier at once, to see without the lock.
    jumps: AtomicU64,
    /// Notified when a batch was sealed, or the writer made progress.
    sealed: Event,
    /// Where the writer waits for work, and writers for the writer.
    work: Condvar,
    room: Condvar,
    max_drift_ms: u64,
}

/// The state behind the lock.
pub(crate) struct End {
    clock: HybridClock,
    keep_ceiling: Option<KeepCeiling>,
    frontier: Frontier,
    open: BatchBuilder,
    last_seal_us: u64,
    recent: VecDeque<Sealed>,
    recent_bytes: usize,
    end: LogPosition,
    written: LogPosition,
    durable: LogPosition,
    index: LogIndex,
    retention: Retention,
    released: Released,
    fault: Option<String>,
    asked: Asked,
    stopping: bool,
}

/// What a log starts from: what recovery found, or nothing.
pub(crate) struct Start {
    pub(crate) origin: Origin,
    pub(crate) clock: HybridClock,
    pub(crate) keep_ceiling: Option<KeepCeiling>,
    pub(crate) frontier: Frontier,
    pub(crate) end: LogPosition,
    pub(crate) index: LogIndex,
    pub(crate) retention: Retention,
    pub(crate) max_drift_ms: u64,
}

impl Log {
    pub(crate) fn new(start: Start) -> Self {
        let clock = start.clock.last();
        Self {
            end: Mutex::new(End {
                clock: start.clock,
                keep_ceiling: start.keep_ceiling,
                frontier: start.frontier,
                open: BatchBuilder::new(start.origin, Timestamp::ZERO),
                last_seal_us: 0,
                recent: VecDeque::new(),
                recent_bytes: 0,
                end: start.end,
                written: start.end,
                durable: start.end,
                index: start.index,
                retention: start.retention,
                released: Released::default(),
                fault: None,
                asked: Asked::default(),
                stopping: false,
            }),
            clock: AtomicU64::new(clock.0),
            jumps: AtomicU64::new(0),
            sealed: Event::new(),
            work: Condvar::new(),
            room: Condvar::new(),
            max_drift_ms: start.max_drift_ms,
        }
    }

    /// The time by which expiry is judged: the hybrid clock's, which no write's timestamp is behind.
    pub(crate) fn now(&self, wall: WallMillis) -> WallMillis {
        wall.max(Timestamp(self.clock.load(Ordering::Relaxed)).wall())
    }

    /// Drops what memory holds, as a log that is too short does.
    #[cfg(test)]
    pub(crate) fn forget_recent(&self) {
        let mut end = self.lock();
        let position = end.end;
        end.recent.clear();
        end.recent_bytes = 0;
        end.index.drop_before(position);
    }

    /// How far the clocks of linked nodes may lie apart, in milliseconds.
    pub(crate) const fn max_drift_ms(&self) -> u64 {
        self.max_drift_ms
    }

    /// How far ahead of the wall clock anything may lie before it is taken for poisoned, in milliseconds.
    pub(crate) const fn poison_ms(&self) -> u64 {
        self.max_drift_ms.saturating_mul(POISON_FACTOR)
    }

    /// Begins a write: takes the lock until the write's changes are appended, and a timestamp.
    pub(crate) fn begin(&self, wall: WallMillis) -> Result<OpenWrite<'_>, WriteRefused> {
        let mut end = self.lock_with_room()?;
        let ahead_ms = end.clock.last().wall().0.saturating_sub(wall.0);
        if ahead_ms > self.poison_ms() {
            return Err(WriteRefused::Clock { ahead_ms });
        }
        let timestamp = end.with_ceiling(wall, |clock| clock.tick(wall))?;
        self.clock.store(timestamp.0, Ordering::Relaxed);
        let version = Version::new(timestamp, end.open.header().origin);
        Ok(OpenWrite { end, version, _held: Held::new(Level::Log) })
    }

    /// Locks the log once the writer is not too far behind.
    fn lock(&self) -> MutexGuard<'_, End> {
        before(Level::Log);
        self.end.lock()
    }

    fn lock_with_room(&self) -> Result<MutexGuard<'_, End>, WriteRefused> {
        let mut end = self.lock();
        while end.unwritten_bytes() > UNWRITTEN_BYTES_MAX && end.fault.is_none() && !end.stopping {
            self.room.wait(&mut end);
        }
        match &end.fault {
            Some(fault) => Err(WriteRefused::Disk(fault.clone())),
            None => Ok(end),
        }
    }

    /// Moves the clock past a timestamp from elsewhere, before what has it is appended.
    pub(crate) fn observe(&self, seen: Timestamp, wall: WallMillis) -> Result<(), WriteRefused> {
        let mut end = self.lock_with_room()?;
        end.with_ceiling(wall, |clock| clock.observe(seen))?;
        self.clock.store(end.clock.last().0, Ordering::Relaxed);
        Ok(())
    }

    /// Raises the clock's ceiling well before it is reached, so that no write waits for the disk.
    pub(crate) fn keep_ceiling_ahead(&self, wall: WallMillis) -> Result<(), WriteRefused> {
        let mut end = self.lock();
        let last = end.clock.last();
        if end.clock.ceiling() >= ceiling_above(last, wall, 2) {
            return Ok(());
        }
        // The lock is held over an fsync of one small file, about twice a second: simple, and never on the way of
        // a reader. Group commit holds writers up more often.
        end.raise(ceiling_above(last, wall, 1))
    }

    /// What the node holds, and its clock, taken together: nothing at or below the clock will yet be written here.
    pub(crate) fn standing(&self, wall: WallMillis) -> (Frontier, Timestamp) {
        let mut end = self.lock();
        // What stands between the last write and now: the clock moves, so that it can be announced. Without a
        // higher ceiling it stays.
        if end.with_ceiling(wall, |clock| clock.observe(Timestamp::of_wall(wall))).is_ok() {
            self.clock.store(end.clock.last().0, Ordering::Relaxed);
        }
        (end.frontier.clone(), end.clock.last())
    }

    /// How the log stands. A transaction that writes has a status of its own, for it holds the lock.
    pub(crate) fn status(&self) -> LogStatus {
        self.lock().status()
    }

    /// This run's origin.
    pub(crate) fn origin(&self) -> Origin {
        self.lock().open.header().origin
    }

    /// Every origin of which batches were appended, also one whose first batch is just being merged, and is not held
    /// yet; and those whose log starts later than they do.
    pub(crate) fn origins(&self) -> Vec<Origin> {
        self.lock().index.origins().collect()
    }

    /// What is held.
    pub(crate) fn frontier(&self) -> Frontier {
        self.lock().frontier.clone()
    }

    /// What is held of `origin`.
    pub(crate) fn held(&self, origin: Origin) -> Timestamp {
        self.lock().frontier.get(origin)
    }

    /// What a follower must hold at least, by origin: later than zero where the log was shortened.
    pub(crate) fn log_start(&self) -> Frontier {
        self.lock().index.log_start().clone()
    }

    /// Appends a batch of another origin. It does not count as held before [`Log::advance`].
    pub(crate) fn append(&self, header: BatchHeader, bytes: Arc<[u8]>) {
        let mut end = self.lock();
        end.append(header, bytes);
        self.announce_sealed(&end);
    }

    /// Notes that a batch which was appended is merged.
    pub(crate) fn advance(&self, origin: Origin, upto: Timestamp) {
        self.lock().frontier.advance(origin, upto);
    }

    /// Seals the open batch if it is due. Returns in how many microseconds it will be, if it is not.
    pub(crate) fn seal_if_due(&self, now_us: u64) -> Option<u64> {
        let mut end = self.lock();
        if end.open.is_empty() {
            return None;
        }
        let due_us = end.last_seal_us.saturating_add(SEAL_INTERVAL_US);
        if now_us < due_us && end.open.payload_bytes() < BATCH_BYTES {
            return Some(due_us - now_us);
        }
        end.seal(now_us);
        self.announce_sealed(&end);
        None
    }

    /// Seals the open batch now. Returns where the log then ends: what is there must be durable before a reply
    /// under `--fsync always`.
    pub(crate) fn seal(&self, now_us: u64) -> LogPosition {
        let mut end = self.lock();
        if !end.open.is_empty() {
            end.seal(now_us);
            self.announce_sealed(&end);
        }
        end.end
    }

    fn announce_sealed(&self, end: &MutexGuard<'_, End>) {
        if end.retention == Retention::Disk {
            self.work.notify_one();
        }
        self.sealed.notify(usize::MAX);
    }

    /// Wakes whoever waits for batches, though none came.
    pub(crate) fn wake_followers(&self) {
        self.sealed.notify(usize::MAX);
    }

    /// Resolves when a batch is sealed after this call.
    pub(crate) fn listen(&self) -> EventListener {
        self.sealed.listen()
    }

    /// Everything up to here survives the loss of power.
    pub(crate) fn durable(&self) -> LogPosition {
        self.lock().durable
    }

    /// Whether everything up to here survives what it can: the loss of power, or without a directory, nothing.
    pub(crate) fn is_durable(&self, position: LogPosition) -> bool {
        let end = self.lock();
        end.retention != Retention::Disk || end.durable >= position
    }

    /// Where the log ends.
    pub(crate) fn end(&self) -> LogPosition {
        self.lock().end
    }

    /// Where to start reading for the writes of `origin` after a timestamp. None if none are held.
    ///
    /// # Errors
    /// If the log starts later, from where it does.
    pub(crate) fn find(&self, origin: Origin, after: Timestamp) -> Result<Option<LogPosition>, Timestamp> {
        self.lock().find(origin, after)
    }

    /// The batches in memory from a position on, up to about `bytes_max`. None if memory begins later: then they
    /// are to be read from disk, up to where memory begins.
    pub(crate) fn recent(&self, from: LogPosition, bytes_max: usize) -> Option<Vec<Sealed>> {
        let end = self.lock();
        if from >= end.end {
            return Some(Vec::new());
        }
        let place = end.recent.partition_point(|sealed| sealed.position < from);
        if end.recent.get(place).is_none_or(|sealed| sealed.position != from) {
            return None;
        }
        let mut bytes = 0;
        let taken = end.recent.range(place..).take_while(|sealed| {
            let room = bytes < bytes_max;
            bytes += sealed.bytes.len();
            room
        });
        Some(taken.cloned().collect())
    }
}

/// How far ahead of the wall clock the ceiling is kept, in milliseconds.
const CEILING_LEAD_MS: u64 = 1_000;

/// How far it is kept ahead of a hybrid clock that has run ahead of the wall clock, in milliseconds. Little, for every
/// start begins at the ceiling: a node in a crash loop would run away from its wall clock by so much each time.
const CEILING_STEP_MS: u64 = 100;

/// The ceiling for a clock that is to reach `needed`, ahead by a part of what is usual.
fn ceiling_above(needed: Timestamp, wall: WallMillis, part: u64) -> Timestamp {
    let lead = ahead_of(Timestamp::of_wall(wall), CEILING_LEAD_MS / part);
    lead.max(ahead_of(needed, CEILING_STEP_MS / part))
}

const fn ahead_of(timestamp: Timestamp, by_ms: u64) -> Timestamp {
    Timestamp(timestamp.0.saturating_add(by_ms << 16))
}

impl End {
    fn status(&self) -> LogStatus {
        LogStatus {
            origin: self.open.header().origin,
            frontier: self.frontier.clone(),
            clock: self.clock.last(),
            end: self.end,
            durable: self.durable,
            fault: self.fault.clone(),
            memory_bytes: self.recent_bytes + self.open.payload_bytes(),
        }
    }

    /// As [`Log::find`].
    fn find(&self, origin: Origin, after: Timestamp) -> Result<Option<LogPosition>, Timestamp> {
        // Nobody asks for what this run has not written yet, wherever the floor is.
        let is_own = self.open.header().origin == origin && !self.index.log_start().lists(origin);
        let start = if is_own { Timestamp::ZERO } else { self.index.starts_at(origin) };
        if after < start { Err(start) } else { Ok(self.index.start_for(origin, after)) }
    }

    fn unwritten_bytes(&self) -> usize {
        if self.retention == Retention::Disk { (self.end.0 - self.written.0) as usize } else { 0 }
    }

    /// Does something with the clock, and if that needs a higher ceiling, raises it first.
    fn with_ceiling<T>(
        &mut self,
        wall: WallMillis,
        mut act: impl FnMut(&mut HybridClock) -> Result<T, BeyondCeiling>,
    ) -> Result<T, WriteRefused> {
        loop {
            match act(&mut self.clock) {
                Ok(done) => return Ok(done),
                Err(BeyondCeiling { needed }) => self.raise(ceiling_above(needed, wall, 1))?,
            }
        }
    }

    fn raise(&mut self, ceiling: Timestamp) -> Result<(), WriteRefused> {
        if let Some(keep) = &mut self.keep_ceiling {
            keep(MoveCeiling::Raise(ceiling))
                .map_err(|error| WriteRefused::Disk(format!("clock ceiling: {error}")))?;
        }
        self.clock.raise_ceiling(ceiling);
        Ok(())
    }

    fn seal(&mut self, now_us: u64) {
        let (header, bytes) = self.open.seal(|bytes| Arc::from(bytes));
        self.last_seal_us = now_us;
        self.append(header, bytes);
    }

    /// Seals the open batch now, if there is anything in it, without a change to the pace of seals.
    fn seal_open(&mut self) {
        if !self.open.is_empty() {
            self.seal(self.last_seal_us);
        }
    }

    fn append(&mut self, header: BatchHeader, bytes: Arc<[u8]>) {
        self.index.note(self.end, &header);
        self.append_unindexed(header, bytes);
    }

    fn append_unindexed(&mut self, header: BatchHeader, bytes: Arc<[u8]>) {
        let sealed = Sealed { position: self.end, header, bytes };
        self.end = sealed.end();
        self.recent_bytes += sealed.bytes.len();
        self.recent.push_back(sealed);
        self.trim();
    }

    /// Drops the oldest batches from memory: those on disk, or without a disk, for good.
    fn trim(&mut self) {
        while let Some(oldest) = self.recent.front()
            && match self.retention {
                Retention::Disk => self.recent_bytes > RECENT_BYTES_MAX && oldest.end() <= self.written,
                Retention::Memory { bytes_max } => {
                    self.recent_bytes > bytes_max || oldest.end() <= self.released.before
                }
            }
        {
            self.recent_bytes -= oldest.bytes.len();
            if let Retention::Memory { .. } = self.retention {
                let next = oldest.end();
                self.index.drop_before(next);
            }
            self.recent.pop_front();
        }
    }
}

/// Reads what is no longer in memory, from disk.
#[derive(Clone)]
pub(crate) struct SealedReader(Arc<dyn ReadLog>);

/// A log on some disk, to read.
trait ReadLog: Send + Sync {
    /// As [`LogReader::read`].
    fn read_log(
        &self,
        from: LogPosition,
        bytes_max: usize,
        each: &mut dyn FnMut(LogPosition, &[u8]),
    ) -> Result<LogPosition, LogError>;
}

impl<D: Disk> ReadLog for LogReader<D> {
    fn read_log(
        &self,
        from: LogPosition,
        bytes_max: usize,
        each: &mut dyn FnMut(LogPosition, &[u8]),
    ) -> Result<LogPosition, LogError> {
        self.read(from, bytes_max, each)
    }
}

impl SealedReader {
    pub(crate) fn new<D: Disk>(reader: LogReader<D>) -> Self {
        Self(Arc::new(reader))
    }

    /// The batches from a position on, about `bytes_max` bytes of them, and where to go on.
    pub(crate) fn read(
        &self,
        from: LogPosition,
        bytes_max: usize,
    ) -> std::io::Result<(Vec<Sealed>, LogPosition)> {
        let mut batches = Vec::new();
        let mut bad = None;
        let next = self
            .0
            .read_log(from, bytes_max, &mut |position, bytes| match BatchHeader::peek(bytes) {
                Ok(header) => batches.push(Sealed { position, header, bytes: bytes.into() }),
                Err(error) => bad = Some(error),
            })
            .map_err(|error| std::io::Error::other(error.to_string()))?;
        match bad {
            Some(error) => Err(std::io::Error::other(error.to_string())),
            None => Ok((batches, next)),
        }
    }
}

/// A write under way: its timestamp, and the log's lock, so that an origin's log is in order of timestamps.
pub(crate) struct OpenWrite<'l> {
    end: MutexGuard<'l, End>,
    _held: Held,
    version: Version,
}

impl OpenWrite<'_> {
    pub(crate) const fn version(&self) -> Version {
        self.version
    }

    /// How the log stands, but for this write.
    pub(crate) fn log_status(&self) -> LogStatus {
        self.end.status()
    }

    /// Appends the write's changes, all at its one timestamp.
    pub(crate) fn append(mut self, changes: &[Change<'_>]) {
        let Version { timestamp, origin } = self.version;
        // A buffer that holds a batch's worth would have to move to take large values, too.
        if self.end.open.payload_bytes() >= BATCH_BYTES {
            self.end.seal_open();
        }
        self.end.open.append(timestamp, changes);
        self.end.frontier.advance(origin, timestamp);
    }
}

#[cfg(test)]
pub(crate) mod durability_tests;

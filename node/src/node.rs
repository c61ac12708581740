//! A node without its sockets, files and threads: store, log, and what it knows of its peers.
//!
//! This is what the simulator drives, and what commands work on.

#[cfg_attr(not(test), allow(dead_code, reason = "reconciles call it"))]
pub(crate) mod persist;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use shared::batch::{Batch, BatchError, BatchHeader};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::time::WallMillis;
use shared::version::Version;

use crate::log::{Log, Start, WriteRefused};
use crate::peers::Peers;
use crate::settings::Settings;
use crate::snapshots::SnapshotRequests;
use crate::store::key::Key;
use crate::store::origins::{OriginIndex, TooManyOrigins};
use crate::store::rich::Source;
use crate::store::shard::{Writer, merge_change};
use crate::store::{ShardSet, Store};
use shared::change::{Change, Kind, Op};

/// Store, log, and what is known of the peers.
pub(crate) struct Node {
    pub(crate) store: Store,
    pub(crate) log: Log,
    /// The log's own origin, as packed entries name it. Changed under the log's lock.
    own_index: AtomicU16,
    pub(crate) settings: Settings,
    pub(crate) peers: Mutex<Peers>,
    pub(crate) merged: MergeCounters,
    pub(crate) snapshots: SnapshotRequests,
    /// How many need what is dead in the store.
    holds_dead: Arc<AtomicUsize>,
    /// Held while a remote batch is merged: batches of one origin must not overtake each other.
    applying: Mutex<()>,
}

/// What became of the changes of remote batches since the start.
#[derive(Default)]
pub(crate) struct MergeCounters {
    pub(crate) batches_in: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    /// Batches of which everything was held already.
    pub(crate) batches_duplicate: AtomicU64,
    pub(crate) changes_won: AtomicU64,
    pub(crate) changes_stale: AtomicU64,
    /// Batches and bytes that followers were sent.
    pub(crate) batches_out: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
}

/// Why a remote batch was not merged. Nothing of it was used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// It is not intact, or of another format.
    #[error("BADBATCH {0}")]
    Batch(#[from] BatchError),
    /// It claims to be of this very run.
    #[error(
        "BADBATCH batch of this node's own origin {0} beyond what it wrote: is another process running as it?"
    )]
    Own(Origin),
    /// It has a kind of change that this build does not know.
    #[error(
        "BADBATCH batch of origin {origin} writes a {kind}, which this build cannot merge: upgrade this node"
    )]
    Unsupported { origin: Origin, kind: &'static str },
    /// What lies before it is missing here.
    #[error("GAP {origin} {held}")]
    Gap { origin: Origin, held: Timestamp },
    /// Its clock is far ahead.
    #[error(
        "SUSPENDED {origin} its newest change lies {ahead_ms} ms ahead of this node's wall clock, more than the {limit_ms} ms permitted: put the clock of its author right"
    )]
    Suspended { origin: Origin, ahead_ms: u64, limit_ms: u64 },
    /// The log cannot take it now.
    #[error(transparent)]
    Refused(#[from] WriteRefused),
    /// A limit of this node that only an operator can lift.
    #[error("MISCONF {0}")]
    TooManyOrigins(#[from] TooManyOrigins),
}

/// What became of a remote batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) won: u64,
    pub(crate) stale: u64,
    /// What is held of the batch's origin now.
    pub(crate) held: Timestamp,
}

impl Node {
    /// A node with nothing in its store. Recovery merges what the log holds by [`Node::replay`].
    pub(crate) fn new(store: Store, start: Start, settings: Settings) -> Result<Self, TooManyOrigins> {
        Ok(Self {
            own_index: AtomicU16::new(store.origins.intern(start.origin)?.0),
            store,
            log: Log::new(start),
            settings,
            peers: Mutex::new(Peers::default()),
            merged: MergeCounters::default(),
            snapshots: SnapshotRequests::default(),
            holds_dead: Arc::default(),
            applying: Mutex::new(()),
        })
    }

    /// The log's own origin, as packed entries name it. Whoever writes asks under the log's lock.
    pub(crate) fn own_index(&self) -> OriginIndex {
        OriginIndex(self.own_index.load(Ordering::Acquire))
    }

    /// Seconds on the clock by which idle times are told; starts with the epoch, wraps in 136 years.
    pub(crate) const fn idle_clock(&self, wall: WallMillis) -> u32 {
        (wall.0 / 1_000) as u32
    }

    /// Merges a remote batch: skips what is held, refuses gaps, appends the rest to the log and merges it, whole
    /// transactions at a time and in order.
    pub(crate) fn apply(&self, bytes: &[u8], wall: WallMillis) -> Result<Applied, ApplyError> {
        let batch = Batch::decode(bytes)?;
        let BatchHeader { origin, after, upto, .. } = batch.header;
        let _one_at_a_time = self.applying.lock();
        let held = self.log.held(origin);
        count(&self.merged.batches_in, 1);
        count(&self.merged.bytes_in, bytes.len() as u64);
        if upto <= held {
            count(&self.merged.batches_duplicate, 1);
            return Ok(Applied { held, ..Applied::default() });
        }
        if origin == self.log.origin() {
            return Err(ApplyError::Own(origin));
        }
        if after > held {
            return Err(ApplyError::Gap { origin, held });
        }
        check_supported(&batch)?;
        let (ahead_ms, limit_ms) = (upto.wall().0.saturating_sub(wall.0), self.log.poison_ms());
        if ahead_ms > limit_ms {
            return Err(ApplyError::Suspended { origin, ahead_ms, limit_ms });
        }
        let index = self.store.origins.intern(origin)?;
        // A write made here after seeing any of this must be later than it.
        self.log.observe(upto, wall)?;
        // In the log before it can be seen: so no write made here after seeing it stands before it there.
        self.log.append(batch.header, bytes.into());
        let applied = self.merge(&batch, held, index)?;
        self.log.advance(origin, upto);
        count(&self.merged.changes_won, applied.won);
        count(&self.merged.changes_stale, applied.stale);
        Ok(Applied { held: upto, ..applied })
    }

    /// Merges a batch of the log's, at the start, into `store`.
    pub(crate) fn replay(store: &Store, bytes: &[u8], held: Timestamp) -> Result<BatchHeader, ReplayError> {
        let batch = Batch::decode(bytes)?;
        batch.validate()?;
        let index = store.origins.intern(batch.header.origin)?;
        merge_batch(store, &batch, held, index)?;
        Ok(batch.header)
    }

    fn merge(
        &self,
        batch: &Batch<'_>,
        held: Timestamp,
        index: OriginIndex,
    ) -> Result<Applied, TooManyOrigins> {
        merge_batch(&self.store, batch, held, index)
    }
}

/// Why a batch of the log could not be merged at the start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    TooManyOrigins(#[from] TooManyOrigins),
}

pub(crate) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// Every change is decoded once before any is merged: a batch is merged whole or not at all.
fn check_supported(batch: &Batch<'_>) -> Result<(), ApplyError> {
    batch.validate()?;
    for change in batch.changes() {
        if let Op::Cell(cell, _) | Op::Count(cell, _) = &change?.1.op
            && cell.kind == Kind::List
        {
            return Err(ApplyError::Unsupported { origin: batch.header.origin, kind: cell.kind.name() });
        }
    }
    Ok(())
}

/// Merges what lies beyond `held` of a validated batch, each transaction under the locks of all its shards.
fn merge_batch(
    store: &Store,
    batch: &Batch<'_>,
    held: Timestamp,
    index: OriginIndex,
) -> Result<Applied, TooManyOrigins> {
    let mut applied = Applied::default();
    let mut changes = batch.changes().map_while(Result::ok).filter(|(at, _)| *at > held).peekable();
    let mut transaction: Vec<Change<'_>> = Vec::new();
    while let Some((at, change)) = changes.next() {
        transaction.push(change);
        while let Some((_, change)) = changes.next_if(|(other, _)| *other == at) {
            transaction.push(change);
        }
        let mut locked = store.lock(shards_of(&transaction));
        let writer = Writer { at: Version::new(at, batch.header.origin), index, source: Source::Log };
        for change in transaction.drain(..) {
            let won = merge_change(&mut locked, change, writer, &store.origins)?;
            *(if won { &mut applied.won } else { &mut applied.stale }) += 1;
        }
    }
    Ok(applied)
}

fn shards_of(changes: &[Change<'_>]) -> ShardSet {
    changes.iter().fold(ShardSet::EMPTY, |set, change| match change.op {
        Op::FlushDb | Op::FlushAll => ShardSet::ALL,
        _ => set.with(Key::new(change.db, &change.key).shard()),
    })
}

#[cfg(test)]
pub(crate) mod tests;

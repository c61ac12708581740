//! A node without its sockets, files and threads: store, log, and what it knows of its peers.
//!
//! This is what the simulator drives, and what commands work on.

pub(crate) mod group;

pub(crate) mod maintenance;

mod merge;

pub(crate) mod persist;

mod restate;

pub(crate) mod rewind;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use shared::batch::{Batch, BatchError, BatchHeader};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::time::{MonoMillis, WallMillis};
use shared::version::Frontier;

use self::maintenance::Reissue;
pub(crate) use self::merge::merge_shards;
use self::merge::{Merging, Witness, merge_batch};
use self::restate::Missing;
use crate::conversation::{self, Conversations};
use crate::group::{Sender, YouAre};
use crate::lock_order::Inner;
use crate::log::{Log, Start, WriteRefused};
use crate::membership::Membership;
use crate::memory::Memory;
use crate::notifications::Notices;
use crate::peers::Peers;
use crate::readiness::Readiness;
use crate::settings::Settings;
use crate::snapshots::SnapshotRequests;
use crate::store::Store;
use crate::store::origins::{OriginIndex, TooManyOrigins};
use shared::change::Op;

/// Store, log, and what is known of the peers.
pub(crate) struct Node {
    pub(crate) store: Store,
    pub(crate) log: Log,
    /// The log's own origin, as packed entries name it. Changed under the log's lock.
    own_index: AtomicU16,
    /// Shared with whoever was there before it.
    pub(crate) settings: Arc<Settings>,
    pub(crate) memory: Memory,
    pub(crate) peers: Mutex<Peers>,
    pub(crate) merged: MergeCounters,
    pub(crate) snapshots: SnapshotRequests,
    /// How many need what is dead in the store.
    holds_dead: Arc<AtomicUsize>,
    /// Held while a remote batch is merged: batches of one origin must not overtake each other.
    applying: Mutex<Applying>,
    /// Whoever holds it waits neither for a shard nor for the log: see [`lock_order`](crate::lock_order).
    pub(crate) membership: Inner<Membership>,
    pub(crate) conversations: Mutex<Conversations>,
    pub(crate) conversation_status: Mutex<conversation::Status>,
    pub(crate) readiness: Mutex<Readiness>,
    reissue: Mutex<Reissue>,
    /// See [`maintenance`].
    lasts_round: AtomicUsize,
    /// About how many bytes only dead things took when they were last gone through.
    pub(crate) dead_bytes: AtomicUsize,
    /// What others have restated of this node's counting, and lacks something.
    missing: Mutex<Vec<Missing>>,
    random: Mutex<Random>,
    started: MonoMillis,
    /// Not before it has met a member of its group, or `--max-clock-drift` has passed: else a clock that is behind, or a
    /// directory that was put back, could write below what the group has dropped already.
    takes_writes: AtomicBool,
    /// See [`rewind`].
    is_rewinding: AtomicBool,
}

/// Numbers that nobody can guess; the simulator's are drawn from its seed.
pub(crate) type Random = Box<dyn FnMut() -> u64 + Send>;

/// What a node has besides store and log.
pub(crate) struct Belongings {
    pub(crate) membership: Membership,
    pub(crate) random: Random,
    /// When it is started.
    pub(crate) started: MonoMillis,
}

/// What those share who merge remote batches.
#[derive(Default)]
struct Applying {
    pull: Option<Pull>,
}

/// What a member's streams have come to while it takes over another's state: more than it holds.
struct Pull {
    /// From where it pulls.
    frontier: Frontier,
    /// A snapshot is being written that covers what was pulled when it began: what comes now must be in the log.
    is_saving: bool,
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
    /// Its sender does not count, or this node does not.
    #[error("CLOSED {origin} {what}")]
    Closed { origin: Origin, what: &'static str },
    /// What its sender announces since its start was not heard yet, or not believed.
    #[error(
        "UNHEARD {origin} the sender was not heard to run as {run}, or is known by a run that it does not know"
    )]
    Unheard { origin: Origin, run: Origin },
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
    /// A node that holds what is in the store.
    pub(crate) fn new(
        store: Store,
        start: Start,
        settings: Arc<Settings>,
        belongings: Belongings,
    ) -> Result<Self, TooManyOrigins> {
        let Belongings { membership, random, started } = belongings;
        let memory = Memory::new(start.origin.0);
        let has_others = membership.group.has_others();
        let is_rewinding = membership.group.cut().is_some();
        store.origins.claim(membership.group.own_origins());
        let node = Self {
            own_index: AtomicU16::new(store.origins.intern(start.origin)?.0),
            store,
            log: Log::new(start),
            settings,
            memory,
            peers: Mutex::new(Peers::default()),
            merged: MergeCounters::default(),
            snapshots: SnapshotRequests::default(),
            holds_dead: Arc::default(),
            applying: Mutex::default(),
            membership: Inner::new(membership),
            conversations: Mutex::default(),
            conversation_status: Mutex::default(),
            readiness: Mutex::new(Readiness::new(started)),
            reissue: Mutex::default(),
            lasts_round: AtomicUsize::new(0),
            dead_bytes: AtomicUsize::new(0),
            missing: Mutex::default(),
            random: Mutex::new(random),
            started,
            takes_writes: AtomicBool::new(!has_others),
            is_rewinding: AtomicBool::new(is_rewinding),
        };
        node.agree_on_memory(started);
        Ok(node)
    }

    /// The log's own origin, as packed entries name it. Whoever writes asks under the log's lock.
    pub(crate) fn own_index(&self) -> OriginIndex {
        OriginIndex(self.own_index.load(Ordering::Acquire))
    }

    /// Whether clients may write, as far as the node's group is concerned.
    pub(crate) fn takes_writes(&self) -> bool {
        self.takes_writes.load(Ordering::Acquire)
    }

    /// From now on clients may write.
    pub(crate) fn take_writes(&self) {
        self.takes_writes.store(true, Ordering::Release);
    }

    /// No batch is being merged, and none will be, while what is returned lives.
    pub(crate) fn hold_applying(&self) -> impl Drop + '_ {
        self.applying.lock()
    }

    /// As [`Node::apply_and_tell`], where nobody listens.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn apply(
        &self,
        bytes: &[u8],
        sender: Option<Sender>,
        wall: WallMillis,
    ) -> Result<Applied, ApplyError> {
        self.apply_and_tell(bytes, sender, wall, &mut |_| {})
    }

    /// Merges a remote batch: skips what is held, refuses gaps, appends the rest to the log and merges it, whole
    /// transactions at a time and in order. `sender` is the peer that it came from, if it came from one. What each transaction
    /// has done to keys is told when its locks are released.
    pub(crate) fn apply_and_tell(
        &self,
        bytes: &[u8],
        sender: Option<Sender>,
        wall: WallMillis,
        tell: &mut dyn FnMut(Notices),
    ) -> Result<Applied, ApplyError> {
        let batch = Batch::decode(bytes)?;
        let BatchHeader { origin, after, upto, .. } = batch.header;
        let mut applying = self.applying.lock();
        if let Some(sender) = sender {
            self.check_sender(sender, origin)?;
        }
        let held = self.log.held(origin);
        let pulled = applying.pull.as_ref().map_or(held, |pull| pull.frontier.get(origin));
        count(&self.merged.batches_in, 1);
        count(&self.merged.bytes_in, bytes.len() as u64);
        if upto <= pulled {
            count(&self.merged.batches_duplicate, 1);
            return Ok(Applied { held, ..Applied::default() });
        }
        if origin == self.log.origin() {
            return Err(ApplyError::Own(origin));
        }
        if after > pulled {
            return Err(ApplyError::Gap { origin, held: pulled });
        }
        let restates = check_supported(&batch)?;
        let (ahead_ms, limit_ms) = (upto.wall().0.saturating_sub(wall.0), self.log.poison_ms());
        if ahead_ms > limit_ms {
            return Err(ApplyError::Suspended { origin, ahead_ms, limit_ms });
        }
        let index = self.store.origins.intern(origin)?;
        // A write made here after seeing any of this must be later than it.
        self.log.observe(upto, wall)?;
        let is_ahead = pulled > held;
        // In the log before it can be seen: so no write made here after seeing it stands before it there.
        match &applying.pull {
            Some(pull) if is_ahead && pull.is_saving => self.log.append_unheld(batch.header, bytes.into()),
            // The snapshot that ends the reconcile will hold it.
            Some(_) if is_ahead => {}
            _ => self.log.append(batch.header, bytes.into()),
        }
        let restating = restates.then(|| self.restating());
        let witness = Some(Witness { wanted: self.settings.notified(), tell });
        let merging = Merging { index, usage: self.settings.memory.usage(wall), held: pulled };
        let applied = merge_batch(&self.store, &batch, merging, restating.as_ref(), witness)?;
        if let Some(pull) = &mut applying.pull {
            pull.frontier.advance(origin, upto);
        }
        if !is_ahead {
            self.log.advance(origin, upto);
        }
        count(&self.merged.changes_won, applied.won);
        count(&self.merged.changes_stale, applied.stale);
        Ok(Applied { held: if is_ahead { held } else { upto }, ..applied })
    }

    fn check_sender(&self, sender: Sender, origin: Origin) -> Result<(), ApplyError> {
        let membership = self.membership.lock();
        let what = if membership.group.is_joining() {
            "this node is joining its group, and takes no batches before it has"
        } else {
            match membership.group.judge(sender.node_id) {
                YouAre::Counted if membership.group.is_over(sender) => {
                    "the sender was started again since it sent this, and may have lost it"
                }
                YouAre::Counted if !membership.group.is_known(sender) => {
                    return Err(ApplyError::Unheard { origin, run: sender.run });
                }
                YouAre::Counted => return Ok(()),
                YouAre::Unknown => "the sender is no member of the group, as far as is known here yet",
                YouAre::BeingEvicted | YouAre::Evicted => "the sender was evicted from the group",
            }
        };
        Err(ApplyError::Closed { origin, what })
    }
}

pub(crate) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// Every change is decoded once before any is merged: a batch is merged whole or not at all. Says whether it restates
/// anybody's contribution to a counter.
fn check_supported(batch: &Batch<'_>) -> Result<bool, ApplyError> {
    let mut restates = false;
    batch.validate_each(|change| {
        restates |= matches!(&change.op, Op::Count(_, contribution) if contribution.restates.is_some());
    })?;
    Ok(restates)
}

#[cfg(test)]
pub(crate) mod tests;

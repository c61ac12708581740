//! How much memory the data may take, and what is removed when they take more.
//!
//! Problem: all members of a group hold the same data, so all reach their limits at the same time. If each removed a key of
//! its own choice for every one that is written, as many would go as there are members; and a small member would go on
//! removing what is used at a large one, which it does not see.
//!
//! Idea: a removal is a logged write like any other. So it is enough that one member makes it, and which one is agreed on
//! without a word: each member looks after the shards that a hash of its id and theirs gives it.
//!
//! Rules:
//!
//! - The *limit* is the smallest that members announce. One without a limit of its own neither removes nor refuses anything.
//! - A removal is an *observed reset*: one tick above what its author holds of the key, so that what it had not seen survives.
//! - Above the limit a member removes keys of its own shards, while these take more than their share of it.
//! - Above 105% of the limit whoever looks after the rest is away, or behind: then a member removes keys of any shard.
//! - Local writes that need memory are refused when nothing can be removed; those of others never are.
//!
//! What counts is what the data take: keys and their tables, and what is remembered of deletions. Not what replication, the
//! log and clients have in buffers: that would be made more by every removal.
//!
//! What is remembered of a removal itself may take as much as the key did, until all members have it. If it counted at
//! once, small keys would go on being removed until none is left. So live data are kept below the limit less what dead
//! things take *as a rule*, which follows slowly what they take at the moment.
//!
//! - [`policy`]: which keys may be removed. [`victims`]: which is next. [`evict`]: to remove it.
//! - [`settings`]: what CONFIG SET may change.

pub(crate) mod policy;

pub(crate) mod settings;

pub(crate) mod victims;

pub(crate) mod evict;

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use shared::time::WallMillis;

use self::victims::Victims;
use crate::store::ShardSet;
use crate::store::account::{Account, Peak};
use crate::store::key::SHARDS;

/// No limit.
const UNLIMITED: usize = usize::MAX;

/// What dead things take as a rule moves by one part in so many of what it is wrong, each time: in some seconds, which is
/// longer than it takes until all members have heard of a removal.
const DEAD_PART: usize = 64;

/// Above so many parts of a hundred of the limit a member removes keys whose shard another looks after.
const ANY_SHARD_PERCENT: usize = 105;

/// What is in effect, and what is remembered between removals.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: AtomicUsize,
    /// So much of it is for live data.
    target: AtomicUsize,
    /// What dead things take as a rule.
    dead: AtomicUsize,
    /// The shards that this node looks after, a bit each.
    own: AtomicU64,
    /// When the node was started, in seconds of the wall clock.
    since: AtomicU32,
    /// Held by who removes keys. Whoever holds it waits for shards and the log.
    victims: Mutex<Victims>,
    pub(crate) peak: Peak,
}

/// From where keys are to be removed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// From nowhere: the data take less than the limit.
    Nowhere,
    /// From nowhere here: others are about to.
    Elsewhere,
    Within(ShardSet),
}

impl Memory {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            limit: AtomicUsize::new(UNLIMITED),
            target: AtomicUsize::new(UNLIMITED),
            dead: AtomicUsize::new(0),
            own: AtomicU64::new(ShardSet::ALL.bits()),
            since: AtomicU32::new(0),
            victims: Mutex::new(Victims::new(seed)),
            peak: Peak::default(),
        }
    }

    /// The node is started.
    pub(crate) fn start(&self, wall: WallMillis) {
        self.since.store((wall.0 / 1_000) as u32, Ordering::Relaxed);
    }

    /// When the node was started, in seconds.
    pub(crate) fn since(&self) -> u32 {
        self.since.load(Ordering::Relaxed)
    }

    /// From now on this is the limit, and those are the shards that this node looks after.
    pub(crate) fn agree(&self, limit: Option<u64>, own: ShardSet) {
        let limit = limit.map_or(UNLIMITED, |limit| usize::try_from(limit).unwrap_or(UNLIMITED));
        self.own.store(own.bits(), Ordering::Relaxed);
        self.limit.store(limit, Ordering::Relaxed);
        self.aim();
    }

    /// Dead things take so many bytes at the moment: to be told a few times a second.
    pub(crate) fn note_dead(&self, bytes: usize) {
        let before = self.dead.load(Ordering::Relaxed);
        let step = bytes.abs_diff(before).div_ceil(DEAD_PART);
        let now = if bytes > before { before + step } else { before - step };
        self.dead.store(now, Ordering::Relaxed);
        self.aim();
    }

    fn aim(&self) {
        let (limit, dead) = (self.limit.load(Ordering::Relaxed), self.dead.load(Ordering::Relaxed));
        let target = if limit == UNLIMITED { UNLIMITED } else { limit - dead.min(limit / 2) };
        self.target.store(target, Ordering::Relaxed);
    }

    /// What of the limit in effect is for live data, if there is a limit.
    pub(crate) fn target(&self) -> Option<usize> {
        Some(self.target.load(Ordering::Relaxed)).filter(|target| *target != UNLIMITED)
    }

    /// The limit in effect, if there is one.
    pub(crate) fn limit(&self) -> Option<usize> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|limit| *limit != UNLIMITED)
    }

    /// Whether the data take more than they may.
    pub(crate) fn is_exceeded(&self, account: &Account) -> bool {
        account.total() > self.target.load(Ordering::Relaxed)
    }

    /// Whether the limit may be reached at any moment.
    pub(crate) fn is_near(&self, account: &Account) -> bool {
        account.total() > self.target.load(Ordering::Relaxed) / 8 * 7
    }

    fn scope(&self, account: &Account) -> Scope {
        let own = ShardSet::of_bits(self.own.load(Ordering::Relaxed));
        let Some(limit) = self.target() else { return Scope::Nowhere };
        let total = account.total();
        if total <= limit {
            Scope::Nowhere
        } else if own == ShardSet::ALL || total > limit / 100 * ANY_SHARD_PERCENT {
            Scope::Within(ShardSet::ALL)
        } else if account.of(own) > limit / SHARDS * own.len() {
            Scope::Within(own)
        } else {
            Scope::Elsewhere
        }
    }
}

#[cfg(test)]
mod tests;

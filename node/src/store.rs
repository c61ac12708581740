//! The state of a node: keys, their cells, and the rules by which writes merge.
//!
//! Everything here is pure: time, versions and randomness are passed in. Merging is commutative, associative
//! and idempotent, so the order in which changes arrive, how often and by which way does not matter: equal
//! frontiers mean equal data.
//!
//! - [`key`]: a key with its hash, its slot and its shard.
//! - [`rich`]: the state of a key in full, and the merge rules.
//! - [`entry`]: what a table holds for a key: a plain string packed into one allocation, or the full state.
//! - [`collection`]: what clients see of a hash, set, sorted set or list; [`list_id`]: a list's order.
//! - [`digest`], [`lasts`]: what two nodes compare of a slot.
//! - [`dead`]: what may be dropped once everybody has it.
//! - [`state`]: keys as snapshots and comparing nodes carry them.
//! - [`usage`]: when a key was last used, or how often it is; [`account`]: what all take of memory.
//! - [`shard`]: the tables of a run of slots, behind one lock.
//! - `canonical`: the state as one comparable value, for tests.

pub(crate) mod branch;

pub(crate) mod key;

pub(crate) mod origins;

pub(crate) mod rich;

pub(crate) mod block;

pub(crate) mod entry;

pub(crate) mod collection;

pub(crate) mod list_id;

mod tree;

mod digest;

mod lasts;

mod dead;

mod aside;

pub(crate) mod usage;

pub(crate) mod account;

pub(crate) mod watchers;

mod waiters;

pub(crate) mod state;

pub(crate) mod shard;

#[cfg(any(test, feature = "simulation"))]
pub(crate) mod canonical;

#[cfg(test)]
mod costs;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use self::account::Account;
use self::key::{Key, SHARDS, ShardId};
use self::origins::Origins;
use self::shard::Shard;
use self::waiters::ReadyKeys;
use crate::lock_order::{Level, before};

/// So much data lie in a processor's caches anyway, about. Tests read ahead always.
const CACHES_BYTES: usize = if cfg!(any(test, feature = "simulation")) { 0 } else { 4 << 20 };

/// Every key of a node, in shards with a lock each.
pub(crate) struct Store {
    shards: Box<[Mutex<Shard>]>,
    /// The keys of all shards that have changed while clients wait at them.
    pub(crate) ready: Arc<ReadyKeys>,
    /// What they take of memory.
    pub(crate) account: Arc<Account>,
    /// The origins whose versions packed entries hold.
    pub(crate) origins: Origins,
}

impl Store {
    pub(crate) fn new() -> Self {
        let hasher = foldhash::fast::RandomState::default();
        let (ready, account) = (Arc::<ReadyKeys>::default(), Arc::<Account>::default());
        let shard = |id| {
            let (ready, account) = (Arc::clone(&ready), Arc::clone(&account));
            Mutex::new(Shard::new(id, hasher.clone(), ready, account))
        };
        Self { shards: ShardId::all().map(shard).collect(), ready, account, origins: Origins::default() }
    }

    /// Locks the shards of the set, in order, so that two lockers never wait for each other in a circle.
    pub(crate) fn lock(&self, set: ShardSet) -> LockedShards<'_> {
        before(Level::Shards);
        LockedShards { set, guards: set.iter().map(|id| self.shards[id.index()].lock()).collect() }
    }

    /// Whether the data are too many for the processor's caches, so that reading ahead pays.
    pub(crate) fn exceeds_caches(&self) -> bool {
        self.account.total() > CACHES_BYTES
    }

    /// Has the processor read what commands that come next will look at, but for shards that are in use.
    pub(crate) fn prefetch(&self, keys: &[Key<'_>]) {
        let mut free = LockedShards { set: ShardSet::EMPTY, guards: SmallVec::new() };
        for id in keys.iter().fold(ShardSet::EMPTY, |set, key| set.with(key.shard())).iter() {
            if let Some(guard) = self.shards[id.index()].try_lock() {
                free.set = free.set.with(id);
                free.guards.push(guard);
            }
        }
        shard::prefetch(&free, keys);
    }

    /// Locks one shard, for work that goes through them one by one.
    pub(crate) fn lock_shard(&self, id: ShardId) -> MutexGuard<'_, Shard> {
        before(Level::Shards);
        self.shards[id.index()].lock()
    }
}

/// What failing memory does, for tests.
#[cfg(any(test, feature = "simulation"))]
impl Store {
    /// Flips a bit of the key's string. Says whether there is one.
    pub(crate) fn flip_a_bit(&self, key: &Key<'_>) -> bool {
        self.lock_shard(key.shard()).flip_a_bit(key)
    }

    /// Loses the key, without a trace.
    pub(crate) fn lose(&self, key: &Key<'_>) -> bool {
        self.lock_shard(key.shard()).lose(key, &self.origins)
    }
}

/// Some of the shards, as a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShardSet(u64);

const _: () = assert!(SHARDS == 64, "a shard set has a bit per shard");

impl ShardSet {
    pub(crate) const EMPTY: Self = Self(0);
    pub(crate) const ALL: Self = Self(u64::MAX);

    pub(crate) const fn of(id: ShardId) -> Self {
        Self(1 << id.0)
    }

    pub(crate) const fn with(self, id: ShardId) -> Self {
        Self(self.0 | 1 << id.0)
    }

    /// The shards of these numbers.
    pub(crate) fn run(numbers: std::ops::Range<usize>) -> Self {
        numbers.fold(Self::EMPTY, |set, number| set.with(ShardId(number as u8)))
    }

    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// As a number with a bit for each.
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn of_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn contains(self, id: ShardId) -> bool {
        self.0 & 1 << id.0 != 0
    }

    pub(crate) fn iter(mut self) -> impl Iterator<Item = ShardId> {
        std::iter::from_fn(move || {
            let lowest = self.0.trailing_zeros();
            self.0 &= self.0.checked_sub(1)?;
            Some(ShardId(lowest as u8))
        })
    }

    /// At which place the shard's guard stands among those of the set.
    const fn place(self, id: ShardId) -> usize {
        (self.0 & ((1 << id.0) - 1)).count_ones() as usize
    }
}

/// Shards under lock: what one command, transaction or batch works on.
pub(crate) struct LockedShards<'s> {
    set: ShardSet,
    guards: SmallVec<[MutexGuard<'s, Shard>; 1]>,
}

impl LockedShards<'_> {
    /// The shard of `key`, which must be in the set that was locked.
    pub(crate) fn of(&self, key: &Key<'_>) -> &Shard {
        &self.guards[self.place(key)]
    }

    /// As [`LockedShards::of`], to change it.
    pub(crate) fn of_mut(&mut self, key: &Key<'_>) -> &mut Shard {
        let place = self.place(key);
        &mut self.guards[place]
    }

    /// Whether the key's shard is among them.
    pub(crate) const fn contains(&self, key: &Key<'_>) -> bool {
        self.set.contains(key.shard())
    }

    fn place(&self, key: &Key<'_>) -> usize {
        assert!(
            self.set.contains(key.shard()),
            "the key's shard was locked: the command's row names its keys"
        );
        self.set.place(key.shard())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Shard> {
        self.guards.iter().map(|guard| &**guard)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Shard> {
        self.guards.iter_mut().map(|guard| &mut **guard)
    }
}

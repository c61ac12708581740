//! How much memory live data take: kept by the shards as they change, so that nobody has to look.
//!
//! Of what is dead every shard keeps its own account. It does not count here: what is removed for want of memory leaves
//! something dead behind for a while, which may take as much, and to remove more on that account would never end.
//!
//! A shard counts exactly, under its lock. It tells the others only when its number has changed by [a bit](GRAIN_MAX): the sum that
//! all threads look at so is right but for a few bytes per shard, and hardly ever written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::ShardSet;
use super::key::{SHARDS, ShardId};

/// A shard tells of what has changed when it comes to so many bytes.
const GRAIN_MAX: usize = 1 << 10;

/// A small one sooner: when it comes to one part in so many of what it takes.
const GRAIN_PART: usize = 64;

/// What all shards have told.
#[derive(Debug)]
pub(crate) struct Account {
    total: AtomicUsize,
    shards: [AtomicUsize; SHARDS],
}

impl Default for Account {
    fn default() -> Self {
        Self { total: AtomicUsize::new(0), shards: std::array::from_fn(|_| AtomicUsize::new(0)) }
    }
}

impl Account {
    /// What live data take, in bytes, about.
    pub(crate) fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// What those of these shards take, in bytes, about.
    pub(crate) fn of(&self, set: ShardSet) -> usize {
        set.iter().map(|id| self.shards[id.index()].load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn tell(&self, shard: ShardId, before: usize, after: usize) {
        self.shards[shard.index()].store(after, Ordering::Relaxed);
        // Wraps around where it falls.
        self.total.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    }
}

/// What a shard has counted of itself, and told.
#[derive(Debug)]
pub(super) struct ShardAccount {
    account: Arc<Account>,
    id: ShardId,
    /// What its keys and tables take.
    bytes: usize,
    told: usize,
}

impl ShardAccount {
    pub(super) const fn new(account: Arc<Account>, id: ShardId) -> Self {
        Self { account, id, bytes: 0, told: 0 }
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Something that took `before` takes `after` now.
    pub(super) const fn change(&mut self, before: usize, after: usize) {
        self.bytes = self.bytes + after - before;
    }

    /// Tells the others, if it is worth that; `dead` is what only dead things take of it, about.
    pub(super) fn tell(&mut self, dead: usize) {
        let bytes = self.bytes.saturating_sub(dead);
        if bytes.abs_diff(self.told) > GRAIN_MAX.min(bytes / GRAIN_PART) {
            self.account.tell(self.id, self.told, bytes);
            self.told = bytes;
        }
    }
}

/// What the allocator takes for so many bytes: it has four sizes between each power of two and the next, and none that are
/// no multiple of 16.
pub(crate) const fn allocated(bytes: usize) -> usize {
    if bytes == 0 {
        return 0;
    }
    let grain = 1 << (((bytes - 1) | 127).ilog2() - 2);
    (bytes + grain - 1) & !(grain - 1)
}
const _: () = assert!(allocated(1) == 16 && allocated(16) == 16 && allocated(17) == 32);
const _: () = assert!(allocated(128) == 128 && allocated(129) == 160 && allocated(1_000) == 1_024);

/// The most that was ever taken, as far as somebody looked.
#[derive(Debug, Default)]
pub(crate) struct Peak(AtomicU64);

impl Peak {
    /// So much is taken now. Returns the most so far.
    pub(crate) fn note(&self, bytes: u64) -> u64 {
        self.0.fetch_max(bytes, Ordering::Relaxed).max(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_follows_the_shards_but_for_a_grain_each() {
        let account = Arc::<Account>::default();
        let shard = |id| ShardAccount::new(Arc::clone(&account), ShardId(id));
        let (mut first, mut last) = (shard(0), shard(63));
        let change = |shard: &mut ShardAccount, before, after| {
            shard.change(before, after);
            shard.tell(0);
        };
        change(&mut first, 0, 5_000);
        change(&mut last, 0, 3_000);
        change(&mut first, 50, 0);
        assert_eq!(account.total(), 8_000, "too little to be told");
        change(&mut first, 4_950, 100);
        let one = ShardSet::of(ShardId(0));
        assert_eq!(
            (account.total(), account.of(one), account.of(one.with(ShardId(63)))),
            (3_100, 100, 3_100)
        );
    }
}

//! A key, its hash, and where it lives.

use xxhash_rust::xxh3::xxh3_64;

/// The number of slots: runs of the key hash's range. A slot is what two nodes compare, and what a SCAN
/// goes through.
pub(crate) const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 14;

/// The number of shards: runs of slots with a lock each.
pub(crate) const SHARDS: usize = 64;

/// The number of slots in a shard.
pub(crate) const SLOTS_PER_SHARD: usize = SLOTS / SHARDS;

/// A shard, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ShardId(pub(crate) u8);

impl ShardId {
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// The shard that a slot belongs to.
    pub(crate) const fn of_slot(slot: usize) -> Self {
        Self((slot / SLOTS_PER_SHARD) as u8)
    }

    /// All of them, in order.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..SHARDS as u8).map(Self)
    }
}

/// A key of a database, with its hash. The hash is the same at every node, so that slots are, too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'a> {
    pub(crate) db: u8,
    pub(crate) bytes: &'a [u8],
    pub(crate) hash: u64,
}

impl<'a> Key<'a> {
    pub(crate) fn new(db: u8, bytes: &'a [u8]) -> Self {
        Self { db, bytes, hash: key_hash(bytes) }
    }

    pub(crate) const fn shard(&self) -> ShardId {
        ShardId((self.slot() / SLOTS_PER_SHARD) as u8)
    }

    pub(crate) const fn slot(&self) -> usize {
        slot_of(self.hash)
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.db == other.db && self.bytes == other.bytes
    }
}

impl Eq for Key<'_> {}

/// The hash whose highest bits are a key's slot.
pub(crate) fn key_hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// The slot of a key with this hash.
pub(crate) const fn slot_of(hash: u64) -> usize {
    (hash >> (u64::BITS - SLOT_BITS)) as usize
}

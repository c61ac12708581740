//! Reads ahead of the commands that come next.
//!
//! Problem: a key is three lines of memory behind one another: its slot, its group of places, its entry. Where the data are
//! larger than the processor's caches a command waits for one after the other: half of the time that a pipelined SET takes.
//!
//! Idea: several keys' lines of one sort do not wait for each other. Once through all keys for each sort, and the processor
//! reads them side by side; the commands then find everything in its caches.

use std::hash::BuildHasher;
use std::hint::black_box;

use smallvec::SmallVec;

use super::database::{Slot, slot_in_shard};
use crate::store::LockedShards;
use crate::store::entry::Entry;
use crate::store::key::Key;

/// So many keys are read ahead at most: as many as a processor has reads under way, about, and few enough to be there still
/// when their commands' turn has come.
pub(crate) const PREFETCHED_MAX: usize = 16;

/// Reads what the commands of these keys will look at, of those whose shards are locked.
pub(crate) fn prefetch(shards: &LockedShards<'_>, keys: &[Key<'_>]) {
    let slots: SmallVec<[(&Slot, u64); PREFETCHED_MAX]> = keys
        .iter()
        .filter(|key| shards.contains(key))
        .filter_map(|key| {
            let shard = shards.of(key);
            let slots = shard.databases[usize::from(key.db)].slots.as_ref()?;
            Some((&slots[slot_in_shard(key.slot())], shard.hasher.hash_one(key.bytes)))
        })
        .collect();
    // Nobody needs these sums: without them the compiler would read nothing.
    black_box(slots.iter().fold(0, |sum, (slot, _)| sum ^ slot.table.places()));
    black_box(slots.iter().fold(0, |sum, (slot, hash)| sum ^ slot.table.home_tag(*hash)));
    let entries = slots.iter().filter_map(|(slot, hash)| slot.table.likely(*hash));
    black_box(entries.map(Entry::key).fold(0, |sum, key| sum ^ key.len()));
}

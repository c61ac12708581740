//! Which slots of a shard anything ever reached.

use super::database::slot_in_shard;
use crate::store::key::SLOTS_PER_SHARD;

const WORD: usize = u64::BITS as usize;

const _: () = assert!(SLOTS_PER_SHARD.is_multiple_of(WORD), "whole words tell of a shard's slots");

/// A bit per slot, whatever the database. Comparing, reconciling and maintenance walk over all slots: those of a small
/// store are nearly all empty, and passed over without a look at sixteen tables each.
#[derive(Debug, Default)]
pub(super) struct Reached([u64; SLOTS_PER_SHARD / WORD]);

impl Reached {
    pub(super) const fn note(&mut self, slot: usize) {
        let slot = slot_in_shard(slot);
        self.0[slot / WORD] |= 1 << (slot % WORD);
    }

    pub(super) const fn has(&self, slot: usize) -> bool {
        let slot = slot_in_shard(slot);
        self.0[slot / WORD] >> (slot % WORD) & 1 == 1
    }
}

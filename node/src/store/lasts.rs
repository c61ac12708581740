//! Which change of each origin reached a slot last.
//!
//! Digests of a slot can be compared between two nodes when both hold all that reached it at either: that is, when the
//! last change of every origin there lies within both frontiers.

use shared::version::{Frontier, Version};
use smallvec::SmallVec;

use super::key::SLOTS_PER_SHARD;

/// The newest log entry per origin, for each slot of a shard. One per living origin at most, as long as those that
/// everybody has are forgotten.
pub(super) struct Lasts {
    slots: Box<[Newest]>,
    /// Of flushes, which reach every slot.
    everywhere: Newest,
}

/// At most one of each origin, in no order.
type Newest = SmallVec<[Version; 1]>;

impl Default for Lasts {
    fn default() -> Self {
        Self { slots: vec![Newest::new(); SLOTS_PER_SHARD].into(), everywhere: Newest::new() }
    }
}

impl Lasts {
    /// Notes that a change reached the slot, whether it won or not.
    pub(super) fn note(&mut self, slot: usize, entry: Version) {
        note(&mut self.slots[slot], entry);
    }

    /// Notes that a change reached every slot.
    pub(super) fn note_everywhere(&mut self, entry: Version) {
        note(&mut self.everywhere, entry);
    }

    /// The newest changes of the slot; one origin may come twice.
    pub(super) fn of(&self, slot: usize) -> impl Iterator<Item = Version> + '_ {
        self.slots[slot].iter().chain(&self.everywhere).copied()
    }

    /// Forgets those that `stable` covers: everybody has them.
    pub(super) fn forget(&mut self, stable: &Frontier) {
        for newest in self.slots.iter_mut().chain([&mut self.everywhere]) {
            newest.retain(|entry| !stable.covers(*entry));
        }
    }
}

fn note(newest: &mut Newest, entry: Version) {
    match newest.iter_mut().find(|other| other.origin == entry.origin) {
        Some(other) => other.timestamp = other.timestamp.max(entry.timestamp),
        None => newest.push(entry),
    }
}

//! SCAN's cursor, and the run of keys that one call visits.
//!
//! Keys are visited in the order of their hash, which is the same in every process and at every node: a place in
//! that order means the same whatever happened to the tables since, even after a restart or at another node. So a
//! key that stays from an iteration's start to its end is returned exactly once, and the only state is the cursor.
//!
//! A cursor is the first place that was not visited yet. It is cut to the hash's highest 48 bits, for clients that
//! read cursors as signed or as floating-point numbers; keys that those bits do not tell apart are returned
//! together. The place behind the last one is 0, where an iteration starts.

use shared::time::WallMillis;

use crate::store::entry::Entry;
use crate::store::key::{SLOTS, SLOTS_PER_SHARD, key_hash, slot_of};
use crate::store::shard::Shard;

/// A place in hash order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cursor(u64);

impl Cursor {
    const BITS: u32 = 48;
    const END: u64 = 1 << Self::BITS;

    /// What a client sent; none if it lies behind every place.
    pub(super) fn from_client(number: u64) -> Option<Self> {
        (number < Self::END).then_some(Self(number))
    }

    pub(super) const fn to_client(self) -> u64 {
        self.0
    }

    fn of(entry: &Entry) -> Self {
        Self(key_hash(entry.key()) >> (u64::BITS - Self::BITS))
    }

    const fn slot(self) -> usize {
        slot_of(self.0 << (u64::BITS - Self::BITS))
    }

    const fn next(self) -> Self {
        Self((self.0 + 1) % Self::END)
    }

    /// The last place of the slot.
    const fn last_of(slot: usize) -> Self {
        Self((slot as u64 + 1) * (Self::END / SLOTS as u64) - 1)
    }
}

/// What one call of SCAN visits.
#[derive(Default)]
pub(super) struct Page<'s> {
    /// The live keys, in no order.
    pub(super) entries: Vec<&'s Entry>,
    /// Where the next call begins; at the start if all is done.
    pub(super) next: Cursor,
}

/// A call looks at so many entries, dead ones included, for each key that it is to return: among many tombstones
/// it returns fewer keys, or none. As many as Redis's empty buckets.
const LOOKED_AT_PER_KEY: usize = 10;
/// But at so many in any case: they cost less than another call.
const LOOKED_AT_MIN: usize = 1_000;

impl<'s> Page<'s> {
    /// Visits about `count` live keys from there on. The work is bounded by that and one slot's entries.
    pub(super) fn read(
        shards: impl Iterator<Item = &'s Shard>,
        db: u8,
        from: Cursor,
        count: usize,
        now: WallMillis,
    ) -> Self {
        let mut page = Self::default();
        let mut budget = count.saturating_mul(LOOKED_AT_PER_KEY).max(LOOKED_AT_MIN);
        for (shard, slot, length) in occupied_slots(shards, db, from) {
            let live = shard.slot(db, slot).filter(|entry| entry.visible_kind(now).is_some());
            let last = page.take(live, from, count).unwrap_or_else(|| Cursor::last_of(slot));
            budget = budget.saturating_sub(length);
            if page.entries.len() >= count || budget == 0 {
                page.next = last.next();
                break;
            }
        }
        page
    }

    /// Takes a slot's keys up to `count` in all. Returns the last place taken, if that is not all of the slot.
    fn take(&mut self, slot: impl Iterator<Item = &'s Entry>, from: Cursor, count: usize) -> Option<Cursor> {
        let room = count - self.entries.len();
        let mut found: Vec<(Cursor, &Entry)> =
            slot.map(|entry| (Cursor::of(entry), entry)).filter(|(place, _)| *place >= from).collect();
        let mut last = None;
        if found.len() > room {
            let (_, &mut (place, _), _) = found.select_nth_unstable_by_key(room - 1, |(place, _)| *place);
            found.retain(|(other, _)| *other <= place);
            last = Some(place);
        }
        self.entries.extend(found.into_iter().map(|(_, entry)| entry));
        last
    }
}

/// The slots from there on that hold anything, with how many entries.
fn occupied_slots<'s>(
    shards: impl Iterator<Item = &'s Shard>,
    db: u8,
    from: Cursor,
) -> impl Iterator<Item = (&'s Shard, usize, usize)> {
    shards
        .filter(move |shard| shard.live(db) > 0 && shard.id().index() >= from.slot() / SLOTS_PER_SHARD)
        .flat_map(move |shard| {
            let first = shard.id().index() * SLOTS_PER_SHARD;
            shard.slot_lengths(db).enumerate().map(move |(place, length)| (shard, first + place, length))
        })
        .filter(move |(_, slot, length)| *slot >= from.slot() && *length > 0)
}

#[cfg(test)]
mod tests;

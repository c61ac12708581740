//! A shard's part of one database: its slots' tables, and what is counted of them.

use shared::change::CellId;
use shared::state::FlushState;
use shared::version::Version;

use super::expiries::{Expiries, Expiry};
use super::table::Table;
use crate::store::dead::{CellName, Dead, DeadParts, Place};
use crate::store::entry::Entry;
use crate::store::key::{Key, SLOTS_PER_SHARD, slot_of};
use crate::store::lasts::Lasts;
use crate::store::origins::Origins;

/// A flush that went over a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flushed {
    /// What is older is dead.
    pub(crate) version: Version,
    /// The log entry that made it.
    pub(crate) entry: Version,
}

impl Flushed {
    /// Of several databases' flushes the newest of one; none if there is none.
    pub(crate) fn of(flushes: &[FlushState], db: u8) -> Self {
        let of_db = flushes.iter().filter(|flush| flush.db == db);
        let newest = of_db.max_by_key(|flush| flush.version);
        newest.map_or_else(Self::default, |flush| Self { version: flush.version, entry: flush.entry })
    }
}

#[derive(Default)]
pub(super) struct Database {
    /// None until a key is written.
    pub(super) slots: Option<Box<[Slot]>>,
    /// Keys with a live cell, expired ones that were not removed yet included, as DBSIZE counts.
    pub(super) live: usize,
    /// Keys among them with an expiry.
    pub(super) expiring: usize,
    /// What is dead.
    pub(super) dead: Dead,
    /// What its keys and tables take of memory.
    pub(super) bytes: usize,
    /// The newest flush that went over this database.
    pub(super) flushed: Flushed,
    /// The keys that expire, dead ones included.
    pub(super) expiries: Expiries,
}

/// What a key takes in the order of expiries, about: a tree's nodes are some two thirds full.
const EXPIRY_BYTES: usize = 24;

/// A slot's keys. What every write touches lies in one line of the processor's cache.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct Slot {
    pub(super) table: Table,
    /// The XOR of its keys' digests.
    pub(super) digest: u64,
    /// Which changes reached it last.
    pub(super) lasts: Lasts,
}

const _: () = assert!(size_of::<Slot>() == 64, "a slot is a line of the processor's cache");

/// What the tables' counters take from a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Footprint {
    pub(super) live: bool,
    pub(super) expiry: Option<Expiry>,
    pub(super) dead: Dead,
    pub(super) digest: u64,
    /// What it takes of memory, but for its place in the table.
    pub(super) bytes: usize,
}

impl Footprint {
    pub(super) const NONE: Self = Self { live: false, expiry: None, dead: Dead::NONE, digest: 0, bytes: 0 };

    pub(super) fn of(entry: &Entry, db: u8, hash: u64, flushed: Version, origins: &Origins) -> Self {
        let expiry = Expiry::of(entry, origins);
        Self {
            live: entry.kind().is_some(),
            expiry,
            dead: entry.dead(flushed, origins),
            digest: entry.digest(db, hash, origins),
            bytes: entry.held_bytes() + if expiry.is_some() { EXPIRY_BYTES } else { 0 },
        }
    }
}

/// What must be known of an entry before and after a change.
pub(super) struct Look {
    pub(super) footprint: Footprint,
    /// What is dead of the key as a whole.
    pub(super) parts: DeadParts,
}

impl Look {
    pub(super) const NONE: Self = Self { footprint: Footprint::NONE, parts: [None; 3] };

    pub(super) fn at(entry: &Entry, key: &Key<'_>, flushed: Version, origins: &Origins) -> Self {
        let footprint = Footprint::of(entry, key.db, key.hash, flushed, origins);
        let parts = if footprint.dead.things > 0 { entry.dead_parts(flushed, origins) } else { [None; 3] };
        Self { footprint, parts }
    }
}

impl Database {
    pub(super) fn account(&mut self, hash: u64, before: Footprint, after: Footprint) {
        if before.digest != after.digest
            && let Some(slots) = &mut self.slots
        {
            slots[slot_in_shard(slot_of(hash))].digest ^= before.digest ^ after.digest;
        }
        self.dead.subtract(before.dead);
        self.dead.add(after.dead);
        self.bytes = self.bytes + after.bytes - before.bytes;
        self.live = self.live + usize::from(after.live) - usize::from(before.live);
        let expires = |footprint: Footprint| usize::from(footprint.live && footprint.expiry.is_some());
        self.expiring = self.expiring + expires(after) - expires(before);
        if before.expiry == after.expiry {
            return;
        }
        if let Some(expiry) = before.expiry {
            self.expiries.remove(expiry, hash);
        }
        if let Some(expiry) = after.expiry {
            self.expiries.insert(expiry, hash);
        }
    }

    /// The slots, which are made when the first key is written.
    pub(super) fn slots(&mut self) -> &mut [Slot] {
        self.slots.get_or_insert_with(new_slots)
    }

    /// What the tables take, counted from scratch.
    #[cfg(test)]
    pub(super) fn table_bytes(&self) -> usize {
        self.slots.iter().flatten().map(|slot| slot.table.allocation_size()).sum()
    }

    /// Empties the tables, and counts nothing any more.
    pub(super) fn take_slots(&mut self) -> Option<Box<[Slot]>> {
        self.live = 0;
        self.expiring = 0;
        self.dead = Dead::NONE;
        self.bytes = 0;
        self.expiries.clear();
        self.slots.take()
    }
}

/// Where a key is.
#[derive(Clone, Copy)]
pub(super) struct Site {
    pub(super) db: u8,
    pub(super) slot: u8,
    pub(super) table_hash: u64,
}

impl Site {
    pub(super) const fn whole(self) -> Place {
        Place { table_hash: self.table_hash, db: self.db, slot: self.slot, cell: None }
    }

    pub(super) fn cell(self, id: &CellId<'_>) -> Place {
        Place { cell: Some(Box::new(CellName::of(id))), ..self.whole() }
    }
}

fn new_slots() -> Box<[Slot]> {
    std::iter::repeat_with(Slot::default).take(SLOTS_PER_SHARD).collect()
}

const _: () = assert!(SLOTS_PER_SHARD <= 1 << u8::BITS, "a slot of a shard has its number in a byte");

pub(super) const fn slot_in_shard(slot: usize) -> usize {
    slot % SLOTS_PER_SHARD
}

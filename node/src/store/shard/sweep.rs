//! Dropping what is dead and stable.

use std::hash::BuildHasher;

use shared::change::CellId;
use shared::version::{Frontier, Version};

use super::super::dead::Place;
use super::super::entry::{Entry, Form};
use super::super::key::{Key, key_hash};
use super::super::origins::Origins;
use super::{Database, Flushed, Footprint, Shard};

impl Shard {
    /// Drops what is dead and whose log entry `stable` covers: nothing that it would have to tell dead can arrive any
    /// more. Looks at `limit` things at most, and returns at how many it has looked: fewer if no more can be dropped
    /// now. Changes nothing that can be seen, and no digest.
    ///
    /// A TTL register that sets an expiry stays, even if its key is dead: it would be there for one node and not for
    /// another when the key is written next. Its key is marked once it expires.
    pub(crate) fn drop_stable(&mut self, stable: &Frontier, limit: usize, origins: &Origins) -> usize {
        if self.registry.bytes() > 0 && self.dead_things() == 0 {
            // Some may name entries that nobody will ever hold, of an origin that was given up.
            self.registry.clear();
        }
        let places = self.registry.take_stable(stable, limit);
        for place in &places {
            self.sweep(place, stable, origins);
        }
        places.len()
    }

    /// About how many bytes only dead things take, the notes of where they are included.
    pub(crate) const fn dead_bytes(&self) -> usize {
        self.dead.bytes + self.registry.bytes()
    }

    /// How many things are dead.
    pub(crate) const fn dead_things(&self) -> usize {
        self.dead.things
    }

    fn sweep(&mut self, place: &Place, stable: &Frontier, origins: &Origins) {
        if let Some(cell) = &place.cell {
            return self.sweep_cell(place, &cell.id(), stable, origins);
        }
        let Some(entry) = self.at(place) else { return };
        let flushed = self.databases[usize::from(place.db)].flushed;
        let dies = |version: &Version| stable.covers(*version);
        if !entry.dead_parts(flushed.version, origins).iter().flatten().any(dies) {
            return;
        }
        let bytes: Box<[u8]> = entry.key().into();
        let key = Key { db: place.db, bytes: &bytes, hash: key_hash(&bytes) };
        let Some(entry) = self.take(&key, origins) else { return };
        let left = match entry.into_form() {
            Form::Packed(packed) if packed.has_cells() => {
                let mut rich = packed.to_rich(origins);
                rich.drop_stable(stable, flushed);
                Some(Entry::of_rich(rich, origins))
            }
            Form::Packed(packed) => packed.without_stable(stable, origins).map(Entry::from),
            Form::Rich(mut rich) => {
                rich.drop_stable(stable, flushed);
                Some(Entry::of_rich(*rich, origins))
            }
        };
        if let Some(entry) = left.filter(|entry| !entry.is_vacant(flushed.version, origins)) {
            self.put(key.db, key.hash, place.table_hash, entry, origins);
        }
    }

    /// Drops a cell's tombstone, where it is: each pop leaves one.
    fn sweep_cell(&mut self, place: &Place, id: &CellId<'_>, stable: &Frontier, origins: &Origins) {
        let (database, hasher) = (&mut self.databases[usize::from(place.db)], &self.hasher);
        let Some(slots) = &mut database.slots else { return };
        let is_there = |entry: &Entry| hasher.hash_one(entry.key()) == place.table_hash;
        let table = &mut slots[usize::from(place.slot)].table;
        let Some(entry) = table.find_mut(place.table_hash, is_there) else { return };
        let flushed = database.flushed.version;
        let hash = key_hash(entry.key());
        let before = Footprint::of(entry, place.db, hash, flushed, origins);
        if !entry.drop_tombstone(id, stable, origins) {
            return;
        }
        let after = if entry.is_vacant(flushed, origins) {
            table.remove(place.table_hash, is_there);
            Footprint::NONE
        } else {
            Footprint::of(entry, place.db, hash, flushed, origins)
        };
        self.account(place.db, hash, before, after);
    }

    /// What is held for the key at this place, if it is still there.
    fn at(&self, place: &Place) -> Option<&Entry> {
        at(&self.databases, &self.hasher, place)
    }

    /// Goes through the notes of dead things if too many are stale.
    pub(super) fn compact_registry(&mut self, origins: &Origins) {
        if !self.registry.is_stale(self.dead_things()) {
            return;
        }
        let (databases, hasher) = (&self.databases, &self.hasher);
        self.registry.compact(|entry, place| {
            let Flushed { version: flushed, .. } = databases[usize::from(place.db)].flushed;
            let held = at(databases, hasher, place);
            held.is_some_and(|held| match &place.cell {
                None => held.dead_parts(flushed, origins).contains(&Some(entry)),
                Some(cell) => held.tombstone(&cell.id()) == Some(entry),
            })
        });
    }
}

fn at<'d>(databases: &'d [Database], hasher: &impl BuildHasher, place: &Place) -> Option<&'d Entry> {
    let slots = databases[usize::from(place.db)].slots.as_ref()?;
    let is_there = |entry: &Entry| hasher.hash_one(entry.key()) == place.table_hash;
    slots[usize::from(place.slot)].table.find(place.table_hash, is_there)
}

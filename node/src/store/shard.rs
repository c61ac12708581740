//! The tables of a run of slots, what expires in them, and who watches their keys.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table;
use shared::change::{Change, DATABASES, Op};
use shared::time::WallMillis;
use shared::version::Version;

use std::hash::BuildHasher;

use super::entry::{Entry, Packed, is_of};
use super::key::{Key, SLOTS_PER_SHARD, ShardId, key_hash, slot_of};
use super::origins::{OriginIndex, Origins, TooManyOrigins};
use super::rich::Source;

/// A run of slots, each with its table: small tables, so that none takes long to grow.
pub(crate) struct Shard {
    id: ShardId,
    /// Seeded per process, so that nobody can choose keys that collide.
    hasher: RandomState,
    databases: [Database; DATABASES as usize],
    /// Who watches which key, for WATCH. Empty nearly always.
    watchers: HashMap<(u8, Box<[u8]>), Vec<Watcher>>,
}

/// Set when a watched key changes. Bounded by the clients' WATCHes.
pub(crate) type Watcher = Arc<AtomicBool>;

#[derive(Default)]
struct Database {
    /// None until a key is written.
    slots: Option<Box<[HashTable<Entry>; SLOTS_PER_SHARD]>>,
    /// Keys with a live cell, expired ones that were not removed yet included, as DBSIZE counts.
    live: usize,
    /// Keys among them with an expiry.
    expiring: usize,
    /// The newest flush that went over this database.
    flushed: Version,
    /// The keys that expire, by when, named by their hash.
    expiries: BTreeSet<(WallMillis, u64)>,
}

/// What the tables' counters take from a key.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Footprint {
    live: bool,
    expiry: Option<WallMillis>,
}

impl Footprint {
    const NONE: Self = Self { live: false, expiry: None };

    fn of(entry: &Entry) -> Self {
        let live = entry.kind().is_some();
        Self { live, expiry: entry.expiry().filter(|_| live) }
    }
}

/// Who writes: for stamping packed entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer {
    pub(crate) at: Version,
    pub(crate) index: OriginIndex,
    pub(crate) source: Source,
}

impl Shard {
    pub(crate) fn new(id: ShardId, hasher: RandomState) -> Self {
        Self { id, hasher, databases: Default::default(), watchers: HashMap::new() }
    }

    pub(crate) const fn id(&self) -> ShardId {
        self.id
    }

    /// What is held for the key, if anything, dead or alive.
    pub(crate) fn find(&self, key: &Key<'_>) -> Option<&Entry> {
        let table = &self.databases[usize::from(key.db)].slots.as_ref()?[slot_in_shard(key.slot())];
        table.find(self.hasher.hash_one(key.bytes), |entry| is_of(entry, key))
    }

    /// As [`Shard::find`], to note that it was used.
    pub(crate) fn find_mut(&mut self, key: &Key<'_>) -> Option<&mut Entry> {
        let table = &mut self.databases[usize::from(key.db)].slots.as_mut()?[slot_in_shard(key.slot())];
        table.find_mut(self.hasher.hash_one(key.bytes), |entry| is_of(entry, key))
    }

    /// The newest flush that went over the database.
    pub(crate) const fn flushed(&self, db: u8) -> Version {
        self.databases[db as usize].flushed
    }

    /// Merges a change of one key of this shard. Returns whether it changed anything.
    pub(crate) fn merge(
        &mut self,
        key: &Key<'_>,
        op: Op<'_>,
        writer: Writer,
        origins: &Origins,
    ) -> Result<bool, TooManyOrigins> {
        let database = &mut self.databases[usize::from(key.db)];
        if writer.at < database.flushed {
            return Ok(false);
        }
        let flushed = database.flushed;
        let slots = database.slots.get_or_insert_with(new_slots);
        let table = &mut slots[slot_in_shard(key.slot())];
        let hasher = &self.hasher;
        let rehash = |entry: &Entry| hasher.hash_one(entry.key());
        let (before, after, changed) =
            match table.entry(hasher.hash_one(key.bytes), |entry| is_of(entry, key), rehash) {
                hash_table::Entry::Vacant(vacant) => {
                    let mut entry = match &op {
                        // Whole writes of absent keys, the commonest of all, need no rich state on the way.
                        Op::Set(value) => Entry::Packed(Packed::new(
                            key.bytes,
                            Some(value),
                            writer.at.timestamp,
                            writer.index,
                        )),
                        Op::Reset => {
                            Entry::Packed(Packed::new(key.bytes, None, writer.at.timestamp, writer.index))
                        }
                        _ => Entry::absent(key.bytes, flushed),
                    };
                    let changed = matches!(op, Op::Set(_) | Op::Reset)
                        || entry.merge(op, writer.at, writer.index, writer.source, origins)?;
                    if entry.is_vacant(flushed) {
                        return Ok(changed);
                    }
                    let after = Footprint::of(&entry);
                    vacant.insert(entry);
                    (Footprint::NONE, after, changed)
                }
                hash_table::Entry::Occupied(mut occupied) => {
                    let entry = occupied.get_mut();
                    let before = Footprint::of(entry);
                    let changed = entry.merge(op, writer.at, writer.index, writer.source, origins)?;
                    let after = Footprint::of(entry);
                    (before, after, changed)
                }
            };
        if before != after {
            database.account(key.hash, before, after);
        }
        if changed && !self.watchers.is_empty() {
            self.touch(key);
        }
        Ok(changed)
    }

    /// Merges a flush of one database. Returns whether it changed anything.
    pub(crate) fn merge_flush(
        &mut self,
        db: u8,
        writer: Writer,
        origins: &Origins,
    ) -> Result<bool, TooManyOrigins> {
        let database = &mut self.databases[usize::from(db)];
        let newer = match writer.source {
            Source::Local => writer.at >= database.flushed,
            Source::Log => writer.at > database.flushed,
        };
        if !newer {
            return Ok(false);
        }
        database.flushed = writer.at;
        let survivors = database.take_survivors(writer, origins)?;
        for entry in survivors {
            let hash = key_hash(entry.key());
            let after = Footprint::of(&entry);
            let slots = database.slots.get_or_insert_with(new_slots);
            let hasher = &self.hasher;
            slots[slot_in_shard(slot_of(hash))]
                .insert_unique(hasher.hash_one(entry.key()), entry, |entry| hasher.hash_one(entry.key()));
            database.account(hash, Footprint::NONE, after);
        }
        for ((watched, _), watchers) in &self.watchers {
            if *watched == db {
                watchers.iter().for_each(|watcher| watcher.store(true, Ordering::Relaxed));
            }
        }
        Ok(true)
    }

    /// Keys with a live cell in the database.
    pub(crate) const fn live(&self, db: u8) -> usize {
        self.databases[db as usize].live
    }

    /// Live keys with an expiry in the database.
    pub(crate) const fn expiring(&self, db: u8) -> usize {
        self.databases[db as usize].expiring
    }

    /// The entries of a slot of this shard, in no order.
    pub(crate) fn slot(&self, db: u8, slot: usize) -> impl Iterator<Item = &Entry> {
        let slots = self.databases[usize::from(db)].slots.as_ref();
        slots.into_iter().flat_map(move |slots| slots[slot_in_shard(slot)].iter())
    }

    /// All entries of a database, in no order.
    pub(crate) fn entries(&self, db: u8) -> impl Iterator<Item = &Entry> {
        let slots = self.databases[usize::from(db)].slots.as_ref();
        slots.into_iter().flat_map(|slots| slots.iter()).flat_map(HashTable::iter)
    }

    /// How many entries, dead ones included, each slot holds.
    pub(crate) fn slot_lengths(&self, db: u8) -> impl Iterator<Item = usize> {
        let slots = self.databases[usize::from(db)].slots.as_ref();
        slots.into_iter().flat_map(|slots| slots.iter().map(HashTable::len))
    }

    /// The keys that expired before `now` and that `is_due` tells to remove, at most `limit` of those that are
    /// looked at, the longest expired first.
    pub(crate) fn expired(
        &self,
        db: u8,
        now: WallMillis,
        limit: usize,
        is_due: impl Fn(&Entry) -> bool,
    ) -> Vec<Box<[u8]>> {
        let expiries = self.databases[usize::from(db)].expiries.range(..(now, 0));
        expiries
            .take(limit)
            .flat_map(|(expiry, hash)| {
                let named =
                    move |entry: &&Entry| entry.expiry() == Some(*expiry) && key_hash(entry.key()) == *hash;
                self.slot(db, slot_of(*hash)).filter(named)
            })
            .filter(|entry| is_due(entry))
            .map(|entry| entry.key().into())
            .collect()
    }

    /// Sets `watcher` when the key changes.
    pub(crate) fn watch(&mut self, key: &Key<'_>, watcher: Watcher) {
        self.watchers.entry((key.db, key.bytes.into())).or_default().push(watcher);
    }

    /// Forgets a watcher of the key.
    pub(crate) fn unwatch(&mut self, key: &Key<'_>, watcher: &Watcher) {
        let id = (key.db, Box::from(key.bytes));
        if let Some(watchers) = self.watchers.get_mut(&id) {
            watchers.retain(|other| !Arc::ptr_eq(other, watcher));
            if watchers.is_empty() {
                self.watchers.remove(&id);
            }
        }
    }

    fn touch(&self, key: &Key<'_>) {
        if let Some(watchers) = self.watchers.get(&(key.db, Box::from(key.bytes))) {
            watchers.iter().for_each(|watcher| watcher.store(true, Ordering::Relaxed));
        }
    }
}

impl Database {
    fn account(&mut self, hash: u64, before: Footprint, after: Footprint) {
        self.live = self.live + usize::from(after.live) - usize::from(before.live);
        if before.expiry == after.expiry {
            return;
        }
        if let Some(expiry) = before.expiry {
            self.expiries.remove(&(expiry, hash));
            self.expiring -= 1;
        }
        if let Some(expiry) = after.expiry {
            self.expiries.insert((expiry, hash));
            self.expiring += 1;
        }
    }

    /// Empties the tables under a flush, and returns what outlives it.
    fn take_survivors(&mut self, writer: Writer, origins: &Origins) -> Result<Vec<Entry>, TooManyOrigins> {
        let Some(slots) = self.slots.take() else { return Ok(Vec::new()) };
        self.live = 0;
        self.expiring = 0;
        self.expiries.clear();
        let mut survivors = Vec::new();
        if writer.source == Source::Local {
            return Ok(survivors);
        }
        for table in *slots {
            for mut entry in table {
                if entry.newest(origins) < writer.at.timestamp {
                    continue;
                }
                entry.merge(Op::FlushDb, writer.at, writer.index, writer.source, origins)?;
                if !entry.is_vacant(writer.at) {
                    survivors.push(entry);
                }
            }
        }
        Ok(survivors)
    }
}

fn new_slots() -> Box<[HashTable<Entry>; SLOTS_PER_SHARD]> {
    Box::new([const { HashTable::new() }; SLOTS_PER_SHARD])
}

const fn slot_in_shard(slot: usize) -> usize {
    slot % SLOTS_PER_SHARD
}

/// Merges a change under the locks of its shards. Returns whether it changed anything.
pub(crate) fn merge_change(
    locked: &mut super::LockedShards<'_>,
    change: Change<'_>,
    writer: Writer,
    origins: &Origins,
) -> Result<bool, TooManyOrigins> {
    let databases = match change.op {
        Op::FlushAll => 0..DATABASES,
        Op::FlushDb => change.db..change.db + 1,
        op => {
            let key = Key::new(change.db, &change.key);
            return locked.of_mut(&key).merge(&key, op, writer, origins);
        }
    };
    let mut changed = false;
    for shard in locked.iter_mut() {
        for db in databases.clone() {
            changed |= shard.merge_flush(db, writer, origins)?;
        }
    }
    Ok(changed)
}

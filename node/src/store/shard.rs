//! The tables of a run of slots, what expires in them, what of them is dead, and who watches their keys.

mod database;

mod compare;

mod expiries;

mod memory;

mod prefetch;

mod reached;

mod sample;

mod sweep;

mod table;

mod withdraw;

mod write;

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use shared::change::{CellId, Change, DATABASES, Op};
use shared::version::Version;

use self::database::{Database, Footprint, Look, Site, Slot, slot_in_shard};
use self::reached::Reached;
use super::account::{Account, ShardAccount};
use super::aside::drop_aside;
use super::dead::{Dead, DeadParts, Registry};
use super::entry::{Entry, Packed, is_of};
#[cfg(test)]
use super::key::SLOTS_PER_SHARD;
use super::key::{Key, ShardId, key_hash, slot_of};
use super::lasts::Lasts;
use super::origins::{OriginIndex, Origins, TooManyOrigins};
use super::rich::{RichKey, Source};
use super::usage::Usage;
use super::waiters::{ReadyKeys, Waiters};
use super::watchers::{Watcher, Watchers};
use crate::random::Random;

pub(crate) use self::compare::Joiner;
pub(crate) use self::database::Flushed;
pub(crate) use self::expiries::Due;
pub(crate) use self::prefetch::{PREFETCHED_MAX, prefetch};
pub(crate) use self::sample::Wanted;

/// A run of slots, each with its table: small tables, so that none takes long to grow.
pub(crate) struct Shard {
    id: ShardId,
    /// Seeded per process, so that nobody can choose keys that collide.
    hasher: RandomState,
    databases: [Database; DATABASES as usize],
    reached: Reached,
    /// What is dead in all databases: asked for at every change of something dead, and of every shard by maintenance.
    dead: Dead,
    /// Which changes reached every slot last: flushes, and what had reached single slots before them.
    lasts: Lasts,
    /// Where dead things are.
    registry: Registry,
    watchers: Watchers,
    waiters: Waiters,
    account: ShardAccount,
    /// For counting uses, and for samples.
    luck: Random,
}

/// Who writes: for stamping packed entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer {
    pub(crate) at: Version,
    pub(crate) index: OriginIndex,
    pub(crate) source: Source,
    /// A client uses what it writes, here or elsewhere. None if no client does.
    pub(crate) usage: Option<Usage>,
}

impl Writer {
    /// For one more change of a key by the same use of it.
    pub(crate) fn again(self) -> Self {
        Self { usage: None, ..self }
    }

    fn note_use(&self, entry: &mut Entry, luck: &mut Random) {
        if let Some(usage) = self.usage {
            entry.note_use(usage, || luck.next());
        }
    }
}

impl Shard {
    pub(crate) fn new(
        id: ShardId,
        hasher: RandomState,
        ready: Arc<ReadyKeys>,
        account: Arc<Account>,
    ) -> Self {
        Self {
            id,
            hasher,
            databases: Default::default(),
            reached: Reached::default(),
            dead: Dead::NONE,
            lasts: Lasts::default(),
            registry: Registry::default(),
            watchers: Watchers::default(),
            waiters: Waiters::new(ready),
            account: ShardAccount::new(account, id),
            luck: Random::new(id.0.into()),
        }
    }

    pub(crate) const fn id(&self) -> ShardId {
        self.id
    }

    /// What is held for the key, if anything, dead or alive.
    pub(crate) fn find(&self, key: &Key<'_>) -> Option<&Entry> {
        let slots = self.databases[usize::from(key.db)].slots.as_ref()?;
        slots[slot_in_shard(key.slot())]
            .table
            .find(self.hasher.hash_one(key.bytes), |entry| is_of(entry, key))
    }

    /// As [`Shard::find`], and notes that a client used it, if this says so.
    pub(crate) fn find_used(
        &mut self,
        key: &Key<'_>,
        usage: Usage,
        is_use: impl FnOnce(&Entry) -> bool,
    ) -> Option<&Entry> {
        let luck = &mut self.luck;
        let slots = self.databases[usize::from(key.db)].slots.as_mut()?;
        let table = &mut slots[slot_in_shard(key.slot())].table;
        let entry = table.find_mut(self.hasher.hash_one(key.bytes), |entry| is_of(entry, key))?;
        if is_use(entry) {
            entry.note_use(usage, || luck.next());
        }
        Some(entry)
    }

    /// The newest flush that went over the database.
    pub(crate) const fn flushed(&self, db: u8) -> Version {
        self.databases[db as usize].flushed.version
    }

    /// Merges a change of one key of this shard. Returns whether it changed anything.
    pub(crate) fn merge(
        &mut self,
        key: &Key<'_>,
        op: Op<'_>,
        writer: Writer,
        origins: &Origins,
    ) -> Result<bool, TooManyOrigins> {
        let place = slot_in_shard(key.slot());
        self.reached.note(place);
        let database = &mut self.databases[usize::from(key.db)];
        let flushed = database.flushed;
        let slot = &mut database.slots()[place];
        slot.lasts.note(writer.at);
        if writer.at < flushed.version {
            return Ok(false);
        }
        let table_hash = self.hasher.hash_one(key.bytes);
        let removed = match &op {
            Op::Cell(id, None) => Some(id.clone()),
            _ => None,
        };
        let look = |entry: &Entry| Look::at(entry, key, flushed.version, origins);
        let (before, after, changed) = match slot.table.find_mut(table_hash, |entry| is_of(entry, key)) {
            None => {
                let (mut entry, changed) = fresh(key, op, writer, flushed, origins)?;
                writer.note_use(&mut entry, &mut self.luck);
                if entry.is_vacant(flushed.version, origins) {
                    return Ok(changed);
                }
                let after = look(&entry);
                self.put_in(key.db, place, table_hash, entry);
                (Look::NONE, after, changed)
            }
            Some(entry) => {
                writer.note_use(entry, &mut self.luck);
                let plain = entry.plain_digest(key.db, key.hash, origins);
                if let (Some(before), Op::Set(_)) = (plain, &op) {
                    // A SET over a SET, the commonest of all: nothing but digest and length can change.
                    let bytes_before = entry.held_bytes();
                    let changed = entry.merge(op, writer.at, writer.index, writer.source, origins)?;
                    slot.digest ^= before ^ entry.digest(key.db, key.hash, origins);
                    let bytes = entry.held_bytes();
                    if bytes != bytes_before {
                        self.count_bytes(key.db, bytes_before, bytes);
                    }
                    self.tell(key, changed);
                    return Ok(changed);
                }
                let before = look(entry);
                let changed = entry.merge(op, writer.at, writer.index, writer.source, origins)?;
                (before, look(entry), changed)
            }
        };
        if before.footprint != after.footprint {
            self.account(key.db, key.hash, before.footprint, after.footprint);
        }
        if after.footprint.dead.things > 0 {
            let site = Site { db: key.db, slot: place as u8, table_hash };
            self.note_dead(site, writer.at, before.parts, after.parts, removed.filter(|_| changed));
            self.compact_registry(origins);
        }
        self.tell(key, changed);
        Ok(changed)
    }

    fn note_dead(
        &mut self,
        site: Site,
        entry: Version,
        before: DeadParts,
        after: DeadParts,
        removed: Option<CellId<'_>>,
    ) {
        for part in after.into_iter().flatten().filter(|part| !before.contains(&Some(*part))) {
            self.registry.note(part, site.whole());
        }
        if let Some(id) = removed {
            self.registry.note(entry, site.cell(&id));
        }
    }

    /// Merges a flush of one database up to `version`. Returns whether it changed anything.
    pub(crate) fn merge_flush(
        &mut self,
        db: u8,
        version: Version,
        writer: Writer,
        origins: &Origins,
    ) -> Result<bool, TooManyOrigins> {
        self.lasts.note(writer.at);
        let flushed = &mut self.databases[usize::from(db)].flushed;
        // A local transaction's own flush kills what came before it in the transaction, too.
        let local = writer.source == Source::Local && version == writer.at;
        if version < flushed.version || (version == flushed.version && !local) {
            if version == flushed.version {
                flushed.entry = flushed.entry.max(writer.at);
            }
            return Ok(false);
        }
        *flushed = Flushed { version, entry: writer.at };
        let flushed = *flushed;
        let exists = |key: &Key<'_>| self.find(key).is_some_and(|entry| entry.kind().is_some());
        self.watchers.tell_flushed(db, exists);
        let old = self.take_slots(db);
        old.iter().flatten().flat_map(|slot| slot.lasts.iter()).for_each(|entry| self.lasts.note(entry));
        if local {
            drop_aside(old);
        } else {
            for table in old.into_iter().flatten().map(|slot| slot.table) {
                for entry in table {
                    self.outlive(db, entry, flushed, origins);
                }
            }
        }
        Ok(true)
    }

    /// Puts back what is left of an entry after a flush.
    fn outlive(&mut self, db: u8, mut entry: Entry, flushed: Flushed, origins: &Origins) {
        if entry.newest(origins) < flushed.version.timestamp {
            return;
        }
        if entry.reset(origins) <= flushed.version {
            let mut rich = entry.into_rich(origins);
            rich.merge_reset(flushed.version, flushed.entry, Source::Log);
            entry = Entry::of_rich(rich, origins);
        }
        if !entry.is_vacant(flushed.version, origins) {
            self.insert(db, entry, origins);
        }
    }

    /// Puts in an entry that is not there, and notes what is dead of it.
    fn insert(&mut self, db: u8, entry: Entry, origins: &Origins) {
        let hash = key_hash(entry.key());
        let table_hash = self.hasher.hash_one(entry.key());
        let flushed = self.databases[usize::from(db)].flushed.version;
        if entry.dead(flushed, origins).things > 0 {
            let site = Site { db, slot: slot_in_shard(slot_of(hash)) as u8, table_hash };
            let parts = entry.dead_parts(flushed, origins);
            parts.iter().flatten().for_each(|part| self.registry.note(*part, site.whole()));
            for (id, version) in entry.tombstones() {
                self.registry.note(version, site.cell(&id));
            }
        }
        self.put(db, hash, table_hash, entry, origins);
    }

    /// Puts in an entry that is not there, and counts it.
    fn put(&mut self, db: u8, hash: u64, table_hash: u64, entry: Entry, origins: &Origins) {
        let after = Footprint::of(&entry, db, hash, self.flushed(db), origins);
        let place = slot_in_shard(slot_of(hash));
        self.reached.note(place);
        self.put_in(db, place, table_hash, entry);
        self.account(db, hash, Footprint::NONE, after);
    }

    /// Takes an entry out, and uncounts it.
    fn take(&mut self, key: &Key<'_>, origins: &Origins) -> Option<Entry> {
        let database = &mut self.databases[usize::from(key.db)];
        let table = &mut database.slots.as_mut()?[slot_in_shard(key.slot())].table;
        let table_hash = self.hasher.hash_one(key.bytes);
        let entry = table.remove(table_hash, |entry| is_of(entry, key))?;
        let before = Footprint::of(&entry, key.db, key.hash, database.flushed.version, origins);
        self.account(key.db, key.hash, before, Footprint::NONE);
        Some(entry)
    }

    /// Counts what a change has made of a key.
    fn account(&mut self, db: u8, hash: u64, before: Footprint, after: Footprint) {
        self.dead.subtract(before.dead);
        self.dead.add(after.dead);
        self.databases[usize::from(db)].account(hash, before, after);
        self.account.change(before.bytes, after.bytes);
        self.account.tell(self.dead.bytes);
    }

    /// Empties a database's tables, and counts nothing of them any more.
    fn take_slots(&mut self, db: u8) -> Option<Box<[Slot]>> {
        let database = &mut self.databases[usize::from(db)];
        self.dead.subtract(database.dead);
        self.account.change(database.bytes, 0);
        self.account.tell(self.dead.bytes);
        database.take_slots()
    }

    /// Changes a key as a whole.
    fn edit<T>(&mut self, key: &Key<'_>, origins: &Origins, change: impl FnOnce(&mut RichKey) -> T) -> T {
        let flushed = self.databases[usize::from(key.db)].flushed;
        let entry = self.take(key, origins);
        let mut rich =
            entry.map_or_else(|| RichKey::absent(key.bytes, flushed), |entry| entry.into_rich(origins));
        let result = change(&mut rich);
        let entry = Entry::of_rich(rich, origins);
        if !entry.is_vacant(flushed.version, origins) {
            self.insert(key.db, entry, origins);
        }
        self.compact_registry(origins);
        result
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
        let slots = self.databases[usize::from(db)].slots.as_ref().filter(|_| self.reached.has(slot));
        slots.into_iter().flat_map(move |slots| slots[slot_in_shard(slot)].table.iter())
    }

    /// All entries of a database, in no order.
    pub(crate) fn entries(&self, db: u8) -> impl Iterator<Item = &Entry> {
        let slots = self.databases[usize::from(db)].slots.as_ref();
        slots.into_iter().flat_map(|slots| slots.iter()).flat_map(|slot| slot.table.iter())
    }

    /// How many entries, dead ones included, each slot holds.
    pub(crate) fn slot_lengths(&self, db: u8) -> impl Iterator<Item = usize> {
        let slots = self.databases[usize::from(db)].slots.as_ref();
        slots.into_iter().flat_map(|slots| slots.iter().map(|slot| slot.table.len()))
    }

    /// The databases in which expired keys are to be removed.
    pub(crate) fn databases_with_due(&self, due: Due) -> impl Iterator<Item = u8> + '_ {
        let databases = (0..DATABASES).zip(&self.databases);
        databases.filter(move |(_, database)| database.expiries.has_due(due)).map(|(db, _)| db)
    }

    /// The expired keys that are to be removed, at most `limit`, the longest expired first.
    pub(crate) fn due(&self, db: u8, due: Due, limit: usize) -> Vec<Box<[u8]>> {
        let expiries = self.databases[usize::from(db)].expiries.due(due);
        let entries = expiries.flat_map(|(expiry, hash)| self.expiring_at(db, expiry, hash));
        entries.take(limit).map(|entry| entry.key().into()).collect()
    }

    /// Sets `watcher` when the key changes.
    pub(crate) fn watch(&mut self, key: &Key<'_>, watcher: Watcher, had_expired: bool) {
        self.watchers.add(key, watcher, had_expired);
    }

    /// Forgets a watcher of the key.
    pub(crate) fn unwatch(&mut self, key: &Key<'_>, watcher: &Watcher) {
        self.watchers.remove(key, watcher);
    }

    /// Lets who watches the key take it for changed.
    pub(crate) fn tell_watchers(&mut self, key: &Key<'_>) {
        self.watchers.tell(key);
    }

    /// The client waits for elements at the key, behind all others.
    pub(crate) fn wait_at(&mut self, key: &Key<'_>, client: u64) {
        self.waiters.add(key, client);
    }

    /// The client waits at the key no longer.
    pub(crate) fn leave(&mut self, key: &Key<'_>, client: u64) {
        self.waiters.remove(key, client);
    }

    /// The client that waits at the key behind so many others.
    pub(crate) fn waiter(&self, key: &Key<'_>, place: usize) -> Option<u64> {
        self.waiters.nth(key, place)
    }

    /// Those who wait at the key are being served: what changes from now on is told anew.
    pub(crate) fn begin_serving(&mut self, key: &Key<'_>) {
        self.waiters.begin_serving(key);
    }

    /// Whether all that is counted is what is there.
    #[cfg(test)]
    pub(crate) fn check(&self, origins: &Origins) {
        let (mut dead, mut bytes) = (Dead::NONE, 0);
        for (db, database) in (0..DATABASES).zip(&self.databases) {
            let (mut counted, mut digests) = (Database::default(), vec![0; SLOTS_PER_SHARD]);
            for entry in self.entries(db) {
                let hash = key_hash(entry.key());
                let Footprint { bytes, .. } =
                    Footprint::of(entry, db, hash, database.flushed.version, origins);
                let rich = entry.to_rich(origins);
                let tally = rich.tally();
                let entry = Entry::of_rich(rich.recounted(), origins);
                if let super::entry::View::Rich(recounted) = entry.view() {
                    assert_eq!(tally, recounted.tally(), "what cells come to");
                }
                let footprint = Footprint::of(&entry, db, hash, database.flushed.version, origins);
                let footprint = Footprint { bytes, ..footprint };
                digests[slot_in_shard(slot_of(hash))] ^= footprint.digest;
                counted.account(hash, Footprint::NONE, footprint);
            }
            let told: Vec<u64> = database.slots.iter().flatten().map(|slot| slot.digest).collect();
            assert!(told.is_empty() || told == digests, "digests of database {db}");
            assert_eq!(database.live, counted.live, "live keys");
            assert_eq!(database.expiring, counted.expiring, "expiring keys");
            assert_eq!(database.expiries, counted.expiries, "expiries");
            assert_eq!(database.dead.things, counted.dead.things, "dead things");
            assert_eq!(database.bytes, database.table_bytes() + counted.bytes, "bytes of database {db}");
            dead.add(database.dead);
            bytes += database.bytes;
        }
        assert_eq!(self.dead, dead, "what is dead in all databases");
        assert_eq!(self.account.bytes(), bytes, "what keys and tables take");
    }

    fn tell(&mut self, key: &Key<'_>, changed: bool) {
        if changed {
            self.watchers.tell(key);
            self.waiters.tell(key);
        }
    }
}

/// What a change makes of a key of which nothing is known, and whether that is anything.
fn fresh(
    key: &Key<'_>,
    op: Op<'_>,
    writer: Writer,
    flushed: Flushed,
    origins: &Origins,
) -> Result<(Entry, bool), TooManyOrigins> {
    let Writer { at, index, source, .. } = writer;
    Ok(match op {
        // Whole writes need no rich state on the way.
        Op::Set(value) => (Packed::new(key.bytes, Some(&value), at.timestamp, index).into(), true),
        Op::Reset => (Packed::new(key.bytes, None, at.timestamp, index).into(), true),
        op => {
            let mut entry = Entry::absent(key.bytes, flushed, origins)?;
            let changed = entry.merge(op, at, index, source, origins)?;
            (entry, changed)
        }
    })
}

/// What failing memory does, for tests.
#[cfg(any(test, feature = "simulation"))]
impl Shard {
    pub(crate) fn flip_a_bit(&mut self, key: &Key<'_>) -> bool {
        let slots = self.databases[usize::from(key.db)].slots.as_mut();
        let slot = slots.map(|slots| &mut slots[slot_in_shard(key.slot())]);
        let hash = self.hasher.hash_one(key.bytes);
        slot.and_then(|slot| slot.table.find_mut(hash, |entry| is_of(entry, key)))
            .is_some_and(Entry::flip_a_bit)
    }

    pub(crate) fn lose(&mut self, key: &Key<'_>, origins: &Origins) -> bool {
        self.take(key, origins).is_some()
    }
}

/// Merges a change under the locks of its shards. Returns whether it changed anything.
pub(crate) fn merge_change(
    locked: &mut super::LockedShards<'_>,
    change: Change<'_>,
    writer: Writer,
    origins: &Origins,
) -> Result<bool, TooManyOrigins> {
    let (databases, version) = match change.op {
        Op::FlushAll => (0..DATABASES, writer.at),
        Op::FlushDb => (change.db..change.db + 1, writer.at),
        Op::ObservedFlush(version) => (change.db..change.db + 1, version),
        op => {
            let key = Key::new(change.db, &change.key);
            return locked.of_mut(&key).merge(&key, op, writer, origins);
        }
    };
    let mut changed = false;
    for shard in locked.iter_mut() {
        for db in databases.clone() {
            changed |= shard.merge_flush(db, version, writer, origins)?;
        }
    }
    Ok(changed)
}

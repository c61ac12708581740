//! A transaction: the locks that a command holds, its one timestamp, and the changes that it makes.
//!
//! A command reads and writes its keys through this. A write is merged into the store at once, so that what
//! follows sees it, and remembered; at the end all changes are coalesced to one per cell and appended to the log
//! at the transaction's timestamp. MULTI/EXEC runs all its commands in one transaction. Peers merge it whole.
//!
//! Lock order: shards by number, then the log. A writing transaction takes its timestamp first, and judges expiry
//! by it: so no write falls between an expiry and a key that was still seen as alive.

mod coalesce;

mod collection;

mod counter;

mod notify;

mod reissue;

use std::borrow::Cow;

use shared::change::{CHANGE_OVERHEAD_BYTES, CellId, Change, Contribution, Kind, Op, Sum, Value};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::time::WallMillis;
use shared::version::{Frontier, Version};
use smallvec::SmallVec;

use crate::error::CommandError;
use crate::log::{LogStatus, OpenWrite, WriteRefused};
use crate::node::Node;
use crate::notifications::{Class, Notices};
use crate::store::entry::Entry;
use crate::store::key::Key;
use crate::store::origins::{Origins, TooManyOrigins};
use crate::store::rich::{Source, end_of, sum_of};
use crate::store::shard::{Shard, Writer, merge_change};
use crate::store::usage::Usage;
use crate::store::{LockedShards, ShardSet};

pub(crate) use self::collection::End;

/// What happens to a key's TTL when its string is written whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NewTtl {
    /// It goes, as with a plain SET.
    Clear,
    /// It stays.
    Keep,
    /// It is set to this moment.
    At(WallMillis),
}

/// The clocks as a worker read them once for a run of commands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    /// The wall clock.
    pub(crate) wall: WallMillis,
    /// Monotonic microseconds, for pacing and latency.
    pub(crate) mono_us: u64,
}

/// One command's, or one EXEC's, work on the store. `'a` is the life of the arguments, within the node's.
pub(crate) struct Transaction<'a> {
    node: &'a Node,
    locked: LockedShards<'a>,
    write: Option<OpenWrite<'a>>,
    writer: Writer,
    now: WallMillis,
    usage: Usage,
    changes: SmallVec<[Change<'a>; 2]>,
    change_bytes: usize,
    lookups: Lookups,
    notices: Notices,
    /// The key that was cleared last to be written anew: it is the same key still, and not a new one.
    replaced: Option<Key<'a>>,
}

/// How many of the strings that were read were there, and how many not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lookups {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
}

impl<'a> Transaction<'a> {
    /// Begins a transaction on the keys of these shards. One that writes holds the log until it ends.
    pub(crate) fn begin(
        node: &'a Node,
        set: ShardSet,
        clocks: Clocks,
        writes: bool,
    ) -> Result<Self, WriteRefused> {
        if writes && node.is_rewinding() {
            return Err(WriteRefused::Rewinding);
        }
        Self::begin_even_if_rewinding(node, set, clocks, writes)
    }

    /// As [`Transaction::begin`], also while the node's clock is being put back: for what does that.
    pub(crate) fn begin_even_if_rewinding(
        node: &'a Node,
        set: ShardSet,
        clocks: Clocks,
        writes: bool,
    ) -> Result<Self, WriteRefused> {
        if writes && !node.takes_writes() {
            return Err(WriteRefused::NotMet);
        }
        let locked = node.store.lock(set);
        let write = if writes { Some(node.log.begin(clocks.wall)?) } else { None };
        let version = write.as_ref().map_or(Version::ZERO, OpenWrite::version);
        let usage = node.settings.memory.usage(clocks.wall);
        Ok(Self {
            node,
            locked,
            write,
            writer: Writer {
                at: version,
                index: node.own_index(),
                source: Source::Local,
                usage: Some(usage),
            },
            now: node.log.now(clocks.wall).max(version.timestamp.wall()),
            usage,
            changes: SmallVec::new(),
            change_bytes: 0,
            lookups: Lookups::default(),
            notices: Notices::new(node.settings.notified()),
            replaced: None,
        })
    }

    /// The time by which this transaction judges expiry.
    pub(crate) const fn now(&self) -> WallMillis {
        self.now
    }

    /// This transaction's version, if it wrote anything.
    pub(crate) fn written(&self) -> Option<Version> {
        (!self.changes.is_empty()).then_some(self.writer.at)
    }

    /// How the log stands. Handlers ask here, and not the log: an EXEC that writes holds its lock.
    pub(crate) fn log_status(&self) -> LogStatus {
        self.write.as_ref().map_or_else(|| self.node.log.status(), OpenWrite::log_status)
    }

    /// How much log is left for one who holds so much: see [`Log::left_for`](crate::log::Log::left_for).
    pub(crate) fn log_left_for(&self, held: &Frontier) -> u64 {
        let log_retention = self.node.settings.log_retention();
        match &self.write {
            Some(write) => write.log_left_for(held, log_retention),
            None => self.node.log.left_for(held, log_retention),
        }
    }

    /// What reading has found so far.
    pub(crate) const fn lookups(&self) -> Lookups {
        self.lookups
    }

    /// How many changes were made so far.
    pub(crate) fn change_count(&self) -> usize {
        self.changes.len()
    }

    /// The shards that are locked; all of them for commands that range over keys.
    pub(crate) fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.locked.iter()
    }

    /// The shard of a key, for what is no reading or writing of it.
    pub(crate) fn shard_mut(&mut self, key: &Key<'_>) -> &mut Shard {
        self.locked.of_mut(key)
    }

    /// What kind of value the key holds, if it exists.
    pub(crate) fn kind(&self, key: &Key<'_>) -> Option<Kind> {
        self.locked.of(key).find(key)?.visible_kind(self.now)
    }

    /// Whether the key exists.
    pub(crate) fn exists(&self, key: &Key<'_>) -> bool {
        self.kind(key).is_some()
    }

    /// The string that the key holds, if it exists.
    pub(crate) fn string(&self, key: &Key<'_>) -> Result<Option<Cow<'_, [u8]>>, CommandError> {
        let Some(entry) = self.locked.of(key).find(key) else { return Ok(None) };
        match entry.visible_kind(self.now) {
            None => Ok(None),
            Some(Kind::String) => Ok(Some(entry.string())),
            Some(_) => Err(CommandError::WrongType),
        }
    }

    /// As [`Transaction::string`], and notes that a client used the key.
    pub(crate) fn read_string(&mut self, key: &Key<'_>) -> Result<Option<Cow<'_, [u8]>>, CommandError> {
        let now = self.now;
        let is_use = |entry: &Entry| entry.visible_kind(now) == Some(Kind::String);
        let entry = self.locked.of_mut(key).find_used(key, self.usage, is_use);
        let Some(entry) = entry.filter(|entry| entry.visible_kind(now).is_some()) else {
            self.lookups.misses += 1;
            self.notices.note_miss(key);
            return Ok(None);
        };
        self.lookups.hits += 1;
        match entry.kind() {
            None => Ok(None),
            Some(Kind::String) => Ok(Some(entry.string())),
            Some(_) => Err(CommandError::WrongType),
        }
    }

    /// Notes that a client used the key.
    pub(crate) fn touch(&mut self, key: &Key<'_>) {
        self.locked.of_mut(key).find_used(key, self.usage, |_| true);
    }

    /// Lets who watches the key take it for changed, as after some commands that have changed nothing of it.
    pub(crate) fn tell_watchers(&mut self, key: &Key<'_>) {
        self.locked.of_mut(key).tell_watchers(key);
    }

    /// What the key takes of memory, in bytes, versions and tombstones included.
    pub(crate) fn memory(&self, key: &Key<'_>) -> Option<usize> {
        self.kind(key)?;
        self.locked.of(key).find(key).map(Entry::memory)
    }

    /// Where the key lies in memory, for who looks into the process.
    pub(crate) fn place(&self, key: &Key<'_>) -> Option<String> {
        self.kind(key)?;
        self.locked.of(key).find(key).map(|entry| format!("{entry:p}"))
    }

    /// For how many seconds no client has used the key.
    pub(crate) fn idle_seconds(&self, key: &Key<'_>) -> Option<u32> {
        let entry = self.locked.of(key).find(key)?;
        Some(self.usage.idle_seconds(entry.accessed(), self.node.memory.since()))
    }

    /// How often clients use the key, on a scale of 256, about logarithmic.
    pub(crate) fn use_counter(&self, key: &Key<'_>) -> Option<u8> {
        let entry = self.locked.of(key).find(key)?;
        Some(self.usage.counter(entry.accessed(), self.node.memory.since()))
    }

    /// When the key expires, if it does and exists.
    pub(crate) fn expiry(&self, key: &Key<'_>) -> Option<WallMillis> {
        let entry = self.locked.of(key).find(key)?;
        entry.visible_kind(self.now).and_then(|_| entry.expiry())
    }

    /// Whether the key is there only because nobody has removed it since it expired.
    pub(crate) fn has_expired(&self, key: &Key<'_>) -> bool {
        let entry = self.locked.of(key).find(key);
        entry.is_some_and(|entry| entry.kind().is_some() && entry.visible_kind(self.now).is_none())
    }

    /// Refuses what would not fit into this transaction's batch any more, before anything of it is done.
    ///
    /// Commands that make several changes call it first with the sum of their keys' and values' lengths.
    pub(crate) fn reserve(&self, bytes: usize) -> Result<(), CommandError> {
        let limit = self.node.settings.max_change();
        if self.change_bytes.saturating_add(bytes) > limit {
            return Err(CommandError::ChangeTooLarge { limit });
        }
        Ok(())
    }

    /// Writes the key's string whole: whatever it held before is gone.
    pub(crate) fn set(
        &mut self,
        key: &Key<'a>,
        value: impl Into<Cow<'a, [u8]>>,
        ttl: NewTtl,
    ) -> Result<(), CommandError> {
        let expiry = match ttl {
            NewTtl::Clear => None,
            NewTtl::Keep => self.expiry(key),
            NewTtl::At(expiry) => Some(expiry),
        };
        let value = value.into();
        if expiry.is_some() {
            self.reserve(2 * (CHANGE_OVERHEAD_BYTES + key.bytes.len()) + value.len())?;
        }
        self.emit(key, Op::Set(value))?;
        if expiry.is_some() {
            self.emit(key, Op::Expire(expiry))?;
        }
        Ok(())
    }

    /// Writes the key's string in place, its TTL untouched: APPEND, SETRANGE, SETBIT and their like.
    pub(crate) fn write_string(
        &mut self,
        key: &Key<'a>,
        value: impl Into<Cow<'a, [u8]>>,
    ) -> Result<(), CommandError> {
        let value = value.into();
        self.reserve(2 * (CHANGE_OVERHEAD_BYTES + key.bytes.len()) + value.len())?;
        self.begin_afresh(key)?;
        self.emit(key, Op::Cell(CellId::STRING, Some(Value::Bytes(value))))
    }

    /// Adds what is missing to a contribution of an owner's that began at `first`, if it is there still; `last` is the
    /// owner's last increment in it then.
    pub(crate) fn restate(
        &mut self,
        key: &Key<'a>,
        cell: &CellId<'_>,
        first: Timestamp,
        last: Version,
        missing: Sum,
    ) -> Result<(), CommandError> {
        let entry = self.locked.of(key).find(key);
        let Some(held) =
            entry.and_then(|entry| entry.contribution_to(cell, last.origin, &self.node.store.origins))
        else {
            return Ok(());
        };
        let Some(sum) = sum_of(held.sum, missing).filter(|_| held.first == first) else { return Ok(()) };
        let restates = Some(Version::new(last.timestamp.max(held.counted), last.origin));
        let contribution = Contribution { first, sum, restates };
        let cell = CellId { kind: cell.kind, element: Cow::Owned(cell.element.to_vec()) };
        self.emit(key, Op::Count(cell, contribution))
    }

    /// Removes the key, and tells that as an event of its own. Returns whether it existed.
    pub(crate) fn delete(&mut self, key: &Key<'a>) -> Result<bool, CommandError> {
        let existed = self.take_away(key)?;
        if existed {
            self.notify(Class::Generic, "del", key);
        }
        Ok(existed)
    }

    /// Removes the key, as a part of what is told under another name. Returns whether it existed.
    pub(crate) fn take_away(&mut self, key: &Key<'a>) -> Result<bool, CommandError> {
        if !self.exists(key) {
            return Ok(false);
        }
        self.emit(key, Op::Reset)?;
        Ok(true)
    }

    /// Sets or clears when an existing key expires.
    pub(crate) fn expire(&mut self, key: &Key<'a>, expiry: Option<WallMillis>) -> Result<(), CommandError> {
        self.emit(key, Op::Expire(expiry))
    }

    /// Removes every key of the database. All shards must be locked.
    pub(crate) fn flush_db(&mut self, db: u8) -> Result<(), CommandError> {
        self.emit_change(Change::new(db, &b""[..], Op::FlushDb))
    }

    /// Removes every key. All shards must be locked.
    pub(crate) fn flush_all(&mut self) -> Result<(), CommandError> {
        self.emit_change(Change::new(0, &b""[..], Op::FlushAll))
    }

    /// Removes an expired key for good, by a mark that spares what was not seen here.
    pub(crate) fn reap(&mut self, key: &Key<'a>) -> Result<(), CommandError> {
        let Some(entry) = self.locked.of(key).find(key) else { return Ok(()) };
        let Some(expiry) = entry.expiry() else { return Ok(()) };
        if self.now <= expiry {
            return Ok(());
        }
        let above = entry.newest(&self.node.store.origins).next();
        let below_expiry = Timestamp(end_of(expiry).0.saturating_sub(1));
        let reset = Version::new(above.min(below_expiry).min(self.writer.at.timestamp), Origin::NONE);
        // A TTL set after its own expiry, which no command here makes, would outlive the mark, and be marked for ever.
        if entry.ttl(&self.node.store.origins).is_some_and(|ttl| ttl.version >= reset) {
            return Ok(());
        }
        self.emit(key, Op::Mark { reset, expiry })
    }

    /// Removes a key for want of memory, by a reset that spares what was not seen here. Says whether there was anything to
    /// remove.
    pub(crate) fn evict(&mut self, key: &Key<'a>) -> Result<bool, CommandError> {
        let Some(entry) = self.locked.of(key).find(key) else { return Ok(false) };
        if entry.kind().is_none() {
            return Ok(false);
        }
        let has_expired = entry.visible_kind(self.now).is_none();
        let reset = if has_expired {
            self.reset_above(entry)
        } else {
            self.reset_at(entry.newest(&self.node.store.origins).next())
        };
        self.emit(key, Op::ObservedReset(reset))?;
        if !has_expired {
            self.notify(Class::Evicted, "evicted", key);
        }
        Ok(true)
    }

    /// Logs an observed reset if the key is absent but something of it is left, such as expired cells, a TTL or a
    /// tombstone: so that nothing of that clings to what is written next, while writes that nobody here has seen
    /// survive.
    fn begin_afresh(&mut self, key: &Key<'a>) -> Result<(), CommandError> {
        let origins = &self.node.store.origins;
        let Some(entry) = self.locked.of(key).find(key) else { return Ok(()) };
        if entry.visible_kind(self.now).is_some() {
            return Ok(());
        }
        let reset = self.reset_above(entry);
        // A reset lies below what this transaction wrote itself: cells that come again replace those, a TTL would stay.
        let has_own_ttl = entry.ttl(origins).is_some_and(|ttl| ttl.expiry.is_some() && ttl.version > reset);
        if reset > entry.reset(origins) {
            self.emit(key, Op::ObservedReset(reset))?;
        }
        if has_own_ttl { self.expire(key, None) } else { Ok(()) }
    }

    /// The reset above all that is held of a key, at most at this transaction's timestamp.
    fn reset_above(&self, entry: &Entry) -> Version {
        let veiled = entry.expiry().map_or(Timestamp::ZERO, end_of);
        let above = entry.newest(&self.node.store.origins).next().max(veiled).max(entry.mark_end());
        self.reset_at(above)
    }

    fn reset_at(&self, above: Timestamp) -> Version {
        Version::new(above.min(self.writer.at.timestamp), Origin::NONE)
    }

    fn emit(&mut self, key: &Key<'a>, op: Op<'a>) -> Result<(), CommandError> {
        self.emit_by(Change::new(key.db, key.bytes, op), |locked, change, writer, origins| {
            locked.of_mut(key).merge(key, change.op.reborrow(), writer, origins)
        })
    }

    /// As [`Transaction::emit`], of a change of any key, or of all.
    fn emit_change(&mut self, change: Change<'a>) -> Result<(), CommandError> {
        self.emit_by(change, |locked, change, writer, origins| {
            merge_change(locked, change.reborrow(), writer, origins)
        })
    }

    /// Notes a change, which `merge` carries out in the store.
    fn emit_by(
        &mut self,
        change: Change<'a>,
        merge: impl FnOnce(&mut LockedShards<'_>, &Change<'a>, Writer, &Origins) -> Result<bool, TooManyOrigins>,
    ) -> Result<(), CommandError> {
        debug_assert!(self.write.is_some(), "a command that writes says so in its row");
        let bytes = change.encoded_bytes_max();
        self.reserve(bytes)?;
        let foreseen = self.foresee(&change);
        let writer = self.writer_of(change.db, &change.key);
        merge(&mut self.locked, &change, writer, &self.node.store.origins)?;
        if let Some(foreseen) = foreseen {
            self.note_foreseen(&foreseen, &change);
        }
        self.note_change(change, bytes);
        Ok(())
    }

    /// Notes a change that is merged, and takes at most so many bytes in the log.
    fn note_change(&mut self, change: Change<'a>, bytes: usize) {
        self.change_bytes += bytes;
        self.changes.push(change);
    }

    /// The writer, whose use of the key may have been counted already: by the change before this one.
    fn writer_of(&self, db: u8, key: &[u8]) -> Writer {
        let counts = self.usage.frequency.is_some();
        if counts && self.changes.last().is_some_and(|last| last.db == db && *last.key == *key) {
            return self.writer.again();
        }
        self.writer
    }

    /// Ends the transaction: its changes go to the log as one.
    pub(crate) fn commit(mut self) {
        if self.changes.len() > 1 {
            self.changes = coalesce::coalesce(self.changes);
        }
        if let Some(write) = self.write.take()
            && !self.changes.is_empty()
        {
            write.append(&self.changes);
        }
    }
}

//! What a table holds for a key.
//!
//! Nearly all keys of a store are strings written whole, or tombstones of such, or small collections and counters. Those
//! are packed into one allocation; everything else is a [`RichKey`]. The two are the same state in different clothes.

mod held;

mod packed;

#[allow(unsafe_code, reason = "see there")]
mod word;

use std::borrow::Cow;

use shared::change::{CellId, Kind, Op, Value};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::time::WallMillis;
use shared::version::{Frontier, Version};

use super::account::allocated;
use super::block::BlockCell;
use super::collection::Collection;
use super::dead::{Dead, DeadParts};
use super::digest;
use super::key::Key;
use super::origins::{OriginIndex, Origins, TooManyOrigins};
use super::rich::{Cell, OwnContribution, RichKey, Source, Ttl, end_of};
use super::shard::Flushed;
use super::usage::{Accessed, Usage};

pub(crate) use self::held::Held;
pub(crate) use self::packed::{CellChange, Count, PackedCells, Put};
pub(crate) use self::word::{Entry, Form, Packed, View, ViewMut};

impl Entry {
    /// A key of which nothing is known yet, but that a flush up to `flushed` went over it.
    pub(crate) fn absent(key: &[u8], flushed: Flushed, origins: &Origins) -> Result<Self, TooManyOrigins> {
        if flushed.version != flushed.entry {
            return Ok(Box::new(RichKey::absent(key, flushed)).into());
        }
        let index = origins.intern(flushed.version.origin)?;
        Ok(Packed::new(key, None, flushed.version.timestamp, index).into())
    }

    pub(crate) fn key(&self) -> &[u8] {
        match self.view() {
            View::Packed(packed) => packed.key(),
            View::Rich(rich) => &rich.key,
        }
    }

    pub(crate) fn ttl(&self, origins: &Origins) -> Option<Ttl> {
        match self.view() {
            View::Packed(packed) => packed.ttl(origins),
            View::Rich(rich) => rich.ttl,
        }
    }

    /// When the key expires, if it does.
    pub(crate) fn expiry(&self) -> Option<WallMillis> {
        match self.view() {
            View::Packed(packed) => packed.expiry(),
            View::Rich(rich) => rich.ttl.and_then(|ttl| ttl.expiry),
        }
    }

    /// Whether this node has given the key its TTL, in this run or one before.
    pub(crate) fn is_ttl_own(&self, origins: &Origins) -> bool {
        match self.view() {
            View::Packed(packed) => packed.ttl_author().is_some_and(|author| origins.is_own(author)),
            View::Rich(rich) => {
                let author = rich.ttl.and_then(|ttl| origins.find(ttl.version.origin));
                author.is_some_and(|author| origins.is_own(author))
            }
        }
    }

    /// The kind that clients see but for expiry, which is judged by the reader's clock.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self.view() {
            View::Packed(packed) => packed.kind(),
            View::Rich(rich) => rich.kind(),
        }
    }

    /// The kind that clients see at `now`.
    pub(crate) fn visible_kind(&self, now: WallMillis) -> Option<Kind> {
        if self.expiry().is_some_and(|expiry| now > expiry) { None } else { self.kind() }
    }

    /// What it takes of memory, its place in the table included, in bytes, as far as it can be told without the allocator.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>() + self.held_bytes()
    }

    /// As [`Entry::memory`], without its place in the table.
    #[inline(always)]
    pub(crate) fn held_bytes(&self) -> usize {
        match self.view() {
            View::Packed(packed) => allocated(packed.memory()),
            View::Rich(rich) => rich.memory(),
        }
    }

    /// The string's bytes. The caller has seen that the visible kind is a string.
    pub(crate) fn string(&self) -> Cow<'_, [u8]> {
        match self.view() {
            View::Packed(packed) => match packed.cells() {
                None => match packed.count() {
                    Some(count) => Cow::Owned(text_of(count)),
                    None => Cow::Borrowed(packed.value()),
                },
                Some(_) => match self.cell_value(&CellId::STRING) {
                    Some(Value::Bytes(bytes)) => bytes,
                    _ => Cow::default(),
                },
            },
            View::Rich(rich) => rich.string().unwrap_or_default(),
        }
    }

    /// What clients see of a cell, apart from expiry.
    pub(crate) fn cell_value(&self, id: &CellId<'_>) -> Option<Value<'_>> {
        match self.view() {
            View::Packed(packed) => match packed.cells() {
                Some(cells) => cells.get(id)?.cell(&cells.block).into_value(None),
                None if packed.is_tombstone() || *id != CellId::STRING => None,
                None => match packed.count() {
                    Some(count) => Some(Value::Bytes(Cow::Owned(text_of(count)))),
                    None => Some(Value::Bytes(Cow::Borrowed(packed.value()))),
                },
            },
            View::Rich(rich) => rich.cell_value(id),
        }
    }

    /// What is known of a cell, but for that of a string written whole.
    pub(crate) fn cell(&self, id: &CellId<'_>, origins: &Origins) -> Option<Cell<'_>> {
        match self.view() {
            View::Packed(packed) => match packed.cells() {
                Some(cells) => Some(cells.get(id)?.cell(&cells.block)),
                None => packed.count().filter(|_| id.kind == Kind::String).map(|count| count.cell(origins)),
            },
            View::Rich(rich) => rich.cell(id),
        }
    }

    /// The elements of this kind. The caller has seen that it is the visible one.
    pub(crate) fn collection(&self, kind: Kind) -> Option<Collection<'_>> {
        match self.view() {
            View::Packed(packed) => Some(Collection::packed(packed.cells()?, kind)),
            View::Rich(rich) => Some(Collection::rich(rich, kind)),
        }
    }

    pub(crate) fn reset(&self, origins: &Origins) -> Version {
        match self.view() {
            View::Packed(packed) => packed.version(origins),
            View::Rich(rich) => rich.reset,
        }
    }

    /// The log entry that made the key's reset, or its mark.
    pub(crate) fn reset_entry(&self, origins: &Origins) -> Version {
        match self.view() {
            View::Packed(packed) => packed.reset_entry(origins),
            View::Rich(rich) => rich.mark.map_or(rich.reset_entry, |mark| mark.entry),
        }
    }

    /// The newest timestamp held for the key, or a later one.
    pub(crate) fn newest(&self, origins: &Origins) -> Timestamp {
        match self.view() {
            View::Packed(packed) => {
                let ttl = packed.ttl(origins).map_or(Timestamp::ZERO, |ttl| ttl.version.timestamp);
                packed.timestamp().max(ttl).max(packed.newest_cell())
            }
            View::Rich(rich) => rich.newest(),
        }
    }

    /// The first timestamp that a standing mark does not hide.
    pub(crate) fn mark_end(&self) -> Timestamp {
        match self.view() {
            View::Packed(_) => Timestamp::ZERO,
            View::Rich(rich) => rich.mark.map_or(Timestamp::ZERO, |mark| end_of(mark.expiry)),
        }
    }

    /// What `origin` has added to a cell, hidden or not.
    pub(crate) fn contribution_to(
        &self,
        cell: &CellId<'_>,
        origin: Origin,
        origins: &Origins,
    ) -> Option<OwnContribution> {
        self.cell(cell, origins)?.contribution_of(origin)
    }

    /// When it was last used, or how often it is: see [`usage`](super::usage).
    pub(crate) fn accessed(&self) -> Accessed {
        match self.view() {
            View::Packed(packed) => packed.accessed(),
            View::Rich(rich) => rich.accessed,
        }
    }

    /// Notes that a client used it. `random` is drawn if that takes luck.
    pub(crate) fn note_use(&mut self, usage: Usage, random: impl FnOnce() -> u64) {
        let noted = usage.noted(self.accessed(), random);
        self.set_accessed(noted);
    }

    fn set_accessed(&mut self, accessed: Accessed) {
        match self.view_mut() {
            ViewMut::Packed(packed) => packed.set_accessed(accessed),
            ViewMut::Rich(rich) => rich.accessed = accessed,
        }
    }

    /// Whether nothing but a flush, which the shard remembers, is left of the key.
    pub(crate) fn is_vacant(&self, flushed: Version, origins: &Origins) -> bool {
        match self.view() {
            View::Packed(packed) => {
                packed.is_tombstone()
                    && !packed.has_ttl()
                    && packed.timestamp() <= flushed.timestamp
                    && packed.version(origins) <= flushed
            }
            View::Rich(rich) => {
                rich.cells.is_empty() && rich.ttl.is_none() && rich.mark.is_none() && rich.reset <= flushed
            }
        }
    }

    /// Merges a change whose version is `at` and whose origin has this number. Returns whether it changed
    /// anything.
    pub(crate) fn merge(
        &mut self,
        op: Op<'_>,
        at: Version,
        index: OriginIndex,
        source: Source,
        origins: &Origins,
    ) -> Result<bool, TooManyOrigins> {
        if let ViewMut::Packed(packed) = self.view_mut() {
            if let Some(changed) = packed.merge(&op, at, index, source, origins) {
                return Ok(changed);
            }
            *self = Box::new(packed.to_rich(origins)).into();
        }
        let ViewMut::Rich(rich) = self.view_mut() else {
            unreachable!("packed entries were made rich above")
        };
        let changed = rich.merge(op, at, source);
        if let Some(packed) = Packed::of(rich, origins)? {
            *self = packed.into();
        }
        Ok(changed)
    }

    /// In packed form if there is one. Never fails: with too many origins the key simply stays as it is.
    pub(crate) fn of_rich(rich: RichKey, origins: &Origins) -> Self {
        match Packed::of(&rich, origins) {
            Ok(Some(packed)) => packed.into(),
            Ok(None) | Err(TooManyOrigins) => Box::new(rich).into(),
        }
    }

    /// As a whole, for what needs every rule or every part of the state.
    pub(crate) fn into_rich(self, origins: &Origins) -> RichKey {
        match self.into_form() {
            Form::Packed(packed) => packed.to_rich(origins),
            Form::Rich(rich) => *rich,
        }
    }

    /// What the key adds to its slot's digest: see [`digest`].
    pub(crate) fn digest(&self, db: u8, hash: u64, origins: &Origins) -> u64 {
        if let Some(plain) = self.plain_digest(db, hash, origins) {
            return plain;
        }
        let (live, cells, ttl) = match self.view() {
            View::Packed(packed) if packed.is_tombstone() => (false, 0, packed.ttl(origins)),
            View::Packed(packed) => match packed.cells() {
                Some(cells) => (cells.len() > 0, cells.digest(), packed.ttl(origins)),
                None if let Some(count) = packed.count() => {
                    (true, count.digest(origins), packed.ttl(origins))
                }
                None => {
                    let version = packed.version(origins);
                    (true, digest::cell(Kind::String, &[], version), packed.ttl(origins))
                }
            },
            View::Rich(rich) => (rich.kind().is_some(), rich.tally().digest, rich.ttl),
        };
        match ttl.filter(|ttl| ttl.expiry.is_some()) {
            Some(ttl) => digest::key(db, hash, cells ^ digest::ttl(ttl.version)),
            None if live => digest::key(db, hash, cells),
            None => 0,
        }
    }

    /// As [`Entry::digest`], if it is a live string written whole, which has no TTL and nothing dead.
    pub(crate) fn plain_digest(&self, db: u8, hash: u64, origins: &Origins) -> Option<u64> {
        match self.view() {
            View::Packed(packed) if packed.is_plain() => {
                let version = packed.version(origins);
                Some(digest::key(db, hash, digest::cell(Kind::String, &[], version)))
            }
            _ => None,
        }
    }

    /// As [`Entry::digest`], of values and the expiry, too.
    pub(crate) fn deep_digest(&self, db: u8, hash: u64, origins: &Origins) -> u64 {
        let cells = match self.view() {
            View::Packed(packed) if packed.is_tombstone() => 0,
            View::Packed(packed) => match packed.cells() {
                Some(cells) => {
                    cells.iter().fold(0, |parts, (id, cell)| parts ^ digest::deep_part(&id, &cell, None))
                }
                None if let Some(count) = packed.count() => {
                    digest::deep_part(&CellId::STRING, &count.cell(origins), None)
                }
                None => {
                    let part = digest::cell(Kind::String, &[], packed.version(origins));
                    digest::with_bytes(part, packed.value())
                }
            },
            View::Rich(rich) => rich.deep_parts(),
        };
        let ttl = self.ttl(origins).and_then(|ttl| Some((ttl.version, ttl.expiry?)));
        match ttl {
            Some((version, expiry)) => {
                digest::key(db, hash, cells ^ digest::with_expiry(digest::ttl(version), expiry.0))
            }
            None if self.kind().is_some() => digest::key(db, hash, cells),
            None => 0,
        }
    }

    /// What is dead of it.
    pub(crate) fn dead(&self, flushed: Version, origins: &Origins) -> Dead {
        match self.view() {
            View::Packed(packed) => packed.dead(flushed, origins),
            View::Rich(rich) => {
                let parts = rich.dead_parts(flushed).iter().flatten().count();
                let mut dead = rich.tally().dead;
                dead.things += parts;
                if rich.kind().is_none() && self.expiry().is_none() {
                    dead.bytes += size_of::<Self>() + size_of::<RichKey>() + rich.key.len();
                }
                dead
            }
        }
    }

    /// The log entries of what is dead of the key as a whole.
    pub(crate) fn dead_parts(&self, flushed: Version, origins: &Origins) -> DeadParts {
        match self.view() {
            View::Packed(packed) => packed.dead_parts(flushed, origins),
            View::Rich(rich) => rich.dead_parts(flushed),
        }
    }

    /// The version of the cell's removal, if it was removed.
    pub(crate) fn tombstone(&self, id: &CellId<'_>) -> Option<Version> {
        match self.view() {
            View::Packed(packed) => {
                let cell = packed.cells()?.get(id)?;
                cell.is_tombstone().then(|| cell.base_version())
            }
            View::Rich(rich) => rich.tombstone(id),
        }
    }

    /// Drops the tombstone of a cell if `stable` covers it: then nothing older can arrive any more. Says whether it did.
    pub(crate) fn drop_tombstone(&mut self, id: &CellId<'_>, stable: &Frontier, origins: &Origins) -> bool {
        match self.view_mut() {
            ViewMut::Packed(packed) => {
                let tombstone =
                    packed.cells().and_then(|cells| cells.get(id)).filter(BlockCell::is_tombstone);
                let is_stable = tombstone.is_some_and(|cell| stable.covers(cell.base_version()));
                if is_stable {
                    packed.drop_tombstone(id);
                }
                is_stable
            }
            ViewMut::Rich(rich) => {
                let is_dropped = rich.drop_tombstone(id, stable);
                if is_dropped && let Ok(Some(packed)) = Packed::of(rich, origins) {
                    *self = packed.into();
                }
                is_dropped
            }
        }
    }

    /// The cells that are tombstones.
    pub(crate) fn tombstones(&self) -> Vec<(CellId<'_>, Version)> {
        match self.view() {
            View::Packed(packed) => {
                let cells = packed.cells().into_iter().flat_map(|cells| cells.block.iter());
                let dead = cells.filter(BlockCell::is_tombstone);
                dead.map(|cell| (cell.id(), cell.base_version())).collect()
            }
            View::Rich(rich) => rich.tombstones().collect(),
        }
    }

    /// As a whole, leaving it as it is.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn to_rich(&self, origins: &Origins) -> RichKey {
        match self.view() {
            View::Packed(packed) => packed.to_rich(origins),
            View::Rich(rich) => rich.clone(),
        }
    }
}

#[cfg(any(test, feature = "simulation"))]
impl Entry {
    /// Flips a bit of the string, as failing memory does. Says whether it holds one.
    pub(crate) fn flip_a_bit(&mut self) -> bool {
        match self.view_mut() {
            ViewMut::Packed(packed) => packed.flip_a_bit(),
            ViewMut::Rich(rich) => {
                let mut is_flipped = false;
                rich.cells.change_all(|_, cell| {
                    if !is_flipped
                        && let Some((_, Some(Value::Bytes(bytes)))) = &mut cell.base
                        && let Some(byte) = bytes.to_mut().first_mut()
                    {
                        *byte ^= 1;
                        is_flipped = true;
                    }
                });
                is_flipped
            }
        }
    }
}

/// What a client sees of a counter.
fn text_of(count: Count) -> Vec<u8> {
    itoa::Buffer::new().format(count.sum).as_bytes().to_vec()
}

/// Whether `entry` is the key's.
pub(crate) fn is_of(entry: &Entry, key: &Key<'_>) -> bool {
    entry.key() == key.bytes
}

//! What a table holds for a key.
//!
//! Nearly all keys of a store are strings written whole, or tombstones of such. Those are packed into one
//! allocation; everything else is a [`RichKey`]. The two are the same state in different clothes: a packed
//! entry is a key whose reset is its string's version, with no mark and no contribution.
//!
//! ```text
//!  0        8       10      11         12        16       (20)          (38)
//!  | timestamp | origin | flags | key len | accessed | (key len) | (ttl)    | key | value |
//!  ttl = expiry in milliseconds 8, timestamp 8, origin 2; present by flag
//!  key len = one byte at 11, or four at 16 by flag
//! ```

use std::borrow::Cow;

use shared::change::{CellId, Kind, Op};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::time::WallMillis;
use shared::version::{Frontier, Version};

use super::dead::{Dead, DeadParts};
use super::digest;
use super::key::Key;
use super::origins::{OriginIndex, Origins, TooManyOrigins};
use super::rich::{Cell, CellValue, OwnContribution, RichKey, Source, Tally, Ttl, end_of};
use super::shard::Flushed;

/// The state of one key.
#[derive(Debug)]
pub(crate) enum Entry {
    Packed(Packed),
    Rich(Box<RichKey>),
}

const _: () = assert!(size_of::<Entry>() == 16, "two words per key in the tables");

impl Entry {
    /// A key of which nothing is known yet, but that a flush up to `flushed` went over it.
    pub(crate) fn absent(key: &[u8], flushed: Flushed) -> Self {
        Self::Rich(Box::new(RichKey::absent(key, flushed)))
    }

    pub(crate) fn key(&self) -> &[u8] {
        match self {
            Self::Packed(packed) => packed.key(),
            Self::Rich(rich) => &rich.key,
        }
    }

    pub(crate) fn ttl(&self, origins: &Origins) -> Option<Ttl> {
        match self {
            Self::Packed(packed) => packed.ttl(origins),
            Self::Rich(rich) => rich.ttl,
        }
    }

    /// When the key expires, if it does.
    pub(crate) fn expiry(&self) -> Option<WallMillis> {
        match self {
            Self::Packed(packed) => packed.expiry(),
            Self::Rich(rich) => rich.ttl.and_then(|ttl| ttl.expiry),
        }
    }

    /// The kind that clients see but for expiry, which is judged by the reader's clock.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self {
            Self::Packed(packed) => (!packed.is_tombstone()).then_some(Kind::String),
            Self::Rich(rich) => rich.kind(),
        }
    }

    /// The kind that clients see at `now`.
    pub(crate) fn visible_kind(&self, now: WallMillis) -> Option<Kind> {
        if self.expiry().is_some_and(|expiry| now > expiry) { None } else { self.kind() }
    }

    /// The string's bytes. The caller has seen that the visible kind is a string.
    pub(crate) fn string(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Packed(packed) => Cow::Borrowed(packed.value()),
            Self::Rich(rich) => rich.string().unwrap_or_default(),
        }
    }

    /// What clients see of a cell, apart from expiry.
    pub(crate) fn cell_value(&self, id: &CellId<'_>) -> Option<CellValue> {
        match self {
            Self::Packed(packed) if packed.is_tombstone() || *id != CellId::STRING => None,
            Self::Packed(packed) => Some(CellValue::Bytes(packed.value().to_vec())),
            Self::Rich(rich) => rich.cell_value(id),
        }
    }

    pub(crate) fn reset(&self, origins: &Origins) -> Version {
        match self {
            Self::Packed(packed) => packed.version(origins),
            Self::Rich(rich) => rich.reset,
        }
    }

    /// The newest timestamp held for the key.
    pub(crate) fn newest(&self, origins: &Origins) -> Timestamp {
        match self {
            Self::Packed(packed) => {
                let ttl = packed.ttl(origins).map_or(Timestamp::ZERO, |ttl| ttl.version.timestamp);
                packed.timestamp().max(ttl)
            }
            Self::Rich(rich) => rich.newest(),
        }
    }

    /// The first timestamp that a standing mark does not hide.
    pub(crate) fn mark_end(&self) -> Timestamp {
        match self {
            Self::Packed(_) => Timestamp::ZERO,
            Self::Rich(rich) => rich.mark.map_or(Timestamp::ZERO, |mark| end_of(mark.expiry)),
        }
    }

    /// Whether the string was written, or the key reset, at exactly this version.
    pub(crate) fn written_at(&self, version: Version, origins: &Origins) -> bool {
        match self {
            Self::Packed(packed) => {
                packed.timestamp() == version.timestamp && packed.version(origins) == version
            }
            Self::Rich(rich) => rich.written_at(version),
        }
    }

    /// What `origin` has added to the string, if an increment of its would go on from there.
    pub(crate) fn contribution(&self, origin: Origin) -> Option<OwnContribution> {
        match self {
            Self::Packed(_) => None,
            Self::Rich(rich) => rich.contribution(origin),
        }
    }

    pub(crate) fn accessed(&self) -> u32 {
        match self {
            Self::Packed(packed) => packed.accessed(),
            Self::Rich(rich) => rich.accessed,
        }
    }

    pub(crate) fn set_accessed(&mut self, accessed: u32) {
        match self {
            Self::Packed(packed) => packed.set_accessed(accessed),
            Self::Rich(rich) => rich.accessed = accessed,
        }
    }

    /// Whether nothing but a flush, which the shard remembers, is left of the key.
    pub(crate) fn is_vacant(&self, flushed: Version, origins: &Origins) -> bool {
        match self {
            Self::Packed(packed) => {
                packed.is_tombstone()
                    && !packed.has_ttl()
                    && packed.timestamp() <= flushed.timestamp
                    && packed.version(origins) <= flushed
            }
            Self::Rich(rich) => {
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
        if let Self::Packed(packed) = self {
            if let Some(changed) = packed.merge(&op, at, index, source, origins) {
                return Ok(changed);
            }
            *self = Self::Rich(Box::new(packed.to_rich(origins)));
        }
        let Self::Rich(rich) = self else { unreachable!("packed entries were made rich above") };
        let changed = rich.merge(op, at, source);
        if let Some(packed) = Packed::of(rich, origins)? {
            *self = Self::Packed(packed);
        }
        Ok(changed)
    }

    /// In packed form if there is one. Never fails: with too many origins the key simply stays as it is.
    pub(crate) fn of_rich(rich: RichKey, origins: &Origins) -> Self {
        match Packed::of(&rich, origins) {
            Ok(Some(packed)) => Self::Packed(packed),
            Ok(None) | Err(TooManyOrigins) => Self::Rich(Box::new(rich)),
        }
    }

    /// As a whole, for what needs every rule or every part of the state.
    pub(crate) fn into_rich(self, origins: &Origins) -> RichKey {
        match self {
            Self::Packed(packed) => packed.to_rich(origins),
            Self::Rich(rich) => *rich,
        }
    }

    /// What the key adds to its slot's digest: see [`digest`].
    pub(crate) fn digest(&self, db: u8, hash: u64, origins: &Origins) -> u64 {
        let (live, cells, ttl) = match self {
            Self::Packed(packed) if packed.is_tombstone() => (false, 0, packed.ttl(origins)),
            Self::Packed(packed) => {
                let version = packed.version(origins);
                (true, digest::cell(Kind::String, &[], version), packed.ttl(origins))
            }
            Self::Rich(rich) => (rich.tally().live > 0, rich.tally().digest, rich.ttl),
        };
        match ttl.filter(|ttl| ttl.expiry.is_some()) {
            Some(ttl) => digest::key(db, hash, cells ^ digest::ttl(ttl.version)),
            None if live => digest::key(db, hash, cells),
            None => 0,
        }
    }

    /// As [`Entry::digest`], of values and the expiry, too.
    pub(crate) fn deep_digest(&self, db: u8, hash: u64, origins: &Origins) -> u64 {
        let cells = match self {
            Self::Packed(packed) if packed.is_tombstone() => 0,
            Self::Packed(packed) => {
                let part = digest::cell(Kind::String, &[], packed.version(origins));
                digest::with_bytes(part, packed.value())
            }
            Self::Rich(rich) => rich.deep_parts(),
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
    pub(crate) fn dead(&self, flushed: Version) -> Dead {
        match self {
            Self::Packed(packed) => packed.dead(),
            Self::Rich(rich) => {
                let parts = rich.dead_parts(flushed).iter().flatten().count();
                let Tally { live, mut dead, .. } = rich.tally();
                dead.things += parts;
                if live == 0 && self.expiry().is_none() {
                    dead.bytes += size_of::<Self>() + size_of::<RichKey>() + rich.key.len();
                }
                dead
            }
        }
    }

    /// The log entries of what is dead of the key as a whole.
    pub(crate) fn dead_parts(&self, flushed: Version, origins: &Origins) -> DeadParts {
        match self {
            Self::Packed(packed) => packed.dead_parts(origins),
            Self::Rich(rich) => rich.dead_parts(flushed),
        }
    }

    /// As a whole, leaving it as it is.
    pub(crate) fn to_rich(&self, origins: &Origins) -> RichKey {
        match self {
            Self::Packed(packed) => packed.to_rich(origins),
            Self::Rich(rich) => (**rich).clone(),
        }
    }
}

#[cfg(any(test, feature = "simulation"))]
impl Entry {
    /// Flips a bit of the string, as failing memory does. Says whether it holds one.
    pub(crate) fn flip_a_bit(&mut self) -> bool {
        match self {
            Self::Packed(packed) if !packed.value().is_empty() => {
                let at = packed.value_start();
                packed.0[at] ^= 1;
                true
            }
            _ => false,
        }
    }
}

/// A string written whole, or its tombstone, in one allocation. See the module's documentation for its bytes.
#[derive(Debug)]
pub(crate) struct Packed(Box<[u8]>);

const HEADER_BYTES: usize = 16;
const LONG_KEY_BYTES: usize = 4;
const TTL_BYTES: usize = 18;

const TOMBSTONE: u8 = 1;
const HAS_TTL: u8 = 2;
const LONG_KEY: u8 = 4;

/// A TTL register that says: does not expire.
const NO_EXPIRY: u64 = u64::MAX;

#[derive(Clone, Copy)]
struct PackedTtl {
    expiry: u64,
    timestamp: u64,
    origin: u16,
}

impl Packed {
    /// A string, or a tombstone if there is no value.
    pub(crate) fn new(key: &[u8], value: Option<&[u8]>, timestamp: Timestamp, origin: OriginIndex) -> Self {
        Self::build(key, value, timestamp, origin, None, 0)
    }

    fn build(
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: Timestamp,
        origin: OriginIndex,
        ttl: Option<PackedTtl>,
        accessed: u32,
    ) -> Self {
        let long = key.len() > usize::from(u8::MAX);
        let length = HEADER_BYTES
            + if long { LONG_KEY_BYTES } else { 0 }
            + if ttl.is_some() { TTL_BYTES } else { 0 }
            + key.len()
            + value.map_or(0, <[u8]>::len);
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(&timestamp.0.to_le_bytes());
        bytes.extend_from_slice(&origin.0.to_le_bytes());
        bytes.push(
            if value.is_none() { TOMBSTONE } else { 0 }
                | if ttl.is_some() { HAS_TTL } else { 0 }
                | if long { LONG_KEY } else { 0 },
        );
        bytes.push(if long { 0 } else { key.len() as u8 });
        bytes.extend_from_slice(&accessed.to_le_bytes());
        if long {
            bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        }
        if let Some(ttl) = ttl {
            bytes.extend_from_slice(&ttl.expiry.to_le_bytes());
            bytes.extend_from_slice(&ttl.timestamp.to_le_bytes());
            bytes.extend_from_slice(&ttl.origin.to_le_bytes());
        }
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value.unwrap_or_default());
        Self(bytes.into_boxed_slice())
    }

    /// The packed form of a rich key, if it has one.
    fn of(rich: &RichKey, origins: &Origins) -> Result<Option<Self>, TooManyOrigins> {
        if rich.mark.is_some() || rich.reset_entry != rich.reset || rich.reset == Version::ZERO {
            return Ok(None);
        }
        let value = match &rich.cells[..] {
            [] => None,
            [(id, Cell { base: Some((version, Some(CellValue::Bytes(bytes)))), contributions })]
                if id.kind == Kind::String && *version == rich.reset && contributions.is_empty() =>
            {
                Some(&bytes[..])
            }
            _ => return Ok(None),
        };
        let ttl = match rich.ttl {
            None => None,
            Some(ttl) => Some(PackedTtl {
                expiry: ttl.expiry.map_or(NO_EXPIRY, |expiry| expiry.0),
                timestamp: ttl.version.timestamp.0,
                origin: origins.intern(ttl.version.origin)?.0,
            }),
        };
        let origin = origins.intern(rich.reset.origin)?;
        Ok(Some(Self::build(&rich.key, value, rich.reset.timestamp, origin, ttl, rich.accessed)))
    }

    fn to_rich(&self, origins: &Origins) -> RichKey {
        let version = self.version(origins);
        let cells = if self.is_tombstone() {
            Vec::new()
        } else {
            let value = CellValue::Bytes(self.value().to_vec());
            vec![(CellId::STRING, Cell { base: Some((version, Some(value))), contributions: Vec::new() })]
        };
        let mut rich = RichKey::of_cells(self.key(), cells);
        rich.reset = version;
        rich.reset_entry = version;
        rich.ttl = self.ttl(origins);
        rich.accessed = self.accessed();
        rich
    }

    fn dead(&self) -> Dead {
        if self.flags() & (TOMBSTONE | HAS_TTL) == 0 {
            return Dead::NONE;
        }
        let never_expires = self.has_ttl() && self.expiry().is_none();
        let things = usize::from(self.is_tombstone()) + usize::from(never_expires);
        let bytes = match (self.is_tombstone(), self.has_ttl(), never_expires) {
            (true, false, _) | (true, true, true) => size_of::<Entry>() + self.0.len(),
            (false, _, true) => TTL_BYTES,
            _ => 0,
        };
        Dead { things, bytes }
    }

    /// Without what is dead and covered by `stable`; none if nothing is left.
    ///
    /// A tombstone stays as long as a TTL register does, which has no place of its own.
    pub(crate) fn without_stable(self, stable: &Frontier, origins: &Origins) -> Option<Self> {
        let never_expires = self.ttl(origins).filter(|ttl| ttl.expiry.is_none());
        let kept = if never_expires.is_some_and(|ttl| stable.covers(ttl.version)) {
            let value = (!self.is_tombstone()).then(|| self.value());
            Self::build(self.key(), value, self.timestamp(), self.origin(), None, self.accessed())
        } else {
            self
        };
        let goes = kept.is_tombstone() && !kept.has_ttl() && stable.covers(kept.version(origins));
        (!goes).then_some(kept)
    }

    fn dead_parts(&self, origins: &Origins) -> DeadParts {
        let never_expires = self.has_ttl() && self.expiry().is_none();
        let ttl = self.ttl(origins).filter(|_| never_expires);
        let reset = self.is_tombstone().then(|| self.version(origins));
        [reset, ttl.map(|ttl| ttl.version), None]
    }

    /// Merges what can be merged in packed form; none if that needs the rich one.
    fn merge(
        &mut self,
        op: &Op<'_>,
        at: Version,
        index: OriginIndex,
        source: Source,
        origins: &Origins,
    ) -> Option<bool> {
        let value = match op {
            Op::Set(value) => Some(&**value),
            Op::Reset => None,
            Op::Expire(expiry) => {
                return Some(self.merge_ttl(Ttl { version: at, expiry: *expiry }, index, source, origins));
            }
            _ => return None,
        };
        if source == Source::Log {
            // A write of the very version held is a part of the same transaction: the reset's, or the cell's.
            // The rich rules tell which.
            let held = self.version(origins);
            if at < held {
                return Some(false);
            }
            if at == held {
                return None;
            }
        }
        let ttl = self
            .packed_ttl()
            .filter(|_| source == Source::Log)
            .filter(|ttl| origins.version(Timestamp(ttl.timestamp), OriginIndex(ttl.origin)) >= at);
        self.write(value, at.timestamp, index, ttl);
        Some(true)
    }

    fn write(
        &mut self,
        value: Option<&[u8]>,
        timestamp: Timestamp,
        origin: OriginIndex,
        ttl: Option<PackedTtl>,
    ) {
        let start = self.value_start();
        let same_shape = ttl.is_none()
            && self.flags() & (HAS_TTL | TOMBSTONE) == 0
            && value.is_some_and(|value| self.0.len() == start + value.len());
        if same_shape && let Some(value) = value {
            self.0[..8].copy_from_slice(&timestamp.0.to_le_bytes());
            self.0[8..10].copy_from_slice(&origin.0.to_le_bytes());
            self.0[start..].copy_from_slice(value);
        } else {
            *self = Self::build(self.key(), value, timestamp, origin, ttl, self.accessed());
        }
    }

    fn merge_ttl(&mut self, ttl: Ttl, index: OriginIndex, source: Source, origins: &Origins) -> bool {
        let newer = source == Source::Local || self.ttl(origins).is_none_or(|old| ttl.version > old.version);
        let stands = newer && (source == Source::Local || ttl.version >= self.version(origins));
        if stands {
            let packed = PackedTtl {
                expiry: ttl.expiry.map_or(NO_EXPIRY, |expiry| expiry.0),
                timestamp: ttl.version.timestamp.0,
                origin: index.0,
            };
            let value = (!self.is_tombstone()).then(|| self.value());
            *self = Self::build(
                self.key(),
                value,
                self.timestamp(),
                self.origin(),
                Some(packed),
                self.accessed(),
            );
        }
        stands
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0[at..at + N].try_into().expect("the slice is as long as the array")
    }

    fn flags(&self) -> u8 {
        self.0[10]
    }

    /// Whether a register says when it expires, or that it does not.
    pub(crate) fn has_ttl(&self) -> bool {
        self.flags() & HAS_TTL != 0
    }

    pub(crate) fn is_tombstone(&self) -> bool {
        self.flags() & TOMBSTONE != 0
    }

    pub(crate) fn timestamp(&self) -> Timestamp {
        Timestamp(u64::from_le_bytes(self.array(0)))
    }

    fn origin(&self) -> OriginIndex {
        OriginIndex(u16::from_le_bytes(self.array(8)))
    }

    pub(crate) fn version(&self, origins: &Origins) -> Version {
        origins.version(self.timestamp(), self.origin())
    }

    fn accessed(&self) -> u32 {
        u32::from_le_bytes(self.array(12))
    }

    fn set_accessed(&mut self, accessed: u32) {
        self.0[12..16].copy_from_slice(&accessed.to_le_bytes());
    }

    fn ttl_start(&self) -> usize {
        HEADER_BYTES + if self.flags() & LONG_KEY != 0 { LONG_KEY_BYTES } else { 0 }
    }

    fn key_start(&self) -> usize {
        self.ttl_start() + if self.flags() & HAS_TTL != 0 { TTL_BYTES } else { 0 }
    }

    fn key_length(&self) -> usize {
        if self.flags() & LONG_KEY == 0 {
            usize::from(self.0[11])
        } else {
            u32::from_le_bytes(self.array(HEADER_BYTES)) as usize
        }
    }

    fn value_start(&self) -> usize {
        self.key_start() + self.key_length()
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.0[self.key_start()..self.value_start()]
    }

    pub(crate) fn value(&self) -> &[u8] {
        &self.0[self.value_start()..]
    }

    fn packed_ttl(&self) -> Option<PackedTtl> {
        if self.flags() & HAS_TTL == 0 {
            return None;
        }
        let start = self.ttl_start();
        Some(PackedTtl {
            expiry: u64::from_le_bytes(self.array(start)),
            timestamp: u64::from_le_bytes(self.array(start + 8)),
            origin: u16::from_le_bytes(self.array(start + 16)),
        })
    }

    fn expiry(&self) -> Option<WallMillis> {
        self.packed_ttl().filter(|ttl| ttl.expiry != NO_EXPIRY).map(|ttl| WallMillis(ttl.expiry))
    }

    pub(crate) fn ttl(&self, origins: &Origins) -> Option<Ttl> {
        let ttl = self.packed_ttl()?;
        Some(Ttl {
            version: origins.version(Timestamp(ttl.timestamp), OriginIndex(ttl.origin)),
            expiry: (ttl.expiry != NO_EXPIRY).then_some(WallMillis(ttl.expiry)),
        })
    }
}

/// Whether `entry` is the key's.
pub(crate) fn is_of(entry: &Entry, key: &Key<'_>) -> bool {
    entry.key() == key.bytes
}

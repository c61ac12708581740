//! A string written whole, in one allocation.
//!
//! ```text
//!  0        8       10      11         12        16       (20)          (38)
//!  | timestamp | origin | flags | key len | accessed | (key len) | (ttl)    | key | value |
//!  ttl = expiry in milliseconds 8, timestamp 8, origin 2; present by flag
//!  key len = one byte at 11, or four at 16 by flag
//! ```

use shared::change::{CellId, Kind, Op};
use shared::clock::Timestamp;
use shared::time::WallMillis;
use shared::version::{Frontier, Version};

use super::Entry;
use crate::store::branch::{Branch, took};
use crate::store::dead::{Dead, DeadParts};
use crate::store::origins::{OriginIndex, Origins, TooManyOrigins};
use crate::store::rich::{Cell, CellValue, RichKey, Source, Ttl};

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
    /// What it takes of memory, in bytes.
    pub(super) const fn memory(&self) -> usize {
        self.0.len()
    }

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
    pub(super) fn of(rich: &RichKey, origins: &Origins) -> Result<Option<Self>, TooManyOrigins> {
        if rich.mark.is_some() || rich.reset_entry != rich.reset || rich.reset == Version::ZERO {
            return Ok(None);
        }
        let value = match rich.cells.only() {
            None if rich.cells.is_empty() => None,
            Some((id, Cell { base: Some((version, Some(CellValue::Bytes(bytes)))), contributions }))
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

    pub(super) fn to_rich(&self, origins: &Origins) -> RichKey {
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

    pub(super) fn dead(&self, flushed: Version, origins: &Origins) -> Dead {
        if self.is_plain() {
            return Dead::NONE;
        }
        let never_expires = self.has_ttl() && self.expiry().is_none();
        let is_reset = self.is_tombstone() && self.version(origins) > flushed;
        let things = usize::from(is_reset) + usize::from(never_expires);
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

    pub(super) fn dead_parts(&self, flushed: Version, origins: &Origins) -> DeadParts {
        let never_expires = self.has_ttl() && self.expiry().is_none();
        let ttl = self.ttl(origins).filter(|_| never_expires);
        let reset = self.is_tombstone().then(|| self.version(origins)).filter(|version| *version > flushed);
        [reset, ttl.map(|ttl| ttl.version), None]
    }

    /// Merges what can be merged in packed form; none if that needs the rich one.
    pub(super) fn merge(
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
                took(Branch::PackedOlder);
                return Some(false);
            }
            if at == held {
                took(Branch::PackedEqual);
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

    /// Whether it is a live string of which nothing else is known, dead or alive.
    pub(super) fn is_plain(&self) -> bool {
        self.flags() & (TOMBSTONE | HAS_TTL) == 0
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

    pub(super) fn accessed(&self) -> u32 {
        u32::from_le_bytes(self.array(12))
    }

    pub(super) fn set_accessed(&mut self, accessed: u32) {
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

    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn flip_a_bit(&mut self) -> bool {
        let at = self.value_start();
        self.0.get_mut(at).map(|byte| *byte ^= 1).is_some()
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

    pub(super) fn expiry(&self) -> Option<WallMillis> {
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

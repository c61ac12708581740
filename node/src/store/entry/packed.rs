//! A key in one allocation: a string written whole, its tombstone, or the few cells of a small collection.
//!
//! ```text
//!  0        8       10      11         12        15       (19)          (37)
//!  | timestamp | origin | flags | key len | accessed | (key len) | (ttl)    | key | value, cells or count |
//!  timestamp, origin: of the key's reset, which is a string's version, too; of a counter that was never reset, of its
//!  first increment
//!  ttl = expiry in milliseconds 8, timestamp 8, origin 2; present by flag
//!  key len = one byte at 11, or four at 15 by flag
//! ```
//!
//! There is no mark, and the log entry that made the reset is the reset's own version. Save for the tombstone of an observed
//! reset, of which nothing else is left: behind its key stands the log entry, timestamp 8, origin 2.

mod cells;

mod count;

use std::borrow::Cow;

use shared::change::{CellId, Kind, Op, Value};
use shared::clock::Timestamp;
use shared::time::WallMillis;
use shared::version::{Frontier, Version};
use smallvec::SmallVec;

use self::cells::CellsHeader;
use super::{Entry, Packed};
use crate::store::branch::{Branch, took};
use crate::store::dead::{Dead, DeadParts};
use crate::store::origins::{OriginIndex, Origins, TooManyOrigins};
use crate::store::rich::{Cell, Contributions, RichKey, Source, Ttl};
use crate::store::usage::Accessed;

pub(crate) use self::cells::{CellChange, PackedCells, Put};
pub(crate) use self::count::Count;

const HEADER_BYTES: usize = 15;
const FLAGS_AT: usize = 10;
const KEY_LENGTH_AT: usize = 11;
const ACCESSED_AT: usize = 12;
const LONG_KEY_BYTES: usize = 4;
const TTL_BYTES: usize = 18;
const ENTRY_BYTES: usize = 10;

const TOMBSTONE: u8 = 1;
const HAS_TTL: u8 = 2;
const LONG_KEY: u8 = 4;
const HAS_CELLS: u8 = 8;
const HAS_COUNT: u8 = 16;
/// Of a counter.
const NEVER_RESET: u8 = 32;

/// Of these flags one says what lies behind the key; none, that it is a string.
const TAIL: u8 = TOMBSTONE | HAS_CELLS | HAS_COUNT;

/// A TTL register that says: does not expire.
const NO_EXPIRY: u64 = u64::MAX;

/// What lies behind the key.
#[derive(Clone, Copy)]
enum Tail<'t> {
    Nothing,
    /// Nothing, but that another log entry made the reset.
    Entry(&'t [u8; ENTRY_BYTES]),
    /// A string written whole.
    Value(&'t [u8]),
    /// Cells, with what they come to before them.
    Cells(&'t [u8]),
    /// What one origin has added to a string that nobody has written.
    Count(Count),
}

#[derive(Clone, Copy)]
struct PackedTtl {
    expiry: u64,
    timestamp: u64,
    origin: u16,
}

impl PackedTtl {
    fn bytes(self) -> [u8; TTL_BYTES] {
        let mut bytes = [0; TTL_BYTES];
        bytes[..8].copy_from_slice(&self.expiry.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.timestamp.to_le_bytes());
        bytes[16..].copy_from_slice(&self.origin.to_le_bytes());
        bytes
    }
}

impl Packed {
    /// A string, or a tombstone if there is no value.
    pub(crate) fn new(key: &[u8], value: Option<&[u8]>, timestamp: Timestamp, origin: OriginIndex) -> Self {
        Self::build(key, value.map_or(Tail::Nothing, Tail::Value), timestamp, origin, None, Accessed::NEVER)
    }

    fn build(
        key: &[u8],
        tail: Tail<'_>,
        timestamp: Timestamp,
        origin: OriginIndex,
        ttl: Option<PackedTtl>,
        accessed: Accessed,
    ) -> Self {
        let (stamp, count) = match tail {
            Tail::Count(count) => count.bytes(timestamp, origin),
            _ => ((timestamp, origin), SmallVec::new()),
        };
        let (flag, tail) = match tail {
            Tail::Nothing => (TOMBSTONE, &[][..]),
            Tail::Entry(entry) => (TOMBSTONE, &entry[..]),
            Tail::Value(value) => (0, value),
            Tail::Cells(cells) => (HAS_CELLS, cells),
            Tail::Count(_) if timestamp == Timestamp::ZERO => (HAS_COUNT | NEVER_RESET, &*count),
            Tail::Count(_) => (HAS_COUNT, &*count),
        };
        let long = key.len() > usize::from(u8::MAX);
        let has_ttl = if ttl.is_some() { HAS_TTL } else { 0 };
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&stamp.0.0.to_le_bytes());
        header[8..FLAGS_AT].copy_from_slice(&stamp.1.0.to_le_bytes());
        header[FLAGS_AT] = flag | has_ttl | if long { LONG_KEY } else { 0 };
        header[KEY_LENGTH_AT] = if long { 0 } else { key.len() as u8 };
        header[ACCESSED_AT..].copy_from_slice(&accessed.bytes());
        let key_length = (key.len() as u32).to_le_bytes();
        let key_length = if long { &key_length[..] } else { &[] };
        let ttl = ttl.map(PackedTtl::bytes);
        let ttl = ttl.as_ref().map_or(&[][..], |ttl| &ttl[..]);
        Self::concat(&[&header, key_length, ttl, key, tail])
    }

    /// The packed form of a rich key, if it has one.
    pub(super) fn of(rich: &RichKey, origins: &Origins) -> Result<Option<Self>, TooManyOrigins> {
        let is_bare = rich.cells.is_empty() && rich.ttl.is_none();
        let is_observed = rich.reset_entry != rich.reset;
        if rich.mark.is_some() || (is_observed && !is_bare) {
            return Ok(None);
        }
        let (cells, value, entry);
        let tail = match rich.cells.only() {
            None if is_observed => {
                entry = entry_bytes(rich.reset_entry, origins)?;
                Tail::Entry(&entry)
            }
            None if rich.cells.is_empty() => Tail::Nothing,
            Some((id, Cell { base: Some((version, Some(Value::Bytes(bytes)))), contributions }))
                if id.kind == Kind::String && version == rich.reset && contributions.is_empty() =>
            {
                value = bytes;
                Tail::Value(&value)
            }
            Some((id, Cell { base: None, contributions }))
                if id.kind == Kind::String
                    && let [(contributor, own)] = &*contributions
                    && let Some(only) = Count::of(*contributor, own, origins.intern(*contributor)?) =>
            {
                Tail::Count(only)
            }
            _ => match cells::of_rich(rich) {
                Some(bytes) => {
                    cells = bytes;
                    Tail::Cells(&cells)
                }
                None => return Ok(None),
            },
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
        Ok(Some(Self::build(&rich.key, tail, rich.reset.timestamp, origin, ttl, rich.accessed)))
    }

    pub(crate) fn to_rich(&self, origins: &Origins) -> RichKey {
        let version = self.version(origins);
        let cells = match self.tail() {
            Tail::Nothing | Tail::Entry(_) => Vec::new(),
            Tail::Value(value) => {
                let value = Value::Bytes(Cow::Owned(value.to_vec()));
                vec![(
                    CellId::STRING,
                    Cell { base: Some((version, Some(value))), contributions: Contributions::new() },
                )]
            }
            Tail::Cells(cells) => CellsHeader::split(cells).1.owned_cells(),
            Tail::Count(count) => vec![(CellId::STRING, count.cell(origins))],
        };
        let mut rich = RichKey::of_cells(self.key(), cells);
        rich.reset = version;
        rich.reset_entry = self.reset_entry(origins);
        rich.ttl = self.ttl(origins);
        rich.accessed = self.accessed();
        rich
    }

    pub(super) fn dead(&self, flushed: Version, origins: &Origins) -> Dead {
        if self.is_plain() {
            return Dead::NONE;
        }
        let never_expires = self.has_ttl() && self.expiry().is_none();
        let is_reset = self.flags() & TAIL != 0 && self.version(origins) > flushed;
        let of_cells = self.cells().map_or(Dead::NONE, |cells| cells.dead());
        let things = usize::from(is_reset) + usize::from(never_expires) + of_cells.things;
        let bytes = match (self.kind().is_none(), self.has_ttl(), never_expires) {
            (true, false, _) | (true, true, true) => size_of::<Entry>() + self.memory(),
            (false, _, true) => TTL_BYTES + of_cells.bytes,
            _ => of_cells.bytes,
        };
        Dead { things, bytes }
    }

    /// Without what is dead and covered by `stable`; none if nothing is left.
    ///
    /// A tombstone stays as long as a TTL register does, which has no place of its own. Not for one with cells.
    pub(crate) fn without_stable(self, stable: &Frontier, origins: &Origins) -> Option<Self> {
        let never_expires = self.ttl(origins).filter(|ttl| ttl.expiry.is_none());
        let kept = if never_expires.is_some_and(|ttl| stable.covers(ttl.version)) {
            Self::build(self.key(), self.tail(), self.timestamp(), self.origin(), None, self.accessed())
        } else {
            self
        };
        let goes = kept.is_tombstone() && !kept.has_ttl() && stable.covers(kept.reset_entry(origins));
        (!goes).then_some(kept)
    }

    pub(super) fn dead_parts(&self, flushed: Version, origins: &Origins) -> DeadParts {
        let never_expires = self.has_ttl() && self.expiry().is_none();
        let ttl = self.ttl(origins).filter(|_| never_expires);
        let is_reset = self.flags() & TAIL != 0;
        let reset = (is_reset && self.version(origins) > flushed).then(|| self.reset_entry(origins));
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
        let tail = match op {
            Op::Set(value) => Tail::Value(value),
            Op::Reset => Tail::Nothing,
            Op::ObservedReset(reset) if *reset != at && self.falls_to(*reset, origins) => {
                took(Branch::ResetStands);
                let (entry, index) = (entry_bytes(at, origins).ok()?, origins.intern(reset.origin).ok()?);
                self.write(Tail::Entry(&entry), reset.timestamp, index, None);
                return Some(true);
            }
            // The log entry would be lost.
            _ if self.observed_entry().is_some() => return None,
            Op::Expire(expiry) => {
                return Some(self.merge_ttl(Ttl { version: at, expiry: *expiry }, index, source, origins));
            }
            Op::Cell(..) | Op::Count(..) => return self.merge_cell(op, at, index, source, origins),
            _ => return None,
        };
        if source == Source::Log {
            if self.newest_cell() >= at.timestamp {
                return None;
            }
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
        self.write(tail, at.timestamp, index, ttl);
        Some(true)
    }

    /// Whether a reset ends all that is held, and that is no collection.
    fn falls_to(&self, reset: Version, origins: &Origins) -> bool {
        let falls = |version: Version| version < reset;
        !self.has_cells()
            && falls(self.version(origins))
            && self.ttl(origins).is_none_or(|ttl| falls(ttl.version))
    }

    fn write(&mut self, tail: Tail<'_>, timestamp: Timestamp, origin: OriginIndex, ttl: Option<PackedTtl>) {
        let start = self.value_start();
        if ttl.is_none()
            && self.is_plain()
            && let Tail::Value(value) = tail
            && self.bytes().len() == start + value.len()
        {
            let bytes = self.bytes_mut();
            bytes[..8].copy_from_slice(&timestamp.0.to_le_bytes());
            bytes[8..10].copy_from_slice(&origin.0.to_le_bytes());
            bytes[start..].copy_from_slice(value);
        } else {
            *self = Self::build(self.key(), tail, timestamp, origin, ttl, self.accessed());
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
            *self = Self::build(
                self.key(),
                self.tail(),
                self.timestamp(),
                self.origin(),
                Some(packed),
                self.accessed(),
            );
        }
        stands
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        self.bytes()[at..at + N].try_into().expect("the slice is as long as the array")
    }

    /// Whether it is a live string of which nothing else is known, dead or alive.
    pub(super) fn is_plain(&self) -> bool {
        self.flags() & (TAIL | HAS_TTL) == 0
    }

    /// Whether it is a live string written whole.
    pub(super) fn is_plain_string(&self) -> bool {
        self.flags() & TAIL == 0
    }

    #[inline(always)]
    fn flags(&self) -> u8 {
        self.bytes()[FLAGS_AT]
    }

    /// Whether a register says when it expires, or that it does not.
    pub(crate) fn has_ttl(&self) -> bool {
        self.flags() & HAS_TTL != 0
    }

    pub(crate) fn is_tombstone(&self) -> bool {
        self.flags() & TOMBSTONE != 0
    }

    /// Whether it holds cells that are no string written whole.
    pub(crate) fn has_cells(&self) -> bool {
        self.flags() & (HAS_CELLS | HAS_COUNT) != 0
    }

    /// The kind that clients see but for expiry.
    #[inline(always)]
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self.tail() {
            Tail::Nothing | Tail::Entry(_) => None,
            Tail::Value(_) | Tail::Count(_) => Some(Kind::String),
            Tail::Cells(cells) => CellsHeader::split(cells).0.kind(),
        }
    }

    // Asked for several times for each change: what one has read of the header the next need not, if all is in one place.
    /// What it holds behind the key.
    #[inline(always)]
    fn tail(&self) -> Tail<'_> {
        let tail = &self.bytes()[self.value_start()..];
        match self.flags() & TAIL {
            0 => Tail::Value(tail),
            HAS_CELLS => Tail::Cells(tail),
            HAS_COUNT => Tail::Count(self.read_count(tail)),
            _ => Tail::Nothing,
        }
    }

    /// The newest timestamp in its cells, if it holds any; not of a string written whole.
    pub(super) fn newest_cell(&self) -> Timestamp {
        match self.tail() {
            Tail::Nothing | Tail::Entry(_) | Tail::Value(_) => Timestamp::ZERO,
            Tail::Cells(cells) => CellsHeader::split(cells).1.newest(),
            Tail::Count(count) => count.newest(),
        }
    }

    pub(crate) fn timestamp(&self) -> Timestamp {
        if self.flags() & NEVER_RESET == 0 { self.stamp().0 } else { Timestamp::ZERO }
    }

    /// What the header begins with.
    #[inline(always)]
    fn stamp(&self) -> (Timestamp, OriginIndex) {
        (Timestamp(u64::from_le_bytes(self.array(0))), self.origin())
    }

    /// Means nothing of what was never reset.
    fn origin(&self) -> OriginIndex {
        OriginIndex(u16::from_le_bytes(self.array(8)))
    }

    pub(crate) fn version(&self, origins: &Origins) -> Version {
        if self.flags() & NEVER_RESET == 0 {
            origins.version(self.timestamp(), self.origin())
        } else {
            Version::ZERO
        }
    }

    /// The log entry that made the reset.
    pub(crate) fn reset_entry(&self, origins: &Origins) -> Version {
        self.observed_entry().map_or_else(
            || self.version(origins),
            |bytes| {
                let (timestamp, origin) = bytes.split_at(8);
                let timestamp = timestamp.try_into().expect("the first eight of ten bytes");
                let origin = origin.try_into().expect("the last two of ten bytes");
                origins.version(
                    Timestamp(u64::from_le_bytes(timestamp)),
                    OriginIndex(u16::from_le_bytes(origin)),
                )
            },
        )
    }

    /// The bytes of the log entry, if that is not the reset's own version.
    fn observed_entry(&self) -> Option<&[u8; ENTRY_BYTES]> {
        if self.is_tombstone() { self.bytes()[self.value_start()..].first_chunk() } else { None }
    }

    pub(super) fn accessed(&self) -> Accessed {
        Accessed::of(self.array(ACCESSED_AT))
    }

    pub(super) fn set_accessed(&mut self, accessed: Accessed) {
        self.bytes_mut()[ACCESSED_AT..HEADER_BYTES].copy_from_slice(&accessed.bytes());
    }

    #[inline(always)]
    fn ttl_start(&self) -> usize {
        HEADER_BYTES + if self.flags() & LONG_KEY != 0 { LONG_KEY_BYTES } else { 0 }
    }

    #[inline(always)]
    fn key_start(&self) -> usize {
        self.ttl_start() + if self.flags() & HAS_TTL != 0 { TTL_BYTES } else { 0 }
    }

    #[inline(always)]
    fn key_length(&self) -> usize {
        if self.flags() & LONG_KEY == 0 {
            usize::from(self.bytes()[KEY_LENGTH_AT])
        } else {
            u32::from_le_bytes(self.array(HEADER_BYTES)) as usize
        }
    }

    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn flip_a_bit(&mut self) -> bool {
        let at = match self.cells() {
            None if self.count().is_some() => return false,
            None => self.value_start(),
            // The bytes of the last one's value lie at the end.
            Some(cells) if cells.block.iter().last().is_some_and(|cell| cell.ends_with_bytes()) => {
                self.bytes().len() - 1
            }
            Some(_) => return false,
        };
        self.bytes_mut().get_mut(at).map(|byte| *byte ^= 1).is_some()
    }

    #[inline(always)]
    fn value_start(&self) -> usize {
        self.key_start() + self.key_length()
    }

    #[inline(always)]
    pub(crate) fn key(&self) -> &[u8] {
        &self.bytes()[self.key_start()..self.value_start()]
    }

    /// The bytes of a string written whole.
    pub(crate) fn value(&self) -> &[u8] {
        &self.bytes()[self.value_start()..]
    }

    #[inline(always)]
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

    pub(super) fn ttl_author(&self) -> Option<OriginIndex> {
        self.packed_ttl().map(|ttl| OriginIndex(ttl.origin))
    }

    pub(crate) fn ttl(&self, origins: &Origins) -> Option<Ttl> {
        let ttl = self.packed_ttl()?;
        Some(Ttl {
            version: origins.version(Timestamp(ttl.timestamp), OriginIndex(ttl.origin)),
            expiry: (ttl.expiry != NO_EXPIRY).then_some(WallMillis(ttl.expiry)),
        })
    }
}

fn entry_bytes(entry: Version, origins: &Origins) -> Result<[u8; ENTRY_BYTES], TooManyOrigins> {
    let mut bytes = [0; ENTRY_BYTES];
    bytes[..8].copy_from_slice(&entry.timestamp.0.to_le_bytes());
    bytes[8..].copy_from_slice(&origins.intern(entry.origin)?.0.to_le_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests;

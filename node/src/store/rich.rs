//! The state of a key in full, and the merge rules.
//!
//! A key's state is a reset (a version: what is older than it is dead), cells, a TTL register and perhaps an
//! expiry mark. Each rule below keeps the state a pure function of the set of changes merged, whatever their
//! order:
//!
//! - **Reset**: the newest stands. What is older dies; what has its very version survives, for both are then of
//!   one transaction, which holds at most one reset per key, and cells that came after it.
//! - **Cell**: the newest write stands, a removal being a write of nothing, unless older than the reset.
//! - **Counter**: a cell may have contributions, a running sum per origin. One is live if its *first* increment
//!   is newer than the cell's write and not older than the reset; by its last, increments from before a deletion
//!   would come back. Of one origin the larger (first, last) stands. The value is the written base plus sums.
//! - **TTL**: the newest stands, unless older than the reset.
//! - **Mark**: the removal of an expired key. A reset that spares what its author had not seen, and a veil over
//!   all cells written up to the expiry, so that one that arrives late stays as expired as the rest. A later
//!   reset takes it away.
//! - **Kinds** racing on one key: nothing is dropped. The highest kind that has a live cell is visible.
//!
//! Here *local* changes differ in one thing: within a transaction a later change of the same version replaces
//! the earlier one. Peers never see the earlier one, for the transaction is coalesced before it is logged.

use std::borrow::Cow;

use shared::change::{CellId, Contribution, Kind, Op, Sum, Value};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::time::WallMillis;
use shared::version::Version;

/// Where a change comes from, which decides between equal versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A transaction under way here: its changes replace its own earlier ones.
    Local,
    /// A log: a change of equal version is the same change.
    Log,
}

/// The TTL register: when the key expires, or that it does not, and since which write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ttl {
    pub(crate) version: Version,
    pub(crate) expiry: Option<WallMillis>,
}

/// A standing expiry mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) reset: Version,
    pub(crate) expiry: WallMillis,
    /// The log entry that made it.
    pub(crate) entry: Version,
}

impl Mark {
    fn hides(&self, written: Timestamp) -> bool {
        written < end_of(self.expiry)
    }
}

/// The first timestamp after a millisecond.
pub(crate) fn end_of(wall: WallMillis) -> Timestamp {
    Timestamp::of_wall(WallMillis(wall.0.saturating_add(1)))
}

/// A cell: its newest write, and what origins have added to it since.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    /// The newest write and its version; a removal holds no value.
    pub(crate) base: Option<(Version, Option<CellValue>)>,
    /// At most one per origin, in order of origins, so that floats add up alike everywhere.
    pub(crate) contributions: Vec<(Origin, OwnContribution)>,
}

/// A cell's written value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CellValue {
    Bytes(Vec<u8>),
    Float(f64),
}

impl From<Value<'_>> for CellValue {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Bytes(bytes) => Self::Bytes(bytes.into_owned()),
            Value::Float(float) => Self::Float(float),
        }
    }
}

/// What one origin has added to a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct OwnContribution {
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) sum: Sum,
}

impl Cell {
    fn is_empty(&self) -> bool {
        self.base.is_none() && self.contributions.is_empty()
    }

    /// The base and sums that no mark hides.
    fn live(&self, mark: Option<Mark>) -> (Option<&CellValue>, impl Iterator<Item = &OwnContribution>) {
        let hides = move |at: Timestamp| mark.is_some_and(|mark| mark.hides(at));
        let base = self.base.as_ref().filter(|(version, _)| !hides(version.timestamp));
        let sums = self.contributions.iter().map(|(_, own)| own).filter(move |own| !hides(own.first));
        (base.and_then(|(_, value)| value.as_ref()), sums)
    }

    fn is_live(&self, mark: Option<Mark>) -> bool {
        let (base, mut sums) = self.live(mark);
        base.is_some() || sums.next().is_some()
    }

    /// The bytes that a client sees: the base, plus the sums if that is a whole number.
    fn bytes(&self, mark: Option<Mark>) -> Option<Cow<'_, [u8]>> {
        let (base, mut sums) = self.live(mark);
        let Some(first) = sums.next() else {
            return match base? {
                CellValue::Bytes(bytes) => Some(Cow::Borrowed(bytes)),
                CellValue::Float(float) => Some(Cow::Owned(float.to_string().into_bytes())),
            };
        };
        let start = match base {
            None => 0,
            Some(CellValue::Bytes(bytes)) => match parse_integer(bytes) {
                Some(integer) => integer,
                None => return Some(Cow::Borrowed(bytes)),
            },
            Some(CellValue::Float(_)) => return None,
        };
        let total = std::iter::once(first).chain(sums).fold(i128::from(start), |total, own| match own.sum {
            Sum::Int(int) => total.saturating_add(int),
            Sum::Float(float) => total.saturating_add(float as i128),
        });
        let clamped = total.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        Some(Cow::Owned(itoa::Buffer::new().format(clamped).as_bytes().to_vec()))
    }

    /// The newest version in it, hidden ones included.
    fn newest(&self) -> Timestamp {
        let base = self.base.as_ref().map_or(Timestamp::ZERO, |(version, _)| version.timestamp);
        self.contributions.iter().map(|(_, own)| own.last).fold(base, Timestamp::max)
    }
}

/// Reads a whole number as Redis does: no spaces, no plus, no leading zeros, within 64 bits.
pub(crate) fn parse_integer(bytes: &[u8]) -> Option<i64> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    match digits {
        [b'0'] if bytes.len() == 1 => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut magnitude: u64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        magnitude = magnitude * 10 + u64::from(digit - b'0');
    }
    if digits.len() == bytes.len() {
        i64::try_from(magnitude).ok()
    } else {
        0_i64.checked_sub_unsigned(magnitude)
    }
}

/// The state of a key in full.
#[derive(Clone, Debug, Default)]
pub(crate) struct RichKey {
    pub(crate) key: Box<[u8]>,
    pub(crate) reset: Version,
    /// The log entry that made the reset: that, not the reset's own version, is what members must cover.
    pub(crate) reset_entry: Version,
    pub(crate) ttl: Option<Ttl>,
    pub(crate) mark: Option<Mark>,
    /// In order of their ids.
    pub(crate) cells: Vec<(CellId<'static>, Cell)>,
    /// When a client last used it, in seconds of the store's idle clock.
    pub(crate) accessed: u32,
}

impl RichKey {
    /// Merges a change whose version is `at`. Returns whether it changed anything.
    pub(crate) fn merge(&mut self, op: Op<'_>, at: Version, source: Source) -> bool {
        match op {
            Op::Set(value) => {
                let reset = self.merge_reset(at, at, source);
                let cell = self.merge_cell(CellId::STRING, at, Some(Value::Bytes(value)), source);
                reset || cell
            }
            Op::Reset | Op::FlushDb | Op::FlushAll => self.merge_reset(at, at, source),
            Op::Cell(id, value) => self.merge_cell(id, at, value, source),
            Op::Count(id, contribution) => self.merge_contribution(id, at, contribution, source),
            Op::Expire(expiry) => self.merge_ttl(Ttl { version: at, expiry }, source),
            Op::ObservedReset(version) => self.merge_reset(version, at, Source::Log),
            Op::Mark { reset, expiry } => self.merge_mark(Mark { reset, expiry, entry: at }),
        }
    }

    /// `entry` is the version of the log entry that carries the reset.
    pub(crate) fn merge_reset(&mut self, reset: Version, entry: Version, source: Source) -> bool {
        if reset < self.reset || (reset == self.reset && source == Source::Log) {
            return false;
        }
        let survives = |version: Version| match source {
            Source::Local => version > reset,
            Source::Log => version >= reset,
        };
        self.reset = reset;
        self.reset_entry = entry;
        self.mark = self.mark.filter(|mark| mark.reset >= reset);
        self.ttl = self.ttl.filter(|ttl| survives(ttl.version));
        self.cells.retain_mut(|(_, cell)| {
            cell.base = cell.base.take_if(|(version, _)| survives(*version));
            cell.contributions.retain(|(origin, own)| survives(Version::new(own.first, *origin)));
            !cell.is_empty()
        });
        true
    }

    fn merge_mark(&mut self, mark: Mark) -> bool {
        let reset = self.merge_reset(mark.reset, mark.entry, Source::Log);
        let newer = self.mark.is_none_or(|old| (mark.reset, mark.expiry) > (old.reset, old.expiry));
        let stands = mark.reset >= self.reset && newer;
        if stands {
            self.mark = Some(mark);
        }
        reset || stands
    }

    fn merge_cell(&mut self, id: CellId<'_>, at: Version, value: Option<Value<'_>>, source: Source) -> bool {
        if at < self.reset {
            return false;
        }
        let cell = self.cell_mut(id);
        let newer =
            cell.base.as_ref().is_none_or(|(old, _)| at > *old || (at == *old && source == Source::Local));
        if newer {
            cell.base = Some((at, value.map(CellValue::from)));
            cell.contributions.retain(|(origin, own)| Version::new(own.first, *origin) > at);
        }
        newer
    }

    fn merge_contribution(
        &mut self,
        id: CellId<'_>,
        at: Version,
        contribution: Contribution,
        source: Source,
    ) -> bool {
        let Contribution { first, sum, contributor } = contribution;
        let origin = contributor.unwrap_or(at.origin);
        let began = Version::new(first, origin);
        if began < self.reset || self.cell(&id).is_some_and(|cell| cell.base_version() >= began) {
            return false;
        }
        let own = OwnContribution { first, last: at.timestamp, sum };
        let contributions = &mut self.cell_mut(id).contributions;
        match contributions.binary_search_by_key(&origin, |(origin, _)| *origin) {
            Err(place) => contributions.insert(place, (origin, own)),
            Ok(place) => {
                let old = &mut contributions[place].1;
                let (was, is) = ((old.first, old.last), (own.first, own.last));
                if is < was || (is == was && source == Source::Log) {
                    return false;
                }
                *old = own;
            }
        }
        true
    }

    fn merge_ttl(&mut self, ttl: Ttl, source: Source) -> bool {
        let newer = self.ttl.is_none_or(|old| {
            ttl.version > old.version || (ttl.version == old.version && source == Source::Local)
        });
        let stands = ttl.version >= self.reset && newer;
        if stands {
            self.ttl = Some(ttl);
        }
        stands
    }

    pub(crate) fn cell(&self, id: &CellId<'_>) -> Option<&Cell> {
        self.place(id).ok().map(|place| &self.cells[place].1)
    }

    fn cell_mut(&mut self, id: CellId<'_>) -> &mut Cell {
        let place = self.place(&id).unwrap_or_else(|place| {
            let id = CellId { kind: id.kind, element: Cow::Owned(id.element.into_owned()) };
            self.cells.insert(place, (id, Cell::default()));
            place
        });
        &mut self.cells[place].1
    }

    fn place(&self, id: &CellId<'_>) -> Result<usize, usize> {
        let order = |cell: &CellId<'_>| (cell.kind, &*cell.element).cmp(&(id.kind, &*id.element));
        self.cells.binary_search_by(|(cell, _)| order(cell))
    }

    /// The kind that clients see, whatever the TTL says: the highest with a live cell.
    pub(crate) fn kind(&self) -> Option<Kind> {
        self.cells.iter().rev().find(|(_, cell)| cell.is_live(self.mark)).map(|(id, _)| id.kind)
    }

    /// The string's bytes, if that has a live cell.
    pub(crate) fn string(&self) -> Option<Cow<'_, [u8]>> {
        self.cell(&CellId::STRING).and_then(|cell| cell.bytes(self.mark))
    }

    /// What `origin` has added to the string, if an increment of its would go on from there.
    pub(crate) fn contribution(&self, origin: Origin) -> Option<OwnContribution> {
        let contributions = &self.cell(&CellId::STRING)?.contributions;
        let (_, own) = contributions.iter().find(|(other, _)| *other == origin)?;
        (!self.mark.is_some_and(|mark| mark.hides(own.first))).then_some(*own)
    }

    /// The newest timestamp held for the key, hidden and dead things included.
    pub(crate) fn newest(&self) -> Timestamp {
        let ttl = self.ttl.map_or(Timestamp::ZERO, |ttl| ttl.version.timestamp);
        let cells = self.cells.iter().map(|(_, cell)| cell.newest());
        cells.fold(self.reset.timestamp.max(ttl), Timestamp::max)
    }

    /// Whether the string's cell was written, or the key reset, at exactly this version.
    pub(crate) fn written_at(&self, version: Version) -> bool {
        self.reset == version || self.cell(&CellId::STRING).is_some_and(|cell| cell.base_version() == version)
    }
}

impl Cell {
    fn base_version(&self) -> Version {
        self.base.as_ref().map_or(Version::ZERO, |(version, _)| *version)
    }
}

//! A cell: one element's newest write, and what origins have added to it.

use std::borrow::Cow;

use shared::change::{Sum, Value};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::version::Version;

use super::Mark;

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

impl From<CellValue> for Value<'_> {
    fn from(value: CellValue) -> Self {
        match value {
            CellValue::Bytes(bytes) => Self::Bytes(Cow::Owned(bytes)),
            CellValue::Float(float) => Self::Float(float),
        }
    }
}

/// What one origin has added to a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct OwnContribution {
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    /// Its owner's last increment that is in it.
    pub(crate) counted: Timestamp,
    pub(crate) sum: Sum,
    /// The origin of the batch that carried it: another than its owner's if somebody restated it.
    pub(crate) carrier: Origin,
}

impl OwnContribution {
    /// The log entry that made it.
    pub(crate) const fn entry(&self) -> Version {
        Version::new(self.last, self.carrier)
    }

    /// Of two of one origin the larger stands.
    const fn rank(&self) -> (Timestamp, Timestamp, Origin) {
        (self.first, self.last, self.carrier)
    }

    pub(super) fn wins_over(&self, other: &Self) -> bool {
        self.rank() > other.rank()
    }
}

impl Cell {
    pub(super) fn is_empty(&self) -> bool {
        self.base.is_none() && self.contributions.is_empty()
    }

    /// The base that no mark hides, and such contributions, with whose they are.
    pub(super) fn live(
        &self,
        mark: Option<Mark>,
    ) -> (Option<&CellValue>, impl Iterator<Item = (Origin, &OwnContribution)>) {
        let hides = move |at: Timestamp| mark.is_some_and(|mark| mark.hides(at));
        let base = self.base.as_ref().filter(|(version, _)| !hides(version.timestamp));
        let sums = self.contributions.iter().map(|(contributor, own)| (*contributor, own));
        let sums = sums.filter(move |(_, own)| !hides(own.first));
        (base.and_then(|(_, value)| value.as_ref()), sums)
    }

    pub(in crate::store) fn is_live(&self, mark: Option<Mark>) -> bool {
        let (base, mut sums) = self.live(mark);
        base.is_some() || sums.next().is_some()
    }

    /// What it takes of memory beside itself, in bytes.
    pub(crate) fn memory(&self) -> usize {
        let value = match &self.base {
            Some((_, Some(CellValue::Bytes(bytes)))) => bytes.capacity(),
            _ => 0,
        };
        value + self.contributions.capacity() * size_of::<(Origin, OwnContribution)>()
    }

    /// The bytes that a client sees: the base, plus the sums if that is a whole number.
    pub(in crate::store) fn bytes(&self, mark: Option<Mark>) -> Option<Cow<'_, [u8]>> {
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
        let total =
            std::iter::once(first).chain(sums).fold(i128::from(start), |total, (_, own)| match own.sum {
                Sum::Int(int) => total.saturating_add(int),
                Sum::Float(float) => total.saturating_add(float as i128),
            });
        let clamped = total.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        Some(Cow::Owned(itoa::Buffer::new().format(clamped).as_bytes().to_vec()))
    }

    /// What a client sees: the base, plus the sums.
    pub(in crate::store) fn value(&self, mark: Option<Mark>) -> Option<CellValue> {
        let (base, sums) = self.live(mark);
        let start = match base {
            Some(CellValue::Float(float)) => *float,
            None if self.contributions.iter().any(|(_, own)| matches!(own.sum, Sum::Float(_))) => 0.0,
            _ => return self.bytes(mark).map(|bytes| CellValue::Bytes(bytes.into_owned())),
        };
        let mut sums = sums.peekable();
        if base.is_none() && sums.peek().is_none() {
            return None;
        }
        let total = sums.fold(start, |total, (_, own)| match own.sum {
            Sum::Int(int) => total + int as f64,
            Sum::Float(float) => total + float,
        });
        // Of infinities that two nodes have added, one each way, nothing is left.
        Some(CellValue::Float(if total.is_nan() { 0.0 } else { total }))
    }

    /// The newest version in it, hidden ones included.
    pub(super) fn newest(&self) -> Timestamp {
        let base = self.base.as_ref().map_or(Timestamp::ZERO, |(version, _)| version.timestamp);
        self.contributions.iter().map(|(_, own)| own.last).fold(base, Timestamp::max)
    }

    /// The version of its newest write.
    pub(super) fn base_version(&self) -> Version {
        self.base.as_ref().map_or(Version::ZERO, |(version, _)| *version)
    }

    /// Whether it was removed, and nothing has been written to it since.
    pub(super) const fn is_tombstone(&self) -> bool {
        matches!(self.base, Some((_, None)))
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

//! A cell: one element's newest write, and what origins have added to it.

use std::borrow::Cow;

use shared::change::{Contribution, Sum, Value};
use shared::clock::Timestamp;
use shared::decimal::Decimal;
use shared::id::Origin;
use shared::version::Version;
use smallvec::SmallVec;

use super::number::Number;
use super::{Mark, Source};
use crate::store::branch::{Branch, took};

/// A cell: its newest write, and what origins have added to it since.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell<'c> {
    /// The newest write and its version; a removal holds no value.
    pub(crate) base: Option<(Version, Option<Value<'c>>)>,
    /// At most one per origin, in order of origins, so that floats add up alike everywhere.
    pub(crate) contributions: Contributions,
}

/// What origins have added to a cell: where masters do not count the same thing at once, that is one.
pub(crate) type Contributions = SmallVec<[(Origin, OwnContribution); 1]>;

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
    /// What an increment says, with whose it is.
    pub(crate) fn of(contribution: Contribution, at: Version) -> (Origin, Self) {
        let Contribution { first, sum, restates } = contribution;
        let Version { timestamp: counted, origin } = restates.unwrap_or(at);
        let counted = counted.min(at.timestamp);
        (origin, Self { first, last: at.timestamp, counted, sum, carrier: at.origin })
    }

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

impl<'c> Cell<'c> {
    /// Takes in a write, a removal being one of nothing. Returns whether it changed anything.
    pub(in crate::store) fn write(&mut self, at: Version, value: Option<Value<'c>>, source: Source) -> bool {
        let old = self.base.as_ref().map(|(version, _)| *version);
        let newer = old.is_none_or(|old| at > old || (at == old && source == Source::Local));
        took(if newer { Branch::CellStands } else { Branch::CellOlder });
        if newer {
            self.base = Some((at, value));
            self.contributions.retain(|(origin, own)| {
                let lives = Version::new(own.first, *origin) > at;
                took(if lives { Branch::CellSparesSum } else { Branch::CellKillsSum });
                lives
            });
        }
        newer
    }

    /// Takes in what an origin has added to it. Returns whether it changed anything.
    pub(in crate::store) fn add(&mut self, origin: Origin, own: OwnContribution, source: Source) -> bool {
        if self.base_version() >= Version::new(own.first, origin) {
            took(Branch::SumBelowBase);
            return false;
        }
        match self.contributions.binary_search_by_key(&origin, |(origin, _)| *origin) {
            Err(place) => {
                took(Branch::SumNew);
                self.contributions.insert(place, (origin, own));
            }
            Ok(place) => {
                let old = &mut self.contributions[place].1;
                let stays = match source {
                    Source::Local => old.wins_over(&own),
                    Source::Log => !own.wins_over(old),
                };
                took(if stays { Branch::SumOlder } else { Branch::SumGrows });
                if stays {
                    return false;
                }
                *old = own;
            }
        }
        true
    }

    /// What an origin has added to it.
    pub(in crate::store) fn contribution_of(&self, origin: Origin) -> Option<OwnContribution> {
        let place = self.contributions.binary_search_by_key(&origin, |(origin, _)| *origin).ok()?;
        Some(self.contributions[place].1)
    }

    /// Puts what an origin has added to it in the place of what was held of that.
    pub(in crate::store) fn replace(&mut self, origin: Origin, own: OwnContribution) {
        match self.contributions.binary_search_by_key(&origin, |(origin, _)| *origin) {
            Ok(place) => self.contributions[place].1 = own,
            Err(place) => self.contributions.insert(place, (origin, own)),
        }
    }

    pub(in crate::store) fn into_owned(self) -> Cell<'static> {
        let base = self.base.map(|(version, value)| (version, value.map(super::owned_value)));
        Cell { base, contributions: self.contributions }
    }

    pub(in crate::store) fn is_empty(&self) -> bool {
        self.base.is_none() && self.contributions.is_empty()
    }

    /// The base that no mark hides, and such contributions, with whose they are.
    pub(in crate::store) fn live(
        &self,
        mark: Option<Mark>,
    ) -> (Option<&Value<'c>>, impl Iterator<Item = (Origin, &OwnContribution)>) {
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

    /// The whole number that a client sees: the base, nothing counting as zero, plus the sums. None if that is something
    /// else.
    pub(in crate::store) fn integer(&self, mark: Option<Mark>) -> Option<i64> {
        let (base, mut sums) = self.live(mark);
        match (base, sums.next()) {
            (Some(Value::Bytes(bytes)), None) => parse_integer(bytes),
            _ => self.number(mark)?.integer(),
        }
    }

    /// The exact number that it comes to: the base, nothing counting as zero, plus the sums. None if the base is something
    /// else.
    pub(in crate::store) fn decimal(&self, mark: Option<Mark>) -> Option<Decimal> {
        self.number(mark).map(Number::decimal)
    }

    fn number(&self, mark: Option<Mark>) -> Option<Number> {
        let (base, sums) = self.live(mark);
        let start = match base {
            None => Number::Whole(0),
            Some(Value::Bytes(bytes)) => Number::parse(bytes)?,
            Some(Value::Float(_)) => return None,
        };
        Some(sums.fold(start, |total, (_, own)| total.plus(own.sum)))
    }

    /// The bytes that a client sees: the base, plus the sums if that is a number.
    pub(in crate::store) fn bytes(&self, mark: Option<Mark>) -> Option<Cow<'_, [u8]>> {
        let (base, mut sums) = self.live(mark);
        match (base, sums.next()) {
            (None, None) | (Some(Value::Float(_)), Some(_)) => None,
            (Some(Value::Float(float)), None) => Some(Cow::Owned(float.to_string().into_bytes())),
            (Some(Value::Bytes(bytes)), None) => Some(Cow::Borrowed(bytes)),
            (base, Some(_)) => match (self.number(mark), base) {
                (Some(total), _) => Some(Cow::Owned(total.text())),
                (None, Some(Value::Bytes(bytes))) => Some(Cow::Borrowed(bytes)),
                (None, _) => None,
            },
        }
    }

    /// What a client sees: the base, plus the sums.
    pub(in crate::store) fn value(&self, mark: Option<Mark>) -> Option<Value<'_>> {
        let (base, sums) = self.live(mark);
        let start = match base {
            Some(Value::Float(float)) => *float,
            None if self.contributions.iter().any(|(_, own)| matches!(own.sum, Sum::Float(_))) => 0.0,
            _ => return self.bytes(mark).map(Value::Bytes),
        };
        let mut sums = sums.peekable();
        if base.is_none() && sums.peek().is_none() {
            return None;
        }
        let total = sums.fold(start, |total, (_, own)| match own.sum {
            Sum::Int(int) => total + int as f64,
            Sum::Float(float) => total + float,
            Sum::Decimal(units) => total + Decimal::of_units(units).nearest(),
        });
        // Of infinities that two nodes have added, one each way, nothing is left.
        Some(Value::Float(if total.is_nan() { 0.0 } else { total }))
    }

    /// As [`Cell::value`], not copied if it need not be.
    pub(in crate::store) fn into_value(self, mark: Option<Mark>) -> Option<Value<'c>> {
        if self.contributions.is_empty() && mark.is_none() {
            return self.base.and_then(|(_, value)| value);
        }
        self.value(mark).map(super::owned_value)
    }

    /// As [`Cell::bytes`], not copied if it need not be.
    pub(in crate::store) fn into_bytes(self, mark: Option<Mark>) -> Option<Cow<'c, [u8]>> {
        match self.base {
            Some((_, Some(Value::Bytes(bytes)))) if self.contributions.is_empty() && mark.is_none() => {
                Some(bytes)
            }
            _ => self.bytes(mark).map(|bytes| Cow::Owned(bytes.into_owned())),
        }
    }

    /// What it counts as a sorted set's member.
    pub(in crate::store) fn score(&self, mark: Option<Mark>) -> Option<f64> {
        match self.value(mark)? {
            Value::Float(score) => Some(score),
            Value::Bytes(_) => Some(0.0),
        }
    }

    /// The newest version in it, hidden ones included.
    pub(in crate::store) fn newest(&self) -> Timestamp {
        let base = self.base.as_ref().map_or(Timestamp::ZERO, |(version, _)| version.timestamp);
        self.contributions.iter().map(|(_, own)| own.last).fold(base, Timestamp::max)
    }

    /// The latest version in it: of its newest write, and of the first and last increments of its sums.
    pub(super) fn latest(&self) -> Version {
        let sums = self.contributions.iter();
        let sums = sums.flat_map(|(origin, own)| [Version::new(own.first, *origin), own.entry()]);
        sums.fold(self.base_version(), Version::max)
    }

    /// The version of its newest write.
    pub(in crate::store) fn base_version(&self) -> Version {
        self.base.as_ref().map_or(Version::ZERO, |(version, _)| *version)
    }

    /// Whether it was removed, and nothing has been written to it since.
    pub(in crate::store) const fn is_tombstone(&self) -> bool {
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

//! The state of keys, as snapshots and nodes that compare themselves carry it: pages of keys.
//!
//! A change says what was written; a key's state says what is left of all that was. It holds every part with its own
//! version, and for the parts whose version is no point of any log (resets, marks) the log entry that made them:
//! for a part is *covered* by a frontier if the log entry that made it is.
//!
//! A page is a run of MessagePack values, or no bytes at all if it holds nothing. Versions are the bulk of it, so origins are named by their place in the
//! page's table, and moments told as the distance to the page's own in milliseconds:
//!
//! ```text
//! page     [ format, moment, [origin...], [flush...], keys ] key...
//! flush    db, version, entry: version
//! key      shape << 4 | database, key bytes, then by shape
//!            0 string   version, value         a live string written whole: reset and cell of one version
//!            1 reset    version                what a DEL leaves
//!            2 full     reset, mark, cells, cell...
//!            + 4        a TTL behind it: version, expiry or nil
//! version  milliseconds beyond the page's moment, counter, place of the origin in the table
//! reset    nil, or version, entry: version
//! mark     nil, or version, expiry, entry: version
//! cell     kind, element, base, contributions, contribution...
//! base     nil, or version, (nil, bytes or a score)
//! contribution  contributor, carrier, first, last, counted, sum, as in a change
//! ```
//!
//! A page has no checksum of its own: what carries it has.

mod decode;

mod encode;

#[cfg(test)]
mod tests;

use crate::change::{CellId, Sum, Value};
use crate::clock::Timestamp;
use crate::id::Origin;
use crate::time::WallMillis;
use crate::version::Version;

pub use self::decode::{Keys, Page, StateError};
pub use self::encode::PageBuilder;

/// The version of the format of pages that this build writes.
///
/// - 1: the first.
/// - 2: counters have decimal sums.
pub const FORMAT: u8 = 2;

/// The oldest version that it reads, for snapshots that an earlier build has written.
pub const FORMAT_MIN: u8 = 1;

/// All that is left of a key, or some of it. Parts that are not there are not known of, dead or alive.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyState<'a> {
    /// The database, below [`crate::change::DATABASES`].
    pub db: u8,
    /// The key.
    pub key: &'a [u8],
    /// What is older than this is dead. None if nothing, or nothing but a flush, was ever reset.
    pub reset: Option<ResetState>,
    /// When it expires, or that it does not.
    pub ttl: Option<TtlState>,
    /// That it has expired, and what that hides.
    pub mark: Option<MarkState>,
    /// What it holds, in order of their ids, none twice.
    pub cells: Vec<CellState<'a>>,
}

/// A key's reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetState {
    /// What is older is dead.
    pub version: Version,
    /// The log entry that made it.
    pub entry: Version,
}

/// A key's TTL register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TtlState {
    /// The write that set it.
    pub version: Version,
    /// When the key expires; none if it does not.
    pub expiry: Option<WallMillis>,
}

/// A key's expiry mark. Its reset is the key's, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkState {
    /// The reset's version.
    pub reset: Version,
    /// When the key expired.
    pub expiry: WallMillis,
    /// The log entry that made it.
    pub entry: Version,
}

/// A cell: its newest write, and what origins have added to it since.
#[derive(Clone, Debug, PartialEq)]
pub struct CellState<'a> {
    /// Which cell of the key.
    pub id: CellId<'a>,
    /// The newest write; a removal holds no value.
    pub base: Option<(Version, Option<Value<'a>>)>,
    /// In order of contributors, at most one of each.
    pub contributions: Vec<ContributionState>,
}

/// What one origin has added to a counter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ContributionState {
    /// Whose it is.
    pub contributor: Origin,
    /// The origin of the batch that carried it: another than the contributor's if it was restated.
    pub carrier: Origin,
    /// When its first increment was made.
    pub first: Timestamp,
    /// When its last increment was made, or when it was restated.
    pub last: Timestamp,
    /// The contributor's last increment that is in it.
    pub counted: Timestamp,
    /// What it adds up to.
    pub sum: Sum,
}

impl ContributionState {
    /// The log entry that made it.
    #[must_use]
    pub const fn entry(&self) -> Version {
        Version::new(self.last, self.carrier)
    }
}

/// A database's flush: a reset of all its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushState {
    /// The database, below [`crate::change::DATABASES`].
    pub db: u8,
    /// What is older is dead.
    pub version: Version,
    /// The log entry that made it.
    pub entry: Version,
}

impl<'a> KeyState<'a> {
    /// A key of which nothing is known.
    #[must_use]
    pub const fn new(db: u8, key: &'a [u8]) -> Self {
        Self { db, key, reset: None, ttl: None, mark: None, cells: Vec::new() }
    }

    /// Whether it says nothing of its key.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.reset.is_none() && self.ttl.is_none() && self.mark.is_none() && self.cells.is_empty()
    }

    /// The version and value of a live string written whole of which nothing else is left.
    #[must_use]
    pub fn plain(&self) -> Option<(Version, &[u8])> {
        let reset = self.plain_reset()?;
        match &self.cells[..] {
            [CellState { id, base: Some((version, Some(Value::Bytes(bytes)))), contributions }]
                if *id == CellId::STRING && *version == reset && contributions.is_empty() =>
            {
                Some((reset, bytes))
            }
            _ => None,
        }
    }

    /// The reset's version, if that is its own log entry and no mark stands.
    fn plain_reset(&self) -> Option<Version> {
        let reset = self.reset.filter(|reset| reset.entry == reset.version && self.mark.is_none())?;
        Some(reset.version)
    }
}

mod shape {
    pub(super) const STRING: u8 = 0;
    pub(super) const RESET: u8 = 1;
    pub(super) const FULL: u8 = 2;
    pub(super) const HAS_TTL: u8 = 4;
}

//! Origins as small numbers, for entries packed into few bytes.

use std::collections::HashMap;

use parking_lot::RwLock;
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::version::Version;

/// An origin's number in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OriginIndex(pub(crate) u16);

/// The origins met so far, each with its number. Bounded by what the number's 16 bits hold.
#[derive(Default)]
pub(crate) struct Origins(RwLock<Numbered>);

#[derive(Default)]
struct Numbered {
    by_index: Vec<Origin>,
    by_origin: HashMap<Origin, OriginIndex>,
}

/// More origins than can be told apart: this group's nodes have been restarted some 65,000 times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "65536 origins are known already: start this node with an empty directory, beside a peer that has the data"
)]
pub(crate) struct TooManyOrigins;

impl Origins {
    /// The origin's number, a new one if it was not met before.
    pub(crate) fn intern(&self, origin: Origin) -> Result<OriginIndex, TooManyOrigins> {
        if let Some(index) = self.0.read().by_origin.get(&origin) {
            return Ok(*index);
        }
        let mut numbered = self.0.write();
        if let Some(index) = numbered.by_origin.get(&origin) {
            return Ok(*index);
        }
        let index = OriginIndex(u16::try_from(numbered.by_index.len()).map_err(|_| TooManyOrigins)?);
        numbered.by_index.push(origin);
        numbered.by_origin.insert(origin, index);
        Ok(index)
    }

    /// The version with this timestamp of the numbered origin.
    pub(crate) fn version(&self, timestamp: Timestamp, index: OriginIndex) -> Version {
        Version { timestamp, origin: self.0.read().by_index[usize::from(index.0)] }
    }
}

//! Origins as small numbers, for entries packed into few bytes.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::version::Version;

/// An origin's number in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OriginIndex(pub(crate) u16);

/// The origins met so far, each with its number. Bounded by what the number's 16 bits hold.
///
/// Numbers are looked up on every write, for digests: so that takes no lock. An origin's number never changes, and
/// is handed out when the origin stands in its place.
pub(crate) struct Origins {
    by_origin: RwLock<HashMap<Origin, OriginIndex>>,
    /// By the number's high byte, then its low byte. Made when first needed, for most nodes meet few origins.
    by_index: [OnceLock<Box<Chunk>>; CHUNKS],
    /// Under which this node has written, in this run or one before.
    own: RwLock<HashSet<Origin>>,
    /// Those of them that have a number: a bit for each number.
    own_bits: [AtomicU64; OWN_WORDS],
}

type Chunk = [AtomicU64; CHUNK];

const CHUNK: usize = 256;
const CHUNKS: usize = 256;

const OWN_WORDS: usize = CHUNK * CHUNKS / u64::BITS as usize;

/// So many of the first origins are looked for one by one: seldom have more written what a store holds.
const NEAR: usize = 16;

/// More origins than can be told apart: this group's nodes have been restarted some 65,000 times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "65536 origins are known already: start this node with an empty directory, beside a peer that has the data"
)]
pub(crate) struct TooManyOrigins;

impl Default for Origins {
    fn default() -> Self {
        Self {
            by_origin: RwLock::default(),
            by_index: [const { OnceLock::new() }; CHUNKS],
            own: RwLock::default(),
            own_bits: [const { AtomicU64::new(0) }; OWN_WORDS],
        }
    }
}

impl Origins {
    /// The origin's number, a new one if it was not met before.
    pub(crate) fn intern(&self, origin: Origin) -> Result<OriginIndex, TooManyOrigins> {
        if let Some(index) = self.find(origin) {
            return Ok(index);
        }
        let mut by_origin = self.by_origin.write();
        if let Some(index) = by_origin.get(&origin) {
            return Ok(*index);
        }
        let index = OriginIndex(u16::try_from(by_origin.len()).map_err(|_| TooManyOrigins)?);
        let chunk = self.by_index[usize::from(index.0 >> 8)]
            .get_or_init(|| Box::new([const { AtomicU64::new(0) }; CHUNK]));
        chunk[usize::from(index.0 & 0xff)].store(origin.0, Ordering::Release);
        by_origin.insert(origin, index);
        if self.own.read().contains(&origin) {
            self.note_own(index);
        }
        Ok(index)
    }

    /// The origin's number, if it was met.
    pub(crate) fn find(&self, origin: Origin) -> Option<OriginIndex> {
        self.find_near(origin).or_else(|| self.by_origin.read().get(&origin).copied())
    }

    /// This node has written under these origins, or will.
    pub(crate) fn claim(&self, origins: impl IntoIterator<Item = Origin>) {
        for origin in origins {
            self.own.write().insert(origin);
            if let Some(index) = self.find(origin) {
                self.note_own(index);
            }
        }
    }

    fn note_own(&self, OriginIndex(index): OriginIndex) {
        self.own_bits[usize::from(index >> 6)].fetch_or(1 << (index & 63), Ordering::Release);
    }

    /// Whether this node has written under the numbered origin.
    pub(crate) fn is_own(&self, OriginIndex(index): OriginIndex) -> bool {
        self.own_bits[usize::from(index >> 6)].load(Ordering::Acquire) >> (index & 63) & 1 == 1
    }

    /// The number of an origin that is among the first. Without the lock: threads that load would all meet there, for each
    /// key.
    fn find_near(&self, origin: Origin) -> Option<OriginIndex> {
        // A place that is not taken yet looks like that of no origin.
        let chunk = self.by_index[0].get().filter(|_| origin != Origin::NONE)?;
        let place = chunk.iter().take(NEAR).position(|known| known.load(Ordering::Acquire) == origin.0)?;
        Some(OriginIndex(place as u16))
    }

    /// The origin with this number.
    pub(crate) fn origin(&self, index: OriginIndex) -> Origin {
        let chunk = self.by_index[usize::from(index.0 >> 8)].get();
        let chunk = chunk.expect("a number is handed out once its origin is in its place");
        Origin(chunk[usize::from(index.0 & 0xff)].load(Ordering::Acquire))
    }

    /// Every origin that is known.
    pub(crate) fn all(&self) -> Vec<Origin> {
        let mut all: Vec<_> = self.by_origin.read().keys().copied().collect();
        all.retain(|origin| *origin != Origin::NONE);
        all.sort_unstable();
        all
    }

    /// The version with this timestamp of the numbered origin.
    pub(crate) fn version(&self, timestamp: Timestamp, index: OriginIndex) -> Version {
        Version { timestamp, origin: self.origin(index) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_names_its_origin() {
        let origins = Origins::default();
        let number = |place: u64| origins.intern(Origin(place * 3 + 1));
        let made: Vec<_> = (0..65_536).map(|place| number(place).unwrap()).collect();
        assert_eq!(number(65_536), Err(TooManyOrigins));
        for (place, index) in made.iter().enumerate() {
            assert_eq!(origins.origin(*index), Origin(place as u64 * 3 + 1));
            assert_eq!(number(place as u64), Ok(*index));
        }
    }

    #[test]
    fn an_origin_may_be_met_before_it_is_known_to_be_own_or_after() {
        let origins = Origins::default();
        let before = origins.intern(Origin(7)).unwrap();
        assert!(!origins.is_own(before));
        origins.claim([Origin(7), Origin(8)]);
        let [after, other] = [8, 9].map(|origin| origins.intern(Origin(origin)).unwrap());
        assert_eq!([before, after, other].map(|index| origins.is_own(index)), [true, true, false]);
    }
}

//! The ids of list elements, whose order as bytes is the list's.
//!
//! An id is a position, the version of the push, and the element's index in that push. So what one push brings stays
//! together, and of two pushes to one place at two nodes both are kept, in the same order everywhere. A position begins
//! with eight bytes that count from the middle outwards as elements are pushed to the ends; one between two elements goes
//! on with as many bytes as it takes. An element is a cell like any other: its removal leaves a tombstone until all have it,
//! and of a removal and a setting at the same time the later stands. (That removals be final would take a rule of its own, by
//! the version of the push, for resets, marks and what is issued anew: one that has forgotten a reset would judge otherwise.)
//! Positions are dense, but kept short: see [`POSITION_BYTES_MAX`].

use shared::clock::Timestamp;
use shared::id::Origin;
use shared::version::Version;
use smallvec::SmallVec;

/// A longer position is not given: the list is to be written anew. Hundreds of elements fit between any two.
pub(crate) const POSITION_BYTES_MAX: usize = 64;

/// The bytes of an id that come after its position.
const SUFFIX_BYTES: usize = 8 + 8 + 4;

/// No id is longer.
pub(crate) const ID_BYTES_MAX: usize = POSITION_BYTES_MAX + SUFFIX_BYTES;

/// The place of the first element of all.
pub(super) const MIDDLE: u64 = 1 << 63;

/// Where in a list elements are put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position(SmallVec<[u8; 16]>);

impl Position {
    /// The place in an empty list.
    pub(crate) fn first() -> Self {
        Self::of_count(MIDDLE)
    }

    /// A place between the elements with these ids; none means the list's end. None if there is none that is short enough.
    pub(crate) fn between(lower: Option<&[u8]>, upper: Option<&[u8]>) -> Option<Self> {
        let position = match (lower, upper) {
            (None, None) => return Some(Self::first()),
            (Some(last), None) if count_of(last) < u64::MAX => Self::of_count(count_of(last) + 1),
            (None, Some(first)) if count_of(first) > 0 => Self::of_count(count_of(first) - 1),
            _ => Self(split(lower.unwrap_or_default(), upper)?),
        };
        (position.0.len() <= POSITION_BYTES_MAX).then_some(position)
    }

    /// The id of one of the elements that a push puts here.
    pub(crate) fn id(&self, push: Version, index: u32) -> Vec<u8> {
        let mut id = Vec::with_capacity(self.0.len() + SUFFIX_BYTES);
        id.extend_from_slice(&self.0);
        id.extend_from_slice(&push.timestamp.0.to_be_bytes());
        id.extend_from_slice(&push.origin.0.to_be_bytes());
        id.extend_from_slice(&index.to_be_bytes());
        id
    }

    fn of_count(count: u64) -> Self {
        Self(SmallVec::from_slice(&count.to_be_bytes()))
    }
}

/// An id whose position is but the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlainId {
    pub(super) position: u64,
    pub(super) push: Version,
    pub(super) index: u32,
}

impl PlainId {
    pub(super) const BYTES: usize = 8 + SUFFIX_BYTES;

    /// None if it is another.
    pub(super) fn parse(id: &[u8]) -> Option<Self> {
        let (position, rest) = id.split_first_chunk()?;
        let (timestamp, rest) = rest.split_first_chunk()?;
        let (origin, rest) = rest.split_first_chunk()?;
        let timestamp = Timestamp(u64::from_be_bytes(*timestamp));
        Some(Self {
            position: u64::from_be_bytes(*position),
            push: Version::new(timestamp, Origin(u64::from_be_bytes(*origin))),
            index: u32::from_be_bytes(rest.try_into().ok()?),
        })
    }

    pub(super) fn bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.position.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.push.timestamp.0.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.push.origin.0.to_be_bytes());
        bytes[24..].copy_from_slice(&self.index.to_be_bytes());
        bytes
    }
}

fn count_of(id: &[u8]) -> u64 {
    id.first_chunk().map_or(MIDDLE, |count| u64::from_be_bytes(*count))
}

/// The shortest bytes between the two, whatever is put behind them.
fn split(lower: &[u8], upper: Option<&[u8]>) -> Option<SmallVec<[u8; 16]>> {
    let mut between = SmallVec::new();
    // What is put behind the bytes so far stays below `upper` of itself.
    let mut is_below = upper.is_none();
    loop {
        let place = between.len();
        let low = lower.get(place).map_or(-1, |byte| i32::from(*byte));
        let high = match upper {
            Some(upper) if !is_below => i32::from(*upper.get(place)?),
            _ => 256,
        };
        if high - low > 1 {
            between.push(((low + high) / 2) as u8);
            return Some(between);
        }
        if high < low {
            return None;
        }
        between.push(low.max(0) as u8);
        is_below |= low >= 0 && low < high;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(at: u64) -> Version {
        Version::new(Timestamp(at), Origin(7))
    }

    #[test]
    fn pushes_to_the_ends_lie_beyond_them_and_stay_short() {
        let first = Position::first().id(version(5), 0);
        let head = Position::between(None, Some(&first)).unwrap();
        let tail = Position::between(Some(&first), None).unwrap();
        assert!(head.id(version(9), 3) < first && first < tail.id(version(1), 0));
        assert_eq!((head.0.len(), tail.0.len()), (8, 8));
    }

    #[test]
    fn there_is_room_for_hundreds_at_one_place() {
        let mut low = Position::first().id(version(5), 0);
        let high = Position::first().id(version(5), 1);
        let count = (0..)
            .take_while(|at| match Position::between(Some(&low), Some(&high)) {
                Some(position) => {
                    low = position.id(version(*at), 0);
                    true
                }
                None => false,
            })
            .count();
        assert!(count >= 200, "{count}");
    }

    proptest! {
        /// Whatever is inserted where, the ids' order is the order of insertion.
        #[test]
        fn an_inserted_element_lies_between_its_neighbours(places in prop::collection::vec((any::<u16>(), 1_u32..4), 1..80)) {
            let mut ids: Vec<Vec<u8>> = Vec::new();
            for (at, (place, count)) in places.into_iter().enumerate() {
                let place = usize::from(place) % (ids.len() + 1);
                let lower = place.checked_sub(1).map(|before| &*ids[before]);
                let upper = ids.get(place).map(|id| &**id);
                let Some(position) = Position::between(lower, upper) else { continue };
                let new: Vec<_> = (0..count).map(|index| position.id(version(at as u64 % 3 + 1), index)).collect();
                ids.splice(place..place, new);
                prop_assert!(ids.is_sorted_by(|a, b| a < b));
            }
        }
    }
}

//! A counter that one origin has added to, and nobody has written: what INCR makes of a key.
//!
//! ```text
//! count = last timestamp 8, sum 8, (first timestamp 8, origin 2)
//! ```
//!
//! The first timestamp and the origin stand at the beginning of the key if it was never reset.

use shared::change::{CellId, Kind, Sum};
use shared::clock::Timestamp;
use shared::id::Origin;
use smallvec::SmallVec;

use super::{NEVER_RESET, Packed, Tail};
use crate::store::branch::{Branch, took};
use crate::store::digest;
use crate::store::origins::{OriginIndex, Origins};
use crate::store::rich::{Cell, OwnContribution, Source};
use crate::store::shard::Writer;

/// What an origin has added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) first: Timestamp,
    last: Timestamp,
    pub(crate) sum: i64,
    origin: OriginIndex,
}

const FIRST_AT: usize = 16;
const ORIGIN_AT: usize = 24;
const BYTES: usize = 26;

impl Count {
    /// What a key with this reset begins with, and what stands behind its name.
    pub(super) fn bytes(
        self,
        reset: Timestamp,
        by: OriginIndex,
    ) -> ((Timestamp, OriginIndex), SmallVec<[u8; BYTES]>) {
        let mut bytes = SmallVec::new();
        bytes.extend_from_slice(&self.last.0.to_le_bytes());
        bytes.extend_from_slice(&self.sum.to_le_bytes());
        if reset == Timestamp::ZERO {
            return ((self.first, self.origin), bytes);
        }
        bytes.extend_from_slice(&self.first.0.to_le_bytes());
        bytes.extend_from_slice(&self.origin.0.to_le_bytes());
        ((reset, by), bytes)
    }

    /// None if it says more than there is room for.
    pub(super) fn of(contributor: Origin, own: &OwnContribution, origin: OriginIndex) -> Option<Self> {
        let OwnContribution { first, last, counted, sum: Sum::Int(sum), carrier } = *own else { return None };
        let sum = i64::try_from(sum).ok().filter(|_| counted == last && carrier == contributor)?;
        Some(Self { first, last, sum, origin })
    }

    pub(super) fn contribution(self, origins: &Origins) -> (Origin, OwnContribution) {
        let Self { first, last, sum, origin } = self;
        let contributor = origins.origin(origin);
        let sum = Sum::Int(i128::from(sum));
        (contributor, OwnContribution { first, last, counted: last, sum, carrier: contributor })
    }

    pub(crate) fn cell(self, origins: &Origins) -> Cell<'static> {
        Cell { base: None, contributions: [self.contribution(origins)].into_iter().collect() }
    }

    /// The part of the key's digest.
    pub(crate) fn digest(self, origins: &Origins) -> u64 {
        let (contributor, own) = self.contribution(origins);
        digest::contribution(Kind::String, &[], contributor, &own)
    }

    pub(crate) const fn newest(self) -> Timestamp {
        self.last
    }
}

impl Packed {
    /// What it counts, if it is such a counter.
    #[inline(always)]
    pub(crate) fn count(&self) -> Option<Count> {
        match self.tail() {
            Tail::Count(count) => Some(count),
            _ => None,
        }
    }

    /// Merges what an origin has added; none if that needs another form.
    pub(super) fn merge_count(
        &mut self,
        id: &CellId<'_>,
        own: &OwnContribution,
        (contributor, index): (Origin, OriginIndex),
        source: Source,
    ) -> Option<bool> {
        if id.kind != Kind::String {
            return None;
        }
        let new = Count::of(contributor, own, index)?;
        match self.tail() {
            Tail::Nothing => {
                took(Branch::SumNew);
                *self = Self::build(
                    self.key(),
                    Tail::Count(new),
                    self.timestamp(),
                    self.origin(),
                    self.packed_ttl(),
                    self.accessed(),
                );
                Some(true)
            }
            Tail::Count(old) => {
                if old.origin != index {
                    return None;
                }
                let (old, rank) = ((old.first, old.last), (new.first, new.last));
                let stays = if source == Source::Local { old > rank } else { old >= rank };
                took(if stays { Branch::SumOlder } else { Branch::SumGrows });
                if !stays {
                    self.put_count(new);
                }
                Some(!stays)
            }
            Tail::Entry(_) | Tail::Value(_) | Tail::Cells(_) => None,
        }
    }

    /// The count whose bytes these are.
    #[inline(always)]
    pub(super) fn read_count(&self, bytes: &[u8]) -> Count {
        let number = |at: usize| {
            let bytes = bytes[at..at + 8].try_into();
            u64::from_le_bytes(bytes.expect("the slice is as long as the array"))
        };
        let (first, origin) = if self.flags() & NEVER_RESET == 0 {
            let origin = u16::from_le_bytes([bytes[ORIGIN_AT], bytes[ORIGIN_AT + 1]]);
            (Timestamp(number(FIRST_AT)), OriginIndex(origin))
        } else {
            self.stamp()
        };
        Count { first, last: Timestamp(number(0)), sum: number(8) as i64, origin }
    }

    /// Puts a count of the same origin in the place of one.
    fn put_count(&mut self, count: Count) {
        let start = self.value_start();
        let first = if self.flags() & NEVER_RESET == 0 { start + FIRST_AT } else { 0 };
        let bytes = self.bytes_mut();
        bytes[start..start + 8].copy_from_slice(&count.last.0.to_le_bytes());
        bytes[start + 8..start + 16].copy_from_slice(&count.sum.to_le_bytes());
        bytes[first..first + 8].copy_from_slice(&count.first.0.to_le_bytes());
    }

    /// Adds to it what the writer adds, if that is whose it is. Returns what it was, and is.
    pub(crate) fn increment(&mut self, by: i64, writer: Writer) -> Option<(Count, Count)> {
        let old = self.count().filter(|count| count.origin == writer.index)?;
        let new = Count { sum: old.sum.checked_add(by)?, last: writer.at.timestamp, ..old };
        took(Branch::SumGrows);
        self.put_count(new);
        Some((old, new))
    }
}

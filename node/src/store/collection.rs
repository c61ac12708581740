//! What a client sees of a hash, set, sorted set or list: the live cells of one kind, in order.
//!
//! Apart from expiry, which whoever asks has judged before.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use shared::change::{CellId, Kind};
use xxhash_rust::xxh3::xxh3_64;

use super::rich::{CellValue, RichKey};

/// The live elements of a key of this kind.
#[derive(Clone, Copy)]
pub(crate) struct Collection<'s> {
    rich: &'s RichKey,
    kind: Kind,
}

/// The order of a sorted set's members: by score, then by name.
pub(crate) fn rank_order(left: (f64, &[u8]), right: (f64, &[u8])) -> Ordering {
    left.0.partial_cmp(&right.0).unwrap_or(Ordering::Equal).then_with(|| left.1.cmp(right.1))
}

impl<'s> Collection<'s> {
    pub(crate) const fn new(rich: &'s RichKey, kind: Kind) -> Self {
        Self { rich, kind }
    }

    /// How many elements there are: at least one.
    pub(crate) fn len(&self) -> usize {
        self.rich.live_of(self.kind)
    }

    /// The value of a field, or of a list's element by its id; empty for a member of a set.
    pub(crate) fn get(&self, element: &[u8]) -> Option<Cow<'s, [u8]>> {
        self.rich.live_bytes(&self.id(element))
    }

    pub(crate) fn contains(&self, element: &[u8]) -> bool {
        self.rich.is_live(&self.id(element))
    }

    /// A member's score.
    pub(crate) fn score(&self, member: &[u8]) -> Option<f64> {
        self.rich.live_score(&self.id(member))
    }

    /// The elements with their values. A list's come in its order, with their ids; others in no order that means anything.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&'s [u8], Cow<'s, [u8]>)> + use<'s> {
        self.range(0..self.len())
    }

    /// As [`Collection::iter`], those at these places.
    pub(crate) fn range(
        &self,
        range: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = (&'s [u8], Cow<'s, [u8]>)> + use<'s> {
        self.rich.live_range(self.kind, range)
    }

    /// The element at a place.
    pub(crate) fn nth(&self, place: usize) -> Option<(&'s [u8], Cow<'s, [u8]>)> {
        self.range(place..place.checked_add(1)?).next()
    }

    /// A sorted set's members of these ranks, with their scores, lowest first.
    pub(crate) fn ranked(
        &self,
        range: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = (&'s [u8], f64)> + use<'s> {
        let mut members = self.rich.scores();
        let end = range.end.min(members.len());
        members.truncate(end);
        members.into_iter().skip(range.start)
    }

    /// How many members come before this one, if it is there.
    pub(crate) fn rank(&self, member: &[u8]) -> Option<usize> {
        let score = self.score(member)?;
        Some(self.rank_where(|other, name| rank_order((other, name), (score, member)).is_lt()))
    }

    /// How many members come first for which this holds; it must hold for none behind one for which it does not.
    pub(crate) fn rank_where(&self, holds: impl Fn(f64, &[u8]) -> bool) -> usize {
        self.rich.scores().partition_point(|(member, score)| holds(*score, member))
    }

    /// About `count` elements from `cursor` on, and the cursor to go on from, zero at the end. What is there all the time
    /// while cursors are followed from zero to zero comes at least once.
    pub(crate) fn scan(&self, cursor: u64, count: usize) -> (u64, Vec<(&'s [u8], Cow<'s, [u8]>)>) {
        let mut rest: Vec<_> = self
            .iter()
            .map(|found| (scan_hash(found.0), found))
            .filter(|(hash, _)| *hash >= cursor)
            .collect();
        rest.sort_unstable_by_key(|(hash, _)| *hash);
        let mut end = count.min(rest.len());
        while end > 0 && end < rest.len() && rest[end].0 == rest[end - 1].0 {
            end += 1;
        }
        let next = rest.get(end).map_or(0, |(hash, _)| *hash);
        (next, rest.into_iter().take(end).map(|(_, found)| found).collect())
    }

    fn id<'e>(&self, element: &'e [u8]) -> CellId<'e> {
        CellId { kind: self.kind, element: Cow::Borrowed(element) }
    }
}

/// Zero is no place: as a cursor it means the beginning and the end.
fn scan_hash(element: &[u8]) -> u64 {
    xxh3_64(element).max(1)
}

/// What clients see of cells.
impl RichKey {
    /// How many cells of the kind are live.
    pub(crate) fn live_of(&self, kind: Kind) -> usize {
        self.tally().live[kind as usize]
    }

    fn is_live(&self, id: &CellId<'_>) -> bool {
        self.cell(id).is_some_and(|cell| cell.is_live(self.mark))
    }

    fn live_bytes(&self, id: &CellId<'_>) -> Option<Cow<'_, [u8]>> {
        self.cell(id)?.bytes(self.mark)
    }

    fn live_score(&self, id: &CellId<'_>) -> Option<f64> {
        match self.cell(id)?.value(self.mark)? {
            CellValue::Float(score) => Some(score),
            CellValue::Bytes(_) => Some(0.0),
        }
    }

    fn live_range(
        &self,
        kind: Kind,
        range: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = (&[u8], Cow<'_, [u8]>)> + use<'_> {
        let live = self.cells.iter().filter(move |(id, _)| id.kind == kind);
        let live = live.filter_map(|(id, cell)| Some((&*id.element, cell.bytes(self.mark)?)));
        let live: Vec<_> = live.skip(range.start).take(range.len()).collect();
        live.into_iter()
    }

    /// A sorted set's live members with their scores, in the order of ranks.
    fn scores(&self) -> Vec<(&[u8], f64)> {
        let members =
            self.cells.iter().filter(|(id, cell)| id.kind == Kind::SortedSet && cell.is_live(self.mark));
        let mut scores: Vec<_> =
            members.map(|(id, _)| (&*id.element, self.live_score(id).unwrap_or_default())).collect();
        scores.sort_unstable_by(|left, right| rank_order((left.1, left.0), (right.1, right.0)));
        scores
    }
}

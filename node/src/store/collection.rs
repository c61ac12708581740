//! What a client sees of a hash, set, sorted set or list: the live cells of one kind, in order.
//!
//! Apart from expiry, which whoever asks has judged before.

use std::borrow::Cow;
use std::ops::Range;

use shared::change::{CellId, Kind};

use super::rich::{CellValue, RichKey, cursor_of, rank_order};

/// An element, and its value: see [`Collection::get`].
pub(crate) type Element<'s> = (&'s [u8], Cow<'s, [u8]>);

/// The live elements of a key of this kind.
#[derive(Clone, Copy)]
pub(crate) struct Collection<'s> {
    rich: &'s RichKey,
    kind: Kind,
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
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Element<'s>> + use<'s> {
        self.range(0..self.len())
    }

    /// As [`Collection::iter`], those at these places.
    pub(crate) fn range(
        &self,
        range: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = Element<'s>> + use<'s> {
        self.rich.live_range(self.kind, range)
    }

    /// The element at a place.
    pub(crate) fn nth(&self, place: usize) -> Option<Element<'s>> {
        self.range(place..place.checked_add(1)?).next()
    }

    /// A sorted set's members of these ranks, with their scores, lowest first.
    pub(crate) fn ranked(
        &self,
        ranks: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = (&'s [u8], f64)> + use<'s> {
        self.rich.ranked(ranks)
    }

    /// How many members come before this one, if it is there.
    pub(crate) fn rank(&self, member: &[u8]) -> Option<usize> {
        let score = self.score(member)?;
        Some(self.rank_where(|other, name| rank_order((other, name), (score, member)).is_lt()))
    }

    /// How many members come first for which this holds; it must hold for none behind one for which it does not.
    pub(crate) fn rank_where(&self, holds: impl Fn(f64, &[u8]) -> bool) -> usize {
        self.rich.rank_where(holds)
    }

    /// About `count` elements from `cursor` on, and the cursor to go on from, zero at the end. What is there all the time
    /// while cursors are followed from zero to zero comes at least once. Not for lists.
    pub(crate) fn scan(&self, cursor: u64, count: usize) -> (u64, Vec<Element<'s>>) {
        let Some(before) = self.rich.cells.live_before(self.kind, cursor) else { return (0, Vec::new()) };
        let start = before - self.offset();
        let mut found: Vec<_> =
            self.range(start..start.saturating_add(count.max(1)).min(self.len())).collect();
        // Those that have the last one's cursor come with it.
        for (element, value) in self.range(start + found.len()..self.len()) {
            let next = cursor_of(element);
            if found.last().is_none_or(|(last, _)| cursor_of(last) != next) {
                return (next, found);
            }
            found.push((element, value));
        }
        (0, found)
    }

    /// The place of the first element among all that the key holds.
    fn offset(&self) -> usize {
        self.rich.offset_of(self.kind)
    }

    fn id<'e>(&self, element: &'e [u8]) -> CellId<'e> {
        CellId { kind: self.kind, element: Cow::Borrowed(element) }
    }
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

    fn offset_of(&self, kind: Kind) -> usize {
        self.tally().live[..kind as usize].iter().sum()
    }

    fn live_range(
        &self,
        kind: Kind,
        range: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = (&[u8], Cow<'_, [u8]>)> + use<'_> {
        let (offset, length) = (self.offset_of(kind), self.live_of(kind));
        let live = self.cells.live(offset + range.start.min(length)..offset + range.end.min(length));
        live.map(|(id, cell)| (&*id.element, cell.bytes(self.mark).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use shared::change::{Op, Value};
    use shared::clock::Timestamp;
    use shared::id::Origin;
    use shared::version::Version;

    use super::super::rich::Source;
    use super::super::shard::Flushed;
    use super::*;

    const COUNT: usize = 1_000;

    fn merged(kind: Kind, changes: impl IntoIterator<Item = (String, Option<f64>)>) -> RichKey {
        let mut rich = RichKey::absent(b"key", Flushed::default());
        for (at, (element, score)) in changes.into_iter().enumerate() {
            let id = CellId { kind, element: element.into_bytes().into() };
            let at = Version::new(Timestamp(at as u64 + 1), Origin(1));
            rich.merge(Op::Cell(id, score.map(Value::Float)), at, Source::Log);
        }
        rich
    }

    #[test]
    fn a_scan_tells_each_element_once_though_others_come_and_go() {
        let mut rich = merged(Kind::Set, (0..COUNT).map(|n| (n.to_string(), Some(0.0))));
        let (mut cursor, mut told) = (0, Vec::new());
        for at in COUNT.. {
            let (next, found) = Collection::new(&rich, Kind::Set).scan(cursor, 10);
            assert!(found.len() >= 10 || next == 0);
            told.extend(found.into_iter().map(|(element, _)| element.to_vec()));
            // One that was told goes, and another comes.
            let gone = told[told.len() - 1].clone();
            let at = Version::new(Timestamp(at as u64 + 1), Origin(1));
            let cell = |element: Vec<u8>| CellId { kind: Kind::Set, element: element.into() };
            rich.merge(Op::Cell(cell(gone), None), at, Source::Log);
            let new = format!("new {at:?}").into_bytes();
            rich.merge(Op::Cell(cell(new), Some(Value::Float(0.0))), at, Source::Log);
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        let old: Vec<_> = told.iter().filter(|element| !element.starts_with(b"new")).collect();
        let distinct: std::collections::HashSet<_> = old.iter().collect();
        assert_eq!((old.len(), distinct.len()), (COUNT, COUNT));
    }

    #[test]
    fn cursors_are_exact_as_floating_point_numbers_and_none_leads_into_another_kind() {
        let hash = |n: usize| {
            Op::Cell(
                CellId { kind: Kind::Hash, element: n.to_string().into_bytes().into() },
                Some(Value::Float(0.0)),
            )
        };
        let mut rich = merged(Kind::Set, (0..COUNT).map(|n| (n.to_string(), Some(0.0))));
        for n in 0..COUNT {
            rich.merge(hash(n), Version::new(Timestamp((COUNT + n) as u64), Origin(1)), Source::Log);
        }
        let set = Collection::new(&rich, Kind::Set);
        assert!((0..COUNT).all(|n| cursor_of(n.to_string().as_bytes()) < 1 << 53));
        for cursor in [1 << 48, 1 << 61, u64::MAX] {
            assert_eq!(set.scan(cursor, 10), (0, Vec::new()));
        }
        assert!(set.scan((1 << 48) - 1, 10).1.len() <= 1);
    }

    #[test]
    fn ranks_are_by_score_then_name_in_small_and_large_sets() {
        for count in [10, COUNT] {
            let score = |n: usize| [0.0, -0.0, f64::NEG_INFINITY, 1.5][n % 4] + (n % 3) as f64;
            let written = (0..count).map(|n| (n.to_string(), Some(score(n + 1))));
            let rewritten = (0..count).map(|n| (n.to_string(), Some(score(n))));
            let removed = (0..count).step_by(5).map(|n| (n.to_string(), None));
            let rich = merged(Kind::SortedSet, written.chain(rewritten).chain(removed));
            let set = Collection::new(&rich, Kind::SortedSet);
            let mut expected: Vec<(String, f64)> =
                (0..count).filter(|n| n % 5 > 0).map(|n| (n.to_string(), score(n))).collect();
            expected.sort_by(|l, r| rank_order((l.1, l.0.as_bytes()), (r.1, r.0.as_bytes())));
            let all: Vec<(&[u8], f64)> = set.ranked(0..usize::MAX).collect();
            assert_eq!(
                all,
                expected.iter().map(|(name, score)| (name.as_bytes(), *score)).collect::<Vec<_>>()
            );
            assert_eq!(set.len(), expected.len());
            for (rank, (name, score)) in expected.iter().enumerate() {
                assert_eq!(set.rank(name.as_bytes()), Some(rank));
                assert_eq!(set.ranked(rank..rank + 1).next(), Some((name.as_bytes(), *score)));
            }
            assert_eq!(
                set.rank_where(|score, _| score < 1.0),
                expected.iter().filter(|(_, s)| *s < 1.0).count()
            );
        }
    }
}

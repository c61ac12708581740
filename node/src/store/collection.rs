//! What a client sees of a hash, set, sorted set or list: the live cells of one kind, in order.
//!
//! Apart from expiry, which whoever asks has judged before.

use std::borrow::Cow;
use std::ops::Range;

use shared::change::{CellId, Kind};

use super::block::{Block, BlockCell, Cells, Text};
use super::entry::PackedCells;
use super::rich::{Found, LiveCells, Mark, RichKey, cursor_of, rank_order};

/// An element, and its value: see [`Collection::get`].
pub(crate) type Element<'s> = (Text<'s>, Text<'s>);

/// The live elements of a key of this kind.
#[derive(Clone, Copy)]
pub(crate) struct Collection<'s> {
    held: Held<'s>,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Held<'s> {
    Packed(PackedCells<'s>),
    Rich(&'s RichKey),
}

impl<'s> Collection<'s> {
    pub(crate) const fn packed(cells: PackedCells<'s>, kind: Kind) -> Self {
        Self { held: Held::Packed(cells), kind }
    }

    pub(crate) const fn rich(rich: &'s RichKey, kind: Kind) -> Self {
        Self { held: Held::Rich(rich), kind }
    }

    /// How many elements there are: at least one.
    pub(crate) fn len(&self) -> usize {
        match self.held {
            Held::Packed(cells) => cells.len(),
            Held::Rich(rich) => rich.live_of(self.kind),
        }
    }

    /// The value of a field, or of a list's element by its id; empty for a member of a set.
    pub(crate) fn get(&self, element: &[u8]) -> Option<Text<'s>> {
        let id = self.id(element);
        match self.held {
            Held::Packed(cells) => cells.get(&id)?.text(&cells.block),
            Held::Rich(rich) => rich.cells.find(&id)?.text(rich.mark),
        }
    }

    pub(crate) fn contains(&self, element: &[u8]) -> bool {
        let id = self.id(element);
        match self.held {
            Held::Packed(cells) => cells.get(&id).is_some_and(|cell| cell.is_live()),
            Held::Rich(rich) => rich.cell(&id).is_some_and(|cell| cell.is_live(rich.mark)),
        }
    }

    /// A member's score.
    pub(crate) fn score(&self, member: &[u8]) -> Option<f64> {
        let id = self.id(member);
        match self.held {
            Held::Packed(cells) => cells.get(&id)?.score(&cells.block),
            Held::Rich(rich) => rich.cells.find(&id)?.score(rich.mark),
        }
    }

    /// The elements with their values. A list's come in its order, with their ids; others in no order that means anything.
    pub(crate) fn iter(&self) -> Elements<'s> {
        self.range(0..self.len())
    }

    /// As [`Collection::iter`], those at these places.
    pub(crate) fn range(&self, range: Range<usize>) -> Elements<'s> {
        match self.held {
            Held::Packed(cells) => Elements::Packed(PackedElements::new(cells, range)),
            Held::Rich(rich) => {
                let (offset, length) = (rich.offset_of(self.kind), rich.live_of(self.kind));
                let places = offset + range.start.min(length)..offset + range.end.min(length);
                Elements::Rich(rich.cells.live(places), rich.mark)
            }
        }
    }

    /// Hands on the values of the elements at these places.
    pub(crate) fn each_value(&self, range: Range<usize>, see: impl FnMut(&[u8])) {
        match self.range(range) {
            Elements::Packed(mut elements) => elements.cells.each_value(elements.left, see),
            Elements::Rich(cells, mark) => cells.each_value(mark, see),
        }
    }

    /// The element at a place.
    pub(crate) fn nth(&self, place: usize) -> Option<Element<'s>> {
        self.range(place..place.checked_add(1)?).next()
    }

    /// A sorted set's members of these ranks, with their scores, lowest first.
    pub(crate) fn ranked(
        &self,
        ranks: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = (Text<'s>, f64)> + use<'s> {
        // A block has its members in the order of ranks.
        let (packed, rich) = match self.held {
            Held::Packed(cells) => (Some(PackedElements::new(cells, ranks)), None),
            Held::Rich(rich) => (None, Some(rich.ranked(ranks))),
        };
        let packed = packed.into_iter().flat_map(PackedElements::members);
        packed.chain(rich.into_iter().flatten())
    }

    /// How many members come before this one, if it is there.
    pub(crate) fn rank(&self, member: &[u8]) -> Option<usize> {
        let score = self.score(member)?;
        Some(self.rank_where(|other, name| rank_order((other, name), (score, member)).is_lt()))
    }

    /// How many members come first for which this holds; it must hold for none behind one for which it does not.
    pub(crate) fn rank_where(&self, holds: impl Fn(f64, &[u8]) -> bool) -> usize {
        match self.held {
            Held::Packed(cells) => {
                let members = PackedElements::new(cells, 0..usize::MAX).members();
                members.take_while(|(member, score)| holds(*score, member)).count()
            }
            Held::Rich(rich) => rich.rank_where(holds),
        }
    }

    /// About `count` elements from `cursor` on, and the cursor to go on from, zero at the end. What is there all the time
    /// while cursors are followed from zero to zero comes at least once. Not for lists.
    pub(crate) fn scan(&self, cursor: u64, count: usize) -> (u64, Vec<Element<'s>>) {
        let Held::Rich(rich) = self.held else {
            // All at once, as Redis does where elements lie side by side.
            return (0, self.iter().collect());
        };
        let Some(before) = rich.cells.live_before(self.kind, cursor) else { return (0, Vec::new()) };
        let start = before - rich.offset_of(self.kind);
        let mut found: Vec<_> =
            self.range(start..start.saturating_add(count.max(1)).min(self.len())).collect();
        // Those that have the last one's cursor come with it.
        for (element, value) in self.range(start + found.len()..self.len()) {
            let next = cursor_of(&element);
            if found.last().is_none_or(|(last, _)| cursor_of(last) != next) {
                return (next, found);
            }
            found.push((element, value));
        }
        (0, found)
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

    /// How many live cells come before those of the kind.
    fn offset_of(&self, kind: Kind) -> usize {
        self.tally().live[..kind as usize].iter().sum()
    }
}

/// Elements at some places.
#[expect(clippy::large_enum_variant, reason = "it lives on the stack of who reads")]
pub(crate) enum Elements<'s> {
    Packed(PackedElements<'s>),
    Rich(LiveCells<'s>, Option<Mark>),
}

impl<'s> Elements<'s> {
    fn element(found: Found<'s>, mark: Option<Mark>) -> Element<'s> {
        (found.cell.element(), found.text(mark).unwrap_or_default())
    }
}

impl<'s> Iterator for Elements<'s> {
    type Item = Element<'s>;

    fn next(&mut self) -> Option<Element<'s>> {
        match self {
            Self::Packed(cells) => cells.next().map(|cell| cells.element(&cell)),
            Self::Rich(cells, mark) => cells.next().map(|found| Self::element(found, *mark)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Packed(cells) => (cells.left, Some(cells.left)),
            Self::Rich(cells, _) => cells.size_hint(),
        }
    }
}

impl ExactSizeIterator for Elements<'_> {}

impl DoubleEndedIterator for Elements<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Self::Packed(cells) => cells.next_back().map(|cell| cells.element(&cell)),
            Self::Rich(cells, mark) => cells.next_back().map(|found| Self::element(found, *mark)),
        }
    }
}

/// Live cells of a block, at some places.
pub(crate) struct PackedElements<'s> {
    block: Block<'s>,
    cells: Cells<'s>,
    /// So many are still to come.
    left: usize,
    /// These, if somebody has asked for the last of them: a block is read forwards.
    read: Option<Vec<BlockCell<'s>>>,
}

impl<'s> PackedElements<'s> {
    fn new(cells: PackedCells<'s>, places: Range<usize>) -> Self {
        let end = places.end.min(cells.len());
        let start = places.start.min(end);
        let mut live = cells.block.iter();
        if start > 0 {
            live.by_ref().filter(BlockCell::is_live).nth(start - 1);
        }
        Self { block: cells.block, cells: live, left: end - start, read: None }
    }

    fn element(&self, cell: &BlockCell<'s>) -> Element<'s> {
        (cell.element(), cell.text(&self.block).unwrap_or_default())
    }

    /// The members of a sorted set, with their scores.
    fn members(self) -> impl DoubleEndedIterator<Item = (Text<'s>, f64)> {
        let block = self.block;
        self.map(move |cell| (cell.element(), cell.score(&block).unwrap_or_default()))
    }
}

impl<'s> Iterator for PackedElements<'s> {
    type Item = BlockCell<'s>;

    fn next(&mut self) -> Option<BlockCell<'s>> {
        self.left = self.left.checked_sub(1)?;
        match &mut self.read {
            None => self.cells.find(BlockCell::is_live),
            Some(read) => Some(read.remove(0)),
        }
    }
}

impl DoubleEndedIterator for PackedElements<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let left = self.left.checked_sub(1)?;
        let cells = &mut self.cells;
        let read =
            self.read.get_or_insert_with(|| cells.filter(BlockCell::is_live).take(self.left).collect());
        self.left = left;
        read.pop()
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
            let (next, found) = Collection::rich(&rich, Kind::Set).scan(cursor, 10);
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
        let set = Collection::rich(&rich, Kind::Set);
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
            let set = Collection::rich(&rich, Kind::SortedSet);
            let mut expected: Vec<(String, f64)> =
                (0..count).filter(|n| n % 5 > 0).map(|n| (n.to_string(), score(n))).collect();
            expected.sort_by(|l, r| rank_order((l.1, l.0.as_bytes()), (r.1, r.0.as_bytes())));
            let all: Vec<(Text<'_>, f64)> = set.ranked(0..usize::MAX).collect();
            assert_eq!(
                all,
                expected
                    .iter()
                    .map(|(name, score)| (Text::Borrowed(name.as_bytes()), *score))
                    .collect::<Vec<_>>()
            );
            assert_eq!(set.len(), expected.len());
            for (rank, (name, score)) in expected.iter().enumerate() {
                assert_eq!(set.rank(name.as_bytes()), Some(rank));
                assert_eq!(
                    set.ranked(rank..rank + 1).next(),
                    Some((Text::Borrowed(name.as_bytes()), *score))
                );
            }
            assert_eq!(
                set.rank_where(|score, _| score < 1.0),
                expected.iter().filter(|(_, s)| *s < 1.0).count()
            );
        }
    }
}

//! A key's cells, in an order in which each is found quickly, and those of one kind by their places.

use std::cmp::Ordering;

use shared::change::{CellId, Kind};
use shared::version::Version;
use xxhash_rust::xxh3::xxh3_64;

use super::Mark;
use super::cell::Cell;
use super::tally::Tally;
use crate::store::account::allocated;
use crate::store::block::{Block, BlockCell, Text};
use crate::store::tree::{self, CountedTree};

/// The cells of a key. Those of a kind lie together: a list's in its order, others by a hash of their names, so that a
/// client can go through them by a cursor that means something after any change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cells(CountedTree<Element>);

/// A cell: a block of its own, behind a byte that tells whether it is live.
#[derive(Clone, Debug)]
struct Element {
    prefix: u64,
    /// Empty until the cell is made.
    bytes: Box<[u8]>,
}

impl Element {
    fn bytes_of(id: &CellId<'_>, cell: &Cell<'_>, is_live: bool) -> Box<[u8]> {
        if cell.is_empty() {
            return Box::default();
        }
        Block::single(id, cell, &[u8::from(is_live)]).into_boxed_slice()
    }

    /// What it takes, in bytes; nothing if it will not stay.
    fn memory(&self) -> usize {
        if self.bytes.is_empty() { 0 } else { size_of::<Self>() + allocated(self.bytes.len()) }
    }

    fn is_live(&self) -> bool {
        self.bytes.first() == Some(&1)
    }

    fn found(&self) -> Option<Found<'_>> {
        let block = Block::new(self.bytes.get(1..)?);
        Some(Found { block, cell: block.iter().next()? })
    }

    fn parts(&self) -> Option<(CellId<'_>, Cell<'_>)> {
        self.found().map(|found| (found.cell.id(), found.cell()))
    }
}

/// A cell as it is held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'t> {
    block: Block<'t>,
    pub(crate) cell: BlockCell<'t>,
}

impl<'t> Found<'t> {
    /// The whole of it.
    pub(crate) fn cell(&self) -> Cell<'t> {
        self.cell.cell(&self.block)
    }

    /// What a client sees of it.
    pub(crate) fn text(&self, mark: Option<Mark>) -> Option<Text<'t>> {
        match mark {
            None => self.cell.text(&self.block),
            Some(_) => self.cell().bytes(mark).map(|bytes| Text::Owned(bytes.into_owned())),
        }
    }

    /// A member's score.
    pub(crate) fn score(&self, mark: Option<Mark>) -> Option<f64> {
        match mark {
            None => self.cell.score(&self.block),
            Some(_) => self.cell().score(mark),
        }
    }
}

/// The kind stands in so many of a prefix's bits.
const KIND_BITS: u32 = 3;

const _: () = assert!(Kind::COUNT <= 1 << KIND_BITS);

/// Cursors have so many bits: there are clients that read them as floating-point numbers, which are exact up to 53.
const CURSOR_BITS: u32 = 48;

/// Where elements of a hash, set or sorted set lie among those of their kind, as a cursor tells it: never zero, which means
/// the beginning and the end.
pub(crate) fn cursor_of(element: &[u8]) -> u64 {
    (xxh3_64(element) >> (u64::BITS - CURSOR_BITS)).max(1)
}

fn prefix_of(kind: Kind, element: &[u8]) -> u64 {
    let within = match kind {
        Kind::String => 0,
        Kind::List => element.first_chunk().map_or(0, |count| u64::from_be_bytes(*count) >> KIND_BITS),
        Kind::Set | Kind::Hash | Kind::SortedSet => xxh3_64(element) >> KIND_BITS,
    };
    prefix_at(kind, within)
}

const fn prefix_at(kind: Kind, within: u64) -> u64 {
    (kind as u64) << (u64::BITS - KIND_BITS) | within
}

impl tree::Item for Element {
    fn prefix(&self) -> u64 {
        self.prefix
    }

    fn counts(&self) -> bool {
        self.is_live()
    }
}

struct Target<'t> {
    prefix: u64,
    element: &'t [u8],
}

impl<'t> Target<'t> {
    fn new(id: &'t CellId<'_>) -> Self {
        Self { prefix: prefix_of(id.kind, &id.element), element: &id.element }
    }
}

impl tree::Target<Element> for Target<'_> {
    fn prefix(&self) -> u64 {
        self.prefix
    }

    fn order(&self, item: &Element) -> Ordering {
        item.prefix.cmp(&self.prefix).then_with(|| match item.found() {
            Some(found) => (*found.cell.element()).cmp(self.element),
            None => Ordering::Equal,
        })
    }
}

impl Cells {
    /// These cells, in any order, none of them hidden.
    pub(crate) fn of<'c>(cells: impl Iterator<Item = (CellId<'c>, Cell<'c>)>) -> Self {
        let mut cells: Vec<_> = cells.map(|(id, cell)| (prefix_of(id.kind, &id.element), id, cell)).collect();
        cells.sort_unstable_by(|left, right| {
            left.0.cmp(&right.0).then_with(|| left.1.element.cmp(&right.1.element))
        });
        let elements = cells.into_iter().map(|(prefix, id, cell)| Element {
            prefix,
            bytes: Element::bytes_of(&id, &cell, cell.is_live(None)),
        });
        Self(CountedTree::of_sorted(elements.collect()))
    }

    /// What they take of memory, in bytes, as far as it can be told without the allocator.
    pub(crate) fn memory(&self) -> usize {
        self.0.iter().map(|element| size_of::<Element>() + element.bytes.len()).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The only cell, if there is but one.
    pub(crate) fn only(&self) -> Option<(CellId<'_>, Cell<'_>)> {
        match self.0.as_slice() {
            Some([element]) => element.parts(),
            _ => None,
        }
    }

    pub(crate) fn find(&self, id: &CellId<'_>) -> Option<Found<'_>> {
        self.0.get(&Target::new(id))?.found()
    }

    pub(crate) fn get(&self, id: &CellId<'_>) -> Option<Cell<'_>> {
        self.find(id).map(|found| found.cell())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (CellId<'_>, Cell<'_>)> {
        self.0.iter().filter_map(Element::parts)
    }

    /// Lets every cell be changed; an empty one does not stay. They are to be [counted](Cells::count) afterwards.
    pub(crate) fn change_all(&mut self, mut change: impl FnMut(&CellId<'_>, &mut Cell<'_>)) {
        self.0.retain_mut(|element| {
            let Some((id, mut cell)) = element.parts() else { return false };
            change(&id, &mut cell);
            element.bytes = Element::bytes_of(&id, &cell, element.is_live());
            !element.bytes.is_empty()
        });
    }

    /// Looks at all cells for what they come to, and the latest version in them.
    pub(super) fn count(&mut self, mark: Option<Mark>) -> (Tally, Version) {
        let (mut tally, mut latest) = (Tally::default(), Version::ZERO);
        self.0.retain_mut(|element| {
            let Some((id, cell)) = element.parts() else { return false };
            tally.add(Tally { bytes: element.memory(), ..Tally::of(&id, &cell, mark) });
            latest = latest.max(cell.latest());
            let is_live = cell.is_live(mark);
            element.bytes[0] = u8::from(is_live);
            true
        });
        (tally, latest)
    }

    /// Changes a cell, an empty one if there was none; an empty one does not stay. Returns what it came to before and after
    /// if `change` says that it has changed it.
    pub(super) fn change(
        &mut self,
        id: &CellId<'_>,
        mark: Option<Mark>,
        change: impl FnOnce(&mut Cell<'_>) -> bool,
    ) -> Option<(Tally, Tally)> {
        let target = Target::new(id);
        let make = || Element { prefix: target.prefix, bytes: Box::default() };
        let tally_of = |cell: &Cell<'_>| match cell.is_empty() {
            true => Tally::default(),
            false => Tally::of(id, cell, mark),
        };
        self.0.change(&target, make, |element| {
            let mut cell = element.found().map_or_else(Cell::default, |found| found.cell());
            let before = tally_of(&cell);
            let mut changed = change(&mut cell).then(|| (before, tally_of(&cell)));
            if let Some((before, after)) = &mut changed {
                let bytes = Element::bytes_of(id, &cell, cell.is_live(mark));
                before.bytes = element.memory();
                element.bytes = bytes;
                after.bytes = element.memory();
            }
            (changed, !element.bytes.is_empty())
        })
    }

    /// The live cells at these places among all live ones.
    pub(crate) fn live(&self, places: std::ops::Range<usize>) -> LiveCells<'_> {
        LiveCells(self.0.range(places))
    }

    /// How many live cells come before those of this kind from this cursor on; nothing if no cell has such a cursor.
    pub(crate) fn live_before(&self, kind: Kind, cursor: u64) -> Option<usize> {
        let prefix = prefix_at(kind, cursor << (u64::BITS - CURSOR_BITS - KIND_BITS));
        (cursor >> CURSOR_BITS == 0).then(|| self.0.weight_before(|element| element.prefix < prefix))
    }
}

/// Live cells at some places.
pub(crate) struct LiveCells<'t>(tree::Range<'t, Element>);

impl<'t> Iterator for LiveCells<'t> {
    type Item = Found<'t>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().and_then(Element::found)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for LiveCells<'_> {}

impl DoubleEndedIterator for LiveCells<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().and_then(Element::found)
    }
}

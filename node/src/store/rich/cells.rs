//! A key's cells, in an order in which each is found quickly, and those of one kind by their places.

use std::borrow::Cow;
use std::cmp::Ordering;

use shared::change::{CellId, Kind};
use xxhash_rust::xxh3::xxh3_64;

use super::Mark;
use super::cell::Cell;
use super::tally::Tally;
use crate::store::tree::{self, CountedTree};

/// The cells of a key. Those of a kind lie together: a list's in its order, others by a hash of their names, so that a
/// client can go through them by a cursor that means something after any change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cells(CountedTree<Element>);

#[derive(Clone, Debug)]
struct Element {
    prefix: u64,
    id: CellId<'static>,
    cell: Cell<'static>,
    is_live: bool,
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
        self.is_live
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
        item.prefix.cmp(&self.prefix).then_with(|| (*item.id.element).cmp(self.element))
    }
}

impl Cells {
    /// These cells, in any order.
    pub(crate) fn of(cells: Vec<(CellId<'static>, Cell<'static>)>) -> Self {
        let mut elements: Vec<Element> = cells
            .into_iter()
            .map(|(id, cell)| Element { prefix: prefix_of(id.kind, &id.element), id, cell, is_live: false })
            .collect();
        elements.sort_unstable_by(|left, right| {
            left.prefix.cmp(&right.prefix).then_with(|| left.id.element.cmp(&right.id.element))
        });
        Self(CountedTree::of_sorted(elements))
    }

    /// What they take of memory, in bytes, as far as it can be told without the allocator.
    pub(crate) fn memory(&self) -> usize {
        let of = |element: &Element| size_of::<Element>() + element.id.element.len() + element.cell.memory();
        self.0.iter().map(of).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The only cell, if there is but one.
    pub(crate) fn only(&self) -> Option<(&CellId<'static>, &Cell<'static>)> {
        match self.0.as_slice() {
            Some([element]) => Some((&element.id, &element.cell)),
            _ => None,
        }
    }

    pub(crate) fn get(&self, id: &CellId<'_>) -> Option<&Cell<'static>> {
        self.0.get(&Target::new(id)).map(|element| &element.cell)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&CellId<'static>, &Cell<'static>)> {
        self.0.iter().map(|element| (&element.id, &element.cell))
    }

    /// Every cell, to be changed. They are to be [counted](Cells::count) afterwards.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&CellId<'static>, &mut Cell<'static>)> {
        self.0.iter_mut().map(|element| (&element.id, &mut element.cell))
    }

    /// Keeps the cells for which this holds. They are to be [counted](Cells::count) afterwards.
    pub(crate) fn retain_mut(&mut self, mut keep: impl FnMut(&CellId<'static>, &mut Cell<'static>) -> bool) {
        self.0.retain_mut(|element| keep(&element.id, &mut element.cell));
    }

    /// Looks at all cells for what they come to.
    pub(super) fn count(&mut self, mark: Option<Mark>) -> Tally {
        let mut tally = Tally::default();
        self.0.retain_mut(|element| {
            element.is_live = element.cell.is_live(mark);
            tally.add(Tally::of(&element.id, &element.cell, mark));
            true
        });
        tally
    }

    /// Changes a cell, an empty one if there was none; an empty one does not stay. Returns what it came to before and after
    /// if `change` says that it has changed it.
    pub(super) fn change(
        &mut self,
        id: &CellId<'_>,
        mark: Option<Mark>,
        change: impl FnOnce(&mut Cell<'static>) -> bool,
    ) -> Option<(Tally, Tally)> {
        let target = Target::new(id);
        let make = || Element {
            prefix: target.prefix,
            id: CellId { kind: id.kind, element: Cow::Owned(id.element.to_vec()) },
            cell: Cell::default(),
            is_live: false,
        };
        let tally_of = |element: &Element| match element.cell.is_empty() {
            true => Tally::default(),
            false => Tally::of(&element.id, &element.cell, mark),
        };
        self.0.change(&target, make, |element| {
            let before = tally_of(element);
            let changed = change(&mut element.cell).then(|| {
                element.is_live = element.cell.is_live(mark);
                (before, tally_of(element))
            });
            (changed, !element.cell.is_empty())
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

/// Live cells at some places, with their ids.
pub(crate) struct LiveCells<'t>(tree::Range<'t, Element>);

impl<'t> Iterator for LiveCells<'t> {
    type Item = (&'t CellId<'static>, &'t Cell<'static>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|element| (&element.id, &element.cell))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for LiveCells<'_> {}

impl DoubleEndedIterator for LiveCells<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(|element| (&element.id, &element.cell))
    }
}

//! A key's cells, in an order in which each is found quickly, and those of one kind by their places.

use std::ops;
use std::vec;

use shared::change::{CellId, Kind};
use shared::version::Version;
use xxhash_rust::xxh3::xxh3_64;

use super::Mark;
use super::cell::Cell;
use super::run::{Edit, Found, KIND_BITS, Run, Runs, Target, prefix_at};
use super::tally::Tally;
use crate::store::block::{self, Block, BlockCell};
use crate::store::tree::{self, CountedTree, Edited};

/// The cells of a key. Those of a kind lie together: a list's in its order, others by a hash of their names, so that a
/// client can go through them by a cursor that means something after any change.
///
/// What no client sees, tombstones and what the key's mark hides, lies apart: so places are counted without a look at it,
/// and what is done at an end of a list does not meet what was taken from there before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cells {
    live: CountedTree<Run>,
    dead: CountedTree<Run>,
}

/// What a change has made of a cell.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change {
    pub(super) before: Tally,
    pub(super) after: Tally,
    /// Of a sorted set's member.
    pub(super) score_before: Option<f64>,
    pub(super) score_after: Option<f64>,
}

/// What becomes of what is remembered of a cell among the dead.
enum Aside {
    Nothing,
    Put(Cell<'static>),
    Drop,
}

/// Cursors have so many bits: there are clients that read them as floating-point numbers, which are exact up to 53.
const CURSOR_BITS: u32 = 48;

/// Where elements of a hash, set or sorted set lie among those of their kind, as a cursor tells it: never zero, which means
/// the beginning and the end.
pub(crate) fn cursor_of(element: &[u8]) -> u64 {
    (xxh3_64(element) >> (u64::BITS - CURSOR_BITS)).max(1)
}

impl Cells {
    /// These cells, in any order, none of them hidden.
    pub(crate) fn of<'c>(cells: impl Iterator<Item = (CellId<'c>, Cell<'c>)>) -> Self {
        let mut cells: Vec<_> =
            cells.map(|(id, cell)| (super::run::prefix_of(id.kind, &id.element), id, cell)).collect();
        cells.sort_unstable_by(|left, right| {
            left.0.cmp(&right.0).then_with(|| left.1.element.cmp(&right.1.element))
        });
        let (mut live, mut dead) = (Runs::default(), Runs::default());
        for (_, id, cell) in cells {
            if cell.is_live(None) { live.push(id, cell) } else { dead.push(id, cell) }
        }
        Self {
            live: CountedTree::of_sorted(live.into_runs()),
            dead: CountedTree::of_sorted(dead.into_runs()),
        }
    }

    /// What their runs take, in bytes. Goes through all of them.
    pub(crate) fn memory(&self) -> usize {
        self.runs().map(Run::memory).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.live.is_empty() && self.dead.is_empty()
    }

    /// The only cell, if there is but one.
    pub(crate) fn only(&self) -> Option<(CellId<'_>, Cell<'_>)> {
        if self.live.weight() + self.dead.weight() == 1 { self.iter().next() } else { None }
    }

    pub(crate) fn find(&self, id: &CellId<'_>) -> Option<Found<'_>> {
        let target = Target::new(id);
        find(&self.live, &target).or_else(|| find(&self.dead, &target))
    }

    pub(crate) fn get(&self, id: &CellId<'_>) -> Option<Cell<'_>> {
        self.find(id).map(|found| found.cell())
    }

    /// All of them: those of a client's first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (CellId<'_>, Cell<'_>)> {
        self.runs().flat_map(Run::iter).map(|found| (found.cell.id(), found.cell()))
    }

    fn runs(&self) -> impl Iterator<Item = &Run> {
        self.live.iter().chain(self.dead.iter())
    }

    /// Lets every cell be changed; an empty one does not stay. They are to be [counted](Cells::count) afterwards.
    pub(crate) fn change_all(&mut self, mut change: impl FnMut(&CellId<'_>, &mut Cell<'_>)) {
        for tree in [&mut self.live, &mut self.dead] {
            let old = std::mem::take(tree).into_items();
            let mut runs = Runs::default();
            for found in old.iter().flat_map(Run::iter) {
                let (id, mut cell) = (found.cell.id(), found.cell());
                change(&id, &mut cell);
                if !cell.is_empty() {
                    runs.push(id, cell);
                }
            }
            *tree = CountedTree::of_sorted(runs.into_runs());
        }
    }

    /// Looks at all cells for what they come to, and the latest version in them; and parts what clients see from the rest.
    pub(super) fn count(&mut self, mark: Option<Mark>) -> (Tally, Version) {
        let (mut tally, mut latest) = (Tally::default(), Version::ZERO);
        let mut moving = Vec::new();
        for (tree, is_live) in [(&self.live, true), (&self.dead, false)] {
            for found in tree.iter().flat_map(Run::iter) {
                let (id, cell) = (found.cell.id(), found.cell());
                tally.add(Tally::of(&id, &cell, mark));
                latest = latest.max(cell.latest());
                if cell.is_live(mark) != is_live {
                    let id = CellId { kind: id.kind, element: id.element.into_owned().into() };
                    moving.push((id, cell.into_owned(), is_live));
                }
            }
        }
        for (id, cell, was_live) in moving {
            let (from, to) =
                if was_live { (&mut self.live, &mut self.dead) } else { (&mut self.dead, &mut self.live) };
            put(from, &id, None);
            put(to, &id, Some(&cell));
        }
        (tally, latest)
    }

    /// Changes a cell, an empty one if there was none; an empty one does not stay. Returns what has become of it if `change`
    /// says that it has changed it.
    pub(super) fn change(
        &mut self,
        id: &CellId<'_>,
        mark: Option<Mark>,
        change: impl FnOnce(&mut Cell<'_>) -> bool,
    ) -> Option<Change> {
        let target = Target::new(id);
        let dead = &self.dead;
        let (changed, aside) = self.live.change(&target, |near| {
            let Some(run) = near else {
                let (changed, cell, aside) = changed(None, dead, &target, mark, change);
                let behind = cell.map(|cell| Run::single(&target, &cell)).into_iter().collect();
                return ((changed, aside), Edited { stays: false, before: None, behind });
            };
            let seat = run.seat(&target);
            let held = run.held(&seat);
            let was_live = held.is_some();
            let (changed, cell, aside) = changed(held, dead, &target, mark, change);
            let edit = match (&changed, cell) {
                (Some(_), Some(cell)) => run.with(seat, &target, Some(&cell)),
                (Some(_), None) if was_live => run.with(seat, &target, None),
                _ => Edit::nothing(),
            };
            ((changed, aside), run.take(edit, &target))
        });
        match aside {
            Aside::Nothing => {}
            Aside::Put(cell) => put(&mut self.dead, id, Some(&cell)),
            Aside::Drop => put(&mut self.dead, id, None),
        }
        changed
    }

    /// Drops a cell of which nothing but a removal is held, if that may be. Returns what it came to.
    pub(super) fn forget(
        &mut self,
        id: &CellId<'_>,
        mark: Option<Mark>,
        may_go: impl FnOnce(&Cell<'_>) -> bool,
    ) -> Option<Tally> {
        let target = Target::new(id);
        self.dead.change(&target, |near| {
            let Some(run) = near else { return (None, Edited::stays(false)) };
            let seat = run.seat(&target);
            let cell = run.held(&seat).map(|found| found.cell());
            let cell = cell.filter(|cell| cell.contributions.is_empty() && may_go(cell));
            let Some(cell) = cell else { return (None, Edited::stays(true)) };
            let came_to = Tally::of(id, &cell, mark);
            let edit = run.with(seat, &target, None);
            (Some(came_to), run.take(edit, &target))
        })
    }

    /// The live cells at these places among all live ones.
    pub(crate) fn live(&self, places: ops::Range<usize>) -> LiveCells<'_> {
        let end = places.end.min(self.live.weight());
        let left = end.saturating_sub(places.start);
        LiveCells { runs: self.live.range(places), front: None, back: None, left }
    }

    /// How many live cells come before those of this kind from this cursor on; nothing if no cell has such a cursor.
    pub(crate) fn live_before(&self, kind: Kind, cursor: u64) -> Option<usize> {
        let prefix = prefix_at(kind, cursor << (u64::BITS - CURSOR_BITS - KIND_BITS));
        (cursor >> CURSOR_BITS == 0).then(|| self.live.weight_before(|run| tree::Item::prefix(run) < prefix))
    }
}

/// Changes a cell as it is held, by the dead if not by the living. Returns what has become of it, with what clients see of it
/// then and what does not count among that.
fn changed<'c>(
    held: Option<Found<'c>>,
    dead: &'c CountedTree<Run>,
    target: &Target<'_>,
    mark: Option<Mark>,
    change: impl FnOnce(&mut Cell<'_>) -> bool,
) -> (Option<Change>, Option<Cell<'c>>, Aside) {
    let of_dead = if held.is_none() && !dead.is_empty() { find(dead, target) } else { None };
    let mut cell = held.or(of_dead).map_or_else(Cell::default, |found| found.cell());
    let (before, score_before) = look(target, &cell, mark);
    if !change(&mut cell) {
        return (None, None, Aside::Nothing);
    }
    let (after, score_after) = look(target, &cell, mark);
    let changed = Some(Change { before, after, score_before, score_after });
    match (cell.is_empty(), cell.is_live(mark)) {
        (false, true) => (changed, Some(cell), if of_dead.is_some() { Aside::Drop } else { Aside::Nothing }),
        (false, false) => (changed, None, Aside::Put(cell.into_owned())),
        (true, _) => (changed, None, if of_dead.is_some() { Aside::Drop } else { Aside::Nothing }),
    }
}

/// What a cell comes to, and its score if it is a sorted set's.
fn look(target: &Target<'_>, cell: &Cell<'_>, mark: Option<Mark>) -> (Tally, Option<f64>) {
    if cell.is_empty() {
        return (Tally::default(), None);
    }
    let score = if target.id.kind == Kind::SortedSet { cell.score(mark) } else { None };
    (Tally::of(target.id, cell, mark), score)
}

fn find<'t>(tree: &'t CountedTree<Run>, target: &Target<'_>) -> Option<Found<'t>> {
    tree.get(target)?.find(target)
}

/// Puts a cell in its place, or takes away what is there.
fn put(tree: &mut CountedTree<Run>, id: &CellId<'_>, cell: Option<&Cell<'_>>) {
    let target = Target::new(id);
    tree.change(&target, |near| match near {
        Some(run) => {
            let edit = run.with(run.seat(&target), &target, cell);
            ((), run.take(edit, &target))
        }
        None => {
            let behind = cell.map(|cell| Run::single(&target, cell)).into_iter().collect();
            ((), Edited { stays: false, before: None, behind })
        }
    });
}

/// Live cells at some places.
pub(crate) struct LiveCells<'t> {
    runs: tree::Range<'t, Run>,
    /// What is left of the runs that were begun, from the front and from the back.
    front: Option<RunCells<'t>>,
    back: Option<RunCells<'t>>,
    left: usize,
}

impl LiveCells<'_> {
    /// Hands on what clients see of them, before any was taken.
    pub(crate) fn each_value(self, mark: Option<Mark>, mut see: impl FnMut(&[u8])) {
        debug_assert!(self.front.is_none() && self.back.is_none(), "none was taken");
        match mark {
            None => self.runs.for_each(|(run, places)| {
                run.cells_from(places.start).1.each_value(places.len(), &mut see);
            }),
            Some(_) => self.for_each(|found| see(&found.text(mark).unwrap_or_default())),
        }
    }
}

impl<'t> Iterator for LiveCells<'t> {
    type Item = Found<'t>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        loop {
            if let Some(found) = self.front.as_mut().and_then(RunCells::next) {
                return Some(found);
            }
            match self.runs.next() {
                Some((run, places)) => self.front = Some(RunCells::new(run, places)),
                None => return self.back.as_mut()?.next(),
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for LiveCells<'_> {}

impl DoubleEndedIterator for LiveCells<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        loop {
            if let Some(found) = self.back.as_mut().and_then(RunCells::next_back) {
                return Some(found);
            }
            match self.runs.next_back() {
                Some((run, places)) => self.back = Some(RunCells::new(run, places)),
                None => return self.front.as_mut()?.next_back(),
            }
        }
    }
}

/// Cells of a run.
struct RunCells<'t> {
    block: Block<'t>,
    cells: block::Cells<'t>,
    /// So many are still to come.
    left: usize,
    /// These, if somebody has asked for the last of them: a run is read forwards.
    read: Option<vec::IntoIter<BlockCell<'t>>>,
}

impl<'t> RunCells<'t> {
    fn new(run: &'t Run, places: ops::Range<usize>) -> Self {
        let (block, cells) = run.cells_from(places.start);
        Self { block, cells, left: places.len(), read: None }
    }

    #[inline]
    fn next(&mut self) -> Option<Found<'t>> {
        self.left = self.left.checked_sub(1)?;
        let cell = match &mut self.read {
            None => self.cells.next(),
            Some(read) => read.next(),
        };
        cell.map(|cell| Found { block: self.block, cell })
    }

    fn next_back(&mut self) -> Option<Found<'t>> {
        let left = self.left.checked_sub(1)?;
        let cells = &mut self.cells;
        let read = self.read.get_or_insert_with(|| {
            let cells: Vec<_> = cells.take(self.left).collect();
            cells.into_iter()
        });
        self.left = left;
        read.next_back().map(|cell| Found { block: self.block, cell })
    }
}

#[cfg(test)]
mod tests;

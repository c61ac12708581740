//! A run: cells of a large key that lie side by side in one allocation.
//!
//! Of a list some hundred lie in one, so that what is done at an end moves a few bytes, and reading many reads on. Of other
//! kinds each has one of its own: it is found by its name, wherever it lies.
//!
//! ```text
//! run of a list    = count 1, tail 28, block      see `block::Tail`
//! run of all else  = block of one cell
//! ```

use std::cmp::Ordering;

use shared::change::{CellId, Kind, Value};
use smallvec::{SmallVec, smallvec};
use xxhash_rust::xxh3::xxh3_64;

use super::Mark;
use super::cell::Cell;
use crate::store::block::{Block, BlockCell, Cells, ListSeat, Patch, Tail, Text};
use crate::store::tree::{self, Edited};

/// Several cells lie in a run up to these limits. One alone takes what it takes.
const CELLS_MAX: usize = 128;
const BYTES_MAX: usize = 2048;

const HEADER_BYTES: usize = 1 + Tail::BYTES;

/// The kind stands in so many of a prefix's bits.
pub(super) const KIND_BITS: u32 = 3;

const _: () = assert!(Kind::COUNT <= 1 << KIND_BITS);

/// One or several cells.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// The first one's, or a smaller one: it stays when the first ones are taken. Not less than that of what lies before.
    prefix: u64,
    bytes: Box<[u8]>,
}

/// A cell as it is held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'t> {
    pub(super) block: Block<'t>,
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

/// Which cell is looked for.
pub(super) struct Target<'t> {
    pub(super) id: &'t CellId<'t>,
    prefix: u64,
}

impl<'t> Target<'t> {
    pub(super) fn new(id: &'t CellId<'_>) -> Self {
        Self { id, prefix: prefix_of(id.kind, &id.element) }
    }
}

impl tree::Target<Run> for Target<'_> {
    fn prefix(&self) -> u64 {
        self.prefix
    }

    fn order(&self, run: &Run) -> Ordering {
        run.prefix.cmp(&self.prefix).then_with(|| match run.first() {
            Some(found) => (*found.cell.element()).cmp(&self.id.element),
            None => Ordering::Equal,
        })
    }
}

/// In the order of runs. Those of a kind lie together: a list's in its order, others by a hash of their names.
pub(super) fn prefix_of(kind: Kind, element: &[u8]) -> u64 {
    let within = match kind {
        Kind::String => 0,
        Kind::List => first_bytes(element) >> KIND_BITS,
        Kind::Set | Kind::Hash | Kind::SortedSet => xxh3_64(element) >> KIND_BITS,
    };
    prefix_at(kind, within)
}

/// As a number, in the order of the elements: of a short one as if zeros followed it.
fn first_bytes(element: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = element.len().min(bytes.len());
    bytes[..length].copy_from_slice(&element[..length]);
    u64::from_be_bytes(bytes)
}

pub(super) const fn prefix_at(kind: Kind, within: u64) -> u64 {
    (kind as u64) << (u64::BITS - KIND_BITS) | within
}

/// Where a cell lies, or would: in a run of several, in one of its own, or beside such.
pub(super) enum Seat<'r> {
    List(ListSeat<'r>),
    Single(Option<Found<'r>>, Ordering),
}

/// What is to become of a run.
pub(super) struct Edit {
    own: Own,
    before: Option<Run>,
    behind: SmallVec<[Run; 2]>,
}

enum Own {
    Stays,
    Goes,
    Becomes(Box<[u8]>),
    /// With so many more cells, and this tail.
    Patched(Patch, isize, Tail),
}

impl Edit {
    pub(super) fn nothing() -> Self {
        Self::own(Own::Stays)
    }

    fn own(own: Own) -> Self {
        Self { own, before: None, behind: SmallVec::new() }
    }

    /// A new run beside this one.
    pub(super) fn beside(run: Run, is_before: bool) -> Self {
        let (before, behind) = if is_before { (Some(run), SmallVec::new()) } else { (None, smallvec![run]) };
        Self { own: Own::Stays, before, behind }
    }
}

impl tree::Item for Run {
    fn prefix(&self) -> u64 {
        self.prefix
    }

    fn weight(&self) -> usize {
        if self.is_list() { usize::from(self.bytes[0]) } else { 1 }
    }

    fn absorb(&mut self, next: &Self) -> bool {
        let fits = self.is_list()
            && next.is_list()
            && tree::Item::weight(self) + tree::Item::weight(next) <= CELLS_MAX / 2
            && self.bytes.len() + next.bytes.len() <= BYTES_MAX / 2;
        if fits {
            let mut cells = self.cells();
            cells.extend(next.cells());
            self.bytes = bytes_of(cells);
        }
        fits
    }
}

impl Run {
    /// A run of one cell.
    pub(super) fn single(target: &Target<'_>, cell: &Cell<'_>) -> Self {
        Self { prefix: target.prefix, bytes: single_bytes(target.id, cell) }
    }

    const fn is_list(&self) -> bool {
        self.prefix >> (u64::BITS - KIND_BITS) == Kind::List as u64
    }

    pub(super) const fn memory(&self) -> usize {
        size_of::<Self>() + self.bytes.len()
    }

    /// What lies before the block: how many cells there are, and the tail.
    fn header(&self) -> (usize, Tail) {
        match self.bytes.first_chunk() {
            Some(bytes) if self.is_list() => {
                let [count, tail @ ..]: &[u8; HEADER_BYTES] = bytes;
                (usize::from(*count), Tail::parse(tail))
            }
            _ => (1, Tail::START),
        }
    }

    #[inline(always)]
    fn block(&self) -> Block<'_> {
        Block::new(if self.is_list() { &self.bytes[HEADER_BYTES..] } else { &self.bytes })
    }

    pub(super) fn first(&self) -> Option<Found<'_>> {
        let block = self.block();
        block.iter().next().map(|cell| Found { block, cell })
    }

    /// The cells, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Found<'_>> {
        let block = self.block();
        block.iter().map(move |cell| Found { block, cell })
    }

    /// The cells from one of these places on.
    pub(super) fn cells_from(&self, place: usize) -> (Block<'_>, Cells<'_>) {
        let block = self.block();
        (block, if place == 0 { block.iter() } else { block.cells_from(place, self.header().1) })
    }

    /// Where a cell lies that lies in this run if anywhere.
    pub(super) fn seat(&self, target: &Target<'_>) -> Seat<'_> {
        if self.is_list() && target.id.kind == Kind::List {
            let (count, tail) = self.header();
            return Seat::List(self.block().list_seat(target.id, tail, count));
        }
        let order = tree::Target::order(target, self);
        Seat::Single(self.first().filter(|_| order.is_eq()), order)
    }

    pub(super) fn held<'r>(&'r self, seat: &Seat<'r>) -> Option<Found<'r>> {
        match seat {
            Seat::List(seat) => seat.held().map(|cell| Found { block: self.block(), cell }),
            Seat::Single(found, _) => *found,
        }
    }

    pub(super) fn find(&self, target: &Target<'_>) -> Option<Found<'_>> {
        self.held(&self.seat(target))
    }

    /// What puts a cell into its seat, or takes away what is there.
    pub(super) fn with(&self, seat: Seat<'_>, target: &Target<'_>, cell: Option<&Cell<'_>>) -> Edit {
        match (seat, cell) {
            (Seat::List(seat), cell) => self.with_list_cell(seat, target, cell),
            (Seat::Single(None, _), None) => Edit::nothing(),
            (Seat::Single(Some(_), _), None) => Edit::own(Own::Goes),
            (Seat::Single(Some(_), _), Some(cell)) => Edit::own(Own::Becomes(single_bytes(target.id, cell))),
            (Seat::Single(None, order), Some(cell)) => {
                Edit::beside(Self::single(target, cell), order.is_gt())
            }
        }
    }

    fn with_list_cell(&self, seat: ListSeat<'_>, target: &Target<'_>, cell: Option<&Cell<'_>>) -> Edit {
        let (block, (count, _)) = (self.block(), self.header());
        let is_held = seat.held().is_some();
        let left = count + usize::from(cell.is_some()) - usize::from(is_held);
        if left == 0 {
            return Edit::own(Own::Goes);
        }
        if left > CELLS_MAX
            && let Some(cell) = cell
        {
            return self.split(&seat, target, cell);
        }
        if cell.is_none() && !is_held {
            return Edit::nothing();
        }
        let patch = block.with_list_cell(&seat, target.id, cell);
        match cell {
            Some(cell) if left > 1 && patch.length_of(block) > BYTES_MAX => self.split(&seat, target, cell),
            // Most of them wrote what is no more there.
            Some(cell) if patch.origins() > left => {
                let mut cells = self.cells();
                let place = seat.passed..seat.passed + usize::from(is_held);
                cells.splice(place, [(target.id.reborrow(), cell.clone())]);
                Edit::own(Own::Becomes(bytes_of(cells)))
            }
            _ => {
                let more = left as isize - count as isize;
                let tail = seat.tail.moved(&patch, more, left);
                Edit::own(Own::Patched(patch, more, tail))
            }
        }
    }

    /// Puts a cell that finds no room in the run beside it, or between two parts of it.
    fn split(&self, seat: &ListSeat<'_>, target: &Target<'_>, cell: &Cell<'_>) -> Edit {
        let is_held = seat.held().is_some();
        let new = Self::single(target, cell);
        let behind = self.header().0 - seat.passed - usize::from(is_held);
        if !is_held && (seat.passed == 0 || behind == 0) {
            return Edit::beside(new, seat.passed == 0);
        }
        let mut cells = self.cells();
        let right = cells.split_off(seat.passed).into_iter().skip(usize::from(is_held)).collect();
        let right = (behind > 0).then(|| Self::of_list(right));
        if cells.is_empty() {
            return Edit {
                own: Own::Goes,
                before: None,
                behind: std::iter::once(new).chain(right).collect(),
            };
        }
        let mut left = Self { prefix: self.prefix, bytes: bytes_of(cells) };
        let edit = left.with(left.seat(target), target, Some(cell));
        let Edited { mut behind, .. } = left.take(edit, target);
        behind.extend(right);
        Edit { own: Own::Becomes(left.bytes), before: None, behind }
    }

    fn cells(&self) -> Vec<(CellId<'_>, Cell<'_>)> {
        self.iter().map(|found| (found.cell.id(), found.cell())).collect()
    }

    /// A run of these cells of a list, in order.
    fn of_list(cells: Vec<(CellId<'_>, Cell<'_>)>) -> Self {
        let prefix = cells.first().map_or(0, |(id, _)| prefix_of(id.kind, &id.element));
        Self { prefix, bytes: bytes_of(cells) }
    }

    /// Carries an edit out.
    pub(super) fn take(&mut self, edit: Edit, target: &Target<'_>) -> Edited<Self> {
        let Edit { own, before, behind } = edit;
        let stays = !matches!(own, Own::Goes);
        if before.is_some() {
            // Its own may be from before its first cells were taken. No less than what comes before it, then.
            self.prefix = self.prefix.max(target.prefix);
        }
        match own {
            Own::Stays | Own::Goes => return Edited { stays, before, behind },
            Own::Becomes(bytes) => self.bytes = bytes,
            Own::Patched(patch, more, tail) => {
                let mut bytes = std::mem::take(&mut self.bytes).into_vec();
                bytes[0] = bytes[0].saturating_add_signed(more as i8);
                bytes[1..HEADER_BYTES].copy_from_slice(&tail.bytes());
                patch.apply(&mut bytes, HEADER_BYTES);
                self.bytes = bytes.into_boxed_slice();
            }
        }
        self.prefix = self.prefix.min(target.prefix);
        Edited { stays, before, behind }
    }
}

#[cfg(test)]
impl Run {
    /// That what it says of itself is so.
    #[track_caller]
    pub(super) fn check(&self) {
        let ids: Vec<_> = self.iter().map(|found| found.cell.id()).collect();
        assert_eq!(ids.len(), tree::Item::weight(self));
        assert!(ids.len() <= CELLS_MAX);
        assert!(self.prefix <= prefix_of(ids[0].kind, &ids[0].element));
        let tail = self.header().1;
        for place in
            (0..ids.len()).filter(|place| [0, ids.len() - 1].contains(place) || *place == tail.passed())
        {
            let (block, cells) = self.cells_from(place);
            assert!(cells.map(|cell| Found { block, cell }.cell.id()).eq(ids[place..].iter().cloned()));
        }
    }
}

fn with_count(mut bytes: Vec<u8>, count: usize) -> Box<[u8]> {
    bytes[0] = count as u8;
    bytes[1..HEADER_BYTES].copy_from_slice(&Tail::START.bytes());
    bytes.into_boxed_slice()
}

fn single_bytes(id: &CellId<'_>, cell: &Cell<'_>) -> Box<[u8]> {
    if id.kind == Kind::List {
        return with_count(Block::single(id, cell, &[0; HEADER_BYTES]), 1);
    }
    Block::single(id, cell, &[]).into_boxed_slice()
}

/// Of several cells of a list, in order.
fn bytes_of<'c>(cells: Vec<(CellId<'c>, Cell<'c>)>) -> Box<[u8]> {
    let count = cells.len();
    with_count(Block::of(cells, &[0; HEADER_BYTES]), count)
}

/// About how many bytes a cell of a list takes among others.
fn likely_bytes(cell: &Cell<'_>) -> usize {
    const WRITTEN: usize = 8;
    const REMOVED: usize = 40;
    match &cell.base {
        Some((_, Some(Value::Bytes(bytes)))) => WRITTEN + bytes.len(),
        _ => REMOVED,
    }
}

/// Makes runs of cells that come in order.
#[derive(Default)]
pub(super) struct Runs<'c> {
    runs: Vec<Run>,
    /// Of a list, to come into one run.
    open: Vec<(CellId<'c>, Cell<'c>)>,
    open_bytes: usize,
}

impl<'c> Runs<'c> {
    pub(super) fn push(&mut self, id: CellId<'c>, cell: Cell<'c>) {
        if id.kind != Kind::List {
            self.close();
            self.runs.push(Run::single(&Target::new(&id), &cell));
            return;
        }
        let bytes = likely_bytes(&cell);
        if self.open.len() == CELLS_MAX || self.open_bytes + bytes > BYTES_MAX {
            self.close();
        }
        self.open_bytes += bytes;
        self.open.push((id, cell));
    }

    fn close(&mut self) {
        self.open_bytes = 0;
        let open = std::mem::take(&mut self.open);
        if !open.is_empty() {
            self.runs.push(Run::of_list(open));
        }
    }

    pub(super) fn into_runs(mut self) -> Vec<Run> {
        self.close();
        self.runs
    }
}

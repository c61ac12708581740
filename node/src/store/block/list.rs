//! Blocks of a long list: searched in the order of ids, and from the nearer end.
//!
//! A block can be read forwards only. So whoever holds one of many cells keeps a *tail* beside it, a place near its end from
//! which reading may begin: then what is done at either end of a list reads a few cells, not all.

use std::cmp::Ordering;

use shared::change::CellId;
use shared::version::Version;

use super::bytes::Reader;
use super::{
    Block, BlockCell, Cell, Cells, Context, HAS_SUMS, ORIGIN_BYTES, OriginTable, Patch, Spot, Spots, Stamp,
    Timestamp, Written, name, sums,
};

/// A place in a list's block from which reading may begin, near its end, or the block's start.
///
/// ```text
/// tail = bytes before it 4, cells before it 1, what the cell there leaves out: tag 1, timestamp 8, origin's number 2,
///        position 8, index 4
/// ```
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tail {
    at: usize,
    passed: usize,
    before: Context,
}

/// So many cells lie behind a tail when it is set; twice as many are read before it is set anew.
const TAIL_CELLS: usize = 16;

impl Tail {
    pub(crate) const BYTES: usize = 28;

    /// The start of the block.
    pub(crate) const START: Self = Self { at: 0, passed: 0, before: Context::START };

    pub(crate) fn bytes(&self) -> [u8; Self::BYTES] {
        let Context { tag, stamp, name } = self.before;
        let (position, index) = name.place();
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&(self.at as u32).to_le_bytes());
        bytes[4..6].copy_from_slice(&[self.passed as u8, tag]);
        bytes[6..14].copy_from_slice(&stamp.timestamp.to_le_bytes());
        bytes[14..16].copy_from_slice(&stamp.origin.to_le_bytes());
        bytes[16..24].copy_from_slice(&position.to_le_bytes());
        bytes[24..].copy_from_slice(&index.to_le_bytes());
        bytes
    }

    /// How many cells come before it.
    #[cfg(test)]
    pub(crate) const fn passed(&self) -> usize {
        self.passed
    }

    pub(crate) fn parse(bytes: &[u8; Self::BYTES]) -> Self {
        let int = |at: usize, length: usize| {
            bytes[at..at + length].iter().rev().fold(0_u64, |int, byte| int << 8 | u64::from(*byte))
        };
        let stamp = Stamp { timestamp: int(6, 8), origin: int(14, 2) as u16 };
        let name = name::Context::of_list(int(16, 8), int(24, 4) as u32);
        Self {
            at: int(0, 4) as usize,
            passed: usize::from(bytes[4]),
            before: Context { tag: bytes[5], stamp, name },
        }
    }

    /// Where it is when the block has changed: has so many cells more, `count` in all. A tail has a cell behind it, or what
    /// that leaves out would be another's when the last one has changed.
    pub(crate) fn moved(self, patch: &Patch, more: isize, count: usize) -> Self {
        let moved = if self.at <= patch.place.start {
            self
        } else if self.at >= patch.place.end {
            let at = self.at + patch.bytes.len() - patch.place.len();
            Self { at, passed: self.passed.saturating_add_signed(more), ..self }
        } else {
            Self::START
        };
        if moved.passed < count { moved } else { Self::START }
    }
}

/// Where a list's element lies in a block, or would.
pub(crate) struct ListSeat<'b> {
    held: Option<Spot<'b>>,
    at: usize,
    before: Context,
    /// So many cells come before it.
    pub(crate) passed: usize,
    /// From where what lies behind it is read best.
    pub(crate) tail: Tail,
}

impl<'b> ListSeat<'b> {
    pub(crate) fn held(&self) -> Option<BlockCell<'b>> {
        self.held.as_ref().map(|spot| spot.cell)
    }
}

impl<'b> Block<'b> {
    /// Where a cell of a list lies or would, in a block of `count` of them.
    pub(crate) fn list_seat(self, id: &CellId<'_>, tail: Tail, count: usize) -> ListSeat<'b> {
        let wanted = name::Wanted::new(id);
        let (mut spots, mut passed, mut tail) = (self.spots(), 0, tail);
        let mut began = 0;
        while spots.at < self.cells.len() {
            let mut reader = Reader::new(&self.cells[spots.at..]);
            let (name, context) = spots.read_name(&mut reader);
            let order = self.order(&wanted, &name, &context);
            if order.is_eq() {
                let (at, before) = (spots.at, spots.before);
                return ListSeat { held: spots.next(), at, before, passed, tail };
            }
            if order.is_gt() {
                break;
            }
            if passed == 0 && 0 < tail.passed && tail.passed < count && !self.is_before(&wanted, tail) {
                (spots, passed, began) = (self.from(tail), tail.passed, tail.passed);
                continue;
            }
            spots.pass_rest(reader, context);
            passed += 1;
            if passed + TAIL_CELLS == count && passed - began > TAIL_CELLS {
                tail = Tail { at: spots.at, passed, before: spots.before };
            }
        }
        ListSeat { held: None, at: spots.at, before: spots.before, passed, tail }
    }

    /// What puts a cell of a list into its seat, or takes away what is there.
    pub(crate) fn with_list_cell(
        self,
        seat: &ListSeat<'b>,
        id: &CellId<'_>,
        cell: Option<&Cell<'_>>,
    ) -> Patch {
        let place = seat.held.as_ref().map_or(seat.at..seat.at, |spot| spot.place.clone());
        let Some(cell) = cell else { return self.splice(seat.before, place, None, None) };
        let mut origins = OriginTable::of(self);
        let sums = sums::bytes_of(cell, &mut origins);
        let new = origins.cell(id, cell, &sums);
        let has_more = ORIGIN_BYTES * origins.0.len() > self.origins.len();
        self.splice(seat.before, place, Some(&new), has_more.then_some(origins))
    }

    /// The cells from one of these places on.
    pub(crate) fn cells_from(self, place: usize, tail: Tail) -> Cells<'b> {
        let tail = if tail.passed <= place { tail } else { Tail::START };
        let mut spots = self.from(tail);
        (tail.passed..place).for_each(|_| spots.pass());
        Cells(spots)
    }

    fn from(self, tail: Tail) -> Spots<'b> {
        Spots { block: self, at: tail.at, before: tail.before }
    }

    /// Whether what is looked for comes before the cell at the tail.
    fn is_before(self, wanted: &name::Wanted<'_>, tail: Tail) -> bool {
        let (name, context) = self.from(tail).read_name(&mut Reader::new(&self.cells[tail.at..]));
        self.order(wanted, &name, &context).is_gt()
    }

    /// How a cell's name compares to what is looked for.
    #[inline(always)]
    fn order(self, wanted: &name::Wanted<'_>, name: &name::Name<'_>, context: &Context) -> Ordering {
        let Stamp { timestamp, origin } = context.stamp;
        wanted.order(name, || Version::new(Timestamp(timestamp), self.origin(origin)))
    }
}

impl<'b> Spots<'b> {
    /// Goes past the next cell, of which no more is read than where it ends.
    #[inline(always)]
    fn pass(&mut self) {
        if self.at == self.block.cells.len() {
            return;
        }
        let mut reader = Reader::new(&self.block.cells[self.at..]);
        let (_, context) = self.read_name(&mut reader);
        self.pass_rest(reader, context);
    }

    /// Goes past a cell whose name was read.
    #[inline(always)]
    fn pass_rest(&mut self, mut reader: Reader<'b>, context: Context) {
        Written::skip(context.written(), &mut reader);
        if context.tag & HAS_SUMS != 0 {
            let length = reader.varint() as usize;
            reader.take(length);
        }
        self.at = self.block.cells.len() - reader.left();
        self.before = context;
    }
}

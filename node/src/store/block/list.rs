//! Blocks of a long list: searched in the order of ids, and from the nearer end.
//!
//! A block can be read forwards only. So whoever holds one of many cells keeps a *tail* beside it, a place near its end from
//! which reading may begin: then what is done at either end of a list reads a few cells, not all.

use std::cmp::Ordering;

use shared::change::CellId;
use shared::clock::Timestamp;
use shared::version::Version;

use super::name::{self, Name};
use super::seat::Seat;
use super::spots::{Part, Spots};
use super::{Block, BlockCell, Cell, Cells, Context, Patch};
use crate::store::list_id::PlainId;

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
        let Context { timestamp, name, origin, tag } = self.before;
        let (position, index) = name.place();
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&(self.at as u32).to_le_bytes());
        bytes[4..6].copy_from_slice(&[self.passed as u8, tag]);
        bytes[6..14].copy_from_slice(&timestamp.to_le_bytes());
        bytes[14..16].copy_from_slice(&origin.to_le_bytes());
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
        let name = name::Context::of_list(int(16, 8), int(24, 4) as u32);
        let before = Context { timestamp: int(6, 8), name, origin: int(14, 2) as u16, tag: bytes[5] };
        Self { at: int(0, 4) as usize, passed: usize::from(bytes[4]), before }
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

/// Where a list's element lies in one of many blocks, or would.
pub(crate) struct ListSeat<'b> {
    pub(super) seat: Seat<'b>,
    /// So many cells come before it.
    pub(crate) passed: usize,
    /// From where what lies behind it is read best.
    pub(crate) tail: Tail,
}

impl<'b> ListSeat<'b> {
    pub(crate) fn held(&self) -> Option<BlockCell<'b>> {
        self.seat.held()
    }
}

/// The id of a list's element that is looked for.
struct Wanted<'w> {
    id: &'w [u8],
    plain: Option<PlainId>,
}

impl<'w> Wanted<'w> {
    fn new(id: &'w CellId<'_>) -> Self {
        Self { id: &id.element, plain: PlainId::parse(&id.element) }
    }
}

impl<'b> Block<'b> {
    /// Where a cell of a list lies or would, in a block of `count` of them; that matters for its tail only.
    pub(crate) fn list_seat(self, id: &CellId<'_>, mut tail: Tail, count: usize) -> ListSeat<'b> {
        let wanted = Wanted::new(id);
        let (mut spots, mut passed, mut began) = (self.spots(), 0, 0);
        while let Some(part) = spots.part() {
            match spots.order(&part, &wanted) {
                Ordering::Equal => return ListSeat { seat: Seat::of(spots.spot(&part)), passed, tail },
                Ordering::Greater => break,
                Ordering::Less => {}
            }
            if passed == 0 && 0 < tail.passed && tail.passed < count && self.begins_at(tail, &wanted) {
                (spots, passed, began) = (self.from(tail), tail.passed, tail.passed);
                continue;
            }
            spots.pass(part);
            passed += 1;
            if passed + TAIL_CELLS == count && passed - began > TAIL_CELLS {
                tail = Tail { at: spots.at, passed, before: spots.before };
            }
        }
        ListSeat { seat: Seat::free(spots.gap(None)), passed, tail }
    }

    /// What puts a cell of a list into its seat, or takes away what is there.
    pub(crate) fn with_list_cell(
        self,
        seat: &ListSeat<'b>,
        id: &CellId<'_>,
        cell: Option<&Cell<'_>>,
    ) -> Patch {
        self.with(&seat.seat, id, cell)
    }

    /// The cells from one of these places on.
    pub(crate) fn cells_from(self, place: usize, tail: Tail) -> Cells<'b> {
        let tail = if tail.passed <= place { tail } else { Tail::START };
        let mut spots = self.from(tail);
        for _ in tail.passed..place {
            let Some(part) = spots.part() else { break };
            spots.pass(part);
        }
        Cells(spots)
    }

    const fn from(self, tail: Tail) -> Spots<'b> {
        Spots { block: self, at: tail.at, before: tail.before }
    }

    /// Whether what is looked for is the cell at the tail, or comes behind it.
    fn begins_at(self, tail: Tail, wanted: &Wanted<'_>) -> bool {
        let spots = self.from(tail);
        spots.part().is_some_and(|part| spots.order(&part, wanted).is_le())
    }
}

impl<'b> Spots<'b> {
    /// How a cell's name compares to what is looked for.
    #[inline(always)]
    fn order(&self, part: &Part<'b>, wanted: &Wanted<'_>) -> Ordering {
        match (part.name, wanted.plain) {
            (Name::Pushed { position, index }, Some(plain)) => {
                let Context { timestamp, origin, .. } = part.context;
                let version = || Version::new(Timestamp(timestamp), self.block.origin(origin));
                let order = position.cmp(&plain.position).then_with(|| version().cmp(&plain.push));
                order.then(index.cmp(&plain.index))
            }
            _ => (*self.spot(part).cell.element()).cmp(wanted.id),
        }
    }
}

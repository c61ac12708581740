//! How a cell comes into a block, to another place in it, or out of it.

use shared::change::{CellId, Kind};

use super::head::Head;
use super::seat::{Gap, Seat};
use super::spots::Spots;
use super::{Block, BlockCell, Bytes, CELL_BYTES, Context, Patch, Spot, sums};
use crate::store::block::name::Name;
use crate::store::rich::Cell;

impl<'b> Block<'b> {
    /// What puts a cell into its seat, or takes away what is there.
    pub(crate) fn with(self, seat: &Seat<'b>, id: &CellId<'_>, cell: Option<&Cell<'_>>) -> Patch {
        let Some(cell) = cell else {
            return seat.held.as_ref().map_or_else(Patch::default, |old| self.without(old));
        };
        let mut head = Head::of(self);
        if let (true, None, Some(last)) = (self.base.is_empty(), &seat.held, &seat.last) {
            head.base = last.common_base(&Name::of(id, None, &[]));
        }
        let sums = sums::bytes_of(cell, &mut head);
        let new = head.cell(id, cell, &sums);
        let base = head.base.len();
        let mut patch = match &seat.held {
            Some(old) if id.kind == Kind::SortedSet => {
                let gap = self.rank_gap(seat, id, cell);
                if gap.at == old.place.start || gap.at == old.place.end {
                    self.instead(old, &new, base)
                } else {
                    self.moved(old, &gap, &new, base)
                }
            }
            Some(old) => self.instead(old, &new, base),
            None if id.kind == Kind::SortedSet => self.inserted(&self.rank_gap(seat, id, cell), &new, base),
            None => {
                let gap = seat.gap.expect("a seat without a cell has a place for one");
                self.inserted(&gap, &new, base)
            }
        };
        if !head.added.is_empty() || base > self.base.len() {
            patch.head = Some(head.block(&[], &[]).into());
        }
        patch
    }

    fn without(self, old: &Spot<'b>) -> Patch {
        let mut bytes = Bytes::with_capacity(2 * CELL_BYTES);
        let end = self.put_next(old.place.end, &old.after, &old.before, self.base.len(), &mut bytes);
        Patch { place: old.place.start..end, bytes, head: None }
    }

    fn instead(self, old: &Spot<'b>, new: &BlockCell<'_>, base: usize) -> Patch {
        let mut bytes = Bytes::with_capacity(2 * CELL_BYTES);
        let after = new.put(&old.before, base, &mut bytes);
        let end = self.put_next(old.place.end, &old.after, &after, base, &mut bytes);
        Patch { place: old.place.start..end, bytes, head: None }
    }

    fn inserted(self, gap: &Gap, new: &BlockCell<'_>, base: usize) -> Patch {
        let mut bytes = Bytes::with_capacity(2 * CELL_BYTES);
        let after = new.put(&gap.before, base, &mut bytes);
        let end = self.put_next(gap.at, &gap.before, &after, base, &mut bytes);
        Patch { place: gap.at..end, bytes, head: None }
    }

    /// Takes a cell away and puts it elsewhere: what lies between stays as it is, but for the cells behind the two places.
    fn moved(self, old: &Spot<'b>, gap: &Gap, new: &BlockCell<'_>, base: usize) -> Patch {
        let mut bytes = Bytes::with_capacity(2 * CELL_BYTES);
        if gap.at < old.place.start {
            let after = new.put(&gap.before, base, &mut bytes);
            let passed = self.put_next(gap.at, &gap.before, &after, base, &mut bytes);
            bytes.extend_from_slice(&self.cells[passed..old.place.start]);
            let end = self.put_next(old.place.end, &old.after, &old.before, base, &mut bytes);
            Patch { place: gap.at..end, bytes, head: None }
        } else {
            let passed = self.put_next(old.place.end, &old.after, &old.before, base, &mut bytes);
            bytes.extend_from_slice(&self.cells[passed..gap.at]);
            let after = new.put(&gap.before, base, &mut bytes);
            let end = self.put_next(gap.at, &gap.before, &after, base, &mut bytes);
            Patch { place: old.place.start..end, bytes, head: None }
        }
    }

    /// Writes the cell at a place anew, which lay behind one that left `old`, behind one that leaves `new`. Returns where it
    /// ended, which is there if there is none.
    fn put_next(self, at: usize, old: &Context, new: &Context, base: usize, out: &mut Bytes) -> usize {
        let spots = Spots { block: self, at, before: *old };
        let Some(part) = spots.part() else { return at };
        let (next, end) = spots.cell(&part);
        next.put(new, base, out);
        end
    }
}

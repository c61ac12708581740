//! What a key's cells come to: kept up to date cell by cell, so that a write to a large key costs what its cell does.

use shared::change::CellId;

use super::Mark;
use super::cell::Cell;
use crate::store::dead::Dead;
use crate::store::digest;

/// What cells come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Cells that are live.
    pub(crate) live: usize,
    /// Tombstones, and the bytes of what a mark hides.
    pub(crate) dead: Dead,
    /// The XOR of the parts of the key's digest.
    pub(crate) digest: u64,
}

impl Tally {
    pub(super) fn of(id: &CellId<'_>, cell: &Cell, mark: Option<Mark>) -> Self {
        let (base, sums) = cell.live(mark);
        let written = base.map_or(0, |_| digest::cell(id.kind, &id.element, cell.base_version()));
        let (count, added) = sums.fold((0, 0), |(count, added), (contributor, own)| {
            (count + 1, added ^ digest::contribution(id.kind, &id.element, contributor, own))
        });
        let live = base.is_some() || count > 0;
        let bytes = if live { 0 } else { size_of::<(CellId<'_>, Cell)>() + id.element.len() };
        let dead = Dead { things: usize::from(cell.is_tombstone()), bytes };
        Self { live: usize::from(live), dead, digest: written ^ added }
    }

    pub(super) const fn add(&mut self, other: Self) {
        self.live += other.live;
        self.dead.add(other.dead);
        self.digest ^= other.digest;
    }

    pub(super) const fn subtract(&mut self, other: Self) {
        self.live -= other.live;
        self.dead.subtract(other.dead);
        self.digest ^= other.digest;
    }
}

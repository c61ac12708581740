//! Where in a block a cell lies, or would.
//!
//! This is most of what writing to a packed collection takes: so of other cells no more is read than where they end.

use shared::change::{CellId, Kind};
use shared::version::Version;

use super::name::{Name, shared};
use super::skim::Until;
use super::spots::{Part, Spots};
use super::{Block, BlockCell, Context, Spot, Tail};
use crate::store::rich::{Cell, parse_integer};

/// Where a cell lies in a block, or would.
pub(crate) struct Seat<'b> {
    /// The cell of that name, if there is one.
    pub(super) held: Option<Spot<'b>>,
    /// Where one would be put, as far as that is known.
    pub(super) gap: Option<Gap>,
    /// The last one that was passed.
    pub(super) last: Option<Name<'b>>,
}

impl<'b> Seat<'b> {
    pub(super) const fn of(held: Spot<'b>) -> Self {
        Self { held: Some(held), gap: None, last: None }
    }

    pub(super) const fn free(gap: Gap) -> Self {
        Self { held: None, gap: Some(gap), last: None }
    }

    pub(crate) fn held(&self) -> Option<BlockCell<'b>> {
        self.held.as_ref().map(|spot| spot.cell)
    }
}

/// A place before a cell, or at the end.
#[derive(Clone, Copy)]
pub(super) struct Gap {
    pub(super) at: usize,
    pub(super) before: Context,
    /// For a sorted set's member of this score.
    score: Option<f64>,
}

/// A name that is looked for.
pub(super) struct Wanted<'w> {
    raw: &'w [u8],
    pub(super) int: Option<i64>,
    /// So much it has in common with the block's base.
    shared: usize,
}

impl<'w> Wanted<'w> {
    fn new(id: &'w CellId<'_>, block: &Block<'_>) -> Self {
        Self { raw: &id.element, int: parse_integer(&id.element), shared: shared(block.base, &id.element) }
    }

    /// Whether it begins with so much of the block's base, and these bytes are the rest.
    #[inline(always)]
    pub(super) fn ends_with(&self, shared: usize, rest: &[u8]) -> bool {
        // Names of one length that differ mostly do so in their last byte: no need to call a function for those.
        shared + rest.len() == self.raw.len()
            && shared <= self.shared
            && (rest.is_empty() || rest.last() == self.raw.last())
            && *rest == self.raw[shared..]
    }

    #[inline(always)]
    fn is(&self, name: &Name<'_>) -> bool {
        match *name {
            Name::Based(start, end) => self.ends_with(start.len(), end),
            Name::Raw(bytes) | Name::RawId(bytes) => self.ends_with(0, bytes),
            Name::Int(int) => self.int == Some(int),
            Name::Pushed { .. } => false,
        }
    }
}

impl<'b> Block<'b> {
    /// Where a cell of this name lies, or would, if it is a sorted set's with this score.
    pub(crate) fn seat(self, id: &CellId<'_>, score: Option<f64>) -> Seat<'b> {
        match id.kind {
            Kind::List => self.list_seat(id, Tail::START, 0).seat,
            Kind::SortedSet => self.seat_in_order(id, score),
            Kind::String | Kind::Set | Kind::Hash => self.seat_by_name(id),
        }
    }

    fn seat_by_name(self, id: &CellId<'_>) -> Seat<'b> {
        let wanted = Wanted::new(id, &self);
        let orders = if id.kind == Kind::Set { wanted.int } else { None };
        let until = orders.map_or(Until::End, Until::Int);
        let (mut spots, mut last) = (self.spots(), None);
        loop {
            last = spots.skim(&wanted, until).or(last);
            let Some(part) = spots.part() else { break };
            if wanted.is(&part.name) {
                return Seat { held: Some(spots.spot(&part)), gap: None, last };
            }
            // A set's whole numbers come first, and in order.
            if orders.is_some_and(|int| part.name.int().is_none_or(|other| other > int)) {
                break;
            }
            last = Some(part.name);
            spots.pass(part);
        }
        Seat { held: None, gap: Some(spots.gap(None)), last }
    }

    fn seat_in_order(self, id: &CellId<'_>, score: Option<f64>) -> Seat<'b> {
        let wanted = Wanted::new(id, &self);
        let (mut spots, mut held, mut gap, mut last) = (self.spots(), None, None, None);
        loop {
            let until = score.filter(|_| gap.is_none()).map_or(Until::End, Until::Score);
            last = spots.skim(&wanted, until).or(last);
            let Some(part) = spots.part() else { break };
            if held.is_none() && wanted.is(&part.name) {
                held = Some(spots.spot(&part));
                if gap.is_some() || score.is_none() {
                    break;
                }
            } else if let (None, Some(score)) = (gap, score)
                && spots.ranks_above(&part, score, &id.element)
            {
                gap = Some(spots.gap(Some(score)));
                if held.is_some() {
                    break;
                }
            }
            last = Some(part.name);
            spots.pass(part);
        }
        if held.is_none() || score.is_some() {
            gap = gap.or_else(|| Some(spots.gap(score)));
        }
        Seat { held, gap, last }
    }

    /// Where a sorted set's member is put that is to have this cell.
    pub(super) fn rank_gap(self, seat: &Seat<'b>, id: &CellId<'_>, cell: &Cell<'_>) -> Gap {
        let score = cell.score(None);
        if let Some(gap) = seat.gap
            && gap.score == score
        {
            return gap;
        }
        let mut spots = self.spots();
        while let (Some(score), Some(part)) = (score, spots.part()) {
            let is_held = seat.held.as_ref().is_some_and(|held| held.place.start == spots.at);
            if !is_held && spots.ranks_above(&part, score, &id.element) {
                return spots.gap(Some(score));
            }
            spots.pass(part);
        }
        self.end()
    }

    fn end(self) -> Gap {
        let mut spots = self.spots();
        while let Some(part) = spots.part() {
            spots.pass(part);
        }
        spots.gap(None)
    }
}

impl<'b> Spots<'b> {
    pub(super) fn gap(&self, score: Option<f64>) -> Gap {
        Gap { at: self.at, before: self.before, score }
    }

    /// Whether the member comes behind one of this score and name.
    #[inline(always)]
    fn ranks_above(&self, part: &Part<'b>, score: f64, name: &[u8]) -> bool {
        match self.score(part) {
            None => true,
            Some(other) if other == score => *part.name.text(Version::ZERO) > *name,
            Some(other) => other > score,
        }
    }
}

//! The order of a sorted set's members: by score, then by name.
//!
//! A small set is sorted when it is asked for. A large one has a tree of its own for that, which every change keeps up to
//! date.

use std::cmp::Ordering;
use std::ops::Range;

use shared::change::{CellId, Kind};

use super::cells::Cells;
use super::tally::Tally;
use super::{Mark, RichKey};
use crate::store::account::allocated;
use crate::store::block::Text;
use crate::store::tree::{self, CountedTree};

/// A set of more members than this has a tree.
const SORTED_WHEN_ASKED_MAX: usize = 64;

/// The members of a large sorted set, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scores(Option<Box<CountedTree<Scored>>>);

#[derive(Clone, Debug)]
struct Scored {
    score: f64,
    member: Box<[u8]>,
}

/// The order of ranks. No score is not a number.
pub(crate) fn rank_order(left: (f64, &[u8]), right: (f64, &[u8])) -> Ordering {
    left.0.partial_cmp(&right.0).unwrap_or(Ordering::Equal).then_with(|| left.1.cmp(right.1))
}

/// A number in whose order scores lie. The two zeros are one.
fn prefix_of(score: f64) -> u64 {
    let bits = (score + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

impl tree::Item for Scored {
    fn prefix(&self) -> u64 {
        prefix_of(self.score)
    }

    fn counts(&self) -> bool {
        true
    }
}

struct Target<'t> {
    score: f64,
    member: &'t [u8],
}

impl tree::Target<Scored> for Target<'_> {
    fn prefix(&self) -> u64 {
        prefix_of(self.score)
    }

    fn order(&self, item: &Scored) -> Ordering {
        rank_order((item.score, &item.member), (self.score, self.member))
    }
}

/// What a member takes in that order.
pub(super) fn bytes_of(member: &[u8]) -> usize {
    size_of::<Scored>() + allocated(member.len())
}

impl Scores {
    /// The order of these cells, if they are so many.
    pub(super) fn of(cells: &Cells, mark: Option<Mark>, tally: Tally) -> Self {
        if tally.live[Kind::SortedSet as usize] <= SORTED_WHEN_ASKED_MAX {
            return Self::default();
        }
        let sorted = sorted(cells, mark, tally);
        let scored =
            sorted.into_iter().map(|(member, score)| Scored { score, member: member.into_owned().into() });
        Self(Some(Box::new(CountedTree::of_sorted(scored.collect()))))
    }

    /// A member's score before it is changed, if it matters.
    pub(super) fn before(&self, cells: &Cells, id: &CellId<'_>, mark: Option<Mark>) -> Option<f64> {
        if self.0.is_none() || id.kind != Kind::SortedSet {
            return None;
        }
        cells.get(id).and_then(|cell| cell.score(mark))
    }

    /// Takes in a change of a member, whose score was `before`.
    pub(super) fn after(
        &mut self,
        before: Option<f64>,
        cells: &Cells,
        id: &CellId<'_>,
        mark: Option<Mark>,
        tally: Tally,
    ) {
        if id.kind != Kind::SortedSet {
            return;
        }
        let Some(tree) = &mut self.0 else {
            *self = Self::of(cells, mark, tally);
            return;
        };
        let after = cells.get(id).and_then(|cell| cell.score(mark));
        if before == after {
            return;
        }
        for (score, stays) in [(before, false), (after, true)] {
            if let Some(score) = score {
                let target = Target { score, member: &id.element };
                tree.change(&target, || Scored { score, member: (&*id.element).into() }, |_| ((), stays));
            }
        }
    }
}

impl RichKey {
    /// What the key takes of memory, in bytes, as far as it can be told without the allocator.
    pub(crate) fn memory(&self) -> usize {
        let scores = if self.scores.0.is_some() { self.tally.ranked_bytes } else { 0 };
        allocated(size_of::<Self>()) + allocated(self.key.len()) + self.tally.bytes + scores
    }

    /// The members of these ranks, lowest first.
    pub(crate) fn ranked(
        &self,
        ranks: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = (Text<'_>, f64)> + use<'_> {
        let (few, many) = match &self.scores.0 {
            Some(tree) => (Vec::new(), Some(tree.range(ranks))),
            None => {
                let mut members = sorted(&self.cells, self.mark, self.tally);
                members.truncate(ranks.end);
                members.drain(..ranks.start.min(members.len()));
                (members, None)
            }
        };
        let many = many.into_iter().flatten().map(|scored| (Text::Borrowed(&scored.member), scored.score));
        few.into_iter().chain(many)
    }

    /// How many members come first for which this holds; it must hold for none behind one for which it does not.
    pub(crate) fn rank_where(&self, holds: impl Fn(f64, &[u8]) -> bool) -> usize {
        match &self.scores.0 {
            Some(tree) => tree.weight_before(|scored| holds(scored.score, &scored.member)),
            None => {
                let members = sorted(&self.cells, self.mark, self.tally);
                members.partition_point(|(member, score)| holds(*score, member))
            }
        }
    }
}

fn sorted(cells: &Cells, mark: Option<Mark>, tally: Tally) -> Vec<(Text<'_>, f64)> {
    let below: usize = tally.live[..Kind::SortedSet as usize].iter().sum();
    let live = cells.live(below..below + tally.live[Kind::SortedSet as usize]);
    let mut members: Vec<_> =
        live.map(|found| (found.cell.element(), found.score(mark).unwrap_or_default())).collect();
    members.sort_unstable_by(|left, right| rank_order((left.1, &left.0), (right.1, &right.0)));
    members
}

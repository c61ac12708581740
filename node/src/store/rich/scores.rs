//! The order of a sorted set's members: by score, then by name.
//!
//! A small set is sorted when it is asked for. A large one has a tree of its own for that, which every change keeps up to
//! date.

use std::cmp::Ordering;
use std::ops::Range;

use shared::change::Kind;

use super::cells::{Cells, Change};
use super::tally::Tally;
use super::{Mark, RichKey};
use crate::store::account::allocated;
use crate::store::block::Text;
use crate::store::tree::{self, CountedTree, Edited};

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

    fn weight(&self) -> usize {
        1
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

    /// Takes in a change of a member. Says whether there is a tree for that.
    pub(super) fn take_in(&mut self, member: &[u8], change: &Change) -> bool {
        let Some(tree) = &mut self.0 else { return false };
        let Change { score_before: before, score_after: after, .. } = *change;
        if before != after {
            if let Some(score) = before {
                let target = Target { score, member };
                tree.change(&target, |near| {
                    ((), Edited::stays(near.is_some_and(|near| tree::Target::order(&target, near).is_ne())))
                });
            }
            if let Some(score) = after {
                let target = Target { score, member };
                tree.change(&target, |near| {
                    let new = Scored { score, member: member.into() };
                    (
                        (),
                        Edited::beside(
                            new,
                            near.is_some_and(|near| tree::Target::order(&target, near).is_gt()),
                        ),
                    )
                });
            }
        }
        true
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
            Some(tree) => (Vec::new(), Some(tree.range(ranks).map(|(scored, _)| scored))),
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

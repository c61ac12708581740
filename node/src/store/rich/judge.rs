//! How two nodes' states of a key become one.
//!
//! Merging both as if they were logs would bring back what one side has deleted and forgotten. So both sides are judged
//! alike: a part that only one side holds survives only if the other side's frontier does not *cover* it, for what is
//! covered and absent was deleted there. A part is covered if the log entry that made it is: for a write or TTL register
//! its version, for a contribution its last increment in the batches of who carried it. Resets, marks and tombstones
//! are deletions themselves: theirs are merged always, and ours are kept.

use shared::change::Value;
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::state::{CellState, ContributionState, KeyState, MarkState};
use shared::time::WallMillis;
use shared::version::{Frontier, Version};

use super::{CellId, Mark, OwnContribution, RichKey, Source, Ttl, end_of};
use crate::store::shard::Flushed;

/// What judging has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    /// Parts of theirs that were merged and changed something here.
    pub(crate) taken: usize,
    /// Parts of ours that were dropped.
    pub(crate) dropped: usize,
}

impl Judged {
    pub(crate) const fn add(&mut self, other: Self) {
        self.taken += other.taken;
        self.dropped += other.dropped;
    }

    fn take(&mut self, changed: bool) {
        self.taken += usize::from(changed);
    }

    pub(crate) fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// A node that joins, as far as judging a key is concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joining {
    /// Its own origin, and its clock when digests were compared: what is newer happened since.
    pub(crate) now: Version,
    /// The flush that went over the key's database, theirs too.
    pub(crate) flushed: Flushed,
    /// Its own flush, if they have not seen that.
    pub(crate) unseen_flush: Flushed,
}

impl Joining {
    /// Whether they know nothing of a log entry, and it was there when digests were compared.
    pub(crate) fn is_unseen(&self, entry: Version, theirs: &Frontier) -> bool {
        entry > Version::ZERO && entry.timestamp <= self.now.timestamp && !theirs.covers(entry)
    }
}

/// What became of a joiner's reset, mark or flush that its group has not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// There is none.
    Nothing,
    /// It ends something of theirs: it stays, as a reset.
    Kept,
    /// It ends nothing of theirs, and is gone.
    Ended(Ended),
}

/// A reset or mark that is gone, to be put back if the node does not join after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    reset: Version,
    entry: Version,
    mark: Option<Mark>,
}

impl From<MarkState> for Mark {
    fn from(MarkState { reset, expiry, entry }: MarkState) -> Self {
        Self { reset, expiry, entry }
    }
}

impl From<&ContributionState> for OwnContribution {
    fn from(state: &ContributionState) -> Self {
        let ContributionState { first, last, counted, sum, carrier, .. } = *state;
        Self { first, last, counted, sum, carrier }
    }
}

impl RichKey {
    /// Judges the two states of a key, ours being at the frontier `ours`.
    pub(crate) fn judge(
        &mut self,
        theirs: &KeyState<'_>,
        ours: &Frontier,
        theirs_frontier: &Frontier,
        joining: Option<Joining>,
    ) -> Judged {
        let mut judged = Judged { taken: self.merge_resets(theirs), dropped: 0 };
        judged.dropped = self.drop_absent(theirs, theirs_frontier);
        let restated = joining.map(|joining| self.settle_restated(theirs, theirs_frontier, joining.now));
        for cell in &theirs.cells {
            judged.taken += self.judge_cell(cell, ours);
        }
        for (id, contributor, settled) in restated.unwrap_or_default() {
            self.replace_contribution(&id, contributor, settled);
        }
        if let Some(ttl) = theirs.ttl
            && (self.ttl.is_some() || !ours.covers(ttl.version))
        {
            judged.take(self.merge_ttl(Ttl { version: ttl.version, expiry: ttl.expiry }, Source::Log));
        }
        judged
    }

    /// Merges what is dead of theirs, as if it came by the log. What their mark hides is taken unless `ours` covers it:
    /// a later reset may bring it to light.
    pub(crate) fn merge_dead(&mut self, theirs: &KeyState<'_>, ours: &Frontier) -> usize {
        let mut judged = Judged { taken: self.merge_resets(theirs), dropped: 0 };
        let hidden = |at: Timestamp| theirs.mark.is_some_and(|mark| Mark::from(mark).hides(at));
        for cell in &theirs.cells {
            if let Some((version, value)) = &cell.base
                && (value.is_none() || hidden(version.timestamp))
            {
                judged.take(self.judge_base(&cell.id, *version, value.as_ref(), ours));
            }
            for contribution in cell.contributions.iter().filter(|own| hidden(own.first)) {
                judged.take(self.judge_contribution(&cell.id, contribution, ours));
            }
        }
        if let Some(ttl) = theirs.ttl {
            judged.take(self.merge_ttl(Ttl { version: ttl.version, expiry: ttl.expiry }, Source::Log));
        }
        judged.taken
    }

    /// Merges all of theirs: nothing is dropped but what newer versions replace. If asked to, their values replace ours
    /// of equal versions, which would be the same had nothing been damaged.
    pub(crate) fn unite(&mut self, theirs: &KeyState<'_>, overwrite_equal: bool) -> usize {
        let source = if overwrite_equal { Source::Local } else { Source::Log };
        let mut judged = Judged { taken: self.merge_resets(theirs), dropped: 0 };
        for CellState { id, base, contributions } in &theirs.cells {
            if let Some((version, value)) = base
                && !self.holds(id, *version, value.as_ref())
            {
                judged.take(self.merge_cell(id.clone(), *version, value.clone(), source));
            }
            for own in contributions {
                let held = self.contribution_of(id, own.contributor);
                if held != Some(OwnContribution::from(own)) {
                    judged.take(self.merge_contribution(id.clone(), own.contributor, own.into(), source));
                }
            }
        }
        if let Some(ttl) = theirs.ttl.map(|ttl| Ttl { version: ttl.version, expiry: ttl.expiry })
            && self.ttl != Some(ttl)
        {
            judged.take(self.merge_ttl(ttl, source));
        }
        judged.taken
    }

    fn merge_resets(&mut self, theirs: &KeyState<'_>) -> usize {
        let mut judged = Judged::default();
        if let Some(reset) = theirs.reset {
            judged.take(self.merge_reset(reset.version, reset.entry, Source::Log));
        }
        if let Some(mark) = theirs.mark {
            judged.take(self.merge_mark(mark.into()));
        }
        judged.taken
    }

    /// Drops what is live here, absent there, and covered by their frontier.
    fn drop_absent(&mut self, theirs: &KeyState<'_>, theirs_frontier: &Frontier) -> usize {
        let mut dropped = 0;
        self.cells.change_all(|id, cell| {
            let other = theirs.cells.binary_search_by(|other| other.id.cmp(id));
            let other = other.ok().map(|place| &theirs.cells[place]);
            let has_base = other.is_some_and(|other| other.base.is_some());
            let base = cell.base.take_if(|base| !has_base && covered_base(base, theirs_frontier));
            dropped += usize::from(base.is_some());
            cell.contributions.retain(|(origin, own)| {
                let held =
                    other.is_some_and(|other| other.contributions.iter().any(|o| o.contributor == *origin));
                let stays = held || !theirs_frontier.covers(own.entry());
                dropped += usize::from(!stays);
                stays
            });
        });
        if dropped > 0 {
            self.count_cells();
        }
        let absent = |ttl: &mut Ttl| theirs.ttl.is_none() && theirs_frontier.covers(ttl.version);
        dropped + usize::from(self.ttl.take_if(absent).is_some())
    }

    /// Of a joiner's reset, mark or flush that they have not seen a reset is left if it ends anything live of theirs, to be
    /// said again. Else nothing is: said again with its old version it would end marks of theirs, and bring to light what
    /// those hide, where that is not dropped yet. One that ends anything live cannot do that: what is live is not hidden,
    /// so it is newer than all that a mark hides, and the reset is newer still.
    ///
    /// `theirs` is none where nothing of theirs is left to be merged.
    pub(crate) fn settle_unseen(
        &mut self,
        theirs: Option<&KeyState<'_>>,
        theirs_frontier: &Frontier,
        joining: Joining,
    ) -> Settled {
        let Joining { flushed, unseen_flush, .. } = joining;
        if let Some(mark) = self.mark.filter(|mark| has_passed(theirs, *mark, theirs_frontier)) {
            self.drop_hidden(mark, |_| false);
            self.mark = None;
            self.count_cells();
            return Settled::Ended(Ended { reset: mark.reset, entry: mark.entry, mark: Some(mark) });
        }
        let own = self.mark.map_or((self.reset, self.reset_entry), |mark| (mark.reset, mark.entry));
        let of_key = joining.is_unseen(own.1, theirs_frontier).then_some(own);
        let of_flush = Some((unseen_flush.version, unseen_flush.entry));
        let of_flush = of_flush.filter(|(version, _)| *version > own.0);
        let Some((reset, entry)) = of_flush.or(of_key).filter(|(version, _)| *version > flushed.version)
        else {
            return Settled::Nothing;
        };
        let ended = Ended { reset, entry, mark: self.mark.filter(|_| of_key.is_some()) };
        let kills = theirs.is_some_and(|theirs| ends_live(theirs, reset));
        if let Some(mark) = self.mark.filter(|_| of_key.is_some()) {
            self.end_mark(mark, kills, flushed);
        } else if kills {
            // Above a flush, for that is withdrawn, and of what has its very version nothing is left.
            (self.reset, self.reset_entry) = (reset, entry);
        } else if of_key.is_some() {
            (self.reset, self.reset_entry) = (flushed.version, flushed.entry);
        }
        // Above its expiry what has expired would come back.
        if let Some(theirs) =
            theirs.filter(|_| !kills && self.unseen_expiry(theirs_frontier, joining).is_none())
        {
            self.rise_above(theirs, reset, theirs_frontier, joining.now);
        }
        self.count_cells();
        if kills { Settled::Kept } else { Settled::Ended(ended) }
    }

    /// Puts back what was ended, for the node does not join.
    pub(crate) fn put_back(&mut self, Ended { reset, entry, mark }: Ended) {
        match mark {
            Some(mark) => self.merge_mark(mark),
            None => self.merge_reset(reset, entry, Source::Log),
        };
    }

    /// When it expired, if that lies behind a joiner, and they have not seen that it would.
    fn unseen_expiry(&self, theirs_frontier: &Frontier, joining: Joining) -> Option<WallMillis> {
        let unseen = self.ttl.filter(|ttl| !theirs_frontier.covers(ttl.version));
        unseen.and_then(|ttl| ttl.expiry).filter(|expiry| end_of(*expiry) <= joining.now.timestamp)
    }

    /// What they have not seen, and is not to fall to a mark or TTL of theirs that a reset of ours had ended, gets a version
    /// above these.
    fn rise_above(
        &mut self,
        theirs: &KeyState<'_>,
        reset: Version,
        theirs_frontier: &Frontier,
        now: Version,
    ) {
        let mark = theirs.mark.map(Mark::from).filter(|mark| mark.reset < reset);
        let is_hidden = |at: Timestamp| mark.is_some_and(|mark| mark.hides(at));
        let mut has_own = false;
        self.cells.change_all(|_, cell| {
            if let Some((version, Some(_))) = &mut cell.base
                && !theirs_frontier.covers(*version)
            {
                has_own = true;
                if is_hidden(version.timestamp) {
                    *version = now;
                }
            }
            for (_, part) in cell.contributions.iter_mut() {
                if !theirs_frontier.covers(part.entry()) {
                    has_own = true;
                    if is_hidden(part.first) {
                        // After the write that it was added to; what has been added since stays in it.
                        let first = now.timestamp.next();
                        (part.first, part.last, part.carrier) = (first, part.last.max(first), now.origin);
                    }
                }
            }
        });
        if has_own && self.ttl.is_none() && theirs.ttl.is_some_and(|ttl| ttl.version < reset) {
            self.ttl = Some(Ttl { version: now, expiry: None });
        }
    }

    /// Of two contributions of one owner that began otherwise, or came in batches of two, one was restated, and whichever
    /// holds more of its owner's increments is the one to go on with, whatever merging makes of the two: where it is ours,
    /// it is restated for the group, as of a new beginning. As an entry of now, for they may see the one that made it before
    /// this node has joined, and merge it into nothing. Returns those to go on with.
    fn settle_restated<'s>(
        &self,
        theirs: &KeyState<'s>,
        theirs_frontier: &Frontier,
        now: Version,
    ) -> Vec<(CellId<'s>, Origin, OwnContribution)> {
        let mut settled = Vec::new();
        for CellState { id, contributions, .. } in &theirs.cells {
            for theirs in contributions {
                let Some(ours) = self.contribution_of(id, theirs.contributor) else { continue };
                if (ours.first, ours.carrier) == (theirs.first, theirs.carrier) {
                    continue;
                }
                if ours.counted > theirs.counted {
                    let OwnContribution { counted, sum, .. } = ours;
                    let first = theirs.first.max(ours.first);
                    let last = theirs.last.max(ours.last).max(now.timestamp);
                    let ours = OwnContribution { first, last, counted, sum, carrier: now.origin };
                    settled.push((id.clone(), theirs.contributor, ours));
                } else if !theirs_frontier.covers(ours.entry()) {
                    settled.push((id.clone(), theirs.contributor, theirs.into()));
                }
            }
        }
        settled
    }

    /// Puts a contribution in the place of one that is held, unless it has ended.
    fn replace_contribution(&mut self, id: &CellId<'_>, contributor: Origin, by: OwnContribution) {
        let began = Version::new(by.first, contributor);
        if began < self.reset || self.cell(id).is_some_and(|cell| cell.base_version() >= began) {
            return;
        }
        self.latest = self.latest.max(began).max(by.entry());
        self.change_cell(id.clone(), |cell| {
            let place = cell.contributions.binary_search_by_key(&contributor, |(origin, _)| *origin);
            place.is_ok_and(|place| {
                cell.contributions[place].1 = by;
                true
            })
        });
    }

    fn judge_cell(&mut self, theirs: &CellState<'_>, ours: &Frontier) -> usize {
        let mut judged = Judged::default();
        if let Some((version, value)) = &theirs.base {
            judged.take(self.judge_base(&theirs.id, *version, value.as_ref(), ours));
        }
        for contribution in &theirs.contributions {
            judged.take(self.judge_contribution(&theirs.id, contribution, ours));
        }
        judged.taken
    }

    fn judge_base(
        &mut self,
        id: &CellId<'_>,
        version: Version,
        value: Option<&Value<'_>>,
        ours: &Frontier,
    ) -> bool {
        let held = self.cell(id).is_some_and(|cell| cell.base.is_some());
        let wanted = held || value.is_none() || !ours.covers(version);
        wanted && self.merge_cell(id.clone(), version, value.cloned(), Source::Log)
    }

    fn judge_contribution(&mut self, id: &CellId<'_>, theirs: &ContributionState, ours: &Frontier) -> bool {
        let held = self.contribution_of(id, theirs.contributor).is_some();
        let wanted = held || !ours.covers(theirs.entry());
        wanted && self.merge_contribution(id.clone(), theirs.contributor, theirs.into(), Source::Log)
    }

    /// What a contributor has added to a cell.
    pub(crate) fn contribution_of(&self, id: &CellId<'_>, contributor: Origin) -> Option<OwnContribution> {
        self.cell(id)?.contribution_of(contributor)
    }

    /// Whether the cell holds exactly this write.
    fn holds(&self, id: &CellId<'_>, version: Version, value: Option<&Value<'_>>) -> bool {
        let base = self.cell(id).and_then(|cell| cell.base);
        base.is_some_and(|(held, ours)| {
            held == version
                && match (ours, value) {
                    (None, None) => true,
                    (Some(Value::Bytes(ours)), Some(Value::Bytes(theirs))) => *ours == **theirs,
                    (Some(Value::Float(ours)), Some(Value::Float(theirs))) => ours == *theirs,
                    _ => false,
                }
        })
    }
}

/// Whether a mark that they have seen is no more there: a later reset took it away, and is stable and forgotten. Here it
/// would hide what came after that.
fn has_passed(theirs: Option<&KeyState<'_>>, mark: Mark, theirs_frontier: &Frontier) -> bool {
    let is_there = |theirs: &KeyState<'_>| {
        theirs.mark.is_some() || theirs.reset.is_some_and(|reset| reset.version > mark.reset)
    };
    theirs_frontier.covers(mark.entry) && theirs.is_some_and(|theirs| !is_there(theirs))
}

/// Whether a reset ends anything that is live in a state.
fn ends_live(state: &KeyState<'_>, reset: Version) -> bool {
    let mark = state.mark.map(Mark::from);
    let ends = |version: Version| version < reset && !mark.is_some_and(|mark| mark.hides(version.timestamp));
    let ends_cell = |cell: &CellState<'_>| {
        cell.base.as_ref().is_some_and(|(version, value)| value.is_some() && ends(*version))
            || cell.contributions.iter().any(|own| ends(Version::new(own.first, own.contributor)))
    };
    state.cells.iter().any(ends_cell)
}

/// Whether a write, not a removal, lies within the frontier.
fn covered_base(base: &(Version, Option<Value<'_>>), frontier: &Frontier) -> bool {
    base.1.is_some() && frontier.covers(base.0)
}

#[cfg(test)]
mod tests {
    use shared::change::{Contribution, Op, Sum};

    use super::*;

    /// Its clients go on counting while a joiner is judged: what it had counted by then was told to end before its last
    /// increment, and nobody could read that.
    #[test]
    fn what_a_joiner_counted_since_stays_in_what_is_lifted_above_a_mark() {
        let (own, other) = (Origin(1), Origin(2));
        let at = |ms: u64, origin| Version::new(Timestamp::of_wall(WallMillis(ms)), origin);
        let mut rich = RichKey::absent(b"counter", Flushed::default());
        rich.merge(Op::Set(b"4".into()), at(400, own), Source::Local);
        let one = Contribution { first: at(500, own).timestamp, sum: Sum::Int(1), restates: None };
        rich.merge(Op::Count(CellId::STRING, one), at(850, own), Source::Local);
        let mut theirs = KeyState::new(0, b"counter");
        theirs.mark =
            Some(MarkState { reset: at(100, other), expiry: WallMillis(1_170), entry: at(1_171, other) });
        let frontier: Frontier = [(other, at(2_000, other).timestamp)].into_iter().collect();
        let joining =
            Joining { now: at(750, own), flushed: Flushed::default(), unseen_flush: Flushed::default() };
        assert!(matches!(rich.settle_unseen(Some(&theirs), &frontier, joining), Settled::Ended(_)));
        let lifted = rich.contribution_of(&CellId::STRING, own).expect("it is there");
        assert_eq!((lifted.first, lifted.last), (joining.now.timestamp.next(), at(850, own).timestamp));
        assert_eq!(lifted.counted, lifted.last);
    }
}

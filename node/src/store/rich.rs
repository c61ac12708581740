//! The state of a key in full, and the merge rules.
//!
//! A key's state is a reset (a version: what is older than it is dead), cells, a TTL register and perhaps an
//! expiry mark. Each rule below keeps the state a pure function of the set of changes merged, whatever their
//! order:
//!
//! - **Reset**: the newest stands. What is older dies; what has its very version survives, for both are then of
//!   one transaction, which holds at most one reset per key, and cells that came after it.
//! - **Cell**: the newest write stands, a removal being a write of nothing, unless older than the reset.
//! - **Counter**: a cell may have contributions, a running sum per origin. One is live if its *first* increment
//!   is newer than the cell's write and not older than the reset; by its last, increments from before a deletion
//!   would come back. Of one origin the larger (first, last) stands. The value is the written base plus sums, exact
//!   for whole and decimal numbers; a base that is no number hides the sums.
//! - **TTL**: the newest stands, unless older than the reset.
//! - **Mark**: the removal of an expired key. A reset that spares what its author had not seen, and a veil over
//!   all cells written up to the expiry, so that one that arrives late stays as expired as the rest. A later
//!   reset takes it away.
//! - **Kinds** racing on one key: nothing is dropped. The highest kind that has a live cell is visible.
//!
//! Here *local* changes differ in one thing: within a transaction a later change of the same version replaces
//! the earlier one. Peers never see the earlier one, for the transaction is coalesced before it is logged.

mod cell;

mod cells;

mod judge;

mod number;

mod run;

mod scores;

mod tally;

use std::borrow::Cow;

use shared::change::{CellId, Kind, Op, Value};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::time::WallMillis;
use shared::version::{Frontier, Version};

use super::aside::drop_aside;
use super::branch::{Branch, took};
use super::dead::DeadParts;
use super::digest;
use super::shard::Flushed;
use super::usage::Accessed;

pub(crate) use self::cell::{Cell, Contributions, OwnContribution, parse_integer};
pub(crate) use self::cells::{Cells, LiveCells, cursor_of};
pub(crate) use self::judge::{Ended, Joining, Judged, Settled};
pub(crate) use self::number::{sum_above, sum_of};
pub(crate) use self::run::Found;
pub(crate) use self::scores::{Scores, rank_order};
pub(crate) use self::tally::Tally;

/// More cells than this are freed aside when all of them end.
const FREED_HERE_MAX: usize = 1_000;

/// Where a change comes from, which decides between equal versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A transaction under way here: its changes replace its own earlier ones.
    Local,
    /// A log: a change of equal version is the same change.
    Log,
}

/// The TTL register: when the key expires, or that it does not, and since which write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ttl {
    pub(crate) version: Version,
    pub(crate) expiry: Option<WallMillis>,
}

/// A standing expiry mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) reset: Version,
    pub(crate) expiry: WallMillis,
    /// The log entry that made it.
    pub(crate) entry: Version,
}

impl Mark {
    pub(crate) fn hides(&self, written: Timestamp) -> bool {
        written < end_of(self.expiry)
    }
}

/// The first timestamp after a millisecond.
pub(crate) fn end_of(wall: WallMillis) -> Timestamp {
    Timestamp::of_wall(WallMillis(wall.0.saturating_add(1)))
}

/// The state of a key in full.
#[derive(Clone, Debug, Default)]
pub(crate) struct RichKey {
    pub(crate) key: Box<[u8]>,
    pub(crate) reset: Version,
    /// The log entry that made the reset: that, not the reset's own version, is what members must cover.
    pub(crate) reset_entry: Version,
    pub(crate) ttl: Option<Ttl>,
    pub(crate) mark: Option<Mark>,
    pub(crate) cells: Cells,
    /// When a client last used it, or how often one does.
    pub(crate) accessed: Accessed,
    /// What the cells come to.
    tally: Tally,
    /// No version in the cells is later. So a reset above it ends all of them at once.
    latest: Version,
    /// The order of a large sorted set's members.
    pub(crate) scores: Scores,
}

impl RichKey {
    /// A key of which nothing is known yet, but that a flush went over it.
    pub(crate) fn absent(key: &[u8], flushed: Flushed) -> Self {
        Self { key: key.into(), reset: flushed.version, reset_entry: flushed.entry, ..Self::default() }
    }

    /// A key with these cells, in any order, and nothing else.
    pub(crate) fn of_cells(key: &[u8], cells: Vec<(CellId<'_>, Cell<'_>)>) -> Self {
        let mut rich = Self { key: key.into(), cells: Cells::of(cells.into_iter()), ..Self::default() };
        rich.count_cells();
        rich
    }

    /// What the cells come to.
    pub(crate) const fn tally(&self) -> Tally {
        self.tally
    }

    /// With its cells counted from scratch.
    #[cfg(test)]
    pub(crate) fn recounted(mut self) -> Self {
        self.count_cells();
        self
    }

    fn count_cells(&mut self) {
        (self.tally, self.latest) = self.cells.count(self.mark);
        self.scores = Scores::of(&self.cells, self.mark, self.tally);
    }

    /// Merges a change whose version is `at`. Returns whether it changed anything.
    pub(crate) fn merge(&mut self, op: Op<'_>, at: Version, source: Source) -> bool {
        match op {
            Op::Set(value) => {
                let reset = self.merge_reset(at, at, source);
                let cell = self.merge_cell(CellId::STRING, at, Some(Value::Bytes(value)), source);
                reset || cell
            }
            Op::Reset | Op::FlushDb | Op::FlushAll => self.merge_reset(at, at, source),
            Op::Cell(id, value) => self.merge_cell(id, at, value, source),
            Op::Count(id, contribution) => {
                let (origin, own) = OwnContribution::of(contribution, at);
                self.merge_contribution(id, origin, own, source)
            }
            Op::Expire(expiry) => self.merge_ttl(Ttl { version: at, expiry }, source),
            Op::ObservedReset(version) | Op::ObservedFlush(version) => {
                self.merge_reset(version, at, Source::Log)
            }
            Op::Mark { reset, expiry } => self.merge_mark(Mark { reset, expiry, entry: at }),
        }
    }

    /// `entry` is the version of the log entry that carries the reset. Of several that carry the same one the newest
    /// is remembered: any will do for telling that everybody has it, and an older one may be of an origin that nobody
    /// will ever have more of.
    pub(crate) fn merge_reset(&mut self, reset: Version, entry: Version, source: Source) -> bool {
        if reset == self.reset && source == Source::Log {
            self.reset_entry = self.reset_entry.max(entry);
            return false;
        }
        if reset < self.reset {
            took(Branch::ResetOlder);
            return false;
        }
        took(Branch::ResetStands);
        let survives = |version: Version| match source {
            Source::Local => version > reset,
            Source::Log => version >= reset,
        };
        self.reset = reset;
        self.reset_entry = entry;
        let noted = |lives: bool, spared: Branch, killed: Branch| {
            took(if lives { spared } else { killed });
            lives
        };
        self.mark =
            self.mark.filter(|mark| noted(mark.reset >= reset, Branch::MarkStands, Branch::ResetEndsMark));
        self.ttl =
            self.ttl.filter(|ttl| noted(survives(ttl.version), Branch::TtlStands, Branch::ResetEndsTtl));
        if !survives(self.latest) && !self.cells.is_empty() {
            took(Branch::ResetKillsCell);
            let ended = (std::mem::take(&mut self.cells), std::mem::take(&mut self.scores));
            if self.tally.count() > FREED_HERE_MAX {
                drop_aside(ended);
            }
            (self.tally, self.latest) = (Tally::default(), Version::ZERO);
            return true;
        }
        self.cells.change_all(|_, cell| {
            cell.base = cell.base.take_if(|(version, _)| {
                noted(survives(*version), Branch::ResetSparesCell, Branch::ResetKillsCell)
            });
            cell.contributions.retain(|(origin, own)| {
                let began = Version::new(own.first, *origin);
                noted(survives(began), Branch::ResetSparesSum, Branch::ResetKillsSum)
            });
        });
        self.count_cells();
        true
    }

    pub(super) fn merge_mark(&mut self, mark: Mark) -> bool {
        let reset = self.merge_reset(mark.reset, mark.entry, Source::Log);
        if mark.reset < self.reset {
            took(Branch::MarkPassed);
            return reset;
        }
        let stands = self.mark.is_none_or(|old| (mark.reset, mark.expiry) > (old.reset, old.expiry));
        if stands {
            self.mark = Some(mark);
            self.count_cells();
        } else if let Some(old) = &mut self.mark
            && (mark.reset, mark.expiry) == (old.reset, old.expiry)
        {
            old.entry = old.entry.max(mark.entry);
        }
        reset || stands
    }

    pub(super) fn merge_cell(
        &mut self,
        id: CellId<'_>,
        at: Version,
        value: Option<Value<'_>>,
        source: Source,
    ) -> bool {
        if at < self.reset {
            took(Branch::CellBelowReset);
            return false;
        }
        self.latest = self.latest.max(at);
        self.change_cell(id, |cell| cell.write(at, value.map(owned_value), source))
    }

    pub(super) fn merge_contribution(
        &mut self,
        id: CellId<'_>,
        origin: Origin,
        own: OwnContribution,
        source: Source,
    ) -> bool {
        let began = Version::new(own.first, origin);
        if began < self.reset {
            took(Branch::SumBelowReset);
            return false;
        }
        self.latest = self.latest.max(began).max(own.entry());
        self.change_cell(id, |cell| cell.add(origin, own, source))
    }

    pub(super) fn merge_ttl(&mut self, ttl: Ttl, source: Source) -> bool {
        let newer = self.ttl.is_none_or(|old| {
            ttl.version > old.version || (ttl.version == old.version && source == Source::Local)
        });
        let stands = ttl.version >= self.reset && newer;
        took(match (stands, newer) {
            (true, _) => Branch::TtlStands,
            (false, true) => Branch::TtlBelowReset,
            (false, false) => Branch::TtlOlder,
        });
        if stands {
            self.ttl = Some(ttl);
        }
        stands
    }

    /// Changes a cell, an empty one if there was none, and what the cells come to with it.
    pub(super) fn change_cell(&mut self, id: CellId<'_>, change: impl FnOnce(&mut Cell<'_>) -> bool) -> bool {
        let Some(changed) = self.cells.change(&id, self.mark, change) else { return false };
        self.tally.subtract(changed.before);
        self.tally.add(changed.after);
        if id.kind == Kind::SortedSet && !self.scores.take_in(&id.element, &changed) {
            self.scores = Scores::of(&self.cells, self.mark, self.tally);
        }
        true
    }

    pub(crate) fn cell(&self, id: &CellId<'_>) -> Option<Cell<'_>> {
        self.cells.get(id)
    }

    /// The kind that clients see, whatever the TTL says: the highest with a live cell.
    pub(crate) fn kind(&self) -> Option<Kind> {
        self.tally.kind()
    }

    /// The string's bytes, if that has a live cell.
    pub(crate) fn string(&self) -> Option<Cow<'_, [u8]>> {
        self.cell(&CellId::STRING)?.into_bytes(self.mark)
    }

    /// What clients see of a cell, apart from expiry.
    pub(crate) fn cell_value(&self, id: &CellId<'_>) -> Option<Value<'_>> {
        self.cell(id)?.into_value(self.mark)
    }

    /// The newest timestamp held for the key, hidden and dead things included, or a later one.
    pub(crate) fn newest(&self) -> Timestamp {
        let ttl = self.ttl.map_or(Timestamp::ZERO, |ttl| ttl.version.timestamp);
        self.reset.timestamp.max(ttl).max(self.latest.timestamp)
    }

    /// Drops the tombstone of a cell if `stable` covers it: then nothing older can arrive any more. Says whether it did.
    pub(crate) fn drop_tombstone(&mut self, id: &CellId<'_>, stable: &Frontier) -> bool {
        let droppable = |cell: &Cell<'_>| cell.is_tombstone() && stable.covers(cell.base_version());
        if let Some(dropped) = self.cells.forget(id, self.mark, droppable) {
            self.tally.subtract(dropped);
            return true;
        }
        // One that was counted up since is seen.
        self.change_cell(id.clone(), |cell| droppable(cell) && cell.base.take().is_some())
    }

    /// Drops what is dead of the key as a whole, and covered by `stable`: a TTL register that says none, a mark with
    /// what it hides, and the reset, in whose place a flush up to `flushed` went over the key.
    pub(crate) fn drop_stable(&mut self, stable: &Frontier, flushed: Flushed) {
        self.ttl = self.ttl.filter(|ttl| ttl.expiry.is_some() || !stable.covers(ttl.version));
        if let Some(mark) = self.mark.take_if(|mark| stable.covers(mark.entry)) {
            self.drop_hidden(mark, |_| false);
        }
        if self.mark.is_none() && self.reset > flushed.version && stable.covers(self.reset_entry) {
            self.reset = flushed.version;
            self.reset_entry = flushed.entry;
        }
    }

    /// Drops what a mark hides, but for what `stays`. Tombstones do: they go when they are stable themselves.
    fn drop_hidden(&mut self, mark: Mark, stays: impl Fn(Version) -> bool) {
        self.cells.change_all(|_, cell| {
            cell.base = cell.base.take_if(|(version, value)| {
                value.is_none() || !mark.hides(version.timestamp) || stays(*version)
            });
            cell.contributions.retain(|(_, own)| !mark.hides(own.first) || stays(own.entry()));
        });
        self.count_cells();
    }

    /// Takes out what lies in the future: parts whose log entry is later than `at`, and not covered. Where that is the
    /// reset, a flush up to `flushed` is what is left. What they had replaced does not come back.
    ///
    /// For a node whose clock was poisoned, see [`rewind`](crate::node::rewind): nobody else has these parts.
    pub(crate) fn withdraw(&mut self, covered: &Frontier, at: Timestamp, flushed: Flushed) {
        let stays = |entry: Version| entry.timestamp <= at || covered.covers(entry);
        self.ttl = self.ttl.filter(|ttl| stays(ttl.version));
        self.mark = self.mark.filter(|mark| stays(mark.entry));
        if !stays(self.reset_entry) {
            (self.reset, self.reset_entry) = (flushed.version, flushed.entry);
        }
        self.cells.change_all(|_, cell| {
            cell.base = cell.base.take_if(|(version, _)| stays(*version));
            cell.contributions.retain(|(_, own)| stays(own.entry()));
        });
        self.count_cells();
    }

    /// Ends a mark that nobody else has, and with it what it hides. If it `kills` anything that others hold, a plain
    /// reset is left of it, which is just above it, and below whatever was written at the same time. Else nothing is: said
    /// again, that would end the marks of others, and bring to light what those hide, where they are not forgotten yet.
    fn end_mark(&mut self, mark: Mark, kills: bool, flushed: Flushed) {
        self.drop_hidden(mark, |_| false);
        self.mark = None;
        (self.reset, self.reset_entry) = if kills {
            let above = Origin(mark.reset.origin.0.saturating_add(1));
            (Version::new(mark.reset.timestamp, above), mark.entry)
        } else {
            (flushed.version, flushed.entry)
        };
        self.count_cells();
    }

    /// Before what `covered` does not cover is re-issued: a mark that it does not cover has nothing to end at others, or
    /// would have been [judged](RichKey::judge); what a mark of theirs hides is dead, and will not be issued.
    pub(crate) fn settle_marks(&mut self, covered: &Frontier, flushed: Flushed) {
        match self.mark {
            Some(mark) if covered.covers(mark.entry) => self.drop_hidden(mark, |entry| covered.covers(entry)),
            Some(mark) => self.end_mark(mark, false, flushed),
            None => {}
        }
    }

    /// The log entries of what is dead of the key as a whole: reset, TTL register that says none, mark.
    pub(crate) fn dead_parts(&self, flushed: Version) -> DeadParts {
        let ttl = self.ttl.filter(|ttl| ttl.expiry.is_none());
        [
            (self.reset > flushed).then_some(self.reset_entry),
            ttl.map(|ttl| ttl.version),
            self.mark.map(|mark| mark.entry),
        ]
    }

    /// The version of the cell's removal, if it was removed.
    pub(crate) fn tombstone(&self, id: &CellId<'_>) -> Option<Version> {
        self.cell(id).filter(Cell::is_tombstone).map(|cell| cell.base_version())
    }

    /// The XOR of all that is live, values included.
    pub(crate) fn deep_parts(&self) -> u64 {
        self.cells.iter().fold(0, |parts, (id, cell)| parts ^ digest::deep_part(&id, &cell, self.mark))
    }

    /// The cells that are tombstones.
    pub(crate) fn tombstones(&self) -> impl Iterator<Item = (CellId<'_>, Version)> {
        let dead = self.cells.iter().filter(|(_, cell)| cell.is_tombstone());
        dead.map(|(id, cell)| (id, cell.base_version()))
    }
}

/// A copy that borrows nothing.
pub(crate) fn owned_value(value: Value<'_>) -> Value<'static> {
    match value {
        Value::Bytes(bytes) => Value::Bytes(Cow::Owned(bytes.into_owned())),
        Value::Float(float) => Value::Float(float),
    }
}

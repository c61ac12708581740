//! Whose increments these are knows best what they come to.
//!
//! Problem: a node that joins states again what its new group has not seen, the contributions of others to counters
//! among it, for their owners may be gone for good. Their beginning is new then, for the old one may lie before resets
//! that the group has forgotten. But an owner that is not gone has gone on counting meanwhile, and what was stated again,
//! having begun later, wins over that: increments would be lost.
//!
//! Rule: a contribution that is stated again says which of its owner's increments is the last in it. An owner that sees
//! one with less in it than it had itself, in a batch or in a page, states it once more, with what is missing added. Nobody else may: at other
//! nodes a reset may have ended what was there before, and they would not agree.

use shared::change::{CellId, Change, Contribution, Op, Sum};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::state::KeyState;
use shared::version::Version;

use super::Node;
use crate::store::key::Key;
use crate::store::origins::Origins;
use crate::store::rich::{OwnContribution, sum_above, sum_of};
use crate::store::shard::Shard;
use crate::store::{LockedShards, ShardSet};
use crate::transaction::{Clocks, Transaction};

/// More than this are not remembered; a join restates each counter once.
const MISSING_MAX: usize = 1 << 20;

/// A contribution of this node's to a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    db: u8,
    key: Box<[u8]>,
    cell: CellId<'static>,
    owner: Origin,
}

/// What was restated lacks this.
#[derive(Debug)]
pub(super) struct Missing {
    place: Place,
    /// When the contribution that lacks it began.
    first: Timestamp,
    counted: Timestamp,
    sum: Sum,
}

impl Place {
    fn held(&self, shard: &Shard, origins: &Origins) -> Option<OwnContribution> {
        shard.find(&self.key())?.contribution_to(&self.cell, self.owner, origins)
    }

    fn key(&self) -> Key<'_> {
        Key::new(self.db, &self.key)
    }
}

/// A contribution that may be about to be restated, as this node knows it.
pub(crate) struct Owned {
    place: Place,
    counted: Timestamp,
    sum: Sum,
}

/// This node's contributions, looked at before and after something is merged, under the same locks: an increment between
/// the two would be lost.
pub(crate) struct Restating<'n> {
    node: &'n Node,
    own: Vec<Origin>,
}

impl Restating<'_> {
    /// Of a change that is about to be merged.
    pub(super) fn of_change(&self, change: &Change<'_>, locked: &LockedShards<'_>) -> Option<Owned> {
        let Op::Count(cell, Contribution { restates: Some(restates), .. }) = &change.op else { return None };
        let place = self.place(change.db, &change.key, cell, restates.origin)?;
        let shard = locked.of(&place.key());
        self.owned(place, shard)
    }

    /// Of a key's state that is about to be merged.
    pub(crate) fn of_state(&self, state: &KeyState<'_>, shard: &Shard) -> Vec<Owned> {
        let parts =
            state.cells.iter().flat_map(|cell| cell.contributions.iter().map(|part| (&cell.id, part)));
        let places = parts.filter_map(|(cell, part)| self.place(state.db, state.key, cell, part.contributor));
        places.filter_map(|place| self.owned(place, shard)).collect()
    }

    fn place(&self, db: u8, key: &[u8], cell: &CellId<'_>, owner: Origin) -> Option<Place> {
        let cell = || CellId { kind: cell.kind, element: cell.element.to_vec().into() };
        self.own.contains(&owner).then(|| Place { db, key: key.into(), cell: cell(), owner })
    }

    fn owned(&self, place: Place, shard: &Shard) -> Option<Owned> {
        let OwnContribution { first, counted, sum, .. } = place.held(shard, &self.node.store.origins)?;
        // What is still missing there is this node's, too.
        let mut missing = self.node.missing.lock();
        let earlier = missing.iter().position(|missing| missing.place == place && missing.first == first);
        let earlier = earlier.map(|position| missing.swap_remove(position));
        let (counted, sum) = match earlier {
            Some(earlier) => (earlier.counted.max(counted), sum_of(sum, earlier.sum)?),
            None => (counted, sum),
        };
        Some(Owned { place, counted, sum })
    }

    /// Notes what is missing in what was merged.
    pub(crate) fn note_missing(&self, owned: Owned, shard: &Shard) {
        let Owned { place, counted, sum } = owned;
        let held = place.held(shard, &self.node.store.origins);
        let Some(OwnContribution { first, counted: held, sum: now, .. }) = held else { return };
        let Some(sum) = sum_above(sum, now).filter(|_| counted > held) else { return };
        let mut missing = self.node.missing.lock();
        if !matches!(sum, Sum::Int(0) | Sum::Decimal(0)) && missing.len() < MISSING_MAX {
            missing.push(Missing { place, first, counted, sum });
        }
    }

    /// As [`Restating::note_missing`], of a transaction's changes.
    pub(super) fn note_missing_in(&self, owned: Vec<Owned>, locked: &LockedShards<'_>) {
        for owned in owned {
            let shard = locked.of(&owned.place.key());
            self.note_missing(owned, shard);
        }
    }
}

impl Node {
    /// For merging what may restate this node's contributions.
    pub(crate) fn restating(&self) -> Restating<'_> {
        Restating { node: self, own: self.membership.lock().group.own_origins().collect() }
    }

    /// Whether something is to be stated once more.
    #[cfg(feature = "simulation")]
    pub(crate) fn has_to_restate(&self) -> bool {
        !self.missing.lock().is_empty()
    }

    /// States once more what lacks something. What cannot be written now is tried again.
    pub(super) fn restate_missing(&self, clocks: Clocks) {
        let all = std::mem::take(&mut *self.missing.lock());
        if all.is_empty() {
            return;
        }
        for missing in all {
            if !self.restate(&missing, clocks) {
                self.missing.lock().push(missing);
            }
        }
        self.log.seal(clocks.mono_us);
    }

    fn restate(&self, missing: &Missing, clocks: Clocks) -> bool {
        let Place { db, key, cell, owner } = &missing.place;
        let key = Key::new(*db, key);
        let Ok(mut transaction) = Transaction::begin(self, ShardSet::of(key.shard()), clocks, true) else {
            return false;
        };
        let restates = Version::new(missing.counted, *owner);
        let done = transaction.restate(&key, cell, missing.first, restates, missing.sum);
        transaction.commit();
        done.is_ok()
    }
}

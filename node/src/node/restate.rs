//! Whose increments these are knows best what they come to.
//!
//! Problem: a node that joins states again what its new group has not seen, the contributions of others to counters
//! among it, for their owners may be gone for good. Their beginning is new then, for the old one may lie before resets
//! that the group has forgotten. But an owner that is not gone has gone on counting meanwhile, and what was stated again,
//! having begun later, wins over that: increments would be lost.
//!
//! Rule: a contribution that is stated again says which of its owner's increments is the last in it. An owner that sees
//! one with less in it than it had itself states it once more, with what is missing added. Nobody else may: at other
//! nodes a reset may have ended what was there before, and they would not agree.

use shared::batch::Batch;
use shared::change::{CellId, Op, Sum};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::version::Version;

use super::Node;
use crate::store::ShardSet;
use crate::store::key::Key;
use crate::store::rich::OwnContribution;
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
    sum: i128,
}

impl Place {
    fn held(&self, node: &Node) -> Option<OwnContribution> {
        let key = Key::new(self.db, &self.key);
        node.store.lock_shard(key.shard()).find(&key)?.contribution_to(&self.cell, self.owner)
    }
}

/// Contributions that a batch restates and that this node knows better, as it holds them before the batch is merged.
pub(super) struct Owned(Vec<(Place, Timestamp, i128)>);

impl Node {
    /// Looks at what is held before a batch is merged.
    pub(super) fn note_owned(&self, batch: &Batch<'_>, held: Timestamp) -> Owned {
        let mut owned = Vec::new();
        for (_, change) in batch.changes().map_while(Result::ok).filter(|(at, _)| *at > held) {
            let Op::Count(cell, contribution) = change.op else { continue };
            let Some(restated) = contribution.restates else { continue };
            if !self.membership.lock().group.is_own(restated.origin) {
                continue;
            }
            let cell = CellId { kind: cell.kind, element: cell.element.into_owned().into() };
            let place = Place { db: change.db, key: (*change.key).into(), cell, owner: restated.origin };
            let Some(OwnContribution { first, counted, sum: Sum::Int(sum), .. }) = place.held(self) else {
                continue;
            };
            // What is still missing there is this node's, too.
            let mut missing = self.missing.lock();
            let earlier = missing.iter().position(|missing| missing.place == place && missing.first == first);
            let earlier = earlier.map(|position| missing.swap_remove(position));
            let (counted, sum) = earlier.map_or((counted, sum), |earlier| {
                (earlier.counted.max(counted), sum.saturating_add(earlier.sum))
            });
            owned.push((place, counted, sum));
        }
        Owned(owned)
    }

    /// Notes what is missing in what was merged.
    pub(super) fn note_missing(&self, owned: Owned) {
        for (place, counted, sum) in owned.0 {
            let Some(OwnContribution { first, counted: held, sum: Sum::Int(now), .. }) = place.held(self)
            else {
                continue;
            };
            let mut missing = self.missing.lock();
            if counted > held && sum != now && missing.len() < MISSING_MAX {
                missing.push(Missing { place, first, counted, sum: sum.saturating_sub(now) });
            }
        }
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

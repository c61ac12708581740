//! What all members have, and from where on an ended origin need not be listed any more.

use std::collections::BTreeMap;

use shared::clock::Timestamp;
use shared::id::{GroupId, Origin};
use shared::time::{MonoMillis, WallMillis};
use shared::version::Frontier;

use super::Group;

/// An ended origin leaves the frontier this long after its end, at the least, and this long after all agreed on it:
/// whatever was still on its way then has arrived, and is on every member's disk.
const FLOOR_LAG_MS: u64 = 60_000;

/// What the floor waits for, by this node's monotonic clock: by the hybrid one, which a wall clock that is put forward takes
/// along, a write that is on nobody's disk yet may be minutes old.
#[derive(Debug, Default)]
pub(super) struct Settling {
    /// Since when all agree on the end of an origin.
    agreed: BTreeMap<Origin, (Timestamp, MonoMillis)>,
    /// The clocks of all members have been past this for [`FLOOR_LAG_MS`] at the least.
    past: Timestamp,
    /// Since this moment they are past that: it takes the other's place in time.
    coming: Option<(Timestamp, MonoMillis)>,
}

impl Settling {
    /// Nothing that lies within this is young, given the smallest of the members' clocks.
    fn settled(&mut self, smallest: Timestamp, now: MonoMillis) -> Timestamp {
        let (coming, since) = *self.coming.get_or_insert((smallest, now));
        if now.since(since) >= FLOOR_LAG_MS {
            self.past = coming;
            self.coming = Some((smallest, now));
        }
        let lagging = WallMillis(smallest.wall().0.saturating_sub(FLOOR_LAG_MS));
        self.past.min(Timestamp::of_wall(lagging))
    }
}

impl Group {
    /// What every member has, as far as it is known here; none while a member has never been heard or reached.
    ///
    /// Nor while one member knows nothing of the present run of another: what that one had sent in the run before, and
    /// lost, may still be on its way to the first, though nobody announces it any more. Once it knows, it refuses that.
    pub(crate) fn stable(&self, own: &Frontier) -> Option<Frontier> {
        if self.is_joining() && self.own.group_id != GroupId::default() {
            return None;
        }
        let mut stable = own.clone();
        let own = (self.own.node_id, self.own.origin);
        for counted in self.members.values() {
            let reached = counted.reached_now()?;
            let others = self.members.values().map(|other| (other.member.node_id, other.member.origin));
            let others = others.filter(|(node_id, _)| *node_id != counted.member.node_id);
            if !others.chain([own]).all(|(node_id, run)| reached.knows(node_id, run)) {
                return None;
            }
            stable = stable.meet(&reached.frontier);
        }
        Some(stable)
    }

    /// The point up to which this node and the members of the group with this id have had the same: what is older than
    /// that, and here or there is no more, was deleted. Of what is younger neither side's floor tells anything, for each
    /// tells of the members that it counts only.
    pub(crate) fn floor_shared_with(&self, group_id: GroupId) -> Timestamp {
        if self.own.group_id != group_id || group_id == GroupId::default() {
            return Timestamp::ZERO;
        }
        self.parted.map_or(self.floor, |parted| self.floor.min(parted))
    }

    /// The point up to which origins that end before it may leave the own frontier, with what is [`Group::stable`]. Never
    /// goes down.
    pub(crate) fn floor(
        &mut self,
        own: &Frontier,
        stable: Option<&Frontier>,
        clock: Timestamp,
        now: MonoMillis,
    ) -> Timestamp {
        let Some(stable) = stable else { return self.floor };
        let clocks = self.members.values().filter_map(|counted| counted.reached.as_ref());
        let smallest = clocks.map(|reached| reached.clock).fold(clock, Timestamp::min);
        let settled = self.settling.settled(smallest, now);
        let mut floor = settled;
        self.settling.agreed.retain(|origin, _| own.lists(*origin));
        for (origin, end) in own.iter().filter(|(_, end)| *end <= settled) {
            let since = self.settling.agreed.entry(origin).or_insert((end, now));
            if stable.get(origin) < end || since.0 != end {
                *since = (end, now);
            }
            if now.since(since.1) < FLOOR_LAG_MS {
                floor = floor.min(Timestamp(end.0.saturating_sub(1)));
            }
        }
        self.floor = self.floor.max(floor);
        self.floor
    }

    /// The floor that is durable: a start begins at it.
    pub(crate) const fn saved_floor(&self) -> Timestamp {
        self.saved_floor
    }

    /// The floor as it is now is to be made durable.
    pub(crate) const fn save_floor(&mut self) {
        self.saved_floor = self.floor;
        self.is_unsaved = true;
    }
}

//! What the group has to do with it when this node's clock is put back: see [`rewind`](crate::node::rewind).

use shared::clock::Timestamp;
use shared::id::Origin;

use super::Group;
use super::stability::Settling;

impl Group {
    /// The clock is to be put back: nobody has accepted what lies beyond `cut`. No origin has ended later than `now`, so
    /// the floor does not lie above it.
    pub(crate) fn begin_rewind(&mut self, cut: Timestamp, now: Timestamp) {
        self.cut = Some(cut);
        self.is_reissuing = true;
        self.floor = self.floor.min(now);
        self.saved_floor = self.saved_floor.min(now);
        self.settling = Settling::default();
        self.is_unsaved = true;
    }

    /// Beyond what nobody has accepted anything, while the clock is being put back.
    pub(crate) const fn cut(&self) -> Option<Timestamp> {
        self.cut
    }

    /// The clock was put back by this much, and the node writes under this origin now. Its announcements stay in order.
    pub(crate) fn rewound(&mut self, origin: Origin, by: u64) {
        self.run_as(origin);
        self.sequence_lead = self.sequence_lead.saturating_add(by);
        self.is_unsaved = true;
    }

    /// How far announcements' sequence is ahead of the clock.
    pub(crate) const fn sequence_lead(&self) -> u64 {
        self.sequence_lead
    }

    /// The newest clocks that other members have announced in this run.
    pub(crate) fn heard_clocks(&self) -> impl Iterator<Item = Timestamp> {
        self.members.values().filter_map(|counted| counted.newest.as_ref()).map(|newest| newest.clock)
    }

    /// The most of an origin that another member has announced to have; none if none was heard in this run.
    pub(crate) fn held_elsewhere(&self, origin: Origin) -> Option<Timestamp> {
        let newest = self.members.values().filter_map(|counted| counted.newest.as_ref());
        newest.map(|newest| newest.frontier.get(origin)).max()
    }
}

//! Who knows whom, and who may yet be told.

use shared::announcement::{Announcement, Member};
use shared::clock::Timestamp;
use shared::conversation::YouAre;
use shared::id::{NodeId, Origin};
use shared::time::MonoMillis;
use shared::version::Frontier;

use super::{Group, Sender};

impl Group {
    /// What this node thinks of another one, to tell it.
    pub(crate) fn judge(&self, node_id: NodeId) -> YouAre {
        let is_waited_for = self.members.contains_key(&node_id);
        // Of those who departed all know, and none tells any more, but whoever asks may hear it.
        match self.has_evicted(node_id) {
            true if is_waited_for && !self.departed.contains_key(&node_id) => YouAre::BeingEvicted,
            true => YouAre::Evicted,
            false if is_waited_for => YouAre::Counted,
            false => YouAre::Unknown,
        }
    }

    /// Whether the sender, a member, is known to have been started anew since.
    pub(crate) fn is_over(&self, sender: Sender) -> bool {
        self.members.get(&sender.node_id).is_some_and(|counted| counted.is_over(sender.run))
    }

    /// Whether the sender, a member, is known to run as this: what it announces was heard since, and believed.
    pub(crate) fn is_known(&self, sender: Sender) -> bool {
        self.members.get(&sender.node_id).is_some_and(|counted| counted.member.origin == sender.run)
    }

    /// The origins of this node's runs, if not all that count it are known to know the present one.
    pub(crate) fn runs_to_tell(&self) -> Vec<Origin> {
        let is_known = self.still_counted().all(|counted| counted.names_us == Some(self.own.origin));
        if is_known { Vec::new() } else { self.own_origins().collect() }
    }

    /// Whether a member that does not know this node may yet hear of it: it counts somebody who names this node, or of whom
    /// that is not known. If not, nobody whom it believes will ever tell it.
    pub(crate) fn may_be_named_to(&self, node_id: NodeId, now: MonoMillis) -> bool {
        let may_name_this_node = |member: &Member| {
            let Some(counted) = self.members.get(&member.node_id) else { return false };
            let is_named =
                |newest: &Announcement| newest.counted().any(|named| named.node_id == self.own.node_id);
            counted.newest.as_ref().map_or_else(|| !counted.is_silent(now), is_named)
        };
        let newest = self.members.get(&node_id).and_then(|counted| counted.newest.as_ref());
        newest.is_none_or(|newest| newest.counted().any(may_name_this_node))
    }

    /// Whether this node may yet hear of somebody: it counts somebody who was heard lately.
    pub(crate) fn may_be_told(&self, now: MonoMillis) -> bool {
        self.still_counted().any(|counted| !counted.is_silent(now))
    }

    /// Whether a member may bring more of `wanted` than this node has: one that has announced to have it, or nothing at all
    /// since this node's clock showed `since`.
    pub(crate) fn may_be_told_of(&self, wanted: &Frontier, own: &Frontier, since: Timestamp) -> bool {
        let has_more = |newest: &Announcement| {
            let more = |(origin, at)| own.get(origin) < newest.frontier.get(origin).min(at);
            newest.clock <= since || wanted.iter().any(more)
        };
        self.still_counted().any(|counted| counted.newest.as_ref().is_none_or(has_more))
    }
}

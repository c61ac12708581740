//! From which peer this node takes over the state of its group.

use shared::conversation::{Greeting, YouAre, joins};
use shared::id::{NodeId, Origin};
use shared::time::MonoMillis;

use super::{Conversations, Talk};
use crate::group::{Group, Sender, Standing};
use crate::node::Node;

/// A peer because of which this node joins is waited for this long: its link may have to be dialled again, or it serves as
/// many as it can.
const SOUGHT_MS: u64 = 15_000;

/// The peer whose view of the group this node takes over. That its other peers may share the view that it gives up: from
/// one of those it would return to where it was.
#[derive(Clone, Copy)]
pub(super) struct Sought {
    pub(super) peer: NodeId,
    pub(super) since: MonoMillis,
}

impl Conversations {
    /// Whether this node must take over the state of this peer, and can.
    pub(super) fn wants_reconcile(&self, node: &Node, peer: NodeId, now: MonoMillis) -> bool {
        let Some(greeting) = self.peers.get(&peer).and_then(|talk| talk.greeting.as_ref()) else {
            return false;
        };
        if greeting.joining || greeting.receiving || greeting.group_id.0 == 0 {
            return false;
        }
        // Before the group is locked: see the order of locks.
        let has_more = |(origin, ahead): (&Origin, &NodeId)| {
            *ahead == peer && greeting.frontier.get(*origin) > node.log.held(*origin)
        };
        let is_truncated = self.truncated.iter().any(has_more);
        let membership = node.membership.lock();
        let group = &membership.group;
        // One that has something to re-issue joins or catches up when that is done.
        if group.is_reissuing() {
            return false;
        }
        match group.standing() {
            Standing::Unmet | Standing::Joining => {
                let is_evicted = matches!(greeting.you, YouAre::BeingEvicted | YouAre::Evicted);
                !is_evicted && !self.knows_larger_group(greeting, now) && !self.seeks_another(peer, now)
            }
            // Only two that count each other have the same in mind when they say what the group has seen.
            Standing::Member => is_truncated && are_related(group, greeting),
        }
    }

    /// Whether this node joins because of another peer, which can be joined: see [`Sought`].
    fn seeks_another(&self, peer: NodeId, now: MonoMillis) -> bool {
        let can_be_joined = |sought: &Sought| {
            let greeting = self.peers.get(&sought.peer).and_then(|talk| talk.greeting.as_ref());
            now.since(sought.since) < SOUGHT_MS
                && self.may_return(sought.peer, now)
                && greeting.is_some_and(|greeting| !greeting.joining)
        };
        self.sought.as_ref().is_some_and(|sought| sought.peer != peer && can_be_joined(sought))
    }

    /// Whether a peer is linked, or may soon be again: links end whenever a node takes a new id, and it may take a while
    /// until they are dialled anew. Not one of whose name there is another now.
    pub(super) fn may_return(&self, peer: NodeId, now: MonoMillis) -> bool {
        let Some(talk) = self.peers.get(&peer) else { return false };
        let is_successor = |(other, it): (&NodeId, &Talk)| {
            *other != peer && it.name == talk.name && it.talked_at > talk.talked_at
        };
        now.since(talk.talked_at) < SOUGHT_MS && !self.peers.iter().any(is_successor)
    }

    /// Whether another peer is of a group that this one's will join: who has left the one for the other must not return
    /// to it, only because its link is up first.
    fn knows_larger_group(&self, greeting: &Greeting, now: MonoMillis) -> bool {
        let talks = self.peers.iter().filter(|(peer, _)| self.may_return(**peer, now));
        let greetings = talks.filter_map(|(_, talk)| talk.greeting.as_ref());
        greetings.filter(|other| !other.joining && other.group_id.0 != 0).any(|other| {
            other.group_id != greeting.group_id
                && joins((greeting.named, greeting.group_id), (other.named, other.group_id))
        })
    }
}

/// Whether both belong to one group and stream to each other.
pub(super) fn is_related(node: &Node, talk: &Talk) -> bool {
    let group = &node.membership.lock().group;
    talk.greeting.as_ref().is_some_and(|greeting| are_related(group, greeting))
}

fn are_related(group: &Group, peer: &Greeting) -> bool {
    !group.is_joining()
        && !peer.joining
        && !peer.receiving
        && peer.group_id == group.own().group_id
        && group.judge(peer.member.node_id) == YouAre::Counted
        && group.is_known(Sender { node_id: peer.member.node_id, run: peer.member.origin })
        && peer.you == YouAre::Counted
}

//! From which peer this node takes over the state of its group.

use shared::conversation::{Greeting, YouAre, joins};
use shared::id::NodeId;
use shared::time::MonoMillis;

use super::{Conversations, Talk};
use crate::group::{Group, Standing};
use crate::node::Node;

/// A peer because of which this node joins is waited for this long: it may be serving as many as it can, or be waiting for
/// the name to become free.
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
            Standing::Member => {
                are_related(group, greeting)
                    && self.truncated.iter().any(|(origin, ahead)| {
                        *ahead == peer && greeting.frontier.get(*origin) > node.log.held(*origin)
                    })
            }
        }
    }

    /// Whether this node joins because of another peer, which can be joined: see [`Sought`].
    fn seeks_another(&self, peer: NodeId, now: MonoMillis) -> bool {
        let can_be_joined = |sought: &Sought| {
            let talk = self.peers.get(&sought.peer).filter(|talk| talk.is_up(now));
            let greeting = talk.and_then(|talk| talk.greeting.as_ref());
            now.since(sought.since) < SOUGHT_MS && greeting.is_some_and(|greeting| !greeting.joining)
        };
        self.sought.as_ref().is_some_and(|sought| sought.peer != peer && can_be_joined(sought))
    }

    /// Whether another peer is of a group that this one's will join: who has left the one for the other must not return
    /// to it, only because its link is up first.
    fn knows_larger_group(&self, greeting: &Greeting, now: MonoMillis) -> bool {
        // Not one that was there, and is no more.
        let talks = self.peers.values().filter(|talk| talk.is_up(now));
        let greetings = talks.filter_map(|talk| talk.greeting.as_ref());
        greetings.filter(|other| !other.joining && other.group_id.0 != 0).any(|other| {
            other.group_id != greeting.group_id
                && joins((greeting.members, greeting.group_id), (other.members, other.group_id))
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
        && peer.you == YouAre::Counted
}

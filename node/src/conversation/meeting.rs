//! Two nodes find out whether they belong together, and if not, who joins whom.
//!
//! - Two that have met nobody: the one with the larger node id founds the group, the other joins it.
//! - One that has met nobody joins whoever has a group. It founds one with a node that is about to join: the group that
//!   one was a member of may be gone.
//! - Two groups of one name: the one with fewer members joins the other, member by member.
//! - Whoever was evicted joins again, once the eviction is in effect. Of two that have evicted each other the one with
//!   fewer members left gives way; of equals, the one whose smallest name is the larger.
//! - A member that nobody there has heard of for a while was forgotten long ago, and joins again.

use shared::conversation::{CONVERSATION, Greeting, YouAre, founds, joins};
use shared::id::{GroupId, NodeId};
use shared::time::MonoMillis;

use super::receiving::Receiving;
use super::{Conversations, Notice, mono};
use crate::group::{Group, Standing};
use crate::node::Node;
use crate::transaction::Clocks;

/// A member that a peer does not know for so long was forgotten: announcements pass through a group in seconds.
const UNKNOWN_MS: u64 = 15_000;

impl Conversations {
    pub(super) fn on_greeting(
        &mut self,
        node: &Node,
        peer: NodeId,
        greeting: Greeting,
        clocks: Clocks,
        notices: &mut Vec<Notice>,
    ) {
        if greeting.version != CONVERSATION || greeting.member.node_id != peer {
            notices
                .push(Notice::Unexpected { what: "its greeting is of another version, or of another node" });
            return;
        }
        let Some(talk) = self.peers.get_mut(&peer) else { return };
        let now = mono(clocks);
        // While this node joins, nobody knows it yet.
        let is_known = greeting.you != YouAre::Unknown || node.membership.lock().group.is_joining();
        let unknown_since = (!is_known).then(|| talk.unknown_since.unwrap_or(now));
        talk.unknown_since = unknown_since;
        let (step, is_of_group) = {
            let group = &node.membership.lock().group;
            let is_of_group = !greeting.joining
                && group.standing() == Standing::Member
                && group.own().group_id == greeting.group_id;
            (decide(group, &greeting, unknown_since, now), is_of_group)
        };
        // What is being made durable must be adopted: a start would find it. It is decided anew after that.
        let step = step.filter(|_| self.receiving.as_ref().is_none_or(Receiving::needs_sender));
        let mut readiness = node.readiness.lock();
        readiness.heard();
        if is_of_group {
            // What a peer had when it was first met is what this node must have to be ready.
            readiness.met(peer, &greeting.frontier);
        }
        drop(readiness);
        talk.greeting = Some(greeting);
        let name = talk.name.clone();
        match step {
            None => {}
            Some(Step::Found) => {
                self.give_up_receiving(node);
                let mut membership = node.membership.lock();
                if membership.group.found(GroupId(node.random())) {
                    notices.push(Notice::Founded);
                }
                membership.save();
            }
            Some(Step::Join(why)) => {
                self.give_up_receiving(node);
                let mut membership = node.membership.lock();
                membership.group.begin_joining(NodeId(node.random()));
                membership.save();
                notices.push(Notice::Joining { peer: name, why });
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Found,
    Join(&'static str),
}

fn decide(
    group: &Group,
    peer: &Greeting,
    unknown_since: Option<MonoMillis>,
    now: MonoMillis,
) -> Option<Step> {
    let none = GroupId::default();
    let own = group.own();
    match group.standing() {
        Standing::Unmet if peer.group_id == none => {
            founds(own.node_id, peer.member.node_id).then_some(Step::Found)
        }
        Standing::Unmet if peer.joining => Some(Step::Found),
        Standing::Unmet | Standing::Joining => None,
        Standing::Member if peer.group_id == none || peer.joining => None,
        Standing::Member if peer.group_id != own.group_id => {
            let ours = (group.size() as u32, own.group_id);
            joins(ours, (peer.members, peer.group_id)).then_some(Step::Join("its group is the larger one"))
        }
        Standing::Member => decide_among_members(group, peer, unknown_since, now),
    }
}

fn decide_among_members(
    group: &Group,
    peer: &Greeting,
    unknown_since: Option<MonoMillis>,
    now: MonoMillis,
) -> Option<Step> {
    let is_evicted = matches!(peer.you, YouAre::BeingEvicted | YouAre::Evicted);
    if group.has_evicted(peer.member.node_id) {
        let yields = (group.size() as u32, std::cmp::Reverse(group.smallest_name()))
            < (peer.members, std::cmp::Reverse(peer.smallest_name.as_str()));
        return (is_evicted && yields).then_some(Step::Join("both have evicted each other"));
    }
    if peer.you == YouAre::Evicted {
        return Some(Step::Join("this node was evicted while it was away"));
    }
    let is_forgotten = unknown_since.is_some_and(|since| now.since(since) >= UNKNOWN_MS);
    is_forgotten.then_some(Step::Join("this node is not known there any more"))
}

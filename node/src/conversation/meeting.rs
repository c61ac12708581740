//! Two nodes find out whether they belong together, and if not, who joins whom.
//!
//! - Two that have met nobody: the one with the larger node id founds the group, the other joins it.
//! - One that has met nobody joins whoever has a group. It founds one with a node that is about to join: the group that
//!   one was a member of may be gone.
//! - Two groups of one name: the one with fewer members joins the other, member by member.
//! - Whoever was evicted joins again, once the eviction is in effect. Of two that have evicted each other the one with
//!   fewer members left gives way; of equals, the one whose smallest name is the larger; and then, the one with the
//!   smaller node id. So it is with two that have both forgotten that they did.
//! - Of two members that do not both know each other, for longer than that takes to be told, one joins again: their
//!   views of the group have parted, by an eviction that is forgotten, or an old directory that was put back. If
//!   only one knows the other, and besides both of them knows more members than that one does, the other joins: one that
//!   came back from its past would else lead all others, one after the other, back to it. If not, the one that
//!   is not known joins, as who was evicted and forgotten does. If neither counts the other, the one with fewer members
//!   gives way, as above: also if only one of them is evicting the other, for its group may not come to agree on that.
//! - Who joins anew takes the state of the peer because of which it does, if it can: with another it would take over
//!   the view that it gives up, and be where it was.
//!
//! Two live nodes must never join because of each other: both would wait to be let in. So every rule compares what
//! both sides know of both from their greetings, and exactly one of them gives way, whenever it comes to that; how long
//! either waits before decides nothing. Nobody whom a peer of its own group does not know may stream to it, or is streamed
//! to, so waiting less is a matter of work done in vain, not of data: who joins because of a peer that would have been told
//! a moment later has only joined twice.

use std::cmp::Reverse;

use shared::conversation::{CONVERSATION, Greeting, YouAre, founds, joins};
use shared::id::{GroupId, NodeId};
use shared::time::MonoMillis;

use super::receiving::Receiving;
use super::{Conversations, Notice, Sought, mono};
use crate::group::{Group, Standing};
use crate::node::Node;
use crate::transaction::Clocks;

/// A member that a peer does not know for so long was forgotten: announcements pass through a group in seconds.
const UNKNOWN_MS: u64 = 15_000;

/// The same, if there is nobody who could tell: everybody has announced once or twice, meanwhile.
const UNTOLD_MS: u64 = 3_000;

/// What a node thinks of a peer, and the peer of it.
pub(super) type Judgement = (YouAre, YouAre);

/// An eviction that has not taken effect for so long will not: those who are to agree on it reach each other through this
/// node only, or not at all.
const STUCK_MS: u64 = 60_000;

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
        let judgement = (node.membership.lock().group.judge(peer), greeting.you);
        // While this node joins, nobody knows it yet.
        let is_judged = judgement != (YouAre::Counted, YouAre::Counted)
            && !greeting.joining
            && !node.membership.lock().group.is_joining();
        talk.judged = match talk.judged {
            _ if !is_judged => None,
            Some((judged, since)) if judged == judgement => Some((judged, since)),
            _ => Some((judgement, now)),
        };
        let judged_for_ms = talk.judged.map_or(0, |(_, since)| now.since(since));
        let (step, is_of_group) = {
            let group = &node.membership.lock().group;
            let is_of_group = !greeting.joining
                && group.standing() == Standing::Member
                && group.own().group_id == greeting.group_id;
            (decide(group, &greeting, judged_for_ms, now), is_of_group)
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
                self.sought = Some(Sought { peer, since: now });
                // What peers thought of the one before says nothing of this one.
                self.peers.values_mut().for_each(|talk| talk.judged = None);
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

/// `judged_for_ms` says for how long this node and the peer have thought of each other as they do.
fn decide(group: &Group, peer: &Greeting, judged_for_ms: u64, now: MonoMillis) -> Option<Step> {
    let none = GroupId::default();
    let own = group.own();
    match group.standing() {
        Standing::Unmet if peer.group_id == none => {
            founds(own.node_id, peer.member.node_id).then_some(Step::Found)
        }
        Standing::Unmet if peer.joining => Some(Step::Found),
        // It was forgotten again before it had joined.
        Standing::Unmet | Standing::Joining if matches!(peer.you, YouAre::BeingEvicted | YouAre::Evicted) => {
            Some(Step::Join("this node was evicted before it had joined"))
        }
        Standing::Unmet | Standing::Joining => None,
        Standing::Member if peer.group_id == none || peer.joining => None,
        Standing::Member if peer.group_id != own.group_id => {
            let ours = (group.named(), own.group_id);
            joins(ours, (peer.named, peer.group_id)).then_some(Step::Join("its group is the larger one"))
        }
        Standing::Member => decide_among_members(group, peer, judged_for_ms, now),
    }
}

fn decide_among_members(group: &Group, peer: &Greeting, judged_for_ms: u64, now: MonoMillis) -> Option<Step> {
    let is_forgotten = judged_for_ms >= UNKNOWN_MS;
    let is_untold = judged_for_ms >= UNTOLD_MS;
    let ours_besides = group.others_by_names(&peer.member.name);
    // Either side may still count a run of the other's before: then both sides' smallest names are that one's.
    let ours = (group.size_by_names(), Reverse(group.smallest_name()), group.own().node_id);
    let theirs = (peer.members, Reverse(peer.smallest_name.as_str()), peer.member.node_id);
    let yields = ours < theirs;
    match (group.judge(peer.member.node_id), peer.you) {
        (YouAre::BeingEvicted | YouAre::Evicted, YouAre::BeingEvicted | YouAre::Evicted) => {
            yields.then_some(Step::Join("both have evicted each other"))
        }
        (_, YouAre::Evicted) => Some(Step::Join("this node was evicted while it was away")),
        (YouAre::Unknown | YouAre::BeingEvicted, YouAre::Unknown)
        | (YouAre::Unknown, YouAre::BeingEvicted)
            if is_forgotten =>
        {
            yields.then_some(Step::Join("neither counts the other any more"))
        }
        (YouAre::Counted, YouAre::Unknown)
            if is_forgotten || is_untold && !group.may_be_named_to(peer.member.node_id, now) =>
        {
            let gives_way = peer.others >= ours_besides;
            gives_way.then_some(Step::Join("this node is not known there any more"))
        }
        (YouAre::Unknown, YouAre::Counted) if is_forgotten || is_untold && !group.may_be_told(now) => {
            let gives_way = ours_besides < peer.others;
            gives_way.then_some(Step::Join("it does not know the members that count it"))
        }
        (YouAre::Counted, YouAre::BeingEvicted) if judged_for_ms >= STUCK_MS => {
            Some(Step::Join("this node is being evicted, and those who do cannot agree without it"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;

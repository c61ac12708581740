//! How a node becomes a member: it founds a group, or is enrolled, and re-issues what its group has not seen.

use shared::announcement::Member;
use shared::clock::Timestamp;
use shared::conversation::Enrolment;
use shared::id::{GroupId, NodeId, Origin};
use shared::time::MonoMillis;
use shared::version::Frontier;

use super::eviction::Evictions;
use super::stability::Settling;
use super::{Counted, Group, MEMBERS_MAX, Standing};

/// Why a node was not enrolled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotEnrolled {
    #[error("this node is no member of its group itself at the moment")]
    NoMember,
    #[error("the name '{0}' is held by another node, which was heard lately: give each node its own --name")]
    NameTaken(String),
    #[error("the name '{0}' becomes free as soon as all members know that the node before is gone")]
    NameInUse(String),
    #[error("node {0} was evicted: it must take a new node id")]
    Evicted(NodeId),
    #[error("the group has {MEMBERS_MAX} members already")]
    Full,
}

impl Group {
    /// Takes in a node that has taken over this group's state: this node holds `frontier`, and its clock is `clock`. It
    /// counts once this is durable.
    pub(crate) fn enrol(
        &mut self,
        member: Member,
        (frontier, clock): (Frontier, Timestamp),
        now: MonoMillis,
    ) -> Result<Enrolment, NotEnrolled> {
        if self.standing() != Standing::Member {
            return Err(NotEnrolled::NoMember);
        }
        if self.has_evicted(member.node_id) {
            return Err(NotEnrolled::Evicted(member.node_id));
        }
        if member.name == self.own.name {
            return Err(NotEnrolled::NameTaken(member.name));
        }
        self.free_name(&member, now)?;
        if self.members.len() >= MEMBERS_MAX {
            return Err(NotEnrolled::Full);
        }
        self.count(member.clone(), now);
        // A joiner that restarted meanwhile asks once more, under its new origin.
        if let Some(counted) = self.members.get_mut(&member.node_id) {
            counted.update(member.clone());
            counted.heard_at = now;
        }
        let mut members = self.announced_members();
        members.retain(|other| other.node_id != member.node_id);
        members.push(self.as_member());
        Ok(Enrolment {
            group_id: self.own.group_id,
            clock,
            frontier,
            members,
            evictions: self.announced_evictions(),
            departed: self.departed.values().copied().collect(),
        })
    }

    /// Makes a newcomer's name free, if who bore it is gone: it is evicted, and the eviction takes effect before the next is
    /// counted, so that a node that starts again and again is listed once. That is not waited for when the bearer before
    /// was silent for long: somebody else may be away, too, and until then no eviction takes effect.
    fn free_name(&mut self, newcomer: &Member, now: MonoMillis) -> Result<(), NotEnrolled> {
        let is_bearer = |member: &Member| member.name == newcomer.name && member.node_id != newcomer.node_id;
        let holder = self.still_counted().find(|counted| is_bearer(&counted.member));
        if let Some(holder) = holder {
            if !holder.has_left && !holder.is_silent(now) {
                return Err(NotEnrolled::NameTaken(newcomer.name.clone()));
            }
            let predecessor = holder.member.clone();
            self.evict(&predecessor);
        }
        let has_effect = |counted: &Counted| !is_bearer(&counted.member) || counted.is_silent(now);
        if self.members.values().all(has_effect) {
            Ok(())
        } else {
            Err(NotEnrolled::NameInUse(newcomer.name.clone()))
        }
    }

    /// Founds a group, of which this node is the only member: at once, or when it has re-issued what a reconcile that was
    /// given up has brought, for its frontier does not cover that. Says whether it has.
    pub(crate) fn found(&mut self, group_id: GroupId) -> bool {
        assert!(self.standing() == Standing::Unmet, "only who has no group founds one");
        self.is_reissuing = !self.unseen.is_empty();
        self.is_unsaved = true;
        if !self.is_reissuing {
            self.own.group_id = group_id;
        }
        !self.is_reissuing
    }

    /// What will have to be re-issued when this node has joined, or before it founds a group. To be saved before the
    /// state that it takes over is.
    pub(crate) fn will_reissue(&mut self, unseen: &[(Origin, Timestamp)]) {
        self.unseen = unseen.to_vec();
        self.is_unsaved = true;
    }

    /// Begins to join: the node was evicted, or gives way to a larger group. It takes a new node id. One that has met nobody
    /// yet only does that: it was evicted before it had joined, and lost that it was about to.
    pub(crate) fn begin_joining(&mut self, node_id: NodeId) {
        if self.standing() == Standing::Member {
            self.formerly = self.own.node_id;
            self.is_joining = true;
        }
        self.is_reissuing = false;
        self.cut = None;
        self.own.node_id = node_id;
        self.members.clear();
        self.departed.clear();
        self.evictions = Evictions::default();
        self.settling = Settling::default();
        self.is_unsaved = true;
    }

    /// Was enrolled, and is a member from now on; what its frontier does not cover ([`Group::will_reissue`]) is to be
    /// re-issued. The frontier's floor is `floor`: its own told of those that it counted before, if only of itself, and
    /// would pass for complete what members have written since.
    pub(crate) fn join(&mut self, enrolment: Enrolment, origin: Origin, floor: Timestamp, now: MonoMillis) {
        (self.floor, self.saved_floor) = (floor, floor);
        self.settling = Settling::default();
        self.own.group_id = enrolment.group_id;
        self.run_as(origin);
        self.is_joining = false;
        self.is_reissuing = true;
        self.formerly = NodeId::default();
        self.departed = enrolment.departed.into_iter().map(|departed| (departed.node_id, departed)).collect();
        self.parted = None;
        self.members.clear();
        self.evictions = Evictions::default();
        for member in enrolment.members {
            self.count(member, now);
        }
        enrolment.evictions.into_iter().for_each(|eviction| self.give_up(eviction));
        self.is_unsaved = true;
    }

    /// Everything is re-issued and durable.
    pub(crate) fn reissued(&mut self) {
        self.is_reissuing = false;
        self.unseen.clear();
        self.cut = None;
        self.is_unsaved = true;
    }

    /// It could not be noted that everything is.
    pub(crate) fn resume_reissuing(&mut self, cut: Option<Timestamp>, unseen: Vec<(Origin, Timestamp)>) {
        self.is_reissuing = true;
        self.cut = cut;
        self.unseen = unseen;
        self.is_unsaved = true;
    }
}

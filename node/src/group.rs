//! Who belongs to the group, what all of its members have, and whom it no longer waits for.
//!
//! Problem: a tombstone may be dropped only when nothing older can arrive any more, from anybody; and an origin that
//! has ended may leave the frontiers only when all hold it whole. Both are questions about every member, also about one
//! that is away, that nobody here is linked to, or that another member has just taken in.
//!
//! Idea: members announce what they have (their frontier and clock, taken together) and whom they count, and everybody
//! hears every announcement. Once this node's own frontier has *reached* an announcement in every component, it knows
//! all that its author knew then. Who is named by a counted member counts.
//!
//! Rules:
//!
//! - *Stable* is what every counted member's reached announcement covers ([`Group::stable`]). What a stable log entry
//!   made dead can be dropped: whoever could still write something older would have announced it.
//! - The *floor* is the smallest clock of these announcements, with a margin, and below any origin's end that not all
//!   agree on ([`Group::floor`]).
//! - An *eviction* ([`eviction`]) is made durable, then announced, and adopted by whoever hears of it from a member that
//!   it has not evicted itself. It takes effect once all that still count have announced it, and these announcements
//!   are reached: until then the evicted member holds everything back. Disagreement delays; it never diverges. So who
//!   evicts goes on naming the evicted until that takes effect, and who joins meanwhile waits for it as its group does.
//! - Who *departed*, because an eviction has taken effect, stays evicted: members may have dropped what forbids its
//!   writes. If somebody names it once more, who has not heard of that or had said so before, all evict it again.
//! - Announcements tell their author's *runs* until all know the present one. Who knows a member by a run that is not among
//!   them knows a history that the member has not: an old copy of its directory was put back, after it had been started
//!   from there. It may hold what was deleted meanwhile and forgotten, so nothing is taken from it
//!   ([`Group::is_known`]), and it is evicted. Two runs of which one knows the other are one history.
//! - A node is *joining* while it has not met its group, or was evicted: it streams nothing, and counts for nobody,
//!   before it has taken the group's state over and was enrolled by a member, durably.
//!
//! Pure: time comes in, what must be durable goes out ([`Group::unsaved`]).

mod acquaintance;

mod counted;

mod evicting;

mod eviction;

mod joining;

mod limits;

mod report;

mod rewinding;

mod stability;

mod stored;

#[cfg(test)]
mod tests;

pub(crate) use joining::NotEnrolled;
pub(crate) use report::MemberReport;
pub(crate) use stored::{Stored, StoredError};

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shared::announcement::{Announcement, Eviction, Member, Role};
use shared::clock::Timestamp;
use shared::conversation::Departed;
pub(crate) use shared::conversation::YouAre;
use shared::id::{GroupId, NodeId, Origin};
use shared::time::MonoMillis;
use shared::version::{Frontier, Version};

use self::counted::{Counted, Place};
use self::eviction::Evictions;
use self::stability::Settling;

/// More members than this are a misconfiguration or an attack: further ones are not taken in.
pub(crate) const MEMBERS_MAX: usize = 1_024;

/// Members whose evictions have taken effect are remembered, up to so many: those heard last.
const DEPARTED_MAX: usize = 1_024;

/// So many origins of its own runs a node remembers; what it wrote before them counts as another member's, and who knows it
/// by one of those only does not believe that it is the same.
const FORMER_MAX: usize = 1_024;

/// How a node stands to its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has never met another node, or has forgotten everything: its group has no id yet.
    Unmet,
    /// It was evicted, or gave way to a larger group: it must take over the group's state before it counts again.
    Joining,
    /// It is a member.
    Member,
}

/// The node at the other end of a link, as it was when the link came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) node_id: NodeId,
    /// The origin that it wrote under.
    pub(crate) run: Origin,
}

/// Who the node is, as far as the group is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) node_id: NodeId,
    pub(crate) name: String,
    pub(crate) origin: Origin,
    pub(crate) role: Role,
    /// The group's name; none before an agent gave one.
    pub(crate) group: Option<String>,
    /// The group's id; zero before the node met anyone.
    pub(crate) group_id: GroupId,
}

/// The group, as this node knows it. See the module's documentation.
#[derive(Debug)]
pub(crate) struct Group {
    own: Own,
    is_joining: bool,
    is_reissuing: bool,
    /// See [`Stored`].
    cut: Option<Timestamp>,
    sequence_lead: u64,
    /// The origins of this node's runs before, the oldest first.
    former: VecDeque<Origin>,
    members: BTreeMap<NodeId, Counted>,
    evictions: Evictions,
    departed: BTreeMap<NodeId, Departed>,
    /// Under which node id this node was a member before it was evicted.
    formerly: NodeId,
    /// Until all is re-issued, through another join if need be: of which origins its own frontier covers only so much,
    /// though its floor lies above.
    unseen: Vec<(Origin, Timestamp)>,
    settling: Settling,
    floor: Timestamp,
    saved_floor: Timestamp,
    is_unsaved: bool,
    timeout_ms: u64,
    attended_at: MonoMillis,
    /// Since when this node was never asleep. That nobody was heard while it was says nothing of the others: it would
    /// evict them all.
    awake_since: MonoMillis,
    /// The floor when this node last left others behind: from then on it says nothing of what they write.
    parted: Option<Timestamp>,
}

impl Group {
    /// The group as the node left it, or one of its own.
    pub(crate) fn new(mut own: Own, stored: Option<Stored>, timeout_ms: u64, now: MonoMillis) -> Self {
        let stored = stored.unwrap_or_default();
        let Stored { is_joining, is_reissuing, cut, sequence_lead, floor, members, evictions, .. } = stored;
        let Stored { departed, formerly, unseen, parted, .. } = stored;
        let members = members.into_iter().map(|member| (member.node_id, Counted::new(member, now))).collect();
        let origin = std::mem::replace(&mut own.origin, stored.origin);
        let mut group = Self {
            own,
            is_joining,
            is_reissuing,
            cut,
            sequence_lead,
            former: stored.former.into(),
            members,
            evictions: Evictions::new(evictions),
            departed: departed.into_iter().map(|departed| (departed.node_id, departed)).collect(),
            formerly,
            unseen,
            settling: Settling::default(),
            floor,
            saved_floor: floor,
            is_unsaved: false,
            timeout_ms,
            attended_at: now,
            awake_since: now,
            parted,
        };
        group.run_as(origin);
        group
    }

    /// The node writes under this origin from now on.
    fn run_as(&mut self, origin: Origin) {
        let former = std::mem::replace(&mut self.own.origin, origin);
        if former == origin {
            return;
        }
        self.former.retain(|before| *before != origin);
        if former != Origin::NONE {
            self.remember(former);
        }
        self.is_unsaved = true;
    }

    /// Others may come to know this node by this origin, though it may never write under it: it is about to be enrolled.
    pub(crate) fn may_run_as(&mut self, origin: Origin) {
        self.remember(origin);
        self.is_unsaved = true;
    }

    fn remember(&mut self, former: Origin) {
        self.former.push_back(former);
        if self.former.len() > FORMER_MAX {
            self.former.pop_front();
        }
    }

    /// Whether it was this node that wrote under this origin, in this run or one before.
    pub(crate) fn is_own(&self, origin: Origin) -> bool {
        self.own_origins().any(|own| own == origin)
    }

    /// The origins of this run and of those before it.
    pub(crate) fn own_origins(&self) -> impl Iterator<Item = Origin> {
        self.former.iter().copied().chain([self.own.origin])
    }

    /// At which place this node's name stands among those of the members.
    pub(crate) fn rank(&self) -> usize {
        self.still_counted().filter(|counted| counted.member.name < self.own.name).count()
    }

    /// What must be durable before anything of it is announced, if it changed.
    pub(crate) fn unsaved(&self) -> Option<Stored> {
        self.is_unsaved.then(|| Stored {
            is_joining: self.is_joining,
            is_reissuing: self.is_reissuing,
            cut: self.cut,
            sequence_lead: self.sequence_lead,
            origin: self.own.origin,
            former: self.former.iter().copied().collect(),
            floor: self.saved_floor,
            members: self.members.values().map(|counted| counted.member.clone()).collect(),
            evictions: self.evictions.all().cloned().collect(),
            departed: self.departed.values().copied().collect(),
            formerly: self.formerly,
            unseen: self.unseen.clone(),
            parted: self.parted,
        })
    }

    /// What was unsaved is durable.
    pub(crate) const fn saved(&mut self) {
        self.is_unsaved = false;
    }

    pub(crate) const fn own(&self) -> &Own {
        &self.own
    }

    /// From now on this is announced of this node.
    pub(crate) const fn set_role(&mut self, role: Role) {
        self.own.role = role;
    }

    /// An agent named the group.
    pub(crate) fn name_group(&mut self, name: &str) {
        self.own.group = Some(name.to_owned());
        self.is_unsaved = true;
    }

    pub(crate) fn standing(&self) -> Standing {
        if self.own.group_id == GroupId::default() {
            Standing::Unmet
        } else if self.is_joining {
            Standing::Joining
        } else {
            Standing::Member
        }
    }

    /// Whether the node streams nothing: it is no member, or has not re-issued yet what only it holds.
    pub(crate) fn is_joining(&self) -> bool {
        self.standing() != Standing::Member || self.is_reissuing
    }

    /// Whether the node holds things that its own frontier does not cover, to be written once more.
    pub(crate) const fn is_reissuing(&self) -> bool {
        self.is_reissuing
    }

    /// Whether the node shares its group with others, as far as it knows.
    pub(crate) fn has_others(&self) -> bool {
        !self.members.is_empty()
    }

    /// How many members there are, this one counted.
    pub(crate) fn size(&self) -> usize {
        1 + self.still_counted().count()
    }

    /// As that, but of those with one name only one counts, for the others are gone: else a group that has seen more restarts
    /// would be the larger one, and when they are evicted, the smaller one again.
    pub(crate) fn size_by_names(&self) -> u32 {
        let others = self.still_counted().map(|counted| counted.member.name.as_str());
        others.chain([self.own.name.as_str()]).collect::<BTreeSet<_>>().len() as u32
    }

    /// As that, without this node's own name and another one's.
    pub(crate) fn others_by_names(&self, besides: &str) -> u32 {
        let names = self.still_counted().map(|counted| counted.member.name.as_str());
        let others = names.filter(|name| *name != besides && *name != self.own.name);
        others.collect::<BTreeSet<_>>().len() as u32
    }

    /// As [`Group::size_by_names`], but whom this node evicts counts until that takes effect. Only this may be compared between groups: else one
    /// and the same group is the larger one for who has not heard of an eviction, and the smaller one for who has, and a
    /// node between two groups goes to and fro.
    pub(crate) fn named(&self) -> u32 {
        let others = self.members.values().map(|counted| counted.member.name.as_str());
        others.chain([self.own.name.as_str()]).collect::<BTreeSet<_>>().len() as u32
    }

    /// The smallest name of the members'.
    pub(crate) fn smallest_name(&self) -> &str {
        let others = self.still_counted().map(|counted| counted.member.name.as_str());
        others.chain([self.own.name.as_str()]).min().expect("there is at least this node")
    }

    fn still_counted(&self) -> impl Iterator<Item = &Counted> {
        self.members.values().filter(|counted| !self.evictions.contains(counted.member.node_id))
    }

    /// Whom this node waits for, for its announcement: whom it evicts, too, until that takes effect.
    pub(crate) fn announced_members(&self) -> Vec<Member> {
        self.members.values().map(|counted| counted.member.clone()).collect()
    }

    /// Whom it has evicted, for its announcement.
    pub(crate) fn announced_evictions(&self) -> Vec<Eviction> {
        let settled = |eviction: &Eviction| Eviction {
            settled: !self.members.contains_key(&eviction.node_id),
            ..eviction.clone()
        };
        self.evictions.all().map(settled).collect()
    }

    /// Whether nothing may be taken from this node.
    pub(crate) fn has_evicted(&self, node_id: NodeId) -> bool {
        self.evictions.contains(node_id) || self.departed.contains_key(&node_id)
    }

    /// A member, or somebody else, announces.
    pub(crate) fn hear(&mut self, announcement: &Announcement, now: MonoMillis) {
        let speaker = announcement.member.node_id;
        if self.standing() != Standing::Member
            || speaker == self.own.node_id
            || announcement.joining
            || self.evictions.contains(speaker)
        {
            return;
        }
        let Some(counted) = self.members.get_mut(&speaker) else { return };
        match counted.place(announcement) {
            Place::Newest => {}
            Place::Aside => return,
            Place::Elsewhere => return counted.heard_elsewhere(now),
        }
        self.is_unsaved |= counted.update(announcement.member.clone());
        (counted.heard_at, counted.has_left, counted.elsewhere) = (now, false, None);
        let is_own = |member: &&Member| member.node_id == self.own.node_id;
        counted.names_us = announcement.members.iter().find(is_own).map(|own| own.origin);
        counted.newest = Some(announcement.clone());
        if counted.awaited.is_none() {
            counted.awaited.clone_from(&counted.newest);
        }
        for member in &announcement.members {
            self.count(member.clone(), now);
        }
        for eviction in &announcement.evictions {
            // One of somebody whom nobody names any more has taken effect here, too, and is forgotten.
            if self.members.contains_key(&eviction.node_id) {
                self.give_up(eviction.clone());
            }
        }
    }

    /// A member said goodbye to this node's agent.
    pub(crate) fn leave(&mut self, node_id: NodeId) {
        if let Some(counted) = self.members.get_mut(&node_id) {
            counted.has_left = true;
        }
    }

    fn count(&mut self, member: Member, now: MonoMillis) {
        let node_id = member.node_id;
        let is_new = node_id != self.own.node_id
            && !self.evictions.contains(node_id)
            && !self.members.contains_key(&node_id)
            && self.members.len() < MEMBERS_MAX;
        if is_new {
            self.members.insert(node_id, Counted::new(member.clone(), now));
            self.is_unsaved = true;
            // Who names one whose eviction has taken effect has not heard of that, or spoke before it.
            if self.departed.contains_key(&node_id) {
                self.evict(&member);
            }
        }
    }

    /// The own frontier is this: what it has reached is noted, and evictions may take effect.
    pub(crate) fn advance(&mut self, own: &Frontier) {
        for counted in self.members.values_mut() {
            counted.advance(own);
        }
        let in_effect: Vec<NodeId> = self
            .members
            .keys()
            .copied()
            .filter(|node_id| self.evictions.contains(*node_id))
            .filter(|node_id| self.still_counted().all(|counted| counted.has_announced(*node_id)))
            .collect();
        for node_id in in_effect {
            self.depart(node_id, own);
            self.is_unsaved = true;
        }
        let members = &self.members;
        let is_over = |eviction: &Eviction| {
            let over = |counted: &Counted| counted.is_done_with(eviction.node_id);
            !members.contains_key(&eviction.node_id) && members.values().all(over)
        };
        if self.evictions.forget(is_over) {
            self.is_unsaved = true;
        }
    }

    /// An eviction takes effect: what its bearer may have written beyond what is held here comes back with it only, if ever.
    fn depart(&mut self, node_id: NodeId, own: &Frontier) {
        let Some(Counted { member, reached, .. }) = self.members.remove(&node_id) else { return };
        let mut end = Version::new(own.get(member.origin), member.origin);
        // It may have departed before, here or at the peer whose floor this node has taken over, and was only named again:
        // the floor has risen since, and tells nothing of it.
        let before = self.departed.get(&node_id);
        if let Some(before) =
            before.filter(|before| before.end.origin == end.origin && !own.lists(end.origin))
        {
            end = end.min(before.end);
        }
        let before = before.map(|before| before.clock);
        let clock = reached.map(|reached| reached.clock).max(before).unwrap_or(Timestamp::ZERO);
        self.note_departed(Departed { node_id, clock, end });
    }

    fn note_departed(&mut self, departed: Departed) {
        self.departed.insert(departed.node_id, departed);
        if self.departed.len() > DEPARTED_MAX {
            let oldest = self.departed.values().min_by_key(|departed| departed.clock).map(|old| old.node_id);
            oldest.map(|oldest| self.departed.remove(&oldest));
        }
    }

    /// A peer's state was taken over, and with it what it holds of whom it has evicted.
    pub(crate) fn learn_departed(&mut self, theirs: &[Departed]) {
        for theirs in theirs {
            let is_counted =
                self.members.contains_key(&theirs.node_id) && !self.evictions.contains(theirs.node_id);
            if is_counted || theirs.node_id == self.own.node_id {
                continue;
            }
            let ours = self.departed.get(&theirs.node_id);
            let learnt = match ours {
                Some(ours) if ours.end.origin == theirs.end.origin => {
                    Departed { clock: ours.clock.max(theirs.clock), end: ours.end.max(theirs.end), ..*theirs }
                }
                Some(ours) if ours.clock >= theirs.clock => continue,
                _ => *theirs,
            };
            if ours != Some(&learnt) {
                self.note_departed(learnt);
                self.is_unsaved = true;
            }
        }
    }

    /// The log ended before what was remembered of departed members: a member that returns is not to be told that what it
    /// had written is held, for then it would drop it.
    pub(crate) fn holds_only(&mut self, frontier: &Frontier) {
        for Departed { end, .. } in self.departed.values_mut() {
            end.timestamp = end.timestamp.min(frontier.get(end.origin));
        }
    }

    /// Up to which moment of that node's clock all that it held is held here; zero if that is not known. `clock` is this
    /// node's own, for it may be asked of itself: by who was restored from its backup.
    pub(crate) fn known_until(&self, node_id: NodeId, clock: Timestamp) -> Timestamp {
        if node_id == self.own.node_id {
            return clock;
        }
        let departed = self.departed.get(&node_id).map(|departed| departed.clock);
        let counted = self.members.get(&node_id).and_then(|counted| counted.reached.as_ref());
        departed.max(counted.map(|reached| reached.clock)).unwrap_or(Timestamp::ZERO)
    }

    /// Those whose evictions have taken effect.
    pub(crate) fn departed(&self) -> impl Iterator<Item = &Departed> {
        self.departed.values()
    }

    /// Under which node id this node was a member before; zero if it never was.
    pub(crate) const fn formerly(&self) -> NodeId {
        self.formerly
    }

    /// While it re-issues: of which origins it holds more than its group has seen, and how much that has.
    pub(crate) fn unseen(&self) -> &[(Origin, Timestamp)] {
        &self.unseen
    }

    /// This node as a member.
    pub(crate) fn as_member(&self) -> Member {
        let Own { node_id, name, origin, role, .. } = self.own.clone();
        Member { name, node_id, origin, role }
    }
}

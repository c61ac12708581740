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
//!   are reached: until then the evicted member holds everything back. Disagreement delays; it never diverges.
//! - A node is *joining* while it has not met its group, or was evicted: it streams nothing, and counts for nobody,
//!   before it has taken the group's state over and was enrolled by a member, durably.
//!
//! Pure: time comes in, what must be durable goes out ([`Group::unsaved`]).

mod acquaintance;

mod eviction;

mod report;

mod stored;

#[cfg(test)]
mod tests;

pub(crate) use report::MemberReport;
pub(crate) use stored::{Stored, StoredError};

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shared::announcement::{Announcement, Eviction, Member, Role};
use shared::clock::Timestamp;
pub(crate) use shared::conversation::YouAre;
use shared::conversation::{Departed, Enrolment};
use shared::id::{GroupId, NodeId, Origin};
use shared::time::{MonoMillis, WallMillis};
use shared::version::{Frontier, Version};

use self::eviction::Evictions;

/// More members than this are a misconfiguration or an attack: further ones are not taken in.
pub(crate) const MEMBERS_MAX: usize = 1_024;

/// Members whose evictions have taken effect are remembered, up to so many: those heard last.
const DEPARTED_MAX: usize = 1_024;

/// An ended origin leaves the frontier this long after its end, at the least, and this long after all agreed on it:
/// whatever was still on its way then has arrived, and is on every member's disk.
const FLOOR_LAG_MS: u64 = 60_000;

/// A name is free for another node when its holder was not heard for this long.
const HOLDER_SILENT_MS: u64 = 5_000;

/// So many origins of its own runs a node remembers; what it wrote before them counts as another member's.
const FORMER_MAX: usize = 1_024;

/// A member is evicted for the sake of memory only if it is at least this far behind, and had as long to be heard.
const BUDGET_LAG_MS: u64 = 10_000;

/// A node that did not look after its group for this long was asleep: a frozen process, a suspended machine.
const ASLEEP_MS: u64 = 2_000;

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
    /// Since when all agree on the end of an origin.
    agreed: BTreeMap<Origin, (Timestamp, MonoMillis)>,
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

/// A member that counts.
#[derive(Debug)]
struct Counted {
    member: Member,
    counted_at: MonoMillis,
    heard_at: MonoMillis,
    /// It said goodbye, and was not heard since: its name is free.
    has_left: bool,
    /// The newest announcement that was heard, and the one that is being reached: under load the newest is always a
    /// little ahead.
    newest: Option<Announcement>,
    awaited: Option<Announcement>,
    reached: Option<Reached>,
}

/// What is known of an announcement that the own frontier has reached in every component.
#[derive(Debug)]
struct Reached {
    frontier: Frontier,
    clock: Timestamp,
    evictions: BTreeSet<NodeId>,
}

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
            agreed: BTreeMap::new(),
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
        if former != Origin::NONE {
            self.former.push_back(former);
        }
        if self.former.len() > FORMER_MAX {
            self.former.pop_front();
        }
        self.is_unsaved = true;
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

    /// The smallest name of the members'.
    pub(crate) fn smallest_name(&self) -> &str {
        let others = self.still_counted().map(|counted| counted.member.name.as_str());
        others.chain([self.own.name.as_str()]).min().expect("there is at least this node")
    }

    fn still_counted(&self) -> impl Iterator<Item = &Counted> {
        self.members.values().filter(|counted| !self.evictions.contains(counted.member.node_id))
    }

    /// Whom this node counts, for its announcement; those that it evicts are left out.
    pub(crate) fn announced_members(&self) -> Vec<Member> {
        self.still_counted().map(|counted| counted.member.clone()).collect()
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
        self.evictions.contains(node_id)
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
        if counted.newest.as_ref().is_some_and(|newest| newest.sequence >= announcement.sequence) {
            return;
        }
        if counted.newest.as_ref().is_some_and(|newest| newest.member.origin != announcement.member.origin) {
            // What a run before had may have been lost with its end, or withdrawn: it would be awaited for ever.
            counted.awaited = None;
        }
        counted.member = announcement.member.clone();
        (counted.heard_at, counted.has_left) = (now, false);
        counted.newest = Some(announcement.clone());
        if counted.awaited.is_none() {
            counted.awaited.clone_from(&counted.newest);
        }
        for eviction in &announcement.evictions {
            // One that is settled there and unknown here was settled here, too, and is forgotten.
            let matters = self.members.contains_key(&eviction.node_id) || !eviction.settled;
            if eviction.node_id != self.own.node_id && matters && self.evictions.add(eviction.clone()) {
                self.parted = self.parted.or(Some(self.floor));
                self.is_unsaved = true;
            }
        }
        for member in &announcement.members {
            self.count(member.clone(), now);
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
            self.members.insert(node_id, Counted::new(member, now));
            self.is_unsaved = true;
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
        let end = Version::new(own.get(member.origin), member.origin);
        let clock = reached.map_or(Timestamp::ZERO, |reached| reached.clock);
        self.departed.insert(node_id, Departed { node_id, clock, end });
        if self.departed.len() > DEPARTED_MAX {
            let oldest = self.departed.values().min_by_key(|departed| departed.clock).map(|old| old.node_id);
            oldest.map(|oldest| self.departed.remove(&oldest));
        }
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

    /// What every member has, as far as it is known here; none while a member has never been heard or reached.
    pub(crate) fn stable(&self, own: &Frontier) -> Option<Frontier> {
        if self.is_joining() && self.own.group_id != GroupId::default() {
            return None;
        }
        let mut stable = own.clone();
        for counted in self.members.values() {
            stable = stable.meet(&counted.reached.as_ref()?.frontier);
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

    /// The point up to which origins that end before it may leave the own frontier. Never goes down.
    pub(crate) fn floor(&mut self, own: &Frontier, clock: Timestamp, now: MonoMillis) -> Timestamp {
        let Some(stable) = self.stable(own) else { return self.floor };
        let clocks = self.members.values().filter_map(|counted| counted.reached.as_ref());
        let smallest = clocks.map(|reached| reached.clock).fold(clock, Timestamp::min);
        let lagging = Timestamp::of_wall(WallMillis(smallest.wall().0.saturating_sub(FLOOR_LAG_MS)));
        let mut floor = lagging;
        self.agreed.retain(|origin, _| own.lists(*origin));
        for (origin, end) in own.iter().filter(|(_, end)| *end <= lagging) {
            let since = self.agreed.entry(origin).or_insert((end, now));
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

    /// This node looks after its group now: to be called before anybody is evicted.
    pub(crate) fn attend(&mut self, now: MonoMillis) {
        if now.since(self.attended_at) >= ASLEEP_MS {
            self.awake_since = now;
        }
        self.attended_at = now;
    }

    /// Evicts whoever has been silent for too long. Returns their names.
    pub(crate) fn evict_silent(&mut self, now: MonoMillis) -> Vec<String> {
        if self.standing() != Standing::Member {
            return Vec::new();
        }
        let silent: Vec<Member> = self
            .still_counted()
            .filter(|counted| now.since(counted.heard_at.max(self.awake_since)) >= self.timeout_ms)
            .map(|counted| counted.member.clone())
            .collect();
        silent.into_iter().map(|member| self.evict(&member)).collect()
    }

    /// Evicts the member that is furthest behind, if it is far behind: dead things take too much memory.
    ///
    /// Not before it could be heard: a member that has just joined, or was asleep, holds tombstones and knows nothing of
    /// the others yet.
    pub(crate) fn evict_furthest_behind(&mut self, clock: Timestamp, now: MonoMillis) -> Option<String> {
        let reached =
            |counted: &&Counted| counted.reached.as_ref().map_or(Timestamp::ZERO, |reached| reached.clock);
        let furthest = self
            .still_counted()
            .filter(|counted| now.since(counted.counted_at.max(self.awake_since)) >= BUDGET_LAG_MS)
            .min_by_key(reached)?;
        let behind_ms = clock.wall().0.saturating_sub(reached(&furthest).wall().0);
        let member = furthest.member.clone();
        (behind_ms >= BUDGET_LAG_MS).then(|| self.evict(&member))
    }

    /// Evicts the member of this name, for good. None if there is no such member.
    pub(crate) fn forget(&mut self, name: &str) -> Option<Member> {
        let member = self.still_counted().find(|counted| counted.member.name == name)?.member.clone();
        self.evict(&member);
        Some(member)
    }

    fn evict(&mut self, member: &Member) -> String {
        let Member { name, node_id, .. } = member.clone();
        self.parted = self.parted.or(Some(self.floor));
        self.evictions.add(Eviction { name: name.clone(), node_id, settled: false });
        self.is_unsaved = true;
        name
    }

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
        if self.evictions.contains(member.node_id) {
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
            counted.member = member.clone();
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

    /// This node as a member.
    pub(crate) fn as_member(&self) -> Member {
        let Own { node_id, name, origin, role, .. } = self.own.clone();
        Member { name, node_id, origin, role }
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
        self.agreed.clear();
        self.is_unsaved = true;
    }

    /// Was enrolled, and is a member from now on; what its frontier does not cover ([`Group::will_reissue`]) is to be
    /// re-issued. The frontier's floor is `floor`: its own told of those that it counted before, if only of itself, and
    /// would pass for complete what members have written since.
    pub(crate) fn join(&mut self, enrolment: Enrolment, origin: Origin, floor: Timestamp, now: MonoMillis) {
        (self.floor, self.saved_floor) = (floor, floor);
        self.agreed.clear();
        self.own.group_id = enrolment.group_id;
        self.run_as(origin);
        self.is_joining = false;
        self.is_reissuing = true;
        self.formerly = NodeId::default();
        self.departed = enrolment.departed.into_iter().map(|departed| (departed.node_id, departed)).collect();
        self.parted = None;
        self.evictions = Evictions::new(enrolment.evictions);
        self.members.clear();
        for member in enrolment.members {
            self.count(member, now);
        }
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

    /// The clock is to be put back: nobody has accepted what lies beyond `cut`. No origin has ended later than `now`, so
    /// the floor does not lie above it.
    pub(crate) fn begin_rewind(&mut self, cut: Timestamp, now: Timestamp) {
        self.cut = Some(cut);
        self.is_reissuing = true;
        self.floor = self.floor.min(now);
        self.saved_floor = self.saved_floor.min(now);
        self.agreed.clear();
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

impl Counted {
    fn new(member: Member, now: MonoMillis) -> Self {
        Self {
            member,
            counted_at: now,
            heard_at: now,
            has_left: false,
            newest: None,
            awaited: None,
            reached: None,
        }
    }

    fn is_silent(&self, now: MonoMillis) -> bool {
        now.since(self.heard_at) >= HOLDER_SILENT_MS
    }

    fn advance(&mut self, own: &Frontier) {
        while let Some(awaited) = &self.awaited
            && own.covers_listed(&awaited.frontier)
        {
            let Announcement { sequence, frontier, clock, evictions, .. } =
                self.awaited.take().expect("it was just looked at");
            let evictions = evictions.into_iter().map(|eviction| eviction.node_id).collect();
            self.reached = Some(Reached { frontier, clock, evictions });
            self.awaited = self.newest.clone().filter(|newest| newest.sequence > sequence);
        }
    }

    /// Whether an eviction that has taken effect here needs to be told to this member no more.
    fn is_done_with(&self, evicted: NodeId) -> bool {
        self.newest.as_ref().is_some_and(|newest| {
            newest.evictions.iter().all(|eviction| eviction.node_id != evicted || eviction.settled)
        })
    }

    fn has_announced(&self, evicted: NodeId) -> bool {
        self.reached.as_ref().is_some_and(|reached| reached.evictions.contains(&evicted))
    }
}

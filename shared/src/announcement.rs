//! What a member says of itself and of the group, at least once a second.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::{NodeId, Origin};
use crate::version::{FRONTIER_ORIGINS_MAX, Frontier};

/// What a node may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Takes reads and writes.
    #[default]
    Active,
    /// Takes reads, and refuses clients' writes.
    ReadOnly,
}

impl Role {
    /// As it stands in flags, logs and `FEED INFO`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::ReadOnly => "read-only",
        }
    }
}

/// Text that names no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected active or read-only")]
pub struct RoleSyntax;

impl FromStr for Role {
    type Err = RoleSyntax;

    fn from_str(text: &str) -> Result<Self, RoleSyntax> {
        [Self::Active, Self::ReadOnly].into_iter().find(|role| role.name() == text).ok_or(RoleSyntax)
    }
}

/// A node by its configured name, with what it runs as at the moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// Its configured name, one of a kind in the group.
    pub name: String,
    /// Its data directory's identity.
    pub node_id: NodeId,
    /// Its current run as a writer.
    pub origin: Origin,
    /// What it may do.
    pub role: Role,
}

/// A member that the group no longer waits for. Never revoked: who returns, returns under a new node id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Eviction {
    /// The evicted member's name.
    pub name: String,
    /// Which holder of that name was evicted.
    pub node_id: NodeId,
    /// Whether it has taken effect at the speaker: the evicted holds nothing back there any more.
    pub settled: bool,
}

/// What a member says at least once a second: what it has, its clock, and whom it knows.
///
/// Frontier and clock are taken together, so that nothing below the clock can still be written by it. So everybody passes
/// it on as its author made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Who speaks.
    pub member: Member,
    /// The higher is the newer: its clock as a number, and more than that once a clock that was ahead was put back.
    pub sequence: u64,
    /// What it has.
    pub frontier: Frontier,
    /// Its hybrid clock: it will write nothing at or below this.
    pub clock: Timestamp,
    /// The members that it waits for, itself left out: those that it has evicted, too, until that takes effect.
    pub members: Vec<Member>,
    /// The members that it has evicted.
    pub evictions: Vec<Eviction>,
    /// Its limit of memory for data in bytes, 0 if there is none: the smallest announced is the group's.
    pub memory_limit: u64,
    /// Whether it is about to join the group, and not counted yet.
    pub joining: bool,
    /// The origins of its runs, the present one last: said until all that it counts know the present one. Whoever knows a
    /// run of it that is not among them knows another history of it than it does: its directory is an old copy.
    pub runs: Vec<Origin>,
}

/// What is new in a member's announcement since an earlier one, where the rest is the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// Who speaks.
    pub node_id: NodeId,
    /// The sequence of the earlier announcement.
    pub after: u64,
    /// The new sequence.
    pub sequence: u64,
    /// Of what it has the components that changed; the floor always.
    pub frontier: Frontier,
    /// Its hybrid clock.
    pub clock: Timestamp,
}

impl Announcement {
    /// The members that the speaker counts: it waits for them, and has not evicted them.
    pub fn counted(&self) -> impl Iterator<Item = &Member> {
        let is_evicted =
            |member: &Member| self.evictions.iter().any(|eviction| eviction.node_id == member.node_id);
        self.members.iter().filter(move |member| !is_evicted(member))
    }

    /// Whether it is newer than another of the same member. Of two runs that is the later one which knows the other, for the
    /// clock may have been put back between them.
    #[must_use]
    pub fn is_newer_than(&self, other: &Self) -> bool {
        let knows = |one: &Self, other: &Self| {
            one.member.origin != other.member.origin && one.runs.contains(&other.member.origin)
        };
        knows(self, other) || self.sequence > other.sequence && !knows(other, self)
    }

    /// What is new since an earlier announcement of the same member, unless more than frontier and clock has changed, or
    /// the frontier went back.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<Advance> {
        if !self.says_the_same(earlier) {
            return None;
        }
        let changed = self.frontier.iter().filter(|(origin, at)| earlier.frontier.get(*origin) != *at);
        let mut frontier: Frontier = changed.collect();
        frontier.raise_floor(self.frontier.floor());
        let mut made = earlier.frontier.clone();
        made.merge(&frontier);
        (made == self.frontier).then_some(Advance {
            node_id: self.member.node_id,
            after: earlier.sequence,
            sequence: self.sequence,
            frontier,
            clock: self.clock,
        })
    }

    /// The announcement that comes of this one, if the advance was made from it
    /// and its frontier does not list too many origins.
    #[must_use]
    pub fn advanced(&self, advance: &Advance) -> Option<Self> {
        if (self.member.node_id, self.sequence) != (advance.node_id, advance.after) {
            return None;
        }
        let mut made = Self { sequence: advance.sequence, clock: advance.clock, ..self.clone() };
        made.frontier.merge(&advance.frontier);
        (made.frontier.len() <= FRONTIER_ORIGINS_MAX).then_some(made)
    }

    /// Whether two announcements of one member differ only in what every second changes.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let said = |it: &Self| (it.memory_limit, it.joining);
        said(self) == said(other)
            && self.member == other.member
            && self.members == other.members
            && self.evictions == other.evictions
            && self.runs == other.runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement(sequence: u64, floor: u64, entries: &[(u64, u64)]) -> Announcement {
        let mut frontier: Frontier = entries.iter().map(|(o, at)| (Origin(*o), Timestamp(*at))).collect();
        frontier.raise_floor(Timestamp(floor));
        let member = Member { name: "a".into(), node_id: NodeId(1), origin: Origin(1), role: Role::Active };
        Announcement {
            member,
            sequence,
            frontier,
            clock: Timestamp(sequence),
            members: Vec::new(),
            evictions: Vec::new(),
            memory_limit: 0,
            joining: false,
            runs: Vec::new(),
        }
    }

    #[test]
    fn an_advance_makes_the_later_announcement_of_the_earlier() {
        let one = announcement(1, 0, &[(1, 10), (2, 20), (3, 30)]);
        let two = announcement(2, 10, &[(2, 25), (3, 30), (4, 40)]);
        let advance = two.since(&one).expect("nothing but the frontier differs");
        assert_eq!(advance.frontier.len(), 2, "what is the same is not said");
        assert_eq!(one.advanced(&advance), Some(two.clone()));
        assert_eq!(two.advanced(&advance), None, "it was made from another");
    }

    #[test]
    fn what_an_advance_cannot_say_is_said_whole() {
        let one = announcement(1, 5, &[(1, 10)]);
        assert_eq!(announcement(2, 5, &[(1, 9)]).since(&one), None, "it went back");
        assert_eq!(announcement(2, 5, &[]).since(&one), None, "an origin is gone above the floor");
        let joining = Announcement { joining: true, ..announcement(2, 5, &[(1, 10)]) };
        assert_eq!(joining.since(&one), None);
    }

    #[test]
    fn of_two_runs_that_is_the_newer_one_which_knows_the_other() {
        let mut again = announcement(5, 0, &[]);
        again.member.origin = Origin(2);
        assert!(announcement(6, 0, &[]).is_newer_than(&again), "nothing is known of their runs");
        again.runs = vec![Origin(1), Origin(2)];
        assert!(
            again.is_newer_than(&announcement(6, 0, &[])) && !announcement(6, 0, &[]).is_newer_than(&again)
        );
        assert!(!again.is_newer_than(&again.clone()));
    }
}

//! The members, for people.

use shared::announcement::Member;
use shared::clock::Timestamp;
use shared::time::MonoMillis;
use shared::version::Frontier;

use super::{Counted, Group};

/// A member as INFO and `members` show it.
#[derive(Clone, Debug)]
pub(crate) struct MemberReport {
    pub(crate) member: Member,
    /// For how long it has been silent, in milliseconds; since this node's start, if it was never heard.
    pub(crate) silent_ms: u64,
    /// How far its newest announcement is ahead of what this node has seen of it, in milliseconds of its clock: none if
    /// it was never heard.
    pub(crate) clock: Option<Timestamp>,
    /// What it last announced that it holds: none if it was never heard.
    pub(crate) held: Option<Frontier>,
    /// Up to which moment this node holds all that the member held.
    pub(crate) reached: Option<Timestamp>,
    /// Whether it is being evicted: it still holds tombstones back.
    pub(crate) is_being_evicted: bool,
}

impl Group {
    /// Every member but this one.
    pub(crate) fn reports(&self, now: MonoMillis) -> Vec<MemberReport> {
        let report = |counted: &Counted| MemberReport {
            member: counted.member.clone(),
            silent_ms: now.since(counted.heard_at),
            clock: counted.newest.as_ref().map(|newest| newest.clock),
            held: counted.newest.as_ref().map(|newest| newest.frontier.clone()),
            reached: counted.reached.as_ref().map(|reached| reached.clock),
            is_being_evicted: self.evictions.contains(counted.member.node_id),
        };
        self.members.values().map(report).collect()
    }
}

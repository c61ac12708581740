//! What is known of a member that counts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shared::announcement::{Announcement, Member};
use shared::clock::Timestamp;
use shared::id::{NodeId, Origin};
use shared::time::MonoMillis;
use shared::version::Frontier;

/// A name is free for another node when its holder was not heard for this long.
pub(super) const HOLDER_SILENT_MS: u64 = 5_000;

/// So many runs of a member that are over are remembered, the last ones. A link to one that is over ends within seconds.
const OVER_MAX: usize = 16;

/// A member that is heard for so long to have another history than it is known by has come back from its past. Not at once:
/// what it announced before may come late.
const ELSEWHERE_MS: u64 = 10_000;

/// What an announcement is to what is known of its author.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It comes after all that was heard.
    Newest,
    /// It was overtaken, or cannot be placed yet.
    Aside,
    /// Its author does not know that it ever was what it is known as.
    Elsewhere,
}

/// A member that counts.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) member: Member,
    /// Its runs before the present one, as far as they were heard of.
    over: VecDeque<Origin>,
    pub(super) counted_at: MonoMillis,
    pub(super) heard_at: MonoMillis,
    /// As which run it names this node.
    pub(super) names_us: Option<Origin>,
    /// When it was heard to have another history, first and last.
    pub(super) elsewhere: Option<(MonoMillis, MonoMillis)>,
    /// It said goodbye, and was not heard since: its name is free.
    pub(super) has_left: bool,
    /// The newest announcement that was heard, and the one that is being reached: under load the newest is always a
    /// little ahead.
    pub(super) newest: Option<Announcement>,
    pub(super) awaited: Option<Announcement>,
    pub(super) reached: Option<Reached>,
}

/// What is known of an announcement that the own frontier has reached in every component.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) frontier: Frontier,
    pub(super) clock: Timestamp,
    pub(super) evictions: BTreeSet<NodeId>,
    run: Origin,
    /// The present runs of the other members, as far as its author had heard of them.
    runs: BTreeMap<NodeId, Origin>,
}

impl Reached {
    fn new(announcement: Announcement) -> Self {
        let Announcement { member, frontier, clock, members, evictions, .. } = announcement;
        Self {
            frontier,
            clock,
            evictions: evictions.into_iter().map(|eviction| eviction.node_id).collect(),
            run: member.origin,
            runs: members.into_iter().map(|member| (member.node_id, member.origin)).collect(),
        }
    }

    /// Whether its author knew of this run of the member.
    pub(super) fn knows(&self, node_id: NodeId, run: Origin) -> bool {
        self.runs.get(&node_id) == Some(&run)
    }
}

impl Counted {
    pub(super) fn new(member: Member, now: MonoMillis) -> Self {
        Self {
            member,
            over: VecDeque::new(),
            counted_at: now,
            heard_at: now,
            names_us: None,
            elsewhere: None,
            has_left: false,
            newest: None,
            awaited: None,
            reached: None,
        }
    }

    /// Where an announcement of it belongs.
    pub(super) fn place(&self, announcement: &Announcement) -> Place {
        let (run, runs) = (announcement.member.origin, &announcement.runs);
        if run == self.member.origin {
            let is_newer = |newest: &Announcement| newest.sequence < announcement.sequence;
            return if self.newest.as_ref().is_none_or(is_newer) { Place::Newest } else { Place::Aside };
        }
        if runs.contains(&self.member.origin) {
            return Place::Newest;
        }
        if self.is_over(run) || runs.is_empty() { Place::Aside } else { Place::Elsewhere }
    }

    pub(super) fn heard_elsewhere(&mut self, now: MonoMillis) {
        let (first, _) = self.elsewhere.unwrap_or((now, now));
        self.elsewhere = Some((first, now));
    }

    /// Whether it goes on announcing another history than it is known by.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.elsewhere.is_some_and(|(first, last)| last.since(first) >= ELSEWHERE_MS)
    }

    /// It is this now, perhaps in another run: says whether it is.
    pub(super) fn update(&mut self, member: Member) -> bool {
        let is_another = member.origin != self.member.origin;
        if is_another {
            // It may have been taken for over when news came out of order.
            self.over.retain(|over| *over != member.origin);
            self.over.push_back(self.member.origin);
            if self.over.len() > OVER_MAX {
                self.over.pop_front();
            }
            // What a run before had may have been lost with its end, or withdrawn: it would be awaited for ever.
            self.awaited = None;
        }
        self.member = member;
        is_another
    }

    /// Whether it has been in another run since this one.
    pub(super) fn is_over(&self, run: Origin) -> bool {
        self.over.contains(&run)
    }

    /// What was reached, if its present run said it.
    pub(super) fn reached_now(&self) -> Option<&Reached> {
        self.reached.as_ref().filter(|reached| reached.run == self.member.origin)
    }

    pub(super) fn is_silent(&self, now: MonoMillis) -> bool {
        now.since(self.heard_at) >= HOLDER_SILENT_MS
    }

    pub(super) fn advance(&mut self, own: &Frontier) {
        while let Some(awaited) = &self.awaited
            && own.covers_listed(&awaited.frontier)
        {
            let sequence = awaited.sequence;
            self.reached = self.awaited.take().map(Reached::new);
            self.awaited = self.newest.clone().filter(|newest| newest.sequence > sequence);
        }
    }

    /// Whether an eviction that has taken effect here needs to be told to this member no more.
    pub(super) fn is_done_with(&self, evicted: NodeId) -> bool {
        self.newest.as_ref().is_some_and(|newest| {
            newest.evictions.iter().all(|eviction| eviction.node_id != evicted || eviction.settled)
        })
    }

    pub(super) fn has_announced(&self, evicted: NodeId) -> bool {
        self.reached.as_ref().is_some_and(|reached| reached.evictions.contains(&evicted))
    }
}

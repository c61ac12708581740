//! What is known of a member that counts.

use std::collections::BTreeSet;

use shared::announcement::{Announcement, Member};
use shared::clock::Timestamp;
use shared::id::NodeId;
use shared::time::MonoMillis;
use shared::version::Frontier;

/// A name is free for another node when its holder was not heard for this long.
pub(super) const HOLDER_SILENT_MS: u64 = 5_000;

/// A member that counts.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) member: Member,
    pub(super) counted_at: MonoMillis,
    pub(super) heard_at: MonoMillis,
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
}

impl Counted {
    pub(super) fn new(member: Member, now: MonoMillis) -> Self {
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

    pub(super) fn is_silent(&self, now: MonoMillis) -> bool {
        now.since(self.heard_at) >= HOLDER_SILENT_MS
    }

    pub(super) fn advance(&mut self, own: &Frontier) {
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
    pub(super) fn is_done_with(&self, evicted: NodeId) -> bool {
        self.newest.as_ref().is_some_and(|newest| {
            newest.evictions.iter().all(|eviction| eviction.node_id != evicted || eviction.settled)
        })
    }

    pub(super) fn has_announced(&self, evicted: NodeId) -> bool {
        self.reached.as_ref().is_some_and(|reached| reached.evictions.contains(&evicted))
    }
}

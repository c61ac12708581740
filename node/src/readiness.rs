//! Whether a load balancer may send clients here, and whether what the node had before its start is whole again.
//!
//! A node is ready when it takes writes and has caught up: it holds what each peer held when the two first met in this
//! run. One that meets nobody is ready after a while, for then there is nobody to wait for; one that no agent has named a
//! group for at once.

use std::collections::BTreeMap;

use shared::id::NodeId;
use shared::time::MonoMillis;
use shared::version::Frontier;

/// A member that meets nobody is ready after this.
const ALONE_MS: u64 = 10_000;

/// A node has recovered after this at the latest, whomever it meets.
const RECOVERY_MS: u64 = 60_000;

/// Peers that are waited for at most.
const PEERS_MAX: usize = 1_024;

/// What is still to be reached before the node is ready.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    met: BTreeMap<NodeId, Option<Frontier>>,
    /// What each of them held, all of it, until one of that is reached.
    owed: BTreeMap<NodeId, Frontier>,
    has_recovered: bool,
    /// Somebody was heard, of whatever group.
    has_heard: bool,
    /// Since when it is what it is: its start, or when it last joined a group.
    since: MonoMillis,
}

impl Readiness {
    /// A node that has just been started.
    pub(crate) fn new(now: MonoMillis) -> Self {
        Self { since: now, ..Self::default() }
    }

    /// Somebody has said who he is: a node without a group is about to get one.
    pub(crate) const fn heard(&mut self) {
        self.has_heard = true;
    }

    /// The node has joined a group: what it has to catch up with is what that holds.
    pub(crate) fn joined(&mut self, now: MonoMillis) {
        self.met.clear();
        self.owed.clear();
        self.has_recovered = true;
        self.since = now;
    }

    /// A peer of the same group has said what it holds; only what it said first counts.
    ///
    /// One of another group has things that never come this way: when one of the two joins the other's group, they are
    /// written anew, under another origin.
    pub(crate) fn met(&mut self, peer: NodeId, frontier: &Frontier) {
        if self.met.len() < PEERS_MAX {
            self.met.entry(peer).or_insert_with(|| Some(frontier.clone()));
        }
        if !self.has_recovered && self.owed.len() < PEERS_MAX {
            self.owed.entry(peer).or_insert_with(|| frontier.clone());
        }
    }

    /// A peer is not waited for any more: it is gone, or is no member.
    pub(crate) fn keep(&mut self, is_linked: impl Fn(NodeId) -> bool) {
        for (peer, target) in &mut self.met {
            if !is_linked(*peer) {
                *target = None;
            }
        }
    }

    /// Whether a node that has no group yet may as well be used: nobody is there.
    pub(crate) const fn is_alone(&self, may_have_others: bool, now: MonoMillis) -> bool {
        !self.has_heard && (!may_have_others || now.since(self.since) >= ALONE_MS)
    }

    /// Whether the node has caught up.
    pub(crate) fn has_caught_up(&mut self, held: &Frontier, has_others: bool, now: MonoMillis) -> bool {
        for target in self.met.values_mut() {
            if target.as_ref().is_some_and(|target| held.covers_listed(target)) {
                *target = None;
            }
        }
        if self.met.is_empty() {
            return !has_others || now.since(self.since) >= ALONE_MS;
        }
        self.met.values().all(Option::is_none)
    }

    /// Whether the node has again all that it had told others of before it was started, as far as can be known: it holds what
    /// one of them held when they met; what that did not list, too, for this node may have lost what all members once had.
    pub(crate) fn has_recovered(&mut self, held: &Frontier, has_others: bool, now: MonoMillis) -> bool {
        if !self.has_recovered {
            self.has_recovered = self.owed.values().any(|owed| held.covers_frontier(owed))
                || (has_others && now.since(self.since) >= RECOVERY_MS);
        }
        if self.has_recovered {
            self.owed.clear();
        }
        self.has_recovered || !has_others
    }
}

#[cfg(test)]
mod tests {
    use shared::clock::Timestamp;
    use shared::id::Origin;

    use super::*;

    fn frontier(timestamp: u64) -> Frontier {
        let mut frontier = Frontier::default();
        frontier.advance(Origin(1), Timestamp(timestamp));
        frontier
    }

    #[test]
    fn a_node_has_recovered_when_it_holds_what_another_held_when_they_met() {
        let now = MonoMillis(1_000);
        let mut readiness = Readiness::new(now);
        assert!(readiness.has_recovered(&frontier(1), false, now), "there is nobody else");
        assert!(!readiness.has_recovered(&frontier(1), true, now));
        readiness.met(NodeId(2), &frontier(5));
        assert!(!readiness.has_recovered(&frontier(4), true, now));
        readiness.keep(|_| false);
        assert!(
            !readiness.has_recovered(&frontier(4), true, now),
            "that the other is gone gives nothing back"
        );
        readiness.met(NodeId(3), &frontier(6));
        assert!(readiness.has_recovered(&frontier(6), true, now));
        assert!(readiness.has_recovered(&frontier(6), true, now), "and stays so");
    }

    #[test]
    fn a_node_that_meets_nobody_does_not_wait_for_ever() {
        let mut readiness = Readiness::new(MonoMillis(0));
        assert!(!readiness.has_recovered(&frontier(1), true, MonoMillis(RECOVERY_MS - 1)));
        assert!(readiness.has_recovered(&frontier(1), true, MonoMillis(RECOVERY_MS)));
    }

    #[test]
    fn a_node_that_has_taken_over_a_state_has_recovered() {
        let mut readiness = Readiness::new(MonoMillis(0));
        readiness.joined(MonoMillis(1));
        assert!(readiness.has_recovered(&frontier(1), true, MonoMillis(2)));
    }
}

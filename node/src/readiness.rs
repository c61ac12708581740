//! Whether a load balancer may send clients here.
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

/// Peers that are waited for at most.
const PEERS_MAX: usize = 1_024;

/// What is still to be reached before the node is ready.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    met: BTreeMap<NodeId, Option<Frontier>>,
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
}

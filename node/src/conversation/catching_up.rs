//! Whether the streams have brought, after a reconcile, what it has.

use shared::clock::Timestamp;
use shared::id::NodeId;
use shared::time::MonoMillis;
use shared::version::Frontier;

use super::{Conversations, Talk};
use crate::node::Node;

/// What a reconcile has brought comes by streams, too, within this time, if its author is there.
const CATCH_UP_MS: u64 = 15_000;

/// The agents of those that are there have linked again within this time after a node has become a member.
const LINK_MS: u64 = 3_000;

/// What a reconcile has brought, and the streams have not yet.
pub(super) struct Behind {
    pub(super) brought: Frontier,
    /// Since when, by both clocks.
    pub(super) clock: Timestamp,
    pub(super) since: MonoMillis,
}

impl Conversations {
    /// Whether the own frontier covers what a reconcile has brought. Whoever took over what it does not would take it for
    /// what nobody else has, and issue it anew. If its author is gone for good, that is as well. So it is when nobody will
    /// bring it: all members have said since that they have no more of it, or all peers wait to be let in themselves.
    pub(super) fn has_caught_up(&mut self, node: &Node, now: MonoMillis) -> bool {
        let held = node.log.frontier();
        let may_come = |behind: &Behind| {
            let waited_ms = now.since(behind.since);
            let is_member = |(peer, talk): (&NodeId, &Talk)| {
                self.may_return(*peer, now) && talk.greeting.as_ref().is_none_or(|greeting| !greeting.joining)
            };
            waited_ms < LINK_MS || waited_ms < CATCH_UP_MS && self.peers.iter().any(is_member)
        };
        let is_behind = |behind: &Behind| {
            !held.covers_listed(&behind.brought)
                && may_come(behind)
                && node.membership.lock().group.may_be_told_of(&behind.brought, &held, behind.clock)
        };
        let is_behind = self.behind.as_ref().is_some_and(is_behind);
        if !is_behind {
            self.behind = None;
        }
        !is_behind
    }
}

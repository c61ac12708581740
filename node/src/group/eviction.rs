//! Members that the group no longer waits for.
//!
//! An eviction names a node id, not a member's name: who returns, returns under a new node id. It is told until it has
//! taken effect at all members, and again if anybody names the evicted one after that.

use std::collections::BTreeMap;

use shared::announcement::Eviction;
use shared::id::NodeId;

/// More evictions than members can be are an attack: further ones are passed over.
const EVICTIONS_MAX: usize = 4_096;

/// The evictions that this node has made or adopted.
#[derive(Debug, Default)]
pub(super) struct Evictions(BTreeMap<NodeId, Eviction>);

impl Evictions {
    pub(super) fn new(evictions: Vec<Eviction>) -> Self {
        Self(evictions.into_iter().take(EVICTIONS_MAX).map(|eviction| (eviction.node_id, eviction)).collect())
    }

    /// Adds one. Says whether it is news.
    pub(super) fn add(&mut self, eviction: Eviction) -> bool {
        if self.0.len() >= EVICTIONS_MAX || self.0.contains_key(&eviction.node_id) {
            return false;
        }
        self.0.insert(eviction.node_id, eviction);
        true
    }

    pub(super) fn contains(&self, node_id: NodeId) -> bool {
        self.0.contains_key(&node_id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Eviction> {
        self.0.values()
    }

    /// Forgets those that mean nothing any more. Says whether there were any.
    pub(super) fn forget(&mut self, is_over: impl Fn(&Eviction) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|_, eviction| !is_over(eviction));
        self.0.len() < before
    }
}

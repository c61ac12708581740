//! How much memory the group's data may take, and which member removes which keys when they take more.

use shared::announcement::Role;
use shared::id::NodeId;
use shared::time::MonoMillis;
use xxhash_rust::xxh3::xxh3_64;

use super::{Announcement, Counted, Group};
use crate::store::ShardSet;
use crate::store::key::ShardId;

impl Group {
    /// The smallest limit of members', `own` being this node's: none if it has none itself.
    pub(crate) fn memory_limit(&self, own: u64) -> Option<u64> {
        let newest = self.still_counted().filter_map(|counted| counted.newest.as_ref());
        let announced = newest.map(|newest| newest.memory_limit).filter(|limit| *limit > 0);
        (own > 0).then(|| announced.fold(own, u64::min))
    }

    /// The shards that this node looks after: of the members that remove keys, and were heard lately, each shard has the one
    /// whose id, mixed with the shard's, is the largest. So when one comes or goes, only what it looked after changes hands.
    pub(crate) fn shards_looked_after(&self, now: MonoMillis) -> ShardSet {
        let others: Vec<NodeId> = self
            .still_counted()
            .filter(|counted| !counted.has_left && !counted.is_silent(now) && removes_keys(counted))
            .map(|counted| counted.member.node_id)
            .collect();
        let own = self.own.node_id;
        let is_own = |shard: &ShardId| {
            let rank = rank(own, *shard);
            others.iter().all(|other| self::rank(*other, *shard) < rank)
        };
        ShardId::all().filter(is_own).fold(ShardSet::EMPTY, ShardSet::with)
    }
}

/// One without a limit, or that takes no writes, does not.
fn removes_keys(counted: &Counted) -> bool {
    let has_limit = |newest: &Announcement| newest.memory_limit > 0;
    counted.member.role == Role::Active && counted.newest.as_ref().is_some_and(has_limit)
}

/// The same at every member.
fn rank(node_id: NodeId, shard: ShardId) -> (u64, NodeId) {
    let mut bytes = [0; 9];
    bytes[..8].copy_from_slice(&node_id.0.to_le_bytes());
    bytes[8] = shard.0;
    (xxh3_64(&bytes), node_id)
}

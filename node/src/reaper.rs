//! Removes expired keys for good.
//!
//! Reads hide an expired key at once; its removal is a logged mark. If every node wrote one, there would be as many as
//! nodes. So the member that set the TTL does: who that is, each node knows of itself only. It remembers under which
//! origins it has run, for every start makes a new one, and a key may expire long after its author was started again.
//!
//! That member may be gone, or have forgotten. So the others step in a minute later, one after the other, in the order of
//! their names: the next of them finds the key removed, unless the one before it was away, too.

use std::sync::atomic::Ordering;
use std::time::Duration;

use shared::time::WallMillis;
use slog::{Logger, debug};
use smallvec::SmallVec;

use crate::latency::Event;
use crate::node::{Node, count};
use crate::server::Server;
use crate::store::ShardSet;
use crate::store::key::{Key, ShardId};
use crate::store::shard::Due;
use crate::transaction::{Clocks, Transaction};

/// How often the shards are gone through.
const CYCLE: Duration = Duration::from_millis(100);

/// Keys removed under one locking of a shard: so that nobody waits long for it.
const RUN_KEYS: usize = 128;

/// How long a key that another member set may be expired before anyone removes it, in milliseconds.
const FOREIGN_GRACE_MS: u64 = 60_000;

/// How much longer the next of the members waits, in milliseconds: a mark reaches all in less.
const RANK_GRACE_MS: u64 = 5_000;

/// When this node removes whose keys.
pub(crate) struct Turn {
    /// How long others' may have been expired.
    foreign_grace_ms: u64,
}

impl Turn {
    /// None at a read-only node, which makes no writes; while the node takes over another's state: what the marks end that were
    /// there before is told then, while the states of keys are compared; and after a start until it has recovered.
    ///
    /// For a mark hides what was written up to the expiry, unless a later reset had begun the key afresh; and such a reset is
    /// forgotten once every member has told that it holds it. A member that was put back from an old copy holds it no more: its
    /// mark would hide at the others what they have had in sight since. What remains of that: a copy that has recovered from
    /// nobody for a minute removes its expired keys all the same, for memory must not wait for a host that is gone.
    pub(crate) fn of(node: &Node, clocks: Clocks) -> Option<Self> {
        if node.settings.is_read_only() || node.is_taking_over() || !node.has_recovered(clocks) {
            return None;
        }
        let group = &node.membership.lock().group;
        let foreign_grace_ms = FOREIGN_GRACE_MS + group.rank() as u64 * RANK_GRACE_MS;
        Some(Self { foreign_grace_ms })
    }

    const fn due(&self, now: WallMillis) -> Due {
        Due { own: now, others: WallMillis(now.0.saturating_sub(self.foreign_grace_ms)) }
    }
}

/// Removes expired keys until the node stops.
pub(crate) fn run(server: &Server, logger: &Logger) {
    while !server.is_stopping() {
        std::thread::sleep(CYCLE);
        server.rate.note(server.mono_ms(), server.stats.commands.load(Ordering::Relaxed));
        let reaped = reap_all(server);
        if reaped > 0 {
            debug!(logger, "expired keys removed"; "keys" => reaped);
        }
    }
}

fn reap_all(server: &Server) -> usize {
    // While clients are paused nothing is to change but by peers.
    if !server.reaps.load(Ordering::Relaxed) || server.pause.is_on(server.mono_ms()) {
        return 0;
    }
    let Some(turn) = Turn::of(&server.node, server.clocks()) else { return 0 };
    let mut reaped = 0;
    for shard in ShardId::all() {
        loop {
            let began_ns = server.mono_ns();
            let run = reap_run(server, &turn, shard, server.clocks());
            server.note_latency(Event::ExpireCycle, server.mono_ns().saturating_sub(began_ns));
            reaped += run;
            if run < RUN_KEYS || server.is_stopping() {
                break;
            }
        }
    }
    if reaped > 0 {
        server.node.log.seal(server.mono_us());
    }
    reaped
}

/// Removes up to [`RUN_KEYS`] keys of each of a shard's databases. Returns how many.
pub(crate) fn reap_run(server: &Server, turn: &Turn, shard: ShardId, clocks: Clocks) -> usize {
    let due = turn.due(server.node.log.now(clocks.wall));
    let databases: SmallVec<[u8; 16]> = server.node.store.lock_shard(shard).databases_with_due(due).collect();
    databases.into_iter().map(|db| reap_database(server, due, shard, db, clocks)).sum()
}

fn reap_database(server: &Server, due: Due, shard: ShardId, db: u8, clocks: Clocks) -> usize {
    let keys = server.node.store.lock_shard(shard).due(db, due, RUN_KEYS);
    if keys.is_empty() {
        return 0;
    }
    // A node that takes no writes at the moment removes nothing either; it will be tried again.
    let mut reaped = 0;
    for bytes in &keys {
        let key = Key::new(db, bytes);
        let Ok(mut transaction) = Transaction::begin(&server.node, ShardSet::of(shard), clocks, true) else {
            break;
        };
        if transaction.reap(&key).is_ok() && transaction.written().is_some() {
            reaped += 1;
        }
        let notices = transaction.take_notices();
        transaction.commit();
        server.notify(notices);
    }
    count(&server.stats.expired_keys, reaped as u64);
    reaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_member_that_set_the_ttl_is_first_and_the_others_follow_in_turn() {
        let Due { own, others } = Turn { foreign_grace_ms: 65_000 }.due(WallMillis(66_001));
        assert_eq!((own, others), (WallMillis(66_001), WallMillis(1_001)));
    }
}

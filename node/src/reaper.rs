//! Removes expired keys for good.
//!
//! Reads hide an expired key at once; its removal is a logged mark. If every node wrote one, there would be as many as
//! nodes. So the member that set the TTL does: who that is, each node knows of itself only. It remembers under which
//! origins it has run, for every start makes a new one, and a key may expire long after its author was started again.
//!
//! That member may be gone, or have forgotten. So the others step in a minute later, one after the other, in the order of
//! their names: the next of them finds the key removed, unless the one before it was away, too.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use shared::id::Origin;
use shared::time::WallMillis;
use slog::{Logger, debug};
use smallvec::SmallVec;

use crate::latency::Event;
use crate::node::{Node, count};
use crate::server::Server;
use crate::store::ShardSet;
use crate::store::entry::Entry;
use crate::store::key::{Key, ShardId};
use crate::store::rich::Ttl;
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
    own: HashSet<Origin>,
    foreign_grace_ms: u64,
}

impl Turn {
    /// None at a read-only node, which makes no writes; and while the node takes over another's state: what the marks end that were there before is told then, while the
    /// states of keys are compared.
    pub(crate) fn of(node: &Node) -> Option<Self> {
        if node.settings.is_read_only() || node.is_taking_over() {
            return None;
        }
        let group = &node.membership.lock().group;
        let foreign_grace_ms = FOREIGN_GRACE_MS + group.rank() as u64 * RANK_GRACE_MS;
        Some(Self { own: group.own_origins().collect(), foreign_grace_ms })
    }

    fn is_due(&self, ttl: &Ttl, now: WallMillis) -> bool {
        let grace_ms = if self.own.contains(&ttl.version.origin) { 0 } else { self.foreign_grace_ms };
        ttl.expiry.is_some_and(|expiry| now.0 > expiry.0.saturating_add(grace_ms))
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
    let Some(turn) = Turn::of(&server.node) else { return 0 };
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
    let now = server.node.log.now(clocks.wall);
    let databases: SmallVec<[u8; 16]> =
        server.node.store.lock_shard(shard).databases_with_expired(now).collect();
    databases.into_iter().map(|db| reap_database(server, turn, shard, db, clocks)).sum()
}

fn reap_database(server: &Server, turn: &Turn, shard: ShardId, db: u8, clocks: Clocks) -> usize {
    let keys = due(server, turn, shard, db, server.node.log.now(clocks.wall));
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

fn due(server: &Server, turn: &Turn, shard: ShardId, db: u8, now: WallMillis) -> Vec<Box<[u8]>> {
    let origins = &server.node.store.origins;
    let is_due = |entry: &Entry| entry.ttl(origins).is_some_and(|ttl| turn.is_due(&ttl, now));
    server.node.store.lock_shard(shard).expired(db, now, RUN_KEYS, is_due)
}

#[cfg(test)]
mod tests {
    use shared::clock::Timestamp;
    use shared::version::Version;

    use super::*;

    #[test]
    fn the_member_that_set_the_ttl_is_first_and_the_others_follow_in_turn() {
        let turn = Turn { own: [Origin(1), Origin(2)].into(), foreign_grace_ms: 65_000 };
        let check = |origin, now, expected| {
            let ttl =
                Ttl { version: Version::new(Timestamp(1), Origin(origin)), expiry: Some(WallMillis(1_000)) };
            assert_eq!(turn.is_due(&ttl, WallMillis(now)), expected, "origin {origin} at {now}");
        };
        check(1, 1_000, false);
        check(1, 1_001, true);
        check(2, 1_001, true);
        check(3, 66_000, false);
        check(3, 66_001, true);
    }
}

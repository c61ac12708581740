//! Removes expired keys for good.
//!
//! Reads hide an expired key at once; its removal is a logged mark, written by the member that set the TTL. Others
//! step in a minute later, in case that one is gone.

use std::sync::Arc;
use std::time::Duration;

use shared::change::DATABASES;
use shared::time::WallMillis;
use slog::{Logger, debug};

use crate::node::count;
use crate::server::Server;
use crate::store::ShardSet;
use crate::store::entry::Entry;
use crate::store::key::{Key, ShardId};
use crate::transaction::{Clocks, Transaction};

/// How often the shards are gone through.
const CYCLE: Duration = Duration::from_millis(100);

/// Keys removed under one locking of a shard: so that nobody waits long for it.
const RUN_KEYS: usize = 128;

/// How long a key that another member set may be expired before anyone removes it, in milliseconds.
const FOREIGN_GRACE_MS: u64 = 60_000;

/// Removes expired keys until the node stops.
pub(crate) async fn run(server: Arc<Server>, logger: Logger) {
    while !server.is_stopping() {
        async_std::task::sleep(CYCLE).await;
        let server = Arc::clone(&server);
        let reaped = async_std::task::spawn_blocking(move || reap_all(&server)).await;
        if reaped > 0 {
            debug!(logger, "expired keys removed"; "keys" => reaped);
        }
    }
}

fn reap_all(server: &Server) -> usize {
    let mut reaped = 0;
    for shard in ShardId::all() {
        for db in 0..DATABASES {
            loop {
                let run = reap_run(server, shard, db, server.clocks());
                reaped += run;
                if run < RUN_KEYS || server.is_stopping() {
                    break;
                }
            }
        }
    }
    if reaped > 0 {
        server.node.log.seal(server.mono_us());
    }
    reaped
}

/// Removes up to [`RUN_KEYS`] keys of a shard's database. Returns how many.
pub(crate) fn reap_run(server: &Server, shard: ShardId, db: u8, clocks: Clocks) -> usize {
    let keys = due(server, shard, db, server.node.log.now(clocks.wall));
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
        transaction.commit();
    }
    count(&server.stats.expired_keys, reaped as u64);
    reaped
}

fn due(server: &Server, shard: ShardId, db: u8, now: WallMillis) -> Vec<Box<[u8]>> {
    let origin = server.node.log.origin();
    let origins = &server.node.store.origins;
    let is_due = |entry: &Entry| {
        entry.ttl(origins).is_some_and(|ttl| {
            let own = ttl.version.origin == origin;
            let grace = if own { 0 } else { FOREIGN_GRACE_MS };
            ttl.expiry.is_some_and(|expiry| now.0 > expiry.0.saturating_add(grace))
        })
    };
    server.node.store.lock_shard(shard).expired(db, now, RUN_KEYS, is_due)
}

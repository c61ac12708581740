//! Removing keys, a few at a time, until the data take less than the limit.

use super::Scope;
use super::victims::{Judge, Victims};
use crate::node::count;
use crate::server::Server;
use crate::store::ShardSet;
use crate::store::key::Key;
use crate::transaction::{Clocks, Transaction};

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relief {
    /// The data take less than the limit.
    Enough,
    /// They do not yet: there is more to remove.
    More,
    /// They do not yet, and this node removes none now: others are about to, or it takes no writes at the moment.
    Later,
    /// They do not, and nothing can be removed.
    None,
}

/// A command removes so many keys before it, at the most, if the limit is hardly exceeded: more than it can write of the
/// same size.
const RUN_KEYS: usize = 16;

/// It is twice as many for each hundredth by which the limit is exceeded, up to so many doublings: some milliseconds.
const DOUBLINGS_MAX: usize = 8;

/// How many keys a client's command removes before it is carried out: so that what clients write never gets far ahead of
/// what is removed, and no command takes long.
pub(crate) fn run_keys(server: &Server) -> usize {
    let Some(limit) = server.node.memory.target() else { return 0 };
    let exceeding = server.node.store.account.total().saturating_sub(limit);
    let hundredths = exceeding / (limit / 100).max(1);
    RUN_KEYS << hundredths.min(DOUBLINGS_MAX)
}

/// Removes up to so many keys, if the data take more than the limit. The caller holds no lock.
pub(crate) fn relieve(server: &Server, keys_max: usize, clocks: Clocks) -> Relief {
    let (node, settings) = (&server.node, &server.node.settings.memory);
    let policy = settings.policy();
    let is_exceeded = || node.memory.is_exceeded(&node.store.account);
    if !is_exceeded() {
        return Relief::Enough;
    }
    if node.settings.is_read_only() {
        return Relief::Later;
    }
    let Some(order) = policy.order() else { return Relief::None };
    let usage = settings.usage(clocks.wall);
    let judge = Judge { policy, order, samples: settings.samples(), usage, since: node.memory.since() };
    let mut victims = node.memory.victims.lock();
    for _ in 0..keys_max {
        let within = match node.memory.scope(&node.store.account) {
            Scope::Nowhere => return Relief::Enough,
            Scope::Elsewhere => return Relief::Later,
            Scope::Within(within) => within,
        };
        match evict_one(server, &mut victims, within, &judge, clocks) {
            Evicted::One => {}
            Evicted::Refused => return Relief::Later,
            Evicted::NoneLeft if within == ShardSet::ALL => return Relief::None,
            Evicted::NoneLeft => return Relief::Later,
        }
    }
    if is_exceeded() { Relief::More } else { Relief::Enough }
}

enum Evicted {
    One,
    NoneLeft,
    Refused,
}

fn evict_one(
    server: &Server,
    victims: &mut Victims,
    within: ShardSet,
    judge: &Judge,
    clocks: Clocks,
) -> Evicted {
    let Some((db, bytes)) = victims.next(&server.node, within, judge) else { return Evicted::NoneLeft };
    if evict(server, &Key::new(db, &bytes), clocks) { Evicted::One } else { Evicted::Refused }
}

/// Removes a key. Says whether the node takes writes.
pub(crate) fn evict(server: &Server, key: &Key<'_>, clocks: Clocks) -> bool {
    let begun = Transaction::begin(&server.node, ShardSet::of(key.shard()), clocks, true);
    let Ok(mut transaction) = begun else { return false };
    // A change that holds nothing but the key's name is never too large, and its origin is known.
    let is_evicted = transaction.evict(key).unwrap_or(false);
    let notices = transaction.take_notices();
    transaction.commit();
    if is_evicted {
        count(&server.stats.evicted_keys, 1);
    }
    server.notify(notices);
    true
}

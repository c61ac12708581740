//! Which key is removed next.
//!
//! To know the one that was not used for longest one would have to keep all keys in order, at every use. So a few are looked
//! at, taken at random, as Redis does; and the best of those that were seen and not removed are remembered, for they are
//! better than most that will be seen next.

use shared::time::WallMillis;

use super::policy::{Order, Policy};
use crate::node::Node;
use crate::random::Random;
use crate::store::ShardSet;
use crate::store::entry::Entry;
use crate::store::key::Key;
use crate::store::shard::{Shard, Wanted};
use crate::store::usage::Usage;

/// So many keys are remembered.
const REMEMBERED_MAX: usize = 16;

/// So often keys are looked at before nothing is found worth removing: what is found is nearly always there still.
const LOOKS_MAX: usize = 8;

/// What keys are judged by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judge {
    pub(crate) policy: Policy,
    pub(crate) order: Order,
    /// So many keys are looked at for each that is removed.
    pub(crate) samples: usize,
    pub(crate) usage: Usage,
    /// When the node was started, in seconds.
    pub(crate) since: u32,
}

impl Judge {
    /// The higher, the sooner the key is removed; none if it may not be.
    fn score(&self, entry: &Entry) -> Option<u64> {
        let expiry = entry.expiry();
        entry.kind().filter(|_| !self.policy.needs_expiry() || expiry.is_some())?;
        Some(match self.order {
            Order::Recency => self.usage.idle_seconds(entry.accessed(), self.since).into(),
            Order::Frequency => u64::from(u8::MAX - self.usage.counter(entry.accessed(), self.since)),
            Order::Expiry => u64::MAX - expiry.map_or(0, |WallMillis(ms)| ms),
            Order::Random => 0,
        })
    }
}

impl Judge {
    const fn wanted(&self) -> Wanted {
        match self.order {
            Order::Expiry => Wanted::First,
            _ if self.policy.needs_expiry() => Wanted::Expiring,
            _ => Wanted::Any,
        }
    }

    fn samples(&self) -> usize {
        if self.order == Order::Random { 1 } else { self.samples }
    }
}

#[derive(Debug)]
struct Candidate {
    score: u64,
    db: u8,
    key: Box<[u8]>,
}

/// The keys that are to go next, as far as any were looked at.
#[derive(Debug)]
pub(crate) struct Victims {
    /// The best one last.
    candidates: Vec<Candidate>,
    policy: Policy,
    random: Random,
}

impl Victims {
    pub(crate) fn new(seed: u64) -> Self {
        Self { candidates: Vec::new(), policy: Policy::default(), random: Random::new(seed) }
    }

    /// The key to remove next of those in these shards; none if there is none that may be removed.
    pub(crate) fn next(&mut self, node: &Node, within: ShardSet, judge: &Judge) -> Option<(u8, Box<[u8]>)> {
        if std::mem::replace(&mut self.policy, judge.policy) != judge.policy || judge.order == Order::Random {
            self.candidates.clear();
        }
        (0..LOOKS_MAX).find_map(|_| {
            if !self.look(node, within, judge) {
                return None;
            }
            self.take(node, within, judge)
        })
    }

    /// Looks at some keys of one shard. Says whether there are any.
    fn look(&mut self, node: &Node, within: ShardSet, judge: &Judge) -> bool {
        let first = self.random.below(within.len().max(1));
        let in_turn = within.iter().skip(first).chain(within.iter().take(first));
        for id in in_turn {
            let shard = node.store.lock_shard(id);
            let Some(db) = self.draw_database(&shard, judge) else { continue };
            let Self { candidates, random, .. } = self;
            shard.sample(db, judge.wanted(), judge.samples(), random, &mut |entry| {
                if let Some(score) = judge.score(entry) {
                    remember(candidates, score, db, entry.key());
                }
            });
            return true;
        }
        false
    }

    /// A database that holds keys which may be removed, by its share in them.
    fn draw_database(&mut self, shard: &Shard, judge: &Judge) -> Option<u8> {
        let count = |db| if judge.policy.needs_expiry() { shard.expiring(db) } else { shard.live(db) };
        let total: usize = Shard::databases().map(count).sum();
        let mut rest = if total == 0 { return None } else { self.random.below(total) };
        Shard::databases().find(|db| match rest.checked_sub(count(*db)) {
            None => true,
            Some(left) => {
                rest = left;
                false
            }
        })
    }

    /// The best one that is there still, and was not used since it was looked at.
    fn take(&mut self, node: &Node, within: ShardSet, judge: &Judge) -> Option<(u8, Box<[u8]>)> {
        while let Some(Candidate { score, db, key: bytes }) = self.candidates.pop() {
            let key = Key::new(db, &bytes);
            if !within.contains(key.shard()) {
                continue;
            }
            let now = node.store.lock_shard(key.shard()).find(&key).and_then(|entry| judge.score(entry));
            if now.is_some_and(|now| now >= score) {
                return Some((db, bytes));
            }
        }
        None
    }
}

/// Remembers a key among the best ones.
fn remember(candidates: &mut Vec<Candidate>, score: u64, db: u8, key: &[u8]) {
    let place = candidates.partition_point(|other| other.score <= score);
    if place == 0 && candidates.len() == REMEMBERED_MAX {
        return;
    }
    if candidates.iter().any(|other| other.db == db && *other.key == *key) {
        return;
    }
    let place = if candidates.len() == REMEMBERED_MAX {
        candidates.remove(0);
        place - 1
    } else {
        place
    };
    candidates.insert(place, Candidate { score, db, key: key.into() });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_remembered_and_each_once() {
        let mut candidates = Vec::new();
        for score in (0..40).chain(20..30) {
            remember(&mut candidates, score, 0, score.to_string().as_bytes());
        }
        let scores: Vec<u64> = candidates.iter().map(|candidate| candidate.score).collect();
        assert_eq!(scores, (24..40).collect::<Vec<_>>());
    }
}

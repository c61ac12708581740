//! What a node does of its own accord, a few times a second: it drops what is dead and stable, lets ended origins go, looks
//! after its group, adopts what a reconcile has brought, and re-issues what only it holds.

use shared::change::DATABASES;
use shared::state::{Page, PageBuilder};
use shared::time::MonoMillis;
use shared::version::Frontier;

use super::Node;
use crate::conversation::Notice;
use crate::log::segment::LogPosition;
use crate::store::ShardSet;
use crate::store::key::{Key, SHARDS, SLOTS_PER_SHARD, ShardId};
use crate::store::state::What;
use crate::transaction::{Clocks, Transaction};

/// Dead things of a shard that are looked at under one locking of it.
const DEAD_RUN: usize = 256;

/// Locks of one shard in a row: what is left comes in the next round.
const DEAD_RUNS: usize = 256;

/// The floor is made durable when it has risen by this much, in milliseconds.
const FLOOR_SAVED_MS: u64 = 60_000;

/// How far re-issuing is.
#[derive(Debug)]
pub(crate) enum Reissue {
    /// The next shard.
    From(usize),
    /// Waits until the log is durable up to here.
    Syncing(LogPosition),
}

impl Default for Reissue {
    fn default() -> Self {
        Self::From(0)
    }
}

/// What is worth telling.
#[derive(Debug, Default)]
pub(crate) struct Maintained {
    pub(crate) notices: Vec<Notice>,
    /// Members that were evicted, with why.
    pub(crate) evicted: Vec<(String, &'static str)>,
    /// Things that were dropped, or looked at.
    pub(crate) dropped: usize,
}

impl Node {
    /// Does all of it. To be called some ten times a second.
    pub(crate) fn maintain(&self, clocks: Clocks) -> Maintained {
        let now = MonoMillis(clocks.mono_us / 1_000);
        let mut maintained = Maintained::default();
        if now.since(self.started) >= self.log.max_drift_ms() {
            self.take_writes();
        }
        self.look_after_group(clocks, now, &mut maintained);
        maintained.notices = self.conversations.lock().on_tick(self, clocks);
        self.reissue(clocks, &mut maintained);
        maintained
    }

    fn look_after_group(&self, clocks: Clocks, now: MonoMillis, maintained: &mut Maintained) {
        let (frontier, clock) = self.log.standing(clocks.wall);
        let dead_bytes: usize = ShardId::all().map(|id| self.store.lock_shard(id).dead_bytes()).sum();
        let mut membership = self.membership.lock();
        let group = &mut membership.group;
        group.advance(&frontier);
        for name in group.evict_silent(now) {
            maintained.evicted.push((name, "it was silent for longer than --member-timeout"));
        }
        if dead_bytes > self.settings.tombstone_budget()
            && let Some(name) = group.evict_furthest_behind(clock)
        {
            maintained.evicted.push((name, "tombstones that wait for it take more memory than permitted"));
        }
        let saved_floor = group.saved_floor();
        let floor = group.floor(&frontier, clock, now);
        if floor.wall().0.saturating_sub(saved_floor.wall().0) >= FLOOR_SAVED_MS {
            group.save_floor();
        }
        let stable = group.stable(&frontier);
        let is_saved = membership.save();
        drop(membership);
        // Only what a restart would know again: else it would count as missing what it had let go.
        if is_saved {
            self.log.raise_floor(saved_floor.min(floor));
        }
        if let Some(stable) = stable {
            maintained.dropped = self.drop_stable(&stable);
        }
    }

    /// Drops what is dead and covered by `stable`. Returns how many things were looked at.
    pub(crate) fn drop_stable(&self, stable: &Frontier) -> usize {
        let mut looked_at = 0;
        for id in ShardId::all() {
            for _ in 0..DEAD_RUNS {
                let mut shard = self.store.lock_shard(id);
                // Asked under the lock: whoever wants all to stay says so before he looks at a shard.
                if !self.may_drop_dead() {
                    return looked_at;
                }
                let run = shard.drop_stable(stable, DEAD_RUN, &self.store.origins);
                shard.forget_lasts(stable);
                looked_at += run;
                if run < DEAD_RUN {
                    break;
                }
            }
        }
        looked_at
    }

    /// Writes once more what this node's own frontier does not cover.
    fn reissue(&self, clocks: Clocks, maintained: &mut Maintained) {
        if !self.membership.lock().group.is_reissuing() {
            return;
        }
        let mut reissue = self.reissue.lock();
        match *reissue {
            Reissue::From(first) => {
                // What cannot be written now, for the disk is full or the clock is wrong, is tried again.
                let left = (first..SHARDS).find(|shard| !self.reissue_shard(ShardId(*shard as u8), clocks));
                *reissue = match left {
                    Some(shard) => Reissue::From(shard),
                    None => {
                        self.log.seal(clocks.mono_us);
                        Reissue::Syncing(self.log.ask_sync())
                    }
                };
            }
            Reissue::Syncing(position) if self.log.is_durable(position) => {
                *reissue = Reissue::default();
                *self.seen_by_group.lock() = None;
                let mut membership = self.membership.lock();
                membership.group.reissued();
                membership.save();
                maintained.notices.push(Notice::Reissued);
            }
            Reissue::Syncing(_) => {}
        }
    }

    /// What this node has joined has seen so much of what it holds: the rest is to be written once more.
    pub(crate) fn reissue_beyond(&self, seen: Frontier) {
        *self.seen_by_group.lock() = Some(seen);
    }

    /// What need not be written once more. After a restart in between the own frontier must do: what it covers by
    /// mistake is then found by comparing.
    fn seen(&self) -> Frontier {
        let held = self.log.frontier();
        let Some(mut seen) = self.seen_by_group.lock().clone() else { return held };
        held.iter().for_each(|(origin, upto)| seen.advance(origin, upto));
        seen
    }

    /// Says whether it could be done.
    fn reissue_shard(&self, id: ShardId, clocks: Clocks) -> bool {
        let covered = self.seen();
        for (db, key) in self.uncovered(id, &covered) {
            let key = Key::new(db, &key);
            let Ok(mut transaction) = Transaction::begin(self, ShardSet::of(id), clocks, true) else {
                return false;
            };
            let is_done = transaction.reissue(&key, &covered).is_ok();
            transaction.commit();
            if !is_done {
                return false;
            }
        }
        id.index() > 0 || self.reissue_flushes(&covered, clocks)
    }

    fn reissue_flushes(&self, covered: &Frontier, clocks: Clocks) -> bool {
        (0..DATABASES).all(|db| {
            let begun = Transaction::begin(self, ShardSet::ALL, clocks, true);
            begun.is_ok_and(|mut transaction| {
                let is_done = transaction.reissue_flush(db, covered).is_ok();
                transaction.commit();
                is_done
            })
        })
    }

    /// The keys of a shard of which the frontier does not cover everything.
    fn uncovered(&self, id: ShardId, covered: &Frontier) -> Vec<(u8, Vec<u8>)> {
        let mut page = PageBuilder::new();
        {
            let shard = self.store.lock_shard(id);
            let first = id.index() * SLOTS_PER_SHARD;
            for slot in first..first + SLOTS_PER_SHARD {
                shard.collect_slot(slot, What::Uncovered(covered), &mut page, &self.store.origins);
            }
        }
        let page = page.finish();
        let Ok(page) = Page::decode(&page) else { return Vec::new() };
        page.keys().map_while(Result::ok).map(|state| (state.db, state.key.to_vec())).collect()
    }
}

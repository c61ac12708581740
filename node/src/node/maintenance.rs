//! What a node does of its own accord, a few times a second: it drops what is dead and stable, lets ended origins go, looks
//! after its group, puts its clock back if it is told to, adopts what a reconcile has brought, and re-issues what only it
//! holds.

use std::sync::atomic::Ordering;

use shared::change::DATABASES;
use shared::clock::Timestamp;
use shared::time::MonoMillis;
use shared::version::Frontier;

use super::Node;
use super::persist::newest_of;
use crate::conversation::Notice;
use crate::log::segment::LogPosition;
use crate::snapshots::Ticket;
use crate::store::ShardSet;
use crate::store::key::{Key, SHARDS, SLOTS_PER_SHARD, ShardId};
use crate::transaction::{Clocks, Transaction};

/// Dead things of a shard that are looked at under one locking of it.
const DEAD_RUN: usize = 256;

/// After so many rounds every shard's notes of what came last have been gone through.
const LASTS_ROUNDS: usize = 16;

/// Locks of one shard in a row: what is left comes in the next round.
const DEAD_RUNS: usize = 256;

/// The floor is made durable when it has risen by this much, in milliseconds.
const FLOOR_SAVED_MS: u64 = 60_000;

/// How far re-issuing is.
#[derive(Debug, Default)]
pub(crate) struct Reissue {
    pub(super) step: Step,
    /// The log was put back before: see [`rewind`](super::rewind).
    pub(super) is_rewound: bool,
}

#[derive(Debug)]
pub(super) enum Step {
    /// The next shard.
    From(usize),
    /// Waits until the log is durable up to here.
    Syncing(LogPosition),
    /// Waits for a snapshot without what was withdrawn.
    Saving(Ticket),
}

impl Default for Step {
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
        self.rewind(clocks, &mut maintained);
        self.look_after_group(clocks, now, &mut maintained);
        self.release_log(now);
        maintained.notices.extend(self.conversations.lock().on_tick(self, clocks));
        self.reissue(clocks, &mut maintained);
        self.restate_missing(clocks);
        maintained
    }

    fn look_after_group(&self, clocks: Clocks, now: MonoMillis, maintained: &mut Maintained) {
        let (frontier, clock) = self.log.standing(clocks.wall);
        let mut membership = self.membership.lock();
        let group = &mut membership.group;
        group.advance(&frontier);
        group.attend(now);
        for name in group.evict_silent(now) {
            maintained.evicted.push((name, "it was silent for longer than --member-timeout"));
        }
        for name in group.evict_returned() {
            maintained.evicted.push((name, "an old copy of its directory was put back"));
        }
        if self.dead_bytes.load(Ordering::Relaxed) > self.settings.tombstone_budget()
            && let Some(name) = group.evict_furthest_behind(clock, now)
        {
            maintained.evicted.push((name, "tombstones that wait for it take more memory than permitted"));
        }
        let saved_floor = group.saved_floor();
        let stable = group.stable(&frontier);
        // By the wall clock, if the hybrid clock is ahead: it may be poisoned.
        let floor = group.floor(&frontier, stable.as_ref(), clock.min(Timestamp::of_wall(clocks.wall)), now);
        if floor.wall().0.saturating_sub(saved_floor.wall().0) >= FLOOR_SAVED_MS {
            group.save_floor();
        }
        // Nothing is forgotten that may yet be withdrawn.
        let future = self.far_future(clocks);
        let stable = stable.filter(|stable| newest_of(stable) <= future);
        let is_saved = membership.save();
        drop(membership);
        // Only what a restart would know again: else it would count as missing what it had let go.
        self.agree_on_memory(now);
        if is_saved {
            self.log.raise_floor(saved_floor.min(floor));
        }
        maintained.dropped = match stable {
            Some(stable) => self.drop_stable(&stable),
            None => {
                self.note_dead_bytes(ShardId::all().map(|id| self.store.lock_shard(id).dead_bytes()).sum());
                0
            }
        };
    }

    /// What the next round judges the budget of tombstones by, and the limit of memory takes into account: each round goes
    /// through the shards once.
    fn note_dead_bytes(&self, bytes: usize) {
        self.dead_bytes.store(bytes, Ordering::Relaxed);
        self.memory.note_dead(bytes);
    }

    /// Goes by the limits that members have announced from now on, and looks after what falls to this node.
    pub(crate) fn agree_on_memory(&self, now: MonoMillis) {
        let own = self.settings.memory.limit() as u64;
        let group = &self.membership.lock().group;
        let limit = group.memory_limit(own);
        let shards = if limit.is_some() { group.shards_looked_after(now) } else { ShardSet::ALL };
        self.memory.agree(limit, shards);
    }

    /// Drops what is dead and covered by `stable`. Returns how many things were looked at.
    fn drop_stable(&self, stable: &Frontier) -> usize {
        let (mut looked_at, mut left_bytes) = (0, 0);
        for id in ShardId::all() {
            for is_last in (0..DEAD_RUNS).rev().map(|left| left == 0) {
                let mut shard = self.store.lock_shard(id);
                // Asked under the lock: whoever wants all to stay says so before he looks at a shard.
                if !self.may_drop_dead() {
                    return looked_at;
                }
                let run = shard.drop_stable(stable, DEAD_RUN, &self.store.origins);
                looked_at += run;
                if run < DEAD_RUN || is_last {
                    left_bytes += shard.dead_bytes();
                    break;
                }
            }
        }
        self.note_dead_bytes(left_bytes);
        self.forget_lasts(stable);
        looked_at
    }

    /// A pass over every slot, and nothing waits for it: so it is done a few shards at a time.
    fn forget_lasts(&self, stable: &Frontier) {
        let first = self.lasts_round.fetch_add(1, Ordering::Relaxed) % LASTS_ROUNDS;
        for id in ShardId::all().skip(first).step_by(LASTS_ROUNDS) {
            self.store.lock_shard(id).forget_lasts(stable);
        }
    }

    /// Writes once more what this node's own frontier does not cover.
    fn reissue(&self, clocks: Clocks, maintained: &mut Maintained) {
        let (is_reissuing, cut) = {
            let group = &self.membership.lock().group;
            (group.is_reissuing(), group.cut())
        };
        let mut reissue = self.reissue.lock();
        if !is_reissuing {
            // One that was given up, to join another group, leaves nothing behind.
            *reissue = Reissue::default();
            return;
        }
        if cut.is_some() && !reissue.is_rewound {
            return;
        }
        match &reissue.step {
            Step::From(first) => {
                // What cannot be written now, for the disk is full or the clock is wrong, is tried again.
                let left = (*first..SHARDS).find(|shard| !self.reissue_shard(ShardId(*shard as u8), clocks));
                reissue.step = match left {
                    Some(shard) => Step::From(shard),
                    None => {
                        self.log.seal(clocks.mono_us);
                        let position = self.log.ask_sync();
                        if cut.is_some() {
                            Step::Saving(self.request_snapshot())
                        } else {
                            Step::Syncing(position)
                        }
                    }
                };
            }
            Step::Syncing(position) if self.log.is_durable(*position) => {
                self.end_reissuing(&mut reissue, cut, maintained);
            }
            Step::Syncing(_) => {}
            Step::Saving(ticket) => match ticket.outcome() {
                None => {}
                // What the ceiling promised is void once nobody holds anything from the future, on disk neither.
                Some(Ok(())) => {
                    let is_saved = self.membership.lock().save();
                    if is_saved && self.log.lower_ceiling(clocks.wall).is_ok() {
                        self.end_reissuing(&mut reissue, cut, maintained);
                    }
                }
                Some(Err(text)) => {
                    maintained.notices.push(Notice::Unsaved { text });
                    reissue.step = Step::Saving(self.request_snapshot());
                }
            },
        }
    }

    /// All is issued anew. It counts as done only once that is durable, too.
    fn end_reissuing(&self, reissue: &mut Reissue, cut: Option<Timestamp>, maintained: &mut Maintained) {
        let mut membership = self.membership.lock();
        let unseen = membership.group.unseen().to_vec();
        membership.group.reissued();
        if !membership.save() {
            return membership.group.resume_reissuing(cut, unseen);
        }
        *reissue = Reissue::default();
        self.is_rewinding.store(false, Ordering::Release);
        maintained.notices.push(Notice::Reissued);
    }

    /// Says whether it could be done.
    fn reissue_shard(&self, id: ShardId, clocks: Clocks) -> bool {
        // What is streamed meanwhile is not to be issued by this node, too.
        let _nothing_half_merged = self.applying.lock();
        let covered = self.covered_by_others();
        // First of all: what is issued of a key would fall to a flush from the future.
        if id.index() == 0 && !self.reissue_flushes(&covered, clocks) {
            return false;
        }
        for (db, key) in self.uncovered(id, &covered) {
            let key = Key::new(db, &key);
            let set = ShardSet::of(id);
            let Ok(mut transaction) = Transaction::begin_even_if_rewinding(self, set, clocks, true) else {
                return false;
            };
            let is_done = transaction.reissue(&key, &covered).is_ok();
            transaction.commit();
            if !is_done {
                return false;
            }
        }
        if self.is_rewinding() {
            self.store.lock_shard(id).withdraw_lasts(&self.log.frontier());
        }
        true
    }

    /// What need not be re-issued: beyond a cut it is the own frontier that tells what is to be withdrawn.
    fn covered_by_others(&self) -> Frontier {
        let held = self.log.frontier();
        let group = &self.membership.lock().group;
        let unseen = group.unseen().iter().copied();
        if group.cut().is_some() {
            return held.except(unseen);
        }
        let streamed = |origin| if held.lists(origin) { held.get(origin) } else { Timestamp::ZERO };
        Frontier::all_but(unseen.map(|(origin, seen)| (origin, seen.max(streamed(origin)))))
    }

    fn reissue_flushes(&self, covered: &Frontier, clocks: Clocks) -> bool {
        (0..DATABASES).all(|db| {
            let begun = Transaction::begin_even_if_rewinding(self, ShardSet::ALL, clocks, true);
            begun.is_ok_and(|mut transaction| {
                let is_done = transaction.reissue_flush(db, covered).is_ok();
                transaction.commit();
                is_done
            })
        })
    }

    /// The keys of a shard of which the frontier does not cover everything.
    fn uncovered(&self, id: ShardId, covered: &Frontier) -> Vec<(u8, Box<[u8]>)> {
        let shard = self.store.lock_shard(id);
        let first = id.index() * SLOTS_PER_SHARD;
        let slots = first..first + SLOTS_PER_SHARD;
        slots.flat_map(|slot| shard.uncovered_keys(slot, covered, &self.store.origins)).collect()
    }
}

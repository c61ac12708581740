//! Making a node whole whose hybrid clock was poisoned.
//!
//! Problem: the wall clock was an hour or a year ahead, and was put right. The hybrid clock does not go back, so all that
//! the node wrote since, and would write, lies in the far future: peers take none of it, and it wins over everybody's
//! writes here. So the node refuses its own writes, and waits for an hour or a year; or an operator says that its wall
//! clock is right now.
//!
//! Idea: of what lies further ahead than the [cut](Node::begin_rewind) nobody has accepted anything, for peers suspend an
//! origin that is more than ten times `max-clock-drift` ahead of their wall clocks, and those lie within `max-clock-drift`
//! of this node's, or else there is no link. So it can be taken back as if it had never been written, and be written once
//! more, with the present's timestamps and under a new origin.
//!
//! ```text
//! 1. the intent, with the cut, is durable        writes are refused, the node streams nothing, as one that re-issues
//! 2. frontier, origin and clock                  Log::rewind: nothing beyond the cut is held any more
//! 3. what the frontier does not cover            withdrawn and issued anew, shard by shard
//! 4. a snapshot is durable                       until then a start would find what was withdrawn
//! 5. the clock's durable ceiling is lowered      until then a start begins in the future, and at 1 again
//! 6. the intent is forgotten, durably            writes are taken
//! ```
//!
//! A crash before 6 lets the next start begin at 2, with the cut of before: it finds what was there, perhaps besides it
//! what was issued anew, which is then issued once more and changes nothing. So no step needs to be durable but the
//! first and the last two. That nothing is lost before 4 is the log's business: what is issued anew stands in it, behind
//! what it stands for. A snapshot that began before 2 and ends after it does no harm either, for 4 writes another.
//!
//! Of an origin that lies beyond the cut the frontier keeps what others have announced to have, so that nobody has to
//! reconcile; if nobody was heard, all up to now: who has less of it then takes over this node's state. The clock goes
//! back to the wall clock, but not below what the frontier covers, nor below what a member has announced as its clock:
//! nothing that anyone has forgotten because it was stable can be written once more.
//!
//! What it means: a write from the future counts as made at the time of 3, wherever it had won here. A write of another
//! member that came here meanwhile and lost to one from the future is not restored.
//!
//! If several members were poisoned together, they may have accepted each other's writes from the future. Each must then
//! be made whole, and the first ones be forced to. One that is evicted while it is being made whole joins its group first,
//! and must then be told again.

use std::sync::atomic::Ordering;

use shared::clock::Timestamp;
use shared::id::Origin;
use shared::time::WallMillis;
use shared::version::Frontier;

use super::Node;
use super::maintenance::{Maintained, Step};
use super::persist::newest_of;
use crate::conversation::Notice;
use crate::group::{Group, Standing};
use crate::transaction::Clocks;

/// What an operator's order has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RewindBegun {
    /// It is under way since before.
    pub(crate) is_under_way: bool,
    /// How far ahead of the wall clock the hybrid clock is.
    pub(crate) ahead_ms: u64,
    /// The origin that ends.
    pub(crate) origin: Origin,
}

/// Why a node's clock is not put back. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RewindRefused {
    #[error(
        "ERR nothing lies in the future: this node's hybrid clock is {ahead_ms} ms ahead of its wall clock, and up to {limit_ms} ms it takes writes, and its peers take them from it"
    )]
    NothingAhead { ahead_ms: u64, limit_ms: u64 },
    #[error("ERR this node is taking over the state of its group: try again when it is done")]
    Busy,
    #[error(
        "ERR {who} lies {ahead_ms} ms ahead of this node's wall clock: is that behind? Put it right first. If it is right, and the other node's clock was wrong as well, say FORCE, at each of them"
    )]
    OthersAhead { who: String, ahead_ms: u64 },
    #[error("MISCONF the group cannot be saved: {0}. It is tried again: see this node's log")]
    Unsaved(String),
}

impl Node {
    /// Whether the clock is being put back: until that is done nobody writes.
    pub(crate) fn is_rewinding(&self) -> bool {
        self.is_rewinding.load(Ordering::Acquire)
    }

    /// Has the node put its clock back, and write once more what lies in the future. The operator has seen to it that the
    /// wall clock is right; with `force`, although others are ahead of it.
    pub(crate) fn begin_rewind(&self, force: bool, clocks: Clocks) -> Result<RewindBegun, RewindRefused> {
        let status = self.log.status();
        let is_receiving = self.conversation_status.lock().receiving.is_some();
        let mut membership = self.membership.lock();
        let group = &mut membership.group;
        let ahead_ms = status.clock.wall().0.saturating_sub(clocks.wall.0);
        let is_under_way = group.cut().is_some();
        let begun = RewindBegun { is_under_way, ahead_ms, origin: status.origin };
        if is_under_way {
            return Ok(begun);
        }
        let limit_ms = self.log.poison_ms();
        if ahead_ms <= limit_ms {
            return Err(RewindRefused::NothingAhead { ahead_ms, limit_ms });
        }
        if is_receiving || group.standing() == Standing::Joining {
            return Err(RewindRefused::Busy);
        }
        let cut = self.far_future(clocks);
        if !force && let Some((who, at)) = ahead_of(group, &status.frontier, cut) {
            let ahead_ms = at.wall().0.saturating_sub(clocks.wall.0);
            return Err(RewindRefused::OthersAhead { who, ahead_ms });
        }
        group.begin_rewind(cut, Timestamp::of_wall(clocks.wall));
        self.is_rewinding.store(true, Ordering::Release);
        if membership.save() {
            return Ok(begun);
        }
        Err(RewindRefused::Unsaved(membership.fault().unwrap_or_default().to_owned()))
    }

    /// Beyond this nobody accepts anything whose wall clock is right.
    pub(super) fn far_future(&self, clocks: Clocks) -> Timestamp {
        let ahead_ms = self.log.poison_ms().saturating_add(self.log.max_drift_ms());
        Timestamp::of_wall(WallMillis(clocks.wall.0.saturating_add(ahead_ms)))
    }

    /// Puts frontier, origin and clock back, once that is durably intended.
    pub(super) fn rewind(&self, clocks: Clocks, maintained: &mut Maintained) {
        if !self.is_rewinding() {
            return;
        }
        let mut reissue = self.reissue.lock();
        let _nothing_half_merged = self.applying.lock();
        // Nobody writes, and nothing is merged: it stays as it is while the group is looked at.
        let held = self.log.frontier();
        let now = Timestamp::of_wall(clocks.wall);
        let (frontier, start) = {
            let mut membership = self.membership.lock();
            let Some(cut) = membership.group.cut() else {
                // It may have been given up, to join another group.
                self.is_rewinding.store(false, Ordering::Release);
                return;
            };
            if reissue.is_rewound || !membership.save() {
                return;
            }
            let frontier = cut_back(&membership.group, &held, cut, now);
            let heard = membership.group.heard_clocks().filter(|clock| *clock <= cut);
            let start = heard.fold(now.max(newest_of(&frontier)), Timestamp::max);
            (frontier, start)
        };
        let origin = Origin(self.random());
        self.store.origins.claim([origin]);
        let Ok(index) = self.store.origins.intern(origin) else {
            return maintained.notices.push(Notice::Unexpected { what: "too many origins are known" });
        };
        let by = self.log.rewind(frontier, origin, start, || {
            self.own_index.store(index.0, Ordering::Release);
        });
        self.membership.lock().group.rewound(origin, by);
        reissue.step = Step::From(0);
        reissue.is_rewound = true;
        maintained.notices.push(Notice::Rewound { by_ms: by >> 16, origin });
    }
}

/// Who, but this node, has something from beyond the cut.
fn ahead_of(group: &Group, frontier: &Frontier, cut: Timestamp) -> Option<(String, Timestamp)> {
    let held = frontier.iter().find(|(origin, at)| *at > cut && !group.is_own(*origin));
    let held = held.map(|(origin, at)| (format!("what another node wrote, as origin {origin},"), at));
    let clock = group.heard_clocks().find(|clock| *clock > cut);
    held.or_else(|| clock.map(|clock| ("the clock of another member".to_owned(), clock)))
}

/// The frontier without what lies beyond the cut; and the floor, which one that is alone has raised with its clock, no
/// later than now.
fn cut_back(group: &Group, frontier: &Frontier, cut: Timestamp, now: Timestamp) -> Frontier {
    let left = |(origin, at)| {
        let accepted = || group.held_elsewhere(origin).map_or(now, |held| held.min(cut));
        (origin, if at > cut { accepted() } else { at })
    };
    let mut cut_back: Frontier = frontier.iter().map(left).collect();
    cut_back.raise_floor(frontier.floor().min(now));
    cut_back
}

#[cfg(test)]
mod tests;

//! How the log moves to what a reconcile has brought.
//!
//! What a reconcile merges into the store stands in no log. So it ends with a durable snapshot that says which frontier
//! it has come to, and only when that is in place does the log in memory follow. Every step here is one holding of the
//! log's lock; a crash between the snapshot and the step leaves what the step would have made:
//!
//! ```text
//! jump      Log::jump_header      -> snapshot durable -> Log::jump         the frontier is the larger of each component
//! restart   Log::restart_header   -> snapshot durable -> Log::restart      the frontier is replaced, and the origin
//! rewind    Log::rewind -> snapshot durable -> Log::lower_ceiling           so are both, and the clock goes back
//! ```
//!
//! A rewind can do the step first, for what is left to do is known by more than the log: see
//! [`rewind`](crate::node::rewind).
//!
//! Batches that are pulled meanwhile and begin beyond what is held are appended by [`Log::append_unheld`]. A start that
//! finds them before (or without) such a snapshot passes them over; one that finds them behind it merges them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use shared::batch::{BatchBuilder, BatchHeader};
use shared::clock::{HybridClock, Timestamp};
use shared::id::Origin;
use shared::time::WallMillis;
use shared::version::Frontier;

use super::segment::LogPosition;
use super::snapshot::{Keep, SnapshotHeader};
use super::{End, Log, MoveCeiling, WriteRefused, ceiling_above};

impl Log {
    /// The header of a snapshot that begins now. Nobody may be merging a batch: what is appended and not yet held
    /// would be in neither.
    pub(crate) fn snapshot_header(&self, keep: Keep) -> SnapshotHeader {
        let mut end = self.lock();
        let header = end.header(keep);
        self.announce_sealed(&end);
        header
    }

    /// The header of a snapshot that begins now and whose frontier is this one besides what is held. All that it covers
    /// must be merged, but for what will be appended from now on.
    pub(crate) fn jump_header(&self, frontier: &Frontier, keep: Keep) -> SnapshotHeader {
        let mut end = self.lock();
        let mut header = end.header(keep);
        for (origin, at) in frontier.iter().filter(|(origin, at)| *at > header.frontier.get(*origin)) {
            header.log_start.advance(origin, at);
        }
        header.log_start.raise_floor(frontier.floor());
        header.frontier.merge(frontier);
        self.announce_sealed(&end);
        header
    }

    /// The header of a snapshot that begins now and whose frontier is this one and no other. As with
    /// [`Log::jump_header`].
    pub(crate) fn restart_header(&self, frontier: Frontier) -> SnapshotHeader {
        let mut end = self.lock();
        let header = end.header(Keep::bytes(0));
        let closed = Some(end.open.header().origin);
        self.announce_sealed(&end);
        SnapshotHeader { log_start: frontier.clone(), frontier, serve_from: header.replay, closed, ..header }
    }

    /// Moves the frontier up to this one, too, in one step; the log of each origin that jumps starts there. The clock
    /// must have been moved past what it covers ([`Log::observe`]).
    pub(crate) fn jump(&self, frontier: &Frontier) {
        let mut end = self.lock();
        let end = &mut *end;
        for (origin, at) in frontier.iter().filter(|(origin, at)| *at > end.frontier.get(*origin)) {
            end.index.start_at(origin, at);
        }
        if frontier.floor() > end.index.log_start().floor() {
            end.index.raise_floor(frontier.floor());
        }
        end.frontier.merge(frontier);
        self.note_jump();
    }

    /// Replaces the frontier, and goes on under a new origin: nothing that is in the log so far is served any more. What
    /// was written under the old origin is sealed before. `locked` runs under the log's lock, when it is done.
    pub(crate) fn restart(&self, frontier: Frontier, origin: Origin, locked: impl FnOnce()) {
        let mut end = self.lock();
        end.restart(frontier, origin);
        locked();
        self.note_jump();
        self.announce_sealed(&end);
    }

    /// As [`Log::restart`], and the clock goes back to `start`, which no lower than anything in the frontier may lie. The
    /// durable ceiling stays where it is until [`Log::lower_ceiling`]. Returns how far the clock went back.
    pub(crate) fn rewind(
        &self,
        frontier: Frontier,
        origin: Origin,
        start: Timestamp,
        locked: impl FnOnce(),
    ) -> u64 {
        let mut end = self.lock();
        let before = end.clock.last();
        end.restart(frontier, origin);
        end.clock = HybridClock::new(start, end.clock.ceiling());
        self.clock.store(start.0, Ordering::Relaxed);
        locked();
        self.note_jump();
        self.announce_sealed(&end);
        before.0.saturating_sub(start.0)
    }

    /// Lets the durable ceiling follow a clock that went back. An error changes nothing for those who write: what is above
    /// the lower ceiling is made durable again before it is issued.
    pub(crate) fn lower_ceiling(&self, wall: WallMillis) -> Result<(), WriteRefused> {
        let mut end = self.lock();
        let last = end.clock.last();
        let ceiling = ceiling_above(last, wall, 1);
        end.clock = HybridClock::new(last, ceiling);
        if let Some(keep) = &mut end.keep_ceiling {
            keep(MoveCeiling::Lower(ceiling))
                .map_err(|error| WriteRefused::Disk(format!("clock ceiling: {error}")))?;
        }
        Ok(())
    }

    /// Raises the floor of the frontier: origins that ended at or before it leave.
    pub(crate) fn raise_floor(&self, floor: Timestamp) {
        let mut end = self.lock();
        end.frontier.raise_floor(floor);
        end.index.forget_ended(floor);
    }

    /// Appends a batch that begins beyond what is held. It is neither held nor served before a jump covers it.
    pub(crate) fn append_unheld(&self, header: BatchHeader, bytes: Arc<[u8]>) {
        let mut end = self.lock();
        end.append_unindexed(header, bytes);
        self.announce_sealed(&end);
    }

    /// How often the log has jumped or was restarted: streams that see a new number look whether they can go on.
    pub(crate) fn jumps(&self) -> u64 {
        self.jumps.load(Ordering::Acquire)
    }

    /// What stands before it in the log is served to nobody.
    pub(crate) fn serve_from(&self) -> LogPosition {
        self.lock().index.serve_from()
    }

    fn note_jump(&self) {
        self.jumps.fetch_add(1, Ordering::Release);
        self.sealed.notify(usize::MAX);
    }
}

impl End {
    fn restart(&mut self, frontier: Frontier, origin: Origin) {
        self.seal_open();
        self.open = BatchBuilder::new(origin, Timestamp::ZERO);
        self.index.restart(frontier.clone(), self.end);
        self.frontier = frontier;
    }

    fn header(&mut self, keep: Keep) -> SnapshotHeader {
        self.seal_open();
        let keep_from = keep.before(self.end);
        SnapshotHeader {
            frontier: self.frontier.clone(),
            replay: self.end,
            serve_from: self.index.serve_from(),
            log_start: self.index.log_start_from(keep_from),
            closed: None,
        }
    }
}

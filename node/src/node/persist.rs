//! What of a node its snapshots and reconciles take hold of.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shared::clock::Timestamp;
use shared::id::Origin;
use shared::time::{MonoMillis, WallMillis};
use shared::version::Frontier;

use super::Node;
use crate::log::WriteRefused;
use crate::log::segment::LogPosition;
use crate::log::snapshot::{Keep, SnapshotHeader};
use crate::snapshots::{Ticket, Why};
use crate::store::origins::TooManyOrigins;

/// While it lives nothing dead is dropped from the store.
#[derive(Debug)]
pub(crate) struct DeadHold(Arc<AtomicUsize>);

impl Drop for DeadHold {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Node {
    /// Keeps everything dead in the store while what is returned lives.
    pub(crate) fn hold_dead(&self) -> DeadHold {
        self.holds_dead.fetch_add(1, Ordering::AcqRel);
        DeadHold(Arc::clone(&self.holds_dead))
    }

    /// Whether tombstones and the like may be dropped now. The one who drops asks under the lock of the shard.
    pub(crate) fn may_drop_dead(&self) -> bool {
        self.holds_dead.load(Ordering::Acquire) == 0
    }

    /// The header of a snapshot of what is held, that begins now. To be called while dead things are held.
    pub(crate) fn snapshot_header(&self, keep: Keep) -> SnapshotHeader {
        // A batch that is being merged stands in the log and is not held yet.
        let _nothing_half_merged = self.applying.lock();
        self.log.snapshot_header(keep)
    }

    /// Asks for the durable snapshot that makes the node hold what `frontier` covers, besides what it holds now, and
    /// moves the clock past that.
    ///
    /// The caller has merged all of it; [holds](crate::snapshots::SnapshotRequests::hold) all other snapshots until it
    /// has jumped; sees to it that no batch is merged or appended during this call; and, when the ticket says that it is
    /// durable, calls [`Log::jump`](crate::log::Log::jump) with this frontier, or one that batches which were appended
    /// since have brought further.
    pub(crate) fn request_jump(&self, frontier: &Frontier, wall: WallMillis) -> Result<Ticket, WriteRefused> {
        self.log.observe(newest_of(frontier), wall)?;
        let hold = self.hold_dead();
        let header = self.log.jump_header(frontier, Keep::bytes(self.settings.log_retention()));
        Ok(self.snapshots.request_adoption(header, hold))
    }

    /// As [`Node::request_jump`], for a frontier that replaces the node's; [`Node::restart`] is to follow.
    pub(crate) fn request_restart(
        &self,
        frontier: Frontier,
        wall: WallMillis,
    ) -> Result<Ticket, WriteRefused> {
        self.log.observe(newest_of(&frontier), wall)?;
        let hold = self.hold_dead();
        let header = self.log.restart_header(frontier);
        Ok(self.snapshots.request_adoption(header, hold))
    }

    /// From where on the log is needed by a member, as far as it has announced what it holds. All of it by one that was not
    /// heard since this node's start; nothing by one that has to reconcile in any case.
    pub(crate) fn needed_from(&self, now: MonoMillis) -> LogPosition {
        let reports = self.membership.lock().group.reports(now);
        let needed = reports.into_iter().filter_map(|report| match report.held {
            None => Some(LogPosition::default()),
            Some(held) => self.log.needed_from(&held),
        });
        needed.min().unwrap_or_else(|| self.log.end())
    }

    /// Lets a log without a disk go of what every member holds. As long as one has to reconcile, or was not heard, that is
    /// nothing.
    pub(super) fn release_log(&self, now: MonoMillis) {
        if !self.log.is_release_due(now) {
            return;
        }
        let reports = self.membership.lock().group.reports(now);
        let held_by_all = reports.iter().try_fold(self.log.end(), |all, report| {
            Some(all.min(self.log.needed_from(report.held.as_ref()?)?))
        });
        self.log.release(held_by_all.unwrap_or_default(), now);
    }

    /// Asks for a snapshot of what is held when it begins.
    pub(crate) fn request_snapshot(&self) -> Ticket {
        self.snapshots.request(Why::Asked)
    }

    /// Replaces the frontier and goes on under a new origin.
    pub(crate) fn restart(&self, frontier: Frontier, origin: Origin) -> Result<(), TooManyOrigins> {
        self.store.origins.claim([origin]);
        let index = self.store.origins.intern(origin)?;
        self.log.restart(frontier, origin, || self.own_index.store(index.0, Ordering::Release));
        Ok(())
    }
}

/// The newest timestamp that a frontier covers.
pub(crate) fn newest_of(frontier: &Frontier) -> Timestamp {
    frontier.iter().map(|(_, at)| at).fold(frontier.floor(), Timestamp::max)
}

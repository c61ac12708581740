//! What a start makes of the log, behind the snapshot.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use shared::batch::{Batch, BatchError, BatchHeader};
use shared::clock::Timestamp;
use shared::version::Frontier;

use super::mergers::Mergers;
use super::{OpenError, Progress};
use crate::log::disk::Disk;
use crate::log::index::{LogIndex, STRIDE_BYTES};
use crate::log::recovery::{Recovery, recover};
use crate::log::segment::{LogPosition, RECORD_HEADER_BYTES, SegmentLog};
use crate::log::snapshot::SnapshotHeader;
use crate::store::Store;
use crate::store::origins::TooManyOrigins;

/// What a log has come to.
pub(super) struct Replayed<D: Disk> {
    pub(super) segments: SegmentLog<D>,
    pub(super) recovery: Recovery,
    pub(super) log_restarted: bool,
    pub(super) frontier: Frontier,
    pub(super) index: LogIndex,
    pub(super) passed_over: u64,
}

/// Reads the log of a disk, and merges into the store what the snapshot with this header need not hold.
pub(super) fn replay<D: Disk>(
    disk: Arc<D>,
    segment_bytes_max: u64,
    store: &Store,
    header: Option<&SnapshotHeader>,
    threads: NonZeroUsize,
    progress: &Progress,
) -> Result<Replayed<D>, OpenError> {
    let failure = Mutex::new(None);
    let (mut replay, recovered) = thread::scope(|scope| {
        let mut mergers = Mergers::start(scope, threads.get(), store, &failure);
        let mut replay = Replay::new(header);
        let recovered = recover(disk, segment_bytes_max, &mut |position, bytes| {
            progress.add(RECORD_HEADER_BYTES + bytes.len());
            replay.batch(position, bytes, store, &mut mergers)
        });
        drop(mergers);
        (replay, recovered)
    });
    let (segments, recovery) = recovered?;
    if let Some(error) = failure.into_inner().or(replay.too_many) {
        return Err(error.into());
    }
    let (segments, log_restarted) = replay.finish(segments)?;
    let Replay { frontier, index, passed_over, .. } = replay;
    Ok(Replayed { segments, recovery, log_restarted, frontier, index, passed_over })
}

struct Replay {
    frontier: Frontier,
    index: LogIndex,
    /// The snapshot's; with none, that of an empty one at the log's beginning.
    header: SnapshotHeader,
    has_snapshot: bool,
    /// Whether the index knows what the snapshot holds beyond the log before it.
    index_is_at_replay: bool,
    passed_over: u64,
    too_many: Option<TooManyOrigins>,
}

impl Replay {
    fn new(header: Option<&SnapshotHeader>) -> Self {
        let has_snapshot = header.is_some();
        let header = header.cloned().unwrap_or_default();
        Self {
            frontier: header.frontier.clone(),
            index: LogIndex::starting(STRIDE_BYTES, header.log_start.clone(), header.serve_from),
            header,
            has_snapshot,
            index_is_at_replay: false,
            passed_over: 0,
            too_many: None,
        }
    }

    /// Takes a batch of the log: notes it for followers, and has it merged if the snapshot need not hold it.
    fn batch(
        &mut self,
        position: LogPosition,
        bytes: &[u8],
        store: &Store,
        mergers: &mut Mergers<'_>,
    ) -> Result<(), BatchError> {
        let header = BatchHeader::peek(bytes)?;
        if position < self.header.replay {
            self.index.note(position, &header);
            return Ok(());
        }
        self.reach_replay();
        let held = self.frontier.get(header.origin);
        let is_closed = self.header.closed == Some(header.origin);
        // Of a closed origin all is merged: that a floor lies above it does not mean that the snapshot has it.
        let held = if is_closed { Timestamp::ZERO } else { held };
        if header.after > held && !is_closed {
            self.passed_over += 1;
            return Ok(());
        }
        let batch = Batch::decode(bytes)?;
        batch.validate()?;
        match store.origins.intern(header.origin) {
            Ok(index) => mergers.merge(bytes, &batch, held, index),
            Err(error) => self.too_many = Some(error),
        }
        if !is_closed {
            self.index.note(position, &header);
            self.frontier.advance(header.origin, header.upto);
        }
        Ok(())
    }

    fn reach_replay(&mut self) {
        if !std::mem::replace(&mut self.index_is_at_replay, true) {
            self.index.start_where_missing(&self.header.frontier);
        }
    }

    /// Checks that log and snapshot fit together, and lets the log start anew at the snapshot if it ends before. Returns
    /// whether it did.
    fn finish<D: Disk>(&mut self, segments: SegmentLog<D>) -> Result<(SegmentLog<D>, bool), OpenError> {
        let replay = self.header.replay;
        if segments.start() > replay {
            let needed =
                if self.has_snapshot { "its snapshot does not reach so far" } else { "there is no snapshot" };
            return Err(OpenError::Missing { start: segments.start(), needed });
        }
        self.reach_replay();
        if segments.end() >= replay {
            return Ok((segments, false));
        }
        self.index.restart(self.frontier.clone(), replay);
        Ok((segments.restart_at(replay).map_err(OpenError::Restart)?, true))
    }
}

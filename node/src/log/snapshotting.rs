//! A snapshot of a running node, a step at a time: one shard per step, then the wait for the log, then the rename.
//!
//! Whoever drives it, a thread or the simulator, calls [`Snapshotting::step`] until it is saved; between any two steps the
//! node goes on, or crashes.

use std::sync::Arc;

use super::disk::{Disk, DiskError};
use super::segment::LogPosition;
use super::snapshot::{Keep, SnapshotHeader, SnapshotWriter};
use crate::image::encode_shard;
use crate::node::Node;
use crate::node::persist::DeadHold;
use crate::store::key::ShardId;
use shared::change::DATABASES;

/// A snapshot in the making.
pub(crate) struct Snapshotting<D: Disk> {
    writer: Option<SnapshotWriter<D>>,
    header: SnapshotHeader,
    keep: Keep,
    shards: Vec<ShardId>,
    /// Nothing dead is dropped before the last shard is written.
    hold: Option<DeadHold>,
    keys: u64,
    bytes: u64,
    /// Up to where the log must be durable, once all is written.
    durable: LogPosition,
}

/// How far a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// A shard was written.
    Shards,
    /// All is written; it will be put in place when the log is durable up to here.
    AwaitsLog(LogPosition),
    /// It is in place, and the log's writer was asked to remove what is no longer needed.
    Saved { keys: u64, bytes: u64 },
}

impl<D: Disk> Snapshotting<D> {
    /// Begins a snapshot with this header. Nothing dead was dropped since that was made: `hold` says so.
    ///
    /// # Errors
    /// [`DiskError`], here and in each step: it is to be abandoned, and another may be begun.
    pub(crate) fn begin(
        disk: Arc<D>,
        header: SnapshotHeader,
        hold: DeadHold,
        keep: Keep,
    ) -> Result<Self, DiskError> {
        Ok(Self {
            writer: Some(SnapshotWriter::begin(disk, &header)?),
            header,
            keep,
            shards: ShardId::all().collect::<Vec<_>>().into_iter().rev().collect(),
            hold: Some(hold),
            keys: 0,
            bytes: 0,
            durable: LogPosition::default(),
        })
    }

    /// What it says of itself.
    pub(crate) const fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// Does the next step.
    pub(crate) fn step(&mut self, node: &Node) -> Result<Progress, DiskError> {
        let Some(writer) = &mut self.writer else {
            return Ok(Progress::Saved { keys: self.keys, bytes: self.bytes });
        };
        if let Some(shard) = self.shards.pop() {
            self.keys += write_shard(writer, node, shard)?;
            if self.shards.is_empty() {
                // Whatever is in the blocks was appended before this, if not made durable.
                self.durable = node.log.ask_sync();
                self.hold = None;
                writer.finish()?;
            }
            return Ok(Progress::Shards);
        }
        if node.log.durable() < self.durable {
            return Ok(Progress::AwaitsLog(self.durable));
        }
        self.bytes = writer.bytes();
        if let Some(writer) = self.writer.take() {
            writer.commit()?;
        }
        node.log.ask_removal(self.header.keep_from(self.keep));
        Ok(Progress::Saved { keys: self.keys, bytes: self.bytes })
    }

    /// Gives it up.
    pub(crate) fn abandon(self) {
        if let Some(writer) = self.writer {
            writer.abandon();
        }
    }
}

/// Writes a shard. Returns how many keys it holds.
fn write_shard<D: Disk>(writer: &mut SnapshotWriter<D>, node: &Node, id: ShardId) -> Result<u64, DiskError> {
    let mut written = Ok(());
    encode_shard(node, id, &mut |block| {
        if written.is_ok() {
            written = writer.block(block);
        }
    });
    written?;
    let shard = node.store.lock_shard(id);
    Ok((0..DATABASES).map(|db| shard.live(db) as u64).sum())
}

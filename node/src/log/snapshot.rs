//! Snapshots: all that a node holds, in one file, so that a start need not read the whole log, and old segments can go.
//!
//! Problem: a snapshot takes seconds to write, and the node goes on meanwhile; and it must not be taken for true when the
//! log does not bear it out.
//!
//! Idea: it carries the frontier and the log's end as of its *start*. What was written later may be in it or not: a start
//! replays the log from there, and merging is idempotent. But what is in it must be in the log, too, or else the node
//! would hold writes that its frontier does not cover and that nobody will ever send it.
//!
//! Rule: it is written as a temporary file and synced; then the log is made durable through everything that was applied
//! when its last block was written; then it is renamed into place, and the directory synced; only then may what it
//! replaces be removed. While it is written nothing dead is dropped from the store: the log behind its start may yet hold
//! what a dropped tombstone kept down.
//!
//! ```text
//! file    snapshot-<replay position, 16 hex digits>
//!         head | block | block | ... | end
//! head    "tandemsn" 8 | format 4 | length 4 | header, in MessagePack, of that length | crc 4
//! header  [ frontier, replay position, serve-from position, log start, closed origin or nil ]
//! block   length 4, not 0 | crc 4 | bytes
//! end     0 4 | blocks 8 | bytes of all blocks 8 | crc 4
//! ```
//!
//! Numbers outside of the header are little endian. A crc is the CRC-32 of what precedes it in its part; a block's is of
//! the block's number (8 bytes, from 0) and its bytes, so that blocks cannot change places.

use std::num::NonZeroUsize;
use std::sync::Arc;

use shared::id::Origin;
use shared::version::Frontier;

use super::disk::{Disk, DiskError, DiskFile, TEMPORARY_SUFFIX};
use super::segment::LogPosition;

mod reader;

pub(crate) use reader::StoredSnapshot;

/// What a snapshot says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SnapshotHeader {
    /// What it holds at the least: all that this covers.
    pub(crate) frontier: Frontier,
    /// Where in the log the first record stands that may lie beyond the frontier.
    pub(crate) replay: LogPosition,
    /// Records before this are served to nobody.
    pub(crate) serve_from: LogPosition,
    /// From where on the log serves each origin.
    pub(crate) log_start: Frontier,
    /// An origin that ended here, when the frontier was replaced. What the node wrote under it while the snapshot was
    /// written is merged, lest it be lost, but neither held nor served: it is re-issued under the next origin.
    pub(crate) closed: Option<Origin>,
}

impl SnapshotHeader {
    /// What lies before this in the log is not needed any more once the snapshot is in place.
    pub(crate) fn keep_from(&self, keep: Keep) -> LogPosition {
        keep.before(self.replay).max(self.serve_from).min(self.replay)
    }

    fn encode(&self) -> Vec<u8> {
        let parts = (&self.frontier, self.replay.0, self.serve_from.0, &self.log_start, self.closed);
        rmp_serde::to_vec(&parts)
            .expect("a vector takes every byte and a header has no part that MessagePack lacks")
    }

    fn decode(bytes: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        let (frontier, replay, serve_from, log_start, closed) = rmp_serde::from_slice(bytes)?;
        Ok(Self {
            frontier,
            replay: LogPosition(replay),
            serve_from: LogPosition(serve_from),
            log_start,
            closed,
        })
    }
}

/// How much of the log before a snapshot is kept, for members that were away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keep {
    /// So many bytes at the most.
    pub(crate) bytes: u64,
    /// Nothing before this, for it is old, and nobody needs it.
    pub(crate) from: LogPosition,
}

impl Keep {
    /// So many bytes, however old.
    pub(crate) fn bytes(bytes: u64) -> Self {
        Self { bytes, from: LogPosition::default() }
    }

    /// Where what is kept begins, before a snapshot at this position.
    pub(crate) fn before(self, end: LogPosition) -> LogPosition {
        LogPosition(end.0.saturating_sub(self.bytes)).max(self.from).min(end)
    }
}

/// Why there is no state to start from. No file was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Bytes that were durable are no longer what they were.
    #[error(
        "{file} is damaged at byte {offset}: {what}; nothing was changed: restore the file from a copy, or move the \
         directory away and start the node empty, so that it takes all from a peer"
    )]
    Damaged {
        /// The snapshot.
        file: String,
        /// Where in the file.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// It was written by another build.
    #[error(
        "{file} has at byte 8 the format {format}, which this build does not read: start the build that wrote it; or \
         move the directory away and start the node empty, so that it takes all from a peer"
    )]
    Format {
        /// The snapshot.
        file: String,
        /// The format's version.
        format: u32,
    },
}

const MAGIC: [u8; 8] = *b"tandemsn";
/// The version of the format that this build writes, and the only one that it reads.
const FORMAT: u32 = 1;
const HEAD_BYTES: usize = 16;
const BLOCK_HEAD_BYTES: usize = 8;
const END_BYTES: usize = 24;
/// A block is written in one piece and read in one piece; a longer one is a bug of this program, or damage.
const BLOCK_BYTES_MAX: usize = 1 << 30;
/// Blocks are gathered up to about this size before they are written.
const WRITE_BYTES: usize = 1 << 20;
/// So much is written before it is synced: else the last sync would keep the log's waiting behind gigabytes.
const SYNC_BYTES: u64 = 32 << 20;

/// The name of the snapshot whose replay starts at a position.
pub(crate) fn snapshot_name(replay: LogPosition) -> String {
    format!("{PREFIX}{:016x}", replay.0)
}

const PREFIX: &str = "snapshot-";

/// The position in a snapshot's name, if it is one.
fn parse_snapshot_name(name: &str) -> Option<LogPosition> {
    let position = u64::from_str_radix(name.strip_prefix(PREFIX)?, 16).ok().map(LogPosition)?;
    (snapshot_name(position) == name).then_some(position)
}

/// A snapshot being written. One that is dropped leaves a temporary file, which the next one, or the next start, removes.
pub(crate) struct SnapshotWriter<D: Disk> {
    disk: Arc<D>,
    name: String,
    file: D::File,
    /// What is written, and of that synced; then what is not written yet.
    offset: u64,
    synced: u64,
    buffer: Vec<u8>,
    blocks: u64,
    block_bytes: u64,
}

impl<D: Disk> SnapshotWriter<D> {
    /// Begins a snapshot.
    ///
    /// # Errors
    /// [`DiskError`], here and below: there is no snapshot, and another may be begun.
    pub(crate) fn begin(disk: Arc<D>, header: &SnapshotHeader) -> Result<Self, DiskError> {
        remove_snapshots(&*disk, |name| name.ends_with(TEMPORARY_SUFFIX))?;
        let name = snapshot_name(header.replay);
        let file = disk.create(&format!("{name}{TEMPORARY_SUFFIX}"))?;
        let buffer = encode_head(header);
        Ok(Self { disk, name, file, offset: 0, synced: 0, buffer, blocks: 0, block_bytes: 0 })
    }

    /// Adds a block, which is not empty.
    pub(crate) fn block(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        assert!((1..=BLOCK_BYTES_MAX).contains(&bytes.len()), "a block has a length within its bounds");
        self.buffer.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.buffer.extend_from_slice(&block_crc(self.blocks, bytes).to_le_bytes());
        self.buffer.extend_from_slice(bytes);
        self.blocks += 1;
        self.block_bytes += bytes.len() as u64;
        if self.buffer.len() >= WRITE_BYTES {
            self.flush()?;
        }
        if self.offset - self.synced >= SYNC_BYTES {
            self.file.sync()?;
            self.synced = self.offset;
        }
        Ok(())
    }

    /// How long the file is so far.
    pub(crate) const fn bytes(&self) -> u64 {
        self.offset + self.buffer.len() as u64
    }

    /// Ends the file and makes it durable, under its temporary name.
    pub(crate) fn finish(&mut self) -> Result<(), DiskError> {
        let end = encode_end(self.blocks, self.block_bytes);
        self.buffer.extend_from_slice(&end);
        self.flush()?;
        self.file.sync()
    }

    /// Puts the finished snapshot in place, and removes those before it. The log must be durable through all that was
    /// applied when the last block was written.
    ///
    /// # Errors
    /// [`DiskError`]: whether it is in place will show at the next start; either is fine. Those before it may be there.
    pub(crate) fn commit(self) -> Result<(), DiskError> {
        self.disk.rename(&format!("{}{TEMPORARY_SUFFIX}", self.name), &self.name)?;
        self.disk.sync_directory()?;
        remove_snapshots(&*self.disk, |name| name != self.name)
    }

    /// Gives the snapshot up.
    pub(crate) fn abandon(self) {
        // What cannot be removed now is removed before the next one.
        let _ = self.disk.remove(&format!("{}{TEMPORARY_SUFFIX}", self.name));
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        self.file.write(self.offset, &self.buffer)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// Removes snapshots, finished or not, whose names are `unwanted`.
fn remove_snapshots<D: Disk>(disk: &D, unwanted: impl Fn(&str) -> bool) -> Result<(), DiskError> {
    for name in disk.list()? {
        let stem = name.strip_suffix(TEMPORARY_SUFFIX).unwrap_or(&name);
        if parse_snapshot_name(stem).is_some() && unwanted(&name) {
            disk.remove(&name)?;
        }
    }
    Ok(())
}

fn encode_head(header: &SnapshotHeader) -> Vec<u8> {
    let header = header.encode();
    let mut head = Vec::with_capacity(HEAD_BYTES + header.len() + 4);
    head.extend_from_slice(&MAGIC);
    head.extend_from_slice(&FORMAT.to_le_bytes());
    head.extend_from_slice(&(header.len() as u32).to_le_bytes());
    head.extend_from_slice(&header);
    let crc = crc32fast::hash(&head);
    head.extend_from_slice(&crc.to_le_bytes());
    head
}

fn encode_end(blocks: u64, block_bytes: u64) -> [u8; END_BYTES] {
    let mut end = [0; END_BYTES];
    end[4..12].copy_from_slice(&blocks.to_le_bytes());
    end[12..20].copy_from_slice(&block_bytes.to_le_bytes());
    let crc = crc32fast::hash(&end[..20]);
    end[20..].copy_from_slice(&crc.to_le_bytes());
    end
}

fn block_crc(number: u64, bytes: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&number.to_le_bytes());
    crc.update(bytes);
    crc.finalize()
}

/// A snapshot that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoadedSnapshot {
    pub(crate) header: SnapshotHeader,
    /// The length of its file.
    pub(crate) bytes: u64,
}

/// Loads the newest snapshot of a disk, if there is one: gives its blocks, on so many threads, in no order, and each of them
/// once. Those before it are removed.
///
/// A damaged one is refused, though an older one may be there: that, and what the log holds behind it, need not come to
/// the same, for a snapshot may end a reconcile.
///
/// # Errors
/// [`SnapshotError`], each saying what to do; blocks may have been given before. An error of `on_block` says what is wrong
/// with the block.
pub(crate) fn load_newest<D: Disk>(
    disk: &D,
    threads: NonZeroUsize,
    on_block: &OnBlock<'_>,
) -> Result<Option<LoadedSnapshot>, SnapshotError> {
    // What was renamed into place by a process that then died must not be seen now and be gone later.
    disk.sync_directory()?;
    let Some((replay, name)) = newest(disk)? else {
        remove_snapshots(disk, |name| name.ends_with(TEMPORARY_SUFFIX))?;
        return Ok(None);
    };
    let gone = || SnapshotError::Damaged { file: name.clone(), offset: 0, what: "it is gone".to_owned() };
    let file = disk.open(&name)?.ok_or_else(gone)?;
    let loaded = StoredSnapshot::open(file, replay)?.load(threads, on_block)?;
    remove_snapshots(disk, |other| other != name)?;
    Ok(Some(loaded))
}

/// What is done with a block. The threads that load share it.
pub(crate) type OnBlock<'a> = dyn Fn(&[u8]) -> Result<(), String> + Sync + 'a;

/// Where the replay of the newest snapshot starts, and its name.
pub(crate) fn newest<D: Disk>(disk: &D) -> Result<Option<(LogPosition, String)>, DiskError> {
    let replay = disk.list()?.iter().filter_map(|name| parse_snapshot_name(name)).max();
    Ok(replay.map(|replay| (replay, snapshot_name(replay))))
}

/// Reads the first four bytes.
fn number_u32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests;

//! The log on disk: batches of all origins, in the order in which they arrived here, in segment files.
//!
//! Problem: what was reported durable must be there after a power cut, and what a power cut leaves half done must not
//! be taken for the truth. At recovery both look alike: bytes that are no record.
//!
//! Idea: each record says up to where the log was known to be durable when it was written. Bytes that are no record
//! are damage if anything behind them claims that they were durable, else they are the torn end of what was never
//! reported. A new segment starts only when the one before it is durable, so its mere existence is such a claim; and a
//! clean stop appends a marker that claims all.
//!
//! Rules, each of which a test breaks when it is broken:
//! - Bytes that were reported durable are never written again.
//! - After a failed sync the kernel may have dropped what it should have written, and the next sync succeeds all the
//!   same. So the log keeps the batches that are not durable yet, and after any failure writes them again, in their
//!   places, before it syncs again.
//! - What a failed append left behind the end is cut off, durably, before anything else is written there: whole records
//!   can be among it, and would come back to life behind others of the same lengths.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::disk::{Disk, DiskError, DiskFile};

mod format;
mod reader;

pub(super) use format::{
    BadSegmentHeader, RecordHeader, SEGMENT_HEADER_BYTES, SegmentWindow, decode_segment_header, segment_name,
};
pub(crate) use format::{LogPosition, RECORD_HEADER_BYTES, parse_segment_name};
pub(crate) use reader::LogReader;

use format::{encode_segment_header, file_offset};
use reader::{Held, lock};

/// The size at which a segment is full, unless configured.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// Records are gathered up to about this size before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// The log on disk, with one writer. Made by [`recover`](super::recovery::recover).
pub(crate) struct SegmentLog<D: Disk> {
    disk: Arc<D>,
    segment_bytes_max: u64,
    held: Arc<Mutex<Held<D::File>>>,
    /// The segment that is appended to.
    start: LogPosition,
    active: D::File,
    end: LogPosition,
    synced: LogPosition,
    /// The batches between `synced` and `end`; an empty one is a marker. At most a segment's worth, shared with
    /// whoever else keeps them.
    unsynced: Vec<Arc<[u8]>>,
    /// Something failed: what is behind `synced` must be written again.
    is_damaged: bool,
    /// The next segment may exist already, at `end`: nothing can be appended to this one any more.
    is_rolling: bool,
    /// The segment that is being removed; it is no longer part of the log, but its file may be there.
    removing: Option<LogPosition>,
    buffer: Vec<u8>,
}

/// The log on disk did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The disk is full or broken. Of the call's own batches nothing is in the log; all that was in it still is, and
    /// reads go on. The caller refuses writes and makes the same call again later, as often as needed: the log repairs
    /// itself first. A crash meanwhile may bring back the batches of a refused append.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A reader asked for what was removed. It must start anew from another source.
    #[error("the log was dropped up to position {start}, before which {position} lies")]
    Dropped {
        /// What was asked for.
        position: LogPosition,
        /// Where the log starts.
        start: LogPosition,
    },
    /// A reader met bytes that are no record: the disk changed them, or the position was not a record's.
    #[error(
        "{file} is damaged at byte {offset}: stop the node, and restore the file, or move the directory away and \
         start the node empty, so that it takes all from a peer"
    )]
    Damaged {
        /// The segment.
        file: String,
        /// Where in the file the record starts.
        offset: u64,
    },
}

impl LogError {
    /// Whether there is merely no room left.
    #[cfg(test)]
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Disk(error) if error.is_full())
    }
}

impl<D: Disk> SegmentLog<D> {
    /// The log whose segments start at `starts`, all of it durable. `file` is the last one's.
    pub(super) fn new(
        disk: Arc<D>,
        segment_bytes_max: u64,
        starts: VecDeque<LogPosition>,
        file: D::File,
        end: LogPosition,
    ) -> Self {
        let start = *starts.back().expect("a log has a segment");
        Self {
            disk,
            segment_bytes_max,
            held: Arc::new(Mutex::new(Held { starts, active: file.clone(), end })),
            start,
            active: file,
            end,
            synced: end,
            unsynced: Vec::new(),
            is_damaged: false,
            is_rolling: false,
            removing: None,
            buffer: Vec::new(),
        }
    }

    /// An empty log on an empty disk, which begins at a position.
    pub(crate) fn begin(disk: Arc<D>, segment_bytes_max: u64, start: LogPosition) -> Result<Self, DiskError> {
        let file = create_segment(&*disk, start)?;
        Ok(Self::new(disk, segment_bytes_max, VecDeque::from([start]), file, start))
    }

    /// Where the oldest record left starts.
    pub(crate) fn start(&self) -> LogPosition {
        lock(&self.held).starts[0]
    }

    /// Where the next record will start.
    pub(crate) const fn end(&self) -> LogPosition {
        self.end
    }

    /// Up to where all is durable.
    pub(crate) const fn synced(&self) -> LogPosition {
        self.synced
    }

    /// A reader of this log; it follows the log as it grows.
    pub(crate) fn reader(&self) -> LogReader<D> {
        LogReader::new(Arc::clone(&self.disk), Arc::clone(&self.held))
    }

    /// Appends batches, all or none, and returns the log's end. They are durable after the next [`Self::sync`].
    ///
    /// Starts a new segment if these would fill the last beyond its limit, and makes the last one durable before that;
    /// the batches of one call share a segment, which is longer than the limit if they are.
    ///
    /// # Errors
    /// [`LogError::Disk`]: none of them was appended.
    pub(crate) fn append(&mut self, batches: &[Arc<[u8]>]) -> Result<LogPosition, LogError> {
        debug_assert!(batches.iter().all(|batch| !batch.is_empty()), "an empty batch would be a marker");
        self.append_records(batches)
    }

    /// Makes all that was appended durable.
    ///
    /// # Errors
    /// [`LogError::Disk`]: nothing more is durable than before, nothing is lost, and nothing is to be appended again.
    pub(crate) fn sync(&mut self) -> Result<(), LogError> {
        if self.synced == self.end && !self.is_damaged {
            return Ok(());
        }
        if self.is_damaged {
            self.rewrite()?;
        }
        if let Err(error) = self.active.sync() {
            self.is_damaged = true;
            return Err(error.into());
        }
        self.is_damaged = false;
        self.synced = self.end;
        self.unsynced.clear();
        Ok(())
    }

    /// Makes all durable and appends a marker that says so. For a clean stop: from then on any damage to the log shows,
    /// even in the last record. More can be appended.
    ///
    /// # Errors
    /// As [`Self::sync`]; the stop is then not clean, but otherwise fine.
    pub(crate) fn close(&mut self) -> Result<(), LogError> {
        self.sync()?;
        self.append_records(&[Arc::default()])?;
        self.sync()
    }

    /// Where the log will start once [`SegmentLog::remove_before`] has removed what it can.
    pub(crate) fn start_without(&self, position: LogPosition) -> LogPosition {
        let held = lock(&self.held);
        let after = held.starts.partition_point(|start| *start <= position);
        held.starts[after.saturating_sub(1)]
    }

    /// Removes segments that end at or before `position`, and returns where the log now starts. The last one stays.
    ///
    /// # Errors
    /// [`LogError::Disk`]: some may have been removed; call again.
    pub(crate) fn remove_before(&mut self, position: LogPosition) -> Result<LogPosition, LogError> {
        loop {
            if let Some(start) = self.removing {
                self.disk.remove(&segment_name(start))?;
                // Before the next one goes: else a crash could keep this one and lose that, and leave a gap.
                self.disk.sync_directory()?;
                self.removing = None;
            }
            let mut held = lock(&self.held);
            if held.starts.get(1).is_none_or(|second| *second > position) {
                return Ok(held.starts[0]);
            }
            self.removing = held.starts.pop_front();
        }
    }

    /// Removes all and starts again, empty, at `position`: for a log that ends before the snapshot does. A crash
    /// meanwhile leaves a log that ends before `position`, too.
    ///
    /// # Errors
    /// [`LogError::Disk`]: the log is unusable; recover it, and call again.
    pub(crate) fn restart_at(mut self, position: LogPosition) -> Result<Self, LogError> {
        assert!(position >= self.end, "a position means one record only");
        self.remove_before(self.end)?;
        self.disk.remove(&segment_name(self.start))?;
        self.disk.sync_directory()?;
        Ok(Self::begin(self.disk, self.segment_bytes_max, position)?)
    }

    fn append_records(&mut self, batches: &[Arc<[u8]>]) -> Result<LogPosition, LogError> {
        if self.is_damaged {
            self.sync()?;
        }
        let end = batches.iter().fold(self.end, |end, batch| end.after_record(batch.len()));
        let is_full = self.end > self.start && end.0 - self.start.0 > self.segment_bytes_max;
        if is_full || self.is_rolling {
            self.roll()?;
        }
        if let Err(error) = self.write(self.end, batches) {
            self.is_damaged = true;
            return Err(error.into());
        }
        self.end = end;
        self.unsynced.extend_from_slice(batches);
        lock(&self.held).end = end;
        Ok(end)
    }

    fn roll(&mut self) -> Result<(), LogError> {
        self.sync()?;
        // From here on the new segment may survive a crash, so that more in this one would be in its way.
        self.is_rolling = true;
        let file = create_segment(&*self.disk, self.end)?;
        self.is_rolling = false;
        self.start = self.end;
        self.active = file.clone();
        let mut held = lock(&self.held);
        held.starts.push_back(self.start);
        held.active = file;
        Ok(())
    }

    /// Cuts off what a failed append left, and writes all that is not durable again: the same bytes in the same
    /// places, so that readers do not notice.
    fn rewrite(&mut self) -> Result<(), DiskError> {
        self.active.truncate(file_offset(self.start, self.end))?;
        let batches = std::mem::take(&mut self.unsynced);
        let written = self.write(self.synced, &batches);
        self.unsynced = batches;
        written
    }

    fn write(&mut self, mut position: LogPosition, batches: &[Arc<[u8]>]) -> Result<(), DiskError> {
        let mut offset = file_offset(self.start, position);
        self.buffer.clear();
        for batch in batches {
            self.buffer.extend_from_slice(&RecordHeader::new(self.synced, batch).encode(position));
            position = position.after_record(batch.len());
            if batch.len() < WRITE_BYTES {
                self.buffer.extend_from_slice(batch);
            }
            if self.buffer.len() >= WRITE_BYTES || batch.len() >= WRITE_BYTES {
                offset = self.flush(offset)?;
            }
            if batch.len() >= WRITE_BYTES {
                self.active.write(offset, batch)?;
                offset += batch.len() as u64;
            }
        }
        self.flush(offset).map(|_| ())
    }

    fn flush(&mut self, offset: u64) -> Result<u64, DiskError> {
        if !self.buffer.is_empty() {
            self.active.write(offset, &self.buffer)?;
        }
        let end = offset + self.buffer.len() as u64;
        self.buffer.clear();
        Ok(end)
    }
}

/// Makes an empty segment, durably. One of this name, of which a crash or a failure left no more than a header, is
/// made anew.
pub(super) fn create_segment<D: Disk>(disk: &D, start: LogPosition) -> Result<D::File, DiskError> {
    let file = disk.create(&segment_name(start))?;
    file.write(0, &encode_segment_header(start))?;
    file.sync()?;
    disk.sync_directory()?;
    Ok(file)
}

#[cfg(test)]
mod tests;

//! Reads the log from disk, at any position, while it is being appended to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::disk::{Disk, DiskFile};
use super::LogError;
use super::format::{LogPosition, RECORD_HEADER_BYTES, SegmentWindow, segment_name};

/// A reader of a log. It never waits for the disk operations of the log's writer.
pub(crate) struct LogReader<D: Disk> {
    disk: Arc<D>,
    held: Arc<Mutex<Held<D::File>>>,
}

impl<D: Disk> Clone for LogReader<D> {
    fn clone(&self) -> Self {
        Self { disk: Arc::clone(&self.disk), held: Arc::clone(&self.held) }
    }
}

/// What the log holds. The writer changes it after the disk: what it lists is there.
pub(super) struct Held<F> {
    /// Where each segment starts. The last is the one that is appended to.
    pub(super) starts: VecDeque<LogPosition>,
    /// The file of the last segment. Those before it are opened when they are read: a long log has more segments
    /// than a process may have files.
    pub(super) active: F,
    /// Where the log ends.
    pub(super) end: LogPosition,
}

/// Locks what the log holds, for a few statements.
pub(super) fn lock<F>(held: &Mutex<Held<F>>) -> MutexGuard<'_, Held<F>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where to go on reading: a segment, and the end of its records.
struct Place<F> {
    file: F,
    start: LogPosition,
    end: LogPosition,
}

impl<D: Disk> LogReader<D> {
    pub(super) const fn new(disk: Arc<D>, held: Arc<Mutex<Held<D::File>>>) -> Self {
        Self { disk, held }
    }

    /// Gives the batches from `from` on, each with its record's position, and returns where to go on.
    ///
    /// `from` is a record's position, or the end, at which nothing is given. Stops before `bytes_max` bytes of records
    /// are exceeded, but not before the first batch.
    ///
    /// # Errors
    /// [`LogError`]; batches before it were given.
    pub(crate) fn read(
        &self,
        from: LogPosition,
        bytes_max: usize,
        each: &mut dyn FnMut(LogPosition, &[u8]),
    ) -> Result<LogPosition, LogError> {
        let mut next = from;
        let mut is_first = true;
        while let Some(place) = self.find(next)? {
            let left = usize::try_from(place.end.0 - next.0).unwrap_or(usize::MAX);
            let mut window =
                SegmentWindow::new(place.file, place.start, left.min(bytes_max).min(READ_BYTES_MAX));
            while next < place.end {
                let position = next;
                let used = usize::try_from(position.0 - from.0).unwrap_or(usize::MAX);
                if !is_first && used.saturating_add(RECORD_HEADER_BYTES) > bytes_max {
                    return Ok(position);
                }
                let Some(header) = window.header(position)? else { return Err(damaged(&window, position)) };
                next = position.after_record(header.batch_bytes);
                if header.batch_bytes == 0 {
                    continue;
                }
                if !is_first && next.0 - from.0 > bytes_max as u64 {
                    return Ok(position);
                }
                match window.batch(position, &header)? {
                    Some(batch) => each(position, batch),
                    None => return Err(damaged(&window, position)),
                }
                is_first = false;
            }
        }
        Ok(next)
    }

    fn find(&self, position: LogPosition) -> Result<Option<Place<D::File>>, LogError> {
        let held = lock(&self.held);
        if position >= held.end {
            return Ok(None);
        }
        let after = held.starts.partition_point(|start| *start <= position);
        let dropped = LogError::Dropped { position, start: held.starts[0] };
        let Some(start) = after.checked_sub(1).map(|index| held.starts[index]) else { return Err(dropped) };
        let Some(end) = held.starts.get(after).copied() else {
            return Ok(Some(Place { file: held.active.clone(), start, end: held.end }));
        };
        drop(held);
        // The writer may have removed it since.
        let file = self.disk.open(&segment_name(start))?.ok_or(dropped)?;
        Ok(Some(Place { file, start, end }))
    }
}

/// How much is read at once, unless one batch is longer.
const READ_BYTES_MAX: usize = 4 << 20;

fn damaged<F: DiskFile>(window: &SegmentWindow<F>, position: LogPosition) -> LogError {
    LogError::Damaged { file: window.file().name().to_owned(), offset: window.offset_of(position) }
}

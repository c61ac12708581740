//! What a start does with the log that the run before it left.
//!
//! A crash tears the end of the log; wear and mishaps damage its middle. The first is cut off and the node goes on, for
//! nothing of it was reported durable. The second is refused: cutting there would silently drop what was
//! reported durable. [`segment`](super::segment) tells how the two are told apart.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use shared::batch::BatchError;

use super::disk::{Disk, DiskError, DiskFile};
use super::segment::{
    BadSegmentHeader, LogPosition, RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, SegmentLog,
    SegmentWindow, create_segment, decode_segment_header, parse_segment_name, segment_name,
};

/// What was found at a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recovery {
    /// Where the log starts.
    pub(crate) start: LogPosition,
    /// Where it ends. All before this is durable.
    pub(crate) end: LogPosition,
    /// How many batches it holds.
    pub(crate) batches: u64,
    /// What was cut off its end.
    pub(crate) cut: Option<TornTail>,
}

/// The torn end of the log, which was cut off. None of it was ever reported durable, as far as can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TornTail {
    /// The segment.
    pub(crate) file: String,
    /// Where in the file it was cut.
    pub(crate) offset: u64,
    /// How many bytes stood behind that.
    pub(crate) bytes: u64,
}

/// Why a log is not taken. No file was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoveryError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Bytes that were durable are no longer what they were.
    #[error("{file} is damaged at byte {offset}: {what}; {ADVICE}")]
    Damaged {
        /// The segment.
        file: String,
        /// Where in the file.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A segment, or a segment's end, is not there.
    #[error(
        "{file} ends at byte {offset}, and {next} starts {missing} bytes of log later: a segment is missing, or this \
         one was cut short; {ADVICE}"
    )]
    Missing {
        /// The last segment before the gap.
        file: String,
        /// Its length.
        offset: u64,
        /// The first segment after the gap.
        next: String,
        /// The length of the gap.
        missing: u64,
    },
    /// A segment was written by another build.
    #[error(
        "{file} has at byte 8 the format {format}, which this build does not read: start the build that wrote it; or \
         move the directory away and start the node empty, so that it takes all from a peer"
    )]
    Format {
        /// The segment.
        file: String,
        /// The format's version.
        format: u32,
    },
    /// A batch is intact, but not one that this build reads.
    #[error(
        "{file} holds at byte {offset} a batch that cannot be read: {source}; if a newer build wrote it, start that; \
         else move the directory away and start the node empty, so that it takes all from a peer"
    )]
    Batch {
        /// The segment.
        file: String,
        /// Where in the file its record starts.
        offset: u64,
        /// What is wrong with it.
        source: BatchError,
    },
}

const ADVICE: &str = "nothing was changed: restore the file from a copy, or move the directory away and start the \
                      node empty, so that it takes all from a peer";

/// How much of a segment is read at once.
const READ_BYTES: usize = 1 << 20;

/// What is done with a batch that was found, and the position of its record. An error refuses the log.
pub(crate) type OnBatch<'a> = dyn FnMut(LogPosition, &[u8]) -> Result<(), BatchError> + 'a;

/// Opens the log of a disk, made if there is none, and gives all of its batches, each with its record's position.
///
/// What is found is made durable before it is looked at. A torn end is cut off.
///
/// # Errors
/// [`RecoveryError`], each saying what to do; batches may have been given before.
pub(crate) fn recover<D: Disk>(
    disk: Arc<D>,
    segment_bytes_max: u64,
    on_batch: &mut OnBatch<'_>,
) -> Result<(SegmentLog<D>, Recovery), RecoveryError> {
    disk.sync_directory()?;
    let starts = list_segments(&*disk)?;
    let mut replay = Replay { disk: &*disk, on_batch, batches: 0 };
    for (index, start) in starts.iter().enumerate() {
        if let Some(next) = starts.get(index + 1) {
            replay.full_segment(*start, *next)?;
        }
    }
    let start = starts.back().copied().unwrap_or_default();
    let (file, end, cut) = replay.last_segment(start)?;
    let batches = replay.batches;
    let starts = if starts.is_empty() { VecDeque::from([start]) } else { starts };
    let recovery = Recovery { start: starts[0], end, batches, cut };
    Ok((SegmentLog::new(disk, segment_bytes_max, starts, file, end), recovery))
}

fn list_segments<D: Disk>(disk: &D) -> Result<VecDeque<LogPosition>, RecoveryError> {
    let mut starts = VecDeque::new();
    for name in disk.list()? {
        match parse_segment_name(&name) {
            Some(Ok(start)) => starts.push_back(start),
            Some(Err(())) => {
                return Err(RecoveryError::Damaged {
                    file: name,
                    offset: 0,
                    what: "no segment has this name",
                });
            }
            None => {}
        }
    }
    // The names are of one length, so their order is that of the positions.
    Ok(starts)
}

struct Replay<'a, D> {
    disk: &'a D,
    on_batch: &'a mut OnBatch<'a>,
    batches: u64,
}

impl<D: Disk> Replay<'_, D> {
    /// Reads a segment before the last. That the next one exists says that all of this was durable.
    fn full_segment(&mut self, start: LogPosition, next: LogPosition) -> Result<(), RecoveryError> {
        let file = self.open(start)?;
        let length = file.length()?;
        let mut window = SegmentWindow::new(file, start, READ_BYTES);
        check_header(&mut window, start)?;
        let (end, what) = self.records(&mut window, start, length)?;
        if let Some(what) = what {
            return Err(damaged(&window, end, what));
        }
        if end > next {
            return Err(damaged(&window, next, "it goes on behind the start of the next segment"));
        }
        if end < next {
            return Err(RecoveryError::Missing {
                file: segment_name(start),
                offset: length,
                next: segment_name(next),
                missing: next.0 - end.0,
            });
        }
        Ok(())
    }

    /// Reads the last segment, makes it if there is none or a crash left only its name, and cuts it where it is torn.
    fn last_segment(
        &mut self,
        start: LogPosition,
    ) -> Result<(D::File, LogPosition, Option<TornTail>), RecoveryError> {
        let Some(file) = self.disk.open(&segment_name(start))? else {
            return Ok((create_segment(self.disk, start)?, start, None));
        };
        // The process before may have left bytes that are not durable, or, after a failed sync, bytes of which
        // only memory has a copy.
        file.sync()?;
        file.forget_cached();
        let length = file.length()?;
        let mut window = SegmentWindow::new(file.clone(), start, READ_BYTES);
        match check_header(&mut window, start) {
            // No record is written before the header is durable.
            Err(RecoveryError::Damaged { .. }) if length <= SEGMENT_HEADER_BYTES as u64 => {
                return Ok((create_segment(self.disk, start)?, start, None));
            }
            checked => checked?,
        }
        let (end, what) = self.records(&mut window, start, length)?;
        let Some(what) = what else { return Ok((file, end, None)) };
        if was_durable(&mut window, end, length)? {
            return Err(damaged(&window, end, what));
        }
        let offset = window.offset_of(end);
        file.truncate(offset)?;
        // Before anything is appended: else a crash could bring back records behind it that fit to new ones.
        file.sync()?;
        let cut = TornTail { file: segment_name(start), offset, bytes: length - offset };
        Ok((file, end, Some(cut)))
    }

    /// Reads records up to the file's end, or up to what is none: where that is, and what is wrong with it.
    fn records(
        &mut self,
        window: &mut SegmentWindow<D::File>,
        start: LogPosition,
        length: u64,
    ) -> Result<(LogPosition, Option<&'static str>), RecoveryError> {
        let mut position = start;
        while window.offset_of(position) < length {
            let Some(header) = window.header(position)? else {
                return Ok((position, Some("there is no record")));
            };
            let offset = window.offset_of(position);
            if length - offset < (RECORD_HEADER_BYTES + header.batch_bytes) as u64 {
                return Ok((position, Some("the record is cut off")));
            }
            let Some(batch) = window.batch(position, &header)? else {
                return Ok((position, Some("the record's checksum does not match")));
            };
            if !batch.is_empty() {
                (self.on_batch)(position, batch).map_err(|source| RecoveryError::Batch {
                    file: segment_name(start),
                    offset,
                    source,
                })?;
                self.batches += 1;
            }
            position = position.after_record(header.batch_bytes);
        }
        Ok((position, None))
    }

    fn open(&self, start: LogPosition) -> Result<D::File, DiskError> {
        let file = segment_name(start);
        self.disk.open(&file)?.ok_or_else(|| DiskError {
            operation: "open",
            file,
            source: io::ErrorKind::NotFound.into(),
        })
    }
}

fn check_header<F: DiskFile>(window: &mut SegmentWindow<F>, start: LogPosition) -> Result<(), RecoveryError> {
    let file = segment_name(start);
    match decode_segment_header(window.bytes(0, SEGMENT_HEADER_BYTES)?) {
        Ok(found) if found == start => Ok(()),
        Ok(_) => {
            Err(RecoveryError::Damaged { file, offset: 12, what: "its start is not the one in its name" })
        }
        Err(BadSegmentHeader::Format(format)) => Err(RecoveryError::Format { file, format }),
        Err(BadSegmentHeader::Damaged) => {
            Err(RecoveryError::Damaged { file, offset: 0, what: "its header's checksum does not match" })
        }
    }
}

/// Whether a record behind `position` claims that the one there was durable. A header is enough: it was written by
/// a node that knew, whatever became of its batch.
fn was_durable<F: DiskFile>(
    window: &mut SegmentWindow<F>,
    position: LogPosition,
    length: u64,
) -> Result<bool, DiskError> {
    let mut offset = window.offset_of(position);
    let mut at = position;
    while offset < length {
        let bytes = window.bytes(offset, SCAN_BYTES + RECORD_HEADER_BYTES - 1)?;
        let claims = bytes.windows(RECORD_HEADER_BYTES).zip(at.0..).any(|(header, at)| {
            RecordHeader::decode(LogPosition(at), header).is_some_and(|found| found.synced > position)
        });
        if claims {
            return Ok(true);
        }
        offset += SCAN_BYTES as u64;
        at.0 += SCAN_BYTES as u64;
    }
    Ok(false)
}

/// How much is scanned at once.
const SCAN_BYTES: usize = 64 << 10;

fn damaged<F: DiskFile>(
    window: &SegmentWindow<F>,
    position: LogPosition,
    what: &'static str,
) -> RecoveryError {
    RecoveryError::Damaged { file: window.file().name().to_owned(), offset: window.offset_of(position), what }
}

#[cfg(test)]
mod crash_consistency;
#[cfg(test)]
mod tests;

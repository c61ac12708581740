//! The files of a backup: written, copied, verified.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shared::batch::Batch;
use shared::state::Page;

use super::client::{BackupError, Source};
use super::manifest::Manifest;
use crate::log::disk::{Directory, Disk, DiskFile, TEMPORARY_SUFFIX};
use crate::log::recovery::recover;
use crate::log::segment::{SEGMENT_BYTES_MAX, SegmentLog};
use crate::log::snapshot::load_newest;

/// What is copied at once.
const COPY_BYTES: usize = 1 << 20;

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Contents {
    /// In the snapshot, dead ones included.
    pub(super) keys: u64,
    /// In the log behind it.
    pub(super) batches: u64,
}

/// Makes a directory, or takes an empty one.
pub(super) fn new_directory(path: &Path) -> Result<Directory, BackupError> {
    // The lock makes a file of its own.
    let is_empty = |path: &Path| std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    if path.exists() && !is_empty(path) {
        return Err(BackupError::NotEmpty(path.to_owned()));
    }
    Ok(Directory::open(path)?)
}

/// Writes what a node gives: the log, then the snapshot.
pub(super) fn write(
    disk: &Arc<Directory>,
    manifest: &Manifest,
    source: &mut Source,
) -> Result<(), BackupError> {
    let mut log = SegmentLog::begin(Arc::clone(disk), SEGMENT_BYTES_MAX, manifest.replay)?;
    while log.end() < manifest.log_end {
        let batch: Arc<[u8]> = source.next(|bytes| Arc::from(bytes))?;
        if batch.is_empty() {
            return Err(BackupError::Unexpected);
        }
        log.append(&[batch])?;
        // What is not durable is kept in memory.
        if log.end().0 - log.synced().0 > SEGMENT_BYTES_MAX / 4 {
            log.sync()?;
        }
    }
    log.close()?;
    let name = manifest.snapshot_name();
    let temporary = format!("{name}{TEMPORARY_SUFFIX}");
    let file = disk.create(&temporary)?;
    let mut offset = 0;
    while offset < manifest.snapshot_bytes {
        let written = source.next(|piece| file.write(offset, piece).map(|()| piece.len() as u64))??;
        if written == 0 {
            return Err(BackupError::Unexpected);
        }
        offset += written;
    }
    file.sync()?;
    disk.rename(&temporary, &name)?;
    Ok(disk.sync_directory()?)
}

/// Copies a file from one directory to another, durably.
pub(super) fn copy<D: Disk>(from: &D, to: &D, name: &str, under: &str) -> Result<(), BackupError> {
    let source =
        from.open(name)?.ok_or_else(|| BackupError::NotWhole(format!("the file {name} is missing")))?;
    let (file, length) = (to.create(under)?, source.length()?);
    let (mut offset, mut buffer) = (0, Vec::new());
    while offset < length {
        buffer.clear();
        source.read(offset, COPY_BYTES, &mut buffer)?;
        if buffer.is_empty() {
            return Err(BackupError::NotWhole(format!("the file {name} becomes shorter")));
        }
        file.write(offset, &buffer)?;
        offset += buffer.len() as u64;
    }
    Ok(file.sync()?)
}

/// Reads a directory as a start would, without keeping anything: all checksums hold, and all of it can be read.
pub(super) fn verify(disk: &Arc<Directory>, manifest: &Manifest) -> Result<Contents, BackupError> {
    let keys = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let snapshot = load_newest(&**disk, threads, &|block| {
        let page = Page::decode(block).map_err(|error| error.to_string())?;
        for state in page.keys() {
            state.map_err(|error| error.to_string())?;
        }
        keys.fetch_add(page.len(), Ordering::Relaxed);
        Ok(())
    })?;
    let Some(snapshot) = snapshot.filter(|found| found.header.replay == manifest.replay) else {
        return Err(BackupError::NotWhole(format!("the file {} is missing", manifest.snapshot_name())));
    };
    if snapshot.bytes != manifest.snapshot_bytes {
        return Err(BackupError::NotWhole("its snapshot is another one".to_owned()));
    }
    let (_, log) = recover(Arc::clone(disk), SEGMENT_BYTES_MAX, &mut |_, bytes| {
        Batch::decode(bytes)?.validate().map(|_| ())
    })?;
    if let Some(cut) = log.cut {
        return Err(BackupError::NotWhole(format!("{} is torn at byte {}", cut.file, cut.offset)));
    }
    if log.start != manifest.replay || log.end < manifest.log_end {
        return Err(BackupError::NotWhole(format!(
            "its log does not reach from {} to {}",
            manifest.replay, manifest.log_end
        )));
    }
    Ok(Contents { keys: keys.into_inner(), batches: log.batches })
}

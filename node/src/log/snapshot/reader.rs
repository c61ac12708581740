//! Reads a snapshot back, on several threads.
//!
//! First its blocks are found, by going from each one's length to the next, which reads a few bytes of each. Then the
//! threads take runs of neighbouring blocks, so that they seldom work on one shard at the same time.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;

use super::super::disk::DiskFile;
use super::super::segment::LogPosition;
use super::{
    BLOCK_BYTES_MAX, BLOCK_HEAD_BYTES, END_BYTES, FORMAT, HEAD_BYTES, LoadedSnapshot, MAGIC, OnBlock,
    SnapshotError, SnapshotHeader, block_crc, encode_end, number_u32,
};

/// So many runs of blocks there are for each thread: one that is done early takes another.
const RUNS_PER_THREAD: usize = 8;

/// A snapshot on disk whose parts are found.
pub(crate) struct StoredSnapshot<F> {
    file: F,
    header: SnapshotHeader,
    bytes: u64,
    /// Where each block starts; where the last one ends stands behind them. As many as the file has room for.
    starts: Vec<u64>,
}

impl<F: DiskFile> StoredSnapshot<F> {
    /// Finds the parts of a snapshot whose name says this position. What is in its blocks is not looked at.
    pub(crate) fn open(file: F, replay: LogPosition) -> Result<Self, SnapshotError> {
        let bytes = file.length()?;
        let mut reader = Reader { file: &file, offset: 0, length: bytes, buffer: Vec::new() };
        let header = reader.head()?;
        if header.replay != replay {
            return Err(reader.damaged("its position is not the one in its name"));
        }
        let first = reader.offset;
        let starts = match reader.find_blocks() {
            Ok(starts) => starts,
            // A wrong length leads astray: what is wrong stands where the first checksum does not match.
            Err(astray) => {
                reader.offset = first;
                return Err(reader.first_damage().err().unwrap_or(astray));
            }
        };
        Ok(Self { file, header, bytes, starts })
    }

    /// What it says of itself.
    pub(crate) const fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// Its file, and how long that is.
    pub(crate) const fn file(&self) -> &F {
        &self.file
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives all blocks. Of several that are damaged the first is told.
    pub(super) fn load(
        self,
        threads: NonZeroUsize,
        on_block: &OnBlock<'_>,
    ) -> Result<LoadedSnapshot, SnapshotError> {
        let runs = self.runs(threads.get() * RUNS_PER_THREAD);
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
        let work = || {
            while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err((block, error)) = self.load_run(run.clone(), on_block) {
                    next.store(runs.len(), Ordering::Relaxed);
                    let mut failed = failed.lock();
                    if failed.as_ref().is_none_or(|(first, _)| block < *first) {
                        *failed = Some((block, error));
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads.get() {
                // With fewer threads than there could be it takes longer.
                let _ = thread::Builder::new().name("load".to_owned()).spawn_scoped(scope, work);
            }
            work();
        });
        match failed.into_inner() {
            None => Ok(LoadedSnapshot { header: self.header, bytes: self.bytes }),
            Some((_, error)) => Err(error),
        }
    }

    /// The numbers of all blocks, in about so many runs.
    fn runs(&self, count: usize) -> Vec<Range<usize>> {
        let blocks = self.starts.len() - 1;
        let length = blocks.div_ceil(count).max(1);
        (0..blocks).step_by(length).map(|first| first..(first + length).min(blocks)).collect()
    }

    /// Gives some blocks, in order. An error comes with the number of its block.
    fn load_run(&self, run: Range<usize>, on_block: &OnBlock<'_>) -> Result<(), (usize, SnapshotError)> {
        let mut reader = Reader { file: &self.file, offset: 0, length: self.bytes, buffer: Vec::new() };
        for block in run {
            reader.offset = self.starts[block];
            reader.block(block as u64, &mut |bytes| on_block(bytes)).map_err(|error| (block, error))?;
        }
        Ok(())
    }
}

/// A place in a snapshot.
struct Reader<'f, F> {
    file: &'f F,
    offset: u64,
    length: u64,
    buffer: Vec<u8>,
}

impl<F: DiskFile> Reader<'_, F> {
    fn head(&mut self) -> Result<SnapshotHeader, SnapshotError> {
        let mut head = self.take(HEAD_BYTES)?.to_vec();
        let length = number_u32(&head[12..]);
        head.extend_from_slice(self.take(length as usize)?);
        let crc = number_u32(self.take(4)?);
        self.offset = 0;
        if head[..8] != MAGIC || crc32fast::hash(&head) != crc {
            return Err(self.damaged("its head's checksum does not match"));
        }
        match number_u32(&head[8..]) {
            FORMAT => {}
            format => return Err(SnapshotError::Format { file: self.file.name().to_owned(), format }),
        }
        let header = SnapshotHeader::decode(&head[HEAD_BYTES..])
            .map_err(|error| self.damaged(format!("its header cannot be read: {error}")))?;
        self.offset = head.len() as u64 + 4;
        Ok(header)
    }

    /// Goes from block to block, and checks the end.
    fn find_blocks(&mut self) -> Result<Vec<u64>, SnapshotError> {
        let mut starts = vec![self.offset];
        loop {
            let start = self.offset;
            let length = number_u32(self.take(4)?);
            if length == 0 {
                let block_bytes = start - starts[0] - (starts.len() as u64 - 1) * BLOCK_HEAD_BYTES as u64;
                self.end(starts.len() as u64 - 1, block_bytes)?;
                return Ok(starts);
            }
            self.skip(BLOCK_HEAD_BYTES - 4 + length as usize)?;
            starts.push(self.offset);
        }
    }

    /// Reads all blocks until one is not as it was written.
    fn first_damage(&mut self) -> Result<(), SnapshotError> {
        for number in 0.. {
            let start = self.offset;
            let length = number_u32(self.take(4)?);
            self.offset = start;
            if length == 0 {
                break;
            }
            self.block(number, &mut |_| Ok(()))?;
        }
        Ok(())
    }

    fn block(
        &mut self,
        number: u64,
        on_block: &mut dyn FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), SnapshotError> {
        let start = self.offset;
        let head = self.take(BLOCK_HEAD_BYTES)?;
        let (length, crc) = (number_u32(head) as usize, number_u32(&head[4..]));
        let block = match self.take(length) {
            Ok(block) => block,
            Err(error) => {
                self.offset = start;
                return Err(match error {
                    SnapshotError::Damaged { what, .. } => self.damaged(what),
                    error => error,
                });
            }
        };
        let is_whole = block_crc(number, block) == crc;
        let read =
            if is_whole { on_block(block) } else { Err("a block's checksum does not match".to_owned()) };
        read.map_err(|what| {
            self.offset = start;
            self.damaged(what)
        })
    }

    /// Checks the end, of which the first four bytes are read.
    fn end(&mut self, blocks: u64, block_bytes: u64) -> Result<(), SnapshotError> {
        let start = self.offset - 4;
        let end = [&[0; 4], self.take(END_BYTES - 4)?].concat();
        let is_all = end == encode_end(blocks, block_bytes) && self.offset == self.length;
        self.offset = start;
        if is_all { Ok(()) } else { Err(self.damaged("its end does not fit to what precedes it")) }
    }

    /// The file's next bytes.
    fn take(&mut self, length: usize) -> Result<&[u8], SnapshotError> {
        self.check_room(length)?;
        self.buffer.clear();
        self.file.read(self.offset, length, &mut self.buffer)?;
        if self.buffer.len() < length {
            return Err(self.damaged("it is cut short"));
        }
        self.offset += length as u64;
        Ok(&self.buffer)
    }

    fn skip(&mut self, length: usize) -> Result<(), SnapshotError> {
        self.check_room(length)?;
        self.offset += length as u64;
        Ok(())
    }

    fn check_room(&self, length: usize) -> Result<(), SnapshotError> {
        if length > BLOCK_BYTES_MAX + BLOCK_HEAD_BYTES || self.length - self.offset < length as u64 {
            return Err(self.damaged("it is cut short, or a length is wrong"));
        }
        Ok(())
    }

    fn damaged(&self, what: impl Into<String>) -> SnapshotError {
        SnapshotError::Damaged { file: self.file.name().to_owned(), offset: self.offset, what: what.into() }
    }
}

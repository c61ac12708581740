//! The bytes of a segment file.
//!
//! ```text
//! file     header | record | record | ...
//! header   "tandemlg" 8 | format 4 | start 8 | crc 4
//! record   magic 4 | length 4 | synced 8 | batch crc 4 | header crc 4 | batch, of that length
//! ```
//!
//! Numbers are little endian; a crc is the CRC-32 of what precedes it in its header. The one of a record's header
//! covers the record's position, too, so that bytes at a wrong place, a copy of a log inside of a value for one, are
//! no record. A record of length 0 is a marker: it holds no batch, only the claim that all before it is durable.

use std::fmt;

use shared::batch::BATCH_BYTES_MAX;

use super::super::disk::{DiskError, DiskFile};

/// A place in the log: how many bytes of records (headers and batches) come before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LogPosition(pub(crate) u64);

impl LogPosition {
    /// Where a record of a batch ends that starts here.
    pub(crate) const fn after_record(self, batch_bytes: usize) -> Self {
        Self(self.0 + (RECORD_HEADER_BYTES + batch_bytes) as u64)
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The bytes of a record that are not its batch.
pub(crate) const RECORD_HEADER_BYTES: usize = 24;

/// The bytes of a segment file before its first record.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 24;

/// The version of the format of segment files that this build writes, and the only one that it reads.
pub(crate) const SEGMENT_FORMAT: u32 = 1;

const SEGMENT_MAGIC: [u8; 8] = *b"tandemlg";
const RECORD_MAGIC: [u8; 4] = *b"\xa5rec";

/// The name of the segment that starts at a position.
pub(crate) fn segment_name(start: LogPosition) -> String {
    format!("log-{:016x}.seg", start.0)
}

/// Whether a file is a segment, and where it starts: `Some(Err(()))` for one that is named like a segment, but wrongly.
pub(crate) fn parse_segment_name(name: &str) -> Option<Result<LogPosition, ()>> {
    let digits = name.strip_prefix("log-")?.strip_suffix(".seg")?;
    let start = u64::from_str_radix(digits, 16).map(LogPosition).map_err(|_| ());
    Some(start.and_then(|start| if segment_name(start) == name { Ok(start) } else { Err(()) }))
}

/// The header of the segment that starts at a position.
pub(crate) fn encode_segment_header(start: LogPosition) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut header = [0; SEGMENT_HEADER_BYTES];
    header[..8].copy_from_slice(&SEGMENT_MAGIC);
    header[8..12].copy_from_slice(&SEGMENT_FORMAT.to_le_bytes());
    header[12..20].copy_from_slice(&start.0.to_le_bytes());
    let crc = crc32fast::hash(&header[..20]);
    header[20..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Why a segment's header is not one that this build reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadSegmentHeader {
    /// It was written by another build.
    Format(u32),
    /// It was damaged, or not written.
    Damaged,
}

/// Reads a segment's header: where the segment starts.
pub(crate) fn decode_segment_header(header: &[u8]) -> Result<LogPosition, BadSegmentHeader> {
    let header: &[u8; SEGMENT_HEADER_BYTES] = header.try_into().map_err(|_| BadSegmentHeader::Damaged)?;
    if crc32fast::hash(&header[..20]) != number_u32(header, 20) || header[..8] != SEGMENT_MAGIC {
        return Err(BadSegmentHeader::Damaged);
    }
    // The format is looked at after the checksum: those parts of the header are for every format to keep.
    match number_u32(header, 8) {
        SEGMENT_FORMAT => Ok(LogPosition(number_u64(header, 12))),
        format => Err(BadSegmentHeader::Format(format)),
    }
}

/// What a record's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    /// The length of its batch in bytes; 0 makes it a marker.
    pub(crate) batch_bytes: usize,
    /// Up to where the log was known to be durable when the record was written: the proof, for recovery, that damage
    /// before it is damage, and not the end of what a crash left.
    pub(crate) synced: LogPosition,
    batch_crc: u32,
}

impl RecordHeader {
    /// The header of the record of a batch, or of a marker if that is empty.
    pub(crate) fn new(synced: LogPosition, batch: &[u8]) -> Self {
        Self { batch_bytes: batch.len(), synced, batch_crc: crc32fast::hash(batch) }
    }

    /// Whether these are the bytes that the record was made of.
    pub(crate) fn matches(&self, batch: &[u8]) -> bool {
        batch.len() == self.batch_bytes && crc32fast::hash(batch) == self.batch_crc
    }

    /// The header's bytes for a record at `position`.
    pub(crate) fn encode(&self, position: LogPosition) -> [u8; RECORD_HEADER_BYTES] {
        let length = u32::try_from(self.batch_bytes).expect("a batch is at most BATCH_BYTES_MAX long");
        let mut header = [0; RECORD_HEADER_BYTES];
        header[..4].copy_from_slice(&RECORD_MAGIC);
        header[4..8].copy_from_slice(&length.to_le_bytes());
        header[8..16].copy_from_slice(&self.synced.0.to_le_bytes());
        header[16..20].copy_from_slice(&self.batch_crc.to_le_bytes());
        let crc = header_crc(position, &header);
        header[20..].copy_from_slice(&crc.to_le_bytes());
        header
    }

    /// Reads the header of a record at `position`, if this is one.
    pub(crate) fn decode(position: LogPosition, header: &[u8]) -> Option<Self> {
        let header: &[u8; RECORD_HEADER_BYTES] = header.try_into().ok()?;
        if header[..4] != RECORD_MAGIC || number_u32(header, 20) != header_crc(position, header) {
            return None;
        }
        let batch_bytes = number_u32(header, 4) as usize;
        let synced = LogPosition(number_u64(header, 8));
        let possible = batch_bytes <= BATCH_BYTES_MAX && synced <= position;
        possible.then_some(Self { batch_bytes, synced, batch_crc: number_u32(header, 16) })
    }
}

fn header_crc(position: LogPosition, header: &[u8; RECORD_HEADER_BYTES]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&position.0.to_le_bytes());
    crc.update(&header[..20]);
    crc.finalize()
}

fn number_u32<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn number_u64<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

/// A segment file being read in large steps.
pub(crate) struct SegmentWindow<F> {
    file: F,
    start: LogPosition,
    read_bytes: usize,
    offset: u64,
    bytes: Vec<u8>,
}

impl<F: DiskFile> SegmentWindow<F> {
    /// Looks at the segment that starts at `start`; each read is of at least `read_bytes`.
    pub(crate) const fn new(file: F, start: LogPosition, read_bytes: usize) -> Self {
        Self { file, start, read_bytes, offset: 0, bytes: Vec::new() }
    }

    /// The file.
    pub(crate) const fn file(&self) -> &F {
        &self.file
    }

    /// Where in the file a position is.
    pub(crate) const fn offset_of(&self, position: LogPosition) -> u64 {
        file_offset(self.start, position)
    }

    /// The file's bytes at `offset`, fewer than `length` only where it ends.
    pub(crate) fn bytes(&mut self, offset: u64, length: usize) -> Result<&[u8], DiskError> {
        if offset < self.offset || offset + length as u64 > self.offset + self.bytes.len() as u64 {
            self.bytes.clear();
            self.offset = offset;
            self.file.read(offset, length.max(self.read_bytes), &mut self.bytes)?;
        }
        let from = usize::try_from(offset - self.offset).expect("it lies inside of the window");
        let length = length.min(self.bytes.len() - from);
        Ok(&self.bytes[from..from + length])
    }

    /// The header of the record at a position, or nothing if there is no valid one.
    pub(crate) fn header(&mut self, position: LogPosition) -> Result<Option<RecordHeader>, DiskError> {
        let offset = self.offset_of(position);
        Ok(RecordHeader::decode(position, self.bytes(offset, RECORD_HEADER_BYTES)?))
    }

    /// The batch of the record at a position, or nothing if it is damaged or cut off.
    pub(crate) fn batch(
        &mut self,
        position: LogPosition,
        header: &RecordHeader,
    ) -> Result<Option<&[u8]>, DiskError> {
        let offset = self.offset_of(position);
        let record = self.bytes(offset, RECORD_HEADER_BYTES + header.batch_bytes)?;
        Ok(record.get(RECORD_HEADER_BYTES..).filter(|batch| header.matches(batch)))
    }
}

/// Where in the file of the segment that starts at `start` a position is.
pub(crate) const fn file_offset(start: LogPosition, position: LogPosition) -> u64 {
    position.0 - start.0 + SEGMENT_HEADER_BYTES as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_valid_at_its_own_position_only() {
        let header = RecordHeader::new(LogPosition(5), b"batch");
        let bytes = header.encode(LogPosition(7));
        assert_eq!(RecordHeader::decode(LogPosition(7), &bytes), Some(header));
        assert_eq!(RecordHeader::decode(LogPosition(8), &bytes), None);
        assert_eq!(RecordHeader::decode(LogPosition(7), &bytes[..23]), None);
    }

    #[test]
    fn a_header_that_claims_the_future_is_none() {
        let bytes = RecordHeader::new(LogPosition(8), b"batch").encode(LogPosition(7));
        assert_eq!(RecordHeader::decode(LogPosition(7), &bytes), None);
    }

    #[test]
    fn the_format_is_pinned() {
        assert_eq!(
            encode_segment_header(LogPosition(0x1234)),
            *b"tandemlg\x01\0\0\0\x34\x12\0\0\0\0\0\0\xe3\xa2\x7c\x8e"
        );
        assert_eq!(
            RecordHeader::new(LogPosition(0x10), b"batch").encode(LogPosition(0x20)),
            *b"\xa5rec\x05\0\0\0\x10\0\0\0\0\0\0\0\xd4\x52\x0b\xf8\x94\x51\xa1\x23"
        );
    }

    #[test]
    fn names_are_parsed_strictly() {
        assert_eq!(segment_name(LogPosition(0xab)), "log-00000000000000ab.seg");
        assert_eq!(parse_segment_name("log-00000000000000ab.seg"), Some(Ok(LogPosition(0xab))));
        assert_eq!(parse_segment_name("log-00000000000000AB.seg"), Some(Err(())));
        assert_eq!(parse_segment_name("log-ab.seg"), Some(Err(())));
        assert_eq!(parse_segment_name("log-00000000000000ab.seg.bak"), None);
        assert_eq!(parse_segment_name("clock"), None);
    }
}

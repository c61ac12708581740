//! The batch: a run of one origin's log, and the unit of log, feed, wire and apply.
//!
//! A node encodes its writes once; everybody else passes the same bytes on. On the wire a batch is the
//! MessagePack array
//!
//! ```text
//! [ format, origin, after, upto, count, crc, payload ]
//! ```
//!
//! where `(after, upto]` is the exact range of the origin's log that the batch covers, `payload` is `count`
//! changes one behind the other, and `crc` is the CRC-32 of all that stands between `format` and it, and of the
//! payload. A batch never splits a transaction; it may be empty, to say that nothing was written in its range.

use std::borrow::Cow;

use rmp::encode::{ValueWriteError, write_array_len, write_bin_len, write_uint};
use rmp_serde::decode::ReadRefReader;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_bytes::Bytes;

use crate::change::{Change, DecodedRecord, Op, Record};
use crate::clock::Timestamp;
use crate::id::Origin;

/// The version of the format of batches and changes that this build writes.
///
/// - 1: the first.
/// - 2: counters have decimal sums.
pub const FORMAT: u8 = 2;

/// The oldest version that it reads, for logs that an earlier build has begun.
pub const FORMAT_MIN: u8 = 1;

/// The largest batch that is decoded, in bytes: a transaction of the largest permitted `max-change`, and room.
pub const BATCH_BYTES_MAX: usize = 272 << 20;

/// Why bytes are no batch. Nothing of it was used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Its author's build is newer or older than this one.
    #[error("batch has format {0}, this build reads {FORMAT_MIN} to {FORMAT}: upgrade the older side")]
    Format(u8),
    /// It was damaged on its way or on disk.
    #[error("batch of origin {0} is damaged: its checksum does not match")]
    Checksum(Origin),
    /// It is not what any build of this program writes.
    #[error("batch is malformed: {0}")]
    Malformed(Cow<'static, str>),
    /// It is longer than [`BATCH_BYTES_MAX`].
    #[error("batch of {0} bytes is over the limit of {BATCH_BYTES_MAX}")]
    TooLarge(usize),
}

#[derive(Deserialize)]
struct Frame<'a>(IgnoredAny, Origin, Timestamp, Timestamp, u32, u32, #[serde(borrow)] &'a Bytes);

/// A batch whose checksum holds. Its changes are decoded as they are read.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// What stands before the payload.
    pub header: BatchHeader,
    payload: &'a [u8],
}

/// What a batch covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Who wrote all of it.
    pub origin: Origin,
    /// The range's start, itself not covered.
    pub after: Timestamp,
    /// The range's end, covered.
    pub upto: Timestamp,
    /// How many changes it holds.
    pub count: u32,
}

impl<'a> Batch<'a> {
    /// Reads a batch and checks its format, checksum and range.
    ///
    /// # Errors
    /// [`BatchError`], each saying what is wrong.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let Frame(_, origin, after, upto, count, crc, payload) = frame(bytes)?;
        let header = BatchHeader { origin, after, upto, count };
        if checksum(&header, payload) != crc {
            return Err(BatchError::Checksum(origin));
        }
        if upto < after || (count > 0 && upto == after) {
            return Err(BatchError::Malformed("its range ends before it starts".into()));
        }
        if origin == Origin::NONE {
            return Err(BatchError::Malformed("it has no origin".into()));
        }
        Ok(Self { header, payload })
    }

    /// Iterates over the changes, each with its transaction's timestamp. Changes of equal timestamp are one
    /// transaction. After an error nothing more comes.
    #[must_use]
    pub fn changes(&self) -> Changes<'a> {
        Changes {
            decoder: rmp_serde::Deserializer::from_read_ref(self.payload),
            left: self.header.count,
            at: self.header.after,
            start: self.header.after,
            upto: self.header.upto,
            key: None,
        }
    }

    /// Decodes every change, to be sure that [`Batch::changes`] will meet no error, and returns the last
    /// transaction's timestamp.
    ///
    /// # Errors
    /// The first that a change gives, or that bytes follow the last.
    pub fn validate(&self) -> Result<Timestamp, BatchError> {
        self.validate_each(|_| {})
    }

    /// As [`Batch::validate`], and shows each change on the way.
    ///
    /// # Errors
    /// As [`Batch::validate`].
    pub fn validate_each(&self, mut look: impl FnMut(&Change<'a>)) -> Result<Timestamp, BatchError> {
        let mut changes = self.changes();
        for change in changes.by_ref() {
            look(&change?.1);
        }
        if !at_end(&mut changes.decoder) {
            return Err(BatchError::Malformed("bytes follow its last change".into()));
        }
        Ok(changes.at)
    }
}

impl BatchHeader {
    /// Reads what a batch covers, without looking at its payload.
    ///
    /// # Errors
    /// As [`Batch::decode`], but for the checksum.
    pub fn peek(bytes: &[u8]) -> Result<Self, BatchError> {
        let Frame(_, origin, after, upto, count, _, _) = frame(bytes)?;
        Ok(Self { origin, after, upto, count })
    }
}

fn frame(bytes: &[u8]) -> Result<Frame<'_>, BatchError> {
    if bytes.len() > BATCH_BYTES_MAX {
        return Err(BatchError::TooLarge(bytes.len()));
    }
    // The format comes first, so that a batch of another format is told from a damaged one.
    match bytes {
        [0x97, FORMAT_MIN..=FORMAT, ..] => {}
        [_, format, ..] if *format < 0x80 && !(FORMAT_MIN..=FORMAT).contains(format) => {
            return Err(BatchError::Format(*format));
        }
        _ => return Err(BatchError::Malformed("not an array of a batch's seven parts".into())),
    }
    let mut decoder = rmp_serde::Deserializer::from_read_ref(bytes);
    let frame = Frame::deserialize(&mut decoder).map_err(malformed)?;
    if !at_end(&mut decoder) {
        return Err(BatchError::Malformed("bytes follow its payload".into()));
    }
    Ok(frame)
}

/// Whether nothing is left to read: then, and only then, the next marker cannot be had.
fn at_end(decoder: &mut rmp_serde::Deserializer<ReadRefReader<'_, [u8]>>) -> bool {
    matches!(IgnoredAny::deserialize(decoder), Err(rmp_serde::decode::Error::InvalidMarkerRead(_)))
}

fn malformed(error: rmp_serde::decode::Error) -> BatchError {
    BatchError::Malformed(error.to_string().into())
}

fn checksum(header: &BatchHeader, payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header.origin.0.to_le_bytes());
    crc.update(&header.after.0.to_le_bytes());
    crc.update(&header.upto.0.to_le_bytes());
    crc.update(&header.count.to_le_bytes());
    crc.update(payload);
    crc.finalize()
}

/// The changes of a batch, in log order. See [`Batch::changes`].
pub struct Changes<'a> {
    decoder: rmp_serde::Deserializer<ReadRefReader<'a, [u8]>>,
    left: u32,
    start: Timestamp,
    at: Timestamp,
    upto: Timestamp,
    key: Option<&'a [u8]>,
}

impl<'a> Changes<'a> {
    fn read(&mut self) -> Result<(Timestamp, Change<'a>), BatchError> {
        let DecodedRecord { delta, db, key, op, replaced } =
            DecodedRecord::deserialize(&mut self.decoder).map_err(malformed)?;
        self.at = self
            .at
            .0
            .checked_add(delta)
            .map(Timestamp)
            .filter(|at| *at > self.start && *at <= self.upto)
            .ok_or_else(|| BatchError::Malformed("a change lies outside the batch's range".into()))?;
        let key = match (key, self.key) {
            (Some(key), _) => key,
            (None, Some(key)) => key,
            (None, None) => return Err(BatchError::Malformed("its first change has no key".into())),
        };
        self.key = Some(key);
        check_versions(&op, self.at)?;
        Ok((self.at, Change { db, key: Cow::Borrowed(key), op, replaced }))
    }
}

/// A version of its own never lies above its transaction: else it would hide writes not yet made.
fn check_versions(op: &Op<'_>, at: Timestamp) -> Result<(), BatchError> {
    let own = match op {
        Op::ObservedReset(version) | Op::ObservedFlush(version) | Op::Mark { reset: version, .. } => {
            version.timestamp
        }
        Op::Count(_, contribution) => contribution.first,
        _ => return Ok(()),
    };
    if own > at {
        return Err(BatchError::Malformed("a change carries a version above its own timestamp".into()));
    }
    Ok(())
}

impl<'a> Iterator for Changes<'a> {
    type Item = Result<(Timestamp, Change<'a>), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let read = self.read();
        if read.is_err() {
            self.left = 0;
        }
        Some(read)
    }
}

/// A batch being filled with transactions of one origin.
#[derive(Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    /// Room for the frame, then the payload: so that a sealed batch is one run of bytes without a copy.
    buffer: Vec<u8>,
}

/// The frame's part before the payload: a marker and a format of a byte each, three 64-bit and two 32-bit numbers
/// with a marker each, and the payload's marker and length.
const FRAME_BYTES_MAX: usize = 2 + 3 * 9 + 2 * 5 + 5;

/// Where the payload begins in the buffer. A large value comes from near the start of a page, and a sealed batch goes to near
/// the start of one: `rep movsb`, with which the C library copies them, takes ten times as long on some processors (AMD
/// Zen) where the target lies up to a few dozen bytes behind the source, whole pages left out.
const ROOM_BYTES: usize = 1 << 10;

const _: () = assert!(FRAME_BYTES_MAX <= ROOM_BYTES);

impl BatchBuilder {
    /// An empty batch of `origin` that begins where its log stands.
    #[must_use]
    pub const fn new(origin: Origin, after: Timestamp) -> Self {
        Self { header: BatchHeader { origin, after, upto: after, count: 0 }, buffer: Vec::new() }
    }

    /// What the batch covers so far.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The size of the changes so far, in bytes.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.buffer.len().saturating_sub(ROOM_BYTES)
    }

    /// Whether no change was appended.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.header.count == 0
    }

    /// Appends a whole transaction, at a timestamp above all before it.
    pub fn append<'c, 'a: 'c>(
        &mut self,
        timestamp: Timestamp,
        changes: impl IntoIterator<Item = &'c Change<'a>>,
    ) {
        assert!(timestamp > self.header.upto, "a log's timestamps increase");
        if self.buffer.is_empty() {
            self.buffer.resize(ROOM_BYTES, 0);
        }
        let mut delta = timestamp.0 - self.header.upto.0;
        let mut before: Option<&Change<'_>> = None;
        for change in changes {
            let same_key = before.is_some_and(|before| before.key == change.key);
            Record { delta, same_key, change }.encode(&mut self.buffer);
            delta = 0;
            self.header.count += 1;
            before = Some(change);
        }
        self.header.upto = timestamp;
    }

    /// Ends the batch, hands its bytes to `take`, and starts the next one behind it, keeping the buffer.
    pub fn seal<T>(&mut self, take: impl FnOnce(&[u8]) -> T) -> (BatchHeader, T) {
        let header = self.header;
        self.buffer.resize(self.buffer.len().max(ROOM_BYTES), 0);
        let (room, payload) = self.buffer.split_at_mut(ROOM_BYTES);
        let frame = encode_frame(&header, payload);
        let start = ROOM_BYTES - frame.len();
        room[start..].copy_from_slice(&frame);
        let taken = take(&self.buffer[start..]);
        self.buffer.truncate(ROOM_BYTES);
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
        self.header = BatchHeader { after: header.upto, count: 0, ..header };
        (header, taken)
    }
}

/// A builder's buffer is given back to the allocator when one large transaction has made it larger than this.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// Encodes the frame up to where the payload's bytes begin.
fn encode_frame(header: &BatchHeader, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_BYTES_MAX);
    write_frame(&mut frame, header, payload).expect("a vector takes every byte");
    frame
}

fn write_frame(frame: &mut Vec<u8>, header: &BatchHeader, payload: &[u8]) -> Result<(), ValueWriteError> {
    write_array_len(frame, 7)?;
    write_uint(frame, FORMAT.into())?;
    write_uint(frame, header.origin.0)?;
    write_uint(frame, header.after.0)?;
    write_uint(frame, header.upto.0)?;
    write_uint(frame, header.count.into())?;
    write_uint(frame, checksum(header, payload).into())?;
    let length = u32::try_from(payload.len()).expect("a batch is bounded far below 4 GiB");
    write_bin_len(frame, length).map(drop)
}

/// An empty batch: `origin` wrote nothing in the range.
#[must_use]
pub fn empty_batch(origin: Origin, after: Timestamp, upto: Timestamp) -> Vec<u8> {
    encode_frame(&BatchHeader { origin, after, upto, count: 0 }, &[])
}

#[cfg(test)]
mod tests;

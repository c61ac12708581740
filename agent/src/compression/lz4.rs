//! LZ4 blocks that refer to those before them, each with its length before it.
//!
//! They are written by the library's writer of frames, without the frame's head, and read block by block: so a peer chooses
//! neither the blocks' size nor the memory that they take.

use std::io::{self, Write};

use lz4_flex::block::decompress_into_with_dict;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::DecompressError;

/// How far back a block may refer, and what one holds at most, in bytes.
const WINDOW_BYTES: usize = 64 << 10;

/// So much of the stream is kept before all but the window is dropped, in bytes: moving it costs little then.
const HISTORY_BYTES_MAX: usize = 4 * WINDOW_BYTES;

/// What the library writes before the first block: the frame's magic number, two bytes of flags, and a checksum.
const FRAME_HEAD_BYTES: usize = 7;

/// Of the four bytes before a block: it is stored as it is. The rest is its length.
const STORED: u32 = 1 << 31;

pub(super) struct Compressor {
    encoder: FrameEncoder<Vec<u8>>,
    /// How much of what the encoder writes next is no block.
    head_bytes: usize,
}

impl Default for Compressor {
    fn default() -> Self {
        let info = FrameInfo::new().block_mode(BlockMode::Linked).block_size(BlockSize::Max64KB);
        Self { encoder: FrameEncoder::with_frame_info(info, Vec::new()), head_bytes: FRAME_HEAD_BYTES }
    }
}

impl Compressor {
    /// Appends what becomes of the message.
    pub(super) fn compress(&mut self, message: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.encoder.write_all(message)?;
        self.encoder.flush()?;
        let written = self.encoder.get_mut();
        out.extend_from_slice(&written[std::mem::take(&mut self.head_bytes)..]);
        written.clear();
        Ok(())
    }
}

/// The end of what was read so far, to which blocks refer.
#[derive(Default)]
pub(super) struct Decompressor {
    history: Vec<u8>,
}

impl Decompressor {
    /// Up to `length` bytes.
    pub(super) fn decompress(&mut self, bytes: &[u8], length: usize) -> Result<Vec<u8>, DecompressError> {
        if self.history.len() > HISTORY_BYTES_MAX {
            self.history.drain(..self.history.len() - WINDOW_BYTES);
            self.history.shrink_to(HISTORY_BYTES_MAX);
        }
        let (start, mut left) = (self.history.len(), bytes);
        while !left.is_empty() {
            let (head, block, rest) = split_block(left).ok_or_else(|| damaged("it ends within a block"))?;
            let room = length - (self.history.len() - start);
            if room == 0 {
                return Err(DecompressError::TooLong(length));
            }
            self.read_block(block, head & STORED != 0, room)?;
            left = rest;
        }
        Ok(self.history[start..].to_vec())
    }

    fn read_block(&mut self, block: &[u8], is_stored: bool, room: usize) -> Result<(), DecompressError> {
        let (start, room) = (self.history.len(), room.min(WINDOW_BYTES));
        if is_stored {
            if block.len() > room {
                return Err(damaged("a block is too long"));
            }
            self.history.extend_from_slice(block);
            return Ok(());
        }
        self.history.resize(start + room, 0);
        let (before, out) = self.history.split_at_mut(start);
        let window = &before[start.saturating_sub(WINDOW_BYTES)..];
        let written =
            decompress_into_with_dict(block, out, window).map_err(|error| damaged(&error.to_string()))?;
        self.history.truncate(start + written);
        Ok(())
    }
}

/// The first block, with the four bytes before it as a number, and what follows.
fn split_block(bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk()?;
    let head = u32::from_le_bytes(*head);
    let (block, rest) = rest.split_at_checked((head & !STORED) as usize)?;
    Some((head, block, rest))
}

fn damaged(what: &str) -> DecompressError {
    DecompressError::Damaged("lz4", what.to_owned())
}

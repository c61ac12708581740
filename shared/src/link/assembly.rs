//! Puts the chunks of a batch together.

use super::BatchBytes;
use super::message::Chunk;
use crate::batch::BATCH_BYTES_MAX;

/// The batch whose chunks are coming in; at most [`BATCH_BYTES_MAX`] bytes.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    bytes: Option<Vec<u8>>,
}

/// Chunks are out of order, or too many.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Disorder;

impl Assembly {
    /// Adds a chunk, which lies within `message`, and returns the batch if it was the last.
    pub(super) fn add(&mut self, chunk: Chunk<'_>, message: &[u8]) -> Result<Option<BatchBytes>, Disorder> {
        if chunk.first != self.bytes.is_none() {
            return Err(Disorder);
        }
        if chunk.first && chunk.last {
            // A chunk's bytes are the end of its message.
            let start = message.len() - chunk.bytes.len();
            return Ok(Some(BatchBytes::InMessage(start..message.len())));
        }
        let bytes = self.bytes.get_or_insert_default();
        if bytes.len() + chunk.bytes.len() > BATCH_BYTES_MAX {
            return Err(Disorder);
        }
        bytes.extend_from_slice(chunk.bytes);
        Ok(if chunk.last { self.bytes.take().map(BatchBytes::Assembled) } else { None })
    }
}

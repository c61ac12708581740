//! The change of a block, carried out where the block lies.

use std::ops::Range;

use super::{Block, Bytes, ORIGIN_BYTES};

/// What becomes of a block when one of its cells does: other bytes in one place.
#[derive(Debug, Default)]
pub(crate) struct Patch {
    pub(super) place: Range<usize>,
    pub(super) bytes: Bytes,
    /// What stands before the cells, if that changes.
    pub(super) head: Option<Box<[u8]>>,
}

impl Patch {
    /// How many bytes the block has with it.
    pub(crate) fn length_of(&self, block: Block<'_>) -> usize {
        let head = self.head.as_ref().map_or_else(|| block.head_length(), |head| head.len());
        head + block.cells.len() - self.place.len() + self.bytes.len()
    }

    /// How many origins the block names with it, if more than before.
    pub(crate) fn origins(&self) -> usize {
        self.head.as_ref().map_or(0, |head| Block::new(head).origins.len() / ORIGIN_BYTES)
    }

    /// Changes the block that begins at `start`, and reaches to the end of `bytes`.
    pub(crate) fn apply(&self, bytes: &mut Vec<u8>, start: usize) {
        let cells = bytes.len() - Block::new(&bytes[start..]).cells.len();
        put_in_place(bytes, cells + self.place.start..cells + self.place.end, &self.bytes);
        if let Some(head) = &self.head {
            put_in_place(bytes, start..cells, head);
        }
    }
}

/// Puts bytes in the place of others. Takes no more memory than is needed.
fn put_in_place(bytes: &mut Vec<u8>, place: Range<usize>, new: &[u8]) {
    let (old_length, behind) = (bytes.len(), place.start + new.len());
    let length = old_length - place.len() + new.len();
    if length > old_length {
        bytes.reserve_exact(length - old_length);
        bytes.resize(length, 0);
    }
    bytes.copy_within(place.end..old_length, behind);
    bytes.truncate(length);
    bytes[place.start..behind].copy_from_slice(new);
}

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
    pub(crate) fn apply(&self, to: &mut impl Splice, start: usize) {
        let bytes = to.bytes();
        let cells = bytes.len() - Block::new(&bytes[start..]).cells.len();
        to.splice(cells + self.place.start..cells + self.place.end, &self.bytes);
        if let Some(head) = &self.head {
            to.splice(start..cells, head);
        }
    }
}

/// Bytes of which some can be put in the place of others, in no more memory than is needed.
pub(crate) trait Splice {
    fn bytes(&self) -> &[u8];

    fn splice(&mut self, place: Range<usize>, new: &[u8]);
}

impl Splice for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn splice(&mut self, place: Range<usize>, new: &[u8]) {
        let (old_length, behind) = (self.len(), place.start + new.len());
        let length = old_length - place.len() + new.len();
        if length > old_length {
            self.reserve_exact(length - old_length);
            self.resize(length, 0);
        }
        self.copy_within(place.end..old_length, behind);
        self.truncate(length);
        self[place.start..behind].copy_from_slice(new);
    }
}

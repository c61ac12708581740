//! What stands before a block's cells: the origins that they name, and what their names leave out.

use shared::change::CellId;
use shared::id::Origin;
use shared::version::Version;
use smallvec::SmallVec;

use super::bytes::put_varint;
use super::name::Name;
use super::written::Written;
use super::{Block, BlockCell, Bytes, ORIGIN_BYTES};
use crate::store::rich::Cell;

/// What stands before a block's cells, with what is added to it.
#[derive(Default)]
pub(super) struct Head<'h> {
    /// The origins that cells name, and further ones.
    pub(super) origins: &'h [u8],
    pub(super) added: SmallVec<[Origin; 2]>,
    pub(super) base: &'h [u8],
}

impl<'h> Head<'h> {
    pub(super) fn of(block: Block<'h>) -> Self {
        Self { origins: block.origins, added: SmallVec::new(), base: block.base }
    }

    /// The origin's number. A node knows fewer origins than there are numbers.
    pub(super) fn number(&mut self, origin: Origin) -> u16 {
        let (known, _) = self.origins.as_chunks::<ORIGIN_BYTES>();
        let place = known.iter().position(|known| u64::from_le_bytes(*known) == origin.0);
        let place = place.or_else(|| {
            let added = self.added.iter().position(|added| *added == origin)?;
            Some(known.len() + added)
        });
        let number = place.unwrap_or_else(|| {
            self.added.push(origin);
            known.len() + self.added.len() - 1
        });
        number as u16
    }

    pub(super) fn cell<'c>(&mut self, id: &'c CellId<'_>, cell: &'c Cell<'_>, sums: &'c [u8]) -> BlockCell<'c>
    where
        'h: 'c,
    {
        let (version, written) = match &cell.base {
            None => (Version::ZERO, Written::Nothing),
            Some((version, value)) => (*version, Written::of(value.as_ref())),
        };
        let origin_number = if cell.base.is_some() { self.number(version.origin) } else { 0 };
        BlockCell {
            kind: id.kind,
            name: Name::of(id, cell.base.as_ref().map(|(version, _)| *version), self.base),
            timestamp: version.timestamp.0,
            origin_number,
            origin: version.origin,
            written,
            sums,
        }
    }

    /// The bytes of a block with these cells, behind `prefix`.
    pub(super) fn block(&self, prefix: &[u8], cells: &[u8]) -> Vec<u8> {
        let count = self.origins.len() / ORIGIN_BYTES + self.added.len();
        let mut lead = Bytes::new();
        put_varint(&mut lead, (count as u64) << 1 | u64::from(!self.base.is_empty()));
        let length = lead.len() + ORIGIN_BYTES * count + 1 + self.base.len() + cells.len();
        let mut bytes = Vec::with_capacity(prefix.len() + length);
        bytes.extend_from_slice(prefix);
        bytes.extend_from_slice(&lead);
        bytes.extend_from_slice(self.origins);
        self.added.iter().for_each(|origin| bytes.extend_from_slice(&origin.0.to_le_bytes()));
        if !self.base.is_empty() {
            bytes.push(self.base.len() as u8);
            bytes.extend_from_slice(self.base);
        }
        bytes.extend_from_slice(cells);
        bytes
    }
}

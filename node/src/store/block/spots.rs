//! The cells of a block, read one after the other.

use shared::change::Kind;
use shared::id::Origin;

use super::bytes::Reader;
use super::name::{FORM_BITS, Name};
use super::written::{BYTES, Written};
use super::{Block, BlockCell, Context, FULL, HAS_SUMS, Spot};

/// The cells of a block.
pub(crate) struct Cells<'b>(pub(super) Spots<'b>);

impl<'b> Iterator for Cells<'b> {
    type Item = BlockCell<'b>;

    #[inline]
    fn next(&mut self) -> Option<BlockCell<'b>> {
        let part = self.0.part()?;
        let (cell, end) = self.0.cell(&part);
        (self.0.at, self.0.before) = (end, part.context);
        Some(cell)
    }
}

impl Cells<'_> {
    /// Hands on the values of the next live cells, so many of them.
    pub(crate) fn each_value(&mut self, count: usize, mut see: impl FnMut(&[u8])) {
        let (spots, mut left) = (&mut self.0, count);
        while left > 0
            && let Some(part) = spots.part()
        {
            let end = match part.short {
                // As most are: so all else of the cell need not be put together.
                Some(length) if part.context.tag & HAS_SUMS == 0 => {
                    let mut reader = Reader::new(spots.block.cells, part.value_at);
                    see(reader.take(length));
                    left -= 1;
                    reader.at()
                }
                _ => {
                    let (cell, end) = spots.cell(&part);
                    if cell.is_live() {
                        see(&cell.text(&spots.block).unwrap_or_default());
                        left -= 1;
                    }
                    end
                }
            };
            (spots.at, spots.before) = (end, part.context);
        }
    }
}

/// The cells of a block with where they are.
pub(super) struct Spots<'b> {
    pub(super) block: Block<'b>,
    pub(super) at: usize,
    pub(super) before: Context,
}

/// A cell, read up to its value.
pub(super) struct Part<'b> {
    pub(super) name: Name<'b>,
    /// What the one behind it leaves out.
    pub(super) context: Context,
    value_at: usize,
    /// Of how many bytes the value is, if its length does not stand before it.
    short: Option<usize>,
}

// A block is searched from its start: this is nearly all that takes.
impl<'b> Spots<'b> {
    /// Reads the next cell up to its value.
    #[inline(always)]
    pub(super) fn part(&self) -> Option<Part<'b>> {
        let mut reader = Reader::new(self.block.cells, self.at);
        if reader.is_at_end() {
            return None;
        }
        let mut context = self.before;
        let head = reader.byte();
        match head >> FORM_BITS {
            0 => {}
            FULL => {
                context = context.tagged(reader.byte());
                if context.written() == Written::Nothing.code() {
                    (context.timestamp, context.origin) = (0, 0);
                } else {
                    context.timestamp = context.timestamp.wrapping_add(reader.signed() as u64);
                    context.origin = reader.varint() as u16;
                }
            }
            length => {
                let later = reader.int(usize::from(length));
                context.timestamp = context.timestamp.wrapping_add(later as u64);
            }
        }
        let (name, short) = if context.kind() == Kind::List {
            Name::read_pushed(head, &mut context.name, &mut reader)
        } else {
            (Name::read(head, &mut context.name, self.block.base, &mut reader), None)
        };
        Some(Part { name, context, value_at: reader.at(), short })
    }

    /// Goes on behind a cell.
    #[inline(always)]
    pub(super) fn pass(&mut self, part: Part<'b>) {
        let mut reader = Reader::new(self.block.cells, part.value_at);
        match part.short {
            Some(length) => reader.pass(length),
            None => Written::skip(part.context.written(), &mut reader),
        }
        if part.context.tag & HAS_SUMS != 0 {
            let length = reader.varint() as usize;
            reader.pass(length);
        }
        (self.at, self.before) = (reader.at(), part.context);
    }

    /// The whole of a cell, and where it ends.
    #[inline(always)]
    pub(super) fn cell(&self, part: &Part<'b>) -> (BlockCell<'b>, usize) {
        let mut reader = Reader::new(self.block.cells, part.value_at);
        let context = &part.context;
        let written = match part.short {
            Some(length) => Written::Bytes(reader.take(length)),
            None => Written::read(context.written(), &mut reader),
        };
        let sums: &[u8] = if context.tag & HAS_SUMS == 0 {
            &[]
        } else {
            let length = reader.varint() as usize;
            reader.take(length)
        };
        let origin =
            if written == Written::Nothing { Origin::NONE } else { self.block.origin(context.origin) };
        let cell = BlockCell {
            kind: context.kind(),
            name: part.name,
            timestamp: context.timestamp,
            origin_number: context.origin,
            origin,
            written,
            sums,
        };
        (cell, reader.at())
    }

    /// As [`Spots::cell`], with where it is.
    pub(super) fn spot(&self, part: &Part<'b>) -> Spot<'b> {
        let (cell, end) = self.cell(part);
        Spot { cell, place: self.at..end, before: self.before, after: part.context }
    }

    /// A member's score.
    #[inline(always)]
    pub(super) fn score(&self, part: &Part<'b>) -> Option<f64> {
        let (code, tag) = (part.context.written(), part.context.tag);
        if tag & HAS_SUMS != 0 || code == BYTES {
            return self.cell(part).0.score(&self.block);
        }
        match Written::read(code, &mut Reader::new(self.block.cells, part.value_at)) {
            Written::Nothing | Written::Removed => None,
            Written::Float(float) => Some(float),
            Written::WholeFloat(whole) => Some(whole as f64),
            Written::Empty | Written::Bytes(_) | Written::Int(_) => Some(0.0),
        }
    }
}

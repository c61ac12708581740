//! The cells of a packed key: of one kind, and few.
//!
//! ```text
//! cells = digest 8, live 1, tombstones 1, kind 1, block
//! ```

use std::ops::Range;

use shared::change::{CellId, Kind, Op, Value};
use shared::clock::Timestamp;
use shared::version::Version;

use super::{FLAGS_AT, HAS_CELLS, Packed, TOMBSTONE, Tail};
use crate::store::block::{self, Block, BlockCell, Patch, Seat, Splice};
use crate::store::branch::{Branch, took};
use crate::store::dead::Dead;
use crate::store::origins::{OriginIndex, Origins};
use crate::store::rich::{Cell, OwnContribution, RichKey, Source, Tally};

const HEADER_BYTES: usize = 11;

/// A dead cell is said to take so many bytes.
const DEAD_BYTES: usize = 32;

/// A large key is packed when it has become so small by that much, so that it does not go back and forth.
const SLACK: usize = 2;

/// What the cells come to.
#[derive(Clone, Copy, Debug)]
pub(super) struct CellsHeader {
    digest: u64,
    live: u8,
    dead: u8,
    kind: Kind,
}

impl CellsHeader {
    #[inline(always)]
    pub(super) fn split(cells: &[u8]) -> (Self, PackedCells<'_>) {
        let (header, block) = cells.split_at(HEADER_BYTES);
        let digest = header[..8].try_into().expect("the slice is as long as the array");
        let (live, dead, kind) = (header[8], header[9], Kind::ALL[usize::from(header[10])]);
        let header = Self { digest: u64::from_le_bytes(digest), live, dead, kind };
        (header, PackedCells { header, block: Block::new(block) })
    }

    pub(super) fn kind(self) -> Option<Kind> {
        (self.live > 0).then_some(self.kind)
    }

    fn bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&self.digest.to_le_bytes());
        bytes[8..].copy_from_slice(&[self.live, self.dead, self.kind as u8]);
        bytes
    }

    fn of(tally: &Tally, kind: Kind) -> Self {
        let (live, dead) = (tally.live[kind as usize], tally.dead.things);
        Self { digest: tally.digest, live: live as u8, dead: dead as u8, kind }
    }

    fn count(self) -> usize {
        usize::from(self.live) + usize::from(self.dead)
    }

    /// With a cell that has become another.
    fn changed(self, before: &Tally, after: &Tally) -> Self {
        let kind = self.kind as usize;
        Self {
            digest: self.digest ^ before.digest ^ after.digest,
            live: self.live + after.live[kind] as u8 - before.live[kind] as u8,
            dead: self.dead + after.dead.things as u8 - before.dead.things as u8,
            kind: self.kind,
        }
    }

    /// With a cell of a block changed, if `change` says that it has changed it; none if it cannot be packed then.
    fn with_cell<'c>(
        self,
        block: Block<'c>,
        seat: &Seat<'c>,
        id: &CellId<'_>,
        change: impl FnOnce(&mut Cell<'c>) -> bool,
    ) -> Option<Option<Changed>> {
        let held = seat.held();
        let mut cell = held.map_or_else(Cell::default, |held| held.cell(&block));
        let before = held.map_or_else(Tally::default, |_| Tally::of(id, &cell, None));
        if !change(&mut cell) {
            return Some(None);
        }
        if held.is_none() && self.count() == block::CELLS_MAX {
            return None;
        }
        let left = (!cell.is_empty()).then_some(&cell);
        let after = left.map_or_else(Tally::default, |cell| Tally::of(id, cell, None));
        let header = self.changed(&before, &after);
        let patch = block.with(seat, id, left);
        if patch.length_of(block) > block::BYTES_MAX && header.count() > 1 {
            return None;
        }
        Some(Some(Changed { header, patch }))
    }
}

/// What becomes of the cells when one of them does.
struct Changed {
    header: CellsHeader,
    patch: Patch,
}

/// What became of an element that a client writes.
pub(crate) enum Put {
    /// The key holds no packed collection of its kind that clients see: nothing was asked.
    Elsewhere,
    /// It is not wanted.
    Declined,
    /// It is wanted, but makes the collection too large to be packed.
    Unpacked,
    /// It was written.
    Done(CellChange),
}

/// What a change of one cell of a live key comes to.
#[derive(Clone, Copy)]
pub(crate) struct CellChange {
    /// The XOR of the parts of the key's digest, apart from its TTL's.
    pub(crate) before: u64,
    pub(crate) after: u64,
    /// What is no longer dead.
    pub(crate) revived: Dead,
}

fn borrowed<'v>(value: &'v Value<'_>) -> Value<'v> {
    match value {
        Value::Bytes(bytes) => Value::Bytes(bytes[..].into()),
        Value::Float(float) => Value::Float(*float),
    }
}

const _: () = assert!(block::CELLS_MAX < u8::MAX as usize, "cells are counted in a byte");

/// The cells of a packed key, and what they come to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackedCells<'p> {
    header: CellsHeader,
    pub(crate) block: Block<'p>,
}

impl<'p> PackedCells<'p> {
    /// How many are live.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.header.live)
    }

    /// The XOR of the parts of the key's digest.
    pub(crate) fn digest(&self) -> u64 {
        self.header.digest
    }

    pub(super) fn dead(&self) -> Dead {
        let things = usize::from(self.header.dead);
        Dead { things, bytes: things * DEAD_BYTES }
    }

    /// The newest timestamp in them.
    pub(crate) fn newest(&self) -> Timestamp {
        let cells = self.block.iter().map(|cell| cell.cell(&self.block).newest());
        cells.fold(Timestamp::ZERO, Timestamp::max)
    }

    pub(crate) fn get(&self, id: &CellId<'_>) -> Option<BlockCell<'p>> {
        if id.kind == self.header.kind { self.block.find(id) } else { None }
    }

    /// All of them, with their ids.
    pub(crate) fn iter(self) -> impl Iterator<Item = (CellId<'p>, Cell<'p>)> {
        self.block.iter().map(move |cell| (cell.id(), cell.cell(&self.block)))
    }

    pub(super) fn owned_cells(self) -> Vec<(CellId<'static>, Cell<'static>)> {
        let owned = |id: CellId<'_>| CellId { kind: id.kind, element: id.element.into_owned().into() };
        self.iter().map(|(id, cell)| (owned(id), cell.into_owned())).collect()
    }
}

/// The cells of a key, if there are so few that they can be packed.
pub(super) fn of_rich(rich: &RichKey) -> Option<Vec<u8>> {
    let tally = rich.tally();
    // Asked after each change of a large key: of one with many cells or long ones nothing else is looked at.
    if tally.count() > block::CELLS_MAX / SLACK || rich.cells.memory() > block::BYTES_MAX {
        return None;
    }
    let kind = rich.cells.iter().next()?.0.kind;
    if rich.cells.iter().any(|(id, _)| id.kind != kind) {
        return None;
    }
    let cells = rich.cells.iter();
    let bytes = Block::of(cells, &CellsHeader::of(&tally, kind).bytes());
    (bytes.len() <= block::BYTES_MAX / SLACK).then_some(bytes)
}

impl Packed {
    /// The cells, if it holds any.
    #[inline(always)]
    pub(crate) fn cells(&self) -> Option<PackedCells<'_>> {
        match self.tail() {
            Tail::Cells(cells) => Some(CellsHeader::split(cells).1),
            Tail::Nothing | Tail::Entry(_) | Tail::Value(_) | Tail::Count(_) => None,
        }
    }

    /// Merges a change of one cell; none if that needs the key as a whole.
    pub(super) fn merge_cell(
        &mut self,
        op: &Op<'_>,
        at: Version,
        index: OriginIndex,
        source: Source,
        origins: &Origins,
    ) -> Option<bool> {
        let reset = self.version(origins);
        let change = match op {
            Op::Cell(id, value) => {
                if at < reset {
                    took(Branch::CellBelowReset);
                    return Some(false);
                }
                let score = match value {
                    Some(Value::Float(score)) => Some(*score),
                    _ => None,
                };
                self.with_cell(id, score, |cell| cell.write(at, value.as_ref().map(borrowed), source))?
            }
            Op::Count(id, contribution) => {
                let (origin, own) = OwnContribution::of(*contribution, at);
                if Version::new(own.first, origin) < reset {
                    took(Branch::SumBelowReset);
                    return Some(false);
                }
                if origin == at.origin
                    && let Some(changed) = self.merge_count(id, &own, (origin, index), source)
                {
                    return Some(changed);
                }
                self.with_cell(id, None, |cell| cell.add(origin, own, source))?
            }
            _ => return None,
        };
        Some(self.take_in(change))
    }

    /// Drops the tombstone of a cell.
    pub(crate) fn drop_tombstone(&mut self, id: &CellId<'_>) {
        // What has fewer cells can be packed all the same.
        if let Some(change) =
            self.with_cell(id, None, |cell| cell.is_tombstone() && cell.base.take().is_some())
        {
            self.take_in(change);
        }
    }

    /// What its bytes become with a cell changed, if `change` says that it has changed it; none if it cannot be packed then.
    /// `score` is what the cell may come to, if it is a sorted set's.
    fn with_cell<'c>(
        &'c self,
        id: &CellId<'_>,
        score: Option<f64>,
        change: impl FnOnce(&mut Cell<'c>) -> bool,
    ) -> Option<Option<Changed>> {
        let (header, block) = match self.tail() {
            Tail::Nothing => {
                (CellsHeader { digest: 0, live: 0, dead: 0, kind: id.kind }, Block::new(block::EMPTY))
            }
            Tail::Cells(cells) => {
                let (header, cells) = CellsHeader::split(cells);
                (header, cells.block)
            }
            Tail::Entry(_) | Tail::Value(_) | Tail::Count(_) => return None,
        };
        if header.kind != id.kind {
            return None;
        }
        header.with_cell(block, &block.seat(id, score), id, change)
    }

    /// Writes an element of a packed collection that clients see, if `decide` wants it, told the score of what is there,
    /// which is zero if it has none. What is written is the newest there is.
    pub(crate) fn put(
        &mut self,
        id: &CellId<'_>,
        value: &Value<'_>,
        at: Version,
        decide: &mut dyn FnMut(Option<f64>) -> bool,
    ) -> Put {
        let Tail::Cells(cells) = self.tail() else { return Put::Elsewhere };
        let (header, PackedCells { block, .. }) = CellsHeader::split(cells);
        if header.kind != id.kind || header.live == 0 {
            return Put::Elsewhere;
        }
        let score = if let Value::Float(score) = value { Some(*score) } else { None };
        let seat = block.seat(id, score);
        let held = seat.held().filter(BlockCell::is_live);
        if !decide(held.map(|held| held.score(&block).unwrap_or_default())) {
            return Put::Declined;
        }
        let change =
            header.with_cell(block, &seat, id, |cell| cell.write(at, Some(borrowed(value)), Source::Local));
        let Some(Some(change)) = change else { return Put::Unpacked };
        let new = &change.header;
        let things = usize::from(header.dead - new.dead);
        let revived = Dead { things, bytes: things * DEAD_BYTES };
        let told = CellChange { before: header.digest, after: new.digest, revived };
        self.take_in(Some(change));
        Put::Done(told)
    }

    /// Returns whether there was anything to take in.
    fn take_in(&mut self, change: Option<Changed>) -> bool {
        let Some(Changed { header, patch }) = change else { return false };
        let (start, end) = (self.value_start(), self.bytes().len());
        let left = if header.count() == 0 { TOMBSTONE } else { HAS_CELLS };
        let flags = &mut self.bytes_mut()[FLAGS_AT];
        *flags = *flags & !(TOMBSTONE | HAS_CELLS) | left;
        let cells = start + HEADER_BYTES;
        if header.count() == 0 {
            self.splice(start..end, &[]);
        } else if start == end {
            let mut new = Vec::with_capacity(HEADER_BYTES + patch.length_of(Block::new(block::EMPTY)));
            new.extend_from_slice(&header.bytes());
            new.extend_from_slice(block::EMPTY);
            patch.apply(&mut new, HEADER_BYTES);
            self.splice(start..end, &new);
        } else {
            self.bytes_mut()[start..cells].copy_from_slice(&header.bytes());
            patch.apply(self, cells);
        }
        true
    }
}

impl Splice for Packed {
    fn bytes(&self) -> &[u8] {
        self.bytes()
    }

    fn splice(&mut self, place: Range<usize>, new: &[u8]) {
        self.splice(place, new);
    }
}

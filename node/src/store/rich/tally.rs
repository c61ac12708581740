//! What a key's cells come to: kept up to date cell by cell, so that a write to a large key costs what its cell does.

use shared::change::{CellId, Kind, Value};

use super::cell::Cell;
use super::{Mark, scores};
use crate::store::dead::Dead;
use crate::store::digest;

/// What a dead cell takes beside its name, about: its place in a tree, and its version.
const DEAD_BYTES: usize = 64;

/// What a cell takes beside its name and value, about: tag, version and lengths, and the room that its run has left.
const CELL_BYTES: usize = 8;

/// What each contribution to a cell takes, about.
const CONTRIBUTION_BYTES: usize = 32;

/// What cells come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Cells that are live, by kind.
    pub(crate) live: [usize; Kind::COUNT],
    /// Tombstones, and the bytes of what a mark hides.
    pub(crate) dead: Dead,
    /// The XOR of the parts of the key's digest.
    pub(crate) digest: u64,
    /// About how many bytes they take: how they lie side by side decides that, and changes with what comes beside them.
    pub(super) bytes: usize,
    /// The bytes that the order of a sorted set's members takes, if there is one.
    pub(super) ranked_bytes: usize,
}

impl Tally {
    pub(in crate::store) fn of(id: &CellId<'_>, cell: &Cell<'_>, mark: Option<Mark>) -> Self {
        let (base, sums) = cell.live(mark);
        let written = base.map_or(0, |_| digest::cell(id.kind, &id.element, cell.base_version()));
        let (count, added) = sums.fold((0, 0), |(count, added), (contributor, own)| {
            (count + 1, added ^ digest::contribution(id.kind, &id.element, contributor, own))
        });
        let live = base.is_some() || count > 0;
        let bytes = if live { 0 } else { DEAD_BYTES + id.element.len() };
        let dead = Dead { things: usize::from(cell.is_tombstone()), bytes };
        let is_ranked = live && id.kind == Kind::SortedSet;
        let ranked_bytes = if is_ranked { scores::bytes_of(&id.element) } else { 0 };
        let digest = written ^ added;
        let mut tally =
            Self { live: [0; Kind::COUNT], dead, digest, bytes: bytes_of(id, cell), ranked_bytes };
        tally.live[id.kind as usize] = usize::from(live);
        tally
    }

    /// The highest kind that has a live cell.
    pub(crate) fn kind(&self) -> Option<Kind> {
        Kind::ALL.into_iter().rev().find(|kind| self.live[*kind as usize] > 0)
    }

    /// How many cells there are, but for those that a mark hides.
    pub(crate) fn count(&self) -> usize {
        self.live.iter().sum::<usize>() + self.dead.things
    }

    pub(super) fn add(&mut self, other: Self) {
        self.live.iter_mut().zip(other.live).for_each(|(live, other)| *live += other);
        self.dead.add(other.dead);
        self.digest ^= other.digest;
        self.bytes += other.bytes;
        self.ranked_bytes += other.ranked_bytes;
    }

    pub(super) fn subtract(&mut self, other: Self) {
        self.live.iter_mut().zip(other.live).for_each(|(live, other)| *live -= other);
        self.dead.subtract(other.dead);
        self.digest ^= other.digest;
        self.bytes -= other.bytes;
        self.ranked_bytes -= other.ranked_bytes;
    }
}

/// What a cell takes in a run, about. A list's elements are named by their places, which follow each other.
fn bytes_of(id: &CellId<'_>, cell: &Cell<'_>) -> usize {
    let name = if id.kind == Kind::List { 0 } else { id.element.len() };
    let value = match &cell.base {
        Some((_, Some(Value::Bytes(bytes)))) => bytes.len(),
        Some((_, Some(Value::Float(_)))) => size_of::<f64>(),
        _ => 0,
    };
    CELL_BYTES + name + value + cell.contributions.len() * CONTRIBUTION_BYTES
}

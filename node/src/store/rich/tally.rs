//! What a key's cells come to: kept up to date cell by cell, so that a write to a large key costs what its cell does.

use shared::change::{CellId, Kind, Value};

use super::cell::Cell;
use super::run::Run;
use super::{Mark, scores};
use crate::store::account::allocated;
use crate::store::dead::Dead;
use crate::store::digest;

/// What a list's element takes beside its value, about: tag, version and lengths, and the room that its run has left.
const ELEMENT_BYTES: usize = 8;

/// What it takes beside its name where that is not told by the one before it: as it is removed, for one.
const NAMED_ELEMENT_BYTES: usize = 16;

/// What a cell in a run of its own takes there beside its name and value, about: origin, tag, version and lengths.
const SINGLE_BYTES: usize = 24;

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
        let bytes = bytes_of(id, cell);
        let dead = Dead { things: usize::from(cell.is_tombstone()), bytes: if live { 0 } else { bytes } };
        let is_ranked = live && id.kind == Kind::SortedSet;
        let ranked_bytes = if is_ranked { scores::bytes_of(&id.element) } else { 0 };
        let digest = written ^ added;
        let mut tally = Self { live: [0; Kind::COUNT], dead, digest, bytes, ranked_bytes };
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

/// What a cell takes with its run, about.
fn bytes_of(id: &CellId<'_>, cell: &Cell<'_>) -> usize {
    let value = match &cell.base {
        Some((_, Some(Value::Bytes(bytes)))) => bytes.len(),
        Some((_, Some(Value::Float(_)))) => size_of::<f64>(),
        _ => 0,
    };
    let value = value + cell.contributions.len() * CONTRIBUTION_BYTES;
    match (id.kind, &cell.base) {
        (Kind::List, Some((_, Some(_)))) => ELEMENT_BYTES + value,
        (Kind::List, _) => NAMED_ELEMENT_BYTES + id.element.len() + value,
        _ => size_of::<Run>() + allocated(SINGLE_BYTES + id.element.len() + value),
    }
}

//! A key's entry as the state that snapshots and comparing nodes carry, and back.

use std::borrow::Cow;

use shared::change::{CellId, Value};
use shared::state::{CellState, ContributionState, KeyState, MarkState, ResetState, TtlState};
use shared::version::{Frontier, Version};

use super::entry::{Entry, Packed, PackedCells, View};
use super::origins::Origins;
use super::rich::{Cell, Mark, OwnContribution, RichKey, Source, Ttl};
use super::shard::Flushed;

/// Which parts of keys are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What<'f> {
    /// All of them.
    Everything,
    /// What is dead: resets, marks and what they hide, tombstones, TTL registers that say none.
    Dead,
    /// What this frontier does not cover.
    Uncovered(&'f Frontier),
}

impl What<'_> {
    /// Whether a part is asked for that the log entry made.
    fn includes(self, is_dead: bool, entry: Version) -> bool {
        match self {
            Self::Everything => true,
            Self::Dead => is_dead,
            Self::Uncovered(frontier) => !frontier.covers(entry),
        }
    }
}

impl Entry {
    /// The parts of the key that are asked for; none if there are none. What is but the flush's is left out.
    pub(crate) fn state(
        &self,
        db: u8,
        flushed: Version,
        what: What<'_>,
        origins: &Origins,
    ) -> Option<KeyState<'_>> {
        let mut state = match self.view() {
            View::Packed(packed) if packed.has_cells() => {
                let version = packed.version(origins);
                let reset = (version > flushed).then_some(ResetState { version, entry: version });
                let cells = packed.cells().into_iter().flat_map(PackedCells::iter);
                let count = packed.count().map(|count| (CellId::STRING, count.cell(origins)));
                let cells = cells.chain(count);
                let cells = cells.filter_map(|(id, cell)| cell_state(id, cell, None, what));
                KeyState {
                    reset: reset.filter(|reset| what.includes(true, reset.entry)),
                    cells: sorted(cells),
                    ..KeyState::new(db, packed.key())
                }
            }
            View::Packed(packed) => packed_state(packed, db, flushed, what, origins),
            View::Rich(rich) => rich_state(rich, db, flushed, what),
        };
        state.ttl = self
            .ttl(origins)
            .filter(|ttl| what.includes(ttl.expiry.is_none(), ttl.version))
            .map(|ttl| TtlState { version: ttl.version, expiry: ttl.expiry });
        (!state.is_empty()).then_some(state)
    }

    /// The entry of a key whose whole state this is, in a database that was flushed.
    pub(crate) fn of_state(state: &KeyState<'_>, flushed: Flushed, origins: &Origins) -> Self {
        if let Some((version, value)) = state.plain()
            && state.ttl.is_none()
            && version >= flushed.version
            && let Ok(index) = origins.intern(version.origin)
        {
            return Packed::new(state.key, Some(value), version.timestamp, index).into();
        }
        let cells = state.cells.iter().map(|cell| (owned_id(&cell.id), owned_cell(cell)));
        let mut rich = RichKey::of_cells(state.key, cells.collect());
        if let Some(reset) = state.reset {
            (rich.reset, rich.reset_entry) = (reset.version, reset.entry);
        }
        rich.ttl = state.ttl.map(|ttl| Ttl { version: ttl.version, expiry: ttl.expiry });
        if let Some(mark) = state.mark {
            rich.merge_mark(mark.into());
        }
        rich.merge_reset(flushed.version, flushed.entry, Source::Log);
        Self::of_rich(rich, origins)
    }
}

/// The log entries of a state's parts.
pub(crate) fn entries<'s>(state: &'s KeyState<'_>) -> impl Iterator<Item = Version> + 's {
    let whole = [
        state.reset.map(|reset| reset.entry),
        state.ttl.map(|ttl| ttl.version),
        state.mark.map(|mark| mark.entry),
    ];
    let cells = state.cells.iter().flat_map(|cell| {
        let base = cell.base.as_ref().map(|(version, _)| *version);
        base.into_iter().chain(cell.contributions.iter().map(ContributionState::entry))
    });
    whole.into_iter().flatten().chain(cells)
}

fn packed_state<'e>(
    packed: &'e Packed,
    db: u8,
    flushed: Version,
    what: What<'_>,
    origins: &Origins,
) -> KeyState<'e> {
    let mut state = KeyState::new(db, packed.key());
    let (version, entry) = (packed.version(origins), packed.reset_entry(origins));
    if !what.includes(packed.is_tombstone(), entry) {
        return state;
    }
    state.reset = (version > flushed).then_some(ResetState { version, entry });
    if !packed.is_tombstone() {
        let base = Some((version, Some(Value::Bytes(Cow::Borrowed(packed.value())))));
        state.cells.push(CellState { id: CellId::STRING, base, contributions: Vec::new() });
    }
    state
}

fn rich_state<'e>(rich: &'e RichKey, db: u8, flushed: Version, what: What<'_>) -> KeyState<'e> {
    let reset = (rich.reset > flushed).then_some(ResetState { version: rich.reset, entry: rich.reset_entry });
    let cells = rich.cells.iter().filter_map(|(id, cell)| cell_state(id, cell, rich.mark, what));
    KeyState {
        reset: reset.filter(|reset| what.includes(true, reset.entry)),
        mark: rich.mark.filter(|mark| what.includes(true, mark.entry)).map(|mark| MarkState {
            reset: mark.reset,
            expiry: mark.expiry,
            entry: mark.entry,
        }),
        cells: sorted(cells),
        ..KeyState::new(db, &rich.key)
    }
}

/// Judging looks cells up by their ids.
fn sorted<'e>(cells: impl Iterator<Item = CellState<'e>>) -> Vec<CellState<'e>> {
    let mut cells: Vec<_> = cells.collect();
    cells.sort_unstable_by(|left, right| left.id.cmp(&right.id));
    cells
}

fn cell_state<'e>(
    id: CellId<'e>,
    cell: Cell<'e>,
    mark: Option<Mark>,
    what: What<'_>,
) -> Option<CellState<'e>> {
    let hides = |at| mark.is_some_and(|mark| mark.hides(at));
    let base = cell
        .base
        .filter(|(version, value)| what.includes(value.is_none() || hides(version.timestamp), *version));
    let contributions =
        cell.contributions.iter().filter(|(_, own)| what.includes(hides(own.first), own.entry()));
    let contributions = contributions.map(|(origin, own)| contribution_state(*origin, *own)).collect();
    let state = CellState { id, base, contributions };
    (state.base.is_some() || !state.contributions.is_empty()).then_some(state)
}

const fn contribution_state(contributor: shared::id::Origin, own: OwnContribution) -> ContributionState {
    let OwnContribution { first, last, counted, sum, carrier } = own;
    ContributionState { contributor, carrier, first, last, counted, sum }
}

pub(super) fn owned_id(id: &CellId<'_>) -> CellId<'static> {
    CellId { kind: id.kind, element: Cow::Owned(id.element.to_vec()) }
}

fn owned_cell(state: &CellState<'_>) -> Cell<'static> {
    let contributions = state.contributions.iter().map(|own| (own.contributor, own.into())).collect();
    Cell { base: state.base.clone(), contributions }.into_owned()
}

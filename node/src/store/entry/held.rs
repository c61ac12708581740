//! A cell as who adds to it must know it: looked up and read once.

use shared::change::{CellId, Kind, Value};
use shared::decimal::Decimal;
use shared::id::Origin;
use shared::version::Version;

use super::{Entry, View};
use crate::store::origins::Origins;
use crate::store::rich::{Cell, Mark, OwnContribution};

/// A cell, an empty one if there is none, and what of its key bears upon it.
#[derive(Default)]
pub(crate) struct Held<'e> {
    cell: Cell<'e>,
    mark: Option<Mark>,
    reset: Version,
}

impl Held<'_> {
    /// The whole number that a client sees, zero if it sees nothing; none if it sees something else.
    pub(crate) fn integer(&self) -> Option<i64> {
        self.cell.integer(self.mark)
    }

    /// The exact number that it comes to, zero if a client sees nothing; none if it is something else.
    pub(crate) fn decimal(&self) -> Option<Decimal> {
        self.cell.decimal(self.mark)
    }

    /// Whether the cell was written, or its key reset, at exactly this version.
    pub(crate) fn was_written_at(&self, version: Version) -> bool {
        self.reset == version || self.cell.base_version() == version
    }

    /// What `origin` has added to it, if an increment of its would go on from there.
    pub(crate) fn contribution(&self, origin: Origin) -> Option<OwnContribution> {
        let own = self.cell.contribution_of(origin)?;
        (!self.mark.is_some_and(|mark| mark.hides(own.first))).then_some(own)
    }

    /// What it would count as a sorted set's member if this were what `origin` has added to it.
    pub(crate) fn score_with(&self, origin: Origin, own: OwnContribution) -> f64 {
        let mut cell = self.cell.clone();
        cell.replace(origin, own);
        cell.score(self.mark).unwrap_or_default()
    }
}

impl Entry {
    /// What is known of a cell.
    pub(crate) fn held(&self, id: &CellId<'_>, origins: &Origins) -> Held<'_> {
        match self.view() {
            View::Packed(packed) => {
                let reset = packed.version(origins);
                let is_plain = packed.is_plain_string() && id.kind == Kind::String;
                let cell = match packed.cells() {
                    Some(cells) => cells.get(id).map(|cell| cell.cell(&cells.block)).unwrap_or_default(),
                    None if is_plain => {
                        let value = Value::Bytes(packed.value().into());
                        Cell { base: Some((reset, Some(value))), ..Cell::default() }
                    }
                    None if id.kind == Kind::String => {
                        packed.count().map(|count| count.cell(origins)).unwrap_or_default()
                    }
                    None => Cell::default(),
                };
                Held { cell, mark: None, reset }
            }
            View::Rich(rich) => {
                Held { cell: rich.cell(id).unwrap_or_default(), mark: rich.mark, reset: rich.reset }
            }
        }
    }
}

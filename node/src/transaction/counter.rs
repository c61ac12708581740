//! Adding to cells: what an origin has added so far is one running sum, never a delta.

use std::borrow::Cow;

use shared::change::{CellId, Contribution, Kind, Op, Sum, Value};
use shared::clock::Timestamp;
use shared::version::Version;

use super::Transaction;
use crate::error::CommandError;
use crate::store::key::Key;
use crate::store::rich::{OwnContribution, parse_integer};

/// So many times a sum is put right for the total to be the one that was reckoned: once is nearly always enough.
const CORRECTIONS_MAX: usize = 8;

impl<'a> Transaction<'a> {
    /// Adds to the key's string. The caller has seen that it holds a whole number, or nothing, and that the sum does not
    /// overflow: the new value is the old one and `by`.
    pub(crate) fn increment(&mut self, key: &Key<'a>, by: i64) -> Result<(), CommandError> {
        self.add_integer(key, CellId::STRING, by)
    }

    /// As [`Transaction::increment`], to one of the key's cells.
    pub(crate) fn add_integer(
        &mut self,
        key: &Key<'a>,
        cell: CellId<'a>,
        by: i64,
    ) -> Result<(), CommandError> {
        self.begin_afresh(key)?;
        if self.was_written_here(key, &cell) {
            // One timestamp cannot order an increment behind a write or reset of the same transaction: fold it.
            let sum = self.held_integer(key, &cell).saturating_add(by);
            let text = itoa::Buffer::new().format(sum).as_bytes().to_vec();
            return self.emit(key, Op::Cell(cell, Some(Value::Bytes(text.into()))));
        }
        let own = self.contribution(key, &cell);
        let (first, sum) = match own.map(|own| (own.first, own.sum)) {
            Some((first, Sum::Int(sum))) => (first, sum.saturating_add(i128::from(by))),
            _ => (self.writer.at.timestamp, i128::from(by)),
        };
        self.emit(key, Op::Count(cell, Contribution { first, sum: Sum::Int(sum), restates: None }))?;
        self.touch(key);
        Ok(())
    }

    fn held_integer(&self, key: &Key<'_>, cell: &CellId<'_>) -> i64 {
        let entry = self.locked.of(key).find(key);
        match entry.and_then(|entry| entry.cell_value(cell)) {
            Some(Value::Bytes(text)) => parse_integer(&text).unwrap_or(0),
            _ => 0,
        }
    }

    /// Makes a member's score `total`, which is `by` more than it was. The caller has seen that `total` is a number.
    pub(crate) fn add_score(
        &mut self,
        key: &Key<'a>,
        member: impl Into<Cow<'a, [u8]>>,
        by: f64,
        total: f64,
    ) -> Result<(), CommandError> {
        self.begin_afresh(key)?;
        let cell = CellId { kind: Kind::SortedSet, element: member.into() };
        if self.was_written_here(key, &cell) {
            return self.emit(key, Op::Cell(cell, Some(Value::Float(total))));
        }
        let own = self.contribution(key, &cell);
        let (first, sum) = match own.map(|own| (own.first, own.sum)) {
            Some((first, Sum::Float(sum))) => (first, sum + by),
            _ => (self.writer.at.timestamp, by),
        };
        let Some(sum) = self.sum_for(key, &cell, first, sum, total) else {
            // Of infinities no sum is left to go on with.
            return self.emit(key, Op::Cell(cell, Some(Value::Float(total))));
        };
        self.emit(key, Op::Count(cell, Contribution { first, sum: Sum::Float(sum), restates: None }))?;
        self.touch(key);
        Ok(())
    }

    /// A sum near `sum` with which the score comes to `total`, as a client that reckons for itself expects: added up in
    /// another order, floats round otherwise.
    fn sum_for(
        &self,
        key: &Key<'_>,
        cell: &CellId<'_>,
        first: Timestamp,
        sum: f64,
        total: f64,
    ) -> Option<f64> {
        let Version { timestamp: last, origin } = self.writer.at;
        let entry = self.locked.of(key).find(key);
        let mut sum = sum;
        for _ in 0..CORRECTIONS_MAX {
            let own = OwnContribution { first, last, counted: last, sum: Sum::Float(sum), carrier: origin };
            let told = entry.map_or(sum, |entry| entry.score_with(cell, origin, own));
            if told == total {
                return Some(sum);
            }
            sum += total - told;
            if !sum.is_finite() {
                return None;
            }
        }
        Some(sum)
    }

    fn was_written_here(&self, key: &Key<'_>, cell: &CellId<'_>) -> bool {
        let at = self.writer.at;
        let shard = self.locked.of(key);
        shard.flushed(key.db) == at
            || shard.find(key).is_some_and(|entry| entry.written_at(cell, at, &self.node.store.origins))
    }

    fn contribution(&self, key: &Key<'_>, cell: &CellId<'_>) -> Option<OwnContribution> {
        self.locked.of(key).find(key)?.contribution(cell, self.writer.at.origin)
    }
}

//! Adding to cells: what an origin has added so far is one running sum, never a delta.

use std::borrow::Cow;

use shared::change::{CHANGE_OVERHEAD_BYTES, CellId, Change, Contribution, Kind, Op, Sum, Value};
use shared::clock::Timestamp;
use shared::decimal::Decimal;
use shared::version::Version;

use super::Transaction;
use crate::error::CommandError;
use crate::store::entry::Held;
use crate::store::key::Key;
use crate::store::rich::{OwnContribution, sum_of};

/// So many times a sum is put right for the total to be the one that was reckoned: once is nearly always enough.
const CORRECTIONS_MAX: usize = 8;

impl<'a> Transaction<'a> {
    /// As [`Transaction::add_integer`], to the key's string.
    pub(crate) fn increment(&mut self, key: &Key<'a>, by: i64) -> Result<i64, CommandError> {
        let bytes = CHANGE_OVERHEAD_BYTES + key.bytes.len();
        self.reserve(bytes)?;
        let (writer, origins) = (self.writer_of(key.db, key.bytes), &self.node.store.origins);
        if let Some(count) = self.locked.of_mut(key).increment(key, by, writer, self.now, origins) {
            let sum = Sum::Int(i128::from(count.sum));
            let contribution = Contribution { first: count.first, sum, restates: None };
            self.note_change(Change::new(key.db, key.bytes, Op::Count(CellId::STRING, contribution)), bytes);
            return Ok(count.sum);
        }
        self.add_integer(key, CellId::STRING, by, CommandError::NotInteger)
    }

    /// Adds to the whole number in one of the key's cells, which counts as zero if there is none. Returns what it comes to.
    pub(crate) fn add_integer(
        &mut self,
        key: &Key<'a>,
        cell: CellId<'a>,
        by: i64,
        not_a_number: CommandError,
    ) -> Result<i64, CommandError> {
        match self.kind(key) {
            None => self.begin_afresh(key)?,
            Some(kind) if kind == cell.kind => {}
            Some(_) => return Err(CommandError::WrongType),
        }
        let held = self.held(key, &cell);
        let total = held.integer().ok_or(not_a_number)?.checked_add(by).ok_or(CommandError::Overflow)?;
        if self.was_written_here(key, &held) {
            // One timestamp cannot order an increment behind a write or reset of the same transaction: fold it.
            self.emit(key, Op::Cell(cell, Some(integer_text(total))))?;
            return Ok(total);
        }
        let op = match self.grown(&held, Sum::Int(by.into())) {
            Some(contribution) => Op::Count(cell, contribution),
            None => Op::Cell(cell, Some(integer_text(total))),
        };
        self.emit(key, op)?;
        Ok(total)
    }

    /// Makes the number in one of the key's cells what `text` says, which the caller has reckoned from what the cell holds,
    /// nothing counting as zero. What that adds to it is a contribution, unless 128 bits do not hold that: then the text
    /// is written as it is.
    pub(crate) fn add_decimal(
        &mut self,
        key: &Key<'a>,
        cell: CellId<'a>,
        text: Vec<u8>,
    ) -> Result<(), CommandError> {
        self.begin_afresh(key)?;
        let held = self.held(key, &cell);
        let by = Decimal::parse(&text).zip(held.decimal()).and_then(|(total, old)| total.units_above(old));
        let by = by.filter(|_| !self.was_written_here(key, &held)).map(Sum::Decimal);
        let op = match by.and_then(|by| self.grown(&held, by)) {
            Some(contribution) => Op::Count(cell, contribution),
            None => Op::Cell(cell, Some(Value::Bytes(text.into()))),
        };
        self.emit(key, op)
    }

    /// What this node has added to a cell, and this besides. None if 128 bits do not hold it.
    fn grown(&self, held: &Held<'_>, by: Sum) -> Option<Contribution> {
        let Version { timestamp, origin } = self.writer.at;
        let (first, sum) = match held.contribution(origin) {
            Some(OwnContribution { first, sum, .. }) => (first, sum_of(sum, by)?),
            None => (timestamp, by),
        };
        Some(Contribution { first, sum, restates: None })
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
        let held = self.held(key, &cell);
        if self.was_written_here(key, &held) {
            return self.emit(key, Op::Cell(cell, Some(Value::Float(total))));
        }
        let (first, sum) = match held.contribution(self.writer.at.origin).map(|own| (own.first, own.sum)) {
            Some((first, Sum::Float(sum))) => (first, sum + by),
            _ => (self.writer.at.timestamp, by),
        };
        let Some(sum) = self.sum_for(&held, first, sum, total) else {
            // Of infinities no sum is left to go on with.
            return self.emit(key, Op::Cell(cell, Some(Value::Float(total))));
        };
        self.emit(key, Op::Count(cell, Contribution { first, sum: Sum::Float(sum), restates: None }))
    }

    /// A sum near `sum` with which the score comes to `total`, as a client that reckons for itself expects: added up in
    /// another order, floats round otherwise.
    fn sum_for(&self, held: &Held<'_>, first: Timestamp, sum: f64, total: f64) -> Option<f64> {
        let Version { timestamp: last, origin } = self.writer.at;
        let mut sum = sum;
        for _ in 0..CORRECTIONS_MAX {
            let own = OwnContribution { first, last, counted: last, sum: Sum::Float(sum), carrier: origin };
            let told = held.score_with(origin, own);
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

    fn held(&self, key: &Key<'_>, cell: &CellId<'_>) -> Held<'_> {
        let entry = self.locked.of(key).find(key);
        entry.map(|entry| entry.held(cell, &self.node.store.origins)).unwrap_or_default()
    }

    fn was_written_here(&self, key: &Key<'_>, held: &Held<'_>) -> bool {
        let at = self.writer.at;
        self.locked.of(key).flushed(key.db) == at || held.was_written_at(at)
    }
}

fn integer_text(integer: i64) -> Value<'static> {
    Value::Bytes(itoa::Buffer::new().format(integer).as_bytes().to_vec().into())
}

//! What the data must be: an independent and simple model of merging.
//!
//! It takes every change that survived, in no particular order, and says what clients see at a moment. It follows the
//! rules as the design states them, looks at all changes of a key at once, and shares no code with the store.

use std::collections::{BTreeMap, BTreeSet};

use node::simulation::{Part, Seen, Stray, Visible, line_of};
use shared::batch::Batch;
use shared::change::{Change, DATABASES, Kind, Op, Sum, Value};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::version::Version;

use crate::ledger::Ledger;

/// Everything that was written and is held everywhere.
#[derive(Debug, Default)]
pub(crate) struct Model {
    keys: BTreeMap<(u8, Vec<u8>), History>,
    flushes: BTreeMap<u8, Version>,
    pub(crate) changes: u64,
    /// What lay hidden beneath a mark was forgotten before a reset came that goes over the mark.
    is_veiled_for_good: bool,
}

/// All that was ever done to a key.
#[derive(Clone, Debug, Default)]
struct History {
    resets: Vec<Version>,
    expiries: Vec<(Version, Option<u64>)>,
    /// The reset and the expiry of each mark.
    marks: Vec<(Version, u64)>,
    writes: Vec<(Cell, Version, Option<Written>)>,
    counts: Vec<(Cell, Counted)>,
}

type Cell = (Kind, Vec<u8>);

#[derive(Clone, Debug)]
enum Written {
    Bytes(Vec<u8>),
    Score(f64),
}

/// A contribution.
#[derive(Clone, Copy, Debug)]
struct Counted {
    contributor: Origin,
    /// In whose batches it came: of equals the larger stands.
    carrier: Origin,
    first: Timestamp,
    last: Timestamp,
    sum: Sum,
}

impl Model {
    /// The model of all changes that survived: those that a frontier covers, and these, which only a reconcile has brought
    /// to others before their author lost them.
    ///
    /// # Errors
    /// If a batch cannot be read.
    pub(crate) fn of(ledger: &Ledger, strays: &BTreeSet<Stray>) -> Result<Self, String> {
        Self::with(ledger, strays, false)
    }

    /// As [`Model::of`], and what may be instead: with the deletions that only reconciles have brought, and besides with all
    /// that was written under origins that were given up, whether or not it was written once more. Before they went,
    /// deletions and expiries that now say nothing to anybody may have ended something. And who joins may bring a reset that
    /// goes over a mark beneath which its group has forgotten everything.
    ///
    /// # Errors
    /// If a batch cannot be read.
    pub(crate) fn others(ledger: &Ledger, strays: &BTreeSet<Stray>) -> Result<Vec<Self>, String> {
        let strays = strays | &ledger.stray_ends;
        let mut others = vec![Self::with(ledger, &strays, false)?, Self::with(ledger, &strays, true)?];
        if !ledger.given_up.is_empty() {
            others.push(Self { is_veiled_for_good: true, ..Self::with(ledger, &strays, false)? });
        }
        Ok(others)
    }

    fn with(ledger: &Ledger, strays: &BTreeSet<Stray>, given_up: bool) -> Result<Self, String> {
        let mut model = Self::default();
        for (origin, _, sealed) in ledger.batches() {
            let batch = Batch::decode(&sealed.bytes).map_err(|error| error.to_string())?;
            for change in batch.changes() {
                let (at, change) = change.map_err(|error| error.to_string())?;
                let version = Version::new(at, origin);
                let has_survived =
                    ledger.has_survived(version) || (given_up && ledger.given_up.contains(&origin));
                let key = change.key.to_vec();
                let db = change.db;
                let is_held = |part| has_survived || strays.contains(&(db, key.clone(), part, version));
                if has_survived || !strays.is_empty() {
                    model.take(version, change, &is_held);
                }
            }
        }
        Ok(model)
    }

    /// Takes in those parts of a change that survived.
    fn take(&mut self, at: Version, change: Change<'_>, is_held: &dyn Fn(Part) -> bool) {
        self.changes += 1;
        let (databases, flush) = match change.op {
            Op::FlushAll => (0..DATABASES, at),
            Op::FlushDb => (change.db..change.db + 1, at),
            Op::ObservedFlush(version) => (change.db..change.db + 1, version),
            _ => (0..0, at),
        };
        if is_held(Part::Reset) {
            for db in databases {
                let flushed = self.flushes.entry(db).or_default();
                *flushed = flush.max(*flushed);
            }
        }
        if matches!(change.op, Op::FlushAll | Op::FlushDb | Op::ObservedFlush(_)) {
            return;
        }
        let history = self.keys.entry((change.db, change.key.into_owned())).or_default();
        match change.op {
            Op::Set(value) => {
                history.take_reset(at, is_held);
                let value = Some(Written::Bytes(value.into_owned()));
                history.take_write((Kind::String, Vec::new()), at, value, is_held);
            }
            Op::Reset => history.take_reset(at, is_held),
            Op::ObservedReset(version) => history.take_reset(version, is_held),
            Op::Mark { reset, expiry } if is_held(Part::Mark) => {
                history.resets.push(reset);
                history.marks.push((reset, expiry.0));
            }
            Op::Expire(expiry) if is_held(Part::Expiry) => {
                history.expiries.push((at, expiry.map(|expiry| expiry.0)));
            }
            Op::Cell(cell, value) => {
                let value = value.map(|value| match value {
                    Value::Bytes(bytes) => Written::Bytes(bytes.into_owned()),
                    Value::Float(score) => Written::Score(score),
                });
                history.take_write((cell.kind, cell.element.into_owned()), at, value, is_held);
            }
            Op::Count(cell, contribution) if is_held(Part::Sum) => {
                let counted = Counted {
                    contributor: contribution.restates.map_or(at.origin, |increment| increment.origin),
                    carrier: at.origin,
                    first: contribution.first,
                    last: at.timestamp,
                    sum: contribution.sum,
                };
                history.counts.push(((cell.kind, cell.element.into_owned()), counted));
            }
            _ => {}
        }
    }

    /// The newest of what was done to a key, as text.
    pub(crate) fn describe(&self, key: &(u8, Vec<u8>)) -> String {
        let Some(history) = self.keys.get(key) else { return "none".to_owned() };
        let mut history = history.clone();
        history.resets.sort();
        history.expiries.sort();
        history.marks.sort();
        history.writes.sort_by_key(|(_, at, _)| *at);
        history.counts.sort_by_key(|(_, counted)| counted.last);
        let History { resets, expiries, marks, writes, counts } = history;
        let tail = |len: usize| len.saturating_sub(3);
        format!(
            "resets {:?}, expiries {:?}, marks {:?}, writes {:?}, counts {:?}",
            &resets[tail(resets.len())..],
            &expiries[tail(expiries.len())..],
            &marks[tail(marks.len())..],
            &writes[tail(writes.len())..],
            &counts[tail(counts.len())..]
        )
    }

    /// What clients see at a moment.
    pub(crate) fn visible(&self, at_ms: u64) -> Visible {
        let seen = self.keys.iter().filter_map(|(key, history)| {
            let flushed = self.flushes.get(&key.0).copied().unwrap_or_default();
            Some((key.clone(), history.seen(flushed, self.is_veiled_for_good, at_ms)?))
        });
        seen.collect()
    }
}

impl History {
    fn take_reset(&mut self, reset: Version, is_held: &dyn Fn(Part) -> bool) {
        if is_held(Part::Reset) {
            self.resets.push(reset);
        }
    }

    fn take_write(
        &mut self,
        cell: Cell,
        at: Version,
        value: Option<Written>,
        is_held: &dyn Fn(Part) -> bool,
    ) {
        if is_held(Part::Value) {
            self.writes.push((cell, at, value));
        }
    }

    fn seen(&self, flushed: Version, is_veiled_for_good: bool, at_ms: u64) -> Option<Seen> {
        let reset = self.resets.iter().copied().fold(flushed, Version::max);
        let expiry = self.expiries.iter().filter(|(at, _)| *at >= reset).max_by_key(|(at, _)| *at);
        let expiry = expiry.and_then(|(_, expiry)| *expiry);
        if expiry.is_some_and(|expiry| at_ms > expiry) {
            return None;
        }
        // A mark that a later reset went over is gone.
        let stands = |mark: Version| is_veiled_for_good || mark == reset;
        let veil = self.marks.iter().filter(|(mark, _)| stands(*mark)).map(|(_, expiry)| *expiry).max();
        let is_veiled = |at: Timestamp| veil.is_some_and(|expiry| at.wall().0 <= expiry);

        let mut cells: Vec<&Cell> = self.writes.iter().map(|(cell, ..)| cell).collect();
        cells.extend(self.counts.iter().map(|(cell, _)| cell));
        cells.sort();
        cells.dedup();
        let live = cells.into_iter().filter_map(|cell| Some((cell, self.cell(cell, reset, &is_veiled)?)));
        let live: Vec<(&Cell, Vec<u8>)> = live.collect();
        let kind = live.iter().map(|(cell, _)| cell.0).max()?;
        let visible = live.into_iter().filter(|(cell, _)| cell.0 == kind);
        let value = visible.flat_map(|(cell, value)| match kind {
            Kind::String => value,
            _ => line_of(&cell.1, &value),
        });
        Some(Seen { kind: kind.name(), value: value.collect(), expiry })
    }

    /// The value of a cell, if it is live.
    fn cell(&self, cell: &Cell, reset: Version, is_veiled: &dyn Fn(Timestamp) -> bool) -> Option<Vec<u8>> {
        let writes = self.writes.iter().filter(|(other, at, _)| other == cell && *at >= reset);
        let base = writes.max_by_key(|(_, at, _)| *at);
        let written_at = base.map_or(Version::ZERO, |(_, at, _)| *at);
        let value = base.filter(|(_, at, _)| !is_veiled(at.timestamp)).and_then(|(.., value)| value.clone());

        let mut newest: BTreeMap<Origin, Counted> = BTreeMap::new();
        for (_, counted) in self.counts.iter().filter(|(other, _)| other == cell) {
            let known = newest.entry(counted.contributor).or_insert(*counted);
            let rank = |counted: &Counted| (counted.first, counted.last, counted.carrier);
            if rank(counted) > rank(known) {
                *known = *counted;
            }
        }
        let is_live = |counted: &&Counted| {
            let began = Version::new(counted.first, counted.contributor);
            began >= reset && began > written_at && !is_veiled(counted.first)
        };
        let sums: Vec<Sum> = newest.values().filter(is_live).map(|counted| counted.sum).collect();
        combine(value, &sums)
    }
}

/// A written value with what was added to it.
fn combine(base: Option<Written>, sums: &[Sum]) -> Option<Vec<u8>> {
    let start = match base {
        None if sums.is_empty() => return None,
        None if sums.iter().any(|sum| matches!(sum, Sum::Float(_))) => return Some(scored(0.0, sums)),
        None => (0, 0),
        Some(Written::Score(score)) => return Some(scored(score, sums)),
        Some(Written::Bytes(bytes)) if sums.is_empty() => return Some(bytes),
        Some(Written::Bytes(bytes)) => match whole_number(&bytes) {
            Some(number) => (number.into(), 0),
            None => match decimal_number(&bytes) {
                Some(number) => return Some(decimal_text(number, sums)),
                None => return Some(bytes),
            },
        },
    };
    if sums.iter().any(|sum| matches!(sum, Sum::Decimal(_))) {
        return Some(decimal_text(start, sums));
    }
    let added: i128 = sums.iter().map(|sum| if let Sum::Int(sum) = sum { *sum } else { 0 }).sum();
    let total = (start.0 + added).clamp(i64::MIN.into(), i64::MAX.into());
    Some(total.to_string().into_bytes())
}

/// The digits behind the point of a decimal sum.
const PLACES: usize = 17;
const ONE: i128 = 10_i128.pow(PLACES as u32);

/// A decimal number, its whole part and the rest in units of 10^-17, with what was added to it.
fn decimal_text((mut whole, mut units): (i128, i128), sums: &[Sum]) -> Vec<u8> {
    for sum in sums {
        match sum {
            Sum::Int(sum) => whole += sum,
            Sum::Decimal(sum) => (whole, units) = (whole + sum / ONE, units + sum % ONE),
            Sum::Float(_) => {}
        }
    }
    let (whole, units) = (whole + units.div_euclid(ONE), units.rem_euclid(ONE));
    let is_negative = whole < 0;
    let (whole, units) = if is_negative && units > 0 { (whole + 1, ONE - units) } else { (whole, units) };
    let sign = if is_negative { "-" } else { "" };
    let text = format!("{sign}{}.{units:0PLACES$}", whole.unsigned_abs());
    text.trim_end_matches('0').trim_end_matches('.').as_bytes().to_vec()
}

/// The whole part, and the rest in units of 10^-17, of digits with perhaps a point; what lies behind is rounded, of a tie the
/// even one taken. The workload writes no numbers with exponents.
fn decimal_number(bytes: &[u8]) -> Option<(i128, i128)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let magnitude = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, behind) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    let mut digits = whole.bytes().chain(behind.bytes()).peekable();
    if digits.peek().is_none() || !digits.all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let behind = format!("{behind:0<PLACES$}");
    let (units, rest) = behind.split_at(PLACES);
    let units: i128 = units.parse().ok()?;
    let half = format!("5{}", "0".repeat(rest.len().saturating_sub(1)));
    let rounds_up = *rest > *half || (*rest == *half && units % 2 == 1);
    let units = units + i128::from(rounds_up);
    Some(if text.starts_with('-') { (-whole, -units) } else { (whole, units) })
}

/// A score with what was added to it.
fn scored(base: f64, sums: &[Sum]) -> Vec<u8> {
    let added = |total, sum: &Sum| match sum {
        Sum::Int(int) => total + *int as f64,
        Sum::Float(float) => total + float,
        Sum::Decimal(units) => total + *units as f64 / ONE as f64,
    };
    let total = sums.iter().fold(base, added);
    (if total.is_nan() { 0.0 } else { total }).to_string().into_bytes()
}

/// As Redis reads it: the text that the number itself would be written as.
fn whole_number(bytes: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(bytes).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == bytes).then_some(number)
}

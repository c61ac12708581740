//! A transaction's changes, reduced to what is left of them at its end.

use std::collections::{HashMap, HashSet};

use shared::change::{CellId, Change, DATABASES, Op};
use shared::id::Origin;
use smallvec::SmallVec;

/// What later changes have made of a key, going backwards.
#[derive(Default)]
struct Later<'a> {
    reset: bool,
    observed_reset: bool,
    ttl: bool,
    cells: HashSet<CellId<'a>>,
    /// Cells, and whose contribution to them, if not the own one.
    counts: HashSet<(CellId<'a>, Option<Origin>)>,
}

/// Keeps, per key, at most one reset of each sort, then the last write of each cell and of the TTL.
///
/// All changes of a transaction have one version, and of two writes of one cell with the same version nobody else
/// could tell the later. What a later reset or flush kills is left out, too.
pub(super) fn coalesce<'a>(changes: SmallVec<[Change<'a>; 2]>) -> SmallVec<[Change<'a>; 2]> {
    let mut later: HashMap<(u8, Vec<u8>), Later<'a>> = HashMap::new();
    let mut flushed = [false; DATABASES as usize];
    let mut kept: SmallVec<[Change<'a>; 2]> = SmallVec::with_capacity(changes.len());
    for mut change in changes.into_iter().rev() {
        let db = usize::from(change.db);
        match change.op {
            Op::FlushAll => {
                if flushed.iter().all(|flushed| *flushed) {
                    continue;
                }
                flushed = [true; DATABASES as usize];
            }
            // Older than this transaction: it spares what comes before it here.
            Op::ObservedFlush(_) => {}
            _ if flushed[db] => continue,
            Op::FlushDb => flushed[db] = true,
            _ => {
                let later = later.entry((change.db, change.key.to_vec())).or_default();
                let Some(op) = later.survivor(change.op) else { continue };
                change.op = op;
            }
        }
        kept.push(change);
    }
    kept.reverse();
    kept
}

impl<'a> Later<'a> {
    /// What is left of a change of this key, given those after it.
    fn survivor(&mut self, op: Op<'a>) -> Option<Op<'a>> {
        if self.reset {
            return None;
        }
        match op {
            Op::Set(value) => {
                self.reset = true;
                let rewritten = self.has_cell(&CellId::STRING);
                Some(if rewritten { Op::Reset } else { Op::Set(value) })
            }
            Op::Reset => {
                self.reset = true;
                Some(op)
            }
            Op::ObservedReset(_) | Op::Mark { .. } => {
                let first = !std::mem::replace(&mut self.observed_reset, true);
                first.then_some(op)
            }
            Op::Expire(_) => {
                let first = !std::mem::replace(&mut self.ttl, true);
                first.then_some(op)
            }
            Op::Cell(ref id, _) => {
                let first = self.cells.insert(id.clone());
                first.then_some(op)
            }
            // Of several origins each has its own.
            Op::Count(ref id, ref contribution) => {
                let count = (id.clone(), contribution.restates.map(|increment| increment.origin));
                let first = !self.has_cell(id) && self.counts.insert(count);
                first.then_some(op)
            }
            Op::FlushDb | Op::FlushAll | Op::ObservedFlush(_) => Some(op),
        }
    }

    fn has_cell(&self, id: &CellId<'_>) -> bool {
        self.cells.contains(id)
    }
}

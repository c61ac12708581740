//! Saying again what others have not seen.
//!
//! A node that was left behind takes over what its group holds, and then issues anew what it held beyond that, whoever
//! wrote it: with fresh versions, for the old ones lie before what the group has seen and forgotten since. Identities
//! stay: a contribution remains its origin's, resets keep their versions and so spare what they spared. So doing it
//! twice, or at two nodes, changes nothing that can be seen.
//!
//! A mark becomes a plain reset. It would hide what the group has written since, wherever the reset that had ended it is
//! stable and forgotten, and nowhere else.

use std::borrow::Cow;

use shared::change::{CellId, Change, Contribution, Op, Value};
use shared::id::Origin;
use shared::state::{CellState, KeyState};
use shared::version::{Frontier, Version};

use super::Transaction;
use crate::error::CommandError;
use crate::store::entry::Entry;
use crate::store::key::Key;
use crate::store::state::What;

impl<'a> Transaction<'a> {
    /// Issues anew, at this transaction's version, what is held of the key and not covered by `covered`.
    ///
    /// Of an expired key only its end is issued, as an observed reset: with a fresh version what it held would outlive
    /// its expiry. What a mark that `covered` covers hides is not issued either.
    pub(crate) fn reissue(&mut self, key: &Key<'a>, covered: &Frontier) -> Result<(), CommandError> {
        let mut ops = self.unseen(key, covered);
        if ops.is_empty() {
            return Ok(());
        }
        let expiry = self.locked.of(key).find(key).and_then(Entry::expiry);
        if expiry.is_some_and(|expiry| self.now > expiry) {
            return self.begin_afresh(key);
        }
        if let Some(Op::Mark { reset, .. }) = ops.first() {
            // Just above the mark, and below whatever was written at the same time.
            let above = Version::new(reset.timestamp, Origin(reset.origin.0.saturating_add(1)));
            self.emit(key, Op::ObservedReset(above))?;
            ops = self.unseen(key, covered);
        }
        ops.into_iter().try_for_each(|op| self.emit(key, op))
    }

    /// Issues the database's flush anew, with the version it has, if `covered` does not cover it. All shards must be
    /// locked.
    pub(crate) fn reissue_flush(&mut self, db: u8, covered: &Frontier) -> Result<(), CommandError> {
        let flush = self.shards().next().and_then(|shard| shard.flushes().find(|flush| flush.db == db));
        match flush.filter(|flush| !covered.covers(flush.entry)) {
            None => Ok(()),
            Some(flush) => {
                let op = Op::ObservedFlush(flush.version);
                self.emit_change(Change::new(db, &b""[..], op))
            }
        }
    }

    fn unseen(&self, key: &Key<'_>, covered: &Frontier) -> Vec<Op<'a>> {
        let shard = self.locked.of(key);
        let Some(entry) = shard.find(key) else { return Vec::new() };
        let (origins, flushed) = (&self.node.store.origins, shard.flushed(key.db));
        let Some(unseen) = entry.state(key.db, flushed, What::Uncovered(covered), origins) else {
            return Vec::new();
        };
        let mut ops = Vec::new();
        ops.extend(end_of_life(&unseen));
        for cell in &unseen.cells {
            self.unseen_cell(entry, cell, &mut ops);
        }
        ops.extend(unseen.ttl.map(|ttl| Op::Expire(ttl.expiry)));
        ops
    }

    fn unseen_cell(&self, entry: &Entry, cell: &CellState<'_>, ops: &mut Vec<Op<'a>>) {
        let id = CellId { kind: cell.id.kind, element: Cow::Owned(cell.id.element.to_vec()) };
        let unveiled = entry.mark_end();
        if cell.base.as_ref().is_some_and(|(version, _)| version.timestamp >= unveiled) {
            // With a fresh version it replaces what was added to it since: so that goes into it.
            let value = entry.cell_value(&id).map(Value::from);
            ops.push(Op::Cell(id, value));
            return;
        }
        let first = self.writer.at.timestamp;
        for own in cell.contributions.iter().filter(|own| own.first >= unveiled) {
            let contributor = Some(own.contributor);
            ops.push(Op::Count(id.clone(), Contribution { first, sum: own.sum, contributor }));
        }
    }
}

/// The key's reset with its own version, or its mark.
fn end_of_life(unseen: &KeyState<'_>) -> Option<Op<'static>> {
    match (unseen.mark, unseen.reset) {
        (Some(mark), _) => Some(Op::Mark { reset: mark.reset, expiry: mark.expiry }),
        (None, Some(reset)) => Some(Op::ObservedReset(reset.version)),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests;

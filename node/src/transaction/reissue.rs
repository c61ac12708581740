//! Saying again what others have not seen.
//!
//! A node that was left behind takes over what its group holds, and then issues anew what it held beyond that, whoever
//! wrote it: with fresh versions, for the old ones lie before what the group has seen and forgotten since. Identities
//! stay: a contribution remains its origin's, resets keep their versions and so spare what they spared. So doing it
//! twice, or at two nodes, changes nothing that can be seen.
//!
//! A mark becomes a plain reset, if it ends anything of the group's, and nothing else. It would hide what the group has
//! written since, wherever the reset that had ended it is stable and forgotten, and nowhere else.
//!
//! A node whose clock was poisoned and put back holds parts from the future, which would win over what is written from
//! now on. Those are [withdrawn](crate::store::shard::Shard::withdraw) in the same step: nobody else has them.

use std::borrow::Cow;

use shared::change::{CellId, Change, Contribution, Op};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::state::{CellState, KeyState};
use shared::version::{Frontier, Version};

use super::Transaction;
use crate::error::CommandError;
use crate::store::entry::Entry;
use crate::store::key::Key;
use crate::store::rich::owned_value;
use crate::store::shard::Flushed;
use crate::store::state::{What, entries};

impl<'a> Transaction<'a> {
    /// Issues anew, at this transaction's version, what is held of the key and not covered by `covered`.
    ///
    /// Of an expired key only its end is issued, as an observed reset: with a fresh version what it held would outlive
    /// its expiry. What a mark that `covered` covers hides is not issued either.
    pub(crate) fn reissue(&mut self, key: &Key<'a>, covered: &Frontier) -> Result<(), CommandError> {
        let (origins, at) = (&self.node.store.origins, self.writer.at.timestamp);
        if self.node.is_rewinding() {
            self.end_mark(key, covered)?;
        } else if self.locked.of(key).find(key).is_some_and(|entry| entry.mark_end() > Timestamp::ZERO) {
            self.locked.of_mut(key).settle_marks(key, covered, origins);
        }
        let shard = self.locked.of(key);
        let Some(entry) = shard.find(key) else { return Ok(()) };
        let Some(unseen) = entry.state(key.db, shard.flushed(key.db), What::Uncovered(covered), origins)
        else {
            return Ok(());
        };
        let is_expired = entry.expiry().is_some_and(|expiry| self.now > expiry);
        let ops = if is_expired {
            vec![Op::ObservedReset(self.reset_above(entry))]
        } else if let Some((_, value)) = unseen.plain().filter(|(version, _)| version.timestamp > at) {
            // What it resets is what its fresh version resets: so it may stay a string written whole.
            let set = Op::Set(Cow::Owned(value.to_vec()));
            std::iter::once(set).chain(unseen.ttl.map(|ttl| Op::Expire(ttl.expiry))).collect()
        } else {
            self.unseen(entry, &unseen)
        };
        let changes: Vec<_> = ops.into_iter().map(|op| Change::new(key.db, key.bytes, op)).collect();
        // All of it is said, or nothing of it changes.
        self.reserve(changes.iter().map(Change::encoded_bytes_max).sum())?;
        if entries(&unseen).any(|entry| entry.timestamp > at) {
            self.locked.of_mut(key).withdraw(key, covered, at, origins);
        }
        let reset = self.locked.of(key).find(key).map_or(Version::ZERO, |entry| entry.reset(origins));
        let is_news =
            |change: &Change<'_>| !matches!(change.op, Op::ObservedReset(to) if is_expired && to <= reset);
        changes.into_iter().filter(is_news).try_for_each(|change| self.emit_change(change))
    }

    /// Makes the key's mark a plain reset, if `covered` does not cover it.
    fn end_mark(&mut self, key: &Key<'a>, covered: &Frontier) -> Result<(), CommandError> {
        let shard = self.locked.of(key);
        let (origins, flushed) = (&self.node.store.origins, shard.flushed(key.db));
        let entry = shard.find(key);
        let unseen = entry.and_then(|entry| entry.state(key.db, flushed, What::Uncovered(covered), origins));
        let Some(mark) = unseen.and_then(|unseen| unseen.mark) else { return Ok(()) };
        let is_expired = entry.and_then(Entry::expiry).is_some_and(|expiry| self.now > expiry);
        if is_expired || mark.entry.timestamp > self.writer.at.timestamp {
            // A reset is issued all the same.
            return Ok(());
        }
        // Just above the mark, and below whatever was written at the same time.
        let above = Version::new(mark.reset.timestamp, Origin(mark.reset.origin.0.saturating_add(1)));
        self.emit(key, Op::ObservedReset(above))
    }

    /// Issues the database's flush anew, with the version it has, if `covered` does not cover it. All shards must be
    /// locked.
    pub(crate) fn reissue_flush(&mut self, db: u8, covered: &Frontier) -> Result<(), CommandError> {
        let flush = self.shards().next().and_then(|shard| shard.flushes().find(|flush| flush.db == db));
        let Some(flush) = flush.filter(|flush| !covered.covers(flush.entry)) else { return Ok(()) };
        if flush.entry.timestamp > self.writer.at.timestamp {
            let origins = &self.node.store.origins;
            self.locked.iter_mut().for_each(|shard| shard.withdraw_flush(db, Flushed::default(), origins));
        }
        let version = flush.version.min(self.latest_reset());
        self.emit_change(Change::new(db, &b""[..], Op::ObservedFlush(version)))
    }

    /// Resets keep their version, but for those from a poisoned clock's future.
    const fn latest_reset(&self) -> Version {
        Version::new(self.writer.at.timestamp, Origin::NONE)
    }

    fn unseen(&self, entry: &Entry, unseen: &KeyState<'_>) -> Vec<Op<'a>> {
        let mut ops = Vec::new();
        ops.extend(self.end_of_life(unseen));
        for cell in &unseen.cells {
            self.unseen_cell(entry, cell, &mut ops);
        }
        ops.extend(unseen.ttl.map(|ttl| Op::Expire(ttl.expiry)));
        ops
    }

    /// The key's reset with its own version; as such a mark, too.
    fn end_of_life(&self, unseen: &KeyState<'_>) -> Option<Op<'a>> {
        let latest = self.latest_reset();
        match (unseen.mark, unseen.reset) {
            (Some(mark), _) => Some(Op::ObservedReset(mark.reset.min(latest))),
            (None, Some(reset)) => Some(Op::ObservedReset(reset.version.min(latest))),
            (None, None) => None,
        }
    }

    fn unseen_cell(&self, entry: &Entry, cell: &CellState<'_>, ops: &mut Vec<Op<'a>>) {
        let id = CellId { kind: cell.id.kind, element: Cow::Owned(cell.id.element.to_vec()) };
        let unveiled = entry.mark_end();
        if cell.base.as_ref().is_some_and(|(version, _)| version.timestamp >= unveiled) {
            // With a fresh version it replaces what was added to it since: so that goes into it.
            let value = entry.cell_value(&id).map(owned_value);
            ops.push(Op::Cell(id, value));
            return;
        }
        let first = self.writer.at.timestamp;
        for own in cell.contributions.iter().filter(|own| own.first >= unveiled) {
            let restates = Some(Version::new(own.counted, own.contributor));
            ops.push(Op::Count(id.clone(), Contribution { first, sum: own.sum, restates }));
        }
    }
}

#[cfg(test)]
mod tests;

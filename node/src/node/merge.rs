//! Merging batches into the store: those of peers, and at a start those of the log.

use std::collections::VecDeque;

use shared::batch::Batch;
use shared::change::{Change, Op};
use shared::clock::Timestamp;
use shared::version::Version;
use smallvec::SmallVec;

use super::Applied;
use super::restate::Restating;
use crate::notifications::arrived::Arrived;
use crate::notifications::{Notices, Wanted};
use crate::store::key::Key;
use crate::store::origins::{OriginIndex, TooManyOrigins};
use crate::store::rich::Source;
use crate::store::shard::{PREFETCHED_MAX, Writer, merge_change};
use crate::store::usage::Usage;
use crate::store::{ShardSet, Store};

/// Who is told what a remote batch does to keys, and of what.
pub(super) struct Witness<'w> {
    pub(super) wanted: Wanted,
    pub(super) tell: &'w mut dyn FnMut(Notices),
}

/// How a batch is merged.
#[derive(Clone, Copy)]
pub(super) struct Merging {
    /// The number of its origin.
    pub(super) index: OriginIndex,
    /// A client elsewhere uses what it writes, about now.
    pub(super) usage: Usage,
    /// What is not beyond this is there already.
    pub(super) held: Timestamp,
}

/// Merges what lies beyond `held` of a validated batch, each transaction under the locks of all its shards. `restating` is
/// given if it restates anybody's contribution, and this node may know better.
pub(super) fn merge_batch(
    store: &Store,
    batch: &Batch<'_>,
    Merging { index, usage, held }: Merging,
    restating: Option<&Restating<'_>>,
    mut witness: Option<Witness<'_>>,
) -> Result<Applied, TooManyOrigins> {
    let mut applied = Applied::default();
    let mut changes = changes_beyond(store, batch, held).peekable();
    let mut transaction: Vec<Change<'_>> = Vec::new();
    while let Some((at, change)) = changes.next() {
        transaction.push(change);
        while let Some((_, change)) = changes.next_if(|(other, _)| *other == at) {
            transaction.push(change);
        }
        let mut locked = store.lock(shards_of(&transaction));
        let at = Version::new(at, batch.header.origin);
        let writer = Writer { at, index, source: Source::Log, usage: Some(usage) };
        let owned: Option<Vec<_>> = restating.map(|restating| {
            transaction.iter().filter_map(|change| restating.of_change(change, &locked)).collect()
        });
        let mut arrived = witness.as_ref().and_then(|witness| Arrived::begin(witness.wanted, writer.at));
        let mut uses = uses_of(&transaction, usage).into_iter();
        for change in transaction.drain(..) {
            let writer = if uses.next() == Some(false) { writer.again() } else { writer };
            let before = arrived.as_ref().and_then(|arrived| arrived.before(&change, &locked));
            let won = merge_change(&mut locked, change, writer, &store.origins)?;
            if let (Some(arrived), Some(before), true) = (&mut arrived, before, won) {
                arrived.after(before, &locked);
            }
            *(if won { &mut applied.won } else { &mut applied.stale }) += 1;
        }
        if let (Some(restating), Some(owned)) = (restating, owned) {
            restating.note_missing_in(owned, &locked);
        }
        let notices = arrived.map(|arrived| arrived.finish(&locked));
        drop(locked);
        if let (Some(witness), Some(notices)) = (&mut witness, notices) {
            (witness.tell)(notices);
        }
    }
    Ok(applied)
}

/// The changes of a validated batch beyond `held`, decoded a few at a time to read ahead what they will be merged into. Nobody
/// who asks for the next one may hold a shard's lock.
fn changes_beyond<'b>(
    store: &'b Store,
    batch: &Batch<'b>,
    held: Timestamp,
) -> impl Iterator<Item = (Timestamp, Change<'b>)> {
    let mut beyond = batch.changes().map_while(Result::ok).filter(move |(at, _)| *at > held);
    let mut next = VecDeque::with_capacity(PREFETCHED_MAX.min(batch.header.count as usize));
    std::iter::from_fn(move || {
        if next.is_empty() {
            next.extend(beyond.by_ref().take(PREFETCHED_MAX));
            if next.len() > 1 && store.exceeds_caches() {
                let keys = next.iter().map(|(_, change): &(_, Change<'_>)| Key::new(change.db, &change.key));
                store.prefetch(&keys.collect::<SmallVec<[_; PREFETCHED_MAX]>>());
            }
        }
        next.pop_front()
    })
}

/// If uses are counted, which of a transaction's changes are uses of their own, and not of the key of the one before.
fn uses_of(changes: &[Change<'_>], usage: Usage) -> Vec<bool> {
    let differ = |pair: &[Change<'_>]| (pair[0].db, &pair[0].key) != (pair[1].db, &pair[1].key);
    match usage.frequency {
        Some(_) => [true].into_iter().chain(changes.windows(2).map(differ)).collect(),
        None => Vec::new(),
    }
}

/// Merges, at a start, what of a validated batch lies beyond `held` and concerns these shards: change by change, for
/// nobody looks yet.
pub(crate) fn merge_shards(
    store: &Store,
    batch: &Batch<'_>,
    held: Timestamp,
    index: OriginIndex,
    own: ShardSet,
) -> Result<(), TooManyOrigins> {
    for (at, change) in batch.changes().map_while(Result::ok).filter(|(at, _)| *at > held) {
        let set = shards_of(std::slice::from_ref(&change)).intersection(own);
        if set != ShardSet::EMPTY {
            let at = Version::new(at, batch.header.origin);
            let writer = Writer { at, index, source: Source::Log, usage: None };
            merge_change(&mut store.lock(set), change, writer, &store.origins)?;
        }
    }
    Ok(())
}

fn shards_of(changes: &[Change<'_>]) -> ShardSet {
    changes.iter().fold(ShardSet::EMPTY, |set, change| match change.op {
        Op::FlushDb | Op::FlushAll | Op::ObservedFlush(_) => ShardSet::ALL,
        _ => set.with(Key::new(change.db, &change.key).shard()),
    })
}

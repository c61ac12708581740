//! Merges the log's batches at a start, on several threads.
//!
//! Problem: to merge takes most of the time of a replay, and a replay must come to what the log says: of one origin, and of
//! one key, the order of changes matters to a few rules.
//!
//! Idea: each thread owns a run of shards. All batches go to all threads, in the order of the log, and a thread merges those
//! changes that concern its shards. What a shard comes to depends on nothing but the changes that concern it, and it gets
//! the same ones in the same order as if there were one thread: a key lies in one shard, and a flush is merged into each
//! shard by its owner, in its place. That the shards are not in step does not matter, for nobody looks at them before all
//! threads are done.
//!
//! Each thread decodes all that is given: that costs a small part of what merging does, and nothing is handed from one to
//! another but bytes. They are gathered in parcels, so that a log of small batches does not wake anybody for each.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope};

use parking_lot::Mutex;
use shared::batch::Batch;
use shared::clock::Timestamp;

use crate::node::merge_shards;
use crate::store::key::SHARDS;
use crate::store::origins::{OriginIndex, TooManyOrigins};
use crate::store::{ShardSet, Store};

/// A parcel is handed over when it is this long, in bytes; one with a longer batch is longer.
const PARCEL_BYTES: usize = 256 << 10;

/// So many parcels wait for a thread; then the log is not read further.
const PARCELS_MAX: usize = 2;

/// Batches that were found to be whole, one behind the other, and what is held of each one's origin.
#[derive(Default)]
struct Parcel {
    bytes: Vec<u8>,
    batches: Vec<(Range<usize>, Timestamp, OriginIndex)>,
}

/// Those who merge batches at a start.
pub(super) struct Mergers<'s> {
    store: &'s Store,
    /// Empty if there is but this thread.
    senders: Vec<SyncSender<Arc<Parcel>>>,
    parcel: Parcel,
    failure: &'s Mutex<Option<TooManyOrigins>>,
}

impl<'s> Mergers<'s> {
    /// Starts the threads; they end when it is dropped. What goes wrong with one shows in `failure` then.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, 's>,
        threads: usize,
        store: &'s Store,
        failure: &'s Mutex<Option<TooManyOrigins>>,
    ) -> Self {
        let mut mergers = Self { store, senders: Vec::new(), parcel: Parcel::default(), failure };
        for thread in 0..if threads > 1 { threads } else { 0 } {
            let own = ShardSet::run(SHARDS * thread / threads..SHARDS * (thread + 1) / threads);
            let (sender, parcels) = sync_channel(PARCELS_MAX);
            let work = move || merge_parcels(&parcels, store, own, failure);
            if Builder::new().name("replay".to_owned()).spawn_scoped(scope, work).is_err() {
                // Without all of them it is done on this thread: those that were started have nothing to do.
                mergers.senders.clear();
                break;
            }
            mergers.senders.push(sender);
        }
        mergers
    }

    /// Merges what lies beyond `held` of a batch, now or soon.
    pub(super) fn merge(&mut self, bytes: &[u8], batch: &Batch<'_>, held: Timestamp, index: OriginIndex) {
        if self.senders.is_empty() {
            return note(self.failure, merge_shards(self.store, batch, held, index, ShardSet::ALL));
        }
        let start = self.parcel.bytes.len();
        self.parcel.bytes.extend_from_slice(bytes);
        self.parcel.batches.push((start..start + bytes.len(), held, index));
        if self.parcel.bytes.len() >= PARCEL_BYTES {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let parcel = Arc::new(std::mem::take(&mut self.parcel));
        for sender in &self.senders {
            // A thread that is gone has panicked, and that will show when all are waited for.
            let _ = sender.send(Arc::clone(&parcel));
        }
    }
}

impl Drop for Mergers<'_> {
    fn drop(&mut self) {
        self.hand_over();
    }
}

fn merge_parcels(
    parcels: &Receiver<Arc<Parcel>>,
    store: &Store,
    own: ShardSet,
    failure: &Mutex<Option<TooManyOrigins>>,
) {
    for parcel in parcels {
        for (range, held, index) in &parcel.batches {
            let batch = Batch::decode(&parcel.bytes[range.clone()])
                .expect("it was decoded before it was handed over");
            note(failure, merge_shards(store, &batch, *held, *index, own));
        }
    }
}

fn note(failure: &Mutex<Option<TooManyOrigins>>, merged: Result<(), TooManyOrigins>) {
    if let Err(error) = merged {
        *failure.lock() = Some(error);
    }
}

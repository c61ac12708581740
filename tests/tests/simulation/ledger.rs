//! What was written: every batch that any node ever sealed, what was acknowledged, what was counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use node::simulation::{LoggedBatch, Part, Stray};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::version::{Frontier, Version};

use crate::world::Micros;

/// A batch that its author has sealed.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    pub(crate) bytes: Arc<[u8]>,
}

/// A write to a key that nothing else touches.
#[derive(Clone, Debug)]
pub(crate) enum Kept {
    /// Set for good.
    Key(Vec<u8>),
    /// Added to one of the counters that only grow, so many quarters.
    Added(&'static [u8], i128),
}

/// What was written. See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// By origin and the end of the batch's range.
    batches: BTreeMap<Origin, BTreeMap<Timestamp, Sealed>>,
    /// Writes that were durable when they were acknowledged: at which host, and when.
    pub(crate) acknowledged: BTreeMap<Version, (usize, Micros)>,
    /// Keys that are written once only, by the write that did.
    pub(crate) kept: BTreeMap<Version, Kept>,
    /// Of those the durable ones that were acknowledged: at which host, and when.
    pub(crate) acknowledged_kept: BTreeMap<Version, (usize, Micros)>,
    /// Whether anything was done that takes counters away.
    pub(crate) has_flushed_all: bool,
    /// By host what it last listed of each origin in its frontier: where an origin that all have let go of has ended.
    listed: BTreeMap<usize, BTreeMap<Origin, Timestamp>>,
    /// Origins whose node began another while it ran, to join its group: what they wrote was written once more.
    pub(crate) given_up: BTreeSet<Origin>,
    /// Deletions that no frontier covered when a reconcile had brought them: their author may have lost them, and they
    /// may be dropped by now, but what they ended stays deleted.
    pub(crate) stray_ends: BTreeSet<Stray>,
    /// How many quarters were added to a counter that nothing but increments touches, by transaction.
    pub(crate) increments: BTreeMap<Version, Vec<(Vec<u8>, i128)>>,
}

impl Ledger {
    /// A batch was found in the log of a node, perhaps its author.
    ///
    /// # Errors
    /// If it is not what was found before, or its author never sealed it.
    pub(crate) fn note(&mut self, batch: &LoggedBatch, is_author: bool) -> Result<(), String> {
        let header = batch.header;
        let sealed = self.batches.entry(header.origin).or_default();
        match sealed.get(&header.upto) {
            Some(known) if known.bytes == batch.bytes => Ok(()),
            None if is_author => {
                let overlaps = sealed.last_key_value().is_some_and(|(upto, _)| header.after < *upto);
                sealed.insert(header.upto, Sealed { bytes: Arc::clone(&batch.bytes) });
                if overlaps {
                    return Err(format!("batches of origin {} overlap: {header:?}", header.origin));
                }
                Ok(())
            }
            _ => Err(format!("a log holds another batch than its author sealed: {header:?}")),
        }
    }

    /// A reconcile has brought these to a host, and no frontier covers them.
    pub(crate) fn note_strays(&mut self, strays: BTreeSet<Stray>) {
        let ends = strays.into_iter().filter(|(_, _, part, _)| matches!(part, Part::Reset | Part::Mark));
        self.stray_ends.extend(ends);
    }

    /// The batches of all origins, each with the end of its range.
    pub(crate) fn batches(&self) -> impl Iterator<Item = (Origin, Timestamp, &Sealed)> {
        self.batches
            .iter()
            .flat_map(|(origin, sealed)| sealed.iter().map(move |(upto, sealed)| (*origin, *upto, sealed)))
    }

    /// A host holds this now.
    pub(crate) fn list(&mut self, host: usize, frontier: &Frontier) {
        self.listed.entry(host).or_default().extend(frontier.iter());
    }

    /// What a host held is gone, but for what it will list.
    pub(crate) fn unlist(&mut self, host: usize) {
        self.listed.remove(&host);
    }

    /// How far an origin has come, wherever it came farthest.
    fn end_of(&self, origin: Origin) -> Timestamp {
        self.listed.values().filter_map(|listed| listed.get(&origin)).max().copied().unwrap_or_default()
    }

    /// Whether any host holds a write.
    pub(crate) fn has_survived(&self, write: Version) -> bool {
        self.end_of(write.origin) >= write.timestamp
    }

    /// Whether two frontiers mean the same: of each batch that survived both hold all, or the same part.
    pub(crate) fn are_equal(&self, one: &Frontier, other: &Frontier) -> bool {
        self.batches.iter().all(|(origin, sealed)| {
            let end =
                self.end_of(*origin).min(sealed.last_key_value().map_or(Timestamp::ZERO, |(upto, _)| *upto));
            one.get(*origin).min(end) == other.get(*origin).min(end)
        })
    }

    /// A host has made a write durable, and says so.
    pub(crate) fn acknowledge(&mut self, write: Version, host: usize, now: Micros) {
        self.acknowledged.insert(write, (host, now));
        if self.kept.contains_key(&write) {
            self.acknowledged_kept.insert(write, (host, now));
        }
    }

    /// What a host wrote was, or will be, written once more: it cannot be found by its versions.
    pub(crate) fn forget_versions(&mut self, host: usize) {
        self.acknowledged.retain(|_, (by, _)| *by != host);
    }

    /// The directory of a host is gone, or was put back to what it was then: what it acknowledged since may be lost.
    pub(crate) fn forgive(&mut self, host: usize, since: Micros) {
        self.acknowledged.retain(|_, (by, at)| *by != host || *at < since);
        self.acknowledged_kept.retain(|_, (by, at)| *by != host || *at < since);
    }
}

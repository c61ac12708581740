//! Where a stream of the feed stands, and what of the log it wants. Without I/O: the stream and the simulation use it.

use std::collections::BTreeMap;

use shared::clock::Timestamp;
use shared::id::Origin;

use crate::log::release::StreamPosition;
use crate::log::segment::LogPosition;
use crate::log::{Log, Sealed};
use crate::node::{MergeCounters, count};

/// From where on a follower wants an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// After this timestamp.
    After(Timestamp),
    /// From where this very stream stands.
    Continued,
}

/// What a follower asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) origins: BTreeMap<Origin, Wanted>,
    /// For the origins not listed.
    pub(crate) others: Option<Wanted>,
}

/// How far a stream is, by origin.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    origins: BTreeMap<Origin, Timestamp>,
    others: Option<Timestamp>,
    position: StreamPosition,
}

impl Cursor {
    /// Replaces what is followed.
    ///
    /// # Errors
    /// The origins whose log starts too late for that, each with where it does; nothing is changed then.
    pub(crate) fn subscribe(
        &mut self,
        log: &Log,
        asked: &Subscription,
    ) -> Result<(), BTreeMap<Origin, Timestamp>> {
        log.add_stream(&self.position);
        let (origins, others) = self.resubscribe(asked);
        let mut starts = BTreeMap::new();
        let mut position = log.end();
        for origin in log.origins() {
            let Some(after) = origins.get(&origin).copied().or(others) else { continue };
            match log.find(origin, after) {
                Ok(Some(start)) => position = position.min(start),
                Ok(None) => {}
                Err(start) => {
                    starts.insert(origin, start);
                }
            }
        }
        if starts.is_empty() {
            (self.origins, self.others) = (origins, others);
            self.position.set(position);
            return Ok(());
        }
        if self.others.is_none() && self.origins.is_empty() {
            self.position.set(log.end());
        }
        Err(starts)
    }

    /// Where in the log it goes on.
    pub(crate) fn position(&self) -> LogPosition {
        self.position.get()
    }

    /// Goes on from `next`: what lies before it was read.
    pub(crate) fn pass(&mut self, next: LogPosition) {
        self.position.set(next);
    }

    /// Moves past these batches, the log's next, and gives those of them that are wanted.
    pub(crate) fn take_wanted(&mut self, batches: Vec<Sealed>, counters: &MergeCounters) -> Vec<Sealed> {
        if let Some(last) = batches.last() {
            self.pass(self.position().max(last.end()));
        }
        let wanted: Vec<Sealed> = batches.into_iter().filter(|sealed| self.take(sealed)).collect();
        count(&counters.batches_out, wanted.len() as u64);
        count(&counters.bytes_out, wanted.iter().map(|sealed| sealed.bytes.len() as u64).sum());
        wanted
    }

    /// Whether the log no longer has what comes next here.
    pub(crate) fn is_cut_off(&self, log: &Log) -> bool {
        let is_truncated =
            |origin: &Origin| self.after(*origin).is_some_and(|after| log.find(*origin, after).is_err());
        self.position() < log.serve_from() || log.origins().iter().any(is_truncated)
    }

    fn after(&self, origin: Origin) -> Option<Timestamp> {
        self.origins.get(&origin).copied().or(self.others)
    }

    /// What a new subscription means for this stream.
    fn resubscribe(&self, asked: &Subscription) -> (BTreeMap<Origin, Timestamp>, Option<Timestamp>) {
        let point = |wanted: Wanted, here: Option<Timestamp>| match wanted {
            Wanted::After(after) => after,
            Wanted::Continued => here.unwrap_or(Timestamp::ZERO),
        };
        let listed =
            asked.origins.iter().map(|(origin, wanted)| (*origin, point(*wanted, self.after(*origin))));
        let mut origins: BTreeMap<_, _> = listed.collect();
        if asked.others == Some(Wanted::Continued) {
            for (origin, at) in &self.origins {
                origins.entry(*origin).or_insert(*at);
            }
        }
        let others = asked.others.map(|wanted| point(wanted, self.others));
        (origins, others)
    }

    /// Takes the batch if it is wanted. One that begins beyond what the follower has by now stands in the log because of
    /// a reconcile that was cut off; what it lacks in between comes later.
    fn take(&mut self, sealed: &Sealed) -> bool {
        let header = sealed.header;
        let after = self.after(header.origin);
        let wanted = after.is_some_and(|after| header.after <= after && header.upto > after);
        if wanted {
            self.origins.insert(header.origin, header.upto);
        }
        wanted
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shared::batch::BatchHeader;

    use super::*;

    #[test]
    fn a_gap_is_passed_over_until_what_it_lacks_has_come() {
        let mut cursor = Cursor { others: Some(Timestamp(0)), ..Cursor::default() };
        let sealed = |after, upto| Sealed {
            position: LogPosition(0),
            header: BatchHeader {
                origin: Origin(1),
                after: Timestamp(after),
                upto: Timestamp(upto),
                count: 1,
            },
            bytes: Arc::default(),
        };
        assert!(cursor.take(&sealed(0, 10)));
        assert!(!cursor.take(&sealed(20, 30)));
        assert!(cursor.take(&sealed(5, 20)), "overlaps are fine");
        assert!(cursor.take(&sealed(20, 30)));
        assert!(!cursor.take(&sealed(10, 30)));
    }
}

//! Where in the log a follower finds what it lacks of an origin.
//!
//! A follower says: I hold `after` of this origin. Its first batch beyond that is somewhere in the log, among those of
//! all origins. An entry per batch would cost more memory than small batches themselves, so the index has one per
//! origin and *stride*, a stretch of the log of fixed length: the first batch that begins in it. Whoever looks for
//! another batch of that stride reads on from there.
//!
//! The index follows what is held: a batch that begins beyond what it knows of its origin is a *gap*, left by a
//! reconcile that was cut off, and passed over. Where a reconcile was adopted, the log of each origin that jumped
//! starts anew ([`LogIndex::start_at`]).

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;

use shared::batch::BatchHeader;
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::time::WallMillis;
use shared::version::Frontier;

use super::segment::LogPosition;

/// The usual stride, in bytes of log. A log has at most one entry of 16 bytes per stride and origin that wrote in it.
pub(crate) const STRIDE_BYTES: NonZeroU64 = NonZeroU64::new(1 << 20).expect("it is not zero");

/// An origin that has left the frontier is remembered for so long, in milliseconds.
const FORGOTTEN_AFTER_MS: u64 = 600_000;

/// A sparse index of a log, on disk or in memory.
#[derive(Clone, Debug)]
pub(crate) struct LogIndex {
    stride_bytes: NonZeroU64,
    origins: BTreeMap<Origin, Indexed>,
    /// Up to where the batches of each origin are not in the log.
    start: Frontier,
    /// No entry lies before it.
    first: LogPosition,
    /// What stands before it in the log is served to nobody, and noted nowhere.
    serve_from: LogPosition,
}

/// What is known of one origin.
#[derive(Clone, Debug, Default)]
struct Indexed {
    /// Up to where batches were noted.
    upto: Timestamp,
    entries: VecDeque<Entry>,
}

/// The first batch of an origin in a stride: where its record is, and what is beyond what.
#[derive(Clone, Copy, Debug)]
struct Entry {
    position: LogPosition,
    after: Timestamp,
}

impl LogIndex {
    /// The index of an empty log. A log of which only a little is kept needs a stride that is a small part of
    /// that, for an origin counts as dropped from a stride as soon as the first batch in it is.
    pub(crate) fn new(stride_bytes: NonZeroU64) -> Self {
        Self::starting(stride_bytes, Frontier::new(), LogPosition::default())
    }

    /// The index of a log of which batches are served from a position on, each origin's beyond what `start` says.
    pub(crate) const fn starting(stride_bytes: NonZeroU64, start: Frontier, serve_from: LogPosition) -> Self {
        Self { stride_bytes, origins: BTreeMap::new(), start, first: serve_from, serve_from }
    }

    /// Notes a batch, in the order of the log; one that is a gap, or stands before what is served, is passed over.
    pub(crate) fn note(&mut self, position: LogPosition, batch: &BatchHeader) {
        let start = self.start.get(batch.origin);
        let known = self.origins.get(&batch.origin).map_or(start, |indexed| indexed.upto);
        if position < self.serve_from || batch.after > known || batch.upto <= known {
            return;
        }
        let indexed =
            self.origins.entry(batch.origin).or_insert_with(|| Indexed { upto: start, ..Indexed::default() });
        let stride = position.0 / self.stride_bytes;
        if indexed.entries.back().is_none_or(|last| last.position.0 / self.stride_bytes < stride) {
            // What is before `upto` was found in an earlier batch, even if this one covers it once more.
            indexed.entries.push_back(Entry { position, after: indexed.upto });
        }
        indexed.upto = batch.upto;
    }

    /// Notes that of `origin` what lies up to `at` is held, though not from this log: its log starts there.
    pub(crate) fn start_at(&mut self, origin: Origin, at: Timestamp) {
        self.start.advance(origin, at);
        if let Some(indexed) = self.origins.get_mut(&origin)
            && indexed.upto < at
        {
            *indexed = Indexed { upto: at, entries: VecDeque::new() };
        }
    }

    /// Lets the log of each origin of which less is noted than `held` start there: it came from a snapshot.
    pub(crate) fn start_where_missing(&mut self, held: &Frontier) {
        for (origin, at) in held.iter() {
            let noted = self.origins.get(&origin).map(|indexed| indexed.upto);
            if noted.unwrap_or_else(|| self.start.get(origin)) < at {
                self.start_at(origin, at);
            }
        }
        self.forget_ended(held.floor());
    }

    /// Forgets all: from `serve_from` on, batches are served beyond what `start` says.
    pub(crate) fn restart(&mut self, start: Frontier, serve_from: LogPosition) {
        *self = Self::starting(self.stride_bytes, start, serve_from);
    }

    /// What stands before it in the log is served to nobody.
    pub(crate) const fn serve_from(&self) -> LogPosition {
        self.serve_from
    }

    /// The origins of which batches were noted, or of which the log starts later than they do.
    pub(crate) fn origins(&self) -> impl Iterator<Item = Origin> + '_ {
        let shortened = self.start.iter().map(|(origin, _)| origin);
        self.origins.keys().copied().chain(shortened.filter(|origin| !self.origins.contains_key(origin)))
    }

    /// A record at or before the first batch of `origin` that goes beyond `after`, or nothing if the log holds none.
    ///
    /// Whoever is behind [`LogIndex::log_start`] gets the first batch left, and would miss those before it.
    pub(crate) fn start_for(&self, origin: Origin, after: Timestamp) -> Option<LogPosition> {
        let indexed = self.origins.get(&origin).filter(|indexed| indexed.upto > after)?;
        let beyond = indexed.entries.partition_point(|entry| entry.after <= after);
        indexed.entries.get(beyond.saturating_sub(1)).map(|entry| entry.position)
    }

    /// Notes that what is before `position` was dropped.
    ///
    /// Of a stride that is dropped in part, an origin whose first batch is gone counts as gone.
    pub(crate) fn drop_before(&mut self, position: LogPosition) {
        if position <= self.first {
            return;
        }
        self.first = LogPosition(u64::MAX);
        for (origin, indexed) in &mut self.origins {
            let gone = indexed.entries.partition_point(|entry| entry.position < position);
            if gone > 0 {
                indexed.entries.drain(..gone);
                let left_after = indexed.entries.front().map_or(indexed.upto, |entry| entry.after);
                self.start.advance(*origin, left_after);
            }
            if let Some(entry) = indexed.entries.front() {
                self.first = self.first.min(entry.position);
            }
        }
        if self.first.0 == u64::MAX {
            self.first = position;
        }
    }

    /// What [`LogIndex::log_start`] will be once what is before `position` is dropped.
    pub(crate) fn log_start_from(&self, position: LogPosition) -> Frontier {
        let mut start = self.start.clone();
        for (origin, indexed) in &self.origins {
            let gone = indexed.entries.partition_point(|entry| entry.position < position);
            if gone > 0 {
                start.advance(*origin, indexed.entries.get(gone).map_or(indexed.upto, |entry| entry.after));
            }
        }
        start
    }

    /// Where the log of each origin starts: whoever holds less of one cannot be served from here. Origins that are
    /// not listed are complete, or, once a floor was raised, complete beyond it.
    pub(crate) const fn log_start(&self) -> &Frontier {
        &self.start
    }

    /// Where the log of an origin starts: whoever holds less of it cannot be served from here. Of one that is noted and was
    /// never shortened it holds everything; of one that is not, nothing below the floor.
    pub(crate) fn starts_at(&self, origin: Origin) -> Timestamp {
        let is_whole = self.origins.contains_key(&origin) && !self.start.lists(origin);
        if is_whole { Timestamp::ZERO } else { self.start.get(origin) }
    }

    /// Forgets origins that ended a while before the floor of the group, as it is now. Members whose floor is a little behind
    /// still ask for those that ended since, and hear that nothing is missing.
    pub(crate) fn forget_ended(&mut self, floor: Timestamp) {
        let forgotten = WallMillis(floor.wall().0.saturating_sub(FORGOTTEN_AFTER_MS));
        if Timestamp::of_wall(forgotten) > self.start.floor() {
            self.raise_floor(Timestamp::of_wall(forgotten));
        }
    }

    /// Forgets origins that ended at or before the floor of the group, so that they do not pile up. Below it nobody is
    /// served.
    pub(crate) fn raise_floor(&mut self, floor: Timestamp) {
        self.start.raise_floor(floor);
        self.origins.retain(|_, indexed| indexed.upto > floor);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: Origin = Origin(1);
    const B: Origin = Origin(2);
    const STRIDE: u64 = 100;

    fn index() -> LogIndex {
        LogIndex::new(NonZeroU64::new(STRIDE).unwrap())
    }

    fn note(index: &mut LogIndex, position: u64, origin: Origin, after: u64, upto: u64) {
        let header = BatchHeader { origin, after: Timestamp(after), upto: Timestamp(upto), count: 1 };
        index.note(LogPosition(position), &header);
    }

    #[track_caller]
    fn check(index: &LogIndex, origin: Origin, after: u64, expected: Option<u64>) {
        assert_eq!(index.start_for(origin, Timestamp(after)), expected.map(LogPosition));
    }

    #[test]
    fn finds_the_stride_of_the_first_batch_beyond() {
        let mut index = index();
        note(&mut index, 0, A, 0, 10);
        note(&mut index, 40, B, 0, 11);
        note(&mut index, 80, A, 10, 20);
        note(&mut index, 120, A, 20, 30);
        check(&index, A, 0, Some(0));
        check(&index, A, 19, Some(0));
        check(&index, A, 20, Some(120));
        check(&index, A, 29, Some(120));
        check(&index, A, 30, None);
        check(&index, B, 0, Some(40));
        check(&index, Origin(3), 0, None);
    }

    #[test]
    fn dropping_moves_the_start_of_those_that_lost_batches() {
        let mut index = index();
        note(&mut index, 0, A, 0, 10);
        note(&mut index, 100, A, 10, 20);
        note(&mut index, 150, B, 0, 11);
        assert_eq!(index.log_start_from(LogPosition(100)).get(A), Timestamp(10));
        index.drop_before(LogPosition(100));
        assert_eq!(index.log_start().get(A), Timestamp(10));
        assert_eq!(index.log_start().get(B), Timestamp::ZERO);
        check(&index, A, 10, Some(100));
        index.drop_before(LogPosition(300));
        assert_eq!((index.log_start().get(A), index.log_start().get(B)), (Timestamp(20), Timestamp(11)));
        check(&index, A, 10, None);
        note(&mut index, 300, A, 20, 25);
        check(&index, A, 20, Some(300));
    }

    #[test]
    fn a_gap_is_passed_over() {
        let mut index = index();
        note(&mut index, 0, A, 0, 10);
        note(&mut index, 40, A, 50, 60);
        check(&index, A, 10, None);
        note(&mut index, 80, A, 10, 50);
        note(&mut index, 120, A, 50, 60);
        assert_eq!(index.log_start().get(A), Timestamp::ZERO);
        check(&index, A, 10, Some(0));
        check(&index, A, 50, Some(120));
    }

    #[test]
    fn an_origin_that_jumped_starts_anew() {
        let mut index = index();
        note(&mut index, 0, A, 0, 10);
        index.start_at(A, Timestamp(50));
        index.start_at(B, Timestamp(7));
        note(&mut index, 40, A, 50, 60);
        note(&mut index, 80, B, 5, 9);
        assert_eq!((index.log_start().get(A), index.log_start().get(B)), (Timestamp(50), Timestamp(7)));
        check(&index, A, 50, Some(40));
        check(&index, B, 7, Some(80));
    }

    #[test]
    fn what_a_snapshot_holds_beyond_the_log_is_where_it_starts() {
        let mut index = index();
        note(&mut index, 0, A, 0, 10);
        index.start_where_missing(&[(A, Timestamp(10)), (B, Timestamp(5))].into_iter().collect());
        assert_eq!((index.log_start().get(A), index.log_start().get(B)), (Timestamp::ZERO, Timestamp(5)));
        assert_eq!(
            index.origins().collect::<Vec<_>>(),
            [A, B],
            "followers of B are told where its log starts"
        );
        index.restart(Frontier::new(), LogPosition(100));
        note(&mut index, 50, A, 0, 10);
        check(&index, A, 0, None);
    }

    #[test]
    fn origins_below_the_floor_leave() {
        let mut index = index();
        note(&mut index, 0, A, 0, 10);
        note(&mut index, 50, B, 0, 30);
        index.drop_before(LogPosition(90));
        index.raise_floor(Timestamp(20));
        assert_eq!((index.origins.len(), index.log_start().len()), (1, 1));
        assert_eq!(index.log_start().get(A), Timestamp(20));
        note(&mut index, 90, Origin(3), 20, 40);
        check(&index, Origin(3), 20, Some(90));
        assert_eq!(index.log_start().get(Origin(3)), Timestamp(20), "complete beyond the floor");
    }

    proptest! {
        /// Against a list of all batches: a follower that is not behind the start gets all that it lacks, and what is
        /// read in vain is at most a stride.
        #[test]
        fn serves_all_that_a_follower_lacks(
            batches in prop::collection::vec((0_u64..3, 1_u64..60, 0_u64..3, 0_u64..3), 1..60),
            drops in prop::collection::vec((0_usize..60, 0_u64..3000), 0..4),
        ) {
            let mut index = index();
            let (mut list, mut upto, mut position, mut dropped) = (Vec::new(), [0_u64; 3], 0, 0);
            for (number, (origin, bytes, span, overlap)) in batches.into_iter().enumerate() {
                let last = upto[origin as usize];
                let (after, end) = (last.saturating_sub(overlap), last + span);
                note(&mut index, position, Origin(origin + 1), after, end.max(after));
                list.push((position, origin, end));
                upto[origin as usize] = end;
                position += bytes;
                for (_, to) in drops.iter().filter(|(at, _)| *at == number) {
                    dropped = dropped.max((*to).min(position));
                    index.drop_before(LogPosition(dropped));
                }
            }
            for origin in 0..3 {
                let start = index.log_start().get(Origin(origin + 1)).0;
                for after in start..=upto[origin as usize] {
                    let lacked = |(_, of, end): &&(u64, u64, u64)| *of == origin && *end > after;
                    let first = list.iter().find(lacked).map(|(position, ..)| *position);
                    let found = index.start_for(Origin(origin + 1), Timestamp(after)).map(|found| found.0);
                    prop_assert_eq!(found.is_some(), first.is_some());
                    if let (Some(found), Some(first)) = (found, first) {
                        prop_assert!(dropped <= found && found <= first, "{} {} {}", dropped, found, first);
                        prop_assert!(first / STRIDE == found / STRIDE, "{} {}", found, first);
                    }
                }
                if dropped == 0 {
                    prop_assert_eq!(start, 0);
                }
            }
        }
    }
}

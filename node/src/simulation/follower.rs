//! `FEED FOLLOW`, pulled instead of streamed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use shared::clock::Timestamp;
use shared::id::Origin;
use shared::link::FollowFrom;

use super::{LoggedBatch, SimulatedNode};
use crate::follow::cursor::{Cursor, Subscription, Wanted};
use crate::log::Sealed;

/// A stream of a node's feed, from which batches are taken one by one.
#[derive(Debug, Default)]
pub struct Follower {
    cursor: Cursor,
    /// Read, and not taken yet.
    ready: VecDeque<Arc<[u8]>>,
    is_following: bool,
    jumps_seen: u64,
}

/// A look into the log takes about this many bytes.
const LOOK_BYTES: usize = 4 << 10;

impl Follower {
    /// Follows another list. What was read by the one before comes first.
    ///
    /// # Errors
    /// As `-TRUNCATED`: the origins whose log starts later. Nothing is changed then.
    pub fn follow(
        &mut self,
        node: &SimulatedNode,
        list: &[(Origin, FollowFrom)],
    ) -> Result<(), BTreeMap<Origin, Timestamp>> {
        let wanted = |from: &FollowFrom| match from {
            FollowFrom::After(after) => Wanted::After(*after),
            FollowFrom::Onward => Wanted::Continued,
        };
        let origins = list.iter().map(|(origin, from)| (*origin, wanted(from))).collect();
        self.is_following = !list.is_empty();
        self.cursor.subscribe(&node.server.node.log, &Subscription { origins, others: None })
    }

    /// Whether something was read and not taken yet: it stands before what a new list brings.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next batch that is wanted, if the log has one.
    ///
    /// # Errors
    /// The log no longer has what comes next, or cannot be read: the stream is closed.
    pub fn next(&mut self, node: &SimulatedNode) -> Result<Option<Arc<[u8]>>, String> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Ok(Some(bytes));
            }
            if !self.is_following {
                return Ok(None);
            }
            let from = self.cursor.position();
            let jumps = node.server.node.log.jumps();
            if std::mem::replace(&mut self.jumps_seen, jumps) != jumps
                && self.cursor.is_cut_off(&node.server.node.log)
            {
                return Err("the log starts later now than the follower needs".to_owned());
            }
            let batches = match node.server.node.log.recent(from, LOOK_BYTES) {
                Some(batches) => batches,
                None => self.read_from_disk(node)?,
            };
            let merged = &node.server.node.merged;
            let wanted = self.cursor.take_wanted(batches, merged);
            self.ready.extend(wanted.into_iter().map(|sealed| sealed.bytes));
            if self.ready.is_empty() && self.cursor.position() <= from {
                return Ok(None);
            }
        }
    }

    fn read_from_disk(&mut self, node: &SimulatedNode) -> Result<Vec<Sealed>, String> {
        let Some(reader) = node.server.log_reader() else {
            return Err("the log in memory no longer holds what the follower needs next".to_owned());
        };
        let (batches, next) =
            reader.read(self.cursor.position(), LOOK_BYTES).map_err(|error| error.to_string())?;
        self.cursor.pass(next);
        Ok(batches)
    }
}

/// How far a node's feed is: while it stays, a [`Follower`] that has taken everything finds nothing more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedStanding {
    end: u64,
    jumps: u64,
}

impl SimulatedNode {
    /// How far the feed is.
    #[must_use]
    pub fn feed_standing(&self) -> FeedStanding {
        let log = &self.server.node.log;
        FeedStanding { end: log.end().0, jumps: log.jumps() }
    }

    /// The batches that the log holds from a position on, and where it ends. Those that are no longer in memory are
    /// left out.
    #[must_use]
    pub fn logged_since(&self, position: u64) -> (Vec<LoggedBatch>, u64) {
        let log = &self.server.node.log;
        let end = log.end();
        let from = crate::log::segment::LogPosition(position);
        if end <= from {
            return (Vec::new(), end.0);
        }
        let batches = log.recent(from, usize::MAX).unwrap_or_default();
        let batches = batches.into_iter().map(|Sealed { header, bytes, .. }| LoggedBatch { header, bytes });
        (batches.collect(), end.0)
    }
}

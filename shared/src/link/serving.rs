//! What the peer pulls from this side: the list for the node's `FEED FOLLOW`.

use std::collections::BTreeMap;

use super::message::Subscribe;
use crate::clock::Timestamp;
use crate::id::Origin;

/// Where the node is to begin with an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowFrom {
    /// Behind this timestamp.
    After(Timestamp),
    /// Where its stream stands.
    Onward,
}

/// The subscriptions of one link, seen by the side that serves.
///
/// One list at a time is with the node; what the peer changes meanwhile goes into the next.
///
/// ```text
/// settled --ask--> list with the node --following--> settled, or the next list
///                                     --truncated--> the next list, without the refused origins
/// ```
#[derive(Debug, Default)]
pub(super) struct Serving {
    serial: u64,
    wanted: BTreeMap<Origin, Wanted>,
    pending: Option<Pending>,
    is_changed: bool,
}

/// An origin of the list, and the change that asked for it: asked for again, it is to begin again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    serial: u64,
    from: FollowFrom,
}

#[derive(Debug)]
struct Pending {
    serial: u64,
    list: BTreeMap<Origin, Wanted>,
}

impl Serving {
    /// The peer changes what it pulls.
    pub(super) fn ask(&mut self, change: &Subscribe) {
        self.serial = self.serial.max(change.serial);
        for origin in &change.stop {
            self.wanted.remove(origin);
        }
        for (origin, after) in &change.start {
            self.wanted.insert(*origin, Wanted { serial: self.serial, from: FollowFrom::After(*after) });
        }
        self.is_changed = true;
    }

    /// How many origins the peer pulls.
    pub(super) fn len(&self) -> usize {
        self.wanted.len()
    }

    /// The newest change that was asked for.
    pub(super) const fn serial(&self) -> u64 {
        self.serial
    }

    /// The list that the node is to follow next, if it is time for one. An empty one ends the stream.
    pub(super) fn next_list(&mut self) -> Option<Vec<(Origin, FollowFrom)>> {
        if !self.is_changed || self.pending.is_some() {
            return None;
        }
        self.is_changed = false;
        let list = self.wanted.clone();
        let entries = list.iter().map(|(origin, wanted)| (*origin, wanted.from)).collect();
        self.pending = Some(Pending { serial: self.serial, list });
        Some(entries)
    }

    /// The node follows the list. Returns the serial that took effect.
    pub(super) fn on_following(&mut self) -> Option<u64> {
        let Pending { serial, list } = self.pending.take()?;
        for (origin, asked) in list {
            if let Some(wanted) = self.wanted.get_mut(&origin).filter(|wanted| **wanted == asked) {
                wanted.from = FollowFrom::Onward;
            }
        }
        Some(serial)
    }

    /// The node refused the list because of `starts`. What of that is still wanted is dropped and returned; none, if
    /// the refusal has nothing to do with the list, which would be refused again and again.
    pub(super) fn on_truncated(
        &mut self,
        starts: BTreeMap<Origin, Timestamp>,
    ) -> Option<BTreeMap<Origin, Timestamp>> {
        let Pending { list, .. } = self.pending.take()?;
        if !starts.keys().any(|origin| list.contains_key(origin)) {
            return None;
        }
        self.is_changed = true;
        let mut refused = starts;
        refused.retain(|origin, _| list.contains_key(origin) && self.wanted.get(origin) == list.get(origin));
        for origin in refused.keys() {
            self.wanted.remove(origin);
        }
        Some(refused)
    }
}

//! What is pulled from the peer: where each origin's stream stands, and what of it is still being applied.

use std::collections::{BTreeMap, BTreeSet};

use super::message::Subscribe;
use crate::batch::BatchHeader;
use crate::clock::Timestamp;
use crate::id::Origin;

/// The subscriptions of one link, seen by the side that pulls.
///
/// A change of subscription takes a round trip to take effect, and batches of the old one are on their way until then.
/// So every change has a serial, the peer says in its stream when one took effect, and until then what comes of the
/// origin is passed over.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    serial: u64,
    confirmed: u64,
    pulls: BTreeMap<Origin, Pull>,
    start: BTreeMap<Origin, Timestamp>,
    stop: BTreeSet<Origin>,
    in_flight: BTreeMap<Origin, usize>,
}

#[derive(Debug)]
struct Pull {
    /// The change that began it.
    serial: u64,
    /// The end of the last batch that was taken.
    position: Timestamp,
}

/// What to do with a batch that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Apply it; the serial is its subscription's.
    Apply { serial: u64 },
    /// It was sent before the peer knew that it is not wanted, or is held already.
    PassOver,
    /// It begins beyond the end of the one before.
    Gap,
}

impl Pulls {
    /// Pulls `origin` from `after` on, whatever was before.
    pub(super) fn begin(&mut self, origin: Origin, after: Timestamp) {
        self.serial += 1;
        self.stop.remove(&origin);
        self.start.insert(origin, after);
        self.pulls.insert(origin, Pull { serial: self.serial, position: after });
    }

    /// Stops pulling `origin`. Says whether it was pulled.
    pub(super) fn end(&mut self, origin: Origin) -> bool {
        if self.pulls.remove(&origin).is_none() {
            return false;
        }
        self.serial += 1;
        self.start.remove(&origin);
        self.stop.insert(origin);
        true
    }

    /// The change to tell the peer, if there is one.
    pub(super) fn take_change(&mut self) -> Option<Subscribe> {
        if self.start.is_empty() && self.stop.is_empty() {
            return None;
        }
        Some(Subscribe {
            serial: self.serial,
            start: std::mem::take(&mut self.start),
            stop: std::mem::take(&mut self.stop).into_iter().collect(),
        })
    }

    /// The peer's stream is that of `serial` from here on. Says whether that serial was ever given.
    pub(super) fn confirm(&mut self, serial: u64) -> bool {
        self.confirmed = self.confirmed.max(serial);
        serial <= self.serial
    }

    /// A whole batch has come; if it is to be applied, it counts as in flight from here on.
    pub(super) fn arrive(&mut self, header: &BatchHeader) -> Arrival {
        let Some(pull) = self.pulls.get_mut(&header.origin) else { return Arrival::PassOver };
        if pull.serial > self.confirmed || header.upto <= pull.position {
            return Arrival::PassOver;
        }
        if header.after > pull.position {
            return Arrival::Gap;
        }
        pull.position = header.upto;
        *self.in_flight.entry(header.origin).or_default() += 1;
        Arrival::Apply { serial: pull.serial }
    }

    /// A batch is no longer in flight. Says whether that was the last one of an origin that is pulled no more.
    pub(super) fn land(&mut self, origin: Origin) -> bool {
        let Some(count) = self.in_flight.get_mut(&origin) else { return false };
        *count -= 1;
        if *count > 0 {
            return false;
        }
        self.in_flight.remove(&origin);
        !self.pulls.contains_key(&origin)
    }

    /// Whether batches of `origin` are being applied.
    pub(super) fn is_in_flight(&self, origin: Origin) -> bool {
        self.in_flight.contains_key(&origin)
    }

    /// Whether `serial` is that of the origin's subscription of now, so that its errors count.
    pub(super) fn is_current(&self, origin: Origin, serial: u64) -> bool {
        self.pulls.get(&origin).is_some_and(|pull| pull.serial == serial)
    }

    /// Whether the peer's refusal, made when it knew `serial`, is about the origin's subscription of now.
    pub(super) fn is_refused_at(&self, origin: Origin, serial: u64) -> bool {
        self.pulls.get(&origin).is_some_and(|pull| pull.serial <= serial)
    }

    /// The origins that are being applied.
    pub(super) fn in_flight(&self) -> impl Iterator<Item = Origin> {
        self.in_flight.keys().copied()
    }
}

//! What is to be said to the peer: state, from which the next message is made when the connection takes one.

use std::collections::BTreeMap;

use super::announcing::Announcing;
use super::message::{Goodbye, Holding, Message};
use super::pings::Pings;
use super::{FRONTIER_INTERVAL, Now, PING_INTERVAL};
use crate::clock::Timestamp;
use crate::id::Origin;
use crate::time::MonoMillis;
use crate::version::Frontier;

/// The things that this side has to say, merged while the connection takes none of them.
#[derive(Debug)]
pub(super) struct Saying {
    is_greeted: bool,
    goodbye: Option<Goodbye>,
    pub(super) pong: Option<u64>,
    pub(super) following: Option<u64>,
    truncated: Option<(u64, BTreeMap<Origin, Timestamp>)>,
    pub(super) ack_now: bool,
    pub(super) announcing: Announcing,
    pub(super) ping_at: MonoMillis,
    pub(super) pings: Pings,
    frontier: FrontierSaying,
}

/// What the node holds, and how much of it the peer was told.
#[derive(Debug)]
struct FrontierSaying {
    held: Frontier,
    clock: Timestamp,
    untold: BTreeMap<Origin, Timestamp>,
    is_untold: bool,
    said_at: Option<MonoMillis>,
    /// A prompt frontier is due once this many batches have been applied.
    awaited: Option<u64>,
    /// Another one, asked for later.
    awaited_next: Option<u64>,
    is_prompt: bool,
}

impl Saying {
    /// With what the Hello tells.
    pub(super) fn new(held: Frontier, clock: Timestamp) -> Self {
        let frontier = FrontierSaying {
            held,
            clock,
            untold: BTreeMap::new(),
            is_untold: false,
            said_at: None,
            awaited: None,
            awaited_next: None,
            is_prompt: false,
        };
        Self {
            is_greeted: false,
            goodbye: None,
            pong: None,
            following: None,
            truncated: None,
            ack_now: false,
            announcing: Announcing::default(),
            ping_at: MonoMillis(0),
            pings: Pings::default(),
            frontier,
        }
    }

    /// Whether the Hello is still to be said; asked once.
    pub(super) fn take_hello(&mut self) -> bool {
        !std::mem::replace(&mut self.is_greeted, true)
    }

    /// Only this is said from now on.
    pub(super) fn goodbye(&mut self, goodbye: Goodbye) {
        self.goodbye = Some(goodbye);
    }

    pub(super) fn truncate(&mut self, serial: u64, starts: &BTreeMap<Origin, Timestamp>) {
        let (newest, all) = self.truncated.get_or_insert_default();
        *newest = serial;
        all.extend(starts);
    }

    pub(super) fn hold(&mut self, frontier: &Frontier, clock: Timestamp) {
        let saying = &mut self.frontier;
        saying.clock = saying.clock.max(clock);
        for (origin, upto) in frontier.iter() {
            saying.advance(origin, upto);
        }
        if frontier.floor() > saying.held.floor() {
            saying.held.raise_floor(frontier.floor());
            saying.is_untold = true;
        }
    }

    pub(super) fn hold_origin(&mut self, origin: Origin, upto: Timestamp) {
        self.frontier.advance(origin, upto);
    }

    /// The peer wants a frontier as soon as what came before is applied.
    pub(super) fn on_ack_now(&mut self, applies_issued: u64, applies_done: u64) {
        let saying = &mut self.frontier;
        match saying.awaited {
            None => saying.awaited = Some(applies_issued),
            Some(_) => saying.awaited_next = Some(applies_issued),
        }
        self.on_applies_done(applies_done);
    }

    pub(super) fn on_applies_done(&mut self, applies_done: u64) {
        let saying = &mut self.frontier;
        while saying.awaited.is_some_and(|awaited| awaited <= applies_done) {
            saying.is_prompt = true;
            saying.awaited = saying.awaited_next.take();
        }
    }

    /// The next thing to say; before the link is up only Goodbyes.
    pub(super) fn next(&mut self, is_up: bool, now: Now) -> Option<Message<'static>> {
        if let Some(goodbye) = self.goodbye.take() {
            return Some(Message::Goodbye(goodbye));
        }
        if !is_up {
            return None;
        }
        if let Some((serial, starts)) = self.truncated.take() {
            return Some(Message::Truncated { serial, starts });
        }
        if let Some(serial) = self.following.take() {
            return Some(Message::Following { serial });
        }
        if let Some(id) = self.pong.take() {
            return Some(Message::Pong { id, wall: now.wall });
        }
        if std::mem::take(&mut self.ack_now) {
            return Some(Message::AckNow);
        }
        if let Some(holding) = self.frontier.take(now.mono()) {
            return Some(Message::Frontier(holding));
        }
        self.announcing.next().or_else(|| self.next_ping(now))
    }

    fn next_ping(&mut self, now: Now) -> Option<Message<'static>> {
        if now.mono() < self.ping_at {
            return None;
        }
        self.ping_at = now.mono().after(PING_INTERVAL);
        Some(Message::Ping { id: self.pings.send(now) })
    }

    /// When something is to be said that is not to be said yet.
    pub(super) fn deadline(&self) -> MonoMillis {
        self.frontier.due().map_or(self.ping_at, |due| due.min(self.ping_at))
    }
}

impl FrontierSaying {
    fn advance(&mut self, origin: Origin, upto: Timestamp) {
        if upto > self.held.get(origin) {
            self.held.advance(origin, upto);
            self.untold.insert(origin, upto);
            self.is_untold = true;
        }
    }

    fn due(&self) -> Option<MonoMillis> {
        if self.is_prompt {
            return Some(MonoMillis(0));
        }
        self.is_untold.then(|| self.said_at.map_or(MonoMillis(0), |at| at.after(FRONTIER_INTERVAL)))
    }

    fn take(&mut self, now: MonoMillis) -> Option<Holding> {
        if now < self.due()? {
            return None;
        }
        let mut frontier: Frontier = std::mem::take(&mut self.untold).into_iter().collect();
        frontier.raise_floor(self.held.floor());
        self.is_untold = false;
        self.said_at = Some(now);
        Some(Holding { frontier, clock: self.clock, prompt: std::mem::take(&mut self.is_prompt) })
    }
}

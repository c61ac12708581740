//! Keeps a link to a configured peer, as the agent's own dialler does.

use std::collections::BTreeSet;
use std::time::Duration;

use agent::simulation::Backoff;
use shared::id::NodeId;
use shared::link::{Now, Reason};

use crate::agent::Surroundings;
use crate::driver::Driver;
use crate::network::{Received, Socket};
use crate::world::Micros;

/// As the agent has them.
const GOOD_LINK_US: Micros = 5_000_000;
const DIAL_TIME_MAX_US: Micros = 5_000_000;

/// Dials one peer, again and again.
pub(crate) struct Dialler {
    peer: usize,
    backoff: Backoff,
    state: State,
}

enum State {
    Waiting(Micros),
    Dialling(Socket, Micros),
    Linked,
    /// Until no link with this node is left; since then.
    Spare(NodeId, Micros),
}

impl Dialler {
    pub(crate) fn new(peer: usize, random: fastrand::Rng, now: Now) -> Self {
        Self { peer, backoff: Backoff::new(random), state: State::Waiting(now.mono_us) }
    }

    /// A link was begun on the connection that was dialled.
    pub(crate) const fn linked(&mut self) {
        self.state = State::Linked;
    }

    pub(crate) const fn deadline(&self) -> Option<Micros> {
        match self.state {
            State::Waiting(at) | State::Dialling(_, at) => Some(at),
            State::Linked | State::Spare(..) => None,
        }
    }

    /// Dials if it is time to. Returns a connection that is open now.
    pub(crate) fn turn(&mut self, host: usize, around: &mut Surroundings<'_>) -> Option<Socket> {
        let now = around.now.mono_us;
        match self.state {
            State::Waiting(at) if at <= now => {
                let socket = around.network.dial(host, self.peer, now, around.random);
                self.state = State::Dialling(socket, now + DIAL_TIME_MAX_US);
                None
            }
            State::Dialling(socket, until) => self.await_answer(socket, until, around),
            _ => None,
        }
    }

    fn await_answer(
        &mut self,
        socket: Socket,
        until: Micros,
        around: &mut Surroundings<'_>,
    ) -> Option<Socket> {
        let now = around.now.mono_us;
        match around.network.receive(socket, now) {
            Some(Received::Opened) => return Some(socket),
            Some(_) => self.wait(around.now),
            None if until <= now => {
                around.network.close(socket, now, around.random);
                self.wait(around.now);
            }
            None => {}
        }
        None
    }

    fn wait(&mut self, now: Now) {
        self.state = State::Waiting(now.mono_us + micros(self.backoff.next()));
    }

    /// The link that this dialler began is gone.
    pub(crate) fn on_ended(&mut self, driver: &Driver, now: Now) {
        if driver.up_for(now) >= GOOD_LINK_US {
            self.backoff.reset();
        }
        match (driver.goodbye(), driver.peer()) {
            (None | Some(Reason::Leaving | Reason::Silent | Reason::Other), _) => {}
            (Some(Reason::Duplicate), Some(peer)) => {
                self.state = State::Spare(peer, now.mono_us);
                return;
            }
            _ => self.backoff.slow_down(),
        }
        self.wait(now);
    }

    /// These nodes are linked now.
    pub(crate) fn on_linked(&mut self, linked: &BTreeSet<NodeId>, now: Now) {
        if let State::Spare(peer, since) = self.state
            && !linked.contains(&peer)
        {
            if now.mono_us - since >= GOOD_LINK_US {
                self.backoff.reset();
            }
            self.wait(now);
        }
    }
}

fn micros(duration: Duration) -> Micros {
    u64::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

//! Which origin is pulled from which peer.
//!
//! Problem: in any topology each batch should cross this host's wire once, from whoever has it first, and go on coming
//! when a link dies or a peer hangs; and no two hosts may wait for each other.
//!
//! Rule: each origin has one upstream at a time.
//!
//! - The first peer that is known to be ahead of this node becomes the upstream. A peer is always first for its own
//!   origin, so when its link comes up it is taken at once, before it has written anything.
//! - A peer that pulls an origin from here is not ahead of this node, so it is never its upstream. Should it get ahead
//!   after all, it may be taken; told so by a subscription from behind its own position, it drops its own.
//! - The upstream is left when its link is lost, and when it delivered nothing for max(500 ms, 4 round trips) while
//!   another is ahead; then it is avoided for a while. For the author itself any other upstream is left after 2 s.
//! - A changed upstream takes over only when nothing from the old one is being applied any more, and begins at what is
//!   held then, so little comes twice.
//! - What a peer's log no longer holds is not pulled from it until this node holds as much as the log begins with.
//!
//! Pure: the hub hands in what it hears and the time, and carries out the orders.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shared::clock::Timestamp;
use shared::id::{NodeId, Origin};
use shared::link::PullRefusal;
use shared::time::MonoMillis;
use shared::version::Frontier;

mod lag;

use lag::Arrivals;

/// A link of this agent; counted up, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What a link is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Pull the origin from the link's peer, from the timestamp on.
    Subscribe(LinkId, Origin, Timestamp),
    /// Stop pulling the origin from the link's peer, and say when nothing of it is in flight.
    Unsubscribe(LinkId, Origin),
}

/// The smallest time in which an upstream must deliver something, while another is ahead.
const STALL_MIN: Duration = Duration::from_millis(500);

/// How long an upstream that did not deliver is avoided for that origin.
const STALL_AVOIDED: Duration = Duration::from_secs(10);

/// How long an origin is not pulled from a peer after a gap, or while what the peer announces is on its way; after a change
/// from the future, or if the origin was evicted; and if the peer's log starts too late, unless this node gets that far
/// before.
const GAP_AVOIDED: Duration = Duration::from_millis(200);
const SUSPENDED_AVOIDED: Duration = Duration::from_secs(5);
const TRUNCATED_AVOIDED: Duration = Duration::from_secs(30);

/// How long an origin's author must be linked before it takes the place of another upstream.
const AUTHOR_SETTLED: Duration = Duration::from_secs(2);

/// How long a changed upstream waits for what is in flight from the old one; then some of it may come twice.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// Decides from whom each origin is pulled. See the module's documentation.
#[derive(Debug)]
pub struct Router {
    node_id: NodeId,
    own: Origin,
    held: Frontier,
    peers: BTreeMap<LinkId, Peer>,
    routes: BTreeMap<Origin, Route>,
    avoided: BTreeMap<(LinkId, Origin), MonoMillis>,
    /// Where the logs of peers start that cannot stream what is missing here.
    truncated: BTreeMap<(LinkId, Origin), Timestamp>,
    /// When it was heard of more than is held.
    behind: BTreeMap<Origin, Arrivals>,
    orders: Vec<Order>,
    random: fastrand::Rng,
}

#[derive(Debug)]
struct Peer {
    node_id: NodeId,
    origin: Origin,
    announced: Frontier,
    /// What it pulls from here.
    follows: BTreeSet<Origin>,
    round_trip_ms: u64,
    /// What it says is so late.
    late_ms: u64,
}

#[derive(Debug)]
enum Route {
    Pulling(Pulling),
    /// The old upstream's last batches are being applied; the next is chosen when they are, or at the time given.
    Draining(LinkId, MonoMillis),
}

#[derive(Clone, Copy, Debug)]
struct Pulling {
    link: LinkId,
    /// When it is left, unless it delivers: another is ahead.
    stalls_at: Option<MonoMillis>,
    /// When it is left for the author.
    yields_at: Option<MonoMillis>,
}

impl Router {
    /// A router for a node that has no links yet. Equal seeds and inputs give equal orders.
    #[must_use]
    pub fn new(node_id: NodeId, own: Origin, held: Frontier, seed: u64) -> Self {
        Self {
            node_id,
            own,
            held,
            peers: BTreeMap::new(),
            routes: BTreeMap::new(),
            avoided: BTreeMap::new(),
            truncated: BTreeMap::new(),
            behind: BTreeMap::new(),
            orders: Vec::new(),
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// The orders given since the last call, to be carried out in this order.
    pub fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// What the node holds, or is about to: streams are pulled from there.
    #[must_use]
    pub const fn held(&self) -> &Frontier {
        &self.held
    }

    /// A peer was admitted; its Hello said what it has.
    pub fn on_link_up(
        &mut self,
        link: LinkId,
        node_id: NodeId,
        origin: Origin,
        announced: Frontier,
        now: MonoMillis,
    ) {
        let mut concerned = self.note_arrival(&announced, now);
        concerned.insert(origin);
        self.peers.insert(
            link,
            Peer { node_id, origin, announced, follows: BTreeSet::new(), round_trip_ms: 0, late_ms: 0 },
        );
        self.settle_all(concerned, now);
    }

    /// A link is gone, and nothing that came over it is being applied any more.
    pub fn on_link_down(&mut self, link: LinkId, now: MonoMillis) {
        self.peers.remove(&link);
        self.avoided.retain(|(avoided, _), _| *avoided != link);
        self.truncated.retain(|(truncated, _), _| *truncated != link);
        let orphans: Vec<_> =
            self.routes.iter().filter(|(_, route)| route.link() == link).map(|(o, _)| *o).collect();
        for origin in &orphans {
            self.routes.remove(origin);
        }
        self.settle_all(orphans, now);
    }

    /// A peer's node holds this much more.
    pub fn on_heard(&mut self, link: LinkId, more: &Frontier, now: MonoMillis) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        peer.announced.merge(more);
        let concerned = self.note_arrival(more, now);
        self.settle_all(concerned, now);
    }

    /// This node holds this much, or more, or is about to.
    pub fn on_held(&mut self, held: &Frontier, now: MonoMillis) {
        self.held.merge(held);
        let held = &self.held;
        self.behind.retain(|origin, arrivals| arrivals.on_held(held.get(*origin)));
        let passed = self.truncated.iter().filter(|((_, origin), start)| held.get(*origin) >= **start);
        let passed: Vec<_> = passed.map(|(key, _)| *key).collect();
        for key in &passed {
            self.truncated.remove(key);
            self.avoided.remove(key);
        }
        self.settle_all(passed.iter().map(|(_, origin)| *origin), now);
    }

    /// The node no longer is about to hold what it was: it holds this, and streams begin there. Those that are beyond begin
    /// again, for nothing would tell that they have left something out.
    pub fn on_held_back(&mut self, held: &Frontier, now: MonoMillis) {
        let before = std::mem::replace(&mut self.held, held.clone());
        let is_beyond = |origin: Origin| before.get(origin) > held.get(origin);
        let pulling = self.routes.iter().filter_map(|(origin, route)| match route {
            Route::Pulling(pulling) if is_beyond(*origin) => Some((*origin, pulling.link)),
            _ => None,
        });
        for (origin, link) in pulling.collect::<Vec<_>>() {
            self.leave(origin, link, now);
        }
    }

    /// A peer pulls an origin from here, from a timestamp on.
    pub fn on_peer_subscribed(&mut self, link: LinkId, origin: Origin, after: Timestamp, now: MonoMillis) {
        let held = self.held.get(origin);
        let Some(peer) = self.peers.get_mut(&link) else { return };
        peer.follows.insert(origin);
        // Both pull it from each other: who is ahead has nothing to gain. Of equals one must go on.
        let is_ahead = held > after || (held == after && self.node_id > peer.node_id);
        if is_ahead && origin != peer.origin && self.is_pulling(link, origin) {
            self.leave(origin, link, now);
        }
    }

    /// A peer no longer pulls an origin from here.
    pub fn on_peer_unsubscribed(&mut self, link: LinkId, origin: Origin) {
        if let Some(peer) = self.peers.get_mut(&link) {
            peer.follows.remove(&origin);
        }
    }

    /// Batches of an origin came from a peer, or are still being applied.
    pub fn on_delivered(&mut self, link: LinkId, origin: Origin) {
        self.truncated.remove(&(link, origin));
        if let Some(Route::Pulling(pulling)) = self.routes.get_mut(&origin)
            && pulling.link == link
        {
            pulling.stalls_at = None;
        }
    }

    /// Nothing of an unsubscribed origin is being applied any more.
    pub fn on_drained(&mut self, link: LinkId, origin: Origin, now: MonoMillis) {
        if matches!(self.routes.get(&origin), Some(Route::Draining(from, _)) if *from == link) {
            self.routes.remove(&origin);
            self.settle(origin, now);
        }
    }

    /// An origin cannot be pulled from a peer, and is no longer; it may be tried again after a while.
    pub fn on_refused(&mut self, link: LinkId, origin: Origin, refusal: &PullRefusal, now: MonoMillis) {
        let avoided = match refusal {
            PullRefusal::Gap | PullRefusal::Unheard => GAP_AVOIDED,
            PullRefusal::Suspended | PullRefusal::Closed => SUSPENDED_AVOIDED,
            PullRefusal::Truncated(start) => {
                self.truncated.insert((link, origin), *start);
                TRUNCATED_AVOIDED
            }
        };
        self.avoid(link, origin, avoided, now);
        if self.is_pulling(link, origin) {
            self.routes.insert(origin, Route::Draining(link, now.after(DRAIN_MAX)));
        }
    }

    /// A round trip to a peer was measured.
    pub fn on_round_trip(&mut self, link: LinkId, round_trip_ms: u64) {
        if let Some(peer) = self.peers.get_mut(&link) {
            peer.round_trip_ms = round_trip_ms;
        }
    }

    /// What a peer says comes so late.
    pub fn on_late(&mut self, link: LinkId, late_ms: u64) {
        if let Some(peer) = self.peers.get_mut(&link) {
            peer.late_ms = late_ms;
        }
    }

    /// Time has passed. A late or extra tick changes nothing.
    pub fn on_tick(&mut self, now: MonoMillis) {
        let over: Vec<_> =
            self.avoided.iter().filter(|(_, until)| **until <= now).map(|(key, _)| *key).collect();
        for key in &over {
            self.avoided.remove(key);
        }
        let routed = self.routes.keys().copied();
        let concerned: BTreeSet<_> = over.iter().map(|(_, origin)| *origin).chain(routed).collect();
        self.settle_all(concerned, now);
    }

    /// When [`Router::on_tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<MonoMillis> {
        let routes = self.routes.values().filter_map(Route::deadline);
        routes.chain(self.avoided.values().copied()).min()
    }

    /// The link that an origin is pulled from.
    #[must_use]
    pub fn upstream(&self, origin: Origin) -> Option<LinkId> {
        match self.routes.get(&origin)? {
            Route::Pulling(pulling) => Some(pulling.link),
            Route::Draining(..) => None,
        }
    }

    /// The link that each origin is pulled from, with how many milliseconds ago somebody said for the first time that it
    /// has more of it than is held here, or how late is what comes over the link, if that is more; 0 if nothing is missing.
    pub fn upstreams(&self, now: MonoMillis) -> impl Iterator<Item = (Origin, LinkId, u64)> + '_ {
        self.routes.iter().filter_map(move |(origin, route)| match route {
            Route::Pulling(pulling) => {
                let missing_ms = self.behind.get(origin).map_or(0, |arrivals| arrivals.lag_ms(now));
                let late_ms = self.peers.get(&pulling.link).map_or(0, |peer| peer.late_ms);
                Some((*origin, pulling.link, missing_ms.max(late_ms)))
            }
            Route::Draining(..) => None,
        })
    }

    /// The origins of which peers have more, and which none of these can stream, as their logs start later; each with
    /// one of them.
    pub fn truncated(&self) -> BTreeMap<Origin, NodeId> {
        let mut found = BTreeMap::new();
        for (link, origin) in self.truncated.keys() {
            let mut ahead = self.peers.iter().filter(|(_, peer)| self.is_ahead(peer, *origin)).peekable();
            if ahead.peek().is_some() && ahead.all(|(link, _)| self.truncated.contains_key(&(*link, *origin)))
            {
                found.extend(self.peers.get(link).map(|peer| (*origin, peer.node_id)));
            }
        }
        found
    }

    /// Somebody has this much; returns the origins that this may concern.
    fn note_arrival(&mut self, announced: &Frontier, now: MonoMillis) -> BTreeSet<Origin> {
        for (origin, upto) in announced.iter() {
            if upto > self.held.get(origin) && origin != self.own {
                self.behind.entry(origin).or_default().push(upto, now);
            }
        }
        let mut concerned: BTreeSet<_> = announced.iter().map(|(origin, _)| origin).collect();
        // Origins that are complete below the other's floor are not listed there.
        if announced.floor() > self.held.floor() {
            let below = self.held.iter().filter(|(_, held)| *held < announced.floor());
            concerned.extend(below.map(|(origin, _)| origin));
        }
        concerned
    }

    fn settle_all(&mut self, origins: impl IntoIterator<Item = Origin>, now: MonoMillis) {
        for origin in origins {
            self.settle(origin, now);
        }
    }

    /// Looks at an origin again after something changed.
    fn settle(&mut self, origin: Origin, now: MonoMillis) {
        if origin == self.own {
            return;
        }
        match self.routes.get(&origin) {
            None => self.choose(origin),
            Some(Route::Draining(_, until)) if *until <= now => {
                self.routes.remove(&origin);
                self.choose(origin);
            }
            Some(Route::Draining(..)) => {}
            Some(Route::Pulling(pulling)) => {
                let pulling = self.reconsidered(origin, *pulling, now);
                self.stay_or_leave(origin, pulling, now);
            }
        }
    }

    fn choose(&mut self, origin: Origin) {
        let best = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.origin == origin || self.is_ahead(peer, origin))
            .filter(|(link, _)| !self.avoided.contains_key(&(**link, origin)))
            .max_by_key(|(link, peer)| {
                let is_whole = !self.truncated.contains_key(&(**link, origin));
                (is_whole, peer.origin == origin, peer.announced.get(origin), !peer.round_trip_ms)
            });
        if let Some((link, _)) = best {
            let link = *link;
            self.orders.push(Order::Subscribe(link, origin, self.held.get(origin)));
            self.routes.insert(origin, Route::Pulling(Pulling { link, stalls_at: None, yields_at: None }));
        }
    }

    /// Whether a peer has more of an origin than this node. That its floor is higher says nothing of an origin that
    /// neither has met.
    fn is_ahead(&self, peer: &Peer, origin: Origin) -> bool {
        let is_known = peer.announced.lists(origin) || self.held.lists(origin);
        is_known && peer.announced.get(origin) > self.held.get(origin)
    }

    /// The upstream of now with its terms: they run from when there was a reason, and end with it.
    fn reconsidered(&mut self, origin: Origin, pulling: Pulling, now: MonoMillis) -> Pulling {
        let Pulling { link, stalls_at, yields_at } = pulling;
        let is_usable = |other: LinkId| {
            let key = (other, origin);
            other != link && !self.avoided.contains_key(&key) && !self.truncated.contains_key(&key)
        };
        let another_is_ahead =
            self.peers.iter().any(|(other, peer)| is_usable(*other) && self.is_ahead(peer, origin));
        let author_is_linked =
            self.peers.iter().any(|(other, peer)| is_usable(*other) && peer.origin == origin);
        let is_author = self.peers.get(&link).is_some_and(|peer| peer.origin == origin);
        let patience = self.patience(link);
        Pulling {
            link,
            stalls_at: another_is_ahead.then(|| stalls_at.unwrap_or_else(|| self.with_jitter(patience, now))),
            yields_at: (author_is_linked && !is_author)
                .then(|| yields_at.unwrap_or_else(|| self.with_jitter(AUTHOR_SETTLED, now))),
        }
    }

    fn stay_or_leave(&mut self, origin: Origin, pulling: Pulling, now: MonoMillis) {
        let link = pulling.link;
        let has_stalled = pulling.stalls_at.is_some_and(|at| at <= now);
        if has_stalled {
            self.avoid(link, origin, STALL_AVOIDED, now);
        }
        if has_stalled || pulling.yields_at.is_some_and(|at| at <= now) {
            self.leave(origin, link, now);
        } else {
            self.routes.insert(origin, Route::Pulling(pulling));
        }
    }

    fn leave(&mut self, origin: Origin, link: LinkId, now: MonoMillis) {
        self.orders.push(Order::Unsubscribe(link, origin));
        self.routes.insert(origin, Route::Draining(link, now.after(DRAIN_MAX)));
    }

    fn avoid(&mut self, link: LinkId, origin: Origin, how_long: Duration, now: MonoMillis) {
        let until = self.with_jitter(how_long, now);
        self.avoided.insert((link, origin), until);
    }

    /// How long an upstream may deliver nothing while another is ahead.
    fn patience(&self, link: LinkId) -> Duration {
        let round_trip_ms = self.peers.get(&link).map_or(0, |peer| peer.round_trip_ms);
        STALL_MIN.max(Duration::from_millis(4 * round_trip_ms))
    }

    /// A moment between one and one and a quarter of `how_long` from now, so that hosts do not move in step.
    fn with_jitter(&mut self, how_long: Duration, now: MonoMillis) -> MonoMillis {
        let quarter = u64::try_from(how_long.as_millis() / 4).unwrap_or(u64::MAX);
        now.after(how_long).after(Duration::from_millis(self.random.u64(0..=quarter)))
    }

    fn is_pulling(&self, link: LinkId, origin: Origin) -> bool {
        self.upstream(origin) == Some(link)
    }
}

impl Route {
    const fn link(&self) -> LinkId {
        match self {
            Self::Pulling(pulling) => pulling.link,
            Self::Draining(link, _) => *link,
        }
    }

    fn deadline(&self) -> Option<MonoMillis> {
        match self {
            Self::Pulling(pulling) => pulling.stalls_at.into_iter().chain(pulling.yields_at).min(),
            Self::Draining(_, until) => Some(*until),
        }
    }
}

#[cfg(test)]
mod tests;

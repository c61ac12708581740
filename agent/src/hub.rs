//! The hub: one task that knows all links, the members and the router, and talks to the node about them.
//!
//! It hears [`Event`]s and sends [`Command`]s, and waits for nobody: a link that does not take its commands is ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_std::channel::{Receiver, Sender};
use futures_util::future::{Either, select};
use shared::announcement::Announcement;
use shared::feed::{FeedInfo, PeersReport, UpstreamReport};
use shared::id::NodeId;
use shared::link::{Goodbye, Hello, Holding, Reason, dialled_link_stays};
use shared::time::MonoMillis;
use shared::version::Frontier;
use slog::{debug, info, warn};

use crate::control::Question;
use crate::members::Members;
use crate::node_client::NodePoint;
use crate::record::{Ledger, Record};
use crate::router::{LinkId, Order, Router};
use crate::session::{Command, Event, LinkEvent, LinkStart, Session};

/// The node is asked and told everything this often, at least; and an announcement made of it.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// News of peers go to the node this often, at most; at once if one of its clients waits for them.
const NEWS_INTERVAL: Duration = Duration::from_millis(50);

/// Links have this long to say goodbye when the agent stops.
const STOP_TIME_MAX: Duration = Duration::from_secs(2);

/// How a session ended.
#[derive(Debug)]
pub(crate) enum SessionEnd {
    /// The agent is to stop.
    Stopped,
    /// The node is gone, for this reason.
    NodeLost(String),
}

/// What the hub hears and whom it asks.
pub(crate) struct HubChannels {
    pub(crate) events: Receiver<Event>,
    pub(crate) questions: Sender<Question>,
    /// Closed when the agent is to stop.
    pub(crate) stop: Receiver<()>,
}

/// Runs the hub until the node is lost or the agent is to stop.
pub(crate) async fn run(
    session: Arc<Session>,
    ledger: Arc<Mutex<Ledger>>,
    channels: HubChannels,
    seed: u64,
) -> SessionEnd {
    let HubChannels { events, questions, stop } = channels;
    let mut hub = Hub::new(session, ledger, questions, seed);
    loop {
        let now = hub.now();
        hub.on_time(now);
        let wait = Duration::from_millis(hub.deadline().since(now));
        let stopped = std::pin::pin!(stop.recv());
        let heard = std::pin::pin!(async_std::future::timeout(wait, events.recv()));
        match select(heard, stopped).await {
            Either::Left((Ok(Ok(event)), _)) => {
                if let Some(lost) = hub.on_event(event) {
                    return SessionEnd::NodeLost(lost);
                }
            }
            // The deadline has passed. The session holds a sender, so the channel is open.
            Either::Left(_) => {}
            Either::Right(_) => {
                hub.stop(&events).await;
                return SessionEnd::Stopped;
            }
        }
    }
}

struct Hub {
    session: Arc<Session>,
    ledger: Arc<Mutex<Ledger>>,
    questions: Sender<Question>,
    links: BTreeMap<LinkId, LinkEntry>,
    router: Router,
    members: Members,
    /// What the links were told that the node holds.
    told: Frontier,
    sequence: u64,
    unlinked: Vec<(NodeId, Sender<()>)>,
    reports: Reports,
}

/// A link that was admitted.
struct LinkEntry {
    commands: Sender<Command>,
    node_id: NodeId,
    name: String,
    /// Which of the two agents dialled.
    dialler: NodeId,
}

/// When the node is told what.
struct Reports {
    /// A question whose answer has not come.
    is_asking: bool,
    asked_at: MonoMillis,
    news_due: Option<MonoMillis>,
    regular_due: MonoMillis,
    /// The answer that comes is to be announced.
    is_announcing: bool,
}

impl Hub {
    fn new(
        session: Arc<Session>,
        ledger: Arc<Mutex<Ledger>>,
        questions: Sender<Question>,
        seed: u64,
    ) -> Self {
        let info = &session.info;
        Self {
            router: Router::new(info.node_id, info.origin, info.frontier.clone(), seed),
            told: info.frontier.clone(),
            ledger,
            questions,
            links: BTreeMap::new(),
            members: Members::default(),
            sequence: 0,
            unlinked: Vec::new(),
            reports: Reports {
                is_asking: false,
                asked_at: MonoMillis(0),
                news_due: None,
                regular_due: MonoMillis(0),
                is_announcing: false,
            },
            session,
        }
    }

    fn now(&self) -> MonoMillis {
        self.session.clocks().now().mono()
    }

    fn deadline(&self) -> MonoMillis {
        let asking = [Some(self.reports.regular_due), self.reports.news_due];
        let asking = asking.into_iter().flatten().filter(|_| !self.reports.is_asking);
        // An answer to a question is an event, and comes or the node is lost; a tick in between does no harm.
        asking.chain(self.router.deadline()).min().unwrap_or_else(|| self.now().after(REPORT_INTERVAL))
    }

    fn on_time(&mut self, now: MonoMillis) {
        if self.router.deadline().is_some_and(|at| at <= now) {
            self.router.on_tick(now);
            self.carry_out();
        }
        if self.reports.is_asking {
            return;
        }
        if self.reports.regular_due <= now {
            self.reports.regular_due = now.after(REPORT_INTERVAL);
            self.reports.is_announcing = true;
            self.ask(Question::Info);
        }
        if self.reports.news_due.is_some_and(|at| at <= now) || self.reports.is_announcing {
            self.report(now);
        }
    }

    fn report(&mut self, now: MonoMillis) {
        self.reports.news_due = None;
        self.reports.asked_at = now;
        self.reports.is_asking = true;
        let upstreams = self.router.upstreams().filter_map(|(origin, link, lag_ms)| {
            Some(UpstreamReport { origin, peer: self.links.get(&link)?.name.clone(), lag_ms })
        });
        let report = PeersReport {
            links: self.ledger.lock().unwrap_or_else(PoisonError::into_inner).reports(),
            upstreams: upstreams.collect(),
            announcements: self.members.take_news(),
        };
        self.ask(Question::Report(Box::new(report)));
    }

    fn ask(&self, question: Question) {
        // At most an Info and a Report are under way, and the channel has room for both.
        let _ = self.questions.try_send(question);
    }

    /// Takes an event in; returns why the node is lost, if it is.
    fn on_event(&mut self, event: Event) -> Option<String> {
        let now = self.now();
        match event {
            Event::Greeted { link, commands, hello, start } => {
                self.on_greeted(link, commands, &hello, &start, now)
            }
            Event::Link(link, event) => self.on_link_event(link, event, now),
            Event::Closed(link) => self.on_closed(link, now),
            Event::AwaitUnlinked(node_id, sender) => {
                if self.links.values().any(|entry| entry.node_id == node_id) {
                    self.unlinked.push((node_id, sender));
                }
            }
            Event::Reported(point) => self.on_reported(point, now),
            Event::Informed(info, took) => return self.on_informed(&info, took),
            Event::NodeLost(error) => return Some(error),
        }
        self.carry_out();
        None
    }

    fn on_greeted(
        &mut self,
        link: LinkId,
        commands: Sender<Command>,
        hello: &Hello,
        start: &LinkStart,
        now: MonoMillis,
    ) {
        let own = self.session.info.node_id;
        let peer = &hello.member;
        let dialler = if start.dialled.is_some() { own } else { peer.node_id };
        let admitted =
            self.members.admit(peer, now).and_then(|()| self.settle_duplicate(hello, dialler, now));
        if let Err(goodbye) = admitted {
            let _ = commands.try_send(Command::Leave(goodbye));
            return;
        }
        let record = self.record(hello, start);
        if commands.try_send(Command::Admit(record)).is_err() {
            return;
        }
        let entry = LinkEntry { commands, node_id: peer.node_id, name: peer.name.clone(), dialler };
        entry.tell(Command::Held(Arc::new(self.router.held().clone()), self.session.point().clock));
        self.links.insert(link, entry);
        self.members.greet(first_announcement(hello), now);
        self.router.on_link_up(link, peer.node_id, peer.origin, hello.frontier.clone(), now);
        self.news_by(now);
    }

    /// Of two links between the same two agents one stays.
    fn settle_duplicate(&mut self, hello: &Hello, dialler: NodeId, now: MonoMillis) -> Result<(), Goodbye> {
        let (own, peer) = (self.session.info.node_id, &hello.member);
        let Some((link, entry)) = self.links.iter().find(|(_, entry)| entry.node_id == peer.node_id) else {
            return Ok(());
        };
        let names = format!(
            "\"{}\" (node {own}) and \"{}\" (node {})",
            self.session.info.name, peer.name, peer.node_id
        );
        if entry.dialler != dialler && dialled_link_stays(dialler, entry.dialler) {
            let text = format!("{names} have dialled each other: this link makes room for the other");
            entry.tell(Command::Leave(Goodbye::new(Reason::Duplicate, text)));
            // It counts no more from here on, so that the other takes over at once.
            let link = *link;
            self.links.remove(&link);
            self.router.on_link_down(link, now);
            return Ok(());
        }
        Err(Goodbye::new(Reason::Duplicate, format!("{names} are linked already: the older link stays")))
    }

    fn record(&self, hello: &Hello, start: &LinkStart) -> Arc<Record> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        start.dialled.clone().unwrap_or_else(|| ledger.accepted(hello.member.node_id, &start.address))
    }

    fn on_link_event(&mut self, link: LinkId, event: LinkEvent, now: MonoMillis) {
        let Some(node_id) = self.links.get(&link).map(|entry| entry.node_id) else { return };
        match event {
            LinkEvent::Heard(holding) => self.on_heard(link, node_id, &holding, now),
            LinkEvent::Announced(announcement) => self.on_announced(link, &announcement, now),
            LinkEvent::PeerSubscribed(origin, after) => {
                self.router.on_peer_subscribed(link, origin, after, now)
            }
            LinkEvent::PeerUnsubscribed(origin) => self.router.on_peer_unsubscribed(link, origin),
            LinkEvent::Progress { held, delivered } => {
                self.router.on_held(&held);
                for origin in delivered {
                    self.router.on_delivered(link, origin);
                }
                self.tell_held();
            }
            LinkEvent::Drained(origin) => self.router.on_drained(link, origin, now),
            LinkEvent::Refused(origin, avoided_ms) => {
                self.router.on_refused(link, origin, Duration::from_millis(avoided_ms), now);
            }
            LinkEvent::RoundTrip(round_trip_ms) => self.router.on_round_trip(link, round_trip_ms),
        }
    }

    fn on_heard(&mut self, link: LinkId, node_id: NodeId, holding: &Holding, now: MonoMillis) {
        self.members.hold(node_id, holding, now);
        self.router.on_heard(link, &holding.frontier, now);
        self.news_by(if holding.prompt { now } else { self.reports.asked_at.after(NEWS_INTERVAL).max(now) });
    }

    fn on_announced(&mut self, link: LinkId, announcement: &Announcement, now: MonoMillis) {
        let from = announcement.member.node_id;
        if let Some(entry) = self.links.get(&link)
            && entry.node_id == from
        {
            self.router.on_heard(link, &announcement.frontier, now);
        }
        if from == self.session.info.node_id || !self.members.announce(announcement, now) {
            return;
        }
        let announcement = Arc::new(announcement.clone());
        for (_, entry) in self.links.iter().filter(|(other, entry)| **other != link && entry.node_id != from)
        {
            entry.tell(Command::Announce(announcement.clone()));
        }
        self.news_by(self.reports.asked_at.after(NEWS_INTERVAL).max(now));
    }

    fn on_closed(&mut self, link: LinkId, now: MonoMillis) {
        let Some(entry) = self.links.remove(&link) else { return };
        self.router.on_link_down(link, now);
        if !self.links.values().any(|other| other.node_id == entry.node_id) {
            self.unlinked.retain(|(node_id, _)| *node_id != entry.node_id);
        }
        self.news_by(now);
    }

    fn on_reported(&mut self, point: NodePoint, now: MonoMillis) {
        self.reports.is_asking = false;
        self.router.on_held(&point.frontier);
        self.tell_held();
        if std::mem::take(&mut self.reports.is_announcing) {
            self.announce(&point);
        }
        self.session.set_point(point);
        self.on_time(now);
    }

    fn on_informed(&mut self, info: &FeedInfo, took: Duration) -> Option<String> {
        let ours = &self.session.info;
        self.session.clocks().on_node_wall(info.wall, took);
        if (info.node_id, info.origin) != (ours.node_id, ours.origin) {
            return Some("the node was started again".into());
        }
        if (info.group_id, &info.name) != (ours.group_id, &ours.name) {
            return Some("the node's group or name has changed".into());
        }
        None
    }

    /// Makes the node's announcement, and has every peer hear it.
    fn announce(&mut self, point: &NodePoint) {
        // The clock goes on where an agent of before stopped counting.
        self.sequence = (self.sequence + 1).max(point.clock.0);
        let announcement = Arc::new(Announcement {
            member: self.session.member(),
            sequence: self.sequence,
            frontier: point.frontier.clone(),
            clock: point.clock,
            members: self.members.all(),
            evictions: Vec::new(),
            joining: false,
            memory_limit: 0,
        });
        for entry in self.links.values() {
            entry.tell(Command::Announce(announcement.clone()));
        }
    }

    /// Tells the links what the node has come to hold.
    fn tell_held(&mut self) {
        let held = self.router.held();
        let more: Frontier = held.iter().filter(|(origin, upto)| *upto > self.told.get(*origin)).collect();
        if more.is_empty() && held.floor() == self.told.floor() {
            return;
        }
        self.told.merge(held);
        let mut more = more;
        more.raise_floor(held.floor());
        let (more, clock) = (Arc::new(more), self.session.point().clock);
        for entry in self.links.values() {
            entry.tell(Command::Held(more.clone(), clock));
        }
    }

    fn news_by(&mut self, at: MonoMillis) {
        self.reports.news_due = Some(self.reports.news_due.map_or(at, |due| due.min(at)));
    }

    /// Hands the router's orders to the links.
    fn carry_out(&mut self) {
        for order in self.router.take_orders() {
            let (link, command) = match order {
                Order::Subscribe(link, origin, after) => (link, Command::Subscribe(origin, after)),
                Order::Unsubscribe(link, origin) => (link, Command::Unsubscribe(origin)),
            };
            if let Some(entry) = self.links.get(&link) {
                debug!(self.session.logger, "routing"; "peer" => &entry.name, "order" => ?order);
                entry.tell(command);
            }
        }
    }

    /// Has all links say goodbye.
    async fn stop(&mut self, events: &Receiver<Event>) {
        info!(self.session.logger, "stopping"; "links" => self.links.len());
        for entry in self.links.values() {
            let text = format!("the agent of \"{}\" stops", self.session.info.name);
            entry.tell(Command::Leave(Goodbye::new(Reason::Leaving, text)));
        }
        let mut left: BTreeSet<_> = self.links.keys().copied().collect();
        let leaving = async {
            while !left.is_empty()
                && let Ok(event) = events.recv().await
            {
                if let Event::Closed(link) = event {
                    left.remove(&link);
                }
            }
        };
        if async_std::future::timeout(STOP_TIME_MAX, leaving).await.is_err() {
            warn!(self.session.logger, "some links did not end in time");
        }
    }
}

impl LinkEntry {
    /// A link takes commands at any time: one whose channel is full is broken, and ends as its channel closes.
    fn tell(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            self.commands.close();
        }
    }
}

/// What is known of a member before it announces.
fn first_announcement(hello: &Hello) -> Announcement {
    Announcement {
        member: hello.member.clone(),
        sequence: 0,
        frontier: hello.frontier.clone(),
        clock: hello.clock,
        members: Vec::new(),
        evictions: Vec::new(),
        memory_limit: 0,
    }
}

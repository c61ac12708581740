//! What the hub decides: pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use shared::announcement::{Announcement, Member};
use shared::clock::Timestamp;
use shared::feed::{FeedInfo, PeersReport, UpstreamReport};
use shared::id::{NodeId, Origin};
use shared::link::{Goodbye, Hello, Holding, PullRefusal, Reason, dialled_link_stays};
use shared::publication::Publication;
use shared::time::MonoMillis;
use shared::version::Frontier;

use super::SessionEnd;
use super::exchange::{Command, Input, LinkEvent, NodePoint, Output, Question};
use super::listening::Listening;
use crate::members::Members;
use crate::router::{LinkId, Order, Router};

/// The node is asked and told everything this often, at least; and its announcement told to the peers.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// News of peers go to the node this often, at most; at once if one of its clients waits for them.
const NEWS_INTERVAL: Duration = Duration::from_millis(50);

/// After two nodes have talked, this one is asked for what may have come of it this often, at most.
const TALKED_INTERVAL: Duration = Duration::from_millis(100);

/// The hub's decisions, without the tasks and sockets: which peers are admitted, what is pulled from whom, what each
/// link and the node are told, and when.
///
/// The driver hands in what happens and the time ([`Core::handle`]), and does what it says ([`Core::poll_output`]).
#[derive(Debug)]
pub struct Core {
    info: FeedInfo,
    /// The links whose peers wait for the node to hear their clocks.
    greetings: BTreeMap<LinkId, Greeting>,
    /// The one whose clock the node is hearing; it may be gone meanwhile.
    hearing: Option<LinkId>,
    links: BTreeMap<LinkId, LinkEntry>,
    router: Router,
    members: Members,
    listening: Listening,
    /// The newest message of PUBLISH that came of each member. Bounded by the members.
    published: BTreeMap<NodeId, (Origin, u64)>,
    /// What the links were told that the node holds.
    told: Frontier,
    clock: Timestamp,
    /// The newest that the node has announced.
    own: Option<Arc<Announcement>>,
    reports: Reports,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Greeting {
    hello: Box<Hello>,
    /// Which of the two agents dialled.
    dialler: NodeId,
    is_related: bool,
}

/// A link that was admitted.
#[derive(Debug)]
struct LinkEntry {
    node_id: NodeId,
    name: String,
    dialler: NodeId,
    is_related: bool,
    /// It makes room for another to the same peer: what came over it is still being applied.
    is_superseded: bool,
    /// The members whose announcements its peer hears from others.
    untold: BTreeSet<NodeId>,
}

/// When the node is told what.
#[derive(Debug)]
struct Reports {
    /// A report whose answer has not come.
    is_asking: bool,
    /// What the node was known to hold, or to be about to, when it was asked: if it answers less, it has gone back.
    held: Frontier,
    asked_at: MonoMillis,
    news_due: Option<MonoMillis>,
    regular_due: MonoMillis,
    /// The next report asks for everything.
    wants_info: bool,
    /// The answer that comes is to be announced, though it says nothing new.
    is_announcing: bool,
}

impl Core {
    /// The hub of a node that has no links yet. Equal seeds and inputs give equal outputs.
    #[must_use]
    pub fn new(info: FeedInfo, seed: u64) -> Self {
        Self {
            router: Router::new(info.node_id, info.origin, info.frontier.clone(), seed),
            told: info.frontier.clone(),
            clock: info.clock,
            greetings: BTreeMap::new(),
            hearing: None,
            links: BTreeMap::new(),
            members: Members::default(),
            listening: Listening::default(),
            published: BTreeMap::new(),
            own: None,
            reports: Reports {
                is_asking: false,
                held: info.frontier.clone(),
                asked_at: MonoMillis(0),
                news_due: None,
                regular_due: MonoMillis(0),
                wants_info: false,
                is_announcing: false,
            },
            outputs: VecDeque::new(),
            info,
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, input: Input, now: MonoMillis) {
        match input {
            Input::Tick => self.on_tick(now),
            Input::Greeted { link, hello, dialled, is_related } => {
                self.on_greeted(link, hello, dialled, is_related, now);
            }
            Input::Link(link, event) => self.on_link_event(link, event, now),
            Input::Closed { link, has_left } => self.on_closed(link, has_left, now),
            Input::ClockHeard(result) => self.on_clock_heard(result, now),
            Input::Reported(point) => self.on_reported(*point, now),
            Input::Informed(info) => self.on_informed(&info),
            Input::Published(publication) => self.publish(None, &publication),
            Input::Stop => self.on_stop(),
        }
        self.order();
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<MonoMillis> {
        let asking = [Some(self.reports.regular_due), self.reports.news_due];
        // An answer to a question is an input, and comes or the node is lost.
        let asking = asking.into_iter().flatten().filter(|_| !self.reports.is_asking);
        asking.chain(self.router.deadline()).chain(self.listening.deadline()).min()
    }

    /// The links that were admitted and have not ended.
    pub fn links(&self) -> impl Iterator<Item = LinkId> {
        self.links.keys().copied()
    }

    /// The link that an origin is pulled from.
    #[cfg(feature = "simulation")]
    #[must_use]
    pub fn upstream(&self, origin: Origin) -> Option<LinkId> {
        self.router.upstream(origin)
    }

    /// The name of an admitted link's peer.
    #[must_use]
    pub fn peer_name(&self, link: LinkId) -> Option<&str> {
        self.links.get(&link).map(|entry| entry.name.as_str())
    }

    /// Whether a link to that node was admitted and has not ended.
    #[must_use]
    pub fn is_linked(&self, node_id: NodeId) -> bool {
        self.links.values().any(|entry| entry.node_id == node_id && !entry.is_superseded)
    }

    fn on_tick(&mut self, now: MonoMillis) {
        if self.router.deadline().is_some_and(|at| at <= now) {
            self.router.on_tick(now);
        }
        self.listening.on_tick(now);
        if self.reports.is_asking {
            return;
        }
        if self.reports.regular_due <= now {
            self.reports.regular_due = now.after(REPORT_INTERVAL);
            (self.reports.wants_info, self.reports.is_announcing) = (true, true);
        }
        if self.reports.news_due.is_some_and(|at| at <= now) || self.reports.is_announcing {
            self.report(now);
        }
    }

    fn report(&mut self, now: MonoMillis) {
        self.reports.news_due = None;
        self.reports.asked_at = now;
        self.reports.is_asking = true;
        self.reports.held.clone_from(self.router.held());
        if std::mem::take(&mut self.reports.wants_info) {
            self.outputs.push_back(Output::Ask(Question::Info));
        }
        let upstreams = self.router.upstreams(now).filter_map(|(origin, link, lag_ms)| {
            Some(UpstreamReport { origin, peer: self.links.get(&link)?.name.clone(), lag_ms })
        });
        let report = PeersReport {
            links: Vec::new(),
            upstreams: upstreams.collect(),
            announcements: self.members.take_announcements(),
            held: self.members.take_held(),
            truncated: self.router.truncated().into_iter().collect(),
            left: self.members.take_left(),
            messages_dropped: 0,
        };
        self.outputs.push_back(Output::Ask(Question::Report(Box::new(report))));
    }

    fn on_greeted(
        &mut self,
        link: LinkId,
        hello: Box<Hello>,
        dialled: bool,
        is_related: bool,
        now: MonoMillis,
    ) {
        if let Err(goodbye) = self.members.admit(&hello.member, now) {
            return self.tell(link, Command::Leave(goodbye));
        }
        let dialler = if dialled { self.info.node_id } else { hello.member.node_id };
        self.greetings.insert(link, Greeting { hello, dialler, is_related });
        self.hear_next();
    }

    /// Has the node's clock move past that of the next peer that waits to be admitted.
    fn hear_next(&mut self) {
        if self.hearing.is_none()
            && let Some((link, greeting)) = self.greetings.first_key_value()
        {
            self.hearing = Some(*link);
            self.outputs.push_back(Output::Ask(Question::Hear(greeting.hello.clock)));
        }
    }

    fn on_clock_heard(&mut self, result: Result<(), String>, now: MonoMillis) {
        let link = self.hearing.take();
        if let Some((link, greeting)) = link.and_then(|link| Some((link, self.greetings.remove(&link)?))) {
            let admitted = result
                .map_err(|error| self.clock_refused(&greeting.hello.member, &error))
                .and_then(|()| self.members.admit(&greeting.hello.member, now))
                .and_then(|()| self.settle_duplicate(&greeting));
            match admitted {
                Ok(()) => self.admit(link, &greeting, now),
                Err(goodbye) => self.tell(link, Command::Leave(goodbye)),
            }
        }
        self.hear_next();
    }

    fn clock_refused(&self, peer: &Member, error: &str) -> Goodbye {
        let is_clock = error.starts_with("CLOCK");
        let reason = if is_clock { Reason::ClockDrift } else { Reason::Other };
        let text = format!(
            "the node of {} does not take the hybrid clock of {}: {error}",
            named(&self.info.name, self.info.node_id),
            named(&peer.name, peer.node_id),
        );
        Goodbye::new(reason, text)
    }

    /// Of two links between the same two agents one stays.
    fn settle_duplicate(&mut self, greeting: &Greeting) -> Result<(), Goodbye> {
        let peer = &greeting.hello.member;
        let mut links = self.links.iter_mut();
        let Some((link, entry)) =
            links.find(|(_, entry)| entry.node_id == peer.node_id && !entry.is_superseded)
        else {
            return Ok(());
        };
        let ours = named(&self.info.name, self.info.node_id);
        let names = format!("{ours} and {}", named(&peer.name, peer.node_id));
        if entry.dialler != greeting.dialler && dialled_link_stays(greeting.dialler, entry.dialler) {
            let text = format!("{names} have dialled each other: this link makes room for the other");
            // The other takes over when this one is closed: what came over it is applied by then, and not pulled again.
            entry.is_superseded = true;
            let link = *link;
            self.tell(link, Command::Leave(Goodbye::new(Reason::Duplicate, text)));
            return Ok(());
        }
        Err(Goodbye::new(Reason::Duplicate, format!("{names} are linked already: the older link stays")))
    }

    fn admit(&mut self, link: LinkId, greeting: &Greeting, now: MonoMillis) {
        let Greeting { hello, dialler, is_related } = greeting;
        let (dialler, is_related) = (*dialler, *is_related);
        let Member { node_id, origin, name, .. } = hello.member.clone();
        self.tell(link, Command::Admit);
        let (is_superseded, untold) = (false, BTreeSet::new());
        self.links.insert(link, LinkEntry { node_id, name, dialler, is_related, is_superseded, untold });
        self.members.greet(&hello.member, is_related.then_some(&hello.frontier), now);
        if is_related {
            self.tell(link, Command::Held(Arc::new(self.told.clone()), self.clock));
            let known = self.members.announcements().filter(|known| known.member.node_id != node_id);
            let known: Vec<_> = known.chain(&self.own).cloned().collect();
            known.into_iter().for_each(|announcement| self.tell(link, Command::Announce(announcement)));
            self.router.on_link_up(link, node_id, origin, hello.frontier.clone(), now);
        }
        self.news_by(now);
    }

    fn on_link_event(&mut self, link: LinkId, event: LinkEvent, now: MonoMillis) {
        let Some(node_id) = self.links.get(&link).map(|entry| entry.node_id) else { return };
        match event {
            LinkEvent::Heard(holding) => self.on_heard(link, node_id, &holding, now),
            LinkEvent::Announced(announcement) => self.on_announced(link, node_id, announcement, now),
            LinkEvent::PeerListens(member, begins) => self.on_peer_listens(link, member, begins),
            LinkEvent::PeerSubscribed(origin, after) => {
                self.router.on_peer_subscribed(link, origin, after, now)
            }
            LinkEvent::PeerUnsubscribed(origin) => self.router.on_peer_unsubscribed(link, origin),
            LinkEvent::Progress { held, delivered } => {
                for origin in delivered {
                    self.router.on_delivered(link, origin);
                }
                self.router.on_held(&held, now);
                self.tell_held(&held);
            }
            LinkEvent::Drained(origin) => self.router.on_drained(link, origin, now),
            LinkEvent::Refused(origin, refusal) => {
                self.router.on_refused(link, origin, &refusal, now);
                if matches!(refusal, PullRefusal::Truncated(_)) {
                    self.news_by(self.next_news(NEWS_INTERVAL, now));
                }
            }
            LinkEvent::RoundTrip(round_trip_ms) => self.router.on_round_trip(link, round_trip_ms),
            LinkEvent::Late(late_ms) => self.router.on_late(link, late_ms),
            LinkEvent::Published(publication) => self.on_published(link, node_id, publication),
            LinkEvent::Talked => {
                self.reports.wants_info = true;
                self.news_by(self.next_news(TALKED_INTERVAL, now));
            }
        }
    }

    fn on_heard(&mut self, link: LinkId, node_id: NodeId, holding: &Holding, now: MonoMillis) {
        self.members.hold(node_id, &holding.frontier, now);
        self.router.on_heard(link, &holding.frontier, now);
        self.news_by(if holding.prompt { now } else { self.next_news(NEWS_INTERVAL, now) });
    }

    fn on_announced(&mut self, link: LinkId, peer: NodeId, announcement: Arc<Announcement>, now: MonoMillis) {
        let from = announcement.member.node_id;
        if peer == from {
            self.router.on_heard(link, &announcement.frontier, now);
        }
        if from == self.info.node_id {
            return;
        }
        let is_news = self.members.announce(&announcement, now);
        if is_news || self.members.knows(from) {
            self.listening.on_heard(from, link, peer == from, is_news, now);
        }
        if !is_news {
            return;
        }
        self.tell_related(&Command::Announce(announcement), |other, entry| {
            other != link && entry.node_id != from && !entry.untold.contains(&from)
        });
        self.news_by(self.next_news(NEWS_INTERVAL, now));
    }

    /// A peer wants to be told what a member announces, or hears it from others.
    fn on_peer_listens(&mut self, link: LinkId, member: NodeId, begins: bool) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        if !begins {
            if member == self.info.node_id || self.members.knows(member) {
                entry.untold.insert(member);
            }
            return;
        }
        entry.untold.remove(&member);
        let newest = self
            .members
            .announcements()
            .chain(&self.own)
            .find(|known| known.member.node_id == member)
            .cloned();
        if let Some(newest) = newest {
            self.tell(link, Command::Announce(newest));
        }
    }

    /// A message of PUBLISH came over a link. Until everybody knows from whom to hear its author it may come twice: what is not
    /// newer than what came before is known.
    fn on_published(&mut self, link: LinkId, peer: NodeId, publication: Arc<Publication>) {
        let Publication { author, run, number, .. } = *publication;
        if author == self.info.node_id || (peer != author && !self.members.knows(author)) {
            return;
        }
        let newest = self.published.entry(author).or_insert((run, 0));
        if newest.0 == run && newest.1 >= number {
            return;
        }
        *newest = (run, number);
        self.publish(Some(link), &publication);
        self.outputs.push_back(Output::Deliver(publication));
    }

    /// Passes a message on to those who hear its author's announcements from here: so it goes once to each host, in any
    /// topology, and whether or not the author has ever written anything.
    fn publish(&mut self, from: Option<LinkId>, publication: &Arc<Publication>) {
        let author = publication.author;
        let is_meant = |link: LinkId, entry: &LinkEntry| {
            entry.is_related
                && Some(link) != from
                && entry.node_id != author
                && !entry.untold.contains(&author)
        };
        let links = self.links.iter().filter(|(link, entry)| is_meant(**link, entry));
        self.outputs.extend(links.map(|(link, _)| Output::Publish(*link, Arc::clone(publication))));
    }

    fn on_closed(&mut self, link: LinkId, has_left: bool, now: MonoMillis) {
        self.greetings.remove(&link);
        if let Some(entry) = self.links.remove(&link) {
            if has_left {
                self.members.leave(entry.node_id);
            }
            self.router.on_link_down(link, now);
            self.listening.on_link_down(link);
            self.news_by(now);
        }
    }

    fn on_reported(&mut self, point: NodePoint, now: MonoMillis) {
        self.reports.is_asking = false;
        self.clock = point.clock;
        // The node takes over a peer's state no longer, and has not got it.
        if !point.pulled.covers_frontier(&self.reports.held) {
            self.router.on_held_back(&point.pulled, now);
        }
        self.router.on_held(&point.pulled, now);
        self.tell_held(&point.frontier);
        let is_due = std::mem::take(&mut self.reports.is_announcing);
        if let Some(announcement) = point.announcement {
            let is_same = self.own.as_ref().is_some_and(|own| own.says_the_same(&announcement));
            let announcement = Arc::new(announcement);
            self.own = Some(announcement.clone());
            if is_due || !is_same {
                let own = self.info.node_id;
                self.tell_related(&Command::Announce(announcement), |_, entry| !entry.untold.contains(&own));
            }
        }
        self.on_tick(now);
    }

    fn on_informed(&mut self, info: &FeedInfo) {
        let ours = &self.info;
        let is_same_run = (info.node_id, info.start_time) == (ours.node_id, ours.start_time);
        let what = |info: &FeedInfo| (info.name.clone(), info.origin, info.group_id, info.joining, info.role);
        if !is_same_run {
            let end = SessionEnd::NodeLost("the node was started again".into());
            self.outputs.push_back(Output::End(end));
        } else if what(info) != what(ours) {
            let text = format!(
                "it is {} of origin {} in the group with id {}, {}",
                info.role.name(),
                info.origin,
                info.group_id,
                if info.joining { "about to join" } else { "joined" },
            );
            self.outputs.push_back(Output::End(SessionEnd::NodeChanged(text)));
        }
    }

    /// Tells the links what the node has come to hold.
    fn tell_held(&mut self, held: &Frontier) {
        let told = &self.told;
        let mut more: Frontier = held.iter().filter(|(origin, upto)| *upto > told.get(*origin)).collect();
        if more.is_empty() && held.floor() <= told.floor() {
            return;
        }
        self.told.merge(held);
        more.raise_floor(self.told.floor());
        self.tell_related(&Command::Held(Arc::new(more), self.clock), |_, _| true);
    }

    /// Has all links say goodbye.
    fn on_stop(&mut self) {
        let text = format!("the agent of \"{}\" stops", self.info.name);
        let leave = Command::Leave(Goodbye::new(Reason::Leaving, text));
        let links = self.links.keys().map(|link| Output::Tell(*link, leave.clone()));
        self.outputs.extend(links);
    }

    /// Hands the links what is wanted of their peers.
    fn order(&mut self) {
        for (link, member, begins) in self.listening.take_orders() {
            self.tell(link, Command::Listen(member, begins));
        }
        for order in self.router.take_orders() {
            match order {
                Order::Subscribe(link, origin, after) => self.tell(link, Command::Subscribe(origin, after)),
                Order::Unsubscribe(link, origin) => self.tell(link, Command::Unsubscribe(origin)),
            }
        }
    }

    fn tell(&mut self, link: LinkId, command: Command) {
        self.outputs.push_back(Output::Tell(link, command));
    }

    fn tell_related(&mut self, command: &Command, is_meant: impl Fn(LinkId, &LinkEntry) -> bool) {
        let related = self.links.iter().filter(|(link, entry)| entry.is_related && is_meant(**link, entry));
        self.outputs.extend(related.map(|(link, _)| Output::Tell(*link, command.clone())));
    }

    /// When the node may be told again, if it is told this often.
    fn next_news(&self, interval: Duration, now: MonoMillis) -> MonoMillis {
        self.reports.asked_at.after(interval).max(now)
    }

    fn news_by(&mut self, at: MonoMillis) {
        self.reports.news_due = Some(self.reports.news_due.map_or(at, |due| due.min(at)));
    }
}

fn named(name: &str, node_id: NodeId) -> String {
    format!("\"{name}\" (node {node_id})")
}

#[cfg(test)]
mod tests;

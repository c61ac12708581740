//! Drives one link: between a connection, the production link machine, and the node. What the agent's driver does with
//! sockets and tasks is done here in turns.

use std::collections::{BTreeSet, VecDeque};

use agent::simulation::{Command, Conversation, LinkEvent, Turn};
use node::simulation::{ApplyAnswer, FeedStanding, Follower};
use shared::announcement::Member;
use shared::id::{NodeId, Origin};
use shared::link::{
    Action, Applied, ApplyRefusal, BatchBytes, Chunk, FollowFrom, Goodbye, Hello, Input, Link, Local, Now,
    Reason,
};
use shared::time::MonoMillis;
use shared::version::Frontier;

use crate::agent::Surroundings;
use crate::network::{Network, Received, Socket};
use crate::world::Micros;

/// As the agent's driver has them.
const IN_FLIGHT_BATCHES_MAX: usize = 256;
const RETRY_AFTER_US: Micros = 500_000;
const BUSY_INTERVAL_US: Micros = 200_000;

/// What the agent hears of a link.
#[derive(Debug)]
pub(crate) enum Event {
    Greeted { hello: Box<Hello>, is_related: bool },
    Link(LinkEvent),
    Closed,
}

/// One link. See the module's documentation.
pub(crate) struct Driver {
    socket: Socket,
    dialled: Option<usize>,
    link: Link,
    /// On their way to the node.
    lane: VecDeque<Offered>,
    /// What it did not take, to be offered again in order.
    postponed: VecDeque<Offered>,
    retry_at: Option<Micros>,
    busy_at: Micros,
    follower: Follower,
    asks: VecDeque<Vec<(Origin, FollowFrom)>>,
    progress: (Frontier, BTreeSet<Origin>),
    /// What the nodes ask each other, once the link is up.
    talk: Option<Talk>,
    is_talks_turn: bool,
    /// What is due when, as the last turn left it.
    due: Due,
    /// Whether it read when it last looked.
    is_reading: bool,
    /// The connection took no more.
    awaits_room: bool,
    /// How the node's feed stood at its last turn.
    fed: FeedStanding,
    events: Vec<Event>,
    up_at: Option<Micros>,
    ending: Option<Ending>,
}

/// When a link has something to do.
#[derive(Clone, Copy)]
struct Due {
    /// With what goes to the node, or comes from it.
    node: Micros,
    /// For its machine.
    machine: Micros,
    /// For its conversation.
    call: Micros,
}

impl Due {
    const NOW: Self = Self { node: 0, machine: 0, call: 0 };

    fn first(self) -> Micros {
        self.node.min(self.machine).min(self.call)
    }
}

/// A batch on its way to the node.
struct Offered {
    origin: Origin,
    serial: u64,
    bytes: Vec<u8>,
    due: Micros,
}

/// The talk of one link: begun when it is up.
struct Talk {
    conversation: Conversation,
    peer: Member,
    /// What the peer asks, and when the node answers.
    asked: Option<(Vec<u8>, Micros)>,
}

enum Ending {
    Goodbye { goodbye: Goodbye, by_peer: bool },
    Broken,
}

impl Driver {
    pub(crate) fn new(socket: Socket, dialled: Option<usize>, local: Local, now: Now) -> Self {
        Self {
            socket,
            dialled,
            link: Link::new(local, now),
            lane: VecDeque::new(),
            postponed: VecDeque::new(),
            retry_at: None,
            busy_at: 0,
            follower: Follower::default(),
            asks: VecDeque::new(),
            progress: <_>::default(),
            talk: None,
            is_talks_turn: false,
            due: Due::NOW,
            is_reading: false,
            awaits_room: false,
            fed: FeedStanding::default(),
            events: Vec::new(),
            up_at: None,
            ending: None,
        }
    }

    /// Which dialler began it, if this side did.
    pub(crate) const fn dialled(&self) -> Option<usize> {
        self.dialled
    }

    pub(crate) fn peer(&self) -> Option<NodeId> {
        self.link.peer().map(|peer| peer.node_id)
    }

    pub(crate) fn up_for(&self, now: Now) -> Micros {
        self.up_at.map_or(0, |at| now.mono_us - at)
    }

    /// Why it ended, if one side said so.
    pub(crate) fn goodbye(&self) -> Option<Reason> {
        match &self.ending {
            Some(Ending::Goodbye { goodbye, .. }) => Some(goodbye.reason),
            _ => None,
        }
    }

    /// Whether the peer said that it, or its node, goes away.
    pub(crate) fn has_left(&self) -> bool {
        matches!(&self.ending, Some(Ending::Goodbye { goodbye, by_peer: true }) if goodbye.reason == Reason::Leaving)
    }

    pub(crate) fn ending(&self) -> String {
        match &self.ending {
            Some(Ending::Goodbye { goodbye, .. }) => format!("{:?}", goodbye.reason),
            _ => "broken".to_owned(),
        }
    }

    /// Whether it is over, and nothing of it is being applied any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.ending.is_some() && self.is_idle() && self.events.is_empty()
    }

    /// Does what the agent says.
    pub(crate) fn obey(&mut self, command: &Command, now: Now) {
        self.due = Due::NOW;
        match command {
            Command::Admit => self.admit(now),
            Command::Leave(goodbye) => self.input(Input::Leave(goodbye.clone()), now),
            Command::Subscribe(origin, after) => self.input(Input::Subscribe(*origin, *after), now),
            Command::Unsubscribe(origin) => self.input(Input::Unsubscribe(*origin), now),
            Command::Held(frontier, clock) => self.input(Input::Held(frontier, *clock), now),
            Command::Announce(announcement) => self.input(Input::Announce(announcement.clone()), now),
            Command::Listen(member, begins) => self.input(Input::Listen(*member, *begins), now),
        }
    }

    /// Says goodbye, and closes: the agent begins anew.
    pub(crate) fn leave(&mut self, around: &mut Surroundings<'_>) {
        self.input(Input::Leave(Goodbye::new(Reason::Leaving, "the node is another")), around.now);
        self.say_goodbye(around);
    }

    fn admit(&mut self, now: Now) {
        self.input(Input::Admitted, now);
        let Some(peer) = self.link.peer().filter(|_| self.link.is_up()) else { return };
        self.up_at = Some(now.mono_us);
        self.talk =
            Some(Talk { conversation: Conversation::new(now.mono()), peer: peer.clone(), asked: None });
    }

    pub(crate) fn is_related(&self) -> bool {
        self.link.is_related()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.link.is_up()
    }

    /// Hands something to the machine, and notes what it wants done.
    fn input(&mut self, input: Input<'_>, now: Now) {
        self.link.handle(input, now);
        self.act(None, now, 0);
    }

    /// When it is to have a turn, unless something arrives or the agent says something.
    pub(crate) fn deadline(&self, now: Now) -> Micros {
        // What is overdue cannot be said now: it is tried again after a while.
        let Due { node, machine, call } = self.due;
        node.min(machine.max(now.mono_us + 1_000)).min(call.max(now.mono_us + 1))
    }

    fn next_due(&self) -> Due {
        let never = Micros::MAX;
        let offered = self.lane.front().map(|offered| offered.due).or(self.retry_at).unwrap_or(never);
        if self.ending.is_some() {
            return Due { node: offered, machine: never, call: never };
        }
        let in_micros = |at: MonoMillis| at.0 * 1_000;
        let busy = if self.is_idle() { never } else { self.busy_at };
        let talk = self.talk.as_ref();
        let call = talk.and_then(|talk| talk.conversation.deadline()).map_or(never, in_micros);
        let answer = talk.and_then(|talk| talk.asked.as_ref()).map_or(never, |(_, at)| *at);
        let machine = self.link.deadline().map_or(never, in_micros);
        Due { node: offered.min(busy).min(answer), machine, call }
    }

    /// Forgoes its turn, and says so, if there is nothing to do.
    pub(crate) fn passes(&mut self, fed: FeedStanding, network: &Network, now: Micros) -> bool {
        let has_work = self.due.first() <= now
            || self.ending.is_some()
            || self.fed != fed
            || self.is_reading != self.may_read()
            || network.has_arrived(self.socket, now)
            || (self.awaits_room && network.is_writable(self.socket));
        if !has_work && !self.awaits_room {
            // Talk and feed take turns even if neither has anything to say, and so do questions and answers.
            self.is_talks_turn = !self.is_talks_turn;
            let part = self.link.poll_talk();
            assert!(part.is_none(), "what is to be said is said before a turn ends");
        }
        !has_work
    }

    /// Lets every stage do what it can, and gives what the agent is to hear.
    pub(crate) fn turn(&mut self, around: &mut Surroundings<'_>) -> Vec<Event> {
        if self.ending.is_none() {
            self.receive(around);
        }
        self.apply(around);
        if self.ending.is_none() {
            self.input(Input::Tick, around.now);
            self.talk(around);
            self.send(around);
        }
        self.say_goodbye(around);
        self.post_progress(around.now);
        self.fed = around.node.feed_standing();
        self.awaits_room = !around.network.is_writable(self.socket);
        self.due = self.next_due();
        std::mem::take(&mut self.events)
    }

    fn may_read(&self) -> bool {
        self.lane.len() < IN_FLIGHT_BATCHES_MAX && self.postponed.is_empty()
    }

    fn is_idle(&self) -> bool {
        self.lane.is_empty() && self.postponed.is_empty()
    }

    fn receive(&mut self, around: &mut Surroundings<'_>) {
        loop {
            self.is_reading = self.may_read();
            self.link.handle(Input::Reading(self.is_reading), around.now);
            if !self.is_reading || !self.link.reads() || self.ending.is_some() {
                return;
            }
            match around.network.receive(self.socket, around.now.mono_us) {
                None => return,
                Some(Received::Opened) => {}
                Some(Received::Ended) => self.ending = Some(Ending::Broken),
                Some(Received::Message(message)) => {
                    self.link.handle(Input::Message(&message), around.now);
                    let latency = around.random.u64(0..=around.pace.apply);
                    self.act(Some(&message), around.now, latency);
                }
            }
            self.say_goodbye(around);
        }
    }

    /// Offers batches to the node, in order and without waiting for its answers, as the agent's lane does: so behind
    /// one that it does not take now, others find a gap.
    fn apply(&mut self, around: &mut Surroundings<'_>) {
        let now = around.now.mono_us;
        if self.lane.is_empty() && self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.lane = std::mem::take(&mut self.postponed);
            self.lane.iter_mut().for_each(|offered| offered.due = now);
        }
        while let Some(offered) = self.lane.pop_front_if(|offered| offered.due <= now) {
            let is_behind_postponed = self.postponed.iter().any(|earlier| earlier.origin == offered.origin);
            let Some(peer) = self.link.peer() else { return };
            let result = match around.node.apply(&offered.bytes, peer, around.now) {
                ApplyAnswer::Done(held) => Ok(held),
                ApplyAnswer::Refused(ApplyRefusal::Gap) if is_behind_postponed => {
                    self.postpone(offered, now);
                    continue;
                }
                ApplyAnswer::Refused(refusal) => {
                    around.notes.push(format!("refuses a batch of {}: {refusal:?}", offered.origin));
                    Err(refusal)
                }
                ApplyAnswer::NotNow(text) => {
                    around.notes.push(format!("takes no batch now: {text:.40}"));
                    self.postpone(offered, now);
                    continue;
                }
            };
            if let Ok(held) = result {
                self.progress.0.advance(offered.origin, held);
                self.progress.1.insert(offered.origin);
            }
            let applied = Applied { origin: offered.origin, serial: offered.serial, result };
            self.input(Input::Applied(applied), around.now);
            self.say_goodbye(around);
        }
    }

    fn postpone(&mut self, offered: Offered, now: Micros) {
        self.postponed.push_back(offered);
        self.retry_at.get_or_insert(now + RETRY_AFTER_US);
    }

    fn post_progress(&mut self, now: Now) {
        let is_busy = !self.is_idle() && now.mono_us >= self.busy_at;
        if self.progress.1.is_empty() && !is_busy {
            return;
        }
        self.busy_at = now.mono_us + BUSY_INTERVAL_US;
        let (held, mut delivered) = std::mem::take(&mut self.progress);
        delivered.extend(self.link.in_flight());
        let delivered = delivered.into_iter().collect();
        self.events.push(Event::Link(LinkEvent::Progress { held, delivered }));
    }

    fn send(&mut self, around: &mut Surroundings<'_>) {
        while self.ending.is_none() && around.network.is_writable(self.socket) {
            if let Some(message) = self.link.poll_message(around.now) {
                around.network.send(self.socket, message, around.now.mono_us, around.random);
                continue;
            }
            self.is_talks_turn = !self.is_talks_turn;
            let is_talks_turn = self.is_talks_turn;
            let sent = (is_talks_turn && self.send_talk(around))
                || self.feed(around)
                || (!is_talks_turn && self.send_talk(around));
            if !sent {
                return;
            }
        }
        self.say_goodbye(around);
    }

    fn send_talk(&mut self, around: &mut Surroundings<'_>) -> bool {
        let Some(part) = self.link.poll_talk() else { return false };
        around.network.send(self.socket, part, around.now.mono_us, around.random);
        true
    }

    /// Calls the node when it is time to, and has it answer the peer's.
    fn talk(&mut self, around: &mut Surroundings<'_>) {
        let Some(Talk { conversation, peer, asked }) = &mut self.talk else { return };
        let now = around.now;
        let question = conversation.take_call(now.mono()).and_then(|answer| {
            let (question, wait_ms, told) =
                around.node.converse(peer.node_id, &peer.name, answer.as_ref(), now);
            around.notes.extend(told.into_iter().map(|told| format!("with {}: {told:.100}", peer.name)));
            if answer.is_some() {
                self.events.push(Event::Link(LinkEvent::Talked));
            }
            let wait = std::time::Duration::from_millis(wait_ms);
            conversation.on_turn(Ok(Turn { question, wait }), now.mono())
        });
        let answer = asked.take_if(|(_, at)| *at <= now.mono_us);
        let answer = answer.map(|(question, _)| around.node.answer(peer.node_id, &question, now));
        if let Some(question) = question {
            self.input(Input::Ask(question), now);
        }
        if let Some(answer) = answer {
            self.input(Input::Answer(answer), now);
            self.events.push(Event::Link(LinkEvent::Talked));
        }
    }

    /// Takes one thing from the node's feed; says whether there was one.
    fn feed(&mut self, around: &mut Surroundings<'_>) -> bool {
        if !self.follower.has_ready()
            && let Some(list) = self.asks.pop_front()
        {
            let input = match self.follower.follow(around.node, &list) {
                Ok(()) => Input::Following,
                Err(starts) => Input::FollowTruncated(starts),
            };
            self.input(input, around.now);
            return true;
        }
        match self.follower.next(around.node) {
            Ok(Some(bytes)) => {
                let message = Chunk { first: true, last: true, bytes: &bytes }.encode();
                around.network.send(self.socket, message, around.now.mono_us, around.random);
                true
            }
            Ok(None) => false,
            Err(_) => {
                // The node closes the stream; in production that ends the agent's session.
                self.ending = Some(Ending::Broken);
                around.network.close(self.socket, around.now.mono_us, around.random);
                false
            }
        }
    }

    /// Sends the last words of a link that has just ended, and closes.
    fn say_goodbye(&mut self, around: &mut Surroundings<'_>) {
        if self.ending.is_none() {
            return;
        }
        if matches!(self.ending, Some(Ending::Goodbye { .. })) {
            while let Some(message) = self.link.poll_message(around.now) {
                around.network.send(self.socket, message, around.now.mono_us, around.random);
            }
        }
        around.network.close(self.socket, around.now.mono_us, around.random);
    }

    fn act(&mut self, message: Option<&[u8]>, now: Now, latency: Micros) {
        while let Some(action) = self.link.poll_action() {
            match action {
                Action::Apply { serial, header, bytes } => {
                    let bytes = match (bytes, message) {
                        (BatchBytes::Assembled(bytes), _) => bytes,
                        (BatchBytes::InMessage(range), Some(message)) => message[range].to_vec(),
                        (BatchBytes::InMessage(_), None) => unreachable!("only a message brings a batch"),
                    };
                    let due = self.lane.back().map_or(0, |before| before.due).max(now.mono_us + latency);
                    self.lane.push_back(Offered { origin: header.origin, serial, bytes, due });
                }
                Action::PassedOver(_)
                | Action::ClockWarning(_)
                | Action::PeerTruncated(_)
                | Action::Published(_) => {}
                Action::Decompress { .. } => unreachable!("no simulated agent reads what is compressed"),
                Action::Greeted(hello) => {
                    self.events.push(Event::Greeted { hello, is_related: self.link.is_related() });
                }
                Action::Follow(list) if list.is_empty() => {
                    self.follower = Follower::default();
                    self.asks.clear();
                    self.link.handle(Input::Following, now);
                }
                Action::Follow(list) => self.asks.push_back(list),
                Action::Asked(question) => {
                    if let Some(talk) = &mut self.talk {
                        talk.asked = Some((question, now.mono_us + latency));
                    }
                }
                Action::Answered(answer) => {
                    if let Some(talk) = &mut self.talk {
                        talk.conversation.on_answered(answer);
                    }
                }
                Action::Heard(holding) => self.tell(LinkEvent::Heard(holding)),
                Action::Announced(announcement) => self.tell(LinkEvent::Announced(announcement)),
                Action::PeerListens(member, begins) => self.tell(LinkEvent::PeerListens(member, begins)),
                Action::PeerSubscribed(origin, after) => self.tell(LinkEvent::PeerSubscribed(origin, after)),
                Action::PeerUnsubscribed(origin) => self.tell(LinkEvent::PeerUnsubscribed(origin)),
                Action::Drained(origin) => {
                    self.busy_at = 0;
                    self.post_progress(now);
                    self.tell(LinkEvent::Drained(origin));
                }
                Action::Refused(origin, refusal) => self.tell(LinkEvent::Refused(origin, refusal)),
                Action::Measured(round_trip_us, _) => self.tell(LinkEvent::RoundTrip(round_trip_us / 1_000)),
                Action::Late(late_ms) => self.tell(LinkEvent::Late(late_ms)),
                Action::Close { goodbye, by_peer } => {
                    self.ending.get_or_insert(Ending::Goodbye { goodbye, by_peer });
                }
            }
        }
    }

    fn tell(&mut self, event: LinkEvent) {
        self.events.push(Event::Link(event));
    }
}

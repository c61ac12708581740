//! The protocol between agents, as a state machine without I/O.
//!
//! Problem: two agents keep one connection for both directions. Each must learn who the other is and refuse it if they
//! must not talk, pull what it lacks and serve what it has, notice a dead connection, a wrong clock and a damaged
//! batch; and each change of what is pulled crosses with batches that are on their way.
//!
//! Idea: [`Link`] holds all of that and touches nothing. A driver feeds it what happens and the time
//! ([`Link::handle`]), does what it says ([`Link::poll_action`]), and sends what it has to say whenever the connection
//! takes more ([`Link::poll_message`]). What is to be said is kept as state, not as a queue: on a slow connection
//! frontiers and announcements merge, and nothing grows.
//!
//! ```text
//! Greeting --Hello--> Judging --admitted--> Up --+--> Closed
//!    |                   |                       |
//!    +-- a fault, a refusal, a Goodbye, silence -+
//! ```
//!
//! Two that are not of one group yet, or of which one is about to join ([`are_related`]), have a link that is up, but
//! neither streams nor tells the other what it has: it only carries what the two nodes ask each other.
//!
//! Batches take a short way. To send, the driver cuts one into chunks ([`Chunk::cut`]) and sends them. A received
//! one comes back as [`Action::Apply`], in most cases as a range of the message that it came in.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::announcement::{Announcement, Member};
use crate::batch::{BATCH_BYTES_MAX, BatchHeader, FORMAT};
use crate::clock::Timestamp;
use crate::id::{NodeId, Origin};
use crate::time::{MonoMillis, WallMillis};
use crate::version::FRONTIER_ORIGINS_MAX;

pub mod message;

pub mod codec;

mod announcing;

mod assembly;

mod clock_guard;

mod exchange;

mod hello;

mod lateness;

mod pings;

mod publishing;

mod pulls;

mod saying;

mod serving;

mod talk;

pub use clock_guard::{CLOCK_WARNING_MS, ClockReading};
pub use codec::{Codec, Codecs};
pub use exchange::{Action, Applied, ApplyRefusal, BatchBytes, Input, Local, Now, PullRefusal};
pub use hello::are_related;
pub use message::{
    Chunk, Compressed, Goodbye, Hello, Holding, Listen, Message, MessageError, PROTOCOL, Part, Reason,
    Subscribe, TALK_BYTES_MAX,
};
pub use serving::FollowFrom;

use assembly::Assembly;
use clock_guard::{ClockGuard, Utc, Verdict};
use lateness::Lateness;
use publishing::Publishing;
use pulls::{Arrival, Pulls};
use saying::Saying;
use serving::Serving;
use talk::{Disorder, Talk};

/// A link on which nothing is heard for this long is closed; both sides then dial again.
pub const SILENCE_MAX: Duration = Duration::from_secs(5);

/// How often each side asks the other for a sign of life.
pub const PING_INTERVAL: Duration = Duration::from_secs(1);

/// A frontier that keeps changing is said this often; at once while a client waits for it.
pub const FRONTIER_INTERVAL: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Greeting,
    Judging,
    Up,
    Closed,
}

/// One link, seen by one of its two agents. See the module's documentation.
#[derive(Debug)]
pub struct Link {
    local: Local,
    peer: Option<Member>,
    /// How the peer may be sent messages compressed.
    peer_reads: Codecs,
    state: State,
    is_related: bool,
    clock_guard: ClockGuard,
    lateness: Lateness,
    heard_at: MonoMillis,
    is_reading: bool,
    assembly: Assembly,
    pulls: Pulls,
    serving: Serving,
    saying: Saying,
    talk: Talk,
    publishing: Publishing,
    applies_issued: u64,
    applies_done: u64,
    actions: VecDeque<Action>,
}

impl Link {
    /// A link on a connection that was just made. Its Hello is due.
    #[must_use]
    pub fn new(local: Local, now: Now) -> Self {
        Self {
            peer: None,
            peer_reads: Codecs::NONE,
            state: State::Greeting,
            is_related: false,
            clock_guard: ClockGuard::new(local.clock_drift_ms_max),
            lateness: Lateness::default(),
            heard_at: now.mono(),
            is_reading: true,
            assembly: Assembly::default(),
            pulls: Pulls::default(),
            serving: Serving::default(),
            saying: Saying::new(local.frontier.clone(), local.clock),
            talk: Talk::default(),
            publishing: Publishing::default(),
            applies_issued: 0,
            applies_done: 0,
            actions: VecDeque::new(),
            local,
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, input: Input<'_>, now: Now) {
        if self.state == State::Closed {
            return;
        }
        match input {
            Input::Message(bytes) => self.on_message(bytes, now),
            Input::Decompressed(bytes) => self.on_decompressed(bytes, now),
            Input::Alive => self.on_alive(now),
            Input::Reading(is_reading) => self.on_reading(is_reading, now),
            Input::Tick => self.on_tick(now),
            Input::Admitted => self.on_admitted(now),
            Input::Leave(goodbye) => self.close(goodbye),
            Input::Subscribe(origin, after) => self.on_pull(origin, after),
            Input::Unsubscribe(origin) => self.on_unsubscribe(origin),
            Input::Held(..) | Input::Announce(_) | Input::Listen(..) | Input::Publish(_) | Input::Waiting
                if self.is_stranger() => {}
            Input::Held(frontier, clock) => self.saying.hold(frontier, clock),
            Input::Announce(announcement) => self.saying.announcing.announce(announcement),
            Input::Listen(node_id, begins) => self.saying.announcing.listen(node_id, begins),
            Input::Publish(publication) => self.publishing.add(publication),
            Input::Following => self.on_following(),
            Input::FollowTruncated(starts) => self.on_follow_truncated(starts),
            Input::Waiting => self.saying.ack_now = true,
            Input::Applied(applied) => self.on_applied(applied),
            Input::Ask(question) => self.on_ask(question),
            Input::Answer(answer) => self.talk.answer(answer),
        }
    }

    /// What the driver is to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next message for the peer, if one is due. Call it only when the connection takes one.
    pub fn poll_message(&mut self, now: Now) -> Option<Vec<u8>> {
        if self.saying.take_hello() {
            return Some(Message::Hello(Box::new(self.hello(now))).encode());
        }
        if self.state == State::Up
            && let Some(change) = self.pulls.take_change()
        {
            return Some(Message::Subscribe(change).encode());
        }
        self.saying.next(self.state == State::Up, now).map(|message| message.encode())
    }

    /// The next part of a question or an answer, if there is one. Between two of them goes what else is to be sent:
    /// messages first, and a chunk of a batch, if there is one.
    pub fn poll_talk(&mut self) -> Option<Vec<u8>> {
        if self.state == State::Up { self.talk.next() } else { None }
    }

    /// The next message of PUBLISH to be passed on, if there is one: sent by turns with batches.
    pub fn poll_publication(&mut self) -> Option<Vec<u8>> {
        let publication = if self.state == State::Up { self.publishing.next() } else { None };
        publication.map(|publication| Message::Publish(publication).encode())
    }

    /// How many messages of PUBLISH were dropped, because the peer did not take them.
    #[must_use]
    pub const fn publications_dropped(&self) -> u64 {
        self.publishing.dropped()
    }

    /// When [`Input::Tick`] is due, or a message: whichever comes first.
    #[must_use]
    pub fn deadline(&self) -> Option<MonoMillis> {
        let silence = self.is_reading.then(|| self.heard_at.after(SILENCE_MAX));
        let saying = (self.state == State::Up).then(|| self.saying.deadline());
        match self.state {
            State::Closed => None,
            _ => [silence, saying].into_iter().flatten().min(),
        }
    }

    /// Whether the driver should read messages: not while the peer is being judged.
    #[must_use]
    pub fn reads(&self) -> bool {
        matches!(self.state, State::Greeting | State::Up)
    }

    /// Whether Hellos were exchanged and the peer was admitted.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Whether the two stream to each other; it is known once the peer said who it is.
    #[must_use]
    pub fn is_related(&self) -> bool {
        self.is_related
    }

    /// The peer, once it said who it is.
    #[must_use]
    pub fn peer(&self) -> Option<&Member> {
        self.peer.as_ref()
    }

    /// How messages to the peer are to be compressed, now that the link is up: as this side was told to, if the peer reads
    /// that. What the link itself has to say, but for the Hello and Goodbye, may be, too.
    #[must_use]
    pub fn codec(&self) -> Option<Codec> {
        self.local.codec.filter(|codec| self.state == State::Up && self.peer_reads.contains(*codec))
    }

    /// The origins of which batches are being applied.
    pub fn in_flight(&self) -> impl Iterator<Item = Origin> {
        self.pulls.in_flight()
    }

    fn on_message(&mut self, bytes: &[u8], now: Now) {
        if self.is_silent(now) {
            return self.on_silence();
        }
        self.heard_at = now.mono();
        match Message::decode(bytes) {
            Ok(Message::Hello(hello)) if self.state == State::Greeting => self.on_hello(hello, now),
            Ok(Message::Goodbye(goodbye)) => self.on_goodbye(goodbye),
            Ok(message) if self.state == State::Up => self.on_up_message(message, bytes, now),
            Ok(_) => self.refuse(Reason::Malformed, "a message came where a Hello was due"),
            Err(error @ (MessageError::Protocol(_) | MessageError::UnknownKind(_))) => {
                self.refuse(Reason::Version, &error.to_string());
            }
            Err(error) => self.refuse(Reason::Malformed, &error.to_string()),
        }
    }

    fn on_decompressed(&mut self, bytes: &[u8], now: Now) {
        debug_assert!(self.state == State::Up, "only a link that is up has messages decompressed");
        match Message::decode(bytes) {
            Ok(Message::Compressed(_) | Message::Hello(_) | Message::Goodbye(_)) => {
                self.refuse(Reason::Malformed, "what is compressed in a message must not be");
            }
            Ok(message) => self.on_up_message(message, bytes, now),
            Err(error) => self.refuse(Reason::Malformed, &error.to_string()),
        }
    }

    fn on_alive(&mut self, now: Now) {
        if self.is_silent(now) {
            self.on_silence();
        } else if self.state != State::Greeting {
            self.heard_at = now.mono();
        }
    }

    fn on_up_message(&mut self, message: Message<'_>, bytes: &[u8], now: Now) {
        match message {
            Message::Subscribe(_) | Message::Batch(_) if !self.is_related => {
                self.refuse(Reason::Malformed, "it streams, though the two are not of one group yet");
            }
            Message::Frontier(_)
            | Message::Announce(_)
            | Message::Advance(_)
            | Message::Listen(_)
            | Message::Publish(_)
            | Message::AckNow
                if !self.is_related => {}
            Message::Batch(chunk) => self.on_chunk(chunk, bytes, now),
            Message::Frontier(holding) => {
                self.judge_lateness(holding.clock.wall(), now);
                self.actions.push_back(Action::Heard(holding));
            }
            Message::Announce(announcement) => {
                self.saying.announcing.on_announce(&announcement);
                self.on_announced(announcement);
            }
            Message::Advance(advance) => {
                if let Some(announcement) = self.saying.announcing.on_advance(&advance) {
                    self.on_announced(announcement);
                }
            }
            Message::Listen(change) => self.on_listen(&change),
            Message::Publish(publication) => self.actions.push_back(Action::Published(publication)),
            Message::AckNow => self.saying.on_ack_now(self.applies_issued, self.applies_done),
            Message::Subscribe(change) => self.on_subscribe(&change),
            Message::Following { serial } => self.on_peer_following(serial),
            Message::Truncated { serial, starts } => self.on_truncated(serial, starts),
            Message::Ping { id } => self.saying.pong = Some(id),
            Message::Pong { id, wall } => self.on_pong(id, wall, now),
            Message::Ask(part) => match self.talk.on_ask(part) {
                Ok(question) => self.actions.extend(question.map(Action::Asked)),
                Err(Disorder(what)) => self.refuse(Reason::Malformed, what),
            },
            Message::Answer(part) => match self.talk.on_answer(part) {
                Ok(answer) => self.actions.extend(answer.map(Action::Answered)),
                Err(Disorder(what)) => self.refuse(Reason::Malformed, what),
            },
            Message::NoAnswer { serial, text } => match self.talk.on_no_answer(serial, text) {
                Ok(answer) => self.actions.push_back(Action::Answered(answer)),
                Err(Disorder(what)) => self.refuse(Reason::Malformed, what),
            },
            Message::Compressed(compressed) => self.on_compressed(&compressed, bytes),
            Message::Hello(_) | Message::Goodbye(_) => self.refuse(Reason::Malformed, "a second Hello came"),
        }
    }

    fn on_compressed(&mut self, compressed: &Compressed<'_>, message: &[u8]) {
        let Compressed { codec, length, bytes } = *compressed;
        if !self.local.reads.contains(codec) {
            return self.refuse(Reason::Malformed, "a message is compressed as nobody asked for");
        }
        // They are the end of the message.
        let bytes = message.len() - bytes.len()..message.len();
        self.actions.push_back(Action::Decompress { codec, length, bytes });
    }

    fn on_hello(&mut self, hello: Box<Hello>, now: Now) {
        let reading = ClockReading { ours: now.wall, theirs: hello.wall, uncertain_ms: 0 };
        self.peer = Some(hello.member.clone());
        self.peer_reads = hello.reads;
        if let Err(goodbye) = hello::check(&hello, &self.local) {
            return self.close(goodbye);
        }
        self.judge_clocks(reading);
        self.lateness.on_hello(reading.offset_ms());
        if self.state != State::Closed {
            self.is_related = are_related(&self.local, &hello);
            self.state = State::Judging;
            self.actions.push_back(Action::Greeted(hello));
        }
    }

    fn on_goodbye(&mut self, goodbye: Goodbye) {
        self.state = State::Closed;
        self.actions.push_back(Action::Close { goodbye, by_peer: true });
    }

    fn on_admitted(&mut self, now: Now) {
        if self.state == State::Judging {
            self.state = State::Up;
            self.heard_at = now.mono();
            self.saying.ping_at = now.mono();
        }
    }

    fn on_chunk(&mut self, chunk: Chunk<'_>, message: &[u8], now: Now) {
        let Ok(whole) = self.assembly.add(chunk, message) else {
            let text = format!(
                "a batch is over the limit of {BATCH_BYTES_MAX} bytes, or its parts are out of order"
            );
            return self.refuse(Reason::Malformed, &text);
        };
        let Some(bytes) = whole else { return };
        let peeked = match &bytes {
            BatchBytes::InMessage(range) => BatchHeader::peek(&message[range.clone()]),
            BatchBytes::Assembled(bytes) => BatchHeader::peek(bytes),
        };
        let length = bytes.len();
        let header = match peeked {
            Ok(header) => header,
            Err(error) => return self.refuse(Reason::BadBatch, &error.to_string()),
        };
        self.judge_lateness(header.upto.wall(), now);
        match self.pulls.arrive(&header) {
            Arrival::Apply { serial } => {
                self.applies_issued += 1;
                self.actions.push_back(Action::Apply { serial, header, bytes });
            }
            Arrival::PassOver => self.actions.push_back(Action::PassedOver(length)),
            Arrival::Gap => {
                self.actions.push_back(Action::PassedOver(length));
                self.stop_pulling(header.origin, PullRefusal::Gap);
            }
        }
    }

    fn on_ask(&mut self, question: Vec<u8>) {
        if self.state == State::Up {
            self.actions.extend(self.talk.ask(question).map(Action::Answered));
        }
    }

    /// The peer is known, and the two do not stream to each other.
    fn is_stranger(&self) -> bool {
        matches!(self.state, State::Judging | State::Up) && !self.is_related
    }

    fn on_pull(&mut self, origin: Origin, after: Timestamp) {
        debug_assert!(self.is_related, "only a related peer is pulled from");
        if self.is_related {
            self.pulls.begin(origin, after);
        }
    }

    fn on_listen(&mut self, change: &Listen) {
        self.saying.announcing.on_listen(change);
        let ended = change.stop.iter().map(|node_id| Action::PeerListens(*node_id, false));
        let begun = change.start.iter().map(|node_id| Action::PeerListens(*node_id, true));
        self.actions.extend(ended.chain(begun));
    }

    fn on_announced(&mut self, announcement: Arc<Announcement>) {
        if announcement.member.node_id != self.local.member.node_id {
            self.actions.push_back(Action::Announced(announcement));
        }
    }

    fn on_subscribe(&mut self, change: &Subscribe) {
        self.serving.ask(change);
        if self.serving.len() > FRONTIER_ORIGINS_MAX {
            return self.refuse(Reason::Malformed, "it pulls too many origins");
        }
        let stopped = change.stop.iter().map(|origin| Action::PeerUnsubscribed(*origin));
        let started = change.start.iter().map(|(origin, after)| Action::PeerSubscribed(*origin, *after));
        self.actions.extend(stopped.chain(started));
        self.follow();
    }

    fn follow(&mut self) {
        if let Some(list) = self.serving.next_list() {
            self.actions.push_back(Action::Follow(list));
        }
    }

    fn on_following(&mut self) {
        if let Some(serial) = self.serving.on_following() {
            self.saying.following = Some(serial);
        }
        self.follow();
    }

    fn on_follow_truncated(&mut self, starts: BTreeMap<Origin, Timestamp>) {
        let Some(refused) = self.serving.on_truncated(starts) else {
            return self.close(Goodbye::new(
                Reason::Other,
                "the node refused to stream origins that it was not asked for",
            ));
        };
        for origin in refused.keys() {
            self.actions.push_back(Action::PeerUnsubscribed(*origin));
        }
        if !refused.is_empty() {
            self.saying.truncate(self.serving.serial(), &refused);
            self.actions.push_back(Action::PeerTruncated(refused));
        }
        self.follow();
    }

    fn on_peer_following(&mut self, serial: u64) {
        if !self.pulls.confirm(serial) {
            self.refuse(Reason::Malformed, "it confirms a subscription that was never asked for");
        }
    }

    fn on_truncated(&mut self, serial: u64, starts: BTreeMap<Origin, Timestamp>) {
        for (origin, start) in starts {
            if self.pulls.is_refused_at(origin, serial) {
                self.stop_pulling(origin, PullRefusal::Truncated(start));
            }
        }
    }

    fn on_pong(&mut self, id: u64, wall: WallMillis, now: Now) {
        self.judge_lateness(wall, now);
        let Some(sent) = self.saying.pings.answer(id) else { return };
        let round_trip_us = now.mono_us.saturating_sub(sent.mono_us);
        let half_ms = round_trip_us / 2_000;
        let ours = WallMillis(now.wall.0.saturating_sub(half_ms));
        // A millisecond more for what each clock's reading leaves out.
        let reading = ClockReading { ours, theirs: wall, uncertain_ms: half_ms + 1 };
        self.actions.push_back(Action::Measured(round_trip_us, reading));
        self.judge_clocks(reading);
    }

    fn judge_lateness(&mut self, said: WallMillis, now: Now) {
        let late_ms = self.lateness.judge(said, now.wall, self.saying.pings.waited_ms(now));
        self.actions.extend(late_ms.map(Action::Late));
    }

    fn judge_clocks(&mut self, reading: ClockReading) {
        match self.clock_guard.judge(reading) {
            Verdict::Fine => {}
            Verdict::Warn => self.actions.push_back(Action::ClockWarning(reading)),
            Verdict::Refuse => {
                let text = format!(
                    "the wall clocks are too far apart: {} reads {}, {} reads {}, {} ms apart where max-clock-drift \
                     allows {} ms; put the wrong clock right (NTP): the link then resumes by itself, nothing is lost",
                    hello::described(&self.local.member),
                    Utc(reading.ours),
                    self.peer.as_ref().map_or_else(String::new, hello::described),
                    Utc(reading.theirs),
                    reading.distance_ms(),
                    self.clock_guard.drift_ms_max(),
                );
                self.close(Goodbye::new(Reason::ClockDrift, text));
            }
        }
    }

    fn on_unsubscribe(&mut self, origin: Origin) {
        self.pulls.end(origin);
        if !self.pulls.is_in_flight(origin) {
            self.actions.push_back(Action::Drained(origin));
        }
    }

    fn stop_pulling(&mut self, origin: Origin, refusal: PullRefusal) {
        if self.pulls.end(origin) {
            self.actions.push_back(Action::Refused(origin, refusal));
            if !self.pulls.is_in_flight(origin) {
                self.actions.push_back(Action::Drained(origin));
            }
        }
    }

    fn on_applied(&mut self, applied: Applied) {
        let Applied { origin, serial, result } = applied;
        let is_current = self.pulls.is_current(origin, serial);
        let has_drained = self.pulls.land(origin);
        self.applies_done += 1;
        match result {
            Ok(held) => self.saying.hold_origin(origin, held),
            Err(ApplyRefusal::Bad(text)) => {
                let peer = self.peer.as_ref().map_or_else(String::new, hello::described);
                let text = format!("a batch of origin {origin} from {peer} was refused by the node: {text}");
                return self.close(Goodbye::new(Reason::BadBatch, text));
            }
            Err(_) if !is_current => {}
            Err(ApplyRefusal::Gap) => self.stop_pulling(origin, PullRefusal::Gap),
            Err(ApplyRefusal::Suspended) => self.stop_pulling(origin, PullRefusal::Suspended),
            Err(ApplyRefusal::Closed) => self.stop_pulling(origin, PullRefusal::Closed),
            Err(ApplyRefusal::Unheard) => self.stop_pulling(origin, PullRefusal::Unheard),
        }
        self.saying.on_applies_done(self.applies_done);
        if has_drained {
            self.actions.push_back(Action::Drained(origin));
        }
    }

    fn on_reading(&mut self, is_reading: bool, now: Now) {
        if is_reading && !self.is_reading {
            self.heard_at = now.mono();
        }
        self.is_reading = is_reading;
    }

    fn on_tick(&mut self, now: Now) {
        if self.is_silent(now) {
            self.on_silence();
        }
    }

    /// What comes after this is not taken, either: a process that was stopped for a while would take in old data.
    fn is_silent(&self, now: Now) -> bool {
        self.is_reading && now.mono() >= self.heard_at.after(SILENCE_MAX)
    }

    fn on_silence(&mut self) {
        let peer = self.peer.as_ref().map_or_else(|| "the other side".to_owned(), hello::described);
        let text = format!("nothing was heard from {peer} for {} s", SILENCE_MAX.as_secs());
        self.close(Goodbye::new(Reason::Silent, text));
    }

    fn refuse(&mut self, reason: Reason, what: &str) {
        let speaker = self.peer.as_ref().map_or_else(|| "an unknown peer".to_owned(), hello::described);
        self.close(Goodbye::new(reason, format!("from {speaker}: {what}")));
    }

    fn close(&mut self, goodbye: Goodbye) {
        self.state = State::Closed;
        self.saying.goodbye(goodbye.clone());
        self.actions.push_back(Action::Close { goodbye, by_peer: false });
    }

    fn hello(&self, now: Now) -> Hello {
        Hello {
            batch_format: FORMAT,
            group: self.local.group.clone(),
            group_id: self.local.group_id,
            joining: self.local.joining,
            member: self.local.member.clone(),
            start_time: self.local.start_time,
            frontier: self.local.frontier.clone(),
            wall: now.wall,
            clock: self.local.clock,
            dialled: self.local.dialled,
            proof: Vec::new(),
            reads: self.local.reads,
        }
    }
}

/// Whether of two links between the same two agents, one dialled by each, the one that was dialled by `dialler` stays:
/// it is the smaller of the two node ids that decides, so both sides agree without asking.
#[must_use]
pub fn dialled_link_stays(dialler: NodeId, other: NodeId) -> bool {
    dialler < other
}

#[cfg(test)]
mod tests;

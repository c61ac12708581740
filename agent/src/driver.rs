//! Drives one link: the task between a peer's WebSocket, the link's state machine, and three connections to the node.
//!
//! ```text
//!             +------------- one task -------------+
//!  peer  ---> | WebSocket -> Link -> FEED APPLY    | ---> node
//!        <--- | WebSocket <------- FEED FOLLOW     | <---
//!        <--> | WebSocket -- FEED CONVERSE, ANSWER | <-->
//!             |     events ^ | commands            |
//!             +-----------hub----------------------+
//! ```
//!
//! One task polls all of it, so a batch crosses the agent without changing hands. Each stage stops where its outlet is
//! full: the peer is not read from while the node takes no more, the feed is not read from while the peer takes no
//! more. So nothing is queued here but what each stage's limit allows, and a slow one costs only its own link. Batches
//! and what the two nodes ask each other are sent by turns, part by part.

use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_std::channel::{self, Receiver};
use async_tungstenite::tungstenite::Message as SocketMessage;
use futures_util::{SinkExt, StreamExt};
use shared::link::message::CHUNK_BYTES_MAX;
use shared::link::{Applied, Chunk, Codec, Goodbye, Input, Link, Now, Reason};
use shared::publication::Publication;
use slog::{Logger, info, o, warn};

use crate::hub::Command;
use crate::node_client::{ApplyLane, FollowEvent, FollowLane};
use crate::record::Record;
use crate::router::LinkId;
use crate::session::{COMMANDS_MAX, Event, LinkHandle, LinkStart, PUBLICATIONS_MAX, Session};
use crate::socket::Socket;

mod actions;

mod ending;

mod packing;

mod outlet;

mod progress;

mod talk;

mod timer;

pub(crate) use ending::{Ended, Ending};

use outlet::Outlet;
use packing::Packing;
use progress::Progress;
use talk::Talk;
use timer::Timer;

/// So many messages are taken at once from the peer, or from the node; then the other directions have their turn.
const TURN_MESSAGES_MAX: usize = 32;

/// So many turns are taken before other tasks have theirs.
const TURNS_MAX: usize = 8;

/// What keeps a due message from being sent is tried again after this, should no other event come.
const BLOCKED: Duration = Duration::from_millis(100);

/// Runs a link on a connection that was just made, to its end.
pub(crate) async fn run(socket: Socket, start: LinkStart, session: Arc<Session>) -> Ended {
    let mut driver = Driver::new(socket, start, session);
    let ending = std::future::poll_fn(|cx| driver.poll(cx)).await;
    driver.finish(ending).await
}

struct Driver {
    id: LinkId,
    socket: Socket,
    is_flushed: bool,
    link: Link,
    apply: ApplyLane,
    follow: FollowLane,
    talk: Talk,
    /// Whether what the nodes ask each other goes before the next batch.
    is_talks_turn: bool,
    /// Whether a client's message goes before either.
    is_publications_turn: bool,
    /// A batch that is longer than a chunk, and how much of it was sent.
    sending: Option<(Vec<u8>, usize)>,
    commands: Receiver<Command>,
    publications: Receiver<Arc<Publication>>,
    /// Handed to the hub with the peer's Hello.
    handle: Option<LinkHandle>,
    /// How many dropped messages of PUBLISH are counted.
    dropped: u64,
    outlet: Outlet,
    progress: Progress,
    packing: Packing,
    timer: Timer,
    received: u64,
    /// The bytes received and sent that are counted.
    counted: (u64, u64),
    record: Arc<Record>,
    up_at: Option<Instant>,
    start: LinkStart,
    session: Arc<Session>,
    logger: Logger,
    ending: Option<Ending>,
}

impl Driver {
    fn new(socket: Socket, start: LinkStart, session: Arc<Session>) -> Self {
        let (commands_sender, commands) = channel::bounded(COMMANDS_MAX);
        let (publications_sender, publications) = channel::bounded(PUBLICATIONS_MAX);
        Self {
            id: session.next_link(),
            socket,
            is_flushed: true,
            link: Link::new(session.local(start.dialled.is_some()), session.clocks().now()),
            apply: ApplyLane::new(session.node.clone()),
            follow: FollowLane::new(session.node.clone()),
            talk: Talk::new(session.node.clone()),
            is_talks_turn: false,
            is_publications_turn: false,
            sending: None,
            commands,
            publications,
            handle: Some(LinkHandle { commands: commands_sender, publications: publications_sender }),
            dropped: 0,
            outlet: Outlet::new(session.events.clone()),
            progress: Progress::default(),
            packing: Packing::default(),
            timer: Timer::default(),
            received: 0,
            counted: (0, 0),
            record: start.dialled.clone().unwrap_or_else(|| Arc::new(Record::new(start.address.as_str()))),
            up_at: None,
            logger: session.logger.new(o!("address" => start.address.clone())),
            start,
            session,
            ending: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        for _ in 0..TURNS_MAX {
            let now = self.session.clocks().now();
            let is_again = self.turn(cx, now);
            if let Some(ending) = self.ending.take() {
                return Poll::Ready(ending);
            }
            if !is_again {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Lets every stage do what it can; says whether one of them could do more at once.
    fn turn(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        self.poll_removed(cx, now);
        let mut is_again = self.poll_commands(cx, now);
        is_again |= self.poll_publications(cx, now);
        is_again |= self.poll_receive(cx, now);
        let was_full = !self.may_read();
        is_again |= self.poll_apply(cx, now);
        is_again |= self.poll_talk(cx, now);
        is_again |= self.poll_send(cx, now);
        self.progress.post(&self.link, &self.apply, now.mono(), |event| {
            self.outlet.push(Event::Link(self.id, event));
        });
        self.outlet.poll(cx);
        // The peer was not asked for more, so nothing would wake this task when more comes.
        is_again |= was_full && self.may_read();
        if !is_again {
            self.poll_flush(cx);
            is_again = self.poll_timer(cx, now);
        }
        is_again
    }

    fn poll_removed(&mut self, cx: &mut Context<'_>, now: Now) {
        if let Some(removed) = &mut self.start.removed
            && removed.poll_next_unpin(cx).is_ready()
        {
            self.start.removed = None;
            let text = "the peer was taken from the list of those that this agent dials";
            self.handle(Input::Leave(Goodbye::new(Reason::Removed, text)), now);
        }
    }

    fn poll_commands(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        for _ in 0..TURN_MESSAGES_MAX {
            match self.commands.poll_next_unpin(cx) {
                Poll::Pending => return false,
                Poll::Ready(Some(command)) => self.on_command(command, now),
                Poll::Ready(None) => {
                    let text = "this agent stops, or its node went away; the link resumes by itself";
                    self.handle(Input::Leave(Goodbye::new(Reason::Leaving, text)), now);
                }
            }
            if self.ending.is_some() {
                return false;
            }
        }
        true
    }

    /// Takes messages of PUBLISH at any time: the link drops what its peer does not take.
    fn poll_publications(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        for _ in 0..TURN_MESSAGES_MAX {
            match self.publications.poll_next_unpin(cx) {
                Poll::Ready(Some(publication)) => self.link.handle(Input::Publish(publication), now),
                // If the hub is gone, its commands say so.
                Poll::Ready(None) | Poll::Pending => return false,
            }
        }
        true
    }

    fn on_command(&mut self, command: Command, now: Now) {
        match command {
            Command::Admit => self.on_admit(now),
            Command::Leave(goodbye) => self.handle(Input::Leave(goodbye), now),
            Command::Subscribe(origin, after) => self.handle(Input::Subscribe(origin, after), now),
            Command::Unsubscribe(origin) => self.handle(Input::Unsubscribe(origin), now),
            Command::Held(frontier, clock) => self.handle(Input::Held(&frontier, clock), now),
            Command::Announce(announcement) => self.handle(Input::Announce(announcement), now),
            Command::Listen(member, begins) => self.handle(Input::Listen(member, begins), now),
        }
    }

    fn on_admit(&mut self, now: Now) {
        self.handle(Input::Admitted, now);
        let Some(peer) = self.link.peer().filter(|_| self.link.is_up()) else { return };
        self.apply.open(peer);
        self.talk.begin(peer.clone(), now);
        self.record = self.session.record(&self.start, peer.node_id);
        self.record.on_up(peer, self.link.is_related(), self.link.codec());
        self.up_at = Some(Instant::now());
        self.session.complaints.lock().unwrap_or_else(PoisonError::into_inner).forget(&peer.name);
        info!(self.logger, "link is up"; "node id" => %peer.node_id,
            "dialled" => self.start.dialled.is_some(), "of one group" => self.link.is_related(),
            "compressed by" => self.link.codec().map_or("none", Codec::name));
    }

    fn may_read(&self) -> bool {
        self.apply.has_room() && self.outlet.is_clear()
    }

    /// Takes messages from the peer, as long as the node takes batches.
    fn poll_receive(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        for _ in 0..TURN_MESSAGES_MAX {
            let may_read = self.may_read();
            self.link.handle(Input::Reading(may_read), now);
            if !may_read || !self.link.reads() || self.ending.is_some() {
                return false;
            }
            match self.socket.poll_next_unpin(cx) {
                Poll::Pending => return false,
                Poll::Ready(Some(Ok(message))) => self.on_socket_message(message, now),
                Poll::Ready(Some(Err(error))) => return self.end(Ending::Broken(error.to_string())),
                Poll::Ready(None) => {
                    return self.end(Ending::Broken("the peer closed the connection".into()));
                }
            }
        }
        true
    }

    fn on_socket_message(&mut self, message: SocketMessage, now: Now) {
        match message {
            SocketMessage::Binary(bytes) => {
                self.link.handle(Input::Message(&bytes), now);
                self.act(Some(&bytes), now);
            }
            SocketMessage::Close(_) => {
                self.end(Ending::Broken("the peer closed the connection".into()));
            }
            SocketMessage::Text(_) => {
                let goodbye =
                    Goodbye::new(Reason::Malformed, "a text message came where binary ones are due");
                self.handle(Input::Leave(goodbye), now);
            }
            SocketMessage::Ping(_) | SocketMessage::Pong(_) | SocketMessage::Frame(_) => {}
        }
    }

    /// Writes batches to the node, and takes its answers.
    fn poll_apply(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        for _ in 0..TURN_MESSAGES_MAX {
            match self.apply.poll_applied(cx, now.mono()) {
                Poll::Pending => {
                    if let Some(trouble) = self.apply.take_trouble() {
                        warn!(self.logger, "the node takes no batches now, they are offered again"; "answer" => trouble);
                    }
                    return false;
                }
                Poll::Ready(Ok(applied)) => self.on_applied(applied, now),
                Poll::Ready(Err(error)) => return self.end(Ending::NodeLost(error.to_string())),
            }
            if self.ending.is_some() {
                return false;
            }
        }
        true
    }

    fn on_applied(&mut self, applied: Applied, now: Now) {
        if let Ok(held) = applied.result {
            self.progress.on_applied(applied.origin, held, now.mono());
        }
        self.handle(Input::Applied(applied), now);
    }

    /// Sends what the link has to say, and what the node streams, as long as the peer takes it.
    fn poll_send(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        for _ in 0..TURN_MESSAGES_MAX {
            match self.socket.poll_ready_unpin(cx) {
                Poll::Pending => return false,
                Poll::Ready(Err(error)) => return self.end(Ending::Broken(error.to_string())),
                Poll::Ready(Ok(())) => {}
            }
            if !self.send_next(cx, now) {
                return false;
            }
            if self.ending.is_some() {
                return false;
            }
        }
        true
    }

    /// Sends the next message: the link's own first, then batches, the nodes' talk and clients' messages by turns. Says whether
    /// there was one.
    fn send_next(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        if let Some(message) = self.link.poll_message(now) {
            self.send(message);
            return true;
        }
        self.is_publications_turn = !self.is_publications_turn;
        if self.is_publications_turn && self.send_publication() {
            return true;
        }
        self.is_talks_turn = !self.is_talks_turn;
        if self.is_talks_turn && self.send_talk() {
            return true;
        }
        self.send_batch(cx, now) || self.send_talk() || self.send_publication()
    }

    fn send_publication(&mut self) -> bool {
        let dropped = self.link.publications_dropped();
        self.record.count_dropped(dropped - std::mem::replace(&mut self.dropped, dropped));
        let message = self.link.poll_publication();
        let is_some = message.is_some();
        message.into_iter().for_each(|message| self.send(message));
        is_some
    }

    fn send_talk(&mut self) -> bool {
        let part = self.link.poll_talk();
        let is_some = part.is_some();
        part.into_iter().for_each(|part| self.send(part));
        is_some
    }

    fn send_batch(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        if self.sending.is_some() {
            self.send_chunk();
            return true;
        }
        self.poll_follow(cx, now)
    }

    /// Takes one thing from the node's feed; says whether there was one.
    fn poll_follow(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        let event = match self.follow.poll_event(cx) {
            Poll::Pending => return false,
            Poll::Ready(Err(error)) => return self.end(Ending::NodeLost(error.to_string())),
            Poll::Ready(Ok(event)) => event,
        };
        match event {
            FollowEvent::Batch(bytes) => {
                self.record.count_out(bytes.len());
                if bytes.len() > CHUNK_BYTES_MAX {
                    self.sending = Some((bytes.to_vec(), 0));
                } else {
                    let message = Chunk { first: true, last: true, bytes }.encode();
                    self.send(message);
                }
            }
            FollowEvent::Following => self.handle(Input::Following, now),
            FollowEvent::Truncated(starts) => self.handle(Input::FollowTruncated(starts), now),
            FollowEvent::Waiting => self.handle(Input::Waiting, now),
        }
        true
    }

    fn send_chunk(&mut self) {
        let Some((batch, sent)) = self.sending.take() else { return };
        let end = batch.len().min(sent + CHUNK_BYTES_MAX);
        self.send(Chunk { first: sent == 0, last: end == batch.len(), bytes: &batch[sent..end] }.encode());
        if end < batch.len() {
            self.sending = Some((batch, end));
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) {
        if self.is_flushed {
            return;
        }
        match self.socket.poll_flush_unpin(cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.is_flushed = true,
            Poll::Ready(Err(error)) => {
                self.end(Ending::Broken(error.to_string()));
            }
        }
    }

    /// Lets the time pass for the link, and waits for the next deadline.
    fn poll_timer(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        if self.socket.get_ref().received() != self.received {
            self.received = self.socket.get_ref().received();
            self.link.handle(Input::Alive, now);
        }
        self.count_wire();
        self.handle(Input::Tick, now);
        // A message that is due and was not sent waits for the connection, not for the clock.
        let link_due =
            self.link.deadline().map(|at| if at <= now.mono() { now.mono().after(BLOCKED) } else { at });
        let due = [link_due, self.apply.deadline(), self.progress.deadline(), self.talk.deadline()];
        let due = due.into_iter().flatten().min();
        due.is_some_and(|due| self.timer.poll(cx, due, now.mono())) || self.ending.is_some()
    }

    /// Counts what has gone over the connection, once it is known whose it is.
    fn count_wire(&mut self) {
        if self.up_at.is_some() {
            let total = (self.socket.get_ref().received(), self.socket.get_ref().sent());
            let (received, sent) = std::mem::replace(&mut self.counted, total);
            self.record.count_wire(total.0 - received, total.1 - sent);
        }
    }

    fn handle(&mut self, input: Input<'_>, now: Now) {
        self.link.handle(input, now);
        self.act(None, now);
    }

    /// Ends the link, for the first reason given.
    fn end(&mut self, ending: Ending) -> bool {
        self.ending.get_or_insert(ending);
        false
    }
}

//! A worker: a thread with an event loop that serves its share of the clients.
//!
//! Edge-triggered: one read per readiness unless it filled the buffer; all whole requests are carried out; then one
//! write. A turn serves a bounded number of bytes, so that no client starves the others. When the socket is full
//! the tail is kept, and nothing more is read until it is sent.
//!
//! Several clients are served before the first of them is sent its replies: to send wakes whoever reads, which costs as much
//! as many commands, unless it is awake with what was sent just before.

use std::collections::{HashSet, VecDeque};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use parking_lot::Mutex;
use shared::time::MonoMillis;
use slab::Slab;
use slog::{Logger, debug, error, warn};
use smallvec::SmallVec;

use crate::client::ClientRecord;
use crate::connection::{Connection, Next, Stream};
use crate::follow::Socket;
use crate::log::segment::LogPosition;
use crate::node::count;
use crate::server::{Server, Stopped};
use crate::settings::Fsync;
use crate::timer::Timer;
use crate::transaction::Clocks;

/// What is read from a socket at once, and the most that one client is served in a turn.
const READ_BYTES: usize = 64 << 10;

/// So many clients are served before the first of them is sent its replies, at most.
const SERVED_AT_ONCE: usize = 32;

/// Events taken from the kernel at once.
const EVENTS: usize = 256;

/// How often timeouts are looked at.
const TICK: Duration = Duration::from_millis(100);

const WAKER: Token = Token(usize::MAX);
const SEAL_TIMER: Token = Token(usize::MAX - 1);

/// How others reach a worker.
pub(crate) struct Inbox {
    accepted: Mutex<VecDeque<(Socket, Arc<ClientRecord>)>>,
    /// Connections that were given an element or a message.
    given: Mutex<Vec<usize>>,
    waker: Waker,
    /// Whether a wake-up is under way, so that one is enough.
    awake: AtomicBool,
}

impl Inbox {
    /// Hands a new client to the worker. Bounded by `--max-clients`.
    pub(crate) fn accept(&self, socket: Socket, record: Arc<ClientRecord>) {
        self.accepted.lock().push_back((socket, record));
        self.wake();
    }

    /// Makes the worker send what a connection was given: an element that it waits for, or messages. Bounded by `--max-clients`:
    /// a wait ends once, and a mailbox is told when it is no longer empty.
    pub(crate) fn look_after(&self, connection: usize) {
        self.given.lock().push(connection);
        self.wake();
    }

    /// Makes the worker look at what may have changed: new clients, kills, acknowledgements, durable writes.
    pub(crate) fn wake(&self) {
        if !self.awake.swap(true, Ordering::AcqRel) {
            // A waker fails only when its loop is gone, and then there is nobody to wake.
            let _ = self.waker.wake();
        }
    }
}

/// A worker's event loop, and the clients it serves.
pub(crate) struct Worker {
    poll: Poll,
    inbox: Arc<Inbox>,
    timer: Timer,
    timer_armed: bool,
    connections: Slab<Connection>,
    /// Clients that have, or may have, more input waiting: served before the next sleep.
    ready: VecDeque<usize>,
    /// Clients whose replies wait for the log to be durable.
    unsynced: Vec<usize>,
    /// Clients in WAIT.
    waiting: Vec<usize>,
    /// Clients that wait for an element.
    blocked: HashSet<usize>,
    buffer: Vec<u8>,
    logger: Logger,
}

impl Worker {
    /// A worker that is not yet started, and how to reach it.
    pub(crate) fn new(logger: Logger) -> io::Result<(Self, Arc<Inbox>)> {
        let poll = Poll::new()?;
        let timer = Timer::new()?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), SEAL_TIMER, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let inbox = Arc::new(Inbox {
            accepted: Mutex::default(),
            given: Mutex::default(),
            waker,
            awake: AtomicBool::new(false),
        });
        let worker = Self {
            poll,
            inbox: Arc::clone(&inbox),
            timer,
            timer_armed: false,
            connections: Slab::new(),
            ready: VecDeque::new(),
            unsynced: Vec::new(),
            waiting: Vec::new(),
            blocked: HashSet::new(),
            buffer: vec![0; READ_BYTES],
            logger,
        };
        Ok((worker, inbox))
    }

    /// Serves until the node stops.
    pub(crate) fn run(mut self, server: &Arc<Server>) {
        let mut events = Events::with_capacity(EVENTS);
        let mut last_tick = server.mono_ms();
        while !server.is_stopping() {
            let timeout = if self.ready.is_empty() { Some(TICK) } else { Some(Duration::ZERO) };
            let timeout = timeout.filter(|_| !self.is_idle(server));
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    error!(self.logger, "event loop failed; the node stops"; "error" => %error);
                    server.stop(Stopped::Failed);
                    return;
                }
            }
            let clocks = server.clocks();
            for event in &events {
                match event.token() {
                    WAKER => self.woken(server, clocks),
                    SEAL_TIMER => self.timer_fired(server, clocks),
                    Token(id) => self.socket_event(id, event),
                }
            }
            self.serve_ready(server, clocks);
            self.seal(server);
            let now = MonoMillis(clocks.mono_us / 1_000);
            if now.since(last_tick) >= TICK.as_millis() as u64 {
                last_tick = now;
                self.tick(server, now);
            }
        }
        for connection in self.connections.drain() {
            server.clients.disconnect(connection.client.record.id);
        }
    }

    /// Whether nothing can come up but an event.
    fn is_idle(&self, server: &Server) -> bool {
        let nobody_waits = self.waiting.is_empty() && self.blocked.is_empty();
        self.ready.is_empty() && nobody_waits && server.node.settings.idle_timeout().is_none()
    }

    fn woken(&mut self, server: &Arc<Server>, clocks: Clocks) {
        self.inbox.awake.store(false, Ordering::Release);
        let accepted: Vec<_> = self.inbox.accepted.lock().drain(..).collect();
        for (socket, record) in accepted {
            self.add(server, socket, record);
        }
        self.release_synced(server);
        let now = MonoMillis(clocks.mono_us / 1_000);
        self.check_waiting(server, now);
        let given = std::mem::take(&mut *self.inbox.given.lock());
        for id in given {
            self.check_blocked(server, id, now);
            self.make_ready(id);
        }
        if server.kills_pending() {
            let killed: Vec<usize> = self
                .connections
                .iter()
                .filter(|(_, connection)| connection.client.record.killed.load(Ordering::Acquire))
                .map(|(id, _)| id)
                .collect();
            killed.into_iter().for_each(|id| self.close(server, id));
        }
    }

    fn add(&mut self, server: &Arc<Server>, socket: Socket, record: Arc<ClientRecord>) {
        let mut stream = Stream::from(socket);
        let entry = self.connections.vacant_entry();
        let id = entry.key();
        record.slot.store(id, Ordering::Relaxed);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut stream, Token(id), interest) {
            warn!(self.logger, "client cannot be served"; "client" => record.id, "error" => %error);
            server.clients.disconnect(record.id);
            return;
        }
        entry.insert(Connection::new(
            stream,
            record,
            server.node.settings.request_limits(),
            server.mono_ms(),
        ));
        // What arrived before the registration makes no event of its own on every kernel.
        self.make_ready(id);
    }

    fn socket_event(&mut self, id: usize, event: &mio::event::Event) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        connection.read_closed |= event.is_read_closed() || event.is_error();
        connection.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.make_ready(id);
    }

    fn make_ready(&mut self, id: usize) {
        if let Some(connection) = self.connections.get_mut(id)
            && !connection.queued
        {
            connection.queued = true;
            self.ready.push_back(id);
        }
    }

    fn serve_ready(&mut self, server: &Arc<Server>, clocks: Clocks) {
        let mut left = self.ready.len();
        while left > 0 {
            let served: SmallVec<[usize; SERVED_AT_ONCE]> =
                self.ready.drain(..left.min(SERVED_AT_ONCE)).collect();
            left -= served.len();
            let mut commands = 0;
            for id in &served {
                if let Some(connection) = self.connections.get_mut(*id) {
                    connection.queued = false;
                    commands += connection.serve(server, &mut self.buffer, clocks);
                }
            }
            count(&server.stats.commands, commands);
            self.reply(server, &served, clocks);
        }
    }

    fn reply(&mut self, server: &Arc<Server>, served: &[usize], clocks: Clocks) {
        for &id in served {
            let Some(connection) = self.connections.get_mut(id) else { continue };
            match connection.finish_turn(server) {
                Next::Sleep => {}
                Next::Again => self.make_ready(id),
                Next::Sync => self.unsynced.push(id),
                Next::Wait => {
                    server.begin_wait();
                    self.waiting.push(id);
                    self.check_waiting(server, MonoMillis(clocks.mono_us / 1_000));
                }
                Next::Block => {
                    self.blocked.insert(id);
                    // It may have been given one while its earlier writes were made durable.
                    self.check_blocked(server, id, MonoMillis(clocks.mono_us / 1_000));
                }
                Next::Close => self.close(server, id),
                Next::Follow => self.hand_over(server, id),
            }
        }
    }

    /// Seals what was written in this round, or sets the timer for it. Under `--fsync always` it is sealed at once:
    /// the replies wait for it.
    fn seal(&mut self, server: &Server) {
        let log = &server.node.log;
        if server.node.settings.fsync() == Fsync::Always {
            if self.unsynced.iter().any(|id| self.connections.get(*id).is_some_and(|c| c.awaits.is_none())) {
                let end = log.seal(server.mono_us());
                for id in &self.unsynced {
                    if let Some(connection) = self.connections.get_mut(*id) {
                        connection.awaits.get_or_insert(end);
                    }
                }
                self.release_synced(server);
            } else {
                log.seal(server.mono_us());
            }
        } else if !self.timer_armed
            && let Some(due_us) = log.seal_if_due(server.mono_us())
        {
            self.timer_armed = self.timer.set(Duration::from_micros(due_us)).is_ok();
        }
    }

    fn timer_fired(&mut self, server: &Server, _: Clocks) {
        self.timer.clear();
        self.timer_armed = false;
        if let Some(due_us) = server.node.log.seal_if_due(server.mono_us()) {
            self.timer_armed = self.timer.set(Duration::from_micros(due_us)).is_ok();
        }
    }

    /// Sends the replies whose writes are durable now.
    fn release_synced(&mut self, server: &Server) {
        if self.unsynced.is_empty() {
            return;
        }
        let durable = server.node.log.durable();
        let released = |connections: &Slab<Connection>, id: &usize| {
            connections.get(*id).is_none_or(|c| c.awaits.is_some_and(|awaits: LogPosition| awaits <= durable))
        };
        let ids: Vec<usize> = self.unsynced.extract_if(.., |id| released(&self.connections, id)).collect();
        for id in ids {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.awaits = None;
                connection.unsynced = false;
            }
            self.make_ready(id);
        }
    }

    /// Answers the clients in WAIT that have waited enough.
    fn check_waiting(&mut self, server: &Server, now: MonoMillis) {
        if self.waiting.is_empty() {
            return;
        }
        let ids: Vec<usize> = self
            .waiting
            .extract_if(.., |id| self.connections.get_mut(*id).is_none_or(|c| c.finish_wait(server, now)))
            .collect();
        for id in ids {
            server.end_wait();
            self.make_ready(id);
        }
    }

    /// Answers a client that has waited enough for an element, or was given one.
    fn check_blocked(&mut self, server: &Server, id: usize, now: MonoMillis) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if !self.blocked.contains(&id) || !connection.finish_wait(server, now) {
            return;
        }
        self.blocked.remove(&id);
        if connection.unsynced {
            self.unsynced.push(id);
        }
        self.make_ready(id);
    }

    fn tick(&mut self, server: &Arc<Server>, now: MonoMillis) {
        self.check_waiting(server, now);
        let blocked: Vec<usize> = self.blocked.iter().copied().collect();
        blocked.into_iter().for_each(|id| self.check_blocked(server, id, now));
        if let Some(timeout) = server.node.settings.idle_timeout() {
            let idle =
                |connection: &Connection| now.since(connection.last_active) >= timeout.as_millis() as u64;
            let ids: Vec<usize> = self
                .connections
                .iter()
                .filter(|(_, c)| idle(c) && !c.is_waiting() && !c.client.is_listening())
                .map(|(id, _)| id)
                .collect();
            ids.into_iter().for_each(|id| self.close(server, id));
        }
    }

    fn close(&mut self, server: &Arc<Server>, id: usize) {
        self.blocked.remove(&id);
        if let Some(mut connection) = self.connections.try_remove(id) {
            // The connection closes with its socket all the same.
            let _ = self.poll.registry().deregister(&mut connection.stream);
            connection.closed(server);
        }
    }

    /// The connection becomes a stream of the feed, which the runtime serves.
    fn hand_over(&mut self, server: &Arc<Server>, id: usize) {
        let Some(mut connection) = self.connections.try_remove(id) else { return };
        // What follows is a stream: nothing else may stand in it.
        crate::command::pubsub::ignore_all(server, &mut connection.client);
        crate::command::monitor::leave(server, &mut connection.client);
        if let Err(error) = self.poll.registry().deregister(&mut connection.stream) {
            debug!(self.logger, "client cannot become a stream of the feed"; "error" => %error);
            return connection.closed(server);
        }
        let record = Arc::clone(&connection.client.record);
        match connection.into_handover() {
            Some(handover) => server.hand_over(handover),
            None => server.clients.disconnect(record.id),
        }
    }
}

impl From<Socket> for Stream {
    fn from(socket: Socket) -> Self {
        match socket {
            Socket::Tcp(socket) => Self::Tcp(mio::net::TcpStream::from_std(socket)),
            Socket::Unix(socket) => Self::Unix(mio::net::UnixStream::from_std(socket)),
        }
    }
}

impl From<Stream> for Socket {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Tcp(stream) => Self::Tcp(stream.into()),
            Stream::Unix(stream) => Self::Unix(stream.into()),
        }
    }
}

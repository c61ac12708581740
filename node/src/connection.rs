//! A client's connection: bytes in, commands carried out, replies out.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use shared::resp::{ReplyWriter, RequestDecoder, RequestLimits, glance};
use shared::time::MonoMillis;
use shared::version::Version;
use smallvec::SmallVec;

use crate::client::{After, Client, ClientRecord, Queue, Unblock};
use crate::command::blocking::{Blocked, Over, UNBLOCKED};
use crate::command::execute::{execute, find};
use crate::command::{Access, Command};
use crate::follow::{Errand, Handover, Socket};
use crate::log::segment::LogPosition;
use crate::server::Server;
use crate::settings::Fsync;
use crate::snapshots::Ticket;
use crate::store::key::Key;
use crate::store::shard::PREFETCHED_MAX;
use crate::transaction::Clocks;

/// Nothing more is read from a client that has not taken this many bytes of its replies.
const OUTPUT_PAUSE_BYTES: usize = 1 << 20;

/// Buffers larger than this are given back when they are empty.
const BUFFER_BYTES_KEPT: usize = 16 << 10;

/// Room for a request is made for so many times what has arrived of it: more would cost who only announces one too little.
const INPUT_ROOM_FACTOR: usize = 8;

/// A non-blocking socket of either sort.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(mio::net::TcpStream),
    Unix(mio::net::UnixStream),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Stream {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.register(registry, token, interests),
            Self::Unix(stream) => stream.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.reregister(registry, token, interests),
            Self::Unix(stream) => stream.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.deregister(registry),
            Self::Unix(stream) => stream.deregister(registry),
        }
    }
}

/// A client that waits in a command.
struct Waiting {
    awaited: Awaited,
    /// Whether its reply is left out.
    silent: bool,
    /// Whether the worker knows.
    told: bool,
}

/// What a client waits for.
enum Awaited {
    /// So many members that hold its write, or the moment.
    Members { write: Version, members: usize, deadline: Option<MonoMillis> },
    /// What becomes of a snapshot.
    Snapshot(Ticket),
    /// The end of a pause of all clients. Its command is not begun.
    Pause,
    /// An element, or the moment.
    Element { blocked: Arc<Blocked>, deadline: Option<MonoMillis> },
}

/// Reads ahead what the next requests of a pipeline name, and says how many bytes of it they are.
fn read_ahead_of(server: &Server, db: u8, input: &[u8]) -> usize {
    if !server.node.store.exceeds_caches() {
        return input.len();
    }
    let mut keys = SmallVec::<[Key<'_>; PREFETCHED_MAX]>::new();
    let mut end = 0;
    while keys.len() < PREFETCHED_MAX
        && let Some((key, length)) = glance(&input[end..])
    {
        end += length;
        if !key.is_empty() {
            keys.push(Key::new(db, key));
        }
    }
    if keys.len() > 1 {
        server.node.store.prefetch(&keys);
    }
    end
}

/// What the worker does with a connection after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Waits for its next event.
    Sleep,
    /// Gives it another turn, after the others.
    Again,
    /// Seals its writes and waits until they are durable.
    Sync,
    /// Waits for acknowledgements.
    Wait,
    /// Waits for an element, or the end of a pause.
    Block,
    Close,
    /// Makes it a stream of the feed.
    Follow,
}

/// A client's connection.
pub(crate) struct Connection {
    pub(crate) stream: Stream,
    pub(crate) client: Client,
    decoder: RequestDecoder,
    /// What was read, and not yet carried out.
    input: Vec<u8>,
    /// Whether whole requests may be left in it, because the client had to wait.
    input_left: bool,
    output: Vec<u8>,
    /// How much of the output is sent.
    sent: usize,
    waiting: Option<Waiting>,
    following: Option<Errand>,
    closing: bool,
    /// Whether nothing can be read from it any more.
    failed: bool,
    /// Whether its turn has written what must be durable before it is replied to.
    has_written: bool,
    pub(crate) readable: bool,
    pub(crate) read_closed: bool,
    /// Whether it stands in the worker's queue.
    pub(crate) queued: bool,
    /// Whether its replies wait for the log, and up to where that must be durable.
    pub(crate) unsynced: bool,
    pub(crate) awaits: Option<LogPosition>,
    pub(crate) last_active: MonoMillis,
}

impl Connection {
    pub(crate) fn new(
        stream: Stream,
        record: Arc<ClientRecord>,
        limits: RequestLimits,
        now: MonoMillis,
    ) -> Self {
        Self {
            stream,
            client: Client::new(record),
            decoder: RequestDecoder::new(limits),
            input: Vec::new(),
            input_left: false,
            output: Vec::new(),
            sent: 0,
            waiting: None,
            following: None,
            closing: false,
            failed: false,
            has_written: false,
            readable: true,
            read_closed: false,
            queued: false,
            unsynced: false,
            awaits: None,
            last_active: now,
        }
    }

    pub(crate) const fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// The first half of a turn: reads once, and carries out what is whole. Returns how many commands that were.
    pub(crate) fn serve(&mut self, server: &Server, buffer: &mut [u8], clocks: Clocks) -> u64 {
        if !self.may_go_on() {
            return 0;
        }
        let wrote_before = self.client.last_write;
        let served = if self.input_left {
            Ok(self.carry_out_input(server, clocks))
        } else {
            self.read(server, buffer, clocks)
        };
        if self.client.last_write != wrote_before && server.node.settings.fsync() == Fsync::Always {
            self.has_written = true;
        }
        served.unwrap_or_else(|error| {
            match error.kind() {
                ErrorKind::WouldBlock => self.readable = false,
                ErrorKind::Interrupted => {}
                _ => self.failed = true,
            }
            0
        })
    }

    /// Whether commands of this client are carried out at the moment.
    fn may_go_on(&self) -> bool {
        !self.closing
            && !self.unsynced
            && self.waiting.is_none()
            && self.following.is_none()
            && self.output.len() - self.sent < OUTPUT_PAUSE_BYTES
    }

    fn read(&mut self, server: &Server, buffer: &mut [u8], clocks: Clocks) -> io::Result<u64> {
        if !self.readable {
            return Ok(0);
        }
        self.decoder.set_limits(server.node.settings.request_limits());
        let length = self.stream.read(buffer)?;
        if length == 0 {
            self.closing = true;
            return Ok(0);
        }
        // A short read has emptied the socket, and the next bytes make a new event; but the end of the stream may
        // have been told with the same event as these bytes.
        self.readable = length == buffer.len() || self.read_closed;
        self.last_active = MonoMillis(clocks.mono_us / 1_000);
        if !self.input.is_empty() {
            self.input.extend_from_slice(&buffer[..length]);
            return Ok(self.carry_out_input(server, clocks));
        }
        let (commands, consumed) = self.carry_out(server, &buffer[..length], clocks);
        self.input.extend_from_slice(&buffer[consumed..length]);
        self.tidy_input(clocks);
        Ok(commands)
    }

    fn carry_out_input(&mut self, server: &Server, clocks: Clocks) -> u64 {
        let input = std::mem::take(&mut self.input);
        let (commands, consumed) = self.carry_out(server, &input, clocks);
        self.input = input;
        self.input.drain(..consumed);
        self.tidy_input(clocks);
        commands
    }

    /// Carries out the whole requests in `input`. Returns how many they were, and their bytes.
    fn carry_out(&mut self, server: &Server, input: &[u8], clocks: Clocks) -> (u64, usize) {
        let mut commands = 0;
        let mut at = 0;
        let mut read_ahead = 0;
        self.input_left = false;
        self.client.record.input_bytes.store(input.len(), Ordering::Relaxed);
        let worker = self.client.record.worker;
        while at < input.len() {
            if !self.may_go_on() {
                self.input_left = true;
                break;
            }
            let rest = &input[at..];
            match self.decoder.decode(rest) {
                Ok(Some(consumed)) => {
                    if at >= read_ahead && consumed < rest.len() {
                        read_ahead = at + read_ahead_of(server, self.client.db, rest);
                    }
                    let arguments: SmallVec<[&[u8]; 8]> = self.decoder.arguments(rest).collect();
                    if server.pause.is_on(MonoMillis(clocks.mono_us / 1_000))
                        && is_held(server, &self.client, &arguments)
                    {
                        drop(arguments);
                        self.waiting = Some(Waiting { awaited: Awaited::Pause, silent: true, told: false });
                        server.pause.hold();
                        self.client.record.is_blocked.store(true, Ordering::Relaxed);
                        self.input_left = true;
                        break;
                    }
                    if !arguments.is_empty() {
                        if commands == 0 {
                            self.client.stopwatch.begin_batch(server, consumed < rest.len());
                        }
                        self.client.stopwatch.request_bytes = consumed;
                        take_messages(&self.client, &mut self.output);
                        execute(server, &mut self.client, &arguments, clocks, &mut self.output);
                        commands += 1;
                    }
                    drop(arguments);
                    at += consumed;
                    self.obey();
                }
                Ok(None) => break,
                Err(error) => {
                    ReplyWriter::new(&mut self.output, self.client.protocol).error(&format!("ERR {error}"));
                    self.closing = true;
                }
            }
        }
        self.client.stopwatch.end_batch(server, worker);
        (commands, if self.closing { input.len() } else { at })
    }

    /// Does what the command wants done with its connection.
    fn obey(&mut self) {
        if matches!(self.client.after, After::Continue) {
            return;
        }
        match std::mem::take(&mut self.client.after) {
            After::Continue => {}
            After::Close => self.closing = true,
            After::Wait { write, members, deadline, silent } => {
                self.client.record.begin_wait();
                let awaited = Awaited::Members { write, members, deadline };
                self.waiting = Some(Waiting { awaited, silent, told: false });
            }
            After::Save { ticket, silent } => {
                self.waiting = Some(Waiting { awaited: Awaited::Snapshot(ticket), silent, told: false });
            }
            After::Block { blocked, deadline, silent } => {
                let awaited = Awaited::Element { blocked, deadline };
                self.waiting = Some(Waiting { awaited, silent, told: false });
            }
            After::Stream(errand) => self.following = Some(errand),
        }
        self.client.record.is_blocked.store(self.waiting.is_some(), Ordering::Relaxed);
    }

    /// Makes room for the rest of a large request, so that it is seldom moved while it arrives, though not for more at once
    /// than [`INPUT_ROOM_FACTOR`] permits, for announcing costs nothing; gives a large buffer back; and lets others see how
    /// it stands.
    fn tidy_input(&mut self, clocks: Clocks) {
        if !self.input.is_empty() {
            let missing = self.decoder.bytes_needed().saturating_sub(self.input.len());
            let spare = self.input.capacity() - self.input.len();
            // Not at each read: what has arrived moves whenever room is made.
            if spare < missing.min(BUFFER_BYTES_KEPT) {
                // And for what is read with its end.
                let permitted = (self.input.len() * INPUT_ROOM_FACTOR).max(BUFFER_BYTES_KEPT);
                self.input.reserve_exact(missing.min(permitted) + BUFFER_BYTES_KEPT);
            }
        } else if self.input.capacity() > BUFFER_BYTES_KEPT {
            self.input = Vec::new();
        }
        let record = &self.client.record;
        record.last_active.store(clocks.wall.0, Ordering::Relaxed);
        record.input_bytes.store(self.input.len(), Ordering::Relaxed);
        *record.last_command.lock() = self.client.last_command;
    }

    /// The second half: writes once.
    pub(crate) fn finish_turn(&mut self, server: &Server) -> Next {
        if self.failed {
            return Next::Close;
        }
        if std::mem::take(&mut self.has_written) {
            self.unsynced = true;
            return Next::Sync;
        }
        if self.unsynced {
            return Next::Sleep;
        }
        if self.following.is_some() {
            return Next::Follow;
        }
        take_messages(&self.client, &mut self.output);
        if self.flush().is_err() {
            return Next::Close;
        }
        let pending = self.output.len() - self.sent;
        self.client.record.output_bytes.store(pending, Ordering::Relaxed);
        if pending > server.node.settings.output_bytes_max() {
            return Next::Close;
        }
        if let Some(waiting) = &mut self.waiting {
            let told = std::mem::replace(&mut waiting.told, true);
            return match told {
                _ if self.read_closed => Next::Close,
                true => Next::Sleep,
                false if !matches!(waiting.awaited, Awaited::Members { .. } | Awaited::Snapshot(_)) => {
                    Next::Block
                }
                false => Next::Wait,
            };
        }
        if self.closing && pending == 0 {
            return Next::Close;
        }
        if self.may_go_on() && (self.readable || self.input_left) { Next::Again } else { Next::Sleep }
    }

    /// Sends what the socket takes.
    fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => self.sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.sent = 0;
        if self.output.capacity() > BUFFER_BYTES_KEPT {
            self.output = Vec::new();
        }
        Ok(())
    }

    /// Answers the command that the client waits in if it is over. Returns whether it is.
    pub(crate) fn finish_wait(&mut self, server: &Server, now: MonoMillis) -> bool {
        let Some(Waiting { awaited, silent, .. }) = &self.waiting else { return true };
        let mut reply = Vec::new();
        let mut writer = ReplyWriter::new(&mut reply, self.client.protocol);
        match awaited {
            Awaited::Members { write, members, deadline } => {
                let acknowledged = server.node.peers.lock().acknowledged(*write, now);
                let is_short = acknowledged < *members && deadline.is_none_or(|deadline| now < deadline);
                match self.client.record.unblocked() {
                    None if is_short => return false,
                    Some(Unblock::Error) => {
                        server.count_error(UNBLOCKED);
                        writer.error(UNBLOCKED);
                    }
                    None | Some(Unblock::TimeOut) => writer.integer(acknowledged as i64),
                }
                self.client.record.end_wait();
            }
            Awaited::Snapshot(ticket) => match ticket.outcome() {
                None => return false,
                Some(Ok(())) => writer.ok(),
                Some(Err(problem)) => writer.error(&format!("ERR {problem}")),
            },
            Awaited::Pause if server.pause.is_on(now) => return false,
            Awaited::Pause => server.pause.release(),
            Awaited::Element { blocked, deadline } => {
                if deadline.is_some_and(|deadline| now >= deadline) {
                    blocked.time_out(server);
                }
                let Some(Over { reply: told, written }) = blocked.take_over() else { return false };
                blocked.leave(server);
                reply = told;
                if let Some(written) = written {
                    self.client.last_write = Some(written);
                    self.unsynced = server.node.settings.fsync() == Fsync::Always;
                }
            }
        }
        if !silent {
            self.output.append(&mut reply);
        }
        self.waiting = None;
        self.client.record.is_blocked.store(false, Ordering::Relaxed);
        true
    }

    /// Forgets the client, when its connection is closed.
    pub(crate) fn closed(mut self, server: &Server) {
        crate::command::transaction::unwatch_all(server, &mut self.client);
        crate::command::pubsub::ignore_all(server, &mut self.client);
        crate::command::monitor::leave(server, &mut self.client);
        match &self.waiting {
            Some(Waiting { awaited: Awaited::Element { blocked, .. }, .. }) => {
                blocked.time_out(server);
                blocked.leave(server);
            }
            Some(Waiting { awaited: Awaited::Pause, .. }) => server.pause.release(),
            Some(Waiting { told: true, .. }) => server.end_wait(),
            _ => {}
        }
        server.clients.disconnect(self.client.record.id);
    }

    /// Makes a stream of the feed of it. None if it has not asked for that.
    pub(crate) fn into_handover(mut self) -> Option<Handover> {
        Some(Handover {
            errand: self.following.take()?,
            socket: Socket::from(self.stream),
            input: self.input,
            output: self.output.split_off(self.sent),
            protocol: self.client.protocol,
            record: self.client.record,
        })
    }
}

/// Puts what a client listens to behind its output. Messages stand before the replies to what is carried out after them.
fn take_messages(client: &Client, output: &mut Vec<u8>) {
    if let Some(subscriptions) = &client.subscriptions {
        output.append(&mut subscriptions.listener.take_messages());
    }
    if let Some(monitor) = &client.monitor {
        output.append(&mut monitor.take_messages());
    }
}

/// Whether a pause holds this command back.
fn is_held(server: &Server, client: &Client, arguments: &[&[u8]]) -> bool {
    if arguments.is_empty() || client.record.follows_feed.load(Ordering::Relaxed) {
        return false;
    }
    let Ok(command) = find(arguments) else { return server.pause.holds_all() };
    let is_queued = |queue: &Queue| queue.commands.iter().any(|(command, _)| is_write(command));
    // Agents are no clients: what they write holds the group together, and comes from clients of other masters.
    let is_agents = command.name.starts_with("feed");
    !is_agents
        && (server.pause.holds_all()
            || is_write(command)
            || (command.name == "exec" && client.queue.as_ref().is_some_and(is_queued)))
}

fn is_write(command: &Command) -> bool {
    command.access == Access::Write || command.has_flag("may_replicate")
}

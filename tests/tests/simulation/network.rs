//! The network: connections between hosts that deliver in order, late, slowly, partly or not at all.
//!
//! A connection is like TCP: what is sent arrives whole and in order, or the connection ends. A path is one direction
//! between two hosts; what is sent while it is blocked arrives when it is open again. Nothing is ever lost silently but
//! with its connection, and that one side may not notice for long.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hasher};

use crate::traffic::Traffic;
use crate::world::Micros;

/// A connection, counted up, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnectionId(u64);

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Socket {
    pub(crate) connection: ConnectionId,
    /// 0 dialled, 1 accepted.
    side: usize,
}

/// What comes out of a socket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A dialled connection is open.
    Opened,
    Message(Vec<u8>),
    /// The other side has closed, or the connection broke.
    Ended,
}

/// One direction between two hosts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    pub(crate) delay: Micros,
    /// Up to so much more, drawn per message.
    pub(crate) jitter: Micros,
    /// How long a kilobyte takes.
    pub(crate) per_kilobyte: Micros,
    pub(crate) is_blocked: bool,
    /// When it was last opened: what waited comes after that.
    opened_at: Micros,
}

impl Path {
    /// Becomes as slow as another; whether it is blocked stays.
    pub(crate) fn slow_as(&mut self, other: Self) {
        *self = Self { is_blocked: self.is_blocked, opened_at: self.opened_at, ..other };
    }
}

impl Path {
    pub(crate) const fn new(delay: Micros, jitter: Micros) -> Self {
        Self { delay, jitter, per_kilobyte: 0, is_blocked: false, opened_at: 0 }
    }
}

/// So many bytes may be on their way in one direction; then the sender must wait.
const WINDOW_BYTES: usize = 32 << 10;

#[derive(Debug)]
struct Connection {
    hosts: [usize; 2],
    /// Whether the accepting side knows of it.
    is_accepted: bool,
    ends: [End; 2],
}

/// What one side sees.
#[derive(Debug, Default)]
struct End {
    /// On its way to this side, with when it arrives.
    inbound: VecDeque<(Micros, Packet)>,
    inbound_bytes: usize,
    /// It can neither send nor receive any more, and is told once.
    is_broken: bool,
    /// It has closed: whatever comes is dropped.
    is_closed: bool,
}

#[derive(Debug)]
enum Packet {
    /// The dial, seen by the accepting side.
    Dial,
    /// The dial was answered.
    Answer,
    Message(Vec<u8>),
    Close,
}

/// All connections and paths.
#[derive(Debug, Default)]
pub(crate) struct Network {
    connections: BTreeMap<ConnectionId, Connection>,
    /// By host: those of which it has an end.
    by_host: Vec<BTreeSet<ConnectionId>>,
    /// Of each host to each.
    paths: Vec<Path>,
    /// Which hosts have an agent that listens.
    pub(crate) listens: Vec<bool>,
    next: u64,
    /// The hosts at which something may arrive sooner than they know.
    pub(crate) stirred: Vec<usize>,
    /// The hosts that may have waited for room, and have it now.
    pub(crate) roomy: Vec<usize>,
    pub(crate) messages: u64,
    pub(crate) traffic: Traffic,
    /// Of all that was ever sent.
    hash: DefaultHasher,
}

impl Network {
    pub(crate) fn new(hosts: usize, path: impl Fn(usize, usize) -> Path) -> Self {
        let pairs = (0..hosts).flat_map(|from| (0..hosts).map(move |to| (from, to)));
        Self {
            paths: pairs.map(|(from, to)| path(from, to)).collect(),
            by_host: vec![BTreeSet::new(); hosts],
            traffic: Traffic::new(hosts),
            listens: vec![false; hosts],
            ..Self::default()
        }
    }

    pub(crate) fn path_mut(&mut self, from: usize, to: usize) -> &mut Path {
        let hosts = self.listens.len();
        &mut self.paths[from * hosts + to]
    }

    fn path(&self, from: usize, to: usize) -> Path {
        self.paths[from * self.listens.len() + to]
    }

    pub(crate) fn is_blocked(&self, from: usize, to: usize) -> bool {
        self.path(from, to).is_blocked
    }

    pub(crate) fn block(&mut self, from: usize, to: usize) {
        self.path_mut(from, to).is_blocked = true;
    }

    pub(crate) fn open(&mut self, from: usize, to: usize, now: Micros) {
        let path = self.path_mut(from, to);
        if std::mem::take(&mut path.is_blocked) {
            path.opened_at = now;
        }
        self.stirred.push(to);
    }

    /// Dials. [`Received::Opened`] comes when it is answered, [`Received::Ended`] if nobody listens; or nothing.
    pub(crate) fn dial(&mut self, from: usize, to: usize, now: Micros, random: &mut fastrand::Rng) -> Socket {
        let connection = ConnectionId(self.next);
        self.next += 1;
        self.connections
            .insert(connection, Connection { hosts: [from, to], is_accepted: false, ends: <_>::default() });
        for host in [from, to] {
            self.by_host[host].insert(connection);
        }
        let socket = Socket { connection, side: 0 };
        self.post(socket, Packet::Dial, now, random);
        socket
    }

    /// The connections that reach a host now. A host that does not listen refuses them.
    pub(crate) fn accept(&mut self, host: usize, now: Micros, random: &mut fastrand::Rng) -> Vec<Socket> {
        let mut accepted = Vec::new();
        let is_new = |id: &&ConnectionId| {
            let connection = &self.connections[*id];
            connection.hosts[1] == host && !connection.is_accepted
        };
        let ids: Vec<_> = self.by_host[host].iter().filter(is_new).copied().collect();
        for connection in ids {
            let socket = Socket { connection, side: 1 };
            if !self.is_due(socket, now) || !matches!(self.front(socket), Some((_, Packet::Dial))) {
                continue;
            }
            self.pop(socket);
            if let Some(connection) = self.connections.get_mut(&socket.connection) {
                connection.is_accepted = true;
            }
            if self.listens[host] {
                self.post(socket, Packet::Answer, now, random);
                accepted.push(socket);
            } else {
                self.post(socket, Packet::Close, now, random);
                self.close(socket, now, random);
            }
        }
        accepted
    }

    /// What comes next, if it has arrived.
    pub(crate) fn receive(&mut self, socket: Socket, now: Micros) -> Option<Received> {
        let Some(end) = self.end_mut(socket) else { return Some(Received::Ended) };
        if end.is_broken {
            end.is_closed = true;
            self.tidy(socket.connection);
            return Some(Received::Ended);
        }
        if !self.is_due(socket, now) {
            return None;
        }
        match self.pop(socket)? {
            Packet::Dial => None,
            Packet::Answer => Some(Received::Opened),
            Packet::Message(bytes) => Some(Received::Message(bytes)),
            Packet::Close => {
                if let Some(end) = self.end_mut(socket) {
                    end.is_closed = true;
                }
                self.tidy(socket.connection);
                Some(Received::Ended)
            }
        }
    }

    /// Whether [`Network::receive`] has something.
    pub(crate) fn has_arrived(&self, socket: Socket, now: Micros) -> bool {
        !self.connections.contains_key(&socket.connection) || self.is_due(socket, now)
    }

    /// Whether the connection takes another message.
    pub(crate) fn is_writable(&self, socket: Socket) -> bool {
        let Some(connection) = self.connections.get(&socket.connection) else { return true };
        connection.ends[1 - socket.side].inbound_bytes < WINDOW_BYTES
    }

    pub(crate) fn send(&mut self, socket: Socket, message: Vec<u8>, now: Micros, random: &mut fastrand::Rng) {
        self.messages += 1;
        if let Some((from, to)) = self.hosts(socket) {
            self.traffic.count(from, to, &message);
        }
        self.hash.write_u64(now);
        self.hash.write(&message);
        self.post(socket, Packet::Message(message), now, random);
    }

    /// Equal for equal traffic, to the byte and the microsecond.
    pub(crate) fn traffic_hash(&self) -> u64 {
        self.hash.finish()
    }

    /// Closes an end; the other side is told behind what was sent.
    pub(crate) fn close(&mut self, socket: Socket, now: Micros, random: &mut fastrand::Rng) {
        self.post(socket, Packet::Close, now, random);
        if let Some(end) = self.end_mut(socket) {
            end.is_closed = true;
        }
        self.tidy(socket.connection);
    }

    /// Ends an end without a word: the process or the host is gone, or the connection's state is lost. The other side
    /// is told at once, or not at all.
    pub(crate) fn break_end(&mut self, socket: Socket, other_notices: bool) {
        let Some(connection) = self.connections.get_mut(&socket.connection) else { return };
        let other = 1 - socket.side;
        connection.ends[socket.side].is_broken = true;
        connection.ends[socket.side].inbound.clear();
        connection.ends[socket.side].inbound_bytes = 0;
        connection.ends[other].is_broken |= other_notices;
        if other == 1 && !connection.is_accepted {
            // Nobody will ever look.
            connection.ends[other].is_closed = true;
        }
        if other_notices {
            connection.ends[other].inbound.clear();
            connection.ends[other].inbound_bytes = 0;
            self.stirred.push(connection.hosts[other]);
        }
        self.stirred.push(connection.hosts[socket.side]);
    }

    /// Ends everything that a host's agent had open: it is gone. The other sides are told at once, or not at all.
    pub(crate) fn abandon(&mut self, host: usize, others_notice: bool) {
        for socket in self.sockets(host) {
            self.break_end(socket, others_notice);
            if let Some(end) = self.end_mut(socket) {
                end.is_closed = true;
            }
            self.tidy(socket.connection);
        }
    }

    /// Every end that a host has.
    pub(crate) fn sockets(&self, host: usize) -> Vec<Socket> {
        self.sockets_of(host).collect()
    }

    fn sockets_of(&self, host: usize) -> impl Iterator<Item = Socket> {
        let side = move |id| usize::from(self.connections[id].hosts[0] != host);
        self.by_host[host].iter().map(move |id| Socket { connection: *id, side: side(id) })
    }

    /// Every connection's dialling end, between these two hosts.
    pub(crate) fn between(&self, one: usize, other: usize) -> Vec<Socket> {
        let joins = |id: &&ConnectionId| self.by_host[other].contains(id);
        let found = self.by_host[one].iter().filter(joins);
        found.map(|id| Socket { connection: *id, side: 0 }).collect()
    }

    /// When something will arrive at a host, as things stand: from a moment on, for what came before lies there because
    /// the host does not read.
    pub(crate) fn next_arrival(&self, host: usize, from: Micros) -> Option<Micros> {
        self.sockets_of(host).filter_map(|socket| self.arrival(socket)).filter(|at| *at >= from).min()
    }

    /// When something will arrive at a socket that still reads.
    fn arrival(&self, socket: Socket) -> Option<Micros> {
        let connection = self.connections.get(&socket.connection)?;
        let end = &connection.ends[socket.side];
        if end.is_closed {
            return None;
        }
        if end.is_broken {
            return Some(0);
        }
        let (at, _) = end.inbound.front()?;
        let path = self.path(connection.hosts[1 - socket.side], connection.hosts[socket.side]);
        (!path.is_blocked).then_some((*at).max(path.opened_at + path.delay))
    }

    fn is_due(&self, socket: Socket, now: Micros) -> bool {
        self.arrival(socket).is_some_and(|at| at <= now)
    }

    fn front(&self, socket: Socket) -> Option<&(Micros, Packet)> {
        self.connections.get(&socket.connection)?.ends[socket.side].inbound.front()
    }

    fn pop(&mut self, socket: Socket) -> Option<Packet> {
        let connection = self.connections.get_mut(&socket.connection)?;
        let end = &mut connection.ends[socket.side];
        let (_, packet) = end.inbound.pop_front()?;
        if let Packet::Message(bytes) = &packet {
            if end.inbound_bytes >= WINDOW_BYTES {
                self.roomy.push(connection.hosts[1 - socket.side]);
            }
            end.inbound_bytes -= bytes.len();
        }
        Some(packet)
    }

    fn post(&mut self, socket: Socket, packet: Packet, now: Micros, random: &mut fastrand::Rng) {
        let Some((here, there)) = self.hosts(socket) else { return };
        let path = self.path(here, there);
        let Some(connection) = self.connections.get_mut(&socket.connection) else { return };
        if connection.ends[socket.side].is_broken || connection.ends[socket.side].is_closed {
            return;
        }
        let end = &mut connection.ends[1 - socket.side];
        if end.is_broken || end.is_closed {
            return;
        }
        let bytes = if let Packet::Message(bytes) = &packet { bytes.len() } else { 0 };
        let taken = path.per_kilobyte * bytes as u64 / 1_024;
        let jitter = if path.jitter == 0 { 0 } else { random.u64(0..=path.jitter) };
        let before = end.inbound.back().map_or(0, |(at, _)| *at);
        let at = before.max(now + path.delay + jitter) + taken;
        end.inbound.push_back((at, packet));
        end.inbound_bytes += bytes;
        self.stirred.push(there);
    }

    fn hosts(&self, socket: Socket) -> Option<(usize, usize)> {
        let connection = self.connections.get(&socket.connection)?;
        Some((connection.hosts[socket.side], connection.hosts[1 - socket.side]))
    }

    fn end_mut(&mut self, socket: Socket) -> Option<&mut End> {
        Some(&mut self.connections.get_mut(&socket.connection)?.ends[socket.side])
    }

    /// Forgets a connection that nobody uses any more.
    fn tidy(&mut self, connection: ConnectionId) {
        let done = |connection: &Connection| connection.ends.iter().all(|end| end.is_closed);
        if self.connections.get(&connection).is_some_and(done)
            && let Some(Connection { hosts, .. }) = self.connections.remove(&connection)
        {
            for host in hosts {
                self.by_host[host].remove(&connection);
            }
        }
    }
}

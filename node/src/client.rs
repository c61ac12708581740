//! A client: what its connection remembers between commands, and what others may see of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use shared::resp::Protocol;
use shared::time::{MonoMillis, WallMillis};
use shared::version::Version;

use crate::command::blocking::Blocked;
use crate::command::pubsub::Subscriptions;
use crate::command::table::Row;
use crate::pubsub::Listener;
use crate::snapshots::Ticket;
use crate::stopwatch::Stopwatch;
use crate::store::watchers::Watcher;

/// Where a client comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// Over TCP: the remote and the local end.
    Tcp { remote: SocketAddr, local: SocketAddr },
    /// Over the Unix socket at this path.
    Unix { path: String },
}

impl Address {
    /// Whether the client is on this host, and so may use the feed.
    pub(crate) const fn is_local(&self) -> bool {
        match self {
            Self::Tcp { remote, .. } => remote.ip().is_loopback(),
            Self::Unix { .. } => true,
        }
    }
}

/// What CLIENT LIST tells of a client, and how others end it.
#[derive(Debug)]
pub(crate) struct ClientRecord {
    pub(crate) id: u64,
    pub(crate) address: Address,
    /// Which worker serves it, to wake that.
    pub(crate) worker: usize,
    pub(crate) descriptor: i32,
    pub(crate) created: WallMillis,
    pub(crate) text: Mutex<ClientText>,
    pub(crate) db: AtomicU8,
    pub(crate) protocol: AtomicU8,
    /// The newest command that was begun.
    pub(crate) last_command: Mutex<&'static str>,
    pub(crate) last_active: AtomicU64,
    /// The number of queued commands, -1 outside of MULTI.
    pub(crate) queued: AtomicI64,
    pub(crate) watched: AtomicUsize,
    /// How many channels, and how many patterns, it listens to.
    pub(crate) channels: AtomicUsize,
    pub(crate) patterns: AtomicUsize,
    pub(crate) input_bytes: AtomicUsize,
    pub(crate) output_bytes: AtomicUsize,
    pub(crate) no_evict: AtomicBool,
    pub(crate) follows_feed: AtomicBool,
    /// Whether it is shown what all clients do.
    pub(crate) is_monitor: AtomicBool,
    /// Whether it waits in a command.
    pub(crate) is_blocked: AtomicBool,
    /// Whether it waits in WAIT, and whether CLIENT UNBLOCK has ended that.
    wait: AtomicU8,
    /// Where its worker keeps its connection.
    pub(crate) slot: AtomicUsize,
    pub(crate) killed: AtomicBool,
}

impl ClientRecord {
    pub(crate) fn protocol(&self) -> Protocol {
        if self.protocol.load(Ordering::Relaxed) == 3 { Protocol::Resp3 } else { Protocol::Resp2 }
    }

    /// It waits in WAIT from now on.
    pub(crate) fn begin_wait(&self) {
        self.wait.store(WAITS, Ordering::Release);
    }

    /// It waits no longer.
    pub(crate) fn end_wait(&self) {
        self.wait.store(NO_WAIT, Ordering::Release);
    }

    /// Ends its WAIT in this way; its worker is to be told. Says whether it waits, and nobody else has ended that.
    pub(crate) fn unblock(&self, how: Unblock) -> bool {
        self.wait.compare_exchange(WAITS, how as u8, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// How its WAIT was ended, if it was.
    pub(crate) fn unblocked(&self) -> Option<Unblock> {
        let state = self.wait.load(Ordering::Acquire);
        [Unblock::TimeOut, Unblock::Error].into_iter().find(|how| *how as u8 == state)
    }

    /// What waits to be carried out or sent, in bytes.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.input_bytes.load(Ordering::Relaxed) + self.output_bytes.load(Ordering::Relaxed)
    }

    /// Whether it listens to any channel.
    pub(crate) fn is_listening(&self) -> bool {
        self.channels.load(Ordering::Relaxed) + self.patterns.load(Ordering::Relaxed) > 0
    }
}

/// How CLIENT UNBLOCK ends a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unblock {
    /// As if its time had come.
    TimeOut = 2,
    Error = 3,
}

const NO_WAIT: u8 = 0;
const WAITS: u8 = 1;

/// What a client says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientText {
    pub(crate) name: String,
    pub(crate) library_name: String,
    pub(crate) library_version: String,
}

/// Whether replies are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ReplyMode {
    #[default]
    On,
    Off,
    /// The next command's reply is left out.
    SkipNext,
    /// This command's reply is left out.
    Skip,
}

/// What the connection does once the command is carried out.
#[derive(Default)]
pub(crate) enum After {
    /// Reads the next command.
    #[default]
    Continue,
    /// Closes, when the reply is sent.
    Close,
    /// Stops until enough members have acknowledged the client's last write, or the moment has come.
    Wait { write: Version, members: usize, deadline: Option<MonoMillis>, silent: bool },
    /// Stops until it is known what became of the snapshot that the client asked for.
    Save { ticket: Ticket, silent: bool },
    /// Stops until there is an element for it, or the moment has come.
    Block { blocked: Arc<Blocked>, deadline: Option<MonoMillis>, silent: bool },
    /// Becomes a stream.
    Stream(crate::follow::Errand),
}

/// Commands queued by MULTI.
#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) commands: Vec<(&'static Row, Vec<Box<[u8]>>)>,
    /// Bounded by [`QUEUE_BYTES_MAX`].
    pub(crate) bytes: usize,
    /// A command was refused when it was queued: EXEC will refuse all.
    pub(crate) refused: bool,
}

/// A client may queue this many bytes of commands; the next one is refused, and so is EXEC then. As Redis's limit
/// of a client's query buffer.
pub(crate) const QUEUE_BYTES_MAX: usize = 1 << 30;

/// A connection's state between commands.
pub(crate) struct Client {
    pub(crate) record: Arc<ClientRecord>,
    pub(crate) db: u8,
    pub(crate) protocol: Protocol,
    pub(crate) queue: Option<Queue>,
    pub(crate) watch: Watch,
    /// None if it listens to nothing.
    pub(crate) subscriptions: Option<Box<Subscriptions>>,
    /// None if it is not shown what all clients do.
    pub(crate) monitor: Option<Arc<Listener>>,
    pub(crate) reply_mode: ReplyMode,
    pub(crate) after: After,
    /// The newest command's name; the worker publishes it once per run of commands.
    pub(crate) last_command: &'static str,
    /// Its row, if that is found by its first word alone: most clients send the same command many times.
    pub(crate) last_row: Option<&'static Row>,
    /// The version of this connection's last write, for WAIT.
    pub(crate) last_write: Option<Version>,
    pub(crate) stopwatch: Stopwatch,
}

/// The keys that a client watches.
#[derive(Default)]
pub(crate) struct Watch {
    /// Each with whether it had already expired then: an expired key that goes has not changed.
    pub(crate) keys: Vec<(u8, Box<[u8]>, bool)>,
    /// Set by whoever changes one of them.
    pub(crate) touched: Watcher,
}

impl Client {
    pub(crate) fn new(record: Arc<ClientRecord>) -> Self {
        Self {
            record,
            db: 0,
            protocol: Protocol::Resp2,
            queue: None,
            watch: Watch::default(),
            subscriptions: None,
            monitor: None,
            reply_mode: ReplyMode::On,
            after: After::Continue,
            last_command: "NULL",
            last_row: None,
            last_write: None,
            stopwatch: Stopwatch::default(),
        }
    }

    /// Whether it is sent more than replies.
    pub(crate) const fn is_listening(&self) -> bool {
        self.subscriptions.is_some() || self.monitor.is_some()
    }

    pub(crate) fn select(&mut self, db: u8) {
        self.db = db;
        self.record.db.store(db, Ordering::Relaxed);
    }

    pub(crate) fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        self.record.protocol.store(if protocol == Protocol::Resp3 { 3 } else { 2 }, Ordering::Relaxed);
    }
}

/// Every connected client, by id.
#[derive(Default)]
pub(crate) struct Clients {
    records: Mutex<BTreeMap<u64, Arc<ClientRecord>>>,
    next_id: AtomicU64,
    next_worker: AtomicUsize,
}

impl Clients {
    pub(crate) fn connect(
        &self,
        address: Address,
        worker: usize,
        descriptor: i32,
        now: WallMillis,
    ) -> Arc<ClientRecord> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed) + 1;
        let record = Arc::new(ClientRecord {
            id,
            address,
            worker,
            descriptor,
            created: now,
            text: Mutex::default(),
            db: AtomicU8::new(0),
            protocol: AtomicU8::new(2),
            last_command: Mutex::new("NULL"),
            last_active: AtomicU64::new(now.0),
            queued: AtomicI64::new(-1),
            watched: AtomicUsize::new(0),
            channels: AtomicUsize::new(0),
            patterns: AtomicUsize::new(0),
            input_bytes: AtomicUsize::new(0),
            output_bytes: AtomicUsize::new(0),
            no_evict: AtomicBool::new(false),
            follows_feed: AtomicBool::new(false),
            is_monitor: AtomicBool::new(false),
            is_blocked: AtomicBool::new(false),
            wait: AtomicU8::new(NO_WAIT),
            slot: AtomicUsize::new(usize::MAX),
            killed: AtomicBool::new(false),
        });
        self.records.lock().insert(id, Arc::clone(&record));
        record
    }

    /// Which worker serves the next client: each in turn.
    pub(crate) fn next_worker(&self, workers: usize) -> usize {
        self.next_worker.fetch_add(1, Ordering::Relaxed) % workers.max(1)
    }

    pub(crate) fn disconnect(&self, id: u64) {
        self.records.lock().remove(&id);
    }

    pub(crate) fn count(&self) -> usize {
        self.records.lock().len()
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<ClientRecord>> {
        self.records.lock().get(&id).cloned()
    }

    /// All of them, by id.
    pub(crate) fn list(&self) -> Vec<Arc<ClientRecord>> {
        self.records.lock().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_ended_once_and_only_while_it_lasts() {
        let clients = Clients::default();
        let address = Address::Unix { path: "/unix".to_owned() };
        let record = clients.connect(address, 0, 0, WallMillis(0));
        assert!(!record.unblock(Unblock::Error));
        record.begin_wait();
        assert_eq!(record.unblocked(), None);
        assert!(record.unblock(Unblock::Error) && !record.unblock(Unblock::TimeOut));
        assert_eq!(record.unblocked(), Some(Unblock::Error));
        record.end_wait();
        assert!(record.unblocked().is_none() && !record.unblock(Unblock::TimeOut));
    }
}

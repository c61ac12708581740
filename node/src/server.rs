//! What all threads of a node share, and how it starts and stops.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use event_listener::{Event, EventListener};
use shared::feed::PeersReport;
use shared::time::{MonoMillis, WallMillis};
use slog::{Logger, warn};

use crate::client::{ClientRecord, Clients};
use crate::command::blocking::BlockedClients;
use crate::config::Config;
use crate::conversation::Notice;
use crate::error::CommandError;
use crate::follow::Handover;
use crate::group::Own;
use crate::latency::{self, Latency, Sample};
use crate::loading::NodePlace;
use crate::log::SealedReader;
use crate::log::disk::Directory;
use crate::monitors::Monitors;
use crate::node::{Node, count};
use crate::notifications::Notices;
use crate::open::Progress;
use crate::pause::Pause;
use crate::pubsub::{Limits, Post, PubSub};
use crate::slow_log::SlowLog;
use crate::statistics::{Rate, Statistics};
use crate::transaction::Clocks;
use crate::worker::Inbox;

/// Why the node stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// It was told to.
    Asked,
    /// It cannot go on; the log says why.
    Failed,
}

/// What is counted for INFO.
#[derive(Default)]
pub(crate) struct Stats {
    pub(crate) commands: AtomicU64,
    pub(crate) connections_received: AtomicU64,
    pub(crate) connections_rejected: AtomicU64,
    pub(crate) error_replies: AtomicU64,
    pub(crate) changes_made: AtomicU64,
    pub(crate) expired_keys: AtomicU64,
    pub(crate) evicted_keys: AtomicU64,
    pub(crate) keyspace_hits: AtomicU64,
    pub(crate) keyspace_misses: AtomicU64,
}

/// What all threads of a node share.
pub(crate) struct Server {
    pub(crate) node: NodePlace,
    /// How far the loading of the node is.
    pub(crate) progress: Arc<Progress>,
    pub(crate) config: Config,
    pub(crate) clients: Clients,
    pub(crate) blocked: BlockedClients,
    pub(crate) pubsub: PubSub,
    pub(crate) pause: Pause,
    pub(crate) stats: Stats,
    pub(crate) statistics: Statistics,
    pub(crate) rate: Rate,
    pub(crate) slow_log: SlowLog,
    pub(crate) latency: Latency,
    pub(crate) monitors: Monitors,
    /// Whether expired keys are removed by themselves: DEBUG SET-ACTIVE-EXPIRE.
    pub(crate) reaps: AtomicBool,
    /// When the node was started, by its wall clock.
    pub(crate) started: WallMillis,
    /// 40 hexadecimal digits that no other run has.
    pub(crate) run_id: String,
    pub(crate) logger: Logger,
    log_reader: OnceLock<SealedReader>,
    disk: OnceLock<Arc<Directory>>,
    began: Instant,
    workers: OnceLock<Vec<Arc<Inbox>>>,
    streams: async_std::channel::Sender<Handover>,
    stopped: OnceLock<Stopped>,
    stop_event: Event,
    kills: AtomicBool,
    /// How many clients wait in WAIT now, and how many ever did.
    waiting: AtomicUsize,
    waits: AtomicU64,
    /// By the wall clock, in seconds, when the last snapshot was put in place, or else the node was started.
    last_save_s: AtomicU64,
    /// How many changes it holds of those that were seen since the start.
    saved_changes: AtomicU64,
    /// The TCP addresses that are listened on; filled once they are bound.
    pub(crate) addresses: OnceLock<Vec<SocketAddr>>,
}

/// What a server is put together from.
pub(crate) struct Parts {
    pub(crate) node: NodePlace,
    pub(crate) config: Config,
    pub(crate) logger: Logger,
    pub(crate) run_id: String,
    pub(crate) streams: async_std::channel::Sender<Handover>,
    /// The wall clock at the start.
    pub(crate) started: WallMillis,
}

impl Server {
    pub(crate) fn new(parts: Parts) -> Self {
        let started = parts.started;
        let statistics = Statistics::new(parts.config.threads);
        parts.node.memory.start(started);
        Self {
            node: parts.node,
            progress: Arc::default(),
            config: parts.config,
            clients: Clients::default(),
            blocked: BlockedClients::default(),
            pubsub: PubSub::default(),
            pause: Pause::default(),
            stats: Stats::default(),
            statistics,
            rate: Rate::default(),
            slow_log: SlowLog::default(),
            latency: Latency::default(),
            monitors: Monitors::default(),
            reaps: AtomicBool::new(true),
            started,
            run_id: parts.run_id,
            logger: parts.logger,
            log_reader: OnceLock::new(),
            disk: OnceLock::new(),
            began: Instant::now(),
            workers: OnceLock::new(),
            streams: parts.streams,
            stopped: OnceLock::new(),
            stop_event: Event::new(),
            kills: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            waits: AtomicU64::new(0),
            last_save_s: AtomicU64::new(started.0 / 1_000),
            saved_changes: AtomicU64::new(0),
            addresses: OnceLock::new(),
        }
    }

    /// The node is loaded. What was set meanwhile holds for it.
    pub(crate) fn put(&self, node: Node) {
        node.memory.start(self.started);
        self.node.put(node);
        self.node.take_role();
        self.node.agree_on_memory(self.mono_ms());
    }

    /// Nanoseconds since the start.
    pub(crate) fn mono_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Microseconds since the start.
    pub(crate) fn mono_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Milliseconds since the start.
    pub(crate) fn mono_ms(&self) -> MonoMillis {
        MonoMillis(self.mono_us() / 1_000)
    }

    /// Both clocks, read now.
    pub(crate) fn clocks(&self) -> Clocks {
        Clocks { wall: wall_clock(), mono_us: self.mono_us() }
    }

    /// The node's id, name and group.
    pub(crate) fn identity(&self) -> Own {
        self.node.membership.lock().group.own().clone()
    }

    /// The bound on how far clocks of linked nodes may lie apart, in milliseconds.
    pub(crate) const fn max_clock_drift_ms(&self) -> u64 {
        self.config.max_clock_drift_ms
    }

    /// Makes the node a member of this group, if it has none yet.
    ///
    /// # Errors
    /// If it is a member of another, or the name cannot be made durable.
    pub(crate) fn join_group(&self, name: &str) -> Result<(), CommandError> {
        let mut membership = self.node.membership.lock();
        let own = membership.group.own();
        match &own.group {
            Some(group) if group == name => return Ok(()),
            Some(group) => {
                return Err(CommandError::composed(format!(
                    "WRONGGROUP node {} belongs to group '{group}', not to '{name}': give the agent --group {group}, or start the node with an empty directory",
                    own.name
                )));
            }
            None => {}
        }
        membership.group.name_group(name);
        if membership.save() {
            return Ok(());
        }
        let fault = membership.fault().unwrap_or_default();
        Err(CommandError::composed(format!("MISCONF the group's name cannot be saved: {fault}")))
    }

    /// Takes over an agent's report, and lets the clients in WAIT know.
    pub(crate) fn report_peers(&self, report: PeersReport, clocks: Clocks) {
        self.node.peers.lock().report(report, MonoMillis(clocks.mono_us / 1_000));
        if self.waiting.load(Ordering::Acquire) > 0 {
            self.wake_workers();
        }
    }

    /// Tells the operator what came of a conversation with a peer.
    pub(crate) fn tell(&self, peer: &str, notices: Vec<Notice>) {
        crate::maintainer::tell(&self.logger, peer, notices);
    }

    /// A client begins to wait for acknowledgements: followers are told, so that they send them at once.
    pub(crate) fn begin_wait(&self) {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.waits.fetch_add(1, Ordering::AcqRel);
        self.node.log.seal(self.mono_us());
        self.node.log.wake_followers();
    }

    /// A client waits no longer.
    pub(crate) fn end_wait(&self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    /// How many clients wait in WAIT.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// How many waits have begun since the start.
    pub(crate) fn waits_begun(&self) -> u64 {
        self.waits.load(Ordering::Acquire)
    }

    /// How many changes were made here or came from peers since the start.
    pub(crate) fn changes_seen(&self) -> u64 {
        let made = self.stats.changes_made.load(Ordering::Relaxed);
        made + self.node.merged.changes_won.load(Ordering::Relaxed)
    }

    /// Notes that a snapshot is in place which began when so many changes had been seen.
    pub(crate) fn note_saved(&self, changes: u64, wall: WallMillis) {
        self.saved_changes.store(changes, Ordering::Relaxed);
        self.last_save_s.store(wall.0 / 1_000, Ordering::Relaxed);
    }

    /// How many of [`Server::changes_seen`] are not in a snapshot.
    pub(crate) fn changes_unsaved(&self) -> u64 {
        self.changes_seen().saturating_sub(self.saved_changes.load(Ordering::Relaxed))
    }

    /// When the last snapshot was put in place, or else the node was started, in seconds of the wall clock.
    pub(crate) fn last_save_s(&self) -> u64 {
        self.last_save_s.load(Ordering::Relaxed)
    }

    /// Ends a client's connection, whichever thread serves it.
    pub(crate) fn kill(&self, record: &ClientRecord) {
        record.killed.store(true, Ordering::Release);
        self.kills.store(true, Ordering::Release);
        if let Some(inbox) = self.workers().get(record.worker) {
            inbox.wake();
        }
        // Streams of the feed look for it when they are woken.
        self.node.log.wake_followers();
    }

    /// Whether any client was ever killed: workers look for it only then.
    pub(crate) fn kills_pending(&self) -> bool {
        self.kills.load(Ordering::Acquire)
    }

    pub(crate) fn set_workers(&self, inboxes: Vec<Arc<Inbox>>) {
        assert!(self.workers.set(inboxes).is_ok(), "workers are set once");
    }

    pub(crate) fn workers(&self) -> &[Arc<Inbox>] {
        self.workers.get().map_or(&[], Vec::as_slice)
    }

    /// Sends a message to all clients of this node that listen to the channel. Returns how often it was sent.
    pub(crate) fn publish(&self, channel: &[u8], message: &[u8]) -> usize {
        self.pubsub.publish(channel, message, self)
    }

    /// Tells the clients of this node what happened to keys. Nothing may be locked.
    pub(crate) fn notify(&self, notices: Notices) {
        if !notices.is_empty() && self.pubsub.is_heard() {
            notices.send(|channel, message| {
                self.publish(channel, message);
            });
        }
    }

    /// Notes that something took so long, if LATENCY is to tell of it.
    pub(crate) fn note_latency(&self, event: latency::Event, ns: u64) {
        let least_ms = self.node.settings.latency_monitor_ms.load(Ordering::Relaxed);
        let ms = ns / 1_000_000;
        if least_ms > 0 && ms >= least_ms {
            self.latency.note(event, Sample { time_s: wall_clock().0 / 1_000, ms });
        }
    }

    /// Counts an error that a client is given.
    pub(crate) fn count_error(&self, text: &str) {
        count(&self.stats.error_replies, 1);
        self.statistics.count_error(text);
    }

    /// Makes a client's worker look after it.
    pub(crate) fn wake_client(&self, record: &ClientRecord) {
        if let Some(inbox) = self.workers().get(record.worker) {
            inbox.look_after(record.slot.load(Ordering::Relaxed));
        }
    }

    pub(crate) fn wake_workers(&self) {
        self.workers().iter().for_each(|inbox| inbox.wake());
    }

    /// Gives a connection to the runtime, as a stream of the feed. If too many are on their way it is closed; its
    /// follower dials again.
    pub(crate) fn hand_over(&self, handover: Handover) {
        let record = Arc::clone(&handover.record);
        record.follows_feed.store(true, Ordering::Relaxed);
        if self.streams.try_send(handover).is_err() {
            self.clients.disconnect(record.id);
        }
    }

    /// Reads the log on disk; none for a node without a directory.
    pub(crate) fn log_reader(&self) -> Option<SealedReader> {
        self.log_reader.get().cloned()
    }

    /// By this the log on disk is read. Told once, before anybody can follow it.
    pub(crate) fn set_log_reader(&self, reader: SealedReader) {
        assert!(self.log_reader.set(reader).is_ok(), "a node has one log");
    }

    /// The node's directory, once it is loaded from there; none for a node without one.
    pub(crate) fn disk(&self) -> Option<Arc<Directory>> {
        self.disk.get().cloned()
    }

    /// The node is loaded from here. Told once.
    pub(crate) fn set_disk(&self, disk: Arc<Directory>) {
        assert!(self.disk.set(disk).is_ok(), "a node has one directory");
    }

    /// Stops the node: everything is told, and `run` returns when all is on disk.
    pub(crate) fn shutdown(&self) {
        self.stop(Stopped::Asked);
    }

    pub(crate) fn stop(&self, why: Stopped) {
        // The first reason stands.
        let _ = self.stopped.set(why);
        self.stop_event.notify(usize::MAX);
        self.wake_workers();
        self.node.log.wake_followers();
        self.node.snapshots.wake();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopped.get().is_some()
    }

    /// Why the node stops, if it does.
    pub(crate) fn stopped(&self) -> Option<Stopped> {
        self.stopped.get().copied()
    }

    /// Resolves when the node stops.
    pub(crate) fn stop_listener(&self) -> EventListener {
        self.stop_event.listen()
    }

    /// The Unix socket that is listened on, if any.
    pub(crate) const fn unix_path(&self) -> Option<&PathBuf> {
        self.config.unix.as_ref()
    }
}

impl Post for Server {
    fn has_mail(&self, record: &ClientRecord) {
        self.wake_client(record);
    }

    fn close(&self, record: &ClientRecord) {
        if !record.killed.load(Ordering::Acquire) {
            warn!(self.logger, "client closed: it does not read the messages it listens to"; "client" => record.id);
            self.kill(record);
        }
    }

    fn limits(&self) -> Limits {
        self.node.settings.listener_limits()
    }

    fn now(&self) -> MonoMillis {
        self.mono_ms()
    }
}

/// The wall clock now.
pub(crate) fn wall_clock() -> WallMillis {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallMillis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

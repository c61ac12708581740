//! A node for the simulator: the production store, log, writer and commands, driven from outside.
//!
//! Nothing here runs by itself: there is no thread, no socket and no clock. The simulator says what time it is, when
//! the open batch is sealed, when the log's writer has its turn, when expired keys are reaped, and when the power goes.
//! So a run is a function of its seed.

mod branches;

mod dump;

mod follower;

use std::cell::Cell;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use shared::announcement::{Announcement, Member};
use shared::batch::{BatchHeader, FORMAT};
use shared::clock::Timestamp;
use shared::feed::{FeedInfo, PeersReport};
use shared::id::{NodeId, Origin};
use shared::link::{ApplyRefusal, Now};
use shared::time::MonoMillis;
use shared::version::{Frontier, Version};
use slog::{Discard, Logger, o};

pub use self::branches::{Branches, take_branches};
pub use self::dump::{Canonical, Part, Seen, Stray, Visible, line_of};
pub use self::follower::{FeedStanding, Follower};

use crate::client::{Address, After, Client};
use crate::command::execute::execute;
use crate::config::{Config, LogFormat};
use crate::group::Sender;
use crate::loading::NodePlace;
use crate::log::SealedReader;
use crate::log::disk::simulated::{Crash, Failure, SimulatedDisk};
use crate::log::writer::Writer;
use crate::memory;
use crate::memory::settings::InitialMemory;
use crate::node::group::Announced;
use crate::node::{Applied, ApplyError};
use crate::open::{Opened, Opening, open};
use crate::reaper;
use crate::server::{Parts, Server};
use crate::settings::{Fsync, InitialSettings, Settings};
use crate::snapshots::{Saved, Snapshots, Turn};
use crate::start::memory_node;
use crate::store::key::{Key, ShardId};
use crate::transaction::Clocks;

/// A node's disk, which outlives its runs. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct Disk(SimulatedDisk);

impl Disk {
    /// An empty disk whose luck at power cuts is drawn from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(SimulatedDisk::new(seed))
    }

    /// Another disk that holds what a reader sees on this one now, all of it durable: a snapshot of the volume.
    #[must_use]
    pub fn copy(&self, seed: u64) -> Self {
        Self(self.0.copy(seed))
    }

    /// The node's process dies: what it wrote is there, and none of it is durable that was not.
    pub fn end_process(&self) {
        self.0.restart(Crash::Process);
    }

    /// The power goes: what was not synced may be lost, torn or garbled.
    pub fn lose_power(&self) {
        self.0.restart(Crash::Power);
    }

    /// The power goes in the midst of the operation that is `after` operations from now; all fail from then on.
    pub fn stop_after(&self, after: u64) {
        self.0.crash_at(self.0.operations() + after);
    }

    /// Whether that has happened.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.0.has_crashed()
    }

    /// From now on so many operations fail, as on a full disk (which has room again afterwards), or a broken one.
    pub fn fail_for(&self, operations: u64, is_full: bool) {
        let now = self.0.operations();
        self.0.fail(now..now + operations, if is_full { Failure::Full } else { Failure::Broken });
    }
}

/// When a node makes its log durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before the reply to every write.
    Always,
    /// Each second, of the simulator's time.
    Everysec,
    /// Never by itself.
    No,
}

/// What a node is started with; all randomness is the caller's.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its name.
    pub name: String,
    /// The origin of this run.
    pub origin: Origin,
    /// Its node id, if its disk has none yet.
    pub node_id: NodeId,
    /// When its log is made durable.
    pub durability: Durability,
    /// Without a disk: how many bytes of log it keeps.
    pub log_memory: usize,
    /// How far linked nodes' clocks may lie apart, in milliseconds.
    pub max_clock_drift_ms: u64,
    /// After how long of silence a member is evicted, in milliseconds.
    pub member_timeout_ms: u64,
    /// A snapshot is written when the log has grown by so much; 0 for never.
    pub snapshot_after: u64,
    /// So much of the log is kept beside a snapshot.
    pub log_retention: u64,
    /// A segment of the log is full at this.
    pub segment_bytes: u64,
    /// Dead things may take so much memory before a member that holds them up is evicted.
    pub tombstone_budget: usize,
    /// What the node's own random numbers are drawn from.
    pub seed: u64,
}

/// What a node tells its agent of itself.
#[derive(Clone, Debug)]
pub struct Point {
    /// What it has.
    pub frontier: Frontier,
    /// Its hybrid clock.
    pub clock: Timestamp,
    /// Where streams to it are to begin.
    pub pulled: Frontier,
    /// What it announces, if it does.
    pub announcement: Option<Announcement>,
}

/// What became of a command.
#[derive(Clone, Debug)]
pub struct Executed {
    /// In RESP.
    pub reply: Vec<u8>,
    /// The version of what it wrote, if it did.
    pub written: Option<Version>,
}

impl Executed {
    /// Whether the reply is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.reply.first() == Some(&b'-')
    }
}

/// What a node says to a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyAnswer {
    /// It was used, or known; this much is held of its origin now.
    Done(Timestamp),
    /// It was not used, for a reason that concerns the peer.
    Refused(ApplyRefusal),
    /// It is to be offered again, for this reason.
    NotNow(String),
}

/// What a node has counted since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Batches that were handed in.
    pub batches_in: u64,
    /// Of those, such as were held already.
    pub batches_duplicate: u64,
    /// Changes that changed something.
    pub changes_won: u64,
    /// Changes that came too late.
    pub changes_stale: u64,
}

/// A batch as it stands in a node's log.
#[derive(Clone, Debug)]
pub struct LoggedBatch {
    /// What it covers.
    pub header: BatchHeader,
    /// All of it.
    pub bytes: Arc<[u8]>,
}

/// A client's connection to a [`SimulatedNode`].
pub struct SimulatedClient(Client);

/// A run of a node. See the module's documentation.
pub struct SimulatedNode {
    server: Server,
    writer: Option<Writer<SimulatedDisk>>,
    snapshots: Option<Snapshots<SimulatedDisk>>,
    closed: Option<Origin>,
    /// Whether a reconcile has brought something that was not asked for yet by [`SimulatedNode::take_received`].
    has_received: Cell<bool>,
}

impl SimulatedNode {
    /// Starts a node on what its disk holds; without one it keeps nothing.
    ///
    /// # Errors
    /// Why it does not start, as text.
    pub fn start(disk: Option<&Disk>, setup: &Setup, now: Now) -> Result<Self, String> {
        let config = config(setup);
        let settings = Arc::new(Settings::new(config.initial));
        let mut numbers = crate::log::disk::simulated::Random(setup.seed);
        let random: crate::node::Random = Box::new(move || numbers.below(usize::MAX) as u64);
        let (node, writer, snapshots, closed) = match disk {
            None => {
                let (origin, node_id) = (setup.origin, setup.node_id);
                let node = memory_node(&config, settings, origin, node_id, random, now.mono())
                    .map_err(|error| error.to_string())?;
                (node, None, None, None)
            }
            Some(disk) => {
                let opening = Opening {
                    name: setup.name.clone(),
                    node_id: setup.node_id,
                    origin: setup.origin,
                    settings,
                    max_drift_ms: setup.max_clock_drift_ms,
                    member_timeout_ms: setup.member_timeout_ms,
                    random,
                    now: Box::new(move || now.mono()),
                    segment_bytes_max: setup.segment_bytes,
                    // More would come to the same, but not to the same numbers of origins.
                    threads: NonZeroUsize::MIN,
                    progress: Arc::default(),
                };
                let opened = open(Arc::new(disk.0.clone()), opening).map_err(|error| error.to_string())?;
                let Opened { node, writer, snapshots, found } = opened;
                let closed = found.snapshot.and_then(|snapshot| snapshot.header.closed);
                (node, Some(writer), Some(snapshots), closed)
            }
        };
        let (streams, _) = async_std::channel::bounded(1);
        let run_id = format!("{:040x}", setup.origin.0);
        let logger = Logger::root(Discard, o!());
        let node = NodePlace::of(node);
        let server = Server::new(Parts { node, config, logger, run_id, streams, started: now.wall });
        if let Some(writer) = &writer {
            server.set_log_reader(SealedReader::new(writer.reader()));
        }
        Ok(Self { server, writer, snapshots, closed, has_received: Cell::new(false) })
    }

    /// The origin that the snapshot of a join has closed: what was written under it is written once more.
    #[must_use]
    pub const fn closed(&self) -> Option<Origin> {
        self.closed
    }

    /// Connects a client, on this host.
    #[must_use]
    pub fn connect(&self, now: Now) -> SimulatedClient {
        let local = SocketAddr::from(([127, 0, 0, 1], 6379));
        let address = Address::Tcp { remote: local, local };
        SimulatedClient(Client::new(self.server.clients.connect(address, 0, -1, now.wall)))
    }

    /// Carries out a command. A client that would wait does not.
    pub fn execute(&self, client: &mut SimulatedClient, arguments: &[&[u8]], now: Now) -> Executed {
        let SimulatedClient(client) = client;
        client.last_write = None;
        let mut reply = Vec::new();
        execute(&self.server, client, arguments, clocks(now), &mut reply);
        client.after = After::Continue;
        Executed { reply, written: client.last_write }
    }

    /// Seals the open batch. Returns where the log then ends.
    pub fn seal(&self, now: Now) -> u64 {
        self.server.node.log.seal(now.mono_us).0
    }

    /// Everything before this survives the loss of power.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.server.node.log.durable().0
    }

    /// The log's writer has its turn: what is sealed goes to disk, and is made durable if `sync`.
    ///
    /// # Errors
    /// The disk's; writes are refused until a turn succeeds, as in production.
    pub fn writer_turn(&mut self, sync: bool) -> Result<(), String> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let log = &self.server.node.log;
        loop {
            match writer.turn(log, sync) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(problem) => {
                    log.failed(&problem);
                    return Err(problem.to_string());
                }
            }
        }
    }

    /// Stops the node in order.
    ///
    /// # Errors
    /// The disk's; the node is stopped all the same.
    pub fn stop(mut self, now: Now) -> Result<(), String> {
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.stop(&self.server.node);
        }
        self.server.node.log.stop(now.mono_us);
        self.writer_turn(true)?;
        match &mut self.writer {
            Some(writer) => writer.close().map_err(|problem| problem.to_string()),
            None => Ok(()),
        }
    }

    /// Raises the clock's ceiling well before it is reached.
    ///
    /// # Errors
    /// The disk's.
    pub fn keep_ceiling(&self, now: Now) -> Result<(), String> {
        self.server.node.log.keep_ceiling_ahead(now.wall).map_err(|refused| refused.to_string())
    }

    /// Removes the keys that have expired. Returns how many.
    pub fn reap(&self, now: Now) -> usize {
        let Some(turn) = reaper::Turn::of(&self.server.node, clocks(now)) else { return 0 };
        ShardId::all().map(|shard| reaper::reap_run(&self.server, &turn, shard, clocks(now))).sum()
    }

    /// Removes a key as one is for want of memory. Says whether it did: a node that takes no writes does not, and there may be
    /// nothing to remove.
    pub fn evict(&self, db: u8, key: &[u8], now: Now) -> bool {
        let evicted = || self.server.stats.evicted_keys.load(std::sync::atomic::Ordering::Relaxed);
        let (before, settings) = (evicted(), &self.server.node.settings);
        if !settings.is_read_only() {
            memory::evict::evict(&self.server, &Key::new(db, key), clocks(now));
        }
        evicted() > before
    }

    /// `FEED INFO`.
    #[must_use]
    pub fn info(&self, now: Now) -> FeedInfo {
        let identity = self.server.identity();
        let log = &self.server.node.log;
        let (frontier, clock) = log.standing(now.wall);
        FeedInfo {
            node_id: identity.node_id,
            name: identity.name,
            group: identity.group.unwrap_or_default(),
            group_id: identity.group_id,
            joining: self.is_joining(),
            origin: log.origin(),
            role: self.server.node.settings.role(),
            frontier,
            clock,
            wall: now.wall,
            start_time: self.server.started,
            log_start: log.log_start(),
            batch_format: FORMAT,
            max_clock_drift_ms: self.server.max_clock_drift_ms(),
        }
    }

    /// `FEED GROUP`.
    ///
    /// # Errors
    /// The reply.
    pub fn join_group(&self, name: &str) -> Result<(), String> {
        self.server.join_group(name).map_err(|error| error.to_string())
    }

    /// Whether it is about to join a group, or anew.
    #[must_use]
    pub fn is_joining(&self) -> bool {
        self.server.node.membership.lock().group.is_joining()
    }

    /// How many members its group has, as far as it knows, itself included.
    #[must_use]
    pub fn members(&self) -> usize {
        self.server.node.membership.lock().group.size()
    }

    /// Whether it is a member of a group, and has taken over and written once more all that it is to.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let node = &self.server.node;
        let is_receiving = node.conversations.lock().receiving.is_some();
        !self.is_joining() && !is_receiving && !node.has_to_restate()
    }

    /// `FEED PEERS`.
    pub fn report(&self, report: PeersReport, now: Now) -> Point {
        let node = &self.server.node;
        node.hear(&report.announcements, &report.left, clocks(now));
        node.conversations.lock().on_truncated(report.truncated.iter().copied());
        self.server.report_peers(report, clocks(now));
        let Announced { frontier, clock, pull, announcement } = node.announce(clocks(now));
        Point { frontier, clock, pulled: pull, announcement }
    }

    /// `FEED HEARD`.
    pub fn hear(&self, clock: Timestamp, now: Now) {
        self.server.node.hear_clock(clock, clocks(now));
    }

    /// `FEED CONVERSE`: what to ask the peer, or in how many milliseconds to come again; and what came of it.
    pub fn converse(
        &self,
        peer: NodeId,
        name: &str,
        answer: Option<&Result<Vec<u8>, String>>,
        now: Now,
    ) -> (Option<Vec<u8>>, u64, Vec<String>) {
        let node = &self.server.node;
        let mut conversations = node.conversations.lock();
        let notices = match answer {
            None => Vec::new(),
            Some(Ok(bytes)) => conversations.on_answer(node, peer, Ok(bytes), clocks(now)),
            Some(Err(text)) => conversations.on_answer(node, peer, Err(text), clocks(now)),
        };
        if answer.is_some() && conversations.receiving.is_some() {
            self.has_received.set(true);
        }
        let next = conversations.next_question(node, peer, name, clocks(now));
        let told = notices.iter().map(|notice| format!("{notice:?}")).collect();
        (next.question, next.wait_ms, told)
    }

    /// Whether a reconcile has brought anything since this was asked last.
    pub fn take_received(&self) -> bool {
        self.has_received.take()
    }

    /// `FEED ANSWER`.
    ///
    /// # Errors
    /// The reply.
    pub fn answer(&self, peer: NodeId, question: &[u8], now: Now) -> Result<Vec<u8>, String> {
        let node = &self.server.node;
        node.conversations.lock().answer(node, peer, question, clocks(now)).map_err(|error| error.to_string())
    }

    /// The node looks after itself. Returns what came of it.
    pub fn maintain(&self, now: Now) -> Vec<String> {
        let maintained = self.server.node.maintain(clocks(now));
        let notices = maintained.notices.iter().map(|notice| format!("{notice:?}"));
        let evicted = maintained.evicted.iter().map(|(member, why)| format!("evicts {member}: {why}"));
        let dropped = (maintained.dropped > 0).then(|| format!("drops dead things: {}", maintained.dropped));
        notices.chain(evicted).chain(dropped).collect()
    }

    /// `FEED FORGET`: whether there was such a member.
    pub fn forget(&self, name: &str) -> bool {
        let _nothing_half_merged = self.server.node.hold_applying();
        let mut membership = self.server.node.membership.lock();
        let forgotten = membership.group.forget(name).is_some();
        forgotten && membership.save()
    }

    /// Who writes snapshots does the next step. Returns whether there was one, and what is worth telling.
    pub fn snapshot_turn(&mut self, now: Now) -> (bool, Option<String>) {
        let Some(snapshots) = &mut self.snapshots else { return (false, None) };
        match snapshots.turn(&self.server.node, MonoMillis(now.mono_us / 1_000)) {
            Turn::Idle => (false, None),
            Turn::AwaitsLog(_) | Turn::Stepped => (true, None),
            Turn::Began => (true, Some("begins a snapshot".to_owned())),
            Turn::Yielded => (true, Some("cuts a snapshot off".to_owned())),
            Turn::Saved(Saved { why, keys, .. }) => (true, Some(format!("snapshot of {keys} keys: {why:?}"))),
            Turn::Failed(why, problem) => (true, Some(format!("snapshot failed: {why:?}: {problem:.60}"))),
        }
    }

    /// What is held, and the clock, taken together.
    #[must_use]
    pub fn standing(&self, now: Now) -> (Frontier, Timestamp) {
        self.server.node.log.standing(now.wall)
    }

    /// What is held; the clock stays as it is.
    #[must_use]
    pub fn frontier(&self) -> Frontier {
        self.server.node.log.status().frontier
    }

    /// The hybrid clock.
    #[must_use]
    pub fn clock(&self) -> Timestamp {
        self.server.node.log.status().clock
    }

    /// This run's origin.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.server.node.log.origin()
    }

    /// `FEED APPLY`.
    pub fn apply(&self, batch: &[u8], sender: &Member, now: Now) -> ApplyAnswer {
        let sender = Sender { node_id: sender.node_id, run: sender.origin };
        match self.server.node.apply(batch, Some(sender), now.wall) {
            Ok(Applied { held, .. }) => ApplyAnswer::Done(held),
            Err(ApplyError::Gap { .. }) => ApplyAnswer::Refused(ApplyRefusal::Gap),
            Err(ApplyError::Closed { .. }) => ApplyAnswer::Refused(ApplyRefusal::Closed),
            Err(ApplyError::Unheard { .. }) => ApplyAnswer::Refused(ApplyRefusal::Unheard),
            Err(ApplyError::Suspended { .. }) => ApplyAnswer::Refused(ApplyRefusal::Suspended),
            Err(problem @ (ApplyError::Batch(_) | ApplyError::Own(_))) => {
                ApplyAnswer::Refused(ApplyRefusal::Bad(problem.to_string()))
            }
            Err(problem @ (ApplyError::Refused(_) | ApplyError::TooManyOrigins(_))) => {
                ApplyAnswer::NotNow(problem.to_string())
            }
        }
    }

    /// What was counted since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let merged = &self.server.node.merged;
        let read =
            |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
        Counters {
            batches_in: read(&merged.batches_in),
            batches_duplicate: read(&merged.batches_duplicate),
            changes_won: read(&merged.changes_won),
            changes_stale: read(&merged.changes_stale),
        }
    }
}

const fn clocks(now: Now) -> Clocks {
    Clocks { wall: now.wall, mono_us: now.mono_us }
}

fn config(setup: &Setup) -> Config {
    let fsync = match setup.durability {
        Durability::Always => Fsync::Always,
        Durability::Everysec => Fsync::Everysec,
        Durability::No => Fsync::No,
    };
    Config {
        name: setup.name.clone(),
        bind: Vec::new(),
        port: 0,
        unix: None,
        dir: None,
        log_memory: setup.log_memory,
        log_segment: setup.segment_bytes,
        threads: 1,
        max_clock_drift_ms: setup.max_clock_drift_ms,
        member_timeout_ms: setup.member_timeout_ms,
        log_level: slog::Level::Critical,
        debug: Default::default(),
        log_format: LogFormat::Term,
        initial: InitialSettings {
            role: shared::announcement::Role::Active,
            fsync,
            max_change: 1 << 20,
            max_clients: 1_000,
            idle_timeout_s: 0,
            tcp_keepalive_s: 0,
            output_bytes_max: 1 << 20,
            notify_keyspace_events: Default::default(),
            slow_log_us: -1,
            slow_log_entries_max: 0,
            latency_monitor_ms: 0,
            log_retention: setup.log_retention,
            log_retention_age_s: 0,
            snapshot_after: setup.snapshot_after,
            snapshot_every_s: 0,
            tombstone_budget: Some(setup.tombstone_budget),
            memory: InitialMemory::default(),
        },
    }
}

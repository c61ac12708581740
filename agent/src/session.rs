//! What all tasks of an agent share while its node stays the same: from one contact with the node to its loss.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_std::channel::{Receiver, Sender};
use async_tungstenite::tungstenite::Bytes;
use shared::announcement::Member;
use shared::clock::Timestamp;
use shared::feed::FeedInfo;
use shared::id::NodeId;
use shared::link::{Codec, Codecs, Hello, Local, Now};
use shared::publication::Publication;
use shared::time::WallMillis;
use shared::version::Frontier;
use slog::Logger;

use crate::config::Config;
use crate::hub::{Command, LinkEvent, NodePoint};
use crate::node_client::NodeAddress;
use crate::record::{Complaints, Ledger, Record};
use crate::router::LinkId;

/// So many events may wait for the hub; then links wait, and their peers.
pub(crate) const EVENTS_MAX: usize = 1_024;

/// So many commands may wait for a link, which takes them in at any time; a link with more is broken and ended.
pub(crate) const COMMANDS_MAX: usize = 1_024;

/// So many messages of PUBLISH may wait for a link; of more the newest are dropped.
pub(crate) const PUBLICATIONS_MAX: usize = 1_024;

/// What the hub hears.
#[derive(Debug)]
pub(crate) enum Event {
    /// A link's peer has said who it is, and is to be judged.
    Greeted { link: LinkId, handle: LinkHandle, hello: Box<Hello>, dialled: bool, is_related: bool },
    /// A link has news.
    Link(LinkId, LinkEvent),
    /// A link is gone, and nothing of it is being applied any more. It has left if the peer said that it, or its node,
    /// goes away.
    Closed { link: LinkId, has_left: bool },
    /// A dialler asks to be told, by the sender being dropped, when no link to the peer is left.
    AwaitUnlinked(NodeId, Sender<()>),
    /// The node's clock is past a peer's, or why it is not.
    ClockHeard(Result<(), String>),
    /// The node said what it holds.
    Reported(Box<NodePoint>),
    /// The node said all about itself, this long after it was asked.
    Informed(Box<FeedInfo>, Duration),
    /// A client of the node has published a message.
    Published(Arc<Publication>),
    /// The node is gone: the session ends.
    NodeLost(String),
}

/// How the hub reaches a link.
#[derive(Clone, Debug)]
pub(crate) struct LinkHandle {
    pub(crate) commands: Sender<Command>,
    /// Messages of PUBLISH: dropped when there are too many, which ends no link.
    pub(crate) publications: Sender<Arc<Publication>>,
}

/// How a link came to be.
#[derive(Clone, Debug)]
pub(crate) struct LinkStart {
    /// The address that was dialled, or that dialled.
    pub(crate) address: String,
    /// The record of the configured peer, if this side dialled.
    pub(crate) dialled: Option<Arc<Record>>,
    /// Closed when the peer is not to be dialled any longer, if this side dialled.
    pub(crate) removed: Option<Receiver<()>>,
}

/// The bytes of a batch, without a copy of them.
pub(crate) type BatchSlice = Bytes;

/// One contact with the node.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) node: NodeAddress,
    group: String,
    codec: Option<Codec>,
    pub(crate) info: FeedInfo,
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    pub(crate) events: Sender<Event>,
    /// Closed when the session ends.
    pub(crate) ended: Receiver<()>,
    pub(crate) logger: Logger,
    pub(crate) complaints: Mutex<Complaints>,
    standing: Mutex<(Frontier, Timestamp)>,
    clocks: Clocks,
    links: AtomicU64,
    messages_dropped: AtomicU64,
}

impl Session {
    pub(crate) fn new(
        config: &Config,
        info: FeedInfo,
        ledger: Arc<Mutex<Ledger>>,
        events: Sender<Event>,
        ended: Receiver<()>,
        logger: Logger,
    ) -> Self {
        let standing = Mutex::new((info.frontier.clone(), info.clock));
        let clocks = Clocks::new(info.wall);
        let (complaints, links, messages_dropped) = (Mutex::default(), AtomicU64::new(0), AtomicU64::new(0));
        Self {
            node: config.node.clone(),
            group: config.group.clone(),
            codec: config.compress.0,
            info,
            ledger,
            events,
            ended,
            logger,
            complaints,
            standing,
            clocks,
            links,
            messages_dropped,
        }
    }

    /// Messages of PUBLISH were dropped within this agent.
    pub(crate) fn count_dropped(&self, messages: u64) {
        self.messages_dropped.fetch_add(messages, Ordering::Relaxed);
    }

    /// How many messages of PUBLISH were dropped within this agent.
    pub(crate) fn messages_dropped(&self) -> u64 {
        self.messages_dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn next_link(&self) -> LinkId {
        LinkId(self.links.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn member(&self) -> Member {
        Member {
            name: self.info.name.clone(),
            node_id: self.info.node_id,
            origin: self.info.origin,
            role: self.info.role,
        }
    }

    /// What a new link says of this side.
    pub(crate) fn local(&self, dialled: bool) -> Local {
        let (frontier, clock) = self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Local {
            group: self.group.clone(),
            group_id: self.info.group_id,
            joining: self.info.joining,
            member: self.member(),
            start_time: self.info.start_time,
            frontier,
            clock,
            dialled,
            clock_drift_ms_max: self.info.max_clock_drift_ms,
            reads: Codecs::ALL,
            codec: self.codec,
        }
    }

    /// Notes what the node holds, for links to come.
    pub(crate) fn set_standing(&self, point: &NodePoint) {
        let standing = (point.frontier.clone(), point.clock);
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    /// The record of a link's peer, now that it is known.
    pub(crate) fn record(&self, start: &LinkStart, node_id: NodeId) -> Arc<Record> {
        let accepted = || {
            let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
            ledger.accepted(node_id, &start.address)
        };
        start.dialled.clone().unwrap_or_else(accepted)
    }

    pub(crate) const fn clocks(&self) -> &Clocks {
        &self.clocks
    }
}

/// A reading of the node's clock that took longer than this says too little: the one before stands.
const READING_TIME_MAX: Duration = Duration::from_millis(500);

/// Reads both clocks. The wall clock is the node's, which may differ from this process's.
#[derive(Debug)]
pub(crate) struct Clocks {
    start: Instant,
    node_ahead_ms: AtomicI64,
}

impl Clocks {
    pub(crate) fn new(node_wall: WallMillis) -> Self {
        let clocks = Self { start: Instant::now(), node_ahead_ms: AtomicI64::new(0) };
        clocks.on_node_wall(node_wall, Duration::ZERO);
        clocks
    }

    /// The node's wall clock was read, at some moment of the time that the question took.
    pub(crate) fn on_node_wall(&self, node_wall: WallMillis, took: Duration) {
        if took <= READING_TIME_MAX {
            let half_ms = u64::try_from(took.as_millis() / 2).unwrap_or(u64::MAX);
            let now = node_wall.0.saturating_add(half_ms);
            self.node_ahead_ms.store(now.wrapping_sub(wall_millis()).cast_signed(), Ordering::Relaxed);
        }
    }

    pub(crate) fn now(&self) -> Now {
        let wall = wall_millis().saturating_add_signed(self.node_ahead_ms.load(Ordering::Relaxed));
        let mono_us = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        Now { mono_us, wall: WallMillis(wall) }
    }
}

fn wall_millis() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

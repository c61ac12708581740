//! What all tasks of an agent share while its node stays the same: from one contact with the node to its loss.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_std::channel::{Receiver, Sender};
use async_tungstenite::tungstenite::Bytes;
use shared::announcement::{Announcement, Member};
use shared::clock::Timestamp;
use shared::feed::FeedInfo;
use shared::id::{GroupId, NodeId, Origin};
use shared::link::{Goodbye, Hello, Holding, Local, Now};
use shared::time::WallMillis;
use shared::version::Frontier;
use slog::Logger;

use crate::node_client::{NodeAddress, NodePoint};
use crate::record::{Complaints, Record};
use crate::router::LinkId;

/// So many events may wait for the hub; then links wait, and their peers.
pub(crate) const EVENTS_MAX: usize = 1_024;

/// So many commands may wait for a link, which takes them in at any time; a link with more is broken and ended.
pub(crate) const COMMANDS_MAX: usize = 1_024;

/// What the hub hears.
#[derive(Debug)]
pub(crate) enum Event {
    /// A link's peer has said who it is, and is to be judged.
    Greeted { link: LinkId, commands: Sender<Command>, hello: Box<Hello>, start: LinkStart },
    /// A link has news.
    Link(LinkId, LinkEvent),
    /// A link is gone, and nothing of it is being applied any more.
    Closed(LinkId),
    /// A dialler asks to be told, by the sender being dropped, when no link to the peer is left.
    AwaitUnlinked(NodeId, Sender<()>),
    /// The node said what it holds.
    Reported(NodePoint),
    /// The node said all about itself, this long after it was asked.
    Informed(Box<FeedInfo>, Duration),
    /// The node is gone: the session ends.
    NodeLost(String),
}

/// How a link came to be.
#[derive(Clone, Debug)]
pub(crate) struct LinkStart {
    /// The address that was dialled, or that dialled.
    pub(crate) address: String,
    /// The record of the configured peer, if this side dialled.
    pub(crate) dialled: Option<Arc<Record>>,
}

/// What a link that is up has to say.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    Heard(Holding),
    Announced(Box<Announcement>),
    PeerSubscribed(Origin, Timestamp),
    PeerUnsubscribed(Origin),
    /// The node holds this much of these origins now, and batches of those came or are being applied.
    Progress {
        held: Frontier,
        delivered: Vec<Origin>,
    },
    Drained(Origin),
    /// Not to be pulled from here for this many milliseconds.
    Refused(Origin, u64),
    RoundTrip(u64),
}

/// What a link is told.
#[derive(Debug)]
pub(crate) enum Command {
    Admit(Arc<Record>),
    Leave(Goodbye),
    Subscribe(Origin, Timestamp),
    Unsubscribe(Origin),
    Held(Arc<Frontier>, Timestamp),
    Announce(Arc<Announcement>),
}

/// The bytes of a batch, without a copy of them.
pub(crate) type BatchSlice = Bytes;

/// One contact with the node.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) node: NodeAddress,
    pub(crate) group: String,
    pub(crate) info: FeedInfo,
    pub(crate) events: Sender<Event>,
    /// Closed when the session ends.
    pub(crate) ended: Receiver<()>,
    pub(crate) logger: Logger,
    pub(crate) complaints: Mutex<Complaints>,
    point: Mutex<NodePoint>,
    clocks: Clocks,
    links: AtomicU64,
}

impl Session {
    pub(crate) fn new(
        node: NodeAddress,
        group: String,
        info: FeedInfo,
        events: Sender<Event>,
        ended: Receiver<()>,
        logger: Logger,
    ) -> Self {
        let point = Mutex::new(NodePoint { frontier: info.frontier.clone(), clock: info.clock });
        let clocks = Clocks::new(info.wall);
        let (complaints, links) = (Mutex::default(), AtomicU64::new(0));
        Self { node, group, info, events, ended, logger, complaints, point, clocks, links }
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
        let NodePoint { frontier, clock } = self.point();
        Local {
            group: self.group.clone(),
            group_id: self.group_id(),
            member: self.member(),
            start_time: self.info.start_time,
            frontier,
            clock,
            dialled,
            clock_drift_ms_max: self.info.max_clock_drift_ms,
        }
    }

    pub(crate) fn group_id(&self) -> GroupId {
        self.info.group_id
    }

    /// What the node held when it was last asked.
    pub(crate) fn point(&self) -> NodePoint {
        self.point.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what the node holds, for links to come.
    pub(crate) fn set_point(&self, point: NodePoint) {
        *self.point.lock().unwrap_or_else(PoisonError::into_inner) = point;
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

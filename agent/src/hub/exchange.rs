//! What the hub's core and its driver hand each other.

use std::sync::Arc;

use shared::announcement::Announcement;
use shared::clock::Timestamp;
use shared::feed::{FeedInfo, PeersReport};
use shared::id::{NodeId, Origin};
use shared::link::{Goodbye, Hello, Holding, PullRefusal};
use shared::publication::Publication;
use shared::version::Frontier;

use super::SessionEnd;
use crate::router::LinkId;

/// What the hub hears.
#[derive(Debug)]
pub enum Input {
    /// Time has passed. A late or extra tick changes nothing.
    Tick,
    /// A link's peer has said who it is; [`Command::Admit`] or [`Command::Leave`] follows.
    Greeted {
        /// The link.
        link: LinkId,
        /// What the peer said.
        hello: Box<Hello>,
        /// Whether this side dialled.
        dialled: bool,
        /// Whether the two stream to each other.
        is_related: bool,
    },
    /// A link that was admitted has news.
    Link(LinkId, LinkEvent),
    /// A link is gone, and nothing of it is being applied any more.
    Closed {
        /// The link.
        link: LinkId,
        /// Whether the peer said that it, or its node, goes away.
        has_left: bool,
    },
    /// The answer to [`Question::Hear`], or why the node does not take that clock.
    ClockHeard(Result<(), String>),
    /// The answer to [`Question::Report`].
    Reported(Box<NodePoint>),
    /// The answer to [`Question::Info`].
    Informed(Box<FeedInfo>),
    /// A client of the node has published a message.
    Published(Arc<Publication>),
    /// The agent is to stop.
    Stop,
}

/// What a link that is up has to say.
#[derive(Debug)]
pub enum LinkEvent {
    /// The peer's node holds this much more.
    Heard(Holding),
    /// A member announces.
    Announced(Arc<Announcement>),
    /// The peer wants to be told what this member announces; or hears it from others.
    PeerListens(NodeId, bool),
    /// The peer pulls an origin from here, from a timestamp on.
    PeerSubscribed(Origin, Timestamp),
    /// The peer no longer pulls an origin from here.
    PeerUnsubscribed(Origin),
    /// The node holds this much of these origins now, and batches of those came or are being applied.
    Progress {
        /// What `FEED APPLY` answered.
        held: Frontier,
        /// Of which origins something came.
        delivered: Vec<Origin>,
    },
    /// Nothing of an unsubscribed or refused origin is being applied any more.
    Drained(Origin),
    /// An origin cannot be pulled from this peer at the moment.
    Refused(Origin, PullRefusal),
    /// A round trip took this many milliseconds.
    RoundTrip(u64),
    /// What the peer says is this late from now on, in milliseconds.
    Late(u64),
    /// A message of PUBLISH came.
    Published(Arc<Publication>),
    /// The node has talked with the peer's, and may be another since.
    Talked,
}

/// What a link is told.
#[derive(Clone, Debug)]
pub enum Command {
    /// The peer that greeted may join.
    Admit,
    /// The link is to end.
    Leave(Goodbye),
    /// Pull an origin, from a timestamp on.
    Subscribe(Origin, Timestamp),
    /// Stop pulling an origin.
    Unsubscribe(Origin),
    /// The node holds this much more, with its clock when, or before, it did.
    Held(Arc<Frontier>, Timestamp),
    /// Tell the peer this.
    Announce(Arc<Announcement>),
    /// Whether the peer is to tell what this member announces.
    Listen(NodeId, bool),
}

/// What the hub wants of the node. Of each kind one at a time is under way.
#[derive(Debug)]
pub enum Question {
    /// All about itself.
    Info,
    /// What it holds; and this is how the peers are. The state of the links is left to who carries it out.
    Report(Box<PeersReport>),
    /// To move its clock past a peer's.
    Hear(Timestamp),
}

/// What a node holds and announces, all at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePoint {
    /// What it has.
    pub frontier: Frontier,
    /// Its hybrid clock.
    pub clock: Timestamp,
    /// Where streams to it are to begin: its frontier, or beyond while it takes over a peer's state.
    pub pulled: Frontier,
    /// What it announces, if it does.
    pub announcement: Option<Announcement>,
}

/// What is to be done.
#[derive(Debug)]
pub enum Output {
    /// Tell a link.
    Tell(LinkId, Command),
    /// Ask the node.
    Ask(Question),
    /// Have a link pass a message of PUBLISH on.
    Publish(LinkId, Arc<Publication>),
    /// Hand the node's clients a message of PUBLISH.
    Deliver(Arc<Publication>),
    /// All links end, and a new core begins if the node is still there.
    End(SessionEnd),
}

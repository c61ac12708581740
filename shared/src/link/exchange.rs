//! What a driver and a link's state machine hand each other.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::codec::{Codec, Codecs};
use super::message::{Goodbye, Hello, Holding};
use super::{ClockReading, FollowFrom};
use crate::announcement::{Announcement, Member};
use crate::batch::BatchHeader;
use crate::clock::Timestamp;
use crate::id::{GroupId, NodeId, Origin};
use crate::publication::Publication;
use crate::time::{MonoMillis, WallMillis};
use crate::version::Frontier;

/// The moment of an input, by both kinds of clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Microseconds of the clock that only moves forward.
    pub mono_us: u64,
    /// The wall clock of the node.
    pub wall: WallMillis,
}

impl Now {
    /// The monotonic time in milliseconds.
    #[must_use]
    pub const fn mono(self) -> MonoMillis {
        MonoMillis(self.mono_us / 1_000)
    }
}

/// What this side says of itself in its Hello.
#[derive(Clone, Debug)]
pub struct Local {
    /// The group's name.
    pub group: String,
    /// The group's id; zero while the node has not met anyone.
    pub group_id: GroupId,
    /// Whether it is about to join the group.
    pub joining: bool,
    /// The node that is served.
    pub member: Member,
    /// When it was started, by its wall clock.
    pub start_time: WallMillis,
    /// What it has.
    pub frontier: Frontier,
    /// Its hybrid clock, taken together with the frontier.
    pub clock: Timestamp,
    /// Whether this side dialled the connection.
    pub dialled: bool,
    /// How far two wall clocks may be apart, in milliseconds.
    pub clock_drift_ms_max: u64,
    /// Which compressed messages the driver can read.
    pub reads: Codecs,
    /// How the driver is to compress what it sends, to a peer that reads that.
    pub codec: Option<Codec>,
}

/// What can happen to a link.
#[derive(Debug)]
pub enum Input<'a> {
    /// A message came.
    Message(&'a [u8]),
    /// The message that an [`Action::Decompress`] is about, which came just now; if it cannot be read, the driver leaves.
    Decompressed(&'a [u8]),
    /// Bytes came that are not a whole message yet. Before the Hello they count for nothing: whoever has none to say would
    /// hold the connection with a byte now and then.
    Alive,
    /// Whether the driver reads the connection: while it does not, because the node takes no more, silence means nothing.
    Reading(bool),
    /// The deadline passed. A late or extra tick changes nothing.
    Tick,
    /// The peer that was [`Action::Greeted`] may join.
    Admitted,
    /// The link is to end: the peer may not join, or this side leaves.
    Leave(Goodbye),
    /// Pull an origin from the peer, from a timestamp on; only from one that is related.
    Subscribe(Origin, Timestamp),
    /// Stop pulling an origin; [`Action::Drained`] follows.
    Unsubscribe(Origin),
    /// The node holds this much, with its hybrid clock when, or before, it did.
    Held(&'a Frontier, Timestamp),
    /// Tell the peer this, unless something newer of the same member is told.
    Announce(Arc<Announcement>),
    /// Whether the peer is to tell what this member announces; at first it tells of all.
    Listen(NodeId, bool),
    /// Pass this message of PUBLISH on to the peer.
    Publish(Arc<Publication>),
    /// The node follows the list of the last [`Action::Follow`]; what comes from it now is by that list.
    Following,
    /// The node refused that list: its log starts later for these origins.
    FollowTruncated(BTreeMap<Origin, Timestamp>),
    /// A client of the node waits for acknowledgements of what came from the node so far.
    Waiting,
    /// The node has answered to an [`Action::Apply`], in order.
    Applied(Applied),
    /// Ask the peer's node; [`Action::Answered`] follows. One question at a time, and only while the link is up.
    Ask(Vec<u8>),
    /// The answer to what was [`Action::Asked`], or why there is none.
    Answer(Result<Vec<u8>, String>),
}

/// The node's answer to a batch.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Whose batch.
    pub origin: Origin,
    /// [`Action::Apply`]'s.
    pub serial: u64,
    /// What is held of the origin now, or what is wrong.
    pub result: Result<Timestamp, ApplyRefusal>,
}

/// Why the node did not use a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyRefusal {
    /// It begins beyond what is held.
    Gap,
    /// A change in it lies too far in the future. Only its origin is concerned.
    Suspended,
    /// Its origin was evicted, and is not taken from this peer. Only that origin is concerned.
    Closed,
    /// What the sender announces since its start was not heard yet, or not believed.
    Unheard,
    /// It is damaged. The peer or the way to it is at fault; the link ends.
    Bad(String),
}

/// What the driver is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Judge the peer, and answer with [`Input::Admitted`] or [`Input::Leave`].
    Greeted(Box<Hello>),
    /// Have the node follow this list in place of the one before; an empty list ends the stream, and the answer
    /// [`Input::Following`] is due at once.
    Follow(Vec<(Origin, FollowFrom)>),
    /// Have the node apply a batch, and answer with [`Input::Applied`], in order.
    Apply {
        /// The subscription that it came by.
        serial: u64,
        /// What it covers.
        header: BatchHeader,
        /// Where its bytes are.
        bytes: BatchBytes,
    },
    /// Decompress what lies there within the message that was just handed in, as the next piece of the peer's stream, and hand
    /// it in as [`Input::Decompressed`].
    Decompress {
        /// How it is compressed; one that this side reads.
        codec: Codec,
        /// Exactly so many bytes come of it, at most [`MESSAGE_BYTES_MAX`](super::message::MESSAGE_BYTES_MAX); if not, it is
        /// damaged.
        length: usize,
        /// Where it is.
        bytes: Range<usize>,
    },
    /// A batch of this many bytes came that is not applied: it was on its way when its subscription ended, or is held.
    PassedOver(usize),
    /// The peer's node holds this much more.
    Heard(Holding),
    /// A member announces.
    Announced(Arc<Announcement>),
    /// A message of PUBLISH came.
    Published(Arc<Publication>),
    /// The peer wants to be told what this member announces, with the newest at once; or it does not.
    PeerListens(NodeId, bool),
    /// The peer pulls an origin from here, from a timestamp on.
    PeerSubscribed(Origin, Timestamp),
    /// The peer no longer pulls an origin from here.
    PeerUnsubscribed(Origin),
    /// An origin is no longer pulled, and nothing of it is being applied.
    Drained(Origin),
    /// An origin cannot be pulled from this peer at the moment, and is no longer; [`Action::Drained`] follows.
    Refused(Origin, PullRefusal),
    /// The node's log no longer holds what the peer asks for; the peer is told.
    PeerTruncated(BTreeMap<Origin, Timestamp>),
    /// The peer's node asks this one; answer with [`Input::Answer`]. Nothing more is asked until then.
    Asked(Vec<u8>),
    /// What came of an [`Input::Ask`]: the answer, or why there is none.
    Answered(Result<Vec<u8>, String>),
    /// The clocks are further apart than they should be.
    ClockWarning(ClockReading),
    /// A round trip was measured, in microseconds, and the clocks compared.
    Measured(u64, ClockReading),
    /// What the peer says is this late from now on, in milliseconds: what it has lies in buffers on the way. 0: it is not.
    Late(u64),
    /// Send what [`Link::poll_message`](super::Link::poll_message) still has, and close. Nothing follows.
    Close {
        /// Why.
        goodbye: Goodbye,
        /// Whether the peer said so, and not this side.
        by_peer: bool,
    },
}

/// Where the bytes of a batch are.
#[derive(Debug, PartialEq, Eq)]
pub enum BatchBytes {
    /// Within the message that was just handed in.
    InMessage(Range<usize>),
    /// Put together from several messages.
    Assembled(Vec<u8>),
}

impl BatchBytes {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::InMessage(range) => range.len(),
            Self::Assembled(bytes) => bytes.len(),
        }
    }
}

/// Why an origin cannot be pulled from a peer at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullRefusal {
    /// A batch began beyond what is held; begin again from what is held.
    Gap,
    /// A change lies too far in the future.
    Suspended,
    /// The origin was evicted, and is not taken from this peer.
    Closed,
    /// What the peer announces since its start was not heard yet, or not believed.
    Unheard,
    /// The peer's log starts here, later than what is held.
    Truncated(Timestamp),
}

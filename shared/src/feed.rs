//! What node and agent say to each other beside batches: the `FEED` command's replies and reports.
//!
//! ```text
//! FEED INFO                          -> map of the fields of FeedInfo, as text
//! FEED GROUP name                    -> +OK, or -WRONGGROUP: the node belongs to another group
//! FEED FOLLOW origin after [...]     -> +OK, then batches as bulk strings, until closed or changed by another
//!                                       FEED FOLLOW (whose +OK stands in the stream where the change took effect).
//!                                       The list replaces the one before. `after` is a timestamp in hex, or `+`: go
//!                                       on where this stream stands. Origin `*`: every origin not listed.
//!                                       -TRUNCATED origin:start,... : the log starts later for these; nothing changed.
//!                                       Between batches a +WAITING may come: a client waits for acknowledgements.
//! FEED APPLY batch                   -> [changes won, changes stale, F[origin] in hex]
//!                                       -GAP origin held: the batch starts beyond what is held; subscribe again
//!                                       -SUSPENDED origin: a change lies too far in the future
//!                                       -BADBATCH: it is not intact or not of this format; nothing was used
//!                                       -MISCONF, -LOADING: not now; try again
//! FEED PEERS report                  -> [frontier as text, clock in hex], taken together under the log's lock;
//!                                       report is a PeersReport in MessagePack
//! ```

use serde::{Deserialize, Serialize};

use crate::announcement::{Announcement, Role};
use crate::clock::Timestamp;
use crate::id::{GroupId, NodeId, Origin};
use crate::time::WallMillis;
use crate::version::Frontier;

/// What a node tells its agent about itself, from `FEED INFO`.
///
/// On the wire a map from the names given here to text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedInfo {
    /// `node-id`
    pub node_id: NodeId,
    /// `name`
    pub name: String,
    /// `group`: empty until an agent has named one.
    pub group: String,
    /// `group-id`: zero until the node has met another.
    pub group_id: GroupId,
    /// `origin`: this run's.
    pub origin: Origin,
    /// `role`
    pub role: Role,
    /// `frontier`: what it has.
    pub frontier: Frontier,
    /// `clock`: its hybrid clock, taken together with the frontier.
    pub clock: Timestamp,
    /// `wall`: its wall clock, in milliseconds, decimal.
    pub wall: WallMillis,
    /// `start-time`: when it was started by its wall clock, in milliseconds, decimal.
    pub start_time: WallMillis,
    /// `log-start`: what a follower must hold at least to be served, per origin.
    pub log_start: Frontier,
    /// `batch-format`
    pub batch_format: u8,
    /// `max-clock-drift`: in milliseconds, decimal.
    pub max_clock_drift_ms: u64,
}

/// What an agent reports to its node: its links, and what members have announced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeersReport {
    /// Every link that is configured or was accepted, up or not.
    pub links: Vec<LinkReport>,
    /// The newest announcement of every member heard since the report before.
    pub announcements: Vec<Announcement>,
    /// Where each origin is pulled from.
    pub upstreams: Vec<UpstreamReport>,
}

/// The state of one link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkReport {
    /// The peer's name; empty while it is not known.
    pub name: String,
    /// The peer's node id; zero while it is not known.
    pub node_id: NodeId,
    /// The address that was dialled, or that dialled.
    pub address: String,
    /// Whether it has exchanged Hellos and is up.
    pub up: bool,
    /// Why it is not up, if that is known: the last error.
    pub error: String,
    /// Bytes of batches received and sent since the agent's start.
    pub payload_bytes_in: u64,
    /// Bytes of batches sent.
    pub payload_bytes_out: u64,
    /// Batches received.
    pub batches_in: u64,
    /// Batches sent.
    pub batches_out: u64,
    /// The last measured round trip, in microseconds.
    pub round_trip_us: u64,
    /// The peer's wall clock less ours, in milliseconds.
    pub clock_offset_ms: i64,
}

/// Where an origin is pulled from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamReport {
    /// Whose writes.
    pub origin: Origin,
    /// The name of the peer that they are pulled from.
    pub peer: String,
    /// How far the newest announced timestamp of it lies ahead of what is held here, in milliseconds.
    pub lag_ms: u64,
}

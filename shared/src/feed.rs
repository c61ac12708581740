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
//! FEED HEARD clock                   -> +OK: the node's clock is past that of a peer's Hello, a timestamp in hex
//!                                       -CLOCK: it lies too far in the future; the peer is not to be linked
//! FEED APPLY batch node-id origin    -> [changes won, changes stale, F[origin] in hex]; the batch came from that peer,
//!                                       which wrote under that origin when the link came up
//!                                       -GAP origin held: the batch starts beyond what is held; subscribe again
//!                                       -SUSPENDED origin: a change lies too far in the future
//!                                       -CLOSED origin text: it is not taken from that peer, which was evicted, or
//!                                       started again since
//!                                       -UNHEARD origin text: nothing is taken from that peer before it was heard to
//!                                       run as that; subscribe again
//!                                       -BADBATCH: it is not intact or not of this format; nothing was used
//!                                       -MISCONF, -LOADING: not now; try again
//! FEED PEERS report                  -> [frontier as text, clock in hex, pull frontier as text, announcement], taken
//!                                       together under the log's lock; report is a PeersReport in MessagePack,
//!                                       announcement the node's own Announcement in MessagePack, or empty
//! FEED CONVERSE node-id name         -> [question or nil, wait in ms]: what to ask the node of that peer. With nil, call
//!                                       again after the wait
//! FEED CONVERSE node-id name answer bytes, FEED CONVERSE node-id name failed text
//!                                    -> as above: this is what came of the question before. Without either, though
//!                                       there was a question, the link was lost meanwhile
//! FEED ANSWER node-id question       -> the answer, a bulk string: a peer's node asks; or an error, which it is told
//!
//! FEED MEMBERS                       -> JSON text
//! FEED FORGET name                   -> JSON text
//! FEED VERIFY node-id deep|shallow   -> +OK: the node begins to compare itself with that peer's
//! FEED VERIFIED node-id              -> JSON text: how far that is, a VerifyStatus
//! FEED REPAIR node-id                -> +OK: it begins to make good the differences; FEED VERIFIED says how far it is
//! FEED REISSUE [force]               -> JSON text: the node begins to put back its clock, which was ahead
//! ```
//!
//! A node's *frontier* says what it has, and is what peers are told. Its *pull frontier* is ahead of that while it takes
//! over a peer's state: streams are pulled from there. Otherwise the two are equal.

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
    /// `joining`: 1 while it is about to join the group, otherwise 0.
    pub joining: bool,
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
    /// The newest announcement of every member heard since the report before, as its author made it.
    pub announcements: Vec<Announcement>,
    /// What linked peers hold, as far as they said, where that changed since the report before. It is newer than what
    /// they announced, and does not go with any clock.
    pub held: Vec<(NodeId, Frontier)>,
    /// Where each origin is pulled from.
    pub upstreams: Vec<UpstreamReport>,
    /// The origins of which some peer has more, and that no peer can stream, as their logs start later; with one such
    /// peer each.
    pub truncated: Vec<(Origin, NodeId)>,
    /// Members that said goodbye since the report before: their names are free at once for a node that takes their place.
    pub left: Vec<NodeId>,
    /// Messages of PUBLISH that the agent dropped since it came to serve the node, because it had too much to do; those that a
    /// peer did not take are counted at its link.
    pub messages_dropped: u64,
}

/// The state of one link. The last three are missing in reports of agents that do not count them yet.
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
    /// Whether the two stream to each other: both are members of one group, and neither is about to join.
    pub related: bool,
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
    /// Messages of PUBLISH that the peer did not take, and that were dropped.
    pub messages_dropped: u64,
    /// Bytes received over the link's connections: compressed where they are, and with all that is not batches.
    #[serde(default)]
    pub wire_bytes_in: u64,
    /// Bytes sent over them.
    #[serde(default)]
    pub wire_bytes_out: u64,
    /// How what is sent is compressed: a codec's name, or `none`.
    #[serde(default)]
    pub compression: String,
}

/// Where an origin is pulled from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamReport {
    /// Whose writes.
    pub origin: Origin,
    /// The name of the peer that they are pulled from.
    pub peer: String,
    /// How long ago it was heard for the first time that somebody has more of it than is held here, in milliseconds; 0 if
    /// nothing is missing.
    pub lag_ms: u64,
}

/// How far a comparison or repair with a peer's node is, from `FEED VERIFIED`, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VerifyStatus {
    /// Whether it has ended.
    pub state: VerifyState,
    /// Why it could not be done to the end; empty if nothing is wrong.
    pub error: String,
    /// How many keys were compared.
    pub keys_compared: u64,
    /// How many of them differ.
    pub keys_differ: u64,
    /// How many of those were repaired, if it is a repair.
    pub keys_repaired: u64,
    /// The keys that differ, up to [`VERIFY_KEYS_MAX`].
    pub keys: Vec<DifferingKey>,
}

/// Whether a comparison or repair has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerifyState {
    /// It goes on.
    #[default]
    Running,
    /// It has ended, well or with an error.
    Done,
}

/// A key that differs, or is at one of the two nodes only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferingKey {
    /// Its database.
    pub db: u32,
    /// The key; what is not UTF-8 is replaced.
    pub key: String,
}

/// A [`VerifyStatus`] names so many differing keys at most; further ones are only counted.
pub const VERIFY_KEYS_MAX: usize = 1_000;

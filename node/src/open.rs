//! What a start makes of a directory: a node that holds what its snapshot and its log hold.
//!
//! Generic over the disk, so that tests and the simulator start a node as production does.

mod mergers;

mod progress;

mod replay;

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;

use shared::clock::{HybridClock, Timestamp};
use shared::id::{NodeId, Origin};
use shared::time::MonoMillis;

use crate::group::{Group, Own, Stored, StoredError};
use crate::image::load_block;
use crate::log::ceiling::{Ceiling, CeilingError};
use crate::log::disk::{Disk, DiskError, read_whole, replace};
use crate::log::identity::{Identity, IdentityError};
use crate::log::recovery::{Recovery, RecoveryError};
use crate::log::segment::{LogError, LogPosition};
use crate::log::snapshot::{LoadedSnapshot, SnapshotError, load_newest};
use crate::log::writer::Writer;
use crate::log::{KeepCeiling, MoveCeiling, Retention, Start};
use crate::membership::{Membership, SaveGroup};
use crate::node::persist::newest_of;
use crate::node::{Belongings, Node, Random};
use crate::settings::Settings;
use crate::snapshots::Snapshots;
use crate::store::Store;
use crate::store::origins::TooManyOrigins;

pub(crate) use self::progress::Progress;

use self::replay::{Replayed, replay};

/// What a node is started with besides its directory.
pub(crate) struct Opening {
    /// The configured name.
    pub(crate) name: String,
    /// The id of the node, if the directory is new.
    pub(crate) node_id: NodeId,
    /// This run's origin, which no run before had.
    pub(crate) origin: Origin,
    pub(crate) settings: Arc<Settings>,
    pub(crate) max_drift_ms: u64,
    /// After how long of silence a member is evicted.
    pub(crate) member_timeout_ms: u64,
    pub(crate) random: Random,
    /// The monotonic clock: the node is started when all is loaded.
    pub(crate) now: Box<dyn Fn() -> MonoMillis + Send>,
    /// At which size a segment of the log is full.
    pub(crate) segment_bytes_max: u64,
    /// On how many threads it is loaded. What comes of it does not depend on that.
    pub(crate) threads: NonZeroUsize,
    /// How far it is, for others to see.
    pub(crate) progress: Arc<Progress>,
}

/// A node that was started from a directory, and what of it works on the disk.
pub(crate) struct Opened<D: Disk> {
    pub(crate) node: Node,
    pub(crate) writer: Writer<D>,
    pub(crate) snapshots: Snapshots<D>,
    pub(crate) found: Found,
}

/// What was found at a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) snapshot: Option<LoadedSnapshot>,
    pub(crate) log: Recovery,
    /// Batches that begin beyond what was held: of a reconcile that was cut off.
    pub(crate) passed_over: u64,
    /// The log ended before the snapshot did, and was started anew there.
    pub(crate) log_restarted: bool,
    /// The clock's durable ceiling, at which it starts.
    pub(crate) ceiling: Timestamp,
}

/// Why a node does not start from its directory. Nothing was changed but for what the message says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(
        "the directory was made for the node named '{recorded}', and --name (by default the host's name) is '{configured}': start it with --name {recorded}, or with another directory"
    )]
    Name { recorded: String, configured: String },
    #[error(transparent)]
    Group(#[from] StoredError),
    #[error(transparent)]
    Ceiling(#[from] CeilingError),
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// Segments were removed that only a snapshot makes unnecessary.
    #[error(
        "the log starts at position {start}, and {needed}: files are missing; nothing was changed: restore them from a copy, or move the directory away and start the node empty, so that it takes all from a peer"
    )]
    Missing { start: LogPosition, needed: &'static str },
    #[error("the log cannot be started anew at its snapshot: {0}")]
    Restart(#[source] LogError),
    #[error(transparent)]
    TooManyOrigins(#[from] TooManyOrigins),
}

/// Starts a node from a disk: identity, ceiling, snapshot, log.
pub(crate) fn open<D: Disk>(disk: Arc<D>, opening: Opening) -> Result<Opened<D>, OpenError> {
    let Opening {
        name,
        node_id,
        origin,
        settings,
        max_drift_ms,
        member_timeout_ms,
        random,
        now,
        segment_bytes_max,
        threads,
        progress,
    } = opening;
    let identity = Identity::load_or_create(&*disk, &name, node_id)?;
    if identity.name != name {
        return Err(OpenError::Name { recorded: identity.name, configured: name });
    }
    let (ceiling_found, mut ceiling) = Ceiling::open(&*disk)?;
    progress.expect_of(&*disk)?;
    let stored = load_group(&*disk)?;
    let store = Store::new();
    // Before keys come: of their TTLs it is noted which are this node's own.
    store
        .origins
        .claim(stored.iter().flat_map(|stored| stored.former.iter().copied().chain([stored.origin])));
    let snapshot = load_newest(&*disk, threads, &|block| {
        load_block(&store, block)?;
        progress.add(block.len());
        Ok(())
    })?;
    let header = snapshot.as_ref().map(|loaded| &loaded.header);
    let Replayed { segments, recovery: log, log_restarted, frontier, index, passed_over } =
        replay(Arc::clone(&disk), segment_bytes_max, &store, header, threads, &progress)?;

    let mut frontier = frontier;
    // Below it nothing was missing before: what is not listed has ended.
    frontier.raise_floor(stored.as_ref().map_or(Timestamp::ZERO, |stored| stored.floor));
    let clock_start = ceiling_found.max(newest_of(&frontier));
    let mut clock = HybridClock::new(clock_start, ceiling.current());
    clock.raise_ceiling(clock_start);
    let keep: KeepCeiling = Box::new(move |change| {
        let kept = match change {
            MoveCeiling::Raise(to) => ceiling.raise(to),
            MoveCeiling::Lower(to) => ceiling.lower(to),
        };
        kept.map_err(|error| io::Error::other(error.to_string()))
    });
    let held = frontier.clone();
    let start = Start {
        origin,
        clock,
        keep_ceiling: Some(keep),
        frontier,
        end: segments.end(),
        index,
        retention: Retention::Disk,
        max_drift_ms,
    };
    let own = Own {
        node_id: identity.node_id,
        name: identity.name.clone(),
        origin,
        role: settings.role(),
        group: identity.group.clone(),
        group_id: identity.group_id,
    };
    let started = now();
    let mut group = Group::new(own, stored, member_timeout_ms, started);
    group.holds_only(&held);
    let mut membership = Membership::new(group, save_group(Arc::clone(&disk), identity));
    // Under which origin this run writes must be known to the next ones. If it cannot be saved now, it is tried again.
    membership.save();
    let node = Node::new(store, start, settings, Belongings { membership, random, started })?;
    let snapshots = Snapshots::new(disk, snapshot.as_ref(), &node);
    let found = Found { snapshot, log, passed_over, log_restarted, ceiling: ceiling_found };
    Ok(Opened { node, writer: Writer::new(segments), snapshots, found })
}

/// The file in which a node remembers its group.
pub(crate) const MEMBERS_FILE: &str = "members";

fn load_group<D: Disk>(disk: &D) -> Result<Option<Stored>, OpenError> {
    match read_whole(disk, MEMBERS_FILE).map_err(IdentityError::from)? {
        Some(bytes) => Ok(Some(Stored::decode(&bytes)?)),
        None => Ok(None),
    }
}

/// Makes durable who the node is, and what it knows of its group: the group first, so that a crash in between leaves a
/// node that has not yet taken the step.
fn save_group<D: Disk>(disk: Arc<D>, mut identity: Identity) -> SaveGroup {
    Box::new(move |own: &Own, stored: &Stored| {
        let failed = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
        replace(&*disk, MEMBERS_FILE, &stored.encode()).map_err(|error| failed(&error))?;
        identity
            .change(&*disk, own.node_id, own.group.as_deref(), own.group_id)
            .map_err(|error| failed(&error))
    })
}

#[cfg(test)]
mod corruption;
#[cfg(test)]
mod tests;

//! What a member says of itself and of the group, at least once a second.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::{NodeId, Origin};
use crate::version::Frontier;

/// What a node may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Takes reads and writes.
    #[default]
    Active,
    /// Takes reads, and refuses clients' writes.
    ReadOnly,
}

impl Role {
    /// As it stands in flags, logs and `FEED INFO`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::ReadOnly => "read-only",
        }
    }
}

/// Text that names no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected active or read-only")]
pub struct RoleSyntax;

impl FromStr for Role {
    type Err = RoleSyntax;

    fn from_str(text: &str) -> Result<Self, RoleSyntax> {
        [Self::Active, Self::ReadOnly].into_iter().find(|role| role.name() == text).ok_or(RoleSyntax)
    }
}

/// A node by its configured name, with what it runs as at the moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// Its configured name, one of a kind in the group.
    pub name: String,
    /// Its data directory's identity.
    pub node_id: NodeId,
    /// Its current run as a writer.
    pub origin: Origin,
    /// What it may do.
    pub role: Role,
}

/// A member that the group no longer waits for. Never revoked: who returns, returns under a new node id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Eviction {
    /// The evicted member's name.
    pub name: String,
    /// Which holder of that name was evicted.
    pub node_id: NodeId,
    /// Whether it has taken effect at the speaker: the evicted holds nothing back there any more.
    pub settled: bool,
}

/// What a member says at least once a second: what it has, its clock, and whom it knows.
///
/// Frontier and clock are taken together, so that nothing below the clock can still be written by it. So everybody passes
/// it on as its author made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Who speaks.
    pub member: Member,
    /// The higher is the newer: its clock as a number, and more than that once a clock that was ahead was put back.
    pub sequence: u64,
    /// What it has.
    pub frontier: Frontier,
    /// Its hybrid clock: it will write nothing at or below this.
    pub clock: Timestamp,
    /// The members that it knows and counts, itself left out.
    pub members: Vec<Member>,
    /// The members that it has evicted.
    pub evictions: Vec<Eviction>,
    /// Its limit of memory for data in bytes, 0 if there is none: the smallest announced is the group's.
    pub memory_limit: u64,
    /// Whether it is about to join the group, and not counted yet.
    pub joining: bool,
}

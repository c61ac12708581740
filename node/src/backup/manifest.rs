//! What a backup says of itself: text, for people, with a checksum.
//!
//! ```text
//! # A backup of a tandem-node. Make a node of it with: tandem-node restore THIS --dir NEW
//! format = 1
//! node-id = 5eb63bbbe01eeed0
//! name = alpha
//! group-id = 93cb22bb8f5acdc3
//! taken = 1790000000000
//! replay = 4096
//! log-end = 8192
//! snapshot-bytes = 123456
//! frontier = 5eb63bbbe01eeed0:18c1d5b0a0000001;0
//! crc = 4f2ca1b5
//! ```

use shared::id::{GroupId, NodeId};
use shared::time::WallMillis;
use shared::version::Frontier;

use super::BackupError;
use crate::log::segment::LogPosition;
use crate::log::snapshot::snapshot_name;

/// What a backup says of itself. See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Whose it is.
    pub(crate) node_id: NodeId,
    pub(crate) name: String,
    /// Its group's; zero if it had met nobody.
    pub(crate) group_id: GroupId,
    /// When it was taken, by the node's wall clock.
    pub(crate) taken: WallMillis,
    /// Where the log begins that stands in it, and where it ends.
    pub(crate) replay: LogPosition,
    pub(crate) log_end: LogPosition,
    pub(crate) snapshot_bytes: u64,
    /// What it holds at the least.
    pub(crate) frontier: Frontier,
}

const FORMAT: u64 = 1;
const HEAD: &str =
    "# A backup of a tandem-node. Make a node of it with: tandem-node restore THIS --dir NEW\n";

impl Manifest {
    pub(crate) fn snapshot_name(&self) -> String {
        snapshot_name(self.replay)
    }

    pub(crate) fn encode(&self) -> String {
        let text = format!(
            "{HEAD}format = {FORMAT}\nnode-id = {}\nname = {}\ngroup-id = {}\ntaken = {}\nreplay = {}\nlog-end = {}\nsnapshot-bytes = {}\nfrontier = {}\n",
            self.node_id,
            self.name,
            self.group_id,
            self.taken.0,
            self.replay,
            self.log_end,
            self.snapshot_bytes,
            self.frontier
        );
        let crc = crc32fast::hash(text.as_bytes());
        format!("{text}crc = {crc:08x}\n")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BackupError> {
        Self::read(bytes).ok_or(BackupError::Manifest)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let end = text.rfind("crc = ")?;
        let crc = u32::from_str_radix(text[end..]["crc = ".len()..].trim_end(), 16).ok()?;
        if crc != crc32fast::hash(&text.as_bytes()[..end]) {
            return None;
        }
        let field = |name: &str| {
            let fields = text[..end].lines().filter_map(|line| line.split_once(" = "));
            fields.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value)
        };
        let number = |name| field(name)?.parse::<u64>().ok();
        if number("format")? != FORMAT {
            return None;
        }
        Some(Self {
            node_id: field("node-id")?.parse().ok()?,
            name: field("name")?.to_owned(),
            group_id: field("group-id")?.parse().ok()?,
            taken: WallMillis(number("taken")?),
            replay: LogPosition(number("replay")?),
            log_end: LogPosition(number("log-end")?),
            snapshot_bytes: number("snapshot-bytes")?,
            frontier: field("frontier")?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use shared::clock::Timestamp;
    use shared::id::Origin;

    use super::*;

    #[test]
    fn any_changed_byte_is_refused() {
        let manifest = Manifest {
            node_id: NodeId(7),
            name: "alpha".to_owned(),
            group_id: GroupId(3),
            taken: WallMillis(5),
            replay: LogPosition(10),
            log_end: LogPosition(20),
            snapshot_bytes: 30,
            frontier: [(Origin(1), Timestamp(2))].into_iter().collect(),
        };
        let text = manifest.encode().into_bytes();
        assert_eq!(Manifest::decode(&text).unwrap(), manifest);
        for at in 0..text.len() - 1 {
            let mut changed = text.clone();
            changed[at] ^= 1;
            assert!(Manifest::decode(&changed).is_err(), "byte {at}");
        }
    }
}

//! What a node remembers of its group over restarts: the file `members`.
//!
//! ```text
//! CRC-32 of the rest, 4 bytes, then MessagePack:
//! [format, joining, re-issuing, runs, floor, [member...], [eviction...], parting]
//! runs = [origin, [former origin...], cut or nil, sequence lead]
//! parting = [[departed...], former node id, [[origin, seen up to]...], floor when others were left behind or nil]
//! ```

use shared::announcement::{Eviction, Member};
use shared::clock::Timestamp;
use shared::conversation::Departed;
use shared::id::{NodeId, Origin};

/// What must survive a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) is_joining: bool,
    pub(crate) is_reissuing: bool,
    /// The clock was poisoned, and is being put back: nobody has accepted what lies beyond this.
    pub(crate) cut: Option<Timestamp>,
    /// How far announcements' sequence is ahead of the clock, which was put back by so much.
    pub(crate) sequence_lead: u64,
    /// The origin of the last run.
    pub(crate) origin: Origin,
    /// Those of the runs before it, the oldest first.
    pub(crate) former: Vec<Origin>,
    /// Origins that are not listed in the frontier are complete up to this.
    pub(crate) floor: Timestamp,
    pub(crate) members: Vec<Member>,
    pub(crate) evictions: Vec<Eviction>,
    pub(crate) departed: Vec<Departed>,
    pub(crate) formerly: NodeId,
    pub(crate) unseen: Vec<(Origin, Timestamp)>,
    /// The floor when this node last left others behind.
    pub(crate) parted: Option<Timestamp>,
}

/// The file is not what a node wrote. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoredError {
    #[error(
        "the file members, which says who belongs to this node's group, is damaged: restore it from a copy, or move \
         the directory away and start the node empty, so that it joins its group as a new node"
    )]
    Damaged,
    #[error(
        "the file members has the format {0}, which this build does not read: start the build that wrote it"
    )]
    Format(u8),
}

const FORMAT: u8 = 1;

impl Stored {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Self { is_joining, is_reissuing, cut, sequence_lead, origin, former, .. } = self;
        let Self { floor, members, evictions, departed, formerly, unseen, parted, .. } = self;
        let runs = (origin, former, cut, sequence_lead);
        let parting = (departed, formerly, unseen, parted);
        let body =
            rmp_serde::to_vec(&(FORMAT, is_joining, is_reissuing, runs, floor, members, evictions, parting))
                .expect("a vector takes every byte and members have no part that MessagePack lacks");
        let mut bytes = crc32fast::hash(&body).to_le_bytes().to_vec();
        bytes.extend_from_slice(&body);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoredError> {
        let (crc, body) = bytes.split_first_chunk::<4>().ok_or(StoredError::Damaged)?;
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return Err(StoredError::Damaged);
        }
        if let [_, format, ..] = body
            && *format != FORMAT
        {
            return Err(StoredError::Format(*format));
        }
        let (_, is_joining, is_reissuing, runs, floor, members, evictions, parting): (
            u8,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
        ) = rmp_serde::from_slice(body).map_err(|_| StoredError::Damaged)?;
        let (origin, former, cut, sequence_lead) = runs;
        let (departed, formerly, unseen, parted) = parting;
        Ok(Self {
            is_joining,
            is_reissuing,
            cut,
            sequence_lead,
            origin,
            former,
            floor,
            members,
            evictions,
            departed,
            formerly,
            unseen,
            parted,
        })
    }
}

//! Messages of PUBLISH on their way to clients of other masters.

use crate::id::{NodeId, Origin};

/// The most bytes of a channel's name and a message together that go to other masters; a longer message reaches the clients of
/// its own node only.
pub const PUBLICATION_BYTES_MAX: usize = 1 << 20;

/// A message that a client of one master has published, for those who listen at the others. It is stored nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The node at which it was published.
    pub author: NodeId,
    /// The origin under which that node ran.
    pub run: Origin,
    /// Counts the node's messages under that origin: one that comes again, by another way, is known by it.
    pub number: u64,
    /// The channel's name.
    pub channel: Vec<u8>,
    /// What is said.
    pub payload: Vec<u8>,
}

impl Publication {
    /// How much of it counts against bounds, in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.channel.len() + self.payload.len()
    }

    /// Whether nothing is said, to a channel without a name.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

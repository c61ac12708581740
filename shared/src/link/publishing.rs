//! Messages of PUBLISH that are to be passed on to the peer.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::publication::{PUBLICATION_BYTES_MAX, Publication};

/// So many bytes wait for the peer; what comes when it does not take them is dropped: data is never kept waiting for messages.
const WAITING_BYTES_MAX: usize = 4 * PUBLICATION_BYTES_MAX;

/// What each message costs beside its own bytes, so that empty ones are bounded, too.
const OVERHEAD_BYTES: usize = 64;

/// Messages that wait for the peer to take them.
#[derive(Debug, Default)]
pub(super) struct Publishing {
    waiting: VecDeque<Arc<Publication>>,
    bytes: usize,
    dropped: u64,
}

impl Publishing {
    pub(super) fn add(&mut self, publication: Arc<Publication>) {
        let bytes = publication.len() + OVERHEAD_BYTES;
        if publication.len() > PUBLICATION_BYTES_MAX || self.bytes + bytes > WAITING_BYTES_MAX {
            self.dropped += 1;
            return;
        }
        self.bytes += bytes;
        self.waiting.push_back(publication);
    }

    pub(super) fn next(&mut self) -> Option<Arc<Publication>> {
        let publication = self.waiting.pop_front()?;
        self.bytes -= publication.len() + OVERHEAD_BYTES;
        Some(publication)
    }

    /// How many were dropped.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{NodeId, Origin};

    fn publication(number: u64, bytes: usize) -> Arc<Publication> {
        let payload = vec![0; bytes];
        Arc::new(Publication { author: NodeId(1), run: Origin(2), number, channel: Vec::new(), payload })
    }

    #[test]
    fn what_the_peer_does_not_take_is_dropped_and_counted() {
        let mut publishing = Publishing::default();
        publishing.add(publication(0, PUBLICATION_BYTES_MAX + 1));
        assert_eq!((publishing.next(), publishing.dropped()), (None, 1));
        (1..=5).for_each(|number| publishing.add(publication(number, PUBLICATION_BYTES_MAX)));
        assert_eq!(publishing.dropped(), 3, "of five of the longest three wait");
        let numbers: Vec<u64> = std::iter::from_fn(|| publishing.next()).map(|next| next.number).collect();
        assert_eq!(numbers, [1, 2, 3], "in their order");
        (0..1_000_000).for_each(|number| publishing.add(publication(number, 0)));
        assert!(std::iter::from_fn(|| publishing.next()).count() <= WAITING_BYTES_MAX / OVERHEAD_BYTES);
    }
}

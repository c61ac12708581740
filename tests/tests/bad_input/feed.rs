//! Batches made here, given to a node as an agent would.

use std::time::{SystemTime, UNIX_EPOCH};

use shared::batch::BatchBuilder;
use shared::change::{Change, Op};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::resp::encode_request;
use shared::time::WallMillis;
use tests::host::Host;
use tests::raw::Raw;

use crate::node_address;

/// A connection that gives batches to a node.
pub(crate) struct Feed {
    raw: Raw,
}

impl Feed {
    pub(crate) fn to(host: &Host) -> Self {
        Self { raw: Raw::connect(node_address(host)) }
    }

    /// The node's answer: an error, or how many changes won, how many were stale, and what is held now.
    pub(crate) fn apply(&mut self, batch: &[u8]) -> Result<(u64, u64, Timestamp), String> {
        let mut request = Vec::new();
        encode_request(&[b"FEED", b"APPLY", batch], &mut request);
        self.raw.send(request);
        let first = self.raw.read_line();
        if let Some(error) = first.strip_prefix('-') {
            return Err(error.to_owned());
        }
        assert_eq!(first, "*3");
        let mut number = || self.raw.read_line()[1..].parse().expect("a number");
        let (won, stale) = (number(), number());
        self.raw.read_line();
        Ok((won, stale, self.raw.read_line().parse().expect("a timestamp")))
    }
}

/// The wall clock, as a timestamp.
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right");
    Timestamp::of_wall(WallMillis(since_epoch.as_millis() as u64))
}

/// A batch of one transaction, from an origin's beginning.
pub(crate) fn batch(origin: Origin, at: Timestamp, changes: &[Change<'_>]) -> Vec<u8> {
    batch_after(origin, Timestamp::ZERO, at, changes)
}

/// A batch of one transaction that goes on where the origin's log stood at `after`.
pub(crate) fn batch_after(
    origin: Origin,
    after: Timestamp,
    at: Timestamp,
    changes: &[Change<'_>],
) -> Vec<u8> {
    let mut builder = BatchBuilder::new(origin, after);
    builder.append(at, changes);
    builder.seal(<[u8]>::to_vec).1
}

/// A SET.
pub(crate) fn set<'a>(key: &'a str, value: &'a str) -> Change<'a> {
    Change::new(0, key.as_bytes(), Op::Set(value.as_bytes().into()))
}

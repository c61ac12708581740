//! Follows the node's feed for one link.

use std::collections::BTreeMap;
use std::task::{Context, Poll, ready};

use shared::clock::Timestamp;
use shared::id::Origin;
use shared::link::FollowFrom;
use shared::resp::{Value, encode_request};

use super::lane::LaneStream;
use super::{Inbox, NodeAddress, NodeError, Outbox, brief, lossy};

/// A connection to the node that streams batches for one link; connected while there is something to follow.
pub(crate) struct FollowLane {
    address: NodeAddress,
    stream: LaneStream,
    inbox: Inbox,
    outbox: Outbox,
}

/// What comes from the feed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FollowEvent<'a> {
    /// From here on the stream is that of the newest list.
    Following,
    /// The newest list is refused: the log starts later for these.
    Truncated(BTreeMap<Origin, Timestamp>),
    /// A client waits for acknowledgements of what came so far.
    Waiting,
    /// A batch.
    Batch(&'a [u8]),
}

impl FollowLane {
    pub(crate) fn new(address: NodeAddress) -> Self {
        Self { address, stream: LaneStream::Closed, inbox: Inbox::new(), outbox: Outbox::default() }
    }

    /// Follows another list. Its event comes in the stream.
    pub(crate) fn follow(&mut self, list: &[(Origin, FollowFrom)]) {
        encode_list(list, self.outbox.buffer());
        self.stream.open(&self.address);
    }

    /// Follows nothing any more.
    pub(crate) fn close(&mut self) {
        self.stream = LaneStream::Closed;
        self.inbox = Inbox::new();
        self.outbox = Outbox::default();
    }

    /// The next event, once it has arrived whole.
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<FollowEvent<'_>, NodeError>> {
        let stream = ready!(self.stream.poll_open(cx))?;
        let _ = self.outbox.poll_flush(stream, cx)?;
        while !self.inbox.has_next()? {
            ready!(self.inbox.poll_fill(stream, cx))?;
        }
        let value = self.inbox.next()?.expect("a reply was found whole");
        Poll::Ready(parse_event(value))
    }
}

fn encode_list(list: &[(Origin, FollowFrom)], out: &mut Vec<u8>) {
    let words: Vec<String> = list
        .iter()
        .flat_map(|(origin, from)| {
            let from = match from {
                FollowFrom::After(after) => after.to_string(),
                FollowFrom::Onward => "+".to_owned(),
            };
            [origin.to_string(), from]
        })
        .collect();
    let mut arguments: Vec<&[u8]> = vec![b"FEED", b"FOLLOW"];
    arguments.extend(words.iter().map(String::as_bytes));
    encode_request(&arguments, out);
}

fn parse_event(value: Value<'_>) -> Result<FollowEvent<'_>, NodeError> {
    match value {
        Value::Bulk(batch) => Ok(FollowEvent::Batch(batch)),
        Value::Simple(b"OK") => Ok(FollowEvent::Following),
        Value::Simple(b"WAITING") => Ok(FollowEvent::Waiting),
        Value::Error(error) => match parse_truncated(&lossy(error)) {
            Some(starts) => Ok(FollowEvent::Truncated(starts)),
            None => Err(NodeError::Refused("FEED FOLLOW", lossy(error))),
        },
        value => Err(NodeError::Unexpected("FEED FOLLOW", brief(&value))),
    }
}

/// Reads `TRUNCATED origin:start,...`.
pub(crate) fn parse_truncated(error: &str) -> Option<BTreeMap<Origin, Timestamp>> {
    let list = error.strip_prefix("TRUNCATED ")?.split(' ').next()?;
    let start = |entry: &str| {
        let (origin, start) = entry.split_once(':')?;
        Some((origin.parse().ok()?, start.parse().ok()?))
    };
    list.split(',').map(start).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_written_as_the_node_reads_it() {
        let mut out = Vec::new();
        let list = [(Origin(0xa), FollowFrom::After(Timestamp(0x1f))), (Origin(0xb), FollowFrom::Onward)];
        encode_list(&list, &mut out);
        let text = String::from_utf8(out).unwrap();
        let words: Vec<_> = text.split("\r\n").filter(|line| !line.starts_with(['*', '$'])).collect();
        assert_eq!(words, ["FEED", "FOLLOW", "000000000000000a", "1f", "000000000000000b", "+", ""]);
    }

    #[test]
    fn events_are_told_apart() {
        assert_eq!(parse_event(Value::Simple(b"OK")).unwrap(), FollowEvent::Following);
        assert_eq!(parse_event(Value::Simple(b"WAITING")).unwrap(), FollowEvent::Waiting);
        assert_eq!(parse_event(Value::Bulk(b"x")).unwrap(), FollowEvent::Batch(b"x"));
        let starts = BTreeMap::from([(Origin(1), Timestamp(0x20)), (Origin(2), Timestamp(0x30))]);
        let truncated =
            parse_event(Value::Error(b"TRUNCATED 0000000000000001:20,0000000000000002:30 gone")).unwrap();
        assert_eq!(truncated, FollowEvent::Truncated(starts));
        assert!(parse_event(Value::Error(b"ERR what")).is_err());
        assert!(parse_event(Value::Integer(1)).is_err());
    }
}

//! Carries what two nodes ask each other: `FEED CONVERSE` and `FEED ANSWER`.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use shared::id::NodeId;
use shared::resp::{Value, encode_request};

use super::lane::LaneStream;
use super::{Inbox, NodeAddress, NodeError, Outbox, brief, lossy};
use crate::conversation::{Answer, Turn};

/// A connection to the node for one link's questions and answers, so that a slow one holds up nothing else.
///
/// Requests are written one behind the other, at most one of each kind; replies come in the same order.
pub(crate) struct TalkLane {
    address: NodeAddress,
    stream: LaneStream,
    inbox: Inbox,
    outbox: Outbox,
    sent: VecDeque<Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Converse,
    Answer,
}

/// What the node says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TalkReply {
    /// To a call: what to ask, and when to call again; or why it says nothing.
    Turn(Result<Turn, String>),
    /// To a peer's question.
    Answer(Answer),
}

impl TalkLane {
    pub(crate) fn new(address: NodeAddress) -> Self {
        Self {
            address,
            stream: LaneStream::Closed,
            inbox: Inbox::new(),
            outbox: Outbox::default(),
            sent: VecDeque::new(),
        }
    }

    /// Begins to connect.
    pub(crate) fn open(&mut self) {
        self.stream.open(&self.address);
    }

    /// Calls the node, with what came of its last question to that peer.
    pub(crate) fn converse(&mut self, node_id: NodeId, name: &str, answer: Option<&Answer>) {
        let node_id = node_id.to_string();
        let mut words: Vec<&[u8]> = vec![b"FEED", b"CONVERSE", node_id.as_bytes(), name.as_bytes()];
        match answer {
            None => {}
            Some(Ok(bytes)) => words.extend([&b"answer"[..], bytes]),
            Some(Err(text)) => words.extend([&b"failed"[..], text.as_bytes()]),
        }
        self.send(Kind::Converse, &words);
    }

    /// Asks the node what that peer's asks.
    pub(crate) fn answer(&mut self, node_id: NodeId, question: &[u8]) {
        let node_id = node_id.to_string();
        self.send(Kind::Answer, &[b"FEED", b"ANSWER", node_id.as_bytes(), question]);
    }

    fn send(&mut self, kind: Kind, words: &[&[u8]]) {
        encode_request(words, self.outbox.buffer());
        self.sent.push_back(kind);
    }

    /// Writes what there is to write, and returns the next reply.
    pub(crate) fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Result<TalkReply, NodeError>> {
        let stream = ready!(self.stream.poll_open(cx))?;
        loop {
            let _ = self.outbox.poll_flush(stream, cx)?;
            if self.inbox.has_next()? {
                let value = self.inbox.next()?.expect("a reply was found whole");
                let kind = self.sent.pop_front();
                return Poll::Ready(parse_reply(kind, value));
            }
            ready!(self.inbox.poll_fill(stream, cx))?;
        }
    }
}

fn parse_reply(kind: Option<Kind>, value: Value<'_>) -> Result<TalkReply, NodeError> {
    match (kind, value) {
        (Some(Kind::Converse), Value::Error(text)) => Ok(TalkReply::Turn(Err(lossy(text)))),
        (Some(Kind::Converse), value) => parse_turn(&value)
            .map(|turn| TalkReply::Turn(Ok(turn)))
            .ok_or_else(|| NodeError::Unexpected("FEED CONVERSE", brief(&value))),
        (Some(Kind::Answer), Value::Bulk(bytes)) => Ok(TalkReply::Answer(Ok(bytes.to_vec()))),
        (Some(Kind::Answer), Value::Error(text)) => Ok(TalkReply::Answer(Err(lossy(text)))),
        (Some(Kind::Answer), value) => Err(NodeError::Unexpected("FEED ANSWER", brief(&value))),
        (None, value) => Err(NodeError::Unexpected("nothing", brief(&value))),
    }
}

fn parse_turn(value: &Value<'_>) -> Option<Turn> {
    let Value::Array(items) = value else { return None };
    let [question, Value::Integer(wait_ms)] = items.as_slice() else { return None };
    let question = match question {
        Value::Null => None,
        Value::Bulk(bytes) => Some(bytes.to_vec()),
        _ => return None,
    };
    Some(Turn { question, wait: Duration::from_millis(u64::try_from(*wait_ms).ok()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_read() {
        let turn = |question, wait_ms| Value::Array(vec![question, Value::Integer(wait_ms)]);
        let read = |value| parse_reply(Some(Kind::Converse), value).unwrap();
        let asks = Turn { question: Some(b"q".to_vec()), wait: Duration::ZERO };
        assert_eq!(read(turn(Value::Bulk(b"q"), 0)), TalkReply::Turn(Ok(asks)));
        let waits = Turn { question: None, wait: Duration::from_millis(1_000) };
        assert_eq!(read(turn(Value::Null, 1_000)), TalkReply::Turn(Ok(waits)));
        assert_eq!(read(Value::Error(b"ERR no")), TalkReply::Turn(Err("ERR no".into())));
        assert!(parse_reply(Some(Kind::Converse), turn(Value::Null, -1)).is_err());
        assert!(parse_reply(Some(Kind::Converse), Value::Null).is_err());
    }

    #[test]
    fn answers_are_read() {
        let read = |value| parse_reply(Some(Kind::Answer), value);
        assert_eq!(read(Value::Bulk(b"a")).unwrap(), TalkReply::Answer(Ok(b"a".to_vec())));
        assert_eq!(read(Value::Error(b"ERR no")).unwrap(), TalkReply::Answer(Err("ERR no".into())));
        assert!(read(Value::Integer(1)).is_err());
        assert!(parse_reply(None, Value::Null).is_err());
    }
}

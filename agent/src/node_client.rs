//! How the agent talks to its node: RESP over TCP or a Unix socket.
//!
//! Four kinds of connection: one for questions ([`NodeClient`]), and per link one that applies batches ([`ApplyLane`]),
//! one that follows the feed ([`FollowLane`]) and one for what two nodes ask each other ([`TalkLane`]). The lanes are
//! polled by the link's task, and connected once its peer was judged.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_std::io::{Read, Write};
use shared::clock::Timestamp;
use shared::feed::FeedInfo;
use shared::publication::Publication;
use shared::resp::{ReplyDecoder, ReplyError, Value, encode_request};

use crate::hub::NodePoint;

mod address;

mod apply;

mod follow;

mod info;

mod lane;

mod talk;

pub use address::{AddressSyntax, NodeAddress};
pub(crate) use address::{NodeStream, has_port};
pub(crate) use apply::ApplyLane;
pub(crate) use follow::{FollowEvent, FollowLane, parse_truncated};
pub(crate) use info::{parse_info, parse_peers_reply};
pub(crate) use talk::{TalkLane, TalkReply};

/// The longest bulk that is read from a node: the largest batch, and room.
pub(crate) const BULK_BYTES_MAX: usize = shared::batch::BATCH_BYTES_MAX + (1 << 20);

/// A node that does not answer a question for this long counts as lost; connecting, too, takes no longer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// Why the node did not serve the agent. Its connection is of no more use, and all links end with it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    /// The node, or the network to it, went away.
    #[error("connection to the node failed: {0}")]
    Io(#[from] io::Error),
    /// What listens there is not a node, or of another version.
    #[error("the node sent what is no reply: {0}; is it a tandem-node?")]
    Reply(#[from] ReplyError),
    /// It answered, but not in the way of this version of the feed.
    #[error("the node's answer to {0} is not understood: {1}; node and agent must be of one version")]
    Unexpected(&'static str, String),
    /// It refused, and says why.
    #[error("the node refused {0}: {1}")]
    Refused(&'static str, String),
    /// It keeps the connection and says nothing.
    #[error("the node did not answer for {} s", ANSWER_TIME_MAX.as_secs())]
    Silent,
}

/// One connection, for one question at a time.
#[derive(Debug)]
pub(crate) struct NodeClient {
    stream: NodeStream,
    inbox: Inbox,
}

impl NodeClient {
    pub(crate) async fn connect(address: &NodeAddress) -> Result<Self, NodeError> {
        let connecting = async_std::future::timeout(ANSWER_TIME_MAX, NodeStream::connect(address));
        let stream = connecting.await.map_err(|_| NodeError::Silent)??;
        Ok(Self { stream, inbox: Inbox::new() })
    }

    /// Asks for everything that the node says of itself.
    pub(crate) async fn info(&mut self) -> Result<FeedInfo, NodeError> {
        self.ask("FEED INFO", &[b"FEED", b"INFO"], parse_info).await
    }

    /// Names the agent's group; a node of another one refuses.
    pub(crate) async fn group(&mut self, name: &str) -> Result<(), NodeError> {
        self.ask("FEED GROUP", &[b"FEED", b"GROUP", name.as_bytes()], |_| Some(())).await
    }

    /// Has the node's clock move past a peer's.
    pub(crate) async fn hear(&mut self, clock: Timestamp) -> Result<(), NodeError> {
        let clock = clock.to_string();
        self.ask("FEED HEARD", &[b"FEED", b"HEARD", clock.as_bytes()], |_| Some(())).await
    }

    /// Reports the links, and learns what the node holds.
    pub(crate) async fn peers(&mut self, report: &[u8]) -> Result<NodePoint, NodeError> {
        self.ask("FEED PEERS", &[b"FEED", b"PEERS", report], parse_peers_reply).await
    }

    /// Passes on a command of the feed that an operator gave; its answer is text.
    pub(crate) async fn command(&mut self, words: &[&[u8]]) -> Result<String, NodeError> {
        let request: Vec<&[u8]> = std::iter::once(&b"FEED"[..]).chain(words.iter().copied()).collect();
        self.ask("the command", &request, |value| info::text(value).map(str::to_owned)).await
    }

    /// Has the node tell what its clients publish: [`NodeClient::next_message`] is all that may follow.
    pub(crate) async fn listen_to_messages(&mut self) -> Result<(), NodeError> {
        self.ask("FEED MESSAGES", &[b"FEED", b"MESSAGES"], |_| Some(())).await
    }

    /// The next message that a client of the node has published: its number, channel and text.
    pub(crate) async fn next_message(&mut self) -> Result<(u64, Vec<u8>, Vec<u8>), NodeError> {
        std::future::poll_fn(|cx| {
            loop {
                if let Some(value) = self.inbox.next()? {
                    let message = parse_message(&value);
                    let unexpected = || NodeError::Unexpected("FEED MESSAGES", brief(&value));
                    return Poll::Ready(message.ok_or_else(unexpected));
                }
                ready!(self.inbox.poll_fill(&mut self.stream, cx))?;
            }
        })
        .await
    }

    /// Hands the node messages for its clients.
    pub(crate) async fn deliver(&mut self, publications: &[Arc<Publication>]) -> Result<(), NodeError> {
        let mut outbox = Outbox::default();
        for publication in publications {
            let Publication { channel, payload, .. } = &**publication;
            encode_request(&[b"FEED", b"DELIVER", channel, payload], outbox.buffer());
        }
        let (stream, inbox) = (&mut self.stream, &mut self.inbox);
        let mut left = publications.len();
        let answers = std::future::poll_fn(|cx| {
            while left > 0 {
                let _ = outbox.poll_flush(stream, cx)?;
                match inbox.next()? {
                    Some(Value::Error(text)) => {
                        return Poll::Ready(Err(NodeError::Refused("FEED DELIVER", lossy(text))));
                    }
                    Some(_) => left -= 1,
                    None => ready!(inbox.poll_fill(stream, cx))?,
                }
            }
            Poll::Ready(Ok(()))
        });
        async_std::future::timeout(ANSWER_TIME_MAX, answers).await.map_err(|_| NodeError::Silent)?
    }

    async fn ask<T>(
        &mut self,
        what: &'static str,
        request: &[&[u8]],
        parse: impl FnOnce(&Value<'_>) -> Option<T>,
    ) -> Result<T, NodeError> {
        let mut outbox = Outbox::default();
        encode_request(request, outbox.buffer());
        let (stream, inbox) = (&mut self.stream, &mut self.inbox);
        let mut parse = Some(parse);
        let answer = std::future::poll_fn(|cx| {
            loop {
                // Not before the question is written: a node may take it only while it is read from.
                let _ = outbox.poll_flush(stream, cx)?;
                if let Some(value) = inbox.next()? {
                    let parse = parse.take().expect("the answer ends the question");
                    return Poll::Ready(match &value {
                        Value::Error(text) => Err(NodeError::Refused(what, lossy(text))),
                        value => parse(value).ok_or_else(|| NodeError::Unexpected(what, brief(value))),
                    });
                }
                ready!(inbox.poll_fill(stream, cx))?;
            }
        });
        async_std::future::timeout(ANSWER_TIME_MAX, answer).await.map_err(|_| NodeError::Silent)?
    }
}

/// What has arrived on a connection and is not decoded yet. It grows to the longest reply, at most, and shrinks again.
#[derive(Debug)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    decoder: ReplyDecoder,
}

/// The size of a connection's read buffer while replies are short, in bytes.
const INBOX_BYTES: usize = 128 << 10;

/// A read buffer is given back to the allocator when one long reply made it larger than this.
const INBOX_BYTES_KEPT: usize = 2 << 20;

/// A read is worth its system call only with this much room.
const READ_BYTES_MIN: usize = 32 << 10;

impl Inbox {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), start: 0, end: 0, decoder: ReplyDecoder::new(BULK_BYTES_MAX) }
    }

    /// The next whole reply, if one has arrived.
    pub(crate) fn next(&mut self) -> Result<Option<Value<'_>>, ReplyError> {
        let Some((value, length)) = self.decoder.decode(&self.bytes[self.start..self.end])? else {
            return Ok(None);
        };
        self.start += length;
        Ok(Some(value))
    }

    /// Whether a whole reply has arrived.
    pub(crate) fn has_next(&mut self) -> Result<bool, ReplyError> {
        Ok(self.decoder.decode(&self.bytes[self.start..self.end])?.is_some())
    }

    /// Reads what is there. The connection's end is an error: a node never ends it of its own.
    pub(crate) fn poll_fill(
        &mut self,
        stream: &mut NodeStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.make_room();
        let count = ready!(std::pin::Pin::new(stream).poll_read(cx, &mut self.bytes[self.end..]))?;
        if count == 0 {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the node closed it")));
        }
        self.end += count;
        Poll::Ready(Ok(()))
    }

    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.bytes.len() > INBOX_BYTES_KEPT {
                self.bytes = Vec::new();
            }
        }
        if self.bytes.len() - self.end >= READ_BYTES_MIN {
            return;
        }
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.bytes.len() - self.end < READ_BYTES_MIN {
            // By what has arrived, not by what was announced.
            self.bytes.resize((2 * self.end).max(INBOX_BYTES), 0);
        }
    }
}

/// What is to be written to a connection.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    written: usize,
}

/// A write buffer is given back to the allocator when it was larger than this.
const OUTBOX_BYTES_KEPT: usize = 2 << 20;

impl Outbox {
    /// Where to append.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Writes all of it, if the connection takes it.
    pub(crate) fn poll_flush(
        &mut self,
        stream: &mut NodeStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            let rest = &self.bytes[self.written..];
            let count = ready!(std::pin::Pin::new(&mut *stream).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        self.written = 0;
        self.bytes.clear();
        if self.bytes.capacity() > OUTBOX_BYTES_KEPT {
            self.bytes = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

/// Reads `[number, channel, message]`.
fn parse_message(value: &Value<'_>) -> Option<(u64, Vec<u8>, Vec<u8>)> {
    let Value::Array(parts) = value else { return None };
    let [Value::Integer(number), Value::Bulk(channel), Value::Bulk(message)] = &parts[..] else {
        return None;
    };
    Some((u64::try_from(*number).ok()?, channel.to_vec(), message.to_vec()))
}

/// A node's text for people.
pub(crate) fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// An unexpected answer, cut short.
fn brief(value: &Value<'_>) -> String {
    format!("{value:?}").chars().take(200).collect()
}

//! What agents say to each other, and its bytes.
//!
//! A message is one MessagePack array, `[kind, field, ...]`, in one binary WebSocket message:
//!
//! ```text
//!  0 Hello      protocol, batch format, group, group id, joining, [name, node id, origin, role], start time,
//!               [floor, {origin: upto}], wall clock, hybrid clock, dialled, further
//!  1 Announce   announcement
//!  2 Frontier   [floor, {origin: upto}] of what changed, hybrid clock, prompt
//!  3 AckNow
//!  4 Subscribe  serial, {origin: after} to begin, [origin] to end
//!  5 Following  serial
//!  6 Truncated  serial, {origin: start of the log}
//!  7 Batch      flags (1 = first chunk, 2 = last), bytes
//!  8 Ping       id
//!  9 Pong       id, wall clock
//! 10 Goodbye    reason, text
//! 11 Ask        serial, last, bytes
//! 12 Answer     serial, last, bytes
//! 13 NoAnswer   serial, text
//! 14 Advance    node id, sequence before, sequence, [floor, {origin: upto}] of what changed, hybrid clock
//! 15 Listen     [node id] to begin, [node id] to end
//! 16 Publish    node id, origin, number, channel, message
//! 17 Compressed codec, length, bytes
//! ```
//!
//! A Hello's last field, `further`, is bytes: a MessagePack array `[proof, codecs]`, or nothing, which means neither. A build
//! ignores what it does not know of it, and the first ones of this protocol all of it; so what is agreed on there is not
//! agreed on with those, and they are linked all the same.
//!
//! A Compressed has another message within, any but these two and Goodbye: `length` bytes once it is read by the codec
//! ([`codec`](super::codec)). Only who said in its Hello that it reads that codec is sent one.
//!
//! Of a Hello, the kind and the protocol stay where they are in every version, so that two versions can at least
//! tell each other apart. A batch's bytes are its author's, cut into chunks and never encoded again. What the two nodes
//! ask each other goes in parts, which other messages may stand between; its bytes are the nodes' business.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use rmp_serde::decode::Error as DecodeError;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteBuf, Bytes};

use super::codec::{Codec, Codecs};
use crate::announcement::{Advance, Announcement, Member};
use crate::clock::Timestamp;
use crate::id::{GroupId, NodeId, Origin};
use crate::publication::{PUBLICATION_BYTES_MAX, Publication};
use crate::time::WallMillis;
use crate::version::{FRONTIER_ORIGINS_MAX, Frontier};

/// The version of the protocol that this build speaks, and the only one.
pub const PROTOCOL: u8 = 5;

/// The most bytes of a batch in one message; a longer batch travels in several.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;

/// The longest question, and the longest answer, of one node to another, in bytes. What is longer is not sent; a peer that
/// sends more ends the link.
pub const TALK_BYTES_MAX: usize = 128 << 20;

/// The most bytes of a question or an answer in one message as this build cuts them; it takes up to [`CHUNK_BYTES_MAX`].
/// So long a batch waits for it, at most.
pub const TALK_PART_BYTES: usize = 64 << 10;

/// The longest message: the largest frontier, or the largest chunk, and room. A longer one ends the link.
pub const MESSAGE_BYTES_MAX: usize = 2 << 20;

/// The longest name of a group or member, in bytes. A Hello with a longer one ends the link.
pub const NAME_BYTES_MAX: usize = 255;

/// The longest text of a Goodbye or a NoAnswer, in bytes; what is longer is cut where it is written.
pub const TEXT_BYTES_MAX: usize = 1024;

/// The most members in one Listen of which to be told, or not; changes of more are not said.
pub const LISTEN_MEMBERS_MAX: usize = 4_096;

/// One message of the protocol between agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// The first in both directions: who speaks.
    Hello(Box<Hello>),
    /// A member's newest announcement, the speaker's own or one passed on.
    Announce(Arc<Announcement>),
    /// What is new since a member's last announcement over this link.
    Advance(Box<Advance>),
    /// Changes whose announcements the speaker wants to be told: at first all members'.
    Listen(Listen),
    /// What the speaker's node has come to hold since its Hello or its last of these.
    Frontier(Holding),
    /// A client of the speaker's node waits: answer with a prompt [`Message::Frontier`] as soon as what was sent before
    /// this is applied.
    AckNow,
    /// Changes what the speaker pulls from the hearer.
    Subscribe(Subscribe),
    /// From here on the stream is that of the subscription with this serial, or a later one.
    Following {
        /// The [`Subscribe::serial`] that took effect.
        serial: u64,
    },
    /// The hearer asked for what the speaker's log no longer holds; these origins are not subscribed.
    Truncated {
        /// The newest [`Subscribe::serial`] that was heard.
        serial: u64,
        /// Where the log of each origin starts.
        starts: BTreeMap<Origin, Timestamp>,
    },
    /// A batch, or a part of it.
    Batch(Chunk<'a>),
    /// To be answered at once with the same id.
    Ping {
        /// Anything: it comes back.
        id: u64,
    },
    /// The answer to a Ping.
    Pong {
        /// The Ping's.
        id: u64,
        /// The speaker's wall clock when it answered.
        wall: WallMillis,
    },
    /// The last message: the speaker closes the link, and says why.
    Goodbye(Goodbye),
    /// A part of what the speaker's node asks the hearer's.
    Ask(Part<'a>),
    /// A part of the answer.
    Answer(Part<'a>),
    /// A message of PUBLISH, the speaker's own node's or one passed on.
    Publish(Arc<Publication>),
    /// Another message, compressed.
    Compressed(Compressed<'a>),
    /// The speaker's node does not answer.
    NoAnswer {
        /// The question's [`Part::serial`].
        serial: u64,
        /// Why.
        text: String,
    },
}

/// Who speaks, and what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The batch format that it reads and writes.
    pub batch_format: u8,
    /// The group's name.
    pub group: String,
    /// The group's id; zero while its node has not met anyone.
    pub group_id: GroupId,
    /// Whether its node is about to join the group: it streams nothing, and nothing is streamed to it.
    pub joining: bool,
    /// The node that the speaker serves.
    pub member: Member,
    /// When that node was started, by its wall clock.
    pub start_time: WallMillis,
    /// What it has.
    pub frontier: Frontier,
    /// Its wall clock now.
    pub wall: WallMillis,
    /// Its hybrid clock; the hearer's moves past it.
    pub clock: Timestamp,
    /// Whether the speaker dialled this connection.
    pub dialled: bool,
    /// The proof that it belongs to the group; empty while groups have no secret.
    pub proof: Vec<u8>,
    /// How it may be sent messages compressed.
    pub reads: Codecs,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Only the origins that changed since the speaker said it last; the floor always.
    pub frontier: Frontier,
    /// Its hybrid clock when, or before, it held that.
    pub clock: Timestamp,
    /// Whether this answers an AckNow, so that somebody waits for it.
    pub prompt: bool,
}

/// A change of what is pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// Counts the changes on this link.
    pub serial: u64,
    /// The origins to begin with, or to begin again with, each after a timestamp.
    pub start: BTreeMap<Origin, Timestamp>,
    /// The origins to end.
    pub stop: Vec<Origin>,
}

/// A change of whose announcements are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// The members to be told of again, with the newest at once.
    pub start: Vec<NodeId>,
    /// The members not to be told of.
    pub stop: Vec<NodeId>,
}

/// Bytes of a batch. Chunks of one batch follow each other; other messages may stand between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Whether a batch begins here.
    pub first: bool,
    /// Whether it ends here.
    pub last: bool,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// A part of a question or an answer. The parts of one follow each other; other messages may stand between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Counts the questions in this direction of the link; an answer has its question's.
    pub serial: u64,
    /// Whether it ends here.
    pub last: bool,
    /// The bytes; none only where nothing else is to be said.
    pub bytes: &'a [u8],
}

/// A message that is compressed, as a piece of the speaker's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compressed<'a> {
    /// How; always the same on a link's direction.
    pub codec: Codec,
    /// How many bytes the message within has: from 1 to [`MESSAGE_BYTES_MAX`].
    pub length: usize,
    /// What the codec made of it.
    pub bytes: &'a [u8],
}

/// Why a link is closed, for both sides' logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goodbye {
    /// For programs.
    pub reason: Reason,
    /// For people: what happened, to what, what to do. Reads the same at both sides.
    pub text: String,
}

impl Goodbye {
    /// A Goodbye whose text is cut at [`TEXT_BYTES_MAX`] and holds no control characters.
    #[must_use]
    pub fn new(reason: Reason, text: impl AsRef<str>) -> Self {
        Self { reason, text: printable(text.as_ref()) }
    }
}

/// The beginning of a text, up to [`TEXT_BYTES_MAX`], without control characters.
fn printable(text: &str) -> String {
    let mut kept = String::new();
    for char in text.chars() {
        if kept.len() + char.len_utf8() > TEXT_BYTES_MAX {
            break;
        }
        kept.push(if char.is_control() { ' ' } else { char });
    }
    kept
}

/// Why a link is closed, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// The speaker stops, or its node went away; it will be back.
    Leaving = 0,
    /// The hearer said what no build of this protocol says.
    Malformed = 1,
    /// The hearer speaks another version of the protocol, or of batches.
    Version = 2,
    /// The two belong to different groups.
    WrongGroup = 3,
    /// Two members have one name.
    NameTaken = 4,
    /// Two members have one node id.
    NodeIdTaken = 5,
    /// The two wall clocks are too far apart.
    ClockDrift = 6,
    /// Another link between the same two is kept.
    Duplicate = 7,
    /// A batch is damaged, or is not what any node writes.
    BadBatch = 8,
    /// Nothing was heard for too long.
    Silent = 9,
    /// The speaker was told not to dial the hearer any longer.
    Removed = 10,
    /// A reason that this build does not know.
    Other = 255,
}

impl Reason {
    const ALL: [Self; 11] = [
        Self::Leaving,
        Self::Malformed,
        Self::Version,
        Self::WrongGroup,
        Self::NameTaken,
        Self::NodeIdTaken,
        Self::ClockDrift,
        Self::Duplicate,
        Self::BadBatch,
        Self::Silent,
        Self::Removed,
    ];

    fn from_wire(code: u8) -> Self {
        Self::ALL.get(usize::from(code)).copied().unwrap_or(Self::Other)
    }
}

/// Why bytes are no message. The speaker is at fault, and its link ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The speaker's build is newer or older than this one.
    #[error(
        "the peer speaks version {0} of the link protocol, this build version {PROTOCOL}: upgrade the older side"
    )]
    Protocol(u8),
    /// A kind of message that this version does not have.
    #[error(
        "message of kind {0} is not known to version {PROTOCOL} of the link protocol: upgrade the older side"
    )]
    UnknownKind(u8),
    /// It is not what any build of this program writes.
    #[error("message is malformed: {0}")]
    Malformed(Cow<'static, str>),
    /// It is longer than [`MESSAGE_BYTES_MAX`].
    #[error("message of {0} bytes is over the limit of {MESSAGE_BYTES_MAX}")]
    TooLong(usize),
}

mod kind {
    pub(super) const HELLO: u8 = 0;
    pub(super) const ANNOUNCE: u8 = 1;
    pub(super) const FRONTIER: u8 = 2;
    pub(super) const ACK_NOW: u8 = 3;
    pub(super) const SUBSCRIBE: u8 = 4;
    pub(super) const FOLLOWING: u8 = 5;
    pub(super) const TRUNCATED: u8 = 6;
    pub(super) const BATCH: u8 = 7;
    pub(super) const PING: u8 = 8;
    pub(super) const PONG: u8 = 9;
    pub(super) const GOODBYE: u8 = 10;
    pub(super) const ASK: u8 = 11;
    pub(super) const ANSWER: u8 = 12;
    pub(super) const NO_ANSWER: u8 = 13;
    pub(super) const ADVANCE: u8 = 14;
    pub(super) const LISTEN: u8 = 15;
    pub(super) const PUBLISH: u8 = 16;
    pub(super) const COMPRESSED: u8 = 17;
}

const FLAG_FIRST: u8 = 1;
const FLAG_LAST: u8 = 2;

impl<'a> Message<'a> {
    /// A NoAnswer whose text is cut at [`TEXT_BYTES_MAX`] and holds no control characters.
    #[must_use]
    pub fn no_answer(serial: u64, text: &str) -> Self {
        Self::NoAnswer { serial, text: printable(text) }
    }

    /// The message's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello(hello) => hello.encode(),
            Self::Announce(announcement) => pack(&(kind::ANNOUNCE, &**announcement)),
            Self::Advance(advance) => advance.encode(),
            Self::Listen(change) => pack(&(kind::LISTEN, &change.start, &change.stop)),
            Self::Frontier(holding) => {
                pack(&(kind::FRONTIER, &holding.frontier, holding.clock, holding.prompt))
            }
            Self::AckNow => pack(&(kind::ACK_NOW,)),
            Self::Subscribe(change) => pack(&(kind::SUBSCRIBE, change.serial, &change.start, &change.stop)),
            Self::Following { serial } => pack(&(kind::FOLLOWING, serial)),
            Self::Truncated { serial, starts } => pack(&(kind::TRUNCATED, serial, starts)),
            Self::Batch(chunk) => chunk.encode(),
            Self::Ping { id } => pack(&(kind::PING, id)),
            Self::Pong { id, wall } => pack(&(kind::PONG, id, wall)),
            Self::Goodbye(goodbye) => pack(&(kind::GOODBYE, goodbye.reason as u8, &goodbye.text)),
            Self::Ask(part) => part.encode(kind::ASK),
            Self::Answer(part) => part.encode(kind::ANSWER),
            Self::NoAnswer { serial, text } => pack(&(kind::NO_ANSWER, serial, text)),
            Self::Publish(publication) => encode_publication(publication),
            Self::Compressed(compressed) => compressed.encode(),
        }
    }

    /// Reads a message; a chunk's bytes are borrowed from it.
    ///
    /// # Errors
    /// [`MessageError`], each saying what is wrong.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, MessageError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(MessageError::TooLong(bytes.len()));
        }
        match bytes {
            [0x90..=0x9f, kind @ 0..0x80, ..] => Self::decode_kind(*kind, bytes),
            _ => Err(MessageError::Malformed("not an array that begins with a kind".into())),
        }
    }

    fn decode_kind(kind: u8, bytes: &'a [u8]) -> Result<Self, MessageError> {
        Ok(match kind {
            kind::HELLO => Self::Hello(Box::new(Hello::decode(bytes)?)),
            kind::ANNOUNCE => {
                let (_, announcement): (u8, Announcement) = unpack(bytes)?;
                check_announcement(&announcement)?;
                Self::Announce(Arc::new(announcement))
            }
            kind::ADVANCE => {
                let (_, node_id, after, sequence, frontier, clock): (u8, _, _, _, _, _) = unpack(bytes)?;
                Self::Advance(Box::new(Advance { node_id, after, sequence, frontier, clock }))
            }
            kind::LISTEN => {
                let (_, start, stop): (u8, Vec<_>, Vec<_>) = unpack(bytes)?;
                if start.len() > LISTEN_MEMBERS_MAX || stop.len() > LISTEN_MEMBERS_MAX {
                    return Err(MessageError::Malformed("it listens to too many members".into()));
                }
                Self::Listen(Listen { start, stop })
            }
            kind::FRONTIER => {
                let (_, frontier, clock, prompt): (u8, _, _, _) = unpack(bytes)?;
                Self::Frontier(Holding { frontier, clock, prompt })
            }
            kind::ACK_NOW => {
                let (_,): (u8,) = unpack(bytes)?;
                Self::AckNow
            }
            kind::SUBSCRIBE => {
                let (_, serial, start, stop): (u8, _, BTreeMap<_, _>, Vec<_>) = unpack(bytes)?;
                if start.len() > FRONTIER_ORIGINS_MAX || stop.len() > FRONTIER_ORIGINS_MAX {
                    return Err(MessageError::Malformed("it subscribes to too many origins".into()));
                }
                Self::Subscribe(Subscribe { serial, start, stop })
            }
            kind::FOLLOWING => {
                let (_, serial): (u8, _) = unpack(bytes)?;
                Self::Following { serial }
            }
            kind::TRUNCATED => {
                let (_, serial, starts): (u8, _, _) = unpack(bytes)?;
                Self::Truncated { serial, starts }
            }
            kind::BATCH => Self::Batch(Chunk::decode(bytes)?),
            kind::PING => {
                let (_, id): (u8, _) = unpack(bytes)?;
                Self::Ping { id }
            }
            kind::PONG => {
                let (_, id, wall): (u8, _, _) = unpack(bytes)?;
                Self::Pong { id, wall }
            }
            kind::GOODBYE => {
                let (_, reason, text): (u8, u8, String) = unpack(bytes)?;
                Self::Goodbye(Goodbye::new(Reason::from_wire(reason), text))
            }
            kind::ASK => Self::Ask(Part::decode(bytes)?),
            kind::ANSWER => Self::Answer(Part::decode(bytes)?),
            kind::NO_ANSWER => {
                let (_, serial, text): (u8, _, String) = unpack(bytes)?;
                Self::no_answer(serial, &text)
            }
            kind::PUBLISH => Self::Publish(Arc::new(decode_publication(bytes)?)),
            kind::COMPRESSED => Self::Compressed(Compressed::decode(bytes)?),
            kind => return Err(MessageError::UnknownKind(kind)),
        })
    }
}

impl Advance {
    fn encode(&self) -> Vec<u8> {
        pack(&(kind::ADVANCE, self.node_id, self.after, self.sequence, &self.frontier, self.clock))
    }
}

impl Hello {
    fn encode(&self) -> Vec<u8> {
        pack(&(
            kind::HELLO,
            PROTOCOL,
            self.batch_format,
            &self.group,
            self.group_id,
            self.joining,
            &self.member,
            self.start_time,
            &self.frontier,
            self.wall,
            self.clock,
            self.dialled,
            Bytes::new(&self.further()),
        ))
    }

    /// What later builds added.
    fn further(&self) -> Vec<u8> {
        if self.proof.is_empty() && self.reads == Codecs::NONE {
            return Vec::new();
        }
        pack(&(Bytes::new(&self.proof), self.reads.0))
    }

    fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        if let [_, _, protocol @ 0..0x80, ..] = bytes
            && *protocol != PROTOCOL
        {
            return Err(MessageError::Protocol(*protocol));
        }
        let wire: HelloWire = unpack(bytes)?;
        check_name(&wire.3)?;
        check_name(&wire.6.name)?;
        let (proof, reads) = read_further(&wire.12);
        Ok(Self {
            batch_format: wire.2,
            group: wire.3,
            group_id: wire.4,
            joining: wire.5,
            member: wire.6,
            start_time: wire.7,
            frontier: wire.8,
            wall: wire.9,
            clock: wire.10,
            dialled: wire.11,
            proof,
            reads,
        })
    }
}

/// What a Hello says in its last field, as far as this build understands it.
fn read_further(bytes: &[u8]) -> (Vec<u8>, Codecs) {
    let Some((0x92..=0x9f, _)) = bytes.split_first().map(|(first, rest)| (*first, rest)) else {
        return Default::default();
    };
    let mut decoder = rmp_serde::Deserializer::from_read_ref(&bytes[1..]);
    let proof = ByteBuf::deserialize(&mut decoder);
    let codecs = u64::deserialize(&mut decoder);
    match (proof, codecs) {
        (Ok(proof), Ok(codecs)) => (proof.into_vec(), Codecs(codecs)),
        _ => Default::default(),
    }
}

/// A Hello's fields in their order.
#[derive(Deserialize)]
struct HelloWire(
    IgnoredAny,
    IgnoredAny,
    u8,
    String,
    GroupId,
    bool,
    Member,
    WallMillis,
    Frontier,
    WallMillis,
    Timestamp,
    bool,
    ByteBuf,
);

#[derive(Serialize, Deserialize)]
struct ChunkWire<'a>(u8, u8, #[serde(borrow)] &'a Bytes);

impl<'a> Chunk<'a> {
    /// Cuts a batch into chunks of at most [`CHUNK_BYTES_MAX`].
    pub fn cut(batch: &'a [u8]) -> impl Iterator<Item = Self> {
        let count = batch.len().div_ceil(CHUNK_BYTES_MAX);
        batch.chunks(CHUNK_BYTES_MAX).enumerate().map(move |(index, bytes)| Self {
            first: index == 0,
            last: index + 1 == count,
            bytes,
        })
    }

    /// The message's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let flags = if self.first { FLAG_FIRST } else { 0 } | if self.last { FLAG_LAST } else { 0 };
        let mut out = Vec::with_capacity(self.bytes.len() + 8);
        pack_into(&ChunkWire(kind::BATCH, flags, Bytes::new(self.bytes)), &mut out);
        out
    }

    fn decode(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let ChunkWire(_, flags, bytes) = unpack_borrowed(bytes)?;
        if flags & !(FLAG_FIRST | FLAG_LAST) != 0 || bytes.is_empty() || bytes.len() > CHUNK_BYTES_MAX {
            return Err(MessageError::Malformed("a chunk's flags or length are not possible".into()));
        }
        Ok(Self { first: flags & FLAG_FIRST != 0, last: flags & FLAG_LAST != 0, bytes })
    }
}

#[derive(Serialize, Deserialize)]
struct PartWire<'a>(u8, u64, bool, #[serde(borrow)] &'a Bytes);

impl<'a> Part<'a> {
    fn encode(&self, kind: u8) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 20);
        pack_into(&PartWire(kind, self.serial, self.last, Bytes::new(self.bytes)), &mut out);
        out
    }

    fn decode(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let PartWire(_, serial, last, bytes) = unpack_borrowed(bytes)?;
        if bytes.len() > CHUNK_BYTES_MAX || (bytes.is_empty() && !last) {
            return Err(MessageError::Malformed("a part's length is not possible".into()));
        }
        Ok(Self { serial, last, bytes })
    }
}

#[derive(Serialize, Deserialize)]
struct CompressedWire<'a>(u8, u8, u32, #[serde(borrow)] &'a Bytes);

impl<'a> Compressed<'a> {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 13);
        let length = u32::try_from(self.length).expect("a message is far shorter than 4 GiB");
        pack_into(
            &CompressedWire(kind::COMPRESSED, self.codec as u8, length, Bytes::new(self.bytes)),
            &mut out,
        );
        out
    }

    fn decode(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let CompressedWire(_, codec, length, bytes) = unpack_borrowed(bytes)?;
        let Some(codec) = Codec::from_wire(codec) else {
            return Err(MessageError::Malformed("it is compressed as this build does not know".into()));
        };
        match usize::try_from(length) {
            Ok(length @ 1..=MESSAGE_BYTES_MAX) => Ok(Self { codec, length, bytes }),
            _ => Err(MessageError::Malformed(
                "what is compressed in it is empty, or longer than any message".into(),
            )),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct PublishWire<'a>(u8, NodeId, Origin, u64, #[serde(borrow)] &'a Bytes, #[serde(borrow)] &'a Bytes);

fn encode_publication(publication: &Publication) -> Vec<u8> {
    let Publication { author, run, number, channel, payload } = publication;
    let mut out = Vec::with_capacity(publication.len() + 40);
    let wire = PublishWire(kind::PUBLISH, *author, *run, *number, Bytes::new(channel), Bytes::new(payload));
    pack_into(&wire, &mut out);
    out
}

fn decode_publication(bytes: &[u8]) -> Result<Publication, MessageError> {
    let PublishWire(_, author, run, number, channel, payload) = unpack_borrowed(bytes)?;
    if channel.len() + payload.len() > PUBLICATION_BYTES_MAX {
        return Err(MessageError::Malformed("a published message is too long".into()));
    }
    Ok(Publication { author, run, number, channel: channel.to_vec(), payload: payload.to_vec() })
}

fn check_announcement(announcement: &Announcement) -> Result<(), MessageError> {
    check_name(&announcement.member.name)?;
    announcement.members.iter().try_for_each(|member| check_name(&member.name))?;
    announcement.evictions.iter().try_for_each(|eviction| check_name(&eviction.name))
}

fn check_name(name: &str) -> Result<(), MessageError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(MessageError::Malformed("a name is empty, too long or not printable".into()));
    }
    Ok(())
}

fn pack<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    pack_into(value, &mut out);
    out
}

fn pack_into<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    value
        .serialize(&mut rmp_serde::Serializer::new(out))
        .expect("a vector takes every byte and a message has no part that MessagePack lacks");
}

fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, MessageError> {
    unpack_borrowed(bytes)
}

fn unpack_borrowed<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, MessageError> {
    let mut decoder = rmp_serde::Deserializer::from_read_ref(bytes);
    let value =
        T::deserialize(&mut decoder).map_err(|error| MessageError::Malformed(error.to_string().into()))?;
    // Nothing is left to read exactly if the next marker cannot be had.
    match IgnoredAny::deserialize(&mut decoder) {
        Err(DecodeError::InvalidMarkerRead(_)) => Ok(value),
        _ => Err(MessageError::Malformed("bytes follow it".into())),
    }
}

#[cfg(test)]
mod tests;

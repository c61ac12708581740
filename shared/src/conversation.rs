//! What two nodes say to each other beside batches, by way of their agents.
//!
//! One asks, the other answers; the agents carry the bytes and don't look at them. All that two nodes settle between
//! themselves goes this way: whether they belong to one group, whether they hold the same data, and how one takes over
//! the other's state.
//!
//! ```text
//! Greet                     -> Greeting                    who are you, and what am I to you?
//! Roots                     -> Roots                       a digest per shard
//! Digests [shard...]        -> Digests                     a digest per slot of these shards
//! Summaries [slot...]       -> Summaries                   per slot its digest and the last change of each origin
//! Begin former node id      -> Begun                       a reconcile begins: the sender holds on to all dead things
//! States run, [slot...]     -> States                      everything in these slots, as far as one answer takes
//! Dead run, slot            -> States                      the dead things of the slots from there on
//! Enrol run, member         -> Enrolled                    the asker has taken all over, and is to be counted
//! End run                   -> Ended: frontier
//! Deep slot                 -> Summaries                   as Summaries of the slots from there on, values included
//! Keys slot                 -> Keys                        a digest per key
//! Values [slot...]          -> States                      everything in these slots, outside of a reconcile
//!                           -> Refused                     not now, or not at all
//! ```
//!
//! Questions and answers are MessagePack; an answer keeps to about [`ANSWER_BYTES`], but for a key that is longer.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::announcement::{Eviction, Member};
use crate::clock::Timestamp;
use crate::id::{GroupId, NodeId};
use crate::version::{Frontier, Version};

/// The size at which an answer ends, unless its first key is longer, in bytes.
pub const ANSWER_BYTES: usize = 256 << 10;

/// The version of what nodes say to each other: two of different versions say nothing else.
pub const CONVERSATION: u8 = 3;

/// What a node asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Question {
    /// Who are you, and what am I to you?
    Greet,
    /// A digest per shard.
    Roots,
    /// A digest per slot of these shards.
    Digests(Vec<u8>),
    /// What is in these slots, in short.
    Summaries(Vec<u16>),
    /// Let me take over your state.
    Begin {
        /// Under which node id the asker was a member before it was evicted; zero if it never was.
        formerly: NodeId,
    },
    /// Everything in these slots.
    States {
        /// The reconcile, as [`Begun::run`] named it.
        run: u64,
        /// In this order, as many as one answer takes.
        slots: Vec<u16>,
    },
    /// Everything dead, from this slot on.
    Dead {
        /// The reconcile.
        run: u64,
        /// As many slots from here on as one answer takes.
        from: u16,
    },
    /// I have taken everything over: count me.
    Enrol {
        /// The reconcile.
        run: u64,
        /// The asker, with the origin that it will write as.
        member: Member,
    },
    /// You need not hold on to dead things any more.
    End {
        /// The reconcile.
        run: u64,
    },
    /// What is in the slots from this one on, in short, values included.
    Deep(u16),
    /// A digest per key of this slot.
    Keys(u16),
    /// Everything in these slots, for a repair.
    Values(Vec<u16>),
}

/// What a node answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Question::Greet`].
    Greeting(Box<Greeting>),
    /// To [`Question::Roots`]: one per shard.
    Roots(Vec<u64>),
    /// To [`Question::Digests`]: one per slot, shard by shard as asked.
    Digests(Vec<u64>),
    /// To [`Question::Summaries`] and [`Question::Deep`].
    Summaries(Summaries),
    /// To [`Question::Begin`].
    Begun(Begun),
    /// To [`Question::States`], [`Question::Dead`] and [`Question::Values`].
    States(States),
    /// To [`Question::Enrol`].
    Enrolled(Enrolment),
    /// To [`Question::End`]: what the sender holds now.
    Ended(Frontier),
    /// To [`Question::Keys`].
    Keys(Vec<KeyDigest>),
    /// Not now, or not at all; the text says why.
    Refused(Refusal, String),
}

/// Why a question is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Ask again in a while.
    NotNow,
    /// The reconcile is not known: it was given up, or the node was restarted. Begin anew.
    NoSuchRun,
    /// Never: a person must act.
    Never,
}

/// Who answers, and what the asker is to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// [`CONVERSATION`] of the speaker.
    pub version: u8,
    /// The speaker.
    pub member: Member,
    /// Its group; zero while it has met nobody.
    pub group_id: GroupId,
    /// Whether it is joining itself.
    pub joining: bool,
    /// Whether it is taking over somebody's state at the moment.
    pub receiving: bool,
    /// How many members its group has, itself counted, and each name once.
    pub members: u32,
    /// The same, but neither its own name nor the asker's.
    pub others: u32,
    /// As `members`, but whom it evicts counts, too, until that takes effect: on this all members agree.
    pub named: u32,
    /// The smallest of their names.
    pub smallest_name: String,
    /// What it has.
    pub frontier: Frontier,
    /// Its hybrid clock.
    pub clock: Timestamp,
    /// What the asker is to it.
    pub you: YouAre,
}

/// What one node is to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum YouAre {
    /// Never heard of.
    Unknown,
    /// A member.
    Counted,
    /// Evicted, but not all know it yet.
    BeingEvicted,
    /// Evicted; may return by joining.
    Evicted,
}

/// Slots in short. The frontier was read before the slots were: all that it covers is in them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summaries {
    /// What the speaker has.
    pub frontier: Frontier,
    /// The slots, in the order asked for.
    pub slots: Vec<Summary>,
}

/// A slot in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Its digest.
    pub digest: u64,
    /// How many keys it holds that are alive.
    pub keys: u32,
    /// Of each origin the last change that reached it.
    pub lasts: Vec<Version>,
}

/// A reconcile has begun: the receiver takes over what the sender has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Names this reconcile, to the sender.
    pub run: u64,
    /// What the sender had at its start.
    pub frontier: Frontier,
    /// The sender's clock at its start.
    pub clock: Timestamp,
    /// Up to which moment of its clock the asker's writes had come here when it was evicted; zero if it was not, or that is
    /// long forgotten. Origins that have ended since may be known to it better than to the sender's floor.
    pub known_until: Timestamp,
    /// Who was evicted before: of what they wrote the sender's floor tells nothing.
    pub departed: Vec<Departed>,
    /// The flushes of its databases: a page of [`state`](crate::state) without keys.
    pub flushes: ByteBuf,
}

/// The states of some slots' keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct States {
    /// How many of the slots that were asked for are whole in here.
    pub slots: u16,
    /// For each of these slots its keys, a page of [`state`](crate::state); then a page of the flushes that had gone over
    /// them, without keys.
    pub pages: Vec<ByteBuf>,
}

impl States {
    /// The page of flushes, if there is one.
    #[must_use]
    pub fn flushes(&self) -> Option<&[u8]> {
        self.pages.get(usize::from(self.slots)).map(|page| page.as_slice())
    }
}

/// What a node that was enrolled takes over of the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// The group's id.
    pub group_id: GroupId,
    /// The sender's clock: what the new member writes is later.
    pub clock: Timestamp,
    /// What the sender held when it had sent everything: of that nothing needs to be re-issued.
    pub frontier: Frontier,
    /// The members, the sender included, and the evicted that they still wait for.
    pub members: Vec<Member>,
    /// Whom they have evicted.
    pub evictions: Vec<Eviction>,
    /// Who was evicted before, and may still come back.
    pub departed: Vec<Departed>,
}

/// A member whose eviction has taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departed {
    /// It.
    pub node_id: NodeId,
    /// The clock of its last announcement that was reached: all that it wrote up to then is held.
    pub clock: Timestamp,
    /// Its last origin that was known, and what is held of it.
    pub end: Version,
}

/// A key in short.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyDigest {
    /// Its database.
    pub db: u8,
    /// Its name.
    pub key: ByteBuf,
    /// Of its versions and values.
    pub deep: u64,
}

impl Question {
    /// The question's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec(self)
            .expect("a vector takes every byte and a question has no part that MessagePack lacks")
    }

    /// Reads a question.
    ///
    /// # Errors
    /// If it is none that this build knows.
    pub fn decode(bytes: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        rmp_serde::from_slice(bytes)
    }
}

impl Answer {
    /// The answer's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec(self)
            .expect("a vector takes every byte and an answer has no part that MessagePack lacks")
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// If it is none that this build knows.
    pub fn decode(bytes: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        rmp_serde::from_slice(bytes)
    }
}

/// Whether `one` is to join the group of `other`, when two groups of one name meet: the smaller joins the larger, and of
/// equals the one with the smaller id.
#[must_use]
pub fn joins(one: (u32, GroupId), other: (u32, GroupId)) -> bool {
    one < other
}

/// Whether `one`, of two nodes that have met nobody yet, is the founder of their group.
#[must_use]
pub fn founds(one: NodeId, other: NodeId) -> bool {
    one > other
}

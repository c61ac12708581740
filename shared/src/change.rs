//! The change: one write to one cell, one reset, one TTL or one flush. What logs, feeds and links carry.
//!
//! A change's version is its transaction's timestamp and its batch's origin, save for observed resets, observed
//! flushes and marks, which carry an older version of their own. What a change *does* is the store's business (the merge
//! rules); here is only what it *says*.
//!
//! On the wire a change is a MessagePack array, decoded borrowed and record by record:
//!
//! ```text
//! [ delta, code, key, operands..., (replaced timestamp, replaced origin)? ]
//!   delta  timestamp above that of the change before; 0 = the same transaction
//!   code   operation << 4 | database
//!   key    bytes, or nil for the key of the change before
//!
//!   0 set             value                           5 observed reset   timestamp, origin
//!   1 reset                                           6 mark             timestamp, origin, expiry
//!   2 cell            kind, element, value or nil     7 flush of a database
//!   3 count           kind, element, first, sum,      8 flush of all databases
//!                     [timestamp, origin] of the      9 observed flush   timestamp, origin
//!                     increment that it ends with,
//!                     if it is restated, or nil
//!   4 expire          moment or nil
//!
//! sum    a whole number: as an integer, or as 16 bytes, big end first, if 64 bits do not hold it
//!        a floating-point number
//!        a decimal number: [places behind the point, the number without its point]        (since format 2)
//! ```

mod encode;

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_bytes::Bytes;

use crate::clock::Timestamp;
use crate::decimal::units_of;
use crate::time::WallMillis;
use crate::version::Version;

pub(crate) use self::encode::{Record, write_sum, write_value};

/// The number of databases, as in Redis's default configuration.
pub const DATABASES: u8 = 16;

/// What a key can hold. When several kinds race on one key, the highest with a live cell is the visible one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// One cell, whose element is empty.
    String = 0,
    /// A cell per element, named by its position, its push's version and its index in the push.
    List = 1,
    /// A cell per member.
    Set = 2,
    /// A cell per field.
    Hash = 3,
    /// A cell per member, whose value is its score.
    SortedSet = 4,
}

impl Kind {
    /// How many kinds there are.
    pub const COUNT: usize = 5;

    /// Every kind, the highest last.
    pub const ALL: [Self; Self::COUNT] = [Self::String, Self::List, Self::Set, Self::Hash, Self::SortedSet];

    pub(crate) fn from_wire(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }

    /// The name that Redis's TYPE gives it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::Hash => "hash",
            Self::SortedSet => "zset",
        }
    }
}

/// A cell within a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellId<'a> {
    /// The kind it belongs to.
    pub kind: Kind,
    /// Which of that kind's cells; empty for a string.
    pub element: Cow<'a, [u8]>,
}

impl CellId<'_> {
    /// The same, borrowed.
    #[must_use]
    pub fn reborrow(&self) -> CellId<'_> {
        CellId { kind: self.kind, element: Cow::Borrowed(&self.element) }
    }
}

impl CellId<'static> {
    /// The one cell of a string.
    pub const STRING: Self = Self { kind: Kind::String, element: Cow::Borrowed(&[]) };
}

/// What a cell write puts into its cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A string's, field's or list element's bytes; empty for a set's member.
    Bytes(Cow<'a, [u8]>),
    /// A sorted-set member's score.
    Float(f64),
}

impl Value<'_> {
    /// The same, borrowed.
    #[must_use]
    pub fn reborrow(&self) -> Value<'_> {
        match self {
            Self::Bytes(bytes) => Value::Bytes(Cow::Borrowed(bytes)),
            Self::Float(float) => Value::Float(*float),
        }
    }
}

/// What a contribution adds up to so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sum {
    /// Of whole numbers; in 128 bits, so that no series of 64-bit increments overflows it.
    Int(i128),
    /// Of floating-point numbers.
    Float(f64),
    /// Of decimal numbers, in units of 10^-17: see [`decimal`](crate::decimal).
    Decimal(i128),
}

/// What a change does to its key.
#[derive(Clone, Debug, PartialEq)]
pub enum Op<'a> {
    /// A whole-key write of a string: a reset, and the string's cell.
    Set(Cow<'a, [u8]>),
    /// What is older than this change dies.
    Reset,
    /// A write of one cell; none is its removal.
    Cell(CellId<'a>, Option<Value<'a>>),
    /// A running contribution to a counter cell: not a delta, so that it may arrive twice.
    Count(CellId<'a>, Contribution),
    /// The key's TTL register: when it expires, or that it does not.
    Expire(Option<WallMillis>),
    /// A reset at a version of its own, which spares what its author had not seen.
    ObservedReset(Version),
    /// The removal of an expired key: a reset at a version of its own, and besides, what was written up to the
    /// expiry stays hidden.
    Mark {
        /// The reset's version.
        reset: Version,
        /// When the key expired.
        expiry: WallMillis,
    },
    /// A reset of every key of the database.
    FlushDb,
    /// A reset of every key of every database. The change's key is empty, its database 0.
    FlushAll,
    /// A reset of every key of the database at a version of its own: a flush stated again.
    ObservedFlush(Version),
}

impl Op<'_> {
    /// The same, borrowed.
    #[must_use]
    pub fn reborrow(&self) -> Op<'_> {
        match self {
            Self::Set(value) => Op::Set(Cow::Borrowed(value)),
            Self::Reset => Op::Reset,
            Self::Cell(id, value) => Op::Cell(id.reborrow(), value.as_ref().map(Value::reborrow)),
            Self::Count(id, contribution) => Op::Count(id.reborrow(), *contribution),
            Self::Expire(moment) => Op::Expire(*moment),
            Self::ObservedReset(version) => Op::ObservedReset(*version),
            Self::Mark { reset, expiry } => Op::Mark { reset: *reset, expiry: *expiry },
            Self::FlushDb => Op::FlushDb,
            Self::FlushAll => Op::FlushAll,
            Self::ObservedFlush(version) => Op::ObservedFlush(*version),
        }
    }
}

/// What one origin has added to a counter since its contribution began. Its `last` is the change's timestamp.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contribution {
    /// When its first increment was made: it is live if that is newer than what resets or replaces the counter.
    pub first: Timestamp,
    /// What it adds up to.
    pub sum: Sum,
    /// If somebody else states it again, or its author under a later origin: whose it is, and its author's last increment
    /// that is in it. Of two that began otherwise, this tells which one holds more.
    pub restates: Option<Version>,
}

/// One write to one cell, one reset, one TTL or one flush.
#[derive(Clone, Debug, PartialEq)]
pub struct Change<'a> {
    /// The database, below [`DATABASES`].
    pub db: u8,
    /// The key; empty for a flush.
    pub key: Cow<'a, [u8]>,
    /// What is done to it.
    pub op: Op<'a>,
    /// The version that this change replaced where it was made, if its author noted it.
    pub replaced: Option<Version>,
}

impl<'a> Change<'a> {
    /// A change that does not say what it replaced.
    pub fn new(db: u8, key: impl Into<Cow<'a, [u8]>>, op: Op<'a>) -> Self {
        Self { db, key: key.into(), op, replaced: None }
    }

    /// The same, borrowed.
    #[must_use]
    pub fn reborrow(&self) -> Change<'_> {
        Change { db: self.db, key: Cow::Borrowed(&self.key), op: self.op.reborrow(), replaced: self.replaced }
    }

    /// About how many bytes this takes in a batch: an upper bound, for limits.
    #[must_use]
    pub fn encoded_bytes_max(&self) -> usize {
        let operands = match &self.op {
            Op::Set(value) => value.len(),
            Op::Cell(cell, value) => {
                cell.element.len()
                    + match value {
                        Some(Value::Bytes(bytes)) => bytes.len(),
                        Some(Value::Float(_)) | None => 0,
                    }
            }
            Op::Count(cell, _) => cell.element.len(),
            _ => 0,
        };
        CHANGE_OVERHEAD_BYTES + self.key.len() + operands
    }
}

/// No change takes more bytes than this beside its key, element and value.
pub const CHANGE_OVERHEAD_BYTES: usize = 96;

mod code {
    pub(super) const SET: u16 = 0;
    pub(super) const RESET: u16 = 1;
    pub(super) const CELL: u16 = 2;
    pub(super) const COUNT: u16 = 3;
    pub(super) const EXPIRE: u16 = 4;
    pub(super) const OBSERVED_RESET: u16 = 5;
    pub(super) const MARK: u16 = 6;
    pub(super) const FLUSH_DB: u16 = 7;
    pub(super) const FLUSH_ALL: u16 = 8;
    pub(super) const OBSERVED_FLUSH: u16 = 9;
}

/// A decoded record; `key` is none for the key of the change before.
pub(crate) struct DecodedRecord<'a> {
    pub(crate) delta: u64,
    pub(crate) db: u8,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) op: Op<'a>,
    pub(crate) replaced: Option<Version>,
}

impl<'de: 'a, 'a> Deserialize<'de> for DecodedRecord<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RecordVisitor)
    }
}

struct RecordVisitor;

impl<'de> Visitor<'de> for RecordVisitor {
    type Value = DecodedRecord<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a change")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<DecodedRecord<'de>, A::Error> {
        let delta = operand(&mut seq)?;
        let code: u16 = operand(&mut seq)?;
        let key: Option<&Bytes> = operand(&mut seq)?;
        let op = match code >> 4 {
            code::SET => Op::Set(bytes(&mut seq)?),
            code::RESET => Op::Reset,
            code::CELL => Op::Cell(cell(&mut seq)?, operand(&mut seq)?),
            code::COUNT => Op::Count(
                cell(&mut seq)?,
                Contribution {
                    first: operand(&mut seq)?,
                    sum: operand(&mut seq)?,
                    restates: operand(&mut seq)?,
                },
            ),
            code::EXPIRE => Op::Expire(operand(&mut seq)?),
            code::OBSERVED_RESET => Op::ObservedReset(version(&mut seq)?),
            code::MARK => Op::Mark { reset: version(&mut seq)?, expiry: operand(&mut seq)? },
            code::FLUSH_DB => Op::FlushDb,
            code::FLUSH_ALL => Op::FlushAll,
            code::OBSERVED_FLUSH => Op::ObservedFlush(version(&mut seq)?),
            unknown => return Err(A::Error::custom(format_args!("unknown operation {unknown}"))),
        };
        let replaced = match seq.next_element::<Timestamp>()? {
            Some(timestamp) => Some(Version { timestamp, origin: operand(&mut seq)? }),
            None => None,
        };
        if seq.next_element::<IgnoredAny>()?.is_some() {
            return Err(A::Error::custom("operands after the last"));
        }
        Ok(DecodedRecord { delta, db: (code & 0xf) as u8, key: key.map(|key| &**key), op, replaced })
    }
}

fn operand<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(seq: &mut A) -> Result<T, A::Error> {
    seq.next_element()?.ok_or_else(|| A::Error::custom("an operand is missing"))
}

fn bytes<'de, A: SeqAccess<'de>>(seq: &mut A) -> Result<Cow<'de, [u8]>, A::Error> {
    operand::<A, &Bytes>(seq).map(|bytes| Cow::Borrowed(&**bytes))
}

fn version<'de, A: SeqAccess<'de>>(seq: &mut A) -> Result<Version, A::Error> {
    Ok(Version { timestamp: operand(seq)?, origin: operand(seq)? })
}

fn cell<'de, A: SeqAccess<'de>>(seq: &mut A) -> Result<CellId<'de>, A::Error> {
    let kind: u8 = operand(seq)?;
    let kind = Kind::from_wire(kind)
        .ok_or_else(|| A::Error::custom(format_args!("unknown kind of value {kind}")))?;
    Ok(CellId { kind, element: bytes(seq)? })
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;
        impl<'de> Visitor<'de> for ValueVisitor {
            type Value = Value<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes or a score")
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Value<'de>, E> {
                Ok(Value::Bytes(Cow::Borrowed(bytes)))
            }

            fn visit_f64<E: serde::de::Error>(self, float: f64) -> Result<Value<'de>, E> {
                if float.is_nan() {
                    Err(E::custom("a score is not a number"))
                } else {
                    Ok(Value::Float(float))
                }
            }
        }
        deserializer.deserialize_any(ValueVisitor)
    }
}

impl<'de> Deserialize<'de> for Sum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SumVisitor;
        impl<'de> Visitor<'de> for SumVisitor {
            type Value = Sum;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_i64<E: serde::de::Error>(self, int: i64) -> Result<Sum, E> {
                WholeVisitor.visit_i64(int).map(Sum::Int)
            }

            fn visit_u64<E: serde::de::Error>(self, int: u64) -> Result<Sum, E> {
                WholeVisitor.visit_u64(int).map(Sum::Int)
            }

            fn visit_f64<E: serde::de::Error>(self, float: f64) -> Result<Sum, E> {
                if float.is_nan() { Err(E::custom("a sum is not a number")) } else { Ok(Sum::Float(float)) }
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Sum, E> {
                WholeVisitor.visit_bytes(bytes).map(Sum::Int)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Sum, A::Error> {
                let places = operand(&mut seq)?;
                let Whole(digits) = operand(&mut seq)?;
                if seq.next_element::<IgnoredAny>()?.is_some() {
                    return Err(A::Error::custom("a decimal sum has two parts"));
                }
                let units = units_of(places, digits);
                units.map(Sum::Decimal).ok_or_else(|| A::Error::custom("a decimal sum out of range"))
            }
        }
        deserializer.deserialize_any(SumVisitor)
    }
}

/// A whole number of up to 128 bits.
struct Whole(i128);

struct WholeVisitor;

impl Visitor<'_> for WholeVisitor {
    type Value = i128;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_i64<E>(self, int: i64) -> Result<i128, E> {
        Ok(int.into())
    }

    fn visit_u64<E>(self, int: u64) -> Result<i128, E> {
        Ok(int.into())
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<i128, E> {
        let bytes = bytes.try_into().map_err(|_| E::custom("a large sum takes 16 bytes"))?;
        Ok(i128::from_be_bytes(bytes))
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeVisitor).map(Self)
    }
}

//! The names of elements, in as few bytes as the one before makes possible.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use shared::change::{CellId, Kind};
use shared::version::Version;

use super::Bytes;
use super::bytes::{LONG, Reader, int_length, put_bytes, put_signed, put_varint};
use crate::store::list_id::{MIDDLE, PlainId};
use crate::store::rich::parse_integer;

const INT: u8 = 0x80;
const INT_NEAR: u8 = 0xa0;
/// A near whole number's difference has so many bits in its first byte.
const NEAR_BITS: u32 = 4;
/// It has at most so many bytes more.
const NEAR_BYTES_MAX: u32 = 3;

const NEXT_INDEX: u8 = 0;
const NEXT_POSITION: u8 = 1;
const POSITION: u8 = 2;
const RAW_ID: u8 = 3;

/// An element's name or value as a client sees it.
#[derive(Clone, Debug)]
pub(crate) enum Text<'b> {
    Borrowed(&'b [u8]),
    Inline(u8, [u8; INLINE_MAX]),
    Owned(Vec<u8>),
}

/// As long as a plain id of a list's element; a whole number's digits take fewer.
const INLINE_MAX: usize = PlainId::BYTES;

impl<'b> Text<'b> {
    pub(super) fn of_int(int: i64) -> Self {
        Self::inline(itoa::Buffer::new().format(int).as_bytes())
    }

    fn inline(text: &[u8]) -> Self {
        let mut bytes = [0; INLINE_MAX];
        bytes[..text.len()].copy_from_slice(text);
        Self::Inline(text.len() as u8, bytes)
    }

    pub(crate) fn into_cow(self) -> Cow<'b, [u8]> {
        match self {
            Self::Borrowed(bytes) => Cow::Borrowed(bytes),
            text => Cow::Owned(text.into_owned()),
        }
    }

    pub(crate) fn into_owned(self) -> Vec<u8> {
        match self {
            Self::Owned(bytes) => bytes,
            text => text.to_vec(),
        }
    }
}

impl Default for Text<'_> {
    fn default() -> Self {
        Self::Borrowed(&[])
    }
}

impl<'b> From<Cow<'b, [u8]>> for Text<'b> {
    fn from(bytes: Cow<'b, [u8]>) -> Self {
        match bytes {
            Cow::Borrowed(bytes) => Self::Borrowed(bytes),
            Cow::Owned(bytes) => Self::Owned(bytes),
        }
    }
}

impl Deref for Text<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Inline(length, bytes) => &bytes[..usize::from(*length)],
            Self::Owned(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Text<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text<'_> {}

impl PartialOrd for Text<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for Text<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

/// An element's name as it lies in a block.
#[derive(Clone, Copy, Debug)]
pub(super) enum Name<'b> {
    Raw(&'b [u8]),
    /// Any id of a list's element.
    RawId(&'b [u8]),
    Int(i64),
    /// The id of a list's element that was not set since it was pushed: its version is the cell's.
    Pushed {
        position: u64,
        index: u32,
    },
}

/// What names leave out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    int: i64,
    position: u64,
    index: u32,
}

impl Context {
    pub(super) const START: Self = Self { int: -1, position: MIDDLE, index: u32::MAX };

    /// Behind a list's element with this position and index.
    pub(super) const fn of_list(position: u64, index: u32) -> Self {
        Self { position, index, ..Self::START }
    }

    /// The position and index of the list's element before.
    pub(super) const fn place(&self) -> (u64, u32) {
        (self.position, self.index)
    }
}

impl<'b> Name<'b> {
    /// The name of a cell that was written at this version, if it was.
    pub(super) fn of(id: &'b CellId<'_>, written: Option<Version>) -> Self {
        if id.kind != Kind::List {
            return parse_integer(&id.element).map_or(Self::Raw(&id.element), Self::Int);
        }
        match PlainId::parse(&id.element) {
            Some(PlainId { position, push, index }) if Some(push) == written => {
                Self::Pushed { position, index }
            }
            _ => Self::RawId(&id.element),
        }
    }

    /// The whole of it, for a cell of this version.
    pub(super) fn text(&self, version: Version) -> Text<'b> {
        match *self {
            Self::Raw(bytes) | Self::RawId(bytes) => Text::Borrowed(bytes),
            Self::Int(int) => Text::of_int(int),
            Self::Pushed { position, index } => {
                Text::Inline(PlainId::BYTES as u8, PlainId { position, push: version, index }.bytes())
            }
        }
    }

    pub(super) const fn int(&self) -> Option<i64> {
        match *self {
            Self::Int(int) => Some(int),
            Self::Raw(_) | Self::RawId(_) | Self::Pushed { .. } => None,
        }
    }

    #[inline(always)]
    pub(super) fn read(kind: Kind, before: &Context, reader: &mut Reader<'b>) -> (Self, Context) {
        let lead = reader.byte();
        if kind == Kind::List {
            let (position, index) = match lead {
                NEXT_INDEX => (before.position, before.index.wrapping_add(1)),
                NEXT_POSITION => (before.position.wrapping_add(1), 0),
                POSITION => {
                    let position = before.position.wrapping_add(reader.signed() as u64);
                    (position, reader.varint() as u32)
                }
                _ => {
                    let length = reader.varint() as usize;
                    return (Self::RawId(reader.take(length)), Context::START);
                }
            };
            return (Self::Pushed { position, index }, Context { position, index, ..Context::START });
        }
        let int = match lead {
            length if length < LONG => return (Self::Raw(reader.take(usize::from(length))), Context::START),
            LONG => {
                let length = reader.varint() as usize;
                return (Self::Raw(reader.take(length)), Context::START);
            }
            far if far < INT_NEAR => reader.int(usize::from(far - INT)),
            near => {
                let near = near - INT_NEAR;
                let more = reader.take(usize::from(near >> NEAR_BITS));
                let high = more.iter().rev().fold(0_u64, |high, byte| high << 8 | u64::from(*byte));
                let difference = high << NEAR_BITS | u64::from(near & 0xf);
                before.int.wrapping_add(1).wrapping_add(difference as i64)
            }
        };
        (Self::Int(int), Context { int, ..Context::START })
    }

    pub(super) fn put(&self, before: &Context, out: &mut Bytes) -> Context {
        match *self {
            Self::Pushed { position, index } => {
                if position == before.position && index == before.index.wrapping_add(1) {
                    out.push(NEXT_INDEX);
                } else if position == before.position.wrapping_add(1) && index == 0 {
                    out.push(NEXT_POSITION);
                } else {
                    out.push(POSITION);
                    put_signed(out, position.wrapping_sub(before.position) as i64);
                    put_varint(out, u64::from(index));
                }
                Context { position, index, ..Context::START }
            }
            Self::Int(int) => {
                put_int(int, before.int, out);
                Context { int, ..Context::START }
            }
            Self::RawId(bytes) => {
                out.push(RAW_ID);
                put_varint(out, bytes.len() as u64);
                out.extend_from_slice(bytes);
                Context::START
            }
            Self::Raw(bytes) => {
                put_bytes(out, bytes);
                Context::START
            }
        }
    }
}

fn put_int(int: i64, before: i64, out: &mut Bytes) {
    let difference = int.wrapping_sub(before).wrapping_sub(1) as u64;
    let bits = u64::BITS - difference.leading_zeros();
    let more = bits.saturating_sub(NEAR_BITS).div_ceil(8);
    if more <= NEAR_BYTES_MAX {
        out.push(INT_NEAR + ((more as u8) << NEAR_BITS) + (difference & 0xf) as u8);
        out.extend_from_slice(&(difference >> NEAR_BITS).to_le_bytes()[..more as usize]);
    } else {
        let length = int_length(int);
        out.push(INT + length as u8);
        out.extend_from_slice(&int.to_le_bytes()[..length]);
    }
}

/// A name that is looked for.
pub(super) struct Wanted<'w> {
    raw: &'w [u8],
    int: Option<i64>,
    plain: Option<PlainId>,
}

impl<'w> Wanted<'w> {
    pub(super) fn new(id: &'w CellId<'_>) -> Self {
        let is_list = id.kind == Kind::List;
        Self {
            raw: &id.element,
            int: if is_list { None } else { parse_integer(&id.element) },
            plain: if is_list { PlainId::parse(&id.element) } else { None },
        }
    }

    /// Whether it is the name of a cell of this version.
    #[inline(always)]
    pub(super) fn is(&self, name: &Name<'_>, version: impl FnOnce() -> Version) -> bool {
        match *name {
            // Names of one length that differ mostly do so in their last byte: no need to call a function for those.
            Name::Raw(bytes) | Name::RawId(bytes) => {
                bytes.len() == self.raw.len() && bytes.last() == self.raw.last() && bytes == self.raw
            }
            Name::Int(int) => self.int == Some(int),
            Name::Pushed { position, index } => self.plain.is_some_and(|plain| {
                plain.position == position && plain.index == index && plain.push == version()
            }),
        }
    }

    /// How the name of a list's element of this version compares to it.
    #[inline(always)]
    pub(super) fn order(&self, name: &Name<'_>, version: impl FnOnce() -> Version) -> Ordering {
        match (name, &self.plain) {
            (Name::Pushed { position, .. }, Some(plain)) if *position != plain.position => {
                position.cmp(&plain.position)
            }
            (Name::Raw(bytes) | Name::RawId(bytes), _) => (*bytes).cmp(self.raw),
            _ => (*name.text(version())).cmp(self.raw),
        }
    }
}

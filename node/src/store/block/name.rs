//! The names of elements, in as few bytes as the cell before and the block's base make possible.
//!
//! Their form stands in the lower bits of a cell's first byte, together with what is short.

use shared::change::{CellId, Kind};
use shared::version::Version;

use super::Bytes;
use super::bytes::{Reader, int_length, put_int, put_signed, put_varint};
use super::text::{INLINE_MAX, Text};
use crate::store::list_id::{MIDDLE, PlainId};
use crate::store::rich::parse_integer;

/// A cell's first byte has its name's form in so many bits.
pub(super) const FORM_BITS: u32 = 5;
pub(super) const FORM_MASK: u8 = (1 << FORM_BITS) - 1;

// Of a field or member.
const RAW_MAX: u8 = 11;
pub(super) const RAW_LONG: u8 = 12;
pub(super) const BASED: u8 = 13;
const BASED_MAX: u8 = 18;
pub(super) const BASED_LONG: u8 = 19;
/// A whole number of one byte; of two, three and four the next, of up to eight the one behind.
const INT: u8 = 20;
const INT_WIDE: u8 = 24;
/// A difference of one byte; of two and three the next.
const NEAR: u8 = 25;
const NEAR_BYTES_MAX: u64 = 3;
const NEXT: u8 = 28;
const NEXT_MAX: u64 = 3;

// Of a list's element.
/// At the next index, its value of one byte; longer ones up to [`SHORT_MAX`] the next.
const INDEX_SHORT: u8 = 0;
/// At the next position's first index, its value so short.
const POSITION_SHORT: u8 = 12;
const NEXT_INDEX: u8 = 24;
const NEXT_POSITION: u8 = 25;
const POSITION: u8 = 26;
const RAW_ID: u8 = 27;
/// Values up to so many bytes have their length in the form.
const SHORT_MAX: usize = 12;

/// What stands for the whole number before where there is none: zero is the next one.
pub(super) const NO_NUMBER: u64 = u64::MAX;

/// Fewer bytes are not left out of a name.
const BASE_MIN: usize = 3;

/// An element's name as it lies in a block.
#[derive(Clone, Copy, Debug)]
pub(super) enum Name<'b> {
    Raw(&'b [u8]),
    /// Begins as the block's base does.
    Based(&'b [u8], &'b [u8]),
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context {
    /// The whole number before; a list's position.
    pub(super) number: u64,
    index: u32,
}

impl Context {
    pub(super) const fn start(kind: Kind) -> Self {
        Self { number: if let Kind::List = kind { MIDDLE } else { NO_NUMBER }, index: u32::MAX }
    }

    /// Behind a list's element with this position and index.
    pub(super) const fn of_list(position: u64, index: u32) -> Self {
        Self { number: position, index }
    }

    /// The position and index of the list's element before.
    pub(super) const fn place(&self) -> (u64, u32) {
        (self.number, self.index)
    }
}

impl<'b> Name<'b> {
    /// The name of a cell that was written at this version, if it was, in a block with this base.
    pub(super) fn of(id: &'b CellId<'_>, written: Option<Version>, base: &'b [u8]) -> Self {
        if id.kind != Kind::List {
            if let Some(int) = parse_integer(&id.element) {
                return Self::Int(int);
            }
            let shared = if id.element.len() <= INLINE_MAX { shared(base, &id.element) } else { 0 };
            return match shared {
                ..BASE_MIN => Self::Raw(&id.element),
                _ => Self::Based(&base[..shared], &id.element[shared..]),
            };
        }
        match PlainId::parse(&id.element) {
            Some(PlainId { position, push, index }) if Some(push) == written => {
                Self::Pushed { position, index }
            }
            _ => Self::RawId(&id.element),
        }
    }

    /// The whole of it, for a cell of this version.
    #[inline]
    pub(super) fn text(&self, version: Version) -> Text<'b> {
        match *self {
            Self::Raw(bytes) | Self::RawId(bytes) => Text::Borrowed(bytes),
            Self::Based(start, end) => Text::inline(start, end),
            Self::Int(int) => Text::of_int(int),
            Self::Pushed { position, index } => {
                Text::inline(&PlainId { position, push: version, index }.bytes(), &[])
            }
        }
    }

    pub(super) const fn int(&self) -> Option<i64> {
        match *self {
            Self::Int(int) => Some(int),
            _ => None,
        }
    }

    /// What this name and another, which may be new, could leave out of both.
    pub(super) fn common_base<'n>(&self, other: &Name<'n>) -> &'n [u8] {
        match (self, other) {
            (Self::Raw(one), Name::Raw(other)) if one.len().max(other.len()) <= INLINE_MAX => {
                let shared = shared(one, other);
                if shared < BASE_MIN { &[] } else { &other[..shared] }
            }
            _ => &[],
        }
    }

    /// Reads what lies behind a field's or member's form.
    #[inline(always)]
    pub(super) fn read(head: u8, context: &mut Context, base: &'b [u8], reader: &mut Reader<'b>) -> Self {
        let form = head & FORM_MASK;
        if form > BASED_LONG {
            let int = Self::read_int(form, context.number, reader);
            context.number = int as u64;
            return Self::Int(int);
        }
        context.number = NO_NUMBER;
        match form {
            ..=RAW_MAX => Self::Raw(reader.take(usize::from(form))),
            BASED..=BASED_MAX => Self::Based(base, reader.take(usize::from(form - BASED))),
            RAW_LONG => {
                let length = reader.varint() as usize;
                Self::Raw(reader.take(length))
            }
            _ => {
                let (shared, length) = (reader.byte(), reader.byte());
                Self::Based(&base[..usize::from(shared)], reader.take(usize::from(length)))
            }
        }
    }

    #[inline(always)]
    pub(super) fn read_int(form: u8, before: u64, reader: &mut Reader<'b>) -> i64 {
        match form {
            INT_WIDE => reader.int(8),
            INT..INT_WIDE => reader.int(usize::from(form - INT) + 1),
            _ => {
                let difference = match form {
                    NEXT.. => u64::from(form - NEXT),
                    _ => {
                        let more = reader.take(usize::from(form - NEAR) + 1);
                        more.iter().rev().fold(0, |high, byte| high << 8 | u64::from(*byte))
                    }
                };
                before.wrapping_add(1).wrapping_add(difference) as i64
            }
        }
    }

    /// Reads what lies behind the form of a list's element. Returns the value's length, too, if that stands in the form.
    #[inline(always)]
    pub(super) fn read_pushed(
        head: u8,
        context: &mut Context,
        reader: &mut Reader<'b>,
    ) -> (Self, Option<usize>) {
        let form = head & FORM_MASK;
        let (is_next_index, short) = match form {
            INDEX_SHORT..POSITION_SHORT => (true, Some(usize::from(form - INDEX_SHORT) + 1)),
            POSITION_SHORT..NEXT_INDEX => (false, Some(usize::from(form - POSITION_SHORT) + 1)),
            NEXT_INDEX => (true, None),
            NEXT_POSITION => (false, None),
            POSITION => {
                context.number = context.number.wrapping_add(reader.signed() as u64);
                context.index = reader.varint() as u32;
                return (Self::Pushed { position: context.number, index: context.index }, None);
            }
            _ => {
                let length = reader.varint() as usize;
                *context = Context::start(Kind::List);
                return (Self::RawId(reader.take(length)), None);
            }
        };
        if is_next_index {
            context.index = context.index.wrapping_add(1);
        } else {
            (context.number, context.index) = (context.number.wrapping_add(1), 0);
        }
        (Self::Pushed { position: context.number, index: context.index }, short)
    }

    /// Its form, behind a cell that left this, in a block with a base of this length; `short` is the length of the value,
    /// if that may stand in the form, and `base` that of the block's base. Returns whether it does stand there.
    pub(super) fn form(&self, before: &Context, base: usize, short: Option<usize>) -> (u8, bool) {
        let form = match *self {
            Self::Raw(bytes) if bytes.len() <= usize::from(RAW_MAX) => bytes.len() as u8,
            Self::Raw(_) => RAW_LONG,
            Self::Based(start, end) if start.len() == base && end.len() <= usize::from(BASED_MAX - BASED) => {
                BASED + end.len() as u8
            }
            Self::Based(..) => BASED_LONG,
            Self::Int(int) => match difference(int, before) {
                near @ 0..=NEXT_MAX => NEXT + near as u8,
                near if unsigned_length(near) <= NEAR_BYTES_MAX => NEAR - 1 + unsigned_length(near) as u8,
                _ => (INT - 1 + int_length(int) as u8).min(INT_WIDE),
            },
            Self::Pushed { position, index } => {
                let short = short.filter(|short| (1..=SHORT_MAX).contains(short));
                let is_next_index = position == before.number && index == before.index.wrapping_add(1);
                let is_next_position = position == before.number.wrapping_add(1) && index == 0;
                return match short {
                    Some(short) if is_next_index => (INDEX_SHORT + short as u8 - 1, true),
                    Some(short) if is_next_position => (POSITION_SHORT + short as u8 - 1, true),
                    _ if is_next_index => (NEXT_INDEX, false),
                    _ if is_next_position => (NEXT_POSITION, false),
                    _ => (POSITION, false),
                };
            }
            Self::RawId(_) => RAW_ID,
        };
        (form, false)
    }

    /// Puts what its form leaves out. Returns what the next one may leave out.
    pub(super) fn put(&self, form: u8, before: &Context, out: &mut Bytes) -> Context {
        match *self {
            Self::Pushed { position, index } => {
                if form == POSITION {
                    put_signed(out, position.wrapping_sub(before.number) as i64);
                    put_varint(out, u64::from(index));
                }
                return Context { number: position, index };
            }
            Self::RawId(bytes) => {
                put_varint(out, bytes.len() as u64);
                out.extend_from_slice(bytes);
                return Context::start(Kind::List);
            }
            Self::Int(int) => {
                match form {
                    NEXT.. => {}
                    NEAR..NEXT => put_int(out, difference(int, before) as i64, usize::from(form - NEAR) + 1),
                    INT_WIDE => put_int(out, int, 8),
                    _ => put_int(out, int, usize::from(form - INT) + 1),
                }
                return Context { number: int as u64, ..*before };
            }
            Self::Raw(bytes) => {
                if form == RAW_LONG {
                    put_varint(out, bytes.len() as u64);
                }
                out.extend_from_slice(bytes);
            }
            Self::Based(start, end) => {
                if form == BASED_LONG {
                    out.extend_from_slice(&[start.len() as u8, end.len() as u8]);
                }
                out.extend_from_slice(end);
            }
        }
        Context { number: NO_NUMBER, ..*before }
    }
}

/// By how much a whole number is larger than the next one would be.
const fn difference(int: i64, before: &Context) -> u64 {
    (int as u64).wrapping_sub(before.number).wrapping_sub(1)
}

const fn unsigned_length(number: u64) -> u64 {
    (u64::BITS - number.leading_zeros()).div_ceil(8) as u64
}

/// How many bytes two names begin alike with.
pub(super) fn shared(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

//! What was written to a cell, as it lies in a block.

use shared::change::Value;

use super::Bytes;
use super::bytes::{Reader, int_length, put_int, put_varint};
use crate::store::rich::parse_integer;

/// Bytes of this length and more have it written out behind this.
const LONG: u8 = 0x80;
/// A whole number of so many bytes more.
const INT: u8 = 0x80;
/// A whole number that is small.
const INT_SMALL: u8 = 0xa0;
const SMALL_MAX: i64 = 0xff - 0xa0;

/// What was written to a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Written<'b> {
    /// Nothing: it has but sums.
    Nothing,
    Removed,
    Empty,
    Bytes(&'b [u8]),
    Int(i64),
    Float(f64),
    /// A score that is a whole number.
    WholeFloat(i64),
}

/// Scores up to this are kept as whole numbers.
const WHOLE_FLOAT_MAX: f64 = (1_i64 << 50) as f64;

impl<'b> Written<'b> {
    pub(super) fn of(value: Option<&'b Value<'_>>) -> Self {
        match value {
            None => Self::Removed,
            Some(Value::Bytes(bytes)) if bytes.is_empty() => Self::Empty,
            Some(Value::Bytes(bytes)) => parse_integer(bytes).map_or(Self::Bytes(bytes), Self::Int),
            Some(Value::Float(float)) => {
                let is_whole = float.abs() <= WHOLE_FLOAT_MAX && float.fract() == 0.0;
                // The two zeros differ in their bits, and are told apart by peers.
                if is_whole && !(*float == 0.0 && float.is_sign_negative()) {
                    Self::WholeFloat(*float as i64)
                } else {
                    Self::Float(*float)
                }
            }
        }
    }

    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Removed => 1,
            Self::Empty => 2,
            Self::Bytes(_) | Self::Int(_) => BYTES,
            Self::Float(_) => FLOAT,
            Self::WholeFloat(_) => WHOLE_FLOAT,
        }
    }

    #[inline(always)]
    pub(super) fn read(code: u8, reader: &mut Reader<'b>) -> Self {
        match code {
            0 => Self::Nothing,
            1 => Self::Removed,
            2 => Self::Empty,
            BYTES => match reader.byte() {
                LONG => {
                    let length = reader.varint() as usize;
                    Self::Bytes(reader.take(length))
                }
                length if length < LONG => Self::Bytes(reader.take(usize::from(length))),
                lead => Self::Int(int_behind(lead, reader)),
            },
            FLOAT => Self::Float(f64::from_bits(reader.int(8) as u64)),
            _ => {
                let lead = reader.byte();
                Self::WholeFloat(int_behind(lead, reader))
            }
        }
    }

    /// As [`Written::read`], only to know where it ends.
    #[inline(always)]
    pub(super) fn skip(code: u8, reader: &mut Reader<'b>) {
        let length = match code {
            0..=2 => return,
            FLOAT => size_of::<f64>(),
            _ => match reader.byte() {
                LONG => reader.varint() as usize,
                length if length < LONG => usize::from(length),
                lead if lead < INT_SMALL => usize::from(lead - INT),
                _ => return,
            },
        };
        reader.pass(length);
    }

    pub(super) fn put(self, out: &mut Bytes) {
        match self {
            Self::Nothing | Self::Removed | Self::Empty => {}
            Self::Bytes(bytes) => {
                if bytes.len() < usize::from(LONG) {
                    out.push(bytes.len() as u8);
                } else {
                    out.push(LONG);
                    put_varint(out, bytes.len() as u64);
                }
                out.extend_from_slice(bytes);
            }
            Self::Int(int @ 0..=SMALL_MAX) | Self::WholeFloat(int @ 0..=SMALL_MAX) => {
                out.push(INT_SMALL + int as u8);
            }
            Self::Int(int) | Self::WholeFloat(int) => {
                let length = int_length(int);
                out.push(INT + length as u8);
                put_int(out, int, length);
            }
            Self::Float(float) => out.extend_from_slice(&float.to_bits().to_le_bytes()),
        }
    }
}

/// The [code](Written::code) of bytes, and of those that are a whole number's.
pub(super) const BYTES: u8 = 3;
pub(super) const FLOAT: u8 = 4;
pub(super) const WHOLE_FLOAT: u8 = 5;

#[inline(always)]
fn int_behind(lead: u8, reader: &mut Reader<'_>) -> i64 {
    if lead >= INT_SMALL { i64::from(lead - INT_SMALL) } else { reader.int(usize::from(lead - INT)) }
}

/// Where bytes or a whole number end, if they are not very long.
#[inline(always)]
pub(super) fn end(cells: &[u8], at: usize) -> Option<usize> {
    match *cells.get(at)? {
        LONG => None,
        length if length < LONG => Some(at + 1 + usize::from(length)),
        lead if lead < INT_SMALL => Some(at + 1 + usize::from(lead - INT)),
        _ => Some(at + 1),
    }
}

/// Where a score ends, if it is below a limit.
#[inline(always)]
pub(super) fn end_below(code: u8, cells: &[u8], at: usize, limit: f64) -> Option<usize> {
    let mut reader = Reader::new(cells, at);
    let score = if code == FLOAT {
        f64::from_bits(reader.int(8) as u64)
    } else {
        let lead = reader.byte();
        int_behind(lead, &mut reader) as f64
    };
    (score < limit).then_some(reader.at())
}

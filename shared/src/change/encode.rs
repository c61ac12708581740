//! How a change is written. By hand, for every write of every client passes here: serde's way round took three times the
//! instructions.

use rmp::Marker;
use rmp::encode::{
    ValueWriteError, write_array_len, write_bin, write_f64, write_nil, write_sint, write_uint,
};

use super::{CellId, Change, Contribution, Op, Sum, Value, code};
use crate::decimal::shortest;
use crate::version::Version;

/// A change as it stands in a batch: with its distance in time from the one before it.
#[derive(Debug)]
pub(crate) struct Record<'c, 'a> {
    pub(crate) delta: u64,
    /// Whether the key is that of the change before, and left out.
    pub(crate) same_key: bool,
    pub(crate) change: &'c Change<'a>,
}

type Written = Result<(), ValueWriteError>;

impl Record<'_, '_> {
    /// Appends it to a batch's payload.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.change.encoded_bytes_max());
        self.write(out).expect("a vector takes every byte");
    }

    fn write(&self, out: &mut Vec<u8>) -> Written {
        let Change { db, key, op, replaced } = self.change;
        let (code, operands) = shape(op);
        write_array_len(out, 3 + operands + if replaced.is_some() { 2 } else { 0 })?;
        put_uint(out, self.delta)?;
        put_uint(out, u64::from(code << 4 | u16::from(*db)))?;
        if self.same_key {
            nil(out)?;
        } else {
            put_bytes(out, key)?;
        }
        write_operands(out, op)?;
        replaced.map_or(Ok(()), |replaced| write_version(out, replaced))
    }
}

/// The operation's code and how many operands follow the key.
const fn shape(op: &Op<'_>) -> (u16, u32) {
    match op {
        Op::Set(_) => (code::SET, 1),
        Op::Reset => (code::RESET, 0),
        Op::Cell(..) => (code::CELL, 3),
        Op::Count(..) => (code::COUNT, 5),
        Op::Expire(_) => (code::EXPIRE, 1),
        Op::ObservedReset(_) => (code::OBSERVED_RESET, 2),
        Op::Mark { .. } => (code::MARK, 3),
        Op::FlushDb => (code::FLUSH_DB, 0),
        Op::FlushAll => (code::FLUSH_ALL, 0),
        Op::ObservedFlush(_) => (code::OBSERVED_FLUSH, 2),
    }
}

fn write_operands(out: &mut Vec<u8>, op: &Op<'_>) -> Written {
    match op {
        Op::Set(value) => put_bytes(out, value),
        Op::Reset | Op::FlushDb | Op::FlushAll => Ok(()),
        Op::Cell(cell, value) => {
            write_cell(out, cell)?;
            let Some(value) = value else { return nil(out) };
            write_value(out, value)
        }
        Op::Count(cell, Contribution { first, sum, restates }) => {
            write_cell(out, cell)?;
            write_uint(out, first.0)?;
            write_sum(out, *sum)?;
            let Some(restates) = restates else { return nil(out) };
            write_array_len(out, 2)?;
            write_version(out, *restates)
        }
        Op::Expire(None) => nil(out),
        Op::Expire(Some(expiry)) => write_uint(out, expiry.0).map(drop),
        Op::ObservedReset(version) | Op::ObservedFlush(version) => write_version(out, *version),
        Op::Mark { reset, expiry } => {
            write_version(out, *reset)?;
            write_uint(out, expiry.0).map(drop)
        }
    }
}

fn write_cell(out: &mut Vec<u8>, cell: &CellId<'_>) -> Written {
    put_uint(out, cell.kind as u64)?;
    put_bytes(out, &cell.element)
}

/// As [`write_uint`]: most are small, and this is on the way of every write.
fn put_uint(out: &mut Vec<u8>, value: u64) -> Written {
    match u8::try_from(value) {
        Ok(small) if small < 1 << 7 => {
            out.push(small);
            Ok(())
        }
        _ => write_uint(out, value).map(drop),
    }
}

/// As [`write_bin`]: most are short.
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Written {
    let Ok(length) = u8::try_from(bytes.len()) else { return write_bin(out, bytes) };
    out.extend_from_slice(&[Marker::Bin8.to_u8(), length]);
    out.extend_from_slice(bytes);
    Ok(())
}

fn write_version(out: &mut Vec<u8>, version: Version) -> Written {
    write_uint(out, version.timestamp.0)?;
    write_uint(out, version.origin.0).map(drop)
}

pub(crate) fn write_value(out: &mut Vec<u8>, value: &Value<'_>) -> Written {
    match value {
        Value::Bytes(bytes) => put_bytes(out, bytes),
        Value::Float(score) => write_f64(out, *score),
    }
}

pub(crate) fn write_sum(out: &mut Vec<u8>, sum: Sum) -> Written {
    match sum {
        Sum::Float(sum) => write_f64(out, sum),
        Sum::Int(sum) => write_whole(out, sum),
        Sum::Decimal(units) => {
            let (places, digits) = shortest(units);
            write_array_len(out, 2)?;
            write_uint(out, places.into())?;
            write_whole(out, digits)
        }
    }
}

/// Up to 64 bits as a MessagePack integer, more as 16 bytes, big end first.
fn write_whole(out: &mut Vec<u8>, whole: i128) -> Written {
    match i64::try_from(whole) {
        Ok(whole) => write_sint(out, whole).map(drop),
        Err(_) => write_bin(out, &whole.to_be_bytes()),
    }
}

fn nil(out: &mut Vec<u8>) -> Written {
    write_nil(out).map_err(ValueWriteError::InvalidMarkerWrite)
}

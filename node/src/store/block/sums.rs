//! What origins have added to a cell, as bytes.
//!
//! ```text
//! sums = (origin's number, first timestamp 8, last's difference, difference of the last that counts,
//!         carrier's number, 0, whole number | 1, float 8 | 2, decimal number's units)...
//! ```

use shared::change::Sum;
use shared::clock::Timestamp;

use super::bytes::{Reader, put_signed, put_signed_128, put_varint};
use super::head::Head;
use super::{Block, Bytes};
use crate::store::rich::{Cell, Contributions, OwnContribution};

const INT: u8 = 0;
const FLOAT: u8 = 1;
const DECIMAL: u8 = 2;

pub(super) fn bytes_of(cell: &Cell<'_>, head: &mut Head<'_>) -> Bytes {
    let mut out = Bytes::new();
    for (origin, own) in &cell.contributions {
        put_varint(&mut out, u64::from(head.number(*origin)));
        out.extend_from_slice(&own.first.0.to_le_bytes());
        put_signed(&mut out, own.last.0.wrapping_sub(own.first.0) as i64);
        put_signed(&mut out, own.counted.0.wrapping_sub(own.last.0) as i64);
        put_varint(&mut out, u64::from(head.number(own.carrier)));
        match own.sum {
            Sum::Int(int) => {
                out.push(INT);
                put_signed_128(&mut out, int);
            }
            Sum::Float(float) => {
                out.push(FLOAT);
                out.extend_from_slice(&float.to_bits().to_le_bytes());
            }
            Sum::Decimal(units) => {
                out.push(DECIMAL);
                put_signed_128(&mut out, units);
            }
        }
    }
    out
}

pub(super) fn read(bytes: &[u8], block: &Block<'_>) -> Contributions {
    let mut reader = Reader::new(bytes, 0);
    let mut sums = Contributions::new();
    while !reader.is_at_end() {
        let origin = block.origin(reader.varint() as u16);
        let first = reader.int(8) as u64;
        let last = first.wrapping_add(reader.signed() as u64);
        let counted = last.wrapping_add(reader.signed() as u64);
        let carrier = block.origin(reader.varint() as u16);
        let sum = match reader.byte() {
            INT => Sum::Int(reader.signed_128()),
            DECIMAL => Sum::Decimal(reader.signed_128()),
            _ => Sum::Float(f64::from_bits(reader.int(8) as u64)),
        };
        let (first, last, counted) = (Timestamp(first), Timestamp(last), Timestamp(counted));
        sums.push((origin, OwnContribution { first, last, counted, sum, carrier }));
    }
    sums
}

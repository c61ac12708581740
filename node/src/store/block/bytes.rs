//! Numbers as few bytes.

use super::Bytes;

/// Reads what was written here before: of its own making, and so whole.
#[derive(Clone, Copy)]
pub(super) struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    pub(super) const fn new(bytes: &'b [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Where it stands.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    #[inline(always)]
    pub(super) const fn byte(&mut self) -> u8 {
        let byte = self.bytes[self.at];
        self.at += 1;
        byte
    }

    #[inline(always)]
    pub(super) fn take(&mut self, length: usize) -> &'b [u8] {
        let taken = &self.bytes[self.at..self.at + length];
        self.at += length;
        taken
    }

    #[inline(always)]
    pub(super) const fn pass(&mut self, length: usize) {
        self.at += length;
    }

    /// A whole number of so many bytes, one to eight of them.
    #[inline(always)]
    pub(super) fn int(&mut self, length: usize) -> i64 {
        let at = self.at;
        self.at += length;
        let unused = u64::BITS - 8 * length as u32;
        match self.bytes.get(at..).and_then(<[u8]>::first_chunk) {
            Some(chunk) => i64::from_le_bytes(*chunk) << unused >> unused,
            None => last_int(&self.bytes[at..self.at]) << unused >> unused,
        }
    }

    #[inline(always)]
    pub(super) fn varint(&mut self) -> u64 {
        let byte = self.byte();
        if byte < 0x80 { u64::from(byte) } else { self.long_varint(byte) }
    }

    fn long_varint(&mut self, first: u8) -> u64 {
        let (mut value, mut shift) = (u64::from(first & 0x7f), 7);
        loop {
            let byte = self.byte();
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return value;
            }
            shift += 7;
        }
    }

    fn varint_128(&mut self) -> u128 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.byte();
            value |= u128::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return value;
            }
            shift += 7;
        }
    }

    #[inline(always)]
    pub(super) fn signed(&mut self) -> i64 {
        let folded = self.varint();
        (folded >> 1) as i64 ^ -((folded & 1) as i64)
    }

    pub(super) fn signed_128(&mut self) -> i128 {
        let folded = self.varint_128();
        (folded >> 1) as i128 ^ -((folded & 1) as i128)
    }
}

/// The bytes of a number near the end, where eight are not left; without its sign.
#[cold]
fn last_int(taken: &[u8]) -> i64 {
    let mut bytes = [0; 8];
    bytes[..taken.len()].copy_from_slice(taken);
    i64::from_le_bytes(bytes)
}

/// How many bytes a whole number takes, its sign included.
pub(super) const fn int_length(int: i64) -> usize {
    let magnitude = if int < 0 { !int } else { int };
    (64 - magnitude.leading_zeros() as usize) / 8 + 1
}

/// A whole number in so many bytes, which are enough for it.
pub(super) fn put_int(out: &mut Bytes, int: i64, length: usize) {
    out.extend_from_slice(&int.to_le_bytes()[..length]);
}

/// How many bytes a number takes as a varint.
pub(super) const fn varint_length(value: u64) -> usize {
    ((u64::BITS - (value | 1).leading_zeros()) as usize).div_ceil(7)
}

pub(super) fn put_varint(out: &mut Bytes, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_varint_128(out: &mut Bytes, mut value: u128) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_signed(out: &mut Bytes, value: i64) {
    put_varint(out, (value << 1 ^ value >> 63) as u64);
}

pub(super) fn put_signed_128(out: &mut Bytes, value: i128) {
    put_varint_128(out, (value << 1 ^ value >> 127) as u128);
}

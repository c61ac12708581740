//! Numbers as few bytes.

use super::Bytes;

/// Reads what was written here before: of its own making, and so whole.
pub(super) struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    pub(super) const fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn left(&self) -> usize {
        self.0.len()
    }

    pub(super) const fn peek(&self) -> u8 {
        self.0[0]
    }

    #[inline(always)]
    pub(super) fn byte(&mut self) -> u8 {
        let byte = self.0[0];
        self.0 = &self.0[1..];
        byte
    }

    #[inline(always)]
    pub(super) fn take(&mut self, length: usize) -> &'b [u8] {
        let (taken, left) = self.0.split_at(length);
        self.0 = left;
        taken
    }

    /// A whole number of so many bytes, at most eight.
    pub(super) fn int(&mut self, length: usize) -> i64 {
        let taken = self.take(length);
        let mut bytes = [if taken.last().is_some_and(|last| last >> 7 == 1) { 0xff } else { 0 }; 8];
        bytes[..length].copy_from_slice(taken);
        i64::from_le_bytes(bytes)
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

    pub(super) fn varint_128(&mut self) -> u128 {
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

/// How many bytes a whole number takes, its sign included.
pub(super) const fn int_length(int: i64) -> usize {
    let magnitude = if int < 0 { !int } else { int };
    (64 - magnitude.leading_zeros() as usize) / 8 + 1
}

/// Bytes of this length and more have it written out behind this.
pub(super) const LONG: u8 = 0x80;

/// Bytes, their length before them: in one byte if that is below [`LONG`].
pub(super) fn put_bytes(out: &mut Bytes, bytes: &[u8]) {
    if bytes.len() < usize::from(LONG) {
        out.push(bytes.len() as u8);
    } else {
        out.push(LONG);
        put_varint(out, bytes.len() as u64);
    }
    out.extend_from_slice(bytes);
}

pub(super) fn put_varint(out: &mut Bytes, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_varint_128(out: &mut Bytes, mut value: u128) {
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

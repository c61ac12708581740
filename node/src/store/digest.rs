//! Digests: what two nodes compare to tell whether a slot's data are the same.
//!
//! A slot's digest is the XOR of its keys' digests, so a write subtracts its key's old one and adds the new. A key's
//! digest is a mix of the database, the key's hash and the XOR of its parts'. It must be a function of the merged
//! changes alone: not of their order, of an entry's form, or of what was dropped here already. So it holds
//!
//! - the version of each live cell's write,
//! - whose each live contribution to a counter is, and from when to when (what they come to is not enough: an increment
//!   by one here and another by one there come to the same, and neither node would be sent the other's),
//! - the version of a TTL register that sets an expiry, even of a dead key: it goes by a reset only, and would apply to
//!   what is written next,
//!
//! but no tombstone, reset or mark, nothing that a mark hides, and no TTL register that sets none: these are dropped by
//! each node in its own time.
//!
//! The mixing is one multiplication to 128 bits whose halves are folded, as in wyhash: a few nanoseconds for a string.
//! It tells accidents apart; who forges versions can forge digests.

use shared::change::{CellId, Kind, Sum, Value};
use shared::id::Origin;
use shared::version::Version;
use xxhash_rust::xxh3::xxh3_64;

use super::rich::{Cell, Mark, OwnContribution, Tally};

/// A key's digest, from the XOR of its parts'. A key that has none has no digest: zero.
pub(crate) const fn key(db: u8, hash: u64, parts: u64) -> u64 {
    fold(parts ^ SALTS[0] ^ (db as u64) << 56, hash ^ SALTS[1])
}

/// The part of a live write.
pub(crate) fn cell(kind: Kind, element: &[u8], version: Version) -> u64 {
    fold(version.timestamp.0 ^ SALTS[2], version.origin.0 ^ element_hash(kind, element))
}

/// The part of a live contribution to a counter.
pub(crate) fn contribution(kind: Kind, element: &[u8], contributor: Origin, own: &OwnContribution) -> u64 {
    let began = fold(own.first.0 ^ SALTS[3], contributor.0 ^ element_hash(kind, element));
    let wide = |sum: i128| sum as u64 ^ ((sum >> 64) as u64).rotate_left(32);
    let sum = match own.sum {
        Sum::Int(int) => wide(int),
        Sum::Float(float) => float.to_bits(),
        Sum::Decimal(units) => wide(units) ^ SALTS[6],
    };
    fold(began ^ own.last.0, sum ^ SALTS[5])
}

/// The part of a TTL register that sets an expiry.
pub(crate) const fn ttl(version: Version) -> u64 {
    fold(version.timestamp.0 ^ SALTS[4], version.origin.0 ^ SALTS[5])
}

/// A part together with its value, for the deep digest.
/// The part of a cell, its written value included.
pub(crate) fn deep_part(id: &CellId<'_>, cell: &Cell<'_>, mark: Option<Mark>) -> u64 {
    let part = Tally::of(id, cell, mark).digest;
    cell.live(mark).0.map_or(part, |value| with_value(part, value))
}

fn with_value(part: u64, value: &Value<'_>) -> u64 {
    match value {
        Value::Bytes(bytes) => with_bytes(part, bytes),
        Value::Float(float) => fold(part ^ SALTS[3], float.to_bits() ^ SALTS[2]),
    }
}

/// A part together with its value's bytes.
pub(crate) fn with_bytes(part: u64, bytes: &[u8]) -> u64 {
    fold(part ^ SALTS[0], xxh3_64(bytes) ^ SALTS[5])
}

/// A TTL's part together with its expiry.
pub(crate) const fn with_expiry(part: u64, expiry_ms: u64) -> u64 {
    fold(part ^ SALTS[1], expiry_ms ^ SALTS[4])
}

/// Which cell of its key, told apart by kind.
fn element_hash(kind: Kind, element: &[u8]) -> u64 {
    let hash = if element.is_empty() { 0 } else { xxh3_64(element) };
    hash ^ SALTS[6].rotate_left(kind as u32 * 8)
}

const fn fold(left: u64, right: u64) -> u64 {
    let product = left as u128 * right as u128;
    product as u64 ^ (product >> 64) as u64
}

/// Digits of pi behind the point: nothing up the sleeve.
const SALTS: [u64; 7] = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7344,
    0xa409_3822_299f_31d0,
    0x082e_fa98_ec4e_6c89,
    0x4528_21e6_38d0_1377,
    0xbe54_66cf_34e9_0c6c,
    0xc0ac_29b7_c97c_50dd,
];

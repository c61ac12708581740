//! Strings as bits.

use crate::family::Family;

pub(crate) const BITS: Family = Family {
    name: "bits",
    prefixes: &["b"],
    forms: &[
        (4, "SET key value"),
        (1, "DEL key"),
        (8, "SETBIT key bit (0|1)"),
        (1, "SETBIT key bit int"),
        (4, "GETBIT key bit"),
        (5, "BITCOUNT key"),
        (6, "BITCOUNT key index index [BYTE|BIT|word]"),
        (1, "BITCOUNT key int"),
        (4, "BITPOS key (0|1)"),
        (6, "BITPOS key (0|1) index [index [BYTE|BIT|word]]"),
        (1, "BITPOS key int"),
        (6, "BITOP (AND|OR|XOR) key (key)+"),
        (3, "BITOP NOT key key"),
        (1, "BITOP (NOT|word) key (key)+"),
        (
            8,
            "BITFIELD key {GET width place|SET width place bits|INCRBY width place int|OVERFLOW (WRAP|SAT|word)}",
        ),
        (4, "BITFIELD key OVERFLOW (WRAP|SAT) (INCRBY width place int|SET width place bits)+"),
        // Where all that is to be written fails, Redis makes room for it nevertheless, and does not tell who watches the key.
        // The node tells them: the key has changed.
        (3, "UNWATCH; BITFIELD key {OVERFLOW (FAIL|FAIL|SAT)|INCRBY width place int|SET width place bits}"),
        (2, "UNWATCH; BITFIELD key OVERFLOW FAIL (INCRBY width place int|SET width place bits)+"),
        (1, "BITFIELD key (GET width|SET width place|INCRBY width|OVERFLOW)"),
        (4, "BITFIELD_RO key (GET width place)+"),
        (1, "BITFIELD_RO key {GET width place|SET width place bits}"),
        (3, "GET key"),
    ],
};

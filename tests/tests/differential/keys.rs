//! Keys of any kind: whether they are there, for how long, and under which name.

use crate::family::Family;

pub(crate) const KEYS: Family = Family {
    name: "keys",
    prefixes: &["s", "b", "h", "e", "z", "l"],
    forms: &[
        (5, "DEL (key)+"),
        (2, "UNLINK (key)+"),
        (4, "EXISTS (key)+"),
        (3, "TOUCH (key)+"),
        (6, "TYPE key"),
        (4, "RENAME key key"),
        (3, "RENAMENX key key"),
        (6, "COPY key key {REPLACE|DB db}"),
        (3, "MOVE key db"),
        (4, "EXPIRE key seconds {NX|XX|GT|LT}"),
        (3, "PEXPIRE key millis {NX|XX|GT|LT}"),
        (3, "EXPIREAT key (at|past) {NX|XX|GT|LT}"),
        (3, "PEXPIREAT key (atmillis|past) {NX|XX|GT|LT}"),
        (4, "TTL key"),
        (4, "PTTL key"),
        (2, "EXPIRETIME key"),
        (2, "PEXPIRETIME key"),
        (3, "PERSIST key"),
        // Its key expires by the clock, as those of none of the others do.
        (1, "PEXPIRE key 1; ~EXISTS same"),
        (1, "PSETEX key 1 value; ~EXISTS same; TYPE same"),
        (1, "WATCH key; PEXPIRE same 1; ~EXISTS same; MULTI; TYPE same; EXEC"),
        (2, "OBJECT ENCODING key"),
        (1, "OBJECT REFCOUNT key"),
        (1, "OBJECT IDLETIME key"),
        (1, "OBJECT FREQ key"),
        (1, "OBJECT (HELP|word) [key]"),
        (2, "DBSIZE"),
        (1, "SWAPDB db db"),
        (1, "FLUSHDB [ASYNC|SYNC|word]"),
        (1, "FLUSHALL [ASYNC|SYNC|word]"),
    ],
};

//! Strings.

use crate::family::Family;

pub(crate) const STRINGS: Family = Family {
    name: "strings",
    prefixes: &["s"],
    forms: &[
        (6, "SET key value"),
        (4, "SET key number"),
        (8, "SET key value {NX|XX|GET|KEEPTTL|EX seconds|PX millis|EXAT at|PXAT atmillis}"),
        (1, "SET key value (EX|PX|EXAT|PXAT|word)"),
        // Redis writes what is over, and removes it when somebody looks: to who watches the key it has changed. The node
        // writes nothing.
        (1, "UNWATCH; SET key value (EXAT|PXAT) past; GET same"),
        (2, "SETNX key value"),
        (2, "SETEX key seconds value"),
        (2, "PSETEX key millis value"),
        (6, "GET key"),
        (3, "GETSET key value"),
        (2, "GETDEL key"),
        (4, "GETEX key {PERSIST|EX seconds|PX millis|EXAT (at|past)|PXAT (atmillis|past)|word}"),
        (3, "MGET (key)+"),
        (3, "MSET (key value)+"),
        (2, "MSETNX (key value)+"),
        (1, "MSET (key value)+ key"),
        (1, "MSETNX (key value)+ key"),
        (5, "APPEND key value"),
        (3, "STRLEN key"),
        (4, "GETRANGE key index index"),
        (2, "SUBSTR key index index"),
        (4, "SETRANGE key offset value"),
        (4, "INCR key"),
        (3, "DECR key"),
        (4, "INCRBY key int"),
        (4, "DECRBY key int"),
        (5, "INCRBYFLOAT key float"),
        (2, "SET key number; INCRBY same int; INCRBYFLOAT same float; GET same"),
        (3, "LCS key key {LEN|IDX|MINMATCHLEN int|WITHMATCHLEN}"),
        (2, "SET key value; =OBJECT ENCODING same; OBJECT REFCOUNT same"),
    ],
};

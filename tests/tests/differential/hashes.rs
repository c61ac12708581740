//! Hashes.

use crate::family::Family;

pub(crate) const HASHES: Family = Family {
    name: "hashes",
    prefixes: &["h"],
    forms: &[
        (12, "HSET key (member value)+"),
        (1, "HSET key (member value)+ member"),
        (2, "HMSET key (member value)+"),
        (1, "HMSET key (member value)+ member"),
        (3, "HSETNX key member value"),
        (5, "HGET key member"),
        (3, "HMGET key (member)+"),
        (5, "HGETALL key"),
        (2, "HKEYS key"),
        (2, "HVALS key"),
        (3, "HLEN key"),
        (2, "HEXISTS key member"),
        (2, "HSTRLEN key member"),
        (6, "HDEL key (member)+"),
        (3, "HSET key member number; HINCRBY same member int"),
        (5, "HINCRBY key member int"),
        (5, "HINCRBYFLOAT key member float"),
        (
            2,
            "HSET key 1 float; HINCRBYFLOAT same 1 float; HINCRBYFLOAT same 1 float; HINCRBY same 1 int; HGET same 1",
        ),
        (3, "HRANDFIELD key"),
        (3, "HRANDFIELD key count [WITHVALUES|word]"),
        (4, "HSCAN key 0 {MATCH pattern|COUNT count|NOVALUES|TYPE word}"),
        (1, "HSCAN key (word|int)"),
        // Redis remembers a long value that the same command has replaced.
        (2, "DEL key; HSET same 1 value 2 value 3 value; =OBJECT ENCODING same"),
        (1, "DEL key; HSET same member word; HGET same member; =OBJECT ENCODING same; OBJECT REFCOUNT same"),
    ],
};

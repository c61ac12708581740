//! Sets.

use crate::family::Family;

pub(crate) const SETS: Family = Family {
    name: "sets",
    prefixes: &["e"],
    forms: &[
        (14, "SADD key (member)+"),
        (5, "SREM key (member)+"),
        (4, "SISMEMBER key member"),
        (3, "SMISMEMBER key (member)+"),
        (4, "SCARD key"),
        (5, "SMEMBERS key"),
        (4, "SMOVE key key member"),
        (4, "SINTER (key)+"),
        (4, "SUNION (key)+"),
        (4, "SDIFF (key)+"),
        (3, "SINTERSTORE key (key)+"),
        (3, "SUNIONSTORE key (key)+"),
        (3, "SDIFFSTORE key (key)+"),
        (4, "SINTERCARD keys {LIMIT count}"),
        (3, "SRANDMEMBER key [count]"),
        // Which ones go is free, so none may stay.
        (3, "SPOP key [count]; SCARD same; DEL same"),
        (1, "SPOP key 100; SCARD same"),
        (1, "SPOP key (word|-1|0); SCARD same"),
        (4, "SSCAN key 0 {MATCH pattern|COUNT count|TYPE word}"),
        (1, "SSCAN key (word|int)"),
        (2, "DEL key; SADD same (member)+; =OBJECT ENCODING same"),
        (2, "DEL key; SADD same (int)+; =OBJECT ENCODING same"),
        (1, "SORT key {LIMIT index index|ASC|DESC|ALPHA|STORE key}"),
    ],
};

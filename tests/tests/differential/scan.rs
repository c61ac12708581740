//! Walks over all keys.

use crate::family::Family;

pub(crate) const SCAN: Family = Family {
    name: "scan",
    prefixes: &["s", "b", "h", "e", "z", "l"],
    forms: &[
        // Whole walks; their options go along from page to page.
        (10, "SCAN 0 {MATCH pattern|COUNT count|TYPE (STRING|LIST|SET|ZSET|HASH|NONE|word)}"),
        (4, "SCAN 0 COUNT 1000"),
        (1, "SCAN (word|int) {MATCH pattern|COUNT count}"),
        (1, "SCAN 0 {MATCH|COUNT|TYPE}"),
        (6, "KEYS pattern"),
        (3, "RANDOMKEY"),
        (5, "MSET (key value)+"),
        (1, "DEL (key)+"),
        (1, "SELECT db"),
        // Names that patterns tell apart.
        (3, "SET member value"),
        (3, "SET pattern value"),
    ],
};

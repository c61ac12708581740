//! Transactions, and what else is about the connection. What stands between MULTI and EXEC is drawn from all families.

use crate::family::Family;

pub(crate) const TRANSACTIONS: Family = Family {
    name: "transactions",
    prefixes: &["s", "b", "h", "e", "z", "l"],
    forms: &[
        (14, "MULTI"),
        (12, "EXEC"),
        (2, "DISCARD"),
        (4, "WATCH (key)+"),
        (2, "UNWATCH"),
        (2, "MULTI; WATCH key; EXEC"),
        (2, "WATCH key; SET same value; MULTI; GET same; EXEC"),
        (2, "WATCH key; MULTI; TYPE same; EXEC; MULTI; DEL same; EXEC"),
        // They tell who watches the key that it has changed, even if nothing has.
        (3, "WATCH key; APPEND same value; MULTI; GET same; EXEC"),
        (3, "WATCH key; LTRIM same int int; MULTI; TYPE same; EXEC"),
        (2, "MULTI; SELECT db; TYPE key; EXEC"),
        (3, "PING [value]"),
        (1, "PING value value"),
        (3, "ECHO value"),
        (4, "SELECT db"),
        (2, "HELLO (2|3)"),
        (1, "HELLO [int]"),
        (1, "HELLO (2|3) {AUTH word value|SETNAME value|word}"),
        (1, "AUTH value [value]"),
        (1, "CLIENT GETNAME"),
        (1, "CLIENT SETNAME value"),
        (1, "CLIENT ID"),
        (1, "RESET"),
        (1, "TIME"),
        // With a number of others it would wait for those.
        (1, "WAIT 0 (0|1|-1|word)"),
        (1, "COMMAND GETKEYS SET key value"),
        (1, "COMMAND GETKEYS (MSET key value|BITOP AND key key|GET|word|OBJECT ENCODING key)"),
    ],
};

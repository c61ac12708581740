//! Hashes. Each field is a cell of its own: of two nodes that write different fields at once both are kept, of two that
//! write one field the later, and HINCRBY adds up. HINCRBYFLOAT writes the sum, as INCRBYFLOAT does.

mod fields;
mod number;
mod random;
mod read;

use self::fields::{hdel, hmset, hset, hsetnx};
use self::number::{hincrby, hincrbyfloat};
use self::random::hrandfield;
use self::read::{hexists, hget, hgetall, hkeys, hlen, hmget, hscan, hstrlen, hvals};
use super::Access::{Read, Write};
use super::{Command, Keys, row};

const FAST: &[&str] = &["fast"];
const GROWS_FAST: &[&str] = &["denyoom", "fast"];

pub(super) const COMMANDS: &[Command] = &[
    row("hset", -4, Write, GROWS_FAST, Keys::ONE, hset),
    row("hsetnx", 4, Write, GROWS_FAST, Keys::ONE, hsetnx),
    row("hmset", -4, Write, GROWS_FAST, Keys::ONE, hmset),
    row("hdel", -3, Write, FAST, Keys::ONE, hdel),
    row("hincrby", 4, Write, GROWS_FAST, Keys::ONE, hincrby),
    row("hincrbyfloat", 4, Write, GROWS_FAST, Keys::ONE, hincrbyfloat),
    row("hget", 3, Read, FAST, Keys::ONE, hget),
    row("hmget", -3, Read, FAST, Keys::ONE, hmget),
    row("hlen", 2, Read, FAST, Keys::ONE, hlen),
    row("hstrlen", 3, Read, FAST, Keys::ONE, hstrlen),
    row("hexists", 3, Read, FAST, Keys::ONE, hexists),
    row("hkeys", 2, Read, &[], Keys::ONE, hkeys),
    row("hvals", 2, Read, &[], Keys::ONE, hvals),
    row("hgetall", 2, Read, &[], Keys::ONE, hgetall),
    row("hrandfield", -2, Read, &[], Keys::ONE, hrandfield),
    row("hscan", -3, Read, &[], Keys::ONE, hscan),
];

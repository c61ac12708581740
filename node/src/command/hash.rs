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
use super::Access::{self, Read, Write};
use super::{Command, Handler, Keys};

const FAST: &[&str] = &["fast"];
const GROWS_FAST: &[&str] = &["denyoom", "fast"];

pub(super) const COMMANDS: &[Command] = &[
    row("hset", -4, Write, GROWS_FAST, hset),
    row("hsetnx", 4, Write, GROWS_FAST, hsetnx),
    row("hmset", -4, Write, GROWS_FAST, hmset),
    row("hdel", -3, Write, FAST, hdel),
    row("hincrby", 4, Write, GROWS_FAST, hincrby),
    row("hincrbyfloat", 4, Write, GROWS_FAST, hincrbyfloat),
    row("hget", 3, Read, FAST, hget),
    row("hmget", -3, Read, FAST, hmget),
    row("hlen", 2, Read, FAST, hlen),
    row("hstrlen", 3, Read, FAST, hstrlen),
    row("hexists", 3, Read, FAST, hexists),
    row("hkeys", 2, Read, &[], hkeys),
    row("hvals", 2, Read, &[], hvals),
    row("hgetall", 2, Read, &[], hgetall),
    row("hrandfield", -2, Read, &[], hrandfield),
    row("hscan", -3, Read, &[], hscan),
];

const fn row(
    name: &'static str,
    arity: i32,
    access: Access,
    flags: &'static [&'static str],
    handler: Handler,
) -> Command {
    Command { name, arity, access, flags, keys: Keys::ONE, handler }
}

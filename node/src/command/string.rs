//! Strings, but for the commands that work on their bits.
//!
//! How a command writes decides how it merges with what other nodes write at the same time: SET and its like
//! write the key whole, APPEND and SETRANGE write the string's cell in place, and INCRBYFLOAT and the INCR family add to a
//! counter.

mod counter;
mod get;
mod lcs;
pub(crate) mod long_double;
mod many;
mod options;
pub(super) mod range;
mod set;

use self::counter::{decr, decrby, incr, incrby, incrbyfloat};
use self::get::{get, getdel, getex};
use self::lcs::lcs;
use self::many::{mget, mset, msetnx};
use self::range::{append, getrange, setrange, strlen};
use self::set::{getset, psetex, set, setex, setnx};
use super::Access::{Read, Write};
use super::{Command, Keys};

/// Redis's flags of commands that are quick whatever they find.
const FAST: &[&str] = &["fast"];
/// Redis's flags of commands that may need more memory.
const GROWS: &[&str] = &["denyoom"];
const GROWS_FAST: &[&str] = &["denyoom", "fast"];

const TWO_KEYS: Keys = Keys::Range { first: 1, last: 2, step: 1 };
const PAIRS: Keys = Keys::Range { first: 1, last: -1, step: 2 };

pub(super) const COMMANDS: &[Command] = &[
    Command { name: "get", arity: 2, access: Read, flags: FAST, keys: Keys::ONE, handler: get },
    Command { name: "getdel", arity: 2, access: Write, flags: FAST, keys: Keys::ONE, handler: getdel },
    Command { name: "getex", arity: -2, access: Write, flags: FAST, keys: Keys::ONE, handler: getex },
    Command { name: "set", arity: -3, access: Write, flags: GROWS, keys: Keys::ONE, handler: set },
    Command { name: "setnx", arity: 3, access: Write, flags: GROWS_FAST, keys: Keys::ONE, handler: setnx },
    Command { name: "setex", arity: 4, access: Write, flags: GROWS, keys: Keys::ONE, handler: setex },
    Command { name: "psetex", arity: 4, access: Write, flags: GROWS, keys: Keys::ONE, handler: psetex },
    Command { name: "getset", arity: 3, access: Write, flags: GROWS_FAST, keys: Keys::ONE, handler: getset },
    Command { name: "mget", arity: -2, access: Read, flags: FAST, keys: Keys::EVERY, handler: mget },
    Command { name: "mset", arity: -3, access: Write, flags: GROWS, keys: PAIRS, handler: mset },
    Command { name: "msetnx", arity: -3, access: Write, flags: GROWS, keys: PAIRS, handler: msetnx },
    Command { name: "append", arity: 3, access: Write, flags: GROWS_FAST, keys: Keys::ONE, handler: append },
    Command { name: "strlen", arity: 2, access: Read, flags: FAST, keys: Keys::ONE, handler: strlen },
    Command { name: "getrange", arity: 4, access: Read, flags: &[], keys: Keys::ONE, handler: getrange },
    Command { name: "substr", arity: 4, access: Read, flags: &[], keys: Keys::ONE, handler: getrange },
    Command { name: "setrange", arity: 4, access: Write, flags: GROWS, keys: Keys::ONE, handler: setrange },
    Command { name: "lcs", arity: -3, access: Read, flags: &[], keys: TWO_KEYS, handler: lcs },
    Command { name: "incr", arity: 2, access: Write, flags: GROWS_FAST, keys: Keys::ONE, handler: incr },
    Command { name: "decr", arity: 2, access: Write, flags: GROWS_FAST, keys: Keys::ONE, handler: decr },
    Command { name: "incrby", arity: 3, access: Write, flags: GROWS_FAST, keys: Keys::ONE, handler: incrby },
    Command { name: "decrby", arity: 3, access: Write, flags: GROWS_FAST, keys: Keys::ONE, handler: decrby },
    Command {
        name: "incrbyfloat",
        arity: 3,
        access: Write,
        flags: GROWS_FAST,
        keys: Keys::ONE,
        handler: incrbyfloat,
    },
];

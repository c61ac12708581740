//! Strings, but for the commands that work on their bits.
//!
//! How a command writes decides how it merges with what other nodes write at the same time: SET and its like write
//! the key whole, APPEND, SETRANGE and INCRBYFLOAT write the string's cell in place, and the INCR family adds to a
//! counter.

mod counter;
mod get;
mod lcs;
pub(crate) mod long_double;
mod many;
mod options;
pub(super) mod range;
mod set;

use super::Access::{Read, Write};
use super::{Command, Keys};

/// Redis's flags of commands that are quick whatever they find.
const FAST: &[&str] = &["fast"];
/// Redis's flags of commands that may need more memory.
const GROWS: &[&str] = &["denyoom"];
const GROWS_FAST: &[&str] = &["denyoom", "fast"];

const TWO_KEYS: Keys = Keys::Range { first: 1, last: 2, step: 1 };
const KEYS_AND_VALUES: Keys = Keys::Range { first: 1, last: -1, step: 2 };

#[rustfmt::skip]
pub(super) const COMMANDS: &[Command] = &[
    Command { name: "get", arity: 2, access: Read, flags: FAST, keys: Keys::ONE, handler: get::get },
    Command { name: "getdel", arity: 2, access: Write, flags: FAST, keys: Keys::ONE, handler: get::getdel },
    Command { name: "getex", arity: -2, access: Write, flags: FAST, keys: Keys::ONE, handler: get::getex },
    Command { name: "set", arity: -3, access: Write, flags: GROWS, keys: Keys::ONE, handler: set::set },
    Command { name: "setnx", arity: 3, access: Write, flags: GROWS_FAST, keys: Keys::ONE, handler: set::setnx },
    Command { name: "setex", arity: 4, access: Write, flags: GROWS, keys: Keys::ONE, handler: set::setex },
    Command { name: "psetex", arity: 4, access: Write, flags: GROWS, keys: Keys::ONE, handler: set::psetex },
    Command { name: "getset", arity: 3, access: Write, flags: GROWS_FAST, keys: Keys::ONE, handler: set::getset },
    Command { name: "mget", arity: -2, access: Read, flags: FAST, keys: Keys::EVERY, handler: many::mget },
    Command { name: "mset", arity: -3, access: Write, flags: GROWS, keys: KEYS_AND_VALUES, handler: many::mset },
    Command { name: "msetnx", arity: -3, access: Write, flags: GROWS, keys: KEYS_AND_VALUES, handler: many::msetnx },
    Command { name: "append", arity: 3, access: Write, flags: GROWS_FAST, keys: Keys::ONE, handler: range::append },
    Command { name: "strlen", arity: 2, access: Read, flags: FAST, keys: Keys::ONE, handler: range::strlen },
    Command { name: "getrange", arity: 4, access: Read, flags: &[], keys: Keys::ONE, handler: range::getrange },
    Command { name: "substr", arity: 4, access: Read, flags: &[], keys: Keys::ONE, handler: range::getrange },
    Command { name: "setrange", arity: 4, access: Write, flags: GROWS, keys: Keys::ONE, handler: range::setrange },
    Command { name: "lcs", arity: -3, access: Read, flags: &[], keys: TWO_KEYS, handler: lcs::lcs },
    Command { name: "incr", arity: 2, access: Write, flags: GROWS_FAST, keys: Keys::ONE, handler: counter::incr },
    Command { name: "decr", arity: 2, access: Write, flags: GROWS_FAST, keys: Keys::ONE, handler: counter::decr },
    Command { name: "incrby", arity: 3, access: Write, flags: GROWS_FAST, keys: Keys::ONE, handler: counter::incrby },
    Command { name: "decrby", arity: 3, access: Write, flags: GROWS_FAST, keys: Keys::ONE, handler: counter::decrby },
    Command { name: "incrbyfloat", arity: 3, access: Write, flags: GROWS_FAST, keys: Keys::ONE, handler: counter::incrbyfloat },
];

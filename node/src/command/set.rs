//! Sets. Each member is a cell of its own: of two nodes that add to one set both are kept, and of an adding and a removing
//! of one member at the same time the later.

mod algebra;
mod members;
mod random;
mod read;

use self::algebra::{sdiff, sdiffstore, sinter, sintercard, sinterstore, sunion, sunionstore};
use self::members::{sadd, smove, srem};
use self::random::{spop, srandmember};
use self::read::{scard, sismember, smembers, smismember, sscan};
use super::Access::{Read, Write};
use super::{Command, Keys, row};

const FAST: &[&str] = &["fast"];
const GROWS: &[&str] = &["denyoom"];
const GROWS_FAST: &[&str] = &["denyoom", "fast"];

const TWO_KEYS: Keys = Keys::Range { first: 1, last: 2, step: 1 };

pub(super) const COMMANDS: &[Command] = &[
    row("sadd", -3, Write, GROWS_FAST, Keys::ONE, sadd),
    row("srem", -3, Write, FAST, Keys::ONE, srem),
    row("smove", 4, Write, FAST, TWO_KEYS, smove),
    row("spop", -2, Write, FAST, Keys::ONE, spop),
    row("srandmember", -2, Read, &[], Keys::ONE, srandmember),
    row("sismember", 3, Read, FAST, Keys::ONE, sismember),
    row("smismember", -3, Read, FAST, Keys::ONE, smismember),
    row("scard", 2, Read, FAST, Keys::ONE, scard),
    row("smembers", 2, Read, &[], Keys::ONE, smembers),
    row("sscan", -3, Read, &[], Keys::ONE, sscan),
    row("sinter", -2, Read, &[], Keys::EVERY, sinter),
    row("sintercard", -3, Read, &[], Keys::Counted { count: 1, target: false }, sintercard),
    row("sunion", -2, Read, &[], Keys::EVERY, sunion),
    row("sdiff", -2, Read, &[], Keys::EVERY, sdiff),
    row("sinterstore", -3, Write, GROWS, Keys::EVERY, sinterstore),
    row("sunionstore", -3, Write, GROWS, Keys::EVERY, sunionstore),
    row("sdiffstore", -3, Write, GROWS, Keys::EVERY, sdiffstore),
];

//! Lists. Each element is a cell of its own, whose id says where it stands: of two nodes that push at once both are kept, in
//! the same order everywhere, and what one push brings stays together. Of a removing and a setting of one element the later
//! stands. Two nodes that pop at once may be given the same element: see the README.

mod edit;
pub(super) mod pop;
mod push;
mod read;

use self::edit::{linsert, lrem, lset, ltrim};
use self::pop::{lmove, lmpop, lpop, rpop, rpoplpush};
use self::push::{lpush, lpushx, rpush, rpushx};
use self::read::{lindex, llen, lpos, lrange};
use super::Access::{self, Read, Write};
use super::{Command, Handler, Keys};

const FAST: &[&str] = &["fast"];
const GROWS: &[&str] = &["denyoom"];
const GROWS_FAST: &[&str] = &["denyoom", "fast"];

const TWO_KEYS: Keys = Keys::Range { first: 1, last: 2, step: 1 };

pub(super) const COMMANDS: &[Command] = &[
    row("lpush", -3, Write, GROWS_FAST, Keys::ONE, lpush),
    row("rpush", -3, Write, GROWS_FAST, Keys::ONE, rpush),
    row("lpushx", -3, Write, GROWS_FAST, Keys::ONE, lpushx),
    row("rpushx", -3, Write, GROWS_FAST, Keys::ONE, rpushx),
    row("lpop", -2, Write, FAST, Keys::ONE, lpop),
    row("rpop", -2, Write, FAST, Keys::ONE, rpop),
    row("lmove", 5, Write, GROWS, TWO_KEYS, lmove),
    row("rpoplpush", 3, Write, GROWS, TWO_KEYS, rpoplpush),
    row("lmpop", -4, Write, &[], Keys::Counted { count: 1, target: false }, lmpop),
    row("linsert", 5, Write, GROWS, Keys::ONE, linsert),
    row("lset", 4, Write, GROWS, Keys::ONE, lset),
    row("lrem", 4, Write, &[], Keys::ONE, lrem),
    row("ltrim", 4, Write, &[], Keys::ONE, ltrim),
    row("llen", 2, Read, FAST, Keys::ONE, llen),
    row("lindex", 3, Read, &[], Keys::ONE, lindex),
    row("lrange", 4, Read, &[], Keys::ONE, lrange),
    row("lpos", -3, Read, &[], Keys::ONE, lpos),
];

const fn row(
    name: &'static str,
    arity: i32,
    access: Access,
    flags: &'static [&'static str],
    keys: Keys,
    handler: Handler,
) -> Command {
    Command { name, arity, access, flags, keys, handler }
}

/// The place of an index, which counts from the end if negative, in a list of this length.
fn place(index: i64, length: usize) -> Option<usize> {
    let place = if index < 0 { index.checked_add(length as i64)? } else { index };
    usize::try_from(place).ok().filter(|place| *place < length)
}

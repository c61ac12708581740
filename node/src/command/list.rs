//! Lists. Each element is a cell of its own, whose id says where it stands: of two nodes that push at once both are kept, in
//! the same order everywhere, and what one push brings stays together. Of a removing and a setting of one element the later
//! stands. Two nodes that pop at once may be given the same element: see the README.

mod edit;
mod pop;
mod push;
mod read;

use self::edit::{linsert, lrem, lset, ltrim};
use self::pop::{blmove, blmpop, blpop, brpop, brpoplpush, lmove, lmpop, lpop, rpop, rpoplpush};
use self::push::{lpush, lpushx, rpush, rpushx};
use self::read::{lindex, llen, lpos, lrange};
use super::Access::{Read, Write};
use super::{Command, Keys, row};

const FAST: &[&str] = &["fast"];
const GROWS: &[&str] = &["denyoom"];
const GROWS_FAST: &[&str] = &["denyoom", "fast"];

const BLOCKING: &[&str] = &["noscript", "blocking"];

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
    row("blpop", -3, Write, BLOCKING, Keys::ALL_BUT_LAST, blpop),
    row("brpop", -3, Write, BLOCKING, Keys::ALL_BUT_LAST, brpop),
    row("blmove", 6, Write, &["denyoom", "noscript", "blocking"], TWO_KEYS, blmove),
    row("brpoplpush", 4, Write, &["denyoom", "noscript", "blocking"], TWO_KEYS, brpoplpush),
    row("blmpop", -5, Write, &["blocking"], Keys::Counted { count: 2, target: false }, blmpop),
    row("linsert", 5, Write, GROWS, Keys::ONE, linsert),
    row("lset", 4, Write, GROWS, Keys::ONE, lset),
    row("lrem", 4, Write, &[], Keys::ONE, lrem),
    row("ltrim", 4, Write, &[], Keys::ONE, ltrim),
    row("llen", 2, Read, FAST, Keys::ONE, llen),
    row("lindex", 3, Read, &[], Keys::ONE, lindex),
    row("lrange", 4, Read, &[], Keys::ONE, lrange),
    row("lpos", -3, Read, &[], Keys::ONE, lpos),
];

/// The place of an index, which counts from the end if negative, in a list of this length.
fn place(index: i64, length: usize) -> Option<usize> {
    let place = if index < 0 { index.checked_add(length as i64)? } else { index };
    usize::try_from(place).ok().filter(|place| *place < length)
}

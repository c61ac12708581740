//! Sorted sets. Each member is a cell of its own, whose value is its score: of two nodes that set one member's score the
//! later wins, and ZINCRBY adds up.

mod add;
mod algebra;
mod pop;
mod range;
mod read;
mod remove;
pub(super) mod scores;

use self::add::{zadd, zincrby};
use self::algebra::{zdiff, zdiffstore, zinter, zintercard, zinterstore, zunion, zunionstore};
use self::pop::{bzmpop, bzpopmax, bzpopmin, zmpop, zpopmax, zpopmin};
use self::range::{
    zrange, zrangebylex, zrangebyscore, zrangestore, zrevrange, zrevrangebylex, zrevrangebyscore,
};
use self::read::{zcard, zcount, zlexcount, zmscore, zrandmember, zrank, zrevrank, zscan, zscore};
use self::remove::{zrem, zremrangebylex, zremrangebyrank, zremrangebyscore};
use super::Access::{Read, Write};
use super::{Command, Keys, row};

const FAST: &[&str] = &["fast"];
const GROWS: &[&str] = &["denyoom"];
const GROWS_FAST: &[&str] = &["denyoom", "fast"];

const SOURCES: Keys = Keys::Counted { count: 1, target: false };
const TARGET_AND_SOURCES: Keys = Keys::Counted { count: 2, target: true };
const TWO_KEYS: Keys = Keys::Range { first: 1, last: 2, step: 1 };
const BLOCKING_FAST: &[&str] = &["noscript", "fast", "blocking"];

pub(super) const COMMANDS: &[Command] = &[
    row("zadd", -4, Write, GROWS_FAST, Keys::ONE, zadd),
    row("zincrby", 4, Write, GROWS_FAST, Keys::ONE, zincrby),
    row("zrem", -3, Write, FAST, Keys::ONE, zrem),
    row("zremrangebyrank", 4, Write, &[], Keys::ONE, zremrangebyrank),
    row("zremrangebyscore", 4, Write, &[], Keys::ONE, zremrangebyscore),
    row("zremrangebylex", 4, Write, &[], Keys::ONE, zremrangebylex),
    row("zpopmin", -2, Write, FAST, Keys::ONE, zpopmin),
    row("zpopmax", -2, Write, FAST, Keys::ONE, zpopmax),
    row("zmpop", -4, Write, &[], SOURCES, zmpop),
    row("bzpopmin", -3, Write, BLOCKING_FAST, Keys::ALL_BUT_LAST, bzpopmin),
    row("bzpopmax", -3, Write, BLOCKING_FAST, Keys::ALL_BUT_LAST, bzpopmax),
    row("bzmpop", -5, Write, &["blocking"], Keys::Counted { count: 2, target: false }, bzmpop),
    row("zcard", 2, Read, FAST, Keys::ONE, zcard),
    row("zcount", 4, Read, FAST, Keys::ONE, zcount),
    row("zlexcount", 4, Read, FAST, Keys::ONE, zlexcount),
    row("zscore", 3, Read, FAST, Keys::ONE, zscore),
    row("zmscore", -3, Read, FAST, Keys::ONE, zmscore),
    row("zrank", 3, Read, FAST, Keys::ONE, zrank),
    row("zrevrank", 3, Read, FAST, Keys::ONE, zrevrank),
    row("zrandmember", -2, Read, &[], Keys::ONE, zrandmember),
    row("zscan", -3, Read, &[], Keys::ONE, zscan),
    row("zrange", -4, Read, &[], Keys::ONE, zrange),
    row("zrangebyscore", -4, Read, &[], Keys::ONE, zrangebyscore),
    row("zrangebylex", -4, Read, &[], Keys::ONE, zrangebylex),
    row("zrevrange", -4, Read, &[], Keys::ONE, zrevrange),
    row("zrevrangebyscore", -4, Read, &[], Keys::ONE, zrevrangebyscore),
    row("zrevrangebylex", -4, Read, &[], Keys::ONE, zrevrangebylex),
    row("zrangestore", -5, Write, GROWS, TWO_KEYS, zrangestore),
    row("zunion", -3, Read, &[], SOURCES, zunion),
    row("zinter", -3, Read, &[], SOURCES, zinter),
    row("zdiff", -3, Read, &[], SOURCES, zdiff),
    row("zintercard", -3, Read, &[], SOURCES, zintercard),
    row("zunionstore", -4, Write, GROWS, TARGET_AND_SOURCES, zunionstore),
    row("zinterstore", -4, Write, GROWS, TARGET_AND_SOURCES, zinterstore),
    row("zdiffstore", -4, Write, GROWS, TARGET_AND_SOURCES, zdiffstore),
];

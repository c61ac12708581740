//! The traces in which simpler rules of merging break.

use crate::script::Script;
use crate::topology::Topology::{Chain, Mesh, Ring};
use crate::world::Outcome;

pub(super) fn late_older_write(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Mesh(3), seed, is_shown)?;
    s.cut(2, 1);
    s.block(0, 1);
    s.at(2, "SET k old")?;
    s.ms(300)?;
    s.at(0, "DEL k")?;
    s.cut(0, 2);
    s.join(0, 1);
    s.ms(9_000)?;
    s.expect(1, "GET k", "$-1")?;
    s.heal()?;
    s.expect_all("GET k", "$-1")
}

pub(super) fn late_write_under_flush(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Chain(3), seed, is_shown)?;
    s.cut(0, 1);
    s.at(0, "SET k old")?;
    s.at(0, "INCR c")?;
    s.ms(5)?;
    s.at(2, "FLUSHALL")?;
    s.ms(5)?;
    s.at(1, "SET q new")?;
    s.heal()?;
    s.expect_all("EXISTS k c q", ":1")
}

pub(super) fn extended_expiry(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Mesh(3), seed, is_shown)?;
    s.at(0, "SET k v PX 400")?;
    s.ms(200)?;
    s.at(1, "PEXPIRE k 5000")?;
    s.ms(100)?;
    s.at(2, "APPEND k w")?;
    s.ms(1_000)?;
    s.expect_all("GET k", "$2 vw")?;
    s.ms(6_000)?;
    s.heal()?;
    s.expect_all("EXISTS k", ":0")
}

pub(super) fn late_extension(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Mesh(3), seed, is_shown)?;
    s.at(0, "SET k v PX 500")?;
    s.ms(100)?;
    s.cut(2, 0);
    s.cut(2, 1);
    s.at(2, "PEXPIRE k 60000")?;
    s.at(2, "APPEND k w")?;
    s.ms(2_000)?;
    s.expect(0, "EXISTS k", ":0")?;
    s.heal()?;
    s.expect_all("EXISTS k", ":0")
}

pub(super) fn refreshed_before_expiry(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Mesh(3), seed, is_shown)?;
    s.at(0, "SET k v PX 500")?;
    s.ms(100)?;
    s.cut(2, 0);
    s.cut(2, 1);
    s.at(2, "SET k fresh")?;
    s.ms(2_000)?;
    s.heal()?;
    s.expect_all("GET k", "$5 fresh")
}

/// The write is older than the removal, and newer than what was removed.
pub(super) fn written_before_eviction(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Mesh(3), seed, is_shown)?;
    s.at(0, "SET k v PX 100000")?;
    s.at(0, "SET q v")?;
    s.at(0, "HSET h f v g v")?;
    s.ms(100)?;
    s.cut(2, 0);
    s.cut(2, 1);
    s.at(2, "SET k newer")?;
    s.at(2, "HSET h g newer")?;
    s.ms(100)?;
    s.evict(1, "k");
    s.evict(1, "q");
    s.evict(1, "h");
    s.expect(1, "EXISTS k q h", ":0")?;
    s.ms(100)?;
    s.expect(0, "EXISTS k q h", ":0")?;
    s.heal()?;
    s.expect_all("GET k", "$5 newer")?;
    s.expect_all("EXISTS q", ":0")?;
    s.expect_all("HGETALL h", "*2 $1 g $5 newer")
}

pub(super) fn counter_through_reset(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Mesh(3), seed, is_shown)?;
    s.at(0, "INCRBY k 100")?;
    s.ms(100)?;
    s.cut(0, 1);
    s.cut(0, 2);
    s.at(1, "DEL k")?;
    s.ms(5)?;
    s.at(0, "INCR k")?;
    s.heal()?;
    s.expect_all("EXISTS k", ":0")?;
    s.at(0, "INCR k")?;
    s.heal()?;
    s.expect_all("GET k", "$1 1")
}

pub(super) fn counters_in_partition(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Ring(4), seed, is_shown)?;
    s.cut(0, 1);
    s.cut(2, 3);
    for host in 0..4 {
        s.at(host, "INCRBY k 7")?;
        s.ms(3)?;
        s.at(host, "DECRBY k 2")?;
    }
    s.ms(7_000)?;
    s.heal()?;
    s.expect_all("GET k", "$2 20")
}

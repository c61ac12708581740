//! Faults that chance seldom finds.

use node::simulation::{Disk, Durability};

use crate::checker;
use crate::script::Script;
use crate::topology::Topology::{Chain, Mesh, Ring, Star};
use crate::world::Outcome;

pub(super) fn torn_tail(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Mesh(3), seed, is_shown)?;
    s.cut(0, 1);
    s.cut(0, 2);
    s.at(0, "SET sure 1")?;
    s.ms(20)?;
    s.at(0, "SET perhaps 1")?;
    s.world.crash(0, true);
    s.world.start(0)?;
    // It meets nobody, so it takes writes when no clock can lie in its future any more.
    s.ms(6_000)?;
    s.at(0, "SET after 1")?;
    s.heal()?;
    s.expect_all("EXISTS sure after", ":2")
}

pub(super) fn frontier_regress(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::with(Chain(3), Durability::Everysec, seed, is_shown)?;
    for _ in 0..5 {
        s.at(0, "INCR k")?;
        s.ms(60)?;
    }
    s.world.crash(1, true);
    s.world.start(1)?;
    s.at(2, "INCR k")?;
    s.ms(10)?;
    s.world.crash(1, true);
    s.world.start(1)?;
    s.heal()?;
    s.at(1, "INCR k")?;
    s.heal()?;
    s.expect_all("GET k", "$1 7")
}

pub(super) fn two_links(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Chain(2), seed, is_shown)?;
    for (host, peer) in [(0, 1), (1, 0)] {
        s.world.kill_agent(host);
        s.world.hosts[host].peers = vec![peer];
    }
    s.ms(10)?;
    s.world.start_agent(0);
    s.world.start_agent(1);
    for _ in 0..50 {
        s.at(0, "INCR k")?;
        s.at(1, "INCR k")?;
        s.ms(7)?;
    }
    s.ms(3_000)?;
    for host in 0..2 {
        let links = s.world.hosts[host].links_up();
        if links != 1 {
            return Err(format!("n{host} has {links} links"));
        }
    }
    s.heal()?;
    s.expect_all("GET k", "$3 100")
}

pub(super) fn one_way_cut(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Ring(3), seed, is_shown)?;
    s.block(0, 1);
    s.at(0, "SET k v")?;
    s.at(1, "SET q v")?;
    s.ms(14_000)?;
    s.expect_all("EXISTS k q", ":2")?;
    s.heal()
}

pub(super) fn stalled_upstream(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Mesh(3), seed, is_shown)?;
    s.at(0, "SET k 1")?;
    s.ms(200)?;
    s.block(0, 1);
    s.at(0, "SET k 2")?;
    s.ms(9_000)?;
    s.expect(1, "GET k", "$1 2")?;
    s.heal()
}

/// What a host has on its disk.
fn copy_of(s: &Script, host: usize, seed: u64) -> Option<Disk> {
    s.world.hosts[host].disk.as_ref().map(|disk| disk.copy(seed))
}

/// A host loses power, and starts with this on its disk.
fn put_back(s: &mut Script, host: usize, copy: Option<Disk>) -> Outcome {
    s.world.crash(host, true);
    s.world.hosts[host].disk = copy;
    s.world.start(host)
}

pub(super) fn old_directory(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Mesh(3), seed, is_shown)?;
    s.at(0, "INCRBY k 5")?;
    s.ms(100)?;
    let copy = copy_of(&s, 0, seed);
    s.at(0, "INCRBY k 6")?;
    s.at(0, "SET q 1")?;
    s.ms(500)?;
    put_back(&mut s, 0, copy)?;
    s.ms(6_000)?;
    s.at(0, "INCRBY k 7")?;
    s.heal()?;
    s.expect_all("GET k", "$2 18")?;
    s.expect_all("GET q", "$1 1")
}

/// The second copy has a write of which nobody knew any more when its key was deleted.
pub(super) fn two_old_directories(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Mesh(2), seed, is_shown)?;
    s.at(1, "SADD k e1")?;
    s.ms(500)?;
    let (first, others) = (copy_of(&s, 0, seed), copy_of(&s, 1, seed));
    s.at(0, "SADD k e4")?;
    s.ms(500)?;
    let second = copy_of(&s, 0, seed);
    put_back(&mut s, 1, others)?;
    put_back(&mut s, 0, first)?;
    s.ms(6_000)?;
    s.expect_all("SMEMBERS k", "*1 $2 e1")?;
    s.at(1, "DEL k")?;
    // Long enough for both to forget that.
    s.ms(10_000)?;
    put_back(&mut s, 0, second)?;
    s.heal()
}

/// The copy has a TTL that was deleted with its key, and everybody has forgotten that.
pub(super) fn old_ttl(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Mesh(2), seed, is_shown)?;
    s.at(0, "HSET h a 1")?;
    s.at(0, "PEXPIRE h 14000")?;
    s.ms(500)?;
    let copy = copy_of(&s, 0, seed);
    s.at(1, "DEL h")?;
    s.at(1, "HSET h b 2")?;
    s.ms(10_000)?;
    s.cut(0, 1);
    put_back(&mut s, 0, copy)?;
    s.ms(8_000)?;
    s.heal()?;
    s.expect_all("HGETALL h", "*2 $1 b $1 2")
}

pub(super) fn forked_directory(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Mesh(3), seed, is_shown)?;
    let copy = copy_of(&s, 0, seed);
    s.at(0, "SET k tail")?;
    s.ms(500)?;
    s.cut(0, 1);
    s.cut(0, 2);
    put_back(&mut s, 0, copy)?;
    s.ms(6_000)?;
    s.at(0, "SET k fork")?;
    s.at(0, "INCR c")?;
    s.heal()?;
    s.expect_all("GET k", "$4 fork")?;
    s.expect_all("GET c", "$1 1")
}

pub(super) fn new_directory(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Star(3), seed, is_shown)?;
    s.at(2, "SET k v")?;
    s.ms(500)?;
    s.world.crash(2, true);
    s.world.hosts[2].node_id = shared::id::NodeId(seed + 77);
    s.world.hosts[2].disk = Some(Disk::new(seed));
    s.world.start(2)?;
    s.ms(6_000)?;
    s.at(2, "SET q w")?;
    s.heal()?;
    s.expect_all("EXISTS k q", ":2")
}

pub(super) fn clock_drift(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Chain(2), seed, is_shown)?;
    s.world.hosts[0].clock_ahead_ms = 8_000;
    s.ms(3_000)?;
    s.at(0, "SET k ahead")?;
    s.ms(3_000)?;
    if s.world.hosts[1].links_up() > 0 {
        return Err("the link stands although the clocks are 8 s apart".to_owned());
    }
    s.expect(1, "EXISTS k", ":0")?;
    s.world.hosts[0].clock_ahead_ms = 0;
    s.heal()?;
    s.expect_all("GET k", "$5 ahead")
}

pub(super) fn full_disk(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Chain(3), seed, is_shown)?;
    if let Some(disk) = &s.world.hosts[1].disk {
        disk.fail_for(6, true);
    }
    for _ in 0..30 {
        s.at(0, "INCR k")?;
        s.ms(15)?;
    }
    s.heal()?;
    s.expect_all("GET k", "$2 30")
}

pub(super) fn transactions(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Mesh(3), seed, is_shown)?;
    for command in ["MULTI", "SET a 1", "DEL a", "INCR a", "INCR a", "SET b 2 PX 90000", "APPEND b 3", "EXEC"]
    {
        s.at(0, command)?;
    }
    s.heal()?;
    s.expect_all("GET a", "$1 2")?;
    s.expect_all("GET b", "$2 23")
}

pub(super) fn cut_chain(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Chain(5), seed, is_shown)?;
    s.cut(1, 2);
    s.cut(3, 4);
    for host in 0..5 {
        s.at(host, &format!("SET k{host} v"))?;
        s.at(host, "INCR c")?;
    }
    s.ms(7_000)?;
    s.expect(0, "EXISTS k0 k1 k2", ":2")?;
    s.heal()?;
    s.expect_all("EXISTS k0 k1 k2 k3 k4", ":5")?;
    s.expect_all("GET c", "$1 5")
}

pub(super) fn once_everywhere(seed: u64, is_shown: bool) -> Outcome {
    for topology in [Chain(5), Ring(5), Star(5), Mesh(5)] {
        let mut s = Script::of(topology, seed, is_shown)?;
        for step in 0..200 {
            s.at(step % 5, "INCR c")?;
            s.ms(3)?;
        }
        s.heal()?;
        s.expect_all("GET c", "$3 200")?;
        // What was asked of each was no write, so nothing more was sent.
        checker::check_once(&s.world)?;
    }
    Ok(())
}

//! The traces in which simpler reconciles, snapshots and evictions break.

use node::simulation::Durability;

use crate::script::Script;
use crate::topology::Topology::{self, Chain, Mesh};
use crate::world::Outcome;

/// A host lost its directory and reconciles, as logs are short.
fn fresh(s: &mut Script, host: usize, seed: u64) -> Outcome {
    s.world.crash(host, true);
    s.world.hosts[host].node_id = shared::id::NodeId(seed + 1_000 + host as u64);
    s.world.hosts[host].disk = Some(node::simulation::Disk::new(seed));
    s.ms(6_000)?;
    s.world.start(host)
}

/// Writes so much that logs are cut off at snapshots.
fn fill(s: &mut Script, host: usize) -> Outcome {
    for number in 0..60 {
        s.at(host, &format!("SET fill{} {}", number % 5, "x".repeat(400)))?;
        s.ms(10)?;
    }
    s.ms(3_000)
}

/// The hosts' logs are cut off at each snapshot.
fn short_logs(topology: Topology, seed: u64, is_shown: bool) -> Outcome<Script> {
    Script::of_nature(topology, seed, is_shown, |nature| {
        nature.snapshot_after = 3_000;
        nature.log_retention = 0;
        nature.log_memory = 8_000;
    })
}

/// Away is cut off while the others write, delete, forget their tombstones and cut their logs.
fn left_behind(s: &mut Script, away: usize, script: &[(usize, &str)]) -> Outcome {
    let hosts = s.world.hosts.len();
    (0..hosts).filter(|host| *host != away).for_each(|host| s.cut(away, host));
    // Until the links are given up: what waits in them would be delivered.
    s.ms(6_000)?;
    for (host, command) in script {
        s.at(*host, command)?;
        s.ms(200)?;
    }
    fill(s, script[0].0)
}

pub(super) fn stream_beside_reconcile(seed: u64, is_shown: bool) -> Outcome {
    let mut s = short_logs(Mesh(3), seed, is_shown)?;
    s.at(1, "SET k old")?;
    s.ms(300)?;
    s.at(0, "DEL k")?;
    fill(&mut s, 0)?;
    fresh(&mut s, 2, seed)?;
    s.heal()?;
    s.expect_all("EXISTS k", ":0")
}

pub(super) fn expiry_in_reconcile(seed: u64, is_shown: bool) -> Outcome {
    let mut s = short_logs(Mesh(3), seed, is_shown)?;
    s.at(0, "SET k v")?;
    s.ms(300)?;
    left_behind(&mut s, 2, &[(0, "PEXPIRE k 60000")])?;
    s.heal()?;
    s.ms(70_000)?;
    s.heal()?;
    s.expect_all("EXISTS k", ":0")
}

pub(super) fn mutual_reconcile(seed: u64, is_shown: bool) -> Outcome {
    let mut s = short_logs(Mesh(3), seed, is_shown)?;
    s.at(0, "MSET k v q v both v")?;
    s.ms(300)?;
    left_behind(&mut s, 2, &[(0, "DEL k"), (2, "DEL q"), (2, "SET late v"), (0, "SET early v")])?;
    fill(&mut s, 2)?;
    s.heal()?;
    s.expect_all("EXISTS k q", ":0")?;
    s.expect_all("EXISTS both late early", ":3")
}

pub(super) fn tombstone_during_reconcile(seed: u64, is_shown: bool) -> Outcome {
    let mut s = short_logs(Mesh(3), seed, is_shown)?;
    s.cut(0, 1);
    s.block(1, 2);
    s.at(1, "SET k old")?;
    s.ms(50)?;
    s.at(0, "SET k newer")?;
    s.at(0, "DEL k")?;
    fill(&mut s, 0)?;
    fresh(&mut s, 2, seed)?;
    s.ms(200)?;
    s.join(0, 1);
    s.ms(1_000)?;
    s.heal()?;
    s.expect_all("EXISTS k", ":0")
}

pub(super) fn reconcile_in_a_row(seed: u64, is_shown: bool) -> Outcome {
    let mut s = short_logs(Chain(3), seed, is_shown)?;
    s.at(1, "SET k v")?;
    s.ms(300)?;
    s.at(0, "DEL k")?;
    fill(&mut s, 0)?;
    fresh(&mut s, 1, seed)?;
    fresh(&mut s, 2, seed + 7)?;
    s.heal()?;
    s.expect_all("EXISTS k", ":0")?;
    s.expect_all("EXISTS fill0 fill4", ":2")
}

pub(super) fn reconcile_cut_by_crash(seed: u64, is_shown: bool) -> Outcome {
    let mut s = short_logs(Mesh(3), seed, is_shown)?;
    fill(&mut s, 0)?;
    left_behind(&mut s, 2, &[(0, "SET k v")])?;
    let texts = ["Receiving {", "begins a snapshot", "snapshot of", "Received {"];
    for text in texts {
        s.trap(2, text);
        (0..2).for_each(|host| s.join(2, host));
        s.await_trap(2)?;
        s.heal()?;
        left_behind(&mut s, 2, &[(0, "INCR c"), (1, "INCR c")])?;
    }
    s.heal()?;
    s.expect_all("GET c", "$1 8")
}

pub(super) fn join_cut_by_crash(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of_nature(Mesh(3), seed, is_shown, |nature| nature.snapshot_step = 50_000)?;
    s.at(0, "MSET k v other w")?;
    s.ms(300)?;
    (0..2).for_each(|host| s.cut(2, host));
    s.at(2, "SET own 1")?;
    s.forget(0, "n2");
    s.at(0, "DEL k")?;
    // All that count have it, and forget it.
    s.ms(10_000)?;
    s.trap(2, "Joined");
    (0..2).for_each(|host| s.join(2, host));
    s.await_trap(2)?;
    s.heal()?;
    s.expect_all("EXISTS k", ":0")?;
    s.expect_all("GET own", "$1 1")
}

pub(super) fn reconcile_under_load(seed: u64, is_shown: bool) -> Outcome {
    let mut s = short_logs(Mesh(3), seed, is_shown)?;
    fill(&mut s, 0)?;
    left_behind(&mut s, 2, &[(0, "SET k v")])?;
    (0..2).for_each(|host| s.join(2, host));
    for number in 0..400 {
        s.at(number % 2, &format!("SET fill{} {}", number % 5, "y".repeat(400)))?;
        s.at(number % 2, "INCR c")?;
        s.ms(20)?;
    }
    s.heal()?;
    s.expect_all("GET c", "$3 400")
}

pub(super) fn damaged_memory(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Mesh(2), seed, is_shown)?;
    s.at(0, "MSET x 1 y 2 z 3")?;
    s.heal()?;
    s.world.expects_damage = true;
    for (host, key) in [(0, "x"), (1, "y")] {
        let lost = s.world.hosts[host].node.as_ref().is_some_and(|node| node.lose(0, key.as_bytes()));
        if !lost {
            return Err(format!("n{host} has no {key} to lose"));
        }
    }
    s.ms(120_000)?;
    s.heal()?;
    s.expect_all("EXISTS x y z", ":3")
}

pub(super) fn eviction_by_one(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Mesh(3), seed, is_shown)?;
    s.cut(2, 0);
    s.cut(2, 1);
    s.at(2, "SET k old")?;
    s.ms(50)?;
    s.at(1, "SET k newer")?;
    s.at(1, "DEL k")?;
    s.ms(300)?;
    s.forget(0, "n2");
    s.ms(50)?;
    s.join(2, 1);
    s.ms(3_000)?;
    s.heal()
}

pub(super) fn return_of_the_evicted(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Mesh(4), seed, is_shown)?;
    s.at(0, "INCRBY c 10")?;
    s.ms(300)?;
    for (one, other) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
        s.cut(one, other);
    }
    s.at(3, "INCRBY c 5")?;
    s.at(3, "SET only3 v")?;
    s.at(2, "INCRBY c 3")?;
    s.at(0, "INCRBY c 2")?;
    s.ms(7_000)?;
    s.forget(0, "n2");
    s.forget(1, "n3");
    s.ms(3_000)?;
    s.heal()?;
    s.expect_all("GET c", "$2 20")?;
    s.expect_all("EXISTS only3", ":1")
}

pub(super) fn snapshot_before_log(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of_nature(Mesh(3), seed, is_shown, |nature| {
        nature.durability = Durability::Everysec;
        nature.snapshot_after = 2_000;
        nature.snapshot_step = 20_000;
    })?;
    s.cut(0, 1);
    s.cut(0, 2);
    s.trap(0, "snapshot of");
    for _ in 0..300 {
        s.try_at(0, &format!("SET big {}", "x".repeat(100)));
        s.try_at(0, "INCR c");
        s.ms(17)?;
    }
    s.ms(6_000)?;
    s.heal()
}

pub(super) fn tombstone_during_snapshot(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of_nature(Mesh(3), seed, is_shown, |nature| {
        nature.snapshot_after = 2_000;
        nature.snapshot_step = 40_000;
    })?;
    s.cut(2, 0);
    s.cut(2, 1);
    s.at(2, "SET k old")?;
    s.ms(20)?;
    s.at(1, "SET k newer")?;
    s.at(1, "DEL k")?;
    for _ in 0..8 {
        s.at(0, &format!("SET big {}", "x".repeat(400)))?;
        s.ms(10)?;
    }
    // The snapshot is under way when the older write comes, and its tombstone becomes stable.
    s.join(2, 0);
    s.join(2, 1);
    s.trap(0, "snapshot of");
    s.ms(8_000)?;
    s.heal()?;
    s.expect_all("EXISTS k", ":0")
}

pub(super) fn slow_memory_node(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of_nature(Mesh(3), seed, is_shown, |nature| nature.has_disk = false)?;
    s.at(0, "SET k v")?;
    s.ms(200)?;
    s.at(0, "DEL k")?;
    s.ms(3_000)?;
    s.world.crash(2, false);
    s.world.hosts[2].clock_ahead_ms = -4_000;
    s.ms(6_000)?;
    s.world.start(2)?;
    for _ in 0..40 {
        s.try_at(2, "SET k new");
        s.ms(20)?;
    }
    s.heal()?;
    s.expect_all("GET k", "$3 new")
}

pub(super) fn stalled_command(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Mesh(3), seed, is_shown)?;
    s.block(0, 1);
    for number in 0..30 {
        s.at(0, &format!("SET k{number} v"))?;
        s.ms(3)?;
    }
    s.world.crash(0, true);
    s.ms(90_000)?;
    s.heal()?;
    s.expect_all("EXISTS k0 k29", ":2")
}

pub(super) fn no_cascade(seed: u64, is_shown: bool) -> Outcome {
    let mut s = short_logs(Chain(4), seed, is_shown)?;
    fill(&mut s, 3)?;
    s.cut(0, 1);
    s.at(0, "SET k v")?;
    fill(&mut s, 3)?;
    let before = s.world.events.get("reconcile adopted").copied().unwrap_or_default();
    s.heal()?;
    let reconciles = s.world.events.get("reconcile adopted").copied().unwrap_or_default() - before;
    if reconciles > 3 {
        return Err(format!("{reconciles} reconciles, where two hosts were behind"));
    }
    s.expect_all("EXISTS k fill0", ":2")
}

pub(super) fn both_truncated(seed: u64, is_shown: bool) -> Outcome {
    let mut s = short_logs(Mesh(2), seed, is_shown)?;
    s.cut(0, 1);
    s.at(0, "SET a 1")?;
    s.at(1, "SET b 1")?;
    for host in 0..2 {
        fill(&mut s, host)?;
    }
    s.heal()?;
    s.expect_all("EXISTS a b", ":2")
}

pub(super) fn equal_sums(seed: u64, is_shown: bool) -> Outcome {
    let mut s = short_logs(Mesh(2), seed, is_shown)?;
    s.cut(0, 1);
    for host in 0..2 {
        s.at(host, "INCR c")?;
        s.ms(100)?;
    }
    for host in 0..2 {
        fill(&mut s, host)?;
    }
    s.heal()?;
    s.expect_all("GET c", "$1 2")
}

pub(super) fn mark_of_a_joiner(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Mesh(3), seed, is_shown)?;
    s.at(0, "SET k v PX 2000")?;
    s.ms(300)?;
    s.cut(2, 0);
    s.cut(2, 1);
    s.at(0, "SET k fresh")?;
    s.ms(4_000)?;
    s.forget(0, "n2");
    s.ms(4_000)?;
    s.heal()?;
    s.expect_all("GET k", "$5 fresh")
}

/// Two of four are evicted together. The one returns first, and states again what it knows of the other's counting.
pub(super) fn counting_on(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Mesh(4), seed, is_shown)?;
    let halves = [(0, 2), (0, 3), (1, 2), (1, 3)];
    halves.into_iter().for_each(|(one, other)| s.cut(one, other));
    s.at(2, "INCRBY c 5")?;
    s.ms(300)?;
    s.expect(3, "GET c", "$1 5")?;
    for (host, name) in [(0, "n2"), (0, "n3"), (2, "n0"), (2, "n1")] {
        s.forget(host, name);
    }
    s.ms(5_000)?;
    s.cut(2, 3);
    s.at(2, "INCRBY c 2")?;
    s.join(3, 0);
    s.join(3, 1);
    s.ms(60_000)?;
    s.expect(0, "GET c", "$1 5")?;
    s.at(2, "INCRBY c 3")?;
    s.heal()?;
    s.expect_all("GET c", "$2 10")
}

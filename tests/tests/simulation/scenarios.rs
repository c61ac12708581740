//! Schedules made by hand: the traces in which simpler rules break, and the faults that chance seldom finds.

use node::simulation::Durability;

use crate::checker;
use crate::script::Script;
use crate::topology::Topology::{Chain, Mesh, Ring, Star};
use crate::world::Outcome;

/// A scenario: its name, and what it does with a seed, which decides about delays and who dials.
type Scenario = (&'static str, fn(u64, bool) -> Outcome);

const SCENARIOS: &[Scenario] = &[
    ("an older write that comes late does not bring a deleted key back", late_older_write),
    ("an older write that comes late dies under a flush", late_write_under_flush),
    ("an extension of the expiry that the reaper had seen counts", extended_expiry),
    ("an extension of the expiry that comes after the mark loses everywhere", late_extension),
    ("a SET that the reaper had not seen survives the expiry", refreshed_before_expiry),
    ("increments through a deletion count from there", counter_through_reset),
    ("increments that nobody resets add up over a partition", counters_in_partition),
    ("what only a torn log held is gone, and what was acknowledged is not", torn_tail),
    ("a frontier that went back in a crash is caught up again", frontier_regress),
    ("of two links between the same two one stays", two_links),
    ("a cut in one direction is noticed, and its writes take another way", one_way_cut),
    ("a silent upstream is left for one that delivers", stalled_upstream),
    ("an old directory that is put back gets its tail from its peers", old_directory),
    ("a directory put back writes on beside its former tail", forked_directory),
    ("a new directory under an old name takes over when that is silent", new_directory),
    ("clocks too far apart refuse the link, and it resumes", clock_drift),
    ("a write waits on a full disk, and is not skipped", full_disk),
    ("a transaction is merged whole", transactions),
    ("a chain that is cut passes everything on when joined", cut_chain),
    ("each batch comes once in every topology", once_everywhere),
];

/// How many seeds each is run with.
const SEEDS: u64 = 12;

#[test]
fn scenarios_hold() {
    let is_shown = std::env::var_os("TRACE").is_some();
    let asked = std::env::var("SCENARIO").unwrap_or_default();
    for (name, run) in SCENARIOS.iter().filter(|(name, _)| name.contains(&asked)) {
        for seed in 0..SEEDS {
            run(seed, is_shown).unwrap_or_else(|problem| {
                panic!("{name} (seed {seed}): {problem}\nreplay: SCENARIO='{name}' TRACE=1")
            });
        }
    }
}

fn late_older_write(seed: u64, is_shown: bool) -> Outcome {
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

fn late_write_under_flush(seed: u64, is_shown: bool) -> Outcome {
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

fn extended_expiry(seed: u64, is_shown: bool) -> Outcome {
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

fn late_extension(seed: u64, is_shown: bool) -> Outcome {
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

fn refreshed_before_expiry(seed: u64, is_shown: bool) -> Outcome {
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

fn counter_through_reset(seed: u64, is_shown: bool) -> Outcome {
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

fn counters_in_partition(seed: u64, is_shown: bool) -> Outcome {
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

fn torn_tail(seed: u64, is_shown: bool) -> Outcome {
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

fn frontier_regress(seed: u64, is_shown: bool) -> Outcome {
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

fn two_links(seed: u64, is_shown: bool) -> Outcome {
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

fn one_way_cut(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Ring(3), seed, is_shown)?;
    s.block(0, 1);
    s.at(0, "SET k v")?;
    s.at(1, "SET q v")?;
    s.ms(8_000)?;
    s.expect_all("EXISTS k q", ":2")?;
    s.heal()
}

fn stalled_upstream(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Mesh(3), seed, is_shown)?;
    s.at(0, "SET k 1")?;
    s.ms(200)?;
    s.block(0, 1);
    s.at(0, "SET k 2")?;
    // Long before the silence would end the link.
    s.ms(1_500)?;
    s.expect(1, "GET k", "$1 2")?;
    s.heal()
}

fn old_directory(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Mesh(3), seed, is_shown)?;
    s.at(0, "INCRBY k 5")?;
    s.ms(100)?;
    let copy = s.world.hosts[0].disk.as_ref().map(|disk| disk.copy(seed));
    s.at(0, "INCRBY k 6")?;
    s.at(0, "SET q 1")?;
    s.ms(500)?;
    s.world.crash(0, true);
    s.world.hosts[0].disk = copy;
    s.world.start(0)?;
    s.ms(6_000)?;
    s.at(0, "INCRBY k 7")?;
    s.heal()?;
    s.expect_all("GET k", "$2 18")?;
    s.expect_all("GET q", "$1 1")
}

fn forked_directory(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Mesh(3), seed, is_shown)?;
    let copy = s.world.hosts[0].disk.as_ref().map(|disk| disk.copy(seed));
    s.at(0, "SET k tail")?;
    s.ms(500)?;
    s.cut(0, 1);
    s.cut(0, 2);
    s.world.crash(0, true);
    s.world.hosts[0].disk = copy;
    s.world.start(0)?;
    s.ms(6_000)?;
    s.at(0, "SET k fork")?;
    s.at(0, "INCR c")?;
    s.heal()?;
    s.expect_all("GET k", "$4 fork")?;
    s.expect_all("GET c", "$1 1")
}

fn new_directory(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Star(3), seed, is_shown)?;
    s.at(2, "SET k v")?;
    s.ms(500)?;
    s.world.crash(2, true);
    s.world.hosts[2].node_id = shared::id::NodeId(seed + 77);
    s.world.hosts[2].disk = Some(node::simulation::Disk::new(seed));
    s.world.start(2)?;
    s.ms(6_000)?;
    s.at(2, "SET q w")?;
    s.heal()?;
    s.expect_all("EXISTS k q", ":2")
}

fn clock_drift(seed: u64, is_shown: bool) -> Outcome {
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

fn full_disk(seed: u64, is_shown: bool) -> Outcome {
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

fn transactions(seed: u64, is_shown: bool) -> Outcome {
    let mut s = Script::of(Mesh(3), seed, is_shown)?;
    for command in ["MULTI", "SET a 1", "DEL a", "INCR a", "INCR a", "SET b 2 PX 90000", "APPEND b 3", "EXEC"]
    {
        s.at(0, command)?;
    }
    s.heal()?;
    s.expect_all("GET a", "$1 2")?;
    s.expect_all("GET b", "$2 23")
}

fn cut_chain(seed: u64, is_shown: bool) -> Outcome {
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

fn once_everywhere(seed: u64, is_shown: bool) -> Outcome {
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

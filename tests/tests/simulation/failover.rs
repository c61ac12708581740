//! A link goes silent: whoever pulled over it takes another upstream within two seconds, and goes back to the author gently.
//!
//! A host writes all the time. At every moment each other host that can be reached must hold what was written up to a
//! little before; only in the two seconds after a link went silent it may not.

use std::collections::BTreeMap;

use node::simulation::SimulatedNode;
use shared::clock::Timestamp;
use shared::id::Origin;

use crate::checker;
use crate::script::Script;
use crate::topology::Topology::{self, Mesh, Ring};
use crate::world::{Micros, Outcome};

/// The host that writes.
const WRITER: usize = 0;

/// A write now and then.
const WRITE_INTERVAL: Micros = 50_000;

/// How far a host may lie behind if nothing is wrong, and if its upstream changes in order.
const LAG_MAX: Micros = 150_000;

/// How soon another upstream must deliver.
const FAILOVER_MAX: Micros = 2_000_000;

/// How long two may have each other for upstream: while their subscriptions cross.
const MUTUAL_MAX: Micros = 500_000;

const SEEDS: u64 = 2;

/// Which hosts nothing comes from, and to which.
type Silence = &'static [(usize, usize)];

const CASES: [(&str, Topology, Silence); 6] = [
    ("the author's way to one host in a mesh", Mesh(4), &[(0, 1)]),
    ("the author's link in a mesh, both ways", Mesh(4), &[(0, 1), (1, 0)]),
    ("all links of the author but one", Mesh(4), &[(0, 1), (1, 0), (0, 2), (2, 0)]),
    ("the author's way to one host in a ring", Ring(5), &[(0, 1)]),
    ("a link far from the author in a ring", Ring(5), &[(1, 2), (2, 1)]),
    ("a host that stalls in a ring", Ring(4), &[(0, 1), (1, 0), (1, 2), (2, 1)]),
];

#[test]
fn another_upstream_is_taken_within_two_seconds() {
    for (name, topology, silence) in CASES {
        for seed in 0..SEEDS {
            let run = || Watch::of(topology, silence, seed)?.run();
            run().unwrap_or_else(|problem| panic!("{name}, seed {seed}: {problem}"));
        }
    }
}

/// A run in which one host writes, and the others are watched.
struct Watch {
    script: Script,
    silence: Silence,
    origin: Origin,
    /// What was written when.
    written: Vec<(Micros, Timestamp)>,
    upstreams: BTreeMap<usize, usize>,
    changes: BTreeMap<usize, u32>,
    /// Since when two have each other.
    mutual: BTreeMap<(usize, usize), Micros>,
}

impl Watch {
    fn of(topology: Topology, silence: Silence, seed: u64) -> Outcome<Self> {
        let mut script = Script::of(topology, seed, false)?;
        script.at(WRITER, "SET first write")?;
        script.ms(5_000)?;
        let origin = script.world.hosts[WRITER].node.as_ref().map(SimulatedNode::origin);
        let origin = origin.ok_or("the writer is down")?;
        let (written, upstreams, changes) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Ok(Self { script, silence, origin, written, upstreams, changes, mutual: BTreeMap::new() })
    }

    fn run(mut self) -> Outcome {
        self.pass(2_000_000, 0)?;
        self.changes.clear();
        self.silence.iter().for_each(|(from, to)| self.script.block(*from, *to));
        // Long enough for the link to be given up, and for what was avoided to be tried again.
        self.pass(20_000_000, FAILOVER_MAX)?;
        self.check_changes("while it is silent", 2)?;
        let now = self.script.world.now;
        self.silence.iter().for_each(|(from, to)| self.script.world.network.open(*from, *to, now));
        self.changes.clear();
        // Who was cut off has two seconds, too, once its links are up again.
        self.pass(20_000_000, 10_000_000)?;
        self.check_changes("when it is back", 3)?;
        self.check_authors()?;
        self.script.heal()
    }

    /// Lets time pass while there are writes. From `grace` on no host that can be reached lies behind.
    fn pass(&mut self, duration: Micros, grace: Micros) -> Outcome {
        let start = self.script.world.now;
        while self.script.world.now < start + duration {
            self.write()?;
            self.script.world.run(WRITE_INTERVAL)?;
            self.look()?;
            if self.script.world.now >= start + grace {
                self.check_lag()?;
            }
        }
        Ok(())
    }

    fn write(&mut self) -> Outcome {
        let now = self.script.world.now;
        let executed = self.script.world.execute(WRITER, &[b"INCR", b"c"]).ok_or("the writer is down")?;
        let written = executed.written.ok_or("the write is refused")?;
        self.written.push((now, written.timestamp));
        Ok(())
    }

    /// Notes who pulls from whom.
    fn look(&mut self) -> Outcome {
        let world = &self.script.world;
        let upstream = |host: usize| world.hosts[host].upstream(self.origin);
        for host in 1..world.hosts.len() {
            if let Some(upstream) = upstream(host)
                && self.upstreams.insert(host, upstream).is_some_and(|before| before != upstream)
            {
                *self.changes.entry(host).or_default() += 1;
            }
            for other in 1..host {
                if upstream(host) != Some(other) || upstream(other) != Some(host) {
                    self.mutual.remove(&(host, other));
                    continue;
                }
                let since = *self.mutual.entry((host, other)).or_insert(world.now);
                if world.now > since + MUTUAL_MAX {
                    return Err(format!("n{host} and n{other} have each other for upstream"));
                }
            }
        }
        Ok(())
    }

    fn check_lag(&self) -> Outcome {
        let world = &self.script.world;
        let settled = self.written.partition_point(|(at, _)| at + LAG_MAX <= world.now);
        let Some((at, due)) = self.written[..settled].last() else { return Ok(()) };
        for host in (1..world.hosts.len()).filter(|host| !self.is_cut_off(*host)) {
            let node = world.hosts[host].node.as_ref();
            let held = node.map(|node| node.frontier().get(self.origin)).unwrap_or_default();
            if held < *due {
                let behind = self.written.iter().find(|(_, timestamp)| *timestamp > held);
                let since = behind.map_or(*at, |(at, _)| *at);
                return Err(format!("n{host} lacks what was written {} ms ago", (world.now - since) / 1_000));
            }
        }
        Ok(())
    }

    /// Whether nothing at all reaches a host at the moment.
    fn is_cut_off(&self, host: usize) -> bool {
        let world = &self.script.world;
        let peers = |one: usize| {
            let dialled = world.hosts[one].peers.iter().copied();
            dialled
                .chain((0..world.hosts.len()).filter(move |other| world.hosts[*other].peers.contains(&one)))
        };
        peers(host).all(|peer| world.network.is_blocked(peer, host))
    }

    fn check_changes(&self, when: &str, most: u32) -> Outcome {
        match self.changes.iter().find(|(_, count)| **count > most) {
            Some((host, count)) => Err(format!("n{host} changed its upstream {count} times {when}")),
            None => Ok(()),
        }
    }

    /// Whoever is linked with the author pulls from it again.
    fn check_authors(&self) -> Outcome {
        let hosts = &self.script.world.hosts;
        for (index, host) in hosts.iter().enumerate().skip(1) {
            let is_linked = host.peers.contains(&WRITER) || hosts[WRITER].peers.contains(&index);
            if is_linked && host.upstream(self.origin) != Some(WRITER) {
                let standings = checker::standings(&self.script.world);
                return Err(format!("n{index} does not pull from the author again:\n{standings}"));
            }
        }
        Ok(())
    }
}

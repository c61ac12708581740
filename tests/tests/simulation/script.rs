//! The words in which scenarios are written.

use node::simulation::Durability;

use crate::agent::Pace;
use crate::checker;
use crate::host::{Blow, Nature, Trap};
use crate::network::Path;
use crate::schedule::heal;
use crate::topology::Topology;
use crate::workload::words;
use crate::world::{Micros, Outcome, World};

/// A scenario under way. Hosts are numbered from 0; times are in milliseconds.
pub(crate) struct Script {
    pub(crate) world: World,
}

impl Script {
    /// Hosts with disks that make every write durable, linked like this, their links up.
    pub(crate) fn of(topology: Topology, seed: u64, is_shown: bool) -> Outcome<Self> {
        Self::with(topology, Durability::Always, seed, is_shown)
    }

    /// As [`Script::of`], with another durability.
    pub(crate) fn with(
        topology: Topology,
        durability: Durability,
        seed: u64,
        is_shown: bool,
    ) -> Outcome<Self> {
        Self::of_nature(topology, seed, is_shown, |nature| nature.durability = durability)
    }

    /// As [`Script::of`], with hosts that differ in this from what scenarios' hosts are like.
    pub(crate) fn of_nature(
        topology: Topology,
        seed: u64,
        is_shown: bool,
        change: impl FnOnce(&mut Nature),
    ) -> Outcome<Self> {
        let hosts = topology.hosts();
        let mut nature = Nature {
            has_disk: true,
            durability: Durability::Always,
            seal_after: 200,
            write_after: 1_000,
            pace: Pace { apply: 200, report: 500 },
            log_memory: 64 << 20,
            member_timeout_ms: 86_400_000,
            snapshot_after: 0,
            log_retention: 1 << 30,
            tombstone_budget: 64 << 20,
            maintain_every: 100_000,
            snapshot_step: 1_500,
        };
        change(&mut nature);
        let mut world = World::new(seed, vec![nature; hosts], |_| Path::new(500, 500), is_shown);
        for (host, peers) in topology.peers(&mut world.random).into_iter().enumerate() {
            world.hosts[host].peers = peers;
        }
        for host in 0..hosts {
            world.start(host)?;
        }
        // Until all have joined one group: what is written before that is written once more.
        for _ in 0..60 {
            world.run(1_000_000)?;
            if checker::has_converged(&world) && checker::is_one_group(&world) {
                break;
            }
        }
        // Agents have dialled again by then, and avoid nobody any more.
        world.run(18_000_000)?;
        Ok(Self { world })
    }

    /// A client's command at a host.
    pub(crate) fn at(&mut self, host: usize, command: &str) -> Outcome {
        let command = words(command);
        let command: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
        match self.world.execute(host, &command) {
            Some(executed) if !executed.is_error() => Ok(()),
            Some(executed) => Err(format!("n{host}: {}", String::from_utf8_lossy(&executed.reply))),
            None => Err(format!("n{host} is down")),
        }
    }

    /// A client's command at a host that may refuse it.
    pub(crate) fn try_at(&mut self, host: usize, command: &str) {
        let command = words(command);
        let command: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
        let _refused = self.world.execute(host, &command);
    }

    /// A host removes a key of the first database for want of memory.
    pub(crate) fn evict(&mut self, host: usize, key: &str) {
        self.world.evict(host, 0, key.as_bytes());
    }

    /// An operator has a host forget a member.
    pub(crate) fn forget(&mut self, host: usize, name: &str) {
        let _known = self.world.hosts[host].node.as_ref().is_some_and(|node| node.forget(name));
    }

    /// A host loses power as soon as it notes this.
    pub(crate) fn trap(&mut self, host: usize, text: &'static str) {
        self.world.hosts[host].trap = Some(Trap { text, blow: Blow::PowerLoss });
    }

    /// Waits until that has come to pass.
    pub(crate) fn await_trap(&mut self, host: usize) -> Outcome {
        for _ in 0..600 {
            match self.world.hosts[host].trap {
                Some(_) => self.ms(100)?,
                None => return Ok(()),
            }
        }
        Err(format!("the trap at n{host} was not sprung"))
    }

    /// Time passes.
    pub(crate) fn ms(&mut self, ms: Micros) -> Outcome {
        self.world.run(ms * 1_000)
    }

    /// Nothing comes from `from` to `to`.
    pub(crate) fn block(&mut self, from: usize, to: usize) {
        self.world.network.block(from, to);
    }

    /// What waits for one host to another, and what comes, passes.
    pub(crate) fn open(&mut self, from: usize, to: usize) {
        let now = self.world.now;
        self.world.network.open(from, to, now);
    }

    /// Nothing passes between two hosts.
    pub(crate) fn cut(&mut self, one: usize, other: usize) {
        self.block(one, other);
        self.block(other, one);
    }

    /// Everything passes between two hosts again.
    pub(crate) fn join(&mut self, one: usize, other: usize) {
        let now = self.world.now;
        self.world.network.open(one, other, now);
        self.world.network.open(other, one, now);
    }

    /// What a host replies now.
    pub(crate) fn expect(&mut self, host: usize, command: &str, reply: &str) -> Outcome {
        let words = words(command);
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let executed = self.world.execute(host, &words).ok_or_else(|| format!("n{host} is down"))?;
        let found = String::from_utf8_lossy(&executed.reply).replace("\r\n", " ");
        if found.trim_end() == reply {
            Ok(())
        } else {
            Err(format!("n{host}: {command} -> {found}, not {reply}\n{}", checker::standings(&self.world)))
        }
    }

    /// What all hosts reply now.
    pub(crate) fn expect_all(&mut self, command: &str, reply: &str) -> Outcome {
        (0..self.world.hosts.len()).try_for_each(|host| self.expect(host, command, reply))
    }

    /// Heals everything, waits until all nodes hold the same, and checks what always holds.
    pub(crate) fn heal(&mut self) -> Outcome {
        heal(&mut self.world)?;
        checker::check_digests(&self.world)?;
        checker::check(&self.world).map(drop)
    }
}

//! What grows with the number of masters.
//!
//! ```text
//! TANDEM_LONG=1 cargo test -p tests --test simulation scale -- --nocapture      the whole table
//! HOSTS=30 SHAPE=ring cargo test ...            one row; its memory is that of a process that did nothing before
//! ```
//!
//! Each host writes [`WRITES`] times in [`LOADED`]. What crosses the network is counted message by message. Memory is
//! by how much the process has grown, for each host: a node, an agent, and what the simulation keeps of both.

use std::time::Instant;

use node::simulation::Durability;

use crate::agent::Pace;
use crate::checker;
use crate::host::Nature;
use crate::network::Path;
use crate::topology::Topology::{self, Mesh, Ring, TwoLevelStar};
use crate::traffic::{Count, Purpose, Traffic};
use crate::world::{Micros, Outcome, World};

const IDLE: Micros = 10_000_000;
const LOADED: Micros = 5_000_000;
const WRITES: u64 = 10;
const VALUE_BYTES: usize = 100;

/// Until a group has formed.
const FORMING_MAX: Micros = 600_000_000;

/// What was measured of one group.
struct Row {
    topology: Topology,
    /// Bytes of a write as its author has sealed them, in a batch of its own.
    batch_bytes: f64,
    /// For each write and receiving host, the mean and the most that one host received.
    copies: f64,
    copies_max: f64,
    bytes_per_write: f64,
    idle: Rates,
    loaded: Rates,
    bytes_per_host: u64,
}

/// What is received each second.
struct Rates {
    announcements_per_host: f64,
    /// By the host that receives most.
    announcement_bytes_per_host: f64,
    /// Over one link, in one direction, where most goes.
    announcement_bytes_per_link: f64,
    frontier_bytes_per_host: f64,
    other_bytes_per_host: f64,
}

#[test]
fn what_grows_with_the_number_of_masters() {
    let is_long = std::env::var("TANDEM_LONG").is_ok_and(|value| value == "1");
    let asked = std::env::var("HOSTS").ok().map(|hosts| vec![hosts.parse().expect("a number of hosts")]);
    let sizes = asked.unwrap_or_else(|| if is_long { vec![3, 10, 30, 100] } else { vec![3, 10] });
    let shape = std::env::var("SHAPE").unwrap_or_default();
    println!("{HEADING}");
    for hosts in sizes {
        let shapes = [Mesh(hosts), Ring(hosts), TwoLevelStar(hosts)];
        for topology in shapes.into_iter().filter(|topology| topology.name().contains(&shape)) {
            let began = Instant::now();
            let row = measure(topology).unwrap_or_else(|problem| panic!("{topology:?}: {problem}"));
            println!("{} {:.0} s", row.line(), began.elapsed().as_secs_f64());
            row.check();
        }
    }
}

const HEADING: &str = "\
masters, topology      | batch msgs, bytes per write and receiver, most | idle: announcements/s, bytes/s per host, per \
link | frontier B/s | other B/s | loaded: the same | KB per host";

impl Row {
    /// What a user counts on, whatever the number of masters.
    fn check(&self) {
        let name = format!("{:?}", self.topology);
        assert!(self.copies_max <= 1.1, "{name}: a write crosses a host {} times", self.copies_max);
        let overhead = self.bytes_per_write / self.batch_bytes;
        assert!(overhead <= 1.1, "{name}: {overhead} copies in bytes");
        let hosts = self.topology.hosts() as f64;
        let Rates { announcements_per_host, announcement_bytes_per_host, .. } = self.idle;
        // Each member is heard once a second by each host, from one peer, in a few bytes.
        assert!(announcements_per_host <= 1.2 * hosts, "{name}: {announcements_per_host} announcements/s");
        assert!(announcement_bytes_per_host <= 60.0 * hosts, "{name}: {announcement_bytes_per_host} bytes/s");
        let loaded = &self.loaded;
        assert!(loaded.announcements_per_host <= 1.2 * hosts, "{name}: {announcements_per_host} when loaded");
    }

    fn line(&self) -> String {
        let name = format!("{:?}", self.topology);
        let rates = |rates: &Rates| {
            format!(
                "{:6.1} {:10.0} {:9.0} | {:9.0} | {:8.0}",
                rates.announcements_per_host,
                rates.announcement_bytes_per_host,
                rates.announcement_bytes_per_link,
                rates.frontier_bytes_per_host,
                rates.other_bytes_per_host,
            )
        };
        format!(
            "{name:18} | {:.2} {:6.1} {:.2} | {} | {} | {:6}",
            self.copies,
            self.bytes_per_write,
            self.copies_max,
            rates(&self.idle),
            rates(&self.loaded),
            self.bytes_per_host / 1_000
        )
    }
}

fn measure(topology: Topology) -> Outcome<Row> {
    let hosts = topology.hosts();
    let resident_before = resident();
    let mut world = formed(topology)?;
    let before = world.network.traffic.clone();
    world.run(IDLE)?;
    let idle = Rates::of(&world.network.traffic.since(&before), topology, IDLE);

    let (before, sealed_before) = (world.network.traffic.clone(), sealed(&world));
    load(&mut world)?;
    let loaded = Rates::of(&world.network.traffic.since(&before), topology, LOADED);
    while !checker::has_converged(&world) {
        world.run(100_000)?;
    }
    let crossed = world.network.traffic.since(&before);
    let sealed: Vec<Count> = sealed(&world).into_iter().zip(sealed_before).map(|(n, b)| n - b).collect();
    let all = sealed.iter().fold(Count::default(), |sum, count| sum + *count);
    let received = (0..hosts).map(|host| (crossed.received(host, Purpose::Batch), all - sealed[host]));
    let copies: Vec<f64> =
        received.clone().map(|(got, others)| got.messages as f64 / others.messages as f64).collect();
    let got_bytes: u64 = received.clone().map(|(got, _)| got.bytes).sum();
    let writes = (hosts as u64 * WRITES) as f64;

    Ok(Row {
        topology,
        batch_bytes: all.bytes as f64 / writes,
        copies: copies.iter().sum::<f64>() / hosts as f64,
        copies_max: copies.iter().copied().fold(0.0, f64::max),
        bytes_per_write: got_bytes as f64 / (writes * (hosts as f64 - 1.0)),
        idle,
        loaded,
        bytes_per_host: resident().saturating_sub(resident_before) / hosts as u64,
    })
}

/// A group of memory-only nodes, whose members all know each other. The first is there first: groups that meet is
/// another matter.
fn formed(topology: Topology) -> Outcome<World> {
    let nature = Nature {
        has_disk: false,
        durability: Durability::No,
        seal_after: 200,
        write_after: 0,
        pace: Pace { apply: 200, report: 500 },
        log_memory: 64 << 20,
        member_timeout_ms: 86_400_000,
        snapshot_after: 0,
        log_retention: 1 << 30,
        tombstone_budget: 64 << 20,
        maintain_every: 100_000,
        snapshot_step: 1_500,
    };
    let hosts = topology.hosts();
    let mut world = World::new(1, vec![nature; hosts], |_| Path::new(500, 500), false);
    for (one, two) in topology.edges() {
        world.hosts[two].peers.push(one);
    }
    for host in 0..hosts {
        world.start(host)?;
        world.run(if host == 1 { 2_000_000 } else { 100_000 })?;
    }
    let until = world.now + FORMING_MAX;
    while !checker::has_converged(&world) || !checker::is_one_group(&world) {
        if world.now > until {
            return Err(format!("no group has formed:\n{}", checker::standings(&world)));
        }
        world.run(1_000_000)?;
    }
    // Agents avoid nobody any more, and authors have taken the place of others.
    world.run(18_000_000)?;
    Ok(world)
}

/// All hosts write, at moments of their own.
fn load(world: &mut World) -> Outcome {
    let hosts = world.hosts.len() as u64;
    let value = vec![b'v'; VALUE_BYTES];
    let start = world.now;
    for write in 0..WRITES * hosts {
        world.run_until(start + write * LOADED / (WRITES * hosts))?;
        let host = (write % hosts) as usize;
        let key = format!("key:{write}");
        world.execute(host, &[b"SET", key.as_bytes(), &value]);
    }
    world.run_until(start + LOADED)
}

/// What each host has sealed.
fn sealed(world: &World) -> Vec<Count> {
    let own = |host: usize| world.hosts[host].node.as_ref().map(node::simulation::SimulatedNode::origin);
    let mut sealed = vec![Count::default(); world.hosts.len()];
    for (origin, _, batch) in world.ledger.batches() {
        if let Some(host) = (0..sealed.len()).find(|host| own(*host) == Some(origin)) {
            sealed[host] = sealed[host] + Count { messages: 1, bytes: batch.bytes.len() as u64 };
        }
    }
    sealed
}

/// What this process has in memory, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = resident.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1_024
}

impl Rates {
    fn of(traffic: &Traffic, topology: Topology, time: Micros) -> Self {
        let hosts = topology.hosts();
        let seconds = time as f64 / 1e6;
        let received = |purpose| (0..hosts).map(move |host| traffic.received(host, purpose));
        let most = |purpose| received(purpose).map(|count| count.bytes).max().unwrap_or(0) as f64 / seconds;
        let announced: u64 = received(Purpose::Announcement).map(|count| count.messages).sum();
        let links = topology.edges().into_iter().flat_map(|(one, two)| [(one, two), (two, one)]);
        let over = links.map(|(from, to)| traffic.between(from, to, Purpose::Announcement).bytes);
        Self {
            announcements_per_host: announced as f64 / seconds / hosts as f64,
            announcement_bytes_per_host: most(Purpose::Announcement),
            announcement_bytes_per_link: over.max().unwrap_or(0) as f64 / seconds,
            frontier_bytes_per_host: most(Purpose::Frontier),
            other_bytes_per_host: most(Purpose::Talk) + most(Purpose::Upkeep),
        }
    }
}

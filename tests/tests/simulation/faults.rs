//! What goes wrong, and how it is put right again.

use node::simulation::Disk;
use shared::id::NodeId;

use crate::host::{Blow, Trap};
use crate::network::Path;
use crate::topology::Topology;
use crate::world::{Micros, Outcome, World, number};

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A connection is reset, with all that was on its way.
    Cut,
    /// A connection is gone, and one side does not notice.
    HalfOpen,
    /// Nothing passes between two hosts, both ways.
    Partition,
    /// Nothing passes in one direction.
    OneWay,
    /// A host is cut off from all others.
    Isolate,
    /// A path takes long.
    Delay,
    /// A path takes little at a time.
    Throttle,
    PowerLoss,
    /// A host is cut off, writes on for a while, and loses power: only its disk has what it wrote.
    LonelyPowerLoss,
    ProcessCrash,
    Stop,
    /// The power goes in the midst of a disk operation soon.
    PowerLossInWrite,
    DiskFull,
    AgentKill,
    Repoint,
    ClockJump,
    /// The directory is put back to an older copy of it.
    OldCopy,
    /// The directory is gone, and the node starts as a new one.
    Wipe,
    /// An operator has a node forget a member.
    Forget,
    /// Something hits a host in the midst of joining, reconciling, writing a snapshot.
    Trap,
}

const ALL: [Fault; 21] = [
    Fault::Cut,
    Fault::HalfOpen,
    Fault::Partition,
    Fault::OneWay,
    Fault::Isolate,
    Fault::Delay,
    Fault::Throttle,
    Fault::PowerLoss,
    Fault::LonelyPowerLoss,
    Fault::ProcessCrash,
    Fault::Stop,
    Fault::PowerLossInWrite,
    Fault::DiskFull,
    Fault::AgentKill,
    Fault::Repoint,
    Fault::ClockJump,
    Fault::OldCopy,
    Fault::Wipe,
    Fault::Forget,
    Fault::Trap,
    Fault::Trap,
];

/// What a host notes when it is worth hitting it.
const MIDSTS: [&str; 9] = [
    "Receiving {",
    "Receiving {",
    "begins a snapshot",
    "snapshot of",
    "Joined",
    "Received {",
    "Reissued",
    "evicts",
    "drops dead things",
];

/// What ends a fault.
#[derive(Debug)]
pub(crate) enum Repair {
    Open(Vec<(usize, usize)>),
    Path(usize, usize, Path),
    Start(usize),
    /// Not a repair at all; these come after it.
    LosePower(usize, Box<Self>),
    StartAgent(usize),
    Clock(usize),
    /// Put back the copy that was made then.
    PutBack(usize, Disk, Micros),
}

impl Fault {
    /// The faults of one run: none, one sort, a few, or all.
    pub(crate) fn draw_some(random: &mut fastrand::Rng) -> Vec<Self> {
        let count = [0, 1, 1, 3, 3, 6, ALL.len()][random.usize(..7)];
        if count == ALL.len() {
            return ALL.to_vec();
        }
        (0..count).map(|_| ALL[random.usize(..ALL.len())]).collect()
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::HalfOpen => "half open",
            Self::Partition => "partition",
            Self::OneWay => "one-way cut",
            Self::Isolate => "isolation",
            Self::Delay => "delay",
            Self::Throttle => "throttle",
            Self::PowerLoss => "power loss",
            Self::LonelyPowerLoss => "lonely power loss",
            Self::ProcessCrash => "process crash",
            Self::Stop => "stop",
            Self::PowerLossInWrite => "power loss in write",
            Self::DiskFull => "disk full",
            Self::AgentKill => "agent kill",
            Self::Repoint => "other topology",
            Self::ClockJump => "clock jump",
            Self::OldCopy => "old copy",
            Self::Wipe => "new directory",
            Self::Forget => "forget",
            Self::Trap => "trap set",
        }
    }

    /// Lets it happen somewhere, if it can. Returns what ends it.
    pub(crate) fn strike(self, world: &mut World) -> Outcome<Option<Repair>> {
        let hosts = world.hosts.len();
        let host = world.random.usize(..hosts);
        let other = (host + world.random.usize(1..hosts)) % hosts;
        world.note(format_args!("fault: {} at n{host}, n{other}", self.name()));
        let struck = match self {
            Self::Cut | Self::HalfOpen | Self::Partition | Self::OneWay | Self::Isolate => {
                self.strike_links(world, host, other)
            }
            Self::LonelyPowerLoss => {
                let opening = Self::Isolate.strike_links(world, host, other).flatten();
                Some(opening.map(|opening| Repair::LosePower(host, Box::new(opening))))
            }
            Self::Delay | Self::Throttle => Some(Some(self.strike_path(world, host, other))),
            Self::Repoint => {
                Topology::draw(hosts, &mut world.random).apply(world);
                Some(None)
            }
            Self::ClockJump => Some(strike_clock(world, host)),
            Self::Forget => {
                let name = format!("n{other}");
                let forgotten = world.hosts[host].node.as_ref().is_some_and(|node| node.forget(&name));
                forgotten.then_some(None)
            }
            Self::Trap => {
                let text = MIDSTS[world.random.usize(..MIDSTS.len())];
                let operations = world.random.u64(..60);
                let blows =
                    [Blow::PowerLoss, Blow::ProcessCrash, Blow::PowerLossInWrite(operations), Blow::Cut];
                let blow = blows[world.random.usize(..blows.len())];
                world.hosts[host].trap = Some(Trap { text, blow });
                Some(None)
            }
            _ => self.strike_host(world, host)?,
        };
        if struck.is_some() {
            world.count(self.name());
        }
        Ok(struck.flatten())
    }

    fn strike_links(self, world: &mut World, host: usize, other: usize) -> Option<Option<Repair>> {
        if matches!(self, Self::Cut | Self::HalfOpen) {
            let sockets = world.network.between(host, other);
            let socket = *sockets.get(world.random.usize(..sockets.len().max(1)))?;
            world.network.break_end(socket, self == Self::Cut);
            return Some(None);
        }
        let hosts = world.hosts.len();
        let mut blocked = match self {
            Self::Partition => vec![(host, other), (other, host)],
            Self::OneWay => vec![(host, other)],
            _ => (0..hosts).flat_map(|peer| [(host, peer), (peer, host)]).collect(),
        };
        blocked.retain(|(from, to)| !world.network.path_mut(*from, *to).is_blocked);
        for (from, to) in &blocked {
            world.network.block(*from, *to);
        }
        Some(Some(Repair::Open(blocked)))
    }

    fn strike_path(self, world: &mut World, from: usize, to: usize) -> Repair {
        let slow = world.random.u64(1..2_000);
        let path = world.network.path_mut(from, to);
        let before = *path;
        if self == Self::Delay {
            path.delay += slow * 1_000;
        } else {
            path.per_kilobyte = slow * 100;
        }
        Repair::Path(from, to, before)
    }

    fn strike_host(self, world: &mut World, host: usize) -> Outcome<Option<Option<Repair>>> {
        if world.hosts[host].node.is_none() {
            return Ok(None);
        }
        let disk = world.hosts[host].disk.clone();
        match (self, disk) {
            (Self::PowerLoss | Self::ProcessCrash, _) => world.crash(host, self == Self::PowerLoss),
            (Self::Stop, _) => world.stop(host)?,
            (Self::AgentKill, _) => {
                world.kill_agent(host);
                return Ok(Some(Some(Repair::StartAgent(host))));
            }
            (Self::PowerLossInWrite, Some(disk)) => {
                disk.stop_after(world.random.u64(..12));
                return Ok(Some(None));
            }
            (Self::DiskFull, Some(disk)) => {
                let operations = if world.random.bool() { 1 } else { world.random.u64(1..20) };
                disk.fail_for(operations, true);
                return Ok(Some(None));
            }
            (Self::OldCopy, Some(disk)) => {
                let copy = disk.copy(world.random.u64(..));
                return Ok(Some(Some(Repair::PutBack(host, copy, world.now))));
            }
            (Self::Wipe, _) => {
                world.crash(host, true);
                let random = &mut world.random;
                let (node_id, seed) = (NodeId(number(random)), random.u64(..));
                world.hosts[host].node_id = node_id;
                world.hosts[host].disk = world.hosts[host].disk.as_ref().map(|_| Disk::new(seed));
                world.ledger.forgive(host, 0);
            }
            _ => return Ok(None),
        }
        Ok(Some(Some(Repair::Start(host))))
    }
}

/// Moves a wall clock, mostly by less than what links bear.
fn strike_clock(world: &mut World, host: usize) -> Option<Repair> {
    let bound = [20, 800, 3_000, 3_000, 9_000, 70_000][world.random.usize(..6)];
    let ahead = world.random.i64(-bound..=bound);
    world.hosts[host].clock_ahead_ms = ahead;
    world.clock_off_ms = world.clock_off_ms.max(ahead.unsigned_abs());
    world.note(format_args!("n{host} clock {ahead:+} ms"));
    world.random.bool().then_some(Repair::Clock(host))
}

impl Repair {
    /// Puts it right, unless that came about in another way. Returns what is to follow.
    pub(crate) fn carry_out(self, world: &mut World) -> Outcome<Option<Self>> {
        let now = world.now;
        world.note(format_args!("repair: {}", self.describe()));
        match self {
            Self::Open(paths) => {
                paths.into_iter().for_each(|(from, to)| world.network.open(from, to, now));
            }
            Self::Path(from, to, before) => {
                world.network.path_mut(from, to).slow_as(before);
            }
            Self::Start(host) if world.hosts[host].node.is_none() => world.start(host)?,
            Self::StartAgent(host) if !world.hosts[host].has_agent => world.start_agent(host),
            Self::Clock(host) => world.hosts[host].clock_ahead_ms = 0,
            Self::PutBack(host, disk, since) => {
                if world.hosts[host].node.is_some() {
                    world.crash(host, true);
                }
                world.hosts[host].disk = Some(disk);
                world.ledger.forgive(host, since);
                world.start(host)?;
            }
            Self::LosePower(host, opening) => {
                if world.hosts[host].node.is_some() {
                    world.crash(host, true);
                    world.start(host)?;
                }
                return Ok(Some(*opening));
            }
            Self::Start(_) | Self::StartAgent(_) => {}
        }
        Ok(None)
    }

    fn describe(&self) -> String {
        match self {
            Self::Open(paths) => format!("open {paths:?}"),
            Self::Path(from, to, _) => format!("path {from} to {to}"),
            Self::Start(host) => format!("start n{host}"),
            Self::LosePower(host, _) => format!("power loss of the lonely n{host}"),
            Self::StartAgent(host) => format!("agent of n{host}"),
            Self::Clock(host) => format!("clock of n{host}"),
            Self::PutBack(host, ..) => format!("put back an old copy at n{host}"),
        }
    }
}

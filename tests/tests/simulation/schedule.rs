//! What happens in a run, and when: all of it drawn from the seed.
//!
//! Random schedules seldom meet the worst moments, so they are biased: few keys, slow links, one sort of trouble at a
//! time as well as all at once. Each run draws what it is like, and then lives by that.

use std::collections::BTreeMap;

use node::simulation::{Durability, take_branches};

use crate::agent::Pace;
use crate::checker;
use crate::faults::{Fault, Repair};
use crate::host::Nature;
use crate::network::Path;
use crate::report::Report;
use crate::topology::{HOSTS_OF_PARTS_MIN, Topology, connected};
use crate::workload::Workload;
use crate::world::{Micros, Outcome, World};

/// Healed, a group must be equal after this, and after what its clocks were off: silence is noticed after 5 s, a peer
/// is dialled again after as long, a name is free after 5 s, and an upstream that stalled is avoided for 10 s. Most of it is
/// for views of a group that have parted, which nodes join one after the other, 15 s each: and before that, an eviction on which
/// those who do it cannot agree is held for stuck after 60 s, and of these two may follow one another.
const CONVERGENCE_MAX: Micros = 240_000_000;

/// In smaller seeds no roles are switched: those with a story are older than that, and stay what they were.
pub(crate) const ROLES_SINCE: u64 = 100_000_000;

/// In smaller seeds no group is so large that its topology may be made of parts: they stay what they were.
pub(crate) const PARTS_SINCE: u64 = 400_000_000;

/// In smaller seeds all keys hold strings: they stay what they were.
pub(crate) const COLLECTIONS_SINCE: u64 = 500_000_000;

/// In smaller seeds all that counts is whole numbers: they stay what they were.
pub(crate) const DECIMALS_SINCE: u64 = 600_000_000;

/// In smaller seeds no keys are removed for want of memory: they stay what they were.
pub(crate) const EVICTIONS_SINCE: u64 = 700_000_000;

/// How often it is looked at whether it is.
const LOOK_INTERVAL: Micros = 100_000;

/// What a run is like.
struct Plan {
    topology: Topology,
    workload: Workload,
    commands: u32,
    command_gap: Micros,
    faults: Vec<Fault>,
    fault_gap: Micros,
    /// Roles are switched this often, if they are.
    role_gap: Option<Micros>,
    /// Keys are removed for want of memory this often, if they are.
    eviction_gap: Option<Micros>,
    /// Links are up before the first command.
    settles: bool,
    /// Those before this host hear nothing of the others for so long, so that two groups are founded.
    apart: Option<(usize, Micros)>,
}

/// What happens at a moment.
enum Step {
    Command,
    Fault,
    Role,
    Evict,
    Repair(Repair),
}

/// A run under way.
pub(crate) struct Schedule {
    plan: Plan,
    /// Of roles alone, so that all else is as without them.
    roles: fastrand::Rng,
    /// Of keys that are removed for want of memory, likewise.
    evictions: fastrand::Rng,
    agenda: BTreeMap<(Micros, u64), Step>,
    steps: u64,
    commands_left: u32,
}

/// A run in which something did not hold.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) problem: String,
    /// How much had been done: of two runs that fail alike the shorter tells more.
    pub(crate) turns: u64,
}

/// Runs a seed to its end.
///
/// # Errors
/// What did not hold.
pub(crate) fn run(seed: u64, is_shown: bool) -> Result<Report, Failure> {
    let _of_a_run_that_failed = take_branches();
    let (mut schedule, mut world) = Schedule::draw(seed, is_shown);
    schedule.run(&mut world).map_err(|problem| Failure { problem, turns: world.turns_taken })
}

impl Schedule {
    fn run(&mut self, world: &mut World) -> Outcome<Report> {
        self.live(world)?;
        heal(world)?;
        let changes = checker::check(world)?;
        if world.faults.is_empty() && self.plan.settles && world.ledger.given_up.is_empty() {
            checker::check_once(world)?;
        }
        Ok(Report::of(world, self.plan.topology.name(), u64::from(self.plan.commands), changes))
    }

    fn draw(seed: u64, is_shown: bool) -> (Self, World) {
        let mut random = fastrand::Rng::with_seed(seed ^ 0x5eed);
        let few = [2, 3, 3, 3, 4, 5][random.usize(..6)];
        let is_large = seed >= PARTS_SINCE && random.bool();
        let hosts = if is_large { HOSTS_OF_PARTS_MIN + random.usize(..3) } else { few };
        let delay = [100, 1_000, 10_000, 100_000][random.usize(..4)];
        let jitter = [0, delay, 20 * delay][random.usize(..3)];
        // Shorter than the dialling and the silence of links no group keeps together.
        let member_timeout_ms = [86_400_000, 86_400_000, 86_400_000, 20_000][random.usize(..4)];
        let natures = (0..hosts).map(|_| nature(member_timeout_ms, &mut random)).collect();
        let path = |random: &mut fastrand::Rng| Path::new(random.u64(delay / 2..=delay), jitter);
        let mut world = World::new(seed, natures, path, is_shown);
        let topology = Topology::draw(hosts, &mut random);
        for (host, peers) in topology.peers(&mut random).into_iter().enumerate() {
            world.hosts[host].peers = peers;
        }
        let settles = random.u8(..3) == 0;
        let apart = (random.u8(..5) == 0)
            .then(|| (random.usize(1..hosts), [50_000, 2_000_000, 9_000_000][random.usize(..3)]));
        let faults = Fault::draw_some(&mut random);
        let commands = [60, 150, 300, 500][random.usize(..4)];
        let command_gap = [500, 3_000, 20_000, 60_000][random.usize(..4)];
        let fault_count = [3, 8, 20, 50][random.usize(..4)];
        let mut roles = fastrand::Rng::with_seed(seed ^ 0x0007_01e5);
        let role_gap = (seed >= ROLES_SINCE && roles.u8(..3) == 0)
            .then(|| u64::from(commands) * command_gap / 3 / [2, 5, 12][roles.usize(..3)]);
        let mut kinds = fastrand::Rng::with_seed(seed ^ 0x00c0_11ec);
        let collections = seed >= COLLECTIONS_SINCE && kinds.u8(..4) > 0;
        let mut evictions = fastrand::Rng::with_seed(seed ^ 0x000e_71c7);
        let eviction_gap = (seed >= EVICTIONS_SINCE && evictions.u8(..3) == 0)
            .then(|| u64::from(commands) * command_gap / 3 / [3, 15, 60][evictions.usize(..3)]);
        let plan = Plan {
            topology,
            workload: Workload {
                collections,
                decimals: seed >= DECIMALS_SINCE,
                ..Workload::draw(&mut random)
            },
            commands,
            command_gap,
            // Over the time that the commands will take.
            fault_gap: u64::from(commands) * command_gap / 3 / fault_count,
            faults,
            role_gap,
            eviction_gap,
            settles,
            apart,
        };
        let commands_left = plan.commands;
        (Self { plan, roles, evictions, agenda: BTreeMap::new(), steps: 0, commands_left }, world)
    }

    fn live(&mut self, world: &mut World) -> Outcome {
        for host in 0..world.hosts.len() {
            world.start(host)?;
        }
        if let Some((border, time)) = self.plan.apart {
            let hosts = world.hosts.len();
            let crossing = |(one, two): &(usize, usize)| (*one < border) != (*two < border);
            let pairs = (0..hosts).flat_map(|one| (0..hosts).map(move |two| (one, two)));
            let blocked: Vec<_> = pairs.filter(crossing).collect();
            blocked.iter().for_each(|(from, to)| world.network.block(*from, *to));
            world.count("two groups");
            let meeting = world.now + time;
            self.at(meeting, Step::Repair(Repair::Open(blocked)));
        }
        if self.plan.settles {
            world.run(4_000_000)?;
        }
        let now = world.now;
        self.at(now, Step::Command);
        if !self.plan.faults.is_empty() {
            let gap = world.random.u64(0..=self.plan.fault_gap);
            self.at(now + gap, Step::Fault);
        }
        self.role_later(world);
        self.eviction_later(world);
        while self.commands_left > 0
            && let Some(((at, _), step)) = self.agenda.pop_first()
        {
            world.run_until(at)?;
            self.step(world, step)?;
        }
        Ok(())
    }

    fn step(&mut self, world: &mut World, step: Step) -> Outcome {
        match step {
            Step::Command => {
                self.commands_left -= 1;
                let host = world.random.usize(..world.hosts.len());
                self.plan.workload.act(world, host);
                let gap =
                    if world.random.u8(..4) == 0 { 0 } else { world.random.u64(0..=self.plan.command_gap) };
                self.at(world.now + gap, Step::Command);
            }
            Step::Fault => {
                let fault = self.plan.faults[world.random.usize(..self.plan.faults.len())];
                let repair = fault.strike(world)?;
                self.repair_later(world, repair);
                let gap = world.random.u64(0..=2 * self.plan.fault_gap);
                self.at(world.now + gap, Step::Fault);
            }
            Step::Role => {
                let host = self.roles.usize(..world.hosts.len());
                world.switch_role(host, !world.hosts[host].is_read_only);
                self.role_later(world);
            }
            Step::Evict => {
                let host = self.evictions.usize(..world.hosts.len());
                let (db, key) = self.plan.workload.any_key(&mut self.evictions);
                world.evict(host, db, &key);
                self.eviction_later(world);
            }
            Step::Repair(repair) => {
                let next = repair.carry_out(world)?;
                self.repair_later(world, next);
            }
        }
        Ok(())
    }

    fn role_later(&mut self, world: &World) {
        if let Some(gap) = self.plan.role_gap {
            let after = self.roles.u64(0..=2 * gap);
            self.at(world.now + after, Step::Role);
        }
    }

    fn eviction_later(&mut self, world: &World) {
        if let Some(gap) = self.plan.eviction_gap {
            let after = self.evictions.u64(0..=2 * gap);
            self.at(world.now + after, Step::Evict);
        }
    }

    fn repair_later(&mut self, world: &mut World, repair: Option<Repair>) {
        let Some(repair) = repair else { return };
        let lasting = [10_000, 10_000, 200_000, 200_000, 1_000_000, 1_000_000, 8_000_000, 30_000_000]
            [world.random.usize(..8)];
        let after = world.random.u64(0..=lasting);
        self.at(world.now + after, Step::Repair(repair));
    }

    fn at(&mut self, at: Micros, step: Step) {
        self.steps += 1;
        self.agenda.insert((at, self.steps), step);
    }
}

fn nature(member_timeout_ms: u64, random: &mut fastrand::Rng) -> Nature {
    let durabilities = [Durability::Always, Durability::Always, Durability::Everysec, Durability::No];
    Nature {
        has_disk: random.u8(..5) > 0,
        durability: durabilities[random.usize(..4)],
        seal_after: [0, 200, 200, 5_000, 60_000][random.usize(..5)],
        write_after: [0, 1_000, 20_000][random.usize(..3)],
        pace: Pace {
            apply: [0, 100, 1_000, 20_000, 300_000][random.usize(..5)],
            report: [0, 500, 5_000][random.usize(..3)],
        },
        log_memory: [64 << 20, 64 << 20, 20_000][random.usize(..3)],
        member_timeout_ms,
        snapshot_after: [0, 3_000, 20_000][random.usize(..3)],
        log_retention: [0, 10_000, 1 << 20][random.usize(..3)],
        tombstone_budget: [64 << 20, 64 << 20, 64 << 20, 2_000][random.usize(..4)],
        maintain_every: [100_000, 100_000, 100_000, 2_000][random.usize(..4)],
        snapshot_step: [100, 1_500, 20_000][random.usize(..3)],
    }
}

/// Makes everything whole, and waits until all nodes hold the same.
///
/// # Errors
/// If that does not come.
pub(crate) fn heal(world: &mut World) -> Outcome {
    world.note(format_args!("all is healed"));
    let hosts = world.hosts.len();
    for from in 0..hosts {
        for to in 0..hosts {
            world.network.path_mut(from, to).slow_as(Path::new(500, 0));
            let now = world.now;
            world.network.open(from, to, now);
        }
    }
    for host in 0..hosts {
        world.hosts[host].trap = None;
        world.hosts[host].clock_ahead_ms = 0;
        if world.hosts[host].node.is_none() {
            world.start(host)?;
        }
        if !world.hosts[host].has_agent {
            world.start_agent(host);
        }
        if world.hosts[host].is_read_only {
            world.switch_role(host, false);
        }
    }
    if !connected(&world.hosts.iter().map(|host| host.peers.clone()).collect::<Vec<_>>()) {
        Topology::Mesh(hosts).apply(world);
    }
    world.healed_at = world.now;
    let until = world.now + CONVERGENCE_MAX + 4_000 * world.clock_off_ms;
    // What is open is sealed by then.
    world.run(LOOK_INTERVAL)?;
    while let Err(problem) = converged(world) {
        if world.now > until {
            return Err(problem);
        }
        world.run(LOOK_INTERVAL)?;
    }
    world.note(format_args!("all hold the same"));
    Ok(())
}

/// With equal frontiers only strays make a difference, which the nodes find when they compare.
fn converged(world: &World) -> Outcome {
    if checker::has_converged(world) {
        return checker::check_digests(world);
    }
    Err(format!(
        "healed for {} s, and not equal:\n{}",
        (world.now - world.healed_at) / 1_000_000,
        checker::standings(world)
    ))
}

//! What runs did: so that seeds which do nothing are seen.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use node::simulation::take_branches;

use crate::world::World;

/// What one run, or many together, did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) seeds: u64,
    pub(crate) commands: u64,
    pub(crate) changes: u64,
    pub(crate) acknowledged: u64,
    pub(crate) messages: u64,
    pub(crate) turns: u64,
    pub(crate) virtual_ms: u64,
    /// How long after all was healed the nodes held the same; of many runs the longest, with its seed.
    pub(crate) convergence_ms: u64,
    pub(crate) slowest: u64,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    pub(crate) events: BTreeMap<&'static str, u64>,
    pub(crate) topologies: BTreeMap<&'static str, u64>,
    pub(crate) branches: BTreeMap<&'static str, u64>,
    /// Runs without a fault, in which every batch came once.
    pub(crate) faultless: u64,
    pub(crate) trace_lines: u64,
    /// Of the trace and of all traffic: equal seeds give equal hashes, in every process.
    pub(crate) trace_hash: u64,
}

impl Report {
    pub(crate) fn of(world: &World, topology: &'static str, commands: u64, changes: u64) -> Self {
        Self {
            seeds: 1,
            commands,
            changes,
            acknowledged: world.ledger.acknowledged.len() as u64,
            messages: world.network.messages,
            turns: world.turns_taken,
            virtual_ms: world.now / 1_000,
            convergence_ms: world.now.saturating_sub(world.healed_at) / 1_000,
            slowest: world.seed,
            faults: world.faults.clone(),
            events: world.events.clone(),
            topologies: BTreeMap::from([(topology, 1)]),
            branches: take_branches(),
            faultless: u64::from(world.faults.is_empty()),
            trace_lines: world.trace.lines,
            trace_hash: world.trace.hash() ^ world.network.traffic_hash(),
        }
    }

    /// Adds another run's.
    pub(crate) fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.commands += other.commands;
        self.changes += other.changes;
        self.acknowledged += other.acknowledged;
        self.messages += other.messages;
        self.turns += other.turns;
        self.virtual_ms += other.virtual_ms;
        if other.convergence_ms > self.convergence_ms {
            (self.convergence_ms, self.slowest) = (other.convergence_ms, other.slowest);
        }
        self.faultless += other.faultless;
        self.trace_lines += other.trace_lines;
        self.trace_hash ^= other.trace_hash;
        let maps = [
            (&mut self.faults, &other.faults),
            (&mut self.events, &other.events),
            (&mut self.topologies, &other.topologies),
            (&mut self.branches, &other.branches),
        ];
        for (into, from) in maps {
            for (name, count) in from {
                *into.entry(name).or_default() += count;
            }
        }
    }

    /// The summary, given the real time that it took.
    pub(crate) fn summary(&self, took: Duration) -> String {
        let seeds = self.seeds.max(1);
        format!("{self}\n{:.1} ms per seed", took.as_secs_f64() * 1_000.0 / seeds as f64)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} seeds ({} without faults): {} commands, {} changes merged by the model, {} durable writes acknowledged, \
             {} messages, {} turns, {} s of virtual time",
            self.seeds,
            self.faultless,
            self.commands,
            self.changes,
            self.acknowledged,
            self.messages,
            self.turns,
            self.virtual_ms / 1_000
        )?;
        writeln!(
            f,
            "equal {} ms after all was healed at the latest, with seed {}",
            self.convergence_ms, self.slowest
        )?;
        writeln!(f, "traces: {} lines, hash {:016x}", self.trace_lines, self.trace_hash)?;
        writeln!(f, "topologies: {}", Listed(&self.topologies))?;
        writeln!(f, "faults: {}", Listed(&self.faults))?;
        writeln!(f, "came to pass: {}", Listed(&self.events))?;
        write!(f, "merge branches: {}", Listed(&self.branches))
    }
}

struct Listed<'a>(&'a BTreeMap<&'static str, u64>);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, count)) in self.0.iter().enumerate() {
            write!(f, "{}{name} {count}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

//! A host: a node, its disk, its clock, and the agent beside it.

use std::collections::VecDeque;

use node::simulation::{Disk, Durability, Setup, SimulatedClient, SimulatedNode};
use shared::id::{NodeId, Origin};
use shared::link::Now;
use shared::time::WallMillis;
use shared::version::Version;

use crate::agent::{After, Agent, Pace, Surroundings};
use crate::ledger::Ledger;
use crate::network::Network;
use crate::world::{EPOCH_MS, Micros};

pub(crate) const GROUP: &str = "simulated";

/// As production has them.
const REAP_INTERVAL_US: Micros = 100_000;
const CEILING_INTERVAL_US: Micros = 250_000;
const SYNC_INTERVAL_US: Micros = 1_000_000;
const RETRY_US: Micros = 500_000;
const AGENT_RETRY_US: Micros = 100_000;

/// What a host is like, and stays.
#[derive(Clone, Debug)]
pub(crate) struct Nature {
    pub(crate) has_disk: bool,
    pub(crate) durability: Durability,
    /// The open batch is sealed this long after its first write, unless somebody waits for it.
    pub(crate) seal_after: Micros,
    /// The writer has its turn up to this long after there is something to write.
    pub(crate) write_after: Micros,
    pub(crate) pace: Pace,
    pub(crate) log_memory: usize,
    pub(crate) member_timeout_ms: u64,
    pub(crate) snapshot_after: u64,
    pub(crate) log_retention: u64,
    pub(crate) tombstone_budget: usize,
    /// How often the node looks after itself.
    pub(crate) maintain_every: Micros,
    /// How long a step of a snapshot takes.
    pub(crate) snapshot_step: Micros,
}

/// A host. See the module's documentation.
pub(crate) struct Host {
    pub(crate) index: usize,
    pub(crate) nature: Nature,
    pub(crate) node_id: NodeId,
    pub(crate) disk: Option<Disk>,
    pub(crate) node: Option<SimulatedNode>,
    pub(crate) client: Option<SimulatedClient>,
    agent: Option<Agent>,
    /// Whether the agent's process runs, in contact with its node or not.
    pub(crate) has_agent: bool,
    /// The hosts that its agent dials.
    pub(crate) peers: Vec<usize>,
    /// Whether its node was told to refuse writes.
    pub(crate) is_read_only: bool,
    /// How far its wall clock is ahead, in milliseconds.
    pub(crate) clock_ahead_ms: i64,
    timers: Timers,
    /// How far the log was looked at.
    looked_at: u64,
    /// This run's, the newest last.
    origins: Vec<Origin>,
    /// Writes whose replies wait for the disk, and for which position in the log.
    unacknowledged: VecDeque<(u64, Version)>,
    pub(crate) notes: Vec<String>,
    /// What befalls it as soon as it notes something.
    pub(crate) trap: Option<Trap>,
}

/// Something that happens to a host in the midst of what it notes.
#[derive(Clone, Debug)]
pub(crate) struct Trap {
    pub(crate) text: &'static str,
    pub(crate) blow: Blow,
}

/// What a [`Trap`] does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Blow {
    PowerLoss,
    ProcessCrash,
    /// The power goes in the midst of a disk operation soon.
    PowerLossInWrite(u64),
    /// All its connections break.
    Cut,
}

/// When what is due; none if there is no need.
#[derive(Clone, Copy, Debug, Default)]
struct Timers {
    seal: Option<Micros>,
    write: Option<Micros>,
    sync: Micros,
    reap: Micros,
    maintain: Micros,
    listed: Micros,
    snapshot: Micros,
    ceiling: Micros,
    agent: Option<Micros>,
}

impl Host {
    pub(crate) fn new(index: usize, nature: Nature, node_id: NodeId, disk_seed: u64) -> Self {
        Self {
            index,
            disk: nature.has_disk.then(|| Disk::new(disk_seed)),
            nature,
            node_id,
            node: None,
            client: None,
            agent: None,
            has_agent: true,
            peers: Vec::new(),
            is_read_only: false,
            clock_ahead_ms: 0,
            timers: Timers::default(),
            looked_at: 0,
            origins: Vec::new(),
            unacknowledged: VecDeque::new(),
            notes: Vec::new(),
            trap: None,
        }
    }

    pub(crate) fn clocks(&self, now: Micros) -> Now {
        let wall = (EPOCH_MS + now / 1_000).saturating_add_signed(self.clock_ahead_ms);
        Now { mono_us: now, wall: WallMillis(wall) }
    }

    /// Starts the node on what its disk holds.
    ///
    /// # Errors
    /// Why it does not start.
    pub(crate) fn start(&mut self, origin: Origin, now: Micros) -> Result<(), String> {
        let setup = Setup {
            name: format!("n{}", self.index),
            origin,
            node_id: self.node_id,
            durability: self.nature.durability,
            log_memory: self.nature.log_memory,
            max_clock_drift_ms: 5_000,
            member_timeout_ms: self.nature.member_timeout_ms,
            snapshot_after: self.nature.snapshot_after,
            log_retention: self.nature.log_retention,
            segment_bytes: 4_000,
            tombstone_budget: self.nature.tombstone_budget,
            seed: origin.0,
        };
        let clocks = self.clocks(now);
        let node = SimulatedNode::start(self.disk.as_ref(), &setup, clocks)?;
        self.client = Some(node.connect(clocks));
        self.looked_at = node.logged_since(u64::MAX).1;
        self.origins = vec![origin];
        self.node = Some(node);
        self.is_read_only = false;
        self.timers = Timers { agent: Some(now), ceiling: now, ..Timers::default() };
        Ok(())
    }

    /// What the node has written and not sealed yet may have come to others by a page: so it is known before it is lost.
    ///
    /// # Errors
    /// As those of [`Ledger::note`].
    pub(crate) fn note_unsealed(&self, ledger: &mut Ledger, now: Micros) -> Result<(), String> {
        let Some(node) = &self.node else { return Ok(()) };
        node.seal(self.clocks(now));
        let (batches, _) = node.logged_since(self.looked_at);
        batches.iter().try_for_each(|batch| ledger.note(batch, self.origins.contains(&batch.header.origin)))
    }

    /// The node is gone, with what was in its memory.
    pub(crate) fn forget_node(&mut self) {
        self.node = None;
        self.client = None;
        self.agent = None;
        self.unacknowledged.clear();
    }

    /// The agent is gone; the node does not notice.
    pub(crate) fn forget_agent(&mut self) {
        self.agent = None;
        self.has_agent = false;
    }

    /// An agent is started.
    pub(crate) fn start_agent(&mut self, now: Micros) {
        self.has_agent = true;
        self.timers.agent = Some(now);
    }

    /// How many links its agent has.
    pub(crate) fn links_up(&self) -> usize {
        self.agent.as_ref().map_or(0, Agent::links_up)
    }

    /// The host that its agent pulls an origin from.
    pub(crate) fn upstream(&self, origin: Origin) -> Option<usize> {
        self.agent.as_ref()?.upstream(origin)?.strip_prefix('n')?.parse().ok()
    }

    /// Carries out a command for a client, and sees to it that its write is sealed and acknowledged in time.
    pub(crate) fn execute(&mut self, arguments: &[&[u8]], now: Micros) -> Option<node::simulation::Executed> {
        let clocks = self.clocks(now);
        let (node, client) = (self.node.as_ref()?, self.client.as_mut()?);
        let executed = node.execute(client, arguments, clocks);
        if let Some(write) = executed.written {
            if self.disk.is_some() && self.nature.durability == Durability::Always {
                let position = node.seal(clocks);
                self.unacknowledged.push_back((position, write));
            } else {
                self.timers.seal.get_or_insert(now + self.nature.seal_after);
            }
        }
        Some(executed)
    }

    /// Removes a key as one is for want of memory. Says whether there was one.
    pub(crate) fn evict(&mut self, db: u8, key: &[u8], now: Micros) -> bool {
        let clocks = self.clocks(now);
        let is_evicted = self.node.as_ref().is_some_and(|node| node.evict(db, key, clocks));
        if is_evicted {
            self.timers.seal.get_or_insert(now + self.nature.seal_after);
        }
        is_evicted
    }

    /// Seals what is open now.
    pub(crate) fn seal(&mut self, now: Micros) {
        let clocks = self.clocks(now);
        if let Some(node) = &self.node {
            node.seal(clocks);
        }
        self.timers.seal = None;
    }

    /// Does all that is due. Returns when something will be.
    pub(crate) fn turn(
        &mut self,
        network: &mut Network,
        random: &mut fastrand::Rng,
        ledger: &mut Ledger,
        now: Micros,
    ) -> Result<Option<Micros>, String> {
        if self.node.is_none() {
            return Ok(None);
        }
        if self.timers.seal.is_some_and(|at| at <= now) {
            self.seal(now);
        }
        self.look_after(now);
        self.snapshot(now);
        self.look_at_log(random, ledger, now)?;
        let agent_at = self.agent_turn(network, random, now);
        self.look_at_log(random, ledger, now)?;
        self.write(random, ledger, now);
        let Timers { seal, write, reap, maintain, ceiling, .. } = self.timers;
        let timers = [seal, write, Some(reap), Some(maintain), Some(ceiling), self.snapshot_due()];
        Ok(timers
            .into_iter()
            .flatten()
            .chain(agent_at)
            .chain(network.next_arrival(self.index, now + 1))
            .min())
    }

    fn look_after(&mut self, now: Micros) {
        let clocks = self.clocks(now);
        let Some(node) = &self.node else { return };
        if self.timers.reap <= now {
            self.timers.reap = now + REAP_INTERVAL_US;
            let reaped = node.reap(clocks);
            if reaped > 0 {
                self.notes.push(format!("reaps {reaped}"));
                self.timers.seal = Some(now);
                node.seal(clocks);
            }
        }
        if self.timers.maintain <= now {
            self.timers.maintain = now + self.nature.maintain_every;
            self.notes.extend(node.maintain(clocks));
            // Somebody may have asked for a sync, or for segments to go.
            self.timers.write = Some(self.timers.write.unwrap_or(Micros::MAX).min(now + 1_000));
        }
        if self.timers.ceiling <= now {
            self.timers.ceiling = now + CEILING_INTERVAL_US;
            if let Err(problem) = node.keep_ceiling(clocks) {
                self.notes.push(format!("ceiling: {problem:.60}"));
            }
        }
    }

    fn snapshot_due(&self) -> Option<Micros> {
        self.disk.is_some().then_some(self.timers.snapshot)
    }

    fn snapshot(&mut self, now: Micros) {
        let clocks = self.clocks(now);
        let Some(node) = self.node.as_mut().filter(|_| self.timers.snapshot <= now) else { return };
        let (is_busy, told) = node.snapshot_turn(clocks);
        // A step now and then, so that much happens between two.
        self.timers.snapshot = now + if is_busy { self.nature.snapshot_step } else { REAP_INTERVAL_US };
        self.notes.extend(told);
    }

    /// Notes what is new in the log, and has it written.
    fn look_at_log(
        &mut self,
        random: &mut fastrand::Rng,
        ledger: &mut Ledger,
        now: Micros,
    ) -> Result<(), String> {
        let is_time = self.timers.listed <= now;
        if is_time {
            self.timers.listed = now + REAP_INTERVAL_US;
        }
        let Some(node) = &self.node else { return Ok(()) };
        if node.take_received() {
            ledger.note_strays(node.strays());
        }
        let (batches, end) = node.logged_since(self.looked_at);
        let own = node.origin();
        if self.origins.last() != Some(&own) {
            ledger.given_up.extend(self.origins.last());
            // Its frontier is its sender's now.
            ledger.unlist(self.index);
            ledger.forget_versions(self.index);
            self.origins.push(own);
            self.notes.push(format!("writes as {own} from now on"));
        }
        for batch in &batches {
            ledger.note(batch, self.origins.contains(&batch.header.origin))?;
        }
        if end > self.looked_at || is_time {
            ledger.list(self.index, &node.frontier());
        }
        if end > self.looked_at && self.disk.is_some() {
            let after = random.u64(0..=self.nature.write_after);
            self.timers.write = Some(self.timers.write.unwrap_or(Micros::MAX).min(now + after));
        }
        self.looked_at = end;
        Ok(())
    }

    fn write(&mut self, random: &mut fastrand::Rng, ledger: &mut Ledger, now: Micros) {
        let Some(node) = self.node.as_mut().filter(|_| self.timers.write.is_some_and(|at| at <= now)) else {
            return;
        };
        let sync = match self.nature.durability {
            Durability::Always => true,
            Durability::Everysec => self.timers.sync <= now,
            Durability::No => false,
        };
        if sync {
            self.timers.sync = now + SYNC_INTERVAL_US;
        }
        self.timers.write = match node.writer_turn(sync) {
            Ok(()) if self.nature.durability == Durability::Everysec && !sync => Some(self.timers.sync),
            Ok(()) => None,
            Err(problem) => {
                self.notes.push(format!("cannot write: {problem:.60}"));
                Some(now + random.u64(RETRY_US / 8..=RETRY_US))
            }
        };
        let durable = node.durable();
        while let Some((_, write)) = self.unacknowledged.pop_front_if(|(position, _)| *position <= durable) {
            ledger.acknowledge(write, self.index, now);
        }
    }

    fn agent_turn(
        &mut self,
        network: &mut Network,
        random: &mut fastrand::Rng,
        now: Micros,
    ) -> Option<Micros> {
        let clocks = self.clocks(now);
        let node = self.node.as_ref().filter(|_| self.has_agent)?;
        let (pace, notes) = (self.nature.pace, &mut self.notes);
        let mut around = Surroundings { node, network, random, now: clocks, pace, notes };
        if self.agent.is_none() {
            if let Some(at) = self.timers.agent.filter(|at| *at > now) {
                return Some(at);
            }
            self.agent = Agent::new(self.index, GROUP, &self.peers, &mut around);
            if self.agent.is_none() {
                self.timers.agent = Some(now + AGENT_RETRY_US);
                return self.timers.agent;
            }
            around.network.listens[self.index] = true;
        }
        match self.agent.as_mut()?.turn(&mut around) {
            After::Wait(at) => Some(at),
            After::Ended => {
                self.agent = None;
                self.timers.agent = Some(now + AGENT_RETRY_US);
                self.timers.agent
            }
        }
    }
}

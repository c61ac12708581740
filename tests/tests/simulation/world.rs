//! The world: hosts, network and virtual time, in one thread.

use std::collections::BTreeMap;

use node::simulation::{Executed, SimulatedNode};
use shared::id::{NodeId, Origin};

use crate::checker;
use crate::host::{Blow, Host, Nature};
use crate::ledger::Ledger;
use crate::network::{Network, Path};
use crate::trace::Trace;

/// Virtual time in microseconds.
pub(crate) type Micros = u64;

/// The wall clock where virtual time is 0, in milliseconds of Unix time.
pub(crate) const EPOCH_MS: u64 = 1_700_000_000_000;

/// Virtual time begins here: there is a past.
const START: Micros = 10_000_000;

/// So many turns at one moment mean that something runs in a circle.
const TURNS_AT_ONCE_MAX: u64 = 20_000;

/// What a host notes that is worth counting.
const EVENTS: [(&str, &str); 13] = [
    ("Founded", "group founded"),
    ("Joining {", "left for a larger group"),
    ("Receiving {", "reconcile begun"),
    ("Received {", "reconcile adopted"),
    ("Joined", "joined"),
    ("Reissued", "re-issued"),
    ("evicts", "eviction"),
    ("drops dead things", "dropped dead things"),
    ("begins a snapshot", "snapshot begun"),
    ("snapshot of", "snapshot"),
    ("cuts a snapshot off", "snapshot cut off"),
    ("starts later now", "log truncated"),
    ("reaps", "reaped"),
];

/// What must never be noted: equal frontiers with unequal data, and answers that fit no question.
const UNHEARD_OF: [&str; 4] = ["Diverged", "does not fit its question", "cannot be read", "it sent no slot"];

/// Something is wrong with the group, or with the simulation.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// All there is. See the module's documentation.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: Micros,
    /// How far any clock was ever off, in milliseconds.
    pub(crate) clock_off_ms: u64,
    /// Since when nothing goes wrong any more.
    pub(crate) healed_at: Micros,
    pub(crate) hosts: Vec<Host>,
    pub(crate) network: Network,
    pub(crate) random: fastrand::Rng,
    pub(crate) ledger: Ledger,
    pub(crate) trace: Trace,
    /// How often each kind of fault came.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// How often what came to pass.
    pub(crate) events: BTreeMap<&'static str, u64>,
    /// The first thing that a client saw and must not see.
    pub(crate) wrong: Option<String>,
    /// Whether memory was damaged on purpose.
    pub(crate) expects_damage: bool,
    /// When each host has its next turn.
    turns: BTreeMap<(Micros, usize), ()>,
    wakes: Vec<Option<Micros>>,
    pub(crate) turns_taken: u64,
    turns_at_once: u64,
}

impl World {
    /// Hosts without links, whose nodes are not started.
    pub(crate) fn new(
        seed: u64,
        natures: Vec<Nature>,
        path: impl Fn(&mut fastrand::Rng) -> Path,
        is_shown: bool,
    ) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let count = natures.len();
        let paths: Vec<Path> = (0..count * count).map(|_| path(&mut random)).collect();
        let mut host =
            |(index, nature)| Host::new(index, nature, NodeId(number(&mut random)), random.u64(..));
        let hosts: Vec<Host> = natures.into_iter().enumerate().map(&mut host).collect();
        Self {
            seed,
            now: START,
            clock_off_ms: 0,
            healed_at: START,
            hosts,
            network: Network::new(count, |from, to| paths[from * count + to]),
            random,
            ledger: Ledger::default(),
            trace: Trace::new(is_shown),
            faults: BTreeMap::new(),
            events: BTreeMap::new(),
            wrong: None,
            expects_damage: false,
            turns: BTreeMap::new(),
            wakes: vec![None; count],
            turns_taken: 0,
            turns_at_once: 0,
        }
    }

    pub(crate) fn note(&mut self, text: std::fmt::Arguments<'_>) {
        self.trace.line(self.now, text);
    }

    /// Lets virtual time pass.
    pub(crate) fn run(&mut self, duration: Micros) -> Outcome {
        self.run_until(self.now + duration)
    }

    /// Lets virtual time pass up to a moment.
    pub(crate) fn run_until(&mut self, until: Micros) -> Outcome {
        self.wake_stirred();
        while let Some(((at, host), ())) = self.turns.first_key_value().map(|(key, ())| (*key, ()))
            && at <= until
        {
            self.turns.pop_first();
            self.wakes[host] = None;
            self.turns_at_once = if at > self.now { 0 } else { self.turns_at_once + 1 };
            if self.turns_at_once > TURNS_AT_ONCE_MAX {
                return Err(format!("host {host} never rests: its turns at one moment do not end"));
            }
            self.now = self.now.max(at);
            self.turn(host)?;
            self.wake_stirred();
        }
        self.now = self.now.max(until);
        Ok(())
    }

    fn turn(&mut self, host: usize) -> Outcome {
        self.turns_taken += 1;
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong);
        }
        let Self { hosts, network, random, ledger, .. } = self;
        let next = hosts[host].turn(network, random, ledger, self.now)?;
        self.trace.watch(self.now, host, self.hosts[host].node.as_ref());
        let mut sprung = None;
        for note in std::mem::take(&mut self.hosts[host].notes) {
            self.note(format_args!("n{host} {note}"));
            if let Some((_, event)) = EVENTS.iter().find(|(text, _)| note.contains(text)) {
                *self.events.entry(event).or_default() += 1;
            }
            let is_expected = self.expects_damage && note.contains("Diverged");
            if !is_expected && UNHEARD_OF.iter().any(|text| note.contains(text)) {
                let difference = checker::check_digests(self).err().unwrap_or_default();
                return Err(format!("n{host} {note}\n{difference}"));
            }
            if self.hosts[host].trap.as_ref().is_some_and(|trap| note.contains(trap.text)) {
                sprung = self.hosts[host].trap.take();
            }
        }
        if let Some(trap) = sprung
            && self.hosts[host].node.is_some()
        {
            return self.spring(host, trap.blow);
        }
        if self.hosts[host].disk.as_ref().is_some_and(|disk| disk.has_stopped()) {
            self.crash(host, true);
            return self.start(host);
        }
        if let Some(at) = next {
            self.wake(host, at.max(self.now));
        }
        Ok(())
    }

    fn spring(&mut self, host: usize, blow: Blow) -> Outcome {
        self.note(format_args!("n{host} is hit in the midst of it: {blow:?}"));
        self.count("trap");
        match blow {
            Blow::PowerLoss | Blow::ProcessCrash => {
                self.crash(host, matches!(blow, Blow::PowerLoss));
                return self.start(host);
            }
            Blow::PowerLossInWrite(operations) => {
                if let Some(disk) = &self.hosts[host].disk {
                    disk.stop_after(operations);
                }
            }
            Blow::Cut => {
                for other in 0..self.hosts.len() {
                    for socket in self.network.between(host, other) {
                        self.network.break_end(socket, true);
                    }
                }
            }
        }
        self.wake(host, self.now);
        Ok(())
    }

    /// Gives a host a turn at a moment, or before.
    pub(crate) fn wake(&mut self, host: usize, at: Micros) {
        let at = at.max(self.now);
        if self.wakes[host].is_some_and(|before| before <= at) {
            return;
        }
        if let Some(before) = self.wakes[host].replace(at) {
            self.turns.remove(&(before, host));
        }
        self.turns.insert((at, host), ());
    }

    /// Has those hosts look that may have something to receive, or room to send.
    fn wake_stirred(&mut self) {
        let mut stirred = std::mem::take(&mut self.network.stirred);
        stirred.sort_unstable();
        stirred.dedup();
        let roomy = std::mem::take(&mut self.network.roomy);
        let arrivals =
            stirred.into_iter().filter_map(|host| Some((host, self.network.next_arrival(host, 0)?)));
        let wakes: Vec<_> = arrivals.chain(roomy.into_iter().map(|host| (host, self.now + 1))).collect();
        for (host, at) in wakes {
            if self.hosts[host].node.is_some() {
                self.wake(host, at);
            }
        }
    }

    /// Starts a host's node, as often as it takes.
    pub(crate) fn start(&mut self, host: usize) -> Outcome {
        if self.hosts[host].disk.is_none() {
            self.hosts[host].node_id = NodeId(number(&mut self.random));
        }
        for _ in 0..8 {
            let origin = Origin(number(&mut self.random));
            match self.hosts[host].start(origin, self.now) {
                Ok(()) => {
                    let node = self.hosts[host].node.as_ref();
                    if let Some(closed) = node.and_then(SimulatedNode::closed) {
                        self.ledger.given_up.insert(closed);
                        self.ledger.forget_versions(host);
                    }
                    let held = node.map(SimulatedNode::frontier).unwrap_or_default();
                    self.ledger.unlist(host);
                    self.ledger.list(host, &held);
                    self.note(format_args!("n{host} starts as {origin}, has {held}"));
                    self.wake(host, self.now);
                    return Ok(());
                }
                Err(problem) => {
                    let Some(disk) =
                        self.hosts[host].disk.clone().filter(node::simulation::Disk::has_stopped)
                    else {
                        return Err(format!("n{host} does not start: {problem}"));
                    };
                    disk.lose_power();
                }
            }
        }
        Err(format!("n{host} does not start, however often it is tried"))
    }

    /// Ends a node's run without a warning: its process dies, or its host loses power.
    pub(crate) fn crash(&mut self, host: usize, power: bool) {
        let what = if power { "loses power" } else { "dies" };
        self.note(format_args!("n{host} {what}"));
        if let Err(problem) = self.hosts[host].note_unsealed(&mut self.ledger, self.now) {
            self.note(format_args!("n{host} leaves what does not fit: {problem}"));
        }
        self.hosts[host].forget_node();
        if let Some(disk) = &self.hosts[host].disk {
            if power { disk.lose_power() } else { disk.end_process() }
        }
        let noticed = !power || self.random.bool();
        self.network.abandon(host, noticed);
        self.network.listens[host] = false;
    }

    /// Stops a node in order.
    pub(crate) fn stop(&mut self, host: usize) -> Outcome {
        self.note(format_args!("n{host} stops"));
        self.hosts[host].seal(self.now);
        self.turn(host)?;
        let clocks = self.hosts[host].clocks(self.now);
        if let Some(node) = self.hosts[host].node.take() {
            // A disk that fails now loses no more than at a crash.
            let _ = node.stop(clocks);
        }
        self.hosts[host].forget_node();
        if let Some(disk) = &self.hosts[host].disk {
            disk.end_process();
        }
        self.network.abandon(host, true);
        self.network.listens[host] = false;
        Ok(())
    }

    /// Kills an agent; its node goes on.
    pub(crate) fn kill_agent(&mut self, host: usize) {
        self.note(format_args!("n{host} loses its agent"));
        self.hosts[host].forget_agent();
        self.network.abandon(host, true);
        self.network.listens[host] = false;
    }

    /// Starts an agent with the host's peers.
    pub(crate) fn start_agent(&mut self, host: usize) {
        self.note(format_args!("n{host} gets an agent"));
        let now = self.now;
        self.hosts[host].start_agent(now);
        self.wake(host, now);
    }

    /// Carries out a command for the client of a host, if its node runs.
    pub(crate) fn execute(&mut self, host: usize, arguments: &[&[u8]]) -> Option<Executed> {
        let executed = self.hosts[host].execute(arguments, self.now)?;
        let words = arguments.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ");
        let reply = String::from_utf8_lossy(&executed.reply[..executed.reply.len().min(40)]).into_owned();
        let reply = reply.replace("\r\n", " ");
        if self.hosts[host].is_read_only {
            if executed.written.is_some() {
                self.wrong.get_or_insert_with(|| format!("n{host} is read-only, and has written: {words}"));
            }
            let is_refused = executed.reply.starts_with(b"-READONLY");
            *self.events.entry("write refused by a replica").or_default() += u64::from(is_refused);
        }
        match executed.written {
            Some(at) => self.note(format_args!("n{host} {words} -> {reply} {:?}", at.timestamp)),
            None => self.note(format_args!("n{host} {words} -> {reply}")),
        }
        self.ledger.has_flushed_all |= arguments[0] == b"FLUSHALL";
        self.wake(host, self.now);
        Some(executed)
    }

    /// A node removes a key as one is for want of memory, if it runs and has it.
    pub(crate) fn evict(&mut self, host: usize, db: u8, key: &[u8]) {
        if self.hosts[host].evict(db, key, self.now) {
            self.note(format_args!("n{host} evicts {db}:{}", String::from_utf8_lossy(key)));
            *self.events.entry("evicted for want of memory").or_default() += 1;
            self.wake(host, self.now);
        }
    }

    /// Switches a node's role, if it runs.
    pub(crate) fn switch_role(&mut self, host: usize, is_read_only: bool) {
        let role: &[u8] = if is_read_only { b"read-only" } else { b"active" };
        if let Some(executed) = self.execute(host, &[b"CONFIG", b"SET", b"role", role]) {
            if executed.is_error() {
                self.wrong.get_or_insert_with(|| format!("n{host} does not switch its role"));
            }
            self.hosts[host].is_read_only = is_read_only;
            self.count("role switched");
        }
    }

    /// Counts a fault.
    pub(crate) fn count(&mut self, fault: &'static str) {
        *self.faults.entry(fault).or_default() += 1;
    }
}

/// A number other than zero, which means none.
pub(crate) fn number(random: &mut fastrand::Rng) -> u64 {
    random.u64(1..)
}

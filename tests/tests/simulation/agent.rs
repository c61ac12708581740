//! An agent: its production core, link machines and conversations, and the thin glue between them that its tasks are in
//! production.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use agent::simulation::{Core, Input, LinkId, NodePoint, Output, Question};
use node::simulation::SimulatedNode;
use shared::announcement::Member;
use shared::feed::{FeedInfo, LinkReport};
use shared::id::{NodeId, Origin};
use shared::link::{Codecs, Local, Now};

use crate::dialler::Dialler;
use crate::driver::{Driver, Event};
use crate::network::{Network, Socket};
use crate::world::Micros;

/// What an agent works with, for one turn.
pub(crate) struct Surroundings<'w> {
    pub(crate) node: &'w SimulatedNode,
    pub(crate) network: &'w mut Network,
    pub(crate) random: &'w mut fastrand::Rng,
    pub(crate) now: Now,
    pub(crate) pace: Pace,
    /// What is worth a line in the trace.
    pub(crate) notes: &'w mut Vec<String>,
}

/// How slow the way between an agent and its node is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// A batch is applied after up to this.
    pub(crate) apply: Micros,
    /// A report is answered after up to this.
    pub(crate) report: Micros,
}

/// What a turn came to.
pub(crate) enum After {
    /// The next is due then, unless something arrives.
    Wait(Micros),
    /// The node is another than it was: the agent begins anew.
    Ended,
}

/// An agent that is in contact with its node.
pub(crate) struct Agent {
    host: usize,
    info: FeedInfo,
    group: String,
    core: Core,
    drivers: BTreeMap<LinkId, Driver>,
    peers: BTreeMap<LinkId, Member>,
    diallers: Vec<Dialler>,
    next_link: u64,
    /// Answers of the node on their way to the core.
    answers: VecDeque<(Micros, Input)>,
    has_ended: bool,
}

impl Agent {
    /// Makes contact with the node, and dials these hosts from now on.
    pub(crate) fn new(
        host: usize,
        group: &str,
        peers: &[usize],
        around: &mut Surroundings<'_>,
    ) -> Option<Self> {
        around.node.join_group(group).ok()?;
        let info = around.node.info(around.now);
        let dialler = |peer: &usize| Dialler::new(*peer, around.random.fork(), around.now);
        let diallers = peers.iter().map(dialler).collect();
        Some(Self {
            host,
            core: Core::new(info.clone(), around.random.u64(..)),
            group: group.to_owned(),
            info,
            drivers: BTreeMap::new(),
            peers: BTreeMap::new(),
            diallers,
            next_link: 0,
            answers: VecDeque::new(),
            has_ended: false,
        })
    }

    /// Does all that can be done now.
    pub(crate) fn turn(&mut self, around: &mut Surroundings<'_>) -> After {
        for socket in around.network.accept(self.host, around.now.mono_us, around.random) {
            self.begin(socket, None, around);
        }
        self.dial(around);
        self.handle(Input::Tick, around);
        while let Some((_, answer)) = self.answers.pop_front_if(|(at, _)| *at <= around.now.mono_us) {
            self.handle(answer, around);
        }
        loop {
            let mut events = Vec::new();
            let mut fed = around.node.feed_standing();
            for (link, driver) in &mut self.drivers {
                if driver.passes(fed, around.network, around.now.mono_us) {
                    continue;
                }
                events.extend(driver.turn(around).into_iter().map(|event| (*link, event)));
                events.extend(driver.has_ended().then_some((*link, Event::Closed)));
                fed = around.node.feed_standing();
            }
            if events.is_empty() || self.has_ended {
                break;
            }
            for (link, event) in events {
                self.on_event(link, event, around);
            }
        }
        if self.has_ended {
            self.drivers.values_mut().for_each(|driver| driver.leave(around));
            return After::Ended;
        }
        After::Wait(self.deadline(around))
    }

    /// How many links are up.
    pub(crate) fn links_up(&self) -> usize {
        self.core.links().count()
    }

    /// The name of the node that an origin is pulled from.
    pub(crate) fn upstream(&self, origin: Origin) -> Option<&str> {
        Some(&self.peers.get(&self.core.upstream(origin)?)?.name)
    }

    fn deadline(&self, around: &Surroundings<'_>) -> Micros {
        let core = self.core.deadline().map(|at| at.0 * 1_000);
        let answers = self.answers.front().map(|(at, _)| *at);
        let drivers = self.drivers.values().map(|driver| driver.deadline(around.now));
        let diallers = self.diallers.iter().filter_map(Dialler::deadline);
        let due = core.into_iter().chain(answers).chain(drivers).chain(diallers).min();
        due.unwrap_or(around.now.mono_us + 1_000_000)
    }

    fn begin(&mut self, socket: Socket, dialled: Option<usize>, around: &Surroundings<'_>) {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        let local = Local {
            group: self.group.clone(),
            group_id: self.info.group_id,
            joining: self.info.joining,
            member: self.member(),
            start_time: self.info.start_time,
            frontier: self.info.frontier.clone(),
            clock: self.info.clock,
            dialled: dialled.is_some(),
            clock_drift_ms_max: self.info.max_clock_drift_ms,
            reads: Codecs::NONE,
            codec: None,
        };
        self.drivers.insert(link, Driver::new(socket, dialled, local, around.now));
    }

    fn dial(&mut self, around: &mut Surroundings<'_>) {
        for index in 0..self.diallers.len() {
            if let Some(socket) = self.diallers[index].turn(self.host, around) {
                self.begin(socket, Some(index), around);
                self.diallers[index].linked();
            }
        }
    }

    fn on_event(&mut self, link: LinkId, event: Event, around: &mut Surroundings<'_>) {
        match event {
            Event::Greeted { hello, is_related } => {
                let dialled = self.drivers.get(&link).is_some_and(|driver| driver.dialled().is_some());
                self.peers.insert(link, hello.member.clone());
                self.handle(Input::Greeted { link, hello, dialled, is_related }, around);
            }
            Event::Link(event) => self.handle(Input::Link(link, event), around),
            Event::Closed => self.on_closed(link, around),
        }
    }

    fn on_closed(&mut self, link: LinkId, around: &mut Surroundings<'_>) {
        let Some(driver) = self.drivers.remove(&link) else { return };
        around.notes.push(format!("link ends: {}", driver.ending()));
        self.peers.remove(&link);
        self.handle(Input::Closed { link, has_left: driver.has_left() }, around);
        let linked: BTreeSet<NodeId> = self.peers.values().map(|peer| peer.node_id).collect();
        for (index, dialler) in self.diallers.iter_mut().enumerate() {
            if driver.dialled() == Some(index) {
                dialler.on_ended(&driver, around.now);
            }
            dialler.on_linked(&linked, around.now);
        }
    }

    /// Hands something to the core, and does what it says.
    fn handle(&mut self, input: Input, around: &mut Surroundings<'_>) {
        self.core.handle(input, around.now.mono());
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Tell(link, command) => {
                    if let Some(driver) = self.drivers.get_mut(&link) {
                        let was_up = driver.is_up();
                        driver.obey(&command, around.now);
                        if driver.is_up() && !was_up {
                            let name = self.peers.get(&link).map_or("", |peer| peer.name.as_str());
                            around.notes.push(format!("link up with {name}"));
                        }
                    }
                }
                Output::Ask(question) => self.ask(question, around),
                // Nobody publishes: messages touch no data.
                Output::Publish(..) | Output::Deliver(_) => {}
                Output::End(end) => {
                    around.notes.push(format!("begins anew: {end:.80?}"));
                    self.has_ended = true;
                }
            }
        }
    }

    fn ask(&mut self, question: Question, around: &mut Surroundings<'_>) {
        let (node, now) = (around.node, around.now);
        let answer = match question {
            Question::Info => Input::Informed(Box::new(node.info(now))),
            Question::Report(mut report) => {
                report.links = self.links();
                let point = node.report(*report, now);
                // For links to come.
                (self.info.frontier, self.info.clock) = (point.frontier.clone(), point.clock);
                Input::Reported(Box::new(NodePoint {
                    frontier: point.frontier,
                    clock: point.clock,
                    pulled: point.pulled,
                    announcement: point.announcement,
                }))
            }
            Question::Hear(clock) => {
                node.hear(clock, now);
                Input::ClockHeard(Ok(()))
            }
        };
        let due = now.mono_us + around.random.u64(0..=around.pace.report);
        let due = self.answers.back().map_or(0, |(before, _)| *before).max(due);
        self.answers.push_back((due, answer));
    }

    fn links(&self) -> Vec<LinkReport> {
        let up = self.core.links().filter_map(|link| Some((link, self.peers.get(&link)?)));
        let report = |(link, peer): (LinkId, &Member)| LinkReport {
            name: peer.name.clone(),
            node_id: peer.node_id,
            address: String::new(),
            up: true,
            related: self.drivers.get(&link).is_some_and(Driver::is_related),
            error: String::new(),
            payload_bytes_in: 0,
            payload_bytes_out: 0,
            wire_bytes_in: 0,
            wire_bytes_out: 0,
            compression: "none".to_owned(),
            batches_in: 0,
            batches_out: 0,
            round_trip_us: 0,
            clock_offset_ms: 0,
            messages_dropped: 0,
        };
        up.map(report).collect()
    }

    fn member(&self) -> Member {
        Member {
            name: self.info.name.clone(),
            node_id: self.info.node_id,
            origin: self.info.origin,
            role: self.info.role,
        }
    }
}

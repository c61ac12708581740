//! Hosts in a topology.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::{Index, IndexMut, Range};
use std::path::Path;

use shared::version::Frontier;
use tempfile::TempDir;

use crate::host::{Host, Link, Programs};
use crate::proxy::Proxy;
use crate::wait::{wait_for, wait_until};

/// Who dials whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// Everybody everybody.
    Mesh,
    /// Each the one before it, the first the last.
    Ring,
    /// Each the one before it.
    Chain,
    /// Each the first.
    Star,
    /// Everybody everybody of its half; the first of the second half dials the first.
    TwoMeshes,
}

impl Topology {
    /// Whom the host of this number dials, of so many.
    fn dialled(self, index: usize, count: usize) -> Vec<usize> {
        let others = |hosts: Range<usize>| hosts.filter(|peer| *peer != index);
        let half = count / 2;
        match self {
            Self::Mesh => others(0..count).collect(),
            Self::Ring => vec![(index + count - 1) % count],
            Self::Chain => index.checked_sub(1).into_iter().collect(),
            Self::Star => others(0..1).collect(),
            Self::TwoMeshes if index < half => others(0..half).collect(),
            Self::TwoMeshes => others(half..count).chain((index == half).then_some(0)).collect(),
        }
    }

    /// Who is linked with the host of this number, of so many, whoever dials.
    #[must_use]
    pub fn linked_with(self, index: usize, count: usize) -> BTreeSet<usize> {
        let dialling = (0..count).filter(|peer| self.dialled(*peer, count).contains(&index));
        dialling.chain(self.dialled(index, count)).collect()
    }
}

/// Hosts that replicate to each other.
#[derive(Debug)]
pub struct Group {
    hosts: Vec<Host>,
    dir: TempDir,
}

impl Group {
    /// Hosts that are not started and dial nobody.
    ///
    /// # Panics
    /// If no temporary directory can be made.
    #[must_use]
    pub fn new(programs: &Programs, count: usize) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let hosts = (0..count)
            .map(|index| Host::new(programs.clone(), &format!("host{index}"), dir.path()))
            .collect();
        Self { hosts, dir }
    }

    /// Hosts that are started and linked.
    #[must_use]
    pub fn start(programs: &Programs, count: usize, topology: Topology) -> Self {
        let mut group = Self::new(programs, count);
        group.connect(topology);
        group.start_all();
        group
    }

    /// Says who dials whom.
    pub fn connect(&mut self, topology: Topology) {
        let urls: Vec<String> = self.hosts.iter().map(Host::url).collect();
        let count = urls.len();
        for (index, host) in self.hosts.iter_mut().enumerate() {
            let dialled = topology.dialled(index, count).into_iter();
            host.peers = dialled.map(|peer| urls[peer].clone()).collect();
        }
    }

    /// As [`Group::connect`], with a cable of its own for each link, beside the one that all share who dial a host.
    pub fn connect_by_own_cables(&mut self, topology: Topology) {
        let count = self.hosts.len();
        let shared: Vec<SocketAddr> = self.hosts.iter().map(|host| host.cable.address()).collect();
        for (index, host) in self.hosts.iter_mut().enumerate() {
            let dialled = topology.dialled(index, count).into_iter();
            host.own_cables = dialled.map(|peer| Proxy::start(shared[peer])).collect();
            host.peers = host.own_cables.iter().map(Proxy::url).collect();
        }
    }

    /// Starts every node and agent, and waits until a write of each has reached all.
    pub fn start_all(&mut self) {
        for host in &mut self.hosts {
            host.start_node();
            host.start_agent();
        }
        self.wait_linked();
    }

    /// Starts the first few nodes and agents, and waits until they are a group.
    #[track_caller]
    pub fn start_first(&mut self, count: usize) {
        for host in &mut self.hosts[..count] {
            host.start_node();
            host.start_agent();
        }
        let knows_all = |host: &Host| host.counter("members") == count as u64;
        wait_until("the first to be a group", || self.hosts[..count].iter().all(knows_all));
    }

    /// Waits until all are members, their agents know that, and a write of each has reached all.
    #[track_caller]
    pub fn wait_linked(&self) {
        for host in self.hosts.iter().filter(|host| self.hosts.len() > 1 && host.agent.is_some()) {
            wait_until("every host to join", || host.counter("joining") == 0);
            wait_until("the agents to know their group", || host.knows_its_group());
        }
        for host in &self.hosts {
            host.run(&["SET", &format!("linked:{}", host.name()), "1"]);
        }
        self.wait_converged();
    }

    /// Waits until each host has one link with each that it is to be linked with, whoever dialled: of two that dial each
    /// other one gives way.
    #[track_caller]
    pub fn wait_one_link_each(&self, topology: Topology) {
        wait_for("one link between any two", || self.check_one_link_each(topology));
    }

    /// Whether each host has one link with each that it is to be linked with.
    ///
    /// # Errors
    /// If one has not, with the links that it has.
    pub fn check_one_link_each(&self, topology: Topology) -> Result<(), String> {
        for (index, host) in self.hosts.iter().enumerate() {
            let links: Vec<Link> = host.links().into_iter().filter(|link| link.is_up).collect();
            let mut names: Vec<&str> = links.iter().map(|link| &*link.name).collect();
            names.sort_unstable();
            let wanted = topology.linked_with(index, self.hosts.len());
            if !names.into_iter().eq(wanted.into_iter().map(|peer| self.hosts[peer].name())) {
                return Err(format!("{}: {links:?}", host.name()));
            }
        }
        Ok(())
    }

    /// Waits until all nodes hold the same, and returns what that is.
    ///
    /// A node that has just joined anew has its peer's frontier, and holds more, until it has written that once more.
    #[track_caller]
    pub fn wait_converged(&self) -> Frontier {
        let is_any_reissuing = || self.hosts.iter().any(|host| host.counter("reissuing") == 1);
        wait_for("frontiers to be equal, and nothing to be issued anew", || {
            let was_any_reissuing = is_any_reissuing();
            let frontiers: Vec<Frontier> = self.hosts.iter().map(Host::frontier).collect();
            // Looked at on both sides: nobody has joined anew in between.
            if are_equal(&frontiers) && !was_any_reissuing && !is_any_reissuing() {
                Ok(frontiers[0].clone())
            } else {
                let shown: Vec<String> = frontiers.iter().map(ToString::to_string).collect();
                Err(shown.join(" / "))
            }
        })
    }

    /// Waits until every node holds what any of them holds at this moment: for use while others go on writing.
    #[track_caller]
    pub fn wait_caught_up(&self) {
        let mut goal = Frontier::new();
        self.hosts.iter().for_each(|host| goal.merge(&host.frontier()));
        wait_for("every node to catch up", || {
            match self.hosts.iter().find(|host| !host.frontier().covers_listed(&goal)) {
                None => Ok(()),
                Some(host) => Err(format!("{} holds {} of {goal}", host.name(), host.frontier())),
            }
        });
    }

    /// Waits until all nodes hold the same, and compares them key by key.
    #[track_caller]
    pub fn check_equal(&self) {
        self.wait_converged();
        crate::compare::check_equal(&self.hosts);
    }

    /// The hosts.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The hosts, to change them.
    pub fn hosts_mut(&mut self) -> &mut [Host] {
        &mut self.hosts
    }

    /// Where the hosts' files lie.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Cuts every cable.
    pub fn cut_all(&self) {
        self.hosts.iter().for_each(|host| host.cable.cut());
    }

    /// Puts every cable back.
    pub fn heal_all(&self) {
        self.hosts.iter().for_each(|host| host.cable.heal());
    }
}

/// Whether all hold the same. Ended origins leave each node's frontier in its own time, so the floors may differ.
fn are_equal(frontiers: &[Frontier]) -> bool {
    frontiers.windows(2).all(|pair| pair[0].covers_listed(&pair[1]) && pair[1].covers_listed(&pair[0]))
}

impl Index<usize> for Group {
    type Output = Host;

    fn index(&self, index: usize) -> &Host {
        &self.hosts[index]
    }
}

impl IndexMut<usize> for Group {
    fn index_mut(&mut self, index: usize) -> &mut Host {
        &mut self.hosts[index]
    }
}

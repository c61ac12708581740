//! Who dials whom.

use std::ops::Range;

use crate::world::World;

/// A shape of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topology {
    Chain(usize),
    Ring(usize),
    Star(usize),
    Mesh(usize),
    /// One host, hubs around it, and about as many hosts around each hub.
    TwoLevelStar(usize),
    /// Two meshes, about as large, with one link between them.
    JoinedMeshes(usize),
}

/// Of fewer hosts the shapes that are made of parts are one of the others.
pub(crate) const HOSTS_OF_PARTS_MIN: usize = 6;

impl Topology {
    pub(crate) fn draw(hosts: usize, random: &mut fastrand::Rng) -> Self {
        let shapes = [Self::Chain, Self::Ring, Self::Star, Self::Mesh];
        let of_parts = [Self::TwoLevelStar, Self::JoinedMeshes];
        let is_of_parts = hosts >= HOSTS_OF_PARTS_MIN && random.u8(..4) > 0;
        let shape = if is_of_parts { of_parts[random.usize(..2)] } else { shapes[random.usize(..4)] };
        shape(hosts)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Chain(2) | Self::Ring(2) | Self::Star(2) | Self::Mesh(2) => "pair",
            Self::Chain(_) => "chain",
            Self::Ring(_) => "ring",
            Self::Star(_) => "star",
            Self::Mesh(_) => "mesh",
            Self::TwoLevelStar(_) => "two-level star",
            Self::JoinedMeshes(_) => "two meshes joined",
        }
    }

    pub(crate) const fn hosts(self) -> usize {
        let (Self::Chain(hosts)
        | Self::Ring(hosts)
        | Self::Star(hosts)
        | Self::Mesh(hosts)
        | Self::TwoLevelStar(hosts)
        | Self::JoinedMeshes(hosts)) = self;
        hosts
    }

    /// Who is linked with whom.
    pub(crate) fn edges(self) -> Vec<(usize, usize)> {
        match self {
            Self::Chain(hosts) => (1..hosts).map(|host| (host - 1, host)).collect(),
            Self::Ring(hosts) => (0..hosts).map(|host| (host, (host + 1) % hosts)).collect(),
            Self::Star(hosts) => (1..hosts).map(|host| (0, host)).collect(),
            Self::Mesh(hosts) => mesh(0..hosts).collect(),
            Self::TwoLevelStar(hosts) => {
                let hubs = (hosts - 1).isqrt();
                let inner = (1..=hubs).map(|hub| (0, hub));
                inner.chain((hubs + 1..hosts).map(|host| (1 + host % hubs, host))).collect()
            }
            Self::JoinedMeshes(hosts) => {
                let border = hosts / 2;
                mesh(0..border).chain(mesh(border..hosts)).chain([(0, border)]).collect()
            }
        }
    }

    /// For each host whom it dials: of each edge one side does, or both.
    pub(crate) fn peers(self, random: &mut fastrand::Rng) -> Vec<Vec<usize>> {
        let mut peers = vec![Vec::new(); self.hosts()];
        for (one, two) in self.edges() {
            let side = random.u8(..5);
            if side != 0 {
                peers[one].push(two);
            }
            if side <= 1 {
                peers[two].push(one);
            }
        }
        peers
    }

    /// Gives all hosts' agents these peers, and restarts those whose peers change.
    pub(crate) fn apply(self, world: &mut World) {
        let peers = self.peers(&mut world.random);
        for (host, peers) in peers.into_iter().enumerate() {
            if world.hosts[host].peers == peers {
                continue;
            }
            world.hosts[host].peers = peers;
            if world.hosts[host].has_agent {
                world.kill_agent(host);
                world.start_agent(host);
            }
        }
    }
}

fn mesh(hosts: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
    hosts.clone().flat_map(move |one| (one + 1..hosts.end).map(move |two| (one, two)))
}

/// Whether every host can be reached from every other.
pub(crate) fn connected(peers: &[Vec<usize>]) -> bool {
    let mut reached = vec![false; peers.len()];
    let mut next = vec![0];
    while let Some(host) = next.pop() {
        if std::mem::replace(&mut reached[host], true) {
            continue;
        }
        next.extend(&peers[host]);
        next.extend((0..peers.len()).filter(|other| peers[*other].contains(&host)));
    }
    reached.into_iter().all(|reached| reached)
}

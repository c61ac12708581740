//! Several nodes: every write reaches every node, and crosses each receiving host once.

use crate::fake_node::FakeNode;
use crate::harness::RunningAgent;

struct Cluster {
    nodes: Vec<FakeNode>,
    agents: Vec<RunningAgent>,
}

impl Cluster {
    /// Each agent dials those before it that `dials` names.
    fn start(count: usize, dials: impl Fn(usize) -> Vec<usize>) -> Self {
        let nodes: Vec<_> = (0..count).map(|i| FakeNode::start(&format!("n{i}"), 1 + i as u64)).collect();
        let mut agents: Vec<RunningAgent> = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let peers: Vec<_> = dials(index).into_iter().map(|peer| &agents[peer]).collect();
            let agent = RunningAgent::start(node, &peers);
            agents.push(agent);
        }
        let mut links = vec![0; count];
        for (index, peer) in
            (0..count).flat_map(|index| dials(index).into_iter().map(move |peer| (index, peer)))
        {
            links[index] += 1;
            links[peer] += 1;
        }
        for (node, links) in nodes.iter().zip(links) {
            node.wait_for_links(links);
        }
        Self { nodes, agents }
    }

    fn write(&self, rounds: usize) {
        for _ in 0..rounds {
            self.nodes.iter().for_each(|node| node.write(20, 64));
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    #[track_caller]
    fn wait(&self) {
        for (to, from) in self.nodes.iter().flat_map(|to| self.nodes.iter().map(move |from| (to, from))) {
            to.wait_for(&from.frontier());
        }
    }

    /// Batch bytes that came to each host, against one copy of what it did not write itself.
    #[track_caller]
    fn check_crossed_once(&self) {
        for node in &self.nodes {
            let state = node.state();
            let others = state.log.iter().filter(|(origin, _)| **origin != state.origin);
            let copy: usize = others.flat_map(|(_, log)| log).map(|(_, bytes)| bytes.len()).sum();
            drop(state);
            node.wait_until("all bytes counted", |state| received(state) >= copy as u64);
            let received = received(&node.state());
            assert!(received as f64 <= 1.1 * copy as f64, "{received} bytes for a copy of {copy}");
        }
    }
}

fn received(state: &crate::fake_node::State) -> u64 {
    state.report.links.iter().map(|link| link.payload_bytes_in).sum()
}

fn check(count: usize, dials: impl Fn(usize) -> Vec<usize>) {
    let cluster = Cluster::start(count, dials);
    cluster.write(300);
    cluster.wait();
    cluster.check_crossed_once();
}

#[test]
fn mesh_of_three() {
    check(3, |index| (0..index).collect());
}

#[test]
fn ring_of_four() {
    check(4, |index| match index {
        0 => vec![],
        3 => vec![2, 0],
        index => vec![index - 1],
    });
}

#[test]
fn chain_of_four() {
    check(4, |index| index.checked_sub(1).into_iter().collect());
}

#[test]
fn star_of_five() {
    check(5, |index| if index == 0 { vec![] } else { vec![0] });
}

#[test]
fn a_ring_survives_the_loss_of_a_link() {
    let mut cluster = Cluster::start(3, |index| (0..index).collect());
    cluster.write(50);
    cluster.wait();
    // The last had dialled both others: they go on, and it goes on over one of them alone.
    let dialled = cluster.agents[0].url.clone();
    cluster.agents.remove(2).stop();
    cluster.write(50);
    let agent = RunningAgent::start_with(&cluster.nodes[2], &[&dialled], |_| {});
    cluster.agents.push(agent);
    cluster.wait();
    cluster.write(50);
    cluster.wait();
    assert!(cluster.nodes.iter().all(|node| node.state().duplicates <= 5));
}

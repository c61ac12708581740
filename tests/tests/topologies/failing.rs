//! Every write arrives, whatever fails.

use std::time::Duration;

use fastrand::Rng;
use redis::Connection;
use tests::chaos::check_survives;
use tests::group::{Group, Topology};
use tests::load::{Load, seed, size};
use tests::programs;

use crate::write;

#[test]
fn in_a_mesh_that_loses_links_at_random_every_write_arrives() {
    check_converges(3, Topology::Mesh);
}

#[test]
fn in_a_ring_that_loses_links_at_random_every_write_arrives() {
    check_converges(4, Topology::Ring);
}

#[test]
fn in_a_chain_that_loses_links_at_random_every_write_arrives() {
    check_converges(4, Topology::Chain);
}

#[test]
fn in_a_star_that_loses_links_at_random_every_write_arrives() {
    check_converges(4, Topology::Star);
}

/// Breaks links under load: for a moment, or until one or two more were lost.
fn check_converges(count: usize, topology: Topology) {
    let mut random = Rng::with_seed(seed());
    let group = Group::start(&programs!(), count, topology);
    let seeds: Vec<u64> = group.hosts().iter().map(|_| random.u64(..)).collect();
    let load = Load::start(group.hosts(), |host| {
        let mut random = Rng::with_seed(seeds[host]);
        move |client: &mut Connection| write(&mut random, client)
    });
    for _ in 0..size(6, 100) {
        let cable = &group[random.usize(..count)].cable;
        match random.u8(..3) {
            0 => cable.break_connections(),
            1 => cable.cut(),
            _ => group.heal_all(),
        }
        load.wait_rounds(random.usize(..60));
    }
    group.heal_all();
    group.wait_caught_up();
    load.finish();
    group.check_equal();
}

const TOPOLOGIES: [(Topology, usize); 5] = [
    (Topology::Mesh, 5),
    (Topology::Ring, 5),
    (Topology::Chain, 5),
    (Topology::Star, 5),
    (Topology::TwoMeshes, 6),
];

/// One topology, as it is drawn; in the long form each for a minute and a half.
#[test]
fn nothing_is_lost_in_any_topology_while_everything_fails_at_random() {
    let mut random = Rng::with_seed(seed());
    let drawn = random.usize(..TOPOLOGIES.len());
    let range = size(drawn, 0)..size(drawn + 1, TOPOLOGIES.len());
    for (topology, count) in &TOPOLOGIES[range] {
        let mut group = Group::new(&programs!(), *count);
        group.connect_by_own_cables(*topology);
        for host in group.hosts_mut() {
            host.node_flags = ["--fsync", "always"].map(str::to_owned).into();
        }
        group.start_all();
        group.wait_one_link_each(*topology);
        check_survives(&mut group, *topology, &mut random, Duration::from_secs(size(10, 90) as u64));
    }
}

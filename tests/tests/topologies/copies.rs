//! Each write crosses each receiving host once.

use fastrand::Rng;
use tests::feed::{copy_after, own_origin};
use tests::group::{Group, Topology};
use tests::host::{Host, Link};
use tests::load::{at_once, size};
use tests::programs;
use tests::wait::wait_for;

use shared::version::Frontier;

use crate::write;

/// A host may receive this much, against one copy of what the others wrote.
const COPIES_MAX: f64 = 1.1;

#[test]
fn in_a_mesh_of_five_a_write_crosses_each_host_once() {
    check_crossed_once(5, Topology::Mesh);
}

#[test]
fn in_a_ring_of_five_a_write_crosses_each_host_once() {
    check_crossed_once(5, Topology::Ring);
}

#[test]
fn in_a_chain_of_five_a_write_crosses_each_host_once() {
    check_crossed_once(5, Topology::Chain);
}

#[test]
fn in_a_star_of_five_a_write_crosses_each_host_once() {
    check_crossed_once(5, Topology::Star);
}

#[test]
fn in_two_linked_meshes_of_three_a_write_crosses_each_host_once() {
    check_crossed_once(6, Topology::TwoMeshes);
}

/// Data pile up in front of them, and it takes long until what is sent has come.
#[test]
fn in_a_mesh_with_slow_links_a_write_crosses_each_host_once() {
    let mut group = Group::new(&programs!(), 3);
    group.connect_by_own_cables(Topology::Mesh);
    group.start_all();
    for cable in group[2].own_cables.iter().chain([&group[2].cable]) {
        cable.set_bytes_per_second(500_000);
    }
    // More would take such links minutes.
    check_crossed_once_in(&group, Topology::Mesh, size(600, 4_000));
}

fn check_crossed_once(count: usize, topology: Topology) {
    check_crossed_once_in(&Group::start(&programs!(), count, topology), topology, size(600, 20_000));
}

/// Puts all hosts under load at once, with so many writes each, and counts what each received: at the node, and at the agent.
fn check_crossed_once_in(group: &Group, topology: Topology, writes: usize) {
    // A link that makes room for another one leaves some of what was on its way to come twice.
    group.wait_one_link_each(topology);
    let start = group.wait_converged();
    let hosts: Vec<&Host> = group.hosts().iter().collect();
    let before: Vec<_> = hosts.iter().map(|host| (applied(host), host.links())).collect();
    at_once(&hosts, |host, client| {
        let mut random = Rng::with_seed(host as u64);
        (0..writes).for_each(|_| write(&mut random, client));
    });
    group.check_equal();
    for (host, (applied_before, links_before)) in hosts.iter().zip(before) {
        let others = hosts.iter().filter(|other| other.name() != host.name());
        let copy: u64 = others.map(|other| own_bytes(other, &start)).sum();
        let applied = applied(host) - applied_before;
        check_copies(host, "applied", applied, copy);
        wait_for("the agent's report, which comes each second", || {
            let received = received_since(&links_before, host);
            if received >= copy { Ok(()) } else { Err(format!("{received} of {copy} bytes")) }
        });
        let received = received_since(&links_before, host);
        check_copies(host, "received", received, copy);
        let copies = |bytes: u64| bytes as f64 / copy as f64;
        eprintln!(
            "{topology:?} of {}: {} received {:.3} times the {copy} bytes of one copy, and applied {:.3}",
            hosts.len(),
            host.name(),
            copies(received),
            copies(applied),
        );
    }
}

/// The bytes of batches that the host's node was given.
fn applied(host: &Host) -> u64 {
    host.counter("link_payload_bytes_in")
}

/// The bytes of batches that the host's agent has received since, whether or not it gave them to the node.
fn received_since(before: &[Link], host: &Host) -> u64 {
    let was = |address: &str| {
        before.iter().find(|link| link.address == address).map_or(0, |link| link.payload_bytes_in)
    };
    host.links().iter().map(|link| link.payload_bytes_in - was(&link.address)).sum()
}

/// The bytes of batches in one copy of what the host's node has written since.
fn own_bytes(host: &Host, since: &Frontier) -> u64 {
    let own = own_origin(host);
    copy_after(host, since, |origin| origin == own).bytes
}

#[track_caller]
fn check_copies(host: &Host, what: &str, bytes: u64, copy: u64) {
    let shown = format!("{} {what} {bytes} bytes for one copy of {copy}", host.name());
    assert!(bytes >= copy, "{shown}");
    assert!(bytes as f64 <= COPIES_MAX * copy as f64, "{shown}");
}

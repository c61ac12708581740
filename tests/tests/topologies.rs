//! Every connected topology converges, and each write crosses each receiving host once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use redis::Connection;
use tests::feed::{copy_after, own_origin};
use tests::group::{Group, Topology};
use tests::host::Host;
use tests::load::{Load, at_once, seed, send_all, size};
use tests::programs;
use tests::wait::{wait_for, wait_until};

use shared::version::Frontier;

/// A host may receive this much, against one copy of what the others wrote.
const COPIES_MAX: f64 = 1.1;

#[test]
fn in_a_mesh_of_three_a_write_crosses_each_host_once() {
    check_crossed_once(3, Topology::Mesh);
}

#[test]
fn in_a_ring_of_four_a_write_crosses_each_host_once() {
    check_crossed_once(4, Topology::Ring);
}

#[test]
fn in_a_chain_of_three_a_write_crosses_each_host_once() {
    check_crossed_once(3, Topology::Chain);
}

#[test]
fn in_a_star_of_four_a_write_crosses_each_host_once() {
    check_crossed_once(4, Topology::Star);
}

/// Puts all hosts under load at once, and counts what each received: at the node, and at the agent.
fn check_crossed_once(count: usize, topology: Topology) {
    let group = Group::start(&programs!(), count, topology);
    if topology == Topology::Mesh {
        // A link that makes room for another one leaves some of what was on its way to come twice.
        wait_for("one link between any two", || check_links(&group));
    }
    let start = group.wait_converged();
    let hosts: Vec<&Host> = group.hosts().iter().collect();
    let before: Vec<_> = hosts.iter().map(|host| (applied(host), host_links(host))).collect();
    at_once(&hosts, |host, client| {
        let mut random = Rng::with_seed(host as u64);
        (0..size(1_000, 20_000)).for_each(|_| write(&mut random, client));
    });
    group.check_equal();
    for (host, (applied_before, links_before)) in hosts.iter().zip(before) {
        let others = hosts.iter().filter(|other| other.name() != host.name());
        let copy: u64 = others.map(|other| own_bytes(other, &start)).sum();
        check_copies(host, "applied", applied(host) - applied_before, copy);
        wait_for("the agent's report, which comes each second", || {
            let received = received_since(&links_before, host);
            if received >= copy { Ok(()) } else { Err(format!("{received} of {copy} bytes")) }
        });
        check_copies(host, "received", received_since(&links_before, host), copy);
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
    host_links(host).iter().map(|link| link.payload_bytes_in - was(&link.address)).sum()
}

/// Writes a run of keys, most of them this client's own.
fn write(random: &mut Rng, client: &mut Connection) {
    let padding = "x".repeat(100);
    let run: [String; 16] =
        std::array::from_fn(|_| format!("SET key:{} {}{padding}", random.u16(..10_000), random.u64(..)));
    send_all(client, &run);
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

/// A link as the agent reported it.
#[derive(Debug)]
struct Link {
    name: String,
    is_up: bool,
    /// The URL that this side dialled, or the address that dialled it.
    address: String,
    payload_bytes_in: u64,
}

fn host_links(host: &Host) -> Vec<Link> {
    let text: String = redis::cmd("INFO").arg("replication").query(&mut host.client()).expect("INFO answers");
    let fields: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.trim().split_once(':')).collect();
    (0..)
        .map_while(|number| Some((number, fields.get(&*format!("link{number}"))?)))
        .map(|(number, line)| {
            let values: BTreeMap<&str, &str> =
                line.split(',').filter_map(|part| part.split_once('=')).collect();
            Link {
                name: values["name"].to_owned(),
                is_up: fields.get(&*format!("link{number}_link_status")) == Some(&"up"),
                address: values["address"].to_owned(),
                payload_bytes_in: values["payload_bytes_in"].parse().expect("a number of bytes"),
            }
        })
        .collect()
}

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

#[test]
fn of_two_that_dial_each_other_one_link_stays() {
    let mut group = start_told(2);
    check_one_link_each(&group);
    group.cut_all();
    wait_until("the links to be lost", || group.hosts().iter().all(|host| links_up(host).is_empty()));
    group.heal_all();
    check_one_link_each(&group);
    group[0].kill_agent();
    group[0].start_agent();
    check_one_link_each(&group);
    group[1].kill_agent();
    group[1].start_agent();
    check_one_link_each(&group);
}

#[test]
fn of_three_that_dial_each_other_one_link_stays_between_any_two() {
    check_one_link_each(&start_told(3));
}

/// A mesh whose agents log each time that they dial.
fn start_told(count: usize) -> Group {
    let mut group = Group::new(&programs!(), count);
    group.connect(Topology::Mesh);
    for host in group.hosts_mut() {
        host.agent_flags = ["--log-level", "debug", "--log-format", "json"].map(str::to_owned).into();
    }
    group.start_all();
    group
}

/// How often all agents have dialled.
fn dialled(group: &Group) -> usize {
    let attempts =
        |host: &Host| host.agent_log().lines().filter(|line| line.contains("\"msg\":\"dialling\"")).count();
    group.hosts().iter().map(attempts).sum()
}

/// Waits until there is one link between any two hosts, whoever dialled. Asserts that nobody dials any more while they go
/// on replicating.
#[track_caller]
fn check_one_link_each(group: &Group) {
    wait_for("one link between any two", || check_links(group));
    let settled = dialled(group);
    let load = Load::start(group.hosts(), |host| {
        let mut random = Rng::with_seed(host as u64);
        move |client: &mut Connection| {
            write(&mut random, client);
            std::thread::sleep(PAUSE);
        }
    });
    load.wait_rounds(PAUSES);
    load.finish();
    group.check_equal();
    check_links(group).expect("links stay as they were");
    // One that was about to dial when the link came up has tried once more.
    let pairs = group.hosts().len() * (group.hosts().len() - 1) / 2;
    let dialled = dialled(group);
    assert!(dialled <= settled + pairs, "{settled} times, and {dialled} a while later");
}

/// Between the runs of a client. Its load goes on for so long that somebody who dials again and again does so several
/// times.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSES: usize = 100;

/// Whether each host has one link to each other.
fn check_links(group: &Group) -> Result<(), String> {
    for host in group.hosts() {
        let links = links_up(host);
        let linked: BTreeSet<&str> = links.iter().map(|link| &*link.name).collect();
        if links.len() + 1 != group.hosts().len() || linked.len() != links.len() {
            return Err(format!("{}: {links:?}", host.name()));
        }
    }
    Ok(())
}

fn links_up(host: &Host) -> Vec<Link> {
    host_links(host).into_iter().filter(|link| link.is_up).collect()
}

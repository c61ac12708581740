//! Of two links between the same two agents one gives way.

use std::time::Duration;

use fastrand::Rng;
use redis::Connection;
use tests::group::{Group, Topology};
use tests::host::Host;
use tests::load::Load;
use tests::programs;
use tests::wait::wait_until;

use crate::write;

#[test]
fn of_two_that_dial_each_other_one_link_stays() {
    let mut group = start_told(2);
    check_one_link_stays(&group);
    group.cut_all();
    wait_until("the links to be lost", || {
        group.hosts().iter().all(|host| !host.links().iter().any(|link| link.is_up))
    });
    group.heal_all();
    check_one_link_stays(&group);
    group[0].kill_agent();
    group[0].start_agent();
    check_one_link_stays(&group);
    group[1].kill_agent();
    group[1].start_agent();
    check_one_link_stays(&group);
}

#[test]
fn of_three_that_dial_each_other_one_link_stays_between_any_two() {
    check_one_link_stays(&start_told(3));
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
fn check_one_link_stays(group: &Group) {
    group.wait_one_link_each(Topology::Mesh);
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
    group.check_one_link_each(Topology::Mesh).expect("links stay as they were");
    // One that was about to dial when the link came up has tried once more.
    let pairs = group.hosts().len() * (group.hosts().len() - 1) / 2;
    let dialled = dialled(group);
    assert!(dialled <= settled + pairs, "{settled} times, and {dialled} a while later");
}

/// Between the runs of a client. Its load goes on for so long that somebody who dials again and again does so several
/// times.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSES: usize = 100;

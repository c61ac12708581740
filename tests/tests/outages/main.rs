//! Members that come and go, links that fail, memory that fails: what is acknowledged stays, what is deleted stays
//! deleted, and all end equal.
//!
//! Each test prints what it measures. `TANDEM_LONG=1` asks for the long forms.

mod absence;

mod chaos;

mod corruption;

mod identities;

mod joining;

mod left;

mod memory;

mod missing;

mod slow;

use redis::Connection;
use tests::group::{Group, Topology};
use tests::host::Host;
use tests::load::send_all;
use tests::programs;
use tests::wait::wait_for;

fn flags(flags: &[&str]) -> Vec<String> {
    flags.iter().map(|&flag| flag.to_owned()).collect()
}

/// A mesh of hosts whose nodes have these flags, started and linked.
fn mesh(count: usize, node_flags: &[&str]) -> Group {
    let mut group = Group::new(&programs!(), count);
    group.connect(Topology::Mesh);
    group.hosts_mut().iter_mut().for_each(|host| host.node_flags = flags(node_flags));
    group.start_all();
    group
}

/// Runs a command for each of so many numbers, a hundred in one go.
fn for_each(client: &mut Connection, count: usize, command: impl Fn(usize) -> String) {
    for first in (0..count).step_by(100) {
        let run: Vec<String> = (first..count.min(first + 100)).map(&command).collect();
        send_all(client, &run);
    }
}

fn get(host: &Host, key: &str) -> Option<String> {
    redis::cmd("GET").arg(key).query(&mut host.client()).expect("GET answers")
}

/// How many of the keys `prefix:0` and so on the host has.
fn count_keys(host: &Host, prefix: &str, count: usize) -> usize {
    let mut client = host.client();
    (0..count)
        .step_by(1_000)
        .map(|first| {
            let mut command = redis::cmd("EXISTS");
            (first..count.min(first + 1_000)).for_each(|number| {
                command.arg(format!("{prefix}:{number}"));
            });
            command.query::<usize>(&mut client).expect("EXISTS answers")
        })
        .sum()
}

/// Waits until the field of INFO is as wanted, and returns it.
#[track_caller]
fn wait_counter(host: &Host, field: &str, is_wanted: impl Fn(u64) -> bool) -> u64 {
    wait_for(&format!("{field} of {}", host.name()), || {
        let found = host.counter(field);
        if is_wanted(found) { Ok(found) } else { Err(found.to_string()) }
    })
}

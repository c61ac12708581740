//! Loads that write and remove without end: memory and tombstones stay bounded, also while a member is away.

use std::time::{Duration, Instant};

use redis::Connection;
use rustix::process::Signal;
use tests::group::Group;
use tests::host::Host;
use tests::load::{Load, send_all, size};
use tests::operator::{check_undiverged, check_verified};
use tests::wait::wait_for;

use crate::{for_each, mesh, wait_counter};

/// Commands that are sent at once.
const RUN: usize = 200;

/// What a node takes at a moment.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    resident: usize,
    dead: usize,
}

impl Taken {
    fn by(host: &Host) -> Self {
        let resident = host.node.as_ref().expect("it runs").resident_bytes();
        Self { resident, dead: host.counter("tombstone_bytes") as usize }
    }

    fn most(self, other: Self) -> Self {
        Self { resident: self.resident.max(other.resident), dead: self.dead.max(other.dead) }
    }

    fn show(self) -> String {
        format!("{} MiB resident, {} KiB of tombstones", self.resident >> 20, self.dead >> 10)
    }
}

/// Clients at every host that send what `command` makes of fresh numbers, as fast as they can.
fn endless(hosts: &[Host], pause: Duration, command: fn(usize, &str) -> Vec<String>) -> Load {
    Load::start(hosts, |host| {
        let mut number = 0;
        move |client: &mut Connection| {
            let run: Vec<String> = (0..RUN / 2)
                .flat_map(|_| {
                    number += 1;
                    command(number, &format!("fresh:{host}:{number}"))
                })
                .collect();
            send_all(client, &run);
            std::thread::sleep(pause);
        }
    })
}

/// Lets the load run for so many rounds of every client, and returns the most that any node took at a time.
fn watch(group: &Group, load: &Load, rounds: usize) -> Taken {
    let mut most = Taken::default();
    for _ in 0..rounds.div_ceil(20) {
        load.wait_rounds(20);
        most = group.hosts().iter().map(Taken::by).fold(most, Taken::most);
    }
    most
}

/// Lets the load run until the tombstones of every host have become fewer three times: before that all only grows. Returns
/// the most that any node took at a time.
fn watch_until_tombstones_go(group: &Group, load: &Load) -> Taken {
    let mut most = Taken::default();
    let mut last = vec![0; group.hosts().len()];
    let mut falls = last.clone();
    wait_for("tombstones to go while others come", || {
        load.wait_rounds(10);
        for (index, host) in group.hosts().iter().enumerate() {
            let taken = Taken::by(host);
            most = most.most(taken);
            falls[index] += usize::from(taken.dead < last[index]);
            last[index] = taken.dead;
        }
        if falls.iter().all(|count| *count >= 3) { Ok(()) } else { Err(format!("{falls:?}")) }
    });
    most
}

#[test]
fn a_queue_leaves_nothing_behind() {
    check_bounded("SET and DEL of fresh keys", size(600, 30_000), |_, key| {
        vec![format!("SET {key} {:0100}", 0), format!("DEL {key}")]
    });
}

#[test]
fn keys_that_expire_leave_nothing_behind() {
    check_bounded("SETEX of fresh keys", size(400, 20_000), |_, key| {
        vec![format!("SETEX {key} 1 {:0100}", 0)]
    });
}

fn check_bounded(what: &str, rounds: usize, command: fn(usize, &str) -> Vec<String>) {
    let group = mesh(2, &["--log-retention", "1mb", "--snapshot-after", "16mb"]);
    let begun = Instant::now();
    // How much is dead at a time goes by what is written until all have it: at a pace that depends neither on the machine
    // nor on the tests beside this one, but in the long form, which runs alone.
    let load = endless(group.hosts(), Duration::from_millis(size(10, 0) as u64), command);
    let first = watch(&group, &load, rounds / 2).most(watch_until_tombstones_go(&group, &load));
    let second = watch(&group, &load, rounds / 2);
    let took = begun.elapsed();
    load.finish();
    group.wait_converged();
    let ended = Instant::now();
    for host in group.hosts() {
        wait_for("everything to be gone", || {
            let keys: u64 = redis::cmd("DBSIZE").query(&mut host.client()).expect("DBSIZE answers");
            let dead = host.counter("tombstone_bytes");
            // The keys by which the links were tried.
            if keys <= 2 && dead == 0 { Ok(()) } else { Err(format!("{keys} keys, {dead} bytes")) }
        });
    }
    let gone_after = ended.elapsed();
    group.check_equal();
    check_undiverged(group.hosts());
    let verified = check_verified(group.hosts());
    eprintln!(
        "{what}: at least {} at each of two hosts in {took:?}; at most {}, in the second half {}; all gone {gone_after:?} \
         after the end; {verified} keys verified",
        rounds * RUN / 2,
        first.most(second).show(),
        second.show(),
    );
    assert!(second.dead < 64 << 20, "{}", second.show());
    assert!(second.resident < first.resident + first.resident / 2 + (32 << 20), "{first:?} {second:?}");
}

/// Frozen, it is a member that tombstones wait for, until they take too much; when it is back, it joins anew.
#[test]
fn a_member_that_tombstones_wait_for_in_vain_is_evicted_and_returns() {
    let group = mesh(3, &["--tombstone-budget", "1mb"]);
    let frozen = group[2].node.as_ref().expect("it runs");
    frozen.signal(Signal::STOP);
    let frozen_at = Instant::now();
    let load = endless(&group.hosts()[..2], Duration::from_millis(20), |_, key| {
        vec![format!("SET {key} {:0100}", 0), format!("DEL {key}")]
    });
    let here = &group.hosts()[..2];
    let mut waiting = Taken::default();
    wait_for("the member to be evicted", || {
        waiting = here.iter().map(Taken::by).fold(waiting, Taken::most);
        let members: Vec<u64> = here.iter().map(|host| host.counter("members")).collect();
        if members == [2, 2] { Ok(()) } else { Err(format!("{members:?} members, {}", waiting.show())) }
    });
    let evicted_after = frozen_at.elapsed();
    for host in here {
        wait_counter(host, "tombstone_bytes", |bytes| bytes < 1 << 20);
    }
    let mut since = Taken::default();
    for _ in 0..size(5, 500) {
        load.wait_rounds(20);
        since = here.iter().map(Taken::by).fold(since, Taken::most);
    }
    let back_at = Instant::now();
    frozen.signal(Signal::CONT);
    let before = group[2].counter("reconciles_done");
    wait_counter(&group[2], "reconciles_done", |done| done > before);
    wait_counter(&group[2], "ready", |ready| ready == 1);
    let ready_after = back_at.elapsed();
    load.finish();
    group.check_equal();
    for host in group.hosts() {
        wait_counter(host, "tombstone_bytes", |bytes| bytes == 0);
        assert_eq!(host.counter("members"), 3, "{}", host.name());
    }
    check_undiverged(group.hosts());
    eprintln!(
        "budget: evicted after {evicted_after:?} with {}, then at most {}; back and ready after {ready_after:?}",
        waiting.show(),
        since.show(),
    );
    assert!(since.dead < 8 << 20, "{}", since.show());
}

#[test]
fn memory_of_what_was_deleted_is_given_back() {
    const VALUE_BYTES: usize = 10_000;
    const VALUES: usize = 5_000;
    let group = mesh(2, &["--memory"]);
    let resident = |host: &Host| Taken::by(host).resident;
    let mut client = group[0].writing_client();
    for_each(&mut client, VALUES, |number| format!("SET key:{number} {number:0VALUE_BYTES$}"));
    group.check_equal();
    let full: Vec<usize> = group.hosts().iter().map(resident).collect();
    assert!(full.iter().all(|bytes| *bytes > VALUES * VALUE_BYTES), "{full:?}");

    send_all(&mut client, &["FLUSHALL".to_owned()]);
    for (host, full) in group.hosts().iter().zip(full) {
        let most = full - VALUES * VALUE_BYTES * 3 / 4;
        wait_for(&format!("{} to take at most {most} bytes", host.name()), || {
            let bytes = resident(host);
            if bytes <= most { Ok(()) } else { Err(bytes.to_string()) }
        });
    }
}

//! Counters: what clients add at any master is in the sum at every master, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use fastrand::Rng;
use redis::{Connection, Value};
use tests::group::{Group, Topology};
use tests::load::{Load, seed, send_all, size};
use tests::programs;

/// Counters that all clients add to.
const COUNTERS: usize = 10;

/// Increments that are sent in one go.
const RUN: usize = 16;

/// What clients have added so far, and had acknowledged.
type Sums = Arc<[AtomicI64; COUNTERS]>;

#[test]
fn sums_of_two_masters_are_exact_through_cuts_and_killed_agents() {
    check_sums(2, Topology::Mesh);
}

#[test]
fn sums_in_a_mesh_of_three_are_exact_through_cuts_and_killed_agents() {
    check_sums(3, Topology::Mesh);
}

#[test]
fn sums_in_a_chain_of_three_are_exact_through_cuts_and_killed_agents() {
    check_sums(3, Topology::Chain);
}

fn check_sums(count: usize, topology: Topology) {
    let mut random = Rng::with_seed(seed());
    let mut group = Group::start(&programs!(), count, topology);
    let sums = Sums::default();
    // Half of the counters start from a written number.
    for counter in 0..COUNTERS / 2 {
        group[0].run(&["SET", &name(counter), "1000"]);
        sums[counter].store(1_000, Ordering::Release);
    }
    group.wait_converged();
    let seeds: Vec<u64> = group.hosts().iter().map(|_| random.u64(..)).collect();
    let load = Load::start(group.hosts(), |host| client(sums.clone(), Rng::with_seed(seeds[host])));
    for _ in 0..size(6, 60) {
        trouble(&mut group, &load, &mut random);
    }
    load.finish();
    group.check_equal();
    for host in group.hosts() {
        for (counter, sum) in sums.iter().enumerate() {
            let expected = Value::BulkString(sum.load(Ordering::Acquire).to_string().into_bytes());
            assert_eq!(host.run(&["GET", &name(counter)]), expected, "{} at {}", name(counter), host.name());
        }
    }
}

/// Cuts a cable or kills an agent under load, and mends it; now and then before anything could come of it.
fn trouble(group: &mut Group, load: &Load, random: &mut Rng) {
    let host = random.usize(..group.hosts().len());
    let (cuts, kills) = (random.bool(), random.bool());
    if cuts {
        group[host].cable.cut();
        load.wait_rounds(random.usize(..50));
    }
    if kills || !cuts {
        group[host].kill_agent();
        load.wait_rounds(random.usize(..50));
        group[host].start_agent();
    }
    group.heal_all();
    if random.bool() {
        group.wait_caught_up();
    } else {
        load.wait_rounds(random.usize(..20));
    }
}

fn client(sums: Sums, mut random: Rng) -> impl FnMut(&mut Connection) + Send + 'static {
    move |client| {
        let steps: [(usize, i64); RUN] =
            std::array::from_fn(|_| (random.usize(..COUNTERS), random.i64(-1_000..2_000)));
        let commands = steps.map(|(counter, by)| match by {
            0..500 => format!("INCR {}", name(counter)),
            500..1_000 => format!("DECRBY {} {by}", name(counter)),
            _ => format!("INCRBY {} {by}", name(counter)),
        });
        send_all(client, &commands);
        for (counter, by) in steps {
            let added = match by {
                0..500 => 1,
                500..1_000 => -by,
                _ => by,
            };
            sums[counter].fetch_add(added, Ordering::AcqRel);
        }
    }
}

fn name(counter: usize) -> String {
    format!("counter:{counter}")
}

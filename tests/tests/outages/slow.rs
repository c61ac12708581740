//! Peers that stand still, or read slowly: they cost the others nothing, and go on by the log.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use redis::Connection;
use rustix::process::Signal;
use tests::group::{Group, Topology};
use tests::host::Host;
use tests::load::{Load, send_all, size};
use tests::operator::{check_undiverged, check_verified_in};
use tests::programs;

use crate::flags;

/// Writes that are sent at once, each of a kilobyte, and how long a client rests after them.
const RUN: usize = 50;
fn rest() -> Duration {
    Duration::from_millis(size(5, 15) as u64)
}

/// Rounds of each client before the peer becomes slow: what is kept for followers that are nearly up to date has come to
/// its limit. And while it is slow: many times what memory may grow by, in the long form for minutes.
fn rounds_before() -> usize {
    size(400, 3_000)
}
fn rounds_meanwhile() -> usize {
    size(1_200, 12_000)
}

/// Enough for all that is written.
const LOG_RETENTION: u64 = 4 << 30;

/// What allocators may take, and writes that wait for a disk.
const GROWTH_BYTES_MAX: usize = 32 << 20;

/// A star of three. The first two write, and the third is about to be slow.
struct Trial {
    group: Group,
    load: Load,
    latencies: Receiver<(Instant, Duration)>,
}

impl Trial {
    fn begin() -> Self {
        let mut group = Group::new(&programs!(), 3);
        group.connect_by_own_cables(Topology::Star);
        for host in group.hosts_mut() {
            host.node_flags = flags(&["--log-retention", &LOG_RETENTION.to_string()]);
        }
        group.start_all();
        group.wait_one_link_each(Topology::Star);
        let (sender, latencies) = channel();
        let load = Load::start(&group.hosts()[..2], |host| {
            let (mut round, sender) = (0_usize, sender.clone());
            let value = "x".repeat(1_000);
            move |client: &mut Connection| {
                let mut run: Vec<String> = (0..RUN)
                    .map(|number| {
                        format!("SET key:{} {host}:{round}:{value}", (round * RUN + number) % 1_000)
                    })
                    .collect();
                run.push("INCR count".to_owned());
                let began = Instant::now();
                send_all(client, &run);
                // Nobody listens any more when the test has failed.
                let _ = sender.send((began, began.elapsed()));
                round += 1;
                std::thread::sleep(rest());
            }
        });
        Self { group, load, latencies }
    }

    /// The third host is slow from `begin` on, until it is well again.
    fn run(self, what: &str, begin: impl Fn(&Host), end: impl Fn(&Host)) {
        let Self { group, load, latencies } = self;
        let reconciled = |group: &Group| -> Vec<u64> {
            group.hosts().iter().map(|host| host.counter("reconciles_begun")).collect()
        };
        let logged = || group[0].counter("log_end");
        let reconciled_before = reconciled(&group);
        load.wait_rounds(rounds_before());
        let before = resident_bytes(&group.hosts()[..2]);
        let (begun, begun_at) = (Instant::now(), logged());
        begin(&group[2]);
        let mut most = before.clone();
        for _ in 0..rounds_meanwhile() / 100 {
            load.wait_rounds(100);
            most.iter_mut()
                .zip(resident_bytes(&group.hosts()[..2]))
                .for_each(|(most, (_, bytes))| most.1 = most.1.max(bytes));
        }
        let (ended, ended_at) = (Instant::now(), logged());
        let missing = LOG_RETENTION - group[0].log_left_for(group[2].name()).expect("it was heard before");
        end(&group[2]);
        group.wait_caught_up();
        let caught_up_after = ended.elapsed();
        load.wait_rounds(rounds_before());
        let rounds = load.finish();
        group.check_equal();
        assert_eq!(reconciled(&group), reconciled_before, "batches would have done");
        let count: u64 = redis::cmd("GET").arg("count").query(&mut group[2].client()).expect("a count");
        assert_eq!(count, rounds, "increments are lost, or count twice");
        check_undiverged(group.hosts());
        check_verified_in(group.hosts(), Topology::Star);

        let (mut before_it, mut meanwhile, mut after_it) = (Vec::new(), Vec::new(), Vec::new());
        for (at, took) in latencies {
            let phase = if at < begun {
                &mut before_it
            } else if at < ended {
                &mut meanwhile
            } else {
                &mut after_it
            };
            phase.push(took);
        }
        eprintln!(
            "{what} for {:?}: others wrote {} MiB meanwhile, {} MiB were missing at the end, caught up after \
             {caught_up_after:?}; p99 of {RUN} writes {:?} before, {:?} meanwhile, {:?} afterwards",
            ended - begun,
            (ended_at - begun_at) >> 20,
            missing >> 20,
            p99(before_it),
            p99(meanwhile),
            p99(after_it),
        );
        for ((name, before), (_, most)) in before.iter().zip(&most) {
            eprintln!("{name}: {} KiB before, at most {} KiB meanwhile", before >> 10, most >> 10);
            assert!(*most <= before + GROWTH_BYTES_MAX, "the {name} has grown from {before} to {most} bytes");
        }
        assert!(missing as usize > 2 * GROWTH_BYTES_MAX, "{missing} bytes: memory could hold them");
    }
}

/// The resident memory of the nodes and agents, with their names.
fn resident_bytes(hosts: &[Host]) -> Vec<(String, usize)> {
    let of_host = |host: &Host| {
        [("node", &host.node), ("agent", &host.agent)].map(|(what, process)| {
            let bytes = process.as_ref().expect("it was started").resident_bytes();
            (format!("{what} of {}", host.name()), bytes)
        })
    };
    hosts.iter().flat_map(of_host).collect()
}

fn p99(mut latencies: Vec<Duration>) -> Duration {
    latencies.sort_unstable();
    latencies.get(latencies.len() * 99 / 100).copied().unwrap_or_default()
}

#[test]
fn a_peer_that_stands_still_costs_the_others_nothing() {
    let signal = |host: &Host, signal| {
        for process in [&host.node, &host.agent] {
            process.as_ref().expect("it runs").signal(signal);
        }
    };
    Trial::begin().run(
        "a peer stood still",
        |host| signal(host, Signal::STOP),
        |host| signal(host, Signal::CONT),
    );
}

#[test]
fn a_peer_that_reads_slowly_costs_the_others_nothing() {
    let limit = |host: &Host, bytes| host.own_cables[0].set_bytes_per_second(bytes);
    Trial::begin().run("a peer read slowly", |host| limit(host, 1 << 20), |host| limit(host, 0));
}

//! Load by redis-benchmark: it runs clean, masters end equal, and memory stays flat.

use std::process::Command;
use std::time::Instant;

use tests::group::{Group, Topology};
use tests::host::Host;
use tests::load::size;
use tests::programs;

/// Keys that are written: few, so that only what ought not to grow could.
const KEYS: usize = 1_000;

/// Whether redis-benchmark is there. If not, the test says that it is skipped.
fn is_installed() -> bool {
    let is_installed = Command::new("redis-benchmark").arg("--version").output().is_ok();
    if !is_installed {
        eprintln!("skipped: redis-benchmark is not installed (on Debian: apt install redis-tools)");
    }
    is_installed
}

/// Runs redis-benchmark against the host's node.
///
/// # Panics
/// If it fails, or has anything to complain of.
#[track_caller]
fn benchmark(host: &Host, requests: usize, pipeline: usize, flags: &[&str]) {
    let numbers = [("-p", host.port().into()), ("-n", requests), ("-P", pipeline), ("-r", KEYS)];
    let mut command = Command::new("redis-benchmark");
    command.args(["-h", "127.0.0.1", "--csv"]).args(flags);
    numbers.iter().for_each(|(flag, number)| {
        command.args([flag, &*number.to_string()]);
    });
    let output = command.output().expect("redis-benchmark runs");
    let (text, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && complaint.is_empty(), "{text}{complaint}");
    // A heading, and a line of numbers in quotes for each test: anything else is a complaint, too.
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() > 1 && lines.iter().all(|line| line.starts_with('"')), "{text}");
}

#[test]
fn redis_benchmark_runs_clean_at_every_depth_of_pipeline() {
    if !is_installed() {
        return;
    }
    let group = Group::start(&programs!(), 2, Topology::Mesh);
    for pipeline in [1, 16, 100] {
        for host in group.hosts() {
            benchmark(host, size(10_000, 1_000_000), pipeline, &["-t", "ping,set,get,incr,mset"]);
        }
    }
    group.check_equal();
}

/// The resident memory of every process, with its name.
fn resident_bytes(group: &Group) -> Vec<(String, usize)> {
    let of_host = |host: &Host| {
        [("node", &host.node), ("agent", &host.agent)].map(|(what, process)| {
            let bytes = process.as_ref().expect("it was started").resident_bytes();
            (format!("{what} of {}", host.name()), bytes)
        })
    };
    group.hosts().iter().flat_map(of_host).collect()
}

/// Some rounds, or ten minutes in the long form, of writes at both masters: SET and INCR on the same few keys.
#[test]
fn memory_stays_flat_under_load() {
    /// What allocators, and writes that wait for a disk, may take.
    const GROWTH_BYTES_MAX: usize = 32 << 20;
    if !is_installed() {
        return;
    }
    let group = Group::start(&programs!(), 2, Topology::Mesh);
    let write = |rounds_min: usize, minutes: usize| {
        let (started, mut rounds) = (Instant::now(), 0);
        while rounds < rounds_min || started.elapsed().as_secs() < minutes as u64 * 60 {
            for host in group.hosts() {
                benchmark(host, 20_000, 4, &["-t", "set,incr", "-d", "100"]);
            }
            rounds += 1;
        }
        group.wait_converged();
        rounds
    };
    // Until what is kept for followers that are nearly up to date has come to its limit.
    let warm_up = write(8, size(0, 1));
    let before = resident_bytes(&group);
    let rounds = write(16, size(0, 10));
    let after = resident_bytes(&group);
    for ((name, before), (_, after)) in before.iter().zip(&after) {
        eprintln!("{name}: {before} bytes after {warm_up} rounds, {after} after {rounds} more");
        assert!(
            *after <= before + GROWTH_BYTES_MAX,
            "the {name} has grown from {before} to {after} bytes in {rounds} rounds"
        );
    }
    group.check_equal();
}

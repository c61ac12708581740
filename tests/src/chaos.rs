//! Everything fails, at random and at once, in the middle of load.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::Signal;

use crate::clerk::{Clerk, check_counters};
use crate::group::{Group, Topology};
use crate::host::Host;
use crate::operator::{check_undiverged, check_verified_in};
use crate::process::Process;
use crate::proxy::Proxy;

/// Clerks at each host.
const CLERKS: usize = 2;

/// Commands that a clerk sends at once, at most.
const PIPELINE: usize = 8;

/// The longest that a fault lasts, and that a host is left alone between two, in milliseconds.
const FAULT_MS: u64 = 2_500;
const PEACE_MS: u64 = 2_000;

/// How often each fault was made.
#[derive(Debug, Default)]
struct Faults {
    nodes_killed: AtomicU64,
    agents_killed: AtomicU64,
    nodes_frozen: AtomicU64,
    agents_frozen: AtomicU64,
    links_cut: AtomicU64,
    links_stalled: AtomicU64,
}

/// Lets everything fail for so long while clerks write at each host, whose nodes must run with `--fsync always`. Then all
/// are to be equal, with all that was acknowledged; tells how it went.
///
/// # Panics
/// If they are not.
#[track_caller]
pub fn check_survives(group: &mut Group, topology: Topology, random: &mut Rng, duration: Duration) {
    let count = group.hosts().len();
    let mut clerks: Vec<Clerk> = (0..count * CLERKS)
        .map(|number| Clerk::new(&format!("clerk{number}"), PIPELINE, random.u64(..)))
        .collect();
    let ports: Vec<u16> = group.hosts().iter().map(Host::port).collect();
    let (stop, acknowledged, faults) = (AtomicBool::new(false), AtomicU64::new(0), Faults::default());
    let deadline = Instant::now() + duration;
    thread::scope(|scope| {
        for (number, clerk) in clerks.iter_mut().enumerate() {
            let (port, stop, acknowledged) = (ports[number / CLERKS], &stop, &acknowledged);
            scope.spawn(move || clerk.work_on(port, stop, acknowledged));
        }
        // Also when a fault cannot be made: else the clerks would work on.
        let _stopping = Stopping(&stop);
        thread::scope(|scope| {
            for host in group.hosts_mut() {
                let (mut random, faults) = (random.fork(), &faults);
                scope.spawn(move || trouble(host, &mut random, deadline, faults));
            }
        });
    });

    let healed_at = Instant::now();
    group.check_equal();
    let equal_after = healed_at.elapsed();
    for host in group.hosts() {
        let mut client = host.client();
        clerks.iter().for_each(|clerk| clerk.check(host.name(), &mut client));
        check_counters(host.name(), &mut client, &clerks);
        assert!(!host.node_log().contains("data differ although"), "{} diverged", host.name());
        assert_eq!(host.counter("members"), count as u64, "members of {}", host.name());
    }
    check_undiverged(group.hosts());
    let verified = check_verified_in(group.hosts(), topology);
    eprintln!(
        "chaos of {duration:?} in {topology:?} of {count}: {acknowledged:?} writes acknowledged, {faults:?}; equal \
         {equal_after:?} after the last fault; {verified} keys verified"
    );
}

struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// One host's faults, one after the other; those of several hosts fall together as it happens. In the end all is well.
fn trouble(host: &mut Host, random: &mut Rng, deadline: Instant, faults: &Faults) {
    while Instant::now() < deadline {
        thread::sleep(Duration::from_millis(random.u64(..PEACE_MS)));
        let lasts = Duration::from_millis(random.u64(..FAULT_MS));
        let made = match random.u8(..6) {
            0 => {
                host.kill_node();
                thread::sleep(lasts);
                host.start_node();
                &faults.nodes_killed
            }
            1 => {
                host.kill_agent();
                thread::sleep(lasts);
                host.start_agent();
                &faults.agents_killed
            }
            2 => {
                freeze(&host.node, lasts);
                &faults.nodes_frozen
            }
            3 => {
                freeze(&host.agent, lasts);
                &faults.agents_frozen
            }
            4 => {
                let cable = any_cable(host, random);
                cable.cut();
                thread::sleep(lasts);
                cable.heal();
                &faults.links_cut
            }
            _ => {
                let cable = any_cable(host, random);
                cable.set_stalled(true);
                thread::sleep(lasts);
                cable.set_stalled(false);
                &faults.links_stalled
            }
        };
        made.fetch_add(1, Ordering::AcqRel);
    }
}

/// That of one link, or of all who dial the host.
fn any_cable<'a>(host: &'a Host, random: &mut Rng) -> &'a Proxy {
    host.own_cables.get(random.usize(..=host.own_cables.len())).unwrap_or(&host.cable)
}

fn freeze(process: &Option<Process>, lasts: Duration) {
    let process = process.as_ref().expect("it was started");
    process.signal(Signal::STOP);
    thread::sleep(lasts);
    process.signal(Signal::CONT);
}

//! Nodes that come with nothing, nodes that come back with nothing again and again, and groups that had never met.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use redis::Connection;
use tests::feed::copy_after;
use tests::group::{Group, Topology};
use tests::host::Host;
use tests::load::{Load, send_all, size};
use tests::operator::{check_undiverged, check_verified, member_names};
use tests::programs;
use tests::wait::{wait_for, wait_until};

use crate::{count_keys, flags, for_each, get, mesh, wait_counter};

/// A slot costs at most so many bytes beside its keys: two pages' heads and lengths.
const SLOTS: u64 = 16_384;
const PAGE_BYTES: u64 = 48;

/// Sixteen bytes.
fn key(number: usize) -> String {
    format!("key:{number:012}")
}

/// Sixty-four bytes.
fn value(number: usize) -> String {
    format!("{number:064}")
}

#[test]
fn a_fresh_master_takes_over_a_large_group_under_load() {
    let keys = size(20_000, 1_000_000);
    let mut group = Group::new(&programs!(), 3);
    group.connect(Topology::Mesh);
    group.start_first(2);
    let before = group[0].frontier();
    for_each(&mut group[0].writing_client(), keys, |number| format!("SET {} {}", key(number), value(number)));
    let encoded = copy_after(&group[0], &before, |_| true).bytes;

    let served = Served::default();
    let load = Load::start(&group.hosts()[..2], |host| {
        let served = served.clone();
        move |client: &mut Connection| write_slowly(host, keys, client, &served)
    });
    load.wait_rounds(size(200, 2_000));
    let p99_before = served.take_p99();
    let joined_at = Instant::now();
    group[2].start_node();
    group[2].start_agent();
    let cable_before = bytes_through(&group);
    wait_joined(&group[2], 3);
    let ready_after = joined_at.elapsed();
    let p99_during = served.take_p99();
    let (reconciled, streamed) =
        (group[2].counter("reconcile_bytes_in"), group[2].counter("link_payload_bytes_in"));
    let cable = bytes_through(&group) - cable_before;
    load.wait_rounds(50);
    load.finish();
    group.check_equal();
    assert_eq!(group[2].run(&["DBSIZE"]), group[0].run(&["DBSIZE"]));
    check_undiverged(group.hosts());
    let verified = check_verified(group.hosts());
    eprintln!(
        "joining: {keys} keys, ready after {ready_after:?}; {reconciled} bytes of state and {streamed} of batches \
         received ({cable} through all cables), {encoded} bytes as batches ({:.2}); p99 of SET at the serving node \
         {p99_before:?} before and {p99_during:?} during; {verified} keys verified",
        (reconciled + streamed) as f64 / encoded as f64,
    );
    // A page per slot comes, and one of what is dead, however few keys there are. What is written meanwhile comes, too.
    let pages = SLOTS * PAGE_BYTES;
    assert!(reconciled <= encoded + encoded / 5 + pages, "{reconciled} of {encoded}");
}

fn bytes_through(group: &Group) -> u64 {
    group.hosts().iter().map(|host| host.cable.bytes()).map(|(forward, backward)| forward + backward).sum()
}

/// How long commands took.
#[derive(Clone, Debug, Default)]
struct Served(Arc<std::sync::Mutex<Vec<Duration>>>);

impl Served {
    fn note(&self, took: Duration) {
        self.0.lock().expect("no holder panics").push(took);
    }

    fn take_p99(&self) -> Duration {
        let mut times = std::mem::take(&mut *self.0.lock().expect("no holder panics"));
        times.sort_unstable();
        times.get(times.len() * 99 / 100).copied().unwrap_or_default()
    }
}

/// Some hundreds of writes a second, on keys that are there and on others.
fn write_slowly(host: usize, keys: usize, client: &mut Connection, served: &Served) {
    let begun = Instant::now();
    let number = fastrand::usize(..keys);
    send_all(client, &[format!("SET {} {}", key(number), value(fastrand::usize(..)))]);
    if host == 0 {
        served.note(begun.elapsed());
    }
    send_all(client, &[format!("DEL {}", key(fastrand::usize(..keys))), format!("INCR count:{host}")]);
    thread::sleep(Duration::from_millis(2));
}

/// It loses what it took in its last moments, as it must; nobody else loses anything.
#[test]
fn a_memory_only_node_that_starts_again_and_again_harms_nobody() {
    let restarts = size(20, 100);
    let mut group = Group::new(&programs!(), 3);
    group.connect(Topology::Mesh);
    group[2].node_flags = flags(&["--memory"]);
    group.start_all();
    let load = Load::start(&group.hosts()[..2], |host| {
        let mut round = 0;
        move |client: &mut Connection| {
            let run = [
                format!("SET load:{host}:{} {round}", round % 500),
                format!("DEL load:{host}:{}", (round + 250) % 500),
                format!("SET every:{host}:{round} 1"),
                "INCR count".to_owned(),
            ];
            send_all(client, &run);
            round += 1;
            thread::sleep(Duration::from_millis(2));
        }
    });
    let begun = Instant::now();
    let (mut members_most, mut origins_most, mut dead_most, mut written) = (0, 0, 0, 0);
    for number in 0..restarts {
        group[2].kill_node();
        group[2].start_node();
        // Often it is killed before it has joined: unless its agent said goodbye for the one before, the name is held for
        // five seconds.
        if number % 6 == 0 {
            wait_joined(&group[2], 3);
            group[2].run(&["SET", &format!("own:{number}"), "1"]);
            wait_until("its write to arrive", || get(&group[0], &format!("own:{number}")).is_some());
            written += 1;
        } else {
            thread::sleep(Duration::from_millis(fastrand::u64(..300)));
        }
        members_most = members_most.max(member_names(&group[0]).len());
        origins_most = origins_most.max(group[0].frontier().iter().count());
        dead_most = dead_most.max(group[0].counter("tombstone_bytes"));
    }
    let took = begun.elapsed();
    wait_joined(&group[2], 3);
    load.finish();
    group.check_equal();
    assert_eq!(member_names(&group[0]), ["host0", "host1", "host2"]);
    assert!(members_most <= 4, "{members_most} members were listed");
    let rounds = 0..restarts;
    let own = rounds.filter(|number| get(&group[1], &format!("own:{number}")).is_some()).count();
    assert_eq!(own, written, "a write that others had is lost");
    check_every_write(&group);
    for host in group.hosts() {
        wait_counter(host, "tombstone_bytes", |bytes| bytes < 1_000);
    }
    check_undiverged(group.hosts());
    let verified = check_verified(group.hosts());
    eprintln!(
        "restarts: {restarts} in {took:?}, at most {members_most} members, {origins_most} origins and {dead_most} \
         bytes of tombstones; in the end {} origins, {verified} keys verified",
        group[0].frontier().iter().count(),
    );
}

/// Each round of the load has set one more key, and counted one more.
#[track_caller]
fn check_every_write(group: &Group) {
    let count: usize = get(&group[0], "count").and_then(|text| text.parse().ok()).expect("a count");
    for host in group.hosts() {
        assert_eq!(get(host, "count"), Some(count.to_string()), "{}", host.name());
        let found: usize = (0..2).map(|side| count_keys(host, &format!("every:{side}"), count)).sum();
        assert_eq!(found, count, "{}", host.name());
    }
}

#[test]
fn memory_only_members_that_all_start_again_at_once_find_a_group() {
    let mut group = mesh(3, &["--memory"]);
    for_each(&mut group[0].writing_client(), 100, |number| format!("SET before:{number} 1"));
    group.check_equal();
    group.hosts_mut().iter_mut().for_each(Host::kill_node);
    let begun = Instant::now();
    group.hosts_mut().iter_mut().for_each(Host::start_node);
    for host in group.hosts() {
        host.run(&["SET", &format!("after:{}", host.name()), "1"]);
    }
    let writing_after = begun.elapsed();
    wait_one_group(&group);
    for host in group.hosts() {
        wait_counter(host, "ready", |ready| ready == 1);
        host.run(&["SET", &format!("joined:{}", host.name()), "1"]);
    }
    let one_group_after = begun.elapsed();
    group.check_equal();
    for other in group.hosts() {
        for key in [format!("after:{}", other.name()), format!("joined:{}", other.name())] {
            assert!(group.hosts().iter().all(|host| get(host, &key).is_some()), "{key} is lost");
        }
        assert_eq!(get(other, "before:1"), None, "nothing was on a disk");
    }
    check_undiverged(group.hosts());
    eprintln!("all memory lost: writes after {writing_after:?}, one group after {one_group_after:?}");
}

/// Waits until the host is a member of a group of so many, and may be used. A node that has heard nothing yet of an
/// agent is ready, too: it is simply a store.
#[track_caller]
fn wait_joined(host: &Host, members: u64) {
    wait_counter(host, "members", |count| count >= members);
    wait_counter(host, "ready", |ready| ready == 1);
}

#[track_caller]
fn wait_one_group(group: &Group) {
    wait_for("one group of all", || {
        let ids: Vec<String> = group.hosts().iter().map(|host| host.feed_info("group-id")).collect();
        let members: Vec<u64> = group.hosts().iter().map(|host| host.counter("members")).collect();
        let joining: Vec<u64> = group.hosts().iter().map(|host| host.counter("joining")).collect();
        let is_one = ids.iter().all(|id| *id == ids[0])
            && members.iter().all(|count| *count == ids.len() as u64)
            && joining.iter().all(|joining| *joining == 0);
        if is_one { Ok(()) } else { Err(format!("{ids:?} {members:?} {joining:?}")) }
    });
}

#[test]
fn two_groups_that_had_never_met_become_one_with_all_that_both_had() {
    const KEYS: usize = 1_000;
    let mut group = Group::new(&programs!(), 4);
    let url = |group: &Group, host: usize| group[host].url();
    for (host, peer) in [(1, 0), (3, 2)] {
        group[host].peers = vec![url(&group, peer)];
    }
    group.hosts_mut().iter_mut().for_each(|host| {
        host.start_node();
        host.start_agent();
    });
    for (first, second) in [(0, 1), (2, 3)] {
        wait_until("two groups", || {
            group[first].feed_info("group-id") == group[second].feed_info("group-id")
                && [first, second].iter().all(|host| group[*host].counter("members") == 2)
        });
        let mut client = group[first].writing_client();
        for_each(&mut client, KEYS, |number| format!("SET of:{first}:{number} {first}"));
        for_each(&mut client, KEYS, |number| format!("SET both:{number} {first}"));
        for_each(&mut client, 100, |number| format!("DEL of:{first}:{number}"));
        let mut client = group[second].writing_client();
        for_each(&mut client, KEYS, |number| format!("SET of:{second}:{number} {second}"));
    }
    let ids = [group[0].feed_info("group-id"), group[2].feed_info("group-id")];
    assert_ne!(ids[0], ids[1]);
    let linked_at = Instant::now();
    group[2].kill_agent();
    let first = url(&group, 0);
    group[2].peers.push(first);
    group[2].start_agent();
    wait_one_group(&group);
    let one_after = linked_at.elapsed();
    wait_until("all to be ready", || group.hosts().iter().all(|host| host.counter("ready") == 1));
    group.check_equal();
    for host in group.hosts() {
        for side in 0..4 {
            let expected = if side % 2 == 0 { KEYS - 100 } else { KEYS };
            assert_eq!(count_keys(host, &format!("of:{side}"), KEYS), expected, "{side} at {}", host.name());
        }
        // The second group wrote later.
        assert!((0..KEYS).step_by(100).all(|n| get(host, &format!("both:{n}")).as_deref() == Some("2")));
    }
    check_undiverged(group.hosts());
    eprintln!("two groups: one after {one_after:?}");
}

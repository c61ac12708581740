//! Masters at their limit of memory: they stay within it, remove as few keys as it takes, and end equal.

use std::time::Duration;

use redis::{Connection, Value};
use tests::group::{Group, Topology};
use tests::host::Host;
use tests::load::{Load, send, size};
use tests::operator::{check_undiverged, check_verified};
use tests::programs;
use tests::wait::{wait_for, wait_until};

const LIMIT: u64 = 32 << 20;

/// As it is announced to clients.
const REFUSED: &str = "command not allowed when used memory > 'maxmemory'.";

/// Commands that are sent at once.
const RUN: usize = 100;

/// Between two runs of a client's: so that tombstones, which go in a second or two, take a small part of the limit.
const PAUSE: Duration = Duration::from_millis(5);

/// Hosts with these limits that are linked.
fn limited(limits: &[u64], policy: &str) -> Group {
    let mut group = Group::new(&programs!(), limits.len());
    for (host, limit) in group.hosts_mut().iter_mut().zip(limits) {
        let limit = limit.to_string();
        let flags = ["--maxmemory", &limit, "--maxmemory-policy", policy];
        host.node_flags = flags.map(str::to_owned).to_vec();
    }
    group.connect(Topology::Mesh);
    group.start_all();
    group
}

/// Clients at every host that write keys of some hundred bytes, most of them with an expiry.
fn write_without_end(hosts: &[Host], pause: Duration) -> Load {
    Load::start(hosts, |host| {
        let mut number = 0_u64;
        let value = "x".repeat(300);
        move |client: &mut Connection| {
            let run: Vec<String> = (0..RUN)
                .map(|_| {
                    number += 1;
                    let expiry = if number.is_multiple_of(8) { "" } else { " EX 1000" };
                    format!("SET key:{host}:{number} {value}{expiry}")
                })
                .collect();
            send(client, &run);
            std::thread::sleep(pause);
        }
    })
}

/// The most that any host's live data take while the clients do so many rounds.
fn watch(group: &Group, load: &Load, rounds: usize) -> u64 {
    let mut most = 0;
    for _ in 0..rounds.div_ceil(10) {
        load.wait_rounds(10);
        most = group.hosts().iter().map(live_bytes).fold(most, u64::max);
    }
    most
}

fn data_bytes(host: &Host) -> u64 {
    host.counter("used_memory_dataset")
}

/// Of one moment, for many tombstones go at once.
fn live_bytes(host: &Host) -> u64 {
    let text: String = redis::cmd("INFO").query(&mut host.client()).expect("INFO answers");
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.and_then(|value| value.parse::<u64>().ok()).expect("INFO tells a number")
    };
    field("used_memory_dataset").saturating_sub(field("tombstone_bytes"))
}

fn evicted(group: &Group) -> u64 {
    group.hosts().iter().map(|host| host.counter("evicted_keys")).sum()
}

fn configure(group: &Group, name: &str, value: &str) {
    group.hosts().iter().for_each(|host| {
        host.run(&["CONFIG", "SET", name, value]);
    });
}

/// Compares the masters when nothing is removed any more: they are read one after the other.
fn check_equal_at_rest(group: &Group) {
    configure(group, "maxmemory", "0");
    group.check_equal();
}

fn is_refused(reply: &Value) -> bool {
    matches!(reply, Value::ServerError(error) if error.details().is_some_and(|text| text == REFUSED))
}

#[test]
fn under_every_policy_two_masters_stay_within_the_limit_and_end_equal() {
    let group = limited(&[LIMIT, LIMIT], "allkeys-lru");
    // Enough that the limit is exceeded twice over under each policy.
    let rounds = size(800, 8_000);
    for policy in [
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
    ] {
        group[0].run(&["FLUSHALL"]);
        configure(&group, "maxmemory-policy", policy);
        let before = evicted(&group);
        let load = write_without_end(group.hosts(), PAUSE);
        let most = watch(&group, &load, rounds);
        load.finish();
        assert!(evicted(&group) > before + 100, "nothing is removed under {policy}");
        assert!(most < LIMIT / 100 * 110, "{policy}: {most} bytes, of {LIMIT}");
        check_equal_at_rest(&group);
        configure(&group, "maxmemory", &LIMIT.to_string());
    }
    wait_for("the data to take no more than the limit", || {
        let bytes: Vec<u64> = group.hosts().iter().map(data_bytes).collect();
        if bytes.iter().all(|bytes| *bytes <= LIMIT) { Ok(()) } else { Err(format!("{bytes:?}")) }
    });
    check_equal_at_rest(&group);
    check_verified(group.hosts());
    check_undiverged(group.hosts());
}

#[test]
fn one_key_goes_for_one_that_is_written_and_each_master_sees_to_its_share() {
    let group = limited(&[2 * LIMIT, LIMIT], "allkeys-random");
    wait_until("the members to know the smaller limit", || {
        group.hosts().iter().all(|host| host.counter("maxmemory_group") == LIMIT)
    });
    // So slowly that half a second's writes, which the masters may be apart under load, are less than the twentieth of the
    // limit from which on each removes what falls to the other, too.
    let load = write_without_end(group.hosts(), 4 * PAUSE);
    let most = watch(&group, &load, size(700, 7_000));
    let written = load.finish() * RUN as u64;
    check_equal_at_rest(&group);
    assert!(most < LIMIT / 100 * 110, "the smaller limit holds for both: {most} bytes");
    let shares: Vec<u64> = group.hosts().iter().map(|host| host.counter("evicted_keys")).collect();
    let all: u64 = shares.iter().sum();
    let Value::Int(left) = group[0].run(&["DBSIZE"]) else { panic!("DBSIZE tells a number") };
    assert!(left as u64 * 400 > LIMIT / 4, "{left} keys are left: more have gone than had to");
    assert!(shares.iter().all(|share| share * 5 > all), "one of them removes nearly all: {shares:?}");
    assert!(all < written, "{all} of {written} keys were removed, some of them twice");
    check_verified(group.hosts());
    check_undiverged(group.hosts());
}

#[test]
fn a_write_that_whoever_removes_the_key_has_not_seen_survives() {
    let group = limited(&[0, 0], "allkeys-lru");
    for key in ["rewritten", "old"] {
        group[0].run(&["SET", key, "before", "EX", "10000"]);
    }
    group.wait_converged();
    group.cut_all();
    group[1].run(&["SET", "rewritten", "after"]);
    group[0].run(&["CONFIG", "SET", "maxmemory", "1"]);
    wait_until("all to be removed", || group[0].run(&["DBSIZE"]) == Value::Int(0));
    group[0].run(&["CONFIG", "SET", "maxmemory", "0"]);
    group.heal_all();
    group.wait_linked();
    for host in group.hosts() {
        assert_eq!(host.run(&["GET", "rewritten"]), Value::BulkString(b"after".to_vec()));
        assert_eq!(host.run(&["EXISTS", "old"]), Value::Int(0));
    }
    check_verified(group.hosts());
}

#[test]
fn without_eviction_writes_that_need_memory_are_refused_and_those_of_peers_are_not() {
    let group = limited(&[LIMIT / 8, 0], "noeviction");
    let (full, other) = (&group[0], &group[1]);
    let mut client = full.writing_client();
    let value = "x".repeat(1_000);
    let refused = (0..100_000)
        .find(|number| send(&mut client, &[format!("SET key:{number} {value}")]).iter().any(is_refused));
    assert!(refused.is_some(), "the limit is not kept: {} bytes", data_bytes(full));
    let replies =
        send(&mut client, &["LPUSH l a", "GET key:0", "STRLEN key:0", "DEL nothing", "EXPIRE key:0 100"]);
    assert!(is_refused(&replies[0]) && !replies[1..].iter().any(is_refused), "{replies:?}");
    let expire = |number| format!("EXPIRE key:{number} 1000");
    send(&mut client, &(0..50).map(expire).collect::<Vec<_>>());
    let replies = send(&mut client, &["MULTI", "GET key:0", "EXEC"]);
    assert!(is_refused(&replies[1]), "queues take memory, too: {replies:?}");
    assert!(matches!(&replies[2], Value::ServerError(error) if error.code() == "EXECABORT"), "{replies:?}");

    other.run(&["SET", "from-a-peer", &value]);
    group.wait_converged();
    assert_eq!(full.run(&["STRLEN", "from-a-peer"]), Value::Int(1_000));
    assert_eq!(full.counter("evicted_keys"), 0);

    send(&mut client, &["CONFIG SET maxmemory-policy volatile-lru"]);
    assert!(!is_refused(&send(&mut client, &["SET key:0 again"])[0]), "keys expire, and can go");
    assert!((1..50).contains(&full.counter("evicted_keys")));
    send(&mut client, &["CONFIG SET maxmemory-policy noeviction", "CONFIG SET maxmemory 0"]);
    assert!(!is_refused(&send(&mut client, &["SET key:1 again"])[0]));
    group.check_equal();
}

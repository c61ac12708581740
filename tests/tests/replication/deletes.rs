//! What was deleted while a peer was away stays deleted when it returns, whatever that brings.
//!
//! The hosts are a chain: the peer that goes away, the one that deletes, and a witness behind it.

use redis::Value;
use tests::group::{Group, Topology};
use tests::host::Host;
use tests::load::{send, send_all};
use tests::programs;
use tests::wait::wait_until;

use crate::{check_apart, wait_later};

/// The peer that goes away, who deletes meanwhile, and who only hears of it.
const AWAY: usize = 0;
const DELETER: usize = 1;
const WITNESS: usize = 2;

/// Keys that are deleted each way.
const KEYS: usize = 20;

/// Ways in which the key `@` comes to be no more.
const DELETIONS: &[&[&str]] = &[
    &["DEL @"],
    &["UNLINK @"],
    &["GETDEL @"],
    &["RENAME @ gone:@"],
    &["MOVE @ 2"],
    &["MULTI", "APPEND @ more", "DEL @", "EXEC"],
    &["EXPIRE @ -1"],
    &["PEXPIRE @ 1"],
    &["GETEX @ PX 1"],
    &["SET @ short PX 1"],
];

/// What the peer that is away does with keys before they are deleted, so that the others hear of it only after.
const STALE: &[&str] =
    &["SET @ stale", "APPEND @ stale", "EXPIRE @ 10000", "PERSIST @", "INCRBY @ 5", "PING"];

#[test]
fn what_was_deleted_while_a_peer_was_cut_off_stays_deleted() {
    check_deletes(|group| group[AWAY].cable.cut(), |group| group[AWAY].cable.heal());
}

#[test]
fn what_was_deleted_while_a_peer_was_stopped_stays_deleted() {
    check_deletes(
        |group| group[AWAY].kill_agent(),
        |group| {
            stop_node(&mut group[AWAY]);
            // The one that has deleted goes and comes, too: what it deleted is in its log.
            restart(&mut group[DELETER]);
            group[AWAY].start_node();
            group[AWAY].start_agent();
        },
    );
}

/// `leave` takes the peer's link away, `come_back` gives it back.
fn check_deletes(leave: impl Fn(&mut Group), come_back: impl Fn(&mut Group)) {
    let mut group = Group::start(&programs!(), 3, Topology::Chain);
    make_keys(&group);
    group.wait_converged();

    leave(&mut group);
    for (number, key) in keys().enumerate() {
        // Some fail: not every value is a number.
        send(&mut group[AWAY].client(), &[STALE[number % STALE.len()].replace('@', &key)]);
    }
    wait_later(&group[DELETER], &group[AWAY]);
    delete_keys(&group[DELETER]);
    wait_until("keys to expire where they were deleted", || count_left(&group[DELETER]) == 0);
    wait_until("the witness to have none", || count_left(&group[WITNESS]) == 0);
    check_apart(&group[AWAY], &group[DELETER]);
    assert!(count_left(&group[AWAY]) > 0, "the peer is away and still has them");

    come_back(&mut group);
    check_deleted(&group);
    for host in group.hosts_mut() {
        restart(host);
    }
    group.wait_linked();
    check_deleted(&group);
}

/// Strings, counters of several masters, and keys that would expire later.
fn make_keys(group: &Group) {
    for (number, key) in keys().enumerate() {
        match number % 4 {
            0 => group[AWAY].run(&["SET", &key, "made by the peer"]),
            1 => group[DELETER].run(&["SET", &key, "7"]),
            2 => group[WITNESS].run(&["SET", &key, "for a while", "EX", "10000"]),
            _ => {
                group[AWAY].run(&["INCR", &key]);
                group[DELETER].run(&["INCRBY", &key, "2"])
            }
        };
    }
    group[AWAY].run(&["APPEND", "appended", "x"]);
    let mut client = group[AWAY].client();
    send_all(&mut client, &["SELECT 1", "MSET flushed:1 x flushed:2 x"]);
}

fn delete_keys(host: &Host) {
    let mut client = host.client();
    for (number, key) in keys().enumerate() {
        let deletion: Vec<String> =
            DELETIONS[number / KEYS].iter().map(|command| command.replace('@', &key)).collect();
        send_all(&mut client, &deletion);
    }
    send_all(&mut client, &["SELECT 1", "FLUSHDB"]);
}

fn keys() -> impl Iterator<Item = String> {
    (0..DELETIONS.len() * KEYS).map(|number| format!("key:{number}"))
}

fn count_left(host: &Host) -> usize {
    let mut client = host.client();
    let exists = |key: String| format!("EXISTS {key}");
    let mut replies = send_all(&mut client, &keys().map(exists).collect::<Vec<_>>());
    replies.extend(send_all(&mut client, &["SELECT 1", "EXISTS flushed:1", "EXISTS flushed:2"]));
    replies.iter().filter(|reply| **reply == Value::Int(1)).count()
}

#[track_caller]
fn check_deleted(group: &Group) {
    group.check_equal();
    for host in group.hosts() {
        assert_eq!(count_left(host), 0, "keys that are back at {}", host.name());
    }
}

#[test]
fn a_counter_deleted_while_a_peer_was_cut_off_counts_from_there() {
    check_counters(|group| group[AWAY].cable.cut(), |group| group[AWAY].cable.heal());
}

#[test]
fn a_counter_deleted_while_a_peer_was_stopped_counts_from_there() {
    check_counters(
        |group| group[AWAY].kill_agent(),
        |group| {
            stop_node(&mut group[AWAY]);
            group[AWAY].start_node();
            group[AWAY].start_agent();
        },
    );
}

/// Three counters to which everybody has added, and the peer that is away once more: one is deleted and counted again,
/// one is set to a number, one is deleted and left.
fn check_counters(leave: impl Fn(&mut Group), come_back: impl Fn(&mut Group)) {
    let mut group = Group::start(&programs!(), 3, Topology::Chain);
    for (host, by) in group.hosts().iter().zip(["10", "20", "30"]) {
        NAMES.iter().for_each(|name| drop(host.run(&["INCRBY", name, by])));
    }
    group.wait_converged();
    check_values(&group, ["60", "60", "60"]);

    leave(&mut group);
    NAMES.iter().for_each(|name| drop(group[AWAY].run(&["INCRBY", name, "1000"])));
    wait_later(&group[DELETER], &group[AWAY]);
    group[DELETER].run(&["DEL", "again", "gone"]);
    group[DELETER].run(&["INCRBY", "again", "7"]);
    group[DELETER].run(&["SET", "written", "100"]);
    // It does not know that its increments are of a counter that is no more: they go on from there, and with it.
    NAMES.iter().for_each(|name| drop(group[AWAY].run(&["INCRBY", name, "500"])));
    wait_until("the witness to count from there", || value(&group[WITNESS], "written") == "100");
    group[WITNESS].run(&["INCRBY", "again", "1"]);
    group[WITNESS].run(&["DECR", "written"]);
    check_apart(&group[AWAY], &group[DELETER]);

    come_back(&mut group);
    group.check_equal();
    check_values(&group, ["8", "99", ""]);
    for host in group.hosts() {
        NAMES.iter().for_each(|name| drop(host.run(&["INCRBY", name, "2"])));
    }
    group.check_equal();
    check_values(&group, ["14", "105", "6"]);
    for host in group.hosts_mut() {
        restart(host);
    }
    group.wait_linked();
    check_values(&group, ["14", "105", "6"]);
}

const NAMES: [&str; 3] = ["again", "written", "gone"];

#[track_caller]
fn check_values(group: &Group, expected: [&str; 3]) {
    for host in group.hosts() {
        let found = NAMES.map(|name| value(host, name));
        assert_eq!(found, expected, "at {}", host.name());
    }
}

fn value(host: &Host, name: &str) -> String {
    match host.run(&["GET", name]) {
        Value::BulkString(value) => String::from_utf8_lossy(&value).into_owned(),
        _ => String::new(),
    }
}

fn stop_node(host: &mut Host) {
    if let Some(mut node) = host.node.take() {
        assert!(node.stop().success(), "a node stops cleanly");
    }
}

/// As a crash and what follows it.
fn restart(host: &mut Host) {
    host.kill_agent();
    host.kill_node();
    host.start_node();
    host.start_agent();
}

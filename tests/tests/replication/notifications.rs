//! Keyspace notifications of what another master has written.

use tests::group::{Group, Topology};
use tests::programs;

use crate::messages::Listener;

/// Commands of one master, each with the events that another tells of it.
const WRITES: &[(&str, &[&str])] = &[
    ("SET k 1", &["set"]),
    ("INCRBY k 5", &["incrby"]),
    ("INCRBYFLOAT k 0.5", &["incrbyfloat"]),
    ("EXPIRE k 1000", &["expire"]),
    ("PERSIST k", &["persist"]),
    ("DEL k", &["del"]),
    ("HSET k f 1 g 2", &["hset"]),
    ("HINCRBY k f 2", &["hincrby"]),
    ("HINCRBYFLOAT k g 0.5", &["hincrbyfloat"]),
    ("HDEL k f g", &["hdel", "del"]),
    ("SADD k a b", &["sadd"]),
    ("SREM k a b", &["srem", "del"]),
    ("ZADD k 1 a", &["zadd"]),
    ("ZREM k a", &["zrem", "del"]),
    ("LPUSH k a b", &["rpush"]),
    ("RPOP k 2", &["lrem", "del"]),
    ("SET k short PX 50", &["set", "expire", "expired"]),
];

#[test]
fn what_another_master_writes_is_told_here() {
    let group = Group::start(&programs!(), 2, Topology::Mesh);
    let (author, host) = (&group[0], &group[1]);
    host.run(&["CONFIG", "SET", "notify-keyspace-events", "KA"]);
    let mut listener = Listener::at(host, "__keyspace@0__:k");
    for (command, events) in WRITES {
        author.run(&command.split(' ').collect::<Vec<_>>());
        for event in *events {
            assert_eq!(listener.next_text(), *event, "of {command}");
        }
    }
}

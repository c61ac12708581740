//! Are all nodes equal, key by key?

use std::collections::BTreeMap;

use redis::{Connection, Value};

use crate::host::Host;

/// A key's value and when it expires, in milliseconds since the epoch; -1 for never.
pub type Content = BTreeMap<(u8, Vec<u8>), (Vec<u8>, i64)>;

/// Everything that a node's clients see in these databases.
///
/// # Panics
/// If the node does not answer, or a key is no string.
#[must_use]
pub fn content(client: &mut Connection, databases: &[u8]) -> Content {
    let mut content = Content::new();
    for db in databases {
        redis::cmd("SELECT").arg(*db).exec(client).expect("SELECT answers");
        let mut cursor = 0_u64;
        loop {
            let (next, keys): (u64, Vec<Vec<u8>>) =
                redis::cmd("SCAN").arg(cursor).arg("COUNT").arg(1_000).query(client).expect("SCAN answers");
            read(client, *db, keys, &mut content);
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
    }
    content
}

fn read(client: &mut Connection, db: u8, keys: Vec<Vec<u8>>, content: &mut Content) {
    if keys.is_empty() {
        return;
    }
    let mut pipeline = redis::pipe();
    for key in &keys {
        pipeline.cmd("GET").arg(key).cmd("PEXPIRETIME").arg(key);
    }
    let replies: Vec<Value> = pipeline.query(client).expect("GET and PEXPIRETIME answer");
    for (key, reply) in keys.into_iter().zip(replies.chunks_exact(2)) {
        match reply {
            [Value::BulkString(value), Value::Int(expiry)] => {
                content.insert((db, key), (value.clone(), *expiry));
            }
            // It expired between the two looks.
            [Value::Nil, _] | [_, Value::Int(-2)] => {}
            other => panic!("{}: {other:?}", String::from_utf8_lossy(&key)),
        }
    }
}

/// Compares the hosts' nodes, key by key.
///
/// # Panics
/// If they differ; with the first keys that do.
#[track_caller]
pub fn check_equal(hosts: &[Host]) {
    let contents: Vec<Content> = hosts.iter().map(|host| content(&mut host.client(), &[0, 1])).collect();
    for (host, other) in hosts.iter().zip(&contents).skip(1) {
        let differing: Vec<String> = contents[0]
            .keys()
            .chain(other.keys())
            .filter(|key| contents[0].get(*key) != other.get(*key))
            .take(10)
            .map(|key| {
                let name = String::from_utf8_lossy(&key.1);
                format!("{name}: {:?} and {:?}", contents[0].get(key), other.get(key))
            })
            .collect();
        assert!(differing.is_empty(), "{} and {} differ: {differing:#?}", hosts[0].name(), host.name());
    }
}

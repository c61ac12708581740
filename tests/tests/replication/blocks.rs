//! MULTI blocks: a reader at any peer sees all of a block or nothing of it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use redis::{Connection, Value};
use tests::group::{Group, Topology};
use tests::load::{Load, send_all, size};
use tests::programs;
use tests::wait::wait_until;

/// What a block writes: keys of different shards.
const KEYS: [&str; 8] =
    ["block:a", "block:b", "block:c", "block:d", "block:e", "block:f", "block:g", "block:h"];

/// Values that readers have seen of a block, by who wrote it.
type Seen = Arc<[Mutex<HashSet<String>>; 2]>;

#[test]
fn a_reader_at_a_peer_never_sees_half_of_a_block() {
    let mut group = Group::start(&programs!(), 2, Topology::Mesh);
    let writers = Load::start(group.hosts(), writer);
    let seen: [Seen; 2] = Default::default();
    let readers = Load::start(group.hosts(), |host| reader(seen[host].clone()));
    let rounds = size(100, 5_000);
    for _ in 0..size(2, 20) {
        wait_until("readers to see the peer's blocks", || {
            writers.wait_rounds(rounds);
            readers.wait_rounds(rounds);
            [0, 1].iter().all(|host| seen[*host][1 - *host].lock().is_ok_and(|seen| seen.len() >= 20))
        });
        group.cut_all();
        writers.wait_rounds(rounds);
        group.heal_all();
        forget(&seen);
        group[0].kill_agent();
        writers.wait_rounds(rounds);
        group[0].start_agent();
        group.wait_caught_up();
        forget(&seen);
    }
    writers.finish();
    group.wait_converged();
    readers.wait_rounds(2);
    readers.finish();
    group.check_equal();
}

fn forget(seen: &[Seen; 2]) {
    seen.iter().flat_map(|seen| seen.iter()).for_each(|seen| seen.lock().expect("no reader fails").clear());
}

/// Writes all keys in one block, time and again with another value. Both masters write the same keys, so of two blocks
/// the whole of one stands.
fn writer(host: usize) -> impl FnMut(&mut Connection) + Send + 'static {
    let mut number = 0_u64;
    move |client| {
        number += 1;
        let sets = KEYS.iter().map(|key| format!("SET {key} {host}:{number}"));
        let block: Vec<String> = ["MULTI".into()].into_iter().chain(sets).chain(["EXEC".into()]).collect();
        send_all(client, &block);
    }
}

fn reader(seen: Seen) -> impl FnMut(&mut Connection) + Send + 'static {
    move |client| {
        let gets = KEYS.iter().map(|key| format!("GET {key}"));
        let block: Vec<String> = ["MULTI".into()].into_iter().chain(gets).chain(["EXEC".into()]).collect();
        let block = send_all(client, &block).pop();
        let several = send_all(client, &[format!("MGET {}", KEYS.join(" "))]).pop();
        for reply in [block, several] {
            let Some(Value::Array(values)) = reply else { panic!("an array is due: {reply:?}") };
            assert!(values.iter().all(|value| *value == values[0]), "half of a block: {values:?}");
            if let Value::BulkString(value) = &values[0] {
                let writer = usize::from(value[0] - b'0');
                let value = String::from_utf8_lossy(value).into_owned();
                seen[writer].lock().expect("no reader fails").insert(value);
            }
        }
    }
}

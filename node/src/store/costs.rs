//! What merging costs. Run with `cargo test --release -p node merge_costs -- --ignored --nocapture`.

use std::hint::black_box;
use std::time::Instant;

use shared::change::Op;
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::version::Version;

use super::Store;
use super::key::Key;
use super::rich::Source;
use super::shard::Writer;

/// The overwriting of plain strings, the load that must stay cheap: per SET, without the shard's lock, the log and
/// the protocol.
#[test]
#[ignore = "it measures, and passes anyway"]
fn merge_costs() {
    const KEYS: usize = 20_000;
    const ROUNDS: u64 = 100;
    let store = Store::new();
    let index = store.origins.intern(Origin(0x1234_5678_9abc)).unwrap();
    let texts: Vec<String> = (0..KEYS).map(|key| format!("key:{key:012}")).collect();
    let value = vec![b'x'; 64];
    let mut best = f64::MAX;
    for round in 1..=ROUNDS {
        let begun = Instant::now();
        for (number, text) in texts.iter().enumerate() {
            let key = Key::new(0, text.as_bytes());
            let at = Version::new(Timestamp(round << 32 | number as u64), Origin(0x1234_5678_9abc));
            let writer = Writer { at, index, source: Source::Local, usage: None };
            let op = Op::Set(value.as_slice().into());
            black_box(store.lock_shard(key.shard()).merge(&key, op, writer, &store.origins)).unwrap();
        }
        best = best.min(begun.elapsed().as_nanos() as f64 / KEYS as f64);
    }
    println!("a SET over a SET: {best:.1} ns");
}

use proptest::prelude::*;
use shared::batch::Batch;
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::time::WallMillis;

use super::*;
use crate::error::CommandError;
use crate::log::segment::LogPosition;
use crate::node::Node;
use crate::node::tests::memory_node;
use crate::store::{ShardSet, Store};
use crate::transaction::{Clocks, NewTtl};

const KEYS: [&[u8]; 3] = [b"k", b"q", b"z"];
const EPOCH_MS: u64 = 1_000_000;

/// A write of one of two masters.
#[derive(Clone, Debug)]
enum Write {
    Set(u8),
    SetWithTtl(u8, u64),
    Delete,
    Append(u8),
    Increment(i8),
    Expire(u64),
    Persist,
    Reap,
    FlushDb,
}

fn clocks(at_ms: u64) -> Clocks {
    Clocks { wall: WallMillis(EPOCH_MS + at_ms), mono_us: 0 }
}

/// Writes, and returns the batch in which the log has that.
fn written(node: &Node, at_ms: u64, write: impl FnOnce(&mut Transaction<'_>)) -> Option<Vec<u8>> {
    let mut transaction = Transaction::begin(node, ShardSet::ALL, clocks(at_ms), true).unwrap();
    write(&mut transaction);
    transaction.commit();
    node.log.seal(0);
    let batches = node.log.recent(LogPosition::default(), usize::MAX).unwrap();
    let own = batches.iter().filter(|batch| batch.header.origin == node.log.origin());
    own.last().map(|batch| batch.bytes.to_vec())
}

fn carry_out(transaction: &mut Transaction<'_>, key: usize, write: &Write) {
    let key = Key::new(0, KEYS[key]);
    let later = |ms: u64| WallMillis(transaction.now().0 + ms);
    let text = |value: &u8| value.to_string().into_bytes();
    match write {
        Write::Set(value) => transaction.set(&key, text(value), NewTtl::Clear),
        Write::SetWithTtl(value, ms) => transaction.set(&key, text(value), NewTtl::At(later(*ms))),
        Write::Delete => transaction.delete(&key).map(drop),
        Write::Append(digit) => {
            let mut value = transaction.string(&key).unwrap().unwrap_or_default().into_owned();
            value.push(b'0' + digit % 10);
            value.truncate(8);
            transaction.write_string(&key, value)
        }
        // Of what was appended to, not all is a number.
        Write::Increment(by) => match transaction.increment(&key, i64::from(*by)) {
            Ok(_) | Err(CommandError::NotInteger) => Ok(()),
            Err(error) => Err(error),
        },
        Write::Expire(ms) if transaction.exists(&key) => transaction.expire(&key, Some(later(*ms))),
        Write::Persist if transaction.expiry(&key).is_some() => transaction.expire(&key, None),
        Write::Reap => transaction.reap(&key),
        Write::FlushDb => transaction.flush_db(0),
        Write::Expire(_) | Write::Persist => Ok(()),
    }
    .unwrap();
}

/// What clients see of each key.
fn visible(node: &Node, at_ms: u64) -> Vec<Option<(Vec<u8>, Option<WallMillis>)>> {
    let transaction = Transaction::begin(node, ShardSet::ALL, clocks(at_ms), false).unwrap();
    let see = |bytes: &&[u8]| {
        let key = Key::new(0, bytes);
        Some((transaction.string(&key).unwrap()?.into_owned(), transaction.expiry(&key)))
    };
    KEYS.iter().map(see).collect()
}

fn reissue_all(node: &Node, at_ms: u64, covered: &Frontier) -> Option<Vec<u8>> {
    written(node, at_ms, |transaction| {
        transaction.reissue_flush(0, covered).unwrap();
        for bytes in KEYS {
            transaction.reissue(&Key::new(0, bytes), covered).unwrap();
        }
    })
}

fn write_strategy() -> impl Strategy<Value = Write> {
    prop_oneof![
        4 => any::<u8>().prop_map(Write::Set),
        3 => (any::<u8>(), 0..60_u64).prop_map(|(value, ms)| Write::SetWithTtl(value, ms)),
        3 => Just(Write::Delete),
        3 => any::<u8>().prop_map(Write::Append),
        5 => any::<i8>().prop_map(Write::Increment),
        3 => (0..60_u64).prop_map(Write::Expire),
        1 => Just(Write::Persist),
        3 => Just(Write::Reap),
        1 => Just(Write::FlushDb),
    ]
}

fn steps() -> impl Strategy<Value = Vec<(bool, bool, usize, Write)>> {
    prop::collection::vec((any::<bool>(), any::<bool>(), 0..KEYS.len(), write_strategy()), 1..25)
}

/// Two masters write, and the second hands some of it to the first.
fn played(steps: &[(bool, bool, usize, Write)]) -> Node {
    let (node, other) = (memory_node(Origin(1)), memory_node(Origin(2)));
    let wall = clocks(0).wall;
    for (place, (elsewhere, heard, key, write)) in steps.iter().enumerate() {
        let writer = if *elsewhere { &other } else { &node };
        let batch = written(writer, 10 * place as u64, |transaction| carry_out(transaction, *key, write));
        if let (Some(batch), false, true) = (&batch, *elsewhere, *heard) {
            let _ = other.apply(batch, None, wall);
        }
        if let (Some(batch), true) = (&batch, *elsewhere) {
            node.apply(batch, None, wall).unwrap();
        }
    }
    node
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Issuing everything anew changes nothing that is seen, once or twice, now or later; and who has nothing but what
    /// was issued, once or twice, sees the same.
    #[test]
    fn what_is_issued_anew_is_what_was_seen(steps in steps()) {
        let node = played(&steps);
        // A mark becomes a plain reset: what it hid is there again, as it is where the mark never came.
        prop_assume!(!has_mark(&node));
        let now = 10 * steps.len() as u64;
        let moments = [now + 2, now + 25, now + 200];
        let before: Vec<_> = moments.iter().map(|at| visible(&node, *at)).collect();
        let nothing = Frontier::new();
        let first = reissue_all(&node, now, &nothing);
        let after: Vec<_> = moments.iter().map(|at| visible(&node, *at)).collect();
        prop_assert_eq!(&after, &before);
        let second = reissue_all(&node, now + 1, &nothing);
        let after: Vec<_> = moments.iter().map(|at| visible(&node, *at)).collect();
        prop_assert_eq!(&after, &before);
        for batches in [vec![&first], vec![&second], vec![&second, &first]] {
            let fresh = memory_node(Origin(9));
            for batch in batches.into_iter().flatten() {
                Node::replay(&fresh.store, batch, last_before(batch));
            }
            let after: Vec<_> = moments.iter().map(|at| visible(&fresh, *at)).collect();
            prop_assert_eq!(&after, &before);
        }
    }

    /// What is covered is not issued.
    #[test]
    fn what_is_covered_is_not_issued(steps in steps()) {
        let node = played(&steps);
        let all: Frontier = [(Origin(1), Timestamp::MAX), (Origin(2), Timestamp::MAX)].into_iter().collect();
        let before = node.log.held(Origin(1));
        reissue_all(&node, 10 * steps.len() as u64, &all);
        prop_assert_eq!(node.log.held(Origin(1)), before);
    }
}

fn has_mark(node: &Node) -> bool {
    let has_mark = |key: &&[u8]| {
        let key = Key::new(0, key);
        let shard = node.store.lock_shard(key.shard());
        let state = shard.find(&key).and_then(|entry| {
            entry.state(0, shard.flushed(0), What::Everything, &node.store.origins).map(|state| state.mark)
        });
        state.flatten().is_some()
    };
    KEYS.iter().any(has_mark)
}

/// The point before a batch's last transaction: only that is replayed.
fn last_before(batch: &[u8]) -> Timestamp {
    let last = Batch::decode(batch).unwrap().validate().unwrap();
    Timestamp(last.0 - 1)
}

/// Whoever issues it, it stays one contribution, and counts once.
#[test]
fn a_contribution_stays_its_owners() {
    let node = memory_node(Origin(1));
    let own = written(&node, 0, |transaction| carry_out(transaction, 0, &Write::Increment(7))).unwrap();
    let restating = memory_node(Origin(2));
    restating.apply(&own, None, clocks(0).wall).unwrap();
    let restated = reissue_all(&restating, 10, &Frontier::new()).unwrap();
    let store = Store::new();
    for batch in [&own, &restated, &own] {
        Node::replay(&store, batch, Timestamp::ZERO);
    }
    let canonical = store.canonical();
    let cells = &canonical.keys[&(0, KEYS[0].to_vec())].cells;
    assert_eq!(cells[0].3.len(), 1);
    assert_eq!((cells[0].3[0].0, cells[0].3[0].3), (Origin(1), shared::change::Sum::Int(7)));
}

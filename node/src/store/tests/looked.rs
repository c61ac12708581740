//! Writes at one look, beside merging.

use super::*;
use crate::store::entry::Put;

/// Does on `store` what a client does here: at one look if that is how it is written. Returns what is merged elsewhere.
fn write(store: &Store, (at, change): &Made, is_wanted: bool) -> Option<Change<'static>> {
    let index = store.origins.intern(at.origin).unwrap();
    let writer = Writer { at: *at, index, source: Source::Local, usage: None };
    let key = Key::new(change.db, &change.key);
    let now = at.timestamp.wall();
    match &change.op {
        Op::Cell(_, Some(_)) => {
            let mut decide = |_: Option<f64>| is_wanted;
            let put = store.lock_shard(key.shard()).put_element(
                &key,
                &change.op,
                writer,
                now,
                &store.origins,
                &mut decide,
            );
            match put {
                Put::Done(_) => return Some(change.clone()),
                Put::Declined => return None,
                Put::Elsewhere | Put::Unpacked => {}
            }
        }
        Op::Count(id, Contribution { sum: Sum::Int(by), .. }) if id.kind == Kind::String => {
            let by = (*by).clamp(-9, 9) as i64;
            let count = store.lock_shard(key.shard()).increment(&key, by, writer, now, &store.origins);
            if let Some(count) = count {
                let sum = Sum::Int(i128::from(count.sum));
                let op = Op::Count(CellId::STRING, Contribution { first: count.first, sum, restates: None });
                return Some(Change::new(change.db, change.key.clone(), op));
            }
        }
        _ => {}
    }
    let mut locked = store.lock(crate::store::ShardSet::ALL);
    merge_change(&mut locked, change.clone(), writer, &store.origins).unwrap();
    Some(change.clone())
}

proptest! {
    /// The store is as it is elsewhere, where the changes are merged, and what is counted of it is what is there.
    #[test]
    fn a_write_at_one_look_is_as_a_merged_one(
        steps in steps(1..80),
        wanted in prop::collection::vec(prop::bool::weighted(0.9), 80),
    ) {
        let (looked, elsewhere) = (Store::new(), Store::new());
        for (made, is_wanted) in history(&steps, 0, 0).iter().zip(wanted) {
            if let Some(change) = write(&looked, made, is_wanted) {
                merge(&elsewhere, &(made.0, change));
            }
        }
        prop_assert_eq!(looked.canonical(), elsewhere.canonical());
        prop_assert_eq!(digests(&looked), digests(&elsewhere));
        prop_assert_eq!(seen(&looked), seen(&elsewhere));
    }
}

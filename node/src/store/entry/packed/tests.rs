use proptest::prelude::*;
use shared::change::Contribution;
use shared::change::Sum;
use shared::id::Origin;

use super::*;
use crate::store::list_id::Position;
use crate::store::rich::Tally;
use crate::store::shard::Flushed;

/// A change, and how it comes.
#[derive(Clone, Debug)]
struct Act {
    what: u8,
    kind: usize,
    element: u8,
    value: u8,
    at: u64,
    origin: u64,
    is_local: bool,
}

fn act() -> impl Strategy<Value = Act> {
    // Cells of one kind mostly, or hardly anything would be packed.
    let kind = prop_oneof![1 => 0..Kind::COUNT, 9 => Just(3_usize)];
    (0..20_u8, kind, 0..150_u8, any::<u8>(), 1..400_u64, 1..4_u64, any::<bool>()).prop_map(
        |(what, kind, element, value, at, origin, is_local)| Act {
            what,
            kind,
            element,
            value,
            at,
            origin,
            is_local,
        },
    )
}

fn op(act: &Act, kind: Kind, at: u64) -> Op<'static> {
    let element = match kind {
        Kind::String => Vec::new(),
        Kind::List => {
            Position::first().id(Version::new(Timestamp(act.at % 5), Origin(1)), u32::from(act.element))
        }
        _ => act.element.to_string().into_bytes(),
    };
    let id = CellId { kind, element: element.into() };
    let value = match kind {
        Kind::SortedSet => Value::Float(f64::from(act.value)),
        Kind::Set => Value::Bytes(Cow::Borrowed(b"")),
        _ => Value::Bytes(vec![b'v'; usize::from(act.value)].into()),
    };
    match act.what {
        0 => Op::Set(vec![b'x'; usize::from(act.value)].into()),
        1 => Op::Reset,
        2 => Op::Expire((act.value > 100).then_some(WallMillis(u64::from(act.value)))),
        3 => Op::ObservedReset(Version::new(
            Timestamp(at.saturating_sub(u64::from(act.value % 8))),
            Origin::NONE,
        )),
        4..6 => Op::Cell(id, None),
        6..9 => {
            let first = Timestamp(at.saturating_sub(u64::from(act.value % 3)));
            let count = i128::from(act.value);
            let sum = if count % 2 == 0 { Sum::Int(count) } else { Sum::Decimal(count << 50) };
            Op::Count(id, Contribution { first, sum, restates: None })
        }
        _ => Op::Cell(id, Some(value)),
    }
}

proptest! {
    /// Whatever a key's clothes, it is in the same state.
    #[test]
    fn a_packed_key_is_as_the_rich_one_is(
        kind in prop::sample::select(Kind::ALL.to_vec()),
        acts in prop::collection::vec(act(), 1..300),
    ) {
        let origins = Origins::default();
        let mut entry = Entry::absent(b"key", Flushed::default(), &origins).unwrap();
        let mut rich = RichKey::absent(b"key", Flushed::default());
        let mut newest = 0;
        for act in acts {
            // What is written here is newer than all that is known.
            let at = if act.is_local { newest + 1 } else { act.at };
            newest = newest.max(at);
            let op = op(&act, if act.kind == 3 { kind } else { Kind::ALL[act.kind] }, at);
            let at = Version::new(Timestamp(at), Origin(act.origin));
            let index = origins.intern(at.origin).unwrap();
            let source = if act.is_local { Source::Local } else { Source::Log };
            let changed = entry.merge(op.clone(), at, index, source, &origins).unwrap();
            prop_assert_eq!(changed, rich.merge(op, at, source));
            let same = entry.to_rich(&origins);
            prop_assert_eq!((same.reset, same.reset_entry), (rich.reset, rich.reset_entry));
            prop_assert_eq!(entry.reset_entry(&origins), rich.reset_entry);
            prop_assert_eq!((same.ttl, same.mark), (rich.ttl, rich.mark));
            let cells = |rich: &RichKey| format!("{:?}", rich.cells.iter().collect::<Vec<_>>());
            prop_assert_eq!(cells(&same), cells(&rich));
            let Tally { live, dead, digest, .. } = rich.tally();
            prop_assert_eq!(same.tally().live, live);
            prop_assert_eq!(same.tally().digest, digest);
            let visible = rich.kind();
            prop_assert_eq!(entry.kind(), visible);
            prop_assert_eq!(entry.tombstones().len(), dead.things);
            let twin = Entry::from(Box::new(rich.clone()));
            prop_assert_eq!(entry.digest(3, 7, &origins), twin.digest(3, 7, &origins));
            prop_assert_eq!(entry.deep_digest(3, 7, &origins), twin.deep_digest(3, 7, &origins));
            prop_assert!(entry.newest(&origins) <= twin.newest(&origins));
            if let Some(kind) = visible.filter(|kind| *kind != Kind::String) {
                let (one, other) = (entry.collection(kind).unwrap(), twin.collection(kind).unwrap());
                let sorted = |mut elements: Vec<_>| { elements.sort(); elements };
                prop_assert_eq!(one.len(), other.len());
                prop_assert_eq!(sorted(one.iter().collect()), sorted(other.iter().collect()));
                let mut backwards: Vec<_> = one.iter().rev().collect();
                backwards.reverse();
                prop_assert_eq!(one.iter().collect::<Vec<_>>(), backwards);
                if kind == Kind::List {
                    prop_assert!(one.iter().eq(other.iter()));
                }
                if kind == Kind::SortedSet {
                    prop_assert!(one.ranked(0..usize::MAX).eq(other.ranked(0..usize::MAX)));
                    let (member, _) = other.ranked(0..1).next().unwrap();
                    prop_assert_eq!(one.rank(&member), Some(0));
                }
                for (element, value) in other.iter() {
                    prop_assert_eq!(one.get(&element), other.get(&element));
                    prop_assert_eq!(one.score(&element), other.score(&element));
                    prop_assert!(kind == Kind::SortedSet || other.get(&element) == Some(value));
                }
            } else if visible.is_some() {
                prop_assert_eq!(entry.string(), twin.string());
            }
        }
    }
}

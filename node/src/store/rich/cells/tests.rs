//! Large keys beside a model: whatever is written, removed, hidden and forgotten, all ways of asking tell the same.

use std::collections::BTreeMap;

use proptest::prelude::*;
use shared::change::{CellId, Kind, Op, Value};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::time::WallMillis;
use shared::version::{Frontier, Version};

use super::super::{RichKey, Source};
use crate::store::collection::{Collection, Element};
use crate::store::list_id::Position;
use crate::store::shard::Flushed;

/// What is done. Places are told in thousandths of the list's length.
#[derive(Clone, Debug)]
enum Act {
    /// So many values of this length, at a place.
    Push(u16, u8, u16),
    /// So many elements, from a place on.
    Take(u16, u8),
    Set(u16, u16),
    Field(u8, Option<u8>),
    /// The tombstones of the oldest so many removals are forgotten.
    Forget(u16),
    /// The key has expired: what is older is hidden.
    Mark,
}

fn act() -> impl Strategy<Value = Act> {
    let place = || prop_oneof![Just(0_u16), Just(1_000), 0..=1_000_u16];
    let length = || prop_oneof![20 => 0..40_u16, 2 => 0..600_u16, 1 => 2_000..3_000_u16];
    let field = (any::<u8>(), prop::option::weighted(0.7, any::<u8>()));
    prop_oneof![
        40 => (place(), 1..40_u8, length()).prop_map(|(place, count, length)| Act::Push(place, count, length)),
        30 => (place(), 1..40_u8).prop_map(|(place, count)| Act::Take(place, count)),
        5 => (place(), length()).prop_map(|(place, length)| Act::Set(place, length)),
        10 => field.prop_map(|(name, value)| Act::Field(name, value)),
        5 => (0..200_u16).prop_map(Act::Forget),
        1 => Just(Act::Mark),
    ]
}

/// Cells as they would be without any cleverness: by kind and element.
type Model = BTreeMap<(Kind, Vec<u8>), (Version, Option<Vec<u8>>)>;

struct Pair {
    rich: RichKey,
    model: Model,
    removed: Vec<(Kind, Vec<u8>)>,
    hidden_before: Timestamp,
    at: u64,
}

impl Pair {
    fn new() -> Self {
        Self {
            rich: RichKey::absent(b"key", Flushed::default()),
            model: Model::new(),
            removed: Vec::new(),
            hidden_before: Timestamp::ZERO,
            at: 1,
        }
    }

    fn version(&mut self) -> Version {
        self.at += 1;
        Version::new(Timestamp::of_wall(WallMillis(self.at)), Origin(self.at % 3 + 1))
    }

    fn write(&mut self, kind: Kind, element: Vec<u8>, at: Version, value: Option<Vec<u8>>) {
        let id = CellId { kind, element: element.clone().into() };
        let op = Op::Cell(id, value.clone().map(|value| Value::Bytes(value.into())));
        assert!(self.rich.merge(op, at, Source::Local));
        if value.is_none() {
            self.removed.push((kind, element.clone()));
        }
        self.model.insert((kind, element), (at, value));
    }

    fn seen(&self, kind: Kind) -> Vec<(Vec<u8>, Vec<u8>)> {
        let of_kind = self.model.iter().filter(|((other, _), _)| *other == kind);
        let seen = of_kind.filter(|(_, (at, _))| at.timestamp >= self.hidden_before);
        seen.filter_map(|((_, element), (_, value))| Some((element.clone(), value.clone()?))).collect()
    }

    fn place(&self, thousandths: u16) -> usize {
        self.seen(Kind::List).len() * usize::from(thousandths) / 1_000
    }

    fn carry_out(&mut self, act: &Act) {
        match *act {
            Act::Push(place, count, length) => self.push(place, count, length),
            Act::Take(place, count) => self.take(place, count.into()),
            Act::Set(place, length) => {
                let Some((id, _)) = self.seen(Kind::List).into_iter().nth(self.place(place)) else { return };
                let at = self.version();
                self.write(Kind::List, id, at, Some(vec![b'x'; length.into()]));
            }
            Act::Field(name, value) => {
                let at = self.version();
                self.write(Kind::Hash, vec![b'f', name], at, value.map(|value| vec![value]));
            }
            Act::Forget(count) => self.forget(count.into()),
            Act::Mark => {
                let at = self.version();
                let reset = Version::new(Timestamp(1), Origin::NONE);
                self.rich.merge(Op::Mark { reset, expiry: WallMillis(self.at) }, at, Source::Log);
                self.hidden_before = Timestamp::of_wall(WallMillis(self.at + 1));
            }
        }
    }

    fn push(&mut self, place: u16, count: u8, length: u16) {
        let (list, place) = (self.seen(Kind::List), self.place(place));
        let id = |place: Option<usize>| Some(&*list.get(place?)?.0);
        let between = Position::between(id(place.checked_sub(1)), id(Some(place)));
        let Some(position) = between else { return };
        let at = self.version();
        for index in 0..count {
            let value = vec![index; length.into()];
            self.write(Kind::List, position.id(at, index.into()), at, Some(value));
        }
    }

    fn take(&mut self, place: u16, count: usize) {
        let ids = self.seen(Kind::List).into_iter().map(|(id, _)| id);
        let ids: Vec<_> = if place == 1_000 {
            ids.rev().take(count).collect()
        } else {
            ids.skip(self.place(place)).take(count).collect()
        };
        for id in ids {
            let at = self.version();
            self.write(Kind::List, id, at, None);
        }
    }

    fn forget(&mut self, count: usize) {
        let stable: Frontier = (1..=3).map(|origin| (Origin(origin), Timestamp(u64::MAX))).collect();
        let count = count.min(self.removed.len());
        for (kind, element) in self.removed.drain(..count) {
            let id = CellId { kind, element: element.clone().into() };
            let held = self.model.get(&(kind, element.clone()));
            let is_held = held.is_some_and(|(_, value)| value.is_none());
            assert_eq!(self.rich.drop_tombstone(&id, &stable), is_held);
            if is_held {
                self.model.remove(&(kind, element));
            }
        }
    }

    fn check(&self) {
        self.check_list(&self.seen(Kind::List));
        for kind in [Kind::List, Kind::Hash] {
            let (mut expected, collection) = (self.seen(kind), Collection::rich(&self.rich, kind));
            let mut all: Vec<_> = collection.iter().map(owned).collect();
            let mut backwards: Vec<_> = collection.iter().rev().map(owned).collect();
            backwards.reverse();
            assert_eq!(all, backwards);
            if kind == Kind::Hash {
                all.sort_unstable();
                expected.sort_unstable();
            }
            assert_eq!(all, expected);
            for (element, value) in expected.iter().step_by(7) {
                assert_eq!(collection.get(element).map(|text| text.to_vec()).as_ref(), Some(value));
            }
        }
        assert_eq!(self.rich.tally(), self.rich.clone().recounted().tally());
        assert_eq!(self.rich.cells.iter().count(), self.model.len());
        let longest = self.rich.cells.runs().map(super::Run::memory).max().unwrap_or_default();
        assert!(longest < 10_000, "{longest} bytes in one run");
    }

    fn check_list(&self, expected: &[(Vec<u8>, Vec<u8>)]) {
        let list = Collection::rich(&self.rich, Kind::List);
        assert_eq!(list.len(), expected.len());
        let some = expected.len() / 3..expected.len() / 2;
        let values: Vec<_> = list.values(some.clone()).map(|value| value.to_vec()).collect();
        assert!(expected[some.clone()].iter().map(|(_, value)| value).eq(&values));
        let mut both = list.range(some.clone());
        let ends = [both.next(), both.next_back(), both.next(), both.next_back()].map(|end| end.map(owned));
        let mut model = expected[some].iter().cloned();
        assert_eq!(ends, [model.next(), model.next_back(), model.next(), model.next_back()]);
        let last = expected.len().checked_sub(1);
        assert_eq!(last.and_then(|last| list.nth(last)).map(owned), expected.last().cloned());
    }
}

fn owned((element, value): Element<'_>) -> (Vec<u8>, Vec<u8>) {
    (element.to_vec(), value.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn large_keys_are_what_was_written(acts in prop::collection::vec(act(), 1..120)) {
        let mut pair = Pair::new();
        for (at, act) in acts.iter().enumerate() {
            pair.carry_out(act);
            if at % 10 == 0 {
                pair.check();
            }
        }
        pair.check();
        pair.rich.cells.change_all(|_, cell| assert!(!cell.is_empty()));
        pair.check();
    }
}

/// A queue: its runs are full, and what was taken leaves nothing behind.
#[test]
fn a_queue_that_is_emptied_leaves_nothing() {
    let mut pair = Pair::new();
    (0..200).for_each(|_| pair.carry_out(&Act::Push(0, 10, 5)));
    let runs = pair.rich.cells.runs().count();
    assert!(runs <= 2_000 / 100, "{runs} runs of 2,000 elements");
    (0..10).for_each(|_| pair.carry_out(&Act::Take(1_000, 100)));
    pair.check();
    (0..10).for_each(|_| pair.carry_out(&Act::Take(0, 100)));
    assert_eq!(pair.rich.kind(), None);
    pair.carry_out(&Act::Forget(u16::MAX));
    assert!(pair.rich.cells.is_empty() && pair.rich.cells.runs().next().is_none());
}

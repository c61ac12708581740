//! Large keys beside a model: whatever is written, removed, hidden, judged and forgotten, and in whatever order it arrives, all
//! ways of asking tell the same.

use std::collections::BTreeMap;

use proptest::prelude::*;
use shared::change::{CellId, Contribution, Kind, Op, Sum, Value};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::state::{CellState, ContributionState, KeyState};
use shared::time::WallMillis;
use shared::version::{Frontier, Version};

use super::super::run::{Run, prefix_of};
use super::super::{Cell, Judged, Mark, OwnContribution, RichKey, Source, Tally};
use super::Cells;
use crate::store::account::allocated;
use crate::store::collection::{Collection, Element};
use crate::store::list_id::Position;
use crate::store::shard::Flushed;
use crate::store::tree::{CountedTree, Item};

/// What is done. Places are told in thousandths of the list's length, moments in thousandths of the time so far.
#[derive(Clone, Debug)]
enum Act {
    /// So many values of this length, at a place.
    Push(u16, u8, u16),
    /// As many pushes of one value each.
    Feed(u16, u8, u16),
    /// So many elements, from a place on.
    Take(u16, u8),
    /// All but so many elements, from a place on.
    Trim(u16, u8),
    /// So many elements go from one end to the other, in one transaction.
    Rotate(u8),
    Set(u16, u16),
    Field(u8, Option<u8>),
    Add(u8),
    /// The tombstones of the oldest so many removals are forgotten.
    Forget(u16),
    /// What was written before this moment ends.
    Reset(u16),
    /// The key has expired at this moment: what is older is hidden.
    Mark(u16),
    /// What is dead of the key as a whole is forgotten.
    Settle,
    /// Of another node that has seen all up to this moment, and does not hold one cell in so many.
    Judge(u16, u8),
    /// What was written elsewhere arrives, in any order.
    Meet(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let place = || prop_oneof![3 => Just(0_u16), 3 => Just(1_000), 2 => 0..=1_000_u16];
    let length = || prop_oneof![16 => 0..40_u16, 4 => 0..600_u16, 2 => 2_000..3_000_u16];
    let count = || prop_oneof![1..4_u8, 1..40_u8];
    let moment = || prop_oneof![0..=1_000_u16, 900..=1_000_u16];
    let field = (any::<u8>(), prop::option::weighted(0.7, any::<u8>()));
    prop_oneof![
        20 => (place(), count(), length()).prop_map(|(place, count, length)| Act::Push(place, count, length)),
        20 => (place(), count(), length()).prop_map(|(place, count, length)| Act::Feed(place, count, length)),
        30 => (place(), count()).prop_map(|(place, count)| Act::Take(place, count)),
        1 => (place(), 20..200_u8).prop_map(|(place, count)| Act::Trim(place, count)),
        3 => (1..10_u8).prop_map(Act::Rotate),
        5 => (place(), length()).prop_map(|(place, length)| Act::Set(place, length)),
        6 => field.prop_map(|(name, value)| Act::Field(name, value)),
        4 => any::<u8>().prop_map(Act::Add),
        6 => (0..200_u16).prop_map(Act::Forget),
        1 => moment().prop_map(Act::Reset),
        1 => moment().prop_map(Act::Mark),
        1 => Just(Act::Settle),
        1 => (moment(), 1..6_u8).prop_map(|(moment, absent)| Act::Judge(moment, absent)),
        4 => any::<u64>().prop_map(Act::Meet),
    ]
}

/// A key as it would be without any cleverness: cells by kind and element.
#[derive(Default)]
struct Model {
    cells: BTreeMap<(Kind, Vec<u8>), Cell<'static>>,
    reset: Version,
    mark: Option<Mark>,
}

impl Model {
    /// Returns whether it changed anything.
    fn merge(&mut self, op: Op<'static>, at: Version, source: Source) -> bool {
        match op {
            Op::Cell(id, value) => at >= self.reset && self.cell(id).write(at, value, source),
            Op::Count(id, contribution) => {
                let (origin, own) = OwnContribution::of(contribution, at);
                Version::new(own.first, origin) >= self.reset && self.cell(id).add(origin, own, source)
            }
            Op::ObservedReset(reset) => self.end(reset),
            Op::Mark { reset, expiry } => {
                let is_later = self.end(reset);
                let old = self.mark.map(|mark| (mark.reset, mark.expiry));
                let stands = reset >= self.reset && old.is_none_or(|old| (reset, expiry) > old);
                if stands {
                    self.mark = Some(Mark { reset, expiry, entry: at });
                }
                is_later || stands
            }
            op => unreachable!("{op:?} is not written here"),
        }
    }

    fn cell(&mut self, id: CellId<'_>) -> &mut Cell<'static> {
        self.cells.entry((id.kind, id.element.into_owned())).or_default()
    }

    fn end(&mut self, reset: Version) -> bool {
        if reset <= self.reset {
            return false;
        }
        self.reset = reset;
        self.mark = self.mark.filter(|mark| mark.reset >= reset);
        self.retain(|(version, _)| *version >= reset, |origin, own| Version::new(own.first, origin) >= reset);
        true
    }

    fn retain(
        &mut self,
        base_stays: impl Fn(&(Version, Option<Value<'static>>)) -> bool,
        sum_stays: impl Fn(Origin, &OwnContribution) -> bool,
    ) {
        self.cells.retain(|_, cell| {
            cell.base = cell.base.take().filter(&base_stays);
            cell.contributions.retain(|(origin, own)| sum_stays(*origin, own));
            !cell.is_empty()
        });
    }

    fn seen(&self, kind: Kind) -> impl DoubleEndedIterator<Item = (&[u8], &Cell<'static>)> {
        let of_kind =
            self.cells.range((kind, Vec::new())..).take_while(move |((other, _), _)| *other == kind);
        let seen: Vec<_> = of_kind.filter(|(_, cell)| cell.is_live(self.mark)).collect();
        seen.into_iter().map(|((_, element), cell)| (&**element, cell))
    }

    fn values(&self, kind: Kind) -> Vec<(Vec<u8>, Vec<u8>)> {
        let value = |cell: &Cell<'_>| cell.bytes(self.mark).unwrap_or_default().into_owned();
        self.seen(kind).map(|(element, cell)| (element.to_vec(), value(cell))).collect()
    }

    fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for ((kind, element), cell) in &self.cells {
            tally.add(Tally::of(&CellId { kind: *kind, element: element.into() }, cell, self.mark));
        }
        tally
    }
}

struct Pair {
    rich: RichKey,
    model: Model,
    removed: Vec<(Kind, Vec<u8>)>,
    /// Written elsewhere, and not here yet.
    away: Vec<(Op<'static>, Version)>,
    at: u64,
}

impl Pair {
    fn new() -> Self {
        Self {
            rich: RichKey::absent(b"key", Flushed::default()),
            model: Model::default(),
            removed: Vec::new(),
            away: Vec::new(),
            at: 1,
        }
    }

    fn version(&mut self) -> Version {
        self.at += 1;
        Version::new(Timestamp::of_wall(WallMillis(self.at)), Origin(self.at % 3 + 1))
    }

    fn moment(&self, thousandths: u16) -> WallMillis {
        WallMillis(self.at * u64::from(thousandths) / 1_000)
    }

    fn merge(&mut self, op: Op<'static>, at: Version, source: Source) {
        if let Op::Cell(id, None) = &op {
            self.removed.push((id.kind, id.element.to_vec()));
        }
        let changes = self.model.merge(op.clone(), at, source);
        assert_eq!(self.rich.merge(op, at, source), changes);
    }

    fn write(&mut self, is_away: bool, op: Op<'static>, at: Version) {
        if is_away {
            self.away.push((op, at));
        } else {
            self.merge(op, at, Source::Local);
        }
    }

    fn list(&self) -> Vec<Vec<u8>> {
        self.model.seen(Kind::List).map(|(id, _)| id.to_vec()).collect()
    }

    fn carry_out(&mut self, (is_away, act): &(bool, Act)) {
        let is_away = *is_away;
        match *act {
            Act::Push(place, count, length) => {
                let at = self.version();
                self.push(is_away, place, count, length, at);
            }
            Act::Feed(place, count, length) => {
                for _ in 0..count {
                    let at = self.version();
                    self.push(is_away, place, 1, length, at);
                }
            }
            Act::Take(place, count) => self.take(is_away, place, count.into()),
            Act::Trim(place, count) => self.trim(place, count.into()),
            Act::Rotate(count) => self.rotate(count),
            Act::Set(place, length) => {
                let list = self.list();
                let Some(id) = list.get(list.len() * usize::from(place) / 1_000) else { return };
                let at = self.version();
                self.write(is_away, cell(Kind::List, id, Some(&vec![b'x'; length.into()])), at);
            }
            Act::Field(name, value) => {
                let at = self.version();
                let value = value.map(|value| [value]);
                self.write(is_away, cell(Kind::Hash, &[b'f', name], value.as_ref().map(|v| &v[..])), at);
            }
            Act::Add(name) => {
                let at = self.version();
                let first = if name % 2 == 0 { at.timestamp } else { Timestamp::of_wall(WallMillis(1)) };
                let contribution = Contribution { first, sum: Sum::Int(1), restates: None };
                let id = CellId { kind: Kind::Hash, element: vec![b'f', name].into() };
                self.write(is_away, Op::Count(id, contribution), at);
            }
            Act::Forget(count) => self.forget(count.into()),
            Act::Reset(moment) => {
                let (moment, at) = (self.moment(moment), self.version());
                let reset = Version::new(Timestamp::of_wall(moment), Origin::NONE);
                self.write_dead(is_away, Op::ObservedReset(reset), at);
            }
            Act::Mark(moment) => {
                let (expiry, at) = (self.moment(moment), self.version());
                let reset = Version::new(Timestamp::of_wall(WallMillis(expiry.0 / 2)), Origin::NONE);
                self.write_dead(is_away, Op::Mark { reset, expiry }, at);
            }
            Act::Settle => self.settle(),
            Act::Judge(moment, absent) => self.judge(Timestamp::of_wall(self.moment(moment)), absent.into()),
            Act::Meet(seed) => self.meet(seed),
        }
    }

    /// Resets and marks are taken in as if they came by the log.
    fn write_dead(&mut self, is_away: bool, op: Op<'static>, at: Version) {
        if is_away {
            self.away.push((op, at));
        } else {
            self.merge(op, at, Source::Log);
        }
    }

    fn push(&mut self, is_away: bool, place: u16, count: u8, length: u16, at: Version) {
        let list = self.list();
        let place = list.len() * usize::from(place) / 1_000;
        let id = |place: Option<usize>| list.get(place?).map(|id| &**id);
        let between = Position::between(id(place.checked_sub(1)), id(Some(place)));
        let Some(position) = between else { return };
        for index in 0..count {
            let value = vec![index; length.into()];
            self.write(is_away, cell(Kind::List, &position.id(at, index.into()), Some(&value)), at);
        }
    }

    fn take(&mut self, is_away: bool, place: u16, count: usize) {
        let list = self.list();
        let start = list.len() * usize::from(place) / 1_000;
        let start = if place == 1_000 { start.saturating_sub(count) } else { start };
        for id in list.iter().skip(start).take(count) {
            let at = self.version();
            self.write(is_away, cell(Kind::List, id, None), at);
        }
    }

    fn trim(&mut self, place: u16, count: usize) {
        let list = self.list();
        let start = list.len() * usize::from(place) / 1_000;
        let at = self.version();
        for id in list.iter().take(start).chain(list.iter().skip(start + count)) {
            self.write(false, cell(Kind::List, id, None), at);
        }
    }

    fn rotate(&mut self, count: u8) {
        let at = self.version();
        for length in 0..count {
            let Some(id) = self.list().pop() else { return };
            self.write(false, cell(Kind::List, &id, None), at);
            self.push(false, 0, 1, length.into(), at);
        }
    }

    fn forget(&mut self, count: usize) {
        let count = count.min(self.removed.len());
        for (kind, element) in self.removed.drain(..count) {
            let id = CellId { kind, element: element.clone().into() };
            let held = self.model.cells.get_mut(&(kind, element.clone()));
            let held = held.filter(|cell| cell.is_tombstone());
            assert_eq!(self.rich.drop_tombstone(&id, &everything()), held.is_some());
            if let Some(cell) = held {
                cell.base = None;
                if cell.is_empty() {
                    self.model.cells.remove(&(kind, element));
                }
            }
        }
    }

    fn settle(&mut self) {
        self.rich.drop_stable(&everything(), Flushed::default());
        if let Some(mark) = self.model.mark.take() {
            self.model.retain(
                |(version, value)| value.is_none() || !mark.hides(version.timestamp),
                |_, own| !mark.hides(own.first),
            );
        }
        self.model.reset = Version::ZERO;
    }

    fn judge(&mut self, covered: Timestamp, absent: usize) {
        let mut theirs_frontier = Frontier::new();
        theirs_frontier.raise_floor(covered);
        let (mut theirs, mut dropped) = (Vec::new(), 0);
        let cells = std::mem::take(&mut self.model.cells);
        for (at, ((kind, element), mut cell)) in cells.into_iter().enumerate() {
            if at % absent != 0 || absent == 1 {
                theirs.push(state_of(kind, &element, &cell));
            } else {
                let covered = |version: Version| theirs_frontier.covers(version);
                let base = cell.base.take_if(|(version, value)| value.is_some() && covered(*version));
                let sums = cell.contributions.len();
                cell.contributions.retain(|(_, own)| !covered(own.entry()));
                dropped += usize::from(base.is_some()) + sums - cell.contributions.len();
            }
            if !cell.is_empty() {
                self.model.cells.insert((kind, element), cell);
            }
        }
        let theirs = KeyState { db: 0, key: b"key", reset: None, ttl: None, mark: None, cells: theirs };
        let judged = self.rich.judge(&theirs, &Frontier::new(), &theirs_frontier, None);
        assert_eq!(judged, Judged { taken: 0, dropped });
    }

    fn meet(&mut self, mut seed: u64) {
        while !self.away.is_empty() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (op, at) = self.away.swap_remove((seed >> 33) as usize % self.away.len());
            self.merge(op, at, Source::Log);
        }
    }

    /// What is cheap to tell.
    fn check(&self) {
        check_runs(&self.rich.cells, self.rich.mark);
        let list = Collection::rich(&self.rich, Kind::List);
        let expected = self.model.values(Kind::List);
        assert_eq!(list.len(), expected.len());
        assert!(list.iter().map(owned).eq(expected));
        assert_eq!(self.rich.tally(), self.model.tally());
        assert_eq!(self.rich.cells.iter().count(), self.model.cells.len());
    }

    fn check_thoroughly(&self) {
        self.check();
        self.check_list(&self.model.values(Kind::List));
        for kind in [Kind::List, Kind::Hash] {
            let (expected, collection) = (self.model.values(kind), Collection::rich(&self.rich, kind));
            let mut all: Vec<_> = collection.iter().map(owned).collect();
            let mut backwards: Vec<_> = collection.iter().rev().map(owned).collect();
            backwards.reverse();
            assert_eq!(all, backwards);
            all.sort_unstable();
            assert_eq!(all, expected);
            for (element, value) in expected.iter().step_by(7) {
                assert_eq!(collection.get(element).map(|text| text.to_vec()).as_ref(), Some(value));
            }
        }
        for ((kind, element), cell) in &self.model.cells {
            let held = self.rich.cell(&CellId { kind: *kind, element: element.into() });
            assert_eq!(format!("{held:?}"), format!("{:?}", Some(cell)));
        }
        assert_eq!(self.rich.tally(), self.rich.clone().recounted().tally());
    }

    fn check_list(&self, expected: &[(Vec<u8>, Vec<u8>)]) {
        let list = Collection::rich(&self.rich, Kind::List);
        let some = expected.len() / 3..expected.len() / 2;
        let mut values = Vec::new();
        list.each_value(some.clone(), |value| values.push(value.to_vec()));
        assert!(expected[some.clone()].iter().map(|(_, value)| value).eq(&values));
        let mut both = list.range(some.clone());
        let ends = [both.next(), both.next_back(), both.next(), both.next_back()].map(|end| end.map(owned));
        let mut model = expected[some].iter().cloned();
        assert_eq!(ends, [model.next(), model.next_back(), model.next(), model.next_back()]);
        let last = expected.len().checked_sub(1);
        assert_eq!(last.and_then(|last| list.nth(last)).map(owned), expected.last().cloned());
    }
}

/// That runs lie in the order of their cells, and each says of itself what is true.
fn check_runs(cells: &Cells, mark: Option<Mark>) {
    for (tree, is_live) in [(&cells.live, true), (&cells.dead, false)] {
        tree.check();
        let (mut last, mut last_prefix): (Option<CellId<'_>>, u64) = (None, 0);
        for run in tree.iter() {
            run.check();
            assert!(run.prefix() >= last_prefix, "a run begins before what lies before it ends");
            for found in run.iter() {
                assert_eq!(found.cell().is_live(mark), is_live);
                let id = found.cell.id();
                let (before, prefix) = (last_prefix, prefix_of(id.kind, &id.element));
                assert!(last.is_none_or(|last| (before, &last.element) < (prefix, &id.element)));
                (last, last_prefix) = (Some(id), prefix);
            }
        }
        let longest = tree.iter().map(Run::memory).max().unwrap_or_default();
        assert!(longest < 10_000, "{longest} bytes in one run");
    }
}

fn everything() -> Frontier {
    (1..=3).map(|origin| (Origin(origin), Timestamp(u64::MAX))).collect()
}

fn cell(kind: Kind, element: &[u8], value: Option<&[u8]>) -> Op<'static> {
    let value = value.map(|value| Value::Bytes(value.to_vec().into()));
    Op::Cell(CellId { kind, element: element.to_vec().into() }, value)
}

fn state_of(kind: Kind, element: &[u8], cell: &Cell<'static>) -> CellState<'static> {
    let contributions = cell.contributions.iter().map(|(contributor, own)| {
        let OwnContribution { first, last, counted, sum, carrier } = *own;
        ContributionState { contributor: *contributor, carrier, first, last, counted, sum }
    });
    CellState {
        id: CellId { kind, element: element.to_vec().into() },
        base: cell.base.clone(),
        contributions: contributions.collect(),
    }
}

fn owned((element, value): Element<'_>) -> (Vec<u8>, Vec<u8>) {
    (element.to_vec(), value.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn large_keys_are_what_was_written(
        acts in prop::collection::vec((prop::bool::weighted(0.15), act()), 1..80),
        seed: u64,
    ) {
        let mut pair = Pair::new();
        for (at, act) in acts.iter().enumerate() {
            pair.carry_out(act);
            if at % 10 == 0 { pair.check_thoroughly() } else { pair.check() }
        }
        pair.meet(seed);
        pair.check_thoroughly();
        pair.rich.cells.change_all(|_, cell| assert!(!cell.is_empty()));
        pair.check_thoroughly();
    }
}

/// Elements were there twice, once dead and once alive, and lengths wrong.
///
/// A run keeps what its first element's prefix was when that is taken, for it need not be exact: but not less than that of
/// what lies before it. What was then pushed to the head, and did not fit in, came to lie before the run, with a greater
/// prefix: from there on the two were out of order, and not found by searching.
#[test]
fn what_comes_before_a_run_whose_first_were_taken_is_found() {
    let mut pair = Pair::new();
    for act in [
        Act::Push(0, 1, 5),
        Act::Push(1_000, 18, 5),
        Act::Push(0, 13, 5),
        Act::Push(1_000, 27, 5),
        Act::Take(0, 14),
        Act::Take(0, 26),
        Act::Push(0, 1, 2_000),
        Act::Push(0, 1, 5),
        Act::Push(0, 1, 5),
        Act::Push(0, 1, 5),
        Act::Take(0, 10),
    ] {
        pair.carry_out(&(false, act));
        pair.check_thoroughly();
    }
}

/// A queue: its runs are full, and what was taken leaves nothing behind.
#[test]
fn a_queue_that_is_emptied_leaves_nothing() {
    let mut pair = Pair::new();
    let mut carry_out = |act| pair.carry_out(&(false, act));
    (0..200).for_each(|_| carry_out(Act::Push(0, 10, 5)));
    (0..10).for_each(|_| carry_out(Act::Take(1_000, 100)));
    let runs = pair.rich.cells.live.iter().count();
    assert!(runs <= 1_000 / 100, "{runs} runs of 1,000 elements");
    pair.check_thoroughly();
    (0..10).for_each(|_| pair.carry_out(&(false, Act::Take(0, 100))));
    assert_eq!(pair.rich.kind(), None);
    pair.carry_out(&(false, Act::Forget(u16::MAX)));
    assert!(pair.rich.cells.is_empty() && pair.rich.cells.runs().next().is_none());
}

/// An element that is set again and again, by an origin after another: a run names those alone whose writes it holds.
#[test]
fn origins_that_wrote_once_are_forgotten() {
    let mut pair = Pair::new();
    pair.carry_out(&(false, Act::Push(0, 20, 5)));
    let list = pair.list();
    for origin in 10..2_000 {
        let at = Version::new(Timestamp::of_wall(WallMillis(origin)), Origin(origin));
        pair.merge(cell(Kind::List, &list[origin as usize % 3], Some(b"x")), at, Source::Log);
    }
    pair.check_thoroughly();
    let memory = pair.rich.cells.memory();
    assert!(memory < 8_000, "{memory} bytes for 20 elements");
}

/// The run was written anew, for it named more origins than it has elements, and still said that it begins with the one that
/// was the first before.
#[test]
fn a_run_that_forgets_origins_begins_with_what_was_pushed_to_its_head() {
    let mut pair = Pair::new();
    pair.carry_out(&(false, Act::Feed(1_000, 2, 0)));
    for _ in 0..100 {
        pair.carry_out(&(false, Act::Rotate(1)));
        pair.check_thoroughly();
    }
}

/// What is counted of a large key is about what its runs take of the allocator.
#[test]
fn what_large_keys_take_is_counted() {
    let taken = |tree: &CountedTree<Run>| -> usize {
        tree.iter().map(|run| size_of::<Run>() + allocated(run.memory() - size_of::<Run>())).sum()
    };
    let check = |kind: Kind, is_removed: bool| {
        let mut pair = Pair::new();
        for index in 0..2_000_u32 {
            let at = pair.version();
            let id =
                if kind == Kind::List { Position::first().id(at, index) } else { index.to_be_bytes().into() };
            pair.write(false, cell(kind, &id, Some(b"twelve bytes")), at);
            if is_removed {
                let at = pair.version();
                pair.write(false, cell(kind, &id, None), at);
            }
        }
        let (tally, cells) = (pair.rich.tally(), &pair.rich.cells);
        let (counted, taken) = (tally.bytes, taken(&cells.live) + taken(&cells.dead));
        let ratio = counted as f64 / taken as f64;
        assert!((0.7..1.4).contains(&ratio), "{kind:?}: {counted} bytes counted, {taken} taken");
        assert_eq!(tally.dead.bytes, if is_removed { counted } else { 0 });
    };
    for kind in [Kind::List, Kind::Set, Kind::Hash] {
        check(kind, false);
        check(kind, true);
    }
}

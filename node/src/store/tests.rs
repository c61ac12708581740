//! The store as a whole, on histories of changes of every kind: what is told of its state must not depend on the way
//! it took to get there.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::SizeRange;
use shared::change::{CellId, Change, Contribution, DATABASES, Kind, Op, Sum, Value};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::state::{KeyState, Page, PageBuilder};
use shared::time::WallMillis;
use shared::version::{Frontier, Version};

use super::Store;
use super::key::{Key, SLOTS, SLOTS_PER_SHARD, ShardId};
use super::rich::{Judged, RichKey, Source};
use super::shard::{Shard, Writer, merge_change};
use super::state::What;

mod looked;

const KEYS: [&[u8]; 3] = [b"k", b"q", b""];
const ELEMENTS: [&[u8]; 3] = [b"", b"f", b"g"];
const ORIGINS: u64 = 3;

/// What is done, without its version.
#[derive(Clone, Debug)]
enum Act {
    Set(u8),
    Reset,
    Cell(usize, usize, Option<u8>),
    /// An increment, by so much, of its author's contribution.
    Count(usize, usize, i8),
    Expire(Option<u64>),
    ObservedReset(u64),
    Mark(u64, u64),
    FlushDb,
    FlushAll,
    ObservedFlush(u64),
}

/// Who does it, to which key of which database.
type Step = (u64, bool, usize, Act);

/// Whose contribution to which cell of which key.
type Counter = (u64, bool, usize, usize, usize);

/// A change and its version.
type Made = (Version, Change<'static>);

const KINDS: [Kind; 4] = [Kind::String, Kind::Set, Kind::Hash, Kind::SortedSet];

/// The milliseconds that acts lie apart.
const APART_MS: u64 = 10;

fn version(at: usize, origin: u64) -> Version {
    Version::new(Timestamp::of_wall(WallMillis((at as u64 + 1) * APART_MS)), Origin(origin))
}

/// Gives the steps versions, one after the other, beginning behind `start` others. What carries a version of its own
/// lies up to some acts back, but not before `floor`.
fn history(steps: &[Step], start: usize, floor: usize) -> Vec<Made> {
    let mut running: BTreeMap<Counter, (Timestamp, i128)> = BTreeMap::new();
    let mut made = Vec::new();
    for (place, (origin, other_db, key, act)) in steps.iter().enumerate() {
        let at = version(start + place, origin + 1);
        let back = |by: &u64| {
            let place = (start + place).saturating_sub(*by as usize).max(floor);
            Version::new(Timestamp(version(place, 0).timestamp.0 - 1), Origin::NONE)
        };
        let id = |kind: &usize, element: &usize| CellId {
            kind: KINDS[*kind],
            element: if *kind == 0 { b""[..].into() } else { ELEMENTS[*element].into() },
        };
        let op = match act {
            Act::Set(value) => Op::Set(value.to_string().into_bytes().into()),
            Act::Reset => Op::Reset,
            Act::Cell(kind, element, value) => {
                let value = value.map(|value| match KINDS[*kind] {
                    Kind::SortedSet => Value::Float(f64::from(value)),
                    _ => Value::Bytes(value.to_string().into_bytes().into()),
                });
                Op::Cell(id(kind, element), value)
            }
            Act::Count(kind, element, by) => {
                let own = running.entry((*origin, *other_db, *key, *kind, *element)).or_default();
                // Begins anew now and then, as a dead one does.
                if own.0 == Timestamp::ZERO || by % 3 == 0 {
                    *own = (at.timestamp, 0);
                }
                own.1 += i128::from(*by);
                let sum = match KINDS[*kind] {
                    Kind::SortedSet => Sum::Float(own.1 as f64),
                    // Of one owner now whole numbers, now tenths.
                    _ if by % 2 == 0 => Sum::Decimal(own.1 * 10_i128.pow(16)),
                    _ => Sum::Int(own.1),
                };
                Op::Count(id(kind, element), Contribution { first: own.0, sum, restates: None })
            }
            Act::Expire(ms) => Op::Expire(ms.map(|ms| WallMillis(at.timestamp.wall().0 + ms))),
            Act::ObservedReset(by) => Op::ObservedReset(back(by)),
            Act::Mark(by, ago) => {
                Op::Mark { reset: back(by), expiry: WallMillis(at.timestamp.wall().0.saturating_sub(*ago)) }
            }
            Act::FlushDb => Op::FlushDb,
            Act::FlushAll => Op::FlushAll,
            Act::ObservedFlush(by) => Op::ObservedFlush(back(by)),
        };
        let flush = matches!(op, Op::FlushDb | Op::FlushAll | Op::ObservedFlush(_));
        let db = if matches!(op, Op::FlushAll) { 0 } else { u8::from(*other_db) };
        made.push((at, Change::new(db, if flush { &b""[..] } else { KEYS[*key] }, op)));
    }
    made
}

fn act() -> impl Strategy<Value = Act> {
    let cell = || (0..KINDS.len(), 0..ELEMENTS.len());
    prop_oneof![
        4 => any::<u8>().prop_map(Act::Set),
        3 => Just(Act::Reset),
        4 => (cell(), any::<u8>()).prop_map(|((kind, element), value)| Act::Cell(kind, element, Some(value))),
        4 => cell().prop_map(|(kind, element)| Act::Cell(kind, element, None)),
        5 => (cell(), any::<i8>()).prop_map(|((kind, element), by)| Act::Count(kind, element, by)),
        3 => (0..60_u64).prop_map(|ms| Act::Expire(Some(ms))),
        2 => Just(Act::Expire(None)),
        2 => (0..6_u64).prop_map(Act::ObservedReset),
        3 => (0..6_u64, 0..60_u64).prop_map(|(by, ago)| Act::Mark(by, ago)),
        1 => prop_oneof![Just(Act::FlushDb), Just(Act::FlushAll), (0..6_u64).prop_map(Act::ObservedFlush)],
    ]
}

fn steps(size: impl Into<SizeRange>) -> impl Strategy<Value = Vec<Step>> {
    let key = prop_oneof![6 => Just(0_usize), 1 => 1..KEYS.len()];
    prop::collection::vec((0..ORIGINS, prop::bool::weighted(0.1), key, act()), size)
}

fn merge(store: &Store, (at, change): &Made) {
    let index = store.origins.intern(at.origin).unwrap();
    let writer = Writer { at: *at, index, source: Source::Log, usage: None };
    let mut locked = store.lock(super::ShardSet::ALL);
    merge_change(&mut locked, change.clone(), writer, &store.origins).unwrap();
}

fn merged<'m>(changes: impl IntoIterator<Item = &'m Made>) -> Store {
    let store = Store::new();
    changes.into_iter().for_each(|change| merge(&store, change));
    store
}

/// Runs something on every shard that holds any of the keys.
fn on_shards(store: &Store, mut run: impl FnMut(&mut Shard)) {
    let mut shards: Vec<ShardId> = KEYS.iter().map(|key| Key::new(0, key).shard()).collect();
    shards.sort_unstable();
    shards.dedup();
    shards.into_iter().for_each(|shard| run(&mut store.lock_shard(shard)));
}

fn slots() -> impl Iterator<Item = usize> {
    KEYS.iter().map(|key| Key::new(0, key).slot())
}

fn shard_of(slot: usize) -> ShardId {
    ShardId((slot / SLOTS_PER_SHARD) as u8)
}

fn digests(store: &Store) -> Vec<u64> {
    slots().map(|slot| store.lock_shard(shard_of(slot)).slot_digest(slot)).collect()
}

fn deep_digests(store: &Store) -> Vec<u64> {
    slots().map(|slot| store.lock_shard(shard_of(slot)).deep_digest(slot, &store.origins)).collect()
}

/// By database, key and cell, what a client would see but for expiry; and the expiries.
type Seen = (BTreeMap<(u8, Vec<u8>, CellId<'static>), String>, BTreeMap<(u8, Vec<u8>), WallMillis>);

fn seen(store: &Store) -> Seen {
    let (mut cells, mut expiries) = (BTreeMap::new(), BTreeMap::new());
    on_shards(store, |shard| {
        shard.check(&store.origins);
        for db in 0..DATABASES {
            for entry in shard.entries(db) {
                let rich: RichKey = entry.to_rich(&store.origins);
                for (id, _) in rich.cells.iter() {
                    if let Some(value) = rich.cell_value(&id) {
                        let text = match value {
                            Value::Bytes(bytes) => String::from_utf8(bytes.into_owned()).unwrap(),
                            Value::Float(float) => float.to_string(),
                        };
                        cells.insert((db, rich.key.to_vec(), super::state::owned_id(&id)), text);
                    }
                }
                expiries.extend(entry.expiry().map(|expiry| ((db, rich.key.to_vec()), expiry)));
            }
        }
    });
    (cells, expiries)
}

/// The store's keys on a page, and its flushes.
fn page(store: &Store, what: What<'_>) -> Vec<u8> {
    let mut page = PageBuilder::new();
    store.lock_shard(ShardId(0)).flushes().for_each(|flush| page.push_flush(&flush));
    let mut slots: Vec<usize> = slots().collect();
    slots.dedup();
    for slot in slots {
        store.lock_shard(shard_of(slot)).collect_slot(slot, what, &mut page, &store.origins);
    }
    page.finish()
}

fn keys(page: &[u8]) -> Vec<KeyState<'_>> {
    Page::decode(page).unwrap().into_iter().collect::<Result<_, _>>().unwrap()
}

fn take_flushes(store: &Store, page: &[u8]) {
    for flush in Page::decode(page).unwrap().flushes() {
        for shard in ShardId::all() {
            store.lock_shard(shard).take_flush(flush, &store.origins).unwrap();
        }
    }
}

fn load(page: &[u8]) -> Store {
    let store = Store::new();
    take_flushes(&store, page);
    for state in keys(page) {
        let shard = Key::new(state.db, state.key).shard();
        store.lock_shard(shard).load(&state, &store.origins);
    }
    store
}

fn drop_stable(store: &Store, stable: &Frontier, limit: usize) {
    on_shards(store, |shard| while shard.drop_stable(stable, limit, &store.origins) == limit {});
}

/// All of the others, judged at both frontiers.
fn judge(ours: &Store, our_frontier: &Frontier, theirs: &Store, theirs_frontier: &Frontier) -> Judged {
    let page = page(theirs, What::Everything);
    take_flushes(ours, &page);
    let (states, mut judged) = (keys(&page), Judged::default());
    for slot in slots() {
        let mut shard = ours.lock_shard(shard_of(slot));
        judged.add(shard.judge_slot(slot, &states, our_frontier, theirs_frontier, None, &ours.origins));
    }
    judged
}

/// How much of each origin's changes a node has, in thousandths of those after the first `all`.
fn frontier(changes: &[Made], all: usize, shares: &[usize]) -> Frontier {
    let mut frontier = Frontier::new();
    for (origin, share) in (1..=ORIGINS).zip(shares) {
        let own: Vec<_> = changes.iter().enumerate().filter(|(_, (at, _))| at.origin.0 == origin).collect();
        let sure = own.iter().filter(|(place, _)| *place < all).count();
        let held = sure + (own.len() - sure) * share / 1_000;
        if let Some((_, (at, _))) = held.checked_sub(1).and_then(|last| own.get(last)) {
            frontier.advance(Origin(origin), at.timestamp);
        }
    }
    frontier
}

fn held<'m>(changes: &'m [Made], frontier: &'m Frontier) -> impl Iterator<Item = &'m Made> {
    changes.iter().filter(|(at, _)| frontier.covers(*at))
}

fn everything(changes: &[Made]) -> Frontier {
    frontier(changes, changes.len(), &[1_000; ORIGINS as usize])
}

fn config() -> ProptestConfig {
    let cases = if std::env::var_os("TANDEM_LONG").is_some() { 20_000 } else { 1_500 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn shares() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..=1_000_usize, ORIGINS as usize)
}

proptest! {
    #![proptest_config(config())]

    /// Whatever the order and however often, whether by log or by page: the same digests, which are those of a store
    /// that holds the same.
    #[test]
    fn digests_tell_the_changes_and_not_their_way(
        steps in steps(1..40),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..80),
    ) {
        let changes = history(&steps, 0, 0);
        let store = merged(&changes);
        let other = Store::new();
        for pick in order {
            merge(&other, pick.get(&changes));
        }
        changes.iter().rev().for_each(|change| merge(&other, change));
        prop_assert_eq!(store.canonical(), other.canonical());
        prop_assert_eq!(seen(&store), seen(&other));
        prop_assert_eq!(digests(&store), digests(&other));
        prop_assert_eq!(deep_digests(&store), deep_digests(&other));
        let loaded = load(&page(&store, What::Everything));
        prop_assert_eq!(store.canonical(), loaded.canonical());
        prop_assert_eq!(seen(&store), seen(&loaded));
        prop_assert_eq!(digests(&store), digests(&loaded));
        prop_assert_eq!(deep_digests(&store), deep_digests(&loaded));
    }

    /// What is dropped, in whatever portions, was dead: neither what is seen nor a digest changes, then and after
    /// whatever is written by those who knew. When all is stable nothing dead is left but for tombstones with a TTL.
    #[test]
    fn dropping_what_is_stable_changes_nothing_visible(
        steps in steps(1..40),
        later in steps(0..20),
        shares in shares(),
        limit in 1..9_usize,
    ) {
        let changes = history(&steps, 0, 0);
        let (store, dropping) = (merged(&changes), merged(&changes));
        let before = seen(&store);
        drop_stable(&dropping, &frontier(&changes, 0, &shares), limit);
        prop_assert_eq!(&seen(&dropping), &before);
        prop_assert_eq!(digests(&dropping), digests(&store));
        drop_stable(&dropping, &everything(&changes), limit);
        prop_assert_eq!(&seen(&dropping), &before);
        prop_assert_eq!(digests(&dropping), digests(&store));
        on_shards(&dropping, |shard| {
            let expiring: usize = (0..DATABASES).flat_map(|db| shard.entries(db)).filter(|entry| entry.expiry().is_some()).count();
            assert!(shard.dead_things() <= expiring, "{} things are left", shard.dead_things());
            assert!(expiring > 0 || shard.dead_bytes() == 0, "{} bytes are left", shard.dead_bytes());
        });
        for change in &history(&later, steps.len() + 1, steps.len() + 1) {
            merge(&store, change);
            merge(&dropping, change);
        }
        prop_assert_eq!(seen(&dropping), seen(&store));
        prop_assert_eq!(digests(&dropping), digests(&store));
    }

    /// Two that hold different parts of the same logs, judged against each other, come to what both logs come to;
    /// whichever of them has dropped what was dead of the beginning that both have.
    #[test]
    fn judging_comes_to_the_merge_of_both(
        first in steps(0..25),
        second in steps(1..25),
        ours in shares(),
        theirs in shares(),
        drops in any::<(bool, bool)>(),
    ) {
        let mut changes = history(&first, 0, 0);
        let stable = everything(&changes);
        let all = changes.len();
        changes.extend(history(&second, all + 1, all + 1));
        let (ours, theirs) = (frontier(&changes, all, &ours), frontier(&changes, all, &theirs));
        let ((a, b), union) = ((merged(held(&changes, &ours)), merged(held(&changes, &theirs))), {
            let mut both = ours.clone();
            both.merge(&theirs);
            merged(held(&changes, &both))
        });
        if drops.0 {
            drop_stable(&a, &stable, 100);
        }
        if drops.1 {
            drop_stable(&b, &stable, 100);
        }
        judge(&a, &ours, &b, &theirs);
        prop_assert_eq!(seen(&a), seen(&union));
        prop_assert_eq!(digests(&a), digests(&union));
        prop_assert_eq!(deep_digests(&a), deep_digests(&union));
        if drops == (false, false) {
            prop_assert_eq!(a.canonical(), union.canonical());
        }
        prop_assert_eq!(judge(&a, &ours, &b, &theirs).dropped, 0);
    }

    /// Uniting forgets nothing; a repair puts right what was damaged.
    #[test]
    fn uniting_comes_to_the_merge_of_both(steps in steps(1..40), ours in shares(), theirs in shares()) {
        let changes = history(&steps, 0, 0);
        let (ours, theirs) = (frontier(&changes, 0, &ours), frontier(&changes, 0, &theirs));
        let mut both = ours.clone();
        both.merge(&theirs);
        let (a, b) = (merged(held(&changes, &ours)), merged(held(&changes, &theirs)));
        let union = merged(held(&changes, &both));
        for overwrite_equal in [false, true] {
            let page = page(&b, What::Everything);
            take_flushes(&a, &page);
            for state in keys(&page) {
                let shard = Key::new(state.db, state.key).shard();
                a.lock_shard(shard).unite_key(&state, overwrite_equal, &a.origins);
            }
            prop_assert_eq!(a.canonical(), union.canonical());
            prop_assert_eq!(seen(&a), seen(&union));
            prop_assert_eq!(digests(&a), digests(&union));
        }
    }

    /// What one has dead is no news to who has the same, and all that another lacks of it.
    #[test]
    fn dead_parts_merge_as_the_log_has_them(steps in steps(1..40)) {
        let changes = history(&steps, 0, 0);
        let (store, frontier) = (merged(&changes), everything(&changes));
        let before = store.canonical();
        let dead = page(&store, What::Dead);
        for state in keys(&dead) {
            let shard = Key::new(state.db, state.key).shard();
            assert_eq!(store.lock_shard(shard).merge_dead(&state, &frontier, &store.origins), 0);
        }
        prop_assert_eq!(store.canonical(), before);
        prop_assert!(keys(&page(&store, What::Uncovered(&frontier))).is_empty());
        prop_assert_eq!(keys(&page(&store, What::Uncovered(&Frontier::new()))).len(), keys(&page(&store, What::Everything)).len());
    }
}

fn one(at: usize, origin: u64, op: Op<'static>) -> Made {
    (version(at, origin), Change::new(0, KEYS[0], op))
}

fn set(value: &'static [u8]) -> Op<'static> {
    Op::Set(value.into())
}

#[test]
fn a_live_string_written_whole_has_nothing_dead() {
    let store = merged(&[one(1, 1, set(b"x"))]);
    on_shards(&store, |shard| assert_eq!((shard.dead_things(), shard.dead_bytes()), (0, 0)));
    assert!(keys(&page(&store, What::Dead)).is_empty());
}

/// Deleted and written again and again while a member is away: what is remembered of that stays small.
#[test]
fn notes_of_what_lives_again_do_not_pile_up() {
    let store = Store::new();
    for round in 0..5_000 {
        merge(&store, &one(2 * round, 1, Op::Reset));
        merge(&store, &one(2 * round + 1, 1, set(b"x")));
    }
    on_shards(&store, |shard| assert!(shard.dead_bytes() < 64 << 10, "{} bytes", shard.dead_bytes()));
}

#[test]
fn the_last_changes_of_a_slot_are_told_and_forgotten() {
    let store = merged(&[one(1, 1, set(b"x")), one(5, 2, set(b"y")), one(3, 1, set(b"late"))]);
    let flush = (version(4, 3), Change::new(0, &b""[..], Op::FlushDb));
    merge(&store, &flush);
    let slot = Key::new(0, KEYS[0]).slot();
    let mut shard = store.lock_shard(shard_of(slot));
    let lasts = |shard: &Shard, slot: usize| {
        let mut lasts: Vec<_> = shard.slot_lasts(slot).collect();
        lasts.sort_unstable();
        lasts
    };
    assert_eq!(lasts(&shard, slot), [version(3, 1), version(4, 3), version(5, 2)]);
    let stable: Frontier =
        [(Origin(1), version(3, 1).timestamp), (Origin(2), version(4, 2).timestamp)].into_iter().collect();
    shard.forget_lasts(&stable);
    assert_eq!(lasts(&shard, slot), [version(4, 3), version(5, 2)]);
    drop(shard);
    assert_eq!(lasts(&store.lock_shard(shard_of(SLOTS - 1)), SLOTS - 1), [version(4, 3)]);
}

/// The same keys at both, one deep difference: a damaged value is found and put right.
#[test]
fn a_damaged_value_shows_in_the_deep_digest_only_and_is_repaired() {
    let (good, bad) = (merged(&[one(1, 1, set(b"good"))]), merged(&[one(1, 1, set(b"bad!"))]));
    assert_eq!(digests(&good), digests(&bad));
    assert_ne!(deep_digests(&good), deep_digests(&bad));
    let page = page(&good, What::Everything);
    let state = &keys(&page)[0];
    let shard = || bad.lock_shard(Key::new(0, KEYS[0]).shard());
    assert_eq!(shard().unite_key(state, false, &bad.origins), 0);
    assert_eq!(shard().unite_key(state, true, &bad.origins), 1);
    assert_eq!(deep_digests(&good), deep_digests(&bad));
    let slot = Key::new(0, KEYS[0]).slot();
    let told = shard().key_digests(slot, &bad.origins);
    assert_eq!(told[0].shallow, digests(&bad)[0]);
    assert_eq!((told.len(), told[0].deep), (1, deep_digests(&good)[0]));
}

/// One has deleted a key and forgotten that, the other still has it: it goes, whoever asks whom.
#[test]
fn what_was_deleted_and_forgotten_does_not_come_back() {
    let changes = [one(1, 1, set(b"x")), one(2, 2, Op::Reset)];
    let (old, new) = (everything(&changes[..1]), everything(&changes));
    for asking in [true, false] {
        let (behind, ahead) = (merged(&changes[..1]), merged(&changes));
        drop_stable(&ahead, &new, 10);
        let judged =
            if asking { judge(&behind, &old, &ahead, &new) } else { judge(&ahead, &new, &behind, &old) };
        // The reset of the SET that is known to be dead already is taken, as all resets are.
        assert_eq!(judged, Judged { taken: usize::from(!asking), dropped: usize::from(asking) });
        assert!(seen(if asking { &behind } else { &ahead }).0.is_empty());
    }
}

/// Reading ahead is a hint: it waits for nobody, and works on what it can have.
#[test]
fn reading_ahead_does_not_wait_for_a_shard_in_use() {
    let store = Store::new();
    let keys = KEYS.map(|key| Key::new(0, key));
    store.prefetch(&keys);
    let _in_use = store.lock_shard(keys[0].shard());
    store.prefetch(&keys);
}

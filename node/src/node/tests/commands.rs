//! All that writes, of every kind, by way of the table of commands: whatever the interleaving, masters converge, and what
//! is added to a collection at one survives what others do at the same time.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use shared::change::Kind;

use super::forms::{FORMS, Words, fill};
use super::{EPOCH_MS, Group, MASTERS, Numbers, numbers, replay_in_order};
use crate::command::execute::execute;
use crate::node::Node;
use crate::store::ShardSet;
use crate::store::key::Key;
use crate::transaction::{Clocks, Transaction};
use shared::change::DATABASES;
use shared::time::WallMillis;

/// What happens next.
#[derive(Clone, Debug)]
enum Deed {
    /// A client's commands, of which each is the place of a form and the seed of what fills its slots. Several are one
    /// transaction.
    Commands(usize, Vec<(usize, u64)>),
    /// A master removes what has expired.
    Reap(usize),
    /// The next batch of one origin reaches a master.
    Deliver { origin: usize, to: usize },
    /// Time passes.
    Pass(u64),
}

fn words(text: &str) -> Words {
    text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

impl Group {
    /// A client's command at a master. Returns the reply.
    pub(super) fn run(&mut self, master: usize, words: &Words) -> Vec<u8> {
        let clocks = Clocks { wall: self.wall(master), mono_us: self.now_ms * 1_000 };
        let arguments: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let mut reply = Vec::new();
        let super::Master { server, client, .. } = &mut self.masters[master];
        execute(server, client, &arguments, clocks, &mut reply);
        self.seal(master);
        reply
    }

    fn reap(&mut self, master: usize) {
        let clocks = Clocks { wall: self.wall(master), mono_us: 0 };
        let node = self.masters[master].node();
        let keys = keys(node);
        let mut transaction = Transaction::begin(node, ShardSet::ALL, clocks, true).unwrap();
        for (db, key) in &keys {
            transaction.reap(&Key::new(*db, key)).unwrap();
        }
        transaction.commit();
        self.seal(master);
    }

    fn do_deed(&mut self, deed: &Deed) {
        match deed {
            Deed::Commands(master, drawn) => {
                let commands: Vec<_> =
                    drawn.iter().map(|(form, seed)| fill(FORMS[*form], &mut numbers(*seed))).collect();
                let is_transaction = commands.len() > 1;
                let brackets = |word| is_transaction.then(|| words(word));
                for words in brackets("MULTI").iter().chain(&commands).chain(&brackets("EXEC")) {
                    self.run(*master, words);
                }
            }
            Deed::Reap(master) => self.reap(*master),
            Deed::Deliver { origin, to } => self.deliver(*origin, *to),
            Deed::Pass(ms) => self.now_ms += ms,
        }
    }
}

impl Numbers {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound
    }
}

/// Every key of which anything is left.
fn keys(node: &Node) -> Vec<(u8, Vec<u8>)> {
    let locked = node.store.lock(ShardSet::ALL);
    let of_db =
        |db| locked.iter().flat_map(move |shard| shard.entries(db)).map(move |entry| (db, entry.key()));
    (0..DATABASES).flat_map(of_db).map(|(db, key)| (db, key.to_vec())).collect()
}

/// A key as clients see it: the kind, the elements with their values, and the expiry.
type SeenKey = (Kind, Vec<(Vec<u8>, Vec<u8>)>, Option<WallMillis>);

/// By database and key.
type Seen = BTreeMap<(u8, Vec<u8>), SeenKey>;

/// What clients see at a moment.
fn seen(node: &Node, at: WallMillis) -> Seen {
    let keys = keys(node);
    let clocks = Clocks { wall: at, mono_us: 0 };
    let reads = Transaction::begin(node, ShardSet::ALL, clocks, false).unwrap();
    let mut seen = Seen::new();
    for (db, bytes) in keys {
        let key = Key::new(db, &bytes);
        let Some(kind) = reads.kind(&key) else { continue };
        let elements = match kind {
            Kind::String => vec![(Vec::new(), reads.string(&key).unwrap().unwrap_or_default().into_owned())],
            _ => elements(&reads, &key, kind),
        };
        seen.insert((db, bytes.clone()), (kind, elements, reads.expiry(&key)));
    }
    seen
}

fn elements(reads: &Transaction<'_>, key: &Key<'_>, kind: Kind) -> Vec<(Vec<u8>, Vec<u8>)> {
    let collection = reads.collection(key, kind).unwrap().unwrap();
    if kind == Kind::SortedSet {
        let ranked = collection.ranked(0..collection.len());
        return ranked.map(|(member, score)| (member.to_vec(), score.to_string().into_bytes())).collect();
    }
    let mut elements: Vec<_> =
        collection.iter().map(|(element, value)| (element.to_vec(), value.into_owned())).collect();
    if kind != Kind::List {
        elements.sort();
    }
    elements
}

fn digests(node: &Node, keys: &[(u8, Vec<u8>)]) -> Vec<u64> {
    let digest = |(db, bytes): &(u8, Vec<u8>)| {
        let key = Key::new(*db, bytes);
        node.store.lock_shard(key.shard()).slot_digest(key.slot())
    };
    keys.iter().map(digest).collect()
}

fn deed() -> impl Strategy<Value = Deed> {
    let one = || (0..FORMS.len(), any::<u64>());
    let commands = prop_oneof![
        5 => one().prop_map(|one| vec![one]),
        1 => prop::collection::vec(one(), 2..6),
    ];
    prop_oneof![
        10 => (0..MASTERS, commands).prop_map(|(master, commands)| Deed::Commands(master, commands)),
        8 => (0..MASTERS, 0..MASTERS).prop_map(|(origin, to)| Deed::Deliver { origin, to }),
        2 => (1..6_u64).prop_map(Deed::Pass),
        1 => (0..MASTERS).prop_map(Deed::Reap),
    ]
}

fn config(cases: u32, long: u32) -> ProptestConfig {
    let cases = if std::env::var_os("TANDEM_LONG").is_some() { long } else { cases };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// What a test adds to a collection, or takes from it again; the element has a name that no other has.
#[derive(Clone, Copy, Debug)]
enum Collecting {
    /// By which of the forms, at which master.
    Add(usize, usize),
    /// The how manieth of those that were added, at which master, if that has seen it.
    Remove(prop::sample::Index, usize),
    Deliver(usize, usize),
}

/// Forms that add an element `e`, with the one that removes it.
const ADDS: &[(&str, &str)] = &[
    ("HSET h e 1", "HDEL h e"),
    ("HSETNX h e x", "HDEL h e"),
    ("HINCRBY h e 2", "HDEL h e"),
    ("HINCRBYFLOAT h e 0.1", "HDEL h e"),
    ("SADD s e", "SREM s e"),
    ("ZADD z 1 e", "ZREM z e"),
    ("ZINCRBY z 0.1 e", "ZREM z e"),
    ("RPUSH l e", "LREM l 0 e"),
    ("LPUSH l e", "LREM l -1 e"),
    ("LINSERT l BEFORE pivot e", "LREM l 0 e"),
];

fn collecting() -> impl Strategy<Value = Collecting> {
    prop_oneof![
        4 => (0..ADDS.len(), 0..MASTERS).prop_map(|(form, master)| Collecting::Add(form, master)),
        1 => (any::<prop::sample::Index>(), 0..MASTERS).prop_map(|(which, master)| Collecting::Remove(which, master)),
        3 => (0..MASTERS, 0..MASTERS).prop_map(|(origin, to)| Collecting::Deliver(origin, to)),
    ]
}

/// The elements of all four collections, as a test named them.
fn collected(node: &Node, at: WallMillis) -> BTreeSet<Vec<u8>> {
    let named = |(kind, elements, _): SeenKey| {
        elements.into_iter().map(move |(id, value)| if kind == Kind::List { value } else { id })
    };
    seen(node, at).into_values().flat_map(named).collect()
}

proptest! {
    #![proptest_config(config(2_000, 100_000))]

    /// The masters converge, whatever commands there are; so do nodes that get all batches in any order that keeps each
    /// origin's own, with repeats.
    #[test]
    fn any_commands_converge(
        skews in prop::collection::vec(-3..=3_i64, MASTERS),
        deeds in prop::collection::vec(deed(), 1..80),
        picks in prop::collection::vec(0..1_000_usize, 1..40),
    ) {
        let mut group = Group::new(&skews);
        deeds.iter().for_each(|deed| group.do_deed(deed));
        group.deliver_all();
        let first = &group.masters[0];
        let (state, keys) = (first.node().store.canonical(), keys(first.node()));
        for other in &group.masters[1..] {
            prop_assert_eq!(&other.node().store.canonical(), &state);
            prop_assert_eq!(digests(other.node(), &keys), digests(first.node(), &keys));
        }
        let wall = WallMillis(group.now_ms + 10);
        prop_assert_eq!(&replay_in_order(&group.logs, &picks, wall), &state);
        for at in [group.now_ms + 10, group.now_ms + 13, group.now_ms + 50] {
            let all: Vec<_> = group.masters.iter().map(|master| seen(master.node(), WallMillis(at))).collect();
            prop_assert_eq!(&all[0], &all[1]);
            prop_assert_eq!(&all[0], &all[2]);
        }
    }

    /// What is added at different masters at the same time is all there in the end, but for what was removed by who had
    /// seen it.
    #[test]
    fn adds_at_different_masters_all_survive(deeds in prop::collection::vec(collecting(), 1..60)) {
        let mut group = Group::new(&[0, 3, -3]);
        group.now_ms = EPOCH_MS + 100;
        // What makes a collection that was emptied anew ends what is older than its last removal, seen or not. So one
        // element stays.
        for command in ["HSET h pivot 1", "SADD s pivot", "ZADD z 1 pivot", "RPUSH l pivot"] {
            group.run(0, &words(command));
        }
        group.deliver_all();
        group.now_ms += 10;
        let mut added: Vec<(usize, Vec<u8>)> = Vec::new();
        let mut expected = BTreeSet::from([b"pivot".to_vec()]);
        for deed in deeds {
            group.now_ms += 1;
            match deed {
                Collecting::Add(form, master) => {
                    let name = format!("e{}", added.len()).into_bytes();
                    group.run(master, &named(ADDS[form].0, &name));
                    expected.insert(name.clone());
                    added.push((form, name));
                }
                Collecting::Remove(which, master) if !added.is_empty() => {
                    let (form, name) = which.get(&added);
                    if group.run(master, &named(ADDS[*form].1, name)) == b":1\r\n" {
                        expected.remove(name);
                    }
                }
                Collecting::Remove(..) => {}
                Collecting::Deliver(origin, to) => group.deliver(origin, to),
            }
        }
        group.deliver_all();
        for master in &group.masters {
            prop_assert_eq!(&collected(master.node(), WallMillis(group.now_ms + 10)), &expected);
        }
    }
}

/// The words of a form whose element has this name.
fn named(form: &str, name: &[u8]) -> Words {
    words(form).into_iter().map(|word| if word == b"e" { name.to_vec() } else { word }).collect()
}

/// What the transaction itself wrote has its own version, above any reset that it can log.
#[test]
fn a_ttl_does_not_cling_to_a_key_that_the_same_transaction_emptied_and_makes_anew() {
    let makings =
        ["SET k v", "INCR k", "APPEND k v", "HSET k f v", "HINCRBY k f 1", "ZADD k 1 m", "RPUSH k v"];
    for (emptying, making) in ["SPOP k", "SREM k m", "DEL k"].iter().flat_map(|e| makings.map(|m| (*e, m))) {
        let mut group = super::group();
        for command in ["MULTI", "SADD k m", "PEXPIRE k 100000", emptying, making, "EXEC"] {
            group.run(0, &words(command));
        }
        group.deliver_all();
        for master in 0..MASTERS {
            assert_eq!(group.run(master, &words("PTTL k")), b":-1\r\n", "{emptying}, {making}, at {master}");
        }
    }
}

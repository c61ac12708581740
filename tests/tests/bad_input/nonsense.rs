//! Batches that are well formed, and say what no node would: extreme numbers, mixed-up kinds, impossible moments.

use std::collections::BTreeMap;

use fastrand::Rng;
use redis::{Connection, Value as Reply};
use shared::batch::BatchBuilder;
use shared::change::{CellId, Change, Contribution, Kind, Op, Sum, Value};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::time::WallMillis;
use shared::version::Version;
use tests::host::Host;
use tests::load::{seed, send, size};

use crate::Pair;
use crate::feed::{Feed, now};

const KEYS: usize = 12;

fn key(number: usize) -> String {
    format!("key:{number}")
}

/// Changes that no node would make, in batches that every node reads.
struct Author {
    random: Rng,
    origin: Origin,
    at: Timestamp,
}

impl Author {
    fn new(random: &mut Rng) -> Self {
        // Within what clocks may be apart, behind or ahead.
        let at = Timestamp(now().0 - (20_000 << 16) + random.u64(..40_000 << 16));
        Self { origin: Origin(random.u64(1..)), random: random.fork(), at }
    }

    fn batch(&mut self) -> Vec<u8> {
        let mut builder = BatchBuilder::new(self.origin, Timestamp::ZERO);
        for _ in 0..self.random.usize(1..20) {
            self.at = Timestamp(self.at.0 + self.random.u64(1..1 << 20));
            let changes: Vec<Change<'static>> = (0..self.random.usize(1..5)).map(|_| self.change()).collect();
            builder.append(self.at, &changes);
        }
        builder.seal(<[u8]>::to_vec).1
    }

    fn change(&mut self) -> Change<'static> {
        let key = match self.random.u8(..20) {
            0 => String::new(),
            _ => key(self.random.usize(..KEYS)),
        };
        let db = if self.random.u8(..4) == 0 { self.random.u8(..16) } else { 0 };
        let replaced = self.random.bool().then(|| self.version());
        Change { replaced, ..Change::new(db, key.into_bytes(), self.op()) }
    }

    fn op(&mut self) -> Op<'static> {
        match self.random.u8(..30) {
            0..=4 => Op::Set(self.bytes().into()),
            5 => Op::Reset,
            6..=10 => Op::Cell(self.cell(), self.value()),
            11..=17 => Op::Count(self.cell(), self.contribution()),
            18..=22 => Op::Expire(self.moment()),
            23..=24 => Op::ObservedReset(self.version()),
            25..=28 => Op::Mark { reset: self.version(), expiry: self.moment().unwrap_or_default() },
            _ => {
                if self.random.bool() {
                    Op::FlushDb
                } else {
                    Op::FlushAll
                }
            }
        }
    }

    fn cell(&mut self) -> CellId<'static> {
        let kind =
            self.choose(&[Kind::String, Kind::String, Kind::String, Kind::Set, Kind::Hash, Kind::SortedSet]);
        let element = self.choose(&[&b""[..], b"", b"", b"element"]);
        CellId { kind, element: element.into() }
    }

    fn value(&mut self) -> Option<Value<'static>> {
        match self.random.u8(..4) {
            0 => None,
            1 => Some(Value::Float(self.float())),
            _ => Some(Value::Bytes(self.bytes().into())),
        }
    }

    fn bytes(&mut self) -> Vec<u8> {
        let texts = [
            "",
            "0",
            "-0",
            "1",
            "9223372036854775807",
            "-9223372036854775808",
            "1e400",
            "0.1",
            "nan",
            "inf",
            "text",
        ];
        self.choose(&texts).as_bytes().to_vec()
    }

    fn contribution(&mut self) -> Contribution {
        let first = self.version().timestamp;
        let sums = [i128::MAX, i128::MIN, i64::MAX.into(), i64::MIN.into(), 0, 1, -1];
        let sum =
            if self.random.u8(..3) == 0 { Sum::Float(self.float()) } else { Sum::Int(self.choose(&sums)) };
        let contributor =
            self.choose(&[None, None, Some(Origin::NONE), Some(Origin(u64::MAX)), Some(self.origin)]);
        Contribution { first, sum, contributor }
    }

    fn float(&mut self) -> f64 {
        self.choose(&[
            0.0,
            -0.0,
            1.5,
            f64::MAX,
            f64::MIN,
            f64::MIN_POSITIVE,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ])
    }

    fn moment(&mut self) -> Option<WallMillis> {
        let now = now().wall().0;
        let moment =
            self.choose(&[0, 1, now, now + 1_000_000, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX]);
        (self.random.u8(..8) > 0).then_some(WallMillis(moment))
    }

    /// Of the past: a batch with a version above its own is malformed.
    fn version(&mut self) -> Version {
        let timestamp = self.choose(&[Timestamp::ZERO, Timestamp(1), Timestamp(self.at.0 - 1), self.at]);
        let origin = self.choose(&[Origin::NONE, Origin(1), Origin(u64::MAX), self.origin]);
        Version::new(timestamp, origin)
    }

    fn choose<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.random.usize(..choices.len())].clone()
    }
}

/// What a node's clients can be told of the keys. Errors are answers, too.
fn look(client: &mut Connection) -> BTreeMap<String, Vec<Reply>> {
    let commands =
        ["TYPE", "GET", "STRLEN", "PEXPIRETIME", "EXPIRETIME", "EXISTS", "OBJECT ENCODING", "BITCOUNT"];
    (0..KEYS)
        .map(key)
        .chain([String::new()])
        .map(|key| {
            let asked: Vec<String> = commands.iter().map(|command| format!("{command} {key}")).collect();
            let replies = send(client, &asked);
            (key, replies)
        })
        .collect()
}

/// Whatever came of them, clients can go on with the keys: commands may fail, the node may not.
fn use_keys(host: &Host, random: &mut Rng) {
    let mut client = host.client();
    for number in 0..KEYS {
        let (key, other) = (key(number), key(random.usize(..KEYS)));
        let commands = [
            format!("PTTL {key}"),
            format!("INCR {key}"),
            format!("INCRBYFLOAT {key} 1.5"),
            format!("DECRBY {key} 9223372036854775807"),
            format!("APPEND {key} x"),
            format!("SETRANGE {key} 3 y"),
            format!("GETEX {key} PERSIST"),
            format!("PEXPIRE {key} 100000 GT"),
            format!("COPY {key} {other} REPLACE"),
            format!("RENAME {other} {key}"),
            "SCAN 0 COUNT 1000".to_owned(),
            "RANDOMKEY".to_owned(),
            "DBSIZE".to_owned(),
            "INFO everything".to_owned(),
        ];
        send(&mut client, &commands[..random.usize(1..=commands.len())]);
    }
}

#[test]
fn well_formed_nonsense_leaves_nodes_alive_and_equal() {
    let mut pair = Pair::start();
    let mut random = Rng::with_seed(seed());
    let mut refused = 0;
    for round in 0..size(30, 1_000) {
        let mut feed = Feed::to(pair.host());
        for _ in 0..10 {
            if let Err(error) = feed.apply(&Author::new(&mut random).batch()) {
                assert!(error.starts_with("BADBATCH "), "{error}");
                refused += 1;
            }
        }
        check_equal(&mut pair);
        use_keys([pair.host(), pair.other()][round % 2], &mut random);
        check_equal(&mut pair);
    }
    eprintln!("refused: {refused}");
    check_replay(&mut pair);
}

#[track_caller]
fn check_equal(pair: &mut Pair) {
    pair.check_alive();
    let (here, there) = (look(&mut pair.host().client()), look(&mut pair.other().client()));
    for (key, replies) in here {
        assert_eq!(replies, there[&key], "{key}");
    }
}

/// A node that is started again reads all of it from its log.
#[track_caller]
fn check_replay(pair: &mut Pair) {
    let before = look(&mut pair.host().client());
    let host = &mut pair.group[0];
    host.node.as_mut().expect("it was started").stop();
    host.start_node();
    assert_eq!(look(&mut host.client()), before);
    pair.check_alive();
}

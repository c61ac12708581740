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
use tests::operator::member_names;
use tests::programs;
use tests::wait::wait_until;

use crate::Pair;
use crate::feed::{Feed, now};

const KEYS: usize = 12;

/// Each round has keys of its own: some that stand in it hide all that follows.
fn key(round: usize, number: usize) -> String {
    format!("key:{round}:{number}")
}

/// Changes that no node would make, in batches that every node reads.
struct Author {
    random: Rng,
    origin: Origin,
    at: Timestamp,
    round: usize,
}

impl Author {
    fn new(random: &mut Rng, round: usize) -> Self {
        // Within what clocks may be apart, behind or ahead.
        let at = Timestamp(now().0 - (20_000 << 16) + random.u64(..40_000 << 16));
        Self { origin: Origin(random.u64(1..)), random: random.fork(), at, round }
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
        let number = self.random.usize(..KEYS);
        let key = if self.random.u8(..20) == 0 { String::new() } else { key(self.round, number) };
        let db = if self.random.u8(..4) == 0 { self.random.u8(..16) } else { 0 };
        let replaced = self.random.bool().then(|| self.version());
        // A third of the keys are counters for the most part.
        let is_count = number.is_multiple_of(3) && self.random.u8(..10) > 0;
        let op = if is_count { Op::Count(CellId::STRING, self.contribution()) } else { self.op() };
        Change { replaced, ..Change::new(db, key.into_bytes(), op) }
    }

    /// Little of what hides or removes others, so that much is left to be looked at.
    fn op(&mut self) -> Op<'static> {
        match self.random.u16(..10_000) {
            0 => Op::FlushAll,
            1 => Op::FlushDb,
            2..200 => Op::Reset,
            200..400 => Op::ObservedReset(self.version()),
            400..500 => Op::Mark { reset: self.version(), expiry: self.moment().unwrap_or_default() },
            500..800 => Op::Set(self.bytes().into()),
            800..2_000 => Op::Expire(self.moment()),
            2_000..5_000 => Op::Cell(self.cell(), self.value()),
            _ => Op::Count(self.cell(), self.contribution()),
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
        let sum = match self.random.u8(..4) {
            0 => Sum::Float(self.float()),
            1 => Sum::Decimal(self.choose(&sums)),
            _ => Sum::Int(self.choose(&sums)),
        };
        let contributor =
            self.choose(&[None, None, Some(Origin::NONE), Some(Origin(u64::MAX)), Some(self.origin)]);
        let counted = self.version().timestamp;
        Contribution { first, sum, restates: contributor.map(|origin| Version::new(counted, origin)) }
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
fn look(client: &mut Connection, round: usize) -> BTreeMap<String, Vec<Reply>> {
    let commands =
        ["TYPE", "GET", "STRLEN", "PEXPIRETIME", "EXPIRETIME", "EXISTS", "OBJECT ENCODING", "BITCOUNT"];
    (0..KEYS)
        .map(|number| key(round, number))
        .chain([String::new()])
        .map(|key| {
            let asked: Vec<String> = commands.iter().map(|command| format!("{command} {key}")).collect();
            let replies = send(client, &asked);
            (key, replies)
        })
        .collect()
}

/// Whatever came of them, clients can go on with the keys: commands may fail, the node may not.
fn use_keys(host: &Host, round: usize, random: &mut Rng) {
    let mut client = host.client();
    for number in 0..KEYS {
        let (key, other) = (key(round, number), key(round, random.usize(..KEYS)));
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

/// Adds a member and takes it away again: what is dead stays while a member has not seen it. No member writes behind what
/// it has acknowledged, so tombstones may go once all have; these authors are no members, and do.
fn keep_tombstones(pair: &Pair) {
    let mut absent = Host::new(programs!(), "absent", pair.group.dir());
    absent.peers = vec![pair.host().url()];
    absent.start_node();
    absent.start_agent();
    wait_until("all to know the member that will be away", || {
        absent.feed_info("group-id") == pair.host().feed_info("group-id")
            && pair.group.hosts().iter().all(|host| member_names(host).contains(&"absent".to_owned()))
    });
}

#[test]
fn well_formed_nonsense_leaves_nodes_alive_and_equal() {
    let mut pair = Pair::start();
    keep_tombstones(&pair);
    let mut random = Rng::with_seed(seed());
    let mut strings = 0;
    let rounds = size(30, 300);
    for round in 0..rounds {
        let mut feed = Feed::to(pair.host());
        for _ in 0..10 {
            feed.apply(&Author::new(&mut random, round).batch()).expect("a well-formed batch is taken");
        }
        strings += check_equal(&mut pair, round);
        use_keys([pair.host(), pair.other()][round % 2], round, &mut random);
        check_equal(&mut pair, round);
    }
    assert!(strings > rounds, "there was little to look at: {strings} keys in {rounds} rounds");
    check_replay(&mut pair, rounds);
}

/// Compares what both masters say of the round's keys. Returns how many of them can be read.
#[track_caller]
fn check_equal(pair: &mut Pair, round: usize) -> usize {
    pair.check_alive();
    let (here, there) = (look(&mut pair.host().client(), round), look(&mut pair.other().client(), round));
    for (key, replies) in &here {
        assert_eq!(replies, &there[key], "{key}");
    }
    here.values().filter(|replies| matches!(replies[1], Reply::BulkString(_))).count()
}

/// A node that is started again reads all of it from its log.
#[track_caller]
fn check_replay(pair: &mut Pair, rounds: usize) {
    let look_at_all =
        |host: &Host| -> Vec<_> { (0..rounds).map(|round| look(&mut host.client(), round)).collect() };
    let before = look_at_all(pair.host());
    let host = &mut pair.group[0];
    host.node.as_mut().expect("it was started").stop();
    host.start_node();
    assert_eq!(look_at_all(host), before);
    pair.check_alive();
}

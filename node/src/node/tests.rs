//! Masters in virtual time: whatever they write and in whatever order batches arrive, equal frontiers mean equal
//! data. Drives the production transactions, store and log.

mod commands;

mod counters;

mod forms;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use proptest::prelude::*;
use shared::batch::BatchHeader;

use super::*;
use crate::client::{Address, Client};
use crate::config::{Config, Flags};
use crate::error::CommandError;
use crate::group::{self, Own};
use crate::loading::NodePlace;
use crate::log::Retention;
use crate::log::index::{LogIndex, STRIDE_BYTES};
use crate::log::segment::LogPosition;
use crate::memory::settings::InitialMemory;
use crate::server::{Parts, Server};
use crate::settings::{Fsync, InitialSettings};
use crate::store::ShardSet;
use crate::store::canonical::Canonical;
use crate::store::key::Key;
use crate::transaction::{Clocks, NewTtl, Transaction};
use shared::announcement::Role;
use shared::change::DATABASES;
use shared::clock::HybridClock;
use shared::id::{GroupId, NodeId};
use shared::version::Frontier;

const KEYS: [&[u8]; 3] = [b"k", b"q", b"z"];
const MASTERS: usize = 3;
/// The wall clock at which schedules begin, far from zero so that clocks may be behind.
const EPOCH_MS: u64 = 1_000_000;

fn start_of(origin: Origin) -> Start {
    Start {
        origin,
        clock: HybridClock::new(Timestamp::ZERO, Timestamp::MAX),
        keep_ceiling: None,
        frontier: Frontier::new(),
        end: LogPosition::default(),
        index: LogIndex::new(STRIDE_BYTES),
        retention: Retention::Memory { bytes_max: 64 << 20 },
        max_drift_ms: 5_000,
    }
}

pub(crate) fn memory_node(origin: Origin) -> Node {
    let start = start_of(origin);
    memory_node_of("test", 0, start)
}

/// A member of nothing yet, of a group of which the name is known, that draws its numbers from its own.
pub(crate) fn memory_member(name: &str, number: u64) -> Node {
    let start = start_of(Origin(number));
    memory_node_of(name, number, start)
}

fn memory_node_of(name: &str, number: u64, start: Start) -> Node {
    let own = Own {
        node_id: NodeId(number),
        name: name.to_owned(),
        origin: start.origin,
        role: Role::Active,
        group: Some("group".to_owned()),
        group_id: GroupId::default(),
    };
    let group = group::Group::new(own, None, 1_000_000_000, MonoMillis(0));
    let membership = Membership::new(group, Box::new(|_, _| Ok(())));
    let mut random = numbers(number);
    let belongings =
        Belongings { membership, random: Box::new(move || random.next()), started: MonoMillis(0) };
    Node::new(Store::new(), start, test_settings(), belongings).unwrap()
}

/// Numbers that differ from node to node, and are the same in each run.
struct Numbers(u64);

fn numbers(seed: u64) -> Numbers {
    Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
}

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 ^ self.0 >> 31
    }
}

impl Node {
    /// Merges what lies beyond `held` of a batch, as a start does.
    pub(crate) fn replay(store: &Store, bytes: &[u8], held: Timestamp) {
        let batch = Batch::decode(bytes).unwrap();
        let index = store.origins.intern(batch.header.origin).unwrap();
        merge_shards(store, &batch, held, index, ShardSet::ALL).unwrap();
    }
}

/// Every string that clients see at a moment.
pub(crate) fn visible_strings(node: &Node, at: WallMillis) -> BTreeMap<(u8, Vec<u8>), Vec<u8>> {
    visible(node, at).into_iter().map(|(key, (value, _))| (key, value)).collect()
}

pub(crate) fn test_settings() -> Arc<Settings> {
    Arc::new(Settings::new(InitialSettings {
        role: Role::Active,
        fsync: Fsync::No,
        max_change: 1 << 20,
        max_clients: 10,
        idle_timeout_s: 0,
        tcp_keepalive_s: 0,
        output_bytes_max: 1 << 20,
        notify_keyspace_events: Default::default(),
        slow_log_us: -1,
        slow_log_entries_max: 0,
        latency_monitor_ms: 0,
        log_retention: 0,
        log_retention_age_s: 0,
        snapshot_after: 0,
        snapshot_every_s: 0,
        tombstone_budget: None,
        memory: InitialMemory::default(),
    }))
}

/// What a command does to one key.
#[derive(Clone, Debug)]
enum Write {
    Set(u8),
    SetWithTtl(u8, u64),
    SetKeepTtl(u8),
    Delete,
    Append(u8),
    Increment(i8),
    Expire(u64),
    Persist,
    Reap,
    FlushDb,
    FlushAll,
    /// Moves the string of one key to another, as RENAME does.
    Rename(usize),
}

#[derive(Clone, Debug)]
enum Step {
    /// One transaction: several writes, each of a key and a database.
    Transaction(usize, Vec<(usize, bool, Write)>),
    /// The next batch of one origin reaches a master.
    Deliver { origin: usize, to: usize },
    /// Time passes.
    Pass(u64),
}

struct Master {
    server: Server,
    client: Client,
    skew_ms: i64,
    read: LogPosition,
}

impl Master {
    fn new(node: Node, skew_ms: i64) -> Self {
        let (streams, _) = async_std::channel::bounded(1);
        let server = Server::new(Parts {
            node: NodePlace::of(node),
            config: Config::new(Flags::default()).unwrap(),
            logger: slog::Logger::root(slog::Discard, slog::o!()),
            run_id: String::new(),
            streams,
            started: WallMillis(0),
        });
        let local = SocketAddr::from(([127, 0, 0, 1], 6379));
        let address = Address::Tcp { remote: local, local };
        let client = Client::new(server.clients.connect(address, 0, -1, WallMillis(0)));
        Self { server, client, skew_ms, read: LogPosition::default() }
    }

    fn node(&self) -> &Node {
        &self.server.node
    }
}

struct Group {
    masters: Vec<Master>,
    /// Every origin's batches, in its order.
    logs: Vec<Vec<Vec<u8>>>,
    now_ms: u64,
}

fn origin_of(master: usize) -> Origin {
    Origin(master as u64 + 1)
}

impl Group {
    fn new(skews: &[i64]) -> Self {
        let master = |(index, skew): (usize, &i64)| Master::new(memory_node(origin_of(index)), *skew);
        let masters: Vec<_> = skews.iter().enumerate().map(master).collect();
        Self { logs: vec![Vec::new(); masters.len()], masters, now_ms: EPOCH_MS }
    }

    fn wall(&self, master: usize) -> WallMillis {
        WallMillis(self.now_ms.saturating_add_signed(self.masters[master].skew_ms))
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Transaction(master, writes) => self.write(*master, writes),
            Step::Deliver { origin, to } => self.deliver(*origin, *to),
            Step::Pass(ms) => self.now_ms += ms,
        }
    }

    fn write(&mut self, master: usize, writes: &[(usize, bool, Write)]) {
        let clocks = Clocks { wall: self.wall(master), mono_us: 0 };
        let mut transaction =
            Transaction::begin(self.masters[master].node(), ShardSet::ALL, clocks, true).unwrap();
        for (key, other_db, write) in writes {
            carry_out(&mut transaction, u8::from(*other_db), KEYS[*key], write);
        }
        transaction.commit();
        self.seal(master);
    }

    /// What a master has written goes to its log.
    fn seal(&mut self, master: usize) {
        let Master { server, read, .. } = &mut self.masters[master];
        let (node, own) = (&server.node, origin_of(master));
        node.log.seal(0);
        for sealed in node.log.recent(*read, usize::MAX).unwrap() {
            *read = sealed.end();
            if sealed.header.origin == own {
                self.logs[master].push(sealed.bytes.to_vec());
            }
        }
    }

    fn deliver(&mut self, origin: usize, to: usize) {
        let held = self.masters[to].node().log.held(origin_of(origin));
        let next = self.logs[origin].iter().find(|bytes| BatchHeader::peek(bytes).unwrap().upto > held);
        if let (Some(bytes), true) = (next, origin != to) {
            self.masters[to].node().apply(bytes, None, self.wall(to)).unwrap();
        }
    }

    fn deliver_all(&mut self) {
        for to in 0..self.masters.len() {
            for origin in (0..self.logs.len()).rev() {
                for _ in 0..self.logs[origin].len() {
                    self.deliver(origin, to);
                }
            }
        }
    }
}

fn carry_out<'a>(transaction: &mut Transaction<'a>, db: u8, bytes: &'a [u8], write: &Write) {
    let key = Key::new(db, bytes);
    let now = transaction.now();
    let later = |ms: u64| WallMillis(now.0 + ms);
    match write {
        Write::Set(value) => transaction.set(&key, value.to_string().into_bytes(), NewTtl::Clear),
        Write::SetWithTtl(value, ms) => {
            transaction.set(&key, value.to_string().into_bytes(), NewTtl::At(later(*ms)))
        }
        Write::SetKeepTtl(value) => transaction.set(&key, value.to_string().into_bytes(), NewTtl::Keep),
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
        Write::FlushDb => transaction.flush_db(db),
        Write::FlushAll => transaction.flush_all(),
        Write::Rename(to) => {
            let value = transaction.string(&key).unwrap().map(std::borrow::Cow::into_owned);
            let to = Key::new(db, KEYS[*to]);
            match value {
                Some(value) if to != key => {
                    let ttl = transaction.expiry(&key).map_or(NewTtl::Clear, NewTtl::At);
                    transaction.set(&to, value, ttl).and_then(|()| transaction.delete(&key).map(drop))
                }
                _ => Ok(()),
            }
        }
        Write::Expire(_) | Write::Persist => Ok(()),
    }
    .unwrap();
}

/// By database and key, the value and when it expires.
type Visible = BTreeMap<(u8, Vec<u8>), (Vec<u8>, Option<WallMillis>)>;

/// What clients see at a moment: every key's value and expiry.
fn visible(node: &Node, at: WallMillis) -> Visible {
    let clocks = Clocks { wall: at, mono_us: 0 };
    let transaction = Transaction::begin(node, ShardSet::ALL, clocks, false).unwrap();
    let mut seen = BTreeMap::new();
    for db in 0..DATABASES {
        for bytes in KEYS {
            let key = Key::new(db, bytes);
            if let Some(value) = transaction.string(&key).unwrap() {
                seen.insert((db, bytes.to_vec()), (value.into_owned(), transaction.expiry(&key)));
            }
        }
    }
    seen
}

fn write_strategy() -> impl Strategy<Value = Write> {
    prop_oneof![
        4 => any::<u8>().prop_map(Write::Set),
        2 => (any::<u8>(), 0..15_u64).prop_map(|(value, ms)| Write::SetWithTtl(value, ms)),
        1 => any::<u8>().prop_map(Write::SetKeepTtl),
        4 => Just(Write::Delete),
        2 => any::<u8>().prop_map(Write::Append),
        5 => any::<i8>().prop_map(Write::Increment),
        3 => (0..15_u64).prop_map(Write::Expire),
        1 => Just(Write::Persist),
        4 => Just(Write::Reap),
        1 => Just(Write::FlushDb),
        1 => Just(Write::FlushAll),
        1 => (0..KEYS.len()).prop_map(Write::Rename),
    ]
}

fn step_strategy() -> impl Strategy<Value = Step> {
    let one =
        || (prop_oneof![8 => Just(0), 1 => 1..KEYS.len()], prop::bool::weighted(0.05), write_strategy());
    let writes = prop_oneof![
        4 => one().prop_map(|one| vec![one]),
        1 => prop::collection::vec(one(), 2..5),
    ];
    prop_oneof![
        4 => (0..MASTERS, writes).prop_map(|(master, writes)| Step::Transaction(master, writes)),
        4 => (0..MASTERS, 0..MASTERS).prop_map(|(origin, to)| Step::Deliver { origin, to }),
        2 => (1..6_u64).prop_map(Step::Pass),
    ]
}

/// Merges all logs into a fresh node, in an order drawn from `picks` that keeps each origin's own; some batches come
/// more than once, and behind later ones.
fn replay_in_order(logs: &[Vec<Vec<u8>>], picks: &[usize], wall: WallMillis) -> Canonical {
    let node = memory_node(Origin(99));
    let mut next = vec![0; logs.len()];
    let mut picks = picks.iter().cycle();
    while next.iter().zip(logs).any(|(next, log)| *next < log.len()) {
        let pick = *picks.next().expect("the cycle does not end");
        let origin = (0..logs.len())
            .map(|turn| (pick + turn) % logs.len())
            .find(|origin| next[*origin] < logs[*origin].len())
            .expect("some log has a batch left");
        let bytes = &logs[origin][next[origin]];
        node.apply(bytes, None, wall).unwrap();
        next[origin] += 1;
        if pick.is_multiple_of(2) {
            // Any of them once more, through the merge itself: `apply` would skip a duplicate.
            let again = &logs[origin][pick / 2 % next[origin]];
            Node::replay(&node.store, again, Timestamp::ZERO);
        }
    }
    node.store.canonical()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if std::env::var_os("TANDEM_LONG").is_some() { 200_000 } else { 3_000 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// The masters converge; so do nodes that get all batches in any order that keeps each origin's own, with
    /// repeats; and a master's own, uncoalesced path ends where everybody's does.
    #[test]
    fn any_interleaving_converges(
        skews in prop::collection::vec(-3..=3_i64, MASTERS),
        steps in prop::collection::vec(step_strategy(), 1..60),
        picks in prop::collection::vec(0..1_000_usize, 1..40),
    ) {
        let mut group = Group::new(&skews);
        steps.iter().for_each(|step| group.step(step));
        group.deliver_all();
        let wall = WallMillis(group.now_ms + 10);
        let states: Vec<_> = group.masters.iter().map(|master| master.node().store.canonical()).collect();
        for state in &states[1..] {
            prop_assert_eq!(state, &states[0]);
        }
        prop_assert_eq!(&replay_in_order(&group.logs, &picks, wall), &states[0]);
        for at in [group.now_ms, group.now_ms + 3, group.now_ms + 40] {
            let seen: Vec<_> = group.masters.iter().map(|master| visible(master.node(), WallMillis(at + 10))).collect();
            prop_assert_eq!(&seen[0], &seen[1]);
            prop_assert_eq!(&seen[0], &seen[2]);
        }
    }

    /// With nothing but increments the sum is exact, however they interleave.
    #[test]
    fn increments_add_up(
        adds in prop::collection::vec((0..MASTERS, -100..100_i8), 1..60),
        deliveries in prop::collection::vec((0..MASTERS, 0..MASTERS), 0..60),
    ) {
        let mut group = Group::new(&[0, -3, 3]);
        let mut deliveries = deliveries.into_iter();
        for (master, by) in &adds {
            group.now_ms += 1;
            group.write(*master, &[(0, false, Write::Increment(*by))]);
            if let Some((origin, to)) = deliveries.next() {
                group.deliver(origin, to);
            }
        }
        group.deliver_all();
        let sum: i64 = adds.iter().map(|(_, by)| i64::from(*by)).sum();
        for master in &group.masters {
            let seen = visible(master.node(), WallMillis(group.now_ms + 10));
            prop_assert_eq!(&seen[&(0, KEYS[0].to_vec())].0, &sum.to_string().into_bytes());
        }
    }
}

/// A group of masters without skew on which a test writes by hand.
fn group() -> Group {
    let mut group = Group::new(&[0; MASTERS]);
    group.now_ms += 100;
    group
}

impl Group {
    fn at(&mut self, offset_ms: u64, master: usize, write: Write) {
        self.now_ms = EPOCH_MS + offset_ms;
        self.write(master, &[(0, false, write)]);
    }

    #[track_caller]
    fn check(&mut self, offset_ms: u64, expected: Option<&str>) {
        self.deliver_all();
        for (index, master) in self.masters.iter().enumerate() {
            let seen = visible(master.node(), WallMillis(EPOCH_MS + offset_ms));
            let value = seen
                .get(&(0, KEYS[0].to_vec()))
                .map(|(value, _)| String::from_utf8_lossy(value).into_owned());
            assert_eq!(value.as_deref(), expected, "at master {index}");
        }
    }
}

#[test]
fn the_later_set_wins_everywhere() {
    let mut group = group();
    group.at(10, 0, Write::Set(1));
    group.at(20, 1, Write::Set(2));
    group.check(30, Some("2"));
}

#[test]
fn a_counter_deleted_and_started_again_counts_from_there() {
    let mut group = group();
    group.at(10, 0, Write::Increment(100));
    group.deliver_all();
    group.at(20, 1, Write::Delete);
    group.deliver_all();
    group.at(30, 0, Write::Increment(1));
    group.check(40, Some("1"));
}

/// By its last increment alone the contribution would be newer than the deletion, and all of it would come back.
#[test]
fn an_unaware_increment_does_not_bring_a_deleted_sum_back() {
    let mut group = group();
    group.at(10, 0, Write::Increment(100));
    group.deliver_all();
    group.at(20, 1, Write::Delete);
    group.at(25, 0, Write::Increment(1));
    group.check(40, None);
}

/// The reaper had not seen the refresh: its mark must spare it.
#[test]
fn a_set_that_the_reaper_had_not_seen_survives_expiry() {
    let mut group = group();
    group.at(10, 0, Write::SetWithTtl(1, 40));
    group.deliver_all();
    group.at(45, 1, Write::Set(2));
    group.at(60, 0, Write::Reap);
    group.check(70, Some("2"));
}

/// It was written to the key while that was alive, so it goes with it, although the reaper had not seen it.
#[test]
fn a_late_append_stays_as_expired_as_the_rest() {
    let mut group = group();
    group.at(10, 0, Write::SetWithTtl(1, 40));
    group.deliver_all();
    group.at(45, 1, Write::Append(2));
    group.at(46, 2, Write::Increment(1));
    group.at(60, 0, Write::Reap);
    group.check(70, None);
    group.at(80, 1, Write::Append(3));
    group.check(90, Some("3"));
}

#[test]
fn an_expired_counter_does_not_cling_to_the_next() {
    let mut group = group();
    group.at(10, 0, Write::Increment(5));
    group.at(11, 0, Write::Expire(20));
    group.at(60, 0, Write::Increment(1));
    group.check(200, Some("1"));
}

#[test]
fn a_flush_spares_what_is_newer() {
    let mut group = group();
    group.at(10, 0, Write::Set(1));
    group.at(20, 1, Write::FlushAll);
    group.at(30, 2, Write::Set(3));
    group.check(40, Some("3"));
    group.at(50, 0, Write::FlushAll);
    group.check(60, None);
}

#[test]
fn a_gap_is_refused_and_a_duplicate_skipped() {
    let mut group = group();
    group.at(10, 0, Write::Set(1));
    group.at(20, 0, Write::Set(2));
    let [first, second] = &group.logs[0][..] else { panic!("two batches") };
    let (first, second, wall) = (first.clone(), second.clone(), group.wall(1));
    let node = group.masters[1].node();
    assert!(matches!(node.apply(&second, None, wall), Err(ApplyError::Gap { held: Timestamp::ZERO, .. })));
    assert_eq!(node.apply(&first, None, wall).unwrap().won, 1);
    assert_eq!(node.apply(&first, None, wall).unwrap().won, 0);
    assert_eq!(node.apply(&second, None, wall).unwrap().won, 1);
    assert_eq!(node.merged.batches_duplicate.load(Ordering::Relaxed), 1);
}

#[test]
fn a_change_from_the_far_future_suspends_its_origin() {
    let mut group = group();
    group.masters[0].skew_ms = 60_000;
    group.at(10, 0, Write::Set(1));
    let bytes = group.logs[0][0].clone();
    let refused = group.masters[1].node().apply(&bytes, None, group.wall(1)).unwrap_err();
    assert!(matches!(refused, ApplyError::Suspended { limit_ms: 50_000, .. }), "{refused}");
    assert_eq!(group.masters[1].node().log.held(origin_of(0)), Timestamp::ZERO);
    group.now_ms += 60_000;
    group.check(60_020, Some("1"));
}

//! Nodes that talk to each other directly, in one thread: everything but agents and links is the production code.

use std::borrow::Cow;

use shared::announcement::Announcement;
use shared::batch::BatchHeader;
use shared::time::WallMillis;

use super::*;
use crate::group::{Sender, Standing};
use crate::log::segment::LogPosition;
use crate::node::tests::{memory_member, visible_strings};
use crate::store::key::Key;
use crate::transaction::{NewTtl, Transaction};

const EPOCH_MS: u64 = 1_000_000;

struct Hosts {
    nodes: Vec<Node>,
    now_ms: u64,
}

impl Hosts {
    fn new(names: &[&str]) -> Self {
        let nodes = names.iter().zip(1..).map(|(name, number)| memory_member(name, number)).collect();
        Self { nodes, now_ms: 0 }
    }

    fn clocks(&self) -> Clocks {
        Clocks { wall: WallMillis(EPOCH_MS + self.now_ms), mono_us: self.now_ms * 1_000 }
    }

    fn standing(&self, host: usize) -> Standing {
        self.nodes[host].membership.lock().group.standing()
    }

    fn id(&self, host: usize) -> NodeId {
        self.nodes[host].membership.lock().group.own().node_id
    }

    /// `asker` asks what it has to ask, once. Says whether there was anything.
    fn ask(&self, asker: usize, answerer: usize) -> bool {
        let (from, to) = (&self.nodes[asker], &self.nodes[answerer]);
        let (own, peer) = (self.id(asker), self.id(answerer));
        let clocks = self.clocks();
        let Some(question) = from.conversations.lock().next_question(from, peer, "peer", clocks).question
        else {
            return false;
        };
        let answer = to.conversations.lock().answer(to, own, &question, clocks).unwrap();
        from.conversations.lock().on_answer(from, peer, Ok(&answer), clocks);
        true
    }

    /// Nobody hears of anybody for a while.
    fn pass_apart(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now_ms += 1_000;
            for node in &self.nodes {
                node.maintain(self.clocks());
            }
        }
    }

    /// All of them talk and tell each other everything for a while.
    fn pass_linked(&mut self, seconds: u64) {
        for _ in 0..seconds / 10 {
            self.now_ms += 10_000;
            self.talk(1);
            self.exchange();
        }
    }

    /// All of them talk to each other for a while, and look after themselves.
    fn talk(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            self.now_ms += 100;
            for node in &self.nodes {
                node.maintain(self.clocks());
            }
            for asker in 0..self.nodes.len() {
                for answerer in 0..self.nodes.len() {
                    while asker != answerer && self.ask(asker, answerer) {}
                }
            }
        }
    }

    /// Announcements and batches go from each member to each other one.
    fn exchange(&mut self) {
        for node in &self.nodes {
            node.log.seal(0);
        }
        let announced: Vec<Option<Announcement>> =
            self.nodes.iter().map(|node| node.announce(self.clocks()).announcement).collect();
        for (from, announcement) in announced.iter().enumerate() {
            let Some(announcement) = announcement else { continue };
            for to in (0..self.nodes.len()).filter(|to| *to != from && announced[*to].is_some()) {
                self.stream(from, to);
                self.nodes[to].hear(std::slice::from_ref(announcement), &[], self.clocks());
            }
        }
        self.now_ms += 100;
    }

    fn stream(&self, from: usize, to: usize) {
        let batches = self.nodes[from].log.recent(LogPosition::default(), usize::MAX).unwrap_or_default();
        let sender = Sender { node_id: self.id(from), run: self.nodes[from].log.origin() };
        for sealed in batches {
            let header = BatchHeader::peek(&sealed.bytes).unwrap();
            if header.origin != self.nodes[to].log.origin() {
                // What is closed, or begins beyond what is held, is refused.
                let _ = self.nodes[to].apply(&sealed.bytes, Some(sender), self.clocks().wall);
            }
        }
    }

    fn run<T>(&self, host: usize, act: impl FnOnce(&mut Transaction<'_>, &Key<'_>) -> T, key: &str) -> T {
        let node = &self.nodes[host];
        let bytes = key.as_bytes().to_vec();
        let key = Key::new(0, &bytes);
        let mut transaction =
            Transaction::begin(node, crate::store::ShardSet::of(key.shard()), self.clocks(), true).unwrap();
        let result = act(&mut transaction, &key);
        transaction.commit();
        result
    }

    fn set(&mut self, host: usize, key: &'static str, value: &'static str) {
        self.now_ms += 1;
        let node = &self.nodes[host];
        let key = Key::new(0, key.as_bytes());
        let set = crate::store::ShardSet::of(key.shard());
        let mut transaction = Transaction::begin(node, set, self.clocks(), true).unwrap();
        transaction.set(&key, Cow::Borrowed(value.as_bytes()), NewTtl::Clear).unwrap();
        transaction.commit();
    }

    fn delete(&mut self, host: usize, key: &'static str) {
        self.now_ms += 1;
        let node = &self.nodes[host];
        let key = Key::new(0, key.as_bytes());
        let set = crate::store::ShardSet::of(key.shard());
        let mut transaction = Transaction::begin(node, set, self.clocks(), true).unwrap();
        transaction.delete(&key).unwrap();
        transaction.commit();
    }

    fn increment(&mut self, host: usize, key: &'static str) {
        self.now_ms += 1;
        let node = &self.nodes[host];
        let key = Key::new(0, key.as_bytes());
        let set = crate::store::ShardSet::of(key.shard());
        let mut transaction = Transaction::begin(node, set, self.clocks(), true).unwrap();
        transaction.increment(&key, 1).unwrap();
        transaction.commit();
    }

    fn get(&self, host: usize, key: &str) -> Option<String> {
        self.run(
            host,
            |transaction, key| {
                transaction.string(key).unwrap().map(|value| String::from_utf8_lossy(&value).into_owned())
            },
            key,
        )
    }

    #[track_caller]
    fn check_equal(&self) {
        let first = visible_strings(&self.nodes[0], self.clocks().wall);
        for node in &self.nodes[1..] {
            assert_eq!(visible_strings(node, self.clocks().wall), first);
        }
    }

    fn truncate(&self, host: usize) {
        self.nodes[host].log.seal(0);
        self.nodes[host].log.forget_recent();
    }
}

/// Nothing is dropped that the other never saw, and later writes win.
#[test]
fn two_that_hold_data_before_they_meet_merge_by_version() {
    let mut hosts = Hosts::new(&["a", "b"]);
    hosts.set(0, "only-a", "1");
    hosts.set(0, "both", "older");
    hosts.set(1, "both", "newer");
    hosts.set(1, "only-b", "2");
    hosts.increment(1, "count");
    hosts.set(1, "late", "older");
    hosts.set(0, "late", "newer");
    hosts.talk(5);
    assert_eq!((hosts.standing(0), hosts.standing(1)), (Standing::Member, Standing::Member));
    for _ in 0..3 {
        hosts.exchange();
    }
    for host in 0..2 {
        assert_eq!(hosts.get(host, "only-a").as_deref(), Some("1"));
        assert_eq!(hosts.get(host, "only-b").as_deref(), Some("2"));
        assert_eq!(hosts.get(host, "both").as_deref(), Some("newer"));
        assert_eq!(hosts.get(host, "late").as_deref(), Some("newer"));
        assert_eq!(hosts.get(host, "count").as_deref(), Some("1"));
    }
    hosts.check_equal();
    assert_eq!(hosts.nodes[0].log.frontier(), hosts.nodes[1].log.frontier());
}

/// A group of two lost all that a fresh third had not been told within a minute: that one's floor, and the group's, had
/// risen over what the other had never heard of, so that each took it for deleted by the other.
#[test]
fn what_was_written_long_before_two_groups_meet_survives() {
    let mut hosts = Hosts::new(&["a", "b", "c"]);
    hosts.set(0, "of-a", "1");
    hosts.set(1, "of-b", "2");
    hosts.set(2, "of-c", "3");
    hosts.increment(2, "count");
    hosts.pass_apart(600);
    let third = hosts.nodes.pop().expect("there are three");
    hosts.talk(5);
    for _ in 0..3 {
        hosts.exchange();
    }
    hosts.pass_linked(300);
    hosts.nodes.push(third);
    hosts.pass_apart(1);
    hosts.talk(10);
    for _ in 0..4 {
        hosts.exchange();
    }
    for host in 0..3 {
        assert_eq!(hosts.get(host, "of-a").as_deref(), Some("1"), "{host}");
        assert_eq!(hosts.get(host, "of-b").as_deref(), Some("2"), "{host}");
        assert_eq!(hosts.get(host, "of-c").as_deref(), Some("3"), "{host}");
        assert_eq!(hosts.get(host, "count").as_deref(), Some("1"), "{host}");
    }
    hosts.check_equal();
}

#[test]
fn a_group_grows_one_by_one() {
    let mut hosts = Hosts::new(&["a", "b", "c", "d"]);
    for (host, key) in ["w", "x", "y", "z"].into_iter().enumerate() {
        hosts.set(host, key, "1");
    }
    hosts.talk(10);
    for _ in 0..4 {
        hosts.exchange();
    }
    for host in 0..4 {
        assert_eq!(hosts.standing(host), Standing::Member);
        assert_eq!(hosts.nodes[host].membership.lock().group.size(), 4);
    }
    hosts.check_equal();
}

/// A member whose peers' logs no longer reach back takes the slots that differ, and loses nothing of its own.
#[test]
fn a_member_that_was_away_longer_than_logs_reach_back_reconciles() {
    let mut hosts = Hosts::new(&["a", "b"]);
    hosts.set(0, "deleted", "1");
    hosts.set(0, "kept", "1");
    hosts.talk(5);
    for _ in 0..3 {
        hosts.exchange();
    }
    hosts.set(0, "changed", "2");
    hosts.delete(0, "deleted");
    hosts.set(1, "away", "3");
    hosts.increment(1, "count");
    hosts.truncate(0);
    let (own, peer) = (hosts.nodes[0].log.origin(), hosts.id(0));
    hosts.nodes[1].conversations.lock().on_truncated([(own, peer)]);
    hosts.talk(5);
    assert_eq!(hosts.nodes[1].conversations.lock().counters.reconciles_done, 1);
    for _ in 0..3 {
        hosts.exchange();
    }
    for host in 0..2 {
        assert_eq!(hosts.get(host, "deleted"), None);
        assert_eq!(hosts.get(host, "changed").as_deref(), Some("2"));
        assert_eq!(hosts.get(host, "away").as_deref(), Some("3"));
        assert_eq!(hosts.get(host, "count").as_deref(), Some("1"));
    }
    hosts.check_equal();
}

/// Deleted while a member was away for too long, its tombstones dropped: it must not come back with it.
#[test]
fn what_was_deleted_while_a_member_was_evicted_stays_deleted() {
    let mut hosts = Hosts::new(&["a", "b"]);
    hosts.set(0, "deleted", "1");
    hosts.set(0, "overwritten", "1");
    hosts.talk(5);
    for _ in 0..3 {
        hosts.exchange();
    }
    hosts.nodes[0].membership.lock().group.forget("b").unwrap();
    hosts.delete(0, "deleted");
    hosts.set(1, "overwritten", "by b");
    hosts.set(0, "overwritten", "by a");
    hosts.set(1, "own", "2");
    hosts.nodes[0].maintain(hosts.clocks());
    hosts.nodes[0].maintain(hosts.clocks());
    assert_eq!(dead_bytes(&hosts.nodes[0]), 0, "nobody is left to wait for");
    hosts.talk(40);
    for _ in 0..4 {
        hosts.exchange();
    }
    for host in 0..2 {
        assert_eq!(hosts.standing(host), Standing::Member);
        assert_eq!(hosts.get(host, "deleted"), None);
        assert_eq!(hosts.get(host, "own").as_deref(), Some("2"));
        assert_eq!(hosts.get(host, "overwritten").as_deref(), Some("by a"));
    }
    hosts.check_equal();
}

fn dead_bytes(node: &Node) -> usize {
    crate::store::key::ShardId::all().map(|id| node.store.lock_shard(id).dead_bytes()).sum()
}

#[test]
fn a_flipped_value_is_found_by_a_deep_comparison_and_mended() {
    let mut hosts = Hosts::new(&["a", "b"]);
    hosts.set(0, "k", "value");
    hosts.set(0, "other", "value");
    hosts.talk(5);
    for _ in 0..3 {
        hosts.exchange();
    }
    hosts.nodes[1].store.flip_a_bit(&Key::new(0, b"k"));
    assert_ne!(hosts.get(1, "k").as_deref(), Some("value"));
    let verify = |hosts: &mut Hosts, job: Job| {
        let peer = hosts.id(0);
        hosts.nodes[1].conversations.lock().start_job(peer, job).unwrap();
        hosts.talk(2);
        let conversations = hosts.nodes[1].conversations.lock();
        let job = conversations.job(peer).unwrap();
        assert_eq!(job.outcome(), Some(Ok(())));
        job.found().clone()
    };
    assert_eq!(verify(&mut hosts, Job::verify(false)).keys_differing, 0, "versions are equal");
    let found = verify(&mut hosts, Job::verify(true));
    assert_eq!((found.keys_differing, &found.named[..]), (1, &[(0, b"k".to_vec())][..]));
    assert_eq!(verify(&mut hosts, Job::repair()).slots_repaired, 1);
    assert_eq!(hosts.get(1, "k").as_deref(), Some("value"));
    assert_eq!(verify(&mut hosts, Job::verify(true)).keys_differing, 0);
}

/// A lost cell at each side: at equal frontiers nothing may be dropped, so both get both.
#[test]
fn a_slot_that_differs_at_equal_frontiers_is_an_alarm_and_united() {
    let mut hosts = Hosts::new(&["a", "b"]);
    hosts.set(0, "x", "1");
    hosts.set(0, "y", "2");
    hosts.talk(5);
    for _ in 0..3 {
        hosts.exchange();
    }
    hosts.nodes[0].store.lose(&Key::new(0, b"x"));
    hosts.nodes[1].store.lose(&Key::new(0, b"y"));
    assert_eq!((hosts.get(0, "x"), hosts.get(1, "y")), (None, None));
    hosts.talk(20);
    for host in 0..2 {
        assert_eq!(hosts.get(host, "x").as_deref(), Some("1"));
        assert_eq!(hosts.get(host, "y").as_deref(), Some("2"));
        assert!(hosts.nodes[host].conversations.lock().counters.slots_diverged > 0);
    }
}

/// A member that takes over a page, not batches, finds there what others said of its counter before it went on counting.
#[test]
fn an_owner_adds_what_a_page_lacks_of_its_counter() {
    let mut hosts = Hosts::new(&["owner", "other"]);
    hosts.increment(0, "counter");
    hosts.nodes[0].log.seal(0);
    let batches = hosts.nodes[0].log.recent(LogPosition::default(), usize::MAX).unwrap();
    let other = &hosts.nodes[1];
    for sealed in &batches {
        other.apply(&sealed.bytes, None, hosts.clocks().wall).unwrap();
    }
    hosts.now_ms += 1_000;
    let key = Key::new(0, b"counter");
    let set = crate::store::ShardSet::of(key.shard());
    let mut transaction = Transaction::begin(other, set, hosts.clocks(), true).unwrap();
    transaction.reissue(&key, &shared::version::Frontier::new()).unwrap();
    transaction.commit();
    let slot = key.slot() as u16;
    let question = Question::Values(vec![slot]).encode();
    let answer = other.conversations.lock().answer(other, hosts.id(0), &question, hosts.clocks()).unwrap();
    hosts.increment(0, "counter");
    hosts.increment(0, "counter");

    let owner = &hosts.nodes[0];
    let Answer::States(states) = Answer::decode(&answer).unwrap() else { panic!("it answers otherwise") };
    assert_eq!(comparing::unite(owner, &[slot], &states, false), 1);
    assert_eq!(hosts.get(0, "counter").as_deref(), Some("1"), "what was said again stands");
    owner.maintain(hosts.clocks());
    assert_eq!(hosts.get(0, "counter").as_deref(), Some("3"));
}

#[test]
fn who_takes_nothing_from_a_peer_is_not_compared_with_it() {
    let mut hosts = Hosts::new(&["one", "other"]);
    let roots = |hosts: &Hosts| {
        let other = &hosts.nodes[1];
        let question = Question::Roots.encode();
        let answer =
            other.conversations.lock().answer(other, hosts.id(0), &question, hosts.clocks()).unwrap();
        Answer::decode(&answer).unwrap()
    };
    assert!(hosts.ask(1, 0), "it asks who that is");
    assert!(matches!(roots(&hosts), Answer::Refused(Refusal::NotNow, _)), "and does not know it yet");
    hosts.pass_linked(60);
    assert!(matches!(roots(&hosts), Answer::Roots(_)), "now the one's batches come to the other");
}

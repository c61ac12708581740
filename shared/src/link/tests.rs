//! Pairs of machines in virtual time: what one has to say reaches the other after a while.

use proptest::prelude::*;

use super::message::CHUNK_BYTES_MAX;
use super::*;
use crate::announcement::Role;
use crate::batch::empty_batch;
use crate::id::GroupId;
use crate::version::Frontier;

mod compression;

const DELAY_US: u64 = 1_000;
const START_US: u64 = 1_000_000_000;
const WALL: u64 = 1_700_000_000_000;

fn local(name: &str, node_id: u64) -> Local {
    Local {
        group: "tandem".into(),
        group_id: GroupId(7),
        joining: false,
        member: Member {
            name: name.into(),
            node_id: NodeId(node_id),
            origin: Origin(0x100 + node_id),
            role: Role::Active,
        },
        start_time: WallMillis(WALL),
        frontier: Frontier::new(),
        clock: Timestamp::of_wall(WallMillis(WALL)),
        dialled: node_id == 1,
        clock_drift_ms_max: 5_000,
        reads: Codecs::NONE,
        codec: None,
    }
}

fn batch(origin: u64, after: u64, upto: u64) -> Vec<u8> {
    empty_batch(Origin(origin), Timestamp(after), Timestamp(upto))
}

/// One side: its machine, what it was told to do, and what is on its way to it.
struct Side {
    link: Link,
    actions: Vec<Action>,
    inbound: VecDeque<(u64, Vec<u8>)>,
    clock_ahead_ms: i64,
    /// The node takes batches, and answers at once with the end of each.
    applies: bool,
    applied: Vec<(Origin, Timestamp)>,
}

impl Side {
    fn new(local: Local, now: Now) -> Self {
        Self {
            link: Link::new(local, now),
            actions: Vec::new(),
            inbound: VecDeque::new(),
            clock_ahead_ms: 0,
            applies: true,
            applied: Vec::new(),
        }
    }

    fn now(&self, mono_us: u64) -> Now {
        let wall = WALL + (mono_us - START_US) / 1_000;
        Now { mono_us, wall: WallMillis(wall.saturating_add_signed(self.clock_ahead_ms)) }
    }

    fn handle(&mut self, input: Input<'_>, mono_us: u64) {
        let now = self.now(mono_us);
        self.link.handle(input, now);
        while let Some(action) = self.link.poll_action() {
            match &action {
                Action::Greeted(_) => self.link.handle(Input::Admitted, now),
                Action::Follow(_) => self.link.handle(Input::Following, now),
                Action::Apply { serial, header, .. } if self.applies => {
                    self.applied.push((header.origin, header.upto));
                    let applied = Applied { origin: header.origin, serial: *serial, result: Ok(header.upto) };
                    self.link.handle(Input::Applied(applied), now);
                }
                _ => {}
            }
            self.actions.push(action);
        }
    }

    fn goodbye(&self) -> Option<(&Goodbye, bool)> {
        self.actions.iter().find_map(|action| match action {
            Action::Close { goodbye, by_peer } => Some((goodbye, *by_peer)),
            _ => None,
        })
    }

    fn heard(&self) -> Frontier {
        let mut heard = Frontier::new();
        for action in &self.actions {
            if let Action::Heard(holding) = action {
                heard.merge(&holding.frontier);
            }
        }
        heard
    }
}

struct Pair {
    a: Side,
    b: Side,
    mono_us: u64,
    /// Nothing arrives any more.
    is_cut: bool,
}

impl Pair {
    fn new() -> Self {
        Self::of(local("a", 1), local("b", 2))
    }

    fn of(a: Local, b: Local) -> Self {
        let now = Now { mono_us: START_US, wall: WallMillis(WALL) };
        Self { a: Side::new(a, now), b: Side::new(b, now), mono_us: START_US, is_cut: false }
    }

    fn up() -> Self {
        let mut pair = Self::new();
        pair.run_ms(10);
        assert!(pair.a.link.is_up() && pair.b.link.is_up());
        pair
    }

    fn a(&mut self, input: Input<'_>) {
        self.a.handle(input, self.mono_us);
    }

    fn b(&mut self, input: Input<'_>) {
        self.b.handle(input, self.mono_us);
    }

    /// A batch from a's node to b.
    fn stream(&mut self, bytes: &[u8]) {
        self.transmit();
        for chunk in Chunk::cut(bytes) {
            self.b.inbound.push_back((self.mono_us + DELAY_US, chunk.encode()));
        }
    }

    fn transmit(&mut self) {
        let at = self.mono_us + DELAY_US;
        let (a_now, b_now) = (self.a.now(self.mono_us), self.b.now(self.mono_us));
        while let Some(message) = self.a.link.poll_message(a_now).or_else(|| self.a.link.poll_talk()) {
            self.b.inbound.push_back((at, message));
        }
        while let Some(message) = self.b.link.poll_message(b_now).or_else(|| self.b.link.poll_talk()) {
            self.a.inbound.push_back((at, message));
        }
    }

    fn deliver(side: &mut Side, mono_us: u64) {
        while let Some((_, message)) = side.inbound.pop_front_if(|(at, _)| *at <= mono_us) {
            if side.link.reads() {
                side.handle(Input::Message(&message), mono_us);
            }
        }
    }

    fn run_ms(&mut self, duration_ms: u64) {
        let end = self.mono_us + duration_ms * 1_000;
        while self.mono_us < end {
            self.transmit();
            self.mono_us += 500;
            if self.is_cut {
                self.a.inbound.clear();
                self.b.inbound.clear();
            }
            Self::deliver(&mut self.a, self.mono_us);
            Self::deliver(&mut self.b, self.mono_us);
            for side in [&mut self.a, &mut self.b] {
                if side.link.deadline().is_some_and(|at| at.0 * 1_000 <= self.mono_us) {
                    side.handle(Input::Tick, self.mono_us);
                }
            }
        }
    }
}

#[test]
fn two_agents_greet_and_stay() {
    let mut pair = Pair::up();
    pair.run_ms(60_000);
    assert!(pair.a.link.is_up() && pair.b.link.is_up());
    assert_eq!(pair.a.link.peer().unwrap().name, "b");
    let measured = pair.a.actions.iter().filter_map(|action| match action {
        Action::Measured(round_trip_us, reading) => Some((*round_trip_us, reading.offset_ms())),
        _ => None,
    });
    assert!(measured.clone().count() >= 59);
    assert!(measured.into_iter().all(|(us, offset)| (2_000..4_000).contains(&us) && offset.abs() <= 2));
}

#[test]
fn subscribed_batches_are_applied_and_acknowledged() {
    let mut pair = Pair::up();
    pair.b(Input::Subscribe(Origin(0x101), Timestamp(5)));
    pair.run_ms(10);
    assert!(pair.a.actions.contains(&Action::PeerSubscribed(Origin(0x101), Timestamp(5))));
    let list = vec![(Origin(0x101), FollowFrom::After(Timestamp(5)))];
    assert!(pair.a.actions.contains(&Action::Follow(list)));
    pair.stream(&batch(0x101, 5, 8));
    pair.stream(&batch(0x101, 8, 9));
    pair.run_ms(100);
    assert_eq!(pair.b.applied, [(Origin(0x101), Timestamp(8)), (Origin(0x101), Timestamp(9))]);
    assert_eq!(pair.a.heard().get(Origin(0x101)), Timestamp(9));
}

#[test]
fn what_was_not_asked_for_is_passed_over() {
    let mut pair = Pair::up();
    let bytes = batch(0x101, 0, 8);
    pair.stream(&bytes);
    pair.run_ms(10);
    assert!(pair.b.applied.is_empty());
    assert!(pair.b.actions.contains(&Action::PassedOver(bytes.len())));
}

#[test]
fn batches_of_a_subscription_before_are_passed_over() {
    let mut pair = Pair::up();
    pair.b(Input::Subscribe(Origin(0x101), Timestamp(0)));
    pair.run_ms(10);
    pair.stream(&batch(0x101, 0, 8));
    pair.run_ms(10);
    // It goes back to 3, and a, which does not know yet, goes on from 8.
    pair.b(Input::Unsubscribe(Origin(0x101)));
    pair.b(Input::Subscribe(Origin(0x101), Timestamp(3)));
    pair.transmit();
    pair.stream(&batch(0x101, 8, 9));
    pair.run_ms(10);
    pair.stream(&batch(0x101, 0, 8));
    pair.run_ms(10);
    assert_eq!(pair.b.applied, [(Origin(0x101), Timestamp(8)), (Origin(0x101), Timestamp(8))]);
    assert!(pair.b.goodbye().is_none());
    // Stopped and begun before it was said: to the peer it begins again.
    let lists: Vec<_> = pair.a.actions.iter().filter(|action| matches!(action, Action::Follow(_))).collect();
    assert_eq!(*lists[1], Action::Follow(vec![(Origin(0x101), FollowFrom::After(Timestamp(3)))]));
}

#[test]
fn other_origins_go_on_when_one_is_added() {
    let mut pair = Pair::up();
    pair.b(Input::Subscribe(Origin(1), Timestamp(0)));
    pair.run_ms(10);
    pair.b(Input::Subscribe(Origin(2), Timestamp(7)));
    pair.run_ms(10);
    let list = vec![(Origin(1), FollowFrom::Onward), (Origin(2), FollowFrom::After(Timestamp(7)))];
    assert!(pair.a.actions.contains(&Action::Follow(list)));
    pair.b(Input::Unsubscribe(Origin(1)));
    pair.b(Input::Unsubscribe(Origin(2)));
    pair.run_ms(10);
    assert!(pair.a.actions.contains(&Action::Follow(Vec::new())));
    assert!(pair.b.actions.contains(&Action::Drained(Origin(1))));
}

#[test]
fn an_origin_has_drained_when_nothing_of_it_is_applied_any_more() {
    let mut pair = Pair::up();
    pair.b.applies = false;
    pair.b(Input::Subscribe(Origin(1), Timestamp(0)));
    pair.run_ms(10);
    pair.stream(&batch(1, 0, 8));
    pair.run_ms(10);
    pair.b(Input::Unsubscribe(Origin(1)));
    assert!(!pair.b.actions.contains(&Action::Drained(Origin(1))));
    pair.b(Input::Applied(Applied { origin: Origin(1), serial: 1, result: Ok(Timestamp(8)) }));
    assert!(pair.b.actions.contains(&Action::Drained(Origin(1))));
}

#[test]
fn a_long_batch_is_put_together() {
    let mut pair = Pair::up();
    pair.b.applies = false;
    pair.b(Input::Subscribe(Origin(1), Timestamp(0)));
    pair.run_ms(10);
    let long = long_batch();
    pair.stream(&long);
    pair.run_ms(10);
    let assembled = pair.b.actions.iter().any(|action| {
        matches!(action, Action::Apply { bytes: BatchBytes::Assembled(bytes), .. } if *bytes == long)
    });
    assert!(assembled);
}

fn long_batch() -> Vec<u8> {
    use crate::batch::BatchBuilder;
    use crate::change::{Change, Op};
    let mut builder = BatchBuilder::new(Origin(1), Timestamp(0));
    builder.append(Timestamp(9), [&Change::new(0, &b"k"[..], Op::Set(vec![7; 2 * CHUNK_BYTES_MAX].into()))]);
    builder.seal(<[u8]>::to_vec).1
}

#[test]
fn chunks_out_of_order_end_the_link() {
    for flags in [(false, true), (false, false)] {
        let mut pair = Pair::up();
        let chunk = Chunk { first: flags.0, last: flags.1, bytes: b"x" };
        pair.b(Input::Message(&chunk.encode()));
        assert_eq!(pair.b.goodbye().unwrap().0.reason, Reason::Malformed);
    }
}

#[test]
fn a_gap_is_pulled_again_from_what_is_held() {
    let mut pair = Pair::up();
    pair.b.applies = false;
    pair.b(Input::Subscribe(Origin(1), Timestamp(0)));
    pair.run_ms(10);
    pair.stream(&batch(1, 0, 8));
    pair.stream(&batch(1, 8, 9));
    pair.run_ms(10);
    let gap = |serial| Applied { origin: Origin(1), serial, result: Err(ApplyRefusal::Gap) };
    pair.b(Input::Applied(gap(1)));
    let refused = Action::Refused(Origin(1), PullRefusal::Gap);
    assert!(pair.b.actions.contains(&refused));
    pair.b(Input::Subscribe(Origin(1), Timestamp(0)));
    pair.b(Input::Applied(gap(1)));
    assert_eq!(
        pair.b.actions.iter().filter(|action| **action == refused).count(),
        1,
        "one of a subscription before"
    );
    pair.b.applies = true;
    pair.run_ms(10);
    pair.stream(&batch(1, 0, 8));
    pair.run_ms(10);
    assert_eq!(pair.b.applied, [(Origin(1), Timestamp(8))]);
}

#[test]
fn a_gap_within_the_stream_is_noticed() {
    let mut pair = Pair::up();
    pair.b(Input::Subscribe(Origin(1), Timestamp(0)));
    pair.run_ms(10);
    pair.stream(&batch(1, 3, 8));
    pair.run_ms(10);
    assert!(pair.b.applied.is_empty());
    assert!(pair.b.actions.contains(&Action::Refused(Origin(1), PullRefusal::Gap)));
}

#[test]
fn a_truncated_log_concerns_its_origin_alone() {
    let mut pair = Pair::up();
    pair.b(Input::Subscribe(Origin(1), Timestamp(0)));
    pair.b(Input::Subscribe(Origin(2), Timestamp(0)));
    // The node of a is asked by hand.
    let change = Subscribe {
        serial: 2,
        start: [(Origin(1), Timestamp(0)), (Origin(2), Timestamp(0))].into(),
        stop: vec![],
    };
    assert_eq!(pair.b.link.poll_message(Now::default()), Some(Message::Subscribe(change.clone()).encode()));
    let now = pair.a.now(pair.mono_us);
    pair.a.link.handle(Input::Message(&Message::Subscribe(change).encode()), now);
    pair.a(Input::FollowTruncated([(Origin(1), Timestamp(77))].into()));
    let rest = vec![(Origin(2), FollowFrom::After(Timestamp(0)))];
    assert!(pair.a.actions.contains(&Action::Follow(rest)));
    assert!(pair.a.actions.contains(&Action::PeerTruncated([(Origin(1), Timestamp(77))].into())));
    pair.run_ms(10);
    assert!(pair.b.actions.contains(&Action::Refused(Origin(1), PullRefusal::Truncated(Timestamp(77)))));
    pair.stream(&batch(2, 0, 8));
    pair.run_ms(10);
    assert_eq!(pair.b.applied, [(Origin(2), Timestamp(8))]);
}

#[test]
fn a_waiting_client_hears_as_soon_as_all_is_applied() {
    let mut pair = Pair::up();
    pair.b.applies = false;
    pair.b(Input::Subscribe(Origin(1), Timestamp(0)));
    pair.run_ms(10);
    pair.stream(&batch(1, 0, 8));
    pair.a(Input::Waiting);
    pair.run_ms(10);
    let prompt = |side: &Side| {
        side.actions
            .iter()
            .filter(|action| matches!(action, Action::Heard(holding) if holding.prompt))
            .count()
    };
    assert_eq!(prompt(&pair.a), 0, "not before it is applied");
    pair.b(Input::Applied(Applied { origin: Origin(1), serial: 1, result: Ok(Timestamp(8)) }));
    pair.run_ms(3);
    assert_eq!(prompt(&pair.a), 1);
    assert_eq!(pair.a.heard().get(Origin(1)), Timestamp(8));
    // With nothing new, and under way for long: each is answered.
    pair.a(Input::Waiting);
    pair.run_ms(3);
    assert_eq!(prompt(&pair.a), 2);
}

#[test]
fn frontiers_are_said_at_intervals() {
    let mut pair = Pair::up();
    pair.a.actions.clear();
    for upto in 1..=1_000 {
        let held: Frontier = [(Origin(2), Timestamp(upto))].into_iter().collect();
        pair.b(Input::Held(&held, Timestamp(upto)));
        pair.run_ms(1);
    }
    pair.run_ms(100);
    let heard = pair.a.actions.iter().filter(|action| matches!(action, Action::Heard(_))).count();
    assert!((19..=22).contains(&heard), "{heard} in a second");
    assert_eq!(pair.a.heard().get(Origin(2)), Timestamp(1_000));
}

fn announcement(node_id: u64, sequence: u64) -> Announcement {
    Announcement {
        member: local("c", node_id).member,
        sequence,
        frontier: Frontier::new(),
        clock: Timestamp(0),
        members: Vec::new(),
        evictions: Vec::new(),
        memory_limit: 0,
        joining: false,
        runs: Vec::new(),
    }
}

#[test]
fn only_the_newest_announcement_of_a_member_is_told() {
    let mut pair = Pair::up();
    for sequence in [3, 5, 4] {
        pair.a(Input::Announce(Arc::new(announcement(3, sequence))));
    }
    pair.run_ms(10);
    let told = pair.b.actions.iter().filter_map(|action| match action {
        Action::Announced(announcement) => Some(announcement.sequence),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [5]);
}

#[test]
fn a_silent_peer_is_left() {
    let mut pair = Pair::up();
    pair.is_cut = true;
    pair.run_ms(6_000);
    for side in [&pair.a, &pair.b] {
        assert_eq!(side.goodbye().unwrap().0.reason, Reason::Silent);
        assert_eq!(side.link.deadline(), None);
    }
}

/// A WebSocket's ping is an easy way to look alive: connections that never greeted were held by them for good.
#[test]
fn a_peer_without_a_hello_is_left_whatever_else_it_sends() {
    let mut pair = Pair::new();
    pair.is_cut = true;
    for _ in 0..6 {
        pair.run_ms(1_000);
        pair.b(Input::Alive);
    }
    assert_eq!(pair.b.goodbye().unwrap().0.reason, Reason::Silent);
}

#[test]
fn silence_means_nothing_while_nobody_listens() {
    let mut pair = Pair::up();
    pair.is_cut = true;
    pair.b(Input::Reading(false));
    pair.run_ms(20_000);
    assert!(pair.a.goodbye().is_some() && pair.b.goodbye().is_none());
    pair.b(Input::Reading(true));
    pair.run_ms(4_900);
    assert!(pair.b.goodbye().is_none());
    pair.b(Input::Alive);
    pair.run_ms(4_900);
    assert!(pair.b.goodbye().is_none());
    pair.run_ms(200);
    assert!(pair.b.goodbye().is_some());
}

#[track_caller]
fn check_refused(a: Local, b: Local, reason: Reason, parts: &[&str]) {
    let mut pair = Pair::of(a, b);
    pair.run_ms(10);
    for side in [&pair.a, &pair.b] {
        let (goodbye, _) = side.goodbye().expect("both sides know");
        assert_eq!(goodbye.reason, reason);
        assert!(parts.iter().all(|part| goodbye.text.contains(part)), "{}", goodbye.text);
    }
}

#[test]
fn both_sides_refuse_what_does_not_belong_together() {
    let other_group = Local { group: "other".into(), ..local("b", 2) };
    check_refused(
        local("a", 1),
        other_group,
        Reason::WrongGroup,
        &["\"tandem\"", "\"other\"", "\"a\"", "\"b\""],
    );
    let nodes = ["0000000000000001", "0000000000000002", "--name"];
    check_refused(local("a", 1), local("a", 2), Reason::NameTaken, &nodes);
    check_refused(local("a", 1), local("b", 1), Reason::NodeIdTaken, &["\"a\"", "\"b\""]);
}

/// Two that are up and converse, but do not stream.
#[track_caller]
fn check_unrelated(a: Local, b: Local) {
    let mut pair = Pair::of(a, b);
    pair.run_ms(10);
    assert!(pair.a.link.is_up() && pair.b.link.is_up());
    assert!(!pair.a.link.is_related() && !pair.b.link.is_related());
    let held: Frontier = [(Origin(2), Timestamp(5))].into_iter().collect();
    pair.a(Input::Held(&held, Timestamp(5)));
    pair.a(Input::Announce(Arc::new(announcement(3, 1))));
    pair.a(Input::Waiting);
    pair.a(Input::Ask(b"who are you".to_vec()));
    pair.run_ms(10_000);
    assert!(pair.b.actions.contains(&Action::Asked(b"who are you".to_vec())));
    let is_told = |action: &Action| matches!(action, Action::Heard(_) | Action::Announced(_));
    assert!(!pair.b.actions.iter().any(is_told));
    assert!(pair.a.link.is_up() && pair.b.link.is_up());
    let change = Subscribe { serial: 1, start: [(Origin(1), Timestamp(0))].into(), stop: vec![] };
    pair.a(Input::Message(&Message::Subscribe(change).encode()));
    assert_eq!(pair.a.goodbye().unwrap().0.reason, Reason::Malformed);
    pair.b(Input::Message(&Chunk { first: true, last: true, bytes: &batch(1, 0, 1) }.encode()));
    assert_eq!(pair.b.goodbye().unwrap().0.reason, Reason::Malformed);
}

#[test]
fn those_that_are_not_of_one_group_yet_only_converse() {
    let of = |name, node_id, group_id, joining| Local {
        group_id: GroupId(group_id),
        joining,
        ..local(name, node_id)
    };
    check_unrelated(of("a", 1, 7, false), of("b", 2, 0, false));
    check_unrelated(of("a", 1, 7, false), of("b", 2, 8, false));
    check_unrelated(of("a", 1, 7, false), of("b", 2, 7, true));
    check_unrelated(of("a", 1, 7, true), of("b", 2, 7, true));
    let mut pair = Pair::of(of("a", 1, 7, false), of("b", 2, 7, false));
    pair.run_ms(10);
    assert!(pair.a.link.is_related() && pair.b.link.is_related());
}

#[test]
fn a_question_is_answered() {
    let mut pair = Pair::up();
    for (question, answer) in [
        (b"short".to_vec(), Ok(b"answer".to_vec())),
        (Vec::new(), Ok(Vec::new())),
        (vec![7; 3 << 20], Ok(vec![8; (2 << 20) + 1])),
        (b"what".to_vec(), Err("ERR no".to_owned())),
    ] {
        pair.b.actions.clear();
        pair.a.actions.clear();
        pair.b(Input::Ask(question.clone()));
        pair.run_ms(10);
        assert!(pair.a.actions.contains(&Action::Asked(question)));
        pair.a(Input::Answer(answer.clone()));
        pair.run_ms(10);
        assert!(pair.b.actions.contains(&Action::Answered(answer)));
    }
}

#[test]
fn both_ask_at_once() {
    let mut pair = Pair::up();
    pair.a(Input::Ask(vec![1; 1 << 20]));
    pair.b(Input::Ask(vec![2; 1 << 20]));
    pair.run_ms(10);
    pair.a(Input::Answer(Ok(vec![3; 1 << 20])));
    pair.b(Input::Answer(Ok(vec![4; 1 << 20])));
    pair.run_ms(10);
    assert!(pair.a.actions.contains(&Action::Answered(Ok(vec![4; 1 << 20]))));
    assert!(pair.b.actions.contains(&Action::Answered(Ok(vec![3; 1 << 20]))));
}

#[test]
fn parts_are_short_and_other_messages_go_between_them() {
    let mut pair = Pair::up();
    pair.a(Input::Ask(vec![1; 1 << 20]));
    let now = pair.a.now(pair.mono_us);
    assert!(pair.a.link.poll_message(now).is_none());
    let parts: Vec<_> = std::iter::from_fn(|| pair.a.link.poll_talk()).collect();
    assert_eq!(parts.len(), (1 << 20) / message::TALK_PART_BYTES);
    for part in &parts {
        pair.b(Input::Message(part));
        pair.b(Input::Message(&Message::Ping { id: 1 }.encode()));
    }
    assert!(pair.b.actions.contains(&Action::Asked(vec![1; 1 << 20])));
    assert!(pair.b.goodbye().is_none());
}

#[test]
fn what_is_too_long_is_not_asked_and_not_answered() {
    let mut pair = Pair::up();
    pair.b(Input::Ask(vec![1; TALK_BYTES_MAX + 1]));
    assert!(matches!(pair.b.actions.last(), Some(Action::Answered(Err(text))) if text.contains("limit")));
    pair.b(Input::Ask(vec![1]));
    pair.run_ms(10);
    pair.a(Input::Answer(Ok(vec![1; TALK_BYTES_MAX + 1])));
    pair.run_ms(10);
    assert!(matches!(pair.b.actions.last(), Some(Action::Answered(Err(text))) if text.contains("limit")));
}

#[track_caller]
fn check_malformed(messages: &[Message<'_>]) {
    let mut pair = Pair::up();
    pair.b(Input::Ask(vec![1]));
    for message in messages {
        assert!(pair.b.goodbye().is_none());
        pair.b(Input::Message(&message.encode()));
    }
    assert_eq!(pair.b.goodbye().unwrap().0.reason, Reason::Malformed);
}

#[test]
fn who_talks_out_of_turn_is_left() {
    let part = |serial, last| Part { serial, last, bytes: b"x" };
    check_malformed(&[Message::Ask(part(1, true)), Message::Ask(part(2, true))]);
    check_malformed(&[Message::Ask(part(1, false)), Message::Ask(part(2, true))]);
    check_malformed(&[Message::Ask(part(0, true))]);
    // This side's question has not been said yet, and no other was.
    check_malformed(&[Message::Answer(part(1, true))]);
    check_malformed(&[Message::Answer(part(2, true))]);
    check_malformed(&[Message::NoAnswer { serial: 1, text: String::new() }]);
}

/// Stopped for a while, a process finds old messages in its socket, which tell nothing of the peer as it is now.
#[test]
fn what_comes_after_silence_is_not_taken() {
    let mut pair = Pair::up();
    pair.b(Input::Subscribe(Origin(1), Timestamp(0)));
    pair.run_ms(10);
    pair.mono_us += 5_100_000;
    pair.b(Input::Message(&Chunk { first: true, last: true, bytes: &batch(1, 0, 8) }.encode()));
    assert_eq!(pair.b.goodbye().unwrap().0.reason, Reason::Silent);
    assert!(pair.b.applied.is_empty());
    // Unless it was this side that did not listen.
    pair.a(Input::Reading(false));
    pair.mono_us += 60_000_000;
    pair.a(Input::Reading(true));
    pair.a(Input::Message(&Message::Ping { id: 1 }.encode()));
    assert!(pair.a.goodbye().is_none());
}

#[test]
fn clocks_far_apart_are_refused_with_both_named() {
    for ahead_ms in [20_000, -20_000] {
        let mut pair = Pair::new();
        pair.b.clock_ahead_ms = ahead_ms;
        pair.run_ms(10);
        for side in [&pair.a, &pair.b] {
            let (goodbye, _) = side.goodbye().expect("both sides know");
            assert_eq!(goodbye.reason, Reason::ClockDrift);
            let named = [
                "\"a\" (node 0000000000000001) reads 2023-11-14T22:13",
                "\"b\" (node 0000000000000002) reads 2023-11-14T22:1",
            ];
            assert!(named.iter().all(|part| goodbye.text.contains(part)), "{}", goodbye.text);
        }
    }
}

#[test]
fn clocks_that_drift_are_warned_of_and_then_refused() {
    let mut pair = Pair::up();
    pair.b.clock_ahead_ms = 1_500;
    pair.run_ms(5_000);
    for side in [&pair.a, &pair.b] {
        let warnings = side.actions.iter().filter(|action| matches!(action, Action::ClockWarning(_))).count();
        assert_eq!(warnings, 1);
    }
    assert!(pair.a.link.is_up());
    pair.b.clock_ahead_ms = 6_000;
    pair.run_ms(3_000);
    for side in [&pair.a, &pair.b] {
        assert_eq!(side.goodbye().unwrap().0.reason, Reason::ClockDrift);
    }
}

#[test]
fn a_damaged_batch_ends_the_link() {
    let mut pair = Pair::up();
    pair.b.applies = false;
    pair.b(Input::Subscribe(Origin(1), Timestamp(0)));
    pair.run_ms(10);
    pair.stream(&batch(1, 0, 8));
    pair.run_ms(10);
    let result = Err(ApplyRefusal::Bad("checksum".into()));
    pair.b(Input::Applied(Applied { origin: Origin(1), serial: 1, result }));
    pair.run_ms(10);
    let (goodbye, by_peer) = pair.a.goodbye().unwrap();
    assert_eq!((goodbye.reason, by_peer), (Reason::BadBatch, true));
    assert!(goodbye.text.contains("\"a\"") && goodbye.text.contains(&Origin(1).to_string()));
}

#[test]
fn another_version_is_named() {
    let mut pair = Pair::new();
    pair.a(Input::Message(&[0x92, 0, 9]));
    let (goodbye, _) = pair.a.goodbye().unwrap();
    assert_eq!(goodbye.reason, Reason::Version);
    assert!(goodbye.text.contains("version 9") && goodbye.text.contains("version 5"), "{}", goodbye.text);
}

#[test]
fn only_a_hello_comes_first() {
    let mut pair = Pair::new();
    pair.a(Input::Message(&Message::AckNow.encode()));
    assert_eq!(pair.a.goodbye().unwrap().0.reason, Reason::Malformed);
}

#[test]
fn the_smaller_node_id_decides_which_link_stays() {
    assert!(dialled_link_stays(NodeId(1), NodeId(2)));
    assert!(!dialled_link_stays(NodeId(2), NodeId(1)));
}

proptest! {
    #[test]
    fn a_peer_that_says_anything_does_no_harm(
        messages in proptest::collection::vec((0..15u8, proptest::collection::vec(any::<u8>(), 0..40)), 0..40)
    ) {
        let mut pair = Pair::up();
        pair.b(Input::Subscribe(Origin(1), Timestamp(0)));
        for (kind, rest) in messages {
            let bytes = [&[0x90 + (rest.len() % 5) as u8, kind][..], &rest].concat();
            pair.b(Input::Message(&bytes));
            let now = pair.b.now(pair.mono_us);
            while pair.b.link.poll_message(now).is_some() {}
            let _ = pair.b.link.poll_talk();
        }
    }
}

/// One step of two nodes' talk, at one of the two.
#[derive(Clone, Debug)]
enum Talking {
    Ask(bool, usize),
    Answer(bool, Option<usize>),
    Stream,
    Pass(u64),
}

fn any_talking() -> impl Strategy<Value = Talking> {
    let length = prop_oneof![0..10usize, 60_000..70_000usize, 0..400_000usize];
    let answer = proptest::option::of(length.clone());
    prop_oneof![
        (any::<bool>(), length).prop_map(|(at_a, length)| Talking::Ask(at_a, length)),
        (any::<bool>(), answer).prop_map(|(at_a, length)| Talking::Answer(at_a, length)),
        Just(Talking::Stream),
        (0..5u64).prop_map(Talking::Pass),
    ]
}

/// What a side was asked and has not answered, and how it answered before.
#[derive(Debug, Default)]
struct Asked {
    seen: usize,
    asks: usize,
    answers: Vec<Answered>,
}

type Answered = Result<Vec<u8>, String>;

fn answers_of(side: &Side) -> Vec<Answered> {
    let answers = side.actions.iter().filter_map(|action| match action {
        Action::Answered(answer) => Some(answer.clone()),
        _ => None,
    });
    answers.collect()
}

fn count_asked(side: &Side) -> usize {
    side.actions.iter().filter(|action| matches!(action, Action::Asked(_))).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is asked and streamed meanwhile: every question has its answer, in order, and every batch arrives.
    #[test]
    fn questions_and_batches_do_not_disturb_each_other(steps in proptest::collection::vec(any_talking(), 0..60)) {
        let mut pair = Pair::up();
        pair.b(Input::Subscribe(Origin(1), Timestamp(0)));
        pair.run_ms(10);
        let (mut at_a, mut at_b, mut streamed) = (Asked::default(), Asked::default(), 0);
        for step in steps {
            match step {
                // A side asks again only when it was answered.
                Talking::Ask(true, length) if at_b.asks == answers_of(&pair.a).len() => {
                    at_b.asks += 1;
                    pair.a(Input::Ask(vec![1; length]));
                }
                Talking::Ask(false, length) if at_a.asks == answers_of(&pair.b).len() => {
                    at_a.asks += 1;
                    pair.b(Input::Ask(vec![2; length]));
                }
                Talking::Answer(is_at_a, length) => {
                    let answer = length.map(|length| vec![3; length]).ok_or_else(|| "no".to_owned());
                    let (asked, side) = if is_at_a { (&mut at_a, &mut pair.a) } else { (&mut at_b, &mut pair.b) };
                    if asked.seen < count_asked(side) {
                        asked.seen += 1;
                        asked.answers.push(answer.clone());
                        side.handle(Input::Answer(answer), pair.mono_us);
                    }
                }
                Talking::Stream => {
                    pair.stream(&batch(1, streamed, streamed + 1));
                    streamed += 1;
                }
                Talking::Pass(ms) => pair.run_ms(ms),
                Talking::Ask(..) => {}
            }
        }
        pair.run_ms(20);
        prop_assert!(pair.a.goodbye().is_none() && pair.b.goodbye().is_none());
        prop_assert_eq!(answers_of(&pair.a), at_b.answers);
        prop_assert_eq!(answers_of(&pair.b), at_a.answers);
        prop_assert_eq!(pair.b.applied.len() as u64, streamed);
        prop_assert_eq!((count_asked(&pair.a), count_asked(&pair.b)), (at_a.asks, at_b.asks));
    }
}

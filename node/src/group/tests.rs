//! Groups in one thread: announcements are handed from one to another by hand.

use shared::batch::BatchHeader;
use shared::conversation::YouAre;
use shared::time::WallMillis;

use super::counted::HOLDER_SILENT_MS;
use super::evicting::BUDGET_LAG_MS;
use super::*;

mod limits;

mod runs;

mod unaware;

/// A member as far as its group sees it: what it has, its clock, and the group as it knows it.
struct Host {
    group: Group,
    frontier: Frontier,
    clock: u64,
}

const MINUTE_MS: u64 = 60_000;
const TIMEOUT_MS: u64 = 24 * 60 * MINUTE_MS;

fn own(number: u64) -> Own {
    Own {
        node_id: NodeId(number),
        name: format!("n{number}"),
        origin: Origin(number * 10),
        role: Role::Active,
        group: Some("g".into()),
        group_id: GroupId(7),
    }
}

/// Members that count each other.
fn hosts(count: u64) -> Vec<Host> {
    let members: Vec<Member> = (1..=count)
        .map(|number| Group::new(own(number), None, TIMEOUT_MS, MonoMillis(0)).as_member())
        .collect();
    (1..=count)
        .map(|number| {
            let others = members.iter().filter(|member| member.node_id.0 != number).cloned().collect();
            let stored = Stored { members: others, ..Stored::default() };
            Host {
                group: Group::new(own(number), Some(stored), TIMEOUT_MS, MonoMillis(0)),
                frontier: Frontier::new(),
                clock: 0,
            }
        })
        .collect()
}

impl Host {
    fn announcement(&self) -> Announcement {
        Announcement {
            member: self.group.as_member(),
            sequence: self.clock,
            frontier: self.frontier.clone(),
            clock: Timestamp(self.clock),
            members: self.group.announced_members(),
            evictions: self.group.announced_evictions(),
            joining: self.group.is_joining(),
            memory_limit: 0,
            runs: self.group.runs_to_tell(),
        }
    }

    fn hear(&mut self, announcement: &Announcement) {
        self.group.hear(announcement, MonoMillis(0));
        self.group.advance(&self.frontier);
    }

    fn holds(&mut self, origin: u64, upto: u64) {
        self.frontier.advance(Origin(origin), Timestamp(upto));
        self.clock = self.clock.max(upto);
        self.group.advance(&self.frontier);
    }

    fn stable(&self, origin: u64) -> Option<u64> {
        self.group.stable(&self.frontier).map(|stable| stable.get(Origin(origin)).0)
    }
}

fn tell_all(hosts: &mut [Host]) {
    for host in hosts.iter_mut() {
        host.clock += 1;
    }
    let announcements: Vec<_> = hosts.iter().map(Host::announcement).collect();
    for host in hosts {
        for announcement in &announcements {
            host.hear(announcement);
        }
    }
}

#[test]
fn nothing_is_stable_before_every_member_was_heard_and_reached() {
    let mut hosts = hosts(3);
    hosts[0].holds(10, 20);
    assert_eq!(hosts[0].stable(10), None);
    let second = {
        hosts[1].holds(10, 20);
        hosts[1].holds(30, 5);
        hosts[1].announcement()
    };
    hosts[0].hear(&second);
    assert_eq!(hosts[0].stable(10), None, "the third was not heard");
    hosts[2].holds(10, 20);
    let third = hosts[2].announcement();
    hosts[0].hear(&third);
    assert_eq!(hosts[0].stable(10), None, "what the second has of the third has not come yet");
    hosts[0].holds(30, 5);
    assert_eq!(hosts[0].stable(10), Some(20));
}

/// Under load the newest announcement is always a little ahead: an older one is reached.
#[test]
fn a_reached_announcement_counts_though_a_newer_one_is_ahead() {
    let mut hosts = hosts(2);
    hosts[1].holds(20, 5);
    let first = hosts[1].announcement();
    hosts[1].holds(20, 9);
    let second = hosts[1].announcement();
    hosts[0].hear(&first);
    hosts[0].hear(&second);
    hosts[0].holds(20, 6);
    assert_eq!(hosts[0].stable(20), Some(5));
    hosts[0].holds(20, 9);
    assert_eq!(hosts[0].stable(20), Some(9));
}

#[test]
fn whoever_a_counted_member_names_counts() {
    let mut hosts = hosts(3);
    let joiner = Member { name: "new".into(), node_id: NodeId(9), origin: Origin(90), role: Role::Active };
    hosts[1].group.enrol(joiner, (Frontier::new(), Timestamp(1)), MonoMillis(0)).unwrap();
    tell_all(&mut hosts);
    assert_eq!(hosts[0].group.judge(NodeId(9)), YouAre::Counted);
    assert!(hosts[0].group.unsaved().is_some(), "it must be remembered");
    assert_eq!(hosts[0].stable(10), None, "and it holds everything back");
}

/// Two members that do not agree on an eviction must not drop anything on its account: the one that still takes the
/// evicted member's writes would bring back what the other has forgotten.
#[test]
fn an_eviction_takes_effect_once_all_others_have_announced_it() {
    let mut hosts = hosts(4);
    for host in &mut hosts {
        host.holds(10, 20);
    }
    tell_all(&mut hosts);
    for host in &mut hosts[..3] {
        host.holds(10, 50);
    }
    hosts[0].group.forget("n4").unwrap();
    tell_all(&mut hosts[..2]);
    assert_eq!(hosts[0].stable(10), Some(20), "the third has not heard of it");
    assert_eq!(hosts[0].group.judge(NodeId(4)), YouAre::BeingEvicted);
    for _ in 0..3 {
        tell_all(&mut hosts[..3]);
    }
    for host in &hosts[..3] {
        assert_eq!(host.stable(10), Some(50));
        assert_ne!(host.group.judge(NodeId(4)), YouAre::BeingEvicted);
        assert!(host.group.announced_members().iter().all(|member| member.name != "n4"));
    }
    for _ in 0..2 {
        tell_all(&mut hosts[..3]);
    }
    for host in &hosts[..3] {
        assert_eq!(
            host.group.announced_evictions(),
            [],
            "it has taken effect everywhere, and is told no more"
        );
        assert_eq!(host.group.judge(NodeId(4)), YouAre::Evicted, "but to whom it was, if it comes back");
        assert_eq!(host.group.judge(NodeId(44)), YouAre::Unknown);
    }
}

#[test]
fn what_an_evicted_member_says_of_the_group_counts_for_nothing() {
    let mut hosts = hosts(3);
    hosts[2].group.forget("n1").unwrap();
    hosts[0].group.forget("n3").unwrap();
    let evicted = hosts[2].announcement();
    hosts[0].hear(&evicted);
    assert!(!hosts[0].group.has_evicted(NodeId(1)));
    hosts[1].hear(&evicted);
    assert!(hosts[1].group.has_evicted(NodeId(1)), "the first that is heard is adopted");
}

#[test]
fn who_was_asleep_evicts_nobody_before_it_could_hear_them() {
    let mut hosts = hosts(2);
    tell_all(&mut hosts);
    let group = &mut hosts[0].group;
    let ahead = Timestamp::of_wall(WallMillis(TIMEOUT_MS));
    let woken = MonoMillis(TIMEOUT_MS);
    group.attend(woken);
    assert_eq!(group.evict_silent(woken), [""; 0]);
    assert_eq!(group.evict_furthest_behind(ahead, woken), None);
    for second in 1..=BUDGET_LAG_MS / 1_000 {
        group.attend(woken.after_ms(second * 1_000));
    }
    assert_eq!(group.evict_furthest_behind(ahead, woken.after_ms(BUDGET_LAG_MS - 1)), None);
    assert_eq!(group.evict_furthest_behind(ahead, woken.after_ms(BUDGET_LAG_MS)).as_deref(), Some("n2"));
}

#[test]
fn who_has_just_been_counted_is_not_taken_for_far_behind() {
    let mut hosts = hosts(1);
    let group = &mut hosts[0].group;
    let ahead = Timestamp::of_wall(WallMillis(TIMEOUT_MS));
    let now = MonoMillis(MINUTE_MS);
    let newcomer = Group::new(own(2), None, TIMEOUT_MS, now).as_member();
    group.enrol(newcomer, (Frontier::new(), ahead), now).expect("it is enrolled");
    assert_eq!(group.evict_furthest_behind(ahead, now.after_ms(BUDGET_LAG_MS - 1)), None);
    assert_eq!(group.evict_furthest_behind(ahead, now.after_ms(BUDGET_LAG_MS)).as_deref(), Some("n2"));
}

#[test]
fn silence_for_too_long_evicts() {
    let mut hosts = hosts(2);
    tell_all(&mut hosts);
    assert!(hosts[0].group.evict_silent(MonoMillis(TIMEOUT_MS - 1)).is_empty());
    assert_eq!(hosts[0].group.evict_silent(MonoMillis(TIMEOUT_MS)), ["n2"]);
    assert_eq!(hosts[0].group.evict_silent(MonoMillis(TIMEOUT_MS)), [""; 0], "once");
    hosts[0].holds(20, 1);
    assert!(!hosts[0].group.has_others(), "nobody is left who would have to agree");
}

#[test]
fn a_name_passes_to_a_new_node_only_when_its_holder_is_silent() {
    let mut hosts = hosts(3);
    tell_all(&mut hosts);
    let again = Member { name: "n3".into(), node_id: NodeId(33), origin: Origin(90), role: Role::Active };
    let refused = hosts[0].group.enrol(
        again.clone(),
        (Frontier::new(), Timestamp(1)),
        MonoMillis(HOLDER_SILENT_MS - 1),
    );
    assert_eq!(refused, Err(NotEnrolled::NameTaken("n3".into())));
    let enrolment =
        hosts[0].group.enrol(again, (Frontier::new(), Timestamp(1)), MonoMillis(HOLDER_SILENT_MS)).unwrap();
    assert!(hosts[0].group.has_evicted(NodeId(3)));
    assert_eq!(enrolment.evictions.len(), 1);
    let names: Vec<_> = enrolment.members.iter().map(|member| member.node_id.0).collect();
    assert_eq!(
        names,
        [2, 3, 1],
        "the other members, the one before, who is still waited for, and who enrols it"
    );
}

/// A node that starts again and again is listed once, however quickly it does.
#[test]
fn a_name_that_was_given_up_passes_on_when_all_know() {
    let mut hosts = hosts(3);
    tell_all(&mut hosts);
    let again = Member { name: "n3".into(), node_id: NodeId(33), origin: Origin(90), role: Role::Active };
    let enrol = |host: &mut Host, at_ms: u64| {
        host.group.enrol(again.clone(), (Frontier::new(), Timestamp(1)), MonoMillis(at_ms))
    };
    hosts[0].group.leave(NodeId(3));
    assert_eq!(enrol(&mut hosts[0], 1), Err(NotEnrolled::NameInUse("n3".into())));
    assert!(hosts[0].group.has_evicted(NodeId(3)));
    hosts.truncate(2);
    tell_all(&mut hosts);
    tell_all(&mut hosts);
    let enrolment = enrol(&mut hosts[0], 2).unwrap();
    assert_eq!(enrolment.members.len(), 2);
    // While another member is away no eviction takes effect: then it is not waited for any longer.
    let mut alone = self::hosts(3);
    tell_all(&mut alone);
    alone[0].group.leave(NodeId(3));
    assert!(enrol(&mut alone[0], HOLDER_SILENT_MS - 1).is_err());
    enrol(&mut alone[0], HOLDER_SILENT_MS).unwrap();
}

/// Restarts leave origins behind: they leave the frontier when all have them whole.
#[test]
fn ended_origins_leave_the_frontier_when_all_agree_on_them() {
    let mut hosts = hosts(2);
    let of_minute = |minute: u64| Timestamp::of_wall(WallMillis(minute * MINUTE_MS)).0;
    hosts[0].holds(99, of_minute(1));
    for host in &mut hosts {
        host.clock = of_minute(10);
    }
    tell_all(&mut hosts);
    let floor_at = |host: &mut Host, at_ms: u64| {
        let (frontier, clock) = (host.frontier.clone(), Timestamp(host.clock));
        let stable = host.group.stable(&frontier);
        host.group.floor(&frontier, stable.as_ref(), clock, MonoMillis(at_ms))
    };
    assert_eq!(floor_at(&mut hosts[0], 0), Timestamp::ZERO, "all that is below may be young");
    let lags = floor_at(&mut hosts[0], MINUTE_MS);
    assert!(lags < Timestamp(of_minute(1)), "the other one has nothing of it");
    hosts[1].holds(99, of_minute(1));
    tell_all(&mut hosts);
    assert!(floor_at(&mut hosts[0], 2 * MINUTE_MS - 1) < Timestamp(of_minute(1)), "not at once");
    let floor = floor_at(&mut hosts[0], 2 * MINUTE_MS);
    assert!(floor >= Timestamp(of_minute(8)), "{floor:?}");
    hosts[0].frontier.raise_floor(floor);
    assert!(!hosts[0].frontier.lists(Origin(99)));
    // One that lists the origin still can be reached by, and can reach, one that does not.
    hosts[0].clock += 1;
    let announced = hosts[0].announcement();
    hosts[1].hear(&announced);
    assert_eq!(hosts[1].stable(99), Some(of_minute(1)));
    let header = BatchHeader { origin: Origin(99), after: Timestamp(0), upto: Timestamp(1), count: 1 };
    assert!(hosts[0].frontier.get(header.origin) >= header.upto, "what is below the floor is held");
}

/// A wall clock that is put forward makes what was written a moment ago look old: that may be on no disk yet.
#[test]
fn the_floor_does_not_follow_a_clock_that_is_put_forward() {
    let mut group = Group::new(own(1), None, TIMEOUT_MS, MonoMillis(0));
    let minutes = |count: u64| Timestamp::of_wall(WallMillis(count * MINUTE_MS));
    let mut floor_at = |at_ms: u64, clock| {
        let frontier: Frontier = [(Origin(10), clock)].into_iter().collect();
        let stable = group.stable(&frontier);
        group.floor(&frontier, stable.as_ref(), clock, MonoMillis(at_ms))
    };
    floor_at(0, minutes(10));
    assert_eq!(floor_at(MINUTE_MS - 1, minutes(90)), Timestamp::ZERO);
    assert_eq!(floor_at(MINUTE_MS, minutes(90)), minutes(10));
    assert_eq!(floor_at(2 * MINUTE_MS, minutes(90)), minutes(89));
}

#[test]
fn what_must_survive_a_restart_does() {
    let mut hosts = hosts(3);
    hosts[0].group.forget("n3").unwrap();
    let stored = hosts[0].group.unsaved().unwrap();
    let read = Stored::decode(&stored.encode()).unwrap();
    assert_eq!(read, stored);
    let again = Group::new(Own { origin: Origin(11), ..own(1) }, Some(read), TIMEOUT_MS, MonoMillis(0));
    assert!(again.is_own(Origin(10)) && again.is_own(Origin(11)) && !again.is_own(Origin(20)));
    assert!(again.has_evicted(NodeId(3)));
    assert_eq!(again.judge(NodeId(3)), YouAre::BeingEvicted);
    let mut damaged = stored.encode();
    damaged[7] ^= 1;
    assert_eq!(Stored::decode(&damaged), Err(StoredError::Damaged));
}

#[test]
fn origins_of_runs_before_are_remembered_up_to_a_limit_and_members_have_ranks() {
    let hosts = hosts(3);
    assert_eq!(hosts.iter().map(|host| host.group.rank()).collect::<Vec<_>>(), [0, 1, 2]);
    let mut stored = None;
    for origin in 1..=FORMER_MAX as u64 + 5 {
        let own = Own { origin: Origin(origin), ..own(1) };
        stored = Group::new(own, stored, TIMEOUT_MS, MonoMillis(0)).unsaved();
    }
    let last = Own { origin: Origin(9_000), ..own(1) };
    let group = Group::new(last, stored, TIMEOUT_MS, MonoMillis(0));
    assert_eq!(group.own_origins().count(), FORMER_MAX + 1);
    assert!(!group.is_own(Origin(5)) && group.is_own(Origin(6)) && group.is_own(Origin(9_000)));
}

/// What a crash took with it, or what lay in the far future and was withdrawn, would be awaited for ever.
#[test]
fn an_announcement_of_a_run_before_is_not_awaited() {
    let mut hosts = hosts(2);
    hosts[1].holds(20, 50);
    let lost = hosts[1].announcement();
    hosts[0].hear(&lost);
    assert_eq!(hosts[0].stable(20), None);
    // It is put back: its clock and what it has are behind those of before, its announcements are not.
    hosts[1].group.begin_rewind(Timestamp(30), Timestamp(10));
    assert!(hosts[1].group.is_reissuing());
    hosts[1].group.rewound(Origin(21), 40);
    hosts[1].group.reissued();
    hosts[1].frontier = Frontier::new();
    hosts[1].holds(21, 12);
    let sequence = 12 + hosts[1].group.sequence_lead();
    let again = Announcement { sequence, clock: Timestamp(12), ..hosts[1].announcement() };
    hosts[0].holds(21, 12);
    hosts[0].hear(&again);
    assert_eq!(hosts[0].stable(21), Some(12));
}

#[test]
fn while_the_clock_is_put_back_the_floor_is_not_ahead_of_it() {
    let mut group = Group::new(own(1), None, TIMEOUT_MS, MonoMillis(0));
    let minutes = |count: u64| Timestamp::of_wall(WallMillis(count * MINUTE_MS));
    let stable = group.stable(&Frontier::new());
    let mut floor_at = |at_ms| group.floor(&Frontier::new(), stable.as_ref(), minutes(90), MonoMillis(at_ms));
    floor_at(0);
    assert_eq!(floor_at(MINUTE_MS), minutes(89));
    group.save_floor();
    group.begin_rewind(minutes(11), minutes(10));
    let stored = group.unsaved().unwrap();
    assert_eq!((stored.floor, stored.cut, stored.is_reissuing), (minutes(10), Some(minutes(11)), true));
    let again = Group::new(own(1), Some(stored), TIMEOUT_MS, MonoMillis(0));
    assert_eq!(again.cut(), Some(minutes(11)));
}

/// A member that came back from its past knows nobody who could tell it of those that joined since: nobody needs to wait
/// until it may have heard of them.
#[test]
fn who_counts_nobody_that_names_this_node_will_not_hear_of_it() {
    let mut hosts = hosts(3);
    let past = Group::new(own(3), None, TIMEOUT_MS, MonoMillis(0));
    tell_all(&mut hosts);
    let group = &hosts[0].group;
    assert!(group.may_be_named_to(NodeId(3), MonoMillis(0)), "the second names this node to it");
    hosts[2].group = past;
    hosts[2].clock += 1;
    let announced = hosts[2].announcement();
    hosts[0].hear(&announced);
    assert!(!hosts[0].group.may_be_named_to(NodeId(3), MonoMillis(0)), "it counts nobody");
    assert!(!hosts[2].group.may_be_told(MonoMillis(0)));
    // One of whom nothing is known may name this node, until it was silent for long.
    let stranger = Member { name: "n9".into(), node_id: NodeId(9), origin: Origin(90), role: Role::Active };
    hosts[2].group.enrol(stranger, (Frontier::new(), Timestamp(1)), MonoMillis(0)).unwrap();
    hosts[2].clock += 1;
    let announced = hosts[2].announcement();
    hosts[0].hear(&announced);
    assert!(hosts[0].group.may_be_named_to(NodeId(3), MonoMillis(HOLDER_SILENT_MS - 1)));
    assert!(!hosts[0].group.may_be_named_to(NodeId(3), MonoMillis(HOLDER_SILENT_MS)));
    assert!(hosts[2].group.may_be_told(MonoMillis(HOLDER_SILENT_MS - 1)));
    assert!(!hosts[2].group.may_be_told(MonoMillis(HOLDER_SILENT_MS)), "all that it counts are gone");
}

/// What its author lost in a crash is waited for until all have announced that they have no more of it.
#[test]
fn what_nobody_has_will_not_be_brought() {
    let mut hosts = hosts(2);
    let wanted: Frontier = [(Origin(20), Timestamp(50))].into_iter().collect();
    let may_come =
        |host: &Host, since: u64| host.group.may_be_told_of(&wanted, &host.frontier, Timestamp(since));
    assert!(may_come(&hosts[0], 5), "the second was not heard");
    hosts[1].holds(20, 40);
    let announced = hosts[1].announcement();
    hosts[0].hear(&announced);
    assert!(may_come(&hosts[0], 5), "it has more of it");
    hosts[0].holds(20, 40);
    assert!(!may_come(&hosts[0], 5), "it has no more of it");
    assert!(may_come(&hosts[0], 45), "it had no more of it before");
}

/// It was let in, and lost that with its directory's last writes: it could not join under the node id of then.
#[test]
fn one_that_has_met_nobody_takes_a_new_node_id_and_is_as_new_as_before() {
    let unmet = Own { group_id: GroupId::default(), ..own(1) };
    let mut group = Group::new(unmet, None, TIMEOUT_MS, MonoMillis(0));
    group.begin_joining(NodeId(11));
    assert_eq!((group.own().node_id, group.standing()), (NodeId(11), Standing::Unmet));
    assert_eq!(group.formerly(), NodeId::default());
    assert!(group.found(GroupId(7)));
    assert_eq!(group.standing(), Standing::Member);
}

/// What the third had sent before it died, and lost, may still be on its way to the second, until that knows of the new run.
#[test]
fn nothing_is_stable_before_all_know_of_each_others_present_runs() {
    let mut hosts = hosts(3);
    for host in &mut hosts {
        host.holds(10, 20);
    }
    tell_all(&mut hosts);
    assert_eq!(hosts[0].stable(10), Some(20));
    let stored = hosts[2].group.unsaved();
    hosts[2].group = Group::new(Own { origin: Origin(31), ..own(3) }, stored, TIMEOUT_MS, MonoMillis(0));
    hosts[2].clock += 1;
    let again = hosts[2].announcement();
    hosts[0].hear(&again);
    assert_eq!(hosts[0].stable(10), None, "the second has not heard of the new run");
    hosts[1].clock += 1;
    let before = Sender { node_id: NodeId(3), run: Origin(30) };
    assert!(!hosts[1].group.is_over(before));
    hosts[1].hear(&again);
    assert!(hosts[1].group.is_over(before));
    let second = hosts[1].announcement();
    hosts[0].hear(&second);
    assert_eq!(hosts[0].stable(10), Some(20));
}

//! Who gives way to whom, when two members of one group do not both know each other.

use shared::announcement::{Member, Role};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::version::Frontier;

use super::*;
use crate::group::{Own, Stored};

/// Long enough for every rule.
const LONG_MS: u64 = 1_000_000;

fn member(number: u64) -> Member {
    Member { name: format!("n{number}"), node_id: NodeId(number), origin: Origin(number), role: Role::Active }
}

/// The group as one member sees it.
fn view(number: u64, others: &[u64]) -> Group {
    let Member { name, node_id, origin, role } = member(number);
    let own = Own { node_id, name, origin, role, group: Some("g".into()), group_id: GroupId(7) };
    let members = others.iter().map(|other| member(*other)).collect();
    Group::new(own, Some(Stored { members, ..Stored::default() }), LONG_MS, MonoMillis(0))
}

fn greeting(group: &Group, to: &Member) -> Greeting {
    Greeting {
        version: CONVERSATION,
        member: group.as_member(),
        group_id: group.own().group_id,
        joining: group.is_joining(),
        receiving: false,
        members: group.size_by_names(),
        others: group.others_by_names(&to.name),
        named: group.named(),
        smallest_name: group.smallest_name().to_owned(),
        frontier: Frontier::new(),
        clock: Timestamp(1),
        you: group.judge(to.node_id),
    }
}

/// Whether the one gives way to the other, after so long.
fn gives_way(one: &Group, other: &Group, after_ms: u64) -> bool {
    let greeting = greeting(other, &one.as_member());
    matches!(decide(one, &greeting, after_ms, MonoMillis(after_ms)), Some(Step::Join(_)))
}

#[track_caller]
fn check_first_gives_way(one: &Group, other: &Group) {
    for after_ms in [UNKNOWN_MS, LONG_MS] {
        assert!(gives_way(one, other, after_ms));
        assert!(!gives_way(other, one, after_ms), "not both");
    }
}

/// An old directory was put back at one of five: one after the other, the others gave up what they knew for what it knew,
/// which took two minutes.
#[test]
fn who_came_back_from_its_past_joins_those_that_joined_since() {
    check_first_gives_way(&view(1, &[]), &view(2, &[1, 3]));
    check_first_gives_way(&view(1, &[5]), &view(2, &[1, 3, 4, 5]));
}

/// Runs of one name in a row, of which all but one are gone, do not make a group larger: two views passed a node to and fro
/// that counted them in the one, and had them evicted in the other.
#[test]
fn a_name_counts_once() {
    let run_before = |number: u64, name: u64| Member { node_id: NodeId(number), ..member(name) };
    let members = vec![member(1), member(3), run_before(30, 3), run_before(31, 3)];
    let stored = Stored { members, ..Stored::default() };
    let present = Group::new(view(2, &[]).own().clone(), Some(stored), LONG_MS, MonoMillis(0));
    assert_eq!((present.size(), present.size_by_names()), (5, 3));
    check_first_gives_way(&present, &view(1, &[4]));
}

/// An eviction that not all have heard of made one and the same group the larger one, and the smaller one: a node that was
/// linked to two groups left each for the other.
#[test]
fn a_group_is_as_large_for_who_evicts_a_member_as_for_who_has_not_heard_of_it() {
    let mut evicting = view(1, &[3, 4]);
    evicting.forget("n4").expect("it is a member");
    let not_knowing = view(3, &[1, 4]);
    let own = Own { group_id: GroupId(6), ..view(2, &[]).own().clone() };
    let members = vec![member(5), member(6)];
    let other = Group::new(own, Some(Stored { members, ..Stored::default() }), LONG_MS, MonoMillis(0));
    for of_one_group in [&evicting, &not_knowing] {
        check_first_gives_way(&other, of_one_group);
    }
}

#[test]
fn who_was_forgotten_by_all_others_joins_them() {
    check_first_gives_way(&view(1, &[2, 3]), &view(2, &[3]));
    check_first_gives_way(&view(1, &[2]), &view(2, &[]));
}

/// A node between two views had joined the larger one, was not known to the smaller one under its new id, joined that, and
/// was not known to the larger one, for ever: the smaller one counted the run of it before, and so seemed to know as much.
#[test]
fn a_run_before_of_the_one_that_is_not_known_makes_no_view_larger() {
    let run_before = Member { node_id: NodeId(20), ..member(2) };
    let own = view(3, &[]).own().clone();
    let members = vec![member(5), run_before];
    let past = Group::new(own, Some(Stored { members, ..Stored::default() }), LONG_MS, MonoMillis(0));
    check_first_gives_way(&past, &view(2, &[1, 3, 5]));
}

#[test]
fn of_two_that_have_forgotten_each_other_the_smaller_group_gives_way() {
    check_first_gives_way(&view(1, &[5]), &view(2, &[3, 4]));
    check_first_gives_way(&view(2, &[3]), &view(1, &[4]));
}

/// Whose group cannot agree on an eviction, for one of it is gone, gave way to whom it evicts, came to evict its own group's
/// there, and gave way to that again, for ever.
#[test]
fn who_evicts_one_that_does_not_know_it_gives_way_only_if_its_group_is_the_smaller_one() {
    let evicting = |number: u64, others: &[u64], evicted: &str| {
        let mut view = view(number, others);
        view.forget(evicted).expect("it is a member");
        view
    };
    check_first_gives_way(&view(1, &[5]), &evicting(2, &[1, 3, 4], "n1"));
    check_first_gives_way(&evicting(2, &[1], "n1"), &view(1, &[5]));
}

/// Whoever has just joined is not known to all at once.
#[test]
fn nobody_gives_way_before_all_may_have_heard() {
    let (newcomer, old) = (view(1, &[2, 3]), view(2, &[3]));
    for after_ms in [0, UNTOLD_MS - 1] {
        assert!(!gives_way(&newcomer, &old, after_ms));
        assert!(!gives_way(&old, &newcomer, after_ms));
    }
}

/// The one that it gives way to will not hear of it, for it counts nobody.
#[test]
fn who_knows_nobody_who_could_tell_it_does_not_wait() {
    let (past, present) = (view(1, &[]), view(2, &[1, 3]));
    assert!(gives_way(&past, &present, UNTOLD_MS));
    assert!(!gives_way(&present, &past, UNTOLD_MS));
}

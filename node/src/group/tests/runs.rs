//! Members that start again, and such as come back from their past.

use super::*;

/// The second host's next announcement, after a start from what it had stored, as another run.
fn started(hosts: &mut [Host], stored: Option<Stored>, origin: u64) -> Announcement {
    let own = Own { origin: Origin(origin), ..own(2) };
    hosts[1].group = Group::new(own, stored, TIMEOUT_MS, MonoMillis(0));
    hosts[1].clock += 1;
    hosts[1].announcement()
}

fn knows(host: &Host, run: u64) -> bool {
    host.group.is_known(Sender { node_id: NodeId(2), run: Origin(run) })
}

#[test]
fn runs_are_told_until_all_know_the_present_one() {
    let mut hosts = hosts(2);
    tell_all(&mut hosts);
    assert_eq!(hosts[1].announcement().runs, [], "the first has named it");
    let stored = hosts[1].group.unsaved();
    let again = started(&mut hosts, stored, 21);
    assert_eq!(again.runs, [Origin(20), Origin(21)]);
    assert!(!knows(&hosts[0], 21));
    hosts[0].hear(&again);
    assert!(knows(&hosts[0], 21) && !knows(&hosts[0], 20));
    assert!(hosts[0].group.unsaved().is_some_and(|stored| stored.members[0].origin == Origin(21)));
    tell_all(&mut hosts);
    assert_eq!(hosts[1].announcement().runs, []);
}

#[test]
fn of_two_runs_that_is_the_later_one_which_knows_the_other() {
    let mut hosts = hosts(2);
    hosts[1].clock = 100;
    let before = hosts[1].announcement();
    let stored = hosts[1].group.unsaved();
    hosts[1].clock = 50;
    let again = started(&mut hosts, stored, 21);
    hosts[0].hear(&before);
    hosts[0].hear(&again);
    assert!(knows(&hosts[0], 21), "the clock was put back");
    hosts[0].hear(&before);
    assert!(knows(&hosts[0], 21), "what it said before comes late");
}

/// The first has forgotten what was deleted while the second ran as 21; the second may have it again.
#[test]
fn nothing_is_taken_from_a_member_that_does_not_know_what_it_was_and_it_is_evicted() {
    let mut hosts = hosts(2);
    let old_copy = hosts[1].group.unsaved();
    let again = started(&mut hosts, old_copy.clone(), 21);
    hosts[0].hear(&again);
    let mut returned = started(&mut hosts, old_copy, 22);
    assert_eq!(returned.runs, [Origin(20), Origin(22)]);
    for at in [1_000, 10_999, 11_000] {
        assert_eq!(hosts[0].group.evict_returned(), [""; 0]);
        returned.sequence += 1;
        hosts[0].group.hear(&returned, MonoMillis(at));
        assert!(!knows(&hosts[0], 22));
    }
    assert_eq!(hosts[0].group.evict_returned(), ["n2"]);
}

/// Its runs were not told, for all knew the present one when it last heard of them.
#[test]
fn one_whose_runs_are_not_told_is_heard_when_they_are() {
    let mut hosts = hosts(2);
    let stored = hosts[1].group.unsaved();
    let mut again = started(&mut hosts, stored, 21);
    let runs = std::mem::take(&mut again.runs);
    hosts[0].hear(&again);
    assert!(!knows(&hosts[0], 21));
    again.runs = runs;
    hosts[0].hear(&again);
    assert!(knows(&hosts[0], 21));
}

//! Evictions that somebody has not heard of.

use super::*;

/// One more host, which the first enrols.
fn join(hosts: &mut Vec<Host>, number: u64) {
    let joiner = Group::new(own(number), None, TIMEOUT_MS, MonoMillis(0)).as_member();
    let standing = (hosts[0].frontier.clone(), Timestamp(hosts[0].clock));
    let enrolment = hosts[0].group.enrol(joiner, standing, MonoMillis(0)).expect("it is enrolled");
    let unmet = Own { group_id: GroupId::default(), ..own(number) };
    let mut group = Group::new(unmet, None, TIMEOUT_MS, MonoMillis(0));
    group.join(enrolment, Origin(number * 10), Timestamp::ZERO, MonoMillis(0));
    group.reissued();
    hosts.push(Host { group, frontier: hosts[0].frontier.clone(), clock: hosts[0].clock });
}

/// It would drop what those who have not heard of the eviction may yet bring something older of.
#[test]
fn a_joiner_waits_for_whom_its_group_is_evicting() {
    let mut hosts = hosts(3);
    tell_all(&mut hosts);
    hosts[0].group.forget("n3").unwrap();
    join(&mut hosts, 4);
    for speaker in 0..2 {
        hosts[speaker].clock += 1;
        let announced = hosts[speaker].announcement();
        hosts[3].hear(&announced);
    }
    assert_eq!(hosts[3].group.judge(NodeId(3)), YouAre::BeingEvicted);
    assert_eq!(hosts[3].stable(10), None, "the second still takes what the third writes");
    hosts.remove(2);
    for _ in 0..3 {
        tell_all(&mut hosts);
    }
    assert_eq!(hosts[2].group.judge(NodeId(3)), YouAre::Evicted);
    assert!(hosts[2].stable(10).is_some());
}

/// What a member had said before an eviction reached a joiner after it, by way of the evicted one's agent: all counted the
/// evicted one again, and took from it what was older than what they had dropped.
#[test]
fn who_departed_stays_evicted_whoever_names_it() {
    let mut hosts = hosts(3);
    tell_all(&mut hosts);
    let before = hosts[1].announcement();
    hosts[0].group.forget("n3").unwrap();
    hosts.truncate(2);
    for _ in 0..4 {
        tell_all(&mut hosts);
    }
    assert_eq!(hosts[0].group.announced_evictions(), [], "it is told no more");
    join(&mut hosts, 4);
    hosts[2].hear(&before);
    assert_eq!(hosts[2].group.judge(NodeId(3)), YouAre::Evicted);
    assert_eq!(hosts[2].group.size(), 3);
    for _ in 0..4 {
        tell_all(&mut hosts);
    }
    for host in &hosts {
        assert_eq!(host.group.judge(NodeId(3)), YouAre::Evicted);
        assert_eq!(host.group.announced_members().len(), 2, "nobody waits for it");
        assert_eq!(host.group.announced_evictions(), []);
    }
}

/// It would be told, when it returns, that all it had written below that floor is held, and drop it.
#[test]
fn of_whom_others_have_evicted_a_floor_that_was_taken_over_tells_nothing() {
    let mut hosts = hosts(3);
    hosts[2].holds(30, 50);
    let held =
        Departed { node_id: NodeId(3), clock: Timestamp(9), end: Version::new(Timestamp(20), Origin(30)) };
    hosts[0].group.learn_departed(&[held]);
    assert_eq!(hosts[0].group.departed().count(), 0, "it is a member here");
    hosts[0].group.forget("n3").unwrap();
    hosts[0].group.learn_departed(&[held]);
    hosts[0].frontier.raise_floor(Timestamp(100));
    hosts.truncate(2);
    for _ in 0..3 {
        tell_all(&mut hosts);
    }
    assert_eq!(hosts[0].group.judge(NodeId(3)), YouAre::Evicted);
    assert_eq!(hosts[0].group.departed().copied().collect::<Vec<_>>(), [held]);
    // Another peer holds more of it.
    let more = Departed { end: Version::new(Timestamp(30), Origin(30)), ..held };
    hosts[0].group.learn_departed(&[more]);
    assert_eq!(hosts[0].group.departed().copied().collect::<Vec<_>>(), [more]);
}

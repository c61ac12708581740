//! Limits of memory, and who removes keys.

use super::*;
use crate::store::ShardSet;
use crate::store::key::SHARDS;

/// Members that have announced these limits to each other, 0 being none.
fn limited(limits: &[u64]) -> Vec<Host> {
    let mut hosts = hosts(limits.len() as u64);
    hosts.iter_mut().for_each(|host| host.clock = 1);
    let announcements: Vec<Announcement> = hosts
        .iter()
        .zip(limits)
        .map(|(host, limit)| Announcement { memory_limit: *limit, ..host.announcement() })
        .collect();
    for host in &mut hosts {
        announcements.iter().for_each(|announcement| host.hear(announcement));
    }
    hosts
}

fn looked_after(host: &Host, now: u64) -> ShardSet {
    host.group.shards_looked_after(MonoMillis(now))
}

#[test]
fn the_smallest_limit_holds_for_all_that_have_one() {
    let hosts = limited(&[300, 200, 0]);
    assert_eq!(hosts[0].group.memory_limit(300), Some(200));
    assert_eq!(hosts[1].group.memory_limit(200), Some(200));
    assert_eq!(hosts[2].group.memory_limit(0), None);
}

#[test]
fn each_shard_has_one_member_that_looks_after_it() {
    let hosts = limited(&[1, 1, 1]);
    let sets: Vec<ShardSet> = hosts.iter().map(|host| looked_after(host, 0)).collect();
    assert_eq!(sets.iter().map(|set| set.len()).sum::<usize>(), SHARDS);
    assert_eq!(sets.iter().fold(ShardSet::EMPTY, |all, set| all.union(*set)), ShardSet::ALL);
    assert!(sets.iter().all(|set| set.len() > SHARDS / 8), "{sets:?}");
}

#[test]
fn who_is_silent_or_has_no_limit_looks_after_nothing() {
    let hosts = limited(&[1, 1, 0]);
    assert_eq!(looked_after(&hosts[0], 0).union(looked_after(&hosts[1], 0)), ShardSet::ALL);
    assert_ne!(looked_after(&hosts[0], 0), ShardSet::ALL);
    assert_eq!(looked_after(&hosts[0], HOLDER_SILENT_MS), ShardSet::ALL);
}

#[test]
fn a_member_that_takes_no_writes_looks_after_nothing_and_its_limit_counts() {
    let mut hosts = limited(&[9, 5]);
    let read_only = Member { role: Role::ReadOnly, ..hosts[1].group.as_member() };
    hosts[1].clock = 2;
    let announcement = Announcement { member: read_only, memory_limit: 5, ..hosts[1].announcement() };
    hosts[0].hear(&announcement);
    assert_eq!(looked_after(&hosts[0], 0), ShardSet::ALL);
    assert_eq!(hosts[0].group.memory_limit(9), Some(5));
}

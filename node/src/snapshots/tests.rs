//! Snapshots by the clock, and how much of the log they leave.

use shared::announcement::{Announcement, Member, Role};
use shared::clock::Timestamp;
use shared::id::{GroupId, NodeId, Origin};
use shared::time::WallMillis;
use shared::version::Frontier;

use super::*;
use crate::log::disk::simulated::SimulatedDisk;
use crate::log::durability_tests::{Life, start};
use crate::log::segment::parse_segment_name;

impl Life {
    fn turn_at(&mut self, second: u64) -> Turn {
        self.snapshots.turn(&self.node, MonoMillis(second * 1_000))
    }

    /// Turns until a snapshot is in place, and returns why it was written.
    fn finish_at(&mut self, second: u64) -> Why {
        loop {
            match self.turn_at(second) {
                Turn::Saved(saved) => {
                    self.writer.turn(&self.node.log, true).unwrap();
                    return saved.why;
                }
                Turn::AwaitsLog(_) => assert!(!self.writer.turn(&self.node.log, true).unwrap()),
                Turn::Began | Turn::Stepped => {}
                turn => panic!("{turn:?}"),
            }
        }
    }

    /// Whether a snapshot is begun after so many changes, at that second.
    fn is_begun(&mut self, changes: u64, second: u64) -> bool {
        self.snapshots.keep_schedule(&self.node, changes, MonoMillis(second * 1_000));
        matches!(self.turn_at(second), Turn::Began)
    }
}

#[test]
fn a_snapshot_is_written_when_a_point_of_the_schedule_is_reached() {
    let mut life = start(&SimulatedDisk::new(1), Origin(1)).unwrap();
    let point = |seconds, changes| SavePoint { seconds, changes };
    life.node.settings.set_save_points(vec![point(60, 1), point(10, 5)]);
    life.write(1, 1, WallMillis(1_000)).unwrap();
    for (changes, second) in [(0, 100), (1, 59), (4, 59), (5, 9)] {
        assert!(!life.is_begun(changes, second), "{changes} changes in {second} s");
    }
    assert!(life.is_begun(5, 10));
    assert_eq!(life.finish_at(12), Why::Scheduled);
    assert!(!life.is_begun(5, 21), "it counts from when the last one was in place");
    assert!(life.is_begun(5, 22));
    life.finish_at(22);
    assert!(!life.is_begun(1, 81) && life.is_begun(1, 82));
    life.finish_at(82);
    life.node.settings.set_save_points(Vec::new());
    assert!(!life.is_begun(1_000, 10_000));
}

const AGE_S: u64 = 100;
const LAST_S: u64 = 300;

/// A node that has written once a second. Returns where the log was each second.
fn lived(life: &mut Life) -> Vec<LogPosition> {
    life.node.settings.set_log_retention(1 << 30);
    life.node.settings.set_log_retention_age_s(AGE_S);
    let second = |second| {
        let position = life.node.log.end();
        life.write(second % 9, second, WallMillis(1_000 + second)).unwrap();
        life.writer.turn(&life.node.log, true).unwrap();
        assert!(matches!(life.turn_at(second), Turn::Idle));
        position
    };
    (0..LAST_S).map(second).collect()
}

/// Where the log starts after a snapshot.
fn start_after_snapshot(disk: &SimulatedDisk, life: &mut Life) -> LogPosition {
    life.node.request_snapshot();
    assert_eq!(life.finish_at(LAST_S), Why::Asked);
    let names = disk.list().unwrap();
    names.iter().filter_map(|name| parse_segment_name(name)?.ok()).min().unwrap()
}

fn member() -> Member {
    Member { name: "b".to_owned(), node_id: NodeId(2), origin: Origin(2), role: Role::Active }
}

fn count_a_member(life: &Life) {
    let group = &mut life.node.membership.lock().group;
    assert!(group.found(GroupId(5)));
    group.enrol(member(), (Frontier::new(), Timestamp::ZERO), MonoMillis(0)).unwrap();
}

#[test]
fn log_that_is_old_goes_and_what_is_younger_stays() {
    let disk = SimulatedDisk::new(1);
    let mut life = start(&disk, Origin(1)).unwrap();
    let positions = lived(&mut life);
    let start = start_after_snapshot(&disk, &mut life);
    assert!(start > positions[150], "it starts at {start}");
    assert!(start <= positions[(LAST_S - AGE_S) as usize], "it starts at {start}");
}

#[test]
fn old_log_stays_for_a_member_that_may_need_it() {
    let disk = SimulatedDisk::new(1);
    let mut life = start(&disk, Origin(1)).unwrap();
    count_a_member(&life);
    let positions = lived(&mut life);
    assert_eq!(start_after_snapshot(&disk, &mut life), positions[0], "it was not heard yet");

    // It tells that it has what was written in the first 40 seconds.
    let held = life.node.log.frontier().get(Origin(1));
    let announcement = |frontier, sequence| Announcement {
        member: member(),
        sequence,
        frontier,
        clock: Timestamp(1),
        members: Vec::new(),
        evictions: Vec::new(),
        memory_limit: 0,
        joining: false,
        runs: Vec::new(),
    };
    let at_40 = Timestamp::of_wall(WallMillis(1_000 + 40));
    let held_at_40: Frontier = [(Origin(1), at_40)].into_iter().collect();
    life.node.membership.lock().group.hear(&announcement(held_at_40, 1), MonoMillis(0));
    let start = start_after_snapshot(&disk, &mut life);
    assert!(start <= positions[40], "it starts at {start}");

    let held: Frontier = [(Origin(1), held)].into_iter().collect();
    life.node.membership.lock().group.hear(&announcement(held, 2), MonoMillis(0));
    assert!(start_after_snapshot(&disk, &mut life) > positions[150], "nobody needs it any more");
}

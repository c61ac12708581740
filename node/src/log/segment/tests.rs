use super::super::disk::Directory;
use super::super::disk::simulated::{Crash, Failure, SimulatedDisk};
use super::super::recovery::recover;
use super::*;

type Found = Vec<(u64, Vec<u8>)>;

fn open<D: Disk>(disk: &Arc<D>, segment_bytes_max: u64) -> (SegmentLog<D>, Found) {
    let mut found = Found::new();
    let on_batch = &mut |position: LogPosition, batch: &[u8]| {
        found.push((position.0, batch.to_vec()));
        Ok(())
    };
    let (log, _) = recover(Arc::clone(disk), segment_bytes_max, on_batch).unwrap();
    (log, found)
}

fn batch(fill: u8, length: usize) -> Arc<[u8]> {
    vec![fill; length].into()
}

fn read<D: Disk>(log: &SegmentLog<D>, from: u64, bytes_max: usize) -> (u64, Found) {
    let mut found = Found::new();
    let each = &mut |position: LogPosition, batch: &[u8]| found.push((position.0, batch.to_vec()));
    let next = log.reader().read(LogPosition(from), bytes_max, each).unwrap();
    (next.0, found)
}

#[test]
fn batches_come_back_over_segments_markers_and_restarts_in_a_real_directory() {
    let temporary = tempfile::tempdir().unwrap();
    let mut expected = Found::new();
    for life in 0..3 {
        let disk = Arc::new(Directory::open(temporary.path()).unwrap());
        let (mut log, found) = open(&disk, 4 << 20);
        assert_eq!(found, expected);
        for number in 0..20_u8 {
            let batches =
                [batch(number, 70_000), batch(life, (2 << 20) + 5), batch(9, WRITE_BYTES), batch(7, 1)];
            for batch in &batches {
                let end = expected.last().map_or(0, |(position, batch)| position + 24 + batch.len() as u64);
                let marker = if number == 0 && life > 0 && batch.len() == 70_000 { 24 } else { 0 };
                expected.push((end + marker, batch.to_vec()));
            }
            log.append(&batches).unwrap();
        }
        assert_eq!(read(&log, 0, usize::MAX).1, expected);
        assert!(log.synced() < log.end(), "the last segment is not durable yet");
        log.close().unwrap();
        assert_eq!(log.synced(), log.end());
        assert!(disk.list().unwrap().len() > 20);
    }
}

#[test]
fn a_read_stops_before_its_limit_but_gives_at_least_one_batch() {
    let disk = Arc::new(SimulatedDisk::new(1));
    let (mut log, _) = open(&disk, 200);
    for fill in 0..10 {
        log.append(&[batch(fill, 50)]).unwrap();
    }
    log.close().unwrap();
    for (bytes_max, count) in
        [(0, 1), (1, 1), (74, 1), (147, 1), (148, 2), (149, 2), (171, 2), (222, 3), (9999, 10)]
    {
        let (next, found) = read(&log, 0, bytes_max);
        assert_eq!(found.len(), count, "{bytes_max}");
        if count < 10 {
            assert_eq!(next, 74 * count as u64);
        }
    }
    assert_eq!(read(&log, log.end().0, 100), (log.end().0, Vec::new()));
}

#[test]
fn a_reader_follows_the_log() {
    let disk = Arc::new(SimulatedDisk::new(1));
    let (mut log, _) = open(&disk, 100);
    let reader = log.reader();
    let mut next = LogPosition::default();
    for fill in 0..10 {
        log.append(&[batch(fill, 30)]).unwrap();
        let mut found = Vec::new();
        next = reader.clone().read(next, 1, &mut |_, batch| found.push(batch[0])).unwrap();
        assert_eq!((found, next), (vec![fill], log.end()));
    }
}

#[test]
fn removed_segments_are_refused_to_readers() {
    let disk = Arc::new(SimulatedDisk::new(1));
    let (mut log, _) = open(&disk, 100);
    for fill in 0..10 {
        log.append(&[batch(fill, 30)]).unwrap();
    }
    assert_eq!(log.remove_before(LogPosition(53)).unwrap(), LogPosition(0));
    let start = log.remove_before(LogPosition(54 * 5)).unwrap();
    assert_eq!(start, LogPosition(54 * 5));
    assert_eq!(log.start(), start);
    assert_eq!(read(&log, start.0, 9999).1.len(), 5);
    let error = log.reader().read(LogPosition(0), 1, &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, LogError::Dropped { start, .. } if start == log.start()), "{error}");
    assert_eq!(log.remove_before(LogPosition(u64::MAX)).unwrap(), LogPosition(54 * 9), "the last stays");
    log.close().unwrap();
    assert_eq!(open(&disk, 100).1.len(), 1);
}

#[test]
fn a_log_restarts_at_a_snapshot_that_is_ahead_of_it() {
    let disk = Arc::new(SimulatedDisk::new(1));
    let (mut log, _) = open(&disk, 100);
    for fill in 0..10 {
        log.append(&[batch(fill, 30)]).unwrap();
    }
    let mut log = log.restart_at(LogPosition(5000)).unwrap();
    assert_eq!(
        (log.start(), log.synced(), log.end()),
        (LogPosition(5000), LogPosition(5000), LogPosition(5000))
    );
    log.append(&[batch(1, 3)]).unwrap();
    log.sync().unwrap();
    disk.restart(Crash::Power);
    let (log, found) = open(&disk, 100);
    assert_eq!((log.start().0, found), (5000, vec![(5000, vec![1; 3])]));
}

/// Wherever it crashes, what is left is a log that can be restarted at the same position once more.
#[test]
fn a_crash_in_a_restart_at_a_snapshot_can_be_followed_by_another_try() {
    for seed in 0..100 {
        for operation in 0..20 {
            let disk = Arc::new(SimulatedDisk::new(seed));
            let (mut log, _) = open(&disk, 100);
            for fill in 0..4 {
                log.append(&[batch(fill, 30)]).unwrap();
            }
            log.close().unwrap();
            let position = LogPosition(log.end().0 + 1000);
            disk.crash_at(disk.operations() + operation);
            let restarted = log.restart_at(position).is_ok();
            disk.restart(Crash::Power);
            let (log, found) = open(&disk, 100);
            if restarted || log.start() == position {
                assert_eq!((log.start(), log.end(), found.len()), (position, position, 0));
            }
            let mut log = log.restart_at(position).unwrap();
            log.append(&[batch(9, 1)]).unwrap();
            log.sync().unwrap();
            disk.restart(Crash::Power);
            assert_eq!(open(&disk, 100).1, [(position.0, vec![9])]);
        }
    }
}

#[test]
fn a_full_disk_refuses_appends_until_there_is_room_and_loses_and_doubles_nothing() {
    for seed in 0..50 {
        for failing in 0..8 {
            let disk = Arc::new(SimulatedDisk::new(seed));
            let (mut log, _) = open(&disk, 150);
            log.append(&[batch(1, 40)]).unwrap();
            disk.fail(disk.operations() + failing..disk.operations() + failing + 6, Failure::Full);
            for fill in 2..8 {
                let mut tries = 0;
                while let Err(error) = log.append(&[batch(fill, 10), batch(fill, 11)]) {
                    assert!(error.is_full(), "{error}");
                    tries += 1;
                    assert!(tries < 10);
                }
                assert!(log.sync().is_ok() || tries > 0);
            }
            log.sync().unwrap();
            let fills = |found: &Found| found.iter().map(|(_, batch)| batch[0]).collect::<Vec<_>>();
            let expected = [1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7];
            assert_eq!(fills(&read(&log, 0, 9999).1), expected);
            disk.restart(Crash::Power);
            assert_eq!(fills(&open(&disk, 150).1), expected);
        }
    }
}

/// The kernel drops the pages that it could not write and reports the failure once: the next sync succeeds.
#[test]
fn after_a_failed_sync_the_batches_are_written_again() {
    for seed in 0..50 {
        let disk = Arc::new(SimulatedDisk::new(seed));
        let (mut log, _) = open(&disk, 1000);
        log.append(&[batch(1, 40)]).unwrap();
        log.append(&[batch(2, 40)]).unwrap();
        disk.fail(disk.operations()..disk.operations() + 2, Failure::Broken);
        let synced = log.synced();
        log.sync().unwrap_err();
        log.sync().unwrap_err();
        assert_eq!(log.synced(), synced);
        assert_eq!(read(&log, 0, 9999).1.len(), 2, "reads go on");
        log.sync().unwrap();
        assert_eq!(log.synced(), log.end());
        disk.restart(Crash::Power);
        assert_eq!(open(&disk, 1000).1.len(), 2);
    }
}

/// The new segment's file may be there although making it failed. A batch that would still fit the old segment must
/// not go there: the two would overlap.
#[test]
fn a_segment_whose_successor_was_begun_takes_no_more() {
    for seed in 0..20 {
        for failing in 0..4 {
            let disk = Arc::new(SimulatedDisk::new(seed));
            let (mut log, _) = open(&disk, 100);
            log.append(&[batch(1, 40)]).unwrap();
            log.sync().unwrap();
            disk.fail(disk.operations() + failing..disk.operations() + failing + 1, Failure::Broken);
            let refused = log.append(&[batch(2, 60)]).is_err();
            log.append(&[batch(3, 2)]).unwrap();
            log.close().unwrap();
            disk.restart(Crash::Power);
            assert_eq!(open(&disk, 100).1.len(), if refused { 2 } else { 3 });
        }
    }
}

use super::super::disk::simulated::{Crash, SimulatedDisk};
use super::*;

type Found = Vec<(u64, Vec<u8>)>;

const SEGMENT_BYTES: u64 = 200;

fn try_open(
    disk: &Arc<SimulatedDisk>,
) -> Result<(SegmentLog<SimulatedDisk>, Recovery, Found), RecoveryError> {
    let mut found = Found::new();
    let on_batch = &mut |position: LogPosition, batch: &[u8]| {
        found.push((position.0, batch.to_vec()));
        Ok(())
    };
    let (log, recovery) = recover(Arc::clone(disk), SEGMENT_BYTES, on_batch)?;
    Ok((log, recovery, found))
}

/// A disk with a log of these batches, in segments of a few: each synced, or only closed at the end.
fn written(batches: &[&[u8]], is_closed: bool) -> (Arc<SimulatedDisk>, Found) {
    let disk = Arc::new(SimulatedDisk::new(1));
    let (mut log, ..) = try_open(&disk).unwrap();
    let mut expected = Found::new();
    for batch in batches {
        log.append(&[Arc::from(*batch)]).unwrap();
        if !is_closed {
            log.sync().unwrap();
        }
        expected.push((log.end().0 - 24 - batch.len() as u64, batch.to_vec()));
    }
    if is_closed {
        log.close().unwrap();
    }
    disk.restart(Crash::Process);
    (disk, expected)
}

fn segments(disk: &SimulatedDisk) -> Vec<String> {
    disk.list().unwrap()
}

fn batches(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| vec![number as u8; 1 + number * 7 % 60]).collect()
}

fn slices(batches: &[Vec<u8>]) -> Vec<&[u8]> {
    batches.iter().map(Vec::as_slice).collect()
}

#[test]
fn an_empty_directory_becomes_an_empty_log() {
    let (_, recovery, found) = try_open(&Arc::new(SimulatedDisk::new(1))).unwrap();
    let nothing = LogPosition::default();
    assert_eq!(recovery, Recovery { start: nothing, end: nothing, batches: 0, cut: None });
    assert!(found.is_empty());
}

#[test]
fn other_files_are_left_alone_and_misnamed_segments_refused() {
    let (disk, expected) = written(&[b"one"], true);
    disk.put("clock", b"x");
    disk.put("log-0000000000000000.seg.bak", b"x");
    assert_eq!(try_open(&disk).unwrap().2, expected);
    disk.put("log-12.seg", b"x");
    let error = try_open(&disk).err().unwrap().to_string();
    assert!(error.contains("log-12.seg"), "{error}");
}

/// Every byte of every file of a log that was closed: either the log is refused, naming the file, or nothing at all is
/// missing.
#[test]
fn a_flipped_bit_in_a_closed_log_is_refused_or_harmless() {
    let batches = batches(24);
    let (disk, expected) = written(&slices(&batches), true);
    assert!(segments(&disk).len() >= 4);
    let mut harmless = Vec::new();
    for name in segments(&disk) {
        for offset in 0..disk.contents(&name).unwrap().len() as u64 {
            for bit in 0..8 {
                let (disk, _) = written(&slices(&batches), true);
                disk.damage(&name, offset, 1 << bit);
                match try_open(&disk) {
                    Err(error) => assert!(error.to_string().contains(&name), "{error}"),
                    Ok((.., found)) => {
                        assert_eq!(found, expected, "{name} {offset}");
                        harmless.push((name.clone(), offset));
                    }
                }
            }
        }
    }
    let last = segments(&disk).pop().unwrap();
    let marker = disk.contents(&last).unwrap().len() as u64 - 24;
    assert!(harmless.iter().all(|(name, offset)| *name == last && *offset >= marker), "{harmless:?}");
}

/// Without a marker only the last record, behind which nothing proves anything, may be taken for torn.
#[test]
fn a_flipped_bit_before_a_later_sync_is_refused_after_a_crash() {
    let batches = batches(5);
    let (disk, expected) = written(&slices(&batches), false);
    let name = segments(&disk).pop().unwrap();
    let length = disk.contents(&name).unwrap().len() as u64;
    let last = length - 24 - batches[4].len() as u64;
    for offset in 0..length {
        let (disk, _) = written(&slices(&batches), false);
        disk.damage(&name, offset, 0x08);
        match try_open(&disk) {
            Err(error) => assert!(offset < last, "{offset}: {error}"),
            Ok((_, recovery, found)) => {
                assert!(offset >= last, "{offset}");
                assert_eq!(found, expected[..4]);
                assert_eq!(
                    recovery.cut,
                    Some(TornTail { file: name.clone(), offset: last, bytes: length - last })
                );
            }
        }
    }
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_to_the_whole_records_before_it() {
    let batches = batches(5);
    let (disk, expected) = written(&slices(&batches), false);
    let name = segments(&disk).pop().unwrap();
    let bytes = disk.contents(&name).unwrap();
    let start = expected.last().unwrap().0;
    assert!(start > 0);
    for length in 0..=bytes.len() {
        for garbage in [&b""[..], &[0; 100], &[0xff; 100]] {
            if length < SEGMENT_HEADER_BYTES && !garbage.is_empty() {
                continue;
            }
            let torn = [&bytes[..length], garbage].concat();
            let (disk, _) = written(&slices(&batches), false);
            disk.put(&name, &torn);
            let (mut log, recovery, found) = try_open(&disk).unwrap();
            assert_eq!(found, expected[..found.len()]);
            let whole = found.last().map_or(0, |(position, batch)| position + 24 + batch.len() as u64);
            assert_eq!(recovery.end.0, whole);
            let kept = expected
                .get(found.len())
                .map_or(u64::MAX, |(position, batch)| position + 48 + batch.len() as u64);
            assert!((length as u64) < kept, "a whole record was cut: {length} {kept}");
            assert_eq!(recovery.cut.is_some(), torn.len() as u64 > whole + 24);
            log.append(&[Arc::from(&b"more"[..])]).unwrap();
            log.close().unwrap();
            let (_, recovery, again) = try_open(&disk).unwrap();
            assert_eq!((again.len(), recovery.cut), (found.len() + 1, None));
        }
    }
}

/// A record inside of a value is not a record of the log: it is at a wrong position.
#[test]
fn a_copy_of_a_log_in_a_torn_batch_proves_nothing() {
    let (disk, _) = written(&[b"one", b"two", b"three"], true);
    let copy = disk.contents(&segments(&disk)[0]).unwrap();
    let (disk, expected) = written(&[b"one", &[&b"x"[..], &copy].concat()], false);
    let name = segments(&disk)[0].clone();
    let bytes = disk.contents(&name).unwrap();
    disk.put(&name, &bytes[..bytes.len() - 1]);
    assert_eq!(try_open(&disk).unwrap().2, expected[..1]);
}

#[test]
fn proof_is_found_however_far_behind() {
    let large = vec![7; 3 * SCAN_BYTES - 30];
    for extra in 0..60 {
        let large = &large[..large.len() - extra];
        let (disk, _) = written(&[large], true);
        let name = segments(&disk)[0].clone();
        disk.damage(&name, 30, 1);
        let error = try_open(&disk).err().unwrap();
        assert!(matches!(error, RecoveryError::Damaged { offset: 24, .. }), "{error}");
    }
}

#[test]
fn a_missing_or_shortened_segment_is_refused() {
    let batches = batches(24);
    let (disk, _) = written(&slices(&batches), true);
    let names = segments(&disk);
    for missing in 1..names.len() - 1 {
        let (disk, _) = written(&slices(&batches), true);
        disk.remove(&names[missing]).unwrap();
        let error = try_open(&disk).err().unwrap().to_string();
        assert!(error.contains(&names[missing - 1]) && error.contains(&names[missing + 1]), "{error}");
        assert!(error.contains("from a peer"), "{error}");
    }
    for name in &names[..names.len() - 1] {
        let bytes = disk.contents(name).unwrap();
        for length in 0..bytes.len() {
            let (disk, _) = written(&slices(&batches), true);
            disk.put(name, &bytes[..length]);
            let error = try_open(&disk).err().unwrap().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
    disk.remove(&names[0]).unwrap();
    let (_, recovery, _) = try_open(&disk).unwrap();
    assert!(recovery.start.0 > 0, "whether a log may start there is for the snapshot to say");
}

#[test]
fn a_segment_under_another_ones_name_is_refused() {
    let batches = batches(24);
    let (disk, _) = written(&slices(&batches), true);
    let names = segments(&disk);
    let bytes = disk.contents(&names[1]).unwrap();
    disk.put(&names[2], &bytes);
    let error = try_open(&disk).err().unwrap();
    assert!(
        matches!(&error, RecoveryError::Damaged { file, offset: 12, .. } if *file == names[2]),
        "{error}"
    );
    disk.put(&names[2], &[disk.contents(&names[1]).unwrap(), bytes[24..].to_vec()].concat());
    try_open(&disk).err().unwrap();
}

#[test]
fn a_segment_of_another_format_is_refused() {
    let (disk, _) = written(&[b"one"], true);
    let name = segments(&disk)[0].clone();
    let mut bytes = disk.contents(&name).unwrap();
    bytes[8] = 9;
    let crc = crc32fast::hash(&bytes[..20]);
    bytes[20..24].copy_from_slice(&crc.to_le_bytes());
    for bytes in [&bytes[..], &bytes[..24]] {
        disk.put(&name, bytes);
        let error = try_open(&disk).err().unwrap();
        assert!(matches!(&error, RecoveryError::Format { format: 9, .. }), "{error}");
        assert!(error.to_string().contains(&name), "{error}");
    }
}

#[test]
fn a_batch_that_is_not_understood_is_refused_and_stays() {
    let (disk, expected) = written(&[b"one", b"two"], false);
    let mut count = 0;
    let on_batch = &mut |_: LogPosition, _: &[u8]| {
        count += 1;
        if count == 2 { Err(BatchError::Format(9)) } else { Ok(()) }
    };
    let error = recover(Arc::clone(&disk), SEGMENT_BYTES, on_batch).err().unwrap();
    let text = error.to_string();
    assert!(matches!(error, RecoveryError::Batch { offset: 51, .. }), "{text}");
    assert!(text.contains("log-0000000000000000.seg") && text.contains("format 9"), "{text}");
    assert_eq!(try_open(&disk).unwrap().2, expected);
}

use parking_lot::Mutex;
use shared::clock::Timestamp;

use super::super::disk::simulated::{Crash, SimulatedDisk};
use super::*;

type Found = Option<(SnapshotHeader, Vec<Vec<u8>>)>;

fn header(replay: u64) -> SnapshotHeader {
    let frontier: Frontier =
        [(Origin(1), Timestamp(replay)), (Origin(2), Timestamp(7))].into_iter().collect();
    SnapshotHeader {
        frontier,
        replay: LogPosition(replay),
        serve_from: LogPosition(3),
        log_start: Frontier::new(),
        closed: None,
    }
}

fn blocks(replay: u64) -> Vec<Vec<u8>> {
    (1..5).map(|length| vec![replay as u8; length * 5]).collect()
}

fn write(disk: &SimulatedDisk, replay: u64) -> Result<(), DiskError> {
    let mut writer = SnapshotWriter::begin(Arc::new(disk.clone()), &header(replay))?;
    for block in blocks(replay) {
        writer.block(&block)?;
    }
    writer.finish()?;
    writer.commit()
}

fn load(disk: &SimulatedDisk) -> Result<Found, SnapshotError> {
    let found = Mutex::new(Vec::new());
    let loaded = load_newest(disk, NonZeroUsize::MIN, &|block| {
        found.lock().push(block.to_vec());
        Ok(())
    })?;
    Ok(loaded.map(|loaded| (loaded.header, found.into_inner())))
}

fn names(disk: &SimulatedDisk) -> Vec<String> {
    disk.list().unwrap()
}

#[test]
fn the_newest_snapshot_is_loaded_and_those_before_it_go() {
    let disk = SimulatedDisk::new(1);
    assert_eq!(load(&disk).unwrap(), None);
    write(&disk, 100).unwrap();
    let older = disk.contents(&snapshot_name(LogPosition(100))).unwrap();
    write(&disk, 200).unwrap();
    write(&disk, 200).unwrap();
    disk.put(&snapshot_name(LogPosition(100)), &older);
    disk.put("snapshot-0000000000000100.bak", b"a person's");
    disk.restart(Crash::Power);
    assert_eq!(load(&disk).unwrap(), Some((header(200), blocks(200))));
    assert_eq!(names(&disk), [snapshot_name(LogPosition(200)), "snapshot-0000000000000100.bak".to_owned()]);
}

#[test]
fn a_snapshot_that_is_given_up_leaves_nothing() {
    let disk = SimulatedDisk::new(1);
    write(&disk, 100).unwrap();
    let mut writer = SnapshotWriter::begin(Arc::new(disk.clone()), &header(200)).unwrap();
    writer.block(b"x").unwrap();
    writer.abandon();
    assert_eq!(names(&disk), [snapshot_name(LogPosition(100))]);
}

#[test]
fn a_crash_leaves_the_snapshot_before_or_the_new_one() {
    for seed in 0..40 {
        let dry = SimulatedDisk::new(seed);
        write(&dry, 100).unwrap();
        let first = dry.operations();
        write(&dry, 200).unwrap();
        for crash_at in first..dry.operations() {
            let disk = SimulatedDisk::new(seed);
            write(&disk, 100).unwrap();
            disk.crash_at(crash_at);
            write(&disk, 200).unwrap_err();
            disk.restart(Crash::Power);
            let found = load(&disk).unwrap();
            let replay = found.as_ref().unwrap().0.replay;
            assert_eq!(found, Some((header(replay.0), blocks(replay.0))));
            disk.restart(Crash::Power);
            assert_eq!(load(&disk).unwrap(), found, "what was loaded once stays");
            assert_eq!(names(&disk), [snapshot_name(replay)]);
        }
    }
}

#[test]
fn a_flipped_bit_is_refused_by_name() {
    let disk = SimulatedDisk::new(1);
    write(&disk, 100).unwrap();
    let name = snapshot_name(LogPosition(100));
    for offset in 0..disk.contents(&name).unwrap().len() as u64 {
        for bit in 0..8 {
            disk.damage(&name, offset, 1 << bit);
            let error = load(&disk).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name} is damaged at byte ")), "{error}");
            disk.damage(&name, offset, 1 << bit);
        }
    }
    load(&disk).unwrap();
}

#[test]
fn a_torn_or_lengthened_file_is_refused_by_name() {
    let disk = SimulatedDisk::new(1);
    write(&disk, 100).unwrap();
    let name = snapshot_name(LogPosition(100));
    let whole = disk.contents(&name).unwrap();
    for length in 0..whole.len() {
        disk.put(&name, &whole[..length]);
        assert!(load(&disk).unwrap_err().to_string().starts_with(&name));
    }
    disk.put(&name, &[&whole[..], b"x"].concat());
    assert!(load(&disk).unwrap_err().to_string().starts_with(&name));
}

#[test]
fn a_damaged_newest_one_is_refused_though_an_older_one_is_there() {
    let disk = SimulatedDisk::new(1);
    write(&disk, 100).unwrap();
    disk.put(&snapshot_name(LogPosition(200)), b"");
    load(&disk).unwrap_err();
    assert_eq!(names(&disk).len(), 2, "nothing was changed");
}

#[test]
fn a_snapshot_under_a_wrong_name_or_of_another_format_is_refused() {
    let disk = SimulatedDisk::new(1);
    write(&disk, 100).unwrap();
    let bytes = disk.contents(&snapshot_name(LogPosition(100))).unwrap();
    disk.put(&snapshot_name(LogPosition(200)), &bytes);
    assert!(load(&disk).unwrap_err().to_string().contains("position is not the one in its name"));
    let mut head = encode_head(&header(200));
    let length = head.len() - 4;
    head[8] = 2;
    let crc = crc32fast::hash(&head[..length]);
    head[length..].copy_from_slice(&crc.to_le_bytes());
    disk.put(&snapshot_name(LogPosition(200)), &head);
    assert!(matches!(load(&disk), Err(SnapshotError::Format { format: 2, .. })));
}

#[test]
fn the_format_is_pinned() {
    let disk = SimulatedDisk::new(1);
    let header = SnapshotHeader { closed: Some(Origin(9)), ..header(0x10) };
    let mut writer = SnapshotWriter::begin(Arc::new(disk.clone()), &header).unwrap();
    writer.block(b"block").unwrap();
    writer.finish().unwrap();
    writer.commit().unwrap();
    let bytes = disk.contents("snapshot-0000000000000010").unwrap();
    let expected =
        b"tandemsn\x01\0\0\0\x0e\0\0\0\x95\x92\0\x82\x01\x10\x02\x07\x10\x03\x92\0\x80\x09\x09\xf2\\\x9c\
        \x05\0\0\0\xbd&MJblock\0\0\0\0\x01\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0x\x04]\xe9";
    assert_eq!(bytes.escape_ascii().to_string(), expected.escape_ascii().to_string());
    assert_eq!(load(&disk).unwrap(), Some((header, vec![b"block".to_vec()])));
}

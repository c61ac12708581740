//! Any one byte of any file of a directory is changed: a start names the file and what to do, or what it serves is what was
//! written.

use std::collections::BTreeMap;

use shared::id::Origin;
use shared::time::WallMillis;

use crate::log::disk::Disk;
use crate::log::disk::simulated::{Crash, SimulatedDisk};
use crate::log::durability_tests::{Life, start};
use crate::log::segment::LogPosition;
use crate::store::canonical::Canonical;

/// What was written when the log had come to each position.
type States = BTreeMap<LogPosition, Canonical>;

/// A directory of which every file matters: a snapshot, segments before and behind it, and what tells who the node is.
fn directory() -> (SimulatedDisk, Life, States) {
    let disk = SimulatedDisk::new(1);
    let mut life = start(&disk, Origin(1)).unwrap();
    life.node.settings.set_log_retention(3_000);
    let mut states = States::new();
    for value in 0..120 {
        life.write(value % 20, value, WallMillis(1_000 + value)).unwrap();
        life.writer.turn(&life.node.log, true).unwrap();
        if value == 60 {
            assert!(life.save());
        }
        states.insert(life.node.log.end(), life.node.store.canonical());
    }
    let names = disk.list().unwrap();
    let segments = names.iter().filter(|name| name.ends_with(".seg")).count();
    assert!(segments > 3 && names.iter().any(|name| name.starts_with("snapshot-")), "{names:?}");
    for name in ["clock", "members", "node"] {
        assert!(names.iter().any(|other| other == name), "{name} is missing");
    }
    (disk, life, states)
}

/// Changes every byte, or every so many, and starts a node on what is left each time.
fn change_each_byte(disk: &SimulatedDisk, mut check: impl FnMut(&str, u64, Result<Life, String>)) {
    let step = if std::env::var_os("TANDEM_LONG").is_some() { 1 } else { 13 };
    for name in disk.list().unwrap() {
        let length = disk.contents(&name).unwrap().len() as u64;
        let (mut offset, mut mask) = (0, 1_u8);
        while offset < length {
            let copy = disk.copy(offset);
            copy.damage(&name, offset, mask);
            check(&name, offset, start(&copy, Origin(2)));
            (offset, mask) = (offset + step, mask.rotate_left(1));
        }
    }
}

#[track_caller]
fn check_refusal(name: &str, offset: u64, error: &str) {
    let story = format!("byte {offset} of {name}: {error}");
    assert!(error.contains(name), "the file is not named: {story}");
    let advice = ["restore it from a copy", "restore the file from a copy", "restore them from a copy"];
    assert!(advice.iter().any(|advice| error.contains(advice)), "it is not said what to do: {story}");
    if name.starts_with("log-") || name.starts_with("snapshot-") {
        assert!(error.contains("at byte"), "it is not said where: {story}");
    }
}

#[test]
fn after_a_clean_stop_any_changed_byte_is_refused_or_does_no_harm() {
    let (disk, mut life, states) = directory();
    life.node.log.stop(0);
    life.writer.turn(&life.node.log, true).unwrap();
    life.writer.close().unwrap();
    let written = states.last_key_value().unwrap().1;
    disk.restart(Crash::Power);
    let (mut refused, mut served) = (0, 0);
    change_each_byte(&disk, |name, offset, started| match started {
        Err(error) => {
            refused += 1;
            check_refusal(name, offset, &error);
        }
        Ok(life) => {
            served += 1;
            assert_eq!(&life.node.store.canonical(), written, "byte {offset} of {name}");
        }
    });
    assert!(refused > 100 && served > 100, "{refused} were refused, {served} did no harm");
}

/// Then the newest record may be taken for one that the crash has torn: it is cut off, and that is told.
#[test]
fn after_a_crash_a_changed_byte_may_cost_what_may_have_been_torn_and_that_is_told() {
    let (disk, life, states) = directory();
    drop(life);
    disk.restart(Crash::Power);
    let mut cut = 0;
    change_each_byte(&disk, |name, offset, started| match started {
        Err(error) => check_refusal(name, offset, &error),
        Ok(life) => {
            let end = life.found.log.end;
            assert_eq!(life.node.store.canonical(), states[&end], "byte {offset} of {name}");
            if end < *states.last_key_value().unwrap().0 {
                cut += 1;
                let told = life.found.log.cut.expect("the cut is told");
                assert_eq!(told.file, name);
                assert!(
                    told.offset <= offset && offset < told.offset + told.bytes,
                    "{told:?}, changed was {offset}"
                );
            }
        }
    });
    assert!(cut > 0, "nothing was cut");
}

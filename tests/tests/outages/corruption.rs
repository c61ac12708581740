//! Memory that fails: what an operator finds, and what the nodes find by themselves.

use std::time::Instant;

use tests::group::{Group, Topology};
use tests::host::Host;
use tests::operator::ask;
use tests::programs;
use tests::wait::wait_for;

use crate::{for_each, get, wait_counter};

const KEYS: usize = 1_000;

fn filled() -> Group {
    let group = Group::start(&programs!(), 2, Topology::Mesh);
    for_each(&mut group[0].writing_client(), KEYS, |number| format!("SET key:{number} value"));
    group.check_equal();
    group
}

fn fail(host: &Host, how: &str, key: &str) {
    let done: bool = redis::cmd("FEED").arg(how).arg(key).query(&mut host.client()).expect("FEED answers");
    assert!(done, "{key} is no string at {}", host.name());
}

/// A flipped bit changes no version, so only who looks at the values sees it.
#[test]
fn a_flipped_bit_is_named_by_a_deep_verification_and_mended_by_a_repair() {
    let group = filled();
    fail(&group[1], "CORRUPT", "key:500");
    assert_ne!(get(&group[1], "key:500").as_deref(), Some("value"));
    for host in group.hosts() {
        let shallow = ask(host, &["verify"]);
        assert_eq!(shallow.code, Some(0), "{shallow:?}");
        let deep = ask(host, &["verify", "--deep"]);
        assert_eq!(deep.code, Some(1), "{deep:?}");
        assert!(deep.out.contains("\"key:500\"") && deep.out.contains("1 differ"), "{deep:?}");
        assert!(!deep.out.contains("\"key:499\""), "{deep:?}");
    }
    let repaired = ask(&group[1], &["repair", "--peer", "host0"]);
    assert_eq!(repaired.code, Some(0), "{repaired:?}");
    eprintln!("corruption: {}", repaired.out.trim());
    for host in group.hosts() {
        let deep = ask(host, &["verify", "--deep"]);
        assert_eq!(deep.code, Some(0), "{deep:?}");
    }
    assert_eq!(get(&group[1], "key:500").as_deref(), Some("value"));
    group.check_equal();
    let unlinked = ask(&group[1], &["verify", "--peer", "nobody"]);
    assert_eq!(unlinked.code, Some(2), "{unlinked:?}");
}

#[test]
fn a_lost_key_is_an_alarm_and_comes_back_by_itself() {
    let group = filled();
    let lost_at = Instant::now();
    fail(&group[0], "LOSE", "key:1");
    fail(&group[1], "LOSE", "key:2");
    assert_eq!((get(&group[0], "key:1"), get(&group[1], "key:2")), (None, None));
    for host in group.hosts() {
        wait_counter(host, "diverged_slots", |slots| slots > 0);
        wait_for("an alarm in the log", || {
            let log = host.node_log();
            let is_told = |line: &&str| line.contains("ERRO") && line.contains("data differ although");
            log.lines().find(is_told).map(drop).ok_or_else(|| log.clone())
        });
    }
    wait_for("the keys to be back", || {
        let found: Vec<Option<String>> =
            group.hosts().iter().flat_map(|host| [get(host, "key:1"), get(host, "key:2")]).collect();
        let is_back = found.iter().all(|value| value.as_deref() == Some("value"));
        if is_back { Ok(()) } else { Err(format!("{found:?}")) }
    });
    eprintln!("lost keys: back after {:?}", lost_at.elapsed());
    group.check_equal();
    for host in group.hosts() {
        let deep = ask(host, &["verify", "--deep"]);
        assert_eq!(deep.code, Some(0), "{deep:?}");
    }
}

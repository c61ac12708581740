//! A member that is away for longer than it is waited for: what was deleted meanwhile stays deleted, though nobody
//! remembers it; what the member took meanwhile survives where nothing later was written.

use std::time::Instant;

use tests::group::Group;
use tests::host::Host;
use tests::operator::{ask, check_undiverged, check_verified};

use crate::{count_keys, for_each, get, mesh, wait_counter};

/// Keys that are deleted while a member is away.
const KEYS: usize = 1_000;

/// Keys that both sides write meanwhile.
const CONTESTED: usize = 100;

/// The timeout is longer than the five seconds for which a name is held: else a member that comes back under a new node
/// id is taken for silent once more.
#[test]
fn what_was_deleted_while_a_member_was_silent_for_too_long_stays_deleted() {
    let mut group = mesh(3, &["--member-timeout", "8"]);
    check_absence(&mut group, |_| {});
}

#[test]
fn what_was_deleted_while_a_forgotten_member_was_away_stays_deleted() {
    let mut group = mesh(3, &[]);
    check_absence(&mut group, |group| {
        let held = group[0].counter("tombstone_bytes");
        assert!(held > 0, "tombstones wait for a member that is away");
        let refused = ask(&group[0], &["forget", "host2"]);
        assert_ne!(refused.code, Some(0), "{refused:?}");
        assert!(refused.err.contains("say --yes"), "{refused:?}");
        let forgotten = ask(&group[1], &["forget", "--yes", "host2"]);
        assert_eq!(forgotten.code, Some(0), "{forgotten:?}");
        assert!(forgotten.err.contains("This cannot be taken back"), "{forgotten:?}");
        let nobody = ask(&group[1], &["forget", "--yes", "nobody"]);
        assert_ne!(nobody.code, Some(0), "{nobody:?}");
    });
}

/// The third member is away, evicted by what `give_up` does, and returns.
fn check_absence(group: &mut Group, give_up: impl FnOnce(&Group)) {
    let mut client = group[0].writing_client();
    for_each(&mut client, KEYS, |number| format!("SET gone:{number} {number}"));
    for_each(&mut client, KEYS, |number| format!("SET kept:{number} {number}"));
    group.check_equal();

    let left_at = Instant::now();
    group[2].kill_agent();
    for_each(&mut client, KEYS, |number| format!("DEL gone:{number}"));
    let held = group[0].counter("tombstone_bytes");
    contest(&group[2], &group[0]);
    for_each(&mut group[2].writing_client(), KEYS, |number| format!("SET own:{number} {number}"));
    for_each(&mut group[2].writing_client(), CONTESTED, |number| format!("INCRBY counted:{number} 2"));
    for_each(&mut client, CONTESTED, |number| format!("INCRBY counted:{number} 3"));
    give_up(group);
    for host in &group.hosts()[..2] {
        wait_counter(host, "tombstone_bytes", |bytes| bytes == 0);
    }
    let dropped_after = left_at.elapsed();
    assert_eq!(count_keys(&group[2], "gone", KEYS), KEYS, "the member that is away has heard of nothing");

    let back_at = Instant::now();
    let before = group[2].counter("reconciles_done");
    group[2].start_agent();
    wait_counter(&group[2], "reconciles_done", |done| done > before);
    wait_counter(&group[2], "ready", |ready| ready == 1);
    let ready_after = back_at.elapsed();
    group.check_equal();
    for host in group.hosts() {
        assert_eq!(count_keys(host, "gone", KEYS), 0, "deleted keys are back at {}", host.name());
        assert_eq!(count_keys(host, "kept", KEYS), KEYS, "{}", host.name());
        assert_eq!(count_keys(host, "own", KEYS), KEYS, "{}", host.name());
        for number in 0..CONTESTED {
            let found = [get(host, &format!("early:{number}")), get(host, &format!("late:{number}"))];
            assert_eq!(found, [Some("later".into()), Some("later".into())], "{number} at {}", host.name());
            let counted = get(host, &format!("counted:{number}"));
            assert_eq!(counted.as_deref(), Some("5"), "counted:{number} at {}", host.name());
        }
    }
    check_undiverged(group.hosts());
    let verified = check_verified(group.hosts());
    eprintln!(
        "absence: {held} bytes of tombstones of {KEYS} keys, 0 after {dropped_after:?}; back and ready after \
         {ready_after:?}, {} bytes reconciled; {verified} keys verified",
        group[2].counter("reconcile_bytes_in"),
    );
}

/// Keys that both write, each of them last at one.
fn contest(away: &Host, here: &Host) {
    let write = |host: &Host, prefix: &str, value: &str| {
        for_each(&mut host.writing_client(), CONTESTED, |number| format!("SET {prefix}:{number} {value}"));
    };
    write(away, "early", "earlier");
    write(here, "late", "earlier");
    // Clocks tell which is later: a millisecond must have passed.
    let written = clock(away).max(clock(here));
    tests::wait::wait_until("the clocks to go on", || clock(away).min(clock(here)) > written);
    write(here, "early", "later");
    write(away, "late", "later");
}

fn clock(host: &Host) -> shared::clock::Timestamp {
    host.feed_info("clock").parse().expect("a node tells its clock")
}

//! What crosses after an outage: the missing writes, and where logs do not reach back, the slots that differ.

use std::time::Instant;

use redis::Connection;
use shared::version::Frontier;
use tests::feed::copy_after;
use tests::group::{Group, Topology};
use tests::host::Host;
use tests::load::{at_once, size};
use tests::operator::{check_undiverged, check_verified};
use tests::programs;
use tests::wait::wait_for;

use crate::{flags, for_each, mesh, wait_counter};

/// Keys that all have before the outage: sixteen bytes, and values of sixty-four.
const KEYS: usize = 20_000;

fn fill(client: &mut Connection) {
    for_each(client, KEYS, |number| format!("SET key:{number:012} {number:064}"));
}

/// Writes of each of those that are there meanwhile: in the long form as many as 20,000 a second make in two minutes.
fn missed() -> usize {
    size(15_000, 1_200_000)
}

fn write_meanwhile(group: &Group) {
    at_once(&[&group[0], &group[1]], |side, client| {
        for_each(client, missed(), |number| format!("SET meanwhile:{side}:{} {number:064}", number % 50_000));
    });
}

#[test]
fn only_what_was_missed_crosses_when_links_were_cut() {
    let mut group = mesh(3, &[]);
    fill(&mut group[0].writing_client());
    let before = group.wait_converged();
    group[2].kill_agent();
    write_meanwhile(&group);
    let received = group[2].counter("link_payload_bytes_in");
    let reconciled = group[2].counter("reconcile_bytes_in");
    let back_at = Instant::now();
    group[2].start_agent();
    check_missing_crossed(&group, &before, (received, reconciled), back_at, "links were cut");
}

#[test]
fn only_what_was_missed_crosses_when_a_node_was_down() {
    let mut group = mesh(3, &[]);
    fill(&mut group[0].writing_client());
    let before = group.wait_converged();
    group[2].kill_node();
    write_meanwhile(&group);
    let back_at = Instant::now();
    group[2].start_node();
    check_missing_crossed(&group, &before, (0, 0), back_at, "a node was down");
}

#[track_caller]
fn check_missing_crossed(
    group: &Group,
    before: &Frontier,
    (received, reconciled): (u64, u64),
    back_at: Instant,
    what: &str,
) {
    group.wait_converged();
    let caught_up_after = back_at.elapsed();
    let received = group[2].counter("link_payload_bytes_in") - received;
    assert_eq!(group[2].counter("reconcile_bytes_in"), reconciled, "batches would have done");
    let missing = copy_after(&group[0], before, |_| true);
    eprintln!(
        "{what}: {} writes were missed, {} bytes in {} batches; {received} bytes crossed; equal after \
         {caught_up_after:?}",
        2 * missed(),
        missing.bytes,
        missing.batches,
    );
    // What was on its way when the outage began may come twice.
    assert!(received >= missing.bytes && received <= missing.bytes + missing.bytes / 20 + (64 << 10));
    group.check_equal();
    check_undiverged(group.hosts());
}

#[test]
fn only_slots_that_differ_cross_when_the_log_on_disk_was_truncated() {
    check_truncated(&["--log-retention", "0", "--snapshot-after", "100kb"]);
}

#[test]
fn only_slots_that_differ_cross_when_the_log_in_memory_was_truncated() {
    check_truncated(&["--memory", "--log-memory", "100kb"]);
}

fn check_truncated(serving: &[&str]) {
    const DIFFERING: usize = 300;
    let mut group = Group::new(&programs!(), 2);
    group.connect(Topology::Mesh);
    group[0].node_flags = flags(serving);
    group.start_all();
    fill(&mut group[0].writing_client());
    let before = group.wait_converged();
    let reconciled = group[1].counter("reconcile_bytes_in");
    group[1].kill_agent();
    let mut client = group[0].writing_client();
    let write = |client: &mut Connection, count: usize| {
        for_each(client, count, |number| format!("SET key:{:012} {number:064}", number % DIFFERING));
    };
    write(&mut client, size(20_000, 1_000_000));
    for_each(&mut group[1].writing_client(), DIFFERING, |number| format!("SET own:{number} {number:064}"));
    wait_for("the log to start later", || {
        // A snapshot is written when the log has grown by what the last one took.
        write(&mut client, 1_000);
        let start: Frontier = group[0].feed_info("log-start").parse().expect("a node tells its log's start");
        if before.covers_listed(&start) {
            Err(format!("{start}, and the other has {before}"))
        } else {
            Ok(())
        }
    });
    let back_at = Instant::now();
    group[1].start_agent();
    let done = group[1].counter("reconciles_done");
    wait_counter(&group[1], "reconciles_done", |count| count > done);
    group.wait_converged();
    let equal_after = back_at.elapsed();
    let reconciled = group[1].counter("reconcile_bytes_in") - reconciled;
    let taken = group[1].counter("reconcile_parts_taken");
    group.check_equal();
    check_undiverged(group.hosts());
    let verified = check_verified(group.hosts());
    let bytes_of = |keys: usize| (keys * (16 + 64)) as u64;
    eprintln!(
        "truncated by {serving:?}: {reconciled} bytes of state crossed, {taken} keys taken; {DIFFERING} keys of {} \
         bytes differ, all {KEYS} have {}; equal after {equal_after:?}; {verified} keys verified",
        bytes_of(DIFFERING),
        bytes_of(KEYS),
    );
    assert!(reconciled < bytes_of(KEYS) / 3, "{reconciled} bytes crossed");
    check_holds_own(&group[0], DIFFERING);
}

#[track_caller]
fn check_holds_own(host: &Host, count: usize) {
    assert_eq!(crate::count_keys(host, "own", count), count, "{} lacks what the other wrote", host.name());
}

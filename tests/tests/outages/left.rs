//! How much log is left for a member that is away, before it must reconcile.

use redis::Connection;
use shared::version::Frontier;
use tests::group::{Group, Topology};
use tests::host::Host;
use tests::operator::{ask, members};
use tests::programs;
use tests::wait::wait_for;

use crate::{flags, for_each, mesh, wait_counter};

const RETENTION: u64 = 8 << 20;

#[test]
fn operators_see_how_much_log_on_disk_is_left_for_a_member_that_is_away() {
    check_left(&["--log-retention", "8mb", "--snapshot-after", "1mb"]);
}

#[test]
fn operators_see_how_much_log_in_memory_is_left_for_a_member_that_is_away() {
    check_left(&["--memory", "--log-memory", "8mb"]);
}

/// What a host's `members` says of another.
fn row_of(member: &Host, host: &Host) -> serde_json::Value {
    let listed = members(host);
    let rows = listed["members"].as_array().expect("a list");
    rows.iter().find(|row| row["name"] == member.name()).expect("the member is listed").clone()
}

fn check_left(keeping: &[&str]) {
    let mut group = Group::new(&programs!(), 2);
    group.connect(Topology::Mesh);
    group[0].node_flags = flags(keeping);
    group.start_all();
    group[1].kill_agent();
    let away_with = group[1].frontier();
    let is_served = |host: &Host| {
        let start: Frontier = host.feed_info("log-start").parse().expect("a node tells its log's start");
        away_with.covers_listed(&start)
    };
    let left = || group[0].log_left_for(group[1].name());
    let write =
        |client: &mut Connection| for_each(client, 50, |number| format!("SET key:{number} {number:010000}"));
    let mut client = group[0].writing_client();
    let first = wait_for("the member to have been heard", || left().ok_or_else(|| "it was not".to_owned()));
    assert!(first > RETENTION / 2 && first <= RETENTION, "{first} bytes are left at once");

    let (mut least, mut falls) = (first, 0);
    while least > 0 {
        write(&mut client);
        let now = left().expect("it was heard");
        assert!(now <= least, "{now} bytes are left after {least}");
        falls += usize::from(now < least);
        least = now;
        // It is looked at later than the figure: who is not served any more had none left.
        assert!(least == 0 || is_served(&group[0]) || left() == Some(0), "{least} bytes are left of nothing");
    }
    assert!(falls > 5, "it fell {falls} times from {first} to 0");
    wait_for("what it lacks to be removed", || {
        write(&mut client);
        if is_served(&group[0]) { Err("it is there".to_owned()) } else { Ok(()) }
    });
    assert_eq!((left(), group[0].counter("log_left_bytes")), (Some(0), 0));
    assert_eq!(row_of(&group[1], &group[0])["log_left_bytes"], 0);
    let table = ask(&group[0], &["members"]);
    assert!(table.out.contains("LOG_LEFT_BYTES"), "{table:?}");

    let done = group[1].counter("reconciles_done");
    group[1].start_agent();
    wait_counter(&group[1], "reconciles_done", |count| count > done);
    group.check_equal();
    wait_counter(&group[0], "log_left_bytes", |left| left > RETENTION / 2);
}

#[test]
fn a_log_in_memory_takes_memory_only_while_a_member_lacks_some_of_it() {
    let mut group = mesh(2, &["--memory"]);
    let mut client = group[0].writing_client();
    let mut write = || for_each(&mut client, 500, |number| format!("SET key:{number} {number:010000}"));
    let log_bytes = |host: &Host, is_wanted: fn(u64) -> bool| wait_counter(host, "mem_aof_buffer", is_wanted);
    const WRITTEN: u64 = 5_000_000;

    write();
    group.hosts().iter().for_each(|host| _ = log_bytes(host, |bytes| bytes == 0));

    group[1].kill_agent();
    write();
    wait_for("the member to be silent for longer than what all hold stays", || {
        let heard_ms_ago = row_of(&group[1], &group[0])["heard_ms_ago"].as_u64();
        if heard_ms_ago > Some(3_000) { Ok(()) } else { Err(format!("{heard_ms_ago:?}")) }
    });
    log_bytes(&group[0], |bytes| bytes > WRITTEN);

    let reconciles = group[1].counter("reconciles_done");
    group[1].start_agent();
    group.check_equal();
    assert_eq!(group[1].counter("reconciles_done"), reconciles, "it came from the log");
    group.hosts().iter().for_each(|host| _ = log_bytes(host, |bytes| bytes == 0));
}

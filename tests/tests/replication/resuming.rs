//! What crosses a link that was cut, once it is back.

use std::time::{Duration, Instant};

use redis::Connection;
use tests::feed::{Copy, copy_after, own_origin};
use tests::group::{Group, Topology};
use tests::host::Host;
use tests::load::{Load, at_once, send_all, size};
use tests::programs;
use tests::wait::wait_until;

use crate::check_apart;

/// Keys that both have before the link is cut, and that a full copy would carry again.
const KEYS: usize = 20_000;

/// How long the link is cut.
const CUT: Duration = Duration::from_secs(2);

#[test]
fn a_link_that_was_cut_for_seconds_carries_what_was_written_meanwhile_and_no_more() {
    let group = Group::start(&programs!(), 2, Topology::Mesh);
    at_once(&[&group[0], &group[1]], fill);
    let before = group.wait_converged();
    let sent_before = [sent(&group[0]), sent(&group[1])];

    group.cut_all();
    let cut_at = Instant::now();
    let load = Load::start(group.hosts(), |host| move |client: &mut Connection| write_slowly(host, client));
    while cut_at.elapsed() < CUT * size(1, 10) as u32 {
        load.wait_rounds(10);
    }
    load.finish();
    check_apart(&group[0], &group[1]);
    group.heal_all();
    group.check_equal();

    let sent_since = [sent(&group[0]), sent(&group[1])];
    for (host, (was, is)) in group.hosts().iter().zip(sent_before.into_iter().zip(sent_since)) {
        let own = own_origin(host);
        let written = copy_after(host, &before, |origin| origin == own);
        let everything = copy_after(host, &log_start(host), |_| true);
        let (batches, bytes) = (is.batches - was.batches, is.bytes - was.bytes);
        let shown = format!("{} sent {batches} batches of {bytes} bytes; {written:?}", host.name());
        assert!(batches >= written.batches && bytes >= written.bytes, "{shown}");
        // Both dial: the link that makes room for the other may have begun.
        assert!(batches <= written.batches + written.batches / 10 + 10, "{shown}");
        assert!(bytes <= written.bytes + written.bytes / 10 + (64 << 10), "{shown}");
        assert!(everything.bytes > 2 * bytes, "a full copy would not show: {everything:?}; {shown}");
    }
}

/// Where the host's log begins: what is older came when it joined its group.
fn log_start(host: &Host) -> shared::version::Frontier {
    host.feed_info("log-start").parse().expect("a node tells where its log begins")
}

fn fill(side: usize, client: &mut Connection) {
    let padding = "x".repeat(100);
    for first in (0..KEYS).step_by(100) {
        let run: Vec<String> =
            (first..first + 100).map(|key| format!("SET before:{side}:{key} {padding}")).collect();
        send_all(client, &run);
    }
}

/// A round of a client that writes a few hundred times a second.
fn write_slowly(host: usize, client: &mut Connection) {
    let own = fastrand::u16(..1_000);
    send_all(client, &[format!("SET meanwhile:{host}:{own} {}", fastrand::u64(..))]);
    send_all(client, &[format!("SET meanwhile:{} {host}", fastrand::u8(..))]);
    std::thread::sleep(Duration::from_millis(3));
}

/// What the node's streams have carried since its start. Streams that end are still being counted for a moment.
fn sent(host: &Host) -> Copy {
    let read =
        || Copy { batches: host.counter("batches_out"), bytes: host.counter("link_payload_bytes_out") };
    let mut last = read();
    wait_until("streams to rest", || {
        let now = read();
        std::mem::replace(&mut last, now) == now
    });
    last
}

/// A link stood still for ever: its stream had begun to read where the index said, and a whole turn of what it read was
/// held by the peer already, so there was nothing to send; and it waited for a new write to go on.
#[test]
fn a_follower_gets_what_lies_behind_a_long_stretch_that_it_holds() {
    let mut group = Group::new(&programs!(), 1);
    group[0].start_node();
    let padding = "x".repeat(100 << 10);
    for number in 0..12 {
        group[0].run(&["SET", "before", &padding]);
        let held = group[0].frontier();
        group[0].run(&["SET", "behind", &number.to_string()]);
        assert_eq!(copy_after(&group[0], &held, |_| true).batches, 1);
    }
}

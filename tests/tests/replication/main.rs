//! Masters that replicate: what they race for ends equal, counters add up, and what was deleted stays deleted.

mod blocks;

mod compression;

mod counters;

mod deletes;

mod messages;

mod mixes;

mod notifications;

mod races;

mod resuming;

use shared::clock::Timestamp;
use tests::host::Host;
use tests::wait::wait_until;

/// Waits until whatever `later` writes from now on is later than all that `earlier` has written.
fn wait_later(later: &Host, earlier: &Host) {
    let written = clock(earlier);
    wait_until("the clock to go on", || clock(later) > written);
}

fn clock(host: &Host) -> Timestamp {
    host.feed_info("clock").parse().expect("a node tells its clock")
}

/// Asserts that neither of two hosts has all that the other has.
#[track_caller]
fn check_apart(host: &Host, other: &Host) {
    let (here, there) = (host.frontier(), other.frontier());
    assert!(
        !here.covers_frontier(&there) && !there.covers_frontier(&here),
        "they are linked: {here} and {there}"
    );
}

//! Batches that no node may take.

use redis::Value;
use shared::change::{Change, Op};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::time::WallMillis;
use shared::version::Version;
use tests::feed::own_origin;
use tests::host::Host;

use crate::Pair;
use crate::feed::{Feed, batch, batch_after, now, set};

const STRANGER: Origin = Origin(0x5712_a49e_0000_0001);

/// The node refuses the batch with this error, and uses nothing of it.
#[track_caller]
fn check_refused(host: &Host, batch: &[u8], error: &str) {
    let held = host.frontier().get(STRANGER);
    match Feed::to(host).apply(batch) {
        Ok(applied) => panic!("a batch that ought to be refused with {error} is applied: {applied:?}"),
        Err(answer) => assert!(answer.starts_with(error), "{answer}, and not {error}"),
    }
    assert_eq!(host.frontier().get(STRANGER), held);
    assert_eq!(host.run(&["EXISTS", "forged"]), Value::Int(0));
}

/// Once the batch is put right it is taken, here and at the other master.
#[track_caller]
fn check_taken(pair: &mut Pair, batch: &[u8]) {
    Feed::to(pair.host()).apply(batch).expect("a good batch is taken");
    pair.check_alive();
    assert_eq!(pair.other().run(&["GET", "forged"]), Value::BulkString(b"value".to_vec()));
}

#[test]
fn a_damaged_batch_is_refused_whatever_bit_of_it_is_wrong() {
    let mut pair = Pair::start();
    let good = batch(STRANGER, now(), &[set("forged", "value"), set("forged", "value")]);
    let last = good.len() - 1;
    let flipped = |place: usize, bit: u8| {
        let mut bytes = good.clone();
        bytes[place] ^= bit;
        bytes
    };
    let checksum = format!("BADBATCH batch of origin {STRANGER} is damaged: its checksum does not match");
    check_refused(pair.host(), &flipped(last, 1), &checksum);
    let mut feed = Feed::to(pair.host());
    for place in 0..good.len() {
        for bit in 0..8 {
            let answer = feed.apply(&flipped(place, 1 << bit)).expect_err("it is damaged");
            assert!(answer.starts_with("BADBATCH "), "byte {place}, bit {bit}: {answer}");
        }
    }
    for length in 0..good.len() {
        let answer = feed.apply(&good[..length]).expect_err("it is cut short");
        assert!(answer.starts_with("BADBATCH "), "{length} bytes: {answer}");
    }
    check_refused(
        pair.host(),
        &[&good[..], b"\0"].concat(),
        "BADBATCH batch is malformed: bytes follow its payload",
    );
    check_taken(&mut pair, &good);
}

#[test]
fn a_batch_with_one_malformed_change_is_refused_whole() {
    let mut pair = Pair::start();
    let at = now();
    // It would hide writes that are not yet made.
    let ahead = Op::ObservedReset(Version::new(Timestamp(at.0 + 1), STRANGER));
    let malformed = Change::new(0, &b"forged"[..], ahead);
    let good = set("forged", "value");
    check_refused(
        pair.host(),
        &batch(STRANGER, at, &[good.clone(), malformed]),
        "BADBATCH batch is malformed: ",
    );
    check_taken(&mut pair, &batch(STRANGER, at, &[good]));
}

#[test]
fn a_batch_of_another_format_is_refused_with_both_versions() {
    let mut pair = Pair::start();
    let good = batch(STRANGER, now(), &[set("forged", "value")]);
    let mut newer = good.clone();
    newer[1] = 3;
    check_refused(
        pair.host(),
        &newer,
        "BADBATCH batch has format 3, this build reads 1 to 2: upgrade the older side",
    );
    check_taken(&mut pair, &good);
}

#[test]
fn a_batch_beyond_what_is_held_is_refused_until_the_gap_is_filled() {
    let mut pair = Pair::start();
    let (first, second) = (now(), Timestamp(now().0 + 1));
    let late = batch_after(STRANGER, first, second, &[set("forged", "value")]);
    check_refused(pair.host(), &late, &format!("GAP {STRANGER} "));
    let early = batch(STRANGER, first, &[set("other", "value")]);
    assert_eq!(Feed::to(pair.host()).apply(&early), Ok((1, 0, first)));
    check_taken(&mut pair, &late);
    // What is held already does nothing.
    assert_eq!(Feed::to(pair.host()).apply(&early), Ok((0, 0, second)));
}

#[test]
fn a_batch_in_the_name_of_the_node_itself_is_refused() {
    let mut pair = Pair::start();
    let own = own_origin(pair.host());
    // The present is what the node may have written itself.
    let forged =
        batch(own, Timestamp::of_wall(WallMillis(now().wall().0 + 10_000)), &[set("forged", "value")]);
    check_refused(pair.host(), &forged, &format!("BADBATCH batch of this node's own origin {own}"));
    let other = own_origin(pair.other());
    pair.check_alive();
    let held = pair.host().frontier().get(other);
    let newer = batch(other, held, &[set("forged", "value")]);
    assert_eq!(Feed::to(pair.host()).apply(&newer), Ok((0, 0, held)), "what is held is not written again");
    pair.check_alive();
}

#[test]
fn a_change_from_the_far_future_suspends_its_origin_only() {
    let mut pair = Pair::start();
    let future = |ahead_ms: u64| Timestamp::of_wall(WallMillis(now().wall().0 + ahead_ms));
    for ahead_ms in [60_000, 86_400_000, (1 << 48) - 1 - now().wall().0] {
        let forged = batch(STRANGER, future(ahead_ms), &[set("forged", "value")]);
        check_refused(pair.host(), &forged, &format!("SUSPENDED {STRANGER} "));
    }
    let empty = shared::batch::empty_batch(STRANGER, Timestamp::ZERO, Timestamp::MAX);
    check_refused(pair.host(), &empty, &format!("SUSPENDED {STRANGER} "));
    // The clock has not followed, and writes go on.
    let clock: Timestamp = pair.host().feed_info("clock").parse().expect("a timestamp");
    assert!(clock < future(10_000), "the clock was moved to {clock:?}");
    pair.check_alive();
    check_taken(&mut pair, &batch(STRANGER, now(), &[set("forged", "value")]));
}

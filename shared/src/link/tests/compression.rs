//! What two sides agree on about compression, and what one does with compressed messages that nobody should send.

use super::*;

fn pair(a: (Option<Codec>, Codecs), b: (Option<Codec>, Codecs)) -> Pair {
    let with = |local, (codec, reads)| Local { codec, reads, ..local };
    let mut pair = Pair::of(with(local("a", 1), a), with(local("b", 2), b));
    assert_eq!((pair.a.link.codec(), pair.b.link.codec()), (None, None), "before the two have greeted");
    pair.run_ms(10);
    assert!(pair.a.link.is_up() && pair.b.link.is_up());
    pair
}

/// Two that are linked, of which one reads everything.
fn reader() -> Pair {
    pair((None, Codecs::ALL), (None, Codecs::ALL))
}

fn compressed(codec: Codec, length: usize, bytes: &[u8]) -> Vec<u8> {
    Message::Compressed(Compressed { codec, length, bytes }).encode()
}

#[track_caller]
fn check_refused(side: &Side, part: &str) {
    let (goodbye, by_peer) = side.goodbye().expect("the link ends");
    assert!(!by_peer && goodbye.reason == Reason::Malformed && goodbye.text.contains(part), "{goodbye:?}");
}

#[test]
fn each_side_compresses_as_it_was_told_if_the_other_reads_that() {
    let check = |a, b, expected: (Option<Codec>, Option<Codec>)| {
        let pair = pair(a, b);
        assert_eq!((pair.a.link.codec(), pair.b.link.codec()), expected, "{a:?} {b:?}");
    };
    let (lz4, zstd) = (Some(Codec::Lz4), Some(Codec::Zstd));
    let only_lz4 = Codecs(1 << Codec::Lz4 as u64);
    check((zstd, Codecs::ALL), (zstd, Codecs::ALL), (zstd, zstd));
    check((zstd, Codecs::ALL), (lz4, Codecs::ALL), (zstd, lz4));
    check((zstd, Codecs::ALL), (None, Codecs::ALL), (zstd, None));
    check((zstd, Codecs::ALL), (lz4, only_lz4), (None, lz4));
    check((zstd, Codecs::ALL), (None, Codecs::NONE), (None, None));
}

#[test]
fn last_words_are_not_compressed() {
    let mut pair = pair((Some(Codec::Zstd), Codecs::ALL), (None, Codecs::ALL));
    pair.a(Input::Leave(Goodbye::new(Reason::Leaving, "over")));
    assert_eq!(pair.a.link.codec(), None);
}

#[test]
fn what_was_compressed_is_taken_as_if_it_had_not_been() {
    let mut pair = reader();
    pair.b(Input::Subscribe(Origin(0x101), Timestamp(5)));
    pair.run_ms(10);
    let (bytes, now) = (batch(0x101, 5, 9), pair.b.now(pair.mono_us));
    let message = Chunk { first: true, last: true, bytes: &bytes }.encode();
    // This driver's codec changes nothing.
    let carrier = compressed(Codec::Lz4, message.len(), &message);
    pair.b.link.handle(Input::Message(&carrier), now);
    let Some(Action::Decompress { codec: Codec::Lz4, length, bytes: range }) = pair.b.link.poll_action()
    else {
        panic!("it is to be decompressed");
    };
    assert_eq!((length, &carrier[range.clone()]), (message.len(), &*message));
    pair.b(Input::Decompressed(&carrier[range]));
    assert_eq!(pair.b.applied, [(Origin(0x101), Timestamp(9))]);
}

#[test]
fn nobody_is_sent_what_he_does_not_read() {
    let mut pair = pair((None, Codecs::NONE), (None, Codecs::ALL));
    pair.a(Input::Message(&compressed(Codec::Zstd, 9, b"part")));
    check_refused(&pair.a, "as nobody asked for");
}

#[test]
fn what_ends_or_begins_a_link_or_is_compressed_already_is_not_compressed() {
    let hello = |pair: &Pair| Message::Hello(Box::new(pair.a.link.hello(Now::default()))).encode();
    let goodbye = Message::Goodbye(Goodbye::new(Reason::Leaving, "over")).encode();
    for inner in [hello(&reader()), goodbye, compressed(Codec::Zstd, 1, b"x")] {
        let mut pair = reader();
        pair.b(Input::Decompressed(&inner));
        check_refused(&pair.b, "must not be");
    }
    let mut pair = reader();
    pair.b(Input::Decompressed(b"what is no message"));
    check_refused(&pair.b, "malformed");
}

#[test]
fn nothing_is_compressed_before_the_two_have_greeted() {
    let now = Now { mono_us: START_US, wall: WallMillis(WALL) };
    let mut side = Side::new(Local { reads: Codecs::ALL, ..local("b", 2) }, now);
    side.handle(Input::Message(&compressed(Codec::Zstd, 9, b"part")), START_US);
    check_refused(&side, "a Hello was due");
}

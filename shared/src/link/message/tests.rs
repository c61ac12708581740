use proptest::prelude::*;

use super::*;
use crate::announcement::{Eviction, Role};
use crate::id::NodeId;

fn member() -> Member {
    Member { name: "left".into(), node_id: NodeId(0xa1), origin: Origin(0xa2), role: Role::Active }
}

fn frontier() -> Frontier {
    let mut frontier: Frontier =
        [(Origin(0xa2), Timestamp(0x200)), (Origin(0xb2), Timestamp(0x300))].into_iter().collect();
    frontier.raise_floor(Timestamp(0x100));
    frontier
}

fn hello() -> Hello {
    Hello {
        batch_format: 1,
        group: "tandem".into(),
        group_id: GroupId(0xc0),
        joining: true,
        member: member(),
        start_time: WallMillis(1_700_000_000_000),
        frontier: frontier(),
        wall: WallMillis(1_700_000_001_000),
        clock: Timestamp(0x400),
        dialled: true,
        proof: b"proof".to_vec(),
        reads: Codecs::ALL,
    }
}

fn announcement() -> Announcement {
    Announcement {
        member: member(),
        sequence: 7,
        frontier: frontier(),
        clock: Timestamp(0x400),
        members: vec![Member {
            name: "right".into(),
            node_id: NodeId(0xb1),
            origin: Origin(0xb2),
            role: Role::ReadOnly,
        }],
        evictions: vec![Eviction { name: "gone".into(), node_id: NodeId(0xd1), settled: true }],
        memory_limit: 1 << 30,
        joining: true,
        runs: vec![Origin(0xa1), Origin(0xa2)],
    }
}

fn every_message() -> Vec<(&'static str, Message<'static>)> {
    let starts = BTreeMap::from([(Origin(0xa2), Timestamp(0x250))]);
    vec![
        ("hello", Message::Hello(Box::new(hello()))),
        (
            "hello-without-further",
            Message::Hello(Box::new(Hello { proof: Vec::new(), reads: Codecs::NONE, ..hello() })),
        ),
        ("announce", Message::Announce(Arc::new(announcement()))),
        (
            "advance",
            Message::Advance(Box::new(Advance {
                node_id: NodeId(0xa1),
                after: 7,
                sequence: 8,
                frontier: frontier(),
                clock: Timestamp(0x500),
            })),
        ),
        ("listen", Message::Listen(Listen { start: vec![NodeId(0xb1)], stop: vec![NodeId(0xd1)] })),
        (
            "frontier",
            Message::Frontier(Holding { frontier: frontier(), clock: Timestamp(0x400), prompt: true }),
        ),
        ("ack-now", Message::AckNow),
        (
            "subscribe",
            Message::Subscribe(Subscribe { serial: 3, start: starts.clone(), stop: vec![Origin(0xb2)] }),
        ),
        ("following", Message::Following { serial: 3 }),
        ("truncated", Message::Truncated { serial: 3, starts }),
        ("batch", Message::Batch(Chunk { first: true, last: false, bytes: b"part" })),
        ("ping", Message::Ping { id: 9 }),
        ("pong", Message::Pong { id: 9, wall: WallMillis(1_700_000_001_000) }),
        ("goodbye", Message::Goodbye(Goodbye::new(Reason::ClockDrift, "why"))),
        ("ask", Message::Ask(Part { serial: 4, last: false, bytes: b"part" })),
        ("answer", Message::Answer(Part { serial: 4, last: true, bytes: b"" })),
        ("no-answer", Message::NoAnswer { serial: 4, text: "why".into() }),
        (
            "publish",
            Message::Publish(Arc::new(Publication {
                author: NodeId(0xa1),
                run: Origin(0xa2),
                number: 5,
                channel: b"news".to_vec(),
                payload: b"text".to_vec(),
            })),
        ),
        ("compressed", Message::Compressed(Compressed { codec: Codec::Zstd, length: 9, bytes: b"part" })),
    ]
}

#[test]
fn every_message_round_trips() {
    for (name, message) in every_message() {
        assert_eq!(Message::decode(&message.encode()), Ok(message), "{name}");
    }
}

/// The format is a promise: messages of other bytes need a new version of the protocol, and the old bytes stay tested.
#[test]
fn golden_bytes_of_protocol_5() {
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let lines: String = every_message()
        .into_iter()
        .map(|(name, message)| format!("{name} {}\n", hex(message.encode())))
        .collect();
    assert_eq!(lines, include_str!("golden_protocol_5.txt"));
}

/// The first builds of this version wrote nothing in a Hello's last field, and look at nothing there.
#[test]
fn a_hello_without_its_last_field_is_understood_and_one_with_it_was() {
    let bare = Hello { proof: Vec::new(), reads: Codecs::NONE, ..hello() };
    let bytes = Message::Hello(Box::new(bare.clone())).encode();
    assert!(bytes.ends_with(&[0xc3, 0xc4, 0]), "the last field is empty: {bytes:x?}");
    assert_eq!(Message::decode(&bytes), Ok(Message::Hello(Box::new(bare))));
    let read: Result<HelloWire, _> = unpack(&Message::Hello(Box::new(hello())).encode());
    assert!(read.is_ok(), "an array of thirteen, the last of them bytes");
}

#[test]
fn what_later_builds_say_in_a_hello_is_ignored() {
    let further = |bytes: &[u8]| read_further(bytes);
    assert_eq!(further(&[0x92, 0xc4, 1, b'p', 6]), (b"p".to_vec(), Codecs::ALL));
    assert_eq!(further(&[0x93, 0xc4, 0, 0xcd, 1, 2, 0xff]), (Vec::new(), Codecs(0x102)));
    for strange in [&b""[..], b"proof", &[0x92], &[0x92, 0xc4, 9], &[0x92, 0xc4, 0, 0xc0], &[0xc1; 9]] {
        assert_eq!(further(strange), (Vec::new(), Codecs::NONE), "{strange:x?}");
    }
}

#[test]
fn what_is_compressed_has_a_known_codec_and_a_possible_length() {
    let check = |codec, length, is_possible| {
        let bytes = pack(&CompressedWire(kind::COMPRESSED, codec, length, Bytes::new(b"part")));
        assert_eq!(Message::decode(&bytes).is_ok(), is_possible, "{codec} {length}");
    };
    let longest = MESSAGE_BYTES_MAX as u32;
    check(1, 1, true);
    check(2, longest, true);
    check(2, longest + 1, false);
    check(2, u32::MAX, false);
    check(2, 0, false);
    check(0, 1, false);
    check(3, 1, false);
}

/// What the versions before said first, which is all that their speakers are heard of.
#[test]
fn protocols_before_are_told_apart() {
    for (version, lines) in [
        (1, include_str!("golden_protocol_1.txt")),
        (2, include_str!("golden_protocol_2.txt")),
        (3, include_str!("golden_protocol_3.txt")),
        (4, include_str!("golden_protocol_4.txt")),
    ] {
        let hello = lines.lines().next().unwrap().strip_prefix("hello ").unwrap();
        let digits: Vec<_> = hello.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap()).collect();
        let bytes: Vec<_> = digits.iter().map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        assert_eq!(Message::decode(&bytes), Err(MessageError::Protocol(version)));
    }
}

#[test]
fn nothing_shorter_or_longer_is_a_message() {
    for (name, message) in every_message() {
        let bytes = message.encode();
        for length in 0..bytes.len() {
            assert!(Message::decode(&bytes[..length]).is_err(), "{name} cut to {length}");
        }
        assert!(Message::decode(&[&bytes[..], b"\0"].concat()).is_err(), "{name} and a byte");
    }
}

#[test]
fn other_versions_are_named() {
    let mut newer = Message::Hello(Box::new(hello())).encode();
    newer[2] = 6;
    assert_eq!(Message::decode(&newer), Err(MessageError::Protocol(6)));
    // Whatever else a newer one's Hello has.
    assert_eq!(Message::decode(&[0x93, 0, 6, 0xc0]), Err(MessageError::Protocol(6)));
    assert_eq!(Message::decode(&[0x91, 0x7f]), Err(MessageError::UnknownKind(0x7f)));
}

#[test]
fn names_are_printable_and_short() {
    for name in ["", "a\nb", &"x".repeat(NAME_BYTES_MAX + 1)] {
        let mut hello = hello();
        hello.member.name = name.into();
        assert!(Message::decode(&Message::Hello(Box::new(hello)).encode()).is_err(), "{name:?}");
        let mut announcement = announcement();
        announcement.members[0].name = name.into();
        assert!(Message::decode(&Message::Announce(Arc::new(announcement)).encode()).is_err(), "{name:?}");
    }
}

#[test]
fn texts_are_cut_and_cleaned() {
    let goodbye = Goodbye::new(Reason::Other, format!("a\x1bb{}", "ü".repeat(TEXT_BYTES_MAX)));
    assert!(goodbye.text.starts_with("a bü") && goodbye.text.len() <= TEXT_BYTES_MAX);
}

#[test]
fn a_batch_is_cut_into_chunks_that_add_up() {
    for length in [1, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX + 1, 3 * CHUNK_BYTES_MAX] {
        let batch: Vec<u8> = (0..length).map(|index| index as u8).collect();
        let chunks: Vec<_> = Chunk::cut(&batch).collect();
        assert_eq!(chunks.len(), length.div_ceil(CHUNK_BYTES_MAX));
        assert_eq!(chunks.iter().filter(|chunk| chunk.first).count(), 1);
        assert!(chunks[0].first && chunks[chunks.len() - 1].last);
        assert_eq!(chunks.iter().flat_map(|chunk| chunk.bytes).copied().collect::<Vec<_>>(), batch);
        assert!(chunks.iter().all(|chunk| chunk.encode().len() <= MESSAGE_BYTES_MAX));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Message::decode(&bytes);
    }

    #[test]
    fn damaged_messages_are_refused_or_read(which in 0..19usize, at in 0..400usize, byte in any::<u8>()) {
        let mut bytes = every_message()[which].1.encode();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(message) = Message::decode(&bytes) {
            let again = message.encode();
            prop_assert_eq!(Message::decode(&again), Ok(message));
        }
    }
}

//! What may come to an agent's port.

use std::net::SocketAddr;

use fastrand::Rng;
use shared::announcement::{Member, Role};
use shared::batch::FORMAT;
use shared::id::{NodeId, Origin};
use shared::link::{Chunk, Codec, Codecs, Compressed, Hello, Message, Reason};
use shared::version::Frontier;
use tests::load::seed;
use tests::raw::Raw;
use tests::wait::wait_until;

use crate::feed::{batch, now, set};
use crate::websocket::{BINARY, CONTINUATION, FINAL, PING, TEXT, UPGRADE, WebSocket, binary, frame, head};
use crate::{Memory, Pair};

/// What an agent may take for all that comes to its port here.
const RESIDENT_BYTES_MAX: usize = 48 << 20;

#[track_caller]
fn check_answer(agent: SocketAddr, request: impl AsRef<[u8]>, answer: &str) {
    let mut client = Raw::connect(agent);
    client.send(request);
    let text = client.read_to_end();
    let text = String::from_utf8_lossy(&text);
    assert!(text.starts_with(answer), "{text}, and not {answer}");
}

#[test]
fn requests_that_are_no_link_are_turned_away() {
    let mut pair = Pair::start();
    let agent = pair.host().agent_address();
    check_answer(agent, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 ");
    check_answer(agent, "GET /link HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 426 ");
    check_answer(agent, UPGRADE.replace("/link", "/"), "HTTP/1.1 404 ");
    check_answer(agent, "*1\r\n$4\r\nPING\r\n\r\n\r\n", "HTTP/1.1 400 ");
    check_answer(agent, "\r\n\r\n\r\n\r\n", "HTTP/1.1 400 ");
    check_answer(agent, [b'x'; 8 << 10], "HTTP/1.1 400 ");
    pair.check_alive();
}

#[test]
fn garbage_and_silence_at_the_port_are_closed() {
    const CONNECTIONS: usize = 300;
    let mut pair = Pair::start();
    let (mut random, files) = (Rng::with_seed(seed()), pair.agent().open_files());
    let memory = Memory::of(pair.agent());
    let mut clients: Vec<Raw> = (0..CONNECTIONS)
        .map(|number| {
            let mut client = Raw::connect(pair.host().agent_address());
            let garbage: Vec<u8> = (0..random.usize(1..20_000)).map(|_| random.u8(..)).collect();
            match number % 4 {
                0 => client.send(garbage),
                1 => client.send(&UPGRADE[..random.usize(..UPGRADE.len())]),
                2 => client.send([UPGRADE.as_bytes(), &garbage].concat()),
                // A link on which no Hello comes.
                _ => client.send(UPGRADE),
            };
            client
        })
        .collect();
    memory.check_grown(pair.agent(), RESIDENT_BYTES_MAX);
    pair.check_alive();
    for client in &mut clients {
        client.read_to_end();
    }
    // A link opens its connections to the node as it needs them.
    wait_until("connections to be closed", || pair.agent().open_files() <= files + 3);
    pair.check_alive();
}

#[test]
fn messages_that_no_agent_sends_end_the_link_with_the_reason() {
    let mut pair = Pair::start();
    let memory = Memory::of(pair.agent());
    let hello = |number| binary(&Message::Hello(Box::new(hello_of(&pair, number))).encode());
    let giant_list = [0x94, 4, 1, 0xdf, 0xff, 0xff, 0xff, 0xff];
    let chunk = Chunk { first: false, last: true, bytes: b"x" }.encode();
    let wrongs = [
        ("a kind that is none", binary(&[0x91, 0x7f]), Reason::Version),
        ("a message that is none", binary(&[0xff; 1_000]), Reason::Malformed),
        ("an empty message", binary(&[]), Reason::Malformed),
        ("text", frame(FINAL | TEXT, b"hello"), Reason::Malformed),
        ("a ping before the Hello", binary(&Message::Ping { id: 1 }.encode()), Reason::Malformed),
        ("a second Hello", [hello(1), hello(1)].concat(), Reason::Malformed),
        ("a giant list", [hello(2), binary(&giant_list)].concat(), Reason::Malformed),
        ("a chunk of a batch that never began", [hello(3), binary(&chunk)].concat(), Reason::Malformed),
        ("what is no batch", [hello(4), binary(&[0x93, 7, 3, 0xc4, 1, 0])].concat(), Reason::BadBatch),
    ];
    let wrongs = wrongs.map(|(what, bytes, reason)| {
        let mut peer = WebSocket::connect(pair.host().agent_address());
        peer.send_raw(&bytes);
        (what, peer, reason)
    });
    for (what, mut peer, reason) in wrongs {
        let goodbye = peer.read_goodbye();
        assert_eq!(goodbye.reason, reason, "{what}: {}", goodbye.text);
        peer.read_to_end();
    }
    memory.check_grown(pair.agent(), RESIDENT_BYTES_MAX);
    pair.check_alive();
}

#[test]
fn what_cannot_be_decompressed_ends_the_link_and_takes_no_memory() {
    let mut pair = Pair::start();
    let memory = Memory::of(pair.agent());
    let compressed =
        |codec, length, bytes: &[u8]| Message::Compressed(Compressed { codec, length, bytes }).encode();
    let bomb = lz4_bomb();
    let wrongs = [
        (compressed(Codec::Lz4, 99, &[0xff; 50]), "lz4 compressed is damaged"),
        (compressed(Codec::Zstd, 99, &[0xff; 50]), "zstd compressed is damaged"),
        (compressed(Codec::Zstd, 1 << 30, b"x"), "longer than any message"),
        (compressed(Codec::Lz4, 2 << 20, &bomb), "lz4 compressed is damaged: provided output is too small"),
        (compressed(Codec::Lz4, 9, &[4, 0, 0, 0x80, 1, 2, 3, 4]), "has 4 bytes, and not 9"),
        (compressed(Codec::Lz4, 4, &[4, 0, 0, 0x80, 1, 2, 3, 4]), "message is malformed"),
    ];
    for (number, (wrong, text)) in wrongs.into_iter().enumerate() {
        let mut peer = WebSocket::connect(pair.host().agent_address());
        let hello = Message::Hello(Box::new(hello_of(&pair, number as u64))).encode();
        peer.send_raw(&[binary(&hello), binary(&wrong)].concat());
        let goodbye = peer.read_goodbye();
        assert_eq!(goodbye.reason, Reason::Malformed, "{}", goodbye.text);
        assert!(goodbye.text.contains(text), "{text} is not in: {}", goodbye.text);
        peer.read_to_end();
    }
    memory.check_grown(pair.agent(), RESIDENT_BYTES_MAX);
    pair.check_alive();
}

/// LZ4 blocks of 64,000 equal bytes each: 240 times what they take.
fn lz4_bomb() -> Vec<u8> {
    // A literal, 63,998 times what stands one byte before, and five literals at the end.
    let block = [&[0x1f, b'x', 1, 0][..], &[255; 250], &[229, 0x50], b"xxxxx"].concat();
    [&(block.len() as u32).to_le_bytes()[..], &block].concat().repeat(3_900)
}

#[test]
fn frames_that_are_none_end_the_connection() {
    let mut pair = Pair::start();
    let memory = Memory::of(pair.agent());
    let wrongs = [
        frame(FINAL | 0xb, b"of an unknown kind"),
        vec![FINAL | BINARY, 1, 0],
        [head(FINAL | BINARY, 1 << 62), vec![0; 4]].concat(),
        [head(FINAL | BINARY, 3 << 20), vec![0; 4]].concat(),
    ];
    for wrong in wrongs {
        let mut peer = WebSocket::connect(pair.host().agent_address());
        peer.send_raw(&wrong);
        peer.read_to_end();
    }
    memory.check_grown(pair.agent(), RESIDENT_BYTES_MAX);
    pair.check_alive();
}

#[test]
fn a_message_in_endless_pieces_ends_the_connection() {
    static PIECE: [u8; 64 << 10] = [0; 64 << 10];
    /// The longest message, and what sockets hold on the way.
    const SENT_BYTES_MAX: usize = 24 << 20;
    let mut pair = Pair::start();
    let memory = Memory::of(pair.agent());
    let mut peer = WebSocket::connect(pair.host().agent_address());
    let (mut first, mut sent) = (BINARY, 0);
    while peer.send(first, &PIECE) {
        first = CONTINUATION;
        sent += PIECE.len();
        assert!(sent <= SENT_BYTES_MAX, "there is no end to what is taken");
    }
    // Pings, too, are to be answered, and nobody reads the answers.
    let mut peer = WebSocket::connect(pair.host().agent_address());
    for _ in 0..10_000 {
        if !peer.send(FINAL | PING, &[0; 125]) {
            break;
        }
    }
    memory.check_grown(pair.agent(), RESIDENT_BYTES_MAX);
    pair.check_alive();
}

#[test]
fn a_peer_that_only_pings_is_left() {
    let mut pair = Pair::start();
    let mut peer = WebSocket::connect(pair.host().agent_address());
    wait_until("the agent to close", || !peer.send(FINAL | PING, b"alive"));
    pair.check_alive();
}

/// What a stranger says who belongs to the group; one of many.
fn hello_of(pair: &Pair, number: u64) -> Hello {
    let id = 0x5712_a49e_0000_0000 + number;
    let member = Member {
        name: format!("stranger{number}"),
        node_id: NodeId(id),
        origin: Origin(id),
        role: Role::Active,
    };
    Hello {
        batch_format: FORMAT,
        group: "test".into(),
        group_id: pair.host().feed_info("group-id").parse().expect("a node tells its group"),
        joining: false,
        member,
        start_time: now().wall(),
        frontier: Frontier::new(),
        wall: now().wall(),
        clock: now(),
        dialled: true,
        proof: Vec::new(),
        reads: Codecs::ALL,
    }
}

#[test]
fn a_peer_that_sends_a_damaged_batch_is_told_and_named() {
    let mut pair = Pair::start();
    let mut peer = WebSocket::connect(pair.host().agent_address());
    let mut hello = hello_of(&pair, 0);
    let (origin, at) = (hello.member.origin, now());
    hello.frontier.advance(origin, at);
    peer.send(FINAL | BINARY, &Message::Hello(Box::new(hello)).encode());
    let mut damaged = batch(origin, at, &[set("forged", "value")]);
    *damaged.last_mut().expect("a batch has bytes") ^= 1;
    let asked = loop {
        let bytes = peer.receive().expect("an agent asks for what it lacks");
        if let Message::Subscribe(change) = Message::decode(&bytes).expect("an agent sends messages") {
            break change;
        }
    };
    assert!(asked.start.contains_key(&origin), "the origin that it is ahead of is not asked for");
    peer.send(FINAL | BINARY, &Message::Following { serial: asked.serial }.encode());
    peer.send(FINAL | BINARY, &Chunk { first: true, last: true, bytes: &damaged }.encode());
    let goodbye = peer.read_goodbye();
    assert_eq!(goodbye.reason, Reason::BadBatch);
    for part in ["checksum", "stranger0", &origin.to_string()] {
        assert!(goodbye.text.contains(part), "{part} is not in: {}", goodbye.text);
    }
    wait_until("the agent's log to have it", || pair.host().agent_log().contains(&goodbye.text));
    assert_eq!(pair.host().run(&["EXISTS", "forged"]), redis::Value::Int(0));
    pair.check_alive();
}

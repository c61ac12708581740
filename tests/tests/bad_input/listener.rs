//! What may come to an agent's port.

use std::net::SocketAddr;

use fastrand::Rng;
use shared::announcement::{Member, Role};
use shared::batch::FORMAT;
use shared::clock::Timestamp;
use shared::id::{GroupId, NodeId, Origin};
use shared::link::{Chunk, Hello, Message, Reason};
use shared::version::Frontier;
use tests::load::seed;
use tests::raw::Raw;
use tests::wait::wait_until;

use crate::feed::{batch, now, set};
use crate::websocket::{BINARY, CONTINUATION, FINAL, PING, TEXT, UPGRADE, WebSocket, head};
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
    wait_until("connections to be closed", || pair.agent().open_files() <= files);
    pair.check_alive();
}

#[test]
fn messages_that_no_agent_sends_end_the_connection() {
    let mut pair = Pair::start();
    let agent = pair.host().agent_address();
    let memory = Memory::of(pair.agent());
    let hello = Message::Hello(Box::new(hello_of("stranger", "test"))).encode();
    let frame =
        |first: u8, payload: &[u8]| [&head(first, payload.len() as u64)[..], &[0; 4], payload].concat();
    let binary = |payload: &[u8]| frame(FINAL | BINARY, payload);
    let (ping, subscribe) = (Message::Ping { id: 1 }.encode(), [0x94, 4, 1, 0xdf, 0xff, 0xff, 0xff, 0xff]);
    let wrongs = [
        ("a kind that is none", binary(&[0x91, 0x7f])),
        ("a message that is none", binary(&[0xff; 1_000])),
        ("an empty message", binary(&[])),
        ("text", frame(FINAL | TEXT, b"hello")),
        ("a ping before the Hello", binary(&ping)),
        ("a second Hello", [binary(&hello), binary(&hello)].concat()),
        ("a giant list", [binary(&hello), binary(&subscribe)].concat()),
        ("a chunk of a batch that never began", [binary(&hello), binary(&[0x93, 7, 2, 0xc4, 1, 0])].concat()),
        ("a frame of an unknown kind", frame(FINAL | 0xb, b"x")),
        ("a frame without a mask", vec![FINAL | BINARY, 1, 0]),
        ("a giant frame", [head(FINAL | BINARY, 1 << 62), vec![0; 4]].concat()),
        ("a frame over the limit", [head(FINAL | BINARY, 3 << 20), vec![0; 4]].concat()),
    ];
    let wrongs = wrongs.map(|(what, bytes)| {
        let mut peer = WebSocket::connect(agent);
        peer.send_raw(&bytes);
        (what, peer)
    });
    for (what, mut peer) in wrongs {
        eprintln!("waiting for the end after {what}");
        peer.read_to_end();
    }
    memory.check_grown(pair.agent(), RESIDENT_BYTES_MAX);
    pair.check_alive();
}

#[test]
fn a_message_in_endless_pieces_ends_the_connection() {
    const PIECE: [u8; 64 << 10] = [0; 64 << 10];
    let mut pair = Pair::start();
    let memory = Memory::of(pair.agent());
    let mut peer = WebSocket::connect(pair.host().agent_address());
    let mut first = BINARY;
    while peer.send(first, &PIECE) {
        first = CONTINUATION;
    }
    memory.check_grown(pair.agent(), RESIDENT_BYTES_MAX);
    // Pings come between, and are answered; nobody reads the answers.
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

/// A peer that says a proper Hello, and then breaks its word.
fn hello_of(name: &str, group: &str) -> Hello {
    let member = Member {
        name: name.into(),
        node_id: NodeId(0x5712_a49e),
        origin: Origin(0x5712_a49e),
        role: Role::Active,
    };
    Hello {
        batch_format: FORMAT,
        group: group.into(),
        group_id: GroupId::default(),
        member,
        start_time: now().wall(),
        frontier: Frontier::new(),
        wall: now().wall(),
        clock: now(),
        dialled: true,
        proof: Vec::new(),
    }
}

#[test]
fn a_peer_that_sends_a_damaged_batch_is_told_and_named() {
    let mut pair = Pair::start();
    let mut peer = WebSocket::connect(pair.host().agent_address());
    let mut hello = hello_of("forger", "test");
    let (origin, at) = (hello.member.origin, now());
    hello.frontier.advance(origin, at);
    peer.send(FINAL | BINARY, &Message::Hello(Box::new(hello)).encode());
    let mut damaged = batch(origin, at, &[set("forged", "value")]);
    *damaged.last_mut().expect("a batch has bytes") ^= 1;
    let goodbye = loop {
        let bytes = peer.receive().expect("a reason comes before the end");
        match Message::decode(&bytes).expect("an agent sends messages") {
            Message::Subscribe(change) => {
                assert_eq!(change.start.get(&origin), Some(&Timestamp::ZERO));
                peer.send(FINAL | BINARY, &Message::Following { serial: change.serial }.encode());
                peer.send(FINAL | BINARY, &Chunk { first: true, last: true, bytes: &damaged }.encode());
            }
            Message::Goodbye(goodbye) => break goodbye,
            _ => {}
        }
    };
    assert_eq!(goodbye.reason, Reason::BadBatch);
    for part in ["checksum", "forger", &origin.to_string()] {
        assert!(goodbye.text.contains(part), "{part} is not in: {}", goodbye.text);
    }
    wait_until("the agent's log to have it", || pair.host().agent_log().contains(&goodbye.text));
    assert_eq!(pair.host().run(&["EXISTS", "forged"]), redis::Value::Int(0));
    pair.check_alive();
}

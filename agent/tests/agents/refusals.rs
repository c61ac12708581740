//! What must not be linked, and what must not be applied.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::clock::Timestamp;
use shared::id::NodeId;

use crate::fake_node::FakeNode;
use crate::harness::RunningAgent;

fn nodes() -> (FakeNode, FakeNode) {
    (FakeNode::start("a", 1), FakeNode::start("b", 2))
}

#[test]
fn another_group_is_refused_at_both_sides() {
    let (a, b) = nodes();
    let agent_b = RunningAgent::start_with(&b, &[], |config| config.group = "right".into());
    let agent_a = RunningAgent::start_with(&a, &[&agent_b.url], |config| config.group = "left".into());
    for agent in [&agent_a, &agent_b] {
        agent.wait_for_log(&["ERRO", "group \\\"left\\\"", "group \\\"right\\\""]);
    }
    b.write(1, 1);
    assert_eq!(a.state().applied, 0);
}

#[test]
fn a_node_of_another_group_is_not_served() {
    let (a, _) = nodes();
    a.state().group = "other".into();
    let agent_a = RunningAgent::start(&a, &[]);
    agent_a.wait_for_log(&["ERRO", "WRONGGROUP", "other", "tandem"]);
}

#[test]
fn two_members_of_one_name_are_refused_at_both_sides() {
    let (a, b) = nodes();
    b.state().name = "a".into();
    let agent_b = RunningAgent::start(&b, &[]);
    let agent_a = RunningAgent::start(&a, &[&agent_b]);
    for agent in [&agent_a, &agent_b] {
        agent.wait_for_log(&["ERRO", "0000000000000001", "0000000000000002", "--name"]);
    }
}

#[test]
fn two_peers_of_one_name_are_refused_by_a_third() {
    let (a, b) = nodes();
    let other_b = FakeNode::start("b", 3);
    let agent_a = RunningAgent::start(&a, &[]);
    let agent_b = RunningAgent::start(&b, &[&agent_a]);
    a.wait_for_links(1);
    let agent_other = RunningAgent::start(&other_b, &[&agent_a]);
    for agent in [&agent_a, &agent_other] {
        agent.wait_for_log(&["ERRO", "0000000000000002", "0000000000000003", "--name"]);
    }
    // When the holder of the name is gone, the other takes over.
    agent_b.stop();
    other_b.wait_for_links(1);
}

#[test]
fn an_agent_that_dials_itself_is_told() {
    let (a, _) = nodes();
    let early = RunningAgent::start(&a, &[]);
    let (url, address) = (early.url.clone(), early.url.strip_prefix("ws://").unwrap().to_owned());
    early.stop();
    let agent = RunningAgent::start_with(&a, &[&url], |config| config.listen = Some(address));
    agent.wait_for_log(&["ERRO", "one node id", "dial itself"]);
}

#[test]
fn a_clock_far_ahead_is_refused_until_it_is_put_right() {
    let (a, b) = nodes();
    a.state().clock_ahead_ms = 20_000;
    (0..10).for_each(|_| a.write(1, 1));
    let agent_b = RunningAgent::start(&b, &[]);
    let agent_a = RunningAgent::start(&a, &[&agent_b]);
    for agent in [&agent_a, &agent_b] {
        agent.wait_for_log(&["ERRO", "wall clocks", "\\\"a\\\"", "\\\"b\\\"", "NTP"]);
    }
    assert_eq!(b.state().applied, 0);
    a.state().clock_ahead_ms = 0;
    b.wait_for(&a.frontier());
    assert_eq!(b.state().applied, 10);
}

#[test]
fn a_clock_that_drifts_off_ends_the_link() {
    let (a, b) = nodes();
    let agent_b = RunningAgent::start(&b, &[]);
    let agent_a = RunningAgent::start(&a, &[&agent_b]);
    a.wait_for_links(1);
    a.state().clock_ahead_ms = 2_000;
    agent_b.wait_for_log(&["WARN", "wall clocks are apart"]);
    a.state().clock_ahead_ms = -20_000;
    for agent in [&agent_a, &agent_b] {
        agent.wait_for_log(&["ERRO", "wall clocks", "\\\"a\\\"", "\\\"b\\\"", "NTP"]);
    }
    a.state().clock_ahead_ms = 0;
    a.write(1, 1);
    b.wait_for(&a.frontier());
}

#[test]
fn a_log_that_starts_too_late_is_said_at_both_sides() {
    let (a, b) = nodes();
    (0..10).for_each(|_| a.write(1, 1));
    let (origin, start) = (a.origin(), a.state().clock);
    a.state().log_start.advance(origin, start);
    let agent_b = RunningAgent::start(&b, &[]);
    let agent_a = RunningAgent::start(&a, &[&agent_b]);
    agent_a.wait_for_log(&["WARN", "the peer has fallen behind", &origin.to_string(), "--log-memory"]);
    agent_b.wait_for_log(&["WARN", "this node has fallen behind", &origin.to_string(), "--log-memory"]);
    b.wait_until("that it cannot be pulled", |state| state.report.truncated == [(origin, NodeId(1))]);
    // The link stays for the other direction.
    b.write(1, 1);
    a.wait_for(&b.frontier());
    // The node takes over what a has, and goes on from there without delay.
    let begun = Instant::now();
    b.state().pulled.advance(origin, start);
    a.write(1, 1);
    b.wait_for(&a.frontier());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(b.state().applied, 1);
    b.wait_until("that nothing is missing", |state| state.report.truncated.is_empty());
}

#[test]
fn a_clock_that_the_node_does_not_take_is_refused_at_both_sides() {
    let (a, b) = nodes();
    b.state().heard_error = Some("CLOCK it is a year ahead".into());
    let agent_b = RunningAgent::start(&b, &[]);
    let agent_a = RunningAgent::start(&a, &[&agent_b]);
    for agent in [&agent_a, &agent_b] {
        agent.wait_for_log(&["ERRO", "hybrid clock", "\\\"a\\\"", "\\\"b\\\"", "a year ahead"]);
    }
    let clock = a.state().clock;
    assert!(b.state().heard.contains(&clock));
    b.state().heard_error = None;
    a.write(1, 1);
    b.wait_for(&a.frontier());
}

#[test]
fn an_evicted_origin_is_tried_again_later() {
    let (a, b) = nodes();
    b.state().apply_error = Some(format!("CLOSED {} it was evicted", a.origin()));
    a.write(1, 1);
    let agent_b = RunningAgent::start(&b, &[]);
    let _agent_a = RunningAgent::start(&a, &[&agent_b]);
    agent_b.wait_for_log(&["WARN", "evicted", &a.origin().to_string()]);
    b.write(1, 1);
    a.wait_for(&b.frontier());
    b.state().apply_error = None;
    b.wait_for(&a.frontier());
    assert_eq!(b.state().applied_from, BTreeSet::from([NodeId(1).to_string()]));
}

/// Whoever connects costs the node nothing before it is known.
#[test]
fn strangers_are_not_seen_by_the_node() {
    let (a, _) = nodes();
    let agent = RunningAgent::start(&a, &[]);
    a.wait_until("a first report", |state| state.report_count > 1);
    let before = a.state().connection_count();
    let strangers: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(agent.url.strip_prefix("ws://").unwrap()).unwrap();
            stream.write_all(UPGRADE).unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"HTTP/1.1 101");
            stream
        })
        .collect();
    assert_eq!(a.state().connection_count(), before);
    drop(strangers);
}

#[test]
fn a_damaged_batch_ends_the_link_with_its_author_named() {
    let (a, b) = nodes();
    a.write(1, 10);
    let origin = a.origin();
    if let Some((_, bytes)) = a.state().log.get_mut(&origin).and_then(|log| log.first_mut()) {
        let last = bytes.len() - 1;
        Arc::make_mut(bytes)[last] ^= 1;
    }
    let agent_b = RunningAgent::start(&b, &[]);
    let agent_a = RunningAgent::start(&a, &[&agent_b]);
    for agent in [&agent_a, &agent_b] {
        agent.wait_for_log(&["ERRO", &origin.to_string(), "\\\"a\\\"", "checksum"]);
    }
    assert_eq!(b.state().applied, 0);
}

#[test]
fn a_change_from_the_future_suspends_its_origin_only() {
    let (a, b) = nodes();
    b.state().apply_error = Some("SUSPENDED of the future".into());
    a.write(1, 1);
    let agent_b = RunningAgent::start(&b, &[]);
    let _agent_a = RunningAgent::start(&a, &[&agent_b]);
    agent_b.wait_for_log(&["ERRO", "too far in the future", &a.origin().to_string()]);
    b.write(1, 1);
    a.wait_for(&b.frontier());
    b.state().apply_error = None;
    b.wait_for(&a.frontier());
}

#[test]
fn a_gap_is_pulled_again() {
    let (a, b) = nodes();
    let agent_b = RunningAgent::start(&b, &[]);
    let _agent_a = RunningAgent::start(&a, &[&agent_b]);
    a.wait_for_links(1);
    let origin = a.origin();
    b.state().apply_error = Some(format!("GAP {origin} {}", Timestamp::ZERO));
    a.write(1, 1);
    agent_b.wait_for_log(&["WARN", "beyond what is held"]);
    b.state().apply_error = None;
    b.wait_for(&a.frontier());
}

#[track_caller]
fn check_answer(agent: &RunningAgent, request: &[u8], answer: &str) {
    let mut stream = TcpStream::connect(agent.url.strip_prefix("ws://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request).unwrap();
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    assert!(text.starts_with(answer), "{text}");
}

const UPGRADE: &[u8] = b"GET /link HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[test]
fn other_requests_are_turned_away() {
    let (a, b) = nodes();
    let agent = RunningAgent::start(&a, &[]);
    a.wait_until("a first report", |state| !state.group.is_empty());
    check_answer(&agent, b"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404");
    check_answer(&agent, b"GET /link HTTP/1.1\r\n\r\n", "HTTP/1.1 426");
    check_answer(&agent, &[b'x'; 10_000], "HTTP/1.1 400");
    check_answer(&agent, b"half a request", "");
    // Garbage on an open link, and a peer that never says hello.
    let garbage = [UPGRADE, &[0x82, 0x84, 0, 0, 0, 0, 0x91, 0x7f, 1, 2]].concat();
    check_answer(&agent, &garbage, "HTTP/1.1 101");
    agent.wait_for_log(&["ERRO", "an unknown peer"]);
    check_answer(&agent, UPGRADE, "HTTP/1.1 101");
    // It still works.
    let _other = RunningAgent::start(&b, &[&agent]);
    a.wait_for_links(1);
}

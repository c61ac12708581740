//! What a link does for its two nodes.

use std::time::{Duration, Instant};

use shared::id::NodeId;

use crate::fake_node::FakeNode;
use crate::harness::RunningAgent;

struct Pair {
    a: FakeNode,
    b: FakeNode,
    agent_a: RunningAgent,
    agent_b: RunningAgent,
}

fn pair() -> Pair {
    let (a, b) = (FakeNode::start("a", 1), FakeNode::start("b", 2));
    let agent_b = RunningAgent::start(&b, &[]);
    let agent_a = RunningAgent::start(&a, &[&agent_b]);
    a.wait_for_links(1);
    b.wait_for_links(1);
    Pair { a, b, agent_a, agent_b }
}

#[test]
fn writes_cross_both_ways_once() {
    let Pair { a, b, agent_a: _agent_a, agent_b: _agent_b } = pair();
    for _ in 0..500 {
        a.write(90, 64);
        b.write(3, 10);
    }
    b.wait_for(&a.frontier());
    a.wait_for(&b.frontier());
    for node in [&a, &b] {
        assert_eq!(node.applied_and_duplicates(), (500, 0));
    }
    let origin = a.origin();
    let bytes: usize = a.state().log[&origin].iter().map(|(_, bytes)| bytes.len()).sum();
    b.wait_until("the bytes counted", |state| state.report.links[0].payload_bytes_in == bytes as u64);
    a.wait_until("the bytes counted", |state| state.report.links[0].payload_bytes_out == bytes as u64);
    b.wait_until("a round trip measured", |state| state.report.links[0].round_trip_us > 0);
}

#[test]
fn what_was_written_before_the_link_crosses_too() {
    let (a, b) = (FakeNode::start("a", 1), FakeNode::start("b", 2));
    (0..50).for_each(|_| a.write(10, 64));
    let agent_b = RunningAgent::start(&b, &[]);
    let _agent_a = RunningAgent::start(&a, &[&agent_b]);
    b.wait_for(&a.frontier());
}

#[test]
fn a_long_batch_travels_in_chunks() {
    let Pair { a, b, agent_a: _agent_a, agent_b: _agent_b } = pair();
    a.write(1, 5 << 20);
    a.write(1, 10);
    b.wait_for(&a.frontier());
    let origin = a.origin();
    let sent = a.state().log[&origin].clone();
    assert_eq!(b.state().log[&origin], sent);
}

#[test]
fn a_waiting_client_is_acknowledged_at_once() {
    let Pair { a, b, agent_a: _agent_a, agent_b: _agent_b } = pair();
    for round in 0..20 {
        a.write(1, 10);
        let written = a.frontier();
        a.state().waits += 1;
        let start = Instant::now();
        a.wait_until("acknowledged", |state| {
            state.held.get(&NodeId(2)).is_some_and(|held| held.covers_frontier(&written))
        });
        // Twice the nodes' own look for news, and room for a busy host; regular reports come each second.
        assert!(start.elapsed() < Duration::from_millis(200), "round {round}: {:?}", start.elapsed());
    }
    b.wait_for(&a.frontier());
}

#[test]
fn a_replaced_agent_goes_on_where_the_other_stopped() {
    let Pair { a, b, agent_a, agent_b } = pair();
    (0..100).for_each(|_| a.write(10, 64));
    b.wait_for(&a.frontier());
    agent_a.stop();
    b.wait_for_links(0);
    (0..100).for_each(|_| a.write(10, 64));
    b.write(1, 1);
    let _agent_a = RunningAgent::start(&a, &[&agent_b]);
    b.wait_for(&a.frontier());
    a.wait_for(&b.frontier());
    assert_eq!(b.applied_and_duplicates(), (200, 0));
}

#[test]
fn a_node_that_starts_again_is_linked_again() {
    let Pair { a, b, agent_a, agent_b: _agent_b } = pair();
    a.write(5, 5);
    b.wait_for(&a.frontier());
    a.restart();
    agent_a.wait_for_log(&["the node is lost"]);
    a.wait_for_links(1);
    a.write(5, 5);
    b.write(5, 5);
    b.wait_for(&a.frontier());
    a.wait_for(&b.frontier());
    assert_eq!(b.state().applied, 2);
}

#[test]
fn two_that_dial_each_other_keep_one_link() {
    let (a, b) = (FakeNode::start("a", 1), FakeNode::start("b", 2));
    let early_b = RunningAgent::start(&b, &[]);
    let agent_a = RunningAgent::start(&a, &[&early_b]);
    let address = early_b.url.strip_prefix("ws://").unwrap().to_owned();
    early_b.stop();
    let _agent_b = RunningAgent::start_with(&b, &[&agent_a.url], |config| config.listen = Some(address));
    // The link that the smaller node id dialled stays.
    let kept = |state: &crate::fake_node::State, dialled_is_up: bool| {
        let up: Vec<_> = state.report.links.iter().filter(|link| link.up).collect();
        up.len() == 1 && up[0].address.starts_with("ws://") == dialled_is_up
    };
    a.wait_until("the link that a dialled", |state| kept(state, true));
    b.wait_until("the link that a dialled", |state| kept(state, false));
    a.write(5, 5);
    b.write(5, 5);
    b.wait_for(&a.frontier());
    a.wait_for(&b.frontier());
}

#[test]
fn a_node_that_takes_nothing_now_gets_it_later() {
    let Pair { a, b, agent_a: _agent_a, agent_b } = pair();
    b.state().apply_error = Some("MISCONF the disk is full".into());
    (0..300).for_each(|_| a.write(10, 64));
    agent_b.wait_for_log(&["MISCONF", "takes no batches"]);
    let refused = b.state().refusals;
    b.wait_until("some more tries", |state| state.refusals > refused + 600);
    let told = agent_b.log().lines().filter(|line| line.contains("takes no batches")).count();
    assert_eq!(told, 1, "once for each cause");
    b.state().apply_error = None;
    b.wait_for(&a.frontier());
    assert_eq!(b.applied_and_duplicates(), (300, 0));
}

#[test]
fn a_stopped_agent_says_goodbye() {
    let Pair { a: _a, b, agent_a, agent_b } = pair();
    agent_a.stop();
    agent_b.wait_for_log(&["link ends", "the agent of \\\"a\\\" stops"]);
    b.wait_for_links(0);
}

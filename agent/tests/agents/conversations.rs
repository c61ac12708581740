//! What two nodes ask each other, and which of them do nothing else.

use std::time::{Duration, Instant};

use shared::id::{GroupId, NodeId};

use crate::fake_node::FakeNode;
use crate::harness::RunningAgent;

struct Pair {
    a: FakeNode,
    b: FakeNode,
    _agents: [RunningAgent; 2],
}

/// Two linked nodes, after `change`.
fn pair(change: impl FnOnce(&FakeNode, &FakeNode)) -> Pair {
    let (a, b) = (FakeNode::start("a", 1), FakeNode::start("b", 2));
    change(&a, &b);
    let agent_b = RunningAgent::start(&b, &[]);
    let agent_a = RunningAgent::start(&a, &[&agent_b]);
    a.wait_for_links(1);
    b.wait_for_links(1);
    Pair { a, b, _agents: [agent_a, agent_b] }
}

#[track_caller]
fn check_asked(asking: &FakeNode, question: &[u8], name: &str, answer: Result<Vec<u8>, String>) {
    asking.state().answers.clear();
    asking.state().questions.push(question.to_vec());
    asking.wait_until("an answer", |state| state.answers == [(name.to_owned(), answer.clone())]);
}

#[test]
fn a_question_is_carried_to_the_peers_node_and_its_answer_back() {
    let Pair { a, b, _agents } = pair(|_, _| {});
    b.state().answer = Ok(b"answer".to_vec());
    check_asked(&a, b"question", "b", Ok(b"answer".to_vec()));
    assert_eq!(b.state().asked, [b"question".to_vec()]);
    check_asked(&b, b"?", "a", Err("ERR nothing to say".into()));
    let long = vec![b'x'; 5 << 20];
    a.state().answer = Ok(long.clone());
    check_asked(&b, &long, "a", Ok(long.clone()));
    b.state().answer = Ok(Vec::new());
    check_asked(&a, b"", "b", Ok(Vec::new()));
}

#[test]
fn a_slow_answer_holds_up_no_batches() {
    let Pair { a, b, _agents } = pair(|_, _| {});
    b.state().thinking = Duration::from_secs(2);
    b.state().answer = Ok(vec![b'x'; 5 << 20]);
    a.state().questions.push(b"question".to_vec());
    let start = Instant::now();
    for _ in 0..20 {
        a.write(1, 10);
        b.write(1, 10);
        b.wait_for(&a.frontier());
        a.wait_for(&b.frontier());
    }
    assert!(start.elapsed() < Duration::from_secs(2) && a.state().answers.is_empty());
    a.wait_until("the answer", |state| state.answers.len() == 1);
}

/// Two that are not of one group converse, and stream from when they are.
fn check_unrelated(set: impl Fn(&FakeNode), unset: impl Fn(&FakeNode)) {
    let Pair { a, b, _agents } = pair(|a, b| {
        (a.state().group_id, b.state().group_id) = (GroupId(7), GroupId(7));
        set(b);
    });
    a.write(1, 1);
    b.write(1, 1);
    for _ in 0..5 {
        check_asked(&a, b"?", "b", Err("ERR nothing to say".into()));
    }
    a.wait_until("the link", |state| {
        let links: Vec<_> = state.report.links.iter().map(|link| (link.up, link.related)).collect();
        links == [(true, false)]
    });
    assert_eq!(b.state().applied + a.state().applied, 0);
    assert!(a.state().announced.is_empty() && a.state().held.is_empty());
    unset(&b);
    b.wait_for(&a.frontier());
    a.wait_for(&b.frontier());
    a.wait_until("the link", |state| state.report.links.iter().any(|link| link.up && link.related));
}

#[test]
fn nodes_of_two_groups_only_converse() {
    check_unrelated(|b| b.state().group_id = GroupId(8), |b| b.state().group_id = GroupId(7));
}

#[test]
fn a_node_that_is_about_to_join_only_converses() {
    check_unrelated(|b| b.state().joining = true, |b| b.state().joining = false);
}

#[test]
fn a_node_that_joins_is_streamed_to_without_delay() {
    let Pair { a, b, _agents } = pair(|_, b| b.state().joining = true);
    a.write(1, 1);
    b.state().questions.push(b"may I".to_vec());
    b.state().joins_when_answered = true;
    let start = Instant::now();
    b.wait_for(&a.frontier());
    assert!(start.elapsed() < Duration::from_millis(1_500), "{:?}", start.elapsed());
}

#[test]
fn announcements_reach_every_node_as_they_were_made() {
    let nodes: Vec<_> =
        ["a", "b", "c"].into_iter().zip(1..).map(|(name, id)| FakeNode::start(name, id)).collect();
    let agent_b = RunningAgent::start(&nodes[1], &[]);
    let _agent_a = RunningAgent::start(&nodes[0], &[&agent_b]);
    let _agent_c = RunningAgent::start(&nodes[2], &[&agent_b]);
    for _ in 0..200 {
        nodes[2].write(1, 10);
        std::thread::sleep(Duration::from_millis(5));
    }
    nodes[0].wait_for(&nodes[2].frontier());
    nodes[0].wait_until("announcements of both", |state| {
        state.announced.keys().collect::<Vec<_>>() == ["b", "c"]
    });
    let last = nodes[2].state().clock;
    nodes[0].wait_until("the newest", |state| state.announced["c"].clock == last);
    let origin = nodes[2].origin();
    // The frontiers of linked peers are told apart from what they announce, and come earlier.
    assert!(nodes[0].state().held.contains_key(&NodeId(2)));
    assert!(!nodes[0].state().held.contains_key(&NodeId(3)));
    let made = nodes[2].state().made_announcements.clone();
    let seen = nodes[0].state().seen_announcements.clone();
    let of_c: Vec<_> = seen.iter().filter(|announcement| announcement.member.origin == origin).collect();
    assert!(!of_c.is_empty() && of_c.iter().all(|announcement| made.contains(announcement)));
}

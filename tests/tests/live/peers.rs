//! The topology changes while clients write.

use std::thread;
use std::time::{Duration, Instant};

use redis::Connection;
use rustix::process::Signal;
use tests::group::{Group, Topology};
use tests::host::Host;
use tests::load::{Load, send_all, size};
use tests::operator::{ask, check_undiverged, check_verified};
use tests::programs;
use tests::wait::{wait_for, wait_until};

/// What `tandem-agent peers` lists, as JSON.
#[track_caller]
fn peers(host: &Host) -> String {
    let answer = ask(host, &["peers", "--json"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    answer.out
}

fn links(host: &Host) -> u64 {
    host.counter("connected_slaves")
}

#[test]
fn an_operator_adds_and_removes_peers_of_a_running_agent() {
    let mut group = Group::new(&programs!(), 3);
    group.connect(Topology::Chain);
    group[2].peers.clear();
    for host in group.hosts_mut() {
        host.start_node();
        host.start_agent();
        wait_until("the control socket", || host.control().exists());
    }
    let url = group[1].url();
    let again = group[0].url();

    let answer = ask(&group[2], &["peers", "add", &url]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert!(answer.out.contains(&url), "{answer:?}");
    group.wait_linked();
    assert!(peers(&group[2]).contains("\"up\""), "{}", peers(&group[2]));

    let mistakes: [(&[&str], &str); 4] = [
        (&["peers", "add", &url], "is dialled already"),
        (&["peers", "add", "host:1"], "not a peer's address"),
        (&["peers", "remove", &again], "is not dialled"),
        (&["peers", "ad", &url], "peers add ws://HOST:PORT"),
    ];
    for (words, told) in mistakes {
        let answer = ask(&group[2], words);
        assert_eq!(answer.code, Some(1), "{words:?}: {answer:?}");
        assert!(answer.err.contains(told), "{words:?}: {answer:?}");
    }

    // Two ways, then the other one only.
    assert_eq!(ask(&group[2], &["peers", "add", &again]).code, Some(0));
    wait_until("the second link", || links(&group[2]) == 2);
    assert_eq!(ask(&group[2], &["peers", "remove", &url]).code, Some(0));
    wait_until("the first link to go", || links(&group[2]) == 1);
    assert!(!peers(&group[2]).contains(&url), "{}", peers(&group[2]));
    group[1].run(&["SET", "key", "value"]);
    group.check_equal();
    assert!(!group[1].agent_log().contains("ERRO"), "{}", group[1].agent_log());
}

#[test]
fn sighup_has_an_agent_dial_the_peers_that_its_file_names_now() {
    let mut group = Group::new(&programs!(), 3);
    let file = group.dir().join("agent.toml");
    let write = |peers: &[String], rest: &str| {
        std::fs::write(&file, format!("peer = {peers:?}\n{rest}")).expect("the file can be written");
    };
    let (first, second) = (group[0].url(), group[1].url());
    write(std::slice::from_ref(&first), "");
    group[1].peers = vec![first.clone()];
    group[2].agent_flags = vec!["--config".to_owned(), file.display().to_string()];
    group.start_all();
    let agent = group[2].agent.as_ref().expect("it runs");
    // Links begin again when a node has become a member.
    wait_until("a link of members", || {
        group[2].agent_log().contains("of one group: true") && links(&group[2]) == 1
    });

    write(&["nonsense".to_owned()], "");
    agent.signal(Signal::HUP);
    wait_until("the mistake to be told", || group[2].agent_log().contains("configuration is not read again"));
    assert_eq!(links(&group[2]), 1, "all stays as it is");

    write(std::slice::from_ref(&second), "log-level = \"debug\"\n");
    agent.signal(Signal::HUP);
    wait_until("the change of peers", || {
        let listed = peers(&group[2]);
        listed.contains(&second) && !listed.contains(&first) && listed.contains("\"up\"")
    });
    assert!(group[2].agent_log().contains("takes effect when the agent is started again"));
    group[0].run(&["SET", "key", "value"]);
    group.check_equal();
}

/// Agents are replaced one after the other, from a mesh to a ring to a star and back, while clients write to every node.
#[test]
fn agents_of_another_topology_take_over_under_load() {
    let mut group = Group::start(&programs!(), 4, Topology::Mesh);
    let reconciled =
        |group: &Group| -> u64 { group.hosts().iter().map(|host| host.counter("reconcile_bytes_in")).sum() };
    let before = reconciled(&group);
    let (sender, latencies) = std::sync::mpsc::channel();
    let load = Load::start(group.hosts(), |host| {
        let (mut round, sender) = (0_u64, sender.clone());
        move |client: &mut Connection| {
            let began = Instant::now();
            let run = [
                format!("SET every:{host}:{round} {round}"),
                "INCR count".to_owned(),
                format!("SET shared:{} {host}:{round}", round % 100),
            ];
            send_all(client, &run);
            let _ = sender.send((began, began.elapsed()));
            round += 1;
            thread::sleep(Duration::from_millis(1));
        }
    });
    load.wait_rounds(size(500, 5_000));
    let replacing = Instant::now();
    for topology in [Topology::Ring, Topology::Star, Topology::Mesh] {
        group.connect(topology);
        for index in 0..group.hosts().len() {
            let host = &mut group.hosts_mut()[index];
            host.agent.as_mut().expect("it runs").stop();
            host.start_agent();
            load.wait_rounds(50);
        }
        group.wait_caught_up();
    }
    let replaced = Instant::now();
    load.wait_rounds(size(500, 5_000));
    let written = load.finish();
    drop(sender);
    group.check_equal();
    let count = wait_for("the count", || {
        let count: u64 =
            redis::cmd("GET").arg("count").query(&mut group[0].client()).map_err(|e| e.to_string())?;
        Ok(count)
    });
    assert_eq!(count, written, "increments are lost, or count twice");
    assert_eq!(reconciled(&group), before, "batches would have done");
    check_undiverged(group.hosts());
    let verified = check_verified(group.hosts());
    let (mut during, mut beside) = (Vec::new(), Vec::new());
    for (began, took) in latencies {
        if began >= replacing && began < replaced { during.push(took) } else { beside.push(took) }
    }
    eprintln!(
        "agents replaced: {written} runs of commands, {verified} keys verified; p99 of a run {:?} while agents were replaced, \
         {:?} before and after",
        p99(&mut during),
        p99(&mut beside),
    );
}

fn p99(latencies: &mut [Duration]) -> Duration {
    latencies.sort_unstable();
    latencies.get(latencies.len() * 99 / 100).copied().unwrap_or_default()
}

//! What the agent tells load balancers.

use std::io::{Read, Write};
use std::net::TcpStream;

use tests::group::{Group, Topology};
use tests::host::Host;
use tests::load::send_all;
use tests::programs;
use tests::wait::{wait_for, wait_until};

/// The status and the text of the answer.
fn get(host: &Host, target: &str) -> (u16, String) {
    let mut answer = String::new();
    let mut ask = || -> std::io::Result<()> {
        let mut stream = TcpStream::connect(host.agent_address())?;
        write!(stream, "GET {target} HTTP/1.0\r\nHost: x\r\n\r\n")?;
        stream.read_to_string(&mut answer)?;
        Ok(())
    };
    if let Err(error) = ask() {
        return (0, error.to_string());
    }
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let text = answer.split_once("\r\n\r\n").map_or("", |(_, text)| text);
    (status, text.trim().to_owned())
}

#[track_caller]
fn wait_status(host: &Host, target: &str, status: u16, text: &str) {
    wait_for(target, || {
        let (now, told) = get(host, target);
        if now == status && told.contains(text) { Ok(()) } else { Err(format!("{now}: {told}")) }
    });
}

#[test]
fn readiness_follows_the_node_and_liveness_does_not() {
    let mut group = Group::start(&programs!(), 2, Topology::Mesh);
    wait_status(&group[0], "/readyz", 200, "ready");
    assert_eq!(get(&group[0], "/livez").0, 200);
    assert_eq!(get(&group[0], "/readyz?max-lag=soon").0, 400);
    assert_eq!(get(&group[0], "/metrics").0, 404);

    group[0].kill_node();
    wait_status(&group[0], "/readyz", 503, "");
    assert_eq!(
        get(&group[0], "/livez").0,
        200,
        "the agent runs, and nothing would be won by starting it again"
    );
    group[0].start_node();
    wait_status(&group[0], "/readyz", 200, "ready");
}

/// A host that comes back is not ready before it holds what its peer held when they met.
#[test]
fn a_node_that_has_not_caught_up_is_not_ready() {
    let mut group = Group::start(&programs!(), 2, Topology::Chain);
    group[1].kill_agent();
    let many: Vec<String> = (0..20_000).map(|number| format!("SET key:{number} {number}")).collect();
    many.chunks(100).for_each(|run| {
        send_all(&mut group[0].writing_client(), run);
    });
    group[1].kill_node();
    group[1].start_node();
    group[1].start_agent();
    wait_status(&group[1], "/readyz", 200, "ready");
    assert!(group[1].frontier().covers_listed(&group[0].frontier()), "it was ready before it had caught up");
}

#[test]
fn a_node_that_does_not_answer_is_not_ready() {
    let group = Group::start(&programs!(), 2, Topology::Chain);
    wait_status(&group[1], "/readyz?max-lag=1000", 200, "ready");
    group[1].node.as_ref().expect("it runs").signal(rustix::process::Signal::STOP);
    wait_status(&group[1], "/readyz?max-lag=1000", 503, "does not answer");
    group[0].run(&["SET", "key", "value"]);
    group[1].node.as_ref().expect("it runs").signal(rustix::process::Signal::CONT);
    wait_status(&group[1], "/readyz?max-lag=1000", 200, "ready");
    wait_until("the write", || {
        redis::cmd("EXISTS").arg("key").query::<bool>(&mut group[1].client()).unwrap_or(false)
    });
}

/// Over a link that is too slow, news of what is missing lie in buffers with what is missing: a node took itself for up to
/// date for as long as that lasted.
#[test]
fn a_node_behind_a_slow_link_is_not_ready_for_who_bounds_the_lag() {
    const KEYS: usize = 1_000;
    let mut group = Group::new(&programs!(), 2);
    group.connect_by_own_cables(Topology::Star);
    group.start_all();
    group.wait_one_link_each(Topology::Star);
    wait_status(&group[1], "/readyz?max-lag=2000", 200, "ready");
    group[1].own_cables[0].set_bytes_per_second(200_000);
    let value = "x".repeat(10_000);
    let many: Vec<String> = (0..KEYS).map(|number| format!("SET key:{number} {value}")).collect();
    send_all(&mut group[0].writing_client(), &many);

    wait_status(&group[1], "/readyz?max-lag=2000", 503, "ms behind");
    while held(&group[1]) < KEYS / 4 {
        assert_eq!(get(&group[1], "/readyz?max-lag=2000").0, 503);
    }
    assert_eq!(get(&group[1], "/readyz?max-lag=3600000").0, 200);

    group[1].own_cables[0].set_bytes_per_second(0);
    wait_status(&group[1], "/readyz?max-lag=2000", 200, "ready");
}

fn held(host: &Host) -> usize {
    redis::cmd("DBSIZE").query(&mut host.client()).expect("the node answers")
}

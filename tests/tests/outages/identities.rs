//! Directories that are put back or copied, names that are given twice, and nodes that do not know yet what time it is.

use std::path::Path;
use std::time::Instant;

use redis::RedisError;
use tempfile::TempDir;
use tests::group::{Group, Topology};
use tests::host::Host;
use tests::operator::{check_undiverged, check_verified, member_names};
use tests::programs;
use tests::wait::{wait_for, wait_until};

use crate::{count_keys, flags, for_each, get};

const KEYS: usize = 500;

fn stop(host: &mut Host) {
    host.agent.take().expect("the agent runs").stop();
    host.node.take().expect("the node runs").stop();
}

fn copy_directory(source: &Path, target: &Path) {
    std::fs::create_dir_all(target).expect("a directory can be made");
    for entry in std::fs::read_dir(source).expect("the directory can be read") {
        let entry = entry.expect("an entry can be read");
        std::fs::copy(entry.path(), target.join(entry.file_name())).expect("a file can be copied");
    }
}

/// The node writes under a new origin after each start, so what it wrote after the copy was made is not forked: it comes
/// back from the peer like anybody's.
#[test]
fn a_directory_that_was_put_back_forks_nothing_and_loses_nothing() {
    let mut group = Group::start(&programs!(), 2, Topology::Mesh);
    for_each(&mut group[0].writing_client(), KEYS, |number| format!("SET before:{number} {number}"));
    for_each(&mut group[0].writing_client(), KEYS, |_| "INCR count".to_owned());
    group.wait_converged();
    stop(&mut group[0]);
    let data = group[0].data_dir();
    let copy = data.with_extension("copy");
    copy_directory(&data, &copy);

    let write_more = |host: &Host, prefix: &str| {
        let mut client = host.writing_client();
        for_each(&mut client, KEYS, |number| format!("SET {prefix}:{number} {number}"));
        for_each(&mut client, KEYS, |_| "INCR count".to_owned());
        for_each(&mut client, KEYS / 5, |number| format!("DEL before:{}", number * 5));
    };
    group[0].start_node();
    group[0].start_agent();
    write_more(&group[0], "since");
    let held = group.wait_converged();
    stop(&mut group[0]);
    std::fs::remove_dir_all(&data).expect("the directory can be removed");
    copy_directory(&copy, &data);

    group[0].start_node();
    assert!(!group[0].frontier().covers_listed(&held), "nothing is missing: the test shows nothing");
    group[0].start_agent();
    write_more(&group[0], "after");
    group.check_equal();
    for host in group.hosts() {
        assert_eq!(count_keys(host, "since", KEYS), KEYS, "{}", host.name());
        assert_eq!(count_keys(host, "after", KEYS), KEYS, "{}", host.name());
        assert_eq!(count_keys(host, "before", KEYS), KEYS - KEYS / 5, "{}", host.name());
        assert_eq!(get(host, "count"), Some((3 * KEYS).to_string()), "{}", host.name());
    }
    check_undiverged(group.hosts());
    let verified = check_verified(group.hosts());
    eprintln!("put back: {verified} keys verified, {} origins", group[0].frontier().iter().count());
}

/// Waits until the agent says why it refuses a link, and that this names both nodes.
#[track_caller]
fn wait_refused(host: &Host, parts: &[&str]) -> String {
    wait_for("a refusal that names both", || {
        let log = host.agent_log();
        let names_both = |line: &&str| parts.iter().all(|part| line.contains(part));
        log.lines().find(names_both).map(str::to_owned).ok_or(log)
    })
}

#[test]
fn a_copied_directory_is_refused_as_a_second_node() {
    let mut group = Group::start(&programs!(), 2, Topology::Mesh);
    for_each(&mut group[0].writing_client(), KEYS, |number| format!("SET key:{number} {number}"));
    group.wait_converged();
    let elsewhere = TempDir::new().expect("a temporary directory");
    let mut renamed = Host::new(programs!(), "second", elsewhere.path());
    let mut second = Host::new(programs!(), "host0", elsewhere.path());
    stop(&mut group[0]);
    copy_directory(&group[0].data_dir(), &renamed.data_dir());
    copy_directory(&group[0].data_dir(), &second.data_dir());
    group[0].start_node();
    group[0].start_agent();
    group.wait_linked();

    renamed.launch_node();
    assert!(!renamed.node.as_mut().expect("it was started").wait().success());
    let log = renamed.node_log();
    assert!(log.contains("made for the node named 'host0'") && log.contains("is 'second'"), "{log}");

    second.peers = vec![group[0].url(), group[1].url()];
    second.start_node();
    second.start_agent();
    let node_id = group[0].feed_info("node-id");
    assert_eq!(second.feed_info("node-id"), node_id);
    for host in [&group[0], &second] {
        let line = wait_refused(host, &["link is refused", "host0", &node_id]);
        eprintln!("copied: {line}");
    }
    second.run(&["SET", "of the copy", "1"]);
    group[0].run(&["SET", "of the original", "1"]);
    group.check_equal();
    assert_eq!(
        (get(&group[1], "of the original").as_deref(), get(&group[1], "of the copy")),
        (Some("1"), None)
    );
}

#[test]
fn a_second_live_member_of_a_name_is_refused() {
    let group = Group::start(&programs!(), 2, Topology::Mesh);
    let elsewhere = TempDir::new().expect("a temporary directory");
    let mut second = Host::new(programs!(), "host0", elsewhere.path());
    second.peers = vec![group[0].url()];
    second.start_node();
    second.start_agent();
    let ids = [group[0].feed_info("node-id"), second.feed_info("node-id")];
    for host in [&group[0], &second] {
        let line = wait_refused(host, &["host0", &ids[0], &ids[1]]);
        eprintln!("named alike: {line}");
    }
    assert_eq!(member_names(&group[1]), ["host0", "host1"]);
}

/// The other member is linked to neither: it hears of the holder by a link, and so does not enrol another.
#[test]
fn a_name_whose_holder_is_heard_is_not_given_to_another() {
    let group = Group::start(&programs!(), 2, Topology::Mesh);
    let elsewhere = TempDir::new().expect("a temporary directory");
    let mut second = Host::new(programs!(), "host0", elsewhere.path());
    second.peers = vec![group[1].url()];
    second.start_node();
    second.start_agent();
    let ids = [group[0].feed_info("node-id"), second.feed_info("node-id")];
    let line = wait_for("a refusal that names both", || {
        let log = second.agent_log();
        let names_both = |line: &&str| line.contains(&ids[0]) && line.contains(&ids[1]);
        log.lines().find(names_both).map(str::to_owned).ok_or_else(|| log.clone())
    });
    eprintln!("named alike, at a third: {line}");
    assert_eq!(second.feed_info("joining"), "1");
    group.check_equal();
    let members = tests::operator::members(&group[1]).to_string();
    assert!(members.contains(&ids[0]) && !members.contains(&ids[1]), "{members}");
}

fn write(host: &Host) -> Result<(), RedisError> {
    redis::cmd("SET").arg("probe").arg("1").exec(&mut host.client())
}

/// A node whose clock was ahead before its restart would write what is older than what it wrote before.
#[test]
fn a_restarted_node_takes_writes_once_it_has_met_its_group() {
    let mut group = Group::new(&programs!(), 2);
    group.connect(Topology::Mesh);
    group[0].node_flags = flags(&["--max-clock-drift", "50000"]);
    group.start_all();
    group[0].run(&["SET", "before", "1"]);
    stop(&mut group[0]);
    group[0].start_node();
    let error = write(&group[0]).expect_err("it has not met its group");
    assert_eq!(error.code(), Some("LOADING"), "{error}");
    assert_eq!(get(&group[0], "before").as_deref(), Some("1"));
    assert_eq!(group[0].info("ready").as_deref(), Some("0"));
    let met_at = Instant::now();
    group[0].start_agent();
    wait_until("writes to be taken", || write(&group[0]).is_ok());
    eprintln!("met its group: writes are taken after {:?}", met_at.elapsed());
    assert!(met_at.elapsed().as_secs() < 30, "it waited for the clock");
    group.check_equal();
}

#[test]
fn a_restarted_node_that_meets_nobody_takes_writes_when_no_clock_can_be_ahead() {
    let mut group = Group::new(&programs!(), 2);
    group.connect(Topology::Mesh);
    group[0].node_flags = flags(&["--max-clock-drift", "2000"]);
    group.start_all();
    stop(&mut group[0]);
    let started_at = Instant::now();
    group[0].start_node();
    let error = write(&group[0]).expect_err("it has not met its group");
    assert_eq!(error.code(), Some("LOADING"), "{error}");
    wait_until("writes to be taken", || write(&group[0]).is_ok());
    let taken_after = started_at.elapsed();
    eprintln!("met nobody: writes are taken after {taken_after:?}");
    assert!(taken_after.as_millis() >= 2_000, "{taken_after:?}");
}

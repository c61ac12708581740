//! Strangers, and members that are taken for another.

use tests::group::{Group, Topology};
use tests::host::Host;
use tests::programs;
use tests::wait::wait_for;

use crate::check_alive;

/// Waits until a line of the agent's log has all the parts.
#[track_caller]
fn wait_for_log(host: &Host, parts: &[&str]) {
    wait_for("a line in the agent's log", || {
        let log = host.agent_log();
        let found = log.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        if found { Ok(()) } else { Err(format!("no {parts:?} in {log}")) }
    });
}

/// Two linked hosts, and a third one that dials the first and is not started yet.
fn group_with_newcomer(newcomer: impl FnOnce(&Group) -> Host) -> (Group, Host) {
    let group = Group::start(&programs!(), 2, Topology::Chain);
    let mut newcomer = newcomer(&group);
    newcomer.peers = vec![group[0].url()];
    newcomer.start_node();
    (group, newcomer)
}

/// Nothing has come in from the newcomer, nor gone out to it.
#[track_caller]
fn check_apart(group: &Group, newcomer: &Host) {
    let origin = tests::feed::own_origin(newcomer);
    newcomer.run(&["SET", "newcomer", "1"]);
    group.wait_linked();
    let (here, there) = (group[0].frontier(), newcomer.frontier());
    assert!(here.iter().all(|(held, _)| held != origin), "a refused member's writes are held");
    assert_eq!(
        there.iter().map(|(held, _)| held).collect::<Vec<_>>(),
        [origin],
        "writes went to a refused member"
    );
}

#[test]
fn an_agent_of_another_group_is_refused_at_both_sides_with_both_groups() {
    let (mut group, mut newcomer) =
        group_with_newcomer(|group| Host::new(programs!(), "newcomer", &group.dir().join("other")));
    newcomer.agent_flags = ["--group", "others"].map(str::to_owned).to_vec();
    newcomer.start_agent();
    for host in [&group[0], &newcomer] {
        wait_for_log(
            host,
            &["ERRO", "link is refused", "\"test\"", "\"others\"", "\"host0\"", "\"newcomer\""],
        );
    }
    check_apart(&group, &newcomer);
    check_alive(&mut group);
    // The node has noted its group, and takes no agent of another.
    newcomer.kill_agent();
    newcomer.agent_flags.clear();
    newcomer.start_agent();
    wait_for_log(&newcomer, &["ERRO", "WRONGGROUP", "'others'", "'test'"]);
    check_apart(&group, &newcomer);
    check_alive(&mut group);
}

#[test]
fn a_second_member_of_one_name_is_refused_with_both_ids() {
    let (mut group, mut twin) =
        group_with_newcomer(|group| Host::new(programs!(), "host1", &group.dir().join("twin")));
    twin.peers = vec![group[0].url(), group[1].url()];
    twin.start_agent();
    let ids = [&group[1], &twin].map(|host| host.feed_info("node-id"));
    for host in [&group[0], &group[1], &twin] {
        wait_for_log(host, &["ERRO", "two members have one name", "\"host1\"", &ids[0], &ids[1], "--name"]);
    }
    check_apart(&group, &twin);
    check_alive(&mut group);
}

#[test]
fn a_copied_directory_is_refused_as_the_same_node() {
    let (mut group, mut copy) = group_with_newcomer(|group| {
        let copy = Host::new(programs!(), "host1", &group.dir().join("copy"));
        std::fs::create_dir_all(copy.data_dir()).expect("a directory");
        // All but the lock, which is the original's: of the log what is there at the moment.
        for entry in std::fs::read_dir(group[1].data_dir()).expect("a directory") {
            let entry = entry.expect("an entry of the directory");
            if entry.file_type().expect("a type").is_file() {
                std::fs::copy(entry.path(), copy.data_dir().join(entry.file_name()))
                    .expect("a file is copied");
            }
        }
        copy
    });
    copy.peers = vec![group[1].url()];
    copy.start_agent();
    let id = group[1].feed_info("node-id");
    assert_eq!(copy.feed_info("node-id"), id);
    for host in [&group[1], &copy] {
        wait_for_log(host, &["ERRO", "one node id", &id]);
    }
    check_alive(&mut group);
}

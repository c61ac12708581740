//! A person who asks a host's agent over its control socket, with the program that is to be used for that.

use std::process::{Command, Output};

use serde_json::Value;

use crate::group::Topology;
use crate::host::Host;
use crate::wait::wait_for;

/// What the program came to.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The exit code; none if it was killed.
    pub code: Option<i32>,
    /// What it printed to standard output.
    pub out: String,
    /// What it printed to standard error.
    pub err: String,
}

/// Runs `tandem-agent` with these words, and the host's control socket.
///
/// # Panics
/// If it cannot be started.
#[must_use]
pub fn ask(host: &Host, words: &[&str]) -> Answer {
    let (command, rest) = words.split_first().expect("a subcommand");
    let Output { status, stdout, stderr } = Command::new(host.agent_program())
        .arg(command)
        .arg("--control")
        .arg(host.control())
        .args(rest)
        .output()
        .expect("the agent's program can be started");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Answer { code: status.code(), out: text(stdout), err: text(stderr) }
}

/// Who the members are and who was evicted, as the host's node knows it.
///
/// # Panics
/// If the agent does not answer, or not with JSON.
#[must_use]
pub fn members(host: &Host) -> Value {
    let answer = wait_for("an agent to tell the members", || {
        let answer = ask(host, &["members", "--json"]);
        if answer.code == Some(0) { Ok(answer) } else { Err(format!("{answer:?}")) }
    });
    let line: Value = serde_json::from_str(&answer.out).expect("a line of JSON");
    line["result"].clone()
}

/// The names of the members, sorted, this host's counted.
///
/// # Panics
/// If the agent does not answer.
#[must_use]
pub fn member_names(host: &Host) -> Vec<String> {
    let members = members(host);
    let rows = members["members"].as_array().expect("a list of members");
    let mut names: Vec<String> =
        rows.iter().filter_map(|row| row["name"].as_str()).map(str::to_owned).collect();
    names.sort_unstable();
    names
}

/// As [`check_verified_in`], where all are linked with all.
#[track_caller]
pub fn check_verified(hosts: &[Host]) -> u64 {
    check_verified_in(hosts, Topology::Mesh)
}

/// Has each host compared with all its linked peers, values and all, and asserts that nothing differs. Returns how many
/// keys were compared in all.
///
/// # Panics
/// If something differs, or could not be compared with every host that it is to be linked with.
#[track_caller]
pub fn check_verified_in(hosts: &[Host], topology: Topology) -> u64 {
    let mut keys = 0;
    for (index, host) in hosts.iter().enumerate() {
        let linked = topology.linked_with(index, hosts.len()).len();
        // A host that has just joined links anew: who is not linked is not compared with.
        let compared = wait_for("every peer to be linked, and compared with", || {
            let answer = ask(host, &["verify", "--deep", "--json"]);
            assert_eq!(answer.code, Some(0), "{}: {answer:?}", host.name());
            let lines = answer.out.lines();
            let compared: Vec<Value> = lines
                .map(|line| serde_json::from_str::<Value>(line).expect("lines of JSON"))
                .filter(|line| line["type"] == "compared")
                .collect();
            if compared.len() == linked { Ok(compared) } else { Err(format!("{compared:?}")) }
        });
        keys += compared.iter().filter_map(|peer| peer["status"]["keys_compared"].as_u64()).sum::<u64>();
    }
    keys
}

/// Asserts that no node has seen data differ where they must not.
///
/// # Panics
/// If one has.
#[track_caller]
pub fn check_undiverged(hosts: &[Host]) {
    for host in hosts {
        assert_eq!(host.counter("diverged_slots"), 0, "{}: {}", host.name(), host.node_log());
    }
}

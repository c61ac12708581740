//! What operators ask of a running agent, by the program's own subcommands.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::fake_node::FakeNode;
use crate::harness::RunningAgent;

fn tandem(words: &[&str], control: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tandem-agent"));
    command.args(words).arg("--control").arg(control).stdin(Stdio::null());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

struct Desk {
    node: FakeNode,
    peer: FakeNode,
    agents: [RunningAgent; 2],
    directory: TempDir,
}

impl Desk {
    fn new() -> Self {
        let (node, peer) = (FakeNode::start("a", 1), FakeNode::start("b", 2));
        let directory = TempDir::new().unwrap();
        let peers = RunningAgent::start(&peer, &[]);
        let path = directory.path().join("control");
        let agent = RunningAgent::start_with(&node, &[&peers.url], |config| config.control = Some(path));
        node.wait_for_links(1);
        Self { node, peer, agents: [agent, peers], directory }
    }

    fn reply(&self, command: &str, reply: &str) {
        self.node.state().command_replies.insert(command.into(), reply.into());
    }

    fn tandem(&self, words: &[&str]) -> Output {
        tandem(words, &self.directory.path().join("control"))
    }
}

#[test]
fn members_are_listed() {
    let desk = Desk::new();
    desk.reply("MEMBERS", r#"[{"name":"a","state":"member"},{"name":"bb","state":"joining"}]"#);
    let listed = desk.tandem(&["members"]);
    assert_eq!(text(&listed.stdout), "NAME  STATE\na     member\nbb    joining\n");
    assert!(listed.status.success());
    let json = text(&desk.tandem(&["members", "--json"]).stdout);
    assert!(json.starts_with(r#"{"type":"result","result":[{"#) && json.ends_with('\n'), "{json}");
}

#[test]
fn a_member_is_forgotten_only_with_a_yes() {
    let desk = Desk::new();
    desk.reply("FORGET c", "+OK");
    desk.reply("REISSUE", "+OK");
    let unconfirmed = desk.tandem(&["forget", "c"]);
    assert!(!unconfirmed.status.success());
    assert!(text(&unconfirmed.stderr).contains("cannot be taken back"));
    assert!(desk.node.state().commands.is_empty());
    assert!(desk.tandem(&["forget", "c", "--yes"]).status.success());
    assert!(desk.tandem(&["reissue"]).status.success());
    assert_eq!(desk.node.state().commands, ["FORGET c", "REISSUE"]);
    // What the node refuses is said.
    let refused = desk.tandem(&["forget", "d", "--yes"]);
    assert!(!refused.status.success() && text(&refused.stderr).contains("unknown: FORGET d"));
}

#[test]
fn differences_and_failures_have_their_exit_codes() {
    let desk = Desk::new();
    let id = "0000000000000002";
    desk.reply(&format!("VERIFY {id} shallow"), "+OK");
    desk.reply(&format!("VERIFY {id} deep"), "+OK");
    desk.reply(&format!("REPAIR {id}"), "+OK");
    let verified = format!("VERIFIED {id}");
    desk.reply(&verified, r#"{"state":"done","keys_compared":5}"#);
    let equal = desk.tandem(&["verify"]);
    assert_eq!(
        (text(&equal.stdout), equal.status.code()),
        ("b: 5 keys compared, 0 differ\n".into(), Some(0))
    );
    desk.reply(
        &verified,
        r#"{"state":"done","keys_compared":5,"keys_differ":1,"keys":[{"db":0,"key":"k"}]}"#,
    );
    let differing = desk.tandem(&["verify", "--peer", "b", "--deep"]);
    assert_eq!(text(&differing.stdout), "b: 5 keys compared, 1 differ\n  db 0 \"k\"\n");
    assert_eq!(differing.status.code(), Some(1));
    assert_eq!(desk.tandem(&["repair"]).status.code(), Some(0));
    desk.reply(&verified, r#"{"state":"done","error":"the link was lost"}"#);
    assert_eq!(desk.tandem(&["verify"]).status.code(), Some(2));
    assert_eq!(desk.tandem(&["verify", "--peer", "c"]).status.code(), Some(2));
    assert!(desk.node.state().commands.contains(&format!("VERIFY {id} deep")));
    // As long as it goes on, the node is asked again.
    desk.reply(&verified, r#"{"state":"running"}"#);
    let node = &desk.node;
    std::thread::scope(|scope| {
        let verifying = scope.spawn(|| desk.tandem(&["verify"]));
        let asked = node.state().commands.len();
        node.wait_until("asked some times", |state| state.commands.len() > asked + 7);
        desk.reply(&verified, r#"{"state":"done"}"#);
        let done = verifying.join().unwrap();
        assert!(done.status.success() && text(&done.stderr).contains("so far"));
    });
}

#[test]
fn the_socket_is_the_owners_and_goes_with_the_agent() {
    let Desk { node, peer: _peer, agents: [agent, _peers], directory } = Desk::new();
    let path = directory.path().join("control");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // One that is in use is not taken over, and no other file either.
    let config = agent::Config { control: Some(path.clone()), ..agent::Config::default() };
    let logger = || slog::Logger::root(slog::Discard, slog::o!());
    assert!(agent::runtime::block_on(agent::Agent::bind(config.clone(), logger())).is_err());
    agent.stop();
    assert!(!path.exists());
    assert_eq!(tandem(&["members"], &path).status.code(), Some(1));
    std::fs::write(&path, "precious").unwrap();
    assert!(agent::runtime::block_on(agent::Agent::bind(config.clone(), logger())).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    // What a killed agent left is replaced.
    std::fs::remove_file(&path).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(agent::runtime::block_on(agent::Agent::bind(config, logger())).is_ok());
    drop(node);
}

#[test]
fn nonsense_is_refused() {
    use std::io::{Read, Write};
    let desk = Desk::new();
    for line in [&b"{}\n"[..], b"\xff\n", b"{\"command\":\"drop\"}\n"] {
        let path = desk.directory.path().join("control");
        let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
        stream.write_all(line).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("{\"type\":\"error\""), "{answer}");
    }
    assert!(desk.node.state().commands.is_empty() && desk.agents.len() == 2);
}

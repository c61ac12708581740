//! A host: a node, its agent, and the cable to its agent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use redis::{Client, Connection, Value};
use shared::version::Frontier;

use crate::process::{Process, free_port};
use crate::proxy::Proxy;
use crate::wait::{wait_for, wait_until};

/// The programs under test. Integration tests get their paths from cargo.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The node.
    pub node: PathBuf,
    /// The agent.
    pub agent: PathBuf,
}

/// The programs that cargo built for this test.
#[macro_export]
macro_rules! programs {
    () => {
        $crate::host::Programs {
            node: env!("CARGO_BIN_EXE_node_under_test").into(),
            agent: env!("CARGO_BIN_EXE_agent_under_test").into(),
        }
    };
}

/// A link as an agent reported it to its node.
#[derive(Clone, Debug)]
pub struct Link {
    /// The peer's name; empty while it is not known.
    pub name: String,
    /// Whether it is up.
    pub is_up: bool,
    /// The URL that this side dialled, or the address that dialled it.
    pub address: String,
    /// The bytes of batches that the agent has received, whether or not it gave them to the node.
    pub payload_bytes_in: u64,
}

/// A host.
#[derive(Debug)]
pub struct Host {
    programs: Programs,
    name: String,
    dir: PathBuf,
    port: u16,
    listen: SocketAddr,
    /// Others dial the agent through this.
    pub cable: Proxy,
    /// Cables in front of those that it dials, one for each, where links have cables of their own.
    pub own_cables: Vec<Proxy>,
    /// Flags of the node beside those that every host's has.
    pub node_flags: Vec<String>,
    /// What runs the node, with arguments before the node's own, such as `sh -c 'exec "$@"' sh`; nothing, as a rule.
    pub node_wrapper: Vec<String>,
    /// Flags of the agent beside those that every host's has.
    pub agent_flags: Vec<String>,
    /// Environment of the node.
    pub node_environment: Vec<(String, String)>,
    /// Environment of the agent.
    pub agent_environment: Vec<(String, String)>,
    /// The URLs that the agent dials.
    pub peers: Vec<String>,
    /// The node, if it runs.
    pub node: Option<Process>,
    /// The agent, if it runs.
    pub agent: Option<Process>,
}

impl Host {
    /// A host whose files lie under `dir`. Nothing is started.
    ///
    /// # Panics
    /// If the directory cannot be made.
    #[must_use]
    pub fn new(programs: Programs, name: &str, dir: &Path) -> Self {
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir).expect("a directory for the host");
        let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
        Self {
            programs,
            name: name.to_owned(),
            dir,
            port: free_port(),
            listen,
            cable: Proxy::start(listen),
            own_cables: Vec::new(),
            node_flags: Vec::new(),
            node_wrapper: Vec::new(),
            agent_flags: Vec::new(),
            node_environment: Vec::new(),
            agent_environment: Vec::new(),
            peers: Vec::new(),
            node: None,
            agent: None,
        }
    }

    /// The member's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The node's TCP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Where the agent listens: without the cable.
    #[must_use]
    pub const fn agent_address(&self) -> SocketAddr {
        self.listen
    }

    /// The node's data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The URL at which others reach the agent: through the cable.
    #[must_use]
    pub fn url(&self) -> String {
        self.cable.url()
    }

    /// Starts the node and waits until it answers.
    pub fn start_node(&mut self) {
        self.launch_node();
        drop(self.client());
    }

    /// Starts the node, which may refuse to start.
    pub fn launch_node(&mut self) {
        let mut flags = vec!["--name".to_owned(), self.name.clone()];
        flags.extend(["--port".to_owned(), self.port.to_string()]);
        flags.extend(["--unix".to_owned(), self.socket()]);
        if !self.node_flags.iter().any(|flag| flag == "--memory" || flag == "--dir") {
            flags.extend(["--dir".to_owned(), self.data_dir().display().to_string()]);
        }
        flags.extend(self.node_flags.iter().cloned());
        let mut command = self.node_wrapper.clone();
        command.push(self.programs.node.display().to_string());
        command.extend(flags);
        let (program, arguments) = command.split_first().expect("there is the node at least");
        let log = self.dir.join("node.log");
        self.node = Some(Process::start(Path::new(program), arguments, &self.node_environment, &log));
    }

    /// Starts the agent.
    pub fn start_agent(&mut self) {
        let mut flags = vec!["run".to_owned()];
        flags.extend(["--node".to_owned(), format!("unix:{}", self.socket())]);
        flags.extend(["--listen".to_owned(), self.listen.to_string()]);
        for peer in &self.peers {
            flags.extend(["--peer".to_owned(), peer.clone()]);
        }
        flags.extend(["--control".to_owned(), self.control().display().to_string()]);
        if !self.agent_flags.iter().any(|flag| flag == "--group") {
            flags.extend(["--group".to_owned(), "test".to_owned()]);
        }
        flags.extend(self.agent_flags.iter().cloned());
        let log = self.dir.join("agent.log");
        self.agent = Some(Process::start(&self.programs.agent, &flags, &self.agent_environment, &log));
    }

    /// The agent's control socket.
    #[must_use]
    pub fn control(&self) -> PathBuf {
        self.dir.join("control.sock")
    }

    /// The program of the agent, which is that of its operators, too.
    #[must_use]
    pub fn agent_program(&self) -> &Path {
        &self.programs.agent
    }

    fn socket(&self) -> String {
        self.dir.join("node.sock").display().to_string()
    }

    /// Kills the node as a crash would.
    pub fn kill_node(&mut self) {
        if let Some(mut node) = self.node.take() {
            node.kill();
        }
    }

    /// Kills the agent as a crash would.
    pub fn kill_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.kill();
        }
    }

    /// What the node has logged.
    #[must_use]
    pub fn node_log(&self) -> String {
        std::fs::read_to_string(self.dir.join("node.log")).unwrap_or_default()
    }

    /// Whether its agent has a link with another of its node's group: it hears a little later than its node that this has
    /// joined, and begins all links anew.
    #[must_use]
    pub fn knows_its_group(&self) -> bool {
        let log = self.agent_log();
        log.contains("of one group: true") || log.contains(r#""of one group":true"#)
    }

    /// What the agent has logged.
    #[must_use]
    pub fn agent_log(&self) -> String {
        std::fs::read_to_string(self.dir.join("agent.log")).unwrap_or_default()
    }

    /// A client of the node, connected once that answers.
    #[must_use]
    pub fn client(&self) -> Connection {
        wait_for("a node to answer", || self.try_client())
    }

    /// A client of the node, if that answers.
    ///
    /// # Errors
    /// Why not.
    ///
    /// # Panics
    /// Never: an address is one.
    pub fn try_client(&self) -> Result<Connection, String> {
        let client = Client::open(("127.0.0.1", self.port)).expect("an address");
        let mut connection = client.get_connection().map_err(|error| error.to_string())?;
        redis::cmd("PING").exec(&mut connection).map_err(|error| error.to_string())?;
        Ok(connection)
    }

    /// As [`Host::client`], once the node takes writes: after a restart it does so when it has met its group.
    #[must_use]
    pub fn writing_client(&self) -> Connection {
        let client = self.client();
        wait_until("a node to take writes", || self.info("takes_writes").as_deref() == Some("1"));
        client
    }

    /// What the node holds.
    ///
    /// # Panics
    /// If it does not answer.
    #[must_use]
    pub fn frontier(&self) -> Frontier {
        self.feed_info("frontier").parse().expect("a node tells its frontier")
    }

    /// A field of FEED INFO.
    ///
    /// # Panics
    /// If the node does not answer, or has no such field.
    #[must_use]
    pub fn feed_info(&self, field: &str) -> String {
        let fields: Vec<String> =
            redis::cmd("FEED").arg("INFO").query(&mut self.client()).expect("FEED INFO answers");
        let place = fields.iter().step_by(2).position(|name| name == field).expect("FEED INFO has the field");
        fields[place * 2 + 1].clone()
    }

    /// A field of INFO, if it is there.
    ///
    /// # Panics
    /// If the node does not answer.
    #[must_use]
    pub fn info(&self, field: &str) -> Option<String> {
        let text: String =
            redis::cmd("INFO").arg("everything").query(&mut self.client()).expect("INFO answers");
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.map(|value| value.trim().to_owned())
    }

    /// A field of INFO that is a number; 0 if it is not there.
    #[must_use]
    pub fn counter(&self, field: &str) -> u64 {
        self.info(field).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// Its links, as its agent has reported them within a second.
    ///
    /// # Panics
    /// If the node does not answer, or not as it should.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        let text: String =
            redis::cmd("INFO").arg("replication").query(&mut self.client()).expect("INFO answers");
        let fields: BTreeMap<&str, &str> =
            text.lines().filter_map(|line| line.trim().split_once(':')).collect();
        let links = (0..).map_while(|number| Some((number, fields.get(&*format!("link{number}"))?)));
        let link = |(number, line): (usize, &&str)| {
            let values: BTreeMap<&str, &str> =
                line.split(',').filter_map(|part| part.split_once('=')).collect();
            Link {
                name: values["name"].to_owned(),
                is_up: fields.get(&*format!("link{number}_link_status")) == Some(&"up"),
                address: values["address"].to_owned(),
                payload_bytes_in: values["payload_bytes_in"].parse().expect("a number of bytes"),
            }
        };
        links.map(link).collect()
    }

    /// How much of the node's log is left for the member of this name, before it must reconcile, in bytes. None while the
    /// node has not heard it, or does not know it.
    #[must_use]
    pub fn log_left_for(&self, member: &str) -> Option<u64> {
        let lines = (0..).map_while(|number| self.info(&format!("member{number}")));
        let line = lines.into_iter().find(|line| line.starts_with(&format!("name={member},")))?;
        line.rsplit_once("log_left_bytes=")?.1.parse().ok()
    }

    /// Sends a command, once the node takes writes, and returns its reply.
    ///
    /// # Panics
    /// If the reply is an error.
    pub fn run(&self, command: &[&str]) -> Value {
        let mut request = redis::cmd(command[0]);
        for argument in &command[1..] {
            request.arg(*argument);
        }
        request.query(&mut self.writing_client()).unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }
}

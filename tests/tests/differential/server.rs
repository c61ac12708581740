//! The servers that are compared, as processes, and a client's connection with one.

use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;

use shared::resp::encode_request;
use tempfile::TempDir;
use tests::process::{Process, free_port};
use tests::wait::{PATIENCE, wait_for};

use crate::reply::Reply;

/// Replies are those of this version, down to their wording; others differ.
const REDIS_VERSION: &str = "redis_version:7.0.";

/// A server with nothing on disk. Stopped when dropped.
pub(crate) struct Server {
    port: u16,
    _process: Process,
    _dir: TempDir,
}

impl Server {
    /// Redis, with its defaults but for `flags`.
    pub(crate) fn redis(flags: &[&str]) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let mut arguments = strings(&["--save", "", "--dir"]);
        arguments.push(dir.path().display().to_string());
        arguments.extend(strings(flags));
        let server = Self::start(Path::new("redis-server"), arguments, dir);
        let info = server.connect().ask(&[b"INFO", b"server"]);
        let text = String::from_utf8_lossy(info.bytes().unwrap_or_default()).into_owned();
        assert!(text.contains(REDIS_VERSION), "redis-server is not of version 7.0: {info}");
        server
    }

    /// The node, without a group.
    pub(crate) fn node() -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_node_under_test"));
        let dir = TempDir::new().expect("a temporary directory");
        Self::start(program, strings(&["--name", "differential", "--memory"]), dir)
    }

    fn start(program: &Path, mut arguments: Vec<String>, dir: TempDir) -> Self {
        let port = free_port();
        arguments.extend(["--port".to_owned(), port.to_string()]);
        let process = Process::start(program, &arguments, &[], &dir.path().join("log"));
        // One that starts may take a connection, and reset it.
        wait_for("a server to answer", || {
            let answer = Connection::to(port).and_then(|mut client| client.try_ask(&[b"PING"]));
            answer.map_err(|error| error.to_string())
        });
        Self { port, _process: process, _dir: dir }
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::to(self.port).expect("a server takes connections")
    }
}

fn strings(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|argument| (*argument).to_owned()).collect()
}

/// A client's connection.
pub(crate) struct Connection {
    input: BufReader<TcpStream>,
}

impl Connection {
    fn to(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { input: BufReader::with_capacity(1 << 16, stream) })
    }

    fn try_ask(&mut self, words: &[&[u8]]) -> io::Result<Reply> {
        let mut request = Vec::new();
        encode_request(words, &mut request);
        self.input.get_mut().write_all(&request)?;
        Reply::read(&mut self.input)
    }

    /// Sends commands without waiting for their replies.
    pub(crate) fn send<'a>(&mut self, commands: impl Iterator<Item = &'a [Vec<u8>]>) {
        let mut request = Vec::new();
        for words in commands {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            encode_request(&words, &mut request);
        }
        self.input.get_mut().write_all(&request).expect("a server takes commands");
    }

    /// The next reply.
    pub(crate) fn receive(&mut self) -> Reply {
        Reply::read(&mut self.input).expect("a server replies")
    }

    /// A command's reply.
    pub(crate) fn ask(&mut self, words: &[&[u8]]) -> Reply {
        self.try_ask(words).expect("a server replies")
    }
}

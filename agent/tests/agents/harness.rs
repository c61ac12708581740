//! Agents in this process, with their logs kept for the test to read.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use agent::{Agent, Config, NodeAddress, runtime};
use async_std::channel::{self, Sender};
use slog::{Drain, Logger, o};

use crate::fake_node::{FakeNode, PATIENCE};

/// A running agent; it stops when dropped.
pub(crate) struct RunningAgent {
    running: Option<JoinHandle<()>>,
    stop: Sender<()>,
    /// Where peers dial it.
    pub(crate) url: String,
    log: Log,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if std::env::var_os("SHOW_LOG").is_some() {
            std::io::stderr().write_all(bytes)?;
        }
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl RunningAgent {
    pub(crate) fn start(node: &FakeNode, peers: &[&Self]) -> Self {
        let urls: Vec<_> = peers.iter().map(|peer| peer.url.as_str()).collect();
        Self::start_with(node, &urls, |_| {})
    }

    pub(crate) fn start_with(node: &FakeNode, peers: &[&str], change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            node: NodeAddress::Tcp(node.address.to_string()),
            listen: Some("127.0.0.1:0".into()),
            peers: peers.iter().map(|peer| peer.parse().unwrap()).collect(),
            ..Config::default()
        };
        change(&mut config);
        let log = Log::default();
        let drain = Mutex::new(slog_json::Json::default(log.clone())).fuse();
        let logger = Logger::root(drain, o!("node" => node.state().name.clone()));
        let agent = runtime::block_on(Agent::bind(config, logger)).unwrap();
        let url = format!("ws://{}", agent.local_address().unwrap());
        let (stop, stopped) = channel::bounded(1);
        Self {
            running: Some(std::thread::spawn(move || runtime::block_on(agent.run(stopped)))),
            stop,
            url,
            log,
        }
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap()
    }

    /// Waits for a line of the log that has all the parts.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, parts: &[&str]) {
        let start = Instant::now();
        while !self.log().lines().any(|line| parts.iter().all(|part| line.contains(part))) {
            assert!(start.elapsed() < PATIENCE, "nothing with {parts:?} in the log:\n{}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Stops it in the orderly way.
    pub(crate) fn stop(mut self) {
        self.stop.close();
        let running = self.running.take().unwrap();
        running.join().expect("it stops");
    }
}

impl Drop for RunningAgent {
    fn drop(&mut self) {
        self.stop.close();
        if let Some(running) = self.running.take() {
            let _ = running.join();
        }
    }
}

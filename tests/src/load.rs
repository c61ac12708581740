//! Clients that write: all at the same moment, or in the background until they are told to stop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};

use redis::{Connection, ConnectionLike, Value};

use crate::host::Host;
use crate::wait::wait_until;

/// A size for the usual form of a test, or for its long one, which `TANDEM_LONG=1` asks for.
#[must_use]
pub fn size(usual: usize, long: usize) -> usize {
    if std::env::var("TANDEM_LONG").is_ok_and(|value| value == "1") { long } else { usual }
}

/// The seed of a test's randomness: that of the environment's `SEED`, or a new one. It is printed, to be replayed.
///
/// # Panics
/// If `SEED` is no number.
#[must_use]
pub fn seed() -> u64 {
    let seed = match std::env::var("SEED") {
        Ok(text) => text.parse().expect("SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    eprintln!("SEED={seed}");
    seed
}

/// Sends commands in one go, each of words with a space between them. Returns their replies, which may be errors.
///
/// # Panics
/// If the connection breaks.
pub fn send<S: AsRef<str>>(client: &mut Connection, commands: &[S]) -> Vec<Value> {
    if commands.is_empty() {
        return Vec::new();
    }
    let mut bytes = Vec::new();
    for command in commands {
        let mut words = command.as_ref().split(' ');
        let mut packed = redis::cmd(words.next().unwrap_or_default());
        words.for_each(|word| {
            packed.arg(word);
        });
        packed.write_packed_command(&mut bytes);
    }
    client.req_packed_commands(&bytes, 0, commands.len()).expect("a node answers")
}

/// As [`send`], of commands none of which may fail.
///
/// # Panics
/// If one does.
pub fn send_all<S: AsRef<str>>(client: &mut Connection, commands: &[S]) -> Vec<Value> {
    let replies = send(client, commands);
    for (command, reply) in commands.iter().zip(&replies) {
        assert!(!matches!(reply, Value::ServerError(_)), "{}: {reply:?}", command.as_ref());
    }
    replies
}

/// Runs `work` for each host on a thread and a client of its own, all from the same moment on.
///
/// # Panics
/// If one of them does.
pub fn at_once(hosts: &[&Host], work: impl Fn(usize, &mut Connection) + Sync) {
    let start = Barrier::new(hosts.len());
    thread::scope(|scope| {
        for (index, host) in hosts.iter().enumerate() {
            let (start, work) = (&start, &work);
            scope.spawn(move || {
                let mut client = host.writing_client();
                start.wait();
                work(index, &mut client);
            });
        }
    });
}

/// Clients in the background, one per host, each doing round after round of some work.
#[derive(Debug)]
pub struct Load {
    stopped: Arc<AtomicBool>,
    clients: Vec<(Arc<AtomicU64>, JoinHandle<()>)>,
}

impl Load {
    /// Starts a client per host; `work` makes the rounds of each, told its host's number.
    pub fn start<W>(hosts: &[Host], work: impl Fn(usize) -> W) -> Self
    where
        W: FnMut(&mut Connection) + Send + 'static,
    {
        let stopped = Arc::new(AtomicBool::new(false));
        let start = |(index, host): (usize, &Host)| {
            let (stopped, rounds) = (Arc::clone(&stopped), Arc::new(AtomicU64::new(0)));
            let (counted, mut round, mut client) = (Arc::clone(&rounds), work(index), host.writing_client());
            let thread = thread::spawn(move || {
                while !stopped.load(Ordering::Acquire) {
                    round(&mut client);
                    counted.fetch_add(1, Ordering::AcqRel);
                }
            });
            (rounds, thread)
        };
        Self { clients: hosts.iter().enumerate().map(start).collect(), stopped }
    }

    /// Waits until every client has done so many more rounds.
    ///
    /// # Panics
    /// If one of them has.
    #[track_caller]
    pub fn wait_rounds(&self, more: usize) {
        let done = |rounds: &AtomicU64| rounds.load(Ordering::Acquire);
        let goals: Vec<u64> = self.clients.iter().map(|(rounds, _)| done(rounds) + more as u64).collect();
        wait_until("rounds of the load", || {
            assert!(!self.clients.iter().any(|(_, thread)| thread.is_finished()), "a client has failed");
            self.clients.iter().zip(&goals).all(|((rounds, _), goal)| done(rounds) >= *goal)
        });
    }

    /// Has every client end its round, and stops.
    ///
    /// # Panics
    /// If a client did.
    pub fn finish(mut self) -> u64 {
        self.stopped.store(true, Ordering::Release);
        let done = self.clients.drain(..).map(|(rounds, thread)| {
            thread.join().expect("a client goes on until it is stopped");
            rounds.load(Ordering::Acquire)
        });
        done.sum()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
    }
}

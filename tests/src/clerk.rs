//! A client that remembers what was acknowledged to it.
//!
//! A clerk writes keys that nobody else writes, so it can say what each must hold: what the last acknowledged command
//! left; or, when a connection broke before the answer, that or what any further command of the unanswered pipeline
//! left, for those are carried out in order. Besides, all clerks count on common counters, whose sum must be exact.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::{Client, Connection, Pipeline, RedisError, Value};

use crate::wait::PATIENCE;

/// When a node that is not there is tried again.
const RETRY: Duration = Duration::from_millis(10);

/// Keys that are written again and again; each further one is written once, so that any lost batch leaves a gap.
const KEYS: usize = 50;

/// The counters that all clerks count on.
const COUNTERS: usize = 4;

/// Keys that are read at once.
const READ_KEYS: usize = 1_000;

/// A client that remembers what was acknowledged to it.
#[derive(Debug)]
pub struct Clerk {
    name: String,
    pipeline: usize,
    random: fastrand::Rng,
    keys: Vec<Key>,
    /// Which of them are written again and again.
    busy: Vec<usize>,
    counts: [Count; COUNTERS],
    next_value: i64,
}

/// What is known of a key.
#[derive(Clone, Debug, Default)]
struct Key {
    acknowledged: Option<i64>,
    /// What it may hold instead: the answers to these writes are missing.
    possible: Vec<Option<i64>>,
}

/// How often a clerk has counted.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    acknowledged: i64,
    unanswered: i64,
}

#[derive(Clone, Copy, Debug)]
enum Write {
    Set(usize, i64),
    Increment(usize),
    Delete(usize),
    Count(usize),
}

impl Clerk {
    /// A clerk who sends pipelines of up to so many commands.
    #[must_use]
    pub fn new(name: &str, pipeline: usize, seed: u64) -> Self {
        Self {
            name: name.to_owned(),
            pipeline,
            random: fastrand::Rng::with_seed(seed),
            keys: vec![Key::default(); KEYS],
            busy: (0..KEYS).collect(),
            counts: Default::default(),
            next_value: 1,
        }
    }

    /// Writes until `stop`, or until the connection breaks, and adds what is acknowledged to `acknowledged`.
    ///
    /// # Panics
    /// If an answer is wrong.
    pub fn work(&mut self, mut client: Connection, stop: &AtomicBool, acknowledged: &AtomicU64) {
        client.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        while !stop.load(Ordering::Acquire) {
            let writes: Vec<Write> =
                (0..self.random.usize(1..=self.pipeline)).map(|_| self.choose()).collect();
            match self.pipeline_of(&writes).query::<Vec<Value>>(&mut client) {
                Ok(replies) => {
                    writes.iter().zip(replies).for_each(|(write, reply)| self.on_reply(*write, &reply))
                }
                Err(error) => return self.on_failure(&writes, &error),
            }
            acknowledged.fetch_add(writes.len() as u64, Ordering::AcqRel);
        }
    }

    /// As [`Clerk::work`], but at a node that is killed and started again: until `stop`, whatever breaks.
    ///
    /// A key of which an answer is missing is not written any more: a write that the node has lost with its memory, but
    /// had sent, comes back at any time.
    ///
    /// # Panics
    /// If an answer is wrong.
    pub fn work_on(&mut self, port: u16, stop: &AtomicBool, acknowledged: &AtomicU64) {
        while !stop.load(Ordering::Acquire) {
            let Some(client) = connect(port) else {
                std::thread::sleep(RETRY);
                continue;
            };
            self.work(client, stop, acknowledged);
            for busy in &mut self.busy {
                if !self.keys[*busy].possible.is_empty() {
                    *busy = self.keys.len();
                    self.keys.push(Key::default());
                }
            }
        }
    }

    fn choose(&mut self) -> Write {
        let key = self.busy[self.random.usize(0..KEYS)];
        self.next_value += 1;
        match self.random.u8(0..100) {
            0..=38 => Write::Set(key, self.next_value),
            39..=68 => Write::Increment(key),
            69..=78 => Write::Delete(key),
            79..=97 => Write::Count(self.random.usize(0..COUNTERS)),
            _ => {
                self.keys.push(Key::default());
                Write::Set(self.keys.len() - 1, self.next_value)
            }
        }
    }

    fn pipeline_of(&self, writes: &[Write]) -> Pipeline {
        let mut pipeline = redis::pipe();
        for write in writes {
            match *write {
                Write::Set(key, value) => pipeline.cmd("SET").arg(self.key_name(key)).arg(value),
                Write::Increment(key) => pipeline.cmd("INCR").arg(self.key_name(key)),
                Write::Delete(key) => pipeline.cmd("DEL").arg(self.key_name(key)),
                Write::Count(counter) => pipeline.cmd("INCR").arg(counter_name(counter)),
            };
        }
        pipeline
    }

    fn key_name(&self, key: usize) -> String {
        format!("{}:{key}", self.name)
    }

    fn on_reply(&mut self, write: Write, reply: &Value) {
        let key = match write {
            Write::Count(counter) => {
                assert!(matches!(reply, Value::Int(_)), "{}: {write:?} is answered by {reply:?}", self.name);
                self.counts[counter].acknowledged += 1;
                return;
            }
            Write::Set(key, _) | Write::Increment(key) | Write::Delete(key) => &mut self.keys[key],
        };
        let before = key.acknowledged;
        key.acknowledged = after(write, before);
        let expected = match write {
            Write::Set(..) => Value::Okay,
            Write::Delete(_) => Value::Int(i64::from(before.is_some())),
            Write::Increment(_) | Write::Count(_) => Value::Int(before.unwrap_or(0) + 1),
        };
        assert_eq!(*reply, expected, "{}: the answer to {write:?} of {before:?}", self.name);
    }

    fn on_failure(&mut self, writes: &[Write], error: &RedisError) {
        assert!(error.is_io_error() || error.is_connection_dropped(), "{}: {error}", self.name);
        for write in writes {
            match *write {
                Write::Count(counter) => self.counts[counter].unanswered += 1,
                Write::Set(key, _) | Write::Increment(key) | Write::Delete(key) => {
                    let key = &mut self.keys[key];
                    let before = key.possible.last().copied().unwrap_or(key.acknowledged);
                    key.possible.push(after(*write, before));
                }
            }
        }
    }

    /// Checks that this node has everything that was acknowledged.
    ///
    /// # Panics
    /// If it has not; with the first key.
    #[track_caller]
    pub fn check(&self, node: &str, client: &mut Connection) {
        for (index, found) in self.read(client).into_iter().enumerate() {
            let Key { acknowledged, possible } = &self.keys[index];
            assert!(
                found == *acknowledged || possible.contains(&found),
                "{node} holds {found:?} as {}, acknowledged was {acknowledged:?}; unanswered: {possible:?}",
                self.key_name(index),
            );
        }
    }

    /// Takes what the node holds for what the unanswered commands have come to. All nodes must be equal.
    pub fn settle(&mut self, client: &mut Connection) {
        let held = self.read(client);
        for (key, found) in self.keys.iter_mut().zip(held) {
            *key = Key { acknowledged: found, possible: Vec::new() };
        }
    }

    fn read(&self, client: &mut Connection) -> Vec<Option<i64>> {
        let names: Vec<String> = (0..self.keys.len()).map(|key| self.key_name(key)).collect();
        let mut read = |names: &[String]| -> Vec<Option<i64>> {
            redis::cmd("MGET").arg(names).query(client).expect("MGET answers with numbers")
        };
        names.chunks(READ_KEYS).flat_map(&mut read).collect()
    }
}

/// A client of the node at this port, if that takes writes.
fn connect(port: u16) -> Option<Connection> {
    let mut client = Client::open(("127.0.0.1", port)).ok()?.get_connection().ok()?;
    client.set_read_timeout(Some(PATIENCE)).ok()?;
    let info: String = redis::cmd("INFO").arg("replication").query(&mut client).ok()?;
    info.contains("takes_writes:1").then_some(client)
}

/// What a write makes of a key.
fn after(write: Write, before: Option<i64>) -> Option<i64> {
    match write {
        Write::Set(_, value) => Some(value),
        Write::Increment(_) | Write::Count(_) => Some(before.unwrap_or(0) + 1),
        Write::Delete(_) => None,
    }
}

fn counter_name(counter: usize) -> String {
    format!("counter:{counter}")
}

/// Checks that the common counters have every acknowledged count, and none that nobody made.
///
/// # Panics
/// If one has not.
#[track_caller]
pub fn check_counters(node: &str, client: &mut Connection, clerks: &[Clerk]) {
    for counter in 0..COUNTERS {
        let found: Option<i64> =
            redis::cmd("GET").arg(counter_name(counter)).query(client).expect("a counter is a number");
        let acknowledged: i64 = clerks.iter().map(|clerk| clerk.counts[counter].acknowledged).sum();
        let unanswered: i64 = clerks.iter().map(|clerk| clerk.counts[counter].unanswered).sum();
        assert!(
            (acknowledged..=acknowledged + unanswered).contains(&found.unwrap_or(0)),
            "{node} counts {found:?}, acknowledged were {acknowledged}, and {unanswered} are unanswered",
        );
    }
}

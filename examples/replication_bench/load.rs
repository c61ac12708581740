//! The load: SETs over many connections, as fast as they are answered, or at a pace.

use std::io;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use shared::resp::{Value, encode_request};

use crate::Stop;
use crate::client::Client;

/// The longest pipeline: more replies would not fit into what a socket holds while nobody reads it.
pub(crate) const PIPELINE_MAX: usize = 10_000;

/// The longest value, in bytes.
pub(crate) const VALUE_BYTES_MAX: usize = 1 << 20;

/// What is to be written, and where.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) masters: Vec<String>,
    /// In all; 0 for no limit.
    pub(crate) writes: u64,
    /// Per second, in all; 0 for no limit.
    pub(crate) rate: u64,
    /// Connections to each master.
    pub(crate) clients: usize,
    pub(crate) pipeline: usize,
    pub(crate) value_bytes: usize,
    pub(crate) value: ValueKind,
    pub(crate) keys: u64,
    pub(crate) time_max: Duration,
}

/// What values are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueKind {
    /// All alike.
    Constant,
    /// Bytes that no codec makes smaller.
    Random,
    /// Objects with the same names, and values of their own.
    Json,
}

impl FromStr for ValueKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "constant" => Ok(Self::Constant),
            "random" => Ok(Self::Random),
            "json" => Ok(Self::Json),
            _ => Err("constant, random or json".into()),
        }
    }
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    /// Acknowledged writes.
    pub(crate) writes: u64,
    /// Refused ones.
    pub(crate) errors: u64,
    /// What one of those was refused for.
    pub(crate) error: Option<String>,
    pub(crate) took: Duration,
}

/// Writes until all is written, the time is over, or everything is to end.
///
/// # Errors
/// If a master cannot be connected to, or is lost meanwhile.
pub(crate) fn run(load: &Load, stop: &Stop) -> io::Result<Done> {
    let addresses = load.masters.iter().flat_map(|master| std::iter::repeat_n(master, load.clients));
    let clients: Vec<Client> = addresses.map(|master| Client::connect(master)).collect::<Result<_, _>>()?;
    let (begun_at, count) = (Instant::now(), clients.len());
    let claimed = AtomicU64::new(0);
    let mut done = Done::default();
    let results: Vec<io::Result<Done>> = thread::scope(|scope| {
        let writing: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(index, client)| {
                let writer = Writer { load, client, random: Rng::with_seed(index as u64), claimed: &claimed };
                scope.spawn(move || writer.run(begun_at, count, stop))
            })
            .collect();
        writing.into_iter().map(|thread| thread.join().expect("a writer does not panic")).collect()
    });
    for result in results {
        let part = result?;
        done.writes += part.writes;
        done.errors += part.errors;
        done.error = done.error.or(part.error);
    }
    done.took = begun_at.elapsed();
    Ok(done)
}

struct Writer<'a> {
    load: &'a Load,
    client: Client,
    random: Rng,
    /// The writes that some writer has sent, or is about to.
    claimed: &'a AtomicU64,
}

impl Writer<'_> {
    fn run(mut self, begun_at: Instant, writers: usize, stop: &Stop) -> io::Result<Done> {
        let mut done = Done::default();
        let interval = self.interval(writers);
        let mut due_at = begun_at + interval.mul_f64(self.random.f64());
        let mut requests = Vec::new();
        while !stop.load(Ordering::Acquire) && begun_at.elapsed() < self.load.time_max {
            let count = self.claim();
            if count == 0 {
                break;
            }
            thread::sleep(due_at.saturating_duration_since(Instant::now()));
            due_at += interval;
            requests.clear();
            (0..count).for_each(|_| self.append_write(&mut requests));
            self.client.send(&requests)?;
            for _ in 0..count {
                self.take_reply(&mut done)?;
            }
        }
        Ok(done)
    }

    /// The time between two pipelines of one writer.
    fn interval(&self, writers: usize) -> Duration {
        let per_second = self.load.rate as f64 / (self.load.pipeline * writers) as f64;
        if self.load.rate == 0 { Duration::ZERO } else { Duration::from_secs_f64(1.0 / per_second) }
    }

    fn claim(&self) -> u64 {
        let pipeline = self.load.pipeline as u64;
        match self.load.writes {
            0 => pipeline,
            writes => writes.saturating_sub(self.claimed.fetch_add(pipeline, Ordering::AcqRel)).min(pipeline),
        }
    }

    fn append_write(&mut self, requests: &mut Vec<u8>) {
        let number = self.random.u64(..self.load.keys);
        let key = format!("bench:{number:010}");
        let value = self.value(number);
        encode_request(&[b"SET", key.as_bytes(), &value], requests);
    }

    fn value(&mut self, number: u64) -> Vec<u8> {
        const NAMES: [&str; 8] = ["Ada", "Barbara", "Dennis", "Edsger", "Grace", "Ken", "Leslie", "Tony"];
        let length = self.load.value_bytes;
        let mut value = match self.load.value {
            ValueKind::Constant => Vec::new(),
            ValueKind::Random => (0..length).map(|_| self.random.u8(..)).collect(),
            ValueKind::Json => {
                let name = NAMES[self.random.usize(..NAMES.len())];
                let (age, visits) = (self.random.u8(18..90), self.random.u16(..1_000));
                format!("{{\"id\":{number},\"name\":\"{name}\",\"age\":{age},\"visits\":{visits},\"note\":\"")
                    .into_bytes()
            }
        };
        while value.len() < length {
            value.extend_from_slice(if self.load.value == ValueKind::Json { b"lorem ipsum " } else { b"x" });
        }
        value.truncate(length);
        value
    }

    fn take_reply(&mut self, done: &mut Done) -> io::Result<()> {
        let refused = self.client.receive(|reply| match reply {
            Value::Error(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        })?;
        match refused {
            None => done.writes += 1,
            Some(text) => {
                done.errors += 1;
                done.error.get_or_insert(text);
            }
        }
        Ok(())
    }
}

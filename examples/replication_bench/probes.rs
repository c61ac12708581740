//! Probes: single writes beside the load, each waited for at every other master.
//!
//! ```text
//! source --SET probe 7--> acknowledged at t        one thread per source, at a fixed pace
//! target --GET probe--> 6, 6, 7 at u: lag u - t    one thread per direction, only while it has something to wait for
//! ```

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::client::Client;

/// More lags of a direction are not remembered; at the usual pace it takes more than an hour to come to so many.
const SAMPLES_MAX: usize = 1_000_000;

/// What has not arrived so long after the last probe is counted as lost.
const LOST_AFTER: Duration = Duration::from_secs(5);

/// How often is probed and looked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Between two probes of a source; zero for none.
    pub(crate) interval: Duration,
    /// Between two looks for one.
    pub(crate) poll_pause: Duration,
}

/// What was measured in one direction.
#[derive(Clone, Debug)]
pub(crate) struct Lags {
    /// From where to where.
    pub(crate) name: String,
    /// In milliseconds, in ascending order.
    pub(crate) sorted_ms: Vec<f64>,
    /// Probes that were not seen.
    pub(crate) lost: usize,
    /// Why measuring ended early, if it did.
    pub(crate) error: Option<String>,
}

/// A probe's number, and when its write was acknowledged.
type Acknowledged = (u64, Instant);

/// Probes that are under way.
pub(crate) struct Probes {
    stop: Arc<AtomicBool>,
    sources: Vec<JoinHandle<io::Result<()>>>,
    directions: Vec<JoinHandle<Lags>>,
}

/// Begins to probe from each of the first `writers` masters to all others.
///
/// # Errors
/// If a master cannot be connected to.
pub(crate) fn start(masters: &[String], writers: usize, pace: Pace) -> io::Result<Probes> {
    let mut probes =
        Probes { stop: Arc::new(AtomicBool::new(false)), sources: Vec::new(), directions: Vec::new() };
    let writers = if pace.interval.is_zero() { 0 } else { writers };
    for (index, source) in masters[..writers].iter().enumerate() {
        // Another run's probe has another key.
        let key = format!("bench:probe:{index}:{:x}", fastrand::u64(..)).into_bytes();
        let mut watchers = Vec::new();
        for target in masters.iter().filter(|target| *target != source) {
            let (sender, acknowledged) = channel();
            watchers.push(sender);
            let direction = Direction {
                client: Client::connect(target)?,
                key: key.clone(),
                acknowledged,
                pending: VecDeque::new(),
                lags: Lags {
                    name: format!("{source} -> {target}"),
                    sorted_ms: Vec::new(),
                    lost: 0,
                    error: None,
                },
            };
            probes.directions.push(thread::spawn(move || direction.run(pace.poll_pause)));
        }
        let (client, stop) = (Client::connect(source)?, Arc::clone(&probes.stop));
        probes.sources.push(thread::spawn(move || probe(client, &key, &watchers, pace.interval, &stop)));
    }
    Ok(probes)
}

impl Probes {
    /// Ends probing, and waits for what is still on its way.
    pub(crate) fn end(self) -> Vec<Lags> {
        self.stop.store(true, Ordering::Release);
        let ended: Vec<io::Result<()>> =
            self.sources.into_iter().map(|thread| thread.join().expect("a prober does not panic")).collect();
        for error in ended.into_iter().filter_map(Result::err) {
            eprintln!("replication-bench: a prober has ended: {error}");
        }
        self.directions.into_iter().map(|thread| thread.join().expect("a watcher does not panic")).collect()
    }
}

/// Writes a number after the other, whether or not those before have arrived.
fn probe(
    mut client: Client,
    key: &[u8],
    watchers: &[Sender<Acknowledged>],
    interval: Duration,
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut due_at = Instant::now();
    for number in 1.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let is_taken = client.set(key, number.to_string().as_bytes())?.is_ok();
        let acknowledged = (number, Instant::now());
        if is_taken {
            // A watcher whose master is gone has ended.
            watchers.iter().for_each(|watcher| {
                let _ = watcher.send(acknowledged);
            });
        }
        due_at = (due_at + interval).max(Instant::now());
        thread::sleep(due_at.saturating_duration_since(Instant::now()));
    }
    // Probes end with the expiry of their key, not sooner: it is still waited for.
    client.run(&[b"EXPIRE", key, b"60"], |_| ())?.ok();
    Ok(())
}

/// What one target has seen of one source.
struct Direction {
    client: Client,
    key: Vec<u8>,
    acknowledged: Receiver<Acknowledged>,
    /// Acknowledged, and not seen here.
    pending: VecDeque<Acknowledged>,
    lags: Lags,
}

impl Direction {
    fn run(mut self, poll_pause: Duration) -> Lags {
        if let Err(error) = self.watch(poll_pause) {
            self.lags.error = Some(error.to_string());
        }
        self.lags.lost = self.pending.len();
        self.lags.sorted_ms.sort_by(f64::total_cmp);
        self.lags
    }

    /// Until the source has ended, and all is seen or lost.
    fn watch(&mut self, poll_pause: Duration) -> io::Result<()> {
        let mut ended_at = None;
        loop {
            while let Ok(acknowledged) = self.acknowledged.try_recv() {
                self.pending.push_back(acknowledged);
            }
            if self.pending.is_empty() {
                match self.acknowledged.recv_timeout(LOST_AFTER) {
                    Ok(acknowledged) => self.pending.push_back(acknowledged),
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                }
            }
            let last_at = self.pending.back().map_or_else(Instant::now, |(_, at)| *at);
            if *ended_at.insert(last_at) + LOST_AFTER < Instant::now() {
                return Ok(());
            }
            self.look()?;
            if !self.pending.is_empty() {
                thread::sleep(poll_pause);
            }
        }
    }

    fn look(&mut self) -> io::Result<()> {
        let seen = self.client.get(&self.key)?;
        let now = Instant::now();
        let seen = seen.and_then(|text| str::from_utf8(&text).ok()?.parse::<u64>().ok()).unwrap_or(0);
        while let Some((_, at)) = self.pending.pop_front_if(|(number, _)| *number <= seen) {
            if self.lags.sorted_ms.len() < SAMPLES_MAX {
                self.lags.sorted_ms.push(now.saturating_duration_since(at).as_secs_f64() * 1e3);
            }
        }
        Ok(())
    }
}

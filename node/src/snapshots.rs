//! When snapshots are written, who asks for them, and how they are told.
//!
//! [`SnapshotRequests`] stands in the node: whoever needs a snapshot asks there. [`Snapshots`] is the one who writes
//! them, one at a time and a step at a time; a thread drives it in production ([`run`]), and the simulator its own way.
//!
//! A snapshot is begun when the log has grown by `--snapshot-after` since the last one began, and by no less than that
//! one was long: so what is written twice is at most what is written once, however large the store is. Besides, when a
//! point of the schedule is reached: so many changes, so long since the last one.

mod age;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use shared::time::MonoMillis;
use slog::{Logger, debug, info, warn};

use crate::log::disk::{Disk, DiskError};
use crate::log::segment::LogPosition;
use crate::log::snapshot::{Keep, LoadedSnapshot, SnapshotHeader};
use crate::log::snapshotting::{Progress, Snapshotting};
use crate::node::Node;
use crate::node::persist::DeadHold;
use crate::server::{Server, wall_clock};
use crate::settings::SavePoint;

use self::age::Ages;

/// After a failure the log's growth starts no snapshot for so long, in milliseconds.
const RETRY_MS: u64 = 30_000;

/// How often the log's growth is looked at.
const IDLE: Duration = Duration::from_millis(500);

/// How long the log is waited for at once.
const AWAIT_LOG: Duration = Duration::from_millis(100);

/// Why a snapshot is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The log has grown.
    Grown,
    /// It was time, as CONFIG's `save` says.
    Scheduled,
    /// A client said SAVE or BGSAVE.
    Asked,
    /// It makes durable what a reconcile has brought.
    Adoption,
}

/// What becomes of a request for a snapshot. Clones are of the same request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ticket(Arc<TicketState>);

#[derive(Debug, Default)]
struct TicketState {
    outcome: Mutex<Option<Result<(), String>>>,
}

impl Ticket {
    /// What it came to: durable, or why not. None before it is known.
    pub(crate) fn outcome(&self) -> Option<Result<(), String>> {
        self.0.outcome.lock().clone()
    }

    fn tell(&self, outcome: Result<(), String>) {
        self.0.outcome.lock().get_or_insert(outcome);
    }
}

/// A snapshot that somebody waits for.
struct Request {
    why: Why,
    /// What its header says, if that was decided when it was asked for; from then on nothing dead may be dropped.
    begun: Option<(SnapshotHeader, DeadHold)>,
    ticket: Ticket,
}

/// What INFO tells of snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SnapshotStatus {
    /// Since when one is being written, by the caller's monotonic clock.
    pub(crate) running_since: Option<MonoMillis>,
    /// How long the last one took that came to an end, in milliseconds.
    pub(crate) last_ms: Option<u64>,
    pub(crate) last_failed: bool,
    /// How many were put in place since the start.
    pub(crate) saved: u64,
}

/// Where snapshots are asked for.
#[derive(Default)]
pub(crate) struct SnapshotRequests {
    state: Mutex<Requests>,
    woken: Condvar,
}

/// At most one of each [`Why`] waits at a time.
#[derive(Default)]
struct Requests {
    /// Whether anybody writes snapshots here.
    served: bool,
    queue: VecDeque<Request>,
    holds: usize,
    status: SnapshotStatus,
    wake: bool,
}

impl SnapshotRequests {
    /// Asks for a snapshot of what the node holds when it begins. If one is asked for already, it is that.
    ///
    /// A node without a directory has nothing to make durable: the outcome is there at once.
    pub(crate) fn request(&self, why: Why) -> Ticket {
        let waiting =
            self.state.lock().queue.iter().find(|request| request.why == why).map(|r| r.ticket.clone());
        waiting.unwrap_or_else(|| self.push(Request { why, begun: None, ticket: Ticket::default() }))
    }

    /// Asks for a snapshot with this header, for an adoption. The caller holds all others, from before the header was
    /// made until the log has followed: one that began in between would bring the frontier before back.
    pub(crate) fn request_adoption(&self, header: SnapshotHeader, hold: DeadHold) -> Ticket {
        assert!(self.is_held(), "an adoption holds all other snapshots until the log has followed");
        self.push(Request { why: Why::Adoption, begun: Some((header, hold)), ticket: Ticket::default() })
    }

    fn push(&self, request: Request) -> Ticket {
        let ticket = request.ticket.clone();
        let mut state = self.state.lock();
        if state.served {
            state.queue.push_back(request);
        } else {
            ticket.tell(Ok(()));
        }
        drop(state);
        self.wake();
        ticket
    }

    /// From now on no snapshot but an adoption's is written: the store is between two frontiers. One that is being
    /// written is cut off. Those asked for wait until [`SnapshotRequests::permit`].
    pub(crate) fn hold(&self) {
        self.state.lock().holds += 1;
        self.wake();
    }

    /// Ends one [`SnapshotRequests::hold`].
    pub(crate) fn permit(&self) {
        let mut state = self.state.lock();
        state.holds = state.holds.checked_sub(1).expect("what is permitted was held");
        drop(state);
        self.wake();
    }

    pub(crate) fn status(&self) -> SnapshotStatus {
        self.state.lock().status
    }

    /// Makes whoever writes snapshots look at what there is to do.
    pub(crate) fn wake(&self) {
        self.state.lock().wake = true;
        self.woken.notify_all();
    }

    fn wait(&self, time: Duration) {
        let mut state = self.state.lock();
        if !state.wake {
            self.woken.wait_for(&mut state, time);
        }
        state.wake = false;
    }

    /// The next request that may be carried out now.
    fn take(&self) -> Option<Request> {
        let mut state = self.state.lock();
        let is_adoption = |request: &Request| request.why == Why::Adoption;
        let place = state.queue.iter().position(is_adoption);
        let place = place.or_else(|| (state.holds == 0 && !state.queue.is_empty()).then_some(0))?;
        state.queue.remove(place)
    }

    /// Whether a snapshot that is no adoption's must make way.
    fn must_yield(&self) -> bool {
        let state = self.state.lock();
        state.holds > 0 || state.queue.iter().any(|request| request.why == Why::Adoption)
    }

    fn is_held(&self) -> bool {
        self.state.lock().holds > 0
    }

    fn note_status(&self, note: impl FnOnce(&mut SnapshotStatus)) {
        note(&mut self.state.lock().status);
    }

    fn return_request(&self, request: Request) {
        self.state.lock().queue.push_front(request);
    }

    fn end(&self) {
        let mut state = self.state.lock();
        state.served = false;
        for request in state.queue.drain(..) {
            request.ticket.tell(Err("the node stops".to_owned()));
        }
    }
}

/// A snapshot that is in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) why: Why,
    pub(crate) keys: u64,
    pub(crate) bytes: u64,
    pub(crate) ms: u64,
}

/// What a turn came to.
#[derive(Debug)]
pub(crate) enum Turn {
    /// There is nothing to do.
    Idle,
    /// A snapshot was begun.
    Began,
    /// A part of it is written.
    Stepped,
    /// It goes on when the log is durable up to here.
    AwaitsLog(LogPosition),
    /// It made way for another, or for a reconcile.
    Yielded,
    Saved(Saved),
    Failed(Why, DiskError),
}

/// Writes a node's snapshots.
pub(crate) struct Snapshots<D: Disk> {
    disk: Arc<D>,
    /// Where the last one began, and how long it is.
    last: (LogPosition, u64),
    /// When it was put in place; zero if that was before the start.
    last_at: MonoMillis,
    running: Option<Running<D>>,
    retry_at: MonoMillis,
    ages: Ages,
}

struct Running<D: Disk> {
    snapshotting: Snapshotting<D>,
    why: Why,
    ticket: Ticket,
    since: MonoMillis,
}

impl<D: Disk> Snapshots<D> {
    /// Whoever writes the snapshots of a node that was started from `loaded`.
    pub(crate) fn new(disk: Arc<D>, loaded: Option<&LoadedSnapshot>, node: &Node) -> Self {
        node.snapshots.state.lock().served = true;
        let last = loaded.map_or_else(Default::default, |loaded| (loaded.header.replay, loaded.bytes));
        let (last_at, ages) = (MonoMillis(0), Ages::since(MonoMillis(0), node.log.end()));
        Self { disk, last, last_at, running: None, retry_at: MonoMillis(0), ages }
    }

    /// Asks for a snapshot if a point of the schedule is reached, so many changes after the last one.
    pub(crate) fn keep_schedule(&self, node: &Node, changes: u64, now: MonoMillis) {
        let passed_s = now.since(self.last_at) / 1_000;
        let is_reached = |point: &SavePoint| changes >= point.changes && passed_s >= point.seconds;
        let is_due = now >= self.retry_at && node.settings.save_points().iter().any(is_reached);
        if is_due && self.running.is_none() && !node.snapshots.is_held() {
            node.snapshots.request(Why::Scheduled);
        }
    }

    /// Does the next step, if there is one.
    pub(crate) fn turn(&mut self, node: &Node, now: MonoMillis) -> Turn {
        match self.running.take() {
            None => self.begin_next(node, now),
            Some(running) if running.why != Why::Adoption && node.snapshots.must_yield() => {
                Self::yield_to(running, node)
            }
            Some(mut running) => match running.snapshotting.step(node) {
                Ok(Progress::Shards) => {
                    self.running = Some(running);
                    Turn::Stepped
                }
                Ok(Progress::AwaitsLog(position)) => {
                    self.running = Some(running);
                    Turn::AwaitsLog(position)
                }
                Ok(Progress::Saved { keys, bytes }) => {
                    self.last = (running.snapshotting.header().replay, bytes);
                    self.last_at = now;
                    let ms = ended(node, running.since, now, false);
                    running.ticket.tell(Ok(()));
                    Turn::Saved(Saved { why: running.why, keys, bytes, ms })
                }
                Err(problem) => {
                    let why = running.why;
                    running.snapshotting.abandon();
                    ended(node, running.since, now, true);
                    running.ticket.tell(Err(problem.to_string()));
                    self.failed(why, problem, now)
                }
            },
        }
    }

    /// Cuts off what is being written: the node stops.
    pub(crate) fn stop(&mut self, node: &Node) {
        if let Some(running) = self.running.take() {
            running.snapshotting.abandon();
            running.ticket.tell(Err("the node stops".to_owned()));
        }
        node.snapshots.end();
    }

    fn begin_next(&mut self, node: &Node, now: MonoMillis) -> Turn {
        self.ages.note(now, node.log.end(), node.settings.log_retention_age_ms());
        let due = || Request { why: Why::Grown, begun: None, ticket: Ticket::default() };
        let Some(request) = node.snapshots.take().or_else(|| self.is_due(node, now).then(due)) else {
            return Turn::Idle;
        };
        let Request { why, begun, ticket } = request;
        let (header, hold, keep) = match begun {
            Some((header, hold)) => (header, hold, Keep::bytes(node.settings.log_retention())),
            None => {
                let (hold, keep) = (node.hold_dead(), self.keep(node, now));
                (node.snapshot_header(keep), hold, keep)
            }
        };
        match Snapshotting::begin(Arc::clone(&self.disk), header, hold, keep) {
            Ok(snapshotting) => {
                self.running = Some(Running { snapshotting, why, ticket, since: now });
                node.snapshots.note_status(|status| status.running_since = Some(now));
                Turn::Began
            }
            Err(problem) => {
                ended(node, now, now, true);
                ticket.tell(Err(problem.to_string()));
                self.failed(why, problem, now)
            }
        }
    }

    /// How much of the log is kept: up to `--log-retention`, and of that what is not older than `--log-retention-age`, or
    /// what a known member still needs.
    fn keep(&self, node: &Node, now: MonoMillis) -> Keep {
        let (bytes, age_ms) = (node.settings.log_retention(), node.settings.log_retention_age_ms());
        if age_ms == 0 {
            return Keep::bytes(bytes);
        }
        Keep { bytes, from: self.ages.older_than(age_ms, now).min(node.needed_from(now)) }
    }

    fn is_due(&self, node: &Node, now: MonoMillis) -> bool {
        let after = node.settings.snapshot_after();
        let (position, bytes) = self.last;
        let grown = node.log.end().0.saturating_sub(position.0);
        after > 0 && grown >= after.max(bytes) && now >= self.retry_at && !node.snapshots.is_held()
    }

    fn yield_to(running: Running<D>, node: &Node) -> Turn {
        running.snapshotting.abandon();
        node.snapshots.note_status(|status| status.running_since = None);
        if running.why == Why::Asked {
            node.snapshots.return_request(Request { why: running.why, begun: None, ticket: running.ticket });
        }
        Turn::Yielded
    }

    fn failed(&mut self, why: Why, problem: DiskError, now: MonoMillis) -> Turn {
        self.retry_at = MonoMillis(now.0 + RETRY_MS);
        Turn::Failed(why, problem)
    }
}

/// Notes that a snapshot has come to an end. Returns how long it took.
fn ended(node: &Node, since: MonoMillis, now: MonoMillis, failed: bool) -> u64 {
    let ms = now.since(since);
    node.snapshots.note_status(|status| {
        *status = SnapshotStatus {
            running_since: None,
            last_ms: Some(ms),
            last_failed: failed,
            saved: status.saved + u64::from(!failed),
        };
    });
    ms
}

/// Writes snapshots until the node stops.
pub(crate) fn run<D: Disk>(mut snapshots: Snapshots<D>, server: &Server, logger: &Logger) {
    let mut changes = 0;
    while !server.is_stopping() {
        match snapshots.turn(&server.node, server.mono_ms()) {
            Turn::Idle => {
                server.node.snapshots.wait(IDLE);
                snapshots.keep_schedule(&server.node, server.changes_unsaved(), server.mono_ms());
            }
            Turn::Began => changes = server.changes_seen(),
            Turn::Stepped => {}
            Turn::AwaitsLog(position) => {
                server.node.log.wait_durable(position, AWAIT_LOG);
            }
            Turn::Yielded => debug!(logger, "snapshot makes way for a reconcile"),
            Turn::Saved(Saved { why, keys, bytes, ms }) => {
                server.note_saved(changes, wall_clock());
                server.wake_workers();
                info!(logger, "snapshot written"; "why" => ?why, "keys" => keys, "bytes" => bytes, "ms" => ms);
            }
            Turn::Failed(why, problem) => {
                server.wake_workers();
                warn!(logger, "snapshot cannot be written; the log goes on without it";
                    "why" => ?why, "error" => %problem);
            }
        }
    }
    snapshots.stop(&server.node);
}

#[cfg(test)]
mod tests;

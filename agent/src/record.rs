//! What is remembered of a peer beyond its links: counters, and why it is not up. Operators read it at the node.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shared::announcement::Member;
use shared::feed::LinkReport;
use shared::id::NodeId;
use shared::link::{Codec, Reason};

/// A peer that was configured, or that has dialled.
#[derive(Debug)]
pub(crate) struct Record {
    address: String,
    payload_bytes_in: AtomicU64,
    payload_bytes_out: AtomicU64,
    wire_bytes_in: AtomicU64,
    wire_bytes_out: AtomicU64,
    batches_in: AtomicU64,
    batches_out: AtomicU64,
    round_trip_us: AtomicU64,
    clock_offset_ms: AtomicI64,
    messages_dropped: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    name: String,
    node_id: NodeId,
    is_up: bool,
    is_related: bool,
    /// How what is sent is compressed.
    codec: Option<Codec>,
    /// The peer is linked by a connection of its own making: this one is not missed.
    is_spare: bool,
    error: String,
}

impl Record {
    pub(crate) fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            payload_bytes_in: AtomicU64::new(0),
            payload_bytes_out: AtomicU64::new(0),
            wire_bytes_in: AtomicU64::new(0),
            wire_bytes_out: AtomicU64::new(0),
            batches_in: AtomicU64::new(0),
            batches_out: AtomicU64::new(0),
            round_trip_us: AtomicU64::new(0),
            clock_offset_ms: AtomicI64::new(0),
            messages_dropped: AtomicU64::new(0),
            state: Mutex::new(State::default()),
        }
    }

    pub(crate) fn on_up(&self, peer: &Member, is_related: bool, codec: Option<Codec>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (name, node_id) = (peer.name.clone(), peer.node_id);
        *state = State { name, node_id, is_up: true, is_related, codec, ..State::default() };
    }

    pub(crate) fn on_down(&self, error: impl Into<String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.is_up, state.error) = (false, error.into());
    }

    pub(crate) fn set_spare(&self, is_spare: bool) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_spare = is_spare;
    }

    fn is_spare(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_spare
    }

    pub(crate) fn count_in(&self, batch_bytes: usize) {
        self.payload_bytes_in.fetch_add(batch_bytes as u64, Ordering::Relaxed);
        self.batches_in.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_out(&self, batch_bytes: usize) {
        self.payload_bytes_out.fetch_add(batch_bytes as u64, Ordering::Relaxed);
        self.batches_out.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes went over the connection, with all that lies about messages there.
    pub(crate) fn count_wire(&self, received: u64, sent: u64) {
        self.wire_bytes_in.fetch_add(received, Ordering::Relaxed);
        self.wire_bytes_out.fetch_add(sent, Ordering::Relaxed);
    }

    pub(crate) fn count_dropped(&self, messages: u64) {
        self.messages_dropped.fetch_add(messages, Ordering::Relaxed);
    }

    pub(crate) fn on_measured(&self, round_trip_us: u64, clock_offset_ms: i64) {
        self.round_trip_us.store(round_trip_us, Ordering::Relaxed);
        self.clock_offset_ms.store(clock_offset_ms, Ordering::Relaxed);
    }

    pub(crate) fn report(&self) -> LinkReport {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        LinkReport {
            name: state.name.clone(),
            node_id: state.node_id,
            address: self.address.clone(),
            up: state.is_up,
            related: state.is_up && state.is_related,
            error: state.error.clone(),
            payload_bytes_in: self.payload_bytes_in.load(Ordering::Relaxed),
            payload_bytes_out: self.payload_bytes_out.load(Ordering::Relaxed),
            wire_bytes_in: self.wire_bytes_in.load(Ordering::Relaxed),
            wire_bytes_out: self.wire_bytes_out.load(Ordering::Relaxed),
            compression: state.codec.map_or("none", Codec::name).to_owned(),
            batches_in: self.batches_in.load(Ordering::Relaxed),
            batches_out: self.batches_out.load(Ordering::Relaxed),
            round_trip_us: self.round_trip_us.load(Ordering::Relaxed),
            clock_offset_ms: self.clock_offset_ms.load(Ordering::Relaxed),
            messages_dropped: self.messages_dropped.load(Ordering::Relaxed),
        }
    }
}

/// The peers that have dialled are remembered up to this number; of more, one that is not linked is forgotten.
const ACCEPTED_MAX: usize = 256;

/// Every peer that was configured or has dialled, for the agent's life.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    configured: Vec<Arc<Record>>,
    accepted: BTreeMap<NodeId, Arc<Record>>,
}

impl Ledger {
    pub(crate) fn add_configured(&mut self, address: &str) -> Arc<Record> {
        let record = Arc::new(Record::new(address));
        self.configured.push(record.clone());
        record
    }

    pub(crate) fn remove_configured(&mut self, record: &Arc<Record>) {
        self.configured.retain(|other| !Arc::ptr_eq(other, record));
    }

    pub(crate) fn accepted(&mut self, node_id: NodeId, address: &str) -> Arc<Record> {
        if self.accepted.len() >= ACCEPTED_MAX && !self.accepted.contains_key(&node_id) {
            let unlinked = self.accepted.iter().find(|(_, record)| !record.report().up).map(|(id, _)| *id);
            if let Some(unlinked) = unlinked {
                self.accepted.remove(&unlinked);
            }
        }
        self.accepted.entry(node_id).or_insert_with(|| Arc::new(Record::new(address))).clone()
    }

    /// Every peer's link, once: not what is spare, or down, of a peer that is linked by another connection.
    pub(crate) fn reports(&self) -> Vec<LinkReport> {
        let records = self.configured.iter().chain(self.accepted.values());
        let reports: Vec<_> =
            records.filter(|record| !record.is_spare()).map(|record| record.report()).collect();
        let is_linked = |node_id| reports.iter().any(|other| other.up && other.node_id == node_id);
        let kept = |report: &&LinkReport| report.up || !is_linked(report.node_id);
        reports.iter().filter(kept).cloned().collect()
    }
}

/// The same complaint about the same peer is logged as an error only this often, in between for debugging.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// More peers than this are not told apart: then all complaints are logged.
const COMPLAINTS_MAX: usize = 1_024;

/// Keeps a peer that is refused every few seconds from filling the log.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    newest: BTreeMap<(String, u8), Instant>,
}

impl Complaints {
    /// Whether the complaint is due, and not a repetition.
    pub(crate) fn is_due(&mut self, peer: &str, reason: Reason, now: Instant) -> bool {
        let key = (peer.to_owned(), reason as u8);
        let is_due = self.newest.get(&key).is_none_or(|at| now.duration_since(*at) >= COMPLAINT_INTERVAL);
        if is_due {
            self.newest.retain(|_, at| now.duration_since(*at) < COMPLAINT_INTERVAL);
            if self.newest.len() < COMPLAINTS_MAX {
                self.newest.insert(key, now);
            }
        }
        is_due
    }

    /// The peer is up: what it does wrong from now on is new.
    pub(crate) fn forget(&mut self, peer: &str) {
        self.newest.retain(|(about, _), _| about != peer);
    }
}

#[cfg(test)]
mod tests {
    use shared::announcement::Role;
    use shared::id::Origin;

    use super::*;

    #[test]
    fn complaints_are_not_repeated_at_once() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        assert!(complaints.is_due("a", Reason::ClockDrift, start));
        assert!(!complaints.is_due("a", Reason::ClockDrift, start + Duration::from_secs(59)));
        assert!(complaints.is_due("a", Reason::WrongGroup, start));
        assert!(complaints.is_due("b", Reason::ClockDrift, start));
        assert!(complaints.is_due("a", Reason::ClockDrift, start + COMPLAINT_INTERVAL));
        complaints.forget("a");
        assert!(complaints.is_due("a", Reason::ClockDrift, start + COMPLAINT_INTERVAL));
    }

    #[test]
    fn a_peer_that_is_linked_is_reported_once() {
        let mut ledger = Ledger::default();
        let member = Member { name: "b".into(), node_id: NodeId(7), origin: Origin(1), role: Role::Active };
        let (dialled, accepted) = (ledger.add_configured("ws://b"), ledger.accepted(NodeId(7), "b:1"));
        accepted.on_up(&member, true, None);
        accepted.on_down("makes room");
        dialled.on_up(&member, true, None);
        assert_eq!(ledger.reports().iter().map(|report| report.up).collect::<Vec<_>>(), [true]);
        dialled.on_down("lost");
        assert_eq!(ledger.reports().len(), 2);
    }

    #[test]
    fn peers_that_dialled_are_remembered_up_to_a_number() {
        let mut ledger = Ledger::default();
        for id in 0..2 * ACCEPTED_MAX as u64 {
            ledger.accepted(NodeId(id), "somewhere");
        }
        assert_eq!(ledger.reports().len(), ACCEPTED_MAX);
    }
}

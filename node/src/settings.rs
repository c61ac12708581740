//! What CONFIG SET may change while the node runs.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Deserialize;
use shared::announcement::Role;
use shared::resp::RequestLimits;

use crate::memory::settings::{InitialMemory, MemorySettings};
use crate::notifications::Wanted;
use crate::pubsub::Limits;

/// When the log is made durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fsync {
    /// Before the reply of every write.
    Always,
    /// Each second.
    #[default]
    Everysec,
    /// When the operating system sees fit.
    No,
}

impl Fsync {
    pub(crate) const ALL: [Self; 3] = [Self::Always, Self::Everysec, Self::No];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Everysec => "everysec",
            Self::No => "no",
        }
    }
}

impl std::str::FromStr for Fsync {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|fsync| fsync.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| "expected always, everysec or no".to_owned())
    }
}

/// What dead things may take if no limit is given for all data, and none for them.
const TOMBSTONE_BUDGET: usize = 64 << 20;

/// One part in so many of the limit of all data is for dead things.
const TOMBSTONE_PART: usize = 20;

const AUTOMATIC: usize = usize::MAX;

/// The limits of a request that never change; the length of a bulk is a setting.
pub(crate) const REQUEST_BYTES_MAX: usize = 1 << 30;

/// The settings, each an atomic of its own: whoever reads two may meet one from before a change.
pub(crate) struct Settings {
    fsync: AtomicU8,
    max_change: AtomicUsize,
    max_clients: AtomicUsize,
    idle_timeout_s: AtomicU64,
    tcp_keepalive_s: AtomicU64,
    output_bytes_max: AtomicUsize,
    listener_limits: Mutex<Limits>,
    bulk_bytes_max: AtomicUsize,
    log_retention: AtomicU64,
    log_retention_age_s: AtomicU64,
    snapshot_after: AtomicU64,
    save_points: Mutex<Vec<SavePoint>>,
    /// [`AUTOMATIC`] if it is not given.
    tombstone_budget: AtomicUsize,
    is_read_only: AtomicBool,
    notify_keyspace_events: AtomicU16,
    /// SLOWLOG tells commands that take so many microseconds; none if it is negative.
    pub(crate) slow_log_us: AtomicI64,
    pub(crate) slow_log_entries_max: AtomicUsize,
    /// LATENCY notes what takes so many milliseconds; nothing if it is zero.
    pub(crate) latency_monitor_ms: AtomicU64,
    tracks_latency: AtomicBool,
    pub(crate) encoding_limits: EncodingLimits,
    pub(crate) memory: MemorySettings,
}

/// When a snapshot is due: after so many seconds since the last one, if there were so many changes at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SavePoint {
    pub(crate) seconds: u64,
    pub(crate) changes: u64,
}

/// Up to which sizes Redis would pack a collection. Here they decide only what OBJECT ENCODING calls it: `hash-max-listpack-*`
/// and its like, as they are by default in Redis.
pub(crate) struct EncodingLimits {
    pub(crate) hash_entries: AtomicUsize,
    pub(crate) hash_value: AtomicUsize,
    pub(crate) set_integers: AtomicUsize,
    pub(crate) sorted_set_entries: AtomicUsize,
    pub(crate) sorted_set_value: AtomicUsize,
    /// Remembered, and without effect: all lists are kept alike.
    pub(crate) list_listpack_size: AtomicI64,
    pub(crate) list_compress_depth: AtomicI64,
}

impl Default for EncodingLimits {
    fn default() -> Self {
        Self {
            hash_entries: AtomicUsize::new(512),
            hash_value: AtomicUsize::new(64),
            set_integers: AtomicUsize::new(512),
            sorted_set_entries: AtomicUsize::new(128),
            sorted_set_value: AtomicUsize::new(64),
            list_listpack_size: AtomicI64::new(-2),
            list_compress_depth: AtomicI64::new(0),
        }
    }
}

/// The values that settings start with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InitialSettings {
    pub(crate) role: Role,
    pub(crate) fsync: Fsync,
    pub(crate) max_change: usize,
    pub(crate) max_clients: usize,
    pub(crate) idle_timeout_s: u64,
    pub(crate) tcp_keepalive_s: u64,
    pub(crate) output_bytes_max: usize,
    pub(crate) log_retention: u64,
    pub(crate) log_retention_age_s: u64,
    pub(crate) snapshot_after: u64,
    pub(crate) snapshot_every_s: u64,
    /// None for a share of the memory that data may take.
    pub(crate) tombstone_budget: Option<usize>,
    pub(crate) memory: InitialMemory,
    pub(crate) notify_keyspace_events: Wanted,
    pub(crate) slow_log_us: i64,
    pub(crate) slow_log_entries_max: usize,
    pub(crate) latency_monitor_ms: u64,
}

impl SavePoint {
    /// The schedule that has a snapshot written every so many seconds if there was any change; none for 0.
    pub(crate) fn every(seconds: u64) -> Vec<Self> {
        if seconds == 0 { Vec::new() } else { vec![Self { seconds, changes: 1 }] }
    }
}

impl Settings {
    pub(crate) fn new(initial: InitialSettings) -> Self {
        Self {
            fsync: AtomicU8::new(initial.fsync as u8),
            max_change: AtomicUsize::new(initial.max_change),
            max_clients: AtomicUsize::new(initial.max_clients),
            idle_timeout_s: AtomicU64::new(initial.idle_timeout_s),
            tcp_keepalive_s: AtomicU64::new(initial.tcp_keepalive_s),
            output_bytes_max: AtomicUsize::new(initial.output_bytes_max),
            listener_limits: Mutex::new(Limits::DEFAULT),
            bulk_bytes_max: AtomicUsize::new(RequestLimits::default().bulk_bytes_max),
            log_retention: AtomicU64::new(initial.log_retention),
            log_retention_age_s: AtomicU64::new(initial.log_retention_age_s),
            snapshot_after: AtomicU64::new(initial.snapshot_after),
            save_points: Mutex::new(SavePoint::every(initial.snapshot_every_s)),
            tombstone_budget: AtomicUsize::new(initial.tombstone_budget.unwrap_or(AUTOMATIC)),
            is_read_only: AtomicBool::new(initial.role == Role::ReadOnly),
            notify_keyspace_events: AtomicU16::new(initial.notify_keyspace_events.0),
            slow_log_us: AtomicI64::new(initial.slow_log_us),
            slow_log_entries_max: AtomicUsize::new(initial.slow_log_entries_max),
            latency_monitor_ms: AtomicU64::new(initial.latency_monitor_ms),
            tracks_latency: AtomicBool::new(true),
            encoding_limits: EncodingLimits::default(),
            memory: MemorySettings::new(initial.memory),
        }
    }

    /// Dead things may take so many bytes while they wait for members that are away; then the one that is furthest behind
    /// is evicted. If it is not given, it is a twentieth of what all data may take.
    pub(crate) fn tombstone_budget(&self) -> usize {
        match (self.tombstone_budget.load(Ordering::Relaxed), self.memory.limit()) {
            (AUTOMATIC, 0) => TOMBSTONE_BUDGET,
            (AUTOMATIC, limit) => limit / TOMBSTONE_PART,
            (given, _) => given,
        }
    }

    pub(crate) fn set_tombstone_budget(&self, bytes: usize) {
        self.tombstone_budget.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn fsync(&self) -> Fsync {
        Fsync::ALL[usize::from(self.fsync.load(Ordering::Relaxed))]
    }

    pub(crate) fn set_fsync(&self, fsync: Fsync) {
        self.fsync.store(fsync as u8, Ordering::Relaxed);
    }

    /// The largest encoded effect of one command or transaction, in bytes.
    pub(crate) fn max_change(&self) -> usize {
        self.max_change.load(Ordering::Relaxed)
    }

    pub(crate) fn set_max_change(&self, bytes: usize) {
        self.max_change.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn max_clients(&self) -> usize {
        self.max_clients.load(Ordering::Relaxed)
    }

    pub(crate) fn set_max_clients(&self, clients: usize) {
        self.max_clients.store(clients, Ordering::Relaxed);
    }

    /// After how long a silent client is disconnected; none for never.
    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        let seconds = self.idle_timeout_s.load(Ordering::Relaxed);
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }

    pub(crate) fn set_idle_timeout(&self, seconds: u64) {
        self.idle_timeout_s.store(seconds, Ordering::Relaxed);
    }

    /// After how long of silence TCP probes a client; none for never.
    pub(crate) fn tcp_keepalive(&self) -> Option<Duration> {
        let seconds = self.tcp_keepalive_s.load(Ordering::Relaxed);
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }

    pub(crate) fn set_tcp_keepalive(&self, seconds: u64) {
        self.tcp_keepalive_s.store(seconds, Ordering::Relaxed);
    }

    /// A client that leaves more bytes of replies than this unread is disconnected.
    pub(crate) fn output_bytes_max(&self) -> usize {
        self.output_bytes_max.load(Ordering::Relaxed)
    }

    pub(crate) fn set_output_bytes_max(&self, bytes: usize) {
        self.output_bytes_max.store(bytes, Ordering::Relaxed);
    }

    /// How much of what it listens to a client may leave unread before it is disconnected.
    pub(crate) fn listener_limits(&self) -> Limits {
        *self.listener_limits.lock()
    }

    pub(crate) fn set_listener_limits(&self, limits: Limits) {
        *self.listener_limits.lock() = limits;
    }

    /// The longest argument and the longest string.
    pub(crate) fn bulk_bytes_max(&self) -> usize {
        self.bulk_bytes_max.load(Ordering::Relaxed)
    }

    pub(crate) fn set_bulk_bytes_max(&self, bytes: usize) {
        self.bulk_bytes_max.store(bytes, Ordering::Relaxed);
    }

    /// So many bytes of the log before a snapshot are kept on disk, for peers that were away.
    pub(crate) fn log_retention(&self) -> u64 {
        self.log_retention.load(Ordering::Relaxed)
    }

    pub(crate) fn set_log_retention(&self, bytes: u64) {
        self.log_retention.store(bytes, Ordering::Relaxed);
    }

    /// What of the log before a snapshot is older than so many milliseconds, and needed by no member, is not kept; 0 if age
    /// does not matter.
    pub(crate) fn log_retention_age_ms(&self) -> u64 {
        self.log_retention_age_s().saturating_mul(1_000)
    }

    /// The same in seconds.
    pub(crate) fn log_retention_age_s(&self) -> u64 {
        self.log_retention_age_s.load(Ordering::Relaxed)
    }

    pub(crate) fn set_log_retention_age_s(&self, seconds: u64) {
        self.log_retention_age_s.store(seconds, Ordering::Relaxed);
    }

    /// The schedule of snapshots: one is due when any of these is reached.
    pub(crate) fn save_points(&self) -> Vec<SavePoint> {
        self.save_points.lock().clone()
    }

    pub(crate) fn set_save_points(&self, points: Vec<SavePoint>) {
        *self.save_points.lock() = points;
    }

    /// A snapshot is begun when the log has grown by so many bytes; 0 for never.
    pub(crate) fn snapshot_after(&self) -> u64 {
        self.snapshot_after.load(Ordering::Relaxed)
    }

    pub(crate) fn set_snapshot_after(&self, bytes: u64) {
        self.snapshot_after.store(bytes, Ordering::Relaxed);
    }

    /// What a client may send.
    pub(crate) fn request_limits(&self) -> RequestLimits {
        RequestLimits {
            bulk_bytes_max: self.bulk_bytes_max(),
            request_bytes_max: REQUEST_BYTES_MAX,
            ..RequestLimits::default()
        }
    }

    /// The setting `notify-keyspace-events`.
    pub(crate) fn notify_keyspace_events(&self) -> Wanted {
        Wanted(self.notify_keyspace_events.load(Ordering::Relaxed))
    }

    pub(crate) fn set_notify_keyspace_events(&self, wanted: Wanted) {
        self.notify_keyspace_events.store(wanted.0, Ordering::Relaxed);
    }

    /// Whether each command is to be timed by itself: SLOWLOG is to tell of what takes less than a millisecond.
    pub(crate) fn times_each_command(&self) -> bool {
        (0..1_000).contains(&self.slow_log_us.load(Ordering::Relaxed))
    }

    /// Whether it is counted how many calls of a command took how long.
    pub(crate) fn tracks_latency(&self) -> bool {
        self.tracks_latency.load(Ordering::Relaxed)
    }

    pub(crate) fn set_tracks_latency(&self, tracks: bool) {
        self.tracks_latency.store(tracks, Ordering::Relaxed);
    }

    /// Which events of keys are told: none if there is no channel for them.
    pub(crate) fn notified(&self) -> Wanted {
        self.notify_keyspace_events().effective()
    }

    pub(crate) fn role(&self) -> Role {
        if self.is_read_only() { Role::ReadOnly } else { Role::Active }
    }

    /// Whether clients' writes are refused.
    pub(crate) fn is_read_only(&self) -> bool {
        self.is_read_only.load(Ordering::Relaxed)
    }

    pub(crate) fn set_read_only(&self, is_read_only: bool) {
        self.is_read_only.store(is_read_only, Ordering::Relaxed);
    }
}

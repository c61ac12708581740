//! What a log without a disk lets go of before it must.
//!
//! Up to `--log-memory` it may keep, and it needs that only while somebody is behind. So batches go as soon as every member
//! has told that it holds them, and every stream of the feed has read them; but a while later, for members that lose power
//! lose the end of what they held.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use shared::time::MonoMillis;

use super::segment::LogPosition;
use super::{Log, Retention};

/// What is needed no longer stays for so long at least, and twice that at most, in milliseconds. Under `--fsync everysec`
/// members lose about a second.
const STAYS_MS: u64 = 1_000;

/// Where a stream of the feed stands. The log knows it as long as it lives.
#[derive(Debug, Default)]
pub(crate) struct StreamPosition(Arc<AtomicU64>);

impl StreamPosition {
    pub(crate) fn get(&self) -> LogPosition {
        LogPosition(self.0.load(Ordering::Relaxed))
    }

    pub(crate) fn set(&self, position: LogPosition) {
        self.0.store(position.0, Ordering::Relaxed);
    }
}

/// What may go, and the streams that have a say in it: one for each client at most.
#[derive(Debug, Default)]
pub(super) struct Released {
    /// Nobody needs what lies before it.
    pub(super) before: LogPosition,
    /// Nor, as it seemed at this time, what lies before this.
    next: (MonoMillis, LogPosition),
    streams: Vec<Weak<AtomicU64>>,
}

impl Log {
    /// From now on what comes next in this stream counts as needed.
    pub(crate) fn add_stream(&self, position: &StreamPosition) {
        let mut end = self.lock();
        if end.retention != Retention::Disk && Arc::weak_count(&position.0) == 0 {
            end.released.streams.push(Arc::downgrade(&position.0));
        }
    }

    /// Whether it is time to say what no member needs. On disk it is never.
    pub(crate) fn is_release_due(&self, now: MonoMillis) -> bool {
        let end = self.lock();
        end.retention != Retention::Disk && end.released.is_due(now)
    }

    /// No member needs what lies before a position. To be called when that is due.
    pub(crate) fn release(&self, before: LogPosition, now: MonoMillis) {
        let mut end = self.lock();
        end.released.note(before, now);
        end.trim();
    }
}

impl Released {
    fn is_due(&self, now: MonoMillis) -> bool {
        now.since(self.next.0) >= STAYS_MS
    }

    fn note(&mut self, before: LogPosition, now: MonoMillis) {
        let (_, next) = self.next;
        let mut needed = before;
        self.streams.retain(|stream| {
            let stream = stream.upgrade();
            stream.inspect(|at| needed = needed.min(LogPosition(at.load(Ordering::Relaxed)))).is_some()
        });
        self.before = next.min(needed);
        self.next = (now, needed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(released: &mut Released, before: u64, now: u64) -> u64 {
        if released.is_due(MonoMillis(now)) {
            released.note(LogPosition(before), MonoMillis(now));
        }
        released.before.0
    }

    #[test]
    fn what_nobody_needs_goes_a_while_later() {
        let mut released = Released::default();
        let told = [(10, 5_000, 0), (20, 5_500, 0), (30, 6_000, 10), (40, 6_900, 10), (40, 7_000, 30)];
        for (before, now, gone) in told {
            assert_eq!(note(&mut released, before, now), gone, "at {now}");
        }
    }

    #[test]
    fn a_member_or_a_stream_that_is_behind_keeps_what_it_lacks() {
        let (mut released, stream) = (Released::default(), StreamPosition::default());
        stream.set(LogPosition(15));
        released.streams.push(Arc::downgrade(&stream.0));
        note(&mut released, 20, 1_000);
        assert_eq!(note(&mut released, 20, 2_000), 15);
        // A member that has come back with less than it had told.
        assert_eq!(note(&mut released, 12, 3_000), 12);
        drop(stream);
        note(&mut released, 30, 4_000);
        assert_eq!(note(&mut released, 30, 5_000), 30);
        assert!(released.streams.is_empty());
    }
}

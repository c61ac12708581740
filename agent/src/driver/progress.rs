//! What a link's batches have come to, gathered for the hub.

use std::collections::BTreeSet;
use std::time::Duration;

use shared::clock::Timestamp;
use shared::id::Origin;
use shared::link::Link;
use shared::time::MonoMillis;
use shared::version::Frontier;

use crate::hub::LinkEvent;
use crate::node_client::ApplyLane;

/// The hub hears of progress at most this often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(20);

/// The hub hears at least this often that a slow node is still busy with a link's batches.
const BUSY_INTERVAL: Duration = Duration::from_millis(200);

/// What was applied since the hub heard it last.
#[derive(Debug, Default)]
pub(super) struct Progress {
    held: Frontier,
    delivered: BTreeSet<Origin>,
    posted_at: MonoMillis,
    due: Option<MonoMillis>,
}

impl Progress {
    pub(super) fn on_applied(&mut self, origin: Origin, held: Timestamp, now: MonoMillis) {
        self.held.advance(origin, held);
        self.delivered.insert(origin);
        self.due_by(self.posted_at.after(PROGRESS_INTERVAL).max(now));
    }

    /// Whatever there is, is due.
    pub(super) fn hurry(&mut self) {
        if !self.delivered.is_empty() {
            self.due = Some(MonoMillis(0));
        }
    }

    /// When [`Progress::post`] is due.
    pub(super) const fn deadline(&self) -> Option<MonoMillis> {
        self.due
    }

    /// Tells the hub, if it is time to.
    pub(super) fn post(
        &mut self,
        link: &Link,
        apply: &ApplyLane,
        now: MonoMillis,
        tell: impl FnOnce(LinkEvent),
    ) {
        if !apply.is_idle() {
            self.due_by(self.posted_at.after(BUSY_INTERVAL).max(now));
        }
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        self.due = None;
        self.posted_at = now;
        let mut delivered = std::mem::take(&mut self.delivered);
        delivered.extend(link.in_flight());
        let held = std::mem::take(&mut self.held);
        tell(LinkEvent::Progress { held, delivered: delivered.into_iter().collect() });
    }

    fn due_by(&mut self, at: MonoMillis) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

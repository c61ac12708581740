//! Whom this node evicts of its own accord, or because an operator says so.

use shared::announcement::{Eviction, Member};
use shared::clock::Timestamp;
use shared::time::MonoMillis;

use super::{Counted, Group, Standing};

/// A member is evicted for the sake of memory only if it is at least this far behind, and had as long to be heard.
pub(super) const BUDGET_LAG_MS: u64 = 10_000;

/// A node that did not look after its group for this long was asleep: a frozen process, a suspended machine.
const ASLEEP_MS: u64 = 2_000;

impl Group {
    /// This node looks after its group now: to be called before anybody is evicted.
    pub(crate) fn attend(&mut self, now: MonoMillis) {
        if now.since(self.attended_at) >= ASLEEP_MS {
            self.awake_since = now;
        }
        self.attended_at = now;
    }

    /// Evicts whoever has been silent for too long. Returns their names.
    pub(crate) fn evict_silent(&mut self, now: MonoMillis) -> Vec<String> {
        if self.standing() != Standing::Member {
            return Vec::new();
        }
        let silent: Vec<Member> = self
            .still_counted()
            .filter(|counted| now.since(counted.heard_at.max(self.awake_since)) >= self.timeout_ms)
            .map(|counted| counted.member.clone())
            .collect();
        silent.into_iter().map(|member| self.evict(&member)).collect()
    }

    /// Evicts whoever does not know that it ever ran as what others know it as: an old copy of its directory was put back,
    /// after a start since. Nobody takes anything from it meanwhile, for it may have what was deleted while it ran as that,
    /// and the deletion is forgotten. Of an old copy that was never overtaken by a start all is known here. Returns their
    /// names.
    pub(crate) fn evict_returned(&mut self) -> Vec<String> {
        let returned: Vec<Member> = self
            .still_counted()
            .filter(|counted| counted.is_elsewhere())
            .map(|counted| counted.member.clone())
            .collect();
        returned.into_iter().map(|member| self.evict(&member)).collect()
    }

    /// Evicts the member that is furthest behind, if it is far behind: dead things take too much memory.
    ///
    /// Not before it could be heard: a member that has just joined, or was asleep, holds tombstones and knows nothing of
    /// the others yet.
    pub(crate) fn evict_furthest_behind(&mut self, clock: Timestamp, now: MonoMillis) -> Option<String> {
        let reached =
            |counted: &&Counted| counted.reached.as_ref().map_or(Timestamp::ZERO, |reached| reached.clock);
        let furthest = self
            .still_counted()
            .filter(|counted| now.since(counted.counted_at.max(self.awake_since)) >= BUDGET_LAG_MS)
            .min_by_key(reached)?;
        let behind_ms = clock.wall().0.saturating_sub(reached(&furthest).wall().0);
        let member = furthest.member.clone();
        (behind_ms >= BUDGET_LAG_MS).then(|| self.evict(&member))
    }

    /// Evicts the member of this name, for good. None if there is no such member.
    pub(crate) fn forget(&mut self, name: &str) -> Option<Member> {
        let member = self.still_counted().find(|counted| counted.member.name == name)?.member.clone();
        self.evict(&member);
        Some(member)
    }

    pub(super) fn evict(&mut self, member: &Member) -> String {
        let Member { name, node_id, .. } = member.clone();
        self.give_up(Eviction { name: name.clone(), node_id, settled: false });
        name
    }

    /// Takes in an eviction, its own or another's. Who is waited for is left behind by it.
    pub(super) fn give_up(&mut self, eviction: Eviction) {
        let is_waited_for = self.members.contains_key(&eviction.node_id);
        if self.evictions.add(eviction) {
            self.parted = self.parted.or_else(|| is_waited_for.then_some(self.floor));
            self.is_unsaved = true;
        }
    }
}

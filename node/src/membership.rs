//! The group, and what keeps it on disk.

use shared::announcement::Announcement;
use shared::clock::Timestamp;
use shared::version::Frontier;

use crate::group::{Group, Own, Stored};

/// Makes who the node is, and what it knows of its group, durable.
pub(crate) type SaveGroup = Box<dyn FnMut(&Own, &Stored) -> std::io::Result<()> + Send>;

/// The group, and what keeps it on disk.
pub(crate) struct Membership {
    pub(crate) group: Group,
    save: SaveGroup,
    /// Why the last attempt to save failed.
    fault: Option<String>,
}

impl Membership {
    pub(crate) fn new(group: Group, save: SaveGroup) -> Self {
        Self { group, save, fault: None }
    }

    /// Makes what changed durable. Says whether all is: until then nothing of it may be told to anybody.
    pub(crate) fn save(&mut self) -> bool {
        let Some(stored) = self.group.unsaved() else { return true };
        match (self.save)(self.group.own(), &stored) {
            Ok(()) => {
                self.group.saved();
                self.fault = None;
            }
            Err(error) => self.fault = Some(error.to_string()),
        }
        self.fault.is_none()
    }

    /// Why the group cannot be saved, if so.
    pub(crate) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// What the node announces; nothing while it is no member, or what it knows is not durable.
    pub(crate) fn announcement(
        &mut self,
        frontier: Frontier,
        clock: Timestamp,
        memory_limit: u64,
    ) -> Option<Announcement> {
        if self.group.is_joining() || !self.save() {
            return None;
        }
        Some(Announcement {
            member: self.group.as_member(),
            sequence: clock.0.saturating_add(self.group.sequence_lead()),
            frontier,
            clock,
            members: self.group.announced_members(),
            evictions: self.group.announced_evictions(),
            joining: false,
            memory_limit,
            runs: self.group.runs_to_tell(),
        })
    }
}

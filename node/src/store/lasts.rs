//! Which change of each origin reached a slot last.
//!
//! Digests of a slot can be compared between two nodes when both hold all that reached it at either: that is, when the
//! last change of every origin there lies within both frontiers.

use shared::version::{Frontier, Version};

/// The newest log entry of each origin that reached a slot. One per living origin at most, as long as those that
/// everybody has are forgotten. Few words, for it lies beside the slot's table, and is written with every change.
#[derive(Debug, Default)]
pub(super) struct Lasts {
    /// Of one origin; zero if there is none. Runs of one origin are the rule.
    first: Version,
    /// Of the others, in no order.
    #[expect(clippy::box_collection, reason = "one word, for slots that more than one origin writes to")]
    others: Option<Box<Vec<Version>>>,
}

impl Lasts {
    /// Notes that a change reached the slot, whether it won or not.
    pub(super) fn note(&mut self, entry: Version) {
        if self.first.origin == entry.origin {
            self.first.timestamp = self.first.timestamp.max(entry.timestamp);
        } else {
            self.note_other(entry);
        }
    }

    fn note_other(&mut self, entry: Version) {
        if self.first == Version::ZERO {
            self.first = entry;
            return;
        }
        let others = self.others.get_or_insert_default();
        match others.iter_mut().find(|other| other.origin == entry.origin) {
            Some(other) => other.timestamp = other.timestamp.max(entry.timestamp),
            None => others.push(entry),
        }
    }

    /// All of them, each of another origin.
    pub(super) fn iter(&self) -> impl Iterator<Item = Version> + '_ {
        let first = Some(self.first).filter(|first| *first != Version::ZERO);
        first.into_iter().chain(self.others.iter().flat_map(|others| others.iter().copied()))
    }

    /// In place of those that are not covered, for they were withdrawn, stands what is covered of their origins: that is
    /// no older than what reached the slot before them, so nobody compares it too early.
    pub(super) fn withdraw(&mut self, covered: &Frontier) {
        let entries: Vec<Version> = self.iter().collect();
        if entries.iter().all(|entry| covered.covers(*entry)) {
            return;
        }
        *self = Self::default();
        for Version { timestamp, origin } in entries {
            self.note(Version::new(timestamp.min(covered.get(origin)), origin));
        }
    }

    /// Forgets those that `stable` covers: everybody has them.
    pub(super) fn forget(&mut self, stable: &Frontier) {
        if let Some(others) = &mut self.others {
            others.retain(|entry| !stable.covers(*entry));
        }
        if self.first != Version::ZERO && stable.covers(self.first) {
            self.first = self.others.as_mut().and_then(|others| others.pop()).unwrap_or_default();
        }
        self.others.take_if(|others| others.is_empty());
    }
}

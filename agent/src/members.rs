//! The members of the group, as this agent has heard of them: pure.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::announcement::{Announcement, Member};
use shared::id::{NodeId, Origin};
use shared::link::{Goodbye, Holding, Reason};
use shared::time::MonoMillis;

/// A name is free for another node, and a node id for another name, when its holder was not heard for this long.
pub(crate) const HOLDER_SILENT: Duration = Duration::from_secs(5);

/// More members than this are not remembered: announcements of further ones are passed over.
const MEMBERS_MAX: usize = 1_024;

/// Who has been heard, and the newest that each has said.
#[derive(Debug, Default)]
pub(crate) struct Members {
    known: BTreeMap<NodeId, Known>,
}

#[derive(Debug)]
struct Known {
    newest: Announcement,
    heard_at: MonoMillis,
    /// Whether the node has not been told yet.
    is_news: bool,
}

impl Members {
    /// Whether a node that greets may join: not while another that was just heard has its name, nor while the same
    /// node id was just heard under another name.
    pub(crate) fn admit(&self, member: &Member, now: MonoMillis) -> Result<(), Goodbye> {
        for (node_id, known) in &self.known {
            let holder = &known.newest.member;
            let (same_id, same_name) = (*node_id == member.node_id, holder.name == member.name);
            let silent_ms = now.since(known.heard_at);
            if same_id == same_name || u128::from(silent_ms) >= HOLDER_SILENT.as_millis() {
                continue;
            }
            let (reason, what, remedy) = if same_name {
                (Reason::NameTaken, "two members have one name", "give each its own --name")
            } else {
                (Reason::NodeIdTaken, "one node id has two names", "start a copied data directory empty")
            };
            let text = format!(
                "{what}: \"{}\" (node {}), heard {silent_ms} ms ago, and \"{}\" (node {}); {remedy}. The second is \
                 refused until the first has been silent for {} s",
                holder.name,
                holder.node_id,
                member.name,
                member.node_id,
                HOLDER_SILENT.as_secs(),
            );
            return Err(Goodbye::new(reason, text));
        }
        Ok(())
    }

    /// A member was admitted; until it announces, this is what is known of it.
    pub(crate) fn greet(&mut self, first: Announcement, now: MonoMillis) {
        self.known.retain(|_, known| known.newest.member.name != first.member.name);
        self.known.insert(first.member.node_id, Known { newest: first, heard_at: now, is_news: true });
    }

    /// A member said what it holds.
    pub(crate) fn hold(&mut self, node_id: NodeId, holding: &Holding, now: MonoMillis) {
        if let Some(known) = self.known.get_mut(&node_id) {
            known.newest.frontier.merge(&holding.frontier);
            known.newest.clock = known.newest.clock.max(holding.clock);
            known.heard_at = now;
            known.is_news = true;
        }
    }

    /// A member announced, perhaps by way of others. Says whether it is news, and so to be passed on.
    pub(crate) fn announce(&mut self, announcement: &Announcement, now: MonoMillis) -> bool {
        let node_id = announcement.member.node_id;
        let mut newest = announcement.clone();
        match self.known.get(&node_id) {
            Some(known) if !is_newer(announcement, &known.newest) => return false,
            Some(known) if known.newest.member.origin == newest.member.origin => {
                newest.frontier.merge(&known.newest.frontier);
            }
            None if self.known.len() >= MEMBERS_MAX => return false,
            _ => {}
        }
        self.known.insert(node_id, Known { newest, heard_at: now, is_news: true });
        true
    }

    /// What the node has not been told yet.
    pub(crate) fn take_news(&mut self) -> Vec<Announcement> {
        let told = |known: &mut Known| std::mem::take(&mut known.is_news).then(|| known.newest.clone());
        self.known.values_mut().filter_map(told).collect()
    }

    /// Every member that is known.
    pub(crate) fn all(&self) -> Vec<Member> {
        self.known.values().map(|known| known.newest.member.clone()).collect()
    }
}

/// Of one run the higher sequence is the newer; of two runs the one with the later clock.
fn is_newer(one: &Announcement, other: &Announcement) -> bool {
    if one.member.origin == other.member.origin {
        one.sequence > other.sequence
    } else {
        one.clock > other.clock && one.member.origin != Origin::NONE
    }
}

#[cfg(test)]
mod tests {
    use shared::announcement::Role;
    use shared::clock::Timestamp;
    use shared::version::Frontier;

    use super::*;

    fn announcement(name: &str, node_id: u64, origin: u64, sequence: u64) -> Announcement {
        let member = Member {
            name: name.into(),
            node_id: NodeId(node_id),
            origin: Origin(origin),
            role: Role::Active,
        };
        Announcement {
            member,
            sequence,
            frontier: Frontier::new(),
            clock: Timestamp(sequence),
            members: Vec::new(),
            evictions: Vec::new(),
            joining: false,
            memory_limit: 0,
        }
    }

    #[test]
    fn a_name_is_free_again_when_its_holder_is_silent() {
        let mut members = Members::default();
        members.greet(announcement("a", 1, 10, 1), MonoMillis(0));
        let other = announcement("a", 2, 20, 1).member;
        let refused = members.admit(&other, MonoMillis(4_999)).unwrap_err();
        assert_eq!(refused.reason, Reason::NameTaken);
        assert!(
            refused.text.contains(&NodeId(1).to_string()) && refused.text.contains(&NodeId(2).to_string())
        );
        assert_eq!(members.admit(&other, MonoMillis(5_000)), Ok(()));
    }

    #[test]
    fn a_node_id_has_one_name() {
        let mut members = Members::default();
        members.greet(announcement("a", 1, 10, 1), MonoMillis(0));
        let renamed = announcement("b", 1, 20, 1).member;
        assert_eq!(members.admit(&renamed, MonoMillis(10)).unwrap_err().reason, Reason::NodeIdTaken);
        assert_eq!(members.admit(&renamed, MonoMillis(5_000)), Ok(()));
        assert_eq!(
            members.admit(&announcement("a", 1, 30, 1).member, MonoMillis(10)),
            Ok(()),
            "it started again"
        );
    }

    #[test]
    fn only_news_is_passed_on() {
        let mut members = Members::default();
        assert!(members.announce(&announcement("a", 1, 10, 5), MonoMillis(0)));
        assert!(!members.announce(&announcement("a", 1, 10, 5), MonoMillis(0)));
        assert!(!members.announce(&announcement("a", 1, 10, 4), MonoMillis(0)));
        assert!(members.announce(&announcement("a", 1, 10, 6), MonoMillis(0)));
        assert_eq!(members.take_news().len(), 1);
        assert_eq!(members.take_news().len(), 0);
        assert!(!members.announce(&announcement("a", 1, 9, 5), MonoMillis(0)), "a run before");
    }
}

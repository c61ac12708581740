//! The members of the group, as this agent has heard of them: pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use shared::announcement::{Announcement, Member};
use shared::id::NodeId;
use shared::link::{Goodbye, Reason};
use shared::time::MonoMillis;
use shared::version::Frontier;

/// A name is free for another node, and a node id for another name, when its holder was not heard for this long.
pub(crate) const HOLDER_SILENT: Duration = Duration::from_secs(5);

/// More members than this are not remembered: of those that greet the longest silent one makes room, announcements of
/// further ones are passed over.
const MEMBERS_MAX: usize = 1_024;

/// Who has been heard, and the newest that each has said.
#[derive(Debug, Default)]
pub(crate) struct Members {
    known: BTreeMap<NodeId, Known>,
    /// Who said goodbye, and the node has not been told yet.
    left: Vec<NodeId>,
}

#[derive(Debug)]
struct Known {
    member: Member,
    heard_at: MonoMillis,
    /// It said goodbye, and was not heard since.
    has_left: bool,
    /// The newest that it has announced, exactly as it did; and whether the node has not been told yet.
    announced: Option<Arc<Announcement>>,
    is_announcement_news: bool,
    /// What it said over its link that it holds; and whether the node has not been told yet.
    held: Option<Frontier>,
    is_held_news: bool,
}

impl Members {
    /// Whether a node that greets may join: not while another that was just heard has its name, nor while the same
    /// node id was just heard under another name.
    pub(crate) fn admit(&self, member: &Member, now: MonoMillis) -> Result<(), Goodbye> {
        for (node_id, known) in &self.known {
            let holder = &known.member;
            let (same_id, same_name) = (*node_id == member.node_id, holder.name == member.name);
            let silent_ms = now.since(known.heard_at);
            if same_id == same_name || known.has_left || u128::from(silent_ms) >= HOLDER_SILENT.as_millis() {
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

    /// A node was admitted; what it holds counts if it is of the group.
    pub(crate) fn greet(&mut self, member: &Member, held: Option<&Frontier>, now: MonoMillis) {
        self.known.retain(|node_id, known| *node_id == member.node_id || known.member.name != member.name);
        if self.known.len() >= MEMBERS_MAX && !self.known.contains_key(&member.node_id) {
            let silent = self.known.iter().min_by_key(|(_, known)| known.heard_at).map(|(id, _)| *id);
            silent.map(|silent| self.known.remove(&silent));
        }
        let known = self.known.entry(member.node_id).or_insert_with(|| Known::new(member, now));
        known.member = member.clone();
        known.hear(now);
        if let Some(held) = held {
            // In place of what it said before: after a crash it may hold less.
            (known.held, known.is_held_news) = (Some(held.clone()), true);
        }
    }

    /// A linked member said what it holds.
    pub(crate) fn hold(&mut self, node_id: NodeId, more: &Frontier, now: MonoMillis) {
        if let Some(known) = self.known.get_mut(&node_id) {
            known.hear(now);
            known.is_held_news = true;
            known.held.get_or_insert_default().merge(more);
        }
    }

    /// A member announced, perhaps by way of others. Says whether it is news, and so to be passed on.
    pub(crate) fn announce(&mut self, announcement: &Arc<Announcement>, now: MonoMillis) -> bool {
        let member = &announcement.member;
        let is_known = self.known.contains_key(&member.node_id);
        if !is_known && self.known.len() >= MEMBERS_MAX {
            return false;
        }
        let known = self.known.entry(member.node_id).or_insert_with(|| Known::new(member, now));
        if known.announced.as_ref().is_some_and(|newest| !announcement.is_newer_than(newest)) {
            return false;
        }
        known.member = member.clone();
        known.hear(now);
        (known.announced, known.is_announcement_news) = (Some(announcement.clone()), true);
        true
    }

    /// Whether a member is remembered.
    pub(crate) fn knows(&self, node_id: NodeId) -> bool {
        self.known.contains_key(&node_id)
    }

    /// A member said goodbye: a node that takes its place need not wait.
    pub(crate) fn leave(&mut self, node_id: NodeId) {
        if let Some(known) = self.known.get_mut(&node_id).filter(|known| !known.has_left) {
            known.has_left = true;
            self.left.push(node_id);
        }
    }

    /// Who said goodbye, if the node has not been told yet, and it was not heard since.
    pub(crate) fn take_left(&mut self) -> Vec<NodeId> {
        let left = std::mem::take(&mut self.left).into_iter();
        left.filter(|node_id| self.known.get(node_id).is_none_or(|known| known.has_left)).collect()
    }

    /// The announcements that the node has not been told yet.
    pub(crate) fn take_announcements(&mut self) -> Vec<Announcement> {
        let news = self.known.values_mut().filter_map(|known| {
            std::mem::take(&mut known.is_announcement_news).then_some(known.announced.as_deref()?.clone())
        });
        news.collect()
    }

    /// What linked members hold, where the node has not been told yet.
    pub(crate) fn take_held(&mut self) -> Vec<(NodeId, Frontier)> {
        let news = self.known.iter_mut().filter_map(|(node_id, known)| {
            std::mem::take(&mut known.is_held_news).then_some((*node_id, known.held.clone()?))
        });
        news.collect()
    }

    /// The newest announcement of every member that is known.
    pub(crate) fn announcements(&self) -> impl Iterator<Item = &Arc<Announcement>> {
        self.known.values().filter_map(|known| known.announced.as_ref())
    }
}

impl Known {
    fn new(member: &Member, now: MonoMillis) -> Self {
        Self {
            member: member.clone(),
            heard_at: now,
            has_left: false,
            announced: None,
            is_announcement_news: false,
            held: None,
            is_held_news: false,
        }
    }

    const fn hear(&mut self, now: MonoMillis) {
        (self.heard_at, self.has_left) = (now, false);
    }
}

#[cfg(test)]
mod tests {
    use shared::announcement::Role;
    use shared::clock::Timestamp;
    use shared::id::Origin;

    use super::*;

    fn announcement(name: &str, node_id: u64, origin: u64, sequence: u64) -> Arc<Announcement> {
        let member = Member {
            name: name.into(),
            node_id: NodeId(node_id),
            origin: Origin(origin),
            role: Role::Active,
        };
        Arc::new(Announcement {
            member,
            sequence,
            frontier: [(Origin(origin), Timestamp(sequence))].into_iter().collect(),
            clock: Timestamp(sequence),
            members: Vec::new(),
            evictions: Vec::new(),
            memory_limit: 0,
            joining: false,
            runs: Vec::new(),
        })
    }

    #[test]
    fn a_name_is_free_again_when_its_holder_is_silent() {
        let mut members = Members::default();
        members.greet(&announcement("a", 1, 10, 1).member, None, MonoMillis(0));
        let other = announcement("a", 2, 20, 1).member.clone();
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
        members.greet(&announcement("a", 1, 10, 1).member, None, MonoMillis(0));
        let renamed = announcement("b", 1, 20, 1).member.clone();
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
        assert_eq!(members.take_announcements().len(), 1);
        assert_eq!(members.take_announcements().len(), 0);
        assert!(!members.announce(&announcement("a", 1, 9, 5), MonoMillis(0)), "a run before");
        let mut put_back = (*announcement("a", 1, 11, 7)).clone();
        put_back.clock = Timestamp(2);
        assert!(
            members.announce(&Arc::new(put_back), MonoMillis(0)),
            "its clock was ahead, and was put back"
        );
    }

    /// A frontier that had grown meanwhile once went out with a clock from before: whoever drew conclusions from the two
    /// dropped what was still needed.
    #[test]
    fn announcements_stay_as_they_were_made() {
        let mut members = Members::default();
        let made = announcement("a", 1, 10, 5);
        members.greet(&made.member, Some(&Frontier::new()), MonoMillis(0));
        members.announce(&made, MonoMillis(0));
        let more: Frontier = [(Origin(10), Timestamp(9))].into_iter().collect();
        members.hold(NodeId(1), &more, MonoMillis(1));
        assert_eq!(members.take_announcements(), [(*made).clone()]);
        assert_eq!(members.take_held(), [(NodeId(1), more)]);
        assert_eq!(members.take_held(), []);
        // Started again after a crash, it holds less.
        members.greet(&made.member, Some(&Frontier::new()), MonoMillis(2));
        assert_eq!(members.take_held(), [(NodeId(1), Frontier::new())]);
    }
}

//! What members announce, over one link: of each the newest, and only what is new in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::message::{LISTEN_MEMBERS_MAX, Listen, Message};
use crate::announcement::{Advance, Announcement};
use crate::id::NodeId;

/// Of so many members the newest announcements wait to be told, were told, and were heard. Of more, the one with the
/// largest node id is left out until it announces again.
const ANNOUNCEMENTS_MAX: usize = 4_096;

/// Announcements over one link, in both directions.
///
/// Both sides remember the last of each member that went over the link: the next one is told as an [`Advance`] of it, if it
/// can be. What the hearer does not listen to is forgotten at both sides, and told whole when it listens again; an advance
/// that was on its way meanwhile is an advance of nothing.
#[derive(Debug, Default)]
pub(super) struct Announcing {
    untold: BTreeMap<NodeId, Arc<Announcement>>,
    told: BTreeMap<NodeId, Arc<Announcement>>,
    heard: BTreeMap<NodeId, Arc<Announcement>>,
    /// Of whom the peer is to begin to tell, and of whom to end.
    start: BTreeSet<NodeId>,
    stop: BTreeSet<NodeId>,
}

impl Announcing {
    pub(super) fn announce(&mut self, announcement: Arc<Announcement>) {
        let node_id = announcement.member.node_id;
        if self.untold.get(&node_id).is_none_or(|untold| announcement.is_newer_than(untold)) {
            insert(&mut self.untold, announcement);
        }
    }

    /// The peer is to tell what a member announces, or not to.
    pub(super) fn listen(&mut self, node_id: NodeId, begins: bool) {
        let (to, from) = if begins {
            (&mut self.start, &mut self.stop)
        } else {
            self.heard.remove(&node_id);
            (&mut self.stop, &mut self.start)
        };
        from.remove(&node_id);
        to.insert(node_id);
        if to.len() > LISTEN_MEMBERS_MAX {
            to.pop_last();
        }
    }

    /// The peer listens to these, and no longer to those.
    pub(super) fn on_listen(&mut self, change: &Listen) {
        for node_id in &change.stop {
            self.told.remove(node_id);
            self.untold.remove(node_id);
        }
    }

    pub(super) fn on_announce(&mut self, announcement: &Arc<Announcement>) {
        insert(&mut self.heard, announcement.clone());
    }

    /// What a member now announces, if it is known what it announced before.
    pub(super) fn on_advance(&mut self, advance: &Advance) -> Option<Arc<Announcement>> {
        let heard = self.heard.get_mut(&advance.node_id)?;
        *heard = Arc::new(heard.advanced(advance)?);
        Some(heard.clone())
    }

    /// The next thing to say.
    pub(super) fn next(&mut self) -> Option<Message<'static>> {
        if !self.start.is_empty() || !self.stop.is_empty() {
            let start = std::mem::take(&mut self.start).into_iter().collect();
            let stop = std::mem::take(&mut self.stop).into_iter().collect();
            return Some(Message::Listen(Listen { start, stop }));
        }
        let (node_id, announcement) = self.untold.pop_first()?;
        let advance = self.told.get(&node_id).and_then(|told| announcement.since(told));
        insert(&mut self.told, announcement.clone());
        Some(match advance {
            Some(advance) => Message::Advance(Box::new(advance)),
            None => Message::Announce(announcement),
        })
    }
}

fn insert(into: &mut BTreeMap<NodeId, Arc<Announcement>>, announcement: Arc<Announcement>) {
    into.insert(announcement.member.node_id, announcement);
    if into.len() > ANNOUNCEMENTS_MAX {
        into.pop_last();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announcement::{Member, Role};
    use crate::clock::Timestamp;
    use crate::id::Origin;

    const MEMBER: NodeId = NodeId(3);

    fn member(node_id: NodeId) -> Member {
        Member { name: format!("member{node_id}"), node_id, origin: Origin(node_id.0), role: Role::Active }
    }

    /// A member that knows many others, and holds something of each.
    fn announcement(sequence: u64) -> Announcement {
        let mut made = Announcement {
            member: member(MEMBER),
            sequence,
            frontier: (10..60).map(|origin| (Origin(origin), Timestamp(5))).collect(),
            clock: Timestamp(sequence),
            members: (10..60).map(|node_id| member(NodeId(node_id))).collect(),
            evictions: Vec::new(),
            memory_limit: 0,
            joining: false,
            runs: Vec::new(),
        };
        made.frontier.advance(Origin(10), Timestamp(sequence));
        made
    }

    /// Two sides of one link.
    #[derive(Default)]
    struct Pair {
        teller: Announcing,
        hearer: Announcing,
    }

    impl Pair {
        fn announce(&mut self, announcement: Announcement) {
            self.teller.announce(Arc::new(announcement));
        }

        /// What all that is to be told comes to, and in how many bytes.
        fn tell(&mut self) -> (Vec<Announcement>, usize) {
            let (mut heard, mut bytes) = (Vec::new(), 0);
            while let Some(message) = self.teller.next() {
                bytes += message.encode().len();
                let announcement = match message {
                    Message::Announce(announcement) => {
                        self.hearer.on_announce(&announcement);
                        Some(announcement)
                    }
                    Message::Advance(advance) => self.hearer.on_advance(&advance),
                    other => panic!("{other:?}"),
                };
                heard.extend(announcement.map(|announcement| Announcement::clone(&announcement)));
            }
            (heard, bytes)
        }

        /// The hearer says whether it listens.
        fn listen(&mut self, begins: bool) {
            self.hearer.listen(MEMBER, begins);
            let (start, stop) = if begins { (vec![MEMBER], vec![]) } else { (vec![], vec![MEMBER]) };
            assert_eq!(self.hearer.next(), Some(Message::Listen(Listen { start, stop })));
            assert_eq!(self.hearer.next(), None);
        }
    }

    #[test]
    fn of_an_announcement_only_what_is_new_is_told() {
        let mut pair = Pair::default();
        pair.announce(announcement(100));
        let (heard, whole) = pair.tell();
        assert_eq!(heard, [announcement(100)]);
        for sequence in [101, 104] {
            pair.announce(announcement(sequence));
            let (heard, advance) = pair.tell();
            assert_eq!(heard, [announcement(sequence)]);
            assert!(advance * 20 < whole, "{advance} bytes after {whole}");
        }
        let mut fewer = announcement(105);
        fewer.members.pop();
        pair.announce(fewer.clone());
        let (heard, again) = pair.tell();
        assert_eq!(heard, [fewer], "more has changed than an advance says");
        assert!(again * 2 > whole);
    }

    #[test]
    fn who_listens_again_is_told_the_whole() {
        let mut pair = Pair::default();
        pair.announce(announcement(100));
        pair.tell();
        pair.listen(false);
        // On its way before the teller knows: what it is an advance of is forgotten.
        pair.announce(announcement(101));
        assert_eq!(pair.tell().0, []);
        pair.announce(announcement(102));
        pair.teller.on_listen(&Listen { start: vec![], stop: vec![MEMBER] });
        assert_eq!(pair.tell().0, [], "nobody listens");
        pair.listen(true);
        pair.teller.on_listen(&Listen { start: vec![MEMBER], stop: vec![] });
        pair.announce(announcement(103));
        assert_eq!(pair.tell().0, [announcement(103)]);
    }
}

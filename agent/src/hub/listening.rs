//! From which link each member's announcements are heard.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shared::id::NodeId;
use shared::time::MonoMillis;

use crate::router::LinkId;

/// A member that announces every second was not heard for so long: others may have heard it.
const SILENT: Duration = Duration::from_millis(2_500);

/// From which link each member's announcements are heard: pure.
///
/// Problem: every announcement is to reach every agent, over whatever links there are, though nobody knows the whole group;
/// but if each tells all its peers, then among n masters that are all linked each hears each announcement n times.
///
/// Rule: at first all peers tell all they hear. The link that was first with a member's news is its *source*, the member's
/// own link before all others; other links whose peers come with the same are told to stop that. When the source is gone,
/// or brought nothing for [`SILENT`], all links are listened to again, and whichever is first with news is the next source.
/// So two that wait for each other do not wait long.
#[derive(Debug, Default)]
pub(super) struct Listening {
    sources: BTreeMap<NodeId, Source>,
    /// The links that were told to stop, by member.
    stopped: BTreeMap<NodeId, BTreeSet<LinkId>>,
    orders: Vec<(LinkId, NodeId, bool)>,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    link: LinkId,
    is_author: bool,
    silent_at: MonoMillis,
}

impl Listening {
    /// What links' peers are to begin to tell, or to end, since the last call.
    pub(super) fn take_orders(&mut self) -> Vec<(LinkId, NodeId, bool)> {
        std::mem::take(&mut self.orders)
    }

    /// A member's announcement came over a link, perhaps its own.
    pub(super) fn on_heard(
        &mut self,
        member: NodeId,
        link: LinkId,
        is_author: bool,
        is_news: bool,
        now: MonoMillis,
    ) {
        let heard = Source { link, is_author, silent_at: now.after(SILENT) };
        match self.sources.get(&member).copied() {
            // While nobody has news, nobody is the first.
            None if !is_news => {}
            Some(source) if source.link != link => {
                if !source.is_author && (is_author || is_news) {
                    self.sources.insert(member, heard);
                    self.stop(source.link, member);
                } else {
                    self.stop(link, member);
                }
            }
            _ => {
                self.sources.insert(member, heard);
            }
        }
    }

    /// A link is gone.
    pub(super) fn on_link_down(&mut self, link: LinkId) {
        self.stopped.retain(|_, links| {
            links.remove(&link);
            !links.is_empty()
        });
        self.leave(|source| source.link == link);
    }

    /// Time has passed. A late or extra tick changes nothing.
    pub(super) fn on_tick(&mut self, now: MonoMillis) {
        self.leave(|source| source.silent_at <= now);
    }

    /// When [`Listening::on_tick`] is due.
    pub(super) fn deadline(&self) -> Option<MonoMillis> {
        self.sources.values().map(|source| source.silent_at).min()
    }

    /// Listens to all links again for those whose source is no good any more.
    fn leave(&mut self, is_lost: impl Fn(&Source) -> bool) {
        for (member, _) in self.sources.extract_if(.., |_, source| is_lost(source)) {
            let links = self.stopped.remove(&member).unwrap_or_default();
            self.orders.extend(links.into_iter().map(|link| (link, member, true)));
        }
    }

    fn stop(&mut self, link: LinkId, member: NodeId) {
        if self.stopped.entry(member).or_default().insert(link) {
            self.orders.push((link, member, false));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBER: NodeId = NodeId(9);
    const ONE: LinkId = LinkId(1);
    const TWO: LinkId = LinkId(2);
    const AUTHOR: LinkId = LinkId(9);

    fn hear(listening: &mut Listening, link: LinkId, is_news: bool, now: u64) {
        listening.on_heard(MEMBER, link, link == AUTHOR, is_news, MonoMillis(now));
    }

    #[test]
    fn who_comes_with_what_is_known_is_told_to_stop() {
        let mut listening = Listening::default();
        hear(&mut listening, ONE, true, 0);
        hear(&mut listening, TWO, false, 1);
        hear(&mut listening, TWO, false, 2);
        assert_eq!(listening.take_orders(), [(TWO, MEMBER, false)], "once");
    }

    #[test]
    fn a_member_is_heard_from_itself_if_it_is_linked() {
        let mut listening = Listening::default();
        hear(&mut listening, ONE, true, 0);
        hear(&mut listening, AUTHOR, false, 1);
        assert_eq!(listening.take_orders(), [(ONE, MEMBER, false)]);
        hear(&mut listening, TWO, true, 1_000);
        hear(&mut listening, AUTHOR, false, 1_001);
        assert_eq!(listening.take_orders(), [(TWO, MEMBER, false)], "though it was first for once");
    }

    #[test]
    fn all_are_listened_to_again_when_the_source_is_silent_or_gone() {
        let mut listening = Listening::default();
        hear(&mut listening, ONE, true, 0);
        hear(&mut listening, TWO, false, 0);
        hear(&mut listening, ONE, true, 1_000);
        listening.take_orders();
        listening.on_tick(MonoMillis(3_499));
        assert_eq!(listening.take_orders(), []);
        assert_eq!(listening.deadline(), Some(MonoMillis(3_500)));
        listening.on_tick(MonoMillis(3_500));
        assert_eq!(listening.take_orders(), [(TWO, MEMBER, true)]);
        hear(&mut listening, TWO, false, 3_501);
        hear(&mut listening, ONE, false, 3_502);
        assert_eq!(listening.take_orders(), [], "nobody has news: it may be gone");

        hear(&mut listening, TWO, true, 4_000);
        hear(&mut listening, ONE, false, 4_001);
        assert_eq!(listening.take_orders(), [(ONE, MEMBER, false)]);
        listening.on_link_down(TWO);
        assert_eq!(listening.take_orders(), [(ONE, MEMBER, true)]);
        assert_eq!(listening.deadline(), None);
    }
}

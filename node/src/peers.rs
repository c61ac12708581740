//! What the agents report of links and members.

use std::collections::BTreeMap;

use shared::announcement::Announcement;
use shared::feed::{LinkReport, PeersReport, UpstreamReport};
use shared::id::NodeId;
use shared::time::MonoMillis;
use shared::version::{Frontier, Version};

/// A report counts for this long; agents send one at least each second.
const REPORT_LIFE_MS: u64 = 5_000;

/// The members that are remembered by name at most; more are a misconfiguration or an attack.
const MEMBERS_MAX: usize = 1_024;

/// What a replica's clients are told of its master.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Master {
    /// The host of its agent, as far as this node's agent knows it.
    pub(crate) host: String,
    /// The port of its agent; 0 if there is none.
    pub(crate) port: u16,
    pub(crate) is_up: bool,
}

/// What the agents have reported.
#[derive(Default)]
pub(crate) struct Peers {
    links: Vec<LinkReport>,
    upstreams: Vec<UpstreamReport>,
    members: BTreeMap<String, Announcement>,
    /// What linked peers said that they hold.
    held: BTreeMap<NodeId, Frontier>,
    messages_dropped: u64,
    reported: Option<MonoMillis>,
}

impl Peers {
    /// Takes over an agent's report.
    pub(crate) fn report(&mut self, report: PeersReport, now: MonoMillis) {
        self.links = report.links;
        self.upstreams = report.upstreams;
        self.messages_dropped = report.messages_dropped;
        self.reported = Some(now);
        self.held.extend(report.held);
        for announcement in report.announcements {
            let name = &announcement.member.name;
            if self.members.contains_key(name) || self.members.len() < MEMBERS_MAX {
                self.members.insert(name.clone(), announcement);
            }
        }
    }

    /// Whether an agent is attached: it has reported lately.
    pub(crate) fn has_agent(&self, now: MonoMillis) -> bool {
        self.reported.is_some_and(|at| now.since(at) < REPORT_LIFE_MS)
    }

    /// How many messages of PUBLISH the agent has dropped.
    pub(crate) const fn messages_dropped(&self) -> u64 {
        self.messages_dropped
    }

    /// Every link as last reported; none if the agent has gone silent.
    pub(crate) fn links(&self, now: MonoMillis) -> &[LinkReport] {
        if self.has_agent(now) { &self.links } else { &[] }
    }

    /// Where origins are pulled from, as last reported.
    pub(crate) fn upstreams(&self, now: MonoMillis) -> &[UpstreamReport] {
        if self.has_agent(now) { &self.upstreams } else { &[] }
    }

    /// How many members are linked.
    pub(crate) fn linked(&self, now: MonoMillis) -> usize {
        self.links_up(now).count()
    }

    /// How many linked members have said that they hold this write.
    pub(crate) fn acknowledged(&self, write: Version, now: MonoMillis) -> usize {
        let announced =
            |link: &LinkReport| self.members.get(&link.name).is_some_and(|m| m.frontier.covers(write));
        let said = |link: &LinkReport| self.held.get(&link.node_id).is_some_and(|held| held.covers(write));
        self.links_up(now).filter(|link| said(link) || announced(link)).count()
    }

    /// The peer that a read-only node names as its master: one that is linked, if any is.
    pub(crate) fn master(&self, now: MonoMillis) -> Master {
        let links = self.links(now);
        let Some(link) = links.iter().find(|link| link.up).or_else(|| links.first()) else {
            return Master::default();
        };
        let address = link.address.trim_start_matches("ws://");
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        Master { host: host.to_owned(), port: port.parse().unwrap_or(0), is_up: link.up }
    }

    fn links_up(&self, now: MonoMillis) -> impl Iterator<Item = &LinkReport> {
        self.links(now).iter().filter(|link| link.up)
    }
}

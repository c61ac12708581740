//! What the agents report of links and members.

use std::collections::BTreeMap;

use shared::announcement::Announcement;
use shared::feed::{LinkReport, PeersReport, UpstreamReport};
use shared::time::MonoMillis;
use shared::version::Version;

/// A report counts for this long; agents send one at least each second.
const REPORT_LIFE_MS: u64 = 5_000;

/// The members that are remembered by name at most; more are a misconfiguration or an attack.
const MEMBERS_MAX: usize = 1_024;

/// What the agents have reported.
#[derive(Default)]
pub(crate) struct Peers {
    links: Vec<LinkReport>,
    upstreams: Vec<UpstreamReport>,
    members: BTreeMap<String, Announcement>,
    reported: Option<MonoMillis>,
}

impl Peers {
    /// Takes over an agent's report.
    pub(crate) fn report(&mut self, report: PeersReport, now: MonoMillis) {
        self.links = report.links;
        self.upstreams = report.upstreams;
        self.reported = Some(now);
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

    /// How many linked members have announced that they hold this write.
    pub(crate) fn acknowledged(&self, write: Version, now: MonoMillis) -> usize {
        let covers = |name: &str| self.members.get(name).is_some_and(|member| member.frontier.covers(write));
        self.links_up(now).filter(|link| covers(&link.name)).count()
    }

    fn links_up(&self, now: MonoMillis) -> impl Iterator<Item = &LinkReport> {
        self.links(now).iter().filter(|link| link.up)
    }
}

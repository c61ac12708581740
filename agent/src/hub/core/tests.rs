//! The hub's decisions, one input at a time.

use shared::announcement::Role;
use shared::batch::FORMAT;
use shared::id::{GroupId, Origin};
use shared::link::Codecs;
use shared::time::WallMillis;

use super::*;

const OTHER: Origin = Origin(0x900);

fn member(node_id: u64) -> Member {
    Member {
        name: format!("n{node_id}"),
        node_id: NodeId(node_id),
        origin: Origin(0x100 + node_id),
        role: Role::Active,
    }
}

fn info() -> FeedInfo {
    let Member { name, node_id, origin, role } = member(1);
    FeedInfo {
        node_id,
        name,
        group: "g".into(),
        group_id: GroupId(7),
        joining: false,
        origin,
        role,
        frontier: Frontier::new(),
        clock: Timestamp(1),
        wall: WallMillis(1),
        start_time: WallMillis(1),
        log_start: Frontier::new(),
        batch_format: FORMAT,
        max_clock_drift_ms: 5_000,
    }
}

fn frontier(entries: &[(Origin, u64)]) -> Frontier {
    entries.iter().map(|(origin, at)| (*origin, Timestamp(*at))).collect()
}

fn hello(node_id: u64, held: &[(Origin, u64)]) -> Box<Hello> {
    Box::new(Hello {
        batch_format: FORMAT,
        group: "g".into(),
        group_id: GroupId(7),
        joining: false,
        member: member(node_id),
        start_time: WallMillis(1),
        frontier: frontier(held),
        wall: WallMillis(1),
        clock: Timestamp(node_id),
        dialled: true,
        proof: Vec::new(),
        reads: Codecs::NONE,
    })
}

fn announcement(node_id: u64, sequence: u64) -> Box<Announcement> {
    Box::new(Announcement {
        member: member(node_id),
        sequence,
        frontier: frontier(&[(Origin(0x100 + node_id), sequence)]),
        clock: Timestamp(sequence),
        members: Vec::new(),
        evictions: Vec::new(),
        memory_limit: 0,
        joining: false,
        runs: Vec::new(),
    })
}

/// A core, and what it said to each.
struct Desk {
    core: Core,
    now: u64,
    told: Vec<(u64, Command)>,
    /// Numbers of messages, and by which links they are passed on; none to the node's own clients.
    published: Vec<(Option<u64>, u64)>,
    reports: Vec<PeersReport>,
    infos: usize,
    heard: Vec<Timestamp>,
    end: Option<SessionEnd>,
    /// What the node says to each report.
    point: NodePoint,
}

impl Desk {
    fn new() -> Self {
        let announced = Some(*announcement(1, 10));
        let (frontier, pulled) = (Frontier::new(), Frontier::new());
        Self {
            core: Core::new(info(), 7),
            now: 1_000,
            told: Vec::new(),
            published: Vec::new(),
            reports: Vec::new(),
            infos: 0,
            heard: Vec::new(),
            end: None,
            point: NodePoint { frontier, clock: Timestamp(1), pulled, announcement: announced },
        }
    }

    /// The node answers everything at once.
    fn handle(&mut self, input: Input) {
        self.core.handle(input, MonoMillis(self.now));
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Tell(LinkId(link), command) => self.told.push((link, command)),
                Output::End(end) => self.end = Some(end),
                Output::Publish(LinkId(link), publication) => {
                    self.published.push((Some(link), publication.number));
                }
                Output::Deliver(publication) => self.published.push((None, publication.number)),
                Output::Ask(Question::Info) => self.infos += 1,
                Output::Ask(Question::Hear(clock)) => self.heard.push(clock),
                Output::Ask(Question::Report(report)) => {
                    self.reports.push(*report);
                    let point = Box::new(self.point.clone());
                    self.core.handle(Input::Reported(point), MonoMillis(self.now));
                }
            }
        }
    }

    fn event(&mut self, link: u64, event: LinkEvent) {
        self.handle(Input::Link(LinkId(link), event));
    }

    fn greeted(&mut self, link: u64, node_id: u64, held: &[(Origin, u64)], is_related: bool) {
        let hello = hello(node_id, held);
        self.handle(Input::Greeted { link: LinkId(link), hello, dialled: true, is_related });
    }

    fn link_up(&mut self, link: u64, node_id: u64, held: &[(Origin, u64)]) {
        self.greeted(link, node_id, held, true);
        self.handle(Input::ClockHeard(Ok(())));
    }

    fn pass(&mut self, duration_ms: u64) {
        let end = self.now + duration_ms;
        while let Some(at) = self.core.deadline().filter(|at| at.0 <= end) {
            self.now = at.0.max(self.now);
            self.handle(Input::Tick);
        }
        self.now = end;
    }

    fn take_told(&mut self, link: u64) -> Vec<String> {
        let told: Vec<_> = self.told.extract_if(.., |(to, _)| *to == link).collect();
        told.into_iter().map(|(_, command)| brief(&command)).collect()
    }
}

fn brief(command: &Command) -> String {
    match command {
        Command::Admit => "admit".into(),
        Command::Leave(goodbye) => format!("leave {:?}", goodbye.reason),
        Command::Subscribe(origin, after) => format!("pull {origin} {after}"),
        Command::Unsubscribe(origin) => format!("stop {origin}"),
        Command::Held(held, _) => format!("held {held}"),
        Command::Announce(announcement) => {
            format!("announce {} {}", announcement.member.name, announcement.sequence)
        }
        Command::Listen(member, begins) => format!("listen {} {begins}", member.0),
    }
}

#[test]
fn a_peer_is_admitted_once_the_node_has_heard_its_clock() {
    let mut desk = Desk::new();
    desk.greeted(1, 2, &[], true);
    desk.greeted(2, 3, &[], true);
    assert_eq!(desk.heard, [Timestamp(2)]);
    assert_eq!(desk.told.len(), 0);
    desk.handle(Input::ClockHeard(Ok(())));
    assert_eq!(desk.take_told(1), ["admit", "held ;0", "pull 0000000000000102 0"]);
    assert_eq!(desk.heard, [Timestamp(2), Timestamp(3)]);
    desk.handle(Input::ClockHeard(Err("CLOCK too far".into())));
    assert_eq!(desk.take_told(2), ["leave ClockDrift"]);
}

#[test]
fn a_peer_that_goes_while_its_clock_is_heard_is_forgotten() {
    let mut desk = Desk::new();
    desk.greeted(1, 2, &[], true);
    desk.greeted(2, 3, &[], true);
    desk.handle(Input::Closed { link: LinkId(1), has_left: false });
    desk.handle(Input::ClockHeard(Ok(())));
    assert_eq!(desk.take_told(1), [""; 0]);
    desk.handle(Input::ClockHeard(Ok(())));
    assert_eq!(desk.core.links().collect::<Vec<_>>(), [LinkId(2)]);
}

#[test]
fn of_two_links_the_one_of_the_smaller_node_id_stays() {
    let mut desk = Desk::new();
    let accepted = Input::Greeted { link: LinkId(1), hello: hello(2, &[]), dialled: false, is_related: true };
    desk.handle(accepted);
    desk.handle(Input::ClockHeard(Ok(())));
    desk.take_told(1);
    desk.link_up(2, 2, &[]);
    assert_eq!(desk.take_told(1), ["leave Duplicate"]);
    assert_eq!(desk.take_told(2), ["admit", "held ;0"]);
    // What came over the one that makes room is applied before the other goes on from there.
    let held = frontier(&[(Origin(0x102), 7)]);
    desk.event(1, LinkEvent::Progress { held, delivered: vec![Origin(0x102)] });
    desk.handle(Input::Closed { link: LinkId(1), has_left: false });
    assert_eq!(desk.take_told(2), ["held 0000000000000102:7;0", "pull 0000000000000102 7"]);
    desk.link_up(3, 2, &[]);
    assert_eq!(desk.take_told(3), ["leave Duplicate"]);
}

#[test]
fn strangers_are_admitted_but_told_nothing() {
    let mut desk = Desk::new();
    desk.greeted(1, 2, &[(OTHER, 5)], false);
    desk.handle(Input::ClockHeard(Ok(())));
    desk.pass(5_000);
    assert_eq!(desk.take_told(1), ["admit"]);
    assert!(desk.reports.iter().all(|report| report.held.is_empty()));
    assert!(desk.core.is_linked(NodeId(2)));
}

#[test]
fn announcements_go_to_everybody_but_back() {
    let mut desk = Desk::new();
    desk.link_up(1, 2, &[]);
    desk.link_up(2, 3, &[]);
    desk.told.clear();
    desk.event(1, LinkEvent::Announced(announcement(4, 20).into()));
    desk.event(1, LinkEvent::Announced(announcement(2, 20).into()));
    desk.event(2, LinkEvent::Announced(announcement(4, 20).into()));
    assert_eq!(desk.take_told(2), ["announce n4 20", "announce n2 20", "listen 4 false"]);
    assert_eq!(desk.take_told(1), [""; 0]);
    desk.pass(2_000);
    let reported: Vec<_> = desk.reports.iter().flat_map(|report| &report.announcements).collect();
    assert_eq!(reported, [&*announcement(2, 20), &*announcement(4, 20)]);
    // A link that comes later hears what all have said, this node included.
    desk.link_up(3, 5, &[]);
    let told = desk.take_told(3);
    assert_eq!(told[1..5], ["held ;0", "announce n2 20", "announce n4 20", "announce n1 10"]);
}

#[test]
fn who_hears_a_member_from_others_is_not_told_of_it() {
    let mut desk = Desk::new();
    desk.link_up(1, 2, &[]);
    desk.link_up(2, 3, &[]);
    desk.event(2, LinkEvent::PeerListens(NodeId(4), false));
    desk.event(1, LinkEvent::Announced(announcement(4, 19).into()));
    desk.told.clear();
    desk.event(2, LinkEvent::PeerListens(NodeId(4), false));
    desk.event(1, LinkEvent::Announced(announcement(4, 20).into()));
    assert_eq!(desk.take_told(2), [""; 0]);
    desk.event(2, LinkEvent::PeerListens(NodeId(4), true));
    desk.event(1, LinkEvent::Announced(announcement(4, 21).into()));
    assert_eq!(desk.take_told(2), ["announce n4 20", "announce n4 21"], "the newest at once, and the next");
}

#[test]
fn a_silent_source_of_announcements_is_made_good_by_others() {
    let mut desk = Desk::new();
    desk.link_up(1, 2, &[]);
    desk.link_up(2, 3, &[]);
    desk.event(1, LinkEvent::Announced(announcement(4, 20).into()));
    desk.event(2, LinkEvent::Announced(announcement(4, 20).into()));
    desk.told.clear();
    desk.pass(2_600);
    let listens = |told: &String| told.starts_with("listen");
    assert_eq!(desk.take_told(2).into_iter().filter(listens).collect::<Vec<_>>(), ["listen 4 true"]);
    desk.event(2, LinkEvent::Announced(announcement(4, 21).into()));
    desk.event(1, LinkEvent::Announced(announcement(4, 21).into()));
    assert!(desk.take_told(1).contains(&"listen 4 false".to_owned()));
}

#[test]
fn the_nodes_announcement_goes_out_each_second_and_when_it_says_something_new() {
    let mut desk = Desk::new();
    desk.link_up(1, 2, &[]);
    desk.pass(10_000);
    let told = desk.take_told(1);
    assert_eq!(told.iter().filter(|told| told.starts_with("announce n1")).count(), 11);
    desk.point.announcement = Some(Announcement { memory_limit: 9, ..*announcement(1, 11) });
    desk.event(1, LinkEvent::Talked);
    desk.pass(100);
    assert_eq!(desk.take_told(1), ["announce n1 11"]);
}

#[test]
fn streams_begin_at_the_pull_frontier_and_peers_are_told_the_frontier() {
    let mut desk = Desk::new();
    desk.point.pulled = frontier(&[(OTHER, 50)]);
    desk.pass(1);
    desk.link_up(1, 2, &[(OTHER, 60)]);
    let told = desk.take_told(1);
    assert!(told.contains(&format!("pull {OTHER} 32")) && told.contains(&"held ;0".to_owned()), "{told:?}");
    desk.pass(1_000);
    desk.point.frontier = frontier(&[(OTHER, 50)]);
    desk.pass(1_000);
    assert!(desk.take_told(1).contains(&format!("held {OTHER}:32;0")));
    // What is applied beyond is told at once.
    desk.event(1, LinkEvent::Progress { held: frontier(&[(OTHER, 60)]), delivered: vec![OTHER] });
    assert_eq!(desk.take_told(1), [format!("held {OTHER}:3c;0")]);
}

#[test]
fn what_no_log_holds_is_reported_soon() {
    let mut desk = Desk::new();
    desk.link_up(1, 2, &[(OTHER, 60)]);
    desk.pass(100);
    desk.reports.clear();
    desk.event(1, LinkEvent::Refused(OTHER, PullRefusal::Truncated(Timestamp(40))));
    desk.event(1, LinkEvent::Drained(OTHER));
    desk.pass(50);
    assert_eq!(desk.reports.last().map(|report| &report.truncated[..]), Some(&[(OTHER, NodeId(2))][..]));
}

#[test]
fn a_node_that_became_another_begins_a_new_session() {
    let mut desk = Desk::new();
    desk.handle(Input::Informed(Box::new(info())));
    assert_eq!(desk.end, None);
    desk.handle(Input::Informed(Box::new(FeedInfo { joining: true, ..info() })));
    assert!(matches!(&desk.end, Some(SessionEnd::NodeChanged(text)) if text.contains("join")));
    desk.handle(Input::Informed(Box::new(FeedInfo { start_time: WallMillis(2), ..info() })));
    assert!(matches!(desk.end, Some(SessionEnd::NodeLost(_))));
}

#[test]
fn after_two_nodes_have_talked_the_node_is_asked_for_what_it_is() {
    let mut desk = Desk::new();
    desk.link_up(1, 2, &[]);
    desk.pass(500);
    let before = desk.infos;
    (0..10).for_each(|_| desk.event(1, LinkEvent::Talked));
    desk.pass(100);
    assert_eq!(desk.infos, before + 1);
}

fn publication(author: u64, number: u64) -> Arc<Publication> {
    let (channel, payload) = (b"channel".to_vec(), b"text".to_vec());
    Arc::new(Publication { author: NodeId(author), run: Origin(0x100 + author), number, channel, payload })
}

#[test]
fn messages_go_once_to_those_who_hear_their_author_from_here() {
    let mut desk = Desk::new();
    (2..=4).for_each(|peer| desk.link_up(peer - 1, peer, &[]));
    desk.handle(Input::Published(publication(1, 1)));
    assert_eq!(desk.published.split_off(0), [(Some(1), 1), (Some(2), 1), (Some(3), 1)], "to all peers");
    desk.event(1, LinkEvent::Published(publication(2, 7)));
    assert_eq!(desk.published.split_off(0), [(Some(2), 7), (Some(3), 7), (None, 7)], "but whence it came");
    desk.event(2, LinkEvent::Published(publication(2, 7)));
    desk.event(1, LinkEvent::Published(publication(2, 6)));
    assert_eq!(desk.published, [], "what came before");
    desk.event(1, LinkEvent::Announced(announcement(2, 20).into()));
    desk.event(3, LinkEvent::PeerListens(NodeId(2), false));
    desk.event(1, LinkEvent::Published(publication(2, 8)));
    assert_eq!(desk.published.split_off(0), [(Some(2), 8), (None, 8)], "the third hears it from others");
    desk.event(1, LinkEvent::Published(publication(9, 1)));
    assert_eq!(desk.published, [], "of nobody whom anybody knows");
    let again = Publication { run: Origin(0x300), number: 1, ..(*publication(2, 1)).clone() };
    desk.event(1, LinkEvent::Published(again.into()));
    assert_eq!(desk.published.len(), 2, "its node was started again, and counts anew");
}

//! The link's state machine, with a driver that keeps its promises and a peer that keeps none: messages of every kind in
//! any order, batches cut anywhere, raw bytes between them.

#![no_main]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use shared::announcement::{Advance, Announcement, Member, Role};
use shared::batch::{BatchHeader, FORMAT, empty_batch};
use shared::clock::Timestamp;
use shared::id::{GroupId, NodeId, Origin};
use shared::link::{
    Action, Applied, ApplyRefusal, BatchBytes, Chunk, Codec, Codecs, Compressed, Goodbye, Hello, Holding,
    Input, Link, Listen, Local, Message, Now, Part, Reason, Subscribe,
};
use shared::publication::{PUBLICATION_BYTES_MAX, Publication};
use shared::time::WallMillis;
use shared::version::Frontier;

/// The longest question or answer: some parts.
const TALK_LENGTH_MAX: usize = 200 << 10;

/// What happens. Numbers are small, so that they meet.
#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Raw(&'a [u8]),
    Hello {
        strange: Strange,
        clock_ahead_ms: i16,
    },
    Announce {
        node_id: u8,
        sequence: u8,
        frontier: Vec<(u8, u8)>,
    },
    Frontier {
        changed: Vec<(u8, u8)>,
        floor: u8,
        prompt: bool,
    },
    Advance {
        node_id: u8,
        after: u8,
        sequence: u8,
        frontier: Vec<(u8, u8)>,
    },
    PeerListen {
        start: Vec<u8>,
        stop: Vec<u8>,
    },
    AckNow,
    /// A message comes, or is to be passed on, with so many bytes.
    PeerPublish {
        author: u8,
        number: u8,
        length: u16,
    },
    Publish {
        author: u8,
        number: u8,
        length: u16,
    },
    PeerSubscribe {
        serial: u8,
        start: Vec<(u8, u8)>,
        stop: Vec<u8>,
    },
    PeerFollowing {
        serial: u8,
    },
    PeerTruncated {
        serial: u8,
        starts: Vec<(u8, u8)>,
    },
    Batch {
        origin: u8,
        after: u8,
        length: u8,
        chunk_bytes: u8,
    },
    Chunk {
        first: bool,
        last: bool,
        bytes: &'a [u8],
    },
    PeerAsk {
        serial: u8,
        last: bool,
        bytes: &'a [u8],
    },
    PeerAnswer {
        serial: u8,
        last: bool,
        bytes: &'a [u8],
    },
    PeerNoAnswer {
        serial: u8,
    },
    /// Compressed by a codec that changes nothing, or so it says.
    PeerCompressed {
        is_known: bool,
        length: Option<u32>,
        bytes: &'a [u8],
    },
    /// A batch, compressed so.
    CompressedBatch {
        origin: u8,
        after: u8,
        length: u8,
    },
    Ask {
        length: u32,
    },
    Answer {
        length: Option<u32>,
    },
    Ping {
        id: u64,
    },
    Pong {
        right: bool,
        id: u64,
        wall: u64,
    },
    PeerGoodbye,
    Pass {
        ms: u16,
    },
    Reading(bool),
    Admit,
    Leave,
    Subscribe {
        origin: u8,
        after: u8,
    },
    Unsubscribe {
        origin: u8,
    },
    Held {
        frontier: Vec<(u8, u8)>,
        clock: u8,
    },
    Tell {
        node_id: u8,
        sequence: u8,
    },
    Listen {
        node_id: u8,
        begins: bool,
    },
    Follow {
        truncated: Option<Vec<(u8, u8)>>,
    },
    Waiting,
    Apply {
        refusal: Option<Refusal>,
        held: u8,
    },
    /// The connection takes what is to be said.
    Send,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Strange {
    No,
    Group,
    GroupId,
    Name,
    NodeId,
    Format,
    Joining,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Refusal {
    Gap,
    Suspended,
    Closed,
    Bad,
}

#[derive(Arbitrary, Debug)]
struct Case<'a> {
    /// Whether the peer has greeted, and was admitted.
    is_up: bool,
    steps: Vec<Step<'a>>,
}

fuzz_target!(|case: Case<'_>| {
    let mut driver = Driver::new();
    if case.is_up {
        driver.step(&Step::Hello { strange: Strange::No, clock_ahead_ms: 0 });
        driver.step(&Step::Admit);
    }
    for step in &case.steps {
        driver.step(step);
    }
    driver.send_all();
});

const NODE_ID: NodeId = NodeId(1);

struct Driver {
    link: Link,
    now: Now,
    /// Batches that the node was given, and has not answered to.
    applying: VecDeque<(Origin, u64)>,
    /// What is pulled, and how far it has come in.
    pulled: BTreeMap<Origin, Timestamp>,
    is_following: bool,
    /// A question is with the peer, and one of the peer's with the node.
    is_asking: bool,
    is_asked: bool,
    is_greeted: bool,
    is_closed: bool,
    /// The id of the newest Ping, to be answered.
    ping: u64,
}

impl Driver {
    fn new() -> Self {
        let local = Local {
            group: "group".into(),
            group_id: GroupId(7),
            joining: false,
            member: member("us", NODE_ID.0, 1),
            start_time: WallMillis(1),
            frontier: Frontier::new(),
            clock: Timestamp::ZERO,
            dialled: true,
            clock_drift_ms_max: 5_000,
            reads: Codecs(1 << Codec::Lz4 as u64),
            codec: Some(Codec::Lz4),
        };
        let now = Now { mono_us: 1, wall: WallMillis(1_000_000) };
        Self {
            link: Link::new(local, now),
            now,
            applying: VecDeque::new(),
            pulled: BTreeMap::new(),
            is_following: false,
            is_asking: false,
            is_asked: false,
            is_greeted: false,
            is_closed: false,
            ping: 0,
        }
    }

    fn step(&mut self, step: &Step<'_>) {
        match step {
            Step::Raw(bytes) => self.hear(bytes),
            Step::Hello { strange, clock_ahead_ms } => self.hear_hello(*strange, *clock_ahead_ms),
            Step::Announce { node_id, sequence, frontier: held } => {
                self.hear(&Message::Announce(Arc::new(announcement(*node_id, *sequence, held))).encode());
            }
            Step::Frontier { changed, floor, prompt } => {
                let mut frontier = frontier(changed);
                frontier.raise_floor(Timestamp((*floor).into()));
                let holding = Holding { frontier, clock: Timestamp((*floor).into()), prompt: *prompt };
                self.hear(&Message::Frontier(holding).encode());
            }
            Step::Advance { node_id, after, sequence, frontier: changed } => {
                self.hear(
                    &Message::Advance(Box::new(Advance {
                        node_id: NodeId((*node_id).into()),
                        after: (*after).into(),
                        sequence: (*sequence).into(),
                        frontier: frontier(changed),
                        clock: Timestamp((*sequence).into()),
                    }))
                    .encode(),
                );
            }
            Step::PeerListen { start, stop } => {
                let members = |ids: &[u8]| ids.iter().map(|id| NodeId((*id).into())).collect();
                let change = Listen { start: members(start), stop: members(stop) };
                self.hear(&Message::Listen(change).encode());
            }
            Step::Listen { node_id, begins } => {
                self.handle(Input::Listen(NodeId((*node_id).into()), *begins));
            }
            Step::AckNow => self.hear(&Message::AckNow.encode()),
            Step::PeerPublish { author, number, length } => {
                self.hear(&Message::Publish(publication(*author, *number, *length)).encode());
            }
            Step::Publish { author, number, length } => {
                self.handle(Input::Publish(publication(*author, *number, *length)));
            }
            Step::PeerSubscribe { serial, start, stop } => {
                let stop = stop.iter().map(|origin| Origin((*origin).into())).collect();
                let change = Subscribe { serial: (*serial).into(), start: points(start), stop };
                self.hear(&Message::Subscribe(change).encode());
            }
            Step::PeerFollowing { serial } => {
                self.hear(&Message::Following { serial: (*serial).into() }.encode())
            }
            Step::PeerTruncated { serial, starts } => {
                self.hear(&Message::Truncated { serial: (*serial).into(), starts: points(starts) }.encode());
            }
            Step::Batch { origin, after, length, chunk_bytes } => {
                self.hear_batch(*origin, *after, *length, *chunk_bytes);
            }
            Step::Chunk { first, last, bytes } => {
                self.hear(&Chunk { first: *first, last: *last, bytes }.encode());
            }
            Step::PeerAsk { serial, last, bytes } => {
                self.hear(&Message::Ask(Part { serial: (*serial).into(), last: *last, bytes }).encode());
            }
            Step::PeerAnswer { serial, last, bytes } => {
                self.hear(&Message::Answer(Part { serial: (*serial).into(), last: *last, bytes }).encode());
            }
            Step::PeerNoAnswer { serial } => {
                self.hear(&Message::no_answer((*serial).into(), "no").encode());
            }
            Step::PeerCompressed { is_known, length, bytes } => {
                let codec = if *is_known { Codec::Lz4 } else { Codec::Zstd };
                let length = length.map_or(bytes.len(), |length| length as usize);
                self.hear(&Message::Compressed(Compressed { codec, length, bytes }).encode());
            }
            Step::CompressedBatch { origin, after, length } => {
                let (after, length) = (Timestamp((*after).into()), u64::from(*length));
                let batch = empty_batch(Origin((*origin).into()), after, Timestamp(after.0 + length));
                let inner = Chunk { first: true, last: true, bytes: &batch }.encode();
                let compressed = Compressed { codec: Codec::Lz4, length: inner.len(), bytes: &inner };
                self.hear(&Message::Compressed(compressed).encode());
            }
            Step::Ask { length } if self.link.is_up() && !self.is_asking => {
                self.is_asking = true;
                self.handle(Input::Ask(vec![0; *length as usize % TALK_LENGTH_MAX]));
            }
            Step::Answer { length } if std::mem::take(&mut self.is_asked) => {
                let bytes = |length: u32| vec![0; length as usize % TALK_LENGTH_MAX];
                self.handle(Input::Answer(length.map(bytes).ok_or_else(|| "no".to_owned())));
            }
            Step::Ping { id } => self.hear(&Message::Ping { id: *id }.encode()),
            Step::Pong { right, id, wall } => {
                let (id, wall) = if *right { (self.ping, self.now.wall.0) } else { (*id, *wall) };
                self.hear(&Message::Pong { id, wall: WallMillis(wall) }.encode());
            }
            Step::PeerGoodbye => self.hear(&Message::Goodbye(Goodbye::new(Reason::Leaving, "bye")).encode()),
            Step::Pass { ms } => self.pass(*ms),
            Step::Reading(is_reading) => self.handle(Input::Reading(*is_reading)),
            Step::Admit if self.is_greeted => self.handle(Input::Admitted),
            Step::Leave => self.handle(Input::Leave(Goodbye::new(Reason::Leaving, "bye"))),
            Step::Subscribe { origin, after } if self.link.is_up() && self.link.is_related() => {
                let (origin, after) = (Origin((*origin).into()), Timestamp((*after).into()));
                self.pulled.insert(origin, after);
                self.handle(Input::Subscribe(origin, after));
            }
            Step::Unsubscribe { origin } if self.link.is_up() => {
                let origin = Origin((*origin).into());
                self.pulled.remove(&origin);
                self.handle(Input::Unsubscribe(origin));
            }
            Step::Held { frontier: held, clock } => {
                self.handle(Input::Held(&frontier(held), Timestamp((*clock).into())));
            }
            Step::Tell { node_id, sequence } => {
                self.handle(Input::Announce(Arc::new(announcement(*node_id, *sequence, &[]))));
            }
            Step::Follow { truncated } if std::mem::take(&mut self.is_following) => {
                self.handle(match truncated {
                    None => Input::Following,
                    Some(starts) => Input::FollowTruncated(points(starts)),
                })
            }
            Step::Waiting => self.handle(Input::Waiting),
            Step::Apply { refusal, held } => self.applied(*refusal, *held),
            Step::Send => self.send_all(),
            Step::Admit
            | Step::Subscribe { .. }
            | Step::Unsubscribe { .. }
            | Step::Follow { .. }
            | Step::Ask { .. }
            | Step::Answer { .. } => {}
        }
    }

    fn hear_hello(&mut self, strange: Strange, clock_ahead_ms: i16) {
        let mut hello = Hello {
            batch_format: FORMAT,
            group: "group".into(),
            group_id: GroupId(7),
            joining: false,
            member: member("them", 2, 2),
            start_time: WallMillis(1),
            frontier: Frontier::new(),
            wall: WallMillis(self.now.wall.0.saturating_add_signed(clock_ahead_ms.into())),
            clock: Timestamp::ZERO,
            dialled: false,
            proof: Vec::new(),
            reads: Codecs(u64::from(clock_ahead_ms.unsigned_abs())),
        };
        match strange {
            Strange::No => {}
            Strange::Group => hello.group.push('?'),
            Strange::GroupId => hello.group_id = GroupId(8),
            Strange::Joining => hello.joining = true,
            Strange::Name => hello.member.name = "us".into(),
            Strange::NodeId => hello.member.node_id = NODE_ID,
            Strange::Format => hello.batch_format = 9,
        }
        self.hear(&Message::Hello(Box::new(hello)).encode());
        if !matches!(strange, Strange::No | Strange::GroupId | Strange::Joining) {
            assert!(!self.is_greeted || self.is_closed || !self.link.reads(), "a strange peer was taken");
        }
    }

    fn hear_batch(&mut self, origin: u8, after: u8, length: u8, chunk_bytes: u8) {
        let (after, upto) = (Timestamp(after.into()), Timestamp(u64::from(after) + u64::from(length)));
        let batch = empty_batch(Origin(origin.into()), after, upto);
        let chunks: Vec<&[u8]> = batch.chunks(usize::from(chunk_bytes).max(1)).collect();
        for (index, bytes) in chunks.iter().enumerate() {
            self.hear(&Chunk { first: index == 0, last: index + 1 == chunks.len(), bytes }.encode());
        }
    }

    fn hear(&mut self, message: &[u8]) {
        if self.link.reads() {
            self.link.handle(Input::Message(message), self.now);
            self.act(Some(message));
        }
    }

    fn pass(&mut self, ms: u16) {
        self.now.mono_us += u64::from(ms) * 1_000;
        self.now.wall.0 += u64::from(ms);
        if self.link.deadline().is_some_and(|deadline| deadline <= self.now.mono()) {
            self.handle(Input::Tick);
        }
    }

    fn applied(&mut self, refusal: Option<Refusal>, held: u8) {
        let Some((origin, serial)) = self.applying.pop_front() else { return };
        let held = Timestamp(held.into());
        let result = match refusal {
            None => Ok(held),
            Some(Refusal::Gap) => Err(ApplyRefusal::Gap),
            Some(Refusal::Closed) => Err(ApplyRefusal::Closed),
            Some(Refusal::Suspended) => Err(ApplyRefusal::Suspended),
            Some(Refusal::Bad) => Err(ApplyRefusal::Bad("BADBATCH".into())),
        };
        self.handle(Input::Applied(Applied { origin, serial, result }));
    }

    fn handle(&mut self, input: Input<'_>) {
        self.link.handle(input, self.now);
        self.act(None);
    }

    fn act(&mut self, message: Option<&[u8]>) {
        while let Some(action) = self.link.poll_action() {
            assert!(!self.is_closed, "an action follows the close: {action:?}");
            self.on_action(action, message);
        }
        assert!(!self.is_closed || self.link.deadline().is_none(), "a closed link waits for something");
    }

    fn on_action(&mut self, action: Action, message: Option<&[u8]>) {
        match action {
            Action::Greeted(hello) => {
                assert!(!std::mem::replace(&mut self.is_greeted, true), "greeted twice");
                assert_eq!(hello.group, "group");
            }
            Action::Follow(_) => {
                assert!(
                    !std::mem::replace(&mut self.is_following, true),
                    "a list before the last was answered"
                );
            }
            Action::Apply { serial, header, bytes } => {
                self.check_batch(&header, &bytes, message);
                self.applying.push_back((header.origin, serial));
            }
            Action::Decompress { codec, length, bytes } => {
                assert!(codec == Codec::Lz4 && self.link.is_up(), "not offered, or not yet");
                let inner = &message.expect("only a message brings another")[bytes];
                if inner.len() == length {
                    self.link.handle(Input::Decompressed(inner), self.now);
                    self.act(Some(inner));
                } else {
                    self.handle(Input::Leave(Goodbye::new(Reason::Malformed, "damaged")));
                }
            }
            Action::Drained(origin) => {
                assert!(self.applying.iter().all(|(other, _)| *other != origin), "not drained");
            }
            Action::Refused(origin, _) => assert!(self.pulled.remove(&origin).is_some(), "was not pulled"),
            Action::Announced(announcement) => {
                assert_ne!(announcement.member.node_id, NODE_ID);
                assert!(self.link.is_related());
            }
            Action::Asked(_) => {
                assert!(!std::mem::replace(&mut self.is_asked, true), "asked before the last was answered");
            }
            Action::Answered(_) => {
                assert!(std::mem::take(&mut self.is_asking), "an answer to nothing");
            }
            Action::Close { .. } => self.is_closed = true,
            Action::Published(publication) => assert!(publication.len() <= PUBLICATION_BYTES_MAX),
            Action::PassedOver(_)
            | Action::PeerListens(..)
            | Action::Heard(_)
            | Action::PeerSubscribed(..)
            | Action::PeerUnsubscribed(_)
            | Action::PeerTruncated(_)
            | Action::ClockWarning(_)
            | Action::Late(_)
            | Action::Measured(..) => {}
        }
    }

    /// A batch is only applied where it was asked for, and follows on what came before.
    fn check_batch(&mut self, header: &BatchHeader, bytes: &BatchBytes, message: Option<&[u8]>) {
        let bytes = match bytes {
            BatchBytes::InMessage(range) => &message.expect("only a message brings a batch")[range.clone()],
            BatchBytes::Assembled(bytes) => bytes,
        };
        assert_eq!(BatchHeader::peek(bytes).as_ref(), Ok(header));
        let position = self.pulled.get_mut(&header.origin).expect("not pulled, but applied");
        assert!(header.after <= *position && header.upto > *position);
        *position = header.upto;
    }

    /// Whatever is said can be understood, and there is an end to it.
    fn send_all(&mut self) {
        const SAID_MAX: usize = 10_000;
        for _ in 0..SAID_MAX {
            let Some(said) = self.next_said() else {
                return;
            };
            match Message::decode(&said) {
                Ok(Message::Ping { id }) => self.ping = id,
                Ok(_) => {}
                Err(error) => panic!("what was said cannot be understood: {error}"),
            }
        }
        panic!("there is no end to what is said");
    }

    fn next_said(&mut self) -> Option<Vec<u8>> {
        let message = self.link.poll_message(self.now).or_else(|| self.link.poll_talk());
        message.or_else(|| self.link.poll_publication())
    }
}

fn member(name: &str, node_id: u64, origin: u64) -> Member {
    Member { name: name.into(), node_id: NodeId(node_id), origin: Origin(origin), role: Role::Active }
}

fn announcement(node_id: u8, sequence: u8, held: &[(u8, u8)]) -> Announcement {
    Announcement {
        member: member("member", node_id.into(), node_id.into()),
        sequence: sequence.into(),
        frontier: frontier(held),
        clock: Timestamp(sequence.into()),
        members: Vec::new(),
        evictions: Vec::new(),
        memory_limit: 0,
        joining: false,
        runs: Vec::new(),
    }
}

fn points(pairs: &[(u8, u8)]) -> BTreeMap<Origin, Timestamp> {
    pairs.iter().map(|(origin, at)| (Origin((*origin).into()), Timestamp((*at).into()))).collect()
}

fn frontier(pairs: &[(u8, u8)]) -> Frontier {
    points(pairs).into_iter().collect()
}

/// A message of up to 4 MiB, which is longer than links take.
fn publication(author: u8, number: u8, length: u16) -> Arc<Publication> {
    Arc::new(Publication {
        author: NodeId(author.into()),
        run: Origin(author.into()),
        number: number.into(),
        channel: b"channel".to_vec(),
        payload: vec![0; usize::from(length) * 64],
    })
}

//! As much of a node as an agent sees: the `FEED` commands over a log in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use shared::announcement::{Announcement, Member, Role};
use shared::batch::{Batch, BatchBuilder, BatchHeader};
use shared::change::{Change, Op};
use shared::clock::Timestamp;
use shared::feed::PeersReport;
use shared::id::{GroupId, NodeId, Origin};
use shared::resp::{Protocol, ReplyWriter, RequestDecoder, RequestLimits};
use shared::time::WallMillis;
use shared::version::Frontier;

/// Tests wait this long for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How often a connection looks for news.
const LOOK: Duration = Duration::from_millis(2);

pub(crate) struct FakeNode {
    shared: Arc<Shared>,
    pub(crate) address: SocketAddr,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

pub(crate) struct State {
    pub(crate) name: String,
    pub(crate) node_id: NodeId,
    pub(crate) origin: Origin,
    pub(crate) group: String,
    pub(crate) group_id: GroupId,
    pub(crate) joining: bool,
    pub(crate) clock: Timestamp,
    pub(crate) clock_ahead_ms: i64,
    pub(crate) frontier: Frontier,
    /// What it is about to hold beyond the frontier: batches within are taken for held.
    pub(crate) pulled: Frontier,
    pub(crate) log: BTreeMap<Origin, Vec<Logged>>,
    pub(crate) log_start: Frontier,
    /// Batches applied, and batches that were held already.
    pub(crate) applied: u64,
    pub(crate) duplicates: u64,
    /// Answers every FEED APPLY with this.
    pub(crate) apply_error: Option<String>,
    pub(crate) refusals: u64,
    /// The peers that batches came from.
    pub(crate) applied_from: BTreeSet<String>,
    /// Answers every FEED HEARD with this.
    pub(crate) heard_error: Option<String>,
    /// The clocks of peers that it heard.
    pub(crate) heard: Vec<Timestamp>,
    /// What it asks the peers next; what came of it; and how it answers.
    pub(crate) questions: Vec<Vec<u8>>,
    pub(crate) answers: Vec<(String, Result<Vec<u8>, String>)>,
    pub(crate) answer: Result<Vec<u8>, String>,
    /// It is about to join no longer once one of its questions was answered.
    pub(crate) joins_when_answered: bool,
    /// An answer takes this long.
    pub(crate) thinking: Duration,
    /// What it was asked.
    pub(crate) asked: Vec<Vec<u8>>,
    /// Commands of `tandem-agent` that came, and what is answered.
    pub(crate) commands: Vec<String>,
    pub(crate) command_replies: BTreeMap<String, String>,
    /// Counts the clients that began to wait.
    pub(crate) waits: u64,
    pub(crate) report: PeersReport,
    pub(crate) report_count: u64,
    /// What members announced, and what linked peers hold, as last reported.
    pub(crate) announced: BTreeMap<String, Announcement>,
    pub(crate) held: BTreeMap<NodeId, Frontier>,
    /// All that it announced, and all that it was told others did.
    pub(crate) made_announcements: Vec<Announcement>,
    pub(crate) seen_announcements: Vec<Announcement>,
    connections: Vec<TcpStream>,
}

/// A batch of the log.
pub(crate) type Logged = (BatchHeader, Arc<Vec<u8>>);

impl FakeNode {
    pub(crate) fn start(name: &str, node_id: u64) -> Self {
        let state = State {
            name: name.into(),
            node_id: NodeId(node_id),
            origin: Origin(0x1000 + node_id),
            group: String::new(),
            group_id: GroupId(7),
            joining: false,
            clock: Timestamp::of_wall(WallMillis(wall())),
            clock_ahead_ms: 0,
            frontier: Frontier::new(),
            pulled: Frontier::new(),
            log: BTreeMap::new(),
            log_start: Frontier::new(),
            applied: 0,
            duplicates: 0,
            apply_error: None,
            refusals: 0,
            applied_from: BTreeSet::new(),
            heard_error: None,
            heard: Vec::new(),
            questions: Vec::new(),
            answers: Vec::new(),
            answer: Err("ERR nothing to say".into()),
            joins_when_answered: false,
            thinking: Duration::ZERO,
            asked: Vec::new(),
            commands: Vec::new(),
            command_replies: BTreeMap::new(),
            waits: 0,
            report: PeersReport::default(),
            report_count: 0,
            announced: BTreeMap::new(),
            held: BTreeMap::new(),
            made_announcements: Vec::new(),
            seen_announcements: Vec::new(),
            connections: Vec::new(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, shared) = (stream.unwrap(), accepting.clone());
                shared.lock().connections.push(stream.try_clone().unwrap());
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { shared, address }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    /// Writes a batch of some changes of its own.
    pub(crate) fn write(&self, changes: usize, value_bytes: usize) {
        self.write_value(changes, &vec![b'x'; value_bytes]);
    }

    /// Writes a batch of one change, that no codec makes smaller.
    pub(crate) fn write_noise(&self, value_bytes: usize, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let value: Vec<u8> = (0..value_bytes).map(|_| random.u8(..)).collect();
        self.write_value(1, &value);
    }

    fn write_value(&self, changes: usize, value: &[u8]) {
        let mut state = self.state();
        let origin = state.origin;
        let mut builder = BatchBuilder::new(origin, state.frontier.get(origin));
        for index in 0..changes {
            state.clock = state.clock.next();
            let key = format!("key:{index}").into_bytes();
            builder.append(state.clock, [&Change::new(0, key, Op::Set(value.into()))]);
        }
        let (header, bytes) = builder.seal(<[u8]>::to_vec);
        state.append(header, bytes);
        self.shared.changed.notify_all();
    }

    pub(crate) fn origin(&self) -> Origin {
        self.state().origin
    }

    pub(crate) fn applied_and_duplicates(&self) -> (u64, u64) {
        let state = self.state();
        (state.applied, state.duplicates)
    }

    pub(crate) fn frontier(&self) -> Frontier {
        self.state().frontier.clone()
    }

    /// Waits until `is_so`, and says what did not come.
    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, mut is_so: impl FnMut(&State) -> bool) {
        let (start, mut state) = (Instant::now(), self.state());
        while !is_so(&state) {
            assert!(start.elapsed() < PATIENCE, "{}: not within {PATIENCE:?}: {what}", state.name);
            state = self.shared.changed.wait_timeout(state, Duration::from_millis(50)).unwrap().0;
        }
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, frontier: &Frontier) {
        self.wait_until(&format!("frontier {frontier}"), |state| state.frontier.covers_frontier(frontier));
    }

    #[track_caller]
    pub(crate) fn wait_for_links(&self, count: usize) {
        self.wait_until(&format!("{count} links"), |state| {
            state.report.links.iter().filter(|link| link.up).count() == count
        });
    }

    /// Cuts all connections, and goes on as another run.
    pub(crate) fn restart(&self) {
        let mut state = self.state();
        state.origin = Origin(state.origin.0 + 0x1_0000);
        state.report = PeersReport::default();
        for connection in state.connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, header: BatchHeader, bytes: Vec<u8>) {
        self.frontier.advance(header.origin, header.upto);
        self.log.entry(header.origin).or_default().push((header, Arc::new(bytes)));
    }

    pub(crate) fn connection_count(&self) -> usize {
        self.connections.len()
    }

    fn apply(&mut self, bytes: &[u8], peer: &[u8], reply: &mut ReplyWriter<'_>) {
        self.applied_from.insert(String::from_utf8(peer.to_vec()).unwrap());
        if let Some(error) = &self.apply_error {
            self.refusals += 1;
            return reply.error(error);
        }
        let header = match Batch::decode(bytes) {
            Ok(batch) => batch.header,
            Err(error) => return reply.error(&format!("BADBATCH {error}")),
        };
        let held = self.frontier.get(header.origin).max(self.pulled.get(header.origin));
        if header.after > held {
            return reply.error(&format!("GAP {} {held}", header.origin));
        }
        if header.upto > held {
            self.applied += 1;
            self.append(header, bytes.to_vec());
        } else {
            self.duplicates += 1;
        }
        reply.array(3);
        reply.integer(header.count.into());
        reply.integer(0);
        reply.bulk(self.frontier.get(header.origin).to_string().as_bytes());
    }

    fn info(&self, reply: &mut ReplyWriter<'_>) {
        let fields = [
            ("node-id", self.node_id.to_string()),
            ("name", self.name.clone()),
            ("group", self.group.clone()),
            ("group-id", self.group_id.to_string()),
            ("joining", u8::from(self.joining).to_string()),
            ("origin", self.origin.to_string()),
            ("role", Role::Active.name().into()),
            ("frontier", self.frontier.to_string()),
            ("clock", self.clock.to_string()),
            ("wall", wall().saturating_add_signed(self.clock_ahead_ms).to_string()),
            ("start-time", "1".into()),
            ("log-start", self.log_start.to_string()),
            ("batch-format", "1".into()),
            ("max-clock-drift", "5000".into()),
        ];
        reply.map(fields.len());
        for (name, value) in fields {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        }
    }

    fn group(&mut self, name: &str, reply: &mut ReplyWriter<'_>) {
        if self.group.is_empty() {
            self.group = name.into();
        }
        if self.group == name {
            reply.ok()
        } else {
            reply.error(&format!("WRONGGROUP node is of {}", self.group))
        }
    }

    fn peers(&mut self, report: &[u8], reply: &mut ReplyWriter<'_>) {
        self.report = rmp_serde::from_slice(report).unwrap();
        self.report_count += 1;
        for announcement in &self.report.announcements {
            self.announced.insert(announcement.member.name.clone(), announcement.clone());
            self.seen_announcements.push(announcement.clone());
        }
        self.held.extend(self.report.held.iter().cloned());
        let mut pulled = self.frontier.clone();
        pulled.merge(&self.pulled);
        reply.array(4);
        reply.bulk(self.frontier.to_string().as_bytes());
        reply.bulk(self.clock.to_string().as_bytes());
        reply.bulk(pulled.to_string().as_bytes());
        self.made_announcements.push(self.announcement());
        reply.bulk(&rmp_serde::to_vec(&self.announcement()).unwrap());
    }

    fn announcement(&self) -> Announcement {
        Announcement {
            member: Member {
                name: self.name.clone(),
                node_id: self.node_id,
                origin: self.origin,
                role: Role::Active,
            },
            sequence: self.clock.0,
            frontier: self.frontier.clone(),
            clock: self.clock,
            members: Vec::new(),
            evictions: Vec::new(),
            memory_limit: 0,
            joining: self.joining,
            runs: Vec::new(),
        }
    }

    fn hear(&mut self, clock: &[u8], reply: &mut ReplyWriter<'_>) {
        let clock = std::str::from_utf8(clock).unwrap().parse().unwrap();
        self.heard.push(clock);
        match &self.heard_error {
            Some(error) => reply.error(error),
            None => reply.ok(),
        }
    }

    fn converse(&mut self, words: &[&[u8]], reply: &mut ReplyWriter<'_>) {
        let text = |word: &[u8]| String::from_utf8(word.to_vec()).unwrap();
        match words {
            [_, _] => {}
            [_, name, b"answer", bytes] => self.answers.push((text(name), Ok(bytes.to_vec()))),
            [_, name, b"failed", error] => self.answers.push((text(name), Err(text(error)))),
            words => panic!("FEED CONVERSE {words:?}"),
        }
        if words.len() > 2 && self.joins_when_answered {
            self.joining = false;
        }
        reply.array(2);
        match self.questions.pop() {
            Some(question) => reply.bulk(&question),
            None => reply.null(),
        }
        reply.integer(20);
    }

    fn answer(&mut self, question: &[u8], reply: &mut ReplyWriter<'_>) {
        self.asked.push(question.to_vec());
        match &self.answer {
            Ok(bytes) => reply.bulk(bytes),
            Err(error) => reply.error(error),
        }
    }

    /// What `tandem-agent`'s subcommands come to.
    fn command(&mut self, words: &[&[u8]], reply: &mut ReplyWriter<'_>) {
        let words: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
        let command = words.join(" ");
        match self.command_replies.get(&command) {
            Some(text) if text == "+OK" => reply.ok(),
            Some(text) => reply.bulk(text.as_bytes()),
            None => reply.error(&format!("ERR unknown: {command}")),
        }
        self.commands.push(command);
    }
}

/// The feed of one connection.
#[derive(Default)]
struct Follow {
    positions: BTreeMap<Origin, Timestamp>,
    waits: Option<u64>,
}

impl Follow {
    fn change(&mut self, words: &[&[u8]], state: &State, reply: &mut ReplyWriter<'_>) {
        let text = |word: &[u8]| String::from_utf8(word.to_vec()).unwrap();
        let mut positions = BTreeMap::new();
        for pair in words.chunks(2) {
            let origin: Origin = text(pair[0]).parse().unwrap();
            let after = match pair[1] {
                b"+" => self.positions[&origin],
                word => text(word).parse().unwrap(),
            };
            if after < state.log_start.get(origin) {
                return reply.error(&format!("TRUNCATED {origin}:{}", state.log_start.get(origin)));
            }
            positions.insert(origin, after);
        }
        self.positions = positions;
        self.waits.get_or_insert(state.waits);
        reply.ok();
    }

    fn news(&mut self, state: &State, reply: &mut ReplyWriter<'_>) {
        for (origin, position) in &mut self.positions {
            let log = state.log.get(origin).map_or(&[][..], Vec::as_slice);
            let start = log.partition_point(|(header, _)| header.upto <= *position);
            for (header, bytes) in log[start..].iter().take(64) {
                reply.bulk(bytes);
                *position = header.upto;
            }
        }
        if self.waits.is_some_and(|waits| waits < state.waits) {
            self.waits = Some(state.waits);
            reply.simple("WAITING");
        }
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) {
    let limits =
        RequestLimits { bulk_bytes_max: 128 << 20, request_bytes_max: 130 << 20, ..RequestLimits::default() };
    let (mut decoder, mut follow) = (RequestDecoder::new(limits), Follow::default());
    let (mut input, mut out) = (Vec::new(), Vec::new());
    let mut buffer = vec![0; 64 << 10];
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(LOOK)).unwrap();
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => input.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
        let mut used = 0;
        while let Some(length) = decoder.decode(&input[used..]).unwrap() {
            let words: Vec<&[u8]> = decoder.arguments(&input[used..]).collect();
            let mut reply = ReplyWriter::new(&mut out, Protocol::Resp2);
            let mut state = shared.lock();
            match words[1] {
                b"INFO" => state.info(&mut reply),
                b"GROUP" => state.group(std::str::from_utf8(words[2]).unwrap(), &mut reply),
                b"PEERS" => state.peers(words[2], &mut reply),
                b"APPLY" => state.apply(words[2], words[3], &mut reply),
                b"HEARD" => state.hear(words[2], &mut reply),
                // Its clients publish nothing.
                b"MESSAGES" => reply.ok(),
                b"CONVERSE" => state.converse(&words[2..], &mut reply),
                b"ANSWER" => {
                    let thinking = state.thinking;
                    drop(state);
                    thread::sleep(thinking);
                    state = shared.lock();
                    state.answer(words[3], &mut reply);
                }
                b"FOLLOW" => follow.change(&words[2..], &state, &mut reply),
                _ => state.command(&words[1..], &mut reply),
            }
            drop(state);
            used += length;
        }
        if used > 0 {
            shared.changed.notify_all();
        }
        input.drain(..used);
        follow.news(&shared.lock(), &mut ReplyWriter::new(&mut out, Protocol::Resp2));
        if stream.write_all(&out).is_err() {
            return;
        }
        out.clear();
    }
}

fn wall() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64
}

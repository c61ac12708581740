//! Applies batches to the node, many at a time.
//!
//! Batches are written one behind the other without waiting for answers, which come in the same order. When the node
//! says "not now" (it loads, or its disk is full), what it did not take is kept, and offered again in order after a
//! while; until then nothing more is accepted, so the peer is not read from.
//!
//! ```text
//! apply --> sent --answer--> done
//!            ^  \--not now--> postponed --RETRY_AFTER--+
//!            +-----------------------------------------+
//! ```

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_tungstenite::tungstenite::Bytes;
use shared::announcement::Member;
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::link::{Applied, ApplyRefusal};
use shared::resp::{Value, encode_request};
use shared::time::MonoMillis;

use super::info::text;
use super::lane::LaneStream;
use super::{Inbox, NodeAddress, NodeError, Outbox, lossy};

/// So many bytes of batches may wait for the node's answer; then the peer is not read from. One batch may be longer.
const IN_FLIGHT_BYTES_MAX: usize = 8 << 20;

/// So many batches may wait for the node's answer; then the peer is not read from.
const IN_FLIGHT_BATCHES_MAX: usize = 256;

/// When batches that the node could not take are offered again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// A connection to the node that applies the batches of one link.
pub(crate) struct ApplyLane {
    address: NodeAddress,
    stream: LaneStream,
    /// The peer that the batches come from, and its origin, as text.
    peer: (String, String),
    inbox: Inbox,
    outbox: Outbox,
    sent: VecDeque<InFlight>,
    postponed: VecDeque<InFlight>,
    in_flight_bytes: usize,
    retry_at: Option<MonoMillis>,
    trouble: Trouble,
}

/// Why the node takes no batches, told once for each cause.
#[derive(Debug, Default)]
struct Trouble {
    news: Option<String>,
    /// The code of the last that was told, until a batch is taken.
    told: String,
}

#[derive(Debug)]
struct InFlight {
    origin: Origin,
    serial: u64,
    bytes: Bytes,
}

/// What the node's answer means for a batch.
enum Answer {
    Done(Result<Timestamp, ApplyRefusal>),
    NotNow(String),
}

impl ApplyLane {
    pub(crate) fn new(address: NodeAddress) -> Self {
        Self {
            address,
            stream: LaneStream::Closed,
            peer: Default::default(),
            inbox: Inbox::new(),
            outbox: Outbox::default(),
            sent: VecDeque::new(),
            postponed: VecDeque::new(),
            in_flight_bytes: 0,
            retry_at: None,
            trouble: Trouble::default(),
        }
    }

    /// Begins to connect; batches come from this peer.
    pub(crate) fn open(&mut self, peer: &Member) {
        self.peer = (peer.node_id.to_string(), peer.origin.to_string());
        self.stream.open(&self.address);
    }

    /// Whether more may be handed in.
    pub(crate) fn has_room(&self) -> bool {
        self.postponed.is_empty()
            && self.sent.len() < IN_FLIGHT_BATCHES_MAX
            && self.in_flight_bytes < IN_FLIGHT_BYTES_MAX
    }

    /// Whether all that was handed in is answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.sent.is_empty() && self.postponed.is_empty()
    }

    /// Why the node does not take batches at the moment, when that has just begun.
    pub(crate) fn take_trouble(&mut self) -> Option<String> {
        self.trouble.news.take()
    }

    /// When to poll again, whatever happens.
    pub(crate) fn deadline(&self) -> Option<MonoMillis> {
        self.retry_at.filter(|_| self.sent.is_empty())
    }

    /// Hands in a batch. It is written when the lane is polled.
    pub(crate) fn apply(&mut self, origin: Origin, serial: u64, bytes: Bytes) {
        self.in_flight_bytes += bytes.len();
        self.send(InFlight { origin, serial, bytes });
    }

    /// Writes what there is to write, and returns the next answer.
    pub(crate) fn poll_applied(
        &mut self,
        cx: &mut Context<'_>,
        now: MonoMillis,
    ) -> Poll<Result<Applied, NodeError>> {
        if self.retry_at.is_some_and(|at| at <= now) && self.sent.is_empty() {
            self.retry_at = None;
            for batch in std::mem::take(&mut self.postponed) {
                self.send(batch);
            }
        }
        let stream = ready!(self.stream.poll_open(cx))?;
        loop {
            let _ = self.outbox.poll_flush(stream, cx)?;
            while let Some(value) = self.inbox.next()? {
                let answer = parse_answer(&value)?;
                if let Some(applied) =
                    on_answer(answer, &mut self.sent, &mut self.postponed, &mut self.trouble)?
                {
                    self.in_flight_bytes -= applied.1;
                    return Poll::Ready(Ok(applied.0));
                }
            }
            if !self.postponed.is_empty() && self.retry_at.is_none() {
                self.retry_at = Some(now.after(RETRY_AFTER));
            }
            ready!(self.inbox.poll_fill(stream, cx))?;
        }
    }

    fn send(&mut self, batch: InFlight) {
        let (node_id, run) = &self.peer;
        let words: [&[u8]; 5] = [b"FEED", b"APPLY", &batch.bytes, node_id.as_bytes(), run.as_bytes()];
        encode_request(&words, self.outbox.buffer());
        self.sent.push_back(batch);
    }
}

/// Matches an answer with its batch, the oldest sent: done with its length, or postponed.
fn on_answer(
    answer: Answer,
    sent: &mut VecDeque<InFlight>,
    postponed: &mut VecDeque<InFlight>,
    trouble: &mut Trouble,
) -> Result<Option<(Applied, usize)>, NodeError> {
    let Some(batch) = sent.pop_front() else {
        return Err(NodeError::Unexpected("FEED APPLY", "an answer to nothing".into()));
    };
    let InFlight { origin, serial, .. } = batch;
    let is_behind_postponed = postponed.iter().any(|earlier| earlier.origin == origin);
    match answer {
        Answer::NotNow(text) => {
            if postponed.is_empty() {
                trouble.on_postponed(text);
            }
            postponed.push_back(batch);
            Ok(None)
        }
        // The gap is the batch that the node would not take a moment ago.
        Answer::Done(Err(ApplyRefusal::Gap)) if is_behind_postponed => {
            postponed.push_back(batch);
            Ok(None)
        }
        Answer::Done(result) => {
            if result.is_ok() {
                trouble.told.clear();
            }
            Ok(Some((Applied { origin, serial, result }, batch.bytes.len())))
        }
    }
}

impl Trouble {
    fn on_postponed(&mut self, text: String) {
        let code = text.split(' ').next().unwrap_or_default();
        if code != self.told {
            self.told = code.to_owned();
            self.news = Some(text);
        }
    }
}

fn parse_answer(value: &Value<'_>) -> Result<Answer, NodeError> {
    let unexpected = || NodeError::Unexpected("FEED APPLY", super::brief(value));
    match value {
        Value::Array(items) => {
            let held =
                items.get(2).and_then(text).and_then(|held| held.parse().ok()).ok_or_else(unexpected)?;
            Ok(Answer::Done(Ok(held)))
        }
        Value::Error(error) => Ok(parse_error(&lossy(error))),
        _ => Err(unexpected()),
    }
}

fn parse_error(error: &str) -> Answer {
    match error.split(' ').next().unwrap_or_default() {
        "GAP" => Answer::Done(Err(ApplyRefusal::Gap)),
        "CLOSED" => Answer::Done(Err(ApplyRefusal::Closed)),
        "UNHEARD" => Answer::Done(Err(ApplyRefusal::Unheard)),
        "SUSPENDED" => Answer::Done(Err(ApplyRefusal::Suspended)),
        "BADBATCH" => Answer::Done(Err(ApplyRefusal::Bad(error.to_owned()))),
        // MISCONF, LOADING, and whatever else: nothing is lost by waiting.
        _ => Answer::NotNow(error.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Lane {
        sent: VecDeque<InFlight>,
        postponed: VecDeque<InFlight>,
        trouble: Trouble,
    }

    impl Lane {
        fn sent(origins: &[u64]) -> Self {
            let batch = |origin: &u64| InFlight { origin: Origin(*origin), serial: 1, bytes: Bytes::new() };
            Self { sent: origins.iter().map(batch).collect(), ..Self::default() }
        }

        fn answer(&mut self, reply: Value<'_>) -> Option<Result<Timestamp, ApplyRefusal>> {
            let answer = parse_answer(&reply).unwrap();
            let done = on_answer(answer, &mut self.sent, &mut self.postponed, &mut self.trouble).unwrap();
            done.map(|(applied, _)| applied.result)
        }
    }

    fn done(held: &'static str) -> Value<'static> {
        Value::Array(vec![Value::Integer(1), Value::Integer(0), Value::Bulk(held.as_bytes())])
    }

    #[test]
    fn answers_are_told_apart() {
        let mut lane = Lane::sent(&[1, 1, 1, 1, 1, 1]);
        assert_eq!(lane.answer(done("2a")), Some(Ok(Timestamp(0x2a))));
        let gap = Value::Error(b"GAP 0000000000000001 2a");
        assert_eq!(lane.answer(gap), Some(Err(ApplyRefusal::Gap)));
        assert_eq!(lane.answer(Value::Error(b"SUSPENDED x")), Some(Err(ApplyRefusal::Suspended)));
        assert_eq!(lane.answer(Value::Error(b"CLOSED 1 evicted")), Some(Err(ApplyRefusal::Closed)));
        assert_eq!(lane.answer(Value::Error(b"UNHEARD 1 run")), Some(Err(ApplyRefusal::Unheard)));
        assert!(matches!(lane.answer(Value::Error(b"BADBATCH x")), Some(Err(ApplyRefusal::Bad(_)))));
        assert!(parse_answer(&Value::Null).is_err());
    }

    #[test]
    fn what_the_node_does_not_take_now_is_kept_in_order() {
        let mut lane = Lane::sent(&[1, 1, 2, 1]);
        assert_eq!(lane.answer(Value::Error(b"MISCONF disk full")), None);
        assert_eq!(lane.answer(Value::Error(b"GAP 0000000000000001 5")), None);
        assert_eq!(lane.answer(done("9")), Some(Ok(Timestamp(9))));
        assert_eq!(lane.answer(Value::Error(b"MISCONF disk full")), None);
        assert_eq!(lane.postponed.len(), 3);
        assert_eq!(lane.trouble.news.as_deref(), Some("MISCONF disk full"));
    }

    /// A node that loads for a minute had a warning logged twice a second.
    #[test]
    fn a_cause_is_told_once_until_a_batch_is_taken() {
        let mut lane = Lane::default();
        let mut told = Vec::new();
        for answer in
            ["LOADING 1%", "LOADING 2%", "MISCONF disk full", "MISCONF disk full", "", "MISCONF disk full"]
        {
            lane.postponed.clear();
            lane.sent.push_back(InFlight { origin: Origin(1), serial: 1, bytes: Bytes::new() });
            let reply = if answer.is_empty() { done("9") } else { Value::Error(answer.as_bytes()) };
            lane.answer(reply);
            told.extend(lane.trouble.news.take());
        }
        assert_eq!(told, ["LOADING 1%", "MISCONF disk full", "MISCONF disk full"]);
    }
}

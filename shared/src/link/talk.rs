//! Questions and answers between the two nodes, cut into parts that go between the other messages.

use super::message::{Message, Part, TALK_BYTES_MAX, TALK_PART_BYTES};

/// What the two nodes say to each other over one link: one question at a time in each direction.
///
/// ```text
/// ours:    idle --ask--> asking --parts of an answer--> answered, idle
/// theirs:  idle --parts of a question--> asked --answer--> answering --all parts said--> idle
/// ```
#[derive(Debug, Default)]
pub(super) struct Talk {
    /// The serial of this side's newest question.
    asked: u64,
    asking: Option<Asking>,
    /// The serial of the peer's newest question.
    heard: u64,
    answering: Answering,
    /// Whose turn it is when both a question and an answer have parts to be said.
    is_answers_turn: bool,
}

/// This side's question, and what has come of its answer.
#[derive(Debug)]
struct Asking {
    unsaid: Option<Outgoing>,
    answer: Vec<u8>,
}

/// Where the peer's question stands.
#[derive(Debug, Default)]
enum Answering {
    #[default]
    Idle,
    /// It is coming in.
    Hearing(Vec<u8>),
    /// The node thinks about it.
    Thinking,
    /// The answer is going out.
    Saying(Outgoing),
    /// That there is none is to be said.
    Refusing(String),
}

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    said: usize,
}

/// The peer says what does not belong here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Disorder(pub(super) &'static str);

/// What an answer that has come whole is.
pub(super) type Answer = Result<Vec<u8>, String>;

impl Talk {
    /// Asks the peer, unless the question is too long: that is answered at once.
    pub(super) fn ask(&mut self, question: Vec<u8>) -> Option<Answer> {
        debug_assert!(self.asking.is_none(), "one question at a time");
        if let Some(error) = too_long("question", question.len()) {
            return Some(Err(error));
        }
        self.asked += 1;
        self.asking = Some(Asking { unsaid: Some(Outgoing::new(question)), answer: Vec::new() });
        None
    }

    /// Answers the peer. Without a question there is nobody to hear it.
    pub(super) fn answer(&mut self, answer: Answer) {
        if !matches!(self.answering, Answering::Thinking) {
            return;
        }
        let answer = answer.and_then(|bytes| too_long("answer", bytes.len()).map_or(Ok(bytes), Err));
        self.answering = match answer {
            Ok(bytes) => Answering::Saying(Outgoing::new(bytes)),
            Err(text) => Answering::Refusing(text),
        };
    }

    /// A part of the peer's question came; returns the question if it was the last.
    pub(super) fn on_ask(&mut self, part: Part<'_>) -> Result<Option<Vec<u8>>, Disorder> {
        let mut bytes = match std::mem::take(&mut self.answering) {
            Answering::Idle if part.serial > self.heard => Vec::new(),
            Answering::Hearing(bytes) if part.serial == self.heard => bytes,
            Answering::Idle | Answering::Hearing(_) => return Err(Disorder("a question's serial is wrong")),
            _ => return Err(Disorder("it asks again before it was answered")),
        };
        self.heard = part.serial;
        add(&mut bytes, part.bytes)?;
        if part.last {
            self.answering = Answering::Thinking;
            return Ok(Some(bytes));
        }
        self.answering = Answering::Hearing(bytes);
        Ok(None)
    }

    /// A part of the answer came; returns the answer if it was the last.
    pub(super) fn on_answer(&mut self, part: Part<'_>) -> Result<Option<Answer>, Disorder> {
        let asking = self.asking_with(part.serial)?;
        add(&mut asking.answer, part.bytes)?;
        Ok(part.last.then(|| self.asking.take().map(|asking| Ok(asking.answer))).flatten())
    }

    /// The peer has no answer.
    pub(super) fn on_no_answer(&mut self, serial: u64, text: String) -> Result<Answer, Disorder> {
        self.asking_with(serial)?;
        self.asking = None;
        Ok(Err(text))
    }

    fn asking_with(&mut self, serial: u64) -> Result<&mut Asking, Disorder> {
        let is_asked = serial == self.asked;
        let asking = self.asking.as_mut().filter(|asking| is_asked && asking.unsaid.is_none());
        asking.ok_or(Disorder("it answers what was not asked"))
    }

    /// The next part to be said, of the question and of the answer by turns.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        self.is_answers_turn = !self.is_answers_turn;
        if self.is_answers_turn {
            self.next_of_answer().or_else(|| self.next_of_question())
        } else {
            self.next_of_question().or_else(|| self.next_of_answer())
        }
    }

    fn next_of_question(&mut self) -> Option<Vec<u8>> {
        let asking = self.asking.as_mut()?;
        let (part, is_last) = asking.unsaid.as_mut()?.next(self.asked);
        let message = Message::Ask(part).encode();
        if is_last {
            asking.unsaid = None;
        }
        Some(message)
    }

    fn next_of_answer(&mut self) -> Option<Vec<u8>> {
        let (message, is_last) = match &mut self.answering {
            Answering::Saying(outgoing) => {
                let (part, is_last) = outgoing.next(self.heard);
                (Message::Answer(part).encode(), is_last)
            }
            Answering::Refusing(text) => (Message::no_answer(self.heard, text).encode(), true),
            Answering::Idle | Answering::Hearing(_) | Answering::Thinking => return None,
        };
        if is_last {
            self.answering = Answering::Idle;
        }
        Some(message)
    }
}

impl Outgoing {
    const fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, said: 0 }
    }

    fn next(&mut self, serial: u64) -> (Part<'_>, bool) {
        let end = self.bytes.len().min(self.said + TALK_PART_BYTES);
        let bytes = &self.bytes[self.said..end];
        let last = end == self.bytes.len();
        self.said = end;
        (Part { serial, last, bytes }, last)
    }
}

fn add(bytes: &mut Vec<u8>, part: &[u8]) -> Result<(), Disorder> {
    if bytes.len() + part.len() > TALK_BYTES_MAX {
        return Err(Disorder("a question or an answer is over the limit"));
    }
    bytes.extend_from_slice(part);
    Ok(())
}

fn too_long(what: &str, length: usize) -> Option<String> {
    (length > TALK_BYTES_MAX)
        .then(|| format!("ERR {what} of {length} bytes is over the limit of {TALK_BYTES_MAX}"))
}

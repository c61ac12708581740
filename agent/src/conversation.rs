//! What the node asks a peer's node, turn by turn: pure.
//!
//! The agent understands nothing of it. It calls the node (`FEED CONVERSE`), which names a question or a wait; carries
//! the question to the peer; and calls again with what came of it.
//!
//! ```text
//!           +---------------- wait ---------------+
//!           v                                     |
//! waiting --due--> asking the node --nothing to ask
//!                    ^          \--question--> asking the peer
//!                    +---answer, failure-----------+
//! ```

use std::time::Duration;

use shared::time::MonoMillis;

/// When the node is called again after it refused a call.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What came of a question: the answer, or why there is none.
pub type Answer = Result<Vec<u8>, String>;

/// What the node says to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// What to ask the peer's node.
    pub question: Option<Vec<u8>>,
    /// Without a question: when to call again.
    pub wait: Duration,
}

/// The node's side of the talk over one link. See the module's documentation.
#[derive(Debug)]
pub struct Conversation {
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting(MonoMillis),
    Answered(Answer),
    AskingNode,
    AskingPeer,
}

impl Conversation {
    /// A link is up: the node is called at once.
    #[must_use]
    pub const fn new(now: MonoMillis) -> Self {
        Self { state: State::Waiting(now) }
    }

    /// If the node is to be called now: with what came of its last question, if there was one.
    pub fn take_call(&mut self, now: MonoMillis) -> Option<Option<Answer>> {
        match std::mem::replace(&mut self.state, State::AskingNode) {
            State::Waiting(at) if at <= now => Some(None),
            State::Answered(answer) => Some(Some(answer)),
            state => {
                self.state = state;
                None
            }
        }
    }

    /// What the node says to the call, or why it says nothing; returns what to ask the peer.
    pub fn on_turn(&mut self, turn: Result<Turn, String>, now: MonoMillis) -> Option<Vec<u8>> {
        match turn {
            Ok(Turn { question: Some(question), .. }) => {
                self.state = State::AskingPeer;
                return Some(question);
            }
            Ok(Turn { question: None, wait }) => self.state = State::Waiting(now.after(wait)),
            Err(_) => self.state = State::Waiting(now.after(RETRY_AFTER)),
        }
        None
    }

    /// What came of the question.
    pub fn on_answered(&mut self, answer: Answer) {
        if matches!(self.state, State::AskingPeer) {
            self.state = State::Answered(answer);
        }
    }

    /// When [`Conversation::take_call`] is due.
    #[must_use]
    pub const fn deadline(&self) -> Option<MonoMillis> {
        match &self.state {
            State::Waiting(at) => Some(*at),
            State::Answered(_) => Some(MonoMillis(0)),
            State::AskingNode | State::AskingPeer => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_is_called_turn_by_turn() {
        let mut talk = Conversation::new(MonoMillis(5));
        assert_eq!(talk.take_call(MonoMillis(5)), Some(None));
        assert_eq!(talk.take_call(MonoMillis(5)), None);
        let asks = Turn { question: Some(b"q".to_vec()), wait: Duration::ZERO };
        assert_eq!(talk.on_turn(Ok(asks), MonoMillis(6)), Some(b"q".to_vec()));
        assert_eq!((talk.deadline(), talk.take_call(MonoMillis(60_000))), (None, None));
        talk.on_answered(Ok(b"a".to_vec()));
        assert_eq!(talk.take_call(MonoMillis(7)), Some(Some(Ok(b"a".to_vec()))));
        let waits = Turn { question: None, wait: Duration::from_millis(100) };
        assert_eq!(talk.on_turn(Ok(waits), MonoMillis(8)), None);
        assert_eq!(talk.deadline(), Some(MonoMillis(108)));
        assert_eq!(talk.take_call(MonoMillis(107)), None);
        assert_eq!(talk.take_call(MonoMillis(108)), Some(None));
        assert_eq!(talk.on_turn(Err("LOADING".into()), MonoMillis(200)), None);
        assert_eq!(talk.deadline(), Some(MonoMillis(1_200)));
    }
}

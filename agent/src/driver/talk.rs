//! What the two nodes ask each other, on its way between this node and the link.

use std::task::{Context, Poll};

use shared::announcement::Member;
use shared::link::{Input, Now};
use shared::time::MonoMillis;
use slog::debug;

use super::{Driver, Ending, TURN_MESSAGES_MAX};
use crate::conversation::{Answer, Conversation};
use crate::hub::LinkEvent;
use crate::node_client::{NodeAddress, TalkLane, TalkReply};

/// The talk of one link: begun when it is up.
pub(super) struct Talk {
    lane: TalkLane,
    begun: Option<(Conversation, Member)>,
    /// The node was called with an answer, and has not said anything to it.
    has_answered: bool,
}

impl Talk {
    pub(super) fn new(address: NodeAddress) -> Self {
        Self { lane: TalkLane::new(address), begun: None, has_answered: false }
    }

    /// The link is up.
    pub(super) fn begin(&mut self, peer: Member, now: Now) {
        self.lane.open();
        self.begun = Some((Conversation::new(now.mono()), peer));
    }

    /// The peer's node asks.
    pub(super) fn on_asked(&mut self, question: &[u8]) {
        if let Some((_, peer)) = &self.begun {
            self.lane.answer(peer.node_id, question);
        }
    }

    /// The peer's node has answered, or does not.
    pub(super) fn on_answered(&mut self, answer: Answer) {
        if let Some((conversation, _)) = &mut self.begun {
            conversation.on_answered(answer);
        }
    }

    /// When the node is to be called.
    pub(super) fn deadline(&self) -> Option<MonoMillis> {
        self.begun.as_ref().and_then(|(conversation, _)| conversation.deadline())
    }

    fn call(&mut self, now: Now) {
        if let Some((conversation, peer)) = &mut self.begun
            && let Some(answer) = conversation.take_call(now.mono())
        {
            self.has_answered = answer.is_some();
            self.lane.converse(peer.node_id, &peer.name, answer.as_ref());
        }
    }
}

impl Driver {
    /// Calls the node when it is time, and passes on what it says.
    pub(super) fn poll_talk(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        for _ in 0..TURN_MESSAGES_MAX {
            self.talk.call(now);
            match self.talk.lane.poll_reply(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(reply)) => self.on_talk_reply(reply, now),
                Poll::Ready(Err(error)) => return self.end(Ending::NodeLost(error.to_string())),
            }
            if self.ending.is_some() {
                return false;
            }
        }
        true
    }

    fn on_talk_reply(&mut self, reply: TalkReply, now: Now) {
        match reply {
            TalkReply::Answer(answer) => {
                self.handle(Input::Answer(answer), now);
                self.tell(LinkEvent::Talked);
            }
            TalkReply::Turn(turn) => {
                if let Err(error) = &turn {
                    debug!(self.logger, "the node does not talk to the peer now"; "error" => error);
                }
                let Some((conversation, _)) = &mut self.talk.begun else { return };
                let question = conversation.on_turn(turn, now.mono());
                // What it came to hold or be by the last answer.
                if std::mem::take(&mut self.talk.has_answered) {
                    self.tell(LinkEvent::Talked);
                }
                if let Some(question) = question {
                    self.handle(Input::Ask(question), now);
                }
            }
        }
    }
}

//! What this node asks its peers, and what it answers them, by way of the agents.
//!
//! [`Conversations::next_question`] says what to ask a peer next, [`Conversations::on_answer`] takes the answer, and
//! [`Conversations::answer`] answers a peer's question. What is asked, in this order:
//!
//! - [`meeting`]: who are you? Once a second: two nodes so find out whether one of them must join the other's group.
//! - [`receiving`]: a reconcile, if this node needs one and the peer can be its sender.
//! - [`verifying`]: what an operator wants to have verified or repaired.
//! - [`comparing`]: whether both hold the same data, round after round.
//!
//! [`sender`] says from which peer a reconcile takes over, [`catching_up`] whether the streams have brought after it what it
//! has. [`answering`] is the other side of all of these. Pure but for the node that it works on: time comes in.

pub(crate) mod answering;

mod catching_up;

pub(crate) mod comparing;

pub(crate) mod meeting;

pub(crate) mod receiving;

mod sender;

pub(crate) mod verifying;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use shared::conversation::{Answer, Greeting, Question, Refusal};
use shared::id::{NodeId, Origin};
use shared::time::MonoMillis;

use self::answering::Sending;
use self::catching_up::Behind;
use self::comparing::Comparison;
use self::receiving::Receiving;
use self::sender::{Sought, is_related};
use self::verifying::Job;
use crate::group::Standing;
use crate::node::Node;
use crate::transaction::Clocks;

/// A peer is greeted this often.
const GREET_INTERVAL_MS: u64 = 1_000;

/// While this node is no member, this often.
const GREET_EARLY_MS: u64 = 200;

/// A peer that said "not now" is asked again after this.
const RETRY_MS: u64 = 200;

/// When there is nothing to ask, the agent comes again after this.
const IDLE_MS: u64 = 500;

/// A peer that was not talked to for this long is forgotten.
const FORGET_MS: u64 = 60_000;

/// A sender that was not talked to for this long is given up, if there is no link with it: the agent has told of new
/// links by then.
const SENDER_SILENT_MS: u64 = 2_000;

/// Peers that are talked to at most; linked ones beyond are not asked anything.
const PEERS_MAX: usize = 1_024;

/// What this node asks and answers. See the module's documentation.
#[derive(Default)]
pub(crate) struct Conversations {
    peers: BTreeMap<NodeId, Talk>,
    pub(crate) receiving: Option<Receiving>,
    pub(crate) sending: Sending,
    /// What a reconcile has brought; none once the own frontier covers it.
    behind: Option<Behind>,
    /// Because of whom this node joins anew.
    sought: Option<Sought>,
    /// Origins that cannot be pulled from anybody, as logs start later, each with a peer that is ahead.
    truncated: BTreeMap<Origin, NodeId>,
    pub(crate) counters: Counters,
}

/// How the conversations stand, for INFO: behind a lock of its own, for whoever holds shards must not wait for those that
/// wait for shards.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Status {
    pub(crate) counters: Counters,
    /// Slots that are left of the reconcile of which this node is the receiver, if there is one.
    pub(crate) receiving: Option<usize>,
    /// Receivers that this node serves.
    pub(crate) sending: usize,
}

/// What came of the conversations so far, for INFO.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) reconciles_begun: u64,
    pub(crate) reconciles_done: u64,
    pub(crate) reconcile_bytes_in: u64,
    pub(crate) reconcile_bytes_out: u64,
    /// Writes of the sender's that were new here, and of this node's that the sender had removed: a string that was written
    /// whole counts as two.
    pub(crate) parts_taken: u64,
    pub(crate) parts_dropped: u64,
    pub(crate) rounds_compared: u64,
    pub(crate) slots_compared: u64,
    /// Slots that differed though both sides hold the same changes: never, unless memory or disk, or this program, fails.
    pub(crate) slots_diverged: u64,
    pub(crate) slots_repaired: u64,
}

/// The conversation with one peer, of which this node asks the questions.
#[derive(Default)]
struct Talk {
    name: String,
    asked: Option<(Asker, Question)>,
    greeted_at: Option<MonoMillis>,
    greeting: Option<Greeting>,
    /// What this node and the peer think of each other, if not both count the other, and since when.
    judged: Option<(meeting::Judgement, MonoMillis)>,
    not_before: MonoMillis,
    talked_at: MonoMillis,
    comparison: Comparison,
    job: Option<Job>,
}

/// On whose behalf a question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Meeting,
    Receiving,
    Job,
    Comparison,
}

/// What an agent is to do with a peer.
#[derive(Debug)]
pub(crate) struct Next {
    /// To be put to the peer.
    pub(crate) question: Option<Vec<u8>>,
    /// Without a question: when to come again, in milliseconds.
    pub(crate) wait_ms: u64,
}

impl Conversations {
    /// What the agent can not pull from anybody.
    pub(crate) fn on_truncated(&mut self, truncated: impl IntoIterator<Item = (Origin, NodeId)>) {
        self.truncated = truncated.into_iter().collect();
    }

    /// What to ask a peer next. A question that was asked before and not answered is forgotten.
    pub(crate) fn next_question(&mut self, node: &Node, peer: NodeId, name: &str, clocks: Clocks) -> Next {
        let now = mono(clocks);
        self.tidy(node, now);
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&peer) {
            return Next { question: None, wait_ms: IDLE_MS };
        }
        let talk = self.peers.entry(peer).or_default();
        talk.name.clear();
        talk.name.push_str(name);
        talk.talked_at = now;
        talk.asked = None;
        if now < talk.not_before {
            return Next { question: None, wait_ms: talk.not_before.since(now).clamp(1, IDLE_MS) };
        }
        let chosen = self.choose(node, peer, clocks);
        let wait_ms = if chosen.is_some() { 0 } else { self.idle_ms(node) };
        let question = chosen.as_ref().map(|(_, question)| question.encode());
        self.peers.entry(peer).or_default().asked = chosen;
        self.publish(node);
        Next { question, wait_ms }
    }

    fn idle_ms(&self, node: &Node) -> u64 {
        let is_member = node.membership.lock().group.standing() == Standing::Member;
        if self.receiving.is_some() || !is_member { RETRY_MS / 4 } else { IDLE_MS }
    }

    fn choose(&mut self, node: &Node, peer: NodeId, clocks: Clocks) -> Option<(Asker, Question)> {
        let now = mono(clocks);
        let talk = self.peers.get_mut(&peer)?;
        let is_member = node.membership.lock().group.standing() == Standing::Member;
        let interval_ms = if is_member { GREET_INTERVAL_MS } else { GREET_EARLY_MS };
        if talk.greeted_at.is_none_or(|at| now.since(at) >= interval_ms) {
            talk.greeted_at = Some(now);
            return Some((Asker::Meeting, Question::Greet));
        }
        if let Some(receiving) = &mut self.receiving
            && receiving.sender() == peer
        {
            return receiving.next_question(node).map(|question| (Asker::Receiving, question));
        }
        if self.receiving.is_none() && self.wants_reconcile(node, peer, now) {
            self.counters.reconciles_begun += 1;
            let group_id = self.peers.get(&peer)?.greeting.as_ref()?.group_id;
            // What came with a reconcile that was cut off counts: its author may have lost it.
            let origins = node.store.origins.all();
            let receiving = self.receiving.insert(Receiving::new(node, peer, group_id, origins));
            return receiving.next_question(node).map(|question| (Asker::Receiving, question));
        }
        let talk = self.peers.get_mut(&peer)?;
        if !is_related(node, talk) || self.receiving.is_some() {
            return None;
        }
        if let Some(job) = &mut talk.job
            && let Some(question) = job.next_question(now)
        {
            return Some((Asker::Job, question));
        }
        talk.comparison.next_question(now).map(|question| (Asker::Comparison, question))
    }

    /// Takes a peer's answer, or why there is none.
    pub(crate) fn on_answer(
        &mut self,
        node: &Node,
        peer: NodeId,
        answer: Result<&[u8], &str>,
        clocks: Clocks,
    ) -> Vec<Notice> {
        let now = mono(clocks);
        let Some(talk) = self.peers.get_mut(&peer) else { return Vec::new() };
        let Some((asker, question)) = talk.asked.take() else { return Vec::new() };
        let decoded = match answer {
            Ok(bytes) => {
                if matches!(question, Question::States { .. } | Question::Dead { .. }) {
                    self.counters.reconcile_bytes_in += bytes.len() as u64;
                }
                Answer::decode(bytes)
                    .unwrap_or_else(|error| Answer::Refused(Refusal::Never, error.to_string()))
            }
            Err(error) => Answer::Refused(Refusal::NotNow, error.to_owned()),
        };
        let mut notices = Vec::new();
        if let Answer::Refused(refusal, text) = decoded {
            talk.not_before = now.after_ms(RETRY_MS);
            self.on_refused(node, peer, asker, &question, refusal, text, &mut notices);
            return notices;
        }
        match (asker, decoded) {
            (Asker::Meeting, Answer::Greeting(greeting)) => {
                self.on_greeting(node, peer, *greeting, clocks, &mut notices);
            }
            (Asker::Meeting, _) => notices.push(Notice::Unexpected { what: "it does not greet" }),
            (Asker::Receiving, answer) => {
                if let Some(receiving) =
                    self.receiving.as_mut().filter(|receiving| receiving.sender() == peer)
                {
                    receiving.on_answer(node, question, answer, clocks, &mut self.counters, &mut notices);
                }
            }
            (Asker::Job, answer) => {
                if let Some(job) = &mut talk.job {
                    job.on_answer(node, question, answer, now, &mut self.counters);
                }
            }
            (Asker::Comparison, answer) => {
                let Talk { name, comparison, .. } = talk;
                comparison.on_answer(node, name, question, answer, now, &mut self.counters, &mut notices);
            }
        }
        let is_wrong = |notice: &Notice| matches!(notice, Notice::Unexpected { .. } | Notice::Refused { .. });
        if notices.iter().any(is_wrong)
            && let Some(talk) = self.peers.get_mut(&peer)
        {
            talk.not_before = now.after_ms(RETRY_MS);
        }
        notices
    }

    #[expect(clippy::too_many_arguments, reason = "a refusal, what it is of, and where its consequences go")]
    fn on_refused(
        &mut self,
        node: &Node,
        peer: NodeId,
        asker: Asker,
        question: &Question,
        refusal: Refusal,
        text: String,
        notices: &mut Vec<Notice>,
    ) {
        if asker == Asker::Receiving
            && let Some(receiving) = self.receiving.as_mut().filter(|receiving| receiving.sender() == peer)
        {
            if refusal == Refusal::NoSuchRun {
                receiving.begin_again(node);
            } else if matches!(question, Question::Begin { .. }) {
                // Another peer may be able to.
                self.give_up_receiving(node);
            }
            notices.push(Notice::Refused { text });
            return;
        }
        let Some(talk) = self.peers.get_mut(&peer) else { return };
        match (asker, &mut talk.job) {
            (Asker::Job, Some(job)) => job.on_refused(refusal, &text),
            (Asker::Comparison, _) => talk.comparison.abandon(),
            _ => {}
        }
    }

    /// What is to be done without anybody's answer: an adoption whose snapshot is durable, for one. Called often.
    pub(crate) fn on_tick(&mut self, node: &Node, clocks: Clocks) -> Vec<Notice> {
        let mut notices = Vec::new();
        self.tidy(node, mono(clocks));
        if let Some(receiving) = &mut self.receiving {
            receiving.on_tick(node, clocks, &mut notices);
            if receiving.is_done() {
                let clock = node.log.standing(clocks.wall).1;
                self.behind = Some(Behind { brought: receiving.brought(), clock, since: mono(clocks) });
                self.sought = None;
                self.receiving = None;
                self.truncated.clear();
                self.counters.reconciles_done += 1;
            }
        }
        {
            let membership = node.membership.lock();
            let is_awaited = |peer| self.peers.contains_key(&peer) && !membership.group.has_evicted(peer);
            node.readiness.lock().keep(is_awaited);
        }
        self.publish(node);
        notices
    }

    fn publish(&self, node: &Node) {
        *node.conversation_status.lock() = Status {
            counters: self.counters,
            receiving: self.receiving.as_ref().map(Receiving::slots_left),
            sending: self.sending.len(),
        };
    }

    fn give_up_receiving(&mut self, node: &Node) {
        if let Some(receiving) = self.receiving.take() {
            receiving.give_up(node);
        }
    }

    fn tidy(&mut self, node: &Node, now: MonoMillis) {
        self.sending.tidy(now);
        self.peers.retain(|_, talk| now.since(talk.talked_at) < FORGET_MS);
        // The sender is gone: another peer may take its place.
        if let Some(sender) = self.receiving.as_ref().map(Receiving::sender)
            && self.is_gone(node, sender, now)
            && let Some(receiving) = &mut self.receiving
        {
            if receiving.needs_sender() {
                self.give_up_receiving(node);
            } else {
                receiving.on_sender_gone();
            }
        }
    }

    /// Whether a peer will not be talked to any more, at least not soon: it was not for a while, and the agent has no
    /// link with it.
    fn is_gone(&self, node: &Node, peer: NodeId, now: MonoMillis) -> bool {
        let Some(talk) = self.peers.get(&peer) else { return true };
        let peers = node.peers.lock();
        let is_linked = || peers.links(now).iter().any(|link| link.up && link.node_id == peer);
        now.since(talk.talked_at) >= SENDER_SILENT_MS && peers.has_agent(now) && !is_linked()
    }

    fn job_of(&mut self, peer: NodeId) -> Option<&mut Option<Job>> {
        self.peers.get_mut(&peer).map(|talk| &mut talk.job)
    }

    /// Has a peer's data compared with this node's, or this node's repaired from it. None if no such peer is linked.
    pub(crate) fn start_job(&mut self, peer: NodeId, job: Job) -> Option<()> {
        *self.job_of(peer)? = Some(job);
        Some(())
    }

    /// How a job stands.
    pub(crate) fn job(&self, peer: NodeId) -> Option<&Job> {
        self.peers.get(&peer)?.job.as_ref()
    }
}

/// What the operator is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// This node has founded its group.
    Founded,
    /// This node gives up what it knows of its group and joins the peer's.
    Joining { peer: String, why: &'static str },
    /// A reconcile has begun.
    Receiving { differing_slots: usize },
    /// A reconcile is done.
    Received { taken: u64, dropped: u64 },
    /// The node is a member now, and re-issues what only it holds.
    Joined,
    /// What only it held is written once more, durably: the group may pull it.
    Reissued,
    /// This node's clock was poisoned, and was put back, under a new origin: what lies in the future is written once more.
    Rewound { by_ms: u64, origin: Origin },
    /// Slots differ although both sides hold the same changes.
    Diverged { peer: String, slots: usize },
    /// What a reconcile brought cannot be made durable yet.
    Unsaved { text: String },
    /// The peer did not do what it was asked for.
    Refused { text: String },
    /// The peer answered nonsense.
    Unexpected { what: &'static str },
}

const fn is_of_reconcile(question: &Question) -> bool {
    matches!(
        question,
        Question::Begin { .. }
            | Question::States { .. }
            | Question::Dead { .. }
            | Question::Enrol { .. }
            | Question::End { .. }
    )
}

const fn mono(clocks: Clocks) -> MonoMillis {
    MonoMillis(clocks.mono_us / 1_000)
}

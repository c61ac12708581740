//! What an operator asks for: to compare all that this node and a peer hold, and to mend what differs.
//!
//! Slots are compared as in [`comparing`](super::comparing), if asked for with their values. One that holds changes which
//! only one side has seen is looked at again, until nothing of it is on its way. Of slots that differ, the keys are named.
//!
//! A repair makes this node's slots agree with the peer's: versions are united, nothing is dropped, and where versions
//! are equal and values are not, which only failing memory or disks bring about, the peer's value stands.

use std::collections::{BTreeSet, VecDeque};

use shared::conversation::{Answer, KeyDigest, Question, Refusal};
use shared::time::MonoMillis;

use super::Counters;
use super::answering::{deep_slots, key_digests, summaries};
use super::comparing::{Verdict, compare, unite};
use crate::node::Node;
use crate::store::key::SLOTS;

/// Keys that are named at most; further ones are counted.
const NAMED_MAX: usize = 1_000;

/// A slot that is changing is looked at so many times; then it is left undecided.
const ATTEMPTS: u32 = 50;

/// How long a slot that is changing is left alone, in milliseconds.
const ATTEMPT_INTERVAL_MS: u64 = 100;

/// Slots that are looked at again at once.
const SLOTS_AGAIN: usize = 64;

/// A verification or a repair, under way or done.
#[derive(Debug)]
pub(crate) struct Job {
    deep: bool,
    repairs: bool,
    phase: Phase,
    attempts: u32,
    not_before: MonoMillis,
    changing: VecDeque<u16>,
    suspects: VecDeque<u16>,
    found: Found,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Slots(u16),
    Again,
    Keys,
    Repair,
    Done,
    Failed(String),
}

/// What a job has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) slots_compared: u64,
    pub(crate) keys_compared: u64,
    pub(crate) slots_differing: u64,
    /// Slots that never came to rest.
    pub(crate) slots_undecided: u64,
    pub(crate) keys_differing: u64,
    /// The first of them, with their databases.
    pub(crate) named: Vec<(u8, Vec<u8>)>,
    pub(crate) slots_repaired: u64,
}

impl Job {
    /// Compares, with values if `deep`.
    pub(crate) fn verify(deep: bool) -> Self {
        Self {
            deep,
            repairs: false,
            phase: Phase::Slots(0),
            attempts: 0,
            not_before: MonoMillis(0),
            changing: VecDeque::new(),
            suspects: VecDeque::new(),
            found: Found::default(),
        }
    }

    /// Compares with values, and takes over what differs.
    pub(crate) fn repair() -> Self {
        Self { repairs: true, ..Self::verify(true) }
    }

    /// What it has found so far.
    pub(crate) const fn found(&self) -> &Found {
        &self.found
    }

    /// Whether it is done; an error if it could not be.
    pub(crate) fn outcome(&self) -> Option<Result<(), &str>> {
        match &self.phase {
            Phase::Done => Some(Ok(())),
            Phase::Failed(text) => Some(Err(text)),
            _ => None,
        }
    }

    pub(super) fn next_question(&self, now: MonoMillis) -> Option<Question> {
        match &self.phase {
            Phase::Done | Phase::Failed(_) => None,
            Phase::Slots(from) if self.deep => Some(Question::Deep(*from)),
            Phase::Slots(from) => Some(Question::Summaries(deep_slots(*from))),
            Phase::Again if now < self.not_before => None,
            // Few enough that with values they can be asked for one by one.
            Phase::Again if self.deep => self.changing.front().map(|slot| Question::Deep(*slot)),
            Phase::Again => {
                Some(Question::Summaries(self.changing.iter().copied().take(SLOTS_AGAIN).collect()))
            }
            Phase::Keys => self.suspects.front().map(|slot| Question::Keys(*slot)),
            Phase::Repair => {
                Some(Question::Values(self.suspects.iter().copied().take(SLOTS_AGAIN).collect()))
            }
        }
    }

    pub(super) fn on_refused(&mut self, refusal: Refusal, text: &str) {
        if refusal != Refusal::NotNow {
            self.phase = Phase::Failed(text.to_owned());
        }
    }

    pub(super) fn on_answer(
        &mut self,
        node: &Node,
        question: Question,
        answer: Answer,
        now: MonoMillis,
        counters: &mut Counters,
    ) {
        match (question, answer) {
            (Question::Deep(from), Answer::Summaries(theirs)) => {
                let slots = deep_slots(from);
                self.on_summaries(&slots, &summaries(node, &slots, true), &theirs, now);
            }
            (Question::Summaries(slots), Answer::Summaries(theirs)) => {
                self.on_summaries(&slots, &summaries(node, &slots, false), &theirs, now);
            }
            (Question::Keys(slot), Answer::Keys(theirs)) => self.on_keys(node, slot, theirs),
            (Question::Values(slots), Answer::States(states)) => {
                let whole = unite(node, &slots, &states, true);
                counters.slots_repaired += whole as u64;
                self.found.slots_repaired += whole as u64;
                self.suspects.drain(..whole.min(self.suspects.len()));
                if whole == 0 {
                    self.phase = Phase::Failed("the peer's answer cannot be used".to_owned());
                } else if self.suspects.is_empty() {
                    self.phase = Phase::Done;
                }
            }
            _ => self.phase = Phase::Failed("the peer's answer does not fit the question".to_owned()),
        }
    }

    fn on_summaries(
        &mut self,
        slots: &[u16],
        ours: &shared::conversation::Summaries,
        theirs: &shared::conversation::Summaries,
        now: MonoMillis,
    ) {
        let again: BTreeSet<u16> = if self.phase == Phase::Again {
            self.changing.iter().copied().collect()
        } else {
            BTreeSet::new()
        };
        let (mut left, is_first) = (self.changing.clone(), self.phase != Phase::Again);
        for ((slot, summary), verdict) in slots.iter().zip(&ours.slots).zip(compare(ours, theirs)) {
            if !is_first && !again.contains(slot) {
                continue;
            }
            if !is_first && verdict.is_known() {
                left.retain(|other| other != slot);
            }
            match verdict {
                Verdict::Unknown | Verdict::Stray(_) if is_first => left.push_back(*slot),
                Verdict::Unknown | Verdict::Stray(_) => {}
                verdict => {
                    self.found.slots_compared += 1;
                    self.found.keys_compared += u64::from(summary.keys);
                    if verdict == Verdict::Differs {
                        self.found.slots_differing += 1;
                        self.suspects.push_back(*slot);
                    }
                }
            }
        }
        if !is_first && let Some(first) = left.pop_front() {
            left.push_back(first);
        }
        self.changing = left;
        self.after_slots(slots, is_first, now);
    }

    fn after_slots(&mut self, slots: &[u16], is_first: bool, now: MonoMillis) {
        if is_first {
            let next = slots.last().map_or(SLOTS, |slot| usize::from(*slot) + 1);
            if next < SLOTS {
                self.phase = Phase::Slots(next as u16);
                return;
            }
        } else {
            self.attempts += 1;
            self.not_before = now.after_ms(if self.deep { 0 } else { ATTEMPT_INTERVAL_MS });
        }
        let attempts_max = ATTEMPTS * if self.deep { 1 + self.changing.len() as u32 } else { 1 };
        if self.changing.is_empty() || self.attempts >= attempts_max {
            self.found.slots_undecided = self.changing.len() as u64;
            self.changing.clear();
            self.phase = if self.suspects.is_empty() { Phase::Done } else { Phase::Keys };
            return;
        }
        self.phase = Phase::Again;
    }

    fn on_keys(&mut self, node: &Node, slot: u16, theirs: Vec<KeyDigest>) {
        let ours: BTreeSet<KeyDigest> = key_digests(node, usize::from(slot)).into_iter().collect();
        let theirs: BTreeSet<KeyDigest> = theirs.into_iter().collect();
        let differing: BTreeSet<(u8, &[u8])> =
            ours.symmetric_difference(&theirs).map(|key| (key.db, key.key.as_slice())).collect();
        self.found.keys_differing += differing.len() as u64;
        for (db, key) in differing {
            if self.found.named.len() < NAMED_MAX {
                self.found.named.push((db, key.to_vec()));
            }
        }
        let slot = self.suspects.pop_front();
        if self.repairs
            && let Some(slot) = slot
        {
            self.changing.push_back(slot);
        }
        if self.suspects.is_empty() {
            self.suspects = std::mem::take(&mut self.changing);
            self.phase = if self.suspects.is_empty() { Phase::Done } else { Phase::Repair };
        }
    }
}

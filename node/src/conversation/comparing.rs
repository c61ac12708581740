//! Whether a peer holds the same data as this node, round after round, under load, too.
//!
//! A slot can be compared when all changes that reached it at either side are held by the other: then both have merged
//! the same changes, and must have come to the same. A slot that differs nevertheless, three rounds in a row, is an
//! alarm: memory or disk, or this program, has failed. Then the two sides' versions are united; nothing is dropped.
//!
//! They are also united, without an alarm, for the sake of a change that neither holds by its frontier, round after round:
//! a reconcile has brought it, and was not finished as its sender crashed and forgot what it had not yet synced. No
//! stream will ever bring that change to the others.

use std::collections::BTreeMap;

use shared::conversation::{Answer, Question, States, Summaries};
use shared::state::Page;
use shared::time::MonoMillis;
use shared::version::Version;

use super::answering::{digests, own_roots, summaries};
use super::{Counters, Notice};
use crate::node::Node;
use crate::store::key::{SLOTS_PER_SHARD, ShardId};

/// A round begins this long after the one before.
const ROUND_INTERVAL_MS: u64 = 5_000;

/// While a slot is suspected, rounds follow each other faster.
const SUSPECT_INTERVAL_MS: u64 = 1_000;

/// A slot that differs for so many rounds has diverged.
const STRIKES: u8 = 3;

/// Slots that are looked at in one round; under load more may differ for the moment.
const SUMMARIES_MAX: usize = 1_024;

/// The comparison with one peer.
#[derive(Default)]
pub(super) struct Comparison {
    phase: Phase,
    next_at: MonoMillis,
    strikes: BTreeMap<u16, Strikes>,
}

/// How often in a row a slot has come to the same verdict, which is not that it is equal.
struct Strikes {
    verdict: Verdict,
    count: u8,
}

#[derive(Default)]
enum Phase {
    #[default]
    Resting,
    Digests(Vec<u8>),
    Summaries(Vec<u16>),
    Uniting(Vec<u16>),
}

impl Strikes {
    /// Under load what is newest is often found before a frontier covers it.
    fn is_suspicious(&self) -> bool {
        self.verdict == Verdict::Differs || self.count > 1
    }
}

impl Comparison {
    pub(super) fn next_question(&mut self, now: MonoMillis) -> Option<Question> {
        match &self.phase {
            Phase::Resting if now < self.next_at => None,
            Phase::Resting => Some(Question::Roots),
            Phase::Digests(shards) => Some(Question::Digests(shards.clone())),
            Phase::Summaries(slots) => Some(Question::Summaries(slots.clone())),
            Phase::Uniting(slots) => Some(Question::Values(slots.clone())),
        }
    }

    /// The round is not finished; the next one tells.
    pub(super) fn abandon(&mut self) {
        self.phase = Phase::Resting;
    }

    #[expect(clippy::too_many_arguments, reason = "an answer, its question, and where its consequences go")]
    pub(super) fn on_answer(
        &mut self,
        node: &Node,
        peer: &str,
        question: Question,
        answer: Answer,
        now: MonoMillis,
        counters: &mut Counters,
        notices: &mut Vec<Notice>,
    ) {
        match (question, answer) {
            (Question::Roots, Answer::Roots(roots)) => self.on_roots(node, &roots, now, counters),
            (Question::Digests(shards), Answer::Digests(theirs)) => {
                self.on_digests(node, &shards, &theirs, now);
            }
            (Question::Summaries(slots), Answer::Summaries(theirs)) => {
                self.on_summaries(node, peer, &slots, &theirs, now, counters, notices);
            }
            (Question::Values(slots), Answer::States(states)) => {
                counters.slots_repaired += unite(node, &slots, &states, false) as u64;
                let came = usize::from(states.slots).min(slots.len());
                let left = slots[came..].to_vec();
                if left.is_empty() || came == 0 { self.rest(now) } else { self.phase = Phase::Uniting(left) }
            }
            _ => {
                notices.push(Notice::Unexpected { what: "an answer does not fit its question" });
                self.rest(now);
            }
        }
    }

    fn rest(&mut self, now: MonoMillis) {
        self.phase = Phase::Resting;
        let is_suspicious = self.strikes.values().any(Strikes::is_suspicious);
        let interval = if is_suspicious { SUSPECT_INTERVAL_MS } else { ROUND_INTERVAL_MS };
        self.next_at = now.after_ms(interval);
    }

    fn on_roots(&mut self, node: &Node, theirs: &[u64], now: MonoMillis, counters: &mut Counters) {
        counters.rounds_compared += 1;
        let ours = own_roots(node);
        let differing: Vec<u8> =
            (0..).zip(ours.iter().zip(theirs)).filter(|(_, (a, b))| a != b).map(|(id, _)| id).collect();
        counters.slots_compared += ((ours.len() - differing.len()) * SLOTS_PER_SHARD) as u64;
        self.strikes.retain(|slot, _| differing.contains(&((usize::from(*slot) / SLOTS_PER_SHARD) as u8)));
        if differing.is_empty() { self.rest(now) } else { self.phase = Phase::Digests(differing) }
    }

    fn on_digests(&mut self, node: &Node, shards: &[u8], theirs: &[u64], now: MonoMillis) {
        let ours = digests(node, shards);
        let slots = shards.iter().flat_map(|id| {
            let first = usize::from(*id) * SLOTS_PER_SHARD;
            first..first + SLOTS_PER_SHARD
        });
        let differing: Vec<u16> = slots
            .zip(ours.iter().zip(theirs))
            .filter(|(_, (a, b))| a != b)
            .map(|(slot, _)| slot as u16)
            .collect();
        self.strikes.retain(|slot, _| differing.binary_search(slot).is_ok());
        // Those that were suspected before come first, so that a busy round does not leave them out.
        let (mut chosen, rest): (Vec<u16>, Vec<u16>) = differing
            .into_iter()
            .partition(|slot| self.strikes.get(slot).is_some_and(Strikes::is_suspicious));
        chosen.extend(rest);
        chosen.truncate(SUMMARIES_MAX);
        if chosen.is_empty() { self.rest(now) } else { self.phase = Phase::Summaries(chosen) }
    }

    #[expect(clippy::too_many_arguments, reason = "as on_answer")]
    fn on_summaries(
        &mut self,
        node: &Node,
        peer: &str,
        slots: &[u16],
        theirs: &Summaries,
        now: MonoMillis,
        counters: &mut Counters,
        notices: &mut Vec<Notice>,
    ) {
        let ours = summaries(node, slots, false);
        let mut lasting = Vec::new();
        let mut diverged = 0;
        for (slot, verdict) in slots.iter().zip(compare(&ours, theirs)) {
            match verdict {
                Verdict::Equal => {
                    self.strikes.remove(slot);
                }
                Verdict::Unknown => {
                    self.strikes
                        .retain(|other, strikes| other != slot || strikes.verdict == Verdict::Differs);
                }
                Verdict::Differs | Verdict::Stray(_) => {
                    if self.strike(*slot, verdict) >= STRIKES {
                        lasting.push(*slot);
                        diverged += usize::from(verdict == Verdict::Differs);
                    }
                }
            }
            counters.slots_compared += u64::from(verdict.is_known());
        }
        if lasting.is_empty() {
            return self.rest(now);
        }
        if diverged > 0 {
            counters.slots_diverged += diverged as u64;
            notices.push(Notice::Diverged { peer: peer.to_owned(), slots: diverged });
        }
        for slot in &lasting {
            self.strikes.remove(slot);
        }
        self.phase = Phase::Uniting(lasting);
    }

    fn strike(&mut self, slot: u16, verdict: Verdict) -> u8 {
        let strikes = self.strikes.entry(slot).or_insert(Strikes { verdict, count: 0 });
        if strikes.verdict != verdict {
            *strikes = Strikes { verdict, count: 0 };
        }
        strikes.count += 1;
        strikes.count
    }
}

/// What comparing a slot came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Equal,
    Differs,
    /// One side holds changes that the other has not seen yet.
    Unknown,
    /// It has this change, and neither side's frontier covers it: either it is newer than the frontier that was read, or
    /// nobody's ever will.
    Stray(Version),
}

impl Verdict {
    /// Whether it says something of the slot.
    pub(super) const fn is_known(self) -> bool {
        matches!(self, Self::Equal | Self::Differs)
    }
}

/// Compares slots at two nodes. Each side's frontier was read before its slots.
pub(super) fn compare<'s>(ours: &'s Summaries, theirs: &'s Summaries) -> impl Iterator<Item = Verdict> + 's {
    ours.slots.iter().zip(&theirs.slots).map(|(a, b)| {
        if a.digest == b.digest {
            return Verdict::Equal;
        }
        let lasts = || a.lasts.iter().chain(&b.lasts);
        let covering = |last: &Version| {
            usize::from(ours.frontier.covers(*last)) + usize::from(theirs.frontier.covers(*last))
        };
        if let Some(stray) = lasts().find(|last| covering(last) == 0) {
            Verdict::Stray(*stray)
        } else if lasts().all(|last| covering(last) == 2) {
            Verdict::Differs
        } else {
            Verdict::Unknown
        }
    })
}

/// Unites what a peer holds in these slots with what this node holds: by version, nothing is dropped. With
/// `overwrite_equal` the peer's values stand where versions are equal. Returns how many slots were whole.
pub(super) fn unite(node: &Node, slots: &[u16], states: &States, overwrite_equal: bool) -> usize {
    let mut whole = 0;
    if states.flushes().is_some_and(|page| node.take_flushes(page).is_err()) {
        return whole;
    }
    let restating = node.restating();
    for (slot, page) in slots.iter().zip(&states.pages).take(usize::from(states.slots)) {
        let Ok(page) = Page::decode(page) else { return whole };
        let mut shard = node.store.lock_shard(ShardId::of_slot(usize::from(*slot)));
        for key in page.keys() {
            let Ok(key) = key else { return whole };
            let owned = restating.of_state(&key, &shard);
            shard.unite_key(&key, overwrite_equal, &node.store.origins);
            owned.into_iter().for_each(|owned| restating.note_missing(owned, &shard));
        }
        whole += 1;
    }
    whole
}

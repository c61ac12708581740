//! What this node answers to its peers' questions.

use std::collections::BTreeMap;

use serde_bytes::ByteBuf;
use shared::conversation::{
    ANSWER_BYTES, Answer, Begun, CONVERSATION, Greeting, KeyDigest, Question, Refusal, States, Summaries,
    Summary,
};
use shared::id::NodeId;
use shared::state::PageBuilder;
use shared::time::MonoMillis;

use super::{Conversations, mono};
use crate::group::Standing;
use crate::node::Node;
use crate::node::persist::DeadHold;
use crate::store::key::{SLOTS, SLOTS_PER_SHARD, ShardId};
use crate::store::state::What;
use crate::transaction::Clocks;

/// A receiver that was silent for this long has given up: dead things need not be held on to for it.
const RECEIVER_SILENT_MS: u64 = 30_000;

/// Reconciles that are served at once; further receivers ask again.
const RUNS_MAX: usize = 4;

/// Slots in one answer of summaries with values: each is a pass over the slot's keys.
const DEEP_SLOTS: usize = 256;

/// About what a page takes besides its bytes.
const PAGE_OVERHEAD: usize = 8;

/// The receivers that this node serves.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    runs: BTreeMap<NodeId, Run>,
}

#[derive(Debug)]
struct Run {
    id: u64,
    heard_at: MonoMillis,
    /// Nothing dead is dropped while it lasts.
    _hold: DeadHold,
}

impl Sending {
    /// Forgets receivers that have gone silent.
    pub(super) fn tidy(&mut self, now: MonoMillis) {
        self.runs.retain(|_, run| now.since(run.heard_at) < RECEIVER_SILENT_MS);
    }

    /// How many receivers are served.
    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    fn is_running(&mut self, peer: NodeId, id: u64, now: MonoMillis) -> bool {
        let run = self.runs.get_mut(&peer).filter(|run| run.id == id);
        run.map(|run| run.heard_at = now).is_some()
    }
}

impl Conversations {
    /// Answers a peer's question.
    ///
    /// # Errors
    /// If it is none that this build knows.
    pub(crate) fn answer(
        &mut self,
        node: &Node,
        peer: NodeId,
        question: &[u8],
        clocks: Clocks,
    ) -> Result<Vec<u8>, rmp_serde::decode::Error> {
        let question = Question::decode(question)?;
        let is_reconcile = super::is_of_reconcile(&question);
        let answer = self.answer_question(node, peer, question, clocks).encode();
        if is_reconcile {
            self.counters.reconcile_bytes_out += answer.len() as u64;
        }
        Ok(answer)
    }

    /// Whether an asker is known to be one with whom this node does not exchange batches.
    fn is_estranged(&self, node: &Node, peer: NodeId) -> bool {
        let talk = self.peers.get(&peer).filter(|talk| talk.greeting.is_some());
        talk.is_some_and(|talk| !super::is_related(node, talk))
    }

    fn answer_question(&mut self, node: &Node, peer: NodeId, question: Question, clocks: Clocks) -> Answer {
        let now = mono(clocks);
        if let Question::States { run, .. }
        | Question::Dead { run, .. }
        | Question::Enrol { run, .. }
        | Question::End { run } = &question
            && !self.sending.is_running(peer, *run, now)
        {
            return Answer::Refused(Refusal::NoSuchRun, "this reconcile is not known here".to_owned());
        }
        match question {
            Question::Greet => Answer::Greeting(Box::new(self.greeting(node, peer, clocks))),
            // What does not stream from there to here is not missed: it is no difference that tells of a failure.
            Question::Roots if self.is_estranged(node, peer) => Answer::Refused(
                Refusal::NotNow,
                "this node takes nothing from the asker at the moment".to_owned(),
            ),
            Question::Roots => Answer::Roots(roots(node)),
            Question::Digests(shards) => Answer::Digests(digests(node, &shards)),
            Question::Summaries(slots) => Answer::Summaries(summaries(node, &slots, false)),
            Question::Deep(from) => Answer::Summaries(summaries(node, &deep_slots(from), true)),
            Question::Begin { formerly } => self.begin(node, peer, formerly, clocks),
            Question::States { slots, .. } | Question::Values(slots) => {
                states(node, indices(&slots), What::Everything)
            }
            Question::Dead { from, .. } => states(node, usize::from(from)..SLOTS, What::Dead),
            Question::Enrol { member, .. } => {
                if member.node_id != peer {
                    return Answer::Refused(Refusal::Never, "a node enrols itself only".to_owned());
                }
                node.enrol(member, clocks)
            }
            Question::End { .. } => {
                self.sending.runs.remove(&peer);
                Answer::Ended(node.log.frontier())
            }
            Question::Keys(slot) => Answer::Keys(keys(node, usize::from(slot) % SLOTS)),
        }
    }

    fn greeting(&self, node: &Node, peer: NodeId, clocks: Clocks) -> Greeting {
        let (frontier, clock) = node.log.standing(clocks.wall);
        let name = self.peers.get(&peer).map_or("", |talk| &talk.name);
        let membership = node.membership.lock();
        let group = &membership.group;
        Greeting {
            version: CONVERSATION,
            member: group.as_member(),
            group_id: group.own().group_id,
            joining: group.is_joining(),
            receiving: self.receiving.is_some(),
            members: group.size_by_names(),
            others: group.others_by_names(name),
            named: group.named(),
            smallest_name: group.smallest_name().to_owned(),
            frontier,
            clock,
            you: group.judge(peer),
        }
    }

    fn begin(&mut self, node: &Node, peer: NodeId, formerly: NodeId, clocks: Clocks) -> Answer {
        let not_now = |text: &str| Answer::Refused(Refusal::NotNow, text.to_owned());
        {
            let membership = node.membership.lock();
            if membership.group.standing() != Standing::Member || membership.group.is_reissuing() {
                return not_now("this node is joining a group itself");
            }
            if membership.group.has_evicted(peer) {
                return not_now("the asker was evicted: it must join under a new node id");
            }
            // Two that ask each other: the smaller node id receives first.
            if let Some(receiving) = &self.receiving
                && (!receiving.is_beginning()
                    || receiving.sender() != peer
                    || membership.group.own().node_id < peer)
            {
                return not_now("this node is taking over another's state itself");
            }
        }
        if !self.has_caught_up(node, mono(clocks)) {
            return not_now("this node catches up with what it has taken over itself");
        }
        self.give_up_receiving(node);
        self.end_runs_of_predecessors(peer);
        if self.sending.runs.len() >= RUNS_MAX && !self.sending.runs.contains_key(&peer) {
            return not_now("this node serves enough receivers already");
        }
        // First hold on to what is dead, then look what is there.
        let run = Run { id: node.random(), heard_at: mono(clocks), _hold: node.hold_dead() };
        let id = run.id;
        self.sending.runs.insert(peer, run);
        let (frontier, clock) = node.log.standing(clocks.wall);
        // Before the group is locked: INFO looks at that under the shards' locks.
        let flushes = ByteBuf::from(node.flushes());
        let membership = node.membership.lock();
        Answer::Begun(Begun {
            run: id,
            frontier,
            clock,
            known_until: membership.group.known_until(formerly, clock),
            departed: membership.group.departed().copied().collect(),
            flushes,
        })
    }

    /// Who has taken a new node id, for it joins anew, may have begun under the one before: nobody goes on with that, and
    /// nothing dead is to be held on to for it.
    fn end_runs_of_predecessors(&mut self, peer: NodeId) {
        let Some(name) = self.peers.get(&peer).map(|talk| talk.name.as_str()) else { return };
        let is_predecessor =
            |other: &NodeId| *other != peer && self.peers.get(other).is_some_and(|talk| talk.name == name);
        self.sending.runs.retain(|other, _| !is_predecessor(other));
    }
}

fn roots(node: &Node) -> Vec<u64> {
    ShardId::all()
        .map(|id| {
            let shard = node.store.lock_shard(id);
            let first = id.index() * SLOTS_PER_SHARD;
            // Not the exclusive or of all: two slots that differ alike would cancel out.
            (first..first + SLOTS_PER_SHARD).fold(0_u64, |root, slot| {
                root.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ shard.slot_digest(slot)
            })
        })
        .collect()
}

/// This node's digest per shard.
pub(super) fn own_roots(node: &Node) -> Vec<u64> {
    roots(node)
}

pub(super) fn digests(node: &Node, shards: &[u8]) -> Vec<u64> {
    let known = shards.iter().filter(|id| usize::from(**id) * SLOTS_PER_SHARD < SLOTS);
    known
        .flat_map(|id| {
            let id = ShardId(*id);
            let shard = node.store.lock_shard(id);
            let first = id.index() * SLOTS_PER_SHARD;
            (first..first + SLOTS_PER_SHARD).map(|slot| shard.slot_digest(slot)).collect::<Vec<_>>()
        })
        .collect()
}

/// The slots of one deep answer.
pub(super) fn deep_slots(from: u16) -> Vec<u16> {
    (usize::from(from)..SLOTS).take(DEEP_SLOTS).map(|slot| slot as u16).collect()
}

/// Slots in short. The frontier is read first, so that all of it is in the slots.
pub(super) fn summaries(node: &Node, slots: &[u16], deep: bool) -> Summaries {
    let frontier = node.log.frontier();
    let summary = |slot: &u16| {
        let slot = usize::from(*slot) % SLOTS;
        let shard = node.store.lock_shard(ShardId::of_slot(slot));
        let digest =
            if deep { shard.deep_digest(slot, &node.store.origins) } else { shard.slot_digest(slot) };
        let lasts = shard.slot_lasts(slot).collect();
        Summary { digest, keys: shard.slot_live(slot) as u32, lasts }
    };
    Summaries { frontier, slots: slots.iter().map(summary).collect() }
}

fn indices(slots: &[u16]) -> impl Iterator<Item = usize> {
    slots.iter().map(|slot| usize::from(*slot))
}

/// What is in these slots, and then the flushes: what one has taken from a slot leaves no other trace.
fn states(node: &Node, slots: impl Iterator<Item = usize>, what: What<'_>) -> Answer {
    let mut pages = Vec::new();
    let mut bytes = 0;
    let mut slots = slots.map(|slot| slot % SLOTS).peekable();
    while bytes < ANSWER_BYTES
        && let Some(slot) = slots.next()
    {
        let id = ShardId::of_slot(slot);
        let shard = node.store.lock_shard(id);
        let mut page = PageBuilder::new();
        shard.collect_slot(slot, what, &mut page, &node.store.origins);
        let page = page.finish();
        bytes += page.len() + PAGE_OVERHEAD;
        pages.push(ByteBuf::from(page));
        // Under the same lock go those behind it that hold nothing, as most slots of a small store do; not the next that
        // holds keys, so that clients wait for one such at most.
        let is_empty = |slot: &usize| ShardId::of_slot(*slot) == id && !shard.has_reached(*slot);
        while bytes < ANSWER_BYTES && slots.next_if(is_empty).is_some() {
            bytes += PAGE_OVERHEAD;
            pages.push(ByteBuf::new());
        }
    }
    let slots = pages.len() as u16;
    pages.push(ByteBuf::from(node.flushes()));
    Answer::States(States { slots, pages })
}

fn keys(node: &Node, slot: usize) -> Vec<KeyDigest> {
    key_digests(node, slot)
}

/// A digest per key of a slot.
pub(super) fn key_digests(node: &Node, slot: usize) -> Vec<KeyDigest> {
    let shard = node.store.lock_shard(ShardId::of_slot(slot));
    let keys = shard.key_digests(slot, &node.store.origins);
    keys.into_iter()
        .map(|digests| KeyDigest { db: digests.db, key: ByteBuf::from(digests.key), deep: digests.deep })
        .collect()
}

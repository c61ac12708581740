//! The receiving side of a reconcile: this node takes over what a sender has.
//!
//! It is one mechanism for all cases in which batches do not help: a new node, one that was evicted or away for longer
//! than logs reach back, one whose directory was lost.
//!
//! 1. *Begin*. The sender says what it has: its start frontier F0. It drops nothing dead from now on. A member pulls
//!    from F0 on from now on, and merges what comes, but neither tells nor serves it before the end; a joiner does not pull.
//! 2. *Digests* of all slots are compared. Those that differ are fetched whole and judged: what both hold is merged, what
//!    only one side holds stays unless the other side's frontier says that it had that, and removed it.
//! 3. *Dead* things of all slots are merged, too: digests do not tell of them.
//! 4. A joiner is *enrolled*: from then on the sender counts it. It writes under a new origin, above the sender's clock.
//! 5. All of it is made durable by a snapshot. Only then the frontier counts, and a joiner begins to re-issue what the
//!    group has not seen.
//!
//! A reconcile that is cut off goes on where it stood, or begins again at another sender: slots that were taken are equal
//! then.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use shared::announcement::Member;
use shared::clock::Timestamp;
use shared::conversation::{Answer, Begun, Departed, Enrolment, Question, States};
use shared::id::{GroupId, NodeId, Origin};
use shared::state::{FlushState, Page};
use shared::version::{Frontier, Version};

use super::{Counters, Notice};
use crate::node::Node;
use crate::node::persist::DeadHold;
use crate::snapshots::Ticket;
use crate::store::key::{Key, SHARDS, SLOTS, SLOTS_PER_SHARD, ShardId};
use crate::store::shard::Joiner;
use crate::transaction::Clocks;

/// Slots that are asked for at once; as many come as one answer takes.
const SLOTS_ASKED: usize = 512;

const FLUSHES_NOT_TAKEN: Notice = Notice::Unexpected { what: "its flushes cannot be taken over" };

/// A reconcile of which this node is the receiver.
pub(crate) struct Receiving {
    sender: NodeId,
    /// What this node had when it began, by which its own removals are told from what it never had.
    ours: Frontier,
    /// As that, for judging what the sender holds and this node does not. A joiner knows of nothing that it is a removal:
    /// what those that it counted had all seen removed it has forgotten, and the sender's group may never have heard of
    /// it, and would not be told. So it takes everything that no tombstone of its own forbids.
    removed_within: Frontier,
    /// The origins of all that it held then.
    origins: Vec<Origin>,
    formerly: NodeId,
    /// Whom the sender's group has evicted.
    departed: Vec<Departed>,
    /// Of which origins the sender's floor says nothing.
    exceptions: Vec<(Origin, Timestamp)>,
    /// How much of each origin the sender's group has seen: what this node holds beyond is to be re-issued.
    unseen: Vec<(Origin, Timestamp)>,
    /// That of a join before this, after which it did not come to re-issuing everything.
    pending: Vec<(Origin, Timestamp)>,
    is_joiner: bool,
    /// What judging a joiner's deletions takes, from when digests were compared.
    joiner: Option<Joiner>,
    their_flushes: Vec<FlushState>,
    run: u64,
    theirs: Frontier,
    /// What the sender had when it had sent everything, as far as it said so.
    theirs_then: Frontier,
    /// As that, for judging what is held here.
    judged: Frontier,
    phase: Phase,
    taken: u64,
    dropped: u64,
    /// Nothing dead is dropped meanwhile.
    _hold: DeadHold,
}

enum Phase {
    Beginning,
    Digests,
    States(VecDeque<u16>),
    Dead(u16),
    /// Asks to be counted, to write as this origin.
    Enrolling(Origin),
    Ending(Option<(Origin, Enrolment)>),
    /// Everything is merged; it is to be made durable, as soon as that is possible.
    Merged(Option<(Origin, Enrolment)>),
    Saving(Ticket, Option<(Origin, Enrolment)>),
    Done,
}

impl Receiving {
    /// `origins` are those of all that this node held before it began to take over anybody's state; `group_id` is the
    /// sender's.
    pub(super) fn new(node: &Node, sender: NodeId, group_id: GroupId, origins: Vec<Origin>) -> Self {
        node.snapshots.hold();
        let (is_joiner, formerly, shared_floor, pending) = {
            let membership = node.membership.lock();
            let group = &membership.group;
            let shared_floor = group.floor_shared_with(group_id);
            (group.is_joining(), group.formerly(), shared_floor, group.unseen().to_vec())
        };
        let ours = node.log.frontier();
        // A member's floor and its sender's tell of the same members, a joiner's does not.
        let ours = if is_joiner { ours.with_floor_at_most(shared_floor) } else { ours };
        Self {
            sender,
            removed_within: if is_joiner { Frontier::new() } else { ours.clone() },
            ours: ours.except(pending.iter().copied()),
            origins,
            formerly,
            departed: Vec::new(),
            exceptions: Vec::new(),
            unseen: Vec::new(),
            pending,
            is_joiner,
            joiner: None,
            their_flushes: Vec::new(),
            run: 0,
            theirs: Frontier::new(),
            theirs_then: Frontier::new(),
            judged: Frontier::new(),
            phase: Phase::Beginning,
            taken: 0,
            dropped: 0,
            _hold: node.hold_dead(),
        }
    }

    pub(super) const fn sender(&self) -> NodeId {
        self.sender
    }

    /// Whether the sender still has something to say.
    pub(super) const fn needs_sender(&self) -> bool {
        !matches!(self.phase, Phase::Ending(_) | Phase::Merged(_) | Phase::Saving(..) | Phase::Done)
    }

    /// Whether it has not begun yet, so that it may as well make way.
    pub(super) const fn is_beginning(&self) -> bool {
        matches!(self.phase, Phase::Beginning)
    }

    /// What lies within this may have been brought, though the own frontier does not cover it yet.
    pub(super) fn brought(&self) -> Frontier {
        self.theirs_then.clone()
    }

    pub(super) const fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }

    /// The share that is done, for people: slots that are left.
    pub(crate) fn slots_left(&self) -> usize {
        match &self.phase {
            Phase::Beginning | Phase::Digests => SLOTS,
            Phase::States(slots) => slots.len(),
            _ => 0,
        }
    }

    /// From whom, and how far it is, as text.
    #[cfg(feature = "simulation")]
    pub(crate) fn describe(&self) -> String {
        let phase = match &self.phase {
            Phase::Beginning => "beginning",
            Phase::Digests => "digests",
            Phase::States(_) => "states",
            Phase::Dead(_) => "dead",
            Phase::Enrolling(_) => "enrolling",
            Phase::Ending(_) => "ending",
            Phase::Merged(_) => "merged",
            Phase::Saving(..) => "saving",
            Phase::Done => "done",
        };
        format!("receiving from {} ({phase}), ", self.sender)
    }

    /// The sender is gone. It has told all, if this was only to say goodbye.
    pub(super) fn on_sender_gone(&mut self) {
        self.on_ended();
    }

    /// The sender does not know of it any more.
    pub(super) fn begin_again(&mut self, node: &Node) {
        node.end_pull();
        if let Some(joiner) = self.joiner.take() {
            put_back(node, joiner);
        }
        self.phase = Phase::Beginning;
    }

    /// Ends without having come to its end. What it has brought of any origin is none that this node's frontier covers.
    pub(super) fn give_up(self, node: &Node) {
        if !matches!(self.phase, Phase::Done) {
            node.end_pull();
            if let Some(joiner) = self.joiner {
                put_back(node, joiner);
            }
            if self.is_joiner && !matches!(self.phase, Phase::Beginning | Phase::Digests) {
                let held = node.log.frontier();
                let own: BTreeSet<Origin> = node.membership.lock().group.own_origins().collect();
                let mut unseen: BTreeMap<Origin, Timestamp> =
                    node.store.origins.all().into_iter().map(|origin| (origin, held.get(origin))).collect();
                unseen.retain(|origin, _| !own.contains(origin));
                unseen.extend(self.pending);
                let unseen: Vec<_> = unseen.into_iter().collect();
                // A start that does not know it, for it could not be saved, finds nothing of it in the log either.
                node.will_reissue(&unseen);
            }
            node.snapshots.permit();
        }
    }

    pub(super) fn next_question(&self, node: &Node) -> Option<Question> {
        let run = self.run;
        match &self.phase {
            Phase::Beginning => Some(Question::Begin { formerly: self.formerly }),
            Phase::Digests => Some(Question::Digests((0..SHARDS as u8).collect())),
            Phase::States(slots) => {
                Some(Question::States { run, slots: slots.iter().copied().take(SLOTS_ASKED).collect() })
            }
            Phase::Dead(from) => Some(Question::Dead { run, from: *from }),
            Phase::Enrolling(origin) => {
                let mut membership = node.membership.lock();
                // Whoever hears of this origin must not find that this node knows nothing of it after a crash.
                membership.save().then(|| {
                    let member = Member { origin: *origin, ..membership.group.as_member() };
                    Question::Enrol { run, member }
                })
            }
            Phase::Ending(_) => Some(Question::End { run }),
            Phase::Merged(_) | Phase::Saving(..) | Phase::Done => None,
        }
    }

    pub(super) fn on_answer(
        &mut self,
        node: &Node,
        question: Question,
        answer: Answer,
        clocks: Clocks,
        counters: &mut Counters,
        notices: &mut Vec<Notice>,
    ) {
        match (question, answer) {
            (Question::Begin { .. }, Answer::Begun(begun)) => self.on_begun(node, begun, clocks, notices),
            (Question::Digests(_), Answer::Digests(digests)) => {
                self.on_digests(node, &digests, clocks, notices)
            }
            (Question::States { slots, .. }, Answer::States(states)) => {
                self.on_states(node, &slots, &states, counters, notices);
            }
            (Question::Dead { from, .. }, Answer::States(states)) => {
                self.on_dead(node, from, &states, notices);
            }
            (Question::Enrol { .. }, Answer::Enrolled(enrolment)) => {
                if let Phase::Enrolling(origin) = self.phase
                    && node.move_past(enrolment.clock, clocks).is_ok()
                {
                    self.end_unseen(node);
                    self.unseen = self.unseen(node, &enrolment.frontier);
                    self.theirs_then.clone_from(&enrolment.frontier);
                    self.phase = Phase::Ending(Some((origin, enrolment)));
                }
            }
            (Question::End { .. }, Answer::Ended(frontier)) => {
                self.theirs_then = frontier;
                self.on_ended();
            }
            _ => notices.push(Notice::Unexpected { what: "an answer does not fit its question" }),
        }
    }

    fn on_begun(&mut self, node: &Node, begun: Begun, clocks: Clocks, notices: &mut Vec<Notice>) {
        if let Err(error) = node.move_past(begun.clock, clocks) {
            // It is tried again, after a while.
            return notices.push(Notice::Refused { text: error.to_string() });
        }
        let Begun { run, frontier, known_until, departed, flushes, .. } = begun;
        let flushes = Page::decode(&flushes).map(|page| page.flushes().to_vec()).ok();
        let Some(flushes) = flushes.filter(|flushes| node.merge_flushes(flushes).is_ok()) else {
            return notices.push(FLUSHES_NOT_TAKEN);
        };
        self.their_flushes = flushes;
        self.run = run;
        if !self.is_joiner {
            node.pull_from(&frontier);
        }
        self.exceptions = self.exceptions(&frontier, known_until, &departed);
        self.judged = frontier.except(self.exceptions.iter().copied());
        self.departed = departed;
        self.theirs = frontier;
        self.phase = Phase::Digests;
    }

    /// Of which origins the sender's floor says nothing: those that this node knew, and the sender does not list. They ended
    /// before the floor rose to where it is, or the sender's group never heard of them. It holds of them what it held when
    /// this node was evicted, or nothing. A member's floor is the sender's, too.
    fn exceptions(
        &self,
        theirs: &Frontier,
        known_until: Timestamp,
        departed: &[Departed],
    ) -> Vec<(Origin, Timestamp)> {
        if !self.is_joiner {
            return Vec::new();
        }
        let floor = known_until.max(self.ours.floor()).min(theirs.floor());
        let pending =
            |origin: Origin| self.pending.iter().find(|(other, _)| *other == origin).map(|(_, at)| *at);
        let held = |origin: Origin| {
            let end = departed.iter().map(|one| one.end).find(|end| end.origin == origin);
            let end = end.map_or(floor, |end| end.timestamp);
            pending(origin).map_or(end, |at| end.min(at))
        };
        let known = self.origins.iter().copied().chain(self.pending.iter().map(|(origin, _)| *origin));
        known.filter(|origin| !theirs.lists(*origin)).map(|origin| (origin, held(origin))).collect()
    }

    /// How much of each origin the sender's group has seen, given what the sender held in the end: pages carry what was
    /// written after its start frontier, too, and that, written once more, would win over what its author has written
    /// since.
    fn unseen(&self, node: &Node, theirs_then: &Frontier) -> Vec<(Origin, Timestamp)> {
        let seen = theirs_then.except(self.exceptions.iter().copied());
        node.store.origins.all().into_iter().map(|origin| (origin, seen.get(origin))).collect()
    }

    fn on_digests(&mut self, node: &Node, digests: &[u64], clocks: Clocks, notices: &mut Vec<Notice>) {
        if digests.len() != SLOTS {
            return notices.push(Notice::Unexpected { what: "it has another number of slots" });
        }
        let mut differing = VecDeque::new();
        for id in ShardId::all() {
            let shard = node.store.lock_shard(id);
            let first = id.index() * SLOTS_PER_SHARD;
            differing.extend(
                (first..first + SLOTS_PER_SHARD)
                    .filter(|slot| shard.slot_digest(*slot) != digests[*slot])
                    .map(|slot| slot as u16),
            );
        }
        notices.push(Notice::Receiving { differing_slots: differing.len() });
        if self.is_joiner {
            self.withdraw_flushes(node, clocks);
        }
        self.phase = if differing.is_empty() { Phase::Dead(0) } else { Phase::States(differing) };
    }

    /// A flush that they have not seen counts where it ends anything of theirs, key by key. See
    /// [`settle_unseen`](crate::store::rich::RichKey::settle_unseen).
    fn withdraw_flushes(&mut self, node: &Node, clocks: Clocks) {
        let (_, clock) = node.log.standing(clocks.wall);
        let is_unseen = |entry: Version| entry.timestamp <= clock && !self.judged.covers(entry);
        let unseen_flushes = node.withdraw_flushes(is_unseen, &self.their_flushes);
        let now = Version::new(clock, node.log.origin());
        self.joiner = Some(Joiner { now, unseen_flushes, kept: HashSet::new(), ended: Vec::new() });
    }

    /// From here on the group counts this node, and nothing will be put back.
    fn end_unseen(&mut self, node: &Node) {
        let Some(joiner) = self.joiner.take() else { return };
        for slot in 0..SLOTS {
            let mut shard = node.store.lock_shard(ShardId::of_slot(slot));
            shard.end_unseen(slot, &self.judged, &joiner, &node.store.origins);
        }
    }

    fn on_states(
        &mut self,
        node: &Node,
        asked: &[u16],
        states: &States,
        counters: &mut Counters,
        notices: &mut Vec<Notice>,
    ) {
        let Phase::States(left) = &mut self.phase else { return };
        let came = usize::from(states.slots).min(states.pages.len()).min(asked.len());
        if came == 0 {
            return notices.push(Notice::Unexpected { what: "it sent no slot" });
        }
        if states.flushes().is_some_and(|page| node.take_flushes(page).is_err()) {
            return notices.push(FLUSHES_NOT_TAKEN);
        }
        let restating = node.restating();
        for (slot, page) in asked.iter().zip(&states.pages).take(came) {
            let Ok(page) = Page::decode(page) else {
                return notices.push(Notice::Unexpected { what: "a page of states cannot be read" });
            };
            let Ok(keys) = page.keys().collect::<Result<Vec<_>, _>>() else {
                return notices.push(Notice::Unexpected { what: "a key's state cannot be read" });
            };
            let slot = usize::from(*slot);
            let mut shard = node.store.lock_shard(ShardId::of_slot(slot));
            let owned: Vec<_> = keys.iter().flat_map(|state| restating.of_state(state, &shard)).collect();
            let judged = shard.judge_slot(
                slot,
                &keys,
                &self.removed_within,
                &self.judged,
                self.joiner.as_mut(),
                &node.store.origins,
            );
            owned.into_iter().for_each(|owned| restating.note_missing(owned, &shard));
            drop(shard);
            self.taken += judged.taken as u64;
            self.dropped += judged.dropped as u64;
            counters.parts_taken += judged.taken as u64;
            counters.parts_dropped += judged.dropped as u64;
            left.pop_front();
        }
        if left.is_empty() {
            self.phase = Phase::Dead(0);
        }
    }

    fn on_dead(&mut self, node: &Node, from: u16, states: &States, notices: &mut Vec<Notice>) {
        let came = usize::from(states.slots).min(states.pages.len());
        if came == 0 {
            return notices.push(Notice::Unexpected { what: "it sent no slot" });
        }
        if states.flushes().is_some_and(|page| node.take_flushes(page).is_err()) {
            return notices.push(FLUSHES_NOT_TAKEN);
        }
        let pages = (usize::from(from)..SLOTS).zip(&states.pages).take(came);
        // Nearly all pages of a small store hold nothing.
        for (slot, page) in pages.filter(|(_, page)| !page.is_empty()) {
            let Ok(page) = Page::decode(page) else {
                return notices.push(Notice::Unexpected { what: "a page of states cannot be read" });
            };
            let mut shard = node.store.lock_shard(ShardId::of_slot(slot));
            for key in page.keys() {
                let Ok(key) = key else {
                    return notices.push(Notice::Unexpected { what: "a key's state cannot be read" });
                };
                if let Some(joiner) = &mut self.joiner {
                    let own = Key::new(key.db, key.key);
                    shard.settle_unseen(&own, &key, &self.judged, joiner, &node.store.origins);
                }
                shard.merge_dead(&key, &self.removed_within, &node.store.origins);
            }
        }
        let next = usize::from(from) + came;
        self.phase = if next < SLOTS {
            Phase::Dead(next as u16)
        } else if self.is_joiner {
            let origin = Origin(node.random());
            node.membership.lock().group.may_run_as(origin);
            Phase::Enrolling(origin)
        } else {
            Phase::Ending(None)
        };
    }

    fn on_ended(&mut self) {
        if let Phase::Ending(enrolled) = &mut self.phase {
            self.phase = Phase::Merged(enrolled.take());
        }
    }

    pub(super) fn on_tick(&mut self, node: &Node, clocks: Clocks, notices: &mut Vec<Notice>) {
        match &mut self.phase {
            Phase::Merged(enrolled) => {
                let wall = clocks.wall;
                if enrolled.is_some() && !node.will_reissue(&self.unseen) {
                    return;
                }
                let saving = if enrolled.is_some() {
                    node.save_joined(&self.theirs, wall)
                } else if node.learn_departed(&self.departed) {
                    node.save_pulled(wall)
                } else {
                    return;
                };
                if let Ok(ticket) = saving {
                    self.phase = Phase::Saving(ticket, enrolled.take());
                }
            }
            Phase::Saving(ticket, enrolled) => match ticket.outcome() {
                None => {}
                Some(Err(text)) => {
                    // Its disk is full, perhaps: nothing is lost by trying again.
                    notices.push(Notice::Unsaved { text });
                    self.phase = Phase::Merged(enrolled.take());
                }
                Some(Ok(())) => {
                    let enrolled = enrolled.take();
                    self.adopt(node, enrolled, clocks, notices);
                }
            },
            _ => {}
        }
    }

    fn adopt(
        &mut self,
        node: &Node,
        enrolled: Option<(Origin, Enrolment)>,
        clocks: Clocks,
        notices: &mut Vec<Notice>,
    ) {
        if let Some((origin, enrolment)) = enrolled {
            if node.restart(self.theirs.clone(), origin).is_err() {
                return notices.push(Notice::Unexpected { what: "too many origins are known" });
            }
            let mut membership = node.membership.lock();
            membership.group.join(enrolment, origin, self.theirs.floor(), super::mono(clocks));
            membership.save();
            node.readiness.lock().joined(super::mono(clocks));
            notices.push(Notice::Joined);
        } else {
            node.adopt_pulled();
        }
        node.snapshots.permit();
        notices.push(Notice::Received { taken: self.taken, dropped: self.dropped });
        self.phase = Phase::Done;
    }
}

/// What judging has ended, for the next sender's group may be another.
fn put_back(node: &Node, joiner: Joiner) {
    // There were as many origins before.
    let _ = node.merge_flushes(&joiner.unseen_flushes);
    for (db, key, ended) in joiner.ended {
        let key = Key::new(db, &key);
        node.store.lock_shard(key.shard()).put_back(&key, ended, &node.store.origins);
    }
}

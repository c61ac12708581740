//! What of a node its group, and a reconcile, take hold of.

use shared::announcement::{Announcement, Member};
use shared::clock::Timestamp;
use shared::conversation::{Answer, Departed, Refusal};
use shared::id::{NodeId, Origin};
use shared::state::{FlushState, Page, PageBuilder, StateError};
use shared::time::{MonoMillis, WallMillis};
use shared::version::{Frontier, Version};

use super::{Node, Pull};
use crate::group::{NotEnrolled, Standing};
use crate::log::{LogStatus, WriteRefused};
use crate::snapshots::Ticket;
use crate::store::ShardSet;
use crate::store::key::ShardId;
use crate::store::origins::TooManyOrigins;
use crate::store::shard::{Flushed, Shard};
use crate::transaction::Clocks;

/// What a node tells its agent.
#[derive(Clone, Debug)]
pub(crate) struct Announced {
    pub(crate) frontier: Frontier,
    pub(crate) clock: Timestamp,
    /// From where its streams are to be pulled: the frontier, but while it takes over a peer's state.
    pub(crate) pull: Frontier,
    /// What all members are to hear; nothing while it is none.
    pub(crate) announcement: Option<Announcement>,
}

/// A page could not be taken over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    TooManyOrigins(#[from] TooManyOrigins),
}

/// Why no client is to be sent to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unready {
    #[error("its log cannot be written: see the node's log and its disk")]
    LogFault,
    #[error("its hybrid clock is far ahead of its wall clock: see tandem-agent reissue")]
    Clock,
    #[error("it was started again, and has not met its group yet")]
    Started,
    #[error("it takes over a peer's state")]
    Receiving,
    #[error("it has not met its group yet")]
    Unmet,
    #[error("it is joining its group")]
    Joining,
    #[error("it has not caught up with the peers that it has met")]
    Behind,
    #[error("it lies {0} ms behind")]
    Lag(u64),
}

impl Node {
    /// A number that nobody can guess, other than zero.
    pub(crate) fn random(&self) -> u64 {
        let mut random = self.random.lock();
        loop {
            let number = random();
            if number != 0 {
                return number;
            }
        }
    }

    /// A peer's Hello told its clock: what is written here from now on is later. One that lies too far in the future does
    /// not count, lest it poison this one: what its node writes will be refused, and nothing else. While the disk is full
    /// nothing is written anyway, and to meet a member then does not yet permit it.
    pub(crate) fn hear_clock(&self, clock: Timestamp, clocks: Clocks) {
        if matches!(self.move_past(clock, clocks), Ok(()) | Err(WriteRefused::PeerClock { .. })) {
            self.take_writes();
        }
    }

    /// Moves the clock past a peer's, if that does not lie too far in the future.
    pub(crate) fn move_past(&self, clock: Timestamp, clocks: Clocks) -> Result<(), WriteRefused> {
        let ahead_ms = clock.wall().0.saturating_sub(clocks.wall.0);
        if ahead_ms > self.log.poison_ms() {
            return Err(WriteRefused::PeerClock { ahead_ms });
        }
        self.log.observe(clock, clocks.wall)
    }

    /// Whether a load balancer may send clients here: it takes writes, unless its role forbids them, and has caught up with
    /// whom it has met.
    ///
    /// The log's status is handed in, for the caller may hold its lock.
    pub(crate) fn is_ready(&self, status: &LogStatus, clocks: Clocks) -> bool {
        self.unready(status, clocks).is_none()
    }

    /// Why a load balancer is to send no client here, if so. As [`Node::is_ready`].
    pub(crate) fn unready(&self, status: &LogStatus, clocks: Clocks) -> Option<Unready> {
        let ahead_ms = status.clock.wall().0.saturating_sub(clocks.wall.0);
        if status.fault.is_some() {
            return Some(Unready::LogFault);
        }
        if self.is_rewinding() || ahead_ms > self.log.poison_ms() {
            return Some(Unready::Clock);
        }
        if !self.takes_writes() {
            return Some(Unready::Started);
        }
        let (standing, is_joining, has_others, has_name) = {
            let group = &self.membership.lock().group;
            (group.standing(), group.is_joining(), group.has_others(), group.own().group.is_some())
        };
        if self.conversation_status.lock().receiving.is_some() {
            return Some(Unready::Receiving);
        }
        let now = MonoMillis(clocks.mono_us / 1_000);
        let mut readiness = self.readiness.lock();
        let has_caught_up = match standing {
            // One that an agent has named a group for may be about to meet it.
            Standing::Unmet => readiness.is_alone(has_name, now),
            Standing::Joining | Standing::Member => {
                !is_joining && readiness.has_caught_up(&status.frontier, has_others, now)
            }
        };
        match standing {
            _ if has_caught_up => None,
            Standing::Unmet => Some(Unready::Unmet),
            Standing::Joining => Some(Unready::Joining),
            Standing::Member => Some(Unready::Behind),
        }
    }

    /// Whether the node has again all that it had told others of before it was started, as far as can be known. Takes the log's
    /// lock: not to be asked by who holds that.
    pub(crate) fn has_recovered(&self, clocks: Clocks) -> bool {
        let has_others = self.membership.lock().group.has_others();
        let held = self.log.frontier();
        let now = MonoMillis(clocks.mono_us / 1_000);
        self.readiness.lock().has_recovered(&held, has_others, now)
    }

    /// Whether the node takes over another's state, or re-issues after that what only it holds.
    pub(crate) fn is_taking_over(&self) -> bool {
        let is_receiving = self.conversation_status.lock().receiving.is_some();
        is_receiving || self.membership.lock().group.is_reissuing()
    }

    /// Announces the role that is set from now on.
    pub(crate) fn take_role(&self) {
        self.membership.lock().group.set_role(self.settings.role());
    }

    /// Takes in what members announced, and who said goodbye.
    pub(crate) fn hear(&self, announcements: &[Announcement], left: &[NodeId], clocks: Clocks) {
        // A batch of a member that is being evicted is either merged before this is announced, or refused.
        let _nothing_half_merged = self.applying.lock();
        let frontier = self.log.frontier();
        let mut membership = self.membership.lock();
        let now = MonoMillis(clocks.mono_us / 1_000);
        for announcement in announcements {
            membership.group.hear(announcement, now);
        }
        left.iter().for_each(|node_id| membership.group.leave(*node_id));
        membership.group.advance(&frontier);
        membership.save();
    }

    /// What the node announces, all of one moment.
    pub(crate) fn announce(&self, clocks: Clocks) -> Announced {
        let applying = self.applying.lock();
        let (frontier, clock) = self.log.standing(clocks.wall);
        let pull = applying.pull.as_ref().map_or_else(|| frontier.clone(), |pull| pull.frontier.clone());
        // Under the lock: whoever hears of an eviction must know all that was taken from the evicted before.
        let announcement = {
            let memory_limit = self.settings.memory.limit() as u64;
            self.membership.lock().announcement(frontier.clone(), clock, memory_limit)
        };
        drop(applying);
        Announced { frontier, clock, pull, announcement }
    }

    /// Counts a node that has taken over this group's state, durably, before it is told so.
    pub(crate) fn enrol(&self, member: Member, clocks: Clocks) -> Answer {
        let _nothing_half_merged = self.applying.lock();
        let standing = self.log.standing(clocks.wall);
        let mut membership = self.membership.lock();
        membership.group.advance(&standing.0);
        let enrolled = membership.group.enrol(member, standing, MonoMillis(clocks.mono_us / 1_000));
        // Somebody may have been evicted to make room.
        let is_saved = membership.save();
        match enrolled {
            Ok(enrolment) if is_saved => Answer::Enrolled(enrolment),
            Ok(_) => {
                let fault = membership.fault().unwrap_or_default();
                Answer::Refused(Refusal::NotNow, format!("the group cannot be saved: {fault}"))
            }
            Err(error @ (NotEnrolled::NoMember | NotEnrolled::NameTaken(_) | NotEnrolled::NameInUse(_))) => {
                Answer::Refused(Refusal::NotNow, error.to_string())
            }
            Err(error) => Answer::Refused(Refusal::Never, error.to_string()),
        }
    }

    /// The newest flush of each database, as a page without keys.
    pub(crate) fn flushes(&self) -> Vec<u8> {
        let mut page = PageBuilder::new();
        self.store.lock_shard(ShardId(0)).flushes().for_each(|flush| page.push_flush(&flush));
        page.finish()
    }

    /// Merges the flushes of such a page.
    pub(crate) fn take_flushes(&self, page: &[u8]) -> Result<(), NotTaken> {
        Ok(self.merge_flushes(Page::decode(page)?.flushes())?)
    }

    /// Merges flushes as if they came by the log.
    pub(crate) fn merge_flushes(&self, flushes: &[FlushState]) -> Result<(), TooManyOrigins> {
        if flushes.is_empty() {
            return Ok(());
        }
        let mut locked = self.store.lock(ShardSet::ALL);
        for flush in flushes {
            for shard in locked.iter_mut() {
                shard.take_flush(flush, &self.store.origins)?;
            }
        }
        Ok(())
    }

    /// Takes back the flushes that others have not seen, and puts `theirs` in their place. Returns what was taken back.
    pub(crate) fn withdraw_flushes(
        &self,
        is_unseen: impl Fn(Version) -> bool,
        theirs: &[FlushState],
    ) -> Vec<FlushState> {
        let mut locked = self.store.lock(ShardSet::ALL);
        let held: Vec<_> = locked.iter().next().into_iter().flat_map(Shard::flushes).collect();
        let withdrawn: Vec<_> = held.into_iter().filter(|flush| is_unseen(flush.entry)).collect();
        for &FlushState { db, .. } in &withdrawn {
            let instead = Flushed::of(theirs, db);
            locked.iter_mut().for_each(|shard| shard.withdraw_flush(db, instead, &self.store.origins));
        }
        withdrawn
    }

    /// Begins to pull from a frontier that this node does not have: what lies within it comes by a reconcile.
    pub(crate) fn pull_from(&self, start: &Frontier) {
        let mut applying = self.applying.lock();
        let mut frontier = self.log.frontier();
        frontier.merge(start);
        applying.pull = Some(Pull { frontier, is_saving: false });
    }

    /// Gives up a reconcile: what it merged does no harm, for it will be merged again.
    pub(crate) fn end_pull(&self) {
        self.applying.lock().pull = None;
    }

    /// Asks for the snapshot that makes durable what a reconcile and the streams since its start have brought.
    pub(crate) fn save_pulled(&self, wall: WallMillis) -> Result<Ticket, WriteRefused> {
        let mut applying = self.applying.lock();
        let frontier = match &mut applying.pull {
            Some(pull) => {
                pull.is_saving = true;
                pull.frontier.clone()
            }
            None => self.log.frontier(),
        };
        self.request_jump(&frontier, wall)
    }

    /// The snapshot is in place: what was pulled counts.
    pub(crate) fn adopt_pulled(&self) {
        let mut applying = self.applying.lock();
        if let Some(pull) = applying.pull.take() {
            self.log.jump(&pull.frontier);
        }
    }

    /// Notes durably what will have to be re-issued: the snapshot of a joiner replaces the frontier that tells it. Says
    /// whether it is noted.
    pub(crate) fn will_reissue(&self, unseen: &[(Origin, Timestamp)]) -> bool {
        let mut membership = self.membership.lock();
        if membership.group.unseen() != unseen {
            membership.group.will_reissue(unseen);
        }
        membership.save()
    }

    /// Notes durably what the peer whose state is taken over, and with it its floor, knows of whom it has evicted. Says
    /// whether it is noted.
    pub(crate) fn learn_departed(&self, theirs: &[Departed]) -> bool {
        let mut membership = self.membership.lock();
        membership.group.learn_departed(theirs);
        membership.save()
    }

    /// Asks for the snapshot of a joiner: its frontier is that of the sender.
    pub(crate) fn save_joined(&self, frontier: &Frontier, wall: WallMillis) -> Result<Ticket, WriteRefused> {
        let _nothing_half_merged = self.applying.lock();
        self.request_restart(frontier.clone(), wall)
    }
}

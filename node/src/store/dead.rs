//! What is dead: remembered only so that older writes, which may still arrive, are told to be.
//!
//! Tombstones, resets, marks and TTL registers that say none are dropped once everybody has the log entry that made
//! them. Looking for them in the tables would cost a pass over every key, so each is noted when it comes about: in a
//! queue per origin of its log entry, oldest first, for that is the order in which they become droppable. A note may
//! turn stale, by a SET after a DEL; it is then passed over. So that stale notes do not pile up while nothing can be
//! dropped, the queues are gone through when they hold more than twice as many notes as there are dead things.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use shared::change::{CellId, Kind};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::version::{Frontier, Version};
use smallvec::SmallVec;

/// How many things are dead, and the bytes that they alone take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dead {
    pub(crate) things: usize,
    pub(crate) bytes: usize,
}

impl Dead {
    pub(crate) const NONE: Self = Self { things: 0, bytes: 0 };

    pub(crate) const fn add(&mut self, other: Self) {
        self.things += other.things;
        self.bytes += other.bytes;
    }

    pub(crate) const fn subtract(&mut self, other: Self) {
        self.things -= other.things;
        self.bytes -= other.bytes;
    }
}

/// The log entries of what is dead of a key as a whole.
pub(crate) type DeadParts = [Option<Version>; 3];

/// Where something dead is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The hash by which the tables are searched; with 64 bits it is as good as the key.
    pub(super) table_hash: u64,
    pub(super) db: u8,
    pub(super) slot: u8,
    /// None for what is dead of the key as a whole.
    pub(super) cell: Option<Box<CellName>>,
}

/// A cell by its name. Each pop makes one: a list's ids lie in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CellName {
    kind: Kind,
    element: SmallVec<[u8; ELEMENT_INLINE]>,
}

/// As long as most ids of a list's elements.
const ELEMENT_INLINE: usize = 28;

impl CellName {
    pub(super) fn of(id: &CellId<'_>) -> Self {
        Self { kind: id.kind, element: SmallVec::from_slice(&id.element) }
    }

    pub(super) fn id(&self) -> CellId<'_> {
        CellId { kind: self.kind, element: Cow::Borrowed(&self.element) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Note {
    at: Timestamp,
    place: Place,
}

/// The notes of a shard.
#[derive(Default)]
pub(super) struct Registry {
    queues: BTreeMap<Origin, VecDeque<Note>>,
    length: usize,
    element_bytes: usize,
    /// How many notes were left when the queues were last gone through.
    compacted: usize,
}

/// Below this many notes no queue is gone through: it would cost more than it frees.
const NOTES_MIN: usize = 256;

impl Registry {
    /// Notes something dead that the log entry made.
    pub(super) fn note(&mut self, entry: Version, place: Place) {
        let queue = self.queues.entry(entry.origin).or_default();
        if queue.back().is_some_and(|last| last.at == entry.timestamp && last.place == place) {
            return;
        }
        self.length += 1;
        self.element_bytes += element_bytes(&place);
        queue.push_back(Note { at: entry.timestamp, place });
    }

    /// What the notes take.
    pub(super) const fn bytes(&self) -> usize {
        self.length * size_of::<Note>() + self.element_bytes
    }

    /// Nothing is dead: every note is stale.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes up to `limit` notes of what `stable` covers.
    pub(super) fn take_stable(&mut self, stable: &Frontier, limit: usize) -> Vec<Place> {
        let mut taken = Vec::new();
        for (origin, queue) in &mut self.queues {
            let upto = stable.get(*origin);
            while taken.len() < limit
                && let Some(note) = queue.pop_front_if(|note| note.at <= upto)
            {
                self.length -= 1;
                self.element_bytes -= element_bytes(&note.place);
                taken.push(note.place);
            }
        }
        self.queues.retain(|_, queue| !queue.is_empty());
        self.compacted = self.compacted.min(self.length);
        taken
    }

    /// Whether too many notes are stale, if so many things are dead.
    pub(super) const fn is_stale(&self, things: usize) -> bool {
        self.length > NOTES_MIN && self.length > 2 * things && self.length > 2 * self.compacted
    }

    /// Keeps the notes of what is still dead, each once and in order.
    pub(super) fn compact(&mut self, is_dead: impl Fn(Version, &Place) -> bool) {
        for (origin, queue) in &mut self.queues {
            let mut notes = Vec::from(std::mem::take(queue));
            notes.retain(|note| is_dead(Version::new(note.at, *origin), &note.place));
            notes.sort_unstable();
            notes.dedup();
            notes.shrink_to(notes.len() * 2);
            *queue = notes.into();
        }
        self.queues.retain(|_, queue| !queue.is_empty());
        self.length = self.queues.values().map(VecDeque::len).sum();
        self.compacted = self.length;
        let places = self.queues.values().flatten().map(|note| &note.place);
        self.element_bytes = places.map(element_bytes).sum();
    }
}

fn element_bytes(place: &Place) -> usize {
    place
        .cell
        .as_ref()
        .map_or(0, |cell| size_of::<CellName>() + if cell.element.spilled() { cell.element.len() } else { 0 })
}

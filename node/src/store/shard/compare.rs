//! What two nodes tell each other of a slot's keys, and what they make of it.

use std::collections::HashSet;

use shared::state::{FlushState, KeyState, PageBuilder};
use shared::version::{Frontier, Version};

use super::super::key::{Key, key_hash};
use super::super::origins::{Origins, TooManyOrigins};
use super::super::rich::{Ended, Joining, Judged, RichKey, Settled, Source};
use super::super::state::{What, entries};
use super::{DATABASES, Entry, Flushed, Shard, Writer, slot_in_shard};

/// A key of a slot with its digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyDigests {
    pub(crate) db: u8,
    pub(crate) key: Box<[u8]>,
    /// Of everything live, values included.
    pub(crate) deep: u64,
    /// Of versions, as in the slot's.
    pub(crate) shallow: u64,
}

/// A node that joins, as far as judging is concerned.
#[derive(Debug)]
pub(crate) struct Joiner {
    /// Its own origin, and its clock when digests were compared.
    pub(crate) now: Version,
    /// Its flushes that the group has not seen, withdrawn meanwhile.
    pub(crate) unseen_flushes: Vec<FlushState>,
    /// The keys whose end, which the group has not seen, ends something there. Bounded by the keys that both hold.
    pub(crate) kept: HashSet<(u8, Box<[u8]>)>,
    /// Where it ended nothing, and is gone. Bounded likewise.
    pub(crate) ended: Vec<(u8, Box<[u8]>, Ended)>,
}

impl Joiner {
    fn note(&mut self, key: &Key<'_>, settled: Settled) {
        match settled {
            Settled::Nothing => {}
            Settled::Kept => {
                self.kept.insert((key.db, key.bytes.into()));
            }
            Settled::Ended(ended) => self.ended.push((key.db, key.bytes.into(), ended)),
        }
    }
}

impl Shard {
    /// The digest of a slot of this shard, over all databases.
    pub(crate) fn slot_digest(&self, slot: usize) -> u64 {
        if !self.reached.has(slot) {
            return 0;
        }
        let slots = self.databases.iter().filter_map(|database| database.slots.as_ref());
        slots.fold(0, |digest, slots| digest ^ slots[slot_in_shard(slot)].digest)
    }

    /// How many keys of a slot hold anything live, expired ones included.
    pub(crate) fn slot_live(&self, slot: usize) -> usize {
        (0..DATABASES).flat_map(|db| self.slot(db, slot)).filter(|entry| entry.kind().is_some()).count()
    }

    /// The newest log entries that reached a slot, whether they won or not. One origin may come twice.
    pub(crate) fn slot_lasts(&self, slot: usize) -> impl Iterator<Item = Version> + '_ {
        let slots = self.databases.iter().filter_map(|database| database.slots.as_ref());
        let of_slot = slots.flat_map(move |slots| slots[slot_in_shard(slot)].lasts.iter());
        of_slot.chain(self.lasts.iter())
    }

    /// Forgets what [`Shard::slot_lasts`] tells of that `stable` covers.
    pub(crate) fn forget_lasts(&mut self, stable: &Frontier) {
        let slots = self.databases.iter_mut().filter_map(|database| database.slots.as_mut());
        let slots = slots.flat_map(|slots| slots.iter_mut().enumerate());
        let reached = slots.filter(|(slot, _)| self.reached.has(*slot));
        reached.for_each(|(_, slot)| slot.lasts.forget(stable));
        self.lasts.forget(stable);
    }

    /// Whether the slot may hold keys: whether anything ever reached it.
    pub(crate) const fn has_reached(&self, slot: usize) -> bool {
        self.reached.has(slot)
    }

    /// Adds what is asked for of the slot's keys to a page.
    pub(crate) fn collect_slot(&self, slot: usize, what: What<'_>, out: &mut PageBuilder, origins: &Origins) {
        if !self.reached.has(slot) {
            return;
        }
        for db in 0..DATABASES {
            self.slot(db, slot)
                .filter_map(|entry| entry.state(db, self.flushed(db), what, origins))
                .for_each(|state| out.push(&state));
        }
    }

    /// The slot's keys of which `covered` does not cover everything.
    pub(crate) fn uncovered_keys(
        &self,
        slot: usize,
        covered: &Frontier,
        origins: &Origins,
    ) -> Vec<(u8, Box<[u8]>)> {
        let what = What::Uncovered(covered);
        let mut keys = self.keys_but(slot, &HashSet::new());
        keys.retain(|(db, bytes)| {
            let entry = self.find(&Key::new(*db, bytes));
            entry.is_some_and(|entry| entry.state(*db, self.flushed(*db), what, origins).is_some())
        });
        keys
    }

    /// The flushes that went over this shard's databases: a flush goes over all shards alike.
    pub(crate) fn flushes(&self) -> impl Iterator<Item = FlushState> + '_ {
        (0..DATABASES)
            .zip(&self.databases)
            .filter(|(_, database)| database.flushed.version > Version::ZERO)
            .map(|(db, database)| FlushState {
                db,
                version: database.flushed.version,
                entry: database.flushed.entry,
            })
    }

    /// Takes in a flush that a snapshot or another node tells of, as if it came by the log.
    pub(crate) fn take_flush(
        &mut self,
        flush: &FlushState,
        origins: &Origins,
    ) -> Result<bool, TooManyOrigins> {
        let index = origins.intern(flush.entry.origin)?;
        let writer = Writer { at: flush.entry, index, source: Source::Log, usage: None };
        self.merge_flush(flush.db, flush.version, writer, origins)
    }

    /// Puts in a key as a snapshot has it. The caller takes in the snapshot's flushes, too, before or after.
    pub(crate) fn load(&mut self, state: &KeyState<'_>, origins: &Origins) {
        let key = Key::new(state.db, state.key);
        self.note_entries(&key, state, origins);
        let flushed = self.databases[usize::from(key.db)].flushed;
        self.take(&key, origins);
        let entry = Entry::of_state(state, flushed, origins);
        if !entry.is_vacant(flushed.version, origins) {
            self.insert(key.db, entry, origins);
        }
    }

    /// Makes one of the slot's keys here, at the frontier `ours`, and all that another node holds of the slot, at the
    /// frontier `theirs_frontier`. See [`RichKey::judge`](super::super::rich::RichKey::judge). Keys of other slots are
    /// passed over. Their flushes are to be taken in before.
    pub(crate) fn judge_slot(
        &mut self,
        slot: usize,
        theirs: &[KeyState<'_>],
        ours: &Frontier,
        theirs_frontier: &Frontier,
        mut joiner: Option<&mut Joiner>,
        origins: &Origins,
    ) -> Judged {
        let frontiers = (ours, theirs_frontier);
        let mut judged = Judged::default();
        let mut told = HashSet::with_capacity(theirs.len());
        for state in theirs {
            let key = Key::new(state.db, state.key);
            if key.slot() == slot {
                told.insert((state.db, state.key));
                judged.add(self.judge_key(&key, state, frontiers, joiner.as_deref_mut(), origins));
            }
        }
        for (db, bytes) in self.keys_but(slot, &told) {
            let nothing = KeyState::new(db, &bytes);
            let (key, joiner) = (Key::new(db, &bytes), joiner.as_deref_mut());
            judged.add(self.judge_key(&key, &nothing, frontiers, joiner, origins));
        }
        judged
    }

    fn keys_but(&self, slot: usize, told: &HashSet<(u8, &[u8])>) -> Vec<(u8, Box<[u8]>)> {
        if !self.reached.has(slot) {
            return Vec::new();
        }
        let of = |db| self.slot(db, slot).map(move |entry| (db, entry.key()));
        let others = (0..DATABASES).flat_map(of).filter(|id| !told.contains(id));
        others.map(|(db, key)| (db, key.into())).collect()
    }

    fn judge_key(
        &mut self,
        key: &Key<'_>,
        theirs: &KeyState<'_>,
        (ours, theirs_frontier): (&Frontier, &Frontier),
        joiner: Option<&mut Joiner>,
        origins: &Origins,
    ) -> Judged {
        let held = self.find(key);
        let state = held.and_then(|held| held.state(key.db, self.flushed(key.db), What::Everything, origins));
        if state.as_ref() == Some(theirs) || (state.is_none() && theirs.is_empty()) {
            return Judged::default();
        }
        self.note_entries(key, theirs, origins);
        let joining = joiner.as_ref().map(|joiner| self.joining(joiner, key.db));
        if let Some(joiner) = joiner {
            self.settle_unseen(key, theirs, theirs_frontier, joiner, origins);
        }
        let judged = self.edit(key, origins, |rich| rich.judge(theirs, ours, theirs_frontier, joining));
        if !judged.is_nothing() {
            self.watchers.tell(key);
        }
        judged
    }

    fn joining(&self, Joiner { now, unseen_flushes, .. }: &Joiner, db: u8) -> Joining {
        let flushed = self.databases[usize::from(db)].flushed;
        Joining { now: *now, flushed, unseen_flush: Flushed::of(unseen_flushes, db) }
    }

    /// For a node that joins, before anything of theirs is merged into the key. See [`RichKey::settle_unseen`].
    pub(crate) fn settle_unseen(
        &mut self,
        key: &Key<'_>,
        theirs: &KeyState<'_>,
        theirs_frontier: &Frontier,
        joiner: &mut Joiner,
        origins: &Origins,
    ) {
        if theirs.is_empty() || joiner.kept.contains(&(key.db, key.bytes.into())) {
            return;
        }
        let joining = self.joining(joiner, key.db);
        let settled =
            self.edit(key, origins, |rich| rich.settle_unseen(Some(theirs), theirs_frontier, joining));
        joiner.note(key, settled);
    }

    /// For a node that has joined: its deletions that its group has not seen, and which end nothing there, are gone.
    pub(crate) fn end_unseen(
        &mut self,
        slot: usize,
        theirs_frontier: &Frontier,
        joiner: &Joiner,
        origins: &Origins,
    ) {
        for (db, bytes) in self.keys_but(slot, &HashSet::new()) {
            let (key, joining) = (Key::new(db, &bytes), self.joining(joiner, db));
            let entry = self.find(&key);
            let is_unseen =
                entry.is_some_and(|entry| joining.is_unseen(entry.reset_entry(origins), theirs_frontier));
            if is_unseen && !joiner.kept.contains(&(db, bytes.clone())) {
                self.edit(&key, origins, |rich| rich.settle_unseen(None, theirs_frontier, joining));
            }
        }
    }

    /// For a node that does not join after all.
    pub(crate) fn put_back(&mut self, key: &Key<'_>, ended: Ended, origins: &Origins) {
        self.edit(key, origins, |rich| rich.put_back(ended));
        self.watchers.tell(key);
    }

    /// Merges what is dead of another node's key, which may be of any slot of this shard; `ours` is the own frontier.
    /// Returns how many parts changed anything.
    pub(crate) fn merge_dead(&mut self, theirs: &KeyState<'_>, ours: &Frontier, origins: &Origins) -> usize {
        self.merge_state(theirs, origins, |rich| rich.merge_dead(theirs, ours))
    }

    /// Merges all of another node's key, dropping nothing but what newer versions replace. With `overwrite_equal` their
    /// value replaces ours where versions are equal, as a repair needs it. Returns how many parts changed.
    pub(crate) fn unite_key(
        &mut self,
        theirs: &KeyState<'_>,
        overwrite_equal: bool,
        origins: &Origins,
    ) -> usize {
        self.merge_state(theirs, origins, |rich| rich.unite(theirs, overwrite_equal))
    }

    fn merge_state(
        &mut self,
        theirs: &KeyState<'_>,
        origins: &Origins,
        merge: impl FnOnce(&mut RichKey) -> usize,
    ) -> usize {
        let key = Key::new(theirs.db, theirs.key);
        self.note_entries(&key, theirs, origins);
        let changed = self.edit(&key, origins, merge);
        if changed > 0 {
            self.watchers.tell(&key);
        }
        changed
    }

    /// Notes the log entries of what is about to be held: so that it can be told which slots may differ, and all origins
    /// of what is held are known. That there are too many shows when one of them is written.
    fn note_entries(&mut self, key: &Key<'_>, state: &KeyState<'_>, origins: &Origins) {
        self.reached.note(key.slot());
        let slots = self.databases[usize::from(key.db)].slots();
        let lasts = &mut slots[slot_in_shard(key.slot())].lasts;
        for entry in entries(state) {
            let _ = origins.intern(entry.origin);
            lasts.note(entry);
        }
    }

    /// As [`Shard::slot_digest`], of values and expiries, too: computed when asked for.
    pub(crate) fn deep_digest(&self, slot: usize, origins: &Origins) -> u64 {
        let of = |db| self.slot(db, slot).map(move |entry| (db, entry));
        let entries = (0..DATABASES).flat_map(of);
        entries.fold(0, |digest, (db, entry)| digest ^ entry.deep_digest(db, key_hash(entry.key()), origins))
    }

    /// The slot's keys of which anything is live, with their digests.
    pub(crate) fn key_digests(&self, slot: usize, origins: &Origins) -> Vec<KeyDigests> {
        let of = |db| self.slot(db, slot).map(move |entry| (db, entry));
        let digests = (0..DATABASES).flat_map(of).map(|(db, entry)| {
            let hash = key_hash(entry.key());
            KeyDigests {
                db,
                key: entry.key().into(),
                deep: entry.deep_digest(db, hash, origins),
                shallow: entry.digest(db, hash, origins),
            }
        });
        digests.filter(|digests| digests.shallow != 0).collect()
    }
}

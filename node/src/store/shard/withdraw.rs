//! Taking back what a poisoned clock has stamped with the far future: see [`rewind`](crate::node::rewind).

use shared::clock::Timestamp;
use shared::version::Frontier;

use super::super::key::Key;
use super::super::origins::Origins;
use super::{Flushed, Shard};

impl Shard {
    /// Takes out of a key what lies in the future. See [`RichKey::withdraw`](super::super::rich::RichKey::withdraw).
    pub(crate) fn withdraw(&mut self, key: &Key<'_>, covered: &Frontier, at: Timestamp, origins: &Origins) {
        let flushed = self.databases[usize::from(key.db)].flushed;
        self.edit(key, origins, |rich| rich.withdraw(covered, at, flushed));
    }

    /// See [`RichKey::settle_marks`](super::super::rich::RichKey::settle_marks).
    pub(crate) fn settle_marks(&mut self, key: &Key<'_>, covered: &Frontier, origins: &Origins) {
        let flushed = self.databases[usize::from(key.db)].flushed;
        self.edit(key, origins, |rich| rich.settle_marks(covered, flushed));
    }

    /// Takes back a database's flush for an older one, and leaves its keys as they are: of those that it went over nothing
    /// is left.
    pub(crate) fn withdraw_flush(&mut self, db: u8, instead: Flushed, origins: &Origins) {
        self.databases[usize::from(db)].flushed = instead;
        let slots = self.take_slots(db);
        for slot in slots.into_iter().flatten() {
            // Where they were is no more: they count for every slot, as after a flush.
            slot.lasts.iter().for_each(|entry| self.lasts.note(entry));
            for entry in slot.table {
                self.insert(db, entry, origins);
            }
        }
    }

    /// Makes the notes of what reached the slots last fit what was withdrawn, and issued anew under another origin.
    pub(crate) fn withdraw_lasts(&mut self, covered: &Frontier) {
        let slots = self.databases.iter_mut().filter_map(|database| database.slots.as_mut());
        slots.flat_map(|slots| slots.iter_mut()).for_each(|slot| slot.lasts.withdraw(covered));
        self.lasts.withdraw(covered);
    }
}

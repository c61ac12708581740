//! What a shard takes of memory: counted as it changes.

use std::hash::BuildHasher;

use super::Shard;

impl Shard {
    /// Makes the slot's table take one more key as it is.
    pub(super) fn make_room(&mut self, db: u8, place: usize) {
        let slot = &mut self.databases[usize::from(db)].slots()[place];
        if slot.is_full() {
            let hasher = &self.hasher;
            let before = slot.table.allocation_size();
            slot.table.reserve(1, |entry| hasher.hash_one(entry.key()));
            let after = slot.table.allocation_size();
            self.count_bytes(db, before, after);
        }
    }

    /// Counts what has come to take so much of memory.
    pub(super) fn count_bytes(&mut self, db: u8, before: usize, after: usize) {
        let database = &mut self.databases[usize::from(db)];
        database.bytes = database.bytes + after - before;
        self.account.change(before, after);
        self.account.tell(self.dead.bytes);
    }

    /// What the shard takes of memory, in bytes, as far as it can be told without the allocator: keys, dead or alive, tables,
    /// and the notes of what is dead.
    pub(crate) const fn bytes(&self) -> usize {
        self.account.bytes() + self.registry.bytes()
    }
}

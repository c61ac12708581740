//! What a shard takes of memory: counted as it changes.

use super::Shard;
use crate::store::entry::Entry;

impl Shard {
    /// Puts an entry that is not there into its slot's table, and counts what that takes.
    pub(super) fn put_in(&mut self, db: u8, place: usize, table_hash: u64, entry: Entry) {
        let table = &mut self.databases[usize::from(db)].slots()[place].table;
        let before = table.allocation_size();
        table.insert(table_hash, entry);
        let after = table.allocation_size();
        if before != after {
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

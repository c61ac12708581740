//! Writes of clients to packed keys, at one look: who writes is told what is there, and decides.
//!
//! They come to the same as [merging](Shard::merge) the change does, for keys that clients see before and after, of which
//! nothing but one cell changes. All others are merged.

use shared::change::Op;
use shared::time::WallMillis;

use super::database::slot_in_shard;
use super::{Shard, Writer};
use crate::store::dead::Dead;
use crate::store::digest;
use crate::store::entry::{CellChange, Count, Packed, Put, ViewMut, is_of};
use crate::store::key::Key;
use crate::store::origins::Origins;

impl Shard {
    /// Carries out the write of an element, if clients see its collection at `now`, and `decide` wants it, told the score of
    /// what is there: see [`Packed::put`].
    pub(crate) fn put_element(
        &mut self,
        key: &Key<'_>,
        op: &Op<'_>,
        writer: Writer,
        now: WallMillis,
        origins: &Origins,
        decide: &mut dyn FnMut(Option<f64>) -> bool,
    ) -> Put {
        let mut put = Put::Elsewhere;
        let Op::Cell(id, Some(value)) = op else { return put };
        let change = |packed: &mut Packed| {
            put = packed.put(id, value, writer.at, decide);
            if let Put::Done(change) = put { Some((change, ())) } else { None }
        };
        self.write_packed(key, writer, now, origins, change);
        put
    }

    /// Adds to a counter that clients see at `now`: see [`Packed::increment`]. Returns what it comes to; none if the change
    /// is to be merged.
    pub(crate) fn increment(
        &mut self,
        key: &Key<'_>,
        by: i64,
        writer: Writer,
        now: WallMillis,
        origins: &Origins,
    ) -> Option<Count> {
        self.write_packed(key, writer, now, origins, |packed| {
            let (old, new) = packed.increment(by, writer)?;
            Some((
                CellChange { before: old.digest(origins), after: new.digest(origins), revived: Dead::NONE },
                new,
            ))
        })
    }

    /// Lets a packed key be changed that clients see at `now`, and counts what has become of it.
    fn write_packed<T>(
        &mut self,
        key: &Key<'_>,
        writer: Writer,
        now: WallMillis,
        origins: &Origins,
        write: impl FnOnce(&mut Packed) -> Option<(CellChange, T)>,
    ) -> Option<T> {
        let database = &mut self.databases[usize::from(key.db)];
        let slot = &mut database.slots.as_mut()?[slot_in_shard(key.slot())];
        let table_hash = std::hash::BuildHasher::hash_one(&self.hasher, key.bytes);
        let entry = slot.table.find_mut(table_hash, |entry| is_of(entry, key))?;
        let bytes_before = entry.held_bytes();
        let ViewMut::Packed(packed) = entry.view_mut() else { return None };
        let ttl = packed.ttl(origins);
        let is_expired = ttl.and_then(|ttl| ttl.expiry).is_some_and(|expiry| now > expiry);
        let reset = database.flushed.version.timestamp.max(packed.timestamp());
        if is_expired || reset >= writer.at.timestamp {
            return None;
        }
        let (change, result) = write(packed)?;
        writer.note_use(entry, &mut self.luck);
        let bytes = entry.held_bytes();
        slot.lasts.note(writer.at);
        let ttl = ttl.filter(|ttl| ttl.expiry.is_some()).map_or(0, |ttl| digest::ttl(ttl.version));
        let digest = |parts: u64| digest::key(key.db, key.hash, parts ^ ttl);
        slot.digest ^= digest(change.before) ^ digest(change.after);
        if change.revived != Dead::NONE {
            database.dead.subtract(change.revived);
            self.dead.subtract(change.revived);
            self.compact_registry(origins);
        }
        self.count_bytes(key.db, bytes_before, bytes);
        self.tell(key, true);
        Some(result)
    }
}

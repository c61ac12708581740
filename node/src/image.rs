//! The store as blocks of bytes, for snapshots. So far of keys that hold plain strings only.

use std::borrow::Cow;

use shared::change::{DATABASES, Op};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::time::WallMillis;
use shared::version::Version;

use crate::node::Node;
use crate::store::Store;
use crate::store::entry::Entry;
use crate::store::key::{Key, SHARDS, ShardId};
use crate::store::rich::Source;
use crate::store::shard::Writer;

/// Flushes (shard, database, version), then keys (database, key, version, string, TTL).
type Block = (Vec<(u8, u8, Stamp)>, Vec<(u8, Vec<u8>, Stamp, Option<Vec<u8>>, Option<(Stamp, Option<u64>)>)>);
type Stamp = (u64, u64);

/// A block is given away when it holds so many keys.
const BLOCK_KEYS: usize = 1024;

/// Gives what a shard holds, in blocks, locking it for a database at a time.
pub(crate) fn encode_shard(node: &Node, id: ShardId, give: &mut dyn FnMut(&[u8])) {
    let mut block = Block::default();
    for db in 0..DATABASES {
        let shard = node.store.lock_shard(id);
        block.0.push((id.0, db, stamp(shard.flushed(db))));
        block.1.extend(shard.entries(db).filter_map(|entry| encode_entry(node, db, entry)));
        drop(shard);
        if block.1.len() >= BLOCK_KEYS {
            give_away(&mut block, give);
        }
    }
    give_away(&mut block, give);
}

fn give_away(block: &mut Block, give: &mut dyn FnMut(&[u8])) {
    give(
        &rmp_serde::to_vec(block)
            .expect("a vector takes every byte and a block has no part that MessagePack lacks"),
    );
    *block = Block::default();
}

#[expect(clippy::type_complexity, reason = "an element of a block")]
fn encode_entry(
    node: &Node,
    db: u8,
    entry: &Entry,
) -> Option<(u8, Vec<u8>, Stamp, Option<Vec<u8>>, Option<(Stamp, Option<u64>)>)> {
    let origins = &node.store.origins;
    let Entry::Packed(packed) = entry else { return None };
    let value = (!packed.is_tombstone()).then(|| packed.value().to_vec());
    let ttl = entry.ttl(origins).map(|ttl| (stamp(ttl.version), ttl.expiry.map(|expiry| expiry.0)));
    Some((db, packed.key().to_vec(), stamp(packed.version(origins)), value, ttl))
}

/// Puts a block into the store.
pub(crate) fn load_block(store: &Store, block: &[u8]) -> Result<(), String> {
    let (flushes, keys): Block = rmp_serde::from_slice(block).map_err(|error| error.to_string())?;
    for (id, db, at) in flushes {
        if usize::from(id) >= SHARDS || db >= DATABASES {
            return Err("no such shard or database".to_owned());
        }
        let writer = writer(store, at)?;
        store
            .lock_shard(ShardId(id))
            .merge_flush(db, writer, &store.origins)
            .map_err(|error| error.to_string())?;
    }
    for (db, bytes, at, value, ttl) in keys {
        let key = Key::new(db, &bytes);
        let op = value.map_or(Op::Reset, |value| Op::Set(Cow::Owned(value)));
        let mut shard = store.lock_shard(key.shard());
        shard.merge(&key, op, writer(store, at)?, &store.origins).map_err(|error| error.to_string())?;
        if let Some((at, expiry)) = ttl {
            let op = Op::Expire(expiry.map(WallMillis));
            shard.merge(&key, op, writer(store, at)?, &store.origins).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

const fn stamp(version: Version) -> Stamp {
    (version.timestamp.0, version.origin.0)
}

fn writer(store: &Store, (timestamp, origin): Stamp) -> Result<Writer, String> {
    let at = Version::new(Timestamp(timestamp), Origin(origin));
    let index = store.origins.intern(at.origin).map_err(|error| error.to_string())?;
    Ok(Writer { at, index, source: Source::Log })
}

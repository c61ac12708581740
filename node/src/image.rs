//! The store as blocks of bytes, for snapshots: pages of key states.

use parking_lot::MutexGuard;
use shared::state::{Page, PageBuilder};

use crate::node::Node;
use crate::store::Store;
use crate::store::key::{Key, SLOTS_PER_SHARD, ShardId};
use crate::store::shard::Shard;
use crate::store::state::What;

/// A block is given away when it is this long, in bytes; one with a longer key is longer.
const BLOCK_BYTES: usize = 256 << 10;

/// Gives what a shard holds, in blocks, locking it a slot at a time.
pub(crate) fn encode_shard(node: &Node, id: ShardId, give: &mut dyn FnMut(&[u8])) {
    let mut page = PageBuilder::new();
    let first = id.index() * SLOTS_PER_SHARD;
    for slot in first..first + SLOTS_PER_SHARD {
        let shard = node.store.lock_shard(id);
        if slot == first {
            // A flush goes over all shards alike, and each shard's part of it is merged with its keys.
            shard.flushes().for_each(|flush| page.push_flush(&flush));
        }
        shard.collect_slot(slot, What::Everything, &mut page, &node.store.origins);
        drop(shard);
        if page.bytes() >= BLOCK_BYTES {
            give(&std::mem::take(&mut page).finish());
        }
    }
    if !page.is_empty() {
        give(&page.finish());
    }
}

/// Puts a block into the store. Blocks may come in any order, and on several threads: each key stands in one block, and a
/// flush comes to the same before a key and after it.
pub(crate) fn load_block(store: &Store, block: &[u8]) -> Result<(), String> {
    let page = Page::decode(block).map_err(|error| error.to_string())?;
    for flush in page.flushes() {
        for id in ShardId::all() {
            store.lock_shard(id).take_flush(flush, &store.origins).map_err(|error| error.to_string())?;
        }
    }
    // Keys of one shard stand together.
    let mut locked: Option<MutexGuard<'_, Shard>> = None;
    for state in page.keys() {
        let state = state.map_err(|error| error.to_string())?;
        let id = Key::new(state.db, state.key).shard();
        let shard = match locked.take() {
            Some(shard) if shard.id() == id => locked.insert(shard),
            other => {
                drop(other);
                locked.insert(store.lock_shard(id))
            }
        };
        shard.load(&state, &store.origins);
    }
    Ok(())
}

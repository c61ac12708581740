//! The state as one comparable value: whatever way it took to get there, equal states give equal values.

use std::collections::BTreeMap;

use shared::change::{DATABASES, Kind, Sum, Value};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::time::WallMillis;
use shared::version::Version;

use super::key::ShardId;
use super::rich::RichKey;
use super::{ShardSet, Store};

/// What is held of every key, with what each database's flushes have come to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Canonical {
    pub(crate) keys: BTreeMap<(u8, Vec<u8>), CanonicalKey>,
    pub(crate) flushed: Vec<Version>,
}

/// What is held of a key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CanonicalKey {
    pub(crate) reset: Version,
    pub(crate) ttl: Option<(Version, Option<WallMillis>)>,
    pub(crate) mark: Option<(Version, WallMillis)>,
    pub(crate) cells: Vec<CanonicalCell>,
}

type CanonicalCell =
    (Kind, Vec<u8>, Option<(Version, Option<Value<'static>>)>, Vec<(Origin, Timestamp, Timestamp, Sum)>);

impl Store {
    pub(crate) fn canonical(&self) -> Canonical {
        let locked = self.lock(ShardSet::ALL);
        let mut keys = BTreeMap::new();
        for db in 0..DATABASES {
            for shard in locked.iter() {
                let flushed = shard.flushed(db);
                for entry in shard.entries(db) {
                    let key = canonical_key(entry.to_rich(&self.origins), flushed);
                    let vacant = key.cells.is_empty() && key.ttl.is_none() && key.mark.is_none();
                    if !vacant || key.reset > flushed {
                        keys.insert((db, entry.key().to_vec()), key);
                    }
                }
            }
        }
        drop(locked);
        let shard = self.lock_shard(ShardId(0));
        Canonical { keys, flushed: (0..DATABASES).map(|db| shard.flushed(db)).collect() }
    }
}

fn canonical_key(rich: RichKey, flushed: Version) -> CanonicalKey {
    let cells = rich.cells.iter().map(|(id, cell)| {
        let contributions = cell.contributions.iter();
        let contributions = contributions.map(|(origin, own)| (*origin, own.first, own.last, own.sum));
        (id.kind, id.element.to_vec(), cell.clone().into_owned().base, contributions.collect())
    });
    let mut cells: Vec<CanonicalCell> = cells.collect();
    cells.sort_by(|left, right| (left.0, &left.1).cmp(&(right.0, &right.1)));
    CanonicalKey {
        reset: rich.reset.max(flushed),
        ttl: rich.ttl.map(|ttl| (ttl.version, ttl.expiry)),
        mark: rich.mark.map(|mark| (mark.reset, mark.expiry)),
        cells,
    }
}

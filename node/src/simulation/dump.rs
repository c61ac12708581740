//! All that a node holds, to compare.

use std::collections::{BTreeMap, BTreeSet};

use shared::change::{DATABASES, Kind};
use shared::time::WallMillis;
use shared::version::Version;

use super::SimulatedNode;
use crate::conversation::receiving::Receiving;
use crate::store::ShardSet;
use crate::store::canonical;
use crate::store::collection::Element;
use crate::store::key::{Key, SLOTS, SLOTS_PER_SHARD, ShardId};
use crate::transaction::{Clocks, Transaction};

/// What a client sees of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What kind of value it holds.
    pub kind: &'static str,
    /// A string's bytes. Of other kinds a line per element, in the order of their ids: the id and the value, in text.
    pub value: Vec<u8>,
    /// When it expires, in milliseconds of Unix time.
    pub expiry: Option<u64>,
}

/// What clients see: every key of every database.
pub type Visible = BTreeMap<(u8, Vec<u8>), Seen>;

/// What is held of every key, the dead parts included. Equal changes give equal values.
#[derive(Clone, Debug, PartialEq)]
pub struct Canonical(canonical::Canonical);

/// What a change did to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// It ended what was there.
    Reset,
    /// It marked the end of what had expired.
    Mark,
    /// It set an expiry.
    Expiry,
    /// It wrote a value.
    Value,
    /// It added to a number.
    Sum,
}

/// A part that is held though no frontier covers it: database, key (none of a flush), part, version.
pub type Stray = (u8, Vec<u8>, Part, Version);

impl Canonical {
    /// The first few things in these slots in which two differ, as text.
    #[must_use]
    pub fn difference(&self, other: &Self, slots: &[usize]) -> String {
        let keys: BTreeSet<_> = self.0.keys.keys().chain(other.0.keys.keys()).collect();
        let asked = keys.into_iter().filter(|key| slots.contains(&Key::new(key.0, &key.1).slot()));
        let unequal = asked.filter(|key| self.0.keys.get(key) != other.0.keys.get(key));
        let lines = unequal.take(3).map(|key| {
            let name = String::from_utf8_lossy(&key.1);
            format!("{}:{name}: {:?}\n     {:?}", key.0, self.0.keys.get(key), other.0.keys.get(key))
        });
        let flushed = (self.0.flushed != other.0.flushed)
            .then(|| format!("flushes: {:?}\n     {:?}", self.0.flushed, other.0.flushed));
        lines.chain(flushed).collect::<Vec<_>>().join("\n")
    }
}

/// The lines of [`Seen::value`].
fn elements(reads: &Transaction<'_>, key: &Key<'_>, kind: Kind) -> Vec<u8> {
    let collection = reads.collection(key, kind).expect("it is of this kind").expect("it is there");
    let line = |(id, value): Element<'_>| {
        let value = match kind {
            Kind::SortedSet => collection.score(&id).unwrap_or_default().to_string().into_bytes(),
            _ => value.into_owned(),
        };
        let line = line_of(&id, &value);
        (id.into_owned(), line)
    };
    let mut lines: Vec<(Vec<u8>, Vec<u8>)> = collection.iter().map(line).collect();
    assert_eq!(lines.len(), collection.len(), "places count what is live");
    lines.sort();
    lines.into_iter().flat_map(|(_, line)| line).collect()
}

/// How [`Seen::value`] tells of an element.
#[must_use]
pub fn line_of(id: &[u8], value: &[u8]) -> Vec<u8> {
    format!("{} {}\n", id.escape_ascii(), value.escape_ascii()).into_bytes()
}

impl SimulatedNode {
    /// What clients see at a moment, which must not lie before the node's clock.
    ///
    /// # Panics
    /// If a key cannot be read.
    #[must_use]
    pub fn visible(&self, at: WallMillis) -> Visible {
        let node = &self.server.node;
        let clocks = Clocks { wall: at, mono_us: 0 };
        let reads = Transaction::begin(node, ShardSet::ALL, clocks, false).expect("reads are not refused");
        let mut seen = Visible::new();
        for db in 0..DATABASES {
            for entry in reads.shards().flat_map(|shard| shard.entries(db)) {
                let key = Key::new(db, entry.key());
                let Some(kind) = reads.kind(&key) else { continue };
                let value = match kind {
                    Kind::String => {
                        reads.string(&key).expect("it is a string").unwrap_or_default().into_owned()
                    }
                    kind => elements(&reads, &key, kind),
                };
                let expiry = reads.expiry(&key).map(|expiry| expiry.0);
                seen.insert((db, entry.key().to_vec()), Seen { kind: kind.name(), value, expiry });
            }
        }
        seen
    }

    /// What is held of a key, as text.
    #[must_use]
    pub fn describe_key(&self, db: u8, key: &[u8]) -> String {
        format!("{:?}", self.server.node.store.canonical().keys.get(&(db, key.to_vec())))
    }

    /// How the node stands to its group and what it has, as text.
    #[must_use]
    pub fn describe(&self) -> String {
        let conversations = self.server.node.conversations.lock();
        let receiving = conversations.receiving.as_ref().map(Receiving::describe).unwrap_or_default();
        let (origin, frontier) = (self.origin(), self.frontier());
        let membership = self.server.node.membership.lock();
        let group = &membership.group;
        let standing =
            if group.is_reissuing() { "reissuing".to_owned() } else { format!("{:?}", group.standing()) };
        let counted: Vec<String> = group
            .announced_members()
            .iter()
            .map(|member| format!("{} {} {}", member.name, member.node_id, member.origin))
            .collect();
        let evictions = group.announced_evictions();
        let evicted: Vec<String> = evictions
            .iter()
            .map(|one| format!("{} {} settled {}", one.name, one.node_id, one.settled))
            .collect();
        format!(
            "{} is {standing} of {} members in {}, {receiving}origin {}, {}, counts {counted:?}, has evicted {evicted:?}",
            group.own().node_id,
            group.size(),
            group.own().group_id,
            origin,
            frontier
        )
    }

    /// The digest of every slot: a function of what is live.
    #[must_use]
    pub fn digests(&self) -> Vec<u64> {
        let store = &self.server.node.store;
        (0..SLOTS)
            .map(|slot| store.lock_shard(ShardId((slot / SLOTS_PER_SHARD) as u8)).slot_digest(slot))
            .collect()
    }

    /// What is held of every key.
    #[must_use]
    pub fn canonical(&self) -> Canonical {
        Canonical(self.server.node.store.canonical())
    }

    /// What is held, though the frontier does not cover the log entry that made it.
    #[must_use]
    pub fn strays(&self) -> BTreeSet<Stray> {
        let node = &self.server.node;
        let frontier = node.log.frontier();
        let locked = node.store.lock(ShardSet::ALL);
        let is_stray = |at: Version| at > Version::ZERO && !frontier.covers(at);
        let mut strays = BTreeSet::new();
        for shard in locked.iter() {
            for flush in shard.flushes().filter(|flush| is_stray(flush.entry)) {
                strays.insert((flush.db, Vec::new(), Part::Reset, flush.entry));
            }
            for db in 0..DATABASES {
                for entry in shard.entries(db) {
                    let rich = entry.to_rich(&node.store.origins);
                    let of_cells = rich.cells.iter().flat_map(|(_, cell)| {
                        let base = cell.base.into_iter().map(|(version, _)| (Part::Value, version));
                        base.chain(cell.contributions.into_iter().map(|(_, own)| (Part::Sum, own.entry())))
                    });
                    let of_key = [(Part::Reset, rich.reset_entry)].into_iter();
                    let of_key = of_key.chain(rich.mark.map(|mark| (Part::Mark, mark.entry)));
                    let of_key = of_key.chain(rich.ttl.map(|ttl| (Part::Expiry, ttl.version)));
                    let parts = of_key.chain(of_cells).filter(|(_, at)| is_stray(*at));
                    strays.extend(parts.map(|(part, at)| (db, entry.key().to_vec(), part, at)));
                }
            }
        }
        strays
    }

    /// A bit of a string flips in memory, and nothing notices. Says whether there was one.
    #[must_use]
    pub fn flip_a_bit(&self, db: u8, key: &[u8]) -> bool {
        self.server.node.store.flip_a_bit(&Key::new(db, key))
    }

    /// Memory loses a key without a trace. Says whether there was one.
    #[must_use]
    pub fn lose(&self, db: u8, key: &[u8]) -> bool {
        self.server.node.store.lose(&Key::new(db, key))
    }
}

//! Looking at a few keys, taken at random.

use shared::time::WallMillis;

use super::{DATABASES, Entry, Shard};
use crate::random::Random;
use crate::store::key::{key_hash, slot_of};

/// So many places of tables are looked into for each key wanted that expires, before those are drawn from their order.
const PLACES_PER_KEY: usize = 32;

/// Which keys are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Any.
    Any,
    /// Such as expire.
    Expiring,
    /// The one that expires first.
    First,
}

impl Shard {
    /// The numbers of all databases.
    pub(crate) fn databases() -> impl Iterator<Item = u8> {
        0..DATABASES
    }

    /// Looks at up to so many of the database's live keys: those that lie behind a random place in its tables. At least at
    /// one, if there is one that is wanted.
    pub(crate) fn sample(
        &self,
        db: u8,
        wanted: Wanted,
        count: usize,
        random: &mut Random,
        look: &mut dyn FnMut(&Entry),
    ) {
        let places_max = match wanted {
            Wanted::First => return self.in_order(db, WallMillis(0)).take(1).for_each(look),
            Wanted::Any => usize::MAX,
            Wanted::Expiring => count.saturating_mul(PLACES_PER_KEY),
        };
        let is_wanted =
            |entry: &&Entry| entry.kind().is_some() && (wanted == Wanted::Any || entry.expiry().is_some());
        let mut looked_at = 0;
        for entry in self.entries_at_random(db, random, places_max).filter(is_wanted).take(count) {
            look(entry);
            looked_at += 1;
        }
        if looked_at == 0 && wanted == Wanted::Expiring {
            let from = self.random_moment(db, random);
            let behind = self.in_order(db, from).chain(self.in_order(db, WallMillis(0)));
            behind.take(count).for_each(look);
        }
    }

    /// The entries from a random one on, slot after slot. Not more than so many places are looked into.
    fn entries_at_random(
        &self,
        db: u8,
        random: &mut Random,
        places_max: usize,
    ) -> impl Iterator<Item = &Entry> {
        let slots = self.databases[usize::from(db)].slots.as_deref().unwrap_or_default();
        let (before, behind) = slots.split_at(random.below(slots.len().max(1)).min(slots.len()));
        let first = behind.first().map_or(0, |slot| random.below(slot.table.places().max(1)));
        let places = behind.iter().chain(before).enumerate().flat_map(move |(turn, slot)| {
            let from = if turn == 0 { first } else { 0 };
            (from..slot.table.places()).map(|place| slot.table.nth(place))
        });
        places.take(places_max).flatten()
    }

    /// A moment between those at which the first and the last of the database's keys expire.
    fn random_moment(&self, db: u8, random: &mut Random) -> WallMillis {
        let Some((first, last)) = self.databases[usize::from(db)].expiries.bounds() else {
            return WallMillis(0);
        };
        WallMillis(first.0.saturating_add(random.below((last.0 - first.0).max(1) as usize) as u64))
    }

    /// The live keys that expire from a moment on, in that order.
    fn in_order(&self, db: u8, from: WallMillis) -> impl Iterator<Item = &Entry> {
        let expiries = self.databases[usize::from(db)].expiries.from(from);
        let entries = expiries.flat_map(move |(expiry, hash)| self.expiring_at(db, expiry, hash));
        entries.filter(|entry| entry.kind().is_some())
    }

    /// The keys with this hash that expire at this moment: hardly ever more than one.
    pub(super) fn expiring_at(&self, db: u8, expiry: WallMillis, hash: u64) -> impl Iterator<Item = &Entry> {
        let is_named = move |entry: &&Entry| entry.expiry() == Some(expiry) && key_hash(entry.key()) == hash;
        self.slot(db, slot_of(hash)).filter(is_named)
    }
}

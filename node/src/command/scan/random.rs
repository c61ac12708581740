//! Random choices: of a key, and of elements.

use std::collections::HashSet;

use shared::time::WallMillis;

use crate::command::arguments::integer;
use crate::error::CommandError;
use crate::random::Random;
use crate::store::entry::Entry;
use crate::store::key::SLOTS_PER_SHARD;
use crate::store::shard::Shard;

/// So many entries are drawn before the rest are searched in order: enough unless hardly any entry is live.
const DRAWS_MAX: usize = 100;

impl Random {
    /// A live key of the database, if it has one: about each as likely as another.
    pub(super) fn entry<'s>(&mut self, shards: &[&'s Shard], db: u8, now: WallMillis) -> Option<&'s Entry> {
        let total: usize = shards.iter().map(|shard| shard.live(db)).sum();
        if total == 0 {
            return None;
        }
        let is_live = |entry: &&Entry| entry.visible_kind(now).is_some();
        let drawn = (0..DRAWS_MAX).find_map(|_| self.draw(shards, db, total).filter(is_live));
        drawn.or_else(|| {
            let rotated = shards.iter().cycle().skip(self.below(shards.len())).take(shards.len());
            rotated.filter(|shard| shard.live(db) > 0).flat_map(|shard| shard.entries(db)).find(is_live)
        })
    }

    /// An entry, dead or alive, from a shard that is drawn by its share in the `total` of live keys.
    fn draw<'s>(&mut self, shards: &[&'s Shard], db: u8, total: usize) -> Option<&'s Entry> {
        let (place, _) = locate(self.below(total), shards.iter().map(|shard| shard.live(db)))?;
        let shard = shards[place];
        let entries = shard.slot_lengths(db).sum();
        let (place, rest) = locate(self.below(entries), shard.slot_lengths(db))?;
        let slot = shard.id().index() * SLOTS_PER_SHARD + place;
        shard.slot(db, slot).nth(rest)
    }
}

/// No more elements are drawn at once if they may come again: a reply is held in memory as a whole.
const REPEATED_MAX: i64 = 1 << 24;

/// How many elements a client asks for at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sample {
    /// So many different ones, or all.
    Distinct(usize),
    /// So many, each drawn anew.
    Repeated(usize),
}

impl Sample {
    /// A count; a negative one lets elements come again.
    pub(crate) fn parse(argument: &[u8]) -> Result<Self, CommandError> {
        let count = integer(argument)?;
        if count == i64::MIN {
            let text =
                format!("ERR value is out of range, value must between {} and {}", -i64::MAX, i64::MAX);
            return Err(CommandError::composed(text));
        }
        if count < -REPEATED_MAX {
            return Err(CommandError::text("ERR value is out of range"));
        }
        let number = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        Ok(if count < 0 { Self::Repeated(number) } else { Self::Distinct(number) })
    }

    /// As [`Sample::parse`], where each comes with its value.
    pub(crate) fn parse_paired(argument: &[u8]) -> Result<Self, CommandError> {
        let sample = Self::parse(argument)?;
        let (Self::Distinct(count) | Self::Repeated(count)) = sample;
        if count > i64::MAX as usize / 2 {
            return Err(CommandError::text("ERR value is out of range"));
        }
        Ok(sample)
    }

    /// The places drawn from so many.
    pub(crate) fn places(self, length: usize, random: &mut Random) -> Vec<usize> {
        match self {
            Self::Repeated(count) => (0..count).map(|_| random.below(length)).collect(),
            Self::Distinct(count) if count >= length => (0..length).collect(),
            Self::Distinct(count) => distinct(count, length, random),
        }
    }
}

/// By Floyd's method: each of the choices is as likely as another, and no more is drawn than is wanted.
fn distinct(count: usize, length: usize, random: &mut Random) -> Vec<usize> {
    let mut chosen = HashSet::with_capacity(count);
    let mut places = Vec::with_capacity(count);
    for last in length - count..length {
        let drawn = random.below(last + 1);
        let place = if chosen.insert(drawn) { drawn } else { last };
        chosen.insert(place);
        places.push(place);
    }
    places
}

/// In which of the runs of these lengths a place lies, and where in it.
fn locate(place: usize, lengths: impl Iterator<Item = usize>) -> Option<(usize, usize)> {
    let mut rest = place;
    for (run, length) in lengths.enumerate() {
        if rest < length {
            return Some((run, rest));
        }
        rest -= length;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_lies_in_the_run_that_covers_it() {
        let lengths = || [2, 0, 3].into_iter();
        let found: Vec<_> = (0..6).map(|place| locate(place, lengths())).collect();
        let expected = [Some((0, 0)), Some((0, 1)), Some((2, 0)), Some((2, 1)), Some((2, 2)), None];
        assert_eq!(found, expected);
    }

    #[test]
    fn distinct_places_are_distinct_and_all_are_drawn() {
        let mut random = Random::new(3);
        let mut counts = [0; 5];
        for _ in 0..1_000 {
            let places = Sample::Distinct(2).places(5, &mut random);
            assert!(places.len() == 2 && places[0] != places[1]);
            places.into_iter().for_each(|place| counts[place] += 1);
        }
        assert!(counts.iter().all(|count| (300..500).contains(count)), "{counts:?}");
        assert_eq!(Sample::Distinct(9).places(3, &mut random), [0, 1, 2]);
    }
}

//! Versions, which decide every conflict, and frontiers, which say what a node has.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::Timestamp;
use crate::id::Origin;

/// The version of a write: the later wins. Timestamps first, then origins, so the order is total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// When it was written.
    pub timestamp: Timestamp,
    /// By whom.
    pub origin: Origin,
}

impl Version {
    /// Older than every write.
    pub const ZERO: Self = Self { timestamp: Timestamp::ZERO, origin: Origin::NONE };

    /// The version of what `origin` wrote at `timestamp`.
    #[must_use]
    pub const fn new(timestamp: Timestamp, origin: Origin) -> Self {
        Self { timestamp, origin }
    }
}

/// The number of origins that a frontier from outside may list.
pub const FRONTIER_ORIGINS_MAX: usize = 65_536;

/// A version vector with a floor: for each origin, the timestamp up to which everything of it is held, with
/// nothing missing before it. Origins that are not listed are complete up to the floor.
///
/// It says exactly what a node has, means the same at every node, and is the only cursor there is. As text:
/// `origin:timestamp,origin:timestamp;floor`, all in hex.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    floor: Timestamp,
    entries: BTreeMap<Origin, Timestamp>,
}

impl Frontier {
    /// Nothing is held.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is held of `origin`.
    #[must_use]
    pub fn get(&self, origin: Origin) -> Timestamp {
        self.entries.get(&origin).copied().unwrap_or(self.floor)
    }

    /// Notes that all of `origin` up to `upto` is held. Never goes down.
    pub fn advance(&mut self, origin: Origin, upto: Timestamp) {
        match self.entries.get_mut(&origin) {
            Some(held) => *held = upto.max(*held),
            None if upto > self.floor => {
                self.entries.insert(origin, upto);
            }
            None => {}
        }
    }

    /// Whether the write with this version is held.
    #[must_use]
    pub fn covers(&self, version: Version) -> bool {
        self.get(version.origin) >= version.timestamp
    }

    /// Whether all that `other` holds is held here, too.
    #[must_use]
    pub fn covers_frontier(&self, other: &Self) -> bool {
        self.floor >= other.floor && other.entries.iter().all(|(origin, at)| self.get(*origin) >= *at)
    }

    /// Whether all that `other` lists is held here, too. What it does not list has ended, and all members are known to
    /// have it.
    #[must_use]
    pub fn covers_listed(&self, other: &Self) -> bool {
        other.entries.iter().all(|(origin, at)| self.get(*origin) >= *at)
    }

    /// Whether the origin is listed: it holds something above the floor.
    #[must_use]
    pub fn lists(&self, origin: Origin) -> bool {
        self.entries.contains_key(&origin)
    }

    /// The same, but for some origins that it does not list: of each only so much counts as held. For judging what was
    /// written where the floor says nothing: in another group, or by a node that the group no longer waited for. Not to be
    /// advanced, merged or told.
    #[must_use]
    pub fn except(&self, origins: impl IntoIterator<Item = (Origin, Timestamp)>) -> Self {
        let mut judged = self.clone();
        for (origin, at) in origins {
            judged.entries.entry(origin).or_insert(at);
        }
        judged
    }

    /// Everything of every origin, but of some only so much. As with [`Frontier::except`].
    #[must_use]
    pub fn all_but(origins: impl IntoIterator<Item = (Origin, Timestamp)>) -> Self {
        Self { floor: Timestamp::MAX, entries: origins.into_iter().collect() }
    }

    /// The smaller of each component.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        let floor = self.floor.min(other.floor);
        let listed = self.entries.keys().chain(other.entries.keys());
        let entries = listed.map(|origin| (*origin, self.get(*origin).min(other.get(*origin))));
        Self { floor, entries: entries.filter(|(_, at)| *at > floor).collect() }
    }

    /// Takes the larger of each component.
    pub fn merge(&mut self, other: &Self) {
        for (origin, at) in &other.entries {
            self.advance(*origin, *at);
        }
        self.raise_floor(other.floor);
    }

    /// The point up to which origins that are not listed are complete.
    #[must_use]
    pub const fn floor(&self) -> Timestamp {
        self.floor
    }

    /// Raises the floor; origins that end at or below it leave the vector.
    pub fn raise_floor(&mut self, floor: Timestamp) {
        self.floor = self.floor.max(floor);
        self.entries.retain(|_, at| *at > floor);
    }

    /// The same, but that of origins which are not listed nothing beyond `floor` is taken for held.
    #[must_use]
    pub fn with_floor_at_most(&self, floor: Timestamp) -> Self {
        Self { floor: self.floor.min(floor), entries: self.entries.clone() }
    }

    /// The origins that are listed, in order, each with what is held of it.
    pub fn iter(&self) -> impl Iterator<Item = (Origin, Timestamp)> + '_ {
        self.entries.iter().map(|(origin, at)| (*origin, *at))
    }

    /// How many origins are listed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no origin is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl FromIterator<(Origin, Timestamp)> for Frontier {
    fn from_iter<I: IntoIterator<Item = (Origin, Timestamp)>>(entries: I) -> Self {
        let mut frontier = Self::new();
        for (origin, at) in entries {
            frontier.advance(origin, at);
        }
        frontier
    }
}

impl fmt::Display for Frontier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (origin, at)) in self.iter().enumerate() {
            write!(f, "{}{origin}:{at}", if index == 0 { "" } else { "," })?;
        }
        write!(f, ";{}", self.floor)
    }
}

/// Text that is no frontier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a frontier (origin:timestamp,...;floor in hex): {0:?}")]
pub struct FrontierSyntax(pub String);

impl FromStr for Frontier {
    type Err = FrontierSyntax;

    fn from_str(text: &str) -> Result<Self, FrontierSyntax> {
        let syntax = || FrontierSyntax(text.chars().take(80).collect());
        let (entries, floor) = text.split_once(';').ok_or_else(syntax)?;
        let mut frontier = Self::new();
        for entry in entries.split(',').filter(|entry| !entry.is_empty()) {
            let (origin, at) = entry.split_once(':').ok_or_else(syntax)?;
            frontier.advance(origin.parse().map_err(|_| syntax())?, at.parse().map_err(|_| syntax())?);
        }
        if frontier.len() > FRONTIER_ORIGINS_MAX {
            return Err(syntax());
        }
        frontier.raise_floor(floor.parse().map_err(|_| syntax())?);
        Ok(frontier)
    }
}

impl Serialize for Frontier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.floor, &self.entries).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Frontier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (floor, entries) = <(Timestamp, BTreeMap<Origin, Timestamp>)>::deserialize(deserializer)?;
        if entries.len() > FRONTIER_ORIGINS_MAX {
            return Err(serde::de::Error::custom("a frontier lists too many origins"));
        }
        let mut frontier: Self = entries.into_iter().collect();
        frontier.raise_floor(floor);
        Ok(frontier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frontier(entries: &[(u64, u64)]) -> Frontier {
        entries.iter().map(|(origin, at)| (Origin(*origin), Timestamp(*at))).collect()
    }

    #[test]
    fn text_round_trips() {
        let mut made = frontier(&[(1, 0x20), (0xabc, 0x30)]);
        made.raise_floor(Timestamp(0x10));
        assert_eq!(made.to_string(), "0000000000000001:20,0000000000000abc:30;10");
        assert_eq!(made.to_string().parse(), Ok(made));
        assert_eq!(";0".parse(), Ok(Frontier::new()));
        assert!("1:2".parse::<Frontier>().is_err());
        assert!("1:x;0".parse::<Frontier>().is_err());
    }

    #[test]
    fn origins_that_end_below_the_floor_leave() {
        let mut made = frontier(&[(1, 20), (2, 40)]);
        made.raise_floor(Timestamp(30));
        assert_eq!(made.len(), 1);
        assert_eq!(made.get(Origin(1)), Timestamp(30));
        assert_eq!(made.get(Origin(9)), Timestamp(30));
    }

    #[test]
    fn covering_looks_at_every_component() {
        let wide = frontier(&[(1, 20), (2, 40)]);
        assert!(wide.covers_frontier(&frontier(&[(1, 20)])));
        assert!(!wide.covers_frontier(&frontier(&[(1, 21)])));
        assert!(!wide.covers_frontier(&frontier(&[(3, 1)])));
        let mut floor = Frontier::new();
        floor.raise_floor(Timestamp(10));
        assert!(!wide.covers_frontier(&floor), "an unlisted origin is missing here");
        assert!(floor.covers_frontier(&frontier(&[(3, 10)])));
    }
}

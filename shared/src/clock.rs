//! The hybrid logical clock: timestamps that follow the wall clock and yet respect cause and effect.
//!
//! Problem: the later of two writes must win, and hosts' wall clocks disagree by milliseconds and jump. A
//! counter alone orders cause and effect but knows nothing of time; the wall clock alone lets a write lose to
//! one that its author had already seen.
//!
//! Idea (Kulkarni et al., "Logical Physical Clocks", 2014): a timestamp is wall-clock milliseconds and a
//! counter. The clock is never behind the wall clock nor behind any timestamp it has seen, and each tick is
//! above all before it. So a write made after seeing another is later than it, and timestamps stay close to
//! real time as long as somebody's wall clock is.
//!
//! Rule of the ceiling: a node issues, accepts and announces nothing above a ceiling that it has made durable
//! first, and starts at that ceiling. So a crash, which may take its memory of the newest timestamps with it,
//! cannot make it issue a timestamp again, or one below what it had seen.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::time::WallMillis;

/// A moment of a hybrid logical clock: 48 bits of Unix milliseconds, then 16 bits of counter.
///
/// One per command or transaction, strictly increasing per origin. A counter that overflows carries into the
/// milliseconds, which is harmless: order is all that matters.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Before every write.
    pub const ZERO: Self = Self(0);
    /// After every write.
    pub const MAX: Self = Self(u64::MAX);

    /// The first timestamp of a millisecond.
    #[must_use]
    pub const fn of_wall(wall: WallMillis) -> Self {
        Self(if wall.0 >= 1 << 48 { u64::MAX << 16 } else { wall.0 << 16 })
    }

    /// The millisecond this lies in.
    #[must_use]
    pub const fn wall(self) -> WallMillis {
        WallMillis(self.0 >> 16)
    }

    /// The next one. Saturates at the end of time, in the year 10889.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}.{}", self.0 >> 16, self.0 & 0xffff)
    }
}

impl FromStr for Timestamp {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// Why the clock gave no timestamp, or did not take one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeyondCeiling {
    /// What the ceiling must be raised above, durably, before the same call succeeds.
    pub needed: Timestamp,
}

/// A node's hybrid logical clock. See the module's documentation for the rules.
#[derive(Clone, Debug)]
pub struct HybridClock {
    last: Timestamp,
    ceiling: Timestamp,
}

impl HybridClock {
    /// A clock that starts at `start`, the ceiling of the run before it, and may run up to `ceiling`.
    #[must_use]
    pub const fn new(start: Timestamp, ceiling: Timestamp) -> Self {
        Self { last: start, ceiling }
    }

    /// The newest timestamp issued or seen.
    #[must_use]
    pub const fn last(&self) -> Timestamp {
        self.last
    }

    /// The durable bound above which nothing is issued or accepted.
    #[must_use]
    pub const fn ceiling(&self) -> Timestamp {
        self.ceiling
    }

    /// Notes that `ceiling` is durable. It never goes down.
    pub fn raise_ceiling(&mut self, ceiling: Timestamp) {
        self.ceiling = self.ceiling.max(ceiling);
    }

    /// Issues the next timestamp.
    ///
    /// # Errors
    /// If it would lie beyond the ceiling; the clock is unchanged.
    pub fn tick(&mut self, wall: WallMillis) -> Result<Timestamp, BeyondCeiling> {
        let next = self.last.next().max(Timestamp::of_wall(wall));
        self.advance(next)?;
        Ok(next)
    }

    /// Moves past a timestamp that another clock issued.
    ///
    /// # Errors
    /// If that lies beyond the ceiling; the clock is unchanged.
    pub fn observe(&mut self, seen: Timestamp) -> Result<(), BeyondCeiling> {
        if seen > self.last { self.advance(seen) } else { Ok(()) }
    }

    fn advance(&mut self, to: Timestamp) -> Result<(), BeyondCeiling> {
        if to > self.ceiling {
            return Err(BeyondCeiling { needed: to });
        }
        self.last = to;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> HybridClock {
        HybridClock::new(Timestamp::ZERO, Timestamp::MAX)
    }

    #[test]
    fn ticks_increase_while_the_wall_clock_stands_or_jumps_back() {
        let mut clock = clock();
        let a = clock.tick(WallMillis(100)).unwrap();
        let b = clock.tick(WallMillis(100)).unwrap();
        let c = clock.tick(WallMillis(7)).unwrap();
        assert!(a < b && b < c);
        assert_eq!(c.wall(), WallMillis(100));
    }

    #[test]
    fn a_write_after_seeing_another_is_later_than_it() {
        let mut clock = clock();
        let seen = Timestamp::of_wall(WallMillis(5_000));
        clock.observe(seen).unwrap();
        assert!(clock.tick(WallMillis(100)).unwrap() > seen);
    }

    #[test]
    fn nothing_passes_the_ceiling() {
        let mut clock = HybridClock::new(Timestamp::ZERO, Timestamp::of_wall(WallMillis(10)));
        let needed = Timestamp::of_wall(WallMillis(11));
        assert_eq!(clock.tick(WallMillis(11)), Err(BeyondCeiling { needed }));
        assert_eq!(clock.observe(needed), Err(BeyondCeiling { needed }));
        assert_eq!(clock.last(), Timestamp::ZERO);
        clock.raise_ceiling(needed);
        assert_eq!(clock.tick(WallMillis(11)), Ok(needed));
    }

    #[test]
    fn a_full_counter_carries_into_the_milliseconds() {
        let mut clock = HybridClock::new(Timestamp(0xffff), Timestamp::MAX);
        assert_eq!(clock.tick(WallMillis(0)).unwrap().wall(), WallMillis(1));
    }
}

//! Compares the two hosts' wall clocks.
//!
//! A clock that is far ahead makes its node's writes win over later ones of others, so a link between clocks that are
//! too far apart is refused until somebody puts them right. Nothing is skipped: the link resumes where it stood.

use std::fmt;

use crate::time::WallMillis;

/// From this distance on the clocks' owners are warned, in milliseconds.
pub const CLOCK_WARNING_MS: u64 = 1_000;

/// A warning is repeated only after the clocks were closer than this in between, in milliseconds.
const CLOCK_CALM_MS: u64 = 500;

/// Two wall clocks, read at the same moment but for `uncertain_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// This side's.
    pub ours: WallMillis,
    /// The peer's.
    pub theirs: WallMillis,
    /// How much of their distance may be the message's way, in milliseconds.
    pub uncertain_ms: u64,
}

impl ClockReading {
    /// How far the clocks are apart for certain, in milliseconds.
    #[must_use]
    pub const fn distance_ms(&self) -> u64 {
        self.ours.abs_diff(self.theirs).saturating_sub(self.uncertain_ms)
    }

    /// The peer's clock less ours, in milliseconds.
    #[must_use]
    pub const fn offset_ms(&self) -> i64 {
        self.theirs.0.wrapping_sub(self.ours.0).cast_signed()
    }
}

/// What a reading means for the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    /// The owners of the clocks should know.
    Warn,
    /// The link must not be.
    Refuse,
}

/// Judges readings, and warns once for each time that the clocks drift apart.
#[derive(Clone, Debug)]
pub(super) struct ClockGuard {
    drift_ms_max: u64,
    warned: bool,
}

impl ClockGuard {
    pub(super) const fn new(drift_ms_max: u64) -> Self {
        Self { drift_ms_max, warned: false }
    }

    pub(super) fn judge(&mut self, reading: ClockReading) -> Verdict {
        let distance_ms = reading.distance_ms();
        if distance_ms > self.drift_ms_max {
            return Verdict::Refuse;
        }
        if distance_ms < CLOCK_CALM_MS {
            self.warned = false;
        }
        if distance_ms <= CLOCK_WARNING_MS || self.warned {
            return Verdict::Fine;
        }
        self.warned = true;
        Verdict::Warn
    }

    pub(super) const fn drift_ms_max(&self) -> u64 {
        self.drift_ms_max
    }
}

/// A wall clock's reading for people: UTC, to the millisecond.
pub(super) struct Utc(pub(super) WallMillis);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.0 / 1_000, self.0.0 % 1_000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

/// The date of a day since 1970 (Hinnant, "chrono-compatible low-level date algorithms": years begin in March).
const fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(ours: u64, theirs: u64, uncertain_ms: u64) -> ClockReading {
        ClockReading { ours: WallMillis(ours), theirs: WallMillis(theirs), uncertain_ms }
    }

    #[test]
    fn warns_once_until_the_clocks_were_close_again() {
        let mut guard = ClockGuard::new(5_000);
        assert_eq!(guard.judge(reading(10_000, 11_000, 0)), Verdict::Fine);
        assert_eq!(guard.judge(reading(10_000, 11_001, 0)), Verdict::Warn);
        assert_eq!(guard.judge(reading(10_000, 12_000, 0)), Verdict::Fine);
        assert_eq!(guard.judge(reading(10_000, 10_499, 0)), Verdict::Fine);
        assert_eq!(guard.judge(reading(11_001, 10_000, 0)), Verdict::Warn);
    }

    #[test]
    fn refuses_only_what_is_certain() {
        let mut guard = ClockGuard::new(5_000);
        assert_eq!(guard.judge(reading(10_000, 15_001, 0)), Verdict::Refuse);
        assert_eq!(guard.judge(reading(15_001, 10_000, 0)), Verdict::Refuse);
        assert_ne!(guard.judge(reading(10_000, 15_001, 1)), Verdict::Refuse);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(Utc(WallMillis(0)).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Utc(WallMillis(951_827_696_789)).to_string(), "2000-02-29T12:34:56.789Z");
        assert_eq!(Utc(WallMillis(1_798_761_599_999)).to_string(), "2026-12-31T23:59:59.999Z");
    }
}

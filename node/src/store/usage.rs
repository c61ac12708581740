//! When a key was last used, or how often it is: four bytes of its entry, for choosing what to evict.
//!
//! Which of the two is noted depends on the policy, which may change while the node runs. What was noted under the other
//! one can be told apart, and is read as well as it goes: seconds since the epoch are large numbers, the others are small.
//!
//! ```text
//! 0                          not used since it came here: since the node was started, at the latest
//! below 1 << 24              minutes of the wall clock 16, counter 8: how often it was used, about logarithmically
//! from 1 << 24 on            seconds of the wall clock
//! ```
//!
//! The counter is Redis's: each use raises it less likely the higher it is, and it falls by one in so many minutes.

use shared::time::WallMillis;

/// How uses are noted, and when they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Of the wall clock; wraps in 136 years.
    pub(crate) seconds: u32,
    /// None if it is noted when a key was used, and not how often.
    pub(crate) frequency: Option<Frequency>,
}

/// How a use counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frequency {
    /// The larger, the more uses it takes to raise the counter: `lfu-log-factor`.
    pub(crate) log_factor: u32,
    /// In so many minutes without use the counter falls by one; 0 for never: `lfu-decay-time`.
    pub(crate) decay_minutes: u32,
}

/// Where counters begin: a new key is not the first to go.
const NEW: u8 = 5;

const COUNTER_BITS: u32 = 8;

/// Numbers from here on are seconds.
const SECONDS_FROM: u32 = 1 << 24;

impl Usage {
    pub(crate) const fn of_seconds(wall: WallMillis) -> Self {
        Self { seconds: (wall.0 / 1_000) as u32, frequency: None }
    }

    /// What is noted of a key that is used now. `random` is drawn only if uses are counted.
    pub(crate) fn noted(self, before: u32, random: impl FnOnce() -> u64) -> u32 {
        let Some(frequency) = self.frequency else { return self.seconds };
        let counter = match before {
            0 => NEW,
            before => frequency.raised(self.counter(before, self.seconds), random()),
        };
        u32::from(self.minutes()) << COUNTER_BITS | u32::from(counter)
    }

    /// For how many seconds the key was not used. `since` is when the node was started, in seconds.
    pub(crate) fn idle_seconds(self, noted: u32, since: u32) -> u32 {
        match noted {
            0 => self.seconds.saturating_sub(since),
            SECONDS_FROM.. => self.seconds.saturating_sub(noted),
            _ => u32::from(self.minutes_since(noted)) * 60,
        }
    }

    /// How often the key is used, as the counter has it now.
    pub(crate) fn counter(self, noted: u32, since: u32) -> u8 {
        let (counter, minutes) = match noted {
            0 | SECONDS_FROM.. => (NEW, self.idle_seconds(noted, since) / 60),
            _ => (noted as u8, self.minutes_since(noted).into()),
        };
        let decay_minutes = self.frequency.map_or(0, |frequency| frequency.decay_minutes);
        let decayed = minutes.checked_div(decay_minutes).unwrap_or(0);
        counter.saturating_sub(u8::try_from(decayed).unwrap_or(u8::MAX))
    }

    const fn minutes(self) -> u16 {
        (self.seconds / 60) as u16
    }

    /// Wraps in 45 days, as Redis's does.
    const fn minutes_since(self, noted: u32) -> u16 {
        self.minutes().wrapping_sub((noted >> COUNTER_BITS) as u16)
    }
}

impl Frequency {
    fn raised(self, counter: u8, random: u64) -> u8 {
        let above = u64::from(counter.saturating_sub(NEW));
        let one_in = above.saturating_mul(self.log_factor.into()).saturating_add(1);
        let is_raised = (u128::from(random) * u128::from(one_in)) >> u64::BITS == 0;
        counter.saturating_add(is_raised.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: u32 = 1_700_000_000;

    fn counting(seconds: u32) -> Usage {
        Usage { seconds, frequency: Some(Frequency { log_factor: 10, decay_minutes: 1 }) }
    }

    const fn timing(seconds: u32) -> Usage {
        Usage { seconds, frequency: None }
    }

    fn never() -> u64 {
        unreachable!("nothing is drawn")
    }

    #[test]
    fn idle_time_counts_from_the_last_use_or_the_start() {
        let noted = timing(SECONDS).noted(0, never);
        assert_eq!(timing(SECONDS + 7).idle_seconds(noted, 0), 7);
        assert_eq!(timing(SECONDS + 7).idle_seconds(0, SECONDS + 2), 5);
    }

    #[test]
    fn a_new_key_starts_above_zero_and_rises_slower_and_slower() {
        let now = counting(SECONDS);
        let mut noted = now.noted(0, never);
        assert_eq!(now.counter(noted, 0), NEW);
        noted = now.noted(noted, || u64::MAX);
        assert_eq!(now.counter(noted, 0), NEW + 1, "the first use always counts");
        let of = |random: u64| now.counter(now.noted(noted, || random), 0);
        assert_eq!((of(u64::MAX / 12), of(u64::MAX / 10)), (NEW + 2, NEW + 1), "then one in eleven");
        let highest = u32::from(now.minutes()) << COUNTER_BITS | 255;
        assert_eq!(now.counter(now.noted(highest, || 0), 0), 255);
    }

    #[test]
    fn counters_fall_with_time_and_not_below_zero() {
        let noted = counting(SECONDS).noted(0, never);
        assert_eq!(counting(SECONDS + 120).counter(noted, 0), NEW - 2);
        assert_eq!(counting(SECONDS + 6_000).counter(noted, 0), 0);
        let undecaying = Usage {
            frequency: Some(Frequency { log_factor: 10, decay_minutes: 0 }),
            ..counting(SECONDS + 6_000)
        };
        assert_eq!(undecaying.counter(noted, 0), NEW);
    }

    #[test]
    fn what_was_noted_under_another_policy_is_understood() {
        let counted = counting(SECONDS).noted(0, never);
        let idle = timing(SECONDS + 600).idle_seconds(counted, 0);
        assert!((540..=660).contains(&idle), "{idle}");
        let timed = timing(SECONDS).noted(0, never);
        assert_eq!(counting(SECONDS + 180).counter(timed, 0), NEW - 3);
    }
}

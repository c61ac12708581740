//! When a key was last used, or how often it is: three bytes of its entry, for choosing what to evict.
//!
//! Which of the two is noted depends on the policy, which may change while the node runs. What was noted under the other
//! one can be told apart, and is read as well as it goes.
//!
//! ```text
//! 0                          not used since it came here: since the node was started, at the latest
//! below 1 << 23              minutes of the wall clock 15, counter 8: how often it was used, about logarithmically
//! from 1 << 23 on            steps of two seconds of the wall clock 23
//! ```
//!
//! Minutes wrap in 22 days, and steps in 194, as the seconds of Redis do: what was used longer ago seems to have been used
//! lately.
//!
//! The counter is Redis's: each use raises it less likely the higher it is, and it falls by one in so many minutes.

use shared::time::WallMillis;

/// What is noted of a key: see the module's documentation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accessed(u32);

impl Accessed {
    /// It was not used since it came here.
    pub(crate) const NEVER: Self = Self(0);

    pub(crate) fn of([low, middle, high]: [u8; 3]) -> Self {
        Self(u32::from_le_bytes([low, middle, high, 0]))
    }

    pub(crate) fn bytes(self) -> [u8; 3] {
        let [low, middle, high, _] = self.0.to_le_bytes();
        [low, middle, high]
    }
}

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

const MINUTE_BITS: u32 = 15;

const STEP_BITS: u32 = 23;

/// Numbers from here on are steps.
const STEPS_FROM: u32 = 1 << STEP_BITS;

const STEP_SECONDS: u32 = 2;

/// A clock that was put back by less than one part in so many of what can be told has not gone round.
const PUT_BACK_PART: u32 = 64;

impl Usage {
    pub(crate) const fn of_seconds(wall: WallMillis) -> Self {
        Self { seconds: (wall.0 / 1_000) as u32, frequency: None }
    }

    /// What is noted of a key that is used now. `random` is drawn only if uses are counted.
    pub(crate) fn noted(self, before: Accessed, random: impl FnOnce() -> u64) -> Accessed {
        let Some(frequency) = self.frequency else {
            return Accessed(STEPS_FROM + self.seconds / STEP_SECONDS % STEPS_FROM);
        };
        let counter = match before {
            Accessed::NEVER => NEW,
            before => frequency.raised(self.counter(before, self.seconds), random()),
        };
        let minutes = (self.seconds / 60) % (1 << MINUTE_BITS);
        Accessed(minutes << COUNTER_BITS | u32::from(counter))
    }

    /// For how many seconds the key was not used. `since` is when the node was started, in seconds.
    pub(crate) fn idle_seconds(self, noted: Accessed, since: u32) -> u32 {
        match noted.0 {
            0 => self.seconds.saturating_sub(since),
            STEPS_FROM.. => since_noted(self.seconds / STEP_SECONDS, noted.0, STEP_BITS) * STEP_SECONDS,
            _ => self.minutes_since(noted) * 60,
        }
    }

    /// How often the key is used, as the counter has it now.
    pub(crate) fn counter(self, noted: Accessed, since: u32) -> u8 {
        let (counter, minutes) = match noted.0 {
            0 | STEPS_FROM.. => (NEW, self.idle_seconds(noted, since) / 60),
            _ => (noted.0 as u8, self.minutes_since(noted)),
        };
        let decay_minutes = self.frequency.map_or(0, |frequency| frequency.decay_minutes);
        let decayed = minutes.checked_div(decay_minutes).unwrap_or(0);
        counter.saturating_sub(u8::try_from(decayed).unwrap_or(u8::MAX))
    }

    fn minutes_since(self, noted: Accessed) -> u32 {
        since_noted(self.seconds / 60, noted.0 >> COUNTER_BITS, MINUTE_BITS)
    }
}

/// How much has passed since what was noted in so many bits; nothing if the clock was put back a little.
const fn since_noted(now: u32, noted: u32, bits: u32) -> u32 {
    let round = 1 << bits;
    let passed = now.wrapping_sub(noted) % round;
    if passed >= round - round / PUT_BACK_PART { 0 } else { passed }
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
        let noted = timing(SECONDS).noted(Accessed::NEVER, never);
        assert_eq!(timing(SECONDS + 7).idle_seconds(noted, 0), 6, "in steps of two");
        let days = 190 * 86_400;
        assert_eq!(timing(SECONDS + days).idle_seconds(noted, 0), days);
        assert_eq!(timing(SECONDS - 86_400).idle_seconds(noted, 0), 0, "the clock was put back");
        assert_eq!(Accessed::of(noted.bytes()), noted);
        assert_eq!(timing(SECONDS + 7).idle_seconds(Accessed::NEVER, SECONDS + 2), 5);
    }

    #[test]
    fn a_new_key_starts_above_zero_and_rises_slower_and_slower() {
        let now = counting(SECONDS);
        let mut noted = now.noted(Accessed::NEVER, never);
        assert_eq!(now.counter(noted, 0), NEW);
        noted = now.noted(noted, || u64::MAX);
        assert_eq!(now.counter(noted, 0), NEW + 1, "the first use always counts");
        let of = |random: u64| now.counter(now.noted(noted, || random), 0);
        assert_eq!((of(u64::MAX / 12), of(u64::MAX / 10)), (NEW + 2, NEW + 1), "then one in eleven");
        let highest = Accessed(noted.0 | 255);
        assert_eq!(now.counter(now.noted(highest, || 0), 0), 255);
    }

    #[test]
    fn counters_fall_with_time_and_not_below_zero() {
        let noted = counting(SECONDS).noted(Accessed::NEVER, never);
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
        let counted = counting(SECONDS).noted(Accessed::NEVER, never);
        let idle = timing(SECONDS + 600).idle_seconds(counted, 0);
        assert!((540..=660).contains(&idle), "{idle}");
        let timed = timing(SECONDS).noted(Accessed::NEVER, never);
        assert_eq!(counting(SECONDS + 180).counter(timed, 0), NEW - 3);
    }
}

//! How old the parts of the log are, as far as this run knows: what was there at the start counts as written then.

use std::collections::VecDeque;

use shared::time::MonoMillis;

use crate::log::segment::LogPosition;

/// What is kept is kept for so much longer at the most, as a part of its age.
const MOMENTS: u64 = 32;

/// When the log ended where, the oldest moment first. Bounded by [`MOMENTS`].
#[derive(Debug)]
pub(super) struct Ages(VecDeque<(MonoMillis, LogPosition)>);

impl Ages {
    /// The log ends here at the start.
    pub(super) fn since(start: MonoMillis, end: LogPosition) -> Self {
        Self(VecDeque::from([(start, end)]))
    }

    /// The log ends here now. So long before now is what will be asked for; nothing is noted for 0.
    pub(super) fn note(&mut self, now: MonoMillis, end: LogPosition, age_ms: u64) {
        let last = self.0.back().map_or(MonoMillis(0), |(at, _)| *at);
        if age_ms == 0 || now.since(last) < age_ms.div_ceil(MOMENTS) {
            return;
        }
        self.0.push_back((now, end));
        // The newest of those that are old enough is the one to tell.
        while self.0.len() > MOMENTS as usize + 2
            || self.0.get(1).is_some_and(|(at, _)| now.since(*at) >= age_ms)
        {
            self.0.pop_front();
        }
    }

    /// What of the log is at least so old lies before this.
    pub(super) fn older_than(&self, age_ms: u64, now: MonoMillis) -> LogPosition {
        let old = self.0.iter().rev().find(|(at, _)| now.since(*at) >= age_ms);
        old.map_or_else(LogPosition::default, |(_, end)| *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_is_told_to_a_part_of_the_age() {
        const AGE_MS: u64 = 3_200;
        let mut ages = Ages::since(MonoMillis(0), LogPosition(7));
        for now in 0..20_000 {
            let end = LogPosition(7 + now);
            ages.note(MonoMillis(now), end, AGE_MS);
            let told = ages.older_than(AGE_MS, MonoMillis(now));
            let expected = now.checked_sub(AGE_MS).map_or(0, |then| 7 + then);
            assert!(told.0 <= expected && told.0 + AGE_MS / MOMENTS >= expected, "{told:?} at {now}");
            assert!(ages.0.len() <= MOMENTS as usize + 2);
        }
    }

    #[test]
    fn a_long_rest_makes_all_of_it_old() {
        let mut ages = Ages::since(MonoMillis(0), LogPosition(7));
        ages.note(MonoMillis(100_000), LogPosition(50), 1_000);
        assert_eq!(ages.older_than(1_000, MonoMillis(100_000)), LogPosition(7));
        assert_eq!(ages.older_than(1_000, MonoMillis(101_000)), LogPosition(50));
        assert_eq!(ages.older_than(200_000, MonoMillis(101_000)), LogPosition(0));
    }
}

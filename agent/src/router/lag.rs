//! Since when something is missing.

use std::collections::VecDeque;

use shared::clock::Timestamp;
use shared::time::MonoMillis;

/// So many arrivals are remembered of an origin; of more, two neighbours become one, which is as old as the older.
const ARRIVALS_MAX: usize = 32;

/// When it was heard that there is more of an origin than is held here: how much, and when, both rising.
#[derive(Debug, Default)]
pub(super) struct Arrivals(VecDeque<(Timestamp, MonoMillis)>);

impl Arrivals {
    /// Somebody has the origin up to this.
    pub(super) fn push(&mut self, upto: Timestamp, now: MonoMillis) {
        if self.0.back().is_some_and(|(newest, _)| *newest >= upto) {
            return;
        }
        if self.0.len() == ARRIVALS_MAX {
            let arrivals: Vec<_> = self.0.drain(..).collect();
            self.0.extend(arrivals.chunks(2).filter_map(|pair| Some((pair.last()?.0, pair.first()?.1))));
        }
        self.0.push_back((upto, now));
    }

    /// This much is held now. Says whether something is still missing.
    pub(super) fn on_held(&mut self, held: Timestamp) -> bool {
        while self.0.pop_front_if(|(upto, _)| *upto <= held).is_some() {}
        !self.0.is_empty()
    }

    /// Since when something is missing, in milliseconds.
    pub(super) fn lag_ms(&self, now: MonoMillis) -> u64 {
        self.0.front().map_or(0, |(_, arrived)| now.since(*arrived))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_is_missing_counts() {
        let mut arrivals = Arrivals::default();
        for (upto, at) in [(5, 100), (9, 200), (9, 250), (7, 260), (12, 300)] {
            arrivals.push(Timestamp(upto), MonoMillis(at));
        }
        assert!(arrivals.on_held(Timestamp(4)));
        assert_eq!(arrivals.lag_ms(MonoMillis(1_000)), 900);
        assert!(arrivals.on_held(Timestamp(5)));
        assert_eq!(arrivals.lag_ms(MonoMillis(1_000)), 800);
        assert!(arrivals.on_held(Timestamp(10)));
        assert_eq!(arrivals.lag_ms(MonoMillis(1_000)), 700);
        assert!(!arrivals.on_held(Timestamp(12)));
        assert_eq!(arrivals.lag_ms(MonoMillis(1_000)), 0);
    }

    #[test]
    fn of_many_the_oldest_stays() {
        let mut arrivals = Arrivals::default();
        (1..=1_000).for_each(|at| arrivals.push(Timestamp(at), MonoMillis(at)));
        assert!(arrivals.0.len() <= ARRIVALS_MAX);
        assert_eq!(arrivals.lag_ms(MonoMillis(1_001)), 1_000);
        assert!(arrivals.on_held(Timestamp(999)));
        assert!(arrivals.lag_ms(MonoMillis(1_000)) < 100);
    }
}

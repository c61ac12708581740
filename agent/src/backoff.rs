//! How long to wait before the next attempt.

use std::time::Duration;

/// The first wait, and the longest.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Doubling waits from 100 ms to 5 s, each with jitter, so that hosts do not dial in step.
#[derive(Debug)]
pub struct Backoff {
    wait: Duration,
    random: fastrand::Rng,
}

impl Backoff {
    /// Waits that begin with the shortest.
    #[must_use]
    pub fn new(random: fastrand::Rng) -> Self {
        Self { wait: WAIT_MIN, random }
    }

    /// The next wait: between half of its step and all of it.
    #[must_use]
    #[cfg_attr(
        feature = "simulation",
        expect(clippy::should_implement_trait, reason = "no sequence to iterate over")
    )]
    pub fn next(&mut self) -> Duration {
        let step = self.wait;
        self.wait = (2 * self.wait).min(WAIT_MAX);
        step.mul_f64(0.5 + self.random.f64() / 2.0)
    }

    /// Begins again with the shortest wait: the last attempt went well.
    pub const fn reset(&mut self) {
        self.wait = WAIT_MIN;
    }

    /// Goes on with the longest wait: somebody must act first.
    pub const fn slow_down(&mut self) {
        self.wait = WAIT_MAX;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit() {
        let mut backoff = Backoff::new(fastrand::Rng::with_seed(7));
        for step_ms in [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
            let wait = backoff.next();
            assert!(wait.as_millis() * 2 >= step_ms && wait.as_millis() <= step_ms, "{wait:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= WAIT_MIN);
    }
}

//! How late what a peer says is.
//!
//! Problem: over a link that is too slow for what is sent, news of what is missing wait behind the data that are missing.
//! Who goes by news alone takes himself for up to date while megabytes lie in buffers on the way.
//!
//! Idea: what the peer sends tells when it was said, by a clock: pongs, frontiers and batches. The Hello came before
//! anything could queue, so how much longer than that something was on its way is how late it is, however far apart the
//! clocks are.
//!
//! Rule: lateness is judged with each of these, in whole seconds. Nothing can be later than signs of life are: so neither a
//! clock that is put right, by NTP, nor a batch that was away elsewhere makes anything late. A frontier's clock may be as
//! old as the interval at which agents ask their nodes, so below [`LATE_MIN_MS`] nothing is.

use crate::time::WallMillis;

/// What is less late is in time, in milliseconds.
pub(super) const LATE_MIN_MS: u64 = 2_000;

/// How much older than its way is long a frontier's clock may be, in milliseconds.
const SAID_AGE_MAX_MS: u64 = 1_000;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Lateness {
    /// The peer's clock less ours, when its Hello came: the less the longer that took.
    offset_ms: i64,
    /// As last judged.
    late_ms: u64,
}

impl Lateness {
    /// The Hello has come.
    pub(super) fn on_hello(&mut self, offset_ms: i64) {
        self.offset_ms = offset_ms;
    }

    /// Something came that the peer said at `said`, by its clock, while a sign of life has been awaited for `waited_ms`.
    /// Gives how late it is, in milliseconds, if that has changed.
    pub(super) fn judge(&mut self, said: WallMillis, now: WallMillis, waited_ms: u64) -> Option<u64> {
        let offset_ms = said.0.wrapping_sub(now.0).cast_signed();
        let late_ms = u64::try_from(self.offset_ms.saturating_sub(offset_ms)).unwrap_or(0);
        let late_ms = late_ms.min(waited_ms + SAID_AGE_MAX_MS);
        let late_ms = if late_ms < LATE_MIN_MS { 0 } else { late_ms - late_ms % 1_000 };
        (std::mem::replace(&mut self.late_ms, late_ms) != late_ms).then_some(late_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The peer's clock is 700 ms ahead.
    #[track_caller]
    fn check(said: u64, now: u64, waited_ms: u64, expected: Option<u64>) {
        let mut lateness = Lateness::default();
        lateness.on_hello(700);
        assert_eq!(lateness.judge(WallMillis(said), WallMillis(now), waited_ms), expected);
    }

    #[test]
    fn what_lay_in_buffers_is_late_whatever_the_clocks_say() {
        check(100_700, 100_000, 0, None);
        check(100_700, 101_999, 9_000, None);
        check(100_700, 103_900, 9_000, Some(3_000));
    }

    #[test]
    fn a_clock_that_is_put_right_makes_nothing_late() {
        check(90_000, 100_000, 990, None);
        check(200_000, 100_000, 20, None);
    }

    #[test]
    fn it_is_in_time_again_when_the_buffers_are_empty() {
        let mut lateness = Lateness::default();
        let mut judge =
            |said, now| lateness.judge(WallMillis(said), WallMillis(now), now.saturating_sub(said));
        assert_eq!(judge(10_000, 14_000), Some(4_000));
        assert_eq!(judge(11_000, 15_000), None);
        assert_eq!(judge(15_000, 15_001), Some(0));
    }
}

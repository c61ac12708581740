//! Signs of life that were asked for and have not come.

use std::collections::VecDeque;

use super::Now;

/// So many are remembered: more than go out before a link is closed for its silence. Of more the oldest is forgotten, and
/// its answer tells nothing.
const UNANSWERED_MAX: usize = 64;

/// The Pings that are under way. On a link that is busy or slow the answer to one comes when others were sent long since,
/// and only it tells how slow that link is.
#[derive(Debug, Default)]
pub(super) struct Pings(VecDeque<Now>);

impl Pings {
    /// One is sent. Returns its id.
    pub(super) fn send(&mut self, now: Now) -> u64 {
        if self.0.len() == UNANSWERED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(now);
        now.mono_us
    }

    /// When the Ping of that id was sent. Those before it will not be answered any more.
    pub(super) fn answer(&mut self, id: u64) -> Option<Now> {
        let place = self.0.iter().position(|sent| sent.mono_us == id)?;
        self.0.drain(..=place).next_back()
    }

    /// How long the oldest has not been answered, in milliseconds.
    pub(super) fn waited_ms(&self, now: Now) -> u64 {
        self.0.front().map_or(0, |sent| now.mono().since(sent.mono()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::WallMillis;

    fn at(ms: u64) -> Now {
        Now { mono_us: ms * 1_000, wall: WallMillis(0) }
    }

    #[test]
    fn an_answer_that_comes_after_the_next_ping_counts() {
        let mut pings = Pings::default();
        let ids: Vec<_> = [0, 1_000, 2_000].map(|ms| pings.send(at(ms))).into();
        assert_eq!(pings.waited_ms(at(2_500)), 2_500);
        assert_eq!(pings.answer(ids[1]).map(|sent| sent.mono_us), Some(1_000_000));
        assert_eq!(pings.waited_ms(at(2_500)), 500);
        assert!(pings.answer(ids[0]).is_none(), "it is known already that it was answered");
        assert!(pings.answer(ids[2]).is_some());
        assert_eq!(pings.waited_ms(at(9_000)), 0);
        assert!(pings.answer(77).is_none(), "it was never sent");
    }

    #[test]
    fn a_peer_that_never_answers_costs_a_bounded_memory() {
        let mut pings = Pings::default();
        (0..1_000).for_each(|ms| _ = pings.send(at(ms)));
        assert_eq!(pings.waited_ms(at(1_000)), UNANSWERED_MAX as u64);
    }
}

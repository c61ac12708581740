//! How much log is left for a member that is behind, before it must reconcile.
//!
//! What it lacks begins somewhere in the log. From there on the log may grow to its retention; then that place may be
//! removed, by the next snapshot, or in memory at once.

use shared::version::Frontier;

use super::segment::LogPosition;
use super::{End, Log, OpenWrite, Retention};

impl Log {
    /// By how many bytes the log may still grow, at the least, before something is removed that one who holds so much
    /// lacks. 0 if that is removed, or may be any moment. For one who lacks nothing it is all that is retained: up to a
    /// stride of the index more than once it lacks something.
    pub(crate) fn left_for(&self, held: &Frontier, log_retention: u64) -> u64 {
        self.lock().left_for(held, log_retention)
    }

    /// From where on it is needed by one who holds so much. None if what that lacks is not there any more.
    pub(crate) fn needed_from(&self, held: &Frontier) -> Option<LogPosition> {
        self.lock().needed_from(held)
    }
}

impl OpenWrite<'_> {
    /// As [`Log::left_for`].
    pub(crate) fn log_left_for(&self, held: &Frontier, log_retention: u64) -> u64 {
        self.end.left_for(held, log_retention)
    }
}

impl End {
    fn left_for(&self, held: &Frontier, log_retention: u64) -> u64 {
        let retention = match self.retention {
            Retention::Disk => log_retention,
            Retention::Memory { bytes_max } => bytes_max as u64,
        };
        let needed = self.needed_from(held);
        needed.map_or(0, |needed_from| retention.saturating_sub(self.end.0 - needed_from.0))
    }

    fn needed_from(&self, held: &Frontier) -> Option<LogPosition> {
        let mut needed_from = self.end;
        for origin in self.index.origins() {
            match self.find(origin, held.get(origin)) {
                Ok(Some(position)) => needed_from = needed_from.min(position),
                Ok(None) => {}
                Err(_) => return None,
            }
        }
        Some(needed_from)
    }
}

#[cfg(test)]
mod tests {
    use shared::id::Origin;
    use shared::time::WallMillis;

    use super::*;
    use crate::log::disk::simulated::{Random, SimulatedDisk};
    use crate::log::durability_tests::{Life, start};

    const RETENTION: u64 = 3_000;

    fn is_served(life: &Life, held: &Frontier) -> bool {
        let log = &life.node.log;
        log.origins().into_iter().all(|origin| log.find(origin, held.get(origin)).is_ok())
    }

    /// Members that stay away from some moment on, while the log grows, and snapshots come as they like.
    #[test]
    fn as_much_as_is_left_may_be_written_and_who_has_none_left_is_not_served_for_long() {
        let (mut gone, mut near) = (0, 0);
        for seed in 0..20 {
            let mut random = Random(seed);
            let mut life = start(&SimulatedDisk::new(seed), Origin(1)).unwrap();
            life.node.settings.set_log_retention(RETENTION);
            let mut away: Vec<(Frontier, u64)> = Vec::new();
            for value in 0..200 {
                life.write(value % 5, value, WallMillis(1_000 + value)).unwrap();
                life.writer.turn(&life.node.log, false).unwrap();
                let end = life.node.log.end().0;
                let is_saved = random.below(10) == 0 && life.save();
                away.retain_mut(|(held, promised)| {
                    let left = life.node.log.left_for(held, RETENTION);
                    if !is_served(&life, held) {
                        gone += 1;
                        assert_eq!(left, 0);
                        assert!(end >= *promised, "{promised} was promised, and it is gone at {end}");
                        return false;
                    }
                    near += usize::from(is_saved && left < RETENTION / 2);
                    *promised = (*promised).max(end + left);
                    true
                });
                if random.below(10) == 0 {
                    let held = life.node.log.frontier();
                    assert_eq!(life.node.log.left_for(&held, RETENTION), RETENTION, "it lacks nothing");
                    away.push((held, 0));
                }
            }
        }
        assert!(gone > 50 && near > 50, "{gone} gone, {near} nearly");
    }
}

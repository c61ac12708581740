//! The commands that took long, the newest of them: SLOWLOG.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use crate::command::connection::client::ends;
use crate::server::wall_clock;
use crate::settings::Settings;
use crate::stopwatch::Call;

/// So many arguments of a command are kept, and so many bytes of each, as by Redis.
const ARGUMENTS_MAX: usize = 32;
const ARGUMENT_BYTES_MAX: usize = 128;

/// A command that took long.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Counts the entries since the node's start.
    pub(crate) id: u64,
    /// By the wall clock, in seconds.
    pub(crate) time_s: u64,
    /// What it took, in microseconds.
    pub(crate) us: u64,
    pub(crate) arguments: Vec<Box<[u8]>>,
    /// Where the client comes from, and its name.
    pub(crate) address: String,
    pub(crate) name: String,
}

impl Entry {
    pub(crate) fn new(call: &Call<'_>, us: u64) -> Self {
        Self {
            id: 0,
            time_s: wall_clock().0 / 1_000,
            us,
            arguments: cut(&call.shown()),
            address: ends(&call.client.address).0,
            name: call.client.text.lock().name.clone(),
        }
    }
}

/// What is kept of the arguments.
fn cut(arguments: &[&[u8]]) -> Vec<Box<[u8]>> {
    let are_many = arguments.len() > ARGUMENTS_MAX;
    let whole = if are_many { ARGUMENTS_MAX - 1 } else { arguments.len() };
    let mut kept: Vec<Box<[u8]>> = arguments[..whole].iter().map(|argument| cut_one(argument)).collect();
    if are_many {
        kept.push(format!("... ({} more arguments)", arguments.len() - whole).into_bytes().into());
    }
    kept
}

fn cut_one(argument: &[u8]) -> Box<[u8]> {
    match argument.split_at_checked(ARGUMENT_BYTES_MAX) {
        Some((kept, rest)) if !rest.is_empty() => {
            [kept, format!("... ({} more bytes)", rest.len()).as_bytes()].concat().into()
        }
        _ => argument.into(),
    }
}

/// The newest first. Bounded by `slowlog-max-len`, and what is kept of each.
#[derive(Default)]
pub(crate) struct SlowLog(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    newest_first: VecDeque<Entry>,
    told: u64,
}

impl SlowLog {
    pub(crate) fn push(&self, mut entry: Entry, settings: &Settings) {
        let entries = &mut *self.0.lock();
        entry.id = entries.told;
        entries.told += 1;
        entries.newest_first.push_front(entry);
        entries.newest_first.truncate(settings.slow_log_entries_max.load(Ordering::Relaxed));
    }

    /// The newest entries, at most so many.
    pub(crate) fn newest(&self, count: usize) -> Vec<Entry> {
        self.0.lock().newest_first.iter().take(count).cloned().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().newest_first.len()
    }

    pub(crate) fn clear(&self) {
        self.0.lock().newest_first.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_and_long_arguments_are_cut_as_by_redis() {
        let many: Vec<&[u8]> = vec![b"a"; 33];
        let kept = cut(&many);
        assert_eq!((kept.len(), &*kept[30], &*kept[31]), (32, &b"a"[..], &b"... (2 more arguments)"[..]));
        assert_eq!(cut(&many[..32]).len(), 32);
        let long = [b'A'; 129];
        let kept = cut(&[&long[..128], &long]);
        assert_eq!(kept[0].len(), 128);
        assert_eq!(*kept[1], [&long[..128], b"... (1 more bytes)"].concat());
    }
}

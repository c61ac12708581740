//! What was carried out: nobody shall believe in commands that never ran, or that only ever failed.

use std::collections::BTreeMap;
use std::fmt;

use crate::likeness;
use crate::reply::Reply;

/// How often a command ran.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) ran: usize,
    pub(crate) errors: usize,
}

/// Counts by family, by its place, and by command.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) families: BTreeMap<usize, Count>,
    pub(crate) commands: BTreeMap<String, Count>,
    pub(crate) total: usize,
}

impl Tally {
    /// Counts a command and its reply. Within a transaction it counts as carried out when it is queued.
    pub(crate) fn count(&mut self, family: usize, words: &[Vec<u8>], reply: &Reply) {
        self.total += 1;
        let command = self.commands.entry(likeness::name(words)).or_default();
        for count in [self.families.entry(family).or_default(), command] {
            count.ran += 1;
            count.errors += usize::from(reply.is_error());
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({}% errors)", self.ran, 100 * self.errors / self.ran.max(1))
    }
}

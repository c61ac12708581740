//! What happened, line by line: shown if asked for, and hashed, so that two runs can be compared.

use std::fmt::Arguments;
use std::hash::{DefaultHasher, Hasher};

/// The trace of a run.
#[derive(Debug)]
pub(crate) struct Trace {
    /// Equal for equal traces, in every process.
    hasher: DefaultHasher,
    is_shown: bool,
    pub(crate) lines: u64,
}

impl Trace {
    pub(crate) fn new(is_shown: bool) -> Self {
        Self { hasher: DefaultHasher::new(), is_shown, lines: 0 }
    }

    pub(crate) fn line(&mut self, now: u64, text: Arguments<'_>) {
        let text = format!("{:>10}.{:03} {text}", now / 1_000, now % 1_000);
        self.hasher.write(text.as_bytes());
        self.lines += 1;
        if self.is_shown {
            println!("{text}");
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hasher.finish()
    }
}

//! What happened, line by line: shown if asked for, and hashed, so that two runs can be compared.

use std::collections::BTreeMap;
use std::fmt::Arguments;
use std::hash::{DefaultHasher, Hasher};

use node::simulation::SimulatedNode;

/// The trace of a run.
#[derive(Debug)]
pub(crate) struct Trace {
    /// Equal for equal traces, in every process.
    hasher: DefaultHasher,
    is_shown: bool,
    /// The key whose state at each host is shown whenever it changes, and what was shown last.
    watched: Option<(u8, Vec<u8>)>,
    states: BTreeMap<usize, String>,
    pub(crate) lines: u64,
}

impl Trace {
    pub(crate) fn new(is_shown: bool) -> Self {
        let watched = is_shown.then(|| std::env::var("KEY").ok()).flatten();
        let watched = watched.map(|text| {
            let (db, key) = text.split_once(':').expect("KEY is a database and a key: 0:k1");
            (db.parse().expect("a database is a number"), key.into())
        });
        Self { hasher: DefaultHasher::new(), is_shown, watched, states: BTreeMap::new(), lines: 0 }
    }

    /// Shows the state of the watched key at a host, if it has changed.
    pub(crate) fn watch(&mut self, now: u64, host: usize, node: Option<&SimulatedNode>) {
        let Some((db, key)) = &self.watched else { return };
        let state = node.map(|node| node.describe_key(*db, key)).unwrap_or_default();
        if self.states.get(&host) != Some(&state) {
            println!("{:>10}.{:03} n{host} holds {state}", now / 1_000, now % 1_000);
            self.states.insert(host, state);
        }
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

//! How many messages went from whom to whom, by what they are for.

use std::ops::{Add, Sub};

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Batches: what is written.
    Batch,
    /// What members announce, and from whom each is heard.
    Announcement,
    /// What a peer's node holds.
    Frontier,
    /// What the two nodes ask each other.
    Talk,
    /// Hellos, signs of life, subscriptions.
    Upkeep,
}

const PURPOSES: usize = 5;

impl Purpose {
    const fn of(message: &[u8]) -> Self {
        match message {
            [_, 1 | 14 | 15, ..] => Self::Announcement,
            [_, 2, ..] => Self::Frontier,
            [_, 7, ..] => Self::Batch,
            [_, 11..=13, ..] => Self::Talk,
            _ => Self::Upkeep,
        }
    }
}

/// Messages and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { messages: self.messages + other.messages, bytes: self.bytes + other.bytes }
    }
}

impl Sub for Count {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { messages: self.messages - other.messages, bytes: self.bytes - other.bytes }
    }
}

/// All that was sent between any two hosts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    hosts: usize,
    counts: Vec<[Count; PURPOSES]>,
}

impl Traffic {
    pub(crate) fn new(hosts: usize) -> Self {
        Self { hosts, counts: vec![Default::default(); hosts * hosts] }
    }

    pub(crate) fn count(&mut self, from: usize, to: usize, message: &[u8]) {
        let count = &mut self.counts[from * self.hosts + to][Purpose::of(message) as usize];
        *count = *count + Count { messages: 1, bytes: message.len() as u64 };
    }

    /// What came since an earlier time.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let minus = |(now, then): (&[Count; PURPOSES], &[Count; PURPOSES])| {
            std::array::from_fn(|index| now[index] - then[index])
        };
        Self { hosts: self.hosts, counts: self.counts.iter().zip(&before.counts).map(minus).collect() }
    }

    /// What was sent from one host to another.
    pub(crate) fn between(&self, from: usize, to: usize, purpose: Purpose) -> Count {
        self.counts[from * self.hosts + to][purpose as usize]
    }

    /// What a host received.
    pub(crate) fn received(&self, to: usize, purpose: Purpose) -> Count {
        (0..self.hosts).map(|from| self.between(from, to, purpose)).fold(Count::default(), Add::add)
    }
}

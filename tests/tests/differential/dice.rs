//! Seeded chance, and what the drawing of one sequence has to remember.

use fastrand::Rng;

/// Draws a sequence. The same seed gives the same, but for moments, which lie ahead of `now_s`.
#[derive(Debug)]
pub(crate) struct Dice {
    random: Rng,
    /// The wall clock's seconds when the sequence was begun.
    now_s: u64,
    /// How many lifetimes and moments were drawn.
    moments: u64,
    /// What the own family's keys begin with.
    pub(crate) own_prefixes: &'static [&'static str],
    /// What any family's keys begin with.
    all_prefixes: Vec<&'static str>,
    /// The key that was drawn last.
    pub(crate) last_key: Vec<u8>,
    /// How many keys stood behind their number, where that was drawn last.
    pub(crate) last_keys: usize,
}

impl Dice {
    pub(crate) fn new(seed: u64, now_s: u64, all_prefixes: Vec<&'static str>) -> Self {
        let random = Rng::with_seed(seed);
        Self {
            random,
            now_s,
            moments: 0,
            own_prefixes: &[],
            all_prefixes,
            last_key: Vec::new(),
            last_keys: 1,
        }
    }

    /// Whether it falls so, in `percent` of all cases.
    pub(crate) fn chance(&mut self, percent: u8) -> bool {
        self.random.u8(..100) < percent
    }

    /// One at least.
    pub(crate) fn up_to(&mut self, most: usize) -> usize {
        self.random.usize(1..=most)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.random.usize(..bound)
    }

    pub(crate) fn between(&mut self, least: i64, most: i64) -> i64 {
        self.random.i64(least..=most)
    }

    pub(crate) fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    pub(crate) fn any_prefix(&mut self) -> &'static str {
        self.all_prefixes[self.random.usize(..self.all_prefixes.len())]
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.random.u8(..)).collect()
    }

    /// The word as it is, or in other letters of the same meaning.
    pub(crate) fn in_any_case(&mut self, word: &str) -> Vec<u8> {
        match self.below(6) {
            0 => word.to_ascii_lowercase().into_bytes(),
            1 => word
                .bytes()
                .map(|byte| if self.random.bool() { byte.to_ascii_lowercase() } else { byte })
                .collect(),
            _ => word.as_bytes().to_vec(),
        }
    }

    /// A lifetime in seconds, which does not end while the test runs. No two are alike, or else GT and LT would decide
    /// by the milliseconds that the servers are apart.
    pub(crate) fn lifetime_s(&mut self) -> u64 {
        self.moments += 1;
        100_000 * self.random.u64(1..60) + 100 * self.moments
    }

    /// A moment ahead, in seconds since the epoch: not at the end of any lifetime.
    pub(crate) fn moment_s(&mut self) -> u64 {
        self.now_s + self.lifetime_s() + 50
    }
}

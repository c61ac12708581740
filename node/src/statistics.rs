//! What is counted of each command and of each kind of error, for INFO and LATENCY.
//!
//! Each worker counts for itself, so that they do not wait for each other; who asks adds up. Some calls are counted and not
//! timed, see [`stopwatch`](crate::stopwatch): what they took is taken to be what the others did.

use std::collections::{BTreeMap, VecDeque};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use shared::time::MonoMillis;

use crate::command::table::{self, Row};
use crate::node::count;

/// So many kinds of errors are told apart; further ones are counted as `OTHER`.
const ERROR_CODES_MAX: usize = 128;

/// Durations below 64 ns are told as that, and those above 68 s as that.
const POWERS: std::ops::Range<u32> = 6..36;
/// Each power of two is parted in so many: percentiles are told to within 6%.
const PARTS_BITS: u32 = 4;
const BUCKETS: usize = (POWERS.end - POWERS.start) as usize * PARTS;
const PARTS: usize = 1 << PARTS_BITS;

/// How many calls took how long.
type Histogram = [AtomicU64; BUCKETS];

fn bucket(ns: u64) -> usize {
    let ns = ns.clamp(1 << POWERS.start, (1 << POWERS.end) - 1);
    let power = ns.ilog2();
    let part = (ns >> (power - PARTS_BITS)) as usize % PARTS;
    (power - POWERS.start) as usize * PARTS + part
}

/// The longest duration of a bucket.
const fn longest_ns(bucket: usize) -> u64 {
    let power = POWERS.start + (bucket / PARTS) as u32;
    ((PARTS + bucket % PARTS + 1) as u64) << (power - PARTS_BITS)
}

/// A command's numbers at one worker.
#[derive(Default)]
struct Tally {
    calls: AtomicU64,
    /// Of these, those that were timed, and what they took together.
    timed: AtomicU64,
    ns: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    /// Made when the command is first timed.
    histogram: OnceLock<Box<Histogram>>,
}

/// Who counts: a worker by its number, or whoever gives elements to clients that wait.
pub(crate) type Counter = usize;

/// The numbers of all commands, by worker, and of errors.
pub(crate) struct Statistics {
    workers: Vec<Box<[Tally]>>,
    errors: Mutex<BTreeMap<Box<str>, u64>>,
}

/// A command's numbers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) calls: u64,
    /// What all calls took, in nanoseconds.
    pub(crate) ns: u64,
    /// Calls that were refused before they were begun, and those that ended with an error.
    pub(crate) rejected: u64,
    pub(crate) failed: u64,
    pub(crate) durations: Durations,
}

/// How long the timed calls of a command took.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Durations {
    timed: u64,
    buckets: Vec<u64>,
}

impl Statistics {
    pub(crate) fn new(workers: usize) -> Self {
        let tallies = || table::all().map(|_| Tally::default()).collect();
        Self { workers: (0..=workers).map(|_| tallies()).collect(), errors: Mutex::default() }
    }

    /// Who gives elements to clients that wait counts as this.
    pub(crate) fn server_of_waiting(&self) -> Counter {
        self.workers.len() - 1
    }

    fn tally(&self, counter: Counter, row: &Row) -> &Tally {
        let last = self.server_of_waiting();
        &self.workers[counter.min(last)][row.index]
    }

    pub(crate) fn count_calls(&self, counter: Counter, row: &Row, calls: u64) {
        count(&self.tally(counter, row).calls, calls);
    }

    /// Counts what so many calls took together, in nanoseconds, and if asked for which of them took how long.
    pub(crate) fn count_time(&self, counter: Counter, row: &Row, calls: u64, ns: u64, into_histogram: bool) {
        let tally = self.tally(counter, row);
        count(&tally.timed, calls);
        count(&tally.ns, ns);
        if into_histogram && calls > 0 {
            let histogram = tally.histogram.get_or_init(|| Box::new([const { AtomicU64::new(0) }; BUCKETS]));
            count(&histogram[bucket(ns / calls)], calls);
        }
    }

    pub(crate) fn count_rejected(&self, counter: Counter, row: &Row) {
        count(&self.tally(counter, row).rejected, 1);
    }

    pub(crate) fn count_failed(&self, counter: Counter, row: &Row) {
        count(&self.tally(counter, row).failed, 1);
    }

    /// Counts an error by its code.
    pub(crate) fn count_error(&self, text: &str) {
        let code = text.split(' ').next().unwrap_or_default();
        let errors = &mut *self.errors.lock();
        let code = if errors.len() < ERROR_CODES_MAX || errors.contains_key(code) { code } else { "OTHER" };
        match errors.get_mut(code) {
            Some(errors) => *errors += 1,
            None => _ = errors.insert(code.into(), 1),
        }
    }

    pub(crate) fn errors(&self) -> Vec<(Box<str>, u64)> {
        self.errors.lock().iter().map(|(code, count)| (code.clone(), *count)).collect()
    }

    /// A command's numbers, of all workers.
    pub(crate) fn figures(&self, row: &Row) -> Figures {
        let tallies = || self.workers.iter().map(|tallies| &tallies[row.index]);
        let sum = |of: fn(&Tally) -> &AtomicU64| -> u64 {
            tallies().map(|tally| of(tally).load(Ordering::Relaxed)).sum()
        };
        let mut buckets = Vec::new();
        for histogram in tallies().filter_map(|tally| tally.histogram.get()) {
            buckets.resize(BUCKETS, 0);
            buckets.iter_mut().zip(&**histogram).for_each(|(sum, one)| *sum += one.load(Ordering::Relaxed));
        }
        let (calls, timed) = (sum(|tally| &tally.calls), sum(|tally| &tally.timed));
        Figures {
            calls,
            ns: scaled(sum(|tally| &tally.ns), calls, timed),
            rejected: sum(|tally| &tally.rejected),
            failed: sum(|tally| &tally.failed),
            durations: Durations { timed: buckets.iter().sum(), buckets },
        }
    }

    /// Counts from zero.
    pub(crate) fn reset(&self) {
        for tally in self.workers.iter().flatten() {
            let numbers = [&tally.calls, &tally.timed, &tally.ns, &tally.rejected, &tally.failed];
            let histogram = tally.histogram.get().into_iter().flat_map(|histogram| histogram.iter());
            numbers.into_iter().chain(histogram).for_each(|number| number.store(0, Ordering::Relaxed));
        }
        self.errors.lock().clear();
    }
}

/// How many commands there were, at the last few moments at which this was noted.
#[derive(Default)]
pub(crate) struct Rate(Mutex<VecDeque<(MonoMillis, u64)>>);

impl Rate {
    /// So many moments are kept, as by Redis: of a second and a half.
    const MOMENTS_MAX: usize = 16;

    pub(crate) fn note(&self, now: MonoMillis, commands: u64) {
        let moments = &mut *self.0.lock();
        if moments.len() == Self::MOMENTS_MAX {
            moments.pop_front();
        }
        moments.push_back((now, commands));
    }

    /// How many commands were carried out per second, between the first and the last of these moments.
    pub(crate) fn per_second(&self) -> u64 {
        let moments = self.0.lock();
        let (Some((began, before)), Some((ended, after))) = (moments.front(), moments.back()) else {
            return 0;
        };
        after.saturating_sub(*before) * 1_000 / ended.since(*began).max(1)
    }
}

/// What was seen of some, for all of them.
fn scaled(seen: u64, all: u64, some: u64) -> u64 {
    if some == 0 { 0 } else { (u128::from(seen) * u128::from(all) / u128::from(some)) as u64 }
}

impl Durations {
    /// Whether no call was timed.
    pub(crate) const fn is_empty(&self) -> bool {
        self.timed == 0
    }

    /// The duration that so many of a hundred calls did not exceed, in nanoseconds.
    pub(crate) fn percentile_ns(&self, percent: f64) -> u64 {
        let wanted = ((self.timed as f64 * percent / 100.0).ceil() as u64).clamp(1, self.timed.max(1));
        self.cumulative().find(|(_, calls)| *calls >= wanted).map_or(0, |(ns, _)| ns)
    }

    /// How many of `calls` took no longer than so many microseconds, for each power of two at which there are more.
    pub(crate) fn by_powers(&self, calls: u64) -> Vec<(u64, u64)> {
        let mut told = Vec::new();
        let mut told_calls = 0;
        for (ns, timed) in self.cumulative().filter(|(ns, _)| *ns >= 1_024 && ns.is_power_of_two()) {
            if timed > told_calls {
                told.push((ns / 1_000, scaled(timed, calls, self.timed)));
                told_calls = timed;
            }
        }
        told
    }

    /// Each bucket's longest duration, and how many calls took no longer.
    fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let sums = self.buckets.iter().scan(0, |sum, calls| {
            *sum += calls;
            Some(*sum)
        });
        sums.enumerate().map(|(bucket, calls)| (longest_ns(bucket), calls))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str) -> &'static Row {
        table::find(name.as_bytes()).unwrap()
    }

    #[test]
    fn every_duration_has_a_bucket_that_is_little_longer() {
        for ns in [0, 63, 64, 65, 1_000, 1_024, 1_000_000, 999_999_999, u64::MAX] {
            let longest = longest_ns(bucket(ns)) as f64;
            let told = ns.clamp(64, 1 << 36) as f64;
            assert!((told..=told * 1.0626).contains(&longest), "{ns} is told as {longest}");
        }
    }

    #[test]
    fn workers_add_up_and_what_is_not_timed_is_taken_to_be_alike() {
        let statistics = Statistics::new(2);
        statistics.count_calls(0, row("get"), 30);
        statistics.count_time(0, row("get"), 10, 20_000, true);
        statistics.count_calls(1, row("get"), 10);
        statistics.count_time(1, row("get"), 10, 20_000, true);
        statistics.count_failed(1, row("get"));
        let figures = statistics.figures(row("get"));
        assert_eq!((figures.calls, figures.ns, figures.failed, figures.rejected), (40, 80_000, 1, 0));
        assert_eq!(figures.durations.by_powers(figures.calls), [(2, 40)]);
        assert_eq!(figures.durations.percentile_ns(99.0), 2_048);
        assert!(statistics.figures(row("set")).durations.is_empty());
        statistics.reset();
        assert_eq!(statistics.figures(row("get")).calls, 0);
        assert!(statistics.figures(row("get")).durations.is_empty());
    }

    #[test]
    fn percentiles_are_of_the_calls_and_not_of_the_buckets() {
        let statistics = Statistics::new(1);
        statistics.count_time(0, row("get"), 98, 98 * 1_000, true);
        (0..2).for_each(|_| statistics.count_time(0, row("get"), 1, 1_000_000, true));
        let durations = statistics.figures(row("get")).durations;
        assert_eq!(durations.percentile_ns(50.0), 1_024);
        assert_eq!(durations.percentile_ns(98.0), 1_024);
        assert_eq!(durations.percentile_ns(99.0), 1_015_808);
        assert_eq!(durations.by_powers(100), [(1, 98), (1_048, 100)]);
    }

    #[test]
    fn the_rate_is_that_of_the_last_moments() {
        let rate = Rate::default();
        assert_eq!(rate.per_second(), 0);
        (0..100).for_each(|moment| rate.note(MonoMillis(moment * 100), moment * moment));
        assert_eq!(rate.per_second(), (99 * 99 - 84 * 84) * 1_000 / 1_500);
        rate.note(MonoMillis(10_000), 0);
        assert_eq!(rate.per_second(), 0);
    }

    #[test]
    fn errors_are_told_apart_by_their_codes_up_to_a_bound() {
        let statistics = Statistics::new(1);
        (0..ERROR_CODES_MAX).for_each(|number| statistics.count_error(&format!("E{number:04} x")));
        statistics.count_error("E0000 y");
        statistics.count_error("NEW x");
        let errors = statistics.errors();
        assert_eq!((errors.len(), errors[0].clone()), (ERROR_CODES_MAX + 1, ("E0000".into(), 2)));
        assert_eq!(errors.last().unwrap().0.as_ref(), "OTHER");
    }
}

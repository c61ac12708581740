//! The moments at which something took long, for LATENCY.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// So many samples of each event are kept, as by Redis.
const SAMPLES_MAX: usize = 160;

/// What took long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A command.
    Command,
    /// One that takes constant or logarithmic time.
    FastCommand,
    /// The removal of expired keys of one part of the store, or what it waited for.
    ExpireCycle,
}

impl Event {
    pub(crate) const ALL: [Self; 3] = [Self::Command, Self::FastCommand, Self::ExpireCycle];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::FastCommand => "fast-command",
            Self::ExpireCycle => "expire-cycle",
        }
    }

    pub(crate) fn find(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name().as_bytes() == name)
    }
}

/// How long something took, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// By the wall clock, in seconds.
    pub(crate) time_s: u64,
    pub(crate) ms: u64,
}

/// What is known of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Series {
    /// The oldest first, one a second: the longest. Bounded by [`SAMPLES_MAX`].
    pub(crate) samples: VecDeque<Sample>,
    /// The longest since the series was begun, in milliseconds.
    pub(crate) ms_max: u64,
}

impl Series {
    fn note(&mut self, sample: Sample) {
        self.ms_max = self.ms_max.max(sample.ms);
        match self.samples.back_mut() {
            Some(last) if last.time_s == sample.time_s => last.ms = last.ms.max(sample.ms),
            _ => {
                if self.samples.len() == SAMPLES_MAX {
                    self.samples.pop_front();
                }
                self.samples.push_back(sample);
            }
        }
    }
}

/// The series of all events.
#[derive(Default)]
pub(crate) struct Latency(Mutex<[Series; Event::ALL.len()]>);

impl Latency {
    pub(crate) fn note(&self, event: Event, sample: Sample) {
        self.0.lock()[event as usize].note(sample);
    }

    pub(crate) fn series(&self, event: Event) -> Series {
        self.0.lock()[event as usize].clone()
    }

    /// The events that have samples.
    pub(crate) fn known(&self) -> Vec<(Event, Series)> {
        let series = Event::ALL.into_iter().map(|event| (event, self.series(event)));
        series.filter(|(_, series)| !series.samples.is_empty()).collect()
    }

    /// Forgets what is known of an event. Returns whether anything was.
    pub(crate) fn reset(&self, event: Event) -> bool {
        !std::mem::take(&mut self.0.lock()[event as usize]).samples.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_one_sample_and_old_ones_are_forgotten() {
        let latency = Latency::default();
        for (time_s, ms) in [(1, 20), (1, 10), (2, 5)] {
            latency.note(Event::Command, Sample { time_s, ms });
        }
        let series = latency.series(Event::Command);
        assert_eq!(series.samples, [Sample { time_s: 1, ms: 20 }, Sample { time_s: 2, ms: 5 }]);
        (3..).take(SAMPLES_MAX).for_each(|time_s| latency.note(Event::Command, Sample { time_s, ms: 1 }));
        let series = latency.series(Event::Command);
        assert_eq!((series.samples.len(), series.samples[0].time_s, series.ms_max), (SAMPLES_MAX, 3, 20));
        assert_eq!(latency.known().len(), 1);
        assert!(latency.reset(Event::Command) && !latency.reset(Event::Command));
    }
}

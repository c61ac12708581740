//! What CONFIG SET may change of it.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};

use shared::time::WallMillis;

use super::policy::Policy;
use crate::store::usage::{Frequency, Usage};

/// More keys are not looked at for each that is removed: it would take long, and help nothing.
pub(crate) const SAMPLES_MAX: usize = 64;

/// The values that the settings start with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InitialMemory {
    pub(crate) limit: usize,
    pub(crate) policy: Policy,
    pub(crate) samples: usize,
    pub(crate) log_factor: u32,
    pub(crate) decay_minutes: u32,
}

impl Default for InitialMemory {
    fn default() -> Self {
        Self { limit: 0, policy: Policy::default(), samples: 5, log_factor: 10, decay_minutes: 1 }
    }
}

/// The settings, each an atomic of its own.
pub(crate) struct MemorySettings {
    limit: AtomicUsize,
    policy: AtomicU8,
    samples: AtomicUsize,
    log_factor: AtomicU32,
    decay_minutes: AtomicU32,
}

impl MemorySettings {
    pub(crate) fn new(initial: InitialMemory) -> Self {
        Self {
            limit: AtomicUsize::new(initial.limit),
            policy: AtomicU8::new(initial.policy as u8),
            samples: AtomicUsize::new(initial.samples),
            log_factor: AtomicU32::new(initial.log_factor),
            decay_minutes: AtomicU32::new(initial.decay_minutes),
        }
    }

    /// So many bytes the data of this node may take; 0 for as many as they like.
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    pub(crate) fn set_limit(&self, bytes: usize) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn policy(&self) -> Policy {
        Policy::ALL[usize::from(self.policy.load(Ordering::Relaxed))]
    }

    pub(crate) fn set_policy(&self, policy: Policy) {
        self.policy.store(policy as u8, Ordering::Relaxed);
    }

    /// So many keys are looked at for each that is removed.
    pub(crate) fn samples(&self) -> usize {
        self.samples.load(Ordering::Relaxed)
    }

    pub(crate) fn set_samples(&self, samples: usize) {
        self.samples.store(samples, Ordering::Relaxed);
    }

    pub(crate) fn log_factor(&self) -> u32 {
        self.log_factor.load(Ordering::Relaxed)
    }

    pub(crate) fn set_log_factor(&self, factor: u32) {
        self.log_factor.store(factor, Ordering::Relaxed);
    }

    pub(crate) fn decay_minutes(&self) -> u32 {
        self.decay_minutes.load(Ordering::Relaxed)
    }

    pub(crate) fn set_decay_minutes(&self, minutes: u32) {
        self.decay_minutes.store(minutes, Ordering::Relaxed);
    }

    /// How a use at this moment is noted.
    pub(crate) fn usage(&self, wall: WallMillis) -> Usage {
        let counts = self.policy().counts_uses();
        let frequency = || Frequency { log_factor: self.log_factor(), decay_minutes: self.decay_minutes() };
        Usage { frequency: counts.then(frequency), ..Usage::of_seconds(wall) }
    }
}

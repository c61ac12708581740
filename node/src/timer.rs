//! A timer of microseconds for an event loop, whose own timeout counts in milliseconds.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

/// A one-shot timer whose descriptor becomes readable when it fires.
pub(crate) struct Timer(OwnedFd);

impl Timer {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self(rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?))
    }

    /// Fires once, after `delay`.
    pub(crate) fn set(&self, delay: Duration) -> io::Result<()> {
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let it_value =
            Timespec { tv_sec: delay.as_secs() as i64, tv_nsec: delay.subsec_nanos().max(1).into() };
        let setting = Itimerspec { it_interval: zero, it_value };
        rustix::time::timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &setting)?;
        Ok(())
    }

    /// Takes note that it has fired, so that the next firing makes an event again.
    pub(crate) fn clear(&self) {
        // Fails only if it has not fired, and then there is nothing to clear.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

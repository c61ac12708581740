//! One deadline to wait for.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use shared::time::MonoMillis;

/// Wakes the task at a deadline. One that moves to later costs nothing: the timer goes off, and is set again.
#[derive(Default)]
pub(super) struct Timer {
    sleeping: Option<(MonoMillis, Sleep)>,
}

type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Timer {
    /// Says whether the deadline, or an earlier one, has passed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, due: MonoMillis, now: MonoMillis) -> bool {
        if due <= now {
            return true;
        }
        let (_, sleep) = match &mut self.sleeping {
            Some(sleeping) if sleeping.0 <= due => sleeping,
            earlier => {
                let wait = Duration::from_millis(due.since(now));
                earlier.insert((due, Box::pin(async_std::task::sleep(wait))))
            }
        };
        if sleep.as_mut().poll(cx) == Poll::Pending {
            return false;
        }
        self.sleeping = None;
        true
    }
}

//! Waiting for conditions, never for time.

use std::time::{Duration, Instant};

/// How long a condition may take before the test fails: generous, for machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` gives a value.
///
/// # Panics
/// If it gives none within [`PATIENCE`]; with what was waited for, and the last reason why not.
#[track_caller]
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match condition() {
            Ok(value) => return value,
            Err(why) => assert!(Instant::now() < deadline, "waited in vain for {what}: {why}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || if condition() { Ok(()) } else { Err("not yet".to_owned()) });
}

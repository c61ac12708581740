//! The allocator, and when it gives free memory back to the system.
//!
//! Problem: the data lie in huge pages. To give back a part of one breaks it up, and a node that does that all the time, as
//! the allocator does by itself, needs a quarter more of the processor's time for looking up its keys. And by itself it gives
//! back only on the occasion of other allocations, so that a node whose load has just ended never does.
//!
//! Idea: free memory is used again while there is load, and given back when there is none, or when it is more than what is
//! in use.

use std::sync::atomic::Ordering;

use crate::process;
use crate::server::Server;

#[cfg(not(miri))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Below so many commands per second a node counts as without load.
const LOAD: u64 = 1_000;

/// Memory that is free under load is looked at once in so many seconds.
const UNDER_LOAD_SECONDS: u64 = 10;

/// So much is never too much to keep, in bytes: buffers and the like are not counted.
const KEPT_BYTES: u64 = 64 << 20;

/// Longer than a node is without load, or this is looked at: in milliseconds.
#[cfg(not(miri))]
const BY_ITSELF_MS: std::ffi::c_long = 24 * 3_600_000;

/// Of `mi_option_e` in mimalloc.h, which the bindings do not name.
#[cfg(not(miri))]
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// The allocator gives nothing back by itself any more.
#[allow(unsafe_code, reason = "there is no safe way to ask")]
pub(crate) fn keep_all() {
    #[cfg(not(miri))]
    {
        // SAFETY: it is an option, and options may be set at any time.
        unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, BY_ITSELF_MS) }
    }
}

/// Gives back what is free, if it is time. To be called once a second; so many have passed.
pub(crate) fn tend(server: &Server, seconds: u64) {
    let has_load = server.rate.per_second() >= LOAD;
    if !has_load || (seconds.is_multiple_of(UNDER_LOAD_SECONDS) && is_too_much_free(server)) {
        give_back();
    }
}

fn is_too_much_free(server: &Server) -> bool {
    let node = &server.node;
    let data = node.store.account.total() + node.dead_bytes.load(Ordering::Relaxed);
    let used = (data + node.log.status().memory_bytes) as u64;
    process::Memory::read().resident > 2 * used + KEPT_BYTES
}

#[allow(unsafe_code, reason = "there is no safe way to ask")]
fn give_back() {
    #[cfg(not(miri))]
    // SAFETY: any thread may call it at any time.
    unsafe {
        libmimalloc_sys::mi_collect(true);
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    /// Another build of the allocator may count its options differently.
    #[test]
    #[allow(unsafe_code, reason = "there is no safe way to ask")]
    fn the_option_is_the_delay_in_milliseconds_after_which_memory_goes() {
        // SAFETY: options may be read at any time.
        assert_eq!(unsafe { libmimalloc_sys::mi_option_get(super::PURGE_DELAY) }, 1_000);
    }
}

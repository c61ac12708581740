//! The process's limit of open files, which the agent raises for its links as far as it may.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open beside links: listeners, the event loop, logs.
const SPARE: u64 = 128;

/// Each link is a connection to the peer, and up to three to the node.
const FILES_PER_LINK: u64 = 4;

/// Makes room for this many links. Returns for how many there is, if the system does not permit that.
pub(crate) fn make_room(links: usize) -> Result<(), usize> {
    let needed = (links as u64).saturating_mul(FILES_PER_LINK).saturating_add(SPARE);
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current.unwrap_or(u64::MAX);
    if current >= needed {
        return Ok(());
    }
    let raised = limit.maximum.unwrap_or(needed).min(needed);
    // One that may not be raised stays as it was.
    let permitted = match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit }) {
        Ok(()) => raised,
        Err(_) => current,
    };
    if permitted >= needed {
        return Ok(());
    }
    Err(usize::try_from(permitted.saturating_sub(SPARE) / FILES_PER_LINK).map_or(links, |links| links.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_for_no_more_than_is_needed_and_says_what_there_is() {
        assert_eq!(make_room(1), Ok(()));
        // No system permits that many.
        assert!(make_room(usize::MAX >> 1).is_err_and(|links| links > 0));
    }
}

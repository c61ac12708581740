//! The process's limit of open files, which a node raises for its clients as far as it may.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open beside clients: the log, listeners, event loops; and agents, which come on top of the clients that
/// somebody reckoned with.
const SPARE: usize = 128;

/// Makes room for this many clients. Returns for how many there is, if the system does not permit that.
///
/// As in Redis, this is for the node to do: a service manager's or shell's limit is seldom above a thousand.
pub(crate) fn make_room(clients: usize) -> Result<(), usize> {
    let needed = clients.saturating_add(SPARE) as u64;
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current.unwrap_or(u64::MAX);
    if current >= needed {
        return Ok(());
    }
    let raised = limit.maximum.unwrap_or(needed).min(needed);
    // One that may not be raised stays as it was.
    let limit = match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit }) {
        Ok(()) => raised,
        Err(_) => current,
    };
    if limit >= needed {
        return Ok(());
    }
    Err(usize::try_from(limit).map_or(clients, |limit| limit.saturating_sub(SPARE).max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_for_no_more_than_is_needed_and_says_what_there_is() {
        assert_eq!(make_room(1), Ok(()));
        let hard = getrlimit(Resource::Nofile).maximum;
        // No system permits that many.
        let permitted = make_room(usize::MAX >> 1).unwrap_err();
        assert!(permitted > 0 && hard.is_none_or(|hard| (permitted as u64) < hard));
    }
}

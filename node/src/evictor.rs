//! Removes keys when the data take more memory than they may, though no client of this node writes: what peers write is
//! never refused, and what clients have written at once may take longer to make up for than they can be made to wait.

use std::time::Duration;

use slog::{Logger, debug};

use crate::memory::evict::{Relief, relieve};
use crate::server::Server;

/// How often it is looked whether the limit is near.
const CYCLE: Duration = Duration::from_millis(100);

/// How often it is looked at what the data take while the limit is near.
const NEAR_CYCLE: Duration = Duration::from_millis(10);

/// Keys removed before others have a turn.
const RUN_KEYS: usize = 128;

/// Removes keys until the node stops.
pub(crate) fn run(server: &Server, logger: &Logger) {
    while !server.is_stopping() {
        let is_near = server.node.memory.is_near(&server.node.store.account);
        std::thread::sleep(if is_near { NEAR_CYCLE } else { CYCLE });
        if !server.node.memory.is_exceeded(&server.node.store.account) {
            continue;
        }
        let relief = relieve_all(server);
        debug!(logger, "keys were removed for want of memory"; "outcome" => ?relief);
    }
}

fn relieve_all(server: &Server) -> Relief {
    let clocks = server.clocks();
    let mut relief = relieve(server, RUN_KEYS, clocks);
    while relief == Relief::More && !server.is_stopping() {
        std::thread::yield_now();
        relief = relieve(server, RUN_KEYS, server.clocks());
    }
    server.node.log.seal(server.mono_us());
    relief
}

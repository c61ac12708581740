//! Has the node look after itself, and tells the operator what came of it.

use std::time::Duration;

use slog::{Logger, debug, error, info, warn};

use crate::allocator;
use crate::conversation::Notice;
use crate::node::maintenance::Maintained;
use crate::server::Server;

/// How often it is done.
const CYCLE: Duration = Duration::from_millis(100);

const CYCLES_PER_SECOND: u64 = 10;

/// Looks after the node until it stops.
pub(crate) fn run(server: &Server, logger: &Logger) {
    let mut cycle = 0_u64;
    while !server.is_stopping() {
        std::thread::sleep(CYCLE);
        cycle += 1;
        if cycle.is_multiple_of(CYCLES_PER_SECOND) {
            allocator::tend(server, cycle / CYCLES_PER_SECOND);
        }
        let Maintained { notices, evicted, dropped } = server.node.maintain(server.clocks());
        for (member, why) in evicted {
            warn!(logger, "member is evicted: it comes back by taking over the group's state";
                "member" => member, "why" => why);
        }
        if dropped > 0 {
            debug!(logger, "dead things that all members know of were dropped"; "looked at" => dropped);
        }
        tell(logger, "", notices);
    }
}

/// Tells the operator what came of a conversation with a peer.
pub(crate) fn tell(logger: &Logger, peer: &str, notices: Vec<Notice>) {
    for notice in notices {
        match notice {
            Notice::Founded => info!(logger, "this node has founded its group"),
            Notice::Joining { peer, why } => {
                warn!(logger, "this node joins its group anew: what only it holds is written once more after that";
                    "peer" => peer, "why" => why);
            }
            Notice::Receiving { differing_slots } => {
                info!(logger, "taking over what the peer has"; "peer" => peer, "slots that differ" => differing_slots);
            }
            Notice::Received { taken, dropped } => {
                info!(logger, "took over what the peer had"; "parts taken" => taken, "parts dropped" => dropped);
            }
            Notice::Joined => info!(logger, "this node is a member of its group now"),
            Notice::Reissued => info!(logger, "what only this node held is written once more"),
            Notice::Rewound { by_ms, origin } => {
                warn!(logger, "this node's clock was put back, as an operator wants: what it had stamped with the far \
                    future is written once more, and writes are refused until that is durable";
                    "put back by ms" => by_ms, "origin" => %origin);
            }
            Notice::Diverged { peer, slots } => {
                error!(logger, "data differ although both nodes hold the same changes: memory or disk has failed, or \
                    this program; versions are united, run tandem-agent verify --deep"; "peer" => peer, "slots" => slots);
            }
            Notice::Unsaved { text } => {
                warn!(logger, "what a peer had is taken over, but cannot be made durable yet"; "error" => text);
            }
            Notice::Refused { text } => {
                debug!(logger, "the peer asks for patience"; "peer" => peer, "text" => text)
            }
            Notice::Unexpected { what } => {
                warn!(logger, "the peer's answer cannot be used"; "peer" => peer, "error" => what);
            }
        }
    }
}

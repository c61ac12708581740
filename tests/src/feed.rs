//! What nodes stream: an origin's batches, read as any consumer of the feed would.

use redis::Value;
use shared::batch::BatchHeader;
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::version::Frontier;

use crate::host::Host;
use crate::wait::PATIENCE;

/// One copy of a piece of log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    /// How many batches it is.
    pub batches: u64,
    /// How many bytes they have.
    pub bytes: u64,
}

/// What the host's node wrote itself, or took from others, after `from`: of every origin that `is_wanted`, up to what
/// it holds now.
///
/// It counts as sent by that node, as any stream of the feed does.
///
/// # Panics
/// If the node does not stream it.
#[must_use]
pub fn copy_after(host: &Host, from: &Frontier, is_wanted: impl Fn(Origin) -> bool) -> Copy {
    let mut copy = Copy::default();
    let held = host.frontier();
    for (origin, upto) in held.iter().filter(|(origin, upto)| is_wanted(*origin) && *upto > from.get(*origin))
    {
        add(host, origin, from.get(origin), upto, &mut copy);
    }
    copy
}

fn add(host: &Host, origin: Origin, after: Timestamp, upto: Timestamp, copy: &mut Copy) {
    let mut client = host.client();
    client.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
    let mut request = redis::cmd("FEED");
    request.arg("FOLLOW").arg(origin.to_string()).arg(after.to_string());
    client.send_packed_command(&request.get_packed_command()).expect("a node takes requests");
    loop {
        match client.recv_response().expect("a node streams") {
            Value::BulkString(bytes) => {
                copy.batches += 1;
                copy.bytes += bytes.len() as u64;
                let header = BatchHeader::peek(&bytes).expect("a batch");
                if header.upto >= upto {
                    return;
                }
            }
            Value::Okay | Value::SimpleString(_) => {}
            other => panic!("{} streams {other:?}", host.name()),
        }
    }
}

/// The origin of the host's node, for as long as that runs.
///
/// # Panics
/// If the node does not answer.
#[must_use]
pub fn own_origin(host: &Host) -> Origin {
    host.feed_info("origin").parse().expect("a node tells its origin")
}

//! The section `Replication`: this member, what it has, and its links.
//!
//! ```text
//! role:active-replica                                     takes writes, and gets those of its peers; or, with what Redis
//!                                                         tells of a replica, slave: refuses writes
//! connected_slaves:2                                      links that are up
//! reissuing:0                                             1: what only this node holds is being written once more
//! log_left_bytes:1073741824                               the least that is left for any member
//! member0:name=..,heard_ms_ago=..,log_left_bytes=..       each other member; -1: not heard since this node's start
//! link_payload_bytes_out:123                              bytes of batches that followers of this node were sent
//! link_wire_bytes_out:97                                  bytes that its agent sent over its links, compressed as they are,
//!                                                         and with all that is not batches
//! upstream0:origin=..,peer=..,lag_ms=..                   where each origin's writes are pulled from
//! link0:name=..,node_id=..,address=..,...                 each link, as the agent reported it within five seconds
//! link0_link_status:up
//! ```

use shared::announcement::Role;
use shared::feed::LinkReport;
use shared::time::MonoMillis;

use super::Page;
use crate::command::context::Context;
use crate::conversation::Status;
use crate::log::LogStatus;

/// What Redis gives for the id of a replication history that there is none of.
const NO_REPLID: &str = "0000000000000000000000000000000000000000";

pub(super) fn write(page: &mut Page, context: &Context<'_, '_>) {
    let log = context.transaction.log_status();
    write_as_redis(page, context, &log);
    write_member(page, context, &log);
    write_group(page, context, &log);
    write_members(page, context);
    write_counters(page, context);
    write_links(page, context);
}

/// What tools for Redis read: a master whose offset is its log's length.
fn write_as_redis(page: &mut Page, context: &Context<'_, '_>, log: &LogStatus) {
    let server = context.server;
    match server.node.settings.role() {
        Role::Active => page.field("role", "active-replica"),
        Role::ReadOnly => write_as_replica(page, context, log),
    }
    page.field("connected_slaves", server.node.peers.lock().linked(now(context)));
    page.field("master_failover_state", "no-failover");
    page.field("master_replid", &server.run_id);
    page.field("master_replid2", NO_REPLID);
    page.field("master_repl_offset", log.end.0);
    page.field("second_repl_offset", -1);
    page.zeros(&[
        "repl_backlog_active",
        "repl_backlog_size",
        "repl_backlog_first_byte_offset",
        "repl_backlog_histlen",
    ]);
}

/// What clients and load balancers look for at a replica.
fn write_as_replica(page: &mut Page, context: &Context<'_, '_>, log: &LogStatus) {
    let master = context.server.node.peers.lock().master(now(context));
    page.field("role", "slave");
    page.field("master_host", value(&master.host));
    page.field("master_port", master.port);
    page.field("master_link_status", if master.is_up { "up" } else { "down" });
    page.field("master_last_io_seconds_ago", if master.is_up { 0 } else { -1 });
    page.field("master_sync_in_progress", u8::from(is_receiving(context)));
    page.field("slave_read_repl_offset", log.end.0);
    page.field("slave_repl_offset", log.end.0);
    page.field("slave_priority", 100);
    page.field("slave_read_only", 1);
    page.field("replica_announced", 1);
}

fn is_receiving(context: &Context<'_, '_>) -> bool {
    context.server.node.conversation_status.lock().receiving.is_some()
}

fn write_member(page: &mut Page, context: &Context<'_, '_>, log: &LogStatus) {
    let identity = context.server.identity();
    page.field("node_id", identity.node_id);
    page.field("name", value(&identity.name));
    page.field("group", value(&identity.group.unwrap_or_default()));
    page.field("group_id", identity.group_id);
    page.field("origin", log.origin);
    page.field("frontier", &log.frontier);
    page.field("clock", log.clock);
    if let Some(fault) = &log.fault {
        page.field("log_fault", line(fault));
    }
}

/// What the node knows of its group, and what it did to be equal to it.
fn write_group(page: &mut Page, context: &Context<'_, '_>, log: &LogStatus) {
    let node = &context.server.node;
    let is_loading = node.is_loading();
    page.field("ready", u8::from(!is_loading && node.is_ready(log, context.clocks)));
    page.field("takes_writes", u8::from(!is_loading && node.takes_writes()));
    {
        let membership = node.membership.lock();
        let group = &membership.group;
        page.field("joining", u8::from(group.is_joining()));
        page.field("reissuing", u8::from(group.is_reissuing()));
        page.field("members", group.size());
        page.field("members_evicted", group.announced_evictions().len());
        if let Some(fault) = membership.fault() {
            page.field("group_fault", line(fault));
        }
    }
    let Status { counters, receiving, sending } = *node.conversation_status.lock();
    page.field("reconcile_receiving", u8::from(receiving.is_some()));
    page.field("reconcile_slots_left", receiving.unwrap_or(0));
    page.field("reconcile_serving", sending);
    for (name, count) in [
        ("reconciles_begun", counters.reconciles_begun),
        ("reconciles_done", counters.reconciles_done),
        ("reconcile_bytes_in", counters.reconcile_bytes_in),
        ("reconcile_bytes_out", counters.reconcile_bytes_out),
        ("reconcile_parts_taken", counters.parts_taken),
        ("reconcile_parts_dropped", counters.parts_dropped),
        ("compared_rounds", counters.rounds_compared),
        ("compared_slots", counters.slots_compared),
        ("diverged_slots", counters.slots_diverged),
        ("repaired_slots", counters.slots_repaired),
    ] {
        page.field(name, count);
    }
    // An EXEC that writes holds some of the shards: what it cannot look at, it does not tell.
    page.field(
        "tombstone_bytes",
        context.transaction.shards().map(|shard| shard.dead_bytes()).sum::<usize>(),
    );
}

/// The other members, and how much log is left before what they lack is removed from it, and they must reconcile.
fn write_members(page: &mut Page, context: &Context<'_, '_>) {
    let members = context.server.node.membership.lock().group.reports(now(context));
    let left: Vec<Option<u64>> = members
        .iter()
        .map(|member| member.held.as_ref().map(|held| context.transaction.log_left_for(held)))
        .collect();
    let shown = |left: Option<u64>| left.map_or_else(|| "-1".to_owned(), |left| left.to_string());
    page.field("log_left_bytes", shown(left.iter().copied().flatten().min()));
    for (number, (member, left)) in members.iter().zip(left).enumerate() {
        let (name, silent_ms, left) = (value(&member.member.name), member.silent_ms, shown(left));
        page.field(
            format_args!("member{number}"),
            format_args!("name={name},heard_ms_ago={silent_ms},log_left_bytes={left}"),
        );
    }
}

fn write_counters(page: &mut Page, context: &Context<'_, '_>) {
    let merged = &context.server.node.merged;
    page.count("link_payload_bytes_in", &merged.bytes_in);
    page.count("link_payload_bytes_out", &merged.bytes_out);
    page.count("batches_in", &merged.batches_in);
    page.count("batches_out", &merged.batches_out);
    page.count("batches_duplicate", &merged.batches_duplicate);
    page.count("changes_won", &merged.changes_won);
    page.count("changes_stale", &merged.changes_stale);
}

fn write_links(page: &mut Page, context: &Context<'_, '_>) {
    let now = now(context);
    let peers = context.server.node.peers.lock();
    page.field("agent", if peers.has_agent(now) { "connected" } else { "none" });
    for (number, upstream) in peers.upstreams(now).iter().enumerate() {
        let (origin, peer, lag_ms) = (upstream.origin, value(&upstream.peer), upstream.lag_ms);
        page.field(
            format_args!("upstream{number}"),
            format_args!("origin={origin},peer={peer},lag_ms={lag_ms}"),
        );
    }
    let links = peers.links(now);
    page.field("link_wire_bytes_in", links.iter().map(|link| link.wire_bytes_in).sum::<u64>());
    page.field("link_wire_bytes_out", links.iter().map(|link| link.wire_bytes_out).sum::<u64>());
    for (number, link) in links.iter().enumerate() {
        write_link(page, number, link);
    }
}

fn write_link(page: &mut Page, number: usize, link: &LinkReport) {
    page.field(
        format_args!("link{number}"),
        format_args!(
            "name={},node_id={},address={},payload_bytes_in={},payload_bytes_out={},wire_bytes_in={},wire_bytes_out={},\
             compression={},batches_in={},batches_out={},round_trip_us={},clock_offset_ms={},messages_dropped={}",
            value(&link.name),
            link.node_id,
            value(&link.address),
            link.payload_bytes_in,
            link.payload_bytes_out,
            link.wire_bytes_in,
            link.wire_bytes_out,
            value(&link.compression),
            link.batches_in,
            link.batches_out,
            link.round_trip_us,
            link.clock_offset_ms,
            link.messages_dropped,
        ),
    );
    page.field(format_args!("link{number}_link_status"), if link.up { "up" } else { "down" });
    if !link.error.is_empty() {
        page.field(format_args!("link{number}_error"), line(&link.error));
    }
}

const fn now(context: &Context<'_, '_>) -> MonoMillis {
    MonoMillis(context.clocks.mono_us / 1_000)
}

/// Text from elsewhere as a whole line: it must not begin a field of its own.
fn line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// Text from elsewhere as a value among others in one line.
fn value(text: &str) -> String {
    text.replace(|c: char| c.is_control() || matches!(c, ',' | '='), "_")
}

#[cfg(test)]
mod tests {
    use shared::id::NodeId;

    use super::*;

    #[test]
    fn what_a_peer_calls_itself_cannot_make_fields() {
        let mut page = Page::default();
        let link = LinkReport {
            name: "b,address=x\r\nrole:master".to_owned(),
            node_id: NodeId(1),
            address: "ws://b:7102".to_owned(),
            up: false,
            related: false,
            error: "refused\r\nrole:master".to_owned(),
            payload_bytes_in: 1,
            payload_bytes_out: 2,
            wire_bytes_in: 8,
            wire_bytes_out: 9,
            compression: "zstd".to_owned(),
            batches_in: 3,
            batches_out: 4,
            round_trip_us: 5,
            clock_offset_ms: -6,
            messages_dropped: 7,
        };
        write_link(&mut page, 0, &link);
        let expected = "link0:name=b_address_x__role:master,node_id=0000000000000001,address=ws://b:7102,\
                        payload_bytes_in=1,payload_bytes_out=2,wire_bytes_in=8,wire_bytes_out=9,compression=zstd,batches_in=3,batches_out=4,round_trip_us=5,\
                        clock_offset_ms=-6,messages_dropped=7\r\nlink0_link_status:down\r\nlink0_error:refused  role:master\r\n";
        assert_eq!(page.0, expected);
    }
}

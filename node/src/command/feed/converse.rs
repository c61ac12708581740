//! The FEED commands by which nodes talk to each other through their agents, and operators to the node.

use serde_json::json;
use shared::feed::{DifferingKey, VERIFY_KEYS_MAX, VerifyState, VerifyStatus};
use shared::id::NodeId;
use shared::time::MonoMillis;
use slog::{info, warn};

use super::{check_permitted, parse};
use crate::command::arguments::lossy;
use crate::command::context::Context;
use crate::conversation::verifying::Job;
use crate::error::{CommandError, CommandResult};
use crate::group::MemberReport;
use crate::node::rewind::RewindBegun;

/// FEED HEARD clock.
pub(super) fn heard(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    check_permitted(context)?;
    let clock = parse(arguments[2], "timestamp in hex")?;
    context.server.node.hear_clock(clock, context.clocks);
    context.reply.ok();
    Ok(())
}

/// FEED CONVERSE node-id name [answer bytes | failed text].
pub(super) fn converse(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    check_permitted(context)?;
    let peer: NodeId = parse(arguments[2], "node id in hex")?;
    let name = lossy(arguments[3]);
    let node = &context.server.node;
    let mut conversations = node.conversations.lock();
    let notices = match &arguments[4..] {
        [] => Vec::new(),
        [what, answer] if what.eq_ignore_ascii_case(b"answer") => {
            conversations.on_answer(node, peer, Ok(answer), context.clocks)
        }
        [what, text] if what.eq_ignore_ascii_case(b"failed") => {
            conversations.on_answer(node, peer, Err(&lossy(text)), context.clocks)
        }
        _ => return Err(CommandError::text("ERR expected: answer <bytes>, or failed <text>")),
    };
    let next = conversations.next_question(node, peer, &name, context.clocks);
    drop(conversations);
    context.server.tell(&name, notices);
    context.reply.array(2);
    match next.question {
        Some(question) => context.reply.bulk(&question),
        None => context.reply.null(),
    }
    context.reply.integer(next.wait_ms as i64);
    Ok(())
}

/// FEED ANSWER node-id question.
pub(super) fn answer(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    check_permitted(context)?;
    let peer: NodeId = parse(arguments[2], "node id in hex")?;
    let node = &context.server.node;
    let answer =
        node.conversations.lock().answer(node, peer, arguments[3], context.clocks).map_err(|error| {
            CommandError::composed(format!("ERR not a question of this build's: {error}"))
        })?;
    context.reply.bulk(&answer);
    Ok(())
}

/// FEED MEMBERS.
pub(super) fn members(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    check_permitted(context)?;
    let now = MonoMillis(context.clocks.mono_us / 1_000);
    let wall = context.clocks.wall.0;
    let reports = context.server.node.membership.lock().group.reports(now);
    // Not under the group's lock: an EXEC that writes holds the log's, and may wait for that one.
    let row = |report: &MemberReport| {
        json!({
            "name": report.member.name,
            "node_id": report.member.node_id.to_string(),
            "origin": report.member.origin.to_string(),
            "role": report.member.role.name(),
            "self": false,
            "heard_ms_ago": report.silent_ms,
            "clock_behind_ms": report.clock.map(|clock| wall.saturating_sub(clock.wall().0)),
            "reached_behind_ms": report.reached.map(|reached| wall.saturating_sub(reached.wall().0)),
            "log_left_bytes": report.held.as_ref().map(|held| context.transaction.log_left_for(held)),
            "state": if report.is_being_evicted { "being-evicted" } else { "member" },
        })
    };
    let others: Vec<_> = reports.iter().map(row).collect();
    let membership = context.server.node.membership.lock();
    let group = &membership.group;
    let own = group.own();
    let mut members: Vec<_> = vec![json!({
        "name": own.name,
        "node_id": own.node_id.to_string(),
        "origin": own.origin.to_string(),
        "role": own.role.name(),
        "self": true,
        "heard_ms_ago": 0,
        "clock_behind_ms": 0,
        "reached_behind_ms": 0,
        "log_left_bytes": null,
        "state": if group.is_joining() { "joining" } else { "member" },
    })];
    members.extend(others);
    let evicted: Vec<_> = group
        .announced_evictions()
        .iter()
        .map(|eviction| json!({ "name": eviction.name, "node_id": eviction.node_id.to_string() }))
        .collect();
    let text = json!({
        "group": own.group,
        "group_id": own.group_id.to_string(),
        "members": members,
        "evicted": evicted,
    });
    context.reply.bulk(text.to_string().as_bytes());
    Ok(())
}

/// FEED FORGET name.
pub(super) fn forget(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    check_permitted(context)?;
    let name = lossy(arguments[2]);
    let _nothing_half_merged = context.server.node.hold_applying();
    let mut membership = context.server.node.membership.lock();
    let forgotten = membership.group.forget(&name).ok_or_else(|| {
        CommandError::composed(format!("ERR no other member is called '{name}': see tandem-agent members"))
    })?;
    if !membership.save() {
        let fault = membership.fault().unwrap_or_default();
        return Err(CommandError::composed(format!("MISCONF the group cannot be saved: {fault}")));
    }
    info!(context.server.logger, "member is forgotten, as an operator wants"; "member" => &name);
    let text = json!({ "name": forgotten.name, "node_id": forgotten.node_id.to_string() });
    context.reply.bulk(text.to_string().as_bytes());
    Ok(())
}

/// `FEED REISSUE [force]`.
pub(super) fn reissue(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    check_permitted(context)?;
    let force = match &arguments[2..] {
        [] => false,
        [word] if word.eq_ignore_ascii_case(b"force") => true,
        _ => return Err(CommandError::text("ERR expected nothing else, or FORCE")),
    };
    let RewindBegun { is_under_way, ahead_ms, origin } = context
        .server
        .node
        .begin_rewind(force, context.clocks)
        .map_err(|error| CommandError::composed(error.to_string()))?;
    if !is_under_way {
        warn!(context.server.logger, "the clock is to be put back, as an operator wants";
            "ahead ms" => ahead_ms, "origin" => %origin, "forced" => force);
    }
    let text = json!({
        "state": if is_under_way { "under-way" } else { "begun" },
        "clock_ahead_ms": ahead_ms,
        "ended_origin": origin.to_string(),
        "next": "writes are refused until it is done; then they are taken, and the node's log says so",
    });
    context.reply.bulk(text.to_string().as_bytes());
    Ok(())
}

/// FEED VERIFY node-id deep|shallow.
pub(super) fn verify(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let job = match arguments[3] {
        depth if depth.eq_ignore_ascii_case(b"deep") => Job::verify(true),
        depth if depth.eq_ignore_ascii_case(b"shallow") => Job::verify(false),
        _ => return Err(CommandError::text("ERR expected deep or shallow")),
    };
    start(context, arguments[2], job)
}

/// FEED REPAIR node-id.
pub(super) fn repair(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    start(context, arguments[2], Job::repair())
}

fn start(context: &mut Context<'_, '_>, peer: &[u8], job: Job) -> CommandResult {
    check_permitted(context)?;
    let peer: NodeId = parse(peer, "node id in hex")?;
    let started = context.server.node.conversations.lock().start_job(peer, job);
    started.ok_or_else(|| not_linked(peer))?;
    context.reply.ok();
    Ok(())
}

fn not_linked(peer: NodeId) -> CommandError {
    CommandError::composed(format!("ERR node {peer} is not linked with this one"))
}

/// FEED VERIFIED node-id.
pub(super) fn verified(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    check_permitted(context)?;
    let peer: NodeId = parse(arguments[2], "node id in hex")?;
    let conversations = context.server.node.conversations.lock();
    let job = conversations.job(peer).ok_or_else(|| {
        CommandError::composed(format!("ERR no comparison with node {peer} is under way: the link was lost?"))
    })?;
    let found = job.found();
    let mut error = match job.outcome() {
        Some(Err(text)) => text.to_owned(),
        _ => String::new(),
    };
    if error.is_empty() && found.slots_undecided > 0 {
        error = format!("{} of 16384 slots never came to rest, and were not compared", found.slots_undecided);
    }
    let key = |(db, key): &(u8, Vec<u8>)| DifferingKey { db: u32::from(*db), key: lossy(key).into_owned() };
    let status = VerifyStatus {
        state: if job.outcome().is_some() { VerifyState::Done } else { VerifyState::Running },
        error,
        keys_compared: found.keys_compared,
        keys_differ: found.keys_differing,
        keys_repaired: if found.slots_repaired > 0 { found.keys_differing } else { 0 },
        keys: found.named.iter().take(VERIFY_KEYS_MAX).map(key).collect(),
    };
    let text = serde_json::to_string(&status).map_err(|e| CommandError::composed(format!("ERR {e}")))?;
    drop(conversations);
    context.reply.bulk(text.as_bytes());
    Ok(())
}

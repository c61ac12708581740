//! The FEED commands: what agents, and anyone who follows the writes, ask of a node.

use shared::batch::FORMAT;
use shared::clock::Timestamp;
use shared::feed::PeersReport;
use shared::id::Origin;
use shared::time::MonoMillis;

mod converse;

#[cfg(feature = "simulation")]
mod failing;

use super::arguments::{integer, lossy};
use super::context::Context;
use super::{Access, Command, Keys};
use crate::client::After;
use crate::error::{CommandError, CommandResult};
use crate::follow::{Errand, Subscription, Wanted};
use crate::group::Sender;
use crate::node::group::{Announced, Unready};

pub(super) const COMMANDS: &[Command] = &[
    row("feed", -2, &["container", "admin", "noscript"], help),
    row("feed|help", 2, &["admin", "noscript"], help),
    row("feed|info", 2, &["admin", "noscript", "no_multi"], info),
    row("feed|group", 3, &["admin", "noscript", "no_multi"], group),
    row("feed|follow", -4, &["admin", "noscript", "no_multi"], follow),
    row("feed|backup", 2, &["admin", "noscript", "no_multi"], backup),
    row("feed|ready", -2, &["admin", "noscript", "no_multi"], ready),
    row("feed|heard", 3, &["admin", "noscript", "no_multi"], converse::heard),
    row("feed|apply", -3, &["admin", "noscript", "no_multi"], apply),
    row("feed|peers", 3, &["admin", "noscript", "no_multi"], peers),
    row("feed|converse", -4, &["admin", "noscript", "no_multi"], converse::converse),
    row("feed|answer", 4, &["admin", "noscript", "no_multi"], converse::answer),
    row("feed|members", 2, &["admin", "noscript", "no_multi"], converse::members),
    row("feed|forget", 3, &["admin", "noscript", "no_multi"], converse::forget),
    row("feed|reissue", -2, &["admin", "noscript", "no_multi"], converse::reissue),
    row("feed|verify", 4, &["admin", "noscript", "no_multi"], converse::verify),
    row("feed|verified", 3, &["admin", "noscript", "no_multi"], converse::verified),
    row("feed|repair", 3, &["admin", "noscript", "no_multi"], converse::repair),
    row("feed|messages", 2, &["admin", "noscript", "no_multi"], messages),
    row("feed|deliver", 4, &["admin", "noscript", "no_multi"], deliver),
    #[cfg(feature = "simulation")]
    row("feed|corrupt", 3, &["admin", "noscript", "no_multi"], failing::corrupt),
    #[cfg(feature = "simulation")]
    row("feed|lose", 3, &["admin", "noscript", "no_multi"], failing::lose),
];

const fn row(
    name: &'static str,
    arity: i32,
    flags: &'static [&'static str],
    handler: super::Handler,
) -> Command {
    Command { name, arity, access: Access::None, flags, keys: Keys::None, handler }
}

fn help(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    super::introspect::reply_help(
        &mut context.reply,
        "FEED",
        &[
            ("INFO", "This node's identity, frontier and clock."),
            (
                "FOLLOW <origin> <after> [...]",
                "Stream the batches of these origins from there on, then live.",
            ),
            (
                "READY [<ms>]",
                "OK, or NOTREADY and why: not caught up, or further behind a linked peer than that.",
            ),
            ("BACKUP", "Stream a snapshot and the log behind it: see tandem-node backup."),
            ("HEARD <clock>", "Move the clock past that of a peer."),
            (
                "APPLY <batch> [<node id> <origin>]",
                "Merge a batch, which came from the peer that wrote under this origin.",
            ),
            ("GROUP <name>", "Name the group that this node belongs to."),
            ("PEERS <report>", "Report links and announcements; answers with this node's."),
            (
                "CONVERSE <node id> <name> [ANSWER <bytes> | FAILED <text>]",
                "Say what to ask a peer's node next.",
            ),
            ("ANSWER <node id> <question>", "Answer what a peer's node asks."),
            ("MEMBERS", "List the members of the group, as JSON."),
            ("FORGET <name>", "Evict a member for good."),
            ("REISSUE [FORCE]", "Put a clock back that was ahead, and write once more what it stamped."),
            ("VERIFY <node id> DEEP|SHALLOW", "Begin to compare this node's data with a peer's."),
            ("REPAIR <node id>", "Begin to take over what differs from a peer's data."),
            ("VERIFIED <node id>", "Tell how far that is, as JSON."),
            ("MESSAGES", "Tell what clients of this node publish: number, channel, message."),
            ("DELIVER <channel> <message>", "Hand clients of this node what was published elsewhere."),
        ],
    );
    Ok(())
}

/// The feed gives all data and takes writes past every check: it is open on this host only.
fn check_permitted(context: &Context<'_, '_>) -> CommandResult {
    if context.client.record.address.is_local() {
        return Ok(());
    }
    Err(CommandError::text("NOPERM the feed is open to the Unix socket and to loopback addresses only"))
}

fn info(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    check_permitted(context)?;
    let server = context.server;
    let identity = server.identity();
    let (frontier, clock) = server.node.log.standing(context.clocks.wall);
    let is_joining = server.node.membership.lock().group.is_joining();
    let fields: [(&str, String); 14] = [
        ("node-id", identity.node_id.to_string()),
        ("name", identity.name.clone()),
        ("group", identity.group.clone().unwrap_or_default()),
        ("group-id", identity.group_id.to_string()),
        ("joining", u8::from(is_joining).to_string()),
        ("origin", server.node.log.origin().to_string()),
        ("role", server.node.settings.role().name().to_owned()),
        ("frontier", frontier.to_string()),
        ("clock", clock.to_string()),
        ("wall", context.clocks.wall.0.to_string()),
        ("start-time", server.started.0.to_string()),
        ("log-start", server.node.log.log_start().to_string()),
        ("batch-format", FORMAT.to_string()),
        ("max-clock-drift", server.max_clock_drift_ms().to_string()),
    ];
    context.reply.map(fields.len());
    for (name, value) in &fields {
        context.reply.bulk(name.as_bytes());
        context.reply.bulk(value.as_bytes());
    }
    Ok(())
}

/// Tells what clients publish. As Redis's SUBSCRIBE, but for RESP3's pushes: no command may follow that could be mistaken.
fn messages(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    check_permitted(context)?;
    super::pubsub::tap(context.server, context.client);
    context.reply.ok();
    Ok(())
}

fn deliver(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    check_permitted(context)?;
    let receivers = context.server.publish(arguments[2], arguments[3]);
    context.reply.integer(receivers as i64);
    Ok(())
}

/// Whether a load balancer may send clients here.
fn ready(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    check_permitted(context)?;
    let max_lag_ms = match &arguments[2..] {
        [] => u64::MAX,
        [ms] => u64::try_from(integer(ms)?).unwrap_or(0),
        _ => return Err(CommandError::WrongArity("feed|ready".to_owned())),
    };
    let node = &context.server.node;
    let now = MonoMillis(context.clocks.mono_us / 1_000);
    let lag_ms = node.peers.lock().upstreams(now).iter().map(|upstream| upstream.lag_ms).max().unwrap_or(0);
    let lagging = (lag_ms > max_lag_ms).then_some(Unready::Lag(lag_ms));
    match node.unready(&context.transaction.log_status(), context.clocks).or(lagging) {
        None => context.reply.ok(),
        Some(why) => return Err(CommandError::composed(format!("NOTREADY {why}"))),
    }
    Ok(())
}

fn group(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    check_permitted(context)?;
    let name = std::str::from_utf8(arguments[2])
        .ok()
        .filter(|name| !name.is_empty() && name.len() <= 128 && name.chars().all(|c| !c.is_control()))
        .ok_or(CommandError::text("ERR a group's name is 1 to 128 bytes of text"))?;
    context.server.join_group(name)?;
    context.reply.ok();
    Ok(())
}

fn follow(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    check_permitted(context)?;
    let subscription = subscription(&arguments[2..])?;
    context.client.after = After::Stream(Errand::Follow(subscription));
    Ok(())
}

/// Everything, as a stream: see [`backup`](crate::backup).
fn backup(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    check_permitted(context)?;
    if context.server.config.dir.is_none() {
        return Err(CommandError::text(
            "ERR this node keeps nothing on disk, where a backup would begin: start it with --dir",
        ));
    }
    context.client.after = After::Stream(Errand::Backup(context.server.node.request_snapshot()));
    Ok(())
}

/// Reads `origin after [origin after ...]`. See [`shared::feed`].
pub(crate) fn subscription(arguments: &[&[u8]]) -> Result<Subscription, CommandError> {
    if !arguments.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity("feed|follow".to_owned()));
    }
    let mut subscription = Subscription::default();
    for pair in arguments.chunks_exact(2) {
        let after = match pair[1] {
            b"+" => Wanted::Continued,
            text => Wanted::After(parse(text, "timestamp in hex")?),
        };
        match pair[0] {
            b"*" => subscription.others = Some(after),
            text => {
                subscription.origins.insert(Origin(parse::<Timestamp>(text, "origin in hex")?.0), after);
            }
        }
    }
    Ok(subscription)
}

fn parse<T: std::str::FromStr>(text: &[u8], what: &str) -> Result<T, CommandError> {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| CommandError::composed(format!("ERR not a {what}: '{:.64}'", lossy(text))))
}

fn apply(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    check_permitted(context)?;
    let sender = match arguments.get(3..) {
        Some([node_id, run]) => {
            Some(Sender { node_id: parse(node_id, "node id in hex")?, run: parse(run, "origin in hex")? })
        }
        Some([_, ..]) => return Err(CommandError::WrongArity("feed|apply".to_owned())),
        _ => None,
    };
    let applied = context
        .server
        .node
        .apply_and_tell(arguments[2], sender, context.clocks.wall, &mut |notices| {
            context.server.notify(notices)
        })
        .map_err(|error| CommandError::composed(error.to_string()))?;
    context.reply.array(3);
    context.reply.integer(applied.won as i64);
    context.reply.integer(applied.stale as i64);
    context.reply.bulk(applied.held.to_string().as_bytes());
    Ok(())
}

fn peers(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    check_permitted(context)?;
    let report: PeersReport = rmp_serde::from_slice(arguments[2])
        .map_err(|error| CommandError::composed(format!("ERR not a report of peers: {error}")))?;
    let node = &context.server.node;
    node.hear(&report.announcements, &report.left, context.clocks);
    node.conversations.lock().on_truncated(report.truncated.iter().copied());
    context.server.report_peers(report, context.clocks);
    let Announced { frontier, clock, pull, announcement } = node.announce(context.clocks);
    let announcement = announcement.map_or_else(Vec::new, |announcement| {
        rmp_serde::to_vec(&announcement)
            .expect("a vector takes every byte and an announcement has no part that MessagePack lacks")
    });
    context.reply.array(4);
    context.reply.bulk(frontier.to_string().as_bytes());
    context.reply.bulk(clock.to_string().as_bytes());
    context.reply.bulk(pull.to_string().as_bytes());
    context.reply.bulk(&announcement);
    Ok(())
}

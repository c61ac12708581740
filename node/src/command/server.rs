//! Commands about the store as a whole and about the node.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use shared::announcement::Role;
use shared::time::MonoMillis;

use super::arguments::{integer, is};
use super::context::Context;
use super::{Access, Command, Handler, Keys};
use crate::client::After;
use crate::error::{CommandError, CommandResult};

const REPLICAOF_FLAGS: &[&str] = &["admin", "noscript", "stale", "no_async_loading"];

pub(super) const COMMANDS: &[Command] = &[
    over_all_keys("dbsize", 1, Access::Read, &["fast"], count_keys),
    Command::without_keys("time", 1, &["loading", "stale", "fast"], time),
    over_all_keys("flushdb", -1, Access::Write, &[], flush_db),
    over_all_keys("flushall", -1, Access::Write, &[], flush_all),
    Command::without_keys(
        "shutdown",
        -1,
        &["admin", "noscript", "loading", "stale", "no_multi", "allow_busy"],
        shutdown,
    ),
    Command::without_keys("role", 1, &["noscript", "loading", "stale", "fast"], role),
    Command::without_keys("replicaof", 3, REPLICAOF_FLAGS, replica_of),
    Command::without_keys("slaveof", 3, REPLICAOF_FLAGS, replica_of),
    Command::without_keys("wait", 3, &["noscript"], wait),
    Command::without_keys("save", 1, &["admin", "noscript", "no_async_loading", "no_multi"], save),
    Command::without_keys("bgsave", -1, &["admin", "noscript", "no_async_loading"], bgsave),
    Command::without_keys("lastsave", 1, &["loading", "stale", "fast"], last_save),
];

const fn over_all_keys(
    name: &'static str,
    arity: i32,
    access: Access,
    flags: &'static [&'static str],
    handler: Handler,
) -> Command {
    Command { name, arity, access, flags, keys: Keys::All, handler }
}

fn count_keys(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    let db = context.client.db;
    let keys: usize = context.transaction.shards().map(|shard| shard.live(db)).sum();
    context.reply.integer(keys as i64);
    Ok(())
}

/// The one command that reads a clock itself: those who ask want its microseconds, and a new reading each time.
fn time(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    context.reply.array(2);
    context.reply.bulk(now.as_secs().to_string().as_bytes());
    context.reply.bulk(now.subsec_micros().to_string().as_bytes());
    Ok(())
}

fn flush_db(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    check_flush(arguments)?;
    context.transaction.flush_db(context.client.db)?;
    context.reply.ok();
    Ok(())
}

fn flush_all(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    check_flush(arguments)?;
    context.transaction.flush_all()?;
    context.reply.ok();
    Ok(())
}

/// SYNC and ASYNC say when memory is freed, which here is always at once.
fn check_flush(arguments: &[&[u8]]) -> CommandResult {
    match arguments {
        [_] => Ok(()),
        [_, option] if is(option, "sync") || is(option, "async") => Ok(()),
        _ => Err(CommandError::Syntax),
    }
}

/// What SHUTDOWN's options come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shutdown {
    Stop,
    Abort,
}

impl Shutdown {
    fn parse(options: &[&[u8]]) -> Result<Self, CommandError> {
        let given = |name| options.iter().any(|option| is(option, name));
        let known = ["nosave", "save", "now", "force", "abort"];
        let all_known = options.iter().all(|option| known.iter().any(|name| is(option, name)));
        let alone = options.iter().all(|option| is(option, "abort"));
        match given("abort") {
            _ if !all_known || (given("save") && given("nosave")) => Err(CommandError::Syntax),
            true if alone => Ok(Self::Abort),
            true => Err(CommandError::Syntax),
            false => Ok(Self::Stop),
        }
    }
}

/// Everything written is in the log, and that is made durable before the node stops, whatever the options say: SAVE
/// would add nothing, and NOSAVE cannot be had. There is no waiting for replicas that could be aborted.
fn shutdown(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    match Shutdown::parse(&arguments[1..])? {
        Shutdown::Abort => Err(CommandError::text("ERR No shutdown in progress.")),
        Shutdown::Stop => {
            context.server.shutdown();
            context.client.after = After::Close;
            Ok(())
        }
    }
}

/// A member that takes writes answers as a master without replicas: its peers are no servers that a client could be sent to
/// for reading. A read-only one answers as a replica, of the peer that is linked first.
fn role(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    let offset = context.transaction.log_status().end;
    if context.server.node.settings.role() == Role::Active {
        context.reply.array(3);
        context.reply.bulk(b"master");
        context.reply.integer(offset.0 as i64);
        context.reply.array(0);
        return Ok(());
    }
    let now = MonoMillis(context.clocks.mono_us / 1_000);
    let master = context.server.node.peers.lock().master(now);
    context.reply.array(5);
    context.reply.bulk(b"slave");
    context.reply.bulk(master.host.as_bytes());
    context.reply.integer(master.port.into());
    context.reply.bulk(if master.is_up { b"connected" } else { b"connect" });
    context.reply.integer(offset.0 as i64);
    Ok(())
}

fn replica_of(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    if !(is(arguments[1], "no") && is(arguments[2], "one")) {
        return Err(CommandError::text(
            "ERR every member is a master here, and tandem-agent replicates: start one beside each node, as in \
             tandem-agent run --node ADDR --peer ws://HOST:PORT with the other agent's address",
        ));
    }
    context.reply.ok();
    Ok(())
}

/// Counts the linked members that hold what this connection wrote. When it has to wait for them, the connection
/// writes the reply.
fn wait(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    if context.server.node.settings.is_read_only() {
        return Err(CommandError::text(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is \
             configured to be writable (which is not the default) writes to replicas are just local and are not propagated.",
        ));
    }
    let members = usize::try_from(integer(arguments[1])?).unwrap_or(0);
    let timeout_ms = timeout(arguments[2])?;
    let now = MonoMillis(context.clocks.mono_us / 1_000);
    let write = context.client.last_write;
    let acknowledged = {
        let peers = context.server.node.peers.lock();
        match write {
            Some(write) => peers.acknowledged(write, now),
            None => peers.linked(now),
        }
    };
    match write {
        Some(write) if acknowledged < members && !context.in_exec => {
            let deadline = (timeout_ms > 0).then(|| now.after(Duration::from_millis(timeout_ms)));
            context.client.after = After::Wait { write, members, deadline, silent: false };
        }
        _ => context.reply.integer(acknowledged as i64),
    }
    Ok(())
}

/// Writes a snapshot, and answers when it is in place. Everybody else is served meanwhile.
fn save(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    check_can_save(context)?;
    context.client.after = After::Save { ticket: context.server.node.request_snapshot(), silent: false };
    Ok(())
}

/// Has a snapshot written.
fn bgsave(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    match arguments {
        [_] => {}
        [_, option] if is(option, "schedule") => {}
        _ => return Err(CommandError::Syntax),
    }
    check_can_save(context)?;
    context.server.node.request_snapshot();
    // Within EXEC it begins when the transaction is over: until then the shards are locked.
    context.reply.simple(if context.in_exec {
        "Background saving scheduled"
    } else {
        "Background saving started"
    });
    Ok(())
}

fn check_can_save(context: &Context<'_, '_>) -> CommandResult {
    if context.server.config.dir.is_none() {
        return Err(CommandError::text(
            "ERR this node keeps nothing on disk, and has no directory to save to: start it with --dir",
        ));
    }
    if context.server.node.snapshots.status().running_since.is_some() {
        return Err(CommandError::text("ERR Background save already in progress"));
    }
    Ok(())
}

/// When the last snapshot was put in place, or else the node was started.
fn last_save(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    context.reply.integer(context.server.last_save_s() as i64);
    Ok(())
}

/// Reads a timeout in milliseconds.
fn timeout(argument: &[u8]) -> Result<u64, CommandError> {
    let timeout =
        integer(argument).map_err(|_| CommandError::text("ERR timeout is not an integer or out of range"))?;
    u64::try_from(timeout).map_err(|_| CommandError::text("ERR timeout is negative"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_shutdown(options: &str, expected: Option<Shutdown>) {
        let options: Vec<&[u8]> = options.split_whitespace().map(str::as_bytes).collect();
        assert_eq!(Shutdown::parse(&options).ok(), expected);
    }

    #[test]
    fn shutdown_takes_the_options_that_fit_together() {
        check_shutdown("", Some(Shutdown::Stop));
        check_shutdown("NOSAVE now force", Some(Shutdown::Stop));
        check_shutdown("abort", Some(Shutdown::Abort));
        check_shutdown("abort now", None);
        check_shutdown("save nosave", None);
        check_shutdown("later", None);
    }

    #[track_caller]
    fn check_timeout(argument: &str, expected: Result<u64, &str>) {
        let found = timeout(argument.as_bytes()).map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned));
    }

    #[test]
    fn a_timeout_is_a_number_that_is_not_negative() {
        check_timeout("0", Ok(0));
        check_timeout("-1", Err("ERR timeout is negative"));
        check_timeout("1.5", Err("ERR timeout is not an integer or out of range"));
    }
}

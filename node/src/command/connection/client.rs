//! CLIENT: what a connection says of itself, what others see of it ([`list`]), and how it is ended ([`kill`]).

mod kill;

mod list;

pub(crate) use self::list::ends;

use std::sync::atomic::Ordering;

use shared::time::MonoMillis;

use crate::client::{ReplyMode, Unblock};
use crate::command::Command;
use crate::command::arguments::{integer, is, quoted};
use crate::command::context::Context;
use crate::command::introspect::reply_help;
use crate::error::{CommandError, CommandResult};
use crate::server::Server;

const FLAGS: &[&str] = &["noscript", "loading", "stale"];
const ADMIN_FLAGS: &[&str] = &["admin", "noscript", "loading", "stale"];

pub(in crate::command) const COMMANDS: &[Command] = &[
    Command::without_keys("client", -2, &["container"], help),
    Command::without_keys("client|help", 2, &["loading", "stale"], help),
    Command::without_keys("client|id", 2, FLAGS, id),
    Command::without_keys("client|getname", 2, FLAGS, get_name),
    Command::without_keys("client|setname", 3, FLAGS, set_name),
    Command::without_keys("client|setinfo", 4, FLAGS, set_info),
    Command::without_keys("client|info", 2, FLAGS, list::info),
    Command::without_keys("client|list", -2, ADMIN_FLAGS, list::list),
    Command::without_keys("client|kill", -3, ADMIN_FLAGS, kill::kill),
    Command::without_keys("client|no-evict", 3, ADMIN_FLAGS, no_evict),
    Command::without_keys("client|reply", 3, FLAGS, reply_mode),
    Command::without_keys("client|unblock", -3, ADMIN_FLAGS, unblock),
    Command::without_keys("client|pause", -3, ADMIN_FLAGS, pause),
    Command::without_keys("client|unpause", 2, ADMIN_FLAGS, unpause),
    Command::without_keys("client|tracking", -3, FLAGS, tracking),
    Command::without_keys("client|trackinginfo", 2, FLAGS, tracking_info),
    Command::without_keys("client|caching", 3, FLAGS, caching),
    Command::without_keys("client|getredir", 2, FLAGS, redirection),
];

fn help(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    reply_help(
        &mut context.reply,
        "CLIENT",
        &[
            ("CACHING (YES|NO)", "Refused: keys are not tracked here."),
            ("GETNAME", "This connection's name."),
            ("GETREDIR", "-1: keys are not tracked here."),
            ("ID", "This connection's number, which no other ever gets."),
            ("INFO", "What LIST tells of this connection."),
            ("KILL <ip:port>", "End the connection that comes from this address."),
            (
                "KILL <option> <value> [<option> <value> [...]]",
                "End the connections that all options fit:\n\
                 * ADDR (<ip:port>|<unixsocket>:0): by where it comes from.\n\
                 * LADDR (<ip:port>|<unixsocket>:0): by where it arrived.\n\
                 * ID <client-id>: by number.\n\
                 * TYPE (NORMAL|MASTER|REPLICA|PUBSUB): by sort; streams of the feed are replicas.\n\
                 * USER <username>: by user; there is only 'default'.\n\
                 * SKIPME (YES|NO): whether to spare this connection (default: yes).",
            ),
            (
                "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)|ID <client-id> [...]]",
                "A line for each connection, or for those of one sort, or for these.",
            ),
            ("NO-EVICT (ON|OFF)", "Accepted: no connection is evicted for memory."),
            (
                "PAUSE <timeout> [WRITE|ALL]",
                "Carry out no client's commands for so many milliseconds, or none that write.",
            ),
            ("REPLY (ON|OFF|SKIP)", "Send replies, send none, or leave out the next one."),
            ("SETINFO (LIB-NAME|LIB-VER) <value>", "Tell which client library this is."),
            ("SETNAME <name>", "Name this connection; an empty name takes it back."),
            ("TRACKING (ON|OFF)", "OFF is accepted; keys are not tracked here."),
            ("TRACKINGINFO", "That keys are not tracked."),
            (
                "UNBLOCK <client-id> [TIMEOUT|ERROR]",
                "End a connection's wait for an element or in WAIT, as if its time had come or with an error.",
            ),
            ("UNPAUSE", "End a pause."),
        ],
    );
    Ok(())
}

fn id(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    context.reply.integer(context.client.record.id as i64);
    Ok(())
}

fn get_name(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    match &*context.client.record.text.lock().name {
        "" => context.reply.null(),
        name => context.reply.bulk(name.as_bytes()),
    }
    Ok(())
}

fn set_name(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    context.client.record.text.lock().name = name(arguments[2])?;
    context.reply.ok();
    Ok(())
}

/// Reads a connection's name.
pub(super) fn name(argument: &[u8]) -> Result<String, CommandError> {
    plain(argument)
        .ok_or(CommandError::text("ERR Client names cannot contain spaces, newlines or special characters."))
}

/// Text that keeps the lines of CLIENT LIST whole: printable ASCII without blanks.
fn plain(argument: &[u8]) -> Option<String> {
    let text = argument.iter().all(u8::is_ascii_graphic).then_some(argument)?;
    String::from_utf8(text.to_vec()).ok()
}

fn set_info(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let (option, value) = (arguments[2], arguments[3]);
    let text = plain(value).ok_or_else(|| {
        CommandError::composed(format!(
            "ERR {} cannot contain spaces, newlines or special characters.",
            quoted(option)
        ))
    });
    let mut record = context.client.record.text.lock();
    if is(option, "lib-name") {
        record.library_name = text?;
    } else if is(option, "lib-ver") {
        record.library_version = text?;
    } else {
        return Err(CommandError::composed(format!("ERR Unrecognized option '{}'", quoted(option))));
    }
    context.reply.ok();
    Ok(())
}

fn pause(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let holds_all = match arguments[3..] {
        [] => true,
        [mode] => yes_or_no(mode, ("all", "write"))
            .map_err(|_| CommandError::text("ERR CLIENT PAUSE mode must be WRITE or ALL"))?,
        _ => return Err(CommandError::WrongArity("client|pause".to_owned())),
    };
    let timeout = integer(arguments[2])
        .map_err(|_| CommandError::text("ERR timeout is not an integer or out of range"))?;
    let timeout = u64::try_from(timeout).map_err(|_| CommandError::text("ERR timeout is negative"))?;
    let now = MonoMillis(context.clocks.mono_us / 1_000);
    context.server.pause.begin(MonoMillis(now.0.saturating_add(timeout)), holds_all, now);
    context.reply.ok();
    Ok(())
}

fn unpause(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    context.server.pause.end();
    context.reply.ok();
    Ok(())
}

fn unblock(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let with_error = match arguments[3..] {
        [] => false,
        [reason] => yes_or_no(reason, ("error", "timeout"))
            .map_err(|_| CommandError::text("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"))?,
        _ => return Err(CommandError::WrongArity("client|unblock".to_owned())),
    };
    let how = if with_error { Unblock::Error } else { Unblock::TimeOut };
    let id = u64::try_from(integer(arguments[2])?).unwrap_or(0);
    let is_unblocked = end_wait(context.server, id, how);
    context.reply.integer(i64::from(is_unblocked));
    Ok(())
}

/// Ends a client's wait for an element, or in WAIT. Says whether there was one.
fn end_wait(server: &Server, id: u64, how: Unblock) -> bool {
    if let Some(blocked) = server.blocked.get(id) {
        return match how {
            Unblock::Error => blocked.unblock(server),
            Unblock::TimeOut => blocked.time_out(server),
        };
    }
    let record = server.clients.get(id).filter(|record| record.unblock(how));
    record.inspect(|record| server.wake_client(record)).is_some()
}

/// Reads one of two words.
fn yes_or_no(argument: &[u8], (yes, no): (&str, &str)) -> Result<bool, CommandError> {
    match () {
        () if is(argument, yes) => Ok(true),
        () if is(argument, no) => Ok(false),
        () => Err(CommandError::Syntax),
    }
}

fn no_evict(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let no_evict = yes_or_no(arguments[2], ("on", "off"))?;
    context.client.record.no_evict.store(no_evict, Ordering::Relaxed);
    context.reply.ok();
    Ok(())
}

/// The executor leaves out the replies.
fn reply_mode(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let mode = &mut context.client.reply_mode;
    if is(arguments[2], "skip") {
        if *mode != ReplyMode::Off {
            *mode = ReplyMode::SkipNext;
        }
    } else if yes_or_no(arguments[2], ("on", "off"))? {
        *mode = ReplyMode::On;
        context.reply.ok();
    } else {
        *mode = ReplyMode::Off;
    }
    Ok(())
}

fn tracking(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    if yes_or_no(arguments[2], ("on", "off"))? {
        return Err(CommandError::text(
            "ERR this server does not track keys: use the client without client-side caching",
        ));
    }
    context.reply.ok();
    Ok(())
}

fn tracking_info(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    let reply = &mut context.reply;
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(1);
    reply.bulk(b"off");
    reply.bulk(b"redirect");
    reply.integer(-1);
    reply.bulk(b"prefixes");
    reply.array(0);
    Ok(())
}

fn caching(_: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    Err(CommandError::text(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
    ))
}

fn redirection(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    context.reply.integer(-1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_name(argument: &[u8], expected: Option<&str>) {
        assert_eq!(name(argument).ok().as_deref(), expected);
    }

    #[test]
    fn a_name_is_printable_and_without_blanks() {
        check_name(b"worker-1", Some("worker-1"));
        check_name(b"", Some(""));
        check_name(b"two words", None);
        check_name(b"line\nend", None);
        check_name("stra\u{df}e".as_bytes(), None);
    }
}

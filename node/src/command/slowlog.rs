//! SLOWLOG: the commands that took long.

use super::Command;
use super::arguments::integer_within;
use super::context::Context;
use super::introspect::reply_help;
use crate::error::{CommandError, CommandResult};

const FLAGS: &[&str] = &["admin", "loading", "stale"];

pub(super) const COMMANDS: &[Command] = &[
    Command::without_keys("slowlog", -2, &["container"], help),
    Command::without_keys("slowlog|help", 2, &["loading", "stale"], help),
    Command::without_keys("slowlog|get", -2, FLAGS, get),
    Command::without_keys("slowlog|len", 2, FLAGS, length),
    Command::without_keys("slowlog|reset", 2, FLAGS, reset),
];

fn help(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    reply_help(
        &mut context.reply,
        "SLOWLOG",
        &[
            (
                "GET [<count>]",
                "The newest entries (default: 10; -1: all), each with its number, moment, time in\n\
                 microseconds, arguments, and the client's address and name.",
            ),
            ("LEN", "How many entries there are."),
            ("RESET", "Forget all entries."),
        ],
    );
    Ok(())
}

fn get(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let count = match arguments[2..] {
        [] => 10,
        [count] => integer_within(count, -1..=i64::MAX)
            .map_err(|_| CommandError::text("ERR count should be greater than or equal to -1"))?,
        _ => return Err(CommandError::WrongArity("slowlog|get".to_owned())),
    };
    let entries = context.server.slow_log.newest(usize::try_from(count).unwrap_or(usize::MAX));
    let reply = &mut context.reply;
    reply.array(entries.len());
    for entry in entries {
        reply.array(6);
        reply.integer(entry.id as i64);
        reply.integer(entry.time_s as i64);
        reply.integer(entry.us as i64);
        reply.array(entry.arguments.len());
        entry.arguments.iter().for_each(|argument| reply.bulk(argument));
        reply.bulk(entry.address.as_bytes());
        reply.bulk(entry.name.as_bytes());
    }
    Ok(())
}

fn length(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    context.reply.integer(context.server.slow_log.count() as i64);
    Ok(())
}

fn reset(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    context.server.slow_log.clear();
    context.reply.ok();
    Ok(())
}

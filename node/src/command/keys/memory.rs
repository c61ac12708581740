//! MEMORY: what a key takes.

use crate::command::arguments::{integer, is};
use crate::command::context::Context;
use crate::error::{CommandError, CommandResult};

const HELP: &[&str] = &[
    "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "USAGE <key> [SAMPLES <count>]",
    "    Return the bytes that the key and its value take here, versions and what is",
    "    removed and not yet forgotten everywhere included. All elements are counted,",
    "    whatever SAMPLES says.",
    "HELP",
    "    Prints this help.",
];

pub(super) fn help(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    context.reply.array(HELP.len());
    HELP.iter().for_each(|line| context.reply.simple(line));
    Ok(())
}

pub(super) fn usage<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    match arguments[3..] {
        [] => {}
        [option, count] if is(option, "samples") => {
            if integer(count)? < 0 {
                return Err(CommandError::Syntax);
            }
        }
        _ => return Err(CommandError::Syntax),
    }
    match context.transaction.memory(&context.key(arguments[2])) {
        Some(bytes) => context.reply.integer(bytes as i64),
        None => context.reply.null(),
    }
    Ok(())
}

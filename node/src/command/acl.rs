//! ACL: that there is one user, who may do everything.

use super::arguments::{integer, is, quoted};
use super::context::Context;
use super::introspect::{categories, commands_of, reply_help};
use super::{Command, Handler};
use crate::error::{CommandError, CommandResult};

const FLAGS: &[&str] = &["noscript", "loading", "stale"];
const ADMIN_FLAGS: &[&str] = &["admin", "noscript", "loading", "stale"];

/// The user that every client is.
const USER: &str = "default";

pub(super) const COMMANDS: &[Command] = &[
    Command::without_keys("acl", -2, &["container"], help),
    Command::without_keys("acl|help", 2, &["loading", "stale"], help),
    Command::without_keys("acl|cat", -2, FLAGS, cat),
    Command::without_keys("acl|genpass", -2, FLAGS, generate),
    Command::without_keys("acl|getuser", 3, ADMIN_FLAGS, get_user),
    Command::without_keys("acl|list", 2, ADMIN_FLAGS, list),
    Command::without_keys("acl|log", -2, ADMIN_FLAGS, log),
    Command::without_keys("acl|users", 2, ADMIN_FLAGS, users),
    Command::without_keys("acl|whoami", 2, FLAGS, who_am_i),
    refused("acl|deluser", -3),
    refused("acl|load", 2),
    refused("acl|save", 2),
    refused("acl|setuser", -3),
];

const fn refused(name: &'static str, arity: i32) -> Command {
    Command::without_keys(name, arity, ADMIN_FLAGS, refuse as Handler)
}

fn help(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    reply_help(
        &mut context.reply,
        "ACL",
        &[
            ("CAT [<category>]", "The categories of commands, or the commands of one."),
            ("DELUSER, LOAD, SAVE, SETUSER", "Refused: there is one user, 'default', who may do everything."),
            ("GENPASS [<bits>]", "Something that nobody can guess (default: 256 bits)."),
            ("GETUSER <username>", "What a user may do."),
            ("LIST", "What all users may do: a line each."),
            ("LOG [<count>|RESET]", "Whom users' rights have stopped: nobody."),
            ("USERS", "The names of all users."),
            ("WHOAMI", "The name of this connection's user."),
        ],
    );
    Ok(())
}

fn refuse(_: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    Err(CommandError::text(
        "ERR there is one user here, 'default', who may do everything: keep the node's addresses in a private network",
    ))
}

fn who_am_i(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    context.reply.bulk(USER.as_bytes());
    Ok(())
}

fn users(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    context.reply.array(1);
    context.reply.bulk(USER.as_bytes());
    Ok(())
}

fn list(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    context.reply.array(1);
    context.reply.bulk(format!("user {USER} on nopass ~* &* +@all").as_bytes());
    Ok(())
}

fn log(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    match arguments[2..] {
        [] => context.reply.array(0),
        [option] if is(option, "reset") => context.reply.ok(),
        [count] => {
            integer(count)?;
            context.reply.array(0);
        }
        _ => return Err(CommandError::WrongArity("acl|log".to_owned())),
    }
    Ok(())
}

fn get_user(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    if arguments[2] != USER.as_bytes() {
        context.reply.null();
        return Ok(());
    }
    let reply = &mut context.reply;
    reply.map(6);
    reply.bulk(b"flags");
    reply.set(2);
    [b"on".as_slice(), b"nopass"].iter().for_each(|flag| reply.bulk(flag));
    reply.bulk(b"passwords");
    reply.array(0);
    for (field, value) in [("commands", "+@all"), ("keys", "~*"), ("channels", "&*")] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"selectors");
    reply.array(0);
    Ok(())
}

fn cat(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let names: Vec<&str> = match arguments[2..] {
        [] => categories().to_vec(),
        [category] => commands_of(category).ok_or_else(|| {
            CommandError::composed(format!("ERR Unknown category '{:.128}'", quoted(category)))
        })?,
        _ => return Err(CommandError::WrongArity("acl|cat".to_owned())),
    };
    context.reply.array(names.len());
    names.iter().for_each(|name| context.reply.bulk(name.as_bytes()));
    Ok(())
}

fn generate(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    const BITS_MAX: i64 = 4_096;
    let bits = match arguments[2..] {
        [] => 256,
        [bits] => integer(bits)?,
        _ => return Err(CommandError::WrongArity("acl|genpass".to_owned())),
    };
    if !(1..=BITS_MAX).contains(&bits) {
        return Err(CommandError::text(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
        ));
    }
    let digits = (bits as usize).div_ceil(4);
    let mut bytes = vec![0; digits.div_ceil(2)];
    getrandom::fill(&mut bytes)
        .map_err(|_| CommandError::text("ERR no randomness from the operating system"))?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    context.reply.bulk(&text.as_bytes()[..digits]);
    Ok(())
}

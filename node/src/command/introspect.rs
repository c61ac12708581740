//! COMMAND: the table of commands as clients see it.
//!
//! Rows flagged `container` hold subcommands, whose names have a `|` in them.

mod describe;

mod traits;

use shared::resp::ReplyWriter;

use self::traits::KeySpec;
use super::arguments::is;
use super::context::Context;
use super::docs::{self, Doc};
use super::scan::glob;
use super::table::Row;
use super::{Command, table};
use crate::error::{CommandError, CommandResult};

const FLAGS: &[&str] = &["loading", "stale"];

pub(super) const COMMANDS: &[Command] = &[
    Command::without_keys("command", -1, &["container", "loading", "stale"], all),
    Command::without_keys("command|count", 2, FLAGS, count),
    Command::without_keys("command|docs", -2, FLAGS, docs),
    Command::without_keys("command|getkeys", -4, FLAGS, get_keys),
    Command::without_keys("command|getkeysandflags", -4, FLAGS, get_keys_and_flags),
    Command::without_keys("command|help", 2, FLAGS, help),
    Command::without_keys("command|info", -2, FLAGS, info),
    Command::without_keys("command|list", -2, FLAGS, list),
];

/// Writes the reply of a container's HELP: its subcommands with what they do, which may be several lines.
pub(crate) fn reply_help(reply: &mut ReplyWriter<'_>, container: &str, lines: &[(&str, &str)]) {
    let entries = || lines.iter().chain(&[("HELP", "Print this.")]);
    let explanations: usize = entries().map(|(_, explanation)| explanation.lines().count()).sum();
    reply.array(1 + entries().count() + explanations);
    reply.simple(&format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for (usage, explanation) in entries() {
        reply.simple(usage);
        for line in explanation.lines() {
            reply.simple(&format!("    {line}"));
        }
    }
}

fn help(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    reply_help(
        &mut context.reply,
        "COMMAND",
        &[
            ("(no subcommand)", "All commands, as INFO tells them."),
            ("COUNT", "How many commands there are."),
            ("DOCS [<command-name> ...]", "What these commands do, or all of them."),
            ("GETKEYS <full-command>", "The keys among a command's arguments."),
            ("GETKEYSANDFLAGS <full-command>", "The same, each with what is done to it."),
            ("INFO [<command-name> ...]", "How these commands are called, or all of them."),
            (
                "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
                "The names of all commands, or of those of a category, or that match.",
            ),
        ],
    );
    Ok(())
}

/// The commands that are no subcommands.
fn commands() -> impl Iterator<Item = &'static Row> {
    table::all().filter(|row| !row.is_subcommand)
}

fn all(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    context.reply.array(commands().count());
    commands().for_each(|row| describe::describe(&mut context.reply, row));
    Ok(())
}

fn count(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    context.reply.integer(commands().count() as i64);
    Ok(())
}

fn info(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let names = &arguments[2..];
    if names.is_empty() {
        return all(context, arguments);
    }
    context.reply.array(names.len());
    for name in names {
        match table::find(name) {
            Some(row) => describe::describe(&mut context.reply, row),
            None => context.reply.null(),
        }
    }
    Ok(())
}

fn list(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let names: Vec<&str> = match &arguments[2..] {
        [] => table::all().map(|row| row.name).collect(),
        [filter_by, filter, argument] if is(filter_by, "filterby") => filtered(filter, argument)?,
        _ => return Err(CommandError::Syntax),
    };
    context.reply.array(names.len());
    names.iter().for_each(|name| context.reply.bulk(name.as_bytes()));
    Ok(())
}

/// The categories of commands.
pub(super) const fn categories() -> &'static [&'static str] {
    &traits::CATEGORIES
}

/// The commands of a category, subcommands included; none if there is no such category.
pub(super) fn commands_of(category: &[u8]) -> Option<Vec<&'static str>> {
    let category = traits::CATEGORIES.into_iter().find(|known| is(category, known))?;
    let is_in = |row: &&Row| traits::categories(row).any(|other| other == category);
    Some(table::all().filter(is_in).map(|row| row.name).collect())
}

fn filtered(filter: &[u8], argument: &[u8]) -> Result<Vec<&'static str>, CommandError> {
    let pattern = argument.to_ascii_lowercase();
    let fits = |row: &Command| {
        if is(filter, "aclcat") {
            traits::categories(row).any(|category| is(argument, category))
        } else {
            is(filter, "pattern") && glob::matches(&pattern, row.name.as_bytes())
        }
    };
    if !["module", "aclcat", "pattern"].iter().any(|known| is(filter, known)) {
        return Err(CommandError::Syntax);
    }
    Ok(table::all().filter(|row| fits(row)).map(|row| row.name).collect())
}

fn docs(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let rows: Vec<&Row> = match &arguments[2..] {
        [] => commands().collect(),
        names => names.iter().filter_map(|name| table::find(name)).collect(),
    };
    context.reply.map(rows.len());
    rows.iter().for_each(|row| reply_docs(&mut context.reply, row));
    Ok(())
}

/// The arguments, of which Redis tells, are left out: clients do without.
fn reply_docs(reply: &mut ReplyWriter<'_>, row: &Command) {
    let Doc { summary, since, group, complexity } = docs::find(row.name);
    let subcommands: Vec<&Row> = table::subcommands(row).collect();
    reply.bulk(row.name.as_bytes());
    reply.map(if subcommands.is_empty() { 4 } else { 5 });
    for (field, text) in
        [("summary", summary), ("since", since), ("group", group.name()), ("complexity", complexity)]
    {
        reply.bulk(field.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if !subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(subcommands.len());
        subcommands.iter().for_each(|row| reply_docs(reply, row));
    }
}

fn get_keys(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let (_, keys) = keys_of(&arguments[2..])?;
    context.reply.array(keys.len());
    keys.iter().for_each(|key| context.reply.bulk(key));
    Ok(())
}

fn get_keys_and_flags(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let (row, keys) = keys_of(&arguments[2..])?;
    let of_call = traits::flags_of_call(row, &arguments[2..]);
    let specs = traits::key_specs(row);
    let mut flagged = Vec::new();
    for KeySpec { keys, flags } in &specs {
        let keys = keys.map(|keys| keys.of(&arguments[2..])).unwrap_or_default();
        flagged.extend(keys.into_iter().map(|key| (key, of_call.unwrap_or(flags))));
    }
    // What options name is described last, without a place.
    let others = keys.into_iter().skip(flagged.len());
    flagged.extend(others.zip(specs.last().map(|spec| spec.flags).into_iter().cycle()));
    context.reply.array(flagged.len());
    for (key, flags) in flagged {
        context.reply.array(2);
        context.reply.bulk(key);
        context.reply.set(flags.len());
        flags.iter().for_each(|flag| context.reply.simple(flag));
    }
    Ok(())
}

/// The row of a whole command, and its keys: at least one.
fn keys_of<'a>(arguments: &[&'a [u8]]) -> Result<(&'static Row, Vec<&'a [u8]>), CommandError> {
    let row = table::find(arguments[0]).filter(|row| !row.is_subcommand);
    let row = match (row, arguments.get(1)) {
        (Some(container), Some(name)) if container.has_flag("container") => {
            table::find_subcommand(container, name)
        }
        (row, _) => row,
    };
    let row = row.ok_or(CommandError::text("ERR Invalid command specified"))?;
    if !traits::may_have_keys(row) {
        return Err(CommandError::text("ERR The command has no key arguments"));
    }
    if !row.accepts(arguments.len()) {
        return Err(CommandError::text("ERR Invalid number of arguments specified for command"));
    }
    let keys = row.keys.of(arguments);
    if keys.is_empty() {
        return Err(CommandError::text("ERR Invalid arguments specified for command"));
    }
    Ok((row, keys.to_vec()))
}

#[cfg(test)]
mod tests {
    use shared::resp::Protocol;

    use super::*;

    #[track_caller]
    fn check_keys(command: &str, expected: Result<&[&str], &str>) {
        let arguments: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        let found = keys_of(&arguments).map(|(_, keys)| keys).map_err(|error| error.to_string());
        let expected =
            expected.map(|keys| keys.iter().map(|key| key.as_bytes()).collect()).map_err(str::to_owned);
        assert_eq!(found, expected, "{command}");
    }

    #[test]
    fn keys_are_found_in_whole_commands() {
        check_keys("watch a b", Ok(&["a", "b"]));
        check_keys("nosuch a", Err("ERR Invalid command specified"));
        check_keys("client nosuch", Err("ERR Invalid command specified"));
        check_keys("client|id", Err("ERR Invalid command specified"));
        check_keys("ping x", Err("ERR The command has no key arguments"));
        check_keys("watch", Err("ERR Invalid number of arguments specified for command"));
    }

    #[test]
    fn categories_and_patterns_choose_commands() {
        assert_eq!(
            filtered(b"AclCat", b"TRANSACTION").unwrap(),
            ["multi", "exec", "discard", "watch", "unwatch"]
        );
        assert_eq!(filtered(b"pattern", b"FEED|FO*").unwrap(), ["feed|follow", "feed|forget"]);
        assert!(filtered(b"module", b"any").unwrap().is_empty());
        assert!(filtered(b"nosuch", b"any").is_err());
    }

    #[test]
    fn help_counts_its_lines() {
        let mut out = Vec::new();
        let mut reply = ReplyWriter::new(&mut out, Protocol::Resp2);
        reply_help(&mut reply, "THING", &[("ONE", "First.\nSecond.")]);
        let expected = "*6\r\n+THING <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n+ONE\r\n\
                        +    First.\r\n+    Second.\r\n+HELP\r\n+    Print this.\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}

//! Commands on keys of any kind: whether they exist and what they hold, to remove, rename, copy and move them.

mod memory;
mod object;

pub(super) use self::object::encoding_of;

use shared::change::CHANGE_OVERHEAD_BYTES;

use super::arguments::is;
use super::connection::database;
use super::context::Context;
use super::{Access, Command, Handler, Keys};
use crate::error::{CommandError, CommandResult};
use crate::notifications::Class;
use crate::store::key::Key;
use crate::transaction::Transaction;

const BOTH: Keys = Keys::Range { first: 1, last: 2, step: 1 };
const SUBCOMMAND: Keys = Keys::Range { first: 2, last: 2, step: 1 };

pub(super) const COMMANDS: &[Command] = &[
    write("del", -2, &[], Keys::EVERY, del),
    write("unlink", -2, &["fast"], Keys::EVERY, del),
    read("exists", -2, &["fast"], Keys::EVERY, exists),
    read("type", 2, &["fast"], Keys::ONE, kind),
    read("touch", -2, &["fast"], Keys::EVERY, touch),
    write("rename", 3, &[], BOTH, rename),
    write("renamenx", 3, &["fast"], BOTH, rename_if_absent),
    write("copy", -3, &["denyoom"], BOTH, copy),
    write("move", 3, &["fast"], Keys::ONE, move_to),
    Command::without_keys("object", -2, &["container"], object::help),
    Command::without_keys("object|help", 2, &["loading", "stale"], object::help),
    read("object|encoding", 3, &[], SUBCOMMAND, object::encoding),
    read("object|freq", 3, &[], SUBCOMMAND, object::frequency),
    read("object|idletime", 3, &[], SUBCOMMAND, object::idle_time),
    read("object|refcount", 3, &[], SUBCOMMAND, object::reference_count),
    Command::without_keys("memory", -2, &["container"], memory::help),
    Command::without_keys("memory|help", 2, &["loading", "stale"], memory::help),
    Command::without_keys("memory|doctor", 2, &[], memory::doctor),
    Command::without_keys("memory|malloc-stats", 2, &[], memory::allocator),
    Command::without_keys("memory|purge", 2, &[], memory::purge),
    Command { keys: Keys::All, ..Command::without_keys("memory|stats", 2, &[], memory::stats) },
    read("memory|usage", -3, &[], SUBCOMMAND, memory::usage),
];

const fn read(
    name: &'static str,
    arity: i32,
    flags: &'static [&'static str],
    keys: Keys,
    handler: Handler,
) -> Command {
    Command { name, arity, access: Access::Read, flags, keys, handler }
}

const fn write(
    name: &'static str,
    arity: i32,
    flags: &'static [&'static str],
    keys: Keys,
    handler: Handler,
) -> Command {
    Command { name, arity, access: Access::Write, flags, keys, handler }
}

fn del<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let keys = &arguments[1..];
    context.transaction.reserve(keys.iter().map(|key| CHANGE_OVERHEAD_BYTES + key.len()).sum())?;
    let mut deleted = 0;
    for bytes in keys {
        let key = context.key(bytes);
        deleted += i64::from(context.transaction.delete(&key)?);
    }
    context.reply.integer(deleted);
    Ok(())
}

/// A key that is named twice counts twice.
fn exists<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let mut found = 0;
    for bytes in &arguments[1..] {
        let key = context.key(bytes);
        found += usize::from(context.transaction.look_for(&key));
    }
    context.reply.integer(found as i64);
    Ok(())
}

fn kind<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let kind = context.transaction.kind(&key);
    if kind.is_none() {
        context.transaction.notify(Class::Miss, "keymiss", &key);
    }
    context.reply.simple(kind.map_or("none", |kind| kind.name()));
    Ok(())
}

fn touch<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let mut touched = 0;
    for bytes in &arguments[1..] {
        let key = context.key(bytes);
        if context.transaction.look_for(&key) {
            context.transaction.touch(&key);
            touched += 1;
        }
    }
    context.reply.integer(touched);
    Ok(())
}

fn rename<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let (source, target) = existing_pair(context, arguments)?;
    if source != target {
        move_key(context.transaction, &source, &target, RENAMED)?;
    }
    context.reply.ok();
    Ok(())
}

fn rename_if_absent<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let (source, target) = existing_pair(context, arguments)?;
    let is_free = !context.transaction.exists(&target);
    if is_free {
        move_key(context.transaction, &source, &target, RENAMED)?;
    }
    context.reply.integer(is_free.into());
    Ok(())
}

/// The two keys of a RENAME, of which the first exists.
fn existing_pair<'a>(
    context: &Context<'_, 'a>,
    arguments: &[&'a [u8]],
) -> Result<(Key<'a>, Key<'a>), CommandError> {
    let pair = (context.key(arguments[1]), context.key(arguments[2]));
    if context.transaction.exists(&pair.0) { Ok(pair) } else { Err(CommandError::NoSuchKey) }
}

fn copy<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let options = CopyOptions::parse(context.client.db, &arguments[3..])?;
    let (source, target) = (context.key(arguments[1]), Key::new(options.db, arguments[2]));
    check_distinct(&source, &target)?;
    let transaction = &mut *context.transaction;
    let copies = transaction.exists(&source) && (options.replace || !transaction.exists(&target));
    if copies {
        transaction.copy(&source, &target)?;
        transaction.notify(Class::Generic, "copy_to", &target);
    }
    transaction.touch(&source);
    context.reply.integer(copies.into());
    Ok(())
}

/// What stands behind COPY's keys.
struct CopyOptions {
    /// The target's database.
    db: u8,
    /// Whether a key that stands there already is written over.
    replace: bool,
}

impl CopyOptions {
    fn parse(db: u8, arguments: &[&[u8]]) -> Result<Self, CommandError> {
        let mut options = Self { db, replace: false };
        let mut rest = arguments;
        loop {
            rest = match rest {
                [] => return Ok(options),
                [option, rest @ ..] if is(option, "replace") => {
                    options.replace = true;
                    rest
                }
                [option, db, rest @ ..] if is(option, "db") => {
                    options.db = database(db)?;
                    rest
                }
                _ => return Err(CommandError::Syntax),
            };
        }
    }
}

fn move_to<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let source = context.key(arguments[1]);
    let target = Key { db: database(arguments[2])?, ..source };
    check_distinct(&source, &target)?;
    let transaction = &mut *context.transaction;
    let moves = transaction.exists(&source) && !transaction.exists(&target);
    if moves {
        move_key(transaction, &source, &target, MOVED)?;
    }
    context.reply.integer(moves.into());
    Ok(())
}

fn check_distinct(source: &Key<'_>, target: &Key<'_>) -> CommandResult {
    if source == target {
        return Err(CommandError::text("ERR source and destination objects are the same"));
    }
    Ok(())
}

/// What is told of the source, and of the target.
type Told = (&'static str, &'static str);

const RENAMED: Told = ("rename_from", "rename_to");
const MOVED: Told = ("move_from", "move_to");

/// Moves what `source`, which exists, holds over whatever `target` holds, the TTL included.
fn move_key<'a>(
    transaction: &mut Transaction<'a>,
    source: &Key<'a>,
    target: &Key<'a>,
    (from, to): Told,
) -> CommandResult {
    transaction.copy(source, target)?;
    transaction.take_away(source)?;
    transaction.notify(Class::Generic, from, source);
    transaction.notify(Class::Generic, to, target);
    Ok(())
}

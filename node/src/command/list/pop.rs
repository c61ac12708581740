//! Taking elements from the ends, and moving them to another list.

use std::borrow::Cow;

use shared::change::Kind;

use super::push::pushed;
use crate::command::arguments::{count, is};
use crate::command::blocking::{Attempt, Wanted, take_or_wait};
use crate::command::context::Context;
use crate::command::popping::Popping;
use crate::error::{CommandError, CommandResult};
use crate::notifications::Class;
use crate::store::collection::Element;
use crate::store::key::Key;
use crate::store::list_id::ID_BYTES_MAX;
use crate::transaction::End;

pub(super) fn lpop<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    pop(context, End::Head, "lpop", arguments)
}

pub(super) fn rpop<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    pop(context, End::Tail, "rpop", arguments)
}

fn pop<'a>(context: &mut Context<'_, 'a>, end: End, name: &str, arguments: &[&'a [u8]]) -> CommandResult {
    let count = match arguments[2..] {
        [] => None,
        [argument] => Some(count(argument)?),
        _ => return Err(CommandError::WrongArity(name.to_owned())),
    };
    let key = context.key(arguments[1]);
    let Some(count) = count else {
        if !reply_one(context, &key, end, None)? {
            context.reply.null();
        }
        return Ok(());
    };
    if context.transaction.collection(&key, Kind::List)?.is_none() {
        context.reply.null_array();
        return Ok(());
    }
    let popped = take(context, &key, end, count)?;
    context.reply.array(popped.len());
    popped.iter().for_each(|value| context.reply.bulk(value));
    Ok(())
}

pub(super) fn lmpop<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let popping = Popping::parse(&arguments[1..], parse_end)?;
    for name in popping.keys {
        if reply_taken(context, name, &popping)? {
            return Ok(());
        }
    }
    context.reply.null_array();
    Ok(())
}

pub(super) fn blmpop<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let keys = Popping::parse(&arguments[2..], parse_end)?.keys;
    let attempt: Attempt =
        |context, key, arguments| reply_taken(context, key, &Popping::parse(&arguments[2..], parse_end)?);
    let timeout = arguments[1];
    take_or_wait(context, arguments, Wanted { kind: Kind::List, keys, target: None, timeout, attempt })
}

pub(super) fn blpop<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    blocking_pop(context, arguments, |context, key, _| reply_outermost(context, key, End::Head))
}

pub(super) fn brpop<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    blocking_pop(context, arguments, |context, key, _| reply_outermost(context, key, End::Tail))
}

fn blocking_pop<'a>(
    context: &mut Context<'_, 'a>,
    arguments: &[&'a [u8]],
    attempt: Attempt,
) -> CommandResult {
    let (keys, timeout) = (&arguments[1..arguments.len() - 1], arguments[arguments.len() - 1]);
    take_or_wait(context, arguments, Wanted { kind: Kind::List, keys, target: None, timeout, attempt })
}

/// Takes an element from an end of the key's list, and replies with the key and it. Says whether there was one.
fn reply_outermost<'a>(
    context: &mut Context<'_, 'a>,
    name: &'a [u8],
    end: End,
) -> Result<bool, CommandError> {
    let key = context.key(name);
    reply_one(context, &key, end, Some(name))
}

/// Takes an element from an end of the key's list, and replies with it, with a name before it if there is one to tell. Says
/// whether there was an element.
fn reply_one<'a>(
    context: &mut Context<'_, 'a>,
    key: &Key<'a>,
    end: End,
    name: Option<&[u8]>,
) -> Result<bool, CommandError> {
    let list = context.transaction.collection(key, Kind::List)?;
    let Some((id, value)) = list.and_then(|list| list.nth(end.place(list.len()))) else { return Ok(false) };
    context.transaction.reserve_elements(key, std::iter::once(id.len()))?;
    if let Some(name) = name {
        context.reply.array(2);
        context.reply.bulk(name);
    }
    context.reply.bulk(&value);
    let id = id.into_owned();
    context.transaction.remove(key, Kind::List, id)?;
    context.transaction.notify_taken(Class::List, popped(end), key);
    Ok(true)
}

/// Takes what is asked for from the key's list, and replies with the key and that. Says whether there was anything.
fn reply_taken<'a>(
    context: &mut Context<'_, 'a>,
    name: &'a [u8],
    popping: &Popping<'_, 'a, End>,
) -> Result<bool, CommandError> {
    let key = context.key(name);
    let taken = take(context, &key, popping.end, popping.count)?;
    if !taken.is_empty() {
        context.reply.array(2);
        context.reply.bulk(name);
        context.reply.array(taken.len());
        taken.iter().for_each(|value| context.reply.bulk(value));
    }
    Ok(!taken.is_empty())
}

/// Takes up to `count` elements from an end of the key's list, the outermost first, and tells of it.
fn take<'a>(
    context: &mut Context<'_, 'a>,
    key: &Key<'a>,
    end: End,
    count: usize,
) -> Result<Vec<Vec<u8>>, CommandError> {
    let taken = take_untold(context, key, end, count)?;
    if !taken.is_empty() {
        context.transaction.notify_taken(Class::List, popped(end), key);
    }
    Ok(taken)
}

/// The event of a pop from this end.
const fn popped(end: End) -> &'static str {
    match end {
        End::Head => "lpop",
        End::Tail => "rpop",
    }
}

fn take_untold<'a>(
    context: &mut Context<'_, 'a>,
    key: &Key<'a>,
    end: End,
    count: usize,
) -> Result<Vec<Vec<u8>>, CommandError> {
    let Some(list) = context.transaction.collection(key, Kind::List)? else { return Ok(Vec::new()) };
    let owned = |(id, value): Element<'_>| (id.into_owned(), value.into_owned());
    let taken: Vec<(Vec<u8>, Vec<u8>)> = match end {
        End::Head => list.range(0..count).map(owned).collect(),
        End::Tail => list.range(list.len().saturating_sub(count)..list.len()).rev().map(owned).collect(),
    };
    context.transaction.reserve_elements(key, taken.iter().map(|(id, _)| id.len()))?;
    let mut values = Vec::with_capacity(taken.len());
    for (id, value) in taken {
        context.transaction.remove(key, Kind::List, id)?;
        values.push(value);
    }
    Ok(values)
}

pub(super) fn lmove<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let ends = (parse_end(arguments[3])?, parse_end(arguments[4])?);
    reply_moved(context, arguments[1], arguments[2], ends)
}

pub(super) fn rpoplpush<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    reply_moved(context, arguments[1], arguments[2], (End::Tail, End::Head))
}

pub(super) fn blmove<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    parse_end(arguments[3])?;
    parse_end(arguments[4])?;
    let attempt: Attempt = |context, _, arguments| {
        let ends = (parse_end(arguments[3])?, parse_end(arguments[4])?);
        reply_shifted(context, arguments, ends)
    };
    blocking_move(context, arguments, arguments[5], attempt)
}

pub(super) fn brpoplpush<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let attempt: Attempt = |context, _, arguments| reply_shifted(context, arguments, (End::Tail, End::Head));
    blocking_move(context, arguments, arguments[3], attempt)
}

fn blocking_move<'a>(
    context: &mut Context<'_, 'a>,
    arguments: &[&'a [u8]],
    timeout: &'a [u8],
    attempt: Attempt,
) -> CommandResult {
    let (keys, target) = (&arguments[1..2], Some(arguments[2]));
    take_or_wait(context, arguments, Wanted { kind: Kind::List, keys, target, timeout, attempt })
}

fn reply_shifted<'a>(
    context: &mut Context<'_, 'a>,
    arguments: &[&'a [u8]],
    ends: (End, End),
) -> Result<bool, CommandError> {
    let shifted = shift(context, arguments[1], arguments[2], ends)?;
    if let Some(value) = &shifted {
        context.reply.bulk(value);
    }
    Ok(shifted.is_some())
}

fn reply_moved<'a>(
    context: &mut Context<'_, 'a>,
    source: &'a [u8],
    target: &'a [u8],
    ends: (End, End),
) -> CommandResult {
    match shift(context, source, target, ends)? {
        Some(value) => context.reply.bulk(&value),
        None => context.reply.null(),
    }
    Ok(())
}

/// Moves an element from an end of one list to an end of another, or the same, and returns it.
fn shift<'a>(
    context: &mut Context<'_, 'a>,
    source: &'a [u8],
    target: &'a [u8],
    (from, to): (End, End),
) -> Result<Option<Vec<u8>>, CommandError> {
    let (source, target) = (context.key(source), context.key(target));
    let Some(list) = context.transaction.collection(&source, Kind::List)? else { return Ok(None) };
    let Some((_, value)) = list.nth(from.place(list.len())) else { return Ok(None) };
    let (value, length) = (value.into_owned(), list.len());
    context.transaction.collection(&target, Kind::List)?;
    let arriving = target.bytes.len() + ID_BYTES_MAX + value.len();
    let reserved = [ID_BYTES_MAX, target.bytes.len(), arriving];
    context.transaction.reserve_elements(&source, reserved.into_iter())?;
    // The only element of a list comes back to where it was, and the list's TTL stays.
    if source != target || length > 1 {
        take_untold(context, &source, from, 1)?;
        context.transaction.push(&target, to, std::iter::once(Cow::Owned(value.clone())))?;
    }
    // As Redis has it, the arrival is told first.
    context.transaction.notify(Class::List, pushed(to), &target);
    context.transaction.notify_taken(Class::List, popped(from), &source);
    Ok(Some(value))
}

pub(super) fn parse_end(argument: &[u8]) -> Result<End, CommandError> {
    match argument {
        end if is(end, "left") => Ok(End::Head),
        end if is(end, "right") => Ok(End::Tail),
        _ => Err(CommandError::Syntax),
    }
}
